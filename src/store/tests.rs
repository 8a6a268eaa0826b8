//! The store through its own door, on a real folder.

use std::io::Read;

use jiff::Timestamp;

use super::*;
use crate::mail::threading::Threading;
use crate::mail::{Flag, Flags, SystemFlag};

mod numbers;
mod threads;

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

pub(super) fn bytes_of(store: &Store, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.read(&message.content).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

pub(super) fn noise(len: usize) -> Vec<u8> {
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

#[tokio::test]
async fn a_reader_seeks_anywhere() {
    use std::io::{Seek, SeekFrom};
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let inbox = inbox(&store).await;
    let bytes = noise(400_000);
    let mut batch = Batch::new();
    let body = body(&store, &bytes).await;
    batch.add_message(inbox, b"X: y\r\n", &body, Flags::none(), Timestamp::UNIX_EPOCH);
    store.commit(batch).await.unwrap();
    let whole = [&b"X: y\r\n"[..], &bytes].concat();
    let message = store.message(inbox, Uid::FIRST).unwrap().unwrap();
    let mut reader = store.read(&message.content).unwrap();
    assert_eq!(reader.len(), 400_006);
    for at in [399_999, 0, 5, 6, 7, 131_077, 131_078, 131_079, 262_150, 400_005, 400_006, 500_000] {
        reader.seek(SeekFrom::Start(at)).unwrap();
        let mut part = Vec::new();
        reader.by_ref().take(100).read_to_end(&mut part).unwrap();
        let at = usize::try_from(at).unwrap().min(whole.len());
        assert!(part == whole[at..whole.len().min(at + 100)], "at {at}");
    }
    assert_eq!(reader.seek(SeekFrom::End(-6)).unwrap(), 400_000);
    assert!(reader.seek(SeekFrom::Current(-500_000)).is_err());
}

#[tokio::test]
async fn a_folder_has_one_owner_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    match Store::open(dir.path(), Options::default()) {
        Err(OpenError::Busy { pid, .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("{other:?}"),
    }
    let another = store.clone();
    store.close().await.unwrap();
    assert!(matches!(another.commit(Batch::new()).await, Err(StoreError::Closed)));
    assert!(matches!(another.queue(), Err(StoreError::Closed)));
    Store::open(dir.path(), Options::default()).unwrap();
}

#[tokio::test]
async fn listeners_are_told_after_the_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let mut changes = store.changes();
    let inbox = inbox(&store).await;
    assert_eq!(changes.recv().await.unwrap(), Change { account: ALICE, mailbox: None });
    let mut batch = Batch::new();
    let body = body(&store, b"hello").await;
    batch.add_message(inbox, b"", &body, Flags::none(), Timestamp::UNIX_EPOCH);
    batch.add_message(inbox, b"", &body, Flags::none(), Timestamp::UNIX_EPOCH);
    store.commit(batch).await.unwrap();
    assert_eq!(changes.recv().await.unwrap(), Change { account: ALICE, mailbox: Some(inbox) });
    assert!(changes.try_recv().is_err());
    let mut batch = Batch::new();
    batch.put_setting("box/of/no/account", Vec::new());
    batch.put_setting(&format!("{}note", ALICE.settings()), Vec::new());
    store.commit(batch).await.unwrap();
    assert_eq!(changes.recv().await.unwrap(), Change { account: ALICE, mailbox: None });
    assert!(changes.try_recv().is_err());
    let stats = store.stats().unwrap();
    assert_eq!((stats.accounts, stats.mailboxes, stats.messages), (1, 1, 2));
    assert_eq!((stats.message_bytes, stats.segments, stats.damaged_records), (10, 1, 0));
    assert!(stats.index_bytes > 0 && stats.free_bytes > 0);
}

#[tokio::test]
async fn mail_that_is_refused_never_touches_the_card() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let before = store.stats().unwrap().segment_bytes;
    drop(body(&store, &noise(100_000)).await);
    assert_eq!(store.stats().unwrap().segment_bytes, before);
}

#[tokio::test]
async fn the_index_follows_on_disk_within_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { index_interval: Duration::from_millis(50), ..Options::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let inbox = inbox(&store).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // As a power cut would leave it, with the log gone: the index alone has the mailbox.
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(dir.path().join(index::FILE), copy.path().join(index::FILE)).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(copy.path()));
    let index = index::Index::open(&disk, false).unwrap();
    assert!(index.mailbox(inbox).unwrap().is_some());
}

mod encoding {
    use proptest::prelude::*;

    use super::super::codec::{Decoder, Encoder};
    use super::super::event::{ChunkRef, Commit, Counters, Event, Hash, PartUse, Stored};
    use super::super::model::some_flags;
    use super::super::packing;
    use super::super::record::{self, Header, Kind, Place, RECORD_HEADER};
    use super::super::threads::{IdHash, ThreadId};
    use super::super::transfer::Form;
    use super::*;
    use prop::collection::vec;

    fn uid() -> impl Strategy<Value = Uid> {
        any::<std::num::NonZeroU32>().prop_map(Uid)
    }

    fn content() -> impl Strategy<Value = Content> {
        let prefix = vec(any::<u8>(), 0..50);
        (prefix, any::<(u64, u32, u64)>()).prop_map(|(prefix, (body, skip, len))| Content {
            prefix: prefix.into(),
            body: BodyId(body),
            skip,
            len,
        })
    }

    fn date() -> impl Strategy<Value = Timestamp> {
        let (first, last) = (Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond());
        (first..last).prop_map(|micros| Timestamp::from_microsecond(micros).unwrap())
    }

    fn event() -> impl Strategy<Value = Event> {
        let mailbox = || any::<u32>().prop_map(MailboxId);
        let modseq = || any::<u64>().prop_map(ModSeq);
        let bytes = || vec(any::<u8>(), 0..40);
        let flags = || (0_usize..16).prop_map(some_flags);
        let chunk = || {
            let numbers = any::<(u32, u64, u32, u32)>();
            numbers.prop_map(|(segment, offset, stored, raw)| ChunkRef {
                segment,
                offset,
                stored,
                raw,
            })
        };
        let form = (0_u64..1024).prop_filter_map("no form", Form::from_bits);
        let hash = || any::<[u8; 16]>().prop_map(Hash);
        let part = (any::<(u64, u32)>(), form, hash())
            .prop_map(|((at, len), form, hash)| PartUse { at, form, len, hash });
        let stored = (any::<u32>(), vec(chunk(), 0..4), vec(part, 0..3))
            .prop_map(|(lead, chunks, parts)| Stored { lead, chunks, parts });
        let queued = (any::<u64>(), content(), bytes()).prop_map(|(id, content, state)| {
            Event::Queued(QueueRecord { id: QueueId(id), content, state })
        });
        let thread = || (1..u64::MAX).prop_map(ThreadId);
        let dates = (date(), date());
        let row = (uid(), modseq(), flags(), dates, content(), proptest::option::of(thread()));
        let message = (mailbox(), row).prop_map(|(mailbox, row)| {
            let (uid, modseq, flags, (internal_date, save_date), content, thread) = row;
            let message = Message { uid, modseq, flags, internal_date, save_date, content, thread };
            Event::Message(mailbox, message)
        });
        let account = || any::<u32>().prop_map(AccountId);
        let ids = vec(any::<[u8; 8]>().prop_map(IdHash), 0..4);
        let counters =
            any::<(u32, u64, u64, u32)>().prop_map(|(mailbox, body, queue, validity)| {
                Event::Counters(Counters { mailbox, body, queue, uid_validity: validity })
            });
        let changed = vec((uid(), flags()), 0..4);
        let uids = vec(uid(), 0..4);
        prop_oneof![
            counters,
            mailbox().prop_map(Event::MailboxDeleted),
            (any::<u64>(), stored).prop_map(|(id, stored)| Event::Body(BodyId(id), stored)),
            (hash(), chunk()).prop_map(|(hash, chunk)| Event::Part(hash, chunk)),
            message,
            (mailbox(), modseq(), changed).prop_map(|(m, s, c)| Event::Flags(m, s, c)),
            (mailbox(), modseq(), uids).prop_map(|(m, s, u)| Event::Expunged(m, s, u)),
            queued,
            (any::<u64>(), bytes()).prop_map(|(id, state)| Event::QueueState(QueueId(id), state)),
            any::<u64>().prop_map(|id| Event::Dequeued(QueueId(id))),
            (account(), thread(), ids).prop_map(|(a, t, ids)| Event::Thread(a, t, ids)),
            account().prop_map(Event::AccountGone),
            (".{0,9}", bytes()).prop_map(|(key, value)| Event::Setting(key, value)),
            ".{0,9}".prop_map(Event::SettingDeleted),
        ]
    }

    proptest! {
        #[test]
        fn what_is_logged_is_read_again(
            group in any::<u64>(),
            events in vec(event(), 0..6),
        ) {
            let commit = Commit { group, events };
            let bytes = commit.encode();
            prop_assert_eq!(&Commit::decode(&bytes), &Ok(commit));
            let packed = packing::pack_commit(&bytes).unwrap();
            prop_assert_eq!(packing::unpack_commit(&packed).unwrap(), bytes);
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in vec(any::<u8>(), 0..300)) {
            let _ = Commit::decode(&bytes);
            let _ = packing::unpack_commit(&bytes);
            let _ = rows::mailbox_row(MailboxId(1), &bytes);
            let _ = rows::message_row(1, &bytes);
            let _ = rows::body_row(&bytes);
            let _ = rows::part_row(&bytes);
            let _ = rows::queue_row(QueueId(1), &bytes);
            if let Some(head) = bytes.first_chunk() {
                let place = Place { segment: 1, offset: 64 };
                prop_assert_eq!(Header::parse(&[7; 32], place, head), None);
            }
        }

        #[test]
        fn a_record_is_only_believed_whole_and_in_its_place(
            payload in vec(any::<u8>(), 0..100),
            flip in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let (key, place) = ([7; 32], Place { segment: 3, offset: 99 });
            let believed = |bytes: &[u8], place| {
                let (head, payload) = bytes.split_first_chunk::<RECORD_HEADER>().unwrap();
                Header::parse(&key, place, head).is_some_and(|h| h.fits(&key, place, payload))
            };
            let mut bytes = Vec::new();
            record::append(&mut bytes, &key, place, Kind::Chunk, &payload).unwrap();
            prop_assert!(believed(&bytes, place));
            let elsewhere = [Place { segment: 4, ..place }, Place { offset: 100, ..place }];
            prop_assert!(!elsewhere.into_iter().any(|place| believed(&bytes, place)));
            let at = flip.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(!believed(&bytes, place));
        }

        #[test]
        fn numbers_take_the_bytes_they_need(number in any::<u64>()) {
            let mut out = Encoder::default();
            out.number(number);
            let bytes = out.finish();
            let bits = 64 - u64::from(number.leading_zeros());
            prop_assert_eq!(bytes.len() as u64, bits.div_ceil(7).max(1));
            prop_assert_eq!(Decoder(&bytes).number::<u64>(), Ok(number));
        }
    }
}

#[tokio::test]
async fn a_commit_does_not_wait_for_those_who_still_send() {
    let disk = super::sim::SimDisk::new(0);
    let mut writer = super::power::open(&disk, false).unwrap();
    let mut batch = Batch::new();
    batch.create_mailbox(ALICE, MailboxName::inbox(), None);
    writer.commit(&[batch]).remove(0).unwrap();
    let (commands, waiting) = mpsc::channel(1000);
    let (reply, committed) = oneshot::channel();
    let packed =
        || super::body::Packed::part(&super::packing::Dictionaries::new(), b"a chunk").unwrap();
    let chunks = vec![super::body::Lump::Packed(packed())];
    let parts = super::body::Parts { chunks, ..super::body::Parts::default() };
    let body = Body::new(BodyId(99), 7, Threading::default(), parts);
    let mut batch = Batch::new();
    batch.add_message(MailboxId(1), b"", &body, Flags::none(), Timestamp::UNIX_EPOCH);
    commands.send(Command::Commit { batch, reply }).await.unwrap();
    let mut last = None;
    for _ in 0..500 {
        let (reply, written) = oneshot::channel();
        commands.send(Command::Chunk { chunk: packed(), reply }).await.unwrap();
        last = Some(written);
    }
    drop(commands);
    writer::serve(writer, waiting).await;
    let committed_at = body.place(|_| panic!("not written")).unwrap().stored.chunks.pop();
    committed.await.unwrap().unwrap();
    let last = last.unwrap().await.unwrap().unwrap();
    let chunk = committed_at.unwrap();
    assert!(chunk.offset < last.chunk.offset, "the commit came after all of them");
}

#[tokio::test]
async fn a_store_tells_whether_it_lives_and_writes_nothing_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    inbox(&store).await;
    let before = store.stats().unwrap();
    for _ in 0..100 {
        store.alive().await.unwrap();
    }
    // Others use the disk too.
    let after = store.stats().unwrap();
    assert_eq!(after, Stats { free_bytes: after.free_bytes, ..before });
    store.clone().close().await.unwrap();
    assert!(matches!(store.alive().await, Err(StoreError::Closed)));
}

#[test]
fn nobody_else_can_read_the_mail() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let _store = Store::open(&dir, Options::default()).unwrap();
    assert_eq!(mode(&dir), 0o700);
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}
