//! Any message goes out whole, and its end is its end.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::pop3::fuzz::transfer(bytes));
