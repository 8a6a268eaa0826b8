//! Message bytes on their way in and out. Going in they are cut into chunks, compressed each for
//! itself, and streamed to the log unsynced; the last chunk waits in memory for the commit, so that
//! a small message which is never committed never touches the card. Coming out one chunk at a time
//! is decoded.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Store;
use super::disk::DiskFile;
use super::error::StoreError;
use super::event::{ChunkRef, Stored};
use super::record;
use super::types::{BodyId, Content};
use super::writer::{Command, Shared};

/// Bytes of a full chunk.
pub(super) const CHUNK: usize = 128 << 10;

/// Takes in one message's bytes.
#[derive(Debug)]
pub struct BodyWriter {
    store: Store,
    len: u64,
    buffer: Vec<u8>,
    written: Vec<ChunkRef>,
    /// The chunk that is being written; one at a time, so that a slow card slows the sender.
    underway: Option<oneshot::Receiver<Result<ChunkRef, StoreError>>>,
}

impl BodyWriter {
    pub(super) fn new(store: Store) -> Self {
        Self { store, len: 0, buffer: Vec::new(), written: Vec::new(), underway: None }
    }

    /// Adds bytes; waits when the card is slower than the sender.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            if self.buffer.len() == CHUNK {
                self.flush().await?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            self.len += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the message. It is durable, and exists at all, only once a commit names it.
    pub async fn finish(mut self) -> Result<Body, StoreError> {
        self.settle().await?;
        let tail = if self.buffer.is_empty() { None } else { Some(Packed::new(&self.buffer)?) };
        let parts = Parts { written: self.written, tail };
        Ok(Body::new(self.store.next_body(), self.len, parts))
    }

    /// Sends the full buffer to the log.
    async fn flush(&mut self) -> Result<(), StoreError> {
        let chunk = Packed::new(&self.buffer)?;
        self.buffer.clear();
        self.settle().await?;
        let (reply, underway) = oneshot::channel();
        self.store.send(Command::Chunk { chunk, reply }).await?;
        self.underway = Some(underway);
        Ok(())
    }

    /// Waits for the chunk that is being written.
    async fn settle(&mut self) -> Result<(), StoreError> {
        if let Some(underway) = self.underway.take() {
            self.written.push(underway.await.map_err(|_| StoreError::Closed)??);
        }
        Ok(())
    }
}

/// A message taken in and not yet committed; may be named several times in one batch.
#[derive(Debug, Clone)]
pub struct Body(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: BodyId,
    size: u64,
    parts: Mutex<Parts>,
}

/// Where a body's bytes are.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) written: Vec<ChunkRef>,
    /// The last chunk, until a commit has brought it to the log.
    pub(super) tail: Option<Packed>,
}

impl Body {
    pub(super) fn new(id: BodyId, size: u64, parts: Parts) -> Self {
        Self(Arc::new(Inner { id, size, parts: Mutex::new(parts) }))
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    pub(super) fn id(&self) -> BodyId {
        self.0.id
    }

    /// Looks at or changes where the bytes are.
    pub(super) fn parts<T>(&self, with: impl FnOnce(&mut Parts) -> T) -> T {
        with(&mut self.0.parts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A chunk ready for the log.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) payload: Vec<u8>,
    /// Bytes it stands for.
    pub(super) raw: u32,
}

impl Packed {
    pub(super) fn new(raw: &[u8]) -> Result<Self, StoreError> {
        let len = u32::try_from(raw.len()).map_err(|_| StoreError::TooLarge)?;
        Ok(Self { payload: record::pack(raw)?, raw: len })
    }
}

/// Random access to a message without holding it in memory. Holds no database transaction.
#[derive(Debug)]
pub struct MessageReader {
    shared: Arc<Shared>,
    prefix: Box<[u8]>,
    chunks: Vec<ChunkRef>,
    /// Where each chunk ends within the body.
    ends: Vec<u64>,
    /// Held open, so that compaction cannot take them away.
    files: BTreeMap<u32, Arc<dyn DiskFile>>,
    /// The chunk decoded last, by number.
    decoded: Option<(usize, Vec<u8>)>,
    position: u64,
    len: u64,
}

impl MessageReader {
    pub(super) fn new(
        shared: Arc<Shared>,
        content: &Content,
        stored: Stored,
    ) -> Result<Self, StoreError> {
        if stored.size() != content.body_size {
            return Err(StoreError::Damaged(format!("body {} has another size", content.body.0)));
        }
        let mut files = BTreeMap::new();
        for chunk in &stored.chunks {
            if let Entry::Vacant(entry) = files.entry(chunk.segment) {
                entry.insert(shared.segments.file(chunk.segment)?);
            }
        }
        let ends = stored.chunks.iter().scan(0, |end, chunk| {
            *end += u64::from(chunk.raw);
            Some(*end)
        });
        Ok(Self {
            ends: ends.collect(),
            len: content.prefix.len() as u64 + stored.size(),
            prefix: content.prefix.clone(),
            chunks: stored.chunks,
            files,
            decoded: None,
            position: 0,
            shared,
        })
    }

    /// Bytes of prefix and body.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes from here to the end of the prefix or chunk they are in.
    fn here(&mut self) -> io::Result<&[u8]> {
        let prefix_len = self.prefix.len() as u64;
        let Some(offset) = self.position.checked_sub(prefix_len) else {
            let skip = usize::try_from(self.position).unwrap_or(usize::MAX);
            return Ok(self.prefix.get(skip..).unwrap_or_default());
        };
        let number = self.ends.partition_point(|end| *end <= offset);
        let Some((chunk, end)) = self.chunks.get(number).zip(self.ends.get(number)) else {
            return Ok(&[]);
        };
        let skip = usize::try_from(offset + u64::from(chunk.raw) - end).unwrap_or(usize::MAX);
        if self.decoded.as_ref().is_none_or(|(decoded, _)| *decoded != number) {
            let file = self.files.get(&chunk.segment).ok_or(io::ErrorKind::NotFound)?;
            let bytes = self.shared.segments.chunk(&**file, chunk);
            self.decoded = Some((number, bytes.map_err(as_io)?));
        }
        let bytes = self.decoded.as_ref().and_then(|(_, bytes)| bytes.get(skip..));
        Ok(bytes.unwrap_or_default())
    }
}

impl Read for MessageReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let here = self.here()?;
        let count = here.len().min(buffer.len());
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

fn as_io(error: StoreError) -> io::Error {
    match error {
        StoreError::Disk { source, .. } => source,
        StoreError::Damaged(_) => io::Error::new(io::ErrorKind::InvalidData, error),
        _ => io::Error::other(error),
    }
}
