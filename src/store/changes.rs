//! What changed in a mailbox since someone last looked, at the price of what changed: the writer
//! keeps the last changes of all mailboxes in memory, and only who comes from further back pays for
//! a walk through the mailbox's rows and the tombstones of what was expunged.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::event::Event;
use super::types::{BodyId, Mailbox, MailboxId};
use crate::mail::{Flags, ModSeq, Uid};

/// A message as lists of a whole mailbox need it: without dates and bytes, so that 100,000 of them
/// are a matter of a few MB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the mailbox.
    pub uid: Uid,
    /// When it last changed.
    pub modseq: ModSeq,
    /// Its flags.
    pub flags: Flags,
    /// Where its bytes are, our trace fields aside.
    pub body: BodyId,
    /// Whether the message is all of its body's stored bytes and nothing else.
    pub is_body: bool,
    /// RFC822.SIZE.
    pub size: u64,
}

/// What changed in a mailbox after some modification sequence, all of it from one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The mailbox then; nothing later than its highest modification sequence is told.
    pub mailbox: Mailbox,
    /// Messages that are new or have changed, by UID.
    pub changed: Vec<Entry>,
    /// Messages that were expunged, by UID. Some may have come only after the modification
    /// sequence asked for.
    pub vanished: Vec<Uid>,
}

/// Changes kept in memory, of all mailboxes together: 24 bytes each, so at most a few MB.
pub(super) const KEPT: usize = 64 << 10;

/// The last changes of all mailboxes.
#[derive(Debug)]
pub(super) struct Recent {
    rings: Mutex<Rings>,
    most: usize,
}

#[derive(Debug, Default)]
struct Rings {
    of: HashMap<MailboxId, Ring>,
    /// Whose change is the oldest, the next one, and so on.
    order: VecDeque<MailboxId>,
}

/// All changes of a mailbox after `floor`, oldest first.
#[derive(Debug)]
struct Ring {
    floor: ModSeq,
    changes: VecDeque<(ModSeq, Uid)>,
}

/// A change of a message, or nothing for the end of the whole mailbox.
pub(super) type Touched = (MailboxId, Option<(ModSeq, Uid)>);

impl Recent {
    pub(super) fn new(most: usize) -> Self {
        Self { rings: Mutex::default(), most }
    }

    /// Takes in what is about to be committed. To be called before readers can see it: they look
    /// here after they took their view of the index, and leave out what is newer than that.
    pub(super) fn add(&self, touched: Vec<Touched>) {
        let mut rings = self.lock();
        for (mailbox, change) in touched {
            let Some((modseq, uid)) = change else {
                rings.of.remove(&mailbox);
                continue;
            };
            let floor = ModSeq(modseq.0.saturating_sub(1));
            let fresh = || Ring { floor, changes: VecDeque::new() };
            rings.of.entry(mailbox).or_insert_with(fresh).changes.push_back((modseq, uid));
            rings.order.push_back(mailbox);
            if rings.order.len() > self.most {
                rings.forget_oldest();
            }
        }
    }

    /// Messages of a mailbox changed after `since` and not after `until`; nothing when that is too
    /// far back.
    pub(super) fn between(
        &self,
        mailbox: MailboxId,
        since: ModSeq,
        until: ModSeq,
    ) -> Option<BTreeSet<Uid>> {
        let rings = self.lock();
        let ring = rings.of.get(&mailbox).filter(|ring| ring.floor <= since)?;
        let first = ring.changes.partition_point(|(modseq, _)| *modseq <= since);
        let changes = ring.changes.iter().skip(first);
        Some(changes.take_while(|(modseq, _)| *modseq <= until).map(|(_, uid)| *uid).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rings {
    fn forget_oldest(&mut self) {
        let Some(mailbox) = self.order.pop_front() else { return };
        // Gone when the mailbox was deleted meanwhile.
        let Some(ring) = self.of.get_mut(&mailbox) else { return };
        if let Some((modseq, _)) = ring.changes.pop_front() {
            ring.floor = modseq;
        }
        if ring.changes.is_empty() {
            self.of.remove(&mailbox);
        }
    }
}

/// The messages an event changes.
pub(super) fn touched(event: &Event) -> Vec<Touched> {
    let all = |mailbox: MailboxId, modseq: ModSeq, uids: &mut dyn Iterator<Item = Uid>| {
        uids.map(|uid| (mailbox, Some((modseq, uid)))).collect()
    };
    match event {
        Event::Message(mailbox, message) => vec![(*mailbox, Some((message.modseq, message.uid)))],
        Event::Flags(mailbox, modseq, changed) => {
            all(*mailbox, *modseq, &mut changed.iter().map(|(uid, _)| *uid))
        }
        Event::Expunged(mailbox, modseq, uids) => all(*mailbox, *modseq, &mut uids.iter().copied()),
        Event::MailboxDeleted(mailbox) => vec![(*mailbox, None)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests;
