//! Header fields at the door: the trace field we put on top of every message, and a look at the
//! header while it streams past. Nothing here needs a socket, a clock or more than a field.

mod author;
mod authserv;
mod scan;

use std::fmt::{self, Write};
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

pub use author::author_domains;
pub use authserv::{authserv_id, claims_to_be_ours};
pub use scan::{HeaderFacts, HeaderScan, Origin};

use super::{Address, Domain};

/// More hops than this is a loop. RFC 5321 §6.3 suggests 100; the widespread servers stop at 50,
/// and no household is reached through so many.
pub const MAX_HOPS: u32 = 50;

/// A `Received` field (RFC 5321 §4.4): who handed a message to whom, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The name the peer gave in EHLO or HELO; printable ASCII without parentheses.
    pub from: String,
    /// Where it really connected from.
    pub peer: IpAddr,
    /// Us.
    pub by: Domain,
    /// How it was handed in.
    pub with: Protocol,
    /// Version and cipher suite, such as `TLSv1.3` and `TLS_AES_256_GCM_SHA384`, when it came
    /// under TLS.
    pub tls: Option<(&'static str, String)>,
    /// Our name for the message; the log has it too.
    pub id: String,
    /// The recipient, when there is only one: naming more would tell them of each other
    /// (RFC 5321 §7.6).
    pub recipient: Option<Address>,
}

impl Received {
    /// The field, folded, with its CRLF.
    pub fn field(&self, at: Timestamp) -> String {
        let mut field = format!("Received: from {} (", self.from);
        match self.peer {
            IpAddr::V4(v4) => push(&mut field, format_args!("[{v4}])")),
            // RFC 5321 §4.1.3.
            IpAddr::V6(v6) => push(&mut field, format_args!("[IPv6:{v6}])")),
        }
        push(&mut field, format_args!("\r\n\tby {} with {}", self.by, self.with));
        if let Some((version, suite)) = &self.tls {
            push(&mut field, format_args!(" ({version} {suite})\r\n\t"));
        } else {
            field.push(' ');
        }
        push(&mut field, format_args!("id {}", self.id));
        if let Some(recipient) = &self.recipient {
            push(&mut field, format_args!("\r\n\tfor <{recipient}>"));
        }
        push(&mut field, format_args!(";\r\n\t{}\r\n", date(at)));
        field
    }
}

/// The `with` clause (RFC 3848, RFC 6531 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "four facts, each a letter of the clause")]
pub struct Protocol {
    /// EHLO was said.
    pub extended: bool,
    /// Under TLS.
    pub tls: bool,
    /// After a login.
    pub authenticated: bool,
    /// The message was announced with SMTPUTF8.
    pub utf8: bool,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.utf8, self.extended || self.tls || self.authenticated) {
            (true, _) => "UTF8SMTP",
            (false, true) => "ESMTP",
            (false, false) => "SMTP",
        })?;
        f.write_str(if self.tls { "S" } else { "" })?;
        f.write_str(if self.authenticated { "A" } else { "" })
    }
}

/// The date of a header field (RFC 5322 §3.3), in UTC: where the box stands is nobody's business.
pub fn date(at: Timestamp) -> String {
    let zoned = at.to_zoned(TimeZone::UTC);
    // Only years before 0 cannot be written; no clock of ours shows one.
    rfc2822::to_string(&zoned).unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".to_owned())
}

fn push(text: &mut String, arguments: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests;
