//! SMTP: the machines at both ends of a conversation between post offices.

pub mod client;
