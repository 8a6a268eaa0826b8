//! Neighbouring entries, compressed together: one text is like the next, and a list of messages
//! wants them one after the other. The previews are compressed apart, because they are seldom
//! wanted.

use std::io;
use std::sync::{Arc, OnceLock};

use super::entry::{Entry, put, take};
use crate::store::BodyId;

/// Entries of a block, and the bytes from which on it has enough.
pub(super) const FULL: usize = 64;
pub(super) const FULL_BYTES: usize = 128 << 10;
/// zstd's level: a block is written once and made in the background.
const LEVEL: i32 = 12;
/// Largest block unpacked: entries have limits.
const MOST_BYTES: usize = 4 << 20;

/// A block in memory.
#[derive(Debug)]
pub(super) struct Block {
    bodies: Vec<BodyId>,
    bytes: Vec<u8>,
    /// Where each entry's numbers and text end; numbers stand before all texts.
    ends: Vec<(usize, usize)>,
    /// Where the numbers and the texts begin.
    begin: usize,
    texts: usize,
    packed_previews: Vec<u8>,
    previews: OnceLock<Option<Vec<String>>>,
}

/// What cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("a block of summaries is damaged")]
pub(super) struct Damaged;

/// Packs entries, ascending by body, into what [`Block::unpack`] takes.
pub(super) fn pack(entries: &[(BodyId, Arc<Entry>)]) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    put(entries.len() as u64, &mut plain);
    let mut next = 0;
    for (body, entry) in entries {
        put(body.0 - next, &mut plain);
        next = body.0 + 1;
        put(entry.numbers.len() as u64, &mut plain);
        put(entry.text.len() as u64, &mut plain);
    }
    plain.extend(entries.iter().flat_map(|(_, entry)| &entry.numbers));
    plain.extend(entries.iter().flat_map(|(_, entry)| &entry.text));
    let mut previews = Vec::new();
    for (_, entry) in entries {
        put(entry.preview.len() as u64, &mut previews);
    }
    previews.extend(entries.iter().flat_map(|(_, entry)| entry.preview.as_bytes()));
    let (packed, previews) = (compress(&plain)?, compress(&previews)?);
    let mut out = Vec::with_capacity(packed.len() + previews.len() + 5);
    put(packed.len() as u64, &mut out);
    out.extend_from_slice(&packed);
    out.extend_from_slice(&previews);
    Ok(out)
}

impl Block {
    pub(super) fn unpack(mut packed: &[u8]) -> Result<Self, Damaged> {
        Self::parse(&mut packed).ok_or(Damaged)
    }

    fn parse(packed: &mut &[u8]) -> Option<Self> {
        let length = usize::try_from(take(packed)?).ok()?;
        let (entries, previews) = packed.split_at_checked(length)?;
        let bytes = decompress(entries)?;
        let mut rest = &*bytes;
        let count = usize::try_from(take(&mut rest)?).ok().filter(|count| *count <= FULL)?;
        let (mut bodies, mut ends) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut numbers, mut text, mut next) = (0_usize, 0_usize, 0_u64);
        for _ in 0..count {
            let body = next.checked_add(take(&mut rest)?)?;
            next = body.checked_add(1)?;
            numbers = numbers.checked_add(usize::try_from(take(&mut rest)?).ok()?)?;
            text = text.checked_add(usize::try_from(take(&mut rest)?).ok()?)?;
            bodies.push(BodyId(body));
            ends.push((numbers, text));
        }
        if numbers.checked_add(text)? != rest.len() {
            return None;
        }
        let begin = bytes.len() - rest.len();
        let texts = begin + numbers;
        for (numbers_end, text_end) in &mut ends {
            *numbers_end += begin;
            *text_end += texts;
        }
        let packed_previews = previews.to_vec();
        let previews = OnceLock::new();
        Some(Self { bodies, bytes, ends, begin, texts, packed_previews, previews })
    }

    /// An entry's numbers and text.
    pub(super) fn entry(&self, at: u32) -> Option<(&[u8], &[u8])> {
        let at = usize::try_from(at).ok()?;
        let (numbers_end, text_end) = *self.ends.get(at)?;
        let (numbers, text) = match at.checked_sub(1).and_then(|before| self.ends.get(before)) {
            Some((numbers, text)) => (*numbers, *text),
            None => (self.begin, self.texts),
        };
        Some((self.bytes.get(numbers..numbers_end)?, self.bytes.get(text..text_end)?))
    }

    /// An entry's preview.
    pub(super) fn preview(&self, at: u32) -> Option<String> {
        let previews = self.previews.get_or_init(|| self.unpack_previews()).as_ref()?;
        previews.get(usize::try_from(at).ok()?).cloned()
    }

    /// The entries as they were packed.
    pub(super) fn entries(&self) -> Result<Vec<(BodyId, Arc<Entry>)>, Damaged> {
        let mut entries = Vec::with_capacity(self.bodies.len());
        for (at, body) in (0..).zip(&self.bodies) {
            let (numbers, text) = self.entry(at).ok_or(Damaged)?;
            let preview = self.preview(at).ok_or(Damaged)?;
            let entry = Entry { numbers: numbers.to_vec(), text: text.to_vec(), preview };
            entries.push((*body, Arc::new(entry)));
        }
        Ok(entries)
    }

    fn unpack_previews(&self) -> Option<Vec<String>> {
        let bytes = decompress(&self.packed_previews)?;
        let mut rest = &*bytes;
        let lengths: Vec<u64> =
            self.bodies.iter().map(|_| take(&mut rest)).collect::<Option<_>>()?;
        let mut previews = Vec::with_capacity(lengths.len());
        for length in lengths {
            let (text, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            previews.push(String::from_utf8(text.to_vec()).ok()?);
            rest = after;
        }
        Some(previews)
    }
}

fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    put(bytes.len() as u64, &mut packed);
    packed.extend_from_slice(&zstd::bulk::compress(bytes, LEVEL)?);
    Ok(packed)
}

fn decompress(mut packed: &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(take(&mut packed)?).ok().filter(|length| *length <= MOST_BYTES)?;
    zstd::bulk::decompress(packed, length).ok().filter(|bytes| bytes.len() == length)
}
