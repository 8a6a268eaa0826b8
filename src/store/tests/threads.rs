//! Messages that belong together are in one thread, whatever comes first, and stay in it.

use super::super::sim::SimDisk;
use super::super::writer::Writer;
use super::super::{compact, power};
use super::numbers::{again, at, create, uids};
use super::*;

/// Adds a message of these fields under a prefix; its thread.
async fn add(store: &Store, mailbox: MailboxId, prefix: &str, fields: &str) -> ThreadId {
    let body = body(store, format!("{fields}\r\n\r\nhello\r\n").as_bytes()).await;
    let mut batch = Batch::new();
    batch.add_message(mailbox, prefix.as_bytes(), &body, Flags::none(), Timestamp::UNIX_EPOCH);
    store.commit(batch).await.unwrap();
    store.messages(mailbox).unwrap().last().unwrap().thread.unwrap()
}

async fn create_for(store: &Store, account: u32) -> MailboxId {
    let mut batch = Batch::new();
    batch.create_mailbox(AccountId(account), MailboxName::inbox(), None);
    match store.commit(batch).await.unwrap()[..] {
        [Outcome::Created(id)] => id,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn answers_are_in_the_thread_of_what_they_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), at(1_000)).unwrap();
    let (inbox, work) = (create(&store, "INBOX").await.id, create(&store, "Work").await.id);
    let first = add(&store, inbox, "", "Message-ID: <1@x>").await;
    let lone = add(&store, inbox, "", "Subject: no id at all").await;
    let other = add(&store, inbox, "", "Message-ID: <other@x>").await;
    assert!(first != lone && lone != other && first != other);
    assert_eq!(add(&store, work, "", "Message-ID: <2@x>\r\nIn-Reply-To: <1@x>").await, first);
    // An answer that came before what it answers, of which only the answer told.
    assert_eq!(add(&store, inbox, "", "References: <1@x> <3@x>").await, first);
    assert_eq!(add(&store, inbox, "", "Message-ID: <3@x>").await, first);
    // One that our people sent without an id of its own.
    let sent = add(&store, inbox, "Message-ID: <4@x>\r\n", "Subject: x").await;
    assert_eq!(add(&store, inbox, "", "In-Reply-To: <4@x>").await, sent);
    // The last one named decides, and what it connects stays two.
    assert_eq!(add(&store, inbox, "", "References: <1@x> <other@x>").await, other);
    let stranger = create_for(&store, 8).await;
    assert_ne!(add(&store, stranger, "", "In-Reply-To: <1@x>").await, first, "told a stranger");
    let mut batch = Batch::new();
    batch.copy(inbox, uids(&[1]), work).expunge(inbox, uids(&[1]));
    store.commit(batch).await.unwrap();
    for rebuild in [None, Some(false), Some(true)] {
        if let Some(rebuild) = rebuild {
            store = again(store, dir.path(), rebuild).await;
        }
        let copy = store.messages(work).unwrap().into_iter().nth(1).unwrap();
        assert_eq!(copy.thread, Some(first), "{rebuild:?}");
        assert_eq!(add(&store, inbox, "", "In-Reply-To: <1@x>").await, first, "{rebuild:?}");
        assert_eq!(add(&store, inbox, "", "References: <3@x>").await, first, "{rebuild:?}");
    }
    // RFC 8474 §7: objectid.
    assert!(first.thread_id().chars().all(|c| c.is_ascii_alphanumeric()));
}

#[test]
fn threads_go_with_their_account_and_survive_compaction() {
    let disk = SimDisk::new(0);
    let mut writer = power::open(&disk, false).unwrap();
    let commit = |writer: &mut Writer, batch: Batch| {
        batch.pack(&writer.shared.segments.dictionaries).unwrap();
        writer.commit(&[batch]).remove(0).unwrap();
    };
    let mut batch = Batch::new();
    for account in [1, 2] {
        batch.create_mailbox(AccountId(account), MailboxName::inbox(), None);
    }
    commit(&mut writer, batch);
    let (kept, gone) = (MailboxId(1), MailboxId(2));
    let add = |writer: &mut Writer, mailbox, fields: &[u8]| {
        let body = power::body_of(writer, fields).unwrap();
        let mut batch = Batch::new();
        batch.add_message(mailbox, b"", &body, Flags::none(), Timestamp::UNIX_EPOCH);
        commit(writer, batch);
        writer.shared.index.messages(mailbox).unwrap().pop().unwrap().thread
    };
    let first = add(&mut writer, kept, b"Message-ID: <1@x>\r\n\r\n");
    add(&mut writer, gone, b"Message-ID: <2@x>\r\n\r\n");
    writer.seal().unwrap();
    let mut batch = Batch::new();
    batch.expunge(kept, uids(&[1])).delete_mailbox(gone).forget_account(AccountId(2));
    commit(&mut writer, batch);
    let threads = |writer: &Writer| writer.shared.index.threads_after(None, 9).unwrap();
    let before = threads(&writer);
    assert_eq!(before.len(), 1, "{before:?}");
    // The end of the account is carried before the record of its thread goes, and the other way round.
    for segment in [2, 1, 3] {
        writer.seal().unwrap();
        assert!(compact::compact(&mut writer, segment).unwrap());
        for rebuild in [false, true] {
            drop(writer);
            writer = power::open(&disk, rebuild).unwrap();
            assert_eq!(threads(&writer), before, "segment {segment}, {rebuild}");
        }
    }
    assert_eq!(add(&mut writer, kept, b"In-Reply-To: <1@x>\r\n\r\n"), first);
}
