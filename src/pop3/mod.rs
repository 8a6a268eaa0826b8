//! POP3 (RFC 1939) with CAPA, STLS, SASL, UTF8 and response codes (RFC 2449, 2595, 3206, 5034,
//! 6856): one mailbox, fetched and emptied by one client at a time.
//!
//! [`Session`] is the protocol without I/O: lines go in, [`Step`]s come out, and what only the
//! world knows (is the password right, which messages are there) is answered back. [`Server`]
//! puts it on a connection. A message is streamed and never wholly in memory; what DELE marked is
//! gone from the inbox only when QUIT was answered with `+OK`, and then durably: into the trash, or
//! for good, as the account's owner has it.

mod command;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::missing_panics_doc, clippy::expect_used, reason = "a panic is what is looked for")]
pub mod fuzz;
mod login;
mod remove;
mod server;
mod session;
mod surrogate;
mod transfer;

pub use remove::Removed;
pub use server::Server;
pub use session::{Item, Maildrop, OpenFailure, Session, Step};
