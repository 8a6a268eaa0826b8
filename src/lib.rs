//! Pillarbox: a post office for the household.

pub mod accounts;
pub mod clock;
pub mod config;
pub mod deliver;
pub mod dns;
pub mod mail;
pub mod net;
pub mod panel;
pub mod policy;
pub mod queue;
pub mod selfcheck;
pub mod smtp;
pub mod store;
