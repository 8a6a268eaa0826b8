//! Looking a text up: through the terms of each run, to the documents of those that have it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem;

use super::Run;
use super::batch;
use super::error::SearchError;
use super::run::{Head, PLACES, Place, Source};
use super::terms::Needle;
use crate::store::BodyId;

/// Where a text is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// A header field of the message itself, by its name.
    Named(&'a str),
    /// The text parts.
    Body,
    /// All header fields and the text parts.
    Text,
}

/// Whether a body holds a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Only reading can tell.
    Maybe,
}

/// What the index found.
#[derive(Debug, Default)]
pub struct Hits {
    runs: Vec<RunHits>,
}

impl Hits {
    pub(super) fn new(runs: Vec<RunHits>) -> Self {
        Self { runs }
    }

    /// Whether this body holds the text.
    pub fn verdict(&self, body: BodyId) -> Verdict {
        for hits in &self.runs {
            if let Some(doc) = hits.run.head.docs.position(body.0) {
                return hits.found.verdict(doc);
            }
        }
        Verdict::Maybe
    }
}

/// What one run found.
#[derive(Debug)]
pub(super) struct RunHits {
    run: Arc<Run>,
    found: Found,
}

impl RunHits {
    pub(super) fn new(run: Arc<Run>, found: Found) -> Self {
        Self { run, found }
    }
}

/// Documents of a run.
#[derive(Debug)]
pub(super) struct Found {
    yes: Set,
    maybe: Set,
}

impl Found {
    fn verdict(&self, doc: u32) -> Verdict {
        if self.yes.has(doc) {
            Verdict::Yes
        } else if self.maybe.has(doc) {
            Verdict::Maybe
        } else {
            Verdict::No
        }
    }
}

/// A text and where to look for it.
#[derive(Debug)]
pub(super) struct Question {
    needle: Needle,
    /// A set of [`Place`]s.
    places: u8,
    /// Whether a term found there says that the text is there.
    exact: bool,
}

impl Question {
    pub(super) fn new(field: Field<'_>, text: &str) -> Self {
        let needle = Needle::new(text);
        let (places, alone) = match field {
            Field::Body => (Place::Body.bit(), true),
            Field::Text => (u8::MAX, true),
            Field::Named(name) => {
                let place = batch::place(name.as_bytes());
                (place.bit(), place != Place::OtherField)
            }
        };
        let exact = needle.exact && alone;
        Self { needle, places, exact }
    }
}

/// Looks through a run.
pub(super) fn look(
    head: &Head,
    source: &impl Source,
    run: u64,
    question: &Question,
    cache: &Cache,
) -> Result<Found, SearchError> {
    let count = head.docs.len();
    let Question { needle, places, exact } = question;
    if needle.patterns.is_empty() {
        return Ok(Found { yes: Set::none(count), maybe: Set::all(count) });
    }
    // All pieces of a text are in one place, or the text is not there.
    let mut all: Option<[Set; PLACES]> = None;
    for pattern in &needle.patterns {
        let mut sets = [(); PLACES].map(|()| Set::none(count));
        let finder = memmem::Finder::new(pattern);
        for (number, block) in (0..).zip(&head.blocks) {
            let terms = cache.terms((run, number), || block.terms(source))?;
            let wanted = terms_with(&terms, &finder, pattern.starts_with('\n'));
            head.postings(block, &wanted, *places, source, |place, docs| {
                if let Some(set) = sets.get_mut(place as usize) {
                    set.extend(docs);
                }
            })?;
        }
        match &mut all {
            None => all = Some(sets),
            Some(all) => all.iter_mut().zip(&sets).for_each(|(all, set)| all.intersect(set)),
        }
        if all.iter().flatten().all(Set::is_empty) {
            break;
        }
    }
    let mut found = Set::none(count);
    all.iter().flatten().for_each(|set| found.unite(set));
    let mut rest = Set::none(count);
    rest.extend(head.docs.incomplete());
    Ok(if *exact {
        Found { yes: found, maybe: rest }
    } else {
        found.unite(&rest);
        Found { yes: Set::none(count), maybe: found }
    })
}

/// Puts the terms of a run into the cache, as far as there is room.
pub(super) fn warm_up(
    head: &Head,
    source: &impl Source,
    run: u64,
    cache: &Cache,
) -> Result<(), SearchError> {
    for (number, block) in (0..).zip(&head.blocks) {
        if cache.is_full() {
            break;
        }
        cache.terms((run, number), || block.terms(source))?;
    }
    Ok(())
}

/// The numbers of the terms that have a pattern, ascending. A pattern that begins with a line end
/// begins with the one before its term.
fn terms_with(terms: &[u8], finder: &memmem::Finder<'_>, anchored: bool) -> Vec<u32> {
    let mut found = Vec::new();
    let mut from = 0;
    // Line ends before `from`.
    let mut ends = 0;
    while let Some(rest) = terms.get(from..).filter(|rest| !rest.is_empty()) {
        let Some(offset) = finder.find(rest) else { break };
        let inside = from + offset + usize::from(anchored);
        ends += memchr::memchr_iter(b'\n', terms.get(from..inside).unwrap_or_default()).count();
        found.push(u32::try_from(ends.saturating_sub(1)).unwrap_or(u32::MAX));
        // On to the line end after this term.
        let rest = terms.get(inside..).unwrap_or_default();
        from = inside + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    }
    found
}

/// A set of documents.
#[derive(Debug, Clone)]
struct Set(Vec<u64>);

impl Set {
    fn none(count: u32) -> Self {
        Self(vec![0; (count as usize).div_ceil(64)])
    }

    fn all(count: u32) -> Self {
        Self(vec![u64::MAX; (count as usize).div_ceil(64)])
    }

    fn insert(&mut self, doc: u32) {
        if let Some(word) = self.0.get_mut(doc as usize / 64) {
            *word |= 1 << (doc % 64);
        }
    }

    fn extend(&mut self, docs: &[u32]) {
        for doc in docs {
            self.insert(*doc);
        }
    }

    fn has(&self, doc: u32) -> bool {
        self.0.get(doc as usize / 64).is_some_and(|word| word >> (doc % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn unite(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(one, other)| *one |= other);
    }

    fn intersect(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(one, other)| *one &= other);
    }
}

/// Bytes of terms kept unpacked; further ones are unpacked at every search.
const CACHE: usize = 8 << 20;

/// The terms of blocks, by run and number.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    blocks: HashMap<(u64, u32), Arc<[u8]>>,
    bytes: usize,
}

impl Cache {
    fn terms(
        &self,
        key: (u64, u32),
        unpack: impl FnOnce() -> Result<Vec<u8>, SearchError>,
    ) -> Result<Arc<[u8]>, SearchError> {
        if let Some(known) = self.lock().blocks.get(&key) {
            return Ok(Arc::clone(known));
        }
        let terms: Arc<[u8]> = unpack()?.into();
        let mut cached = self.lock();
        if cached.bytes + terms.len() <= CACHE
            && cached.blocks.insert(key, Arc::clone(&terms)).is_none()
        {
            cached.bytes += terms.len();
        }
        Ok(terms)
    }

    fn is_full(&self) -> bool {
        self.lock().bytes >= CACHE
    }

    /// Forgets all runs but these.
    pub(super) fn keep(&self, runs: &BTreeSet<u64>) {
        let mut cached = self.lock();
        cached.blocks.retain(|(run, _), _| runs.contains(run));
        cached.bytes = cached.blocks.values().map(|terms| terms.len()).sum();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
