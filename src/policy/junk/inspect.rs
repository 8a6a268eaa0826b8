//! Looks at a message while it streams past: finds its parts line by line (RFC 2046), decodes the
//! beginning of its texts and makes tokens and facts of them. Memory is bounded whatever the
//! message is made of: one header at a time, one line, and the tokens.

use crate::mail::structure::{Part, Structure, TextDecoder};

use super::body::Body;
use super::facts::Facts;
use super::gist::Gist;
use super::header;
use super::tokens::{Place, Tokens};
use super::words::home_of;

/// Longest header looked at, in bytes, of the message and of a part.
const HEADER: usize = 48 << 10;
const PART_HEADER: usize = 8 << 10;
/// Raw bytes of text looked at, in all parts together.
const TEXT: usize = 96 << 10;
/// Decoded bytes made into text at once.
const PIECE: usize = 4 << 10;
/// No boundary line is longer.
const BOUNDARY_LINE: usize = 256;
/// Parts looked at, and how deep they may be nested; what is beyond does not count.
const PARTS: usize = 64;
const DEPTH: usize = 16;

/// What a message was found to be.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// For the classifier.
    pub tokens: Tokens,
    /// For the rules.
    pub facts: Facts,
}

/// Looks at one message, fed in pieces of any size.
#[derive(Debug)]
pub struct Inspector {
    seen: Seen,
    at: At,
    /// The header being read.
    header: Vec<u8>,
    /// The beginning of a line that is not wholly there yet.
    line: Vec<u8>,
    /// The present line is too long to be held; its beginning was passed on.
    long: bool,
    /// Boundaries of the multiparts that are open, the outermost first.
    boundaries: Vec<Vec<u8>>,
    parts: usize,
    /// Raw bytes of text that may still be looked at.
    left: usize,
    gist: Gist,
}

/// What the next line belongs to.
enum At {
    /// A header.
    Header,
    /// Text.
    Text(Box<(TextDecoder, Body)>),
    /// Something whose content says nothing here.
    Other,
}

impl std::fmt::Debug for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "Header",
            Self::Text(_) => "Text",
            Self::Other => "Other",
        })
    }
}

impl Default for Inspector {
    fn default() -> Self {
        Self::new()
    }
}

impl Seen {
    /// Whether links lead to where the sender is at home.
    fn fit_links(&mut self) {
        let Some((_, home)) = self.facts.from.as_deref().and_then(|from| from.rsplit_once('@'))
        else {
            return;
        };
        let hosts = &self.facts.links.hosts;
        let own = hosts.iter().filter(|host| home_of(host) == home_of(home)).count();
        let word = match own {
            _ if hosts.is_empty() => "nowhere",
            0 => "elsewhere",
            all if all == hosts.len() => "home",
            most if most * 2 >= hosts.len() => "home mostly",
            _ => "home seldom",
        };
        self.tokens.note(Place::Make, "links lead", word);
        if self.facts.unsubscribe {
            self.tokens.note(Place::Make, "of a list links lead", word);
        }
    }
}

impl Inspector {
    /// At the first byte of a message.
    pub fn new() -> Self {
        Self {
            seen: Seen::default(),
            at: At::Header,
            header: Vec::new(),
            line: Vec::new(),
            long: false,
            boundaries: Vec::new(),
            parts: 0,
            left: TEXT,
            gist: Gist::default(),
        }
    }

    /// Whether what follows in the message can still change anything.
    pub fn wants_more(&self) -> bool {
        self.left > 0 && self.parts <= PARTS
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
            bytes = rest;
            if end.is_some() && self.line.is_empty() && !self.long {
                self.line(piece);
            } else if !self.long && self.line.len() + piece.len() <= BOUNDARY_LINE {
                self.line.extend_from_slice(piece);
                if end.is_some() {
                    let line = std::mem::take(&mut self.line);
                    self.line(&line);
                }
            } else {
                let line = std::mem::take(&mut self.line);
                self.content(&line);
                self.content(piece);
                self.long = end.is_none();
            }
        }
    }

    /// The message ended.
    pub fn finish(mut self) -> Seen {
        let line = std::mem::take(&mut self.line);
        self.line(&line);
        if let At::Header = self.at {
            self.end_header();
        }
        self.end_text();
        self.gist.finish(&mut self.seen.tokens);
        self.seen.fit_links();
        self.seen
    }

    /// A whole line; one that is very long may come in pieces, to [`Self::content`].
    fn line(&mut self, line: &[u8]) {
        let delimits = line.starts_with(b"--") && line.len() <= BOUNDARY_LINE;
        if let Some((depth, last)) = delimits.then(|| self.boundary(line)).flatten() {
            // A part's header may lack its end.
            if let At::Header = self.at {
                self.end_header();
            }
            self.end_text();
            self.boundaries.truncate(if last { depth } else { depth + 1 });
            self.at = if last { At::Other } else { At::Header };
        } else if matches!(self.at, At::Header) && matches!(line, b"\r\n" | b"\n") {
            self.end_header();
        } else {
            self.content(line);
        }
    }

    /// Which open multipart's boundary this line is, and whether it is the last one.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line.strip_prefix(b"--")?.trim_ascii_end();
        self.boundaries.iter().enumerate().rev().find_map(|(depth, boundary)| {
            match text.strip_prefix(boundary.as_slice())? {
                b"" => Some((depth, false)),
                b"--" => Some((depth, true)),
                _ => None,
            }
        })
    }

    fn content(&mut self, bytes: &[u8]) {
        match &mut self.at {
            At::Header => {
                let most = if self.parts == 0 { HEADER } else { PART_HEADER };
                let room = most.saturating_sub(self.header.len());
                self.header.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            }
            At::Text(text) => {
                let (decoder, body) = &mut **text;
                let bytes = bytes.get(..self.left).unwrap_or(bytes);
                self.left -= bytes.len();
                if let Some(piece) = decoder.feed(bytes) {
                    self.gist.feed(&piece);
                    body.feed(&piece, &mut self.seen);
                }
            }
            At::Other => {}
        }
    }

    fn end_text(&mut self) {
        if let At::Text(text) = std::mem::replace(&mut self.at, At::Other) {
            let (decoder, mut body) = *text;
            let rest = decoder.finish();
            self.gist.feed(&rest);
            body.feed(&rest, &mut self.seen);
            body.finish(&mut self.seen);
        }
    }

    fn end_header(&mut self) {
        let bytes = std::mem::take(&mut self.header);
        self.parts += 1;
        self.at = At::Other;
        if self.parts > PARTS {
            return;
        }
        // Nothing of what is read from memory fails.
        let Ok(structure) = Structure::scan_head(bytes.as_slice(), 0) else { return };
        let part = structure.root();
        if self.parts == 1 {
            header::of_message(&bytes, part, &mut self.seen);
        }
        header::of_part(part, &mut self.seen);
        self.enter(part);
    }

    fn enter(&mut self, part: &Part) {
        let named = |p: &&crate::mail::structure::Parameter| {
            p.name.eq_ignore_ascii_case(b"boundary") && (1..=200).contains(&p.value.len())
        };
        let encoded = part.encoding.as_deref().is_some_and(|encoding| {
            ["base64", "quoted-printable"]
                .iter()
                .any(|known| encoding.eq_ignore_ascii_case(known.as_bytes()))
        });
        if part.media.is_kind("multipart") {
            if self.boundaries.len() < DEPTH
                && let Some(boundary) = part.media.parameters.iter().find(named)
            {
                self.boundaries.push(boundary.value.trim_ascii_end().to_vec());
            }
        } else if part.media.is("message", "rfc822") && !encoded {
            self.at = At::Header;
        } else if part.media.is_kind("text") && self.left > 0 && !header::is_attached(part) {
            let html = part.media.is("text", "html");
            let decoder = TextDecoder::in_pieces(part, PIECE);
            self.at = At::Text(Box::new((decoder, Body::new(html))));
        }
    }
}
