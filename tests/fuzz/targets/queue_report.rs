//! A message that says it is a report about mail of ours.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::queue::fuzz::report(bytes));
