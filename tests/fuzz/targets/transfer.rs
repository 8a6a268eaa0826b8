//! Base64 is found in any bytes, and they come back as they were.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::store::fuzz::transfer(bytes));
