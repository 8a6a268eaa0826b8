//! Header fields at the door: the trace field we put on top of every message, and a look at the
//! header while it streams past, which counts hops, tells what is missing and who wrote it, and
//! takes out `Bcc`. Nothing is held but the name of the field being read, and `From`.

mod author;
mod authserv;

use std::fmt::{self, Write};
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

pub use author::author_domains;
pub use authserv::{authserv_id, claims_to_be_ours};

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
        push(&mut field, format_args!(" id {}", self.id));
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

/// What was seen in the header of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub struct HeaderFacts {
    /// Number of `Received` fields: the hops behind it.
    pub received: u32,
    /// There is a `Date`.
    pub date: bool,
    /// There is a `Message-ID`.
    pub message_id: bool,
    /// Number of `From` fields; a sound message has one.
    pub from: u32,
    /// There is any field at all.
    pub any: bool,
    /// The message starts with the empty line that ends a header.
    pub empty: bool,
}

/// What happens to `Bcc` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bcc {
    /// They stay: the message is not ours to change.
    Keep,
    /// They are taken out, `Resent-Bcc` too: nobody may learn of blind copies (RFC 5322 §3.6.3).
    Strip,
}

/// Looks at the header of a message while it streams past, in pieces of any size.
#[derive(Debug)]
pub struct HeaderScan {
    bcc: Bcc,
    facts: HeaderFacts,
    place: Place,
    /// Whether the field being read goes on to the output.
    keep: bool,
    /// The start of a line, held until it is clear which field it is.
    start: Vec<u8>,
    first_line: bool,
    /// What the `From` fields say, the field names left out.
    authors: Vec<u8>,
    /// Whether the field being read is one of them.
    author: bool,
}

impl HeaderScan {
    /// A scan at the first byte of a message.
    pub fn new(bcc: Bcc) -> Self {
        Self {
            bcc,
            facts: HeaderFacts::default(),
            place: Place::LineStart,
            keep: true,
            start: Vec::with_capacity(LONGEST_START),
            first_line: true,
            authors: Vec::new(),
            author: false,
        }
    }

    /// Takes the next bytes, whose lines end in CRLF, and appends what stays to `out`.
    pub fn pass(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.place {
                Place::Body => {
                    out.extend_from_slice(bytes);
                    return;
                }
                Place::Line => {
                    let end = bytes.iter().position(|b| *b == b'\n');
                    let length = end.map_or(bytes.len(), |at| at + 1);
                    let (line, rest) = bytes.split_at(length);
                    if self.keep {
                        out.extend_from_slice(line);
                    }
                    if self.author && self.authors.len() <= LONGEST_FROM {
                        self.authors.extend_from_slice(line);
                    }
                    if end.is_some() {
                        self.next_line();
                    }
                    bytes = rest;
                    continue;
                }
                // A folded line belongs to the field before it.
                Place::LineStart if matches!(byte, b' ' | b'\t') && !self.first_line => {
                    self.place = Place::Line;
                    continue;
                }
                Place::LineStart | Place::Name => self.start_of_line(byte, out),
            }
            bytes = rest;
        }
    }

    /// The message has ended; what was held goes out.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> HeaderFacts {
        out.append(&mut self.start);
        self.facts
    }

    /// Who the message says wrote it: the addresses of `From`. Nothing when they cannot be read
    /// or are too many to be meant seriously. Only sound when there is one `From`.
    pub fn authors(&self) -> Option<Vec<Address>> {
        if self.authors.len() > LONGEST_FROM {
            return None;
        }
        let header = [b"From:", self.authors.as_slice(), b"\r\n"].concat();
        let header = mail_parser::MessageParser::new().parse_headers(&header)?;
        let addresses = header.from()?.iter().map(|author| author.address()?.parse().ok());
        addresses.collect::<Option<Vec<_>>>().filter(|addresses| !addresses.is_empty())
    }

    fn start_of_line(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.place = Place::Name;
        self.author = false;
        self.start.push(byte);
        match byte {
            b':' => {
                let name = self.start[..self.start.len() - 1].trim_ascii_end();
                if is_field_name(name) {
                    self.keep = self.facts.note(name) || self.bcc == Bcc::Keep;
                    self.author = name.eq_ignore_ascii_case(b"From");
                } else {
                    self.keep = true;
                }
                self.place = Place::Line;
            }
            b'\n' => {
                if self.start == b"\r\n" {
                    self.facts.empty = self.first_line;
                    self.place = Place::Body;
                } else {
                    // Not a field; goes through as it is.
                    self.next_line();
                }
                self.keep = true;
            }
            _ if self.start.len() < LONGEST_START => return,
            // No field we look for has so long a name.
            _ => {
                self.keep = true;
                self.facts.any |= is_field_name(&self.start);
                self.place = Place::Line;
            }
        }
        if self.keep {
            out.extend_from_slice(&self.start);
        }
        self.start.clear();
    }

    fn next_line(&mut self) {
        self.place = Place::LineStart;
        self.first_line = false;
    }
}

impl HeaderFacts {
    /// Notes a field; whether it is fit for every recipient's eyes.
    fn note(&mut self, name: &[u8]) -> bool {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        self.any = true;
        self.received = self.received.saturating_add(u32::from(is("Received")));
        self.date |= is("Date");
        self.message_id |= is("Message-ID");
        self.from = self.from.saturating_add(u32::from(is("From")));
        !is("Bcc") && !is("Resent-Bcc")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first byte of a header line.
    LineStart,
    /// In what may be a field name.
    Name,
    /// Past the name, or in a line that has none.
    Line,
    /// Past the empty line.
    Body,
}

/// RFC 5322 §3.6.8 ftext.
fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| matches!(b, 33..=126) && *b != b':')
}

fn push(text: &mut String, arguments: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}

/// Longer than every field name we look for, with room for space before the colon.
const LONGEST_START: usize = 64;
/// Longest `From` looked at, in bytes: room for the longest address and a long name.
const LONGEST_FROM: usize = 4096;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests;
