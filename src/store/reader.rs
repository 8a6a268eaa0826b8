//! Message bytes on their way out: any stretch of a message, with one chunk and one part decoded at
//! a time. Holds no database transaction.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::DiskFile;
use super::error::StoreError;
use super::event::{ChunkRef, PartUse, Stored};
use super::index::Places;
use super::shared::Shared;
use super::types::{BodyId, Content};

/// How often the place of a body is asked for once more when compaction has just moved it.
const TRIES: usize = 5;

/// Random access to a message without holding it in memory.
#[derive(Debug)]
pub struct MessageReader {
    shared: Arc<Shared>,
    prefix: Box<[u8]>,
    /// Stored bytes that are left out at the beginning.
    skip: u64,
    len: u64,
    position: u64,
    spans: Vec<Span>,
    chunks: Vec<ChunkRef>,
    /// Where each chunk ends within the plain stream.
    ends: Vec<u64>,
    parts: Vec<(PartUse, ChunkRef)>,
    /// Held open, so that compaction cannot take them away.
    files: BTreeMap<u32, Arc<dyn DiskFile>>,
    /// The chunk decoded last and the text of the part decoded last, by number.
    chunk: Option<(usize, Vec<u8>)>,
    text: Option<(usize, Vec<u8>)>,
}

/// A stretch of the stored bytes, from where the one before ends.
#[derive(Debug)]
struct Span {
    end: u64,
    len: u64,
    from: From,
}

#[derive(Debug, Clone, Copy)]
enum From {
    /// The plain stream, from this byte on.
    Plain(u64),
    /// A part, by number.
    Part(usize),
}

impl MessageReader {
    /// A message's bytes.
    pub(super) fn message(shared: &Arc<Shared>, content: &Content) -> Result<Self, StoreError> {
        let mut reader = Self::body(shared, content.body)?;
        if reader.len != u64::from(content.skip).saturating_add(content.len) {
            return Err(StoreError::Damaged(format!("body {} has another size", content.body.0)));
        }
        reader.prefix.clone_from(&content.prefix);
        reader.skip = content.skip.into();
        reader.len = content.size();
        Ok(reader)
    }

    /// The bytes that are stored for a body: those of the first message that had it.
    pub(super) fn body(shared: &Arc<Shared>, id: BodyId) -> Result<Self, StoreError> {
        let mut tries = 0..TRIES;
        loop {
            let (stored, places) = shared.index.body(id)?.ok_or(StoreError::NoMessage)?;
            match Self::open(shared, id, stored, &places) {
                // Its segment is gone: it lies elsewhere now.
                Err(StoreError::Disk { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    if tries.next().is_none() {
                        note_missing(shared, id)?;
                        let lost = format!("a segment of body {} is not there", id.0);
                        return Err(StoreError::Damaged(lost));
                    }
                }
                opened => return opened,
            }
        }
    }

    fn open(
        shared: &Arc<Shared>,
        id: BodyId,
        stored: Stored,
        places: &Places,
    ) -> Result<Self, StoreError> {
        let lost = || StoreError::Damaged(format!("a part of body {} is lost", id.0));
        let parts = stored.parts.iter().map(|part| Some((*part, *places.get(&part.hash)?)));
        let parts: Vec<_> = parts.collect::<Option<_>>().ok_or_else(lost)?;
        let mut files = BTreeMap::new();
        for chunk in stored.chunks.iter().chain(parts.iter().map(|(_, at)| at)) {
            if let Entry::Vacant(entry) = files.entry(chunk.segment) {
                entry.insert(shared.segments.file(chunk.segment)?);
            }
        }
        let ends: Vec<u64> = stored
            .chunks
            .iter()
            .scan(0_u64, |end, chunk| {
                *end += u64::from(chunk.raw);
                Some(*end)
            })
            .collect();
        let plain = ends.last().copied().unwrap_or(0);
        let spans = spans(&stored, plain).ok_or_else(lost)?;
        Ok(Self {
            len: spans.last().map_or(0, |span| span.end),
            shared: Arc::clone(shared),
            prefix: Box::default(),
            skip: 0,
            position: 0,
            spans,
            chunks: stored.chunks,
            ends,
            parts,
            files,
            chunk: None,
            text: None,
        })
    }

    /// Bytes of the message.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether these bytes can be read: looks at the checksums of all that they lie in, which
    /// costs a small share of reading them. For who has to announce them before sending the first.
    pub fn check(&self, range: Range<u64>) -> Result<(), StoreError> {
        let inner = |at: u64| {
            let at = at.saturating_sub(self.prefix.len() as u64);
            at.saturating_add(self.skip)
        };
        let (start, end) = (inner(range.start), inner(range.end));
        let first = self.spans.partition_point(|span| span.end <= start);
        let touched = self.spans.iter().skip(first);
        let mut checked = None;
        for span in touched.take_while(|span| span.end - span.len < end) {
            match span.from {
                From::Plain(from) => {
                    let begin = span.end - span.len;
                    let stretch = from + start.max(begin) - begin..from + end.min(span.end) - begin;
                    let first = self.ends.partition_point(|end| *end <= stretch.start);
                    let chunks = self.chunks.iter().zip(&self.ends).enumerate().skip(first);
                    for (number, (chunk, end)) in chunks {
                        if end - u64::from(chunk.raw) >= stretch.end {
                            break;
                        }
                        // Parts lie between: the stretches of one chunk may be many.
                        if checked != Some(number) {
                            self.check_chunk(chunk)?;
                            checked = Some(number);
                        }
                    }
                }
                From::Part(number) => {
                    let part = self.parts.get(number).filter(|(part, at)| part.len == at.raw);
                    let wrong = || StoreError::Damaged("a part has another size".to_owned());
                    self.check_chunk(&part.ok_or_else(wrong)?.1)?;
                }
            }
        }
        Ok(())
    }

    fn check_chunk(&self, chunk: &ChunkRef) -> Result<(), StoreError> {
        match self.files.get(&chunk.segment) {
            Some(file) => self.shared.segments.check(&**file, chunk),
            None => self.shared.segments.file(chunk.segment).map(drop),
        }
    }

    /// The bytes from here to the end of the prefix, chunk or part they are in.
    fn here(&mut self) -> io::Result<&[u8]> {
        let Some(offset) = self.position.checked_sub(self.prefix.len() as u64) else {
            return Ok(self.prefix.get(size(self.position)..).unwrap_or_default());
        };
        let offset = offset.saturating_add(self.skip);
        let number = self.spans.partition_point(|span| span.end <= offset);
        let Some(span) = self.spans.get(number) else { return Ok(&[]) };
        let (within, left) = (offset + span.len - span.end, span.end - offset);
        let bytes = match span.from {
            From::Plain(from) => self.plain(from + within)?,
            From::Part(part) => self.part(part)?.get(size(within)..).unwrap_or_default(),
        };
        Ok(bytes.get(..size(left)).unwrap_or(bytes))
    }

    /// The plain stream from a byte to the end of its chunk.
    fn plain(&mut self, offset: u64) -> io::Result<&[u8]> {
        let number = self.ends.partition_point(|end| *end <= offset);
        let Some((chunk, end)) = self.chunks.get(number).zip(self.ends.get(number)) else {
            return Ok(&[]);
        };
        let skip = size(offset + u64::from(chunk.raw) - end);
        if self.chunk.as_ref().is_none_or(|(decoded, _)| *decoded != number) {
            self.chunk = Some((number, self.decode(chunk)?));
        }
        let bytes = self.chunk.as_ref().and_then(|(_, bytes)| bytes.get(skip..));
        Ok(bytes.unwrap_or_default())
    }

    /// The text of a part.
    fn part(&mut self, number: usize) -> io::Result<&[u8]> {
        if self.text.as_ref().is_none_or(|(decoded, _)| *decoded != number) {
            let (part, at) = self.parts.get(number).ok_or(io::ErrorKind::NotFound)?;
            let (decoded, mut text) = (self.decode(at)?, Vec::new());
            if u32::try_from(decoded.len()) == Ok(part.len) {
                part.form.encode(&decoded, &mut text);
            }
            self.text = Some((number, text));
        }
        Ok(self.text.as_ref().map(|(_, text)| &**text).unwrap_or_default())
    }

    fn decode(&self, chunk: &ChunkRef) -> io::Result<Vec<u8>> {
        let file = self.files.get(&chunk.segment).ok_or(io::ErrorKind::NotFound)?;
        self.shared.segments.chunk(&**file, chunk).map_err(as_io)
    }
}

impl Read for MessageReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.len {
            return Ok(0);
        }
        let here = self.here()?;
        let count = here.len().min(buffer.len());
        if count == 0 && !buffer.is_empty() {
            // Its length says that there is more: a part is not what it should be.
            return Err(io::ErrorKind::InvalidData.into());
        }
        buffer[..count].copy_from_slice(&here[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for MessageReader {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let target = match position {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.len.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Notes which segments of a body are not there.
fn note_missing(shared: &Shared, id: BodyId) -> Result<(), StoreError> {
    let Some((stored, places)) = shared.index.body(id)? else { return Ok(()) };
    for chunk in stored.chunks.iter().chain(places.values()) {
        let segments = &shared.segments;
        // Any other failure says nothing of the file.
        let gone = segments.file(chunk.segment).is_err_and(|error| {
            matches!(error, StoreError::Disk { source, .. } if source.kind() == io::ErrorKind::NotFound)
        });
        if gone && segments.marks.note_missing(chunk.segment) {
            segments.damaged.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The order of plain bytes and parts; nothing when the parts do not fit into the plain stream.
fn spans(stored: &Stored, plain: u64) -> Option<Vec<Span>> {
    let (mut spans, mut end, mut taken) = (Vec::new(), 0_u64, 0_u64);
    let mut push = |len: u64, from: From| {
        end = end.checked_add(len)?;
        if len > 0 {
            spans.push(Span { end, len, from });
        }
        Some(())
    };
    for (number, part) in stored.parts.iter().enumerate() {
        let at = part.at.checked_add(stored.lead.into()).filter(|at| *at <= plain)?;
        push(at.checked_sub(taken)?, From::Plain(taken))?;
        push(part.text_len(), From::Part(number))?;
        taken = at;
    }
    push(plain.checked_sub(taken)?, From::Plain(taken))?;
    Some(spans)
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn as_io(error: StoreError) -> io::Error {
    match error {
        StoreError::Disk { source, .. } => source,
        StoreError::Damaged(_) => io::Error::new(io::ErrorKind::InvalidData, error),
        _ => io::Error::other(error),
    }
}
