//! Any message has an envelope and a structure that can be read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillarbox::imap::fuzz::structure(bytes));
