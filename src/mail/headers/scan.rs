//! A look at the header of a message while it streams past: counts hops, tells what is missing
//! and who wrote it, finds out whether it was here before, and takes out what must not go on.
//! Nothing is held but the start of the field being read and a bounded part of three fields.

use super::super::{Address, Domain};
use super::{MAX_HOPS, claims_to_be_ours};

/// Where a message comes from: it decides what is taken out of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Another server brings it: `X-Spam-…` and `X-Pillarbox-…` would pass for our own words
    /// about it, so they go.
    Stranger,
    /// Somebody of ours wrote it: `Bcc` and `Resent-Bcc` go, nobody may learn of blind copies
    /// (RFC 5322 §3.6.3).
    Account,
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

/// Looks at the header of a message while it streams past, in pieces of any size.
#[derive(Debug)]
pub struct HeaderScan {
    origin: Origin,
    /// Our name: `Authentication-Results` that claim to be from us are taken out (RFC 8601 §5).
    ours: Domain,
    facts: HeaderFacts,
    place: Place,
    field: Field,
    /// What is not decided yet: the start of a line whose field is not known, and then the field
    /// if its value decides whether it stays.
    held: Vec<u8>,
    /// Where the value starts in [`Self::held`].
    value: usize,
    first_line: bool,
    /// What the `From` fields say, the field names left out.
    authors: Vec<u8>,
    /// The lines of the `Delivered-To` fields.
    delivered: Vec<u8>,
}

impl HeaderScan {
    /// A scan at the first byte of a message; `ours` is the name we sign our findings with.
    pub fn new(origin: Origin, ours: Domain) -> Self {
        Self {
            origin,
            ours,
            facts: HeaderFacts::default(),
            place: Place::LineStart,
            field: Field::Other,
            held: Vec::new(),
            value: 0,
            first_line: true,
            authors: Vec::new(),
            delivered: Vec::new(),
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
                    let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
                    self.value(line, out);
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
                Place::LineStart => {
                    self.end_field(out);
                    self.place = Place::Name;
                    continue;
                }
                Place::Name => self.name(byte, out),
            }
            bytes = rest;
        }
    }

    /// The message has ended; what was held goes out.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> HeaderFacts {
        self.end_field(out);
        out.append(&mut self.held);
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

    /// Whether a `Delivered-To` (RFC 9228) names this address: then it was here before, and goes
    /// in a circle. More of them than [`MAX_HOPS`] name everybody.
    pub fn was_delivered_to(&self, address: &Address) -> bool {
        self.delivered.len() > LONGEST_DELIVERED
            || String::from_utf8_lossy(&self.delivered)
                .lines()
                .filter_map(|line| line.trim().trim_matches(['<', '>']).parse::<Address>().ok())
                .any(|seen| seen.key() == address.key())
    }

    /// Bytes taken that are not in the output yet.
    #[cfg(test)]
    pub(super) fn pending(&self) -> usize {
        self.held.capacity()
    }

    /// Takes a byte of what may be a field name.
    fn name(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.held.push(byte);
        match byte {
            b':' => {
                let name = self.held[..self.held.len() - 1].trim_ascii_end();
                self.field = if is_field_name(name) {
                    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                    self.facts.note(&name);
                    Field::of(&name, self.origin)
                } else {
                    Field::Other
                };
                self.value = self.held.len();
                self.place = Place::Line;
            }
            b'\n' => {
                self.field = Field::Other;
                if self.held == b"\r\n" {
                    self.facts.empty = self.first_line;
                    self.place = Place::Body;
                } else {
                    // Not a field; goes through as it is.
                    self.next_line();
                }
            }
            _ if self.held.len() < LONGEST_NAME => return,
            // No field we look for has so long a name, but spaces may follow one.
            _ => {
                let name = self.held.trim_ascii_end();
                self.facts.any |= is_field_name(name);
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                self.field = match Field::of(&name, self.origin) {
                    Field::Gone | Field::Results => Field::Gone,
                    Field::Other | Field::Author | Field::Delivered => Field::Other,
                };
                self.place = Place::Line;
            }
        }
        match self.field {
            Field::Gone => self.held.clear(),
            Field::Results => {}
            Field::Author | Field::Delivered | Field::Other => out.append(&mut self.held),
        }
    }

    /// Takes a part of a field's value, or of a line that is no field.
    fn value(&mut self, part: &[u8], out: &mut Vec<u8>) {
        match self.field {
            Field::Gone => return,
            Field::Results => {
                self.held.extend_from_slice(part);
                if self.held.len() > LONGEST_ID {
                    self.decide(out);
                }
                return;
            }
            Field::Author if self.authors.len() <= LONGEST_FROM => {
                self.authors.extend_from_slice(part);
            }
            Field::Delivered if self.delivered.len() <= LONGEST_DELIVERED => {
                self.delivered.extend_from_slice(part);
            }
            Field::Author | Field::Delivered | Field::Other => {}
        }
        out.extend_from_slice(part);
    }

    /// The next line starts another field, or there is none.
    fn end_field(&mut self, out: &mut Vec<u8>) {
        if self.field == Field::Results {
            self.decide(out);
        }
    }

    /// Enough of an `Authentication-Results` is there to tell whose it is.
    fn decide(&mut self, out: &mut Vec<u8>) {
        let value = self.held.get(self.value..).unwrap_or_default();
        if claims_to_be_ours(value, &self.ours) {
            self.held.clear();
            self.field = Field::Gone;
        } else {
            out.append(&mut self.held);
            self.field = Field::Other;
        }
    }

    fn next_line(&mut self) {
        self.place = Place::LineStart;
        self.first_line = false;
    }
}

impl HeaderFacts {
    /// Notes a field by its name in lower case.
    fn note(&mut self, name: &str) {
        self.any = true;
        match name {
            "received" => self.received = self.received.saturating_add(1),
            "from" => self.from = self.from.saturating_add(1),
            "date" => self.date = true,
            "message-id" => self.message_id = true,
            _ => {}
        }
    }
}

/// What becomes of the field being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// Goes on as it is.
    Other,
    /// The same, and says who wrote the message.
    Author,
    /// The same, and says who got it before.
    Delivered,
    /// `Authentication-Results` whose author is not known yet.
    Results,
    /// Taken out.
    Gone,
}

impl Field {
    fn of(name: &str, origin: Origin) -> Self {
        match name {
            "from" => Self::Author,
            "delivered-to" => Self::Delivered,
            "authentication-results" => Self::Results,
            "bcc" | "resent-bcc" if origin == Origin::Account => Self::Gone,
            name if origin == Origin::Stranger && is_our_word(name) => Self::Gone,
            _ => Self::Other,
        }
    }
}

/// Names under which we tell what we found.
fn is_our_word(name: &str) -> bool {
    name == "x-spam" || name.starts_with("x-spam-") || name.starts_with("x-pillarbox-")
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

/// Longer than every field name we look for, with room for space before the colon.
const LONGEST_NAME: usize = 64;
/// Longest `From` looked at, in bytes: room for the longest address and a long name.
const LONGEST_FROM: usize = 4096;
/// The author of an `Authentication-Results` stands within so many bytes, or cannot be read.
const LONGEST_ID: usize = 2048;
/// As many `Delivered-To` as there may be hops, each with the longest address, in bytes.
const LONGEST_DELIVERED: usize = MAX_HOPS as usize * 330;
