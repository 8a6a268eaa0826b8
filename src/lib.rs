//! Pillarbox: a post office for the household.
//!
//! # The life of a message
//!
//! 1. [`net`] accepts the connection, within limits, and frames lines.
//! 2. [`smtp`] holds the dialogue: a session without I/O decides, a server carries it out.
//! 3. [`policy`] answers what the session asks of the world outside.
//! 4. [`queue`] is the one door through which messages are taken, and the way out.
//! 5. [`deliver`] says which mailbox a message goes into.
//! 6. [`store`] makes it durable; only then is it acknowledged.
//! 7. [`imap`] and [`pop3`] hand it to the phone, which is told at once when it waits in IDLE.
//!
//! Beside that path: [`config`] and [`setup`] (what the owner decided), [`accounts`] (who lives
//! here), [`search`] (which messages hold a text), [`summary`] (what lists of messages show), [`archive`] (old mail in, all mail out), [`files`] (kept whole and private), [`reports`] (what mail hosts tell each other),
//! [`selfcheck`] and [`panel`] (is all well, and the light that says so), [`web`] (wizard and
//! status), [`office`], [`control`] and [`appliance`] (all of it opened, commanded and run).
//!
//! # Invariants
//!
//! - Imports point downwards only; `tests/house.rs` holds the floors.
//! - A session knows no socket and no clock. Only [`dns`] knows hickory, only [`mail`] mail-parser,
//!   only [`policy`] mail-auth, only [`store`], [`summary`] and [`search`] zstd, and [`store`], [`search`] and [`policy`] redb.
//! - What was acknowledged is in the store, synced.

pub mod accounts;
pub mod appliance;
pub mod archive;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod deliver;
#[cfg(feature = "demo")]
pub mod demo;
pub mod dns;
pub mod files;
pub mod imap;
pub mod mail;
pub mod net;
pub mod office;
pub mod panel;
pub mod policy;
pub mod pop3;
pub mod queue;
pub mod reports;
pub mod search;
pub mod selfcheck;
pub mod setup;
pub mod smtp;
pub mod store;
pub mod summary;
pub mod web;
