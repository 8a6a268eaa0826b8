//! What a client believes its selected mailbox to be: which number is which message, and which
//! flags it was told. Others may change the mailbox at any time; the client learns it when the
//! protocol allows, and until then its numbers keep their meaning (RFC 3501 §7.4.1).

use crate::mail::{Flags, ModSeq, Uid};
use crate::store::{self, BodyId, Changes, Mailbox, MailboxId};

use super::command::SequenceSet;
use super::respond::Output;

/// A selected mailbox as its client sees it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) mailbox: MailboxId,
    /// EXAMINE.
    pub(super) read_only: bool,
    /// Everything up to this change of the mailbox is in it.
    seen: ModSeq,
    /// By number, beginning with 1; UIDs ascend.
    entries: Vec<Entry>,
}

/// One message as far as a view needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) uid: Uid,
    pub(super) modseq: ModSeq,
    pub(super) flags: Flags,
    pub(super) body: Body,
}

/// Where a message's bytes are, as far as the search index needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) id: BodyId,
    /// Whether the message is its body's bytes and nothing else.
    pub(super) is_all: bool,
}

impl From<store::Entry> for Entry {
    fn from(entry: store::Entry) -> Self {
        let store::Entry { uid, modseq, flags, body, is_body, .. } = entry;
        Self { uid, modseq, flags, body: Body { id: body, is_all: is_body } }
    }
}

/// A message by both its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) number: u32,
    pub(super) uid: Uid,
    pub(super) body: Body,
}

/// Whether messages may vanish from the numbering now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expunges {
    Told,
    /// During FETCH, STORE and SEARCH by number (RFC 3501 §7.4.1).
    Held,
}

impl View {
    /// Of a mailbox as it was at one moment.
    pub(super) fn new(mailbox: &Mailbox, read_only: bool, entries: Vec<Entry>) -> Self {
        Self { mailbox: mailbox.id, read_only, seen: mailbox.highest_modseq, entries }
    }

    /// What changed after this is news.
    pub(super) fn seen(&self) -> ModSeq {
        self.seen
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The highest UID there is.
    pub(super) fn last(&self) -> Option<Uid> {
        self.entries.last().map(|entry| entry.uid)
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// The messages a set names; numbers of no message name nothing.
    pub(super) fn targets(&self, set: &SequenceSet, by_uid: bool) -> Vec<Target> {
        let mut targets = Vec::new();
        if by_uid {
            let last = self.entries.last().map_or(0, |entry| entry.uid.get());
            for (from, to) in set.ranges(last) {
                let begin = self.entries.partition_point(|entry| entry.uid.get() < from);
                let end = self.entries.partition_point(|entry| entry.uid.get() <= to);
                targets.extend((begin..end).filter_map(|index| self.target(index)));
            }
        } else {
            for (from, to) in set.ranges(self.len()) {
                let range = from.max(1)..=to.min(self.len());
                targets.extend(range.filter_map(|number| self.target(number as usize - 1)));
            }
        }
        targets
    }

    pub(super) fn all(&self) -> Vec<Target> {
        (0..self.entries.len()).filter_map(|index| self.target(index)).collect()
    }

    pub(super) fn by_uid(&self, uid: Uid) -> Option<(u32, &Entry)> {
        let index = self.index(uid)?;
        Some((number(index), self.entries.get(index)?))
    }

    /// Notes flags the client is told right now.
    pub(super) fn told(&mut self, uid: Uid, flags: Flags, modseq: ModSeq) {
        if let Some(entry) = self.index(uid).and_then(|index| self.entries.get_mut(index)) {
            entry.flags = flags;
            entry.modseq = modseq;
        }
    }

    /// Removes messages and tells so, highest number first: then no number shifts before it is
    /// told.
    pub(super) fn expunge(&mut self, uids: &[Uid], out: &mut Output) {
        let mut gone: Vec<usize> = uids.iter().filter_map(|uid| self.index(*uid)).collect();
        gone.sort_unstable();
        gone.dedup();
        for index in gone.iter().rev() {
            out.raw("* ").number(number(*index)).raw(" EXPUNGE\r\n");
        }
        let mut next = gone.into_iter().peekable();
        let mut index = 0;
        self.entries.retain(|_| {
            let keep = next.peek() != Some(&index);
            if !keep {
                next.next();
            }
            index += 1;
            keep
        });
    }

    /// Tells what changed since the last time: messages gone, new ones, other flags. Returns
    /// whether something had to be held back.
    pub(super) fn update(&mut self, news: Changes, expunges: Expunges, out: &mut Output) -> bool {
        let gone = news.vanished.iter().any(|uid| self.index(*uid).is_some());
        let held = expunges == Expunges::Held && gone;
        if !held {
            self.expunge(&news.vanished, out);
            // Else all of it is asked for again; what is told now is then no news.
            self.seen = news.mailbox.highest_modseq;
        }
        let last = self.entries.last().map(|entry| entry.uid);
        let mut changed = Vec::new();
        let mut grown = false;
        for entry in news.changed.into_iter().map(Entry::from) {
            if last.is_none_or(|last| entry.uid > last) {
                self.entries.push(entry);
                grown = true;
            } else if self.by_uid(entry.uid).is_some_and(|(_, old)| old.modseq != entry.modseq) {
                changed.push(entry);
            }
        }
        if grown {
            out.raw("* ").number(self.len()).raw(" EXISTS\r\n");
            // RFC 3501 §7.3.2: told with EXISTS. No message is recent here.
            out.recent();
        }
        for entry in changed {
            if let Some((number, old)) = self.by_uid(entry.uid)
                && old.flags != entry.flags
            {
                // With the UID: a client that works with UIDs need not look the number up.
                out.fetch_flags(number, Some(entry.uid), &entry.flags);
            }
            self.told(entry.uid, entry.flags, entry.modseq);
        }
        held
    }

    fn index(&self, uid: Uid) -> Option<usize> {
        self.entries.binary_search_by_key(&uid, |entry| entry.uid).ok()
    }

    fn target(&self, index: usize) -> Option<Target> {
        let entry = self.entries.get(index)?;
        Some(Target { number: number(index), uid: entry.uid, body: entry.body })
    }
}

/// The message number at an index.
fn number(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}
