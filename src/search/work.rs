//! Keeping the index up: taking new bodies in, and putting runs on the shelf and together. A piece
//! of work is short or can be stopped, and whatever was not finished is simply done again.

use std::collections::BTreeSet;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, RwLockWriteGuard};

use super::batch::Batch;
use super::error::SearchError;
use super::merge::merge;
use super::run::{Head, Sections, Sink};
use super::shelf::{Filling, Shelf, remove};
use super::texts::texts;
use super::{At, Index, Run, RunSource, State, View};
use crate::mail::structure::Structure;
use crate::store::{BodyId, Store, StoreError};
use crate::summary::Summaries;

/// Bodies taken in at once.
const BATCH: u32 = 256;
/// Memory their terms may take, roughly.
const BATCH_BYTES: usize = 4 << 20;
/// Messages up to this size are read once, into memory.
const SMALL: u64 = 256 << 10;
/// Numbers asked for at once.
const PAGE: usize = 4096;
/// A body whose upload took long appears below others that were taken in: so far back we look.
const BACK: u64 = 2048;
/// Runs in memory before they are put together.
const MANY_FRESH: usize = 16;
/// Bytes of runs in memory before they go on the shelf.
const FRESH_BYTES: u64 = 1 << 20;
/// A run that is at most so many times as large as those to be put away is merged with them: so
/// there are few runs, each several times as large as the next, and a body is written about once
/// for each of them.
const NEAR: u32 = 2;
/// Runs of so many documents stay as they are, so that no merge takes very long.
const LARGEST: u32 = 1 << 16;
/// zstd's levels for runs that stay in memory, and on the shelf.
const QUICK: i32 = 1;
const TIGHT: i32 = 12;

/// What only the worker knows.
#[derive(Debug, Default)]
pub(super) struct Worker {
    /// All bodies up to here were looked at.
    seen: Option<BodyId>,
    next_id: u64,
    next_number: u32,
}

impl Worker {
    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A run on the shelf has this number.
    pub(super) fn number_given(&mut self, number: u32) {
        self.next_number = self.next_number.max(number.saturating_add(1));
    }
}

/// Whether there is time for merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    None,
    /// The program stops: what is in memory is put on the shelf as it is.
    Great,
}

/// What is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// There are more bodies to take in.
    pub(super) bodies: bool,
    /// There are runs in memory, and whether they are so many that they should be put away.
    pub(super) fresh: bool,
    pub(super) full: bool,
}

impl Index {
    /// Takes in all that is new in the store and puts it away, for whoever has no background task.
    /// Takes long after an import; blocks the caller.
    pub fn catch_up(&self, store: &Store) -> Result<(), SearchError> {
        loop {
            let left = self.take_in(store, None)?;
            if left.full || !left.bodies {
                self.put_away(store, Haste::None, || true)?;
            }
            if !left.bodies {
                return Ok(());
            }
        }
    }

    /// How many bodies of the store no run knows, which a search has to read. Looks at the number
    /// of every body.
    pub fn unknown(&self, store: &Store) -> Result<u64, StoreError> {
        let runs = self.state.read().unwrap_or_else(PoisonError::into_inner).runs.clone();
        let known = |body: &u64| runs.iter().any(|run| run.head.docs.position(*body).is_some());
        Ok(living(store)?.iter().filter(|body| !known(body)).count() as u64)
    }

    /// Takes in some bodies that are new in the store, and summarises them on the way.
    pub(super) fn take_in(
        &self,
        store: &Store,
        summaries: Option<&Summaries>,
    ) -> Result<Left, SearchError> {
        let mut worker = self.work();
        if self.damaged.swap(false, Ordering::Relaxed) || self.shelf().is_err() {
            self.begin_anew(&mut worker)?;
        }
        let Found { new, seen, all } = self.new_bodies(store, worker.seen)?;
        let mut batch = Batch::default();
        let mut taken = 0_usize;
        for body in &new {
            if batch.len() >= BATCH || batch.bytes() >= BATCH_BYTES {
                break;
            }
            match read_body(store, *body, &mut batch, summaries) {
                Ok(()) | Err(Unread::Gone) => {}
                Err(Unread::Closed(error)) => return Err(error.into()),
                Err(Unread::Damaged(error)) => tracing::warn!(
                    body = body.0, %error, "a message cannot be indexed; searches will read it"
                ),
            }
            taken += 1;
        }
        if batch.len() > 0 {
            let (head, sections) = batch.into_run()?;
            self.add_fresh(&mut worker, head, sections)?;
        }
        // Where it stopped, the next step goes on.
        let last = taken.checked_sub(1).and_then(|last| new.get(last)).copied();
        let bodies = taken < new.len() || !all;
        worker.seen = if taken < new.len() { last } else { seen };
        let ahead = store.body_horizon().0.saturating_sub(worker.seen.map_or(0, |seen| seen.0 + 1));
        self.behind.store(if bodies { ahead } else { 0 }, Ordering::Relaxed);
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let bytes: u64 = state.runs.iter().filter(|r| r.is_fresh()).map(|r| r.bytes).sum();
        Ok(Left { bodies, fresh: bytes > 0, full: bytes >= FRESH_BYTES })
    }

    /// Bodies of the store that no run has: enough for a step.
    fn new_bodies(&self, store: &Store, seen: Option<BodyId>) -> Result<Found, SearchError> {
        let runs = self.state.read().unwrap_or_else(PoisonError::into_inner).runs.clone();
        let known = |body: &BodyId| runs.iter().any(|r| r.head.docs.position(body.0).is_some());
        let mut after = seen.and_then(|seen| seen.0.checked_sub(BACK)).map(BodyId);
        let mut new = Vec::new();
        loop {
            let page = store.bodies_after(after, PAGE)?;
            let all = page.len() < PAGE;
            after = page.last().copied().or(after);
            new.extend(page.into_iter().filter(|body| !known(body)));
            if all || new.len() >= BATCH as usize {
                return Ok(Found { new, seen: after.max(seen), all });
            }
        }
    }

    fn add_fresh(
        &self,
        worker: &mut Worker,
        head: Head,
        sections: Sections,
    ) -> Result<(), SearchError> {
        let run = Run::fresh(worker.next_id(), head, sections);
        let mut view = self.view()?;
        view.runs.push(Arc::new(run));
        let fresh: Vec<_> = view.runs.iter().filter(|run| run.is_fresh()).cloned().collect();
        if fresh.len() >= MANY_FRESH {
            let mut sections = Sections::default();
            let head = view.merge(&fresh, QUICK, |_| true, || true, &mut sections)?;
            view.runs.retain(|run| !run.is_fresh());
            view.runs.push(Arc::new(Run::fresh(worker.next_id(), head, sections)));
        }
        let current = self.shelf()?;
        self.show(view.runs, current);
        Ok(())
    }

    /// Puts the runs in memory on the shelf, together with those there that are due for a merge.
    /// Does nothing when there are none.
    pub(super) fn put_away(
        &self,
        store: &Store,
        haste: Haste,
        goes_on: impl Fn() -> bool,
    ) -> Result<(), SearchError> {
        let done = self.try_put_away(store, haste, goes_on);
        if matches!(done, Err(SearchError::File(_) | SearchError::Damaged)) {
            self.damaged.store(true, Ordering::Relaxed);
        }
        done
    }

    fn try_put_away(
        &self,
        store: &Store,
        haste: Haste,
        goes_on: impl Fn() -> bool,
    ) -> Result<(), SearchError> {
        let mut worker = self.work();
        let view = self.view()?;
        if !view.runs.iter().any(|run| run.is_fresh()) {
            return Ok(());
        }
        let living = living(store)?;
        let lives = |body: u64| living.binary_search(&body).is_ok();
        let (inputs, mut kept) = match haste {
            Haste::None => due(&view.runs, lives),
            Haste::Great => view.runs.iter().cloned().partition(|run| run.is_fresh()),
        };
        let number = worker.next_number;
        worker.number_given(number);
        let fill = |filling: &mut Filling<'_>| {
            let mut sink = filling.run(number);
            let head = view.merge(&inputs, TIGHT, lives, &goes_on, &mut sink)?;
            Ok((head, sink.finish()?))
        };
        let current = self.shelf()?;
        let old: Vec<u32> = inputs.iter().filter_map(|run| run.number()).collect();
        let stays: Vec<u32> = kept.iter().filter_map(|run| run.number()).collect();
        // A file keeps the room of what is taken out of it. When that is much, the rest moves to a
        // new file instead; searches under way go on in the old one.
        let moves = !old.is_empty() && bytes(&inputs) * 4 > bytes(&kept);
        let (next, (head, bytes)) = if moves {
            let path = self.path.with_extension("new");
            remove(&path).map_err(SearchError::Disk)?;
            let next = Arc::new(Shelf::open(&path)?);
            let filled = next.change(&[], |filling| {
                stays.iter().try_for_each(|number| filling.copy(*number, &current))?;
                fill(filling)
            })?;
            std::fs::rename(&path, &self.path).map_err(SearchError::Disk)?;
            (next, filled)
        } else {
            (Arc::clone(&current), current.change(&old, fill)?)
        };
        let id = worker.next_id();
        kept.push(Arc::new(Run { id, head, bytes, at: At::Shelf(number) }));
        self.show(kept, next);
        if moves || old.is_empty() { Ok(()) } else { current.sweep() }
    }

    /// Forgets everything and begins with an empty file.
    pub(super) fn begin_anew(&self, worker: &mut Worker) -> Result<(), SearchError> {
        worker.seen = None;
        *self.write() = State::default();
        self.cache.keep(&BTreeSet::new());
        remove(&self.path).map_err(SearchError::Disk)?;
        let current = Arc::new(Shelf::open(&self.path)?);
        self.write().shelf = Some(current);
        Ok(())
    }

    /// Lets searches see other runs.
    fn show(&self, runs: Vec<Arc<Run>>, current: Arc<Shelf>) {
        let ids = runs.iter().map(|run| run.id).collect();
        let old = std::mem::replace(&mut *self.write(), State { shelf: Some(current), runs });
        self.cache.keep(&ids);
        // Closing a file is nothing a search should wait for.
        drop(old);
    }

    fn shelf(&self) -> Result<Arc<Shelf>, SearchError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.shelf.clone().ok_or(SearchError::Damaged)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) -> MutexGuard<'_, Worker> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    fn fresh(id: u64, head: Head, sections: Sections) -> Self {
        Self { id, head, bytes: sections.bytes(), at: At::Memory(sections) }
    }

    fn is_fresh(&self) -> bool {
        matches!(self.at, At::Memory(_))
    }

    /// Its number on the shelf.
    fn number(&self) -> Option<u32> {
        match self.at {
            At::Memory(_) => None,
            At::Shelf(number) => Some(number),
        }
    }
}

impl View {
    fn merge(
        &self,
        runs: &[Arc<Run>],
        level: i32,
        lives: impl Fn(u64) -> bool,
        goes_on: impl Fn() -> bool,
        sink: &mut impl Sink,
    ) -> Result<Head, SearchError> {
        let sources: Vec<RunSource<'_>> =
            runs.iter().map(|run| self.source(run)).collect::<Result<_, _>>()?;
        let heads = runs.iter().map(|run| &run.head);
        let inputs: Vec<_> = heads.zip(&sources).collect();
        merge(&inputs, level, lives, goes_on, sink)
    }
}

/// Bytes of the runs that are on the shelf.
fn bytes(runs: &[Arc<Run>]) -> u64 {
    runs.iter().filter(|run| !run.is_fresh()).map(|run| run.bytes).sum()
}

/// Which runs become one, and which stay: those in memory, those that are not much
/// larger, and those mostly of bodies that are gone.
fn due(runs: &[Arc<Run>], lives: impl Fn(u64) -> bool) -> (Vec<Arc<Run>>, Vec<Arc<Run>>) {
    let withered = |run: &Run| {
        let living = run.head.docs.iter().filter(|body| lives(*body)).count();
        living * 3 < run.head.docs.len() as usize * 2
    };
    let (mut inputs, mut kept): (Vec<_>, Vec<_>) =
        runs.iter().cloned().partition(|run| run.is_fresh() || withered(run));
    let mut docs: u32 = inputs.iter().map(|run| run.head.docs.len()).sum();
    // From the smallest on, each that is not much larger than all before.
    kept.sort_by_key(|run| std::cmp::Reverse(run.head.docs.len()));
    while let Some(run) = kept.pop_if(|run| {
        let size = run.head.docs.len();
        size <= docs.saturating_mul(NEAR) && size < LARGEST
    }) {
        docs += run.head.docs.len();
        inputs.push(run);
    }
    (inputs, kept)
}

/// All bodies of the store, ascending.
fn living(store: &Store) -> Result<Vec<u64>, StoreError> {
    let mut all: Vec<u64> = Vec::new();
    loop {
        let page = store.bodies_after(all.last().map(|last| BodyId(*last)), PAGE)?;
        all.extend(page.iter().map(|body| body.0));
        if page.len() < PAGE {
            return Ok(all);
        }
    }
}

/// Bodies to take in.
struct Found {
    new: Vec<BodyId>,
    /// All bodies up to here were looked at.
    seen: Option<BodyId>,
    /// Whether there are no more.
    all: bool,
}

/// Why a body is not in the index.
enum Unread {
    /// It was removed meanwhile.
    Gone,
    /// It cannot be read; it counts as known, and searches read it.
    Damaged(io::Error),
    /// The store answers nobody.
    Closed(StoreError),
}

fn read_body(
    store: &Store,
    body: BodyId,
    batch: &mut Batch,
    summaries: Option<&Summaries>,
) -> Result<(), Unread> {
    let reader = match store.read_body(body) {
        Ok(reader) => Ok(reader),
        Err(StoreError::NoMessage) => return Err(Unread::Gone),
        Err(error @ StoreError::Closed) => return Err(Unread::Closed(error)),
        Err(error) => Err(io::Error::other(error)),
    };
    let read = batch.add(body.0, |each| {
        let mut reader = reader?;
        let length = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        if length > SMALL {
            let structure = Structure::scan(&mut reader)?;
            summarise(summaries, body, &structure, &mut reader);
            return texts(&structure, &mut reader, each);
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        let structure = Structure::scan(bytes.as_slice())?;
        let mut bytes = Cursor::new(bytes);
        summarise(summaries, body, &structure, &mut bytes);
        texts(&structure, &mut bytes, each)
    });
    read.map_err(Unread::Damaged)
}

/// The body is read for the index: that it need not be read once more.
fn summarise(
    summaries: Option<&Summaries>,
    body: BodyId,
    structure: &Structure,
    reader: &mut (impl Read + Seek),
) {
    let taken = summaries.map(|summaries| summaries.take_in(body, structure, reader));
    if let Some(Err(error)) = taken {
        tracing::debug!(%error, "a message is summarised later");
    }
}
