//! Local delivery: which mailbox of an account a message goes into, and the trace fields of final
//! delivery (Return-Path, Delivered-To). It only adds operations to a batch; whoever accepted the
//! message commits them, so that a message for three people is delivered to all of them or none.

use jiff::Timestamp;

use crate::mail::{Address, Flags, MailboxName, ReversePath};
use crate::store::{AccountId, Batch, Body, MailboxId, Store, StoreError};

/// Adds to `batch` the delivery of one message into `account`'s inbox.
///
/// `trace` are the Received fields written at acceptance; the Return-Path goes above them
/// (RFC 5321 §4.4) and Delivered-To (RFC 9228) between. An inbox that is missing is made at once,
/// by a commit of its own, since the batch needs its number.
#[allow(clippy::too_many_arguments, reason = "each is one part of one delivery; none is optional")]
pub async fn place(
    store: &Store,
    batch: &mut Batch,
    account: AccountId,
    recipient: &Address,
    from: &ReversePath,
    trace: &[u8],
    body: &Body,
    now: Timestamp,
) -> Result<(), StoreError> {
    let inbox = inbox(store, account).await?;
    batch.add_message(inbox, &prefix(recipient, from, trace), body, Flags::none(), now);
    Ok(())
}

async fn inbox(store: &Store, account: AccountId) -> Result<MailboxId, StoreError> {
    let name = MailboxName::inbox();
    if let Some(mailbox) = store.find_mailbox(account, &name)? {
        return Ok(mailbox.id);
    }
    let mut batch = Batch::new();
    batch.create_mailbox(account, name.clone(), None);
    match store.commit(batch).await {
        // Another delivery may have made it meanwhile.
        Ok(_) | Err(StoreError::MailboxExists) => {}
        Err(error) => return Err(error),
    }
    let made = store.find_mailbox(account, &name)?;
    made.map(|mailbox| mailbox.id).ok_or(StoreError::NoMailbox)
}

fn prefix(recipient: &Address, from: &ReversePath, trace: &[u8]) -> Vec<u8> {
    let mut prefix = format!("Return-Path: <{from}>\r\nDelivered-To: {recipient}\r\n").into_bytes();
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
            place(&store, &mut batch, account, &to, from, trace, &body, now).await.unwrap();
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
}
