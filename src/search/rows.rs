//! What a search asks of every message of a mailbox without reading it. System flags and bodies the
//! store has together, for a whole mailbox in a few rows. What else the rows say (dates, sizes,
//! keywords, threads) is kept side by side in memory for the mailboxes that were searched last, and
//! brought up to date at each search, at the price of what changed; a mailbox that is too large for
//! that is walked through.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Index;
use crate::mail::{Flag, Flags, ModSeq, SystemFlag, Uid, UidSet};
use crate::store::{BodyId, MailboxId, Message, Store, StoreError, ThreadId};

/// Most messages kept, of all mailboxes together: 64 bytes each.
const KEPT: usize = 1 << 16;
/// Messages read from the store at once.
const PAGE: usize = 4096;
/// Most different sets of flags of one mailbox that are kept.
const KINDS: usize = 1024;
/// So many changes are read one by one, more by walking through the mailbox.
const FEW: usize = 256;

/// What has to be known of each message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// All that [`Facts`] tells.
    pub rows: bool,
    /// UID, body and `is_body`.
    pub bodies: bool,
    /// These flags.
    pub flags: Vec<SystemFlag>,
}

impl Needs {
    /// Of two things at once.
    #[must_use]
    pub fn and(mut self, mut other: Self) -> Self {
        self.rows |= other.rows;
        self.bodies |= other.bodies;
        self.flags.append(&mut other.flags);
        self.flags.sort_unstable();
        self.flags.dedup();
        self
    }
}

/// What the store's row says of a message.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Its number in the mailbox.
    pub uid: Uid,
    /// When it last changed.
    pub modseq: ModSeq,
    /// Its flags.
    pub flags: &'a Flags,
    /// When it was received: seconds since 1970.
    pub received: i64,
    /// When it came into this mailbox: seconds since 1970.
    pub saved: i64,
    /// RFC822.SIZE.
    pub size: u64,
    /// Where its bytes are.
    pub body: BodyId,
    /// Whether it is all of its body's stored bytes and nothing else.
    pub is_body: bool,
    /// What it belongs to.
    pub thread: Option<ThreadId>,
}

impl<'a> Facts<'a> {
    /// Of a message.
    pub fn of(message: &'a Message) -> Self {
        let second = |time: jiff::Timestamp| time.as_microsecond().div_euclid(1_000_000);
        Self {
            uid: message.uid,
            modseq: message.modseq,
            flags: &message.flags,
            received: second(message.internal_date),
            saved: second(message.save_date),
            size: message.content.size(),
            body: message.content.body,
            is_body: message.content.is_body(),
            thread: message.thread,
        }
    }
}

/// The rows of the mailboxes searched last, the latest first.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<VecDeque<(MailboxId, Arc<Mutex<Rows>>)>>);

impl Index {
    /// Calls for every message that a mailbox has now, by UID, with as much as is needed: what is
    /// not asked for may be told wrongly.
    pub fn facts(
        &self,
        store: &Store,
        mailbox: MailboxId,
        needs: &Needs,
        each: impl FnMut(Facts<'_>),
    ) -> Result<(), StoreError> {
        if needs.rows { self.rows(store, mailbox, each) } else { sets(store, mailbox, needs, each) }
    }

    fn rows(
        &self,
        store: &Store,
        mailbox: MailboxId,
        mut each: impl FnMut(Facts<'_>),
    ) -> Result<(), StoreError> {
        let rows = self.rows.of(mailbox);
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        match rows.catch_up(store, mailbox) {
            Ok(Kept::Yes) => {
                rows.iter().for_each(each);
                drop(rows);
                self.rows.make_room();
                Ok(())
            }
            kept => {
                *rows = Rows::default();
                drop(rows);
                self.rows.forget(mailbox);
                if kept? == Kept::Gone {
                    return Ok(());
                }
                pages(store, mailbox, |page| page.iter().map(Facts::of).for_each(&mut each))
            }
        }
    }
}

/// Puts together what the store has for the whole mailbox.
fn sets(
    store: &Store,
    mailbox: MailboxId,
    needs: &Needs,
    mut each: impl FnMut(Facts<'_>),
) -> Result<(), StoreError> {
    let Some(all) = store.overview(mailbox)? else { return Ok(()) };
    let set_of = |flag: SystemFlag| match flag {
        SystemFlag::Seen => &all.unseen,
        SystemFlag::Answered => &all.answered,
        SystemFlag::Flagged => &all.flagged,
        SystemFlag::Deleted => &all.deleted,
        SystemFlag::Draft => &all.draft,
    };
    let sets: Vec<(SystemFlag, &UidSet)> =
        needs.flags.iter().map(|flag| (*flag, set_of(*flag))).collect();
    // Every choice of the flags asked for, by its bits.
    let flags_of = |bits: usize| -> Flags {
        let set = sets.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
        set.map(|(_, (flag, _))| Flag::System(*flag)).collect()
    };
    let kinds: Vec<Flags> = (0..1 << sets.len()).map(flags_of).collect();
    let mut tell = |uid: Uid, body: BodyId, is_body: bool| {
        let has =
            |(flag, set): &(SystemFlag, &UidSet)| set.contains(uid) != (*flag == SystemFlag::Seen);
        let bits = sets.iter().enumerate();
        let bits = bits.fold(0, |bits, (i, set)| bits | usize::from(has(set)) << i);
        let Some(flags) = kinds.get(bits) else { return };
        let (modseq, received, saved, size, thread) = (ModSeq(0), 0, 0, 0, None);
        each(Facts { uid, modseq, flags, received, saved, size, body, is_body, thread });
    };
    if needs.bodies {
        for held in store.held(mailbox)? {
            tell(held.uid, held.body, held.is_body);
        }
    } else {
        all.uids.iter().for_each(|uid| tell(uid, BodyId(0), false));
    }
    Ok(())
}

impl Known {
    fn of(&self, mailbox: MailboxId) -> Arc<Mutex<Rows>> {
        let mut known = self.lock();
        let found = known.iter().position(|(id, _)| *id == mailbox);
        let found = found.and_then(|at| known.remove(at));
        let (_, rows) = found.unwrap_or_else(|| (mailbox, Arc::default()));
        known.push_front((mailbox, Arc::clone(&rows)));
        rows
    }

    fn forget(&self, mailbox: MailboxId) {
        self.lock().retain(|(id, _)| *id != mailbox);
    }

    /// Lets go of those that were not searched for the longest time.
    fn make_room(&self) {
        let mut known = self.lock();
        let mut room = KEPT;
        known.retain(|(_, rows)| {
            // One in use is being brought up to date, and counted by who does that.
            let Ok(rows) = rows.try_lock() else { return true };
            let fits = rows.all.len() <= room;
            room = room.saturating_sub(rows.all.len());
            fits
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(MailboxId, Arc<Mutex<Rows>>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a mailbox can be kept.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Yes,
    TooLarge,
    Gone,
}

/// The messages of one mailbox.
#[derive(Debug, Default)]
struct Rows {
    /// Everything up to this change is in them.
    seen: Option<ModSeq>,
    /// By UID.
    all: Vec<Row>,
    /// The sets of flags in use.
    kinds: Vec<Flags>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    uid: Uid,
    /// Index into the kinds.
    kind: u16,
    is_body: bool,
    modseq: ModSeq,
    received: i64,
    saved: i64,
    size: u64,
    body: BodyId,
    thread: Option<ThreadId>,
}

impl Rows {
    fn iter(&self) -> impl Iterator<Item = Facts<'_>> {
        self.all.iter().filter_map(|row| {
            Some(Facts {
                uid: row.uid,
                modseq: row.modseq,
                flags: self.kinds.get(usize::from(row.kind))?,
                received: row.received,
                saved: row.saved,
                size: row.size,
                body: row.body,
                is_body: row.is_body,
                thread: row.thread,
            })
        })
    }

    fn catch_up(&mut self, store: &Store, mailbox: MailboxId) -> Result<Kept, StoreError> {
        let seen = match self.seen {
            Some(seen) => seen,
            None => match self.read_all(store, mailbox)? {
                Ok(seen) => seen,
                Err(kept) => return Ok(kept),
            },
        };
        let Some(changes) = store.changed_since(mailbox, seen)? else { return Ok(Kept::Gone) };
        if changes.mailbox.messages as usize > KEPT {
            return Ok(Kept::TooLarge);
        }
        let gone = &changes.vanished;
        if !gone.is_empty() {
            self.all.retain(|row| gone.binary_search(&row.uid).is_err());
        }
        if changes.changed.len() > FEW {
            if let Err(kept) = self.read_all(store, mailbox)? {
                return Ok(kept);
            }
        } else {
            for entry in &changes.changed {
                // One that is gone now is told the next time, and has no number by then.
                if let Some(message) = store.message(mailbox, entry.uid)?
                    && !self.put(&Facts::of(&message))
                {
                    return Ok(Kept::TooLarge);
                }
            }
        }
        self.seen = Some(changes.mailbox.highest_modseq);
        Ok(Kept::Yes)
    }

    /// Begins anew; tells up to which change, at least, everything is there then.
    fn read_all(
        &mut self,
        store: &Store,
        mailbox: MailboxId,
    ) -> Result<Result<ModSeq, Kept>, StoreError> {
        *self = Self::default();
        let Some(mailbox) = store.mailbox(mailbox)? else { return Ok(Err(Kept::Gone)) };
        let count = mailbox.messages as usize;
        if count > KEPT {
            return Ok(Err(Kept::TooLarge));
        }
        self.all.reserve_exact(count);
        let mut fits = true;
        pages(store, mailbox.id, |page| {
            fits = fits && page.iter().all(|message| self.put(&Facts::of(message)));
        })?;
        Ok(if fits { Ok(mailbox.highest_modseq) } else { Err(Kept::TooLarge) })
    }

    /// Adds or replaces a message; whether there was room.
    fn put(&mut self, facts: &Facts<'_>) -> bool {
        let Some(kind) = self.kind(facts.flags) else { return false };
        let row = Row {
            uid: facts.uid,
            kind,
            is_body: facts.is_body,
            modseq: facts.modseq,
            received: facts.received,
            saved: facts.saved,
            size: facts.size,
            body: facts.body,
            thread: facts.thread,
        };
        if self.all.last().is_none_or(|last| last.uid < row.uid) {
            self.all.push(row);
            return self.all.len() <= KEPT;
        }
        match self.all.binary_search_by_key(&row.uid, |known| known.uid) {
            Ok(at) => {
                if let Some(known) = self.all.get_mut(at) {
                    *known = row;
                }
            }
            Err(at) => self.all.insert(at, row),
        }
        self.all.len() <= KEPT
    }

    fn kind(&mut self, flags: &Flags) -> Option<u16> {
        let at = self.kinds.iter().position(|kind| kind == flags).unwrap_or_else(|| {
            self.kinds.push(flags.clone());
            self.kinds.len() - 1
        });
        u16::try_from(at).ok().filter(|_| at < KINDS)
    }
}

/// Walks through a mailbox in little memory.
fn pages(
    store: &Store,
    mailbox: MailboxId,
    mut each: impl FnMut(&[Message]),
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.messages_after(mailbox, after, PAGE)?;
        each(&page);
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.uid),
            _ => return Ok(()),
        }
    }
}
