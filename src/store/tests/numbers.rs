//! What was given or taken away once stays so: numbers never return, and what was expunged is
//! remembered, over restarts, rebuilds and clocks that run backwards.

use std::path::Path;

use super::*;
use crate::clock::{Clock, ClockTrust};

#[derive(Debug)]
struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn trust(&self) -> ClockTrust {
        ClockTrust::Unknown
    }
}

pub(super) fn at(second: i64) -> Options {
    let clock = Arc::new(At(Timestamp::from_second(second).unwrap()));
    Options { clock, ..Options::default() }
}

/// Closes and opens again, or makes the index anew.
pub(super) async fn again(store: Store, dir: &Path, rebuild: bool) -> Store {
    store.close().await.unwrap();
    let open = if rebuild { Store::rebuild } else { Store::open };
    open(dir, at(50)).unwrap()
}

pub(super) async fn create(store: &Store, name: &str) -> Mailbox {
    let mut batch = Batch::new();
    batch.create_mailbox(ALICE, name.parse().unwrap(), None);
    match store.commit(batch).await.unwrap()[..] {
        [Outcome::Created(id)] => store.mailbox(id).unwrap().unwrap(),
        ref other => panic!("{other:?}"),
    }
}

async fn add(store: &Store, mailbox: MailboxId, count: u32) {
    let body = body(store, b"x").await;
    let mut batch = Batch::new();
    for _ in 0..count {
        batch.add_message(mailbox, b"", &body, Flags::none(), Timestamp::UNIX_EPOCH);
    }
    store.commit(batch).await.unwrap();
}

async fn expunge(store: &Store, mailbox: MailboxId, numbers: &[u32]) {
    let mut batch = Batch::new();
    batch.expunge(mailbox, uids(numbers));
    store.commit(batch).await.unwrap();
}

pub(super) fn uids(numbers: &[u32]) -> Vec<Uid> {
    numbers.iter().map(|number| Uid::new(*number).unwrap()).collect()
}

#[tokio::test]
async fn a_name_made_again_never_has_a_validity_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), at(1_000)).unwrap();
    let mut given = Vec::new();
    for round in 0..6 {
        let mailbox = create(&store, "Work").await;
        let other = create(&store, "Other").await;
        given.extend([(mailbox.id, mailbox.uid_validity), (other.id, other.uid_validity)]);
        let mut batch = Batch::new();
        if round % 2 == 0 {
            batch.delete_mailbox(mailbox.id);
        } else {
            batch.rename_mailbox(mailbox.id, format!("Work{round}").parse().unwrap());
        }
        batch.delete_mailbox(other.id);
        store.commit(batch).await.unwrap();
        // The clock went back in the meantime.
        store = again(store, dir.path(), round % 3 == 0).await;
    }
    assert!(given.is_sorted() && given.windows(2).all(|pair| pair[0] != pair[1]), "{given:?}");
    assert!(given.windows(2).all(|pair| pair[0].1 < pair[1].1), "{given:?}");
}

#[tokio::test]
async fn no_uid_and_no_modseq_returns_when_the_last_message_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), at(1_000)).unwrap();
    let inbox = create(&store, "INBOX").await.id;
    let mut before = store.mailbox(inbox).unwrap().unwrap();
    for rebuild in [false, true, true] {
        add(&store, inbox, 2).await;
        let last = before.uid_next.get() + 1;
        expunge(&store, inbox, &[last - 1, last]).await;
        store = again(store, dir.path(), rebuild).await;
        let now = store.mailbox(inbox).unwrap().unwrap();
        assert_eq!((now.messages, now.uid_next.get()), (0, last + 1));
        assert_eq!(now.highest_modseq, ModSeq(before.highest_modseq.0 + 3));
        before = now;
    }
}

#[tokio::test]
async fn what_was_expunged_is_remembered_as_long_as_its_mailbox() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), at(1_000)).unwrap();
    let (inbox, work) = (create(&store, "INBOX").await.id, create(&store, "Work").await.id);
    add(&store, inbox, 5).await;
    add(&store, work, 5).await;
    expunge(&store, inbox, &[1, 4]).await;
    let between = store.mailbox(inbox).unwrap().unwrap().highest_modseq;
    let mut batch = Batch::new();
    batch.move_to(inbox, uids(&[2]), work);
    batch.rename_mailbox(inbox, "Renamed".parse().unwrap());
    store.commit(batch).await.unwrap();
    expunge(&store, work, &[3]).await;
    let vanished = |store: &Store, mailbox, since| {
        let changes = store.changed_since(mailbox, since).unwrap()?;
        Some(changes.vanished.iter().map(|uid| uid.get()).collect::<Vec<_>>())
    };
    for rebuild in [None, Some(false), Some(true)] {
        if let Some(rebuild) = rebuild {
            store = again(store, dir.path(), rebuild).await;
        }
        assert_eq!(vanished(&store, inbox, ModSeq(1)), Some(vec![1, 2, 4]), "{rebuild:?}");
        assert_eq!(vanished(&store, inbox, between), Some(vec![2]), "{rebuild:?}");
        assert_eq!(vanished(&store, work, ModSeq(1)), Some(vec![3]), "{rebuild:?}");
        let all = store.changed_since(inbox, ModSeq(0)).unwrap().unwrap().changed;
        assert_eq!(all.iter().map(|entry| entry.uid).collect::<Vec<_>>(), uids(&[3, 5]));
    }
    let mut batch = Batch::new();
    batch.delete_mailbox(inbox);
    store.commit(batch).await.unwrap();
    assert_eq!(vanished(&store, inbox, ModSeq(1)), None);
    let made = create(&store, "INBOX").await.id;
    assert_eq!(vanished(&store, made, ModSeq(0)), Some(vec![]));
}

#[tokio::test]
async fn a_copy_has_the_email_id_of_its_original_and_another_message_has_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), at(1_000)).unwrap();
    let (inbox, work) = (create(&store, "INBOX").await.id, create(&store, "Work").await.id);
    add(&store, inbox, 1).await;
    add(&store, inbox, 1).await;
    let mut batch = Batch::new();
    batch.copy(inbox, uids(&[1]), work).move_to(inbox, uids(&[1]), work);
    store.commit(batch).await.unwrap();
    let ids = |store: &Store, mailbox| -> Vec<String> {
        let (_, entries) = store.entries(mailbox).unwrap().unwrap();
        entries.iter().map(|entry| entry.body.email_id()).collect()
    };
    for _ in 0..2 {
        let (copies, other) = (ids(&store, work), ids(&store, inbox));
        assert!(copies.len() == 2 && copies[0] == copies[1] && copies[0] != other[0]);
        // RFC 8474 §7: objectid.
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        assert!(copies[0].len() <= 255 && copies[0].chars().all(allowed), "{copies:?}");
    }
    let before = ids(&store, work);
    let store = again(store, dir.path(), true).await;
    assert_eq!(ids(&store, work), before);
}
