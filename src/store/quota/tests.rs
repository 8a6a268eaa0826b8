//! Quotas through the store's door.

use jiff::Timestamp;

use super::super::{AccountId, Batch, MailboxId, Options, Outcome, Store, StoreError};
use super::*;
use crate::mail::{Flags, Uid};

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);

struct House {
    folder: tempfile::TempDir,
    store: Store,
    inbox: MailboxId,
    trash: MailboxId,
    /// Bob's.
    other: MailboxId,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let mut batch = Batch::new();
        for (account, name) in [(ALICE, "INBOX"), (ALICE, "Trash"), (BOB, "INBOX")] {
            batch.create_mailbox(account, name.parse().unwrap(), None);
        }
        let [Outcome::Created(inbox), Outcome::Created(trash), Outcome::Created(other)] =
            store.commit(batch).await.unwrap()[..]
        else {
            panic!("not created")
        };
        Self { folder, store, inbox, trash, other }
    }

    async fn limit(&self, bytes: impl Into<Option<u64>>, messages: impl Into<Option<u64>>) {
        let quota = Quota { bytes: bytes.into(), messages: messages.into() };
        let mut batch = Batch::new();
        batch.set_quota(ALICE, quota);
        self.store.commit(batch).await.unwrap();
        assert_eq!(self.store.quota(ALICE).unwrap(), quota);
    }

    /// A batch that adds one message of so many bytes to each mailbox.
    async fn adding(&self, to: &[MailboxId], bytes: usize) -> Batch {
        let mut body = self.store.new_body();
        body.write(&vec![b'x'; bytes - 4]).await.unwrap();
        let body = body.finish().await.unwrap();
        let mut batch = Batch::new();
        for mailbox in to {
            batch.add_message(*mailbox, b"P:\r\n", &body, Flags::none(), Timestamp::UNIX_EPOCH);
        }
        batch
    }

    async fn add(&self, to: &[MailboxId], bytes: usize) -> Result<(), StoreError> {
        self.store.commit(self.adding(to, bytes).await).await.map(drop)
    }

    fn held(&self) -> (u64, u64) {
        let Usage { bytes, messages } = self.store.usage(ALICE).unwrap();
        (bytes, messages)
    }
}

fn refused(result: &Result<impl std::fmt::Debug, StoreError>) {
    assert!(matches!(result, Err(StoreError::OverQuota)), "{result:?}");
}

#[tokio::test]
async fn an_account_holds_what_its_quota_allows_and_no_byte_more() {
    let house = House::new().await;
    house.limit(1000, None).await;
    house.add(&[house.inbox], 600).await.unwrap();
    refused(&house.add(&[house.trash], 401).await);
    assert_eq!(house.held(), (600, 1), "some of what was refused is there");
    house.add(&[house.trash], 400).await.unwrap();
    refused(&house.add(&[house.inbox], 5).await);
    house.add(&[house.other], 5000).await.unwrap();
    assert_eq!(house.held(), (1000, 2));

    house.limit(None, 3).await;
    house.add(&[house.inbox], 5000).await.unwrap();
    refused(&house.add(&[house.inbox], 5).await);
    house.limit(None, None).await;
    assert_eq!(house.store.settings("quota/").unwrap(), []);
    house.add(&[house.inbox], 5).await.unwrap();
}

#[tokio::test]
async fn a_batch_that_does_not_fit_is_refused_whole_and_alone() {
    let house = House::new().await;
    house.limit(1000, None).await;
    refused(&house.add(&[house.inbox, house.trash], 501).await);
    refused(&house.add(&[house.other, house.inbox], 1001).await);
    assert_eq!(house.held(), (0, 0));
    assert_eq!(house.store.usage(BOB).unwrap(), Usage::default());
    // In one group: each is told for itself.
    let (first, second, third) = (
        house.adding(&[house.inbox], 700).await,
        house.adding(&[house.inbox], 700).await,
        house.adding(&[house.other], 700).await,
    );
    let (first, second, third) = tokio::join!(
        house.store.commit(first),
        house.store.commit(second),
        house.store.commit(third)
    );
    first.unwrap();
    refused(&second);
    third.unwrap();
    assert_eq!(house.held(), (700, 1));
}

#[tokio::test]
async fn a_full_account_can_move_read_and_delete_but_not_copy() {
    let house = House::new().await;
    house.add(&[house.inbox, house.inbox], 500).await.unwrap();
    house.limit(100, 1).await;
    let uids = || vec![Uid::FIRST];
    let copy = |from, to| {
        let mut batch = Batch::new();
        batch.copy(from, uids(), to);
        house.store.commit(batch)
    };
    refused(&copy(house.inbox, house.trash).await);
    refused(&copy(house.inbox, house.inbox).await);
    copy(house.inbox, house.other).await.unwrap();
    refused(&copy(house.other, house.inbox).await);

    let mut batch = Batch::new();
    batch.move_to(house.inbox, uids(), house.trash);
    batch.expunge(house.trash, uids());
    batch.set_flags(house.inbox, uids(), super::super::FlagChange::Add(Flags::none()), None);
    house.store.commit(batch).await.unwrap();
    assert_eq!(house.held(), (500, 1));

    // From another account it is mail like any other.
    let mut batch = Batch::new();
    batch.move_to(house.other, uids(), house.inbox);
    refused(&house.store.commit(batch).await);
    // Nothing is added when nothing is there.
    let mut batch = Batch::new();
    batch.copy(house.inbox, vec![Uid::new(99).unwrap()], house.trash);
    house.store.commit(batch).await.unwrap();
}

#[tokio::test]
async fn a_batch_may_be_let_past_the_quota() {
    let house = House::new().await;
    house.limit(10, None).await;
    let mut batch = house.adding(&[house.inbox], 500).await;
    batch.over_quota();
    house.store.commit(batch).await.unwrap();
    assert_eq!(house.held(), (500, 1));
    assert!(!house.store.has_room(ALICE, 0).unwrap());
    assert!(house.store.has_room(BOB, u64::MAX).unwrap());
}

#[tokio::test]
async fn what_is_used_is_the_sum_of_the_mailboxes_after_a_rebuild_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let mut batch = Batch::new();
    batch.create_mailbox(ALICE, "INBOX".parse().unwrap(), None);
    batch.set_quota(ALICE, Quota { bytes: Some(7), messages: None });
    let [Outcome::Created(inbox), _] = store.commit(batch).await.unwrap()[..] else {
        panic!("not created")
    };
    let house = House { folder, store, inbox, trash: inbox, other: inbox };
    let mut batch = house.adding(&[inbox, inbox], 40).await;
    batch.over_quota();
    house.store.commit(batch).await.unwrap();
    house.store.close().await.unwrap();
    let store = Store::rebuild(house.folder.path(), Options::default()).unwrap();
    assert_eq!(store.usage(ALICE).unwrap(), Usage { bytes: 80, messages: 2 });
    assert_eq!(store.quota(ALICE).unwrap(), Quota { bytes: Some(7), messages: None });
}

#[tokio::test]
async fn a_quota_that_cannot_be_read_is_told_and_keeps_no_mail_out() {
    let house = House::new().await;
    let mut batch = Batch::new();
    batch.put_setting("quota/1", b"?".to_vec());
    house.store.commit(batch).await.unwrap();
    assert!(matches!(house.store.quota(ALICE), Err(StoreError::Damaged(_))));
    house.add(&[house.inbox], 500).await.unwrap();
}

#[test]
fn the_nearer_limit_counts() {
    let usage = Usage { bytes: 900, messages: 10 };
    let percent = |bytes, messages| Quota { bytes, messages }.percent(usage);
    assert_eq!(percent(None, None), None);
    assert_eq!(percent(Some(1000), Some(100)), Some(90));
    assert_eq!(percent(Some(10_000), Some(10)), Some(100));
    assert_eq!(percent(Some(0), None), Some(100));
    assert_eq!(percent(Some(u64::MAX), None), Some(0));
}
