//! Any bytes are lines and literals, and no more memory than a command.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::imap::fuzz::literals(bytes));
