//! A store is opened whose index rotted.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::store::fuzz::index(bytes));
