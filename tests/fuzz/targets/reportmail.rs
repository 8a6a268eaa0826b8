//! A message of any bytes is searched for a report.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::reports::fuzz::message(bytes));
