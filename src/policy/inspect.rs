//! The look at a message while it streams past: its header is held, within limits, and its body
//! goes through the hashes its signatures ask for. There are at most two, whatever the number of
//! signatures: one for each canonical form.

use super::arc::Chain;
use super::canonical::{BodyDigest, BodyHash, Canon, Header};
use super::dkim::{Claim, MAX_SIGNATURES};
use crate::mail::Domain;
use crate::mail::headers::author_domains;

/// Takes a message in pieces of any size, from the first byte of its header to the end.
#[derive(Debug, Default)]
pub struct Inspector {
    /// The header block with its last CRLF; while it comes in, whatever came.
    header: Vec<u8>,
    part: Part,
    unreadable: Option<&'static str>,
    claims: Vec<Claim>,
    chain: Chain,
    author: Author,
}

/// What was seen of a message; the questions to the DNS are still open.
#[derive(Debug)]
pub struct Inspected {
    pub(super) header: Vec<u8>,
    pub(super) claims: Vec<Claim>,
    pub(super) chain: Chain,
    pub(super) author: Author,
    pub(super) bodies: Bodies<BodyDigest>,
}

/// Whose name the message carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Author {
    /// No header was seen.
    #[default]
    Missing,
    /// One domain.
    One(Domain),
    /// It shows none; why, in words.
    Unclear(&'static str),
    /// Mail programs show one, and nobody can say which. No sound program writes such a message;
    /// who wants to get around the policy of the domain that is shown does.
    Hidden(&'static str),
}

/// One thing for each canonical form that is needed.
#[derive(Debug)]
pub(super) struct Bodies<T> {
    simple: Option<T>,
    relaxed: Option<T>,
}

#[derive(Debug, Default)]
enum Part {
    #[default]
    Header,
    Body(Box<Bodies<BodyHash>>),
}

impl Inspector {
    /// An inspector before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes; lines end in CRLF.
    pub fn pass(&mut self, bytes: &[u8]) {
        match &mut self.part {
            Part::Body(hashes) => hashes.each(|hash| hash.update(bytes)),
            Part::Header => {
                let from = self.header.len().saturating_sub(3);
                self.header.extend_from_slice(bytes);
                if let Some(end) = header_end(&self.header, from) {
                    let body = self.header.split_off(end);
                    let mut hashes = self.read_header();
                    hashes.each(|hash| hash.update(body.get(2..).unwrap_or_default()));
                    self.part = Part::Body(Box::new(hashes));
                } else if self.header.len() > MAX_HEADER {
                    self.give_up("the header is larger than any mail program writes");
                }
            }
        }
    }

    /// The message has ended.
    pub fn finish(mut self) -> Inspected {
        let hashes = match std::mem::take(&mut self.part) {
            Part::Body(hashes) => *hashes,
            Part::Header => self.read_header(),
        };
        Inspected {
            header: self.header,
            claims: self.claims,
            chain: self.chain,
            author: self.unreadable.map_or(self.author, Author::Hidden),
            bodies: Bodies {
                simple: hashes.simple.map(BodyHash::finish),
                relaxed: hashes.relaxed.map(BodyHash::finish),
            },
        }
    }

    /// Finds out what is claimed, and so which hashes are needed.
    fn read_header(&mut self) -> Bodies<BodyHash> {
        if self.header.len() > MAX_HEADER
            || memchr::memchr_iter(b'\n', &self.header).count() > MAX_LINES
        {
            self.give_up("the header is larger than any mail program writes");
            return Bodies::NONE;
        }
        let header = Header::parse(&self.header);
        let signatures = header.named("dkim-signature").take(MAX_SIGNATURES);
        self.claims = signatures.map(|field| Claim::parse(&field)).collect();
        self.chain = Chain::parse(&header);
        self.author = author(&header);
        let forms = self.claims.iter().filter_map(Claim::body_form).chain(self.chain.body_form());
        let mut hashes = Bodies::NONE;
        for form in forms {
            hashes.of(form).get_or_insert_with(|| BodyHash::new(form));
        }
        hashes
    }

    fn give_up(&mut self, why: &'static str) {
        self.unreadable = Some(why);
        self.header = Vec::new();
        self.part = Part::Body(Box::new(Bodies::NONE));
    }
}

impl<T> Bodies<T> {
    const NONE: Self = Self { simple: None, relaxed: None };

    pub(super) fn get(&self, form: Canon) -> Option<&T> {
        match form {
            Canon::Simple => self.simple.as_ref(),
            Canon::Relaxed => self.relaxed.as_ref(),
        }
    }

    fn of(&mut self, form: Canon) -> &mut Option<T> {
        match form {
            Canon::Simple => &mut self.simple,
            Canon::Relaxed => &mut self.relaxed,
        }
    }

    fn each(&mut self, mut work: impl FnMut(&mut T)) {
        self.simple.iter_mut().chain(&mut self.relaxed).for_each(&mut work);
    }
}

/// Where the empty line after the header starts; looked for from `from` on.
fn header_end(text: &[u8], from: usize) -> Option<usize> {
    if text.starts_with(b"\r\n") {
        return Some(0);
    }
    let rest = text.get(from..)?;
    memchr::memmem::find(rest, b"\r\n\r\n").map(|at| from + at + 2)
}

fn author(header: &Header<'_>) -> Author {
    let mut fields = header.named("from");
    match (fields.next(), fields.next()) {
        (None, _) => Author::Unclear("the message has no From"),
        (Some(_), Some(_)) => Author::Hidden("the message has more than one From"),
        (Some(field), None) => match author_domains(field.value()).as_deref() {
            Some([domain]) => Author::One(domain.clone()),
            Some(_) => Author::Hidden("From names several domains"),
            None if field.value().contains(&b'@') => Author::Hidden("From cannot be read"),
            None => Author::Unclear("From names no address"),
        },
    }
}

/// A header of real mail has some ten thousand bytes; with all its signatures, seals and traces
/// some tens of thousands.
const MAX_HEADER: usize = 256 << 10;
/// A thousand recipients are named in fewer.
const MAX_LINES: usize = 4000;
