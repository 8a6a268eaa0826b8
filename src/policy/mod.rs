//! What we think of a message, and what we let others know of ours. The only user of mail-auth.

pub mod dkim;
pub mod dnsbl;
pub mod greylist;
pub mod junk;
pub mod notes;
pub mod spf;
