//! Which bodies a run knows: their numbers, ascending, as stretches without gaps, and those whose
//! text is not all in the terms. A body's place in that order is its document number in the run.

use super::bits::{put_number, take_number};

/// The bodies of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Docs {
    stretches: Vec<Stretch>,
    count: u32,
    /// Documents that have to be read when they are not found.
    incomplete: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stretch {
    /// The first body.
    first: u64,
    /// Its document number.
    at: u32,
    count: u32,
}

impl Docs {
    /// Adds a body above all others.
    pub(super) fn push(&mut self, body: u64, complete: bool) {
        if !complete {
            self.incomplete.push(self.count);
        }
        match self.stretches.last_mut() {
            Some(last) if last.first + u64::from(last.count) == body => last.count += 1,
            _ => self.stretches.push(Stretch { first: body, at: self.count, count: 1 }),
        }
        self.count += 1;
    }

    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// Document numbers that have to be read when they are not found, ascending.
    pub(super) fn incomplete(&self) -> &[u32] {
        &self.incomplete
    }

    /// A body's document number.
    pub(super) fn position(&self, body: u64) -> Option<u32> {
        let after = self.stretches.partition_point(|stretch| stretch.first <= body);
        let stretch = self.stretches.get(after.checked_sub(1)?)?;
        let offset = u32::try_from(body - stretch.first).ok()?;
        (offset < stretch.count).then(|| stretch.at + offset)
    }

    /// The bodies in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.stretches.iter().flat_map(|s| (s.first..).take(s.count as usize))
    }

    /// The first and the last body.
    pub(super) fn span(&self) -> Option<(u64, u64)> {
        let (first, last) = (self.stretches.first()?, self.stretches.last()?);
        Some((first.first, last.first + u64::from(last.count) - 1))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.stretches.len() as u64);
        let mut next = 0;
        for stretch in &self.stretches {
            put_number(out, stretch.first - next);
            put_number(out, u64::from(stretch.count));
            next = stretch.first + u64::from(stretch.count);
        }
        put_number(out, self.incomplete.len() as u64);
        let mut next = 0;
        for doc in &self.incomplete {
            put_number(out, u64::from(doc - next));
            next = doc + 1;
        }
    }

    pub(super) fn decode(from: &mut &[u8]) -> Option<Self> {
        let mut docs = Self::default();
        let mut next = 0_u64;
        for _ in 0..take_number(from)? {
            let first = next.checked_add(take_number(from)?)?;
            let count = u32::try_from(take_number(from)?).ok()?;
            docs.stretches.push(Stretch { first, at: docs.count, count });
            docs.count = docs.count.checked_add(count)?;
            next = first.checked_add(u64::from(count))?;
        }
        let mut next = 0_u64;
        for _ in 0..take_number(from)? {
            let doc = next.checked_add(take_number(from)?)?;
            docs.incomplete.push(u32::try_from(doc).ok().filter(|doc| *doc < docs.count)?);
            next = doc + 1;
        }
        Some(docs)
    }
}
