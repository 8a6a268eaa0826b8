//! Keeping summaries up: taking new bodies in, and letting go of those that are gone. Whoever does
//! the indexing calls this, one at a time.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::block::{FULL, FULL_BYTES, pack};
use super::entry::Entry;
use super::file::{File, Unread};
use super::{Shelf, Summaries};
use crate::mail::structure::Structure;
use crate::store::{BodyId, Store, StoreError};

/// Bodies read in one step.
const STEP: usize = 128;
/// Numbers asked for at once.
const PAGE: usize = 4096;
/// A body whose upload took long appears below others that were taken in: so far back we look.
const BACK: u64 = 2048;
/// Messages up to this size are read once, into memory.
const SMALL: u64 = 256 << 10;
/// Fewer dead summaries than this are left where they are.
const FEW: u64 = 1024;

/// Why summaries are behind. Nobody has to wait for them: messages are read instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SummaryError {
    /// The folder does not take the file.
    #[error("summaries of messages cannot be written: {0}")]
    Disk(#[from] io::Error),
    /// The file does not hold what was written.
    #[error("summaries of messages are damaged and will be made anew")]
    Damaged,
    /// The mail store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Summaries {
    /// Whether a body has no summary yet.
    pub fn wants(&self, body: BodyId) -> bool {
        !self.shelf().knows(body)
    }

    /// Summarises a body that somebody reads anyway. Nothing happens when it is known.
    pub fn take_in(
        &self,
        body: BodyId,
        structure: &Structure,
        reader: &mut (impl Read + Seek),
    ) -> Result<(), SummaryError> {
        if self.wants(body) {
            // What cannot be read now is read again when somebody asks for it.
            let entry = Entry::of(structure, reader).unwrap_or_default();
            self.add(body, entry)?;
        }
        Ok(())
    }

    /// Summarises all bodies of the store, for whoever has no background task. Takes long after an
    /// import; blocks the caller.
    pub fn catch_up(&self, store: &Store) -> Result<(), SummaryError> {
        while self.step(store)? {}
        self.put_away()
    }

    /// Summarises some bodies that have no summary; whether there are more.
    pub fn step(&self, store: &Store) -> Result<bool, SummaryError> {
        let seen = self.shelf().seen;
        let mut after = seen.and_then(|seen| seen.0.checked_sub(BACK)).map(BodyId);
        let mut left = STEP;
        loop {
            let page = store.bodies_after(after, PAGE)?;
            let end = page.len() < PAGE;
            for body in page {
                if self.wants(body) {
                    if left == 0 {
                        return Ok(true);
                    }
                    left -= 1;
                    self.read(store, body)?;
                }
                after = Some(body);
            }
            let mut known = self.shelf();
            known.seen = after.max(known.seen);
            if end {
                return Ok(false);
            }
        }
    }

    /// What is due now and then: [`Summaries::put_away`], and giving back the room of bodies that are
    /// gone.
    pub fn keep(&self, store: &Store, goes_on: impl Fn() -> bool) -> Result<(), SummaryError> {
        self.put_away()?;
        self.tidy(store, goes_on)
    }

    /// Writes what is in memory only. Not synced: what is lost is made anew.
    pub fn put_away(&self) -> Result<(), SummaryError> {
        if self.shelf().unsaved {
            self.save(false)?;
        }
        Ok(())
    }

    /// Gives back room when it is much. Stops soon when `goes_on` says no.
    fn tidy(&self, store: &Store, goes_on: impl Fn() -> bool) -> Result<(), SummaryError> {
        let living = living(store)?;
        let (file, places, dead) = {
            let known = self.shelf();
            let Some(file) = known.file.clone() else { return Ok(()) };
            let all: u64 = known.stretches.values().map(|s| u64::from(s.count)).sum();
            (file, known.blocks.clone(), all.saturating_sub(living.len() as u64))
        };
        if dead < FEW.max(living.len() as u64) {
            return Ok(());
        }
        let path = self.path.with_extension("new");
        let mut next = Shelf { file: Some(Arc::new(File::fresh(&path)?)), ..Shelf::default() };
        next.next_block = self.shelf().next_block;
        for (number, place) in places {
            if !goes_on() {
                return Ok(());
            }
            let entries = match file.read(place).and_then(|block| Ok(block.entries()?)) {
                Ok(entries) => entries,
                Err(Unread::File(error)) => return Err(error.into()),
                Err(Unread::Damaged(_)) => {
                    self.shelf().forget(number);
                    return Err(SummaryError::Damaged);
                }
            };
            for (body, entry) in entries {
                if living.binary_search(&body).is_ok() {
                    next.put(body, entry)?;
                }
            }
        }
        let mut known = self.shelf();
        // Begun anew meanwhile.
        if !known.file.as_ref().is_some_and(|now| Arc::ptr_eq(now, &file)) {
            return Ok(());
        }
        for (body, entry) in std::mem::take(&mut known.tail) {
            next.put(body, entry)?;
        }
        next.save(false, &pack(&next.tail)?)?;
        next.seen = known.seen;
        std::fs::rename(&path, &self.path)?;
        *known = next;
        Ok(())
    }

    fn read(&self, store: &Store, body: BodyId) -> Result<(), SummaryError> {
        let mut reader = match store.read_body(body) {
            Ok(reader) => reader,
            Err(StoreError::NoMessage) => return Ok(()),
            Err(error @ StoreError::Closed) => return Err(error.into()),
            // Whoever wants it is told.
            Err(_) => return self.add(body, Entry::default()),
        };
        let mut summarise = || {
            if reader.len() > SMALL {
                let structure = Structure::scan(&mut reader)?;
                return Entry::of(&structure, &mut reader);
            }
            let mut bytes = Vec::new();
            reader.seek(SeekFrom::Start(0))?;
            reader.read_to_end(&mut bytes)?;
            Entry::of(&Structure::scan(bytes.as_slice())?, &mut Cursor::new(bytes))
        };
        let entry = summarise().unwrap_or_default();
        self.add(body, entry)
    }

    fn add(&self, body: BodyId, entry: Entry) -> Result<(), SummaryError> {
        if self.shelf().is_full() {
            self.save(true)?;
        }
        self.shelf().insert(body, Arc::new(entry));
        Ok(())
    }

    /// Writes the tail. Nobody has to wait while it is packed.
    fn save(&self, full: bool) -> Result<(), SummaryError> {
        let (file, tail) = {
            let known = self.shelf();
            (known.file.clone(), known.tail.clone())
        };
        let packed = pack(&tail)?;
        let mut known = self.shelf();
        // Unless it was begun anew meanwhile.
        let same = match (&known.file, &file) {
            (Some(now), Some(file)) => Arc::ptr_eq(now, file),
            (now, _) => now.is_none(),
        };
        if same { known.save(full, &packed) } else { Ok(()) }
    }
}

impl Shelf {
    /// Whether the tail is enough for a block.
    fn is_full(&self) -> bool {
        let bytes: usize = self.tail.iter().map(|(_, entry)| entry.size()).sum();
        self.tail.len() >= FULL || bytes >= FULL_BYTES
    }

    fn insert(&mut self, body: BodyId, entry: Arc<Entry>) {
        if let Err(at) = self.tail.binary_search_by_key(&body, |(known, _)| *known) {
            self.tail.insert(at, (body, entry));
            self.unsaved = true;
        }
    }

    /// Writes the tail, which was packed. As a full block it is a tail no more.
    fn save(&mut self, full: bool, packed: &[u8]) -> Result<(), SummaryError> {
        let file = self.file.as_ref().ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        let bodies: Vec<BodyId> = self.tail.iter().map(|(body, _)| *body).collect();
        let place = file.append(&bodies, packed, full)?;
        if full {
            self.add(place, &bodies);
            self.tail.clear();
        }
        self.unsaved = false;
        Ok(())
    }

    /// Like [`Summaries::save`], of one that nobody else sees yet.
    fn put(&mut self, body: BodyId, entry: Arc<Entry>) -> Result<(), SummaryError> {
        if self.is_full() {
            self.save(true, &pack(&self.tail)?)?;
        }
        self.insert(body, entry);
        Ok(())
    }
}

/// All bodies of the store, ascending.
fn living(store: &Store) -> Result<Vec<BodyId>, StoreError> {
    let mut all: Vec<BodyId> = Vec::new();
    loop {
        let page = store.bodies_after(all.last().copied(), PAGE)?;
        let end = page.len() < PAGE;
        all.extend(page);
        if end {
            return Ok(all);
        }
    }
}
