//! A TLS report of any bytes is read within the limits, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::reports::fuzz::tls(bytes));
