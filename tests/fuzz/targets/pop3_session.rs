//! Any lines get replies.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::pop3::fuzz::session(bytes));
