//! Any bytes of somebody who has logged in get answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::imap::fuzz::session(bytes));
