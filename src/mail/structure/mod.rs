//! The MIME structure of a message (RFC 2045, RFC 2046): which parts it has, where the bytes of
//! each part's header and body lie, and what its header fields say. Found in one pass over the
//! bytes with fixed limits on memory, depth and number of parts. There is no malformed message
//! here: whatever cannot be taken apart is a leaf with its bytes.

mod binary;
mod decode;
mod fields;
mod header;
mod outline;
mod people;
mod scan;

use std::io::{self, Read};
use std::ops::Range;

pub use binary::Plain;
pub use decode::{BodyDecoder, TextDecoder, header_text, moment, sent_date};
pub use fields::{Disposition, MediaType, Parameter};
pub use header::{RawField, fields};
pub use outline::describes;
pub use people::{Mailbox, parse as people};

/// Deepest nesting that is taken apart; deeper parts stay leaves.
pub const MAX_DEPTH: usize = 100;
/// Most parts told apart in one message; further ones count to the last part before them.
pub const MAX_PARTS: usize = 1000;

/// The parts of one message. There is always a root, the message itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    root: Part,
    /// All parts but the root, in the order of their headers.
    rest: Vec<Part>,
}

/// Names a part of a [`Structure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartId(usize);

/// One entity: a message, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its header fields with the empty line that ends them.
    pub header: Range<u64>,
    /// Its body, without the line end that belongs to the boundary after it (RFC 2046 §5.1.1).
    pub body: Range<u64>,
    /// Lines of the body, a last one without line end included.
    pub lines: u64,
    /// What the body is.
    pub media: MediaType,
    /// Content-Transfer-Encoding as written; nothing means 7bit.
    pub encoding: Option<Vec<u8>>,
    /// Content-ID.
    pub id: Option<Vec<u8>>,
    /// Content-Description.
    pub description: Option<Vec<u8>>,
    /// Content-MD5.
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition (RFC 2183).
    pub disposition: Option<Disposition>,
    /// Content-Language, tag by tag (RFC 3282).
    pub language: Vec<Vec<u8>>,
    /// Content-Location (RFC 2557).
    pub location: Option<Vec<u8>>,
    /// The fields of a message's header; nothing for parts that are no message.
    pub head: Option<Box<Head>>,
    /// What lies inside.
    pub inside: Inside,
}

/// What lies inside a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inside {
    /// Nothing that was taken apart.
    Leaf,
    /// The parts of a multipart, at least one.
    Parts(Vec<PartId>),
    /// A message of its own (message/rfc822).
    Message(PartId),
}

/// The fields that make an ENVELOPE (RFC 3501 §7.4.2), raw: encoded words are not decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Date.
    pub date: Option<Vec<u8>>,
    /// Subject.
    pub subject: Option<Vec<u8>>,
    /// From.
    pub from: Vec<Mailbox>,
    /// Sender; empty when there is no such field.
    pub sender: Vec<Mailbox>,
    /// Reply-To; empty when there is no such field.
    pub reply_to: Vec<Mailbox>,
    /// To.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// Bcc.
    pub bcc: Vec<Mailbox>,
    /// In-Reply-To.
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID.
    pub message_id: Option<Vec<u8>>,
}

/// Which bytes of a part are meant (RFC 3501 §6.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The body of a numbered part, or the whole message without number.
    Content,
    /// The header of a message.
    Header,
    /// The body of a message.
    Text,
    /// The MIME header of a numbered part.
    Mime,
}

impl Structure {
    /// Takes a message apart, reading it once from its start to its end.
    pub fn scan(reader: impl Read) -> io::Result<Self> {
        scan::scan(reader)
    }

    /// Reads a message no further than its header: the parts stay unknown. `length` is that of
    /// the whole message.
    pub fn scan_head(reader: impl Read, length: u64) -> io::Result<Self> {
        scan::scan_head(reader, length)
    }

    /// The message itself.
    pub fn root(&self) -> &Part {
        &self.root
    }

    /// The part of that name; the root for names of another structure.
    pub fn part(&self, id: PartId) -> &Part {
        match id.0 {
            0 => &self.root,
            n => self.rest.get(n - 1).unwrap_or(&self.root),
        }
    }

    /// Every part, the root first.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.root).chain(&self.rest)
    }

    /// Where the bytes of a section lie; nothing when there is no such part.
    pub fn find(&self, path: &[u32], piece: Piece) -> Option<Range<u64>> {
        let mut place = Place::Message(&self.root);
        for number in path {
            place = self.step(&place, *number)?;
        }
        match (place, piece) {
            (Place::Message(part), Piece::Content) => Some(part.header.start..part.body.end),
            (Place::Message(_), Piece::Mime) => None,
            (Place::Message(part), Piece::Text) | (Place::Part(part), Piece::Content) => {
                Some(part.body.clone())
            }
            (Place::Message(part), Piece::Header) | (Place::Part(part), Piece::Mime) => {
                Some(part.header.clone())
            }
            (Place::Part(part), Piece::Header) => {
                self.inner_message(part).map(|inner| inner.header.clone())
            }
            (Place::Part(part), Piece::Text) => {
                self.inner_message(part).map(|inner| inner.body.clone())
            }
        }
    }

    /// The part of that number, when nothing lies inside it; without numbers, the message.
    pub fn leaf(&self, path: &[u32]) -> Option<&Part> {
        let mut place = Place::Message(&self.root);
        for number in path {
            place = self.step(&place, *number)?;
        }
        match place {
            Place::Part(part) if part.inside == Inside::Leaf => Some(part),
            _ => None,
        }
    }

    fn step<'a>(&'a self, place: &Place<'a>, number: u32) -> Option<Place<'a>> {
        let part = match place {
            Place::Message(part) => part,
            Place::Part(part) => match self.inner_message(part) {
                Some(inner) => return self.step(&Place::Message(inner), number),
                None => part,
            },
        };
        match (&part.inside, place) {
            (Inside::Parts(children), _) => {
                let index = usize::try_from(number).ok()?.checked_sub(1)?;
                children.get(index).map(|id| Place::Part(self.part(*id)))
            }
            // Every message has a part 1, even one that is no multipart.
            (_, Place::Message(_)) if number == 1 => Some(Place::Part(part)),
            _ => None,
        }
    }

    fn inner_message(&self, part: &Part) -> Option<&Part> {
        match part.inside {
            Inside::Message(id) => Some(self.part(id)),
            _ => None,
        }
    }
}

/// A part seen as a message (which has HEADER and TEXT) or by its number (which has MIME).
enum Place<'a> {
    Message(&'a Part),
    Part(&'a Part),
}

impl Part {
    /// The charset of a text part, in lower case; `us-ascii` when none is named.
    pub fn charset(&self) -> String {
        let named = self.media.parameters.iter().find(|p| p.name.eq_ignore_ascii_case(b"charset"));
        named.map_or_else(
            || "us-ascii".to_owned(),
            |p| String::from_utf8_lossy(&p.value).to_ascii_lowercase(),
        )
    }
}

#[cfg(test)]
mod tests;
