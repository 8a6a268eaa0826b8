//! Several runs become one: their terms in one order, their documents numbered anew, bodies that
//! are gone left out. Holds one block of each run and the new numbers, whatever the runs' size.

use super::docs::Docs;
use super::error::SearchError;
use super::run::{Head, Postings, RunWriter, Sink, Source, Walk};

/// No document.
const GONE: u32 = u32::MAX;
/// Terms between two looks at whether to stop.
const BREATH: usize = 1024;

/// Writes the union of some runs. `lives` tells whether a body still exists, `goes_on` whether
/// there is time.
pub(super) fn merge<S: Source>(
    runs: &[(&Head, &S)],
    level: i32,
    lives: impl Fn(u64) -> bool,
    goes_on: impl Fn() -> bool,
    sink: &mut impl Sink,
) -> Result<Head, SearchError> {
    let (docs, numbers) = renumber(runs, lives)?;
    let mut writer = RunWriter::new(docs, level, sink)?;
    let mut walks = Vec::new();
    for ((head, source), numbers) in runs.iter().zip(&numbers) {
        let mut walk = Walk::new(head, *source);
        if walk.advance()? {
            walks.push((walk, numbers));
        }
    }
    let mut term = Vec::new();
    let mut count = 0_usize;
    while let Some(least) = walks.iter().map(|(walk, _)| walk.term()).min() {
        count += 1;
        if count.is_multiple_of(BREATH) && !goes_on() {
            return Err(SearchError::Stopped);
        }
        least.clone_into(&mut term);
        let mut postings = Postings::default();
        let mut at = 0;
        while let Some((walk, numbers)) = walks.get_mut(at) {
            if walk.term() != term {
                at += 1;
                continue;
            }
            walk.postings(|place, docs| {
                let new = docs.iter().map(|doc| number(numbers, *doc)).filter(|doc| *doc != GONE);
                if let Some(list) = postings.get_mut(place as usize) {
                    list.extend(new);
                }
            })?;
            if walk.advance()? {
                at += 1;
            } else {
                walks.swap_remove(at);
            }
        }
        for list in postings.iter_mut().filter(|list| !list.is_sorted()) {
            list.sort_unstable();
        }
        if postings.iter().any(|list| !list.is_empty()) {
            let term = std::str::from_utf8(&term).map_err(|_| SearchError::Damaged)?;
            writer.put(term, &postings)?;
        }
    }
    writer.finish()
}

fn number(numbers: &[u32], doc: u32) -> u32 {
    numbers.get(doc as usize).copied().unwrap_or(GONE)
}

/// The documents of the union, and the new number of each old one.
fn renumber<S: Source>(
    runs: &[(&Head, &S)],
    lives: impl Fn(u64) -> bool,
) -> Result<(Docs, Vec<Vec<u32>>), SearchError> {
    let mut all = Vec::new();
    let mut numbers: Vec<Vec<u32>> = Vec::new();
    for (run, (head, _)) in runs.iter().enumerate() {
        numbers.push(vec![GONE; head.docs.len() as usize]);
        let mut incomplete = head.docs.incomplete().iter().copied().peekable();
        for (doc, body) in (0..).zip(head.docs.iter()) {
            let complete = incomplete.next_if_eq(&doc).is_none();
            all.push((body, run, doc, complete));
        }
    }
    all.sort_unstable();
    // A body is in one run only; if it were in two, the first has all of it.
    all.dedup_by_key(|(body, ..)| *body);
    let mut docs = Docs::default();
    for (body, run, doc, complete) in all {
        if !lives(body) {
            continue;
        }
        let new = docs.len();
        docs.push(body, complete);
        let numbers = numbers.get_mut(run).and_then(|numbers| numbers.get_mut(doc as usize));
        *numbers.ok_or(SearchError::Damaged)? = new;
    }
    Ok((docs, numbers))
}
