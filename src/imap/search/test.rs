//! Conditions on a message's row: flags, dates, sizes, numbers.

use std::ops::Range;
use std::sync::Arc;

use crate::imap::command::Ranges;
use crate::mail::{Flag, ModSeq};
use crate::search::{Facts, Needs};
use crate::store::{BodyId, ThreadId};

/// A search key in the terms of the row.
#[derive(Debug)]
pub(in crate::imap) enum Test {
    All,
    Nothing,
    Flag(Flag),
    Numbers(Arc<Ranges>),
    Uids(Arc<Ranges>),
    /// Seconds since 1970.
    Received(Range<i64>),
    /// The same.
    Saved(Range<i64>),
    Larger(u64),
    Smaller(u64),
    /// Changed then or later.
    ModSeq(ModSeq),
    /// Nothing for an id that is none of ours.
    Email(Option<BodyId>),
    Thread(Option<ThreadId>),
}

impl Test {
    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::All | Self::Nothing | Self::Numbers(_) | Self::Uids(_) => Needs::default(),
            Self::Flag(Flag::System(flag)) => Needs { flags: vec![*flag], ..Needs::default() },
            Self::Email(_) => Needs { bodies: true, ..Needs::default() },
            Self::Flag(Flag::Keyword(_))
            | Self::Received(_)
            | Self::Saved(_)
            | Self::Larger(_)
            | Self::Smaller(_)
            | Self::ModSeq(_)
            | Self::Thread(_) => Needs { rows: true, ..Needs::default() },
        }
    }

    pub(super) fn matches(&self, number: u32, facts: &Facts<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Flag(flag) => facts.flags.contains(flag),
            Self::Numbers(set) => set.contains(number),
            Self::Uids(set) => set.contains(facts.uid.get()),
            Self::Received(when) => when.contains(&facts.received),
            Self::Saved(when) => when.contains(&facts.saved),
            Self::Larger(size) => facts.size > *size,
            Self::Smaller(size) => facts.size < *size,
            Self::ModSeq(modseq) => facts.modseq >= *modseq,
            Self::Email(body) => *body == Some(facts.body),
            Self::Thread(thread) => thread.is_some() && *thread == facts.thread,
        }
    }
}
