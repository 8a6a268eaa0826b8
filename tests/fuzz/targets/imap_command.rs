//! Any bytes are a command or are refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::imap::fuzz::command(bytes));
