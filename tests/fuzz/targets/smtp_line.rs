//! Lines are found however their bytes arrive.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::smtp::fuzz::line(bytes));
