//! Any bytes get replies, and no more memory than a line.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::smtp::fuzz::session(bytes));
