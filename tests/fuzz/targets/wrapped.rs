//! Gzip and zip of any bytes unpack to no more than may come out.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::reports::fuzz::wrapped(bytes));
