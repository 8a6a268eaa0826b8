//! The file: runs as chunks in a redb database of their own, so that indexing never waits for the
//! mail store nor makes it wait. A run is never changed; a merge puts a new one in and takes the
//! old ones out. Chunks fill a page of the file as nearly as can be, and each carries a check sum:
//! what the card returns must be what was written, or the whole index is made anew.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::error::SearchError;
use super::run::{Head, Section, Sink, Source};

/// Chunks by run, section and order.
const CHUNKS: TableDefinition<'_, (u32, u8, u32), &[u8]> = TableDefinition::new("chunks");
/// The runs that count, with the bytes of each section; chunks of others are left over.
const RUNS: TableDefinition<'_, u32, [u64; 3]> = TableDefinition::new("runs");
/// The layout, under an empty key.
const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");

/// Layout of the tables and of a run; another one is made anew.
const LAYOUT: u32 = 1;
/// Bytes of a chunk: with its check sum, and redb's own bytes around, one page of 4096.
const CHUNK: usize = 4060;
/// Bytes of a check sum.
const SUM: usize = 4;
/// Memory redb may use for pages; the terms are cached by us.
const CACHE: usize = 1 << 20;

/// The open file.
#[derive(Debug)]
pub(super) struct Shelf {
    database: Database,
}

impl Shelf {
    /// Opens the file, or makes an empty one. Fails when it is damaged or of another layout.
    pub(super) fn open(path: &Path) -> Result<Self, SearchError> {
        let mut builder = redb::Builder::new();
        // The check tells of damage where redb would stop the program later.
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        // It holds the words of everybody's mail. A file of an earlier release is open to others.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let own = options.open(path).map_err(SearchError::Disk)?;
        own.set_permissions(Permissions::from_mode(0o600)).map_err(SearchError::Disk)?;
        let shelf = Self { database: builder.create(path).map_err(file)? };
        shelf.check_layout()?;
        Ok(shelf)
    }

    fn check_layout(&self) -> Result<(), SearchError> {
        let known = {
            let txn = self.database.begin_read().map_err(file)?;
            match txn.open_table(META) {
                Ok(meta) => meta.get("layout").map_err(file)?.map(|layout| layout.value()),
                Err(redb::TableError::TableDoesNotExist(_)) => None,
                Err(error) => return Err(file(error)),
            }
        };
        match known {
            Some(LAYOUT) => Ok(()),
            Some(_) => Err(SearchError::Damaged),
            None => {
                let txn = self.database.begin_write().map_err(file)?;
                txn.open_table(META).map_err(file)?.insert("layout", LAYOUT).map_err(file)?;
                txn.open_table(CHUNKS).map_err(file)?;
                txn.open_table(RUNS).map_err(file)?;
                txn.commit().map_err(file)
            }
        }
    }

    /// All runs with their heads, and the bytes of each.
    pub(super) fn runs(&self) -> Result<Vec<(u32, Head, u64)>, SearchError> {
        let reader = self.reader()?;
        let txn = self.database.begin_read().map_err(file)?;
        let rows = txn.open_table(RUNS).map_err(file)?;
        let mut runs = Vec::new();
        for row in rows.iter().map_err(file)? {
            let (run, lengths) = row.map_err(file)?;
            let (run, lengths) = (run.value(), lengths.value());
            let [head, ..] = lengths;
            let head = usize::try_from(head).map_err(|_| SearchError::Damaged)?;
            let head = Head::decode(&reader.run(run).get(Section::Head, 0, head)?)?;
            runs.push((run, head, lengths.iter().sum()));
        }
        Ok(runs)
    }

    /// A view of the file as it is now.
    pub(super) fn reader(&self) -> Result<Reader, SearchError> {
        let txn = self.database.begin_read().map_err(file)?;
        Ok(Reader { chunks: txn.open_table(CHUNKS).map_err(file)? })
    }

    /// Puts runs in and takes others out, all of it or nothing, durably. `fill` puts the chunks.
    pub(super) fn change<T>(
        &self,
        out: &[u32],
        fill: impl FnOnce(&mut Filling<'_>) -> Result<T, SearchError>,
    ) -> Result<T, SearchError> {
        let txn = self.database.begin_write().map_err(file)?;
        let result = {
            let mut filling = Filling {
                chunks: txn.open_table(CHUNKS).map_err(file)?,
                runs: txn.open_table(RUNS).map_err(file)?,
            };
            let result = fill(&mut filling)?;
            for run in out {
                filling.runs.remove(run).map_err(file)?;
            }
            result
        };
        txn.commit().map_err(file)?;
        Ok(result)
    }

    /// Removes the chunks of runs that do not count any more. Apart from [`Shelf::change`], so
    /// that a search under way finds what it knows of.
    pub(super) fn sweep(&self) -> Result<(), SearchError> {
        let txn = self.database.begin_write().map_err(file)?;
        {
            let mut chunks = txn.open_table(CHUNKS).map_err(file)?;
            let runs = txn.open_table(RUNS).map_err(file)?;
            let mut left = BTreeSet::new();
            let mut from = 0;
            while let Some(row) = chunks.range((from, 0, 0)..).map_err(file)?.next() {
                let (run, ..) = row.map_err(file)?.0.value();
                if runs.get(run).map_err(file)?.is_none() {
                    left.insert(run);
                }
                let Some(next) = run.checked_add(1) else { break };
                from = next;
            }
            for run in left {
                let all = (run, 0, 0)..=(run, u8::MAX, u32::MAX);
                chunks.retain_in(all, |_, _| false).map_err(file)?;
            }
        }
        txn.commit().map_err(file)
    }
}

/// Runs being put in.
pub(super) struct Filling<'a> {
    chunks: Table<'a, (u32, u8, u32), &'static [u8]>,
    runs: Table<'a, u32, [u64; 3]>,
}

impl<'a> Filling<'a> {
    /// Begins a run.
    pub(super) fn run<'f>(&'f mut self, run: u32) -> RunSink<'f, 'a> {
        RunSink { filling: self, run, waiting: Default::default(), written: [0; 3] }
    }

    /// Takes over a run from another file.
    pub(super) fn copy(&mut self, run: u32, from: &Shelf) -> Result<(), SearchError> {
        let txn = from.database.begin_read().map_err(file)?;
        let all = (run, 0, 0)..=(run, u8::MAX, u32::MAX);
        for row in txn.open_table(CHUNKS).map_err(file)?.range(all).map_err(file)? {
            let (key, chunk) = row.map_err(file)?;
            self.chunks.insert(key.value(), chunk.value()).map_err(file)?;
        }
        let lengths = txn.open_table(RUNS).map_err(file)?.get(run).map_err(file)?;
        let lengths = lengths.ok_or(SearchError::Damaged)?.value();
        self.runs.insert(run, lengths).map_err(file)?;
        Ok(())
    }
}

/// One run being put in.
pub(super) struct RunSink<'f, 'a> {
    filling: &'f mut Filling<'a>,
    run: u32,
    waiting: [Vec<u8>; 3],
    written: [u64; 3],
}

impl RunSink<'_, '_> {
    /// Ends the run, which counts from the commit on; gives its bytes.
    pub(super) fn finish(mut self) -> Result<u64, SearchError> {
        for section in Section::ALL {
            self.write(section, 1)?;
        }
        self.filling.runs.insert(self.run, self.written).map_err(file)?;
        Ok(self.written.iter().sum())
    }

    /// Writes waiting bytes as long as there are so many.
    fn write(&mut self, section: Section, least: usize) -> Result<(), SearchError> {
        let slot = section as usize;
        let (Some(waiting), Some(written)) =
            (self.waiting.get_mut(slot), self.written.get_mut(slot))
        else {
            return Ok(());
        };
        let mut done = 0;
        while waiting.len() - done >= least.max(1) {
            let end = waiting.len().min(done + CHUNK);
            let bytes = waiting.get(done..end).unwrap_or_default();
            let mut chunk = sum(bytes).to_le_bytes().to_vec();
            chunk.extend_from_slice(bytes);
            let number =
                u32::try_from(*written / CHUNK as u64).map_err(|_| SearchError::Damaged)?;
            let key = (self.run, section as u8, number);
            self.filling.chunks.insert(key, chunk.as_slice()).map_err(file)?;
            *written += bytes.len() as u64;
            done = end;
        }
        waiting.drain(..done);
        Ok(())
    }
}

impl Sink for RunSink<'_, '_> {
    fn put(&mut self, section: Section, bytes: &[u8]) -> Result<(), SearchError> {
        if let Some(waiting) = self.waiting.get_mut(section as usize) {
            waiting.extend_from_slice(bytes);
        }
        self.write(section, CHUNK)
    }
}

/// A view of the file.
pub(super) struct Reader {
    chunks: ReadOnlyTable<(u32, u8, u32), &'static [u8]>,
}

impl Reader {
    /// One run.
    pub(super) fn run(&self, run: u32) -> OnShelf<'_> {
        OnShelf { reader: self, run }
    }
}

/// A run in the file.
pub(super) struct OnShelf<'a> {
    reader: &'a Reader,
    run: u32,
}

impl Source for OnShelf<'_> {
    fn get(
        &self,
        section: Section,
        start: u64,
        length: usize,
    ) -> Result<Cow<'_, [u8]>, SearchError> {
        let mut bytes = Vec::with_capacity(length.min(CHUNK * 64));
        let mut at = start;
        while bytes.len() < length {
            let number = u32::try_from(at / CHUNK as u64).map_err(|_| SearchError::Damaged)?;
            let key = (self.run, section as u8, number);
            let chunk = self.reader.chunks.get(key).map_err(file)?.ok_or(SearchError::Damaged)?;
            let (expected, chunk) =
                chunk.value().split_first_chunk::<SUM>().ok_or(SearchError::Damaged)?;
            if sum(chunk).to_le_bytes() != *expected {
                return Err(SearchError::Damaged);
            }
            let offset = usize::try_from(at % CHUNK as u64).map_err(|_| SearchError::Damaged)?;
            let rest = chunk.get(offset..).filter(|rest| !rest.is_empty());
            let rest = rest.ok_or(SearchError::Damaged)?;
            let wanted = rest.get(..length - bytes.len()).unwrap_or(rest);
            bytes.extend_from_slice(wanted);
            at += wanted.len() as u64;
        }
        Ok(Cow::Owned(bytes))
    }
}

/// Against decay, not against malice: as fast as reading.
fn sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let mut state = bytes.len() as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for word in words.iter().chain([&last]) {
        let word = state ^ u64::from_le_bytes(*word);
        let product = u128::from(word) * 0xa076_1d64_78bd_642f;
        let [low, high] = [product & u128::from(u64::MAX), product >> 64];
        state = u64::try_from(low ^ high).unwrap_or_default();
    }
    u32::try_from(state >> 32 ^ state & u64::from(u32::MAX)).unwrap_or_default()
}

/// The file's fault.
fn file(error: impl Into<redb::Error>) -> SearchError {
    SearchError::File(Box::new(error.into()))
}

/// Removes a file that is of no use.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
