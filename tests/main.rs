//! Everything that is tested from outside: one binary, one file per theme.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here is the failed test")]

mod archive;
mod damage;
mod flood;
mod guests;
mod house;
mod lossless;
mod rot;
mod trouble;
