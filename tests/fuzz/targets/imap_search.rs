//! Any search finds a message or its opposite does.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::imap::fuzz::search(bytes));
