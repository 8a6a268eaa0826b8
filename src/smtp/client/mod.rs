//! The sending end of SMTP: hands one message to one host and says what became of each recipient.
//! [`session`] knows the order of commands and no socket; [`connect`] holds the conversation over a
//! [`wire`], under the [`tls`] that is asked for; [`pool`] keeps connections for the next message;
//! [`reply`] reads what a host says, however hostile.
//!
//! A [`Fault`] means that nothing was delivered and another host may do better; a [`Report`] is
//! final for this attempt.

mod connect;
mod data;
mod offers;
mod pool;
mod reply;
mod session;
mod tls;
mod wire;

pub use connect::{Client, Target, Timeouts};
pub use reply::{Reply, ReplyError};
pub use tls::{CertificateFault, Encryption, Security};

use crate::mail::{MailRequests, Recipient, ReversePath};

/// What to send, without its bytes.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The envelope sender.
    pub from: ReversePath,
    /// The recipients at this host.
    pub to: Vec<Recipient>,
    /// Length of the message in bytes, for the SIZE extension (RFC 1870).
    pub size: u64,
    /// What its sender asked for.
    pub asked: MailRequests,
}

/// Where a message has characters beyond ASCII.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Beyond {
    header: bool,
    body: bool,
}

/// What became of each recipient, in the order of [`Mail::to`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// One for each recipient.
    pub verdicts: Vec<Verdict>,
    /// The host itself tells the sender what becomes of the message, where that was asked for
    /// (DSN, RFC 3461).
    pub tells: bool,
    /// What became of TLS.
    pub tls: Encryption,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The host took the message over; its last reply.
    Deliver(String),
    /// Not now; try again.
    Defer(Trouble),
    /// Not ever; tell the sender.
    Reject(Trouble),
}

/// Why a message was not taken for a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Enhanced status code (RFC 3463), such as `5.1.1`.
    pub status: String,
    /// The host's own words, when it was the host that refused.
    pub reply: Option<String>,
    /// What happened, in plain words.
    pub what: String,
    /// It was said in answer to RCPT: it may be about the recipient. Otherwise it is about the
    /// sender, the message or this box.
    pub at_rcpt: bool,
}

/// Why no transaction took place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] std::io::Error),
    /// The host closed without a word.
    #[error("the host closed the connection")]
    Closed,
    /// The host did not answer in time.
    #[error("the host did not answer in time")]
    Timeout,
    /// The host does not want to talk to us (now).
    #[error("the host refused the conversation: {0}")]
    Refused(Reply),
    /// What it said is no SMTP.
    #[error("the host does not speak SMTP: {0}")]
    Protocol(#[from] ReplyError),
    /// The TLS handshake failed.
    #[error("no TLS with the host: {0}")]
    Tls(#[source] std::io::Error),
    /// TLS is required and not offered.
    #[error("the host offers no TLS, which is required here")]
    NoTls,
    /// The message demands protection all the way (RFC 8689), and the host does not promise it.
    #[error(
        "the message must travel under TLS all the way (REQUIRETLS), and the host does not promise \
         that"
    )]
    NoRequireTls,
    /// Something came between the reply to STARTTLS and the handshake: somebody on the way put it
    /// there.
    #[error("somebody on the way put words into the conversation before TLS")]
    Injection,
    /// The login was refused or cannot be tried.
    #[error("the login at the host failed: {0}")]
    Login(String),
    /// Our own copy cannot be read.
    #[error("the message cannot be read: {0}")]
    Message(#[source] std::io::Error),
}

#[cfg(test)]
mod tests;
