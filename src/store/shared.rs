//! What the writer and the readers of one store share: its segments, its index, and what each
//! should know of the others.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use super::changes::{KEPT, Recent};
use super::error::StoreError;
use super::event::{ChunkRef, Hash};
use super::index::Index;
use super::keeper::Background;
use super::segment::{Pinned, Segments};
use super::types::Change;
use crate::clock::SharedClock;

/// What the writer and the readers share.
pub(super) struct Shared {
    pub(super) segments: Segments,
    pub(super) index: Index,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) next_body: AtomicU64,
    pub(super) recent: Recent,
    /// Messages being taken in, which will be committed soon.
    pub(super) coming: AtomicUsize,
    pub(super) clock: SharedClock,
    /// The store is being closed: housekeeping ends.
    pub(super) closing: AtomicBool,
    /// When somebody committed something; housekeeping does not count.
    busy: Mutex<Instant>,
    /// Bytes a second that the card has written lately.
    speed: AtomicU64,
    background: Mutex<Background>,
    /// Held by whoever does the housekeeping.
    pub(super) keeping: Mutex<()>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("segments", &self.segments).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(segments: Segments, index: Index, clock: SharedClock) -> Self {
        let (changes, _) = broadcast::channel(CHANGES);
        Self {
            segments,
            index,
            changes,
            next_body: AtomicU64::new(0),
            recent: Recent::new(KEPT),
            coming: AtomicUsize::new(0),
            clock,
            closing: AtomicBool::new(false),
            busy: Mutex::new(Instant::now()),
            speed: AtomicU64::new(USUAL),
            background: Mutex::default(),
            keeping: Mutex::default(),
        }
    }

    /// Somebody commits something now.
    pub(super) fn note_busy(&self) {
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long the card takes to write so much.
    pub(super) fn time_to_write(&self, bytes: u64) -> Duration {
        let speed = self.speed.load(Ordering::Relaxed).max(SLOWEST);
        Duration::from_micros(bytes.saturating_mul(1_000_000) / speed)
    }

    /// Notes what the card has just written, for [`Shared::time_to_write`].
    pub(super) fn note_speed(&self, bytes: u64, time: Duration) {
        if bytes >= SPEED_SAMPLE {
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
            let new = bytes.saturating_mul(1_000_000) / micros;
            let old = self.speed.load(Ordering::Relaxed);
            self.speed.store(old / 4 * 3 + new / 4, Ordering::Relaxed);
        }
    }

    /// How long nobody has committed anything.
    pub(super) fn quiet_for(&self) -> Duration {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Says what housekeeping does now.
    pub(super) fn tell(&self, doing: Background) {
        *self.background.lock().unwrap_or_else(PoisonError::into_inner) = doing;
    }

    /// What housekeeping does now.
    pub(super) fn background(&self) -> Background {
        *self.background.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part that is in the store, kept from being moved away.
    pub(super) fn pinned_part(&self, hash: Hash) -> Result<Option<Pinned>, StoreError> {
        let Some(at) = self.index.part(hash)? else { return Ok(None) };
        let pinned = self.segments.pins.pin(at);
        // Once more: before it was pinned, its segment may have been removed.
        Ok(if self.index.part(hash)? == Some(at) { Some(pinned) } else { None })
    }

    /// Whether these bytes can be read there. A card forgets, and mail that is accepted must not
    /// depend on what it has forgotten.
    pub(super) fn holds(&self, chunk: &ChunkRef, bytes: &[u8]) -> bool {
        let file = self.segments.file(chunk.segment);
        file.and_then(|file| self.segments.chunk(&*file, chunk)).is_ok_and(|found| found == bytes)
    }
}

/// Changes that a slow listener may be behind.
const CHANGES: usize = 1024;
/// Speed of a usual card, and what no card is slower than for long, in bytes a second.
const USUAL: u64 = 20 << 20;
const SLOWEST: u64 = 1 << 20;
/// Bytes written from which on a sync tells something of the card's speed.
const SPEED_SAMPLE: u64 = 256 << 10;
