//! A message after DATA or in BDAT ends where a strict reader ends it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::smtp::fuzz::data(bytes));
