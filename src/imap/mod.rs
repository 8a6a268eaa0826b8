//! IMAP version 4rev1 (RFC 3501) for phones and mail programs, with the extensions of `extensions`.
//!
//! `command` turns bytes into types. `session` is the protocol without I/O: it takes bytes and
//! answers, and gives effects; what it has to know it asks as a [`question::Question`], one at a
//! time. One file per family of commands holds the steps of each. `view` is what the client
//! believes its mailbox to be. `desk` answers questions out of the store, `server` owns the
//! connection. `respond` writes what goes over the wire.

mod append;
mod auth;
mod binary;
mod command;
mod compress;
mod copy_move;
mod desk;
mod extensions;
mod facts;
mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::missing_panics_doc, clippy::expect_used, reason = "a panic is what is looked for")]
pub mod fuzz;
mod id;
mod idle;
mod input;
mod listing;
mod mailboxes;
mod metadata;
mod notify;
mod partial;
mod question;
mod quota;
mod render;
mod respond;
mod resync;
mod search;
mod select;
mod server;
mod session;
mod sort;
mod store_flags;
mod thread;
mod view;

pub use extensions::switchable;
pub use server::Server;

#[cfg(test)]
mod tests;
