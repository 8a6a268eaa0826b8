//! The index: redb tables over the log, for reading. Whatever is here can be made anew from the
//! segments; what changes it is in `apply.rs`. Reads take a snapshot, copy out and let go.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "the dump is for tests"))]

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTableMetadata, TableDefinition,
};

use super::apply::{State, Tables};
use super::codec::{Decoder, Malformed};
use super::disk::{Disk, IndexFile};
use super::error::StoreError;
use super::event::{ChunkRef, Stored, decode_mailbox, decode_message};
use super::types::{
    AccountId, BodyId, Content, Mailbox, MailboxId, Message, QueueId, QueueRecord, Stats,
};
use crate::mail::{MailboxName, Uid};

pub(super) type Bytes = &'static [u8];

/// Single values by name: see `FORMAT.md`.
pub(super) const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");
/// Mailboxes by number.
pub(super) const MAILBOXES: TableDefinition<'_, u32, Bytes> = TableDefinition::new("mailboxes");
/// Mailbox numbers by account and name.
pub(super) const NAMES: TableDefinition<'_, (u32, &str), u32> = TableDefinition::new("names");
/// Messages by mailbox and UID.
pub(super) const MESSAGES: TableDefinition<'_, (u32, u32), Bytes> =
    TableDefinition::new("messages");
/// Mailbox, modification sequence and UID of what was expunged (RFC 7162 §3.2).
pub(super) const EXPUNGED: TableDefinition<'_, (u32, u64, u32), ()> =
    TableDefinition::new("expunged");
/// Places and reference counts of bodies.
pub(super) const BODIES: TableDefinition<'_, u64, Bytes> = TableDefinition::new("bodies");
/// Bytes of each segment that some body still needs.
pub(super) const LIVE: TableDefinition<'_, u32, u64> = TableDefinition::new("live");
/// The queue.
pub(super) const QUEUE: TableDefinition<'_, u64, Bytes> = TableDefinition::new("queue");
/// Settings.
pub(super) const SETTINGS: TableDefinition<'_, &str, Bytes> = TableDefinition::new("settings");

/// Layout of these tables; another one is made anew from the segments.
pub(super) const LAYOUT: u32 = 1;
/// File name of the index.
pub(super) const FILE: &str = "index.redb";
/// Memory redb may use for pages.
const CACHE: usize = 16 << 20;

/// The open index.
#[derive(Debug)]
pub(super) struct Index {
    database: RwLock<Option<Database>>,
}

impl Index {
    /// Opens the index or makes an empty one.
    pub(super) fn open(disk: &Arc<dyn Disk>, fresh: bool) -> Result<Self, StoreError> {
        let open = || {
            let file = disk.open(FILE, fresh)?;
            disk.sync_names()?;
            Ok(file)
        };
        let file = open().map_err(|error| super::error::disk("open the index", error))?;
        let backend = IndexFile { disk: Arc::clone(disk), name: FILE, file };
        let mut builder = redb::Builder::new();
        builder.set_cache_size(CACHE);
        let database = builder.create_with_backend(backend).map_err(index)?;
        let index = Self { database: RwLock::new(Some(database)) };
        let txn = index.write(Durability::None)?;
        Tables::open(&txn)?;
        txn.commit().map_err(self::index)?;
        Ok(index)
    }

    /// What the index knows of itself; nothing when it is new or of another layout.
    pub(super) fn state(&self) -> Result<Option<State>, StoreError> {
        let meta = self.read()?.open_table(META).map_err(index)?;
        let value = meta.get("state").map_err(index)?;
        Ok(value.and_then(|value| State::decode(value.value()).ok()))
    }

    /// Begins a change.
    pub(super) fn write(
        &self,
        durability: Durability,
    ) -> Result<redb::WriteTransaction, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(StoreError::Closed)?;
        let mut txn = database.begin_write().map_err(index)?;
        txn.set_durability(durability).map_err(index)?;
        // With it, opening after a power cut does not walk the whole index.
        txn.set_quick_repair(matches!(durability, Durability::Immediate));
        Ok(txn)
    }

    /// Lets go of the file. Reads fail from now on.
    pub(super) fn close(&self) {
        drop(self.database.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn read(&self) -> Result<ReadTransaction, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        database.as_ref().ok_or(StoreError::Closed)?.begin_read().map_err(index)
    }

    pub(super) fn mailboxes(&self, account: AccountId) -> Result<Vec<Mailbox>, StoreError> {
        let txn = self.read()?;
        let names = txn.open_table(NAMES).map_err(index)?;
        let rows = txn.open_table(MAILBOXES).map_err(index)?;
        let mut mailboxes = Vec::new();
        for entry in names.range((account.0, "")..).map_err(index)? {
            let (key, id) = entry.map_err(index)?;
            if key.value().0 != account.0 {
                break;
            }
            let id = MailboxId(id.value());
            if let Some(row) = rows.get(id.0).map_err(index)? {
                mailboxes.push(mailbox_row(id, row.value())?);
            }
        }
        Ok(mailboxes)
    }

    pub(super) fn mailbox(&self, id: MailboxId) -> Result<Option<Mailbox>, StoreError> {
        let rows = self.read()?.open_table(MAILBOXES).map_err(index)?;
        let row = rows.get(id.0).map_err(index)?;
        row.map(|row| mailbox_row(id, row.value())).transpose()
    }

    pub(super) fn find_mailbox(
        &self,
        account: AccountId,
        name: &MailboxName,
    ) -> Result<Option<Mailbox>, StoreError> {
        let txn = self.read()?;
        let names = txn.open_table(NAMES).map_err(index)?;
        let Some(id) = names.get((account.0, name.as_str())).map_err(index)? else {
            return Ok(None);
        };
        let rows = txn.open_table(MAILBOXES).map_err(index)?;
        let id = MailboxId(id.value());
        let row = rows.get(id.0).map_err(index)?;
        row.map(|row| mailbox_row(id, row.value())).transpose()
    }

    pub(super) fn messages(&self, mailbox: MailboxId) -> Result<Vec<Message>, StoreError> {
        let txn = self.read()?;
        let rows = txn.open_table(MESSAGES).map_err(index)?;
        let all = rows.range((mailbox.0, 0)..=(mailbox.0, u32::MAX)).map_err(index)?;
        all.map(|entry| {
            let (key, row) = entry.map_err(index)?;
            message_row(key.value().1, row.value())
        })
        .collect()
    }

    pub(super) fn message(
        &self,
        mailbox: MailboxId,
        uid: Uid,
    ) -> Result<Option<Message>, StoreError> {
        let rows = self.read()?.open_table(MESSAGES).map_err(index)?;
        let row = rows.get((mailbox.0, uid.get())).map_err(index)?;
        row.map(|row| message_row(uid.get(), row.value())).transpose()
    }

    pub(super) fn body(&self, id: BodyId) -> Result<Option<Stored>, StoreError> {
        let rows = self.read()?.open_table(BODIES).map_err(index)?;
        let row = rows.get(id.0).map_err(index)?;
        row.map(|row| Ok(body_row(row.value())?.1)).transpose()
    }

    /// The numbers of bodies that exist, ascending.
    pub(super) fn bodies_after(
        &self,
        after: Option<BodyId>,
        limit: usize,
    ) -> Result<Vec<BodyId>, StoreError> {
        let rows = self.read()?.open_table(BODIES).map_err(index)?;
        let from = after.map_or(0, |after| after.0.saturating_add(1));
        let rows = rows.range(from..).map_err(index)?.take(limit);
        rows.map(|entry| Ok(BodyId(entry.map_err(index)?.0.value()))).collect()
    }

    pub(super) fn queue(&self) -> Result<Vec<QueueRecord>, StoreError> {
        let rows = self.read()?.open_table(QUEUE).map_err(index)?;
        let all = rows.range::<u64>(..).map_err(index)?;
        all.map(|entry| {
            let (key, row) = entry.map_err(index)?;
            queue_row(QueueId(key.value()), row.value())
        })
        .collect()
    }

    pub(super) fn queued(&self, id: QueueId) -> Result<Option<QueueRecord>, StoreError> {
        let rows = self.read()?.open_table(QUEUE).map_err(index)?;
        let row = rows.get(id.0).map_err(index)?;
        row.map(|row| queue_row(id, row.value())).transpose()
    }

    pub(super) fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.read()?.open_table(SETTINGS).map_err(index)?;
        Ok(rows.get(key).map_err(index)?.map(|value| value.value().to_vec()))
    }

    pub(super) fn settings(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let rows = self.read()?.open_table(SETTINGS).map_err(index)?;
        let mut settings = Vec::new();
        for entry in rows.range(prefix..).map_err(index)? {
            let (key, value) = entry.map_err(index)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            settings.push((key.value().to_owned(), value.value().to_vec()));
        }
        Ok(settings)
    }

    /// Every message one of whose chunks is such a one.
    pub(super) fn messages_with(
        &self,
        such: impl Fn(&ChunkRef) -> bool,
    ) -> Result<Vec<(MailboxId, Uid)>, StoreError> {
        let txn = self.read()?;
        let mut bodies = BTreeSet::new();
        for entry in txn.open_table(BODIES).map_err(index)?.range::<u64>(..).map_err(index)? {
            let (id, row) = entry.map_err(index)?;
            if body_row(row.value())?.1.chunks.iter().any(&such) {
                bodies.insert(BodyId(id.value()));
            }
        }
        let mut messages = Vec::new();
        if bodies.is_empty() {
            return Ok(messages);
        }
        let rows = txn.open_table(MESSAGES).map_err(index)?;
        for entry in rows.range::<(u32, u32)>(..).map_err(index)? {
            let (key, row) = entry.map_err(index)?;
            let (mailbox, uid) = key.value();
            let message = message_row(uid, row.value())?;
            if bodies.contains(&message.content.body) {
                messages.push((MailboxId(mailbox), message.uid));
            }
        }
        Ok(messages)
    }

    /// What the tables can tell; the rest is the disk's.
    pub(super) fn stats(&self) -> Result<Stats, StoreError> {
        let txn = self.read()?;
        let mut stats = Stats::default();
        let mut account = None;
        for entry in
            txn.open_table(NAMES).map_err(index)?.range::<(u32, &str)>(..).map_err(index)?
        {
            let owner = entry.map_err(index)?.0.value().0;
            stats.accounts += u32::from(account != Some(owner));
            account = Some(owner);
        }
        for entry in txn.open_table(MAILBOXES).map_err(index)?.range::<u32>(..).map_err(index)? {
            let (key, row) = entry.map_err(index)?;
            let mailbox = mailbox_row(MailboxId(key.value()), row.value())?;
            stats.mailboxes += 1;
            stats.messages += u64::from(mailbox.messages);
            stats.message_bytes += mailbox.size;
        }
        stats.queued = txn.open_table(QUEUE).map_err(index)?.len().map_err(index)?;
        Ok(stats)
    }

    /// Every row of every table as text, to compare two indexes.
    #[cfg(test)]
    pub(super) fn dump(&self) -> Vec<String> {
        let (txn, mut out) = (self.read().unwrap(), Vec::new());
        dump_table(&txn, META, &mut out);
        dump_table(&txn, MAILBOXES, &mut out);
        dump_table(&txn, NAMES, &mut out);
        dump_table(&txn, MESSAGES, &mut out);
        dump_table(&txn, EXPUNGED, &mut out);
        dump_table(&txn, BODIES, &mut out);
        dump_table(&txn, LIVE, &mut out);
        dump_table(&txn, QUEUE, &mut out);
        dump_table(&txn, SETTINGS, &mut out);
        out
    }
}

/// Decodes a value of [`MAILBOXES`].
pub(super) fn mailbox_row(id: MailboxId, row: &[u8]) -> Result<Mailbox, StoreError> {
    let mut from = Decoder(row);
    let mut decode = || {
        let mut mailbox = decode_mailbox(id, &mut from)?;
        mailbox.messages = from.number()?;
        mailbox.unseen = from.number()?;
        mailbox.size = from.number()?;
        Ok(mailbox)
    };
    decode().map_err(|error| malformed("a mailbox", error))
}

/// Decodes a value of [`MESSAGES`].
pub(super) fn message_row(uid: u32, row: &[u8]) -> Result<Message, StoreError> {
    let uid = Uid::new(uid).ok_or(Malformed);
    uid.and_then(|uid| decode_message(uid, &mut Decoder(row)))
        .map_err(|error| malformed("a message", error))
}

/// Decodes a value of [`BODIES`]: the number of references and the places.
pub(super) fn body_row(row: &[u8]) -> Result<(u64, Stored), StoreError> {
    let mut from = Decoder(row);
    let refs = from.number();
    refs.and_then(|refs| Ok((refs, Stored::decode(&mut from)?)))
        .map_err(|error| malformed("a body", error))
}

/// Decodes a value of [`QUEUE`].
pub(super) fn queue_row(id: QueueId, row: &[u8]) -> Result<QueueRecord, StoreError> {
    let mut from = Decoder(row);
    let decode = |from: &mut Decoder<'_>| -> Result<(Content, Vec<u8>), Malformed> {
        Ok((from.content()?, from.bytes()?.to_vec()))
    };
    let (content, state) = decode(&mut from).map_err(|error| malformed("a queue record", error))?;
    Ok(QueueRecord { id, content, state })
}

fn malformed(what: &str, error: Malformed) -> StoreError {
    StoreError::Index(format!("{what} is {error}"))
}

/// The index's fault.
pub(super) fn index(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Index(error.into().to_string())
}

#[cfg(test)]
fn dump_table<K: redb::Key + 'static, V: redb::Value + 'static>(
    txn: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
    out: &mut Vec<String>,
) {
    use redb::{ReadableTable as _, TableHandle as _};
    for entry in txn.open_table(table).unwrap().iter().unwrap() {
        let (key, value) = entry.unwrap();
        out.push(format!("{} {:?} = {:?}", table.name(), key.value(), value.value()));
    }
}
