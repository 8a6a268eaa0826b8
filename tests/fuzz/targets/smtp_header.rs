//! The header of a message is looked through however its bytes arrive.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::smtp::fuzz::header(bytes));
