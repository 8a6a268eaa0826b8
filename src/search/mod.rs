//! The full-text index: which stored bodies hold a text, without reading them.
//!
//! It answers what SEARCH asks (RFC 3501 §6.4.4: a text anywhere in a field or a body, whatever the
//! case) exactly as reading every message would: with yes, with no, or with "read it", where it
//! does not know. So a search is right however far indexing lags. Documents are bodies, not
//! messages: copying and moving change nothing here.
//!
//! Text becomes terms ([`terms`]); the terms of some hundred bodies become a [`run`]; runs are kept
//! in memory until there are enough, then put on the [`shelf`], a redb file of their own, and
//! merged into larger ones there ([`merge`]). [`indexer`] does that in the background. Everything
//! here is made from the store and is made anew when it is lost, damaged or of another layout.

mod batch;
mod bits;
mod docs;
mod error;
mod indexer;
mod merge;
mod query;
mod rows;
mod run;
mod shelf;
mod terms;
pub mod texts;
mod work;

pub use error::SearchError;
pub use indexer::follow;
pub use query::{Field, Hits, Verdict};
pub use rows::{Facts, Needs};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test")]
mod tests;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::store::Store;
use query::{Cache, Question, RunHits};
use run::{Head, Section, Sections, Source};
use shelf::{OnShelf, Reader, Shelf};
use work::Worker;

/// File name of the index, in the store's folder.
pub const FILE: &str = "search.redb";

/// The open index of one store.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    state: RwLock<State>,
    /// One at a time takes bodies in and merges.
    worker: Mutex<Worker>,
    cache: Cache,
    rows: rows::Known,
    /// A search met damage: the worker makes the index anew.
    damaged: AtomicBool,
    /// Numbers of bodies not looked at yet.
    behind: AtomicU64,
}

/// What a search sees.
#[derive(Debug, Default)]
struct State {
    /// Nothing when the file cannot be made.
    shelf: Option<Arc<Shelf>>,
    runs: Vec<Arc<Run>>,
}

#[derive(Debug)]
struct Run {
    /// Never given twice while the program runs.
    id: u64,
    head: Head,
    bytes: u64,
    at: At,
}

#[derive(Debug)]
enum At {
    Memory(Sections),
    Shelf(u32),
}

/// How large the index is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bodies it knows, some of which may be gone from the store.
    pub bodies: u64,
    /// Numbers of bodies that it has not looked at yet; not every number is a body.
    pub behind: u64,
    /// Bytes of its runs; the file is a little larger.
    pub bytes: u64,
    /// Bytes its file occupies on the disk.
    pub file_bytes: u64,
    /// Its runs, those in memory included: a search looks through each.
    pub runs: u32,
}

impl Index {
    /// Opens the index in the store's folder. One that is damaged, or knows bodies that the store
    /// never had, is begun anew; without a file, searches read every message.
    pub fn open(folder: &Path, store: &Store) -> Self {
        let index = Self {
            path: folder.join(FILE),
            state: RwLock::default(),
            worker: Mutex::default(),
            cache: Cache::default(),
            rows: rows::Known::default(),
            damaged: AtomicBool::new(false),
            behind: AtomicU64::new(0),
        };
        let mut worker = index.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = index.load(&mut worker, store.body_horizon()) {
            tracing::warn!(%error, "the search index is made anew");
            if let Err(error) = index.begin_anew(&mut worker) {
                tracing::error!(%error, "there is no search index: searches will be slow");
            }
        }
        drop(worker);
        index
    }

    fn load(&self, worker: &mut Worker, horizon: crate::store::BodyId) -> Result<(), SearchError> {
        let current = Arc::new(Shelf::open(&self.path)?);
        let mut runs = Vec::new();
        for (number, head, bytes) in current.runs()? {
            if head.docs.span().is_some_and(|(_, last)| last >= horizon.0) {
                return Err(SearchError::Damaged);
            }
            worker.number_given(number);
            runs.push(Arc::new(Run { id: worker.next_id(), head, bytes, at: At::Shelf(number) }));
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) =
            State { shelf: Some(current), runs };
        Ok(())
    }

    /// Which bodies hold a text. Never fails: what the index cannot tell, reading has to.
    pub fn find(&self, field: Field<'_>, text: &str) -> Hits {
        let question = Question::new(field, text);
        let looked = self.view().and_then(|view| {
            let runs = view.runs.iter();
            runs.map(|run| view.look(run, &question, &self.cache)).collect::<Result<_, _>>()
        });
        looked.map_or_else(
            |error| {
                tracing::error!(%error, "searching without the index");
                self.damaged.store(true, Ordering::Relaxed);
                Hits::default()
            },
            Hits::new,
        )
    }

    /// Unpacks the terms, as far as they are kept so, that the first search need not.
    fn warm_up(&self) -> Result<(), SearchError> {
        let view = self.view()?;
        view.runs
            .iter()
            .try_for_each(|run| query::warm_up(&run.head, &view.source(run)?, run.id, &self.cache))
    }

    /// Sizes and counts.
    pub fn stats(&self) -> Stats {
        use std::os::unix::fs::MetadataExt as _;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Stats {
            bodies: state.runs.iter().map(|run| u64::from(run.head.docs.len())).sum(),
            behind: self.behind.load(Ordering::Relaxed),
            bytes: state.runs.iter().map(|run| run.bytes).sum(),
            file_bytes: std::fs::metadata(&self.path).map_or(0, |found| found.blocks() * 512),
            runs: u32::try_from(state.runs.len()).unwrap_or(u32::MAX),
        }
    }

    /// The runs and the file as they are at this moment.
    fn view(&self) -> Result<View, SearchError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let reader = state.shelf.as_ref().map(|shelf| shelf.reader()).transpose()?;
        Ok(View { runs: state.runs.clone(), reader })
    }
}

/// What one search or one merge works on.
struct View {
    runs: Vec<Arc<Run>>,
    reader: Option<Reader>,
}

impl View {
    fn look(
        &self,
        run: &Arc<Run>,
        question: &Question,
        cache: &Cache,
    ) -> Result<RunHits, SearchError> {
        let found = query::look(&run.head, &self.source(run)?, run.id, question, cache)?;
        Ok(RunHits::new(Arc::clone(run), found))
    }

    fn source<'a>(&'a self, run: &'a Run) -> Result<RunSource<'a>, SearchError> {
        Ok(match &run.at {
            At::Memory(sections) => RunSource::Memory(sections),
            At::Shelf(number) => {
                let reader = self.reader.as_ref().ok_or(SearchError::Damaged)?;
                RunSource::Shelf(reader.run(*number))
            }
        })
    }
}

/// Where a run's bytes come from.
enum RunSource<'a> {
    Memory(&'a Sections),
    Shelf(OnShelf<'a>),
}

impl Source for RunSource<'_> {
    fn get(
        &self,
        section: Section,
        start: u64,
        length: usize,
    ) -> Result<Cow<'_, [u8]>, SearchError> {
        match self {
            Self::Memory(sections) => sections.get(section, start, length),
            Self::Shelf(stored) => stored.get(section, start, length),
        }
    }
}
