//! A structure taken down as numbers, beside the header fields it was read from: what has to be
//! kept of a message so that it need not be read again. Whatever does not come back as it was is
//! not taken down.

use super::scan::{self, Field};
use super::{Inside, MediaType, Part, PartId, Structure};

/// The part has a message's header.
const MESSAGE: u64 = 1;
/// It is a message unless it says otherwise: a part of a digest.
const DIGEST: u64 = 2;
/// Its type is hidden, because it could not be taken apart.
const HIDDEN: u64 = 4;
/// It holds other parts, or one message.
const PARTS: u64 = 8;
const INNER: u64 = 16;

/// Whether a header field of this name tells something of a part, or of a message.
pub fn describes(name: &[u8], message: bool) -> bool {
    Field::named(name, message).is_some()
}

impl Structure {
    /// Where all parts lie and how they lie in each other: with the fields of each part's header
    /// that [`describes`], in order, [`Structure::from_outline`] makes the same structure again.
    pub fn outline(&self) -> Vec<u64> {
        let mut numbers = vec![self.rest.len() as u64];
        let mut before = 0_u64;
        for part in self.parts() {
            let mut flags = 0;
            if part.head.is_some() {
                flags |= MESSAGE;
            } else if part.media == MediaType::message() {
                flags |= DIGEST;
            }
            if part.media == MediaType::unknown() {
                flags |= HIDDEN;
            }
            flags |= match part.inside {
                Inside::Leaf => 0,
                Inside::Parts(_) => PARTS,
                Inside::Message(_) => INNER,
            };
            numbers.push(flags);
            numbers.push(part.header.start.wrapping_sub(before));
            numbers.push(part.header.end.wrapping_sub(part.header.start));
            numbers.push(part.body.start.wrapping_sub(part.header.end));
            numbers.push(part.body.end.wrapping_sub(part.body.start));
            numbers.push(part.lines);
            match &part.inside {
                Inside::Leaf => {}
                Inside::Message(id) => numbers.push(id.0 as u64),
                Inside::Parts(ids) => {
                    numbers.push(ids.len() as u64);
                    numbers.extend(ids.iter().map(|id| id.0 as u64));
                }
            }
            before = part.header.start;
        }
        numbers
    }

    /// Takes so many bytes away from the beginning and puts others there: whole header fields that
    /// [`describes`] does not name.
    pub fn shift(&mut self, away: u64, before: u64) {
        let moved = |at: u64| at.saturating_sub(away).saturating_add(before);
        for part in std::iter::once(&mut self.root).chain(&mut self.rest) {
            part.header = moved(part.header.start)..moved(part.header.end);
            part.body = moved(part.body.start)..moved(part.body.end);
        }
        self.root.header.start = 0;
    }

    /// Makes a structure of its outline; `fields` gives what each part's header says, the root
    /// first. Nothing when these are no structure.
    pub fn from_outline<'a>(
        mut number: impl FnMut() -> Option<u64>,
        mut fields: impl FnMut() -> Option<&'a [u8]>,
    ) -> Option<Self> {
        let count = usize::try_from(number()?).ok()?;
        let mut before = 0_u64;
        let mut part = |own: usize| {
            let flags = number()?;
            let is = |flag| flags & flag != 0;
            let mut part = scan::described(fields()?, is(MESSAGE), is(DIGEST));
            if is(HIDDEN) {
                part.media = MediaType::unknown();
            }
            let start = before.checked_add(number()?)?;
            let end = start.checked_add(number()?)?;
            let body = end.checked_add(number()?)?;
            (part.header, part.body) = (start..end, body..body.checked_add(number()?)?);
            part.lines = number()?;
            before = start;
            // Parts come behind what holds them: so nothing holds itself.
            let child = |id: u64| {
                let id = usize::try_from(id).ok()?;
                (own < id && id <= count).then_some(PartId(id))
            };
            part.inside = if is(INNER) {
                Inside::Message(child(number()?)?)
            } else if is(PARTS) {
                let children = number()?;
                Inside::Parts((0..children).map(|_| child(number()?)).collect::<Option<_>>()?)
            } else {
                Inside::Leaf
            };
            Some(part)
        };
        let root = part(0)?;
        let rest = (1..=count).map(&mut part).collect::<Option<Vec<Part>>>()?;
        Some(Self { root, rest })
    }
}
