//! Message bytes on their way in. What arrives is split in a plain stream and parts that came in
//! base64 (`transfer.rs`); the plain stream is cut into chunks, each compressed for itself, and a
//! part that the box has already is not stored again. What does not fit into memory goes to the log
//! at once, unsynced; the rest waits for the commit, so that a small message which is never
//! committed never touches the card.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Store;
use super::error::StoreError;
use super::event::{ChunkRef, Hash, PartUse, Stored};
use super::packing::Dictionaries;
use super::record::RECORD_HEADER;
use super::segment::Pinned;
use super::shared::Shared;
use super::transfer::{Form, Piece, Splitter};
use super::types::{BodyId, Content};
use super::writer::Command;
use crate::mail::threading::{HeaderHead, Threading};

/// Bytes of a full chunk of the plain stream.
pub(super) const CHUNK: usize = 128 << 10;
/// Bytes of parts that wait in memory for the commit.
pub(super) const WAITING_PARTS: usize = 256 << 10;
/// Bytes split at once, which bounds what the splitter gives back at once.
const SLICE: usize = 64 << 10;

/// Takes in one message's bytes.
#[derive(Debug)]
pub struct BodyWriter {
    store: Store,
    /// Tells the writer that somebody is about to commit.
    _coming: Coming,
    splitter: Splitter,
    head: HeaderHead,
    len: u64,
    plain: Vec<u8>,
    plain_len: u64,
    parts: Parts,
    waiting: usize,
    /// What is being written; one at a time, so that a slow card slows the sender.
    underway: Option<Underway>,
}

/// A chunk of the part, or of the plain stream, and the answer.
type Underway = (Option<Hash>, oneshot::Receiver<Result<Pinned, StoreError>>);

impl BodyWriter {
    pub(super) fn new(store: Store) -> Self {
        Self {
            _coming: Coming::new(store.shared()),
            store,
            splitter: Splitter::new(),
            head: HeaderHead::default(),
            len: 0,
            plain: Vec::new(),
            plain_len: 0,
            parts: Parts::default(),
            waiting: 0,
            underway: None,
        }
    }

    /// Adds bytes; waits when the card is slower than the sender.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        for slice in bytes.chunks(SLICE) {
            self.len += slice.len() as u64;
            self.head.pass(slice);
            let mut pieces = Vec::new();
            self.splitter.feed(slice, &mut |piece| pieces.push(Taken::from(piece)));
            self.take(pieces).await?;
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
        let mut pieces = Vec::new();
        let splitter = std::mem::take(&mut self.splitter);
        splitter.finish(&mut |piece| pieces.push(Taken::from(piece)));
        self.take(pieces).await?;
        self.settle().await?;
        if !self.plain.is_empty() {
            self.parts.chunks.push(Lump::Raw(self.plain));
        }
        let threading = self.head.threading();
        Ok(Body::new(self.store.next_body(), self.len, threading, self.parts))
    }

    async fn take(&mut self, pieces: Vec<Taken>) -> Result<(), StoreError> {
        for piece in pieces {
            match piece {
                Taken::Plain(bytes) => self.take_plain(&bytes).await?,
                Taken::Part(form, decoded) => self.take_part(form, &decoded).await?,
            }
        }
        Ok(())
    }

    async fn take_plain(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.plain_len += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.plain.len() == CHUNK {
                let chunk = Packed::plain(&self.store.shared().segments.dictionaries, &self.plain)?;
                self.plain.clear();
                self.send(None, chunk).await?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.plain.len()));
            self.plain.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    async fn take_part(&mut self, form: Form, decoded: &[u8]) -> Result<(), StoreError> {
        let shared = Arc::clone(self.store.shared());
        let hash = Hash::of(&shared.segments.key, decoded);
        let len = u32::try_from(decoded.len()).map_err(|_| StoreError::TooLarge)?;
        self.parts.uses.push(PartUse { at: self.plain_len, form, len, hash });
        if self.parts.lumps.contains_key(&hash) {
            return Ok(());
        }
        if let Some(known) = shared.pinned_part(hash)? {
            if shared.holds(&known.chunk, decoded) {
                self.parts.bytes += u64::from(known.chunk.stored);
                self.parts.lumps.insert(hash, Lump::Written(known));
                return Ok(());
            }
            self.parts.healed.insert(hash);
        }
        let packed = Packed::part(&shared.segments.dictionaries, decoded)?;
        self.waiting += packed.payload.len();
        self.parts.bytes += (RECORD_HEADER + packed.payload.len()) as u64;
        self.parts.lumps.insert(hash, Lump::Packed(packed));
        if self.waiting > WAITING_PARTS {
            self.waiting = 0;
            let waiting =
                |(hash, lump): (&Hash, &Lump)| matches!(lump, Lump::Packed(_)).then_some(*hash);
            let hashes: Vec<_> = self.parts.lumps.iter().filter_map(waiting).collect();
            for hash in hashes {
                if let Some(Lump::Packed(packed)) = self.parts.lumps.remove(&hash) {
                    self.send(Some(hash), packed).await?;
                }
            }
            self.settle().await?;
        }
        Ok(())
    }

    /// Sends a chunk to the log: of a part, or of the plain stream.
    async fn send(&mut self, part: Option<Hash>, chunk: Packed) -> Result<(), StoreError> {
        self.settle().await?;
        let (reply, underway) = oneshot::channel();
        self.store.send(Command::Chunk { chunk, reply }).await?;
        self.underway = Some((part, underway));
        Ok(())
    }

    /// Waits for the chunk that is being written.
    async fn settle(&mut self) -> Result<(), StoreError> {
        if let Some((part, underway)) = self.underway.take() {
            let written = Lump::Written(underway.await.map_err(|_| StoreError::Closed)??);
            match part {
                Some(hash) => drop(self.parts.lumps.insert(hash, written)),
                None => self.parts.chunks.push(written),
            }
        }
        Ok(())
    }
}

/// A piece that outlives the call that made it.
enum Taken {
    Plain(Vec<u8>),
    Part(Form, Vec<u8>),
}

impl From<Piece<'_>> for Taken {
    fn from(piece: Piece<'_>) -> Self {
        match piece {
            Piece::Plain(bytes) => Self::Plain(bytes.to_vec()),
            Piece::Base64 { form, decoded } => Self::Part(form, decoded),
        }
    }
}

/// One more message that will be committed soon, as long as this lives.
#[derive(Debug)]
struct Coming(Arc<Shared>);

impl Coming {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.coming.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.coming.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A message taken in and not yet committed; may be named several times in one batch.
#[derive(Debug, Clone)]
pub struct Body(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: BodyId,
    size: u64,
    threading: Threading,
    parts: Mutex<Parts>,
}

/// Where a body's bytes are.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The prefix that is stored with the body, once that is decided.
    pub(super) lead: Option<Box<[u8]>>,
    pub(super) chunks: Vec<Lump>,
    pub(super) uses: Vec<PartUse>,
    pub(super) lumps: BTreeMap<Hash, Lump>,
    /// Parts that the box should have and cannot read any more.
    pub(super) healed: BTreeSet<Hash>,
    /// Bytes of all its parts, written or not.
    pub(super) bytes: u64,
}

/// A chunk on its way into the log.
#[derive(Debug)]
pub(super) enum Lump {
    /// The end of the plain stream, which may get a prefix.
    Raw(Vec<u8>),
    Packed(Packed),
    Written(Pinned),
}

impl Body {
    pub(super) fn new(id: BodyId, size: u64, threading: Threading, parts: Parts) -> Self {
        Self(Arc::new(Inner { id, size, threading, parts: Mutex::new(parts) }))
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    pub(super) fn id(&self) -> BodyId {
        self.0.id
    }

    /// Which messages it names.
    pub(super) fn threading(&self) -> &Threading {
        &self.0.threading
    }

    /// The content of a message that has this prefix. The first prefix is stored with the body,
    /// where it is compressed with it, when the beginning was not written yet. To be read once a
    /// batch that names the body is committed.
    pub fn content(&self, prefix: &[u8]) -> Content {
        self.parts(|parts| {
            let movable = matches!(parts.chunks[..], [] | [Lump::Raw(_)]);
            let first = if movable { prefix } else { &[] };
            let lead = parts.lead.get_or_insert_with(|| first.into());
            let stored = **lead == *prefix;
            let (prefix, skip) = if stored { (&[][..], 0) } else { (prefix, lead.len()) };
            let len = if stored { lead.len() as u64 + self.size() } else { self.size() };
            // A prefix is at most 64 KiB.
            let skip = u32::try_from(skip).unwrap_or(u32::MAX);
            Content { prefix: prefix.into(), body: self.id(), skip, len }
        })
    }

    /// Bytes of its parts, whether somebody has them already or not; told once.
    pub(super) fn take_part_bytes(&self) -> u64 {
        self.parts(|parts| std::mem::take(&mut parts.bytes))
    }

    /// Compresses what is not yet.
    pub(super) fn pack(&self, dictionaries: &Dictionaries) -> Result<(), StoreError> {
        self.parts(|parts| {
            let mut raw = Vec::new();
            let lead = parts.lead.get_or_insert_default();
            match parts.chunks.last_mut() {
                Some(Lump::Raw(rest)) => raw = std::mem::take(rest),
                None if !lead.is_empty() => parts.chunks.push(Lump::Raw(Vec::new())),
                _ => return Ok(()),
            }
            if parts.chunks.len() == 1 {
                raw.splice(0..0, lead.iter().copied());
            }
            let packed = Lump::Packed(Packed::plain(dictionaries, &raw)?);
            parts.chunks.pop();
            parts.chunks.push(packed);
            Ok(())
        })
    }

    /// Puts what is not yet in the log there, by `write`, and says where all of it lies.
    pub(super) fn place(
        &self,
        mut write: impl FnMut(&Packed) -> Result<ChunkRef, StoreError>,
    ) -> Result<Placed, StoreError> {
        self.parts(|parts| {
            let mut place = |lump: &Lump| match lump {
                Lump::Written(at) => Ok(at.chunk),
                Lump::Packed(packed) => write(packed),
                Lump::Raw(_) => Err(StoreError::Closed),
            };
            let lead = parts.lead.as_ref().map_or(0, |lead| lead.len());
            Ok(Placed {
                stored: Stored {
                    lead: u32::try_from(lead).map_err(|_| StoreError::TooLarge)?,
                    chunks: parts.chunks.iter().map(&mut place).collect::<Result<_, _>>()?,
                    parts: parts.uses.clone(),
                },
                parts: parts
                    .lumps
                    .iter()
                    .map(|(hash, lump)| Ok((*hash, place(lump)?)))
                    .collect::<Result<_, StoreError>>()?,
                healed: parts.healed.clone(),
            })
        })
    }

    /// Notes that it lies there.
    pub(super) fn written(&self, placed: &Placed, pin: impl Fn(ChunkRef) -> Pinned) {
        self.parts(|parts| {
            for (lump, at) in parts.chunks.iter_mut().zip(&placed.stored.chunks) {
                *lump = Lump::Written(pin(*at));
            }
            for (hash, at) in &placed.parts {
                parts.lumps.insert(*hash, Lump::Written(pin(*at)));
            }
        });
    }

    /// The prefix that is stored with it.
    #[cfg(test)]
    pub(super) fn lead(&self) -> Vec<u8> {
        self.parts(|parts| parts.lead.as_deref().unwrap_or_default().to_vec())
    }

    fn parts<T>(&self, with: impl FnOnce(&mut Parts) -> T) -> T {
        with(&mut self.0.parts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where everything of a body lies.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) stored: Stored,
    pub(super) parts: Vec<(Hash, ChunkRef)>,
    /// Those that are told of even if they are known: they cannot be read where they were.
    pub(super) healed: BTreeSet<Hash>,
}

/// A chunk ready for the log.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) payload: Vec<u8>,
    /// Bytes it stands for.
    pub(super) raw: u32,
}

impl Packed {
    /// Of the plain stream.
    pub(super) fn plain(dictionaries: &Dictionaries, raw: &[u8]) -> Result<Self, StoreError> {
        Self::new(raw, dictionaries.newest().pack(raw)?)
    }

    /// Of a part.
    pub(super) fn part(dictionaries: &Dictionaries, raw: &[u8]) -> Result<Self, StoreError> {
        Self::new(raw, dictionaries.pack_part(raw)?)
    }

    fn new(raw: &[u8], payload: Vec<u8>) -> Result<Self, StoreError> {
        Ok(Self { payload, raw: u32::try_from(raw.len()).map_err(|_| StoreError::TooLarge)? })
    }
}
