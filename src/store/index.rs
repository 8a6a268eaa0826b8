//! The index: redb tables over the log, for reading. Whatever is here can be made anew from the
//! segments; what changes it is in `apply.rs`. Reads take a snapshot, copy out and let go.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTableMetadata, TableDefinition,
};

use super::apply::{State, Tables};
use super::blocks::{self, BLOCKS, HELD, Held, KEYWORDS, Overview};
use super::changes::{Changes, Entry, Recent};
use super::disk::{Disk, How, IndexFile};
use super::error::StoreError;
use super::event::{ChunkRef, Hash, PartUse, Stored};
use super::quota::Usage;
use super::rows::{
    body_row, changed_rows, entry_row, mailbox_ids, mailbox_row, message_row, part_row, queue_row,
    stored_mailbox, usage,
};
use super::threads::{IdHash, THREADS, ThreadId};
use super::types::{AccountId, BodyId, Mailbox, MailboxId, Message, QueueId, QueueRecord, Stats};
use crate::mail::{MailboxName, ModSeq, Uid};

pub(super) type Bytes = &'static [u8];
/// Where parts lie.
pub(super) type Places = BTreeMap<Hash, ChunkRef>;

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
/// Places and reference counts of parts.
pub(super) const PARTS: TableDefinition<'_, [u8; 16], Bytes> = TableDefinition::new("parts");
/// Bytes of each segment that some body or part still needs.
pub(super) const LIVE: TableDefinition<'_, u32, u64> = TableDefinition::new("live");
/// The queue.
pub(super) const QUEUE: TableDefinition<'_, u64, Bytes> = TableDefinition::new("queue");
/// Settings.
pub(super) const SETTINGS: TableDefinition<'_, &str, Bytes> = TableDefinition::new("settings");

/// Layout of these tables; another one is made anew from the segments.
pub(super) const LAYOUT: u32 = 4;
/// File name of the index.
pub(super) const FILE: &str = "index.redb";
/// Memory redb may use for pages.
pub(super) const CACHE: usize = 16 << 20;

/// The open index.
#[derive(Debug)]
pub(super) struct Index {
    database: RwLock<Option<Database>>,
}

impl Index {
    /// Opens the index or makes an empty one.
    pub(super) fn open(disk: &Arc<dyn Disk>, fresh: bool) -> Result<Self, StoreError> {
        let open = || {
            let file = disk.open(FILE, if fresh { How::Fresh } else { How::Any })?;
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
        for id in mailbox_ids(account, &names)? {
            mailboxes.extend(stored_mailbox(&rows, id?)?);
        }
        Ok(mailboxes)
    }

    /// The numbers of the mailboxes of all accounts.
    pub(super) fn all_mailboxes(&self) -> Result<Vec<MailboxId>, StoreError> {
        let rows = self.read()?.open_table(MAILBOXES).map_err(index)?;
        let rows = rows.range::<u32>(..).map_err(index)?;
        rows.map(|entry| Ok(MailboxId(entry.map_err(index)?.0.value()))).collect()
    }

    pub(super) fn usage(&self, account: AccountId) -> Result<Usage, StoreError> {
        let txn = self.read()?;
        let rows = txn.open_table(MAILBOXES).map_err(index)?;
        let names = txn.open_table(NAMES).map_err(index)?;
        usage(account, &names, |id| stored_mailbox(&rows, id))
    }

    pub(super) fn mailbox(&self, id: MailboxId) -> Result<Option<Mailbox>, StoreError> {
        stored_mailbox(&self.read()?.open_table(MAILBOXES).map_err(index)?, id)
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
        stored_mailbox(&rows, MailboxId(id.value()))
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

    /// A mailbox and what lists of it need, in UID order.
    pub(super) fn entries(
        &self,
        mailbox: MailboxId,
    ) -> Result<Option<(Mailbox, Vec<Entry>)>, StoreError> {
        let txn = self.read()?;
        let row = stored_mailbox(&txn.open_table(MAILBOXES).map_err(index)?, mailbox)?;
        let Some(row) = row else { return Ok(None) };
        let messages = txn.open_table(MESSAGES).map_err(index)?;
        let mut entries = Vec::new();
        changed_rows(&messages, mailbox, (0, u32::MAX), ModSeq(0), &mut entries)?;
        Ok(Some((row, entries)))
    }

    /// A mailbox as a whole, out of its blocks.
    pub(super) fn overview(&self, mailbox: MailboxId) -> Result<Option<Overview>, StoreError> {
        let txn = self.read()?;
        let row = stored_mailbox(&txn.open_table(MAILBOXES).map_err(index)?, mailbox)?;
        let Some(row) = row else { return Ok(None) };
        let rows = txn.open_table(BLOCKS).map_err(index)?;
        let keywords = txn.open_table(KEYWORDS).map_err(index)?;
        blocks::overview(row, &rows, &keywords).map(Some)
    }

    /// The bodies of a mailbox's messages.
    pub(super) fn held(&self, mailbox: MailboxId) -> Result<Vec<Held>, StoreError> {
        blocks::held(mailbox, &self.read()?.open_table(HELD).map_err(index)?)
    }

    /// What changed in a mailbox after `since`; nothing when there is no such mailbox.
    pub(super) fn changed_since(
        &self,
        mailbox: MailboxId,
        since: ModSeq,
        recent: &Recent,
    ) -> Result<Option<Changes>, StoreError> {
        let txn = self.read()?;
        let row = stored_mailbox(&txn.open_table(MAILBOXES).map_err(index)?, mailbox)?;
        let Some(row) = row else { return Ok(None) };
        let (mut changed, mut vanished) = (Vec::new(), Vec::new());
        if row.highest_modseq <= since {
            return Ok(Some(Changes { mailbox: row, changed, vanished }));
        }
        let messages = txn.open_table(MESSAGES).map_err(index)?;
        if let Some(uids) = recent.between(mailbox, since, row.highest_modseq) {
            for uid in uids {
                match messages.get((mailbox.0, uid.get())).map_err(index)? {
                    Some(row) => changed.extend(entry_row(uid.get(), since, row.value())?),
                    None => vanished.push(uid),
                }
            }
        } else {
            let rows = txn.open_table(BLOCKS).map_err(index)?;
            for range in blocks::changed_blocks(mailbox, since, &rows)? {
                changed_rows(&messages, mailbox, range, since, &mut changed)?;
            }
            let tombs = txn.open_table(EXPUNGED).map_err(index)?;
            let first = (mailbox.0, since.0.saturating_add(1), 0);
            let tombs = tombs.range(first..=(mailbox.0, u64::MAX, u32::MAX)).map_err(index)?;
            for tomb in tombs {
                vanished.extend(Uid::new(tomb.map_err(index)?.0.value().2));
            }
            vanished.sort_unstable();
        }
        Ok(Some(Changes { mailbox: row, changed, vanished }))
    }

    pub(super) fn messages_after(
        &self,
        mailbox: MailboxId,
        after: Option<Uid>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let first = after.map_or(Some(0), |uid| uid.get().checked_add(1));
        let Some(first) = first else { return Ok(Vec::new()) };
        let txn = self.read()?;
        let rows = txn.open_table(MESSAGES).map_err(index)?;
        let rest = rows.range((mailbox.0, first)..=(mailbox.0, u32::MAX)).map_err(index)?;
        let row = |entry: Result<_, redb::StorageError>| {
            let (key, row): (redb::AccessGuard<'_, (u32, u32)>, redb::AccessGuard<'_, Bytes>) =
                entry.map_err(index)?;
            message_row(key.value().1, row.value())
        };
        rest.take(limit).map(row).collect()
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

    /// The messages of a mailbox with these UIDs, ascending; those that are gone are left out.
    pub(super) fn messages_of(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
    ) -> Result<Vec<Message>, StoreError> {
        let rows = self.read()?.open_table(MESSAGES).map_err(index)?;
        let mut found = Vec::with_capacity(uids.len());
        // Stretches without gaps are walked along.
        for stretch in uids.chunk_by(|a, b| a.get().wrapping_add(1) == b.get()) {
            let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
            let range = (mailbox.0, first.get())..=(mailbox.0, last.get());
            for entry in rows.range(range).map_err(index)? {
                let (key, row) = entry.map_err(index)?;
                found.push(message_row(key.value().1, row.value())?);
            }
        }
        Ok(found)
    }

    /// Where a body lies and where each of its parts does; what a damaged record took away is
    /// missing.
    pub(super) fn body(&self, id: BodyId) -> Result<Option<(Stored, Places)>, StoreError> {
        let txn = self.read()?;
        let rows = txn.open_table(BODIES).map_err(index)?;
        let row = rows.get(id.0).map_err(index)?;
        let Some(stored) = row.map(|row| body_row(row.value())).transpose()?.and_then(|r| r.place)
        else {
            return Ok(None);
        };
        let (mut places, rows) = (Places::new(), txn.open_table(PARTS).map_err(index)?);
        for part in &stored.parts {
            let row = rows.get(part.hash.0).map_err(index)?;
            let row = row.map(|row| part_row(row.value())).transpose()?;
            places.extend(row.and_then(|row| row.place).map(|place| (part.hash, place)));
        }
        Ok(Some((stored, places)))
    }

    /// Where a part lies.
    pub(super) fn part(&self, hash: Hash) -> Result<Option<ChunkRef>, StoreError> {
        let rows = self.read()?.open_table(PARTS).map_err(index)?;
        let row = rows.get(hash.0).map_err(index)?;
        Ok(row.map(|row| part_row(row.value())).transpose()?.and_then(|row| row.place))
    }

    /// What every message id belongs to, up to `limit` of them, after one.
    pub(super) fn threads_after(
        &self,
        after: Option<(AccountId, IdHash)>,
        limit: usize,
    ) -> Result<Vec<(AccountId, IdHash, ThreadId)>, StoreError> {
        let rows = self.read()?.open_table(THREADS).map_err(index)?;
        let after = after.map(|(account, id)| (account.0, id.number()));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = rows.range((from, Bound::Unbounded)).map_err(index)?.take(limit);
        rows.map(|entry| {
            let (key, thread) = entry.map_err(index)?;
            let (account, id) = key.value();
            Ok((AccountId(account), IdHash(id.to_be_bytes()), ThreadId(thread.value())))
        })
        .collect()
    }

    /// Whether any of these message ids belongs to a thread.
    pub(super) fn knows_thread(
        &self,
        account: AccountId,
        ids: &[IdHash],
    ) -> Result<bool, StoreError> {
        let rows = self.read()?.open_table(THREADS).map_err(index)?;
        for id in ids {
            if rows.get((account.0, id.number())).map_err(index)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
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

    /// Bytes of all plain streams, and the number of bodies.
    pub(super) fn plain_bytes(&self) -> Result<(u64, usize), StoreError> {
        let rows = self.read()?.open_table(BODIES).map_err(index)?;
        let (mut bytes, mut count) = (0, 0);
        for entry in rows.range::<u64>(..).map_err(index)? {
            let place = body_row(entry.map_err(index)?.1.value())?.place;
            let chunks = place.iter().flat_map(|stored| &stored.chunks);
            bytes += chunks.map(|chunk| u64::from(chunk.raw)).sum::<u64>();
            count += 1;
        }
        Ok((bytes, count))
    }

    /// Up to `limit` bodies, from a number on, that have chunks of their own in a segment, with
    /// those chunks.
    pub(super) fn bodies_in(
        &self,
        segment: u32,
        from: BodyId,
        limit: usize,
    ) -> Result<Vec<(BodyId, Vec<ChunkRef>)>, StoreError> {
        let rows = self.read()?.open_table(BODIES).map_err(index)?;
        let mut found = Vec::new();
        for entry in rows.range(from.0..).map_err(index)? {
            let (id, row) = entry.map_err(index)?;
            let Some(mut stored) = body_row(row.value())?.place else { continue };
            stored.chunks.retain(|chunk| chunk.segment == segment);
            if !stored.chunks.is_empty() {
                found.push((BodyId(id.value()), stored.chunks));
                if found.len() >= limit {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Every part that lies in a segment.
    pub(super) fn parts_in(&self, segment: u32) -> Result<Vec<(Hash, ChunkRef)>, StoreError> {
        let rows = self.read()?.open_table(PARTS).map_err(index)?;
        let mut found = Vec::new();
        for entry in rows.range::<[u8; 16]>(..).map_err(index)? {
            let (hash, row) = entry.map_err(index)?;
            let place = part_row(row.value())?.place;
            found.extend(place.filter(|p| p.segment == segment).map(|p| (Hash(hash.value()), p)));
        }
        Ok(found)
    }

    /// Bytes of each segment that are still needed, commits left out.
    pub(super) fn live(&self) -> Result<BTreeMap<u32, u64>, StoreError> {
        let rows = self.read()?.open_table(LIVE).map_err(index)?;
        let rows = rows.range::<u32>(..).map_err(index)?;
        rows.map(|entry| {
            let (segment, bytes) = entry.map_err(index)?;
            Ok((segment.value(), bytes.value()))
        })
        .collect()
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

    /// Every message one of whose chunks is such a one, or not known at all.
    pub(super) fn messages_with(
        &self,
        such: impl Fn(&ChunkRef) -> bool,
    ) -> Result<Vec<(MailboxId, Uid)>, StoreError> {
        let txn = self.read()?;
        let (mut bodies, mut parts) = (BTreeSet::new(), BTreeSet::new());
        for entry in txn.open_table(PARTS).map_err(index)?.range::<[u8; 16]>(..).map_err(index)? {
            let (hash, row) = entry.map_err(index)?;
            if part_row(row.value())?.place.is_none_or(|place| such(&place)) {
                parts.insert(Hash(hash.value()));
            }
        }
        for entry in txn.open_table(BODIES).map_err(index)?.range::<u64>(..).map_err(index)? {
            let (id, row) = entry.map_err(index)?;
            let harmed = body_row(row.value())?.place.is_none_or(|stored| {
                let part = |part: &PartUse| parts.contains(&part.hash);
                stored.chunks.iter().any(&such) || stored.parts.iter().any(part)
            });
            if harmed {
                bodies.insert(BodyId(id.value()));
            }
        }
        let mut messages = Vec::new();
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
}

/// The index's fault.
pub(super) fn index(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Index(error.into().to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "the dump is for tests")]
mod dump;
