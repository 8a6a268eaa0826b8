//! Local delivery: which mailbox of an account a message goes into, and the trace fields of final
//! delivery (Return-Path, Delivered-To). It only adds operations to a batch; whoever accepted the
//! message commits them, so that a message for three people is delivered to all of them or none.

mod filing;

use jiff::Timestamp;

pub use self::filing::{Filing, Folder, Judge, Ruling};
use crate::mail::{Address, Flags, MailboxName, ReversePath, SpecialUse};
use crate::store::{AccountId, Batch, Body, MailboxId, Store, StoreError};

/// Where a copy goes, and by which address it came.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// Whose it is.
    pub account: AccountId,
    /// The address that led here.
    pub recipient: &'a Address,
    /// What was decided for this account.
    pub filing: &'a Filing,
}

/// Adds to `batch` the delivery of one message into an account.
///
/// `trace` are the fields written at acceptance; the Return-Path goes above them
/// (RFC 5321 §4.4), Delivered-To (RFC 9228) and what was decided for this account between. A
/// mailbox that is missing is made at once, by a commit of its own, since the batch needs its
/// number.
pub async fn place(
    store: &Store,
    batch: &mut Batch,
    slot: Slot<'_>,
    from: &ReversePath,
    trace: &[u8],
    body: &Body,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mailbox = mailbox(store, slot.account, slot.filing.folder).await?;
    batch.add_message(mailbox, &prefix(slot, from, trace), body, Flags::none(), now);
    Ok(())
}

async fn mailbox(
    store: &Store,
    account: AccountId,
    folder: Folder,
) -> Result<MailboxId, StoreError> {
    if let Some(found) = find(store, account, folder)? {
        return Ok(found);
    }
    let (name, special_use) = match folder {
        Folder::Inbox => (MailboxName::inbox(), None),
        Folder::Junk => (junk_name()?, Some(SpecialUse::Junk)),
    };
    let mut batch = Batch::new();
    batch.create_mailbox(account, name, special_use);
    match store.commit(batch).await {
        // Another delivery may have made it meanwhile.
        Ok(_) | Err(StoreError::MailboxExists) => {}
        Err(error) => return Err(error),
    }
    find(store, account, folder)?.ok_or(StoreError::NoMailbox)
}

/// The mailbox for junk is the one that says so, or that has the name.
fn find(
    store: &Store,
    account: AccountId,
    folder: Folder,
) -> Result<Option<MailboxId>, StoreError> {
    let named = |name| Ok(store.find_mailbox(account, &name)?.map(|mailbox| mailbox.id));
    match folder {
        Folder::Inbox => named(MailboxName::inbox()),
        Folder::Junk => {
            let all = store.mailboxes(account)?;
            match all.iter().find(|mailbox| mailbox.special_use == Some(SpecialUse::Junk)) {
                Some(mailbox) => Ok(Some(mailbox.id)),
                None => named(junk_name()?),
            }
        }
    }
}

fn junk_name() -> Result<MailboxName, StoreError> {
    "Junk".parse().map_err(|_| StoreError::NoMailbox)
}

fn prefix(slot: Slot<'_>, from: &ReversePath, trace: &[u8]) -> Vec<u8> {
    let recipient = slot.recipient;
    let mut prefix = format!("Return-Path: <{from}>\r\nDelivered-To: {recipient}\r\n").into_bytes();
    prefix.extend_from_slice(&slot.filing.fields);
    prefix.extend_from_slice(trace);
    prefix
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::store::Options;

    #[tokio::test]
    async fn mail_arrives_with_its_trace_and_makes_a_missing_inbox() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let mut body = store.new_body();
        body.write(b"Subject: x\r\n\r\nhello\r\n").await.unwrap();
        let body = body.finish().await.unwrap();
        let mut batch = Batch::new();
        let (alice, bob) = (AccountId(1), AccountId(2));
        let from: ReversePath = "s@elsewhere.org".parse().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        for (account, to, from) in
            [(alice, "alice@x.org", &from), (bob, "bob+a@x.org", &ReversePath::Null)]
        {
            let to = to.parse().unwrap();
            let trace = b"Received: from a by b\r\n";
            let slot = Slot { account, recipient: &to, filing: &Filing::default() };
            place(&store, &mut batch, slot, from, trace, &body, now).await.unwrap();
        }
        let inbox = |account| store.find_mailbox(account, &MailboxName::inbox()).unwrap().unwrap();
        assert!(store.messages(inbox(alice).id).unwrap().is_empty(), "delivered before the commit");
        store.commit(batch).await.unwrap();
        for (account, start) in [
            (alice, "Return-Path: <s@elsewhere.org>\r\nDelivered-To: alice@x.org\r\n"),
            (bob, "Return-Path: <>\r\nDelivered-To: bob+a@x.org\r\n"),
        ] {
            let messages = store.messages(inbox(account).id).unwrap();
            assert_eq!(messages.len(), 1);
            let mut text = String::new();
            store.read(&messages[0].content).unwrap().read_to_string(&mut text).unwrap();
            let rest = "Received: from a by b\r\nSubject: x\r\n\r\nhello\r\n";
            assert_eq!(text, format!("{start}{rest}"));
            assert_eq!(messages[0].internal_date, now);
        }
    }

    #[tokio::test]
    async fn junk_goes_where_the_account_keeps_it_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let mut body = store.new_body();
        body.write(b"Subject: x\r\n\r\nbuy\r\n").await.unwrap();
        let body = body.finish().await.unwrap();
        let (alice, bob) = (AccountId(1), AccountId(2));
        let mut batch = Batch::new();
        batch.create_mailbox(alice, "Unwanted".parse().unwrap(), Some(SpecialUse::Junk));
        batch.create_mailbox(alice, "Junk".parse().unwrap(), None);
        store.commit(batch).await.unwrap();
        let filing = Filing { folder: Folder::Junk, fields: b"X-Spam: Yes\r\n".to_vec() };
        let mut batch = Batch::new();
        for account in [alice, bob] {
            let recipient = &"a@x.org".parse().unwrap();
            let slot = Slot { account, recipient, filing: &filing };
            let from = ReversePath::Null;
            place(
                &store,
                &mut batch,
                slot,
                &from,
                b"Received: x\r\n",
                &body,
                Timestamp::UNIX_EPOCH,
            )
            .await
            .unwrap();
        }
        store.commit(batch).await.unwrap();
        for (account, name) in [(alice, "Unwanted"), (bob, "Junk")] {
            let mailbox = store.find_mailbox(account, &name.parse().unwrap()).unwrap().unwrap();
            assert_eq!((mailbox.messages, mailbox.special_use), (1, Some(SpecialUse::Junk)));
            let mut text = String::new();
            let content = &store.messages(mailbox.id).unwrap()[0].content;
            store.read(content).unwrap().read_to_string(&mut text).unwrap();
            let start =
                "Return-Path: <>\r\nDelivered-To: a@x.org\r\nX-Spam: Yes\r\nReceived: x\r\n";
            assert!(text.starts_with(start), "{text}");
            assert!(store.find_mailbox(account, &MailboxName::inbox()).unwrap().is_none());
        }
    }
}
