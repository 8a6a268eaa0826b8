//! Sets of message numbers, such as `1:4,7,9:*` (RFC 3501 §9 `sequence-set`), or `$`: what the last
//! search that was told to kept (RFC 5182 §3).

use super::Reason;
use super::cursor::{Cursor, Parsed};

/// A set as the client wrote it: what `*` means depends on the mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) enum SequenceSet {
    Given(Ranges),
    /// `$`, whose messages only the session knows.
    Saved,
}

/// Numbers that were written down. The default names no message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::imap) struct Ranges(Vec<(Number, Number)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Number {
    Given(u32),
    /// `*`: the largest in use.
    Last,
}

impl SequenceSet {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        if cursor.skip(b'$') {
            return Ok(Self::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            let first = Number::parse(cursor)?;
            let last = if cursor.skip(b':') { Number::parse(cursor)? } else { first };
            ranges.push((first, last));
            if !cursor.skip(b',') {
                return Ok(Self::Given(Ranges(ranges)));
            }
        }
    }

    /// As [`Ranges::ranges`]; nothing for `$`.
    pub(in crate::imap) fn ranges(&self, last: u32) -> Vec<(u32, u32)> {
        match self {
            Self::Given(ranges) => ranges.ranges(last),
            Self::Saved => Vec::new(),
        }
    }

    /// Whether it says the numbers themselves, without `*` and `$`.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Given(Ranges(all)) => {
                all.iter().all(|(a, b)| *a != Number::Last && *b != Number::Last)
            }
            Self::Saved => false,
        }
    }
}

impl Ranges {
    /// Of numbers that are there, as ranges.
    pub(in crate::imap) fn of(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let given = |(from, to)| (Number::Given(from), Number::Given(to));
        Self(ranges.into_iter().map(given).collect())
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

    /// The same with what `*` stands for fixed, so that [`Self::contains`] can tell.
    pub(in crate::imap) fn resolved(&self, last: u32) -> Self {
        Self::of(self.ranges(last))
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
