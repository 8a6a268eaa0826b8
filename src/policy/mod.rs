//! What we think of a message, what we let others know of ours, and how much of it there may be. The only user of mail-auth.

pub mod allowance;
pub mod dkim;
pub mod spf;
