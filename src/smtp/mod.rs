//! SMTP (RFC 5321) from both sides. The server's half: `command` parses lines, `session` decides
//! without I/O what to answer and what to ask, `data` takes in the message, `reply` holds every
//! answer ever given, and `server` carries it all out on sockets. The sending half is [`client`].

pub mod client;
mod command;
mod data;
mod held;
mod reply;
mod server;
mod session;

pub use reply::Reply;
pub use server::{House, Server, ServerSettings};
pub use session::{Answer, Effect, Handover, Question, Role, Session, SessionSettings, Timeouts};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a script that cannot be read is the failed test")]
mod tests;
