//! A store is opened whose log says anything at all, with our checksums, and then rots.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::store::fuzz::open(bytes));
