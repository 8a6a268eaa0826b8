//! How events change the index: the one place, used alike when a batch is committed, when the log
//! is replayed and when the index is made anew, so that all three end the same.

mod anew;
mod bytes;

pub(super) use anew::Anew;

use std::collections::BTreeMap;

use redb::{AccessGuard, ReadableTable, Table, WriteTransaction};

use super::blocks::Map;
use super::codec::{Decoder, Encoder, Malformed};
use super::error::StoreError;
use super::event::{Counters, Event, encode_mailbox, encode_message};
use super::index::{
    BODIES, Bytes, EXPUNGED, LAYOUT, LIVE, MAILBOXES, MESSAGES, META, NAMES, PARTS, QUEUE,
    SETTINGS, index,
};
use super::quota::{Quota, Usage};
use super::record::{Key, Place};
use super::rows::{mailbox_row, message_row, queue_row, stored_mailbox, usage};
use super::threads::{IdHash, THREADS, ThreadId};
use super::types::{AccountId, Mailbox, MailboxId, Message, QueueId, QueueRecord};
use crate::mail::uids::split;
use crate::mail::{Flags, ModSeq, SystemFlag, Uid};

/// What the index knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// The store's key, in case segment headers are damaged.
    pub(super) key: Key,
    /// The end of the last commit it holds.
    pub(super) position: Place,
    /// The group of that commit.
    pub(super) group: u64,
    /// Numbers given so far.
    pub(super) counters: Counters,
}

impl State {
    /// Of an empty store.
    pub(super) fn start(key: Key) -> Self {
        let position = Place { segment: 0, offset: 0 };
        Self { key, position, group: 0, counters: Counters::START }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.number(LAYOUT);
        out.bytes(&self.key);
        out.number(self.position.segment);
        out.number(self.position.offset);
        out.number(self.group);
        self.counters.encode(&mut out);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder(bytes);
        if from.number::<u32>()? != LAYOUT {
            return Err(Malformed);
        }
        Ok(Self {
            key: from.bytes()?.try_into().map_err(|_| Malformed)?,
            position: Place { segment: from.number()?, offset: from.number()? },
            group: from.number()?,
            counters: Counters::decode(&mut from)?,
        })
    }
}

/// All tables, open for change. Mailbox rows are kept here until [`Tables::finish`].
pub(super) struct Tables<'t> {
    meta: Table<'t, &'static str, Bytes>,
    mailboxes: Table<'t, u32, Bytes>,
    names: Table<'t, (u32, &'static str), u32>,
    messages: Table<'t, (u32, u32), Bytes>,
    expunged: Table<'t, (u32, u64, u32), ()>,
    bodies: Table<'t, u64, Bytes>,
    parts: Table<'t, [u8; 16], Bytes>,
    live: Table<'t, u32, u64>,
    queue: Table<'t, u64, Bytes>,
    settings: Table<'t, &'static str, Bytes>,
    threads: Table<'t, (u32, u64), u64>,
    map: Map<'t>,
    rows: BTreeMap<MailboxId, Mailbox>,
    /// While the index is made anew.
    anew: Option<Anew>,
}

impl<'t> Tables<'t> {
    /// Opens them, making those that are missing.
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            meta: txn.open_table(META).map_err(index)?,
            mailboxes: txn.open_table(MAILBOXES).map_err(index)?,
            names: txn.open_table(NAMES).map_err(index)?,
            messages: txn.open_table(MESSAGES).map_err(index)?,
            expunged: txn.open_table(EXPUNGED).map_err(index)?,
            bodies: txn.open_table(BODIES).map_err(index)?,
            parts: txn.open_table(PARTS).map_err(index)?,
            live: txn.open_table(LIVE).map_err(index)?,
            queue: txn.open_table(QUEUE).map_err(index)?,
            settings: txn.open_table(SETTINGS).map_err(index)?,
            threads: txn.open_table(THREADS).map_err(index)?,
            map: Map::open(txn)?,
            rows: BTreeMap::new(),
            anew: None,
        })
    }

    /// Goes on making the index anew.
    pub(super) fn resume(&mut self, anew: Anew) {
        self.anew = Some(anew);
    }

    /// Lets go of what [`Tables::resume`] was given.
    pub(super) fn pause(&mut self) -> Option<Anew> {
        self.anew.take()
    }

    /// What the index knows of itself; nothing when it is new.
    pub(super) fn state(&self) -> Result<Option<State>, StoreError> {
        let value = self.meta.get("state").map_err(index)?;
        Ok(value.and_then(|value| State::decode(value.value()).ok()))
    }

    /// Writes back what was kept.
    pub(super) fn finish(mut self, state: &State) -> Result<(), StoreError> {
        self.meta.insert("state", &*state.encode()).map_err(index)?;
        self.keep_rows()
    }

    /// Writes back mailbox rows alone.
    pub(super) fn keep_rows(mut self) -> Result<(), StoreError> {
        for (id, mailbox) in std::mem::take(&mut self.rows) {
            let mut out = Encoder::default();
            encode_mailbox(&mailbox, &mut out);
            out.number(mailbox.messages);
            out.number(mailbox.unseen);
            out.number(mailbox.size);
            self.mailboxes.insert(id.0, &*out.finish()).map_err(index)?;
        }
        self.map.keep()
    }

    /// A mailbox as it stands.
    pub(super) fn mailbox(&mut self, id: MailboxId) -> Result<Option<&mut Mailbox>, StoreError> {
        if !self.rows.contains_key(&id) {
            let Some(row) = self.mailboxes.get(id.0).map_err(index)? else { return Ok(None) };
            self.rows.insert(id, mailbox_row(id, row.value())?);
        }
        Ok(self.rows.get_mut(&id))
    }

    /// Whether an account has a mailbox of that name.
    pub(super) fn name_taken(&self, account: AccountId, name: &str) -> Result<bool, StoreError> {
        Ok(self.names.get((account.0, name)).map_err(index)?.is_some())
    }

    /// A message as it stands.
    pub(super) fn message(&self, id: MailboxId, uid: Uid) -> Result<Option<Message>, StoreError> {
        let row = self.messages.get((id.0, uid.get())).map_err(index)?;
        row.map(|row| message_row(uid.get(), row.value())).transpose()
    }

    /// What an account may hold. One that cannot be read is none: mail must not wait for it.
    pub(super) fn quota(&self, account: AccountId) -> Result<Quota, StoreError> {
        let value = self.settings.get(&*Quota::key(account)).map_err(index)?;
        let quota = Quota::decode(account, value.as_ref().map(AccessGuard::value));
        Ok(quota.unwrap_or_else(|error| {
            tracing::warn!(%error, "a quota cannot be read and is left out");
            Quota::NONE
        }))
    }

    /// What an account holds as it stands.
    pub(super) fn usage(&self, account: AccountId) -> Result<Usage, StoreError> {
        usage(account, &self.names, |id| match self.rows.get(&id) {
            Some(row) => Ok(Some(row.clone())),
            None => stored_mailbox(&self.mailboxes, id),
        })
    }

    /// Whether a queue record exists.
    pub(super) fn has_queued(&self, id: QueueId) -> Result<bool, StoreError> {
        Ok(self.queue.get(id.0).map_err(index)?.is_some())
    }

    /// Brings one event into the index. What refers to things that a damaged record took away is
    /// left out.
    pub(super) fn apply(&mut self, event: &Event, state: &mut State) -> Result<(), StoreError> {
        let counters = &mut state.counters;
        match event {
            Event::Counters(seen) => counters.raise(*seen),
            Event::Mailbox(mailbox) => {
                counters.mailbox = counters.mailbox.max(mailbox.id.0.saturating_add(1));
                let next = mailbox.uid_validity.0.get().saturating_add(1);
                counters.uid_validity = counters.uid_validity.max(next);
                self.put_mailbox(mailbox)?;
            }
            Event::MailboxDeleted(id) => self.delete_mailbox(*id)?,
            Event::Body(id, stored) => {
                counters.body = counters.body.max(id.0.saturating_add(1));
                self.place_body(*id, stored)?;
            }
            Event::Part(hash, chunk) => self.place_part(*hash, chunk)?,
            Event::Message(mailbox, message) => self.put_message(*mailbox, message)?,
            Event::Thread(account, thread, ids) => {
                for id in ids {
                    self.threads.insert((account.0, id.number()), thread.0).map_err(index)?;
                }
            }
            Event::AccountGone(account) => self.forget_account(*account)?,
            Event::Flags(mailbox, modseq, changed) => {
                for (uid, flags) in changed {
                    self.set_flags(*mailbox, *modseq, *uid, flags)?;
                }
            }
            Event::Expunged(mailbox, modseq, uids) => {
                for uid in uids {
                    self.take_message(*mailbox, *uid)?;
                    if self.raise(*mailbox, *modseq, *uid)? {
                        self.raise_block(*mailbox, *modseq, *uid)?;
                        let key = (mailbox.0, modseq.0, uid.get());
                        self.expunged.insert(key, ()).map_err(index)?;
                    }
                }
            }
            Event::Queued(record) => {
                counters.queue = counters.queue.max(record.id.0.saturating_add(1));
                // Before the old one goes: it may hold the only reference.
                self.count_ref(record.content.body, 1)?;
                self.take_queued(record.id)?;
                self.put_queued(record)?;
            }
            Event::QueueState(id, new) => {
                if let Some(mut record) = self.queued(*id)? {
                    record.state.clone_from(new);
                    self.put_queued(&record)?;
                }
            }
            Event::Dequeued(id) => self.take_queued(*id)?,
            Event::Setting(key, value) => {
                self.settings.insert(key.as_str(), value.as_slice()).map_err(index)?;
            }
            Event::SettingDeleted(key) => {
                self.settings.remove(key.as_str()).map_err(index)?;
            }
        }
        Ok(())
    }

    fn put_mailbox(&mut self, new: &Mailbox) -> Result<(), StoreError> {
        let mut row = new.clone();
        if let Some(old) = self.mailbox(new.id)?.cloned() {
            row.messages = old.messages;
            row.unseen = old.unseen;
            row.size = old.size;
            row.uid_next = old.uid_next.max(new.uid_next);
            row.highest_modseq = old.highest_modseq.max(new.highest_modseq);
            self.free_name(&old)?;
        }
        self.names.insert((row.account.0, row.name.as_str()), row.id.0).map_err(index)?;
        self.rows.insert(row.id, row);
        Ok(())
    }

    /// Unless another mailbox has it meanwhile.
    fn free_name(&mut self, old: &Mailbox) -> Result<(), StoreError> {
        let name = (old.account.0, old.name.as_str());
        let ours = self.names.get(name).map_err(index)?.is_some_and(|id| id.value() == old.id.0);
        if ours {
            self.names.remove(name).map_err(index)?;
        }
        Ok(())
    }

    fn delete_mailbox(&mut self, id: MailboxId) -> Result<(), StoreError> {
        let mailbox = self.mailbox(id)?.cloned();
        let mut from = 0;
        loop {
            let part = self.messages.range((id.0, from)..=(id.0, u32::MAX)).map_err(index)?;
            let part: Result<Vec<_>, _> =
                part.take(1000).map(|entry| entry.map(|(key, _)| key.value().1)).collect();
            let part = part.map_err(index)?;
            let Some(last) = part.last() else { break };
            from = *last;
            for uid in part {
                if let Some(uid) = Uid::new(uid) {
                    self.take_message(id, uid)?;
                }
            }
        }
        self.forget_expunged(id)?;
        self.map.forget(id)?;
        if let Some(mailbox) = mailbox {
            self.free_name(&mailbox)?;
        }
        self.mailboxes.remove(id.0).map_err(index)?;
        self.rows.remove(&id);
        Ok(())
    }

    fn forget_expunged(&mut self, id: MailboxId) -> Result<(), StoreError> {
        let tombs = (id.0, 0, 0)..=(id.0, u64::MAX, u32::MAX);
        self.expunged.retain_in(tombs, |_, ()| false).map_err(index)
    }

    /// The thread of a message id.
    pub(super) fn thread(
        &self,
        account: AccountId,
        id: IdHash,
    ) -> Result<Option<ThreadId>, StoreError> {
        let row = self.threads.get((account.0, id.number())).map_err(index)?;
        Ok(row.map(|row| ThreadId(row.value())))
    }

    /// While the index is made anew, an older record of a thread may come behind a newer one of the
    /// account's end.
    fn forget_account(&mut self, account: AccountId) -> Result<(), StoreError> {
        if let Some(anew) = &mut self.anew {
            anew.gone.insert(account);
            return Ok(());
        }
        let all = (account.0, 0)..=(account.0, u64::MAX);
        self.threads.retain_in(all, |_, _| false).map_err(index)
    }

    fn put_message(&mut self, id: MailboxId, message: &Message) -> Result<(), StoreError> {
        if self.anew.is_none() && self.mailbox(id)?.is_none() {
            return Ok(());
        }
        // Before the old one goes: it may hold the only reference.
        self.count_ref(message.content.body, 1)?;
        self.take_message(id, message.uid)?;
        self.raise(id, message.modseq, message.uid)?;
        self.raise_block(id, message.modseq, message.uid)?;
        self.count_message(id, message, u64::saturating_add)?;
        if self.anew.is_none() {
            self.map.add(id, message)?;
        }
        self.write_message(id, message)
    }

    /// Removes a message, when it is there.
    fn take_message(&mut self, id: MailboxId, uid: Uid) -> Result<(), StoreError> {
        let Some(old) = self.message(id, uid)? else { return Ok(()) };
        self.messages.remove((id.0, uid.get())).map_err(index)?;
        self.count_message(id, &old, u64::saturating_sub)?;
        if self.anew.is_none() {
            self.map.remove(id, &old)?;
        }
        self.count_ref(old.content.body, -1)
    }

    /// Adds a message to its mailbox's counts or takes it out of them.
    fn count_message(
        &mut self,
        id: MailboxId,
        message: &Message,
        change: fn(u64, u64) -> u64,
    ) -> Result<(), StoreError> {
        if self.anew.is_some() {
            return Ok(());
        }
        if let Some(mailbox) = self.mailbox(id)? {
            let count = |old: u32, by| u32::try_from(change(old.into(), by)).unwrap_or(u32::MAX);
            let unseen = !message.flags.has(SystemFlag::Seen);
            mailbox.messages = count(mailbox.messages, 1);
            mailbox.unseen = count(mailbox.unseen, unseen.into());
            mailbox.size = change(mailbox.size, message.content.size());
        }
        Ok(())
    }

    fn set_flags(
        &mut self,
        id: MailboxId,
        modseq: ModSeq,
        uid: Uid,
        flags: &Flags,
    ) -> Result<(), StoreError> {
        let Some(mut message) = self.message(id, uid)? else { return Ok(()) };
        self.count_message(id, &message, u64::saturating_sub)?;
        if self.anew.is_none() {
            self.map.flag(id, uid, &message.flags, flags)?;
        }
        message.flags.clone_from(flags);
        message.modseq = modseq;
        self.count_message(id, &message, u64::saturating_add)?;
        self.raise(id, modseq, uid)?;
        self.raise_block(id, modseq, uid)?;
        self.write_message(id, &message)
    }

    fn write_message(&mut self, id: MailboxId, message: &Message) -> Result<(), StoreError> {
        let mut out = Encoder::default();
        encode_message(message, &mut out);
        let key = (id.0, message.uid.get());
        self.messages.insert(key, &*out.finish()).map_err(index)?;
        Ok(())
    }

    /// Keeps the mailbox's highest numbers above what was given; whether there is the mailbox, or
    /// may be.
    fn raise(&mut self, id: MailboxId, modseq: ModSeq, uid: Uid) -> Result<bool, StoreError> {
        if let Some(anew) = &mut self.anew {
            let highest = anew.highest.entry(id).or_insert((modseq, uid));
            *highest = (highest.0.max(modseq), highest.1.max(uid));
            return Ok(true);
        }
        let Some(mailbox) = self.mailbox(id)? else { return Ok(false) };
        mailbox.highest_modseq = mailbox.highest_modseq.max(modseq);
        let above = Uid(uid.0.saturating_add(1));
        mailbox.uid_next = mailbox.uid_next.max(above);
        Ok(true)
    }

    /// Notes when something in a message's block last changed.
    fn raise_block(&mut self, id: MailboxId, modseq: ModSeq, uid: Uid) -> Result<(), StoreError> {
        let (block, _) = split(uid.get());
        if let Some(anew) = &mut self.anew {
            let highest = anew.blocks.entry((id, block)).or_insert(modseq);
            *highest = modseq.max(*highest);
            return Ok(());
        }
        self.map.raise(id, block, modseq)
    }

    /// A setting as it stands.
    pub(super) fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.settings.get(key).map_err(index)?.map(|value| value.value().to_vec()))
    }

    /// A queue record as it stands.
    pub(super) fn queued(&self, id: QueueId) -> Result<Option<QueueRecord>, StoreError> {
        let row = self.queue.get(id.0).map_err(index)?;
        row.map(|row| queue_row(id, row.value())).transpose()
    }

    fn take_queued(&mut self, id: QueueId) -> Result<(), StoreError> {
        let Some(record) = self.queued(id)? else { return Ok(()) };
        self.queue.remove(id.0).map_err(index)?;
        self.count_ref(record.content.body, -1)
    }

    fn put_queued(&mut self, record: &QueueRecord) -> Result<(), StoreError> {
        let mut out = Encoder::default();
        out.content(&record.content);
        out.bytes(&record.state);
        self.queue.insert(record.id.0, &*out.finish()).map_err(index)?;
        Ok(())
    }
}
