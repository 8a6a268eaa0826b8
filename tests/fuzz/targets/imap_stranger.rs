//! Any bytes of a stranger get answers, and never let it in.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::imap::fuzz::stranger(bytes));
