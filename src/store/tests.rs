//! The store through its own door, on a real folder.

use std::io::Read;

use jiff::Timestamp;

use super::*;
use crate::mail::{Flag, Flags, ModSeq, SystemFlag};

pub(super) const ALICE: AccountId = AccountId(7);

async fn body(store: &Store, bytes: &[u8]) -> Body {
    let mut writer = store.new_body();
    for part in bytes.chunks(50_000) {
        writer.write(part).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn inbox(store: &Store) -> MailboxId {
    let mut batch = Batch::new();
    batch.create_mailbox(ALICE, MailboxName::inbox(), None);
    match store.commit(batch).await.unwrap()[..] {
        [Outcome::Created(id)] => id,
        ref other => panic!("{other:?}"),
    }
}

fn bytes_of(store: &Store, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.read(&message.content).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(step).collect()
}

#[tokio::test]
async fn a_message_comes_back_byte_for_byte_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let big = noise(1_000_000);
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let inbox = inbox(&store).await;
    let date: Timestamp = "2026-11-22T10:00:00.123456Z".parse().unwrap();
    let seen: Flags = [Flag::System(SystemFlag::Seen)].into_iter().collect();
    for bytes in [&b""[..], b"Subject: x\r\n\r\nhello\r\n", &big] {
        let body = body(&store, bytes).await;
        let mut batch = Batch::new();
        batch.add_message(inbox, b"Received: here\r\n", &body, seen.clone(), date);
        assert!(matches!(store.commit(batch).await.unwrap()[..], [Outcome::Added { .. }]));
    }
    let before = store.messages(inbox).unwrap();
    drop(store);
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let messages = store.messages(inbox).unwrap();
    assert_eq!(messages, before);
    assert_eq!(messages.iter().map(|m| m.uid.get()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(messages[2].internal_date, date);
    assert_eq!(bytes_of(&store, &messages[0]), b"Received: here\r\n");
    let whole = [&b"Received: here\r\n"[..], &big].concat();
    assert!(bytes_of(&store, &messages[2]) == whole);
    let mailbox = store.mailbox(inbox).unwrap().unwrap();
    assert_eq!((mailbox.messages, mailbox.unseen, mailbox.uid_next.get()), (3, 0, 4));
    assert_eq!(mailbox.highest_modseq, ModSeq(4));
    assert_eq!(mailbox.size, 3 * 16 + 21 + 1_000_000);
}
