//! The file: blocks one after the other, each with check sums. A block is never changed, but for the
//! last one, which is written again as long as it is not full. Nothing is synced: the system writes it
//! when it writes anything.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::block::{Block, Damaged};
use super::entry::{put, take};
use super::{Shelf, Stretch};
use crate::store::BodyId;

/// What the file begins with; another one is begun anew.
const MAGIC: &[u8; 8] = b"\xAEpillsm\x01";
/// Bytes before each block: the sums of its head and of its bytes, and the lengths of both.
const FIXED: usize = 16;
/// Largest head and block.
const MAX_HEAD: usize = 64 << 10;
const MAX_BLOCK: usize = 4 << 20;

/// The open file.
#[derive(Debug)]
pub(super) struct File {
    file: fs::File,
    /// Behind the last full block.
    end: AtomicU64,
}

/// Where a block's bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    at: u64,
    length: usize,
    sum: [u8; 4],
}

/// Whose summaries a block has, in its order.
type Bodies = Vec<BodyId>;

impl File {
    fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        // It holds everybody's headers.
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(Self { file, end: AtomicU64::new(MAGIC.len() as u64) })
    }

    /// Replaces what is at the path with an empty file.
    pub(super) fn fresh(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = Self::open(path)?;
        file.file.write_all_at(MAGIC, 0)?;
        Ok(file)
    }

    /// Behind the last full block.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    pub(super) fn read(&self, place: Place) -> Result<Block, Unread> {
        let mut bytes = vec![0; place.length];
        self.file.read_exact_at(&mut bytes, place.at)?;
        if sum(&bytes) != place.sum {
            return Err(Damaged.into());
        }
        Ok(Block::unpack(&bytes)?)
    }

    /// Writes a block behind the last full one. One that is not full is written over by the next.
    pub(super) fn append(&self, bodies: &[BodyId], bytes: &[u8], full: bool) -> io::Result<Place> {
        let mut head = Vec::new();
        let mut next = 0;
        put(u64::from(full), &mut head);
        for body in bodies {
            put(body.0 - next, &mut head);
            next = body.0 + 1;
        }
        let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let lengths = [head.len(), bytes.len()].map(u32::try_from);
        let mut fixed = sum(bytes).to_vec();
        for length in lengths {
            fixed.extend_from_slice(&length.map_err(too_large)?.to_le_bytes());
        }
        let mut record = sum(&[&*fixed, &*head].concat()).to_vec();
        record.extend_from_slice(&fixed);
        record.extend_from_slice(&head);
        let start = self.end();
        let at = start + record.len() as u64;
        record.extend_from_slice(bytes);
        self.file.set_len(start)?;
        self.file.write_all_at(&record, start)?;
        if full {
            self.end.store(at + bytes.len() as u64, Ordering::Relaxed);
        }
        Ok(Place { at, length: bytes.len(), sum: sum(bytes) })
    }

    /// The next block: where it is, whose summaries it has, and whether it is full. Nothing at the
    /// end, or where something else stands.
    fn next(&self) -> Option<(Place, Bodies, bool)> {
        let start = self.end();
        let mut fixed = [0; FIXED];
        self.file.read_exact_at(&mut fixed, start).ok()?;
        let (head_sum, rest) = fixed.split_first_chunk::<4>()?;
        let (block_sum, lengths) = rest.split_first_chunk::<4>()?;
        let (head_length, length) = lengths.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(length.try_into().ok()?);
        let head_length = usize::try_from(u32::from_le_bytes(*head_length)).ok()?;
        let length = usize::try_from(length).ok()?;
        if head_length > MAX_HEAD || length > MAX_BLOCK {
            return None;
        }
        let mut head = vec![0; head_length];
        self.file.read_exact_at(&mut head, start + FIXED as u64).ok()?;
        if sum(&[rest, &*head].concat()) != *head_sum {
            return None;
        }
        let mut from = &*head;
        let full = take(&mut from)? == 1;
        let (mut bodies, mut next) = (Vec::new(), 0_u64);
        while !from.is_empty() {
            let body = next.checked_add(take(&mut from)?)?;
            next = body.checked_add(1)?;
            bodies.push(BodyId(body));
        }
        let at = start + (FIXED + head_length) as u64;
        if full {
            self.end.store(at + length as u64, Ordering::Relaxed);
        }
        Some((Place { at, length, sum: *block_sum }, bodies, full))
    }
}

impl Shelf {
    /// What the file holds, as far as it is whole.
    pub(super) fn load(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut magic = [0; MAGIC.len()];
        let begun = file.file.read_exact_at(&mut magic, 0);
        if begun.is_err() || magic != *MAGIC {
            return Ok(Self::fresh(path, 0));
        }
        let mut shelf = Self::default();
        while let Some((place, bodies, full)) = file.next() {
            if full {
                shelf.add(place, &bodies);
                continue;
            }
            if let Ok(entries) = file.read(place).and_then(|block| Ok(block.entries()?)) {
                shelf.tail = entries;
            }
            break;
        }
        shelf.file = Some(Arc::new(file));
        Ok(shelf)
    }

    /// An empty one. Numbers of blocks go on.
    pub(super) fn fresh(path: &Path, next_block: u32) -> Self {
        let file = File::fresh(path)
            .inspect_err(|error| tracing::error!(%error, "summaries of messages cannot be kept"));
        Self { file: file.ok().map(Arc::new), next_block, ..Self::default() }
    }

    /// Takes up a block that is in the file.
    pub(super) fn add(&mut self, place: Place, bodies: &[BodyId]) {
        let block = self.next_block;
        self.next_block += 1;
        self.blocks.insert(block, place);
        let mut open: Option<(u64, Stretch)> = None;
        for (at, body) in (0..).zip(bodies) {
            match &mut open {
                Some((first, stretch)) if *first + u64::from(stretch.count) == body.0 => {
                    stretch.count += 1;
                }
                _ => {
                    self.stretches.extend(open.take());
                    open = Some((body.0, Stretch { count: 1, block, at }));
                }
            }
        }
        self.stretches.extend(open);
    }

    /// Lets go of a block that cannot be read: its summaries are made anew.
    pub(super) fn forget(&mut self, block: u32) {
        self.blocks.remove(&block);
        self.stretches.retain(|_, stretch| stretch.block != block);
        self.seen = None;
    }

    /// The highest body there is.
    pub(super) fn last(&self) -> Option<u64> {
        let stretch = self.stretches.last_key_value();
        let stretch = stretch.map(|(first, stretch)| first + u64::from(stretch.count) - 1);
        stretch.max(self.tail.last().map(|(body, _)| body.0))
    }

    /// Whether a body has a summary.
    pub(super) fn knows(&self, body: BodyId) -> bool {
        let stretch = self.stretches.range(..=body.0).next_back();
        stretch.is_some_and(|(first, stretch)| body.0 - first < stretch.count.into())
            || self.tail.binary_search_by_key(&body, |(known, _)| *known).is_ok()
    }
}

/// Why a block has nothing to tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("the file of summaries cannot be read: {0}")]
    File(#[from] io::Error),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// Against decay, not against malice.
fn sum(bytes: &[u8]) -> [u8; 4] {
    let mut sum = [0; 4];
    blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut sum);
    sum
}
