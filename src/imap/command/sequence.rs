//! Sets of message numbers, such as `1:4,7,9:*` (RFC 3501 §9 `sequence-set`).

use super::Reason;
use super::cursor::{Cursor, Parsed};
use crate::mail::Uid;

/// A set as the client wrote it: what `*` means depends on the mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) struct SequenceSet(Vec<(Number, Number)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Number {
    Given(u32),
    /// `*`: the largest in use.
    Last,
}

impl SequenceSet {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut ranges = Vec::new();
        loop {
            let first = Number::parse(cursor)?;
            let last = if cursor.skip(b':') { Number::parse(cursor)? } else { first };
            ranges.push((first, last));
            if !cursor.skip(b',') {
                return Ok(Self(ranges));
            }
        }
    }

    /// Just these.
    pub(in crate::imap) fn of(uids: &[Uid]) -> Self {
        let number = |uid: &Uid| (Number::Given(uid.get()), Number::Given(uid.get()));
        Self(uids.iter().map(number).collect())
    }

    /// The set as ascending ranges that do not touch, given what `*` stands for.
    pub(in crate::imap) fn ranges(&self, last: u32) -> Vec<(u32, u32)> {
        let value = |number: Number| match number {
            Number::Given(number) => number,
            Number::Last => last,
        };
        let mut ranges: Vec<(u32, u32)> = self
            .0
            .iter()
            .map(|(a, b)| (value(*a), value(*b)))
            // The order of the two does not matter (RFC 3501 §9 `seq-range`).
            .map(|(a, b)| (a.min(b), a.max(b)))
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match merged.last_mut() {
                Some((_, end)) if from <= end.saturating_add(1) => *end = to.max(*end),
                _ => merged.push((from, to)),
            }
        }
        merged
    }

    /// Whether `*` is in it.
    pub(super) fn has_last(&self) -> bool {
        self.0.iter().any(|(a, b)| *a == Number::Last || *b == Number::Last)
    }

    /// Fixes what `*` stands for, so that [`Self::contains`] can tell.
    pub(in crate::imap) fn resolve(&mut self, last: u32) {
        let given = |(from, to)| (Number::Given(from), Number::Given(to));
        self.0 = self.ranges(last).into_iter().map(given).collect();
    }

    /// Whether a number is in a resolved set.
    pub(in crate::imap) fn contains(&self, number: u32) -> bool {
        let number = Number::Given(number);
        let after = self.0.partition_point(|(from, _)| *from <= number);
        after.checked_sub(1).and_then(|i| self.0.get(i)).is_some_and(|(_, to)| number <= *to)
    }
}

impl Number {
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        if cursor.skip(b'*') {
            return Ok(Self::Last);
        }
        match cursor.number()? {
            0 => Err(Reason::Syntax("message numbers begin with 1")),
            number => Ok(Self::Given(number)),
        }
    }
}
