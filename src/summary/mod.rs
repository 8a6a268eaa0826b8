//! What lists of messages need, kept so that no message is read for them: the header fields that
//! mail programs ask for, how the parts lie, and the first words.
//!
//! A summary belongs to a body. It is made when [`crate::search`] reads the body anyway, lies with
//! its neighbours in a compressed [`block`], and the blocks lie one after the other in a [`file`]
//! beside the store. Whoever asks gets a summary or nothing, and reads the message then: both give
//! the same to the byte. So nothing is lost with the file, which is never synced: what a power cut or
//! a failing card takes away is found out by check sums, and made anew.

mod block;
mod entry;
mod file;
mod keep;

pub use entry::{KEPT, Summary, is_kept};
pub use keep::SummaryError;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test")]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::{BodyId, Content, Store};
use block::Block;
use entry::Entry;
use file::{File, Place};

/// File name, in the store's folder.
pub const FILE: &str = "summaries";

/// Unpacked blocks kept in memory, some 100 kB each.
const CACHED: usize = 8;

/// The summaries of one store.
#[derive(Debug)]
pub struct Summaries {
    path: PathBuf,
    shelf: Mutex<Shelf>,
    cache: Mutex<VecDeque<(u32, Arc<Block>)>>,
}

/// Where the summaries are.
#[derive(Debug, Default)]
struct Shelf {
    /// Nothing when it cannot be made: then all but the last summaries are forgotten.
    file: Option<Arc<File>>,
    /// By their numbers; a number is given once while the program runs.
    blocks: BTreeMap<u32, Place>,
    /// Bodies by the first of a stretch without gaps: how many there are, and in which block.
    stretches: BTreeMap<u64, Stretch>,
    /// Not enough for a block yet, ascending by body.
    tail: Vec<(BodyId, Arc<Entry>)>,
    /// The tail is not all in the file.
    unsaved: bool,
    /// All bodies up to here were looked at.
    seen: Option<BodyId>,
    next_block: u32,
}

/// Neighbours in a block.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    count: u32,
    block: u32,
    /// Place in the block of the first of them.
    at: u32,
}

/// How many summaries there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bodies summarised, some of which may be gone from the store.
    pub bodies: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
}

impl Summaries {
    /// Opens the summaries in the store's folder. A file that is damaged is used as far as it is
    /// whole; one that knows bodies the store never had is of another store, and is begun anew.
    pub fn open(folder: &Path, store: &Store) -> Self {
        let path = folder.join(FILE);
        let mut shelf = Shelf::load(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "summaries of messages are made anew");
            Shelf::default()
        });
        let horizon = store.body_horizon().0;
        if shelf.file.is_none() || shelf.last().is_some_and(|last| last >= horizon) {
            shelf = Shelf::fresh(&path, 0);
        }
        Self { path, shelf: Mutex::new(shelf), cache: Mutex::default() }
    }

    /// The summary of a stored body; nothing when there is none, or none yet.
    pub fn body(&self, body: BodyId) -> Option<Summary> {
        let (number, at) = {
            let known = self.shelf();
            if let Ok(found) = known.tail.binary_search_by_key(&body, |(body, _)| *body) {
                return known.tail.get(found).and_then(|(_, entry)| Summary::of_entry(entry));
            }
            let (first, stretch) = known.stretches.range(..=body.0).next_back()?;
            let offset = u32::try_from(body.0 - first).ok().filter(|at| *at < stretch.count)?;
            (stretch.block, stretch.at + offset)
        };
        Summary::of_block(self.block(number)?, at)
    }

    /// The summary of a message: of its body, and of header fields before it if it has any of its
    /// own. Nothing when there is none, or none that can tell of this message.
    pub fn message(&self, content: &Content) -> Option<Summary> {
        let summary = self.body(content.body)?;
        let whole = summary.length()? == content.stored_size();
        if !whole {
            // Of another store, then.
            tracing::warn!(body = content.body.0, "summaries of messages are made anew");
            self.begin_anew();
            return None;
        }
        summary.behind(content)
    }

    /// Sizes and counts.
    pub fn stats(&self) -> Stats {
        let known = self.shelf();
        let kept: u64 = known.stretches.values().map(|stretch| u64::from(stretch.count)).sum();
        Stats {
            bodies: kept + known.tail.len() as u64,
            file_bytes: known.file.as_ref().map_or(0, |file| file.end()),
        }
    }

    fn block(&self, number: u32) -> Option<Arc<Block>> {
        let cached = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut cache = cached();
            if let Some(at) = cache.iter().position(|(known, _)| *known == number) {
                let found = cache.remove(at)?;
                cache.push_front(found);
                return cache.front().map(|(_, block)| Arc::clone(block));
            }
        }
        let (file, place) = {
            let known = self.shelf();
            (Arc::clone(known.file.as_ref()?), *known.blocks.get(&number)?)
        };
        let block = match file.read(place) {
            Ok(block) => Arc::new(block),
            Err(error) => {
                tracing::warn!(%error, "some summaries of messages are made anew");
                self.shelf().forget(number);
                return None;
            }
        };
        let mut cache = cached();
        cache.truncate(CACHED - 1);
        cache.push_front((number, Arc::clone(&block)));
        Some(block)
    }

    fn begin_anew(&self) {
        let mut known = self.shelf();
        *known = Shelf::fresh(&self.path, known.next_block);
        drop(known);
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
