//! Bodies on their way into the index: their terms are gathered in memory and become a run.

use std::collections::HashMap;

use super::docs::Docs;
use super::error::SearchError;
use super::run::{Head, PLACES, Place, Postings, RunWriter, Sections};
use super::terms::Cutter;
use super::texts::{Text, Wish};

/// Most terms taken from one body, so that no message can fill the index. One that has more is
/// read whenever its terms do not answer: few people write such a book.
const MAX_TERMS: u32 = 20_000;
/// What a term costs beside its text, roughly.
const TERM_COST: usize = 80;
/// zstd's level: the run lives until the next merge.
const LEVEL: i32 = 1;

/// The terms of some bodies.
#[derive(Debug, Default)]
pub(super) struct Batch {
    docs: Docs,
    terms: HashMap<Box<str>, Vec<(u32, u8)>>,
    bytes: usize,
}

impl Batch {
    /// Memory in use, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> u32 {
        self.docs.len()
    }

    /// Takes up a body with a number above all before. `read` gives its texts; when it fails, the
    /// body is known and will be read for every search.
    pub(super) fn add<E>(
        &mut self,
        body: u64,
        read: impl FnOnce(&mut dyn FnMut(Text<'_>) -> Wish) -> Result<(), E>,
    ) -> Result<(), E> {
        let doc = self.docs.len();
        let mut left = MAX_TERMS;
        let (terms, bytes) = (&mut self.terms, &mut self.bytes);
        let mut put = |term: &str, place: Place| {
            let bit = place.bit();
            let Some(docs) = terms.get_mut(term) else {
                if left > 0 {
                    left -= 1;
                    *bytes += term.len() + TERM_COST;
                    terms.insert(term.into(), vec![(doc, bit)]);
                }
                return left > 0;
            };
            match docs.last_mut() {
                Some((last, places)) if *last == doc => *places |= bit,
                _ if left > 0 => {
                    left -= 1;
                    *bytes += size_of::<(u32, u8)>();
                    docs.push((doc, bit));
                }
                _ => {}
            }
            left > 0
        };
        let mut part = Cutter::new();
        let mut wish = Wish::More;
        let read = read(&mut |text| {
            let mut in_body = |term: &str| {
                if !put(term, Place::Body) {
                    wish = Wish::NextPart;
                }
            };
            match text {
                Text::Piece(piece) => part.feed(piece, &mut in_body),
                Text::Part => part.finish(&mut in_body),
                Text::Field { own, name, value } => {
                    // A field may follow a text part.
                    part.finish(&mut in_body);
                    let place = if own { place(name) } else { Place::OtherField };
                    let mut field = Cutter::new();
                    let mut in_field = |term: &str| {
                        put(term, place);
                    };
                    field.feed(value, &mut in_field);
                    field.finish(&mut in_field);
                }
            }
            wish
        });
        part.finish(&mut |term| {
            put(term, Place::Body);
        });
        self.docs.push(body, read.is_ok() && left > 0);
        read
    }

    /// Makes it a run in memory.
    pub(super) fn into_run(self) -> Result<(Head, Sections), SearchError> {
        let mut sections = Sections::default();
        let mut terms: Vec<_> = self.terms.into_iter().collect();
        terms.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut writer = RunWriter::new(self.docs, LEVEL, &mut sections)?;
        let mut postings = Postings::default();
        for (term, docs) in terms {
            postings.iter_mut().for_each(Vec::clear);
            for (doc, places) in docs {
                for (i, list) in postings.iter_mut().enumerate().take(PLACES) {
                    if places & 1 << i != 0 {
                        list.push(doc);
                    }
                }
            }
            writer.put(&term, &postings)?;
        }
        let head = writer.finish()?;
        Ok((head, sections))
    }
}

/// Where a field of the message itself is looked for.
pub(super) fn place(name: &[u8]) -> Place {
    let named = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    if named("subject") {
        Place::Subject
    } else if named("from") {
        Place::From
    } else if named("to") {
        Place::To
    } else if named("cc") {
        Place::Cc
    } else {
        Place::OtherField
    }
}
