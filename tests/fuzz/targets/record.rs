//! Records that bear our checksums and say anything at all are taken apart.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::store::fuzz::record(bytes));
