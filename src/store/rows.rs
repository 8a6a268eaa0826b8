//! The rows of the index's tables, decoded: `FORMAT.md` has their layout.

use redb::ReadableTable;

use super::changes::Entry;
use super::codec::{Decoder, Malformed};
use super::error::StoreError;
use super::event::{ChunkRef, MessageLayout, Stored, decode_entry, decode_mailbox, decode_message};
use super::index::{Bytes, index};
use super::quota::Usage;
use super::types::{AccountId, Content, Mailbox, MailboxId, Message, QueueId, QueueRecord};
use crate::mail::{ModSeq, Uid};

/// A row of [`super::index::MAILBOXES`].
pub(super) fn stored_mailbox(
    rows: &impl ReadableTable<u32, Bytes>,
    id: MailboxId,
) -> Result<Option<Mailbox>, StoreError> {
    let row = rows.get(id.0).map_err(index)?;
    row.map(|row| mailbox_row(id, row.value())).transpose()
}

/// An account's mailboxes, by name, out of [`super::index::NAMES`].
pub(super) fn mailbox_ids(
    account: AccountId,
    names: &impl ReadableTable<(u32, &'static str), u32>,
) -> Result<impl Iterator<Item = Result<MailboxId, StoreError>>, StoreError> {
    let all = names.range((account.0, "")..).map_err(index)?;
    let ours = all.map(|entry| entry.map_err(index)).take_while(move |entry| {
        entry.as_ref().map_or(true, |(key, _)| key.value().0 == account.0)
    });
    Ok(ours.map(|entry| entry.map(|(_, id)| MailboxId(id.value()))))
}

/// What an account's mailboxes hold, by their rows.
pub(super) fn usage(
    account: AccountId,
    names: &impl ReadableTable<(u32, &'static str), u32>,
    row: impl Fn(MailboxId) -> Result<Option<Mailbox>, StoreError>,
) -> Result<Usage, StoreError> {
    let mut usage = Usage::default();
    for id in mailbox_ids(account, names)? {
        if let Some(row) = row(id?)? {
            usage = usage.and(row.size, row.messages.into());
        }
    }
    Ok(usage)
}

/// Decodes a value of [`super::index::MAILBOXES`].
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

/// Decodes a value of [`super::index::MESSAGES`].
pub(super) fn message_row(uid: u32, row: &[u8]) -> Result<Message, StoreError> {
    let uid = Uid::new(uid).ok_or(Malformed);
    uid.and_then(|uid| decode_message(uid, &mut Decoder(row), MessageLayout::Three))
        .map_err(|error| malformed("a message", error))
}

/// Of a value of [`super::index::MESSAGES`], what lists need, when it changed after `since`.
pub(super) fn entry_row(uid: u32, since: ModSeq, row: &[u8]) -> Result<Option<Entry>, StoreError> {
    let uid = Uid::new(uid).ok_or(Malformed);
    uid.and_then(|uid| decode_entry(uid, since, &mut Decoder(row)))
        .map_err(|error| malformed("a message", error))
}

/// Adds the messages of a mailbox between two UIDs that changed after `since`, by UID.
pub(super) fn changed_rows(
    messages: &impl ReadableTable<(u32, u32), Bytes>,
    mailbox: MailboxId,
    (first, last): (u32, u32),
    since: ModSeq,
    changed: &mut Vec<Entry>,
) -> Result<(), StoreError> {
    for entry in messages.range((mailbox.0, first)..=(mailbox.0, last)).map_err(index)? {
        let (key, row) = entry.map_err(index)?;
        changed.extend(entry_row(key.value().1, since, row.value())?);
    }
    Ok(())
}

/// A value of [`super::index::BODIES`] or [`super::index::PARTS`]: how many need it, and where it is, if that is known.
#[derive(Debug)]
pub(super) struct Counted<T> {
    pub(super) refs: u64,
    pub(super) place: Option<T>,
}

/// Decodes a value of [`super::index::BODIES`].
pub(super) fn body_row(row: &[u8]) -> Result<Counted<Stored>, StoreError> {
    counted(row, Stored::decode).map_err(|error| malformed("a body", error))
}

/// Decodes a value of [`super::index::PARTS`].
pub(super) fn part_row(row: &[u8]) -> Result<Counted<ChunkRef>, StoreError> {
    counted(row, ChunkRef::decode).map_err(|error| malformed("a part", error))
}

fn counted<'a, T>(
    row: &'a [u8],
    place: impl FnOnce(&mut Decoder<'a>) -> Result<T, Malformed>,
) -> Result<Counted<T>, Malformed> {
    let mut from = Decoder(row);
    let refs = from.number()?;
    let known = !from.0.is_empty();
    Ok(Counted { refs, place: known.then(|| place(&mut from)).transpose()? })
}

/// Decodes a value of [`super::index::QUEUE`].
pub(super) fn queue_row(id: QueueId, row: &[u8]) -> Result<QueueRecord, StoreError> {
    let mut from = Decoder(row);
    let decode = |from: &mut Decoder<'_>| -> Result<(Content, Vec<u8>), Malformed> {
        Ok((from.content()?, from.bytes()?.to_vec()))
    };
    let (content, state) = decode(&mut from).map_err(|error| malformed("a queue record", error))?;
    Ok(QueueRecord { id, content, state })
}

pub(super) fn malformed(what: &str, error: Malformed) -> StoreError {
    StoreError::Index(format!("{what} is {error}"))
}
