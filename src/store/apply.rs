//! How events change the index: the one place, used alike when a batch is committed, when the log
//! is replayed and when the index is made anew, so that all three end the same.

use std::collections::BTreeMap;

use redb::{AccessGuard, ReadableTable, Table, WriteTransaction};

use super::codec::{Decoder, Encoder, Malformed};
use super::error::StoreError;
use super::event::{Counters, Event, Stored, encode_mailbox, encode_message};
use super::index::{
    BODIES, Bytes, EXPUNGED, LAYOUT, LIVE, MAILBOXES, MESSAGES, META, NAMES, QUEUE, SETTINGS,
    body_row, index, mailbox_row, message_row, queue_row, stored_mailbox, usage,
};
use super::quota::{Quota, Usage};
use super::record::{Key, Place};
use super::types::{AccountId, BodyId, Mailbox, MailboxId, Message, QueueId, QueueRecord};
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
    live: Table<'t, u32, u64>,
    queue: Table<'t, u64, Bytes>,
    settings: Table<'t, &'static str, Bytes>,
    rows: BTreeMap<MailboxId, Mailbox>,
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
            live: txn.open_table(LIVE).map_err(index)?,
            queue: txn.open_table(QUEUE).map_err(index)?,
            settings: txn.open_table(SETTINGS).map_err(index)?,
            rows: BTreeMap::new(),
        })
    }

    /// What the index knows of itself; nothing when it is new.
    pub(super) fn state(&self) -> Result<Option<State>, StoreError> {
        let value = self.meta.get("state").map_err(index)?;
        Ok(value.and_then(|value| State::decode(value.value()).ok()))
    }

    /// Writes back what was kept.
    pub(super) fn finish(mut self, state: &State) -> Result<(), StoreError> {
        for (id, mailbox) in std::mem::take(&mut self.rows) {
            let mut out = Encoder::default();
            encode_mailbox(&mailbox, &mut out);
            out.number(mailbox.messages);
            out.number(mailbox.unseen);
            out.number(mailbox.size);
            self.mailboxes.insert(id.0, &*out.finish()).map_err(index)?;
        }
        self.meta.insert("state", &*state.encode()).map_err(index)?;
        Ok(())
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

    /// Whether a body is known.
    pub(super) fn has_body(&self, id: BodyId) -> Result<bool, StoreError> {
        Ok(self.bodies.get(id.0).map_err(index)?.is_some())
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
                self.put_body(*id, 0, stored)?;
                self.count_live(stored, u64::saturating_add)?;
            }
            Event::Message(mailbox, message) => self.put_message(*mailbox, message)?,
            Event::Flags(mailbox, modseq, changed) => {
                for (uid, flags) in changed {
                    self.set_flags(*mailbox, *modseq, *uid, flags)?;
                }
            }
            Event::Expunged(mailbox, modseq, uids) => {
                for uid in uids {
                    if self.take_message(*mailbox, *uid)? {
                        self.raise(*mailbox, *modseq, *uid)?;
                        let key = (mailbox.0, modseq.0, uid.get());
                        self.expunged.insert(key, ()).map_err(index)?;
                    }
                }
            }
            Event::Queued(record) => {
                counters.queue = counters.queue.max(record.id.0.saturating_add(1));
                self.count_ref(record.content.body, 1)?;
                self.put_queued(record)?;
            }
            Event::QueueState(id, new) => {
                if let Some(mut record) = self.queued(*id)? {
                    record.state.clone_from(new);
                    self.put_queued(&record)?;
                }
            }
            Event::Dequeued(id) => {
                if let Some(record) = self.queued(*id)? {
                    self.queue.remove(id.0).map_err(index)?;
                    self.count_ref(record.content.body, -1)?;
                }
            }
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
            self.names.remove((old.account.0, old.name.as_str())).map_err(index)?;
        }
        self.names.insert((row.account.0, row.name.as_str()), row.id.0).map_err(index)?;
        self.rows.insert(row.id, row);
        Ok(())
    }

    fn delete_mailbox(&mut self, id: MailboxId) -> Result<(), StoreError> {
        let Some(mailbox) = self.mailbox(id)?.cloned() else { return Ok(()) };
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
        let tombs = (id.0, 0, 0)..=(id.0, u64::MAX, u32::MAX);
        self.expunged.retain_in(tombs, |_, ()| false).map_err(index)?;
        self.names.remove((mailbox.account.0, mailbox.name.as_str())).map_err(index)?;
        self.mailboxes.remove(id.0).map_err(index)?;
        self.rows.remove(&id);
        Ok(())
    }

    fn put_message(&mut self, id: MailboxId, message: &Message) -> Result<(), StoreError> {
        self.take_message(id, message.uid)?;
        let Some(mailbox) = self.mailbox(id)? else { return Ok(()) };
        mailbox.messages += 1;
        mailbox.unseen += u32::from(!message.flags.has(SystemFlag::Seen));
        mailbox.size += message.content.size();
        self.raise(id, message.modseq, message.uid)?;
        self.count_ref(message.content.body, 1)?;
        self.write_message(id, message)
    }

    /// Removes a message, when it is there.
    fn take_message(&mut self, id: MailboxId, uid: Uid) -> Result<bool, StoreError> {
        let Some(old) = self.message(id, uid)? else { return Ok(false) };
        self.messages.remove((id.0, uid.get())).map_err(index)?;
        if let Some(mailbox) = self.mailbox(id)? {
            let unseen = u32::from(!old.flags.has(SystemFlag::Seen));
            mailbox.messages = mailbox.messages.saturating_sub(1);
            mailbox.unseen = mailbox.unseen.saturating_sub(unseen);
            mailbox.size = mailbox.size.saturating_sub(old.content.size());
        }
        self.count_ref(old.content.body, -1)?;
        Ok(true)
    }

    fn set_flags(
        &mut self,
        id: MailboxId,
        modseq: ModSeq,
        uid: Uid,
        flags: &Flags,
    ) -> Result<(), StoreError> {
        let Some(mut message) = self.message(id, uid)? else { return Ok(()) };
        if let Some(mailbox) = self.mailbox(id)? {
            let (was, is) = (message.flags.has(SystemFlag::Seen), flags.has(SystemFlag::Seen));
            mailbox.unseen = (mailbox.unseen + u32::from(was)).saturating_sub(u32::from(is));
        }
        message.flags.clone_from(flags);
        message.modseq = modseq;
        self.raise(id, modseq, uid)?;
        self.write_message(id, &message)
    }

    fn write_message(&mut self, id: MailboxId, message: &Message) -> Result<(), StoreError> {
        let mut out = Encoder::default();
        encode_message(message, &mut out);
        let key = (id.0, message.uid.get());
        self.messages.insert(key, &*out.finish()).map_err(index)?;
        Ok(())
    }

    /// Keeps the mailbox's highest numbers above what was given.
    fn raise(&mut self, id: MailboxId, modseq: ModSeq, uid: Uid) -> Result<(), StoreError> {
        if let Some(mailbox) = self.mailbox(id)? {
            mailbox.highest_modseq = mailbox.highest_modseq.max(modseq);
            let above = Uid(uid.0.saturating_add(1));
            mailbox.uid_next = mailbox.uid_next.max(above);
        }
        Ok(())
    }

    fn queued(&self, id: QueueId) -> Result<Option<QueueRecord>, StoreError> {
        let row = self.queue.get(id.0).map_err(index)?;
        row.map(|row| queue_row(id, row.value())).transpose()
    }

    fn put_queued(&mut self, record: &QueueRecord) -> Result<(), StoreError> {
        let mut out = Encoder::default();
        out.content(&record.content);
        out.bytes(&record.state);
        self.queue.insert(record.id.0, &*out.finish()).map_err(index)?;
        Ok(())
    }

    fn put_body(&mut self, id: BodyId, refs: u64, stored: &Stored) -> Result<(), StoreError> {
        let mut out = Encoder::default();
        out.number(refs);
        stored.encode(&mut out);
        self.bodies.insert(id.0, &*out.finish()).map_err(index)?;
        Ok(())
    }

    /// One reference more or fewer; a body without any is gone.
    fn count_ref(&mut self, id: BodyId, change: i64) -> Result<(), StoreError> {
        let row = self.bodies.get(id.0).map_err(index)?;
        let Some((refs, stored)) = row.map(|row| body_row(row.value())).transpose()? else {
            return Ok(());
        };
        let refs = refs.saturating_add_signed(change);
        if refs > 0 {
            return self.put_body(id, refs, &stored);
        }
        self.bodies.remove(id.0).map_err(index)?;
        self.count_live(&stored, u64::saturating_sub)
    }

    fn count_live(
        &mut self,
        stored: &Stored,
        change: fn(u64, u64) -> u64,
    ) -> Result<(), StoreError> {
        let mut sums = BTreeMap::<u32, u64>::new();
        for chunk in &stored.chunks {
            *sums.entry(chunk.segment).or_default() += u64::from(chunk.stored);
        }
        for (segment, bytes) in sums {
            let old = self.live.get(segment).map_err(index)?.map_or(0, |old| old.value());
            match change(old, bytes) {
                0 => drop(self.live.remove(segment).map_err(index)?),
                new => drop(self.live.insert(segment, new).map_err(index)?),
            }
        }
        Ok(())
    }
}
