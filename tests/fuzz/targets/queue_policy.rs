//! An MTA-STS policy that says anything at all.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::queue::fuzz::policy(bytes));
