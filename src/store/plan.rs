//! From requests to results: each operation of a batch is checked against the index, gets its
//! numbers, and becomes events, which are brought into the (uncommitted) index at once, so that
//! what follows sees them. When an operation cannot be done, the whole attempt is thrown away.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use jiff::Timestamp;

use super::apply::{State, Tables};
use super::batch::{Batch, Carry, Ends, Op};
use super::body::{Body, Packed, Placed};
use super::error::StoreError;
use super::event::{ChunkRef, Event, storable};
use super::quota::Quota;
use super::threads::{self, IdHash, ThreadId};
use super::types::{
    AccountId, Change, Content, FlagChange, Flagged, Mailbox, MailboxId, Message, Outcome, QueueId,
    QueueRecord,
};
use crate::mail::threading::MessageId;
use crate::mail::{Flags, MailboxName, ModSeq, SpecialUse, Uid, UidValidity};

/// What is going to be written before the commit.
pub(super) trait Writing {
    /// Puts what is not yet in the log of a body there, and says where all of it lies.
    fn body(&mut self, body: &Body) -> Result<Placed, StoreError>;
    /// Puts a chunk into the log.
    fn chunk(&mut self, chunk: &Packed) -> Result<ChunkRef, StoreError>;
}

/// Turns batches into events.
pub(super) struct Planner<'a, 't, W> {
    pub(super) tables: &'a mut Tables<'t>,
    pub(super) state: &'a mut State,
    pub(super) now: Timestamp,
    /// Quotas are not asked.
    pub(super) over_quota: bool,
    pub(super) writing: W,
    pub(super) events: Vec<Event>,
    pub(super) changes: Vec<Change>,
}

impl<W: Writing> Planner<'_, '_, W> {
    /// Plans and applies a whole batch.
    pub(super) fn run(&mut self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        batch.ops.iter().map(|op| self.op(op)).collect()
    }

    fn op(&mut self, op: &Op) -> Result<Outcome, StoreError> {
        match op {
            Op::Add { mailbox, content, body, own, flags, internal_date } => {
                self.know(body)?;
                let account = self.mailbox(*mailbox)?.account;
                let thread = self.thread(account, body, own.as_ref())?;
                let content = content.clone();
                self.add(*mailbox, content, thread, flags, storable(*internal_date))
            }
            Op::SetFlags { mailbox, uids, change, unchanged_since } => {
                self.set_flags(*mailbox, uids, change, *unchanged_since)
            }
            Op::Copy { from, uids, to, away } => self.copy(*from, uids, *to, *away),
            Op::Expunge { mailbox, uids } => self.expunge(*mailbox, uids).map(Outcome::Expunged),
            Op::Create { account, name, special_use, subscribed } => {
                self.create(*account, name, *special_use, *subscribed)
            }
            Op::Rename { mailbox, name } => self.rename(*mailbox, name),
            Op::Delete(mailbox) => {
                let account = self.mailbox(*mailbox)?.account;
                self.changed(account, Some(*mailbox));
                self.changed(account, None);
                self.emit(Event::MailboxDeleted(*mailbox))
            }
            Op::Subscribe(mailbox, subscribed) => {
                let mut row = self.mailbox(*mailbox)?;
                row.subscribed = *subscribed;
                self.changed(row.account, None);
                self.emit_mailbox(row)
            }
            Op::Touch(mailbox) => {
                let row = self.mailbox(*mailbox)?;
                self.changed(row.account, Some(*mailbox));
                self.emit_mailbox(Mailbox { highest_modseq: next_modseq(&row), ..row })
            }
            Op::Enqueue { content, body, state } => {
                self.know(body)?;
                self.enqueue(content.clone(), state)
            }
            Op::EnqueueStored { content, state } => {
                if self.tables.body(content.body)?.refs == 0 {
                    return Err(StoreError::NoMessage);
                }
                self.enqueue(content.clone(), state)
            }
            Op::UpdateQueued(id, _) | Op::Dequeue(id) if !self.tables.has_queued(*id)? => {
                Ok(Outcome::Done)
            }
            Op::UpdateQueued(id, state) => self.emit(Event::QueueState(*id, state.clone())),
            Op::Dequeue(id) => self.emit(Event::Dequeued(*id)),
            Op::PutSetting(key, value) => {
                self.set(key);
                self.emit(Event::Setting(key.clone(), value.clone()))
            }
            Op::DeleteSetting(key) => {
                self.set(key);
                self.emit(Event::SettingDeleted(key.clone()))
            }
            Op::ForgetAccount(account) => self.emit(Event::AccountGone(*account)),
            Op::Carry(carry, ends) => self.carry(carry, *ends),
        }
    }

    fn add(
        &mut self,
        mailbox: MailboxId,
        content: Content,
        thread: ThreadId,
        flags: &Flags,
        internal_date: Timestamp,
    ) -> Result<Outcome, StoreError> {
        let row = self.mailbox(mailbox)?;
        let (uid, modseq) = (free_uid(&row)?, next_modseq(&row));
        let (flags, save_date) = (flags.clone(), storable(self.now));
        let thread = Some(thread);
        let message = Message { uid, modseq, flags, internal_date, save_date, content, thread };
        self.changed(row.account, Some(mailbox));
        self.emit(Event::Message(mailbox, message))?;
        self.check_quota(row.account)?;
        Ok(Outcome::Added { uid_validity: row.uid_validity, uid, modseq })
    }

    /// The thread a message belongs to; the ids it names belong to it from now on.
    fn thread(
        &mut self,
        account: AccountId,
        body: &Body,
        own: Option<&MessageId>,
    ) -> Result<ThreadId, StoreError> {
        let (mut found, mut new) = (None, Vec::new());
        for id in threads::hashes(&self.state.key, body.threading(), own) {
            match self.tables.thread(account, id)? {
                Some(thread) => found = found.or(Some(thread)),
                None => new.push(id),
            }
        }
        let thread = found.unwrap_or(ThreadId::of(body.id()));
        if !new.is_empty() {
            self.emit(Event::Thread(account, thread, new))?;
        }
        Ok(thread)
    }

    fn set_flags(
        &mut self,
        mailbox: MailboxId,
        uids: &[Uid],
        change: &FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> Result<Outcome, StoreError> {
        let row = self.mailbox(mailbox)?;
        let modseq = next_modseq(&row);
        let (mut new, mut changed, mut modified) = (Vec::new(), Vec::new(), Vec::new());
        for uid in ascending(uids) {
            let Some(message) = self.tables.message(mailbox, uid)? else { continue };
            if unchanged_since.is_some_and(|since| message.modseq > since) {
                modified.push(uid);
                continue;
            }
            let flags = change.applied_to(&message.flags);
            let before = message.modseq;
            if flags == message.flags {
                changed.push(Flagged { uid, flags, modseq: before, before });
            } else {
                new.push((uid, flags.clone()));
                changed.push(Flagged { uid, flags, modseq, before });
            }
        }
        if !new.is_empty() {
            self.changed(row.account, Some(mailbox));
            self.emit(Event::Flags(mailbox, modseq, new))?;
        }
        Ok(Outcome::Flags { changed, modified })
    }

    fn copy(
        &mut self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
        away: bool,
    ) -> Result<Outcome, StoreError> {
        let source = self.mailbox(from)?;
        let target = self.mailbox(to)?;
        let (mut pairs, modseq) = (Vec::new(), next_modseq(&target));
        for old in ascending(uids) {
            let Some(message) = self.tables.message(from, old)? else { continue };
            let uid = free_uid(&self.mailbox(to)?)?;
            let message = Message { uid, modseq, save_date: storable(self.now), ..message };
            self.emit(Event::Message(to, message))?;
            pairs.push((old, uid));
        }
        if !pairs.is_empty() {
            self.changed(target.account, Some(to));
            // A phone deletes by moving to the trash: that has to work in a full account.
            if !away || source.account != target.account {
                self.check_quota(target.account)?;
            }
        }
        if away {
            let gone: Vec<_> = pairs.iter().map(|(old, _)| *old).collect();
            self.expunge(from, &gone)?;
        }
        Ok(Outcome::Copied { uid_validity: target.uid_validity, uids: pairs })
    }

    fn expunge(&mut self, mailbox: MailboxId, uids: &[Uid]) -> Result<Vec<Uid>, StoreError> {
        let row = self.mailbox(mailbox)?;
        let mut gone = Vec::new();
        for uid in ascending(uids) {
            if self.tables.message(mailbox, uid)?.is_some() {
                gone.push(uid);
            }
        }
        if !gone.is_empty() {
            self.changed(row.account, Some(mailbox));
            self.emit(Event::Expunged(mailbox, next_modseq(&row), gone.clone()))?;
        }
        Ok(gone)
    }

    fn create(
        &mut self,
        account: AccountId,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
        subscribed: bool,
    ) -> Result<Outcome, StoreError> {
        if self.tables.name_taken(account, name.as_str())? {
            return Err(StoreError::MailboxExists);
        }
        let counters = self.state.counters;
        if counters.mailbox == u32::MAX || counters.uid_validity == u32::MAX {
            return Err(StoreError::TooLarge);
        }
        // The time keeps it above what a store that stood here before may have given.
        let clock = u32::try_from(self.now.as_second()).unwrap_or_default();
        let uid_validity = counters.uid_validity.max(clock.min(u32::MAX - 1));
        let uid_validity = NonZeroU32::new(uid_validity).unwrap_or(NonZeroU32::MIN);
        let id = MailboxId(counters.mailbox);
        self.changed(account, None);
        self.emit_mailbox(Mailbox {
            id,
            account,
            name: name.clone(),
            uid_validity: UidValidity(uid_validity),
            uid_next: Uid::FIRST,
            highest_modseq: ModSeq(1),
            special_use,
            subscribed,
            messages: 0,
            unseen: 0,
            size: 0,
        })?;
        Ok(Outcome::Created(id))
    }

    fn rename(&mut self, mailbox: MailboxId, name: &MailboxName) -> Result<Outcome, StoreError> {
        let row = self.mailbox(mailbox)?;
        if row.name == *name {
            return Ok(Outcome::Done);
        }
        if self.tables.name_taken(row.account, name.as_str())? {
            return Err(StoreError::MailboxExists);
        }
        self.changed(row.account, None);
        self.emit_mailbox(Mailbox { name: name.clone(), ..row })
    }

    fn enqueue(&mut self, content: Content, state: &[u8]) -> Result<Outcome, StoreError> {
        let id = QueueId(self.state.counters.queue);
        self.emit(Event::Queued(QueueRecord { id, content, state: state.to_vec() }))?;
        Ok(Outcome::Queued(id))
    }

    /// Makes a body known, when it is not.
    fn know(&mut self, body: &Body) -> Result<(), StoreError> {
        if self.tables.body(body.id())?.place.is_some() {
            return Ok(());
        }
        let placed = self.writing.body(body)?;
        for (hash, chunk) in placed.parts {
            if placed.healed.contains(&hash) || self.tables.part(hash)?.place.is_none() {
                self.emit(Event::Part(hash, chunk))?;
            }
        }
        self.emit(Event::Body(body.id(), placed.stored)).map(drop)
    }

    /// Says once more what is still true. Nothing changes but places.
    fn carry(&mut self, carry: &Carry, ends: Ends) -> Result<Outcome, StoreError> {
        let end = |planner: &mut Self, event| match ends {
            Ends::Told => planner.emit(event),
            Ends::LeftOut => Ok(Outcome::Done),
        };
        match carry {
            Carry::Mailbox(id) => match self.tables.mailbox(*id)?.cloned() {
                Some(row) => self.emit_mailbox(row),
                None => end(self, Event::MailboxDeleted(*id)),
            },
            Carry::Message(mailbox, uid) => match self.tables.message(*mailbox, *uid)? {
                Some(message) => self.emit(Event::Message(*mailbox, message)),
                None => Ok(Outcome::Done),
            },
            Carry::Expunged(mailbox, modseq, uids) => match self.tables.mailbox(*mailbox)? {
                Some(_) => self.emit(Event::Expunged(*mailbox, *modseq, uids.clone())),
                None => Ok(Outcome::Done),
            },
            Carry::Queued(id) => match self.tables.queued(*id)? {
                Some(record) => self.emit(Event::Queued(record)),
                None => end(self, Event::Dequeued(*id)),
            },
            Carry::Setting(key) => match self.tables.setting(key)? {
                Some(value) => self.emit(Event::Setting(key.clone(), value)),
                None => end(self, Event::SettingDeleted(key.clone())),
            },
            Carry::Thread(account, ids) => {
                let mut known = BTreeMap::<ThreadId, Vec<IdHash>>::new();
                for id in ids {
                    if let Some(thread) = self.tables.thread(*account, *id)? {
                        known.entry(thread).or_default().push(*id);
                    }
                }
                for (thread, ids) in known {
                    self.emit(Event::Thread(*account, thread, ids))?;
                }
                Ok(Outcome::Done)
            }
            Carry::AccountGone(account) => end(self, Event::AccountGone(*account)),
            Carry::Body(id, chunks) => {
                let Some(mut stored) = self.tables.body(*id)?.place else {
                    return Ok(Outcome::Done);
                };
                for (old, new) in chunks {
                    for chunk in stored.chunks.iter_mut().filter(|chunk| *chunk == old) {
                        *chunk = self.writing.chunk(new)?;
                    }
                }
                self.emit(Event::Body(*id, stored))
            }
            Carry::Part(hash, moved) => match (self.tables.part(*hash)?.place, moved) {
                (Some(place), Some((old, new))) if place == *old => {
                    let chunk = self.writing.chunk(new)?;
                    self.emit(Event::Part(*hash, chunk))
                }
                (Some(place), None) => self.emit(Event::Part(*hash, place)),
                _ => Ok(Outcome::Done),
            },
        }
    }

    fn mailbox(&mut self, id: MailboxId) -> Result<Mailbox, StoreError> {
        self.tables.mailbox(id)?.cloned().ok_or(StoreError::NoMailbox)
    }

    /// Fails when what an account just got is more than it may hold.
    fn check_quota(&self, account: AccountId) -> Result<(), StoreError> {
        if self.over_quota {
            return Ok(());
        }
        let quota = self.tables.quota(account)?;
        if quota == Quota::NONE || quota.allows(self.tables.usage(account)?) {
            Ok(())
        } else {
            Err(StoreError::OverQuota)
        }
    }

    /// Notes that a setting changes: those of an account are news for who looks at it.
    fn set(&mut self, key: &str) {
        if let Some(account) = AccountId::of_setting(key) {
            self.changed(account, None);
        }
    }

    fn changed(&mut self, account: AccountId, mailbox: Option<MailboxId>) {
        let change = Change { account, mailbox };
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// Counts are the index's business: they are not part of the event.
    fn emit_mailbox(&mut self, row: Mailbox) -> Result<Outcome, StoreError> {
        self.emit(Event::Mailbox(Mailbox { messages: 0, unseen: 0, size: 0, ..row }))
    }

    fn emit(&mut self, event: Event) -> Result<Outcome, StoreError> {
        self.tables.apply(&event, self.state)?;
        self.events.push(event);
        Ok(Outcome::Done)
    }
}

fn ascending(uids: &[Uid]) -> Vec<Uid> {
    let mut uids = uids.to_vec();
    uids.sort_unstable();
    uids.dedup();
    uids
}

fn next_modseq(row: &Mailbox) -> ModSeq {
    ModSeq(row.highest_modseq.0.saturating_add(1))
}

/// The last number is never given, so that there is always a UIDNEXT.
fn free_uid(row: &Mailbox) -> Result<Uid, StoreError> {
    if row.uid_next.get() == u32::MAX { Err(StoreError::TooLarge) } else { Ok(row.uid_next) }
}
