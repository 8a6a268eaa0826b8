//! What we think of a message, and what we let others know of ours. The only user of mail-auth.

pub mod dkim;
pub mod spf;
