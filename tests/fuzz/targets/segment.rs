//! A segment file of any bytes is walked to its end.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::store::fuzz::segment(bytes));
