//! Housekeeping on a real folder: nobody may notice it but by the space it wins.

use std::io::Read;
use std::path::Path;

use super::*;
use crate::mail::{Flags, MailboxName};
use crate::store::tests::{ALICE, bytes_of, noise};
use crate::store::{MailboxId, OpenError, Options, Outcome};

/// Letters that have much in common, as letters have.
fn letter(number: u64) -> Vec<u8> {
    let mut text = format!(
        "From: club@list{}.example\r\nSubject: [club] evening no. {number}\r\n\
         List-Unsubscribe: <https://list.example/leave?member=4711>\r\n\r\n",
        number % 3
    );
    let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..150 {
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        text += ["meeting ", "evening ", "members ", "the ", "of ", "chess ", "tournament "]
            [usize::try_from(word >> 33).unwrap() % 7];
        if word >> 60 == 0 {
            text += "\r\nSee you all on Thursday in the back room of the old harbour inn!\r\n";
        }
    }
    [text.as_bytes(), format!("\r\n{word:x}\r\n").as_bytes()].concat()
}

async fn filled(dir: &Path, letters: u64) -> (Store, MailboxId) {
    let store = Store::open(dir, Options { reserve: 0, ..Options::default() }).unwrap();
    let mut batch = Batch::new();
    batch.create_mailbox(ALICE, MailboxName::inbox(), None);
    let [Outcome::Created(inbox)] = store.commit(batch).await.unwrap()[..] else { panic!() };
    for number in 0..letters {
        let mut body = store.new_body();
        body.write(&letter(number)).await.unwrap();
        let body = body.finish().await.unwrap();
        let mut batch = Batch::new();
        let now = jiff::Timestamp::UNIX_EPOCH;
        batch.add_message(inbox, b"Delivered-To: alice\r\n", &body, Flags::none(), now);
        store.commit(batch).await.unwrap();
    }
    (store, inbox)
}

/// Fifty letters and a large one that was deleted.
async fn with_room_to_win(dir: &Path) -> (Store, MailboxId) {
    let (store, inbox) = filled(dir, 50).await;
    add(&store, inbox, &noise(2_000_000)).await;
    let newest = store.messages(inbox).unwrap().pop().unwrap();
    let mut batch = Batch::new();
    batch.expunge(inbox, vec![newest.uid]);
    store.commit(batch).await.unwrap();
    (store, inbox)
}

/// The card forgets a bit of the first segment.
fn rot(dir: &Path, at: usize) {
    let path = dir.join("00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

async fn work(store: &Store) -> bool {
    let mut keeper = store.keeper();
    tokio::task::spawn_blocking(move || keeper.work()).await.unwrap().unwrap()
}

fn check(store: &Store, inbox: MailboxId) {
    for message in store.messages(inbox).unwrap() {
        let whole = [&b"Delivered-To: alice\r\n"[..], &letter(u64::from(message.uid.get()) - 1)];
        assert_eq!(bytes_of(store, &message), whole.concat());
    }
}

#[tokio::test]
async fn a_box_learns_from_its_mail_and_needs_less_room_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, inbox) = filled(dir.path(), 600).await;
    let needed = || store.shared().index.live().unwrap().values().sum::<u64>();
    let before = needed();
    assert!(work(&store).await);
    assert!(needed() < before * 3 / 4, "{} of {before}", needed());
    assert_eq!(store.stats().unwrap().messages, 600);
    check(&store, inbox);
    assert_eq!(store.stats().unwrap().segments, 1, "the old one is gone");
    assert!(!work(&store).await, "nothing is left to do");
    store.close().await.unwrap();

    // Each copy heals the other.
    let (dict, copy) = (dir.path().join("00000001.dict"), dir.path().join("00000001.copy"));
    let whole = std::fs::read(&dict).unwrap();
    for harmed in [&dict, &copy] {
        std::fs::write(harmed, &whole[..whole.len() / 2]).unwrap();
        let store = Store::rebuild(dir.path(), Options::default()).unwrap();
        check(&store, inbox);
        assert_eq!(store.stats().unwrap().damaged_records, 0);
        store.close().await.unwrap();
        assert_eq!(std::fs::read(harmed).unwrap(), whole);
    }
    // Without both, mail cannot be read, and it is said.
    std::fs::write(&dict, b"").unwrap();
    std::fs::write(&copy, b"").unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    assert_eq!(store.stats().unwrap().damaged_records, 1);
    let message = store.messages(inbox).unwrap().remove(0);
    let mut read = store.read(&message.content).unwrap();
    assert_eq!(
        read.read_to_end(&mut Vec::new()).unwrap_err().kind(),
        std::io::ErrorKind::InvalidData
    );
}

#[tokio::test]
async fn what_was_deleted_gives_its_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, inbox) = filled(dir.path(), 20).await;
    let mut batch = Batch::new();
    let mut big = store.new_body();
    big.write(&noise(2_000_000)).await.unwrap();
    let big = big.finish().await.unwrap();
    batch.add_message(inbox, b"", &big, Flags::none(), jiff::Timestamp::UNIX_EPOCH);
    store.commit(batch).await.unwrap();
    drop(big);
    let newest = store.messages(inbox).unwrap().pop().unwrap();
    let mut reader = store.read(&newest.content).unwrap();
    let mut batch = Batch::new();
    batch.expunge(inbox, vec![newest.uid]);
    store.commit(batch).await.unwrap();
    let mut keeper = store.keeper();
    let won = tokio::task::spawn_blocking(move || keeper.compact()).await.unwrap().unwrap();
    assert_eq!(won.segments, 1);
    assert!(won.bytes_before > 2_000_000 && won.bytes_after < 1_000_000, "{won:?}");
    check(&store, inbox);
    // Who was reading when it was deleted reads on.
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes == noise(2_000_000));
    store.close().await.unwrap();
    let store = Store::rebuild(dir.path(), Options::default()).unwrap();
    check(&store, inbox);
    assert_eq!(store.stats().unwrap().messages, 20);
}

#[tokio::test]
async fn a_message_on_its_way_in_is_not_compacted_away() {
    let dir = tempfile::tempdir().unwrap();
    let (store, inbox) = filled(dir.path(), 3).await;
    let mut body = store.new_body();
    body.write(&noise(1_000_000)).await.unwrap();
    let mut keeper = store.keeper();
    let mut keeper = tokio::task::spawn_blocking(move || keeper.compact().map(|_| keeper))
        .await
        .unwrap()
        .unwrap();
    let body = body.finish().await.unwrap();
    let mut batch = Batch::new();
    batch.add_message(inbox, b"", &body, Flags::none(), jiff::Timestamp::UNIX_EPOCH);
    store.commit(batch).await.unwrap();
    drop(body);
    let message = store.messages(inbox).unwrap().pop().unwrap();
    assert!(bytes_of(&store, &message) == noise(1_000_000));
    tokio::task::spawn_blocking(move || keeper.compact()).await.unwrap().unwrap();
    assert!(bytes_of(&store, &message) == noise(1_000_000));
}

#[tokio::test]
async fn identical_files_are_stored_once_whoever_has_them() {
    use base64::Engine as _;
    let dir = tempfile::tempdir().unwrap();
    let (store, inbox) = filled(dir.path(), 0).await;
    let file = noise(400_000);
    let mut sizes = Vec::new();
    for width in [57, 57, 54] {
        let mut body = store.new_body();
        body.write(format!("Subject: {width}\r\n\r\n").as_bytes()).await.unwrap();
        for line in file.chunks(width) {
            let line = base64::engine::general_purpose::STANDARD.encode(line) + "\r\n";
            body.write(line.as_bytes()).await.unwrap();
        }
        body.write(b"--end--\r\n").await.unwrap();
        let body = body.finish().await.unwrap();
        let mut batch = Batch::new();
        batch.add_message(inbox, b"", &body, Flags::none(), jiff::Timestamp::UNIX_EPOCH);
        store.commit(batch).await.unwrap();
        sizes.push(store.shared().index.live().unwrap().values().sum::<u64>());
    }
    assert!((400_000..410_000).contains(&sizes[0]), "decoded: {sizes:?}");
    assert!(sizes[2] < sizes[0] + 1_000, "stored again: {sizes:?}");
    for message in store.messages(inbox).unwrap() {
        let bytes = bytes_of(&store, &message);
        assert!(bytes.starts_with(b"Subject: 5") && bytes.ends_with(b"\r\n--end--\r\n"));
        assert_eq!(message.content.size(), bytes.len() as u64);
    }
    let uids: Vec<_> = store.messages(inbox).unwrap().iter().map(|m| m.uid).collect();
    for uid in uids {
        let mut batch = Batch::new();
        batch.expunge(inbox, vec![uid]);
        store.commit(batch).await.unwrap();
    }
    assert!(store.shared().index.live().unwrap().is_empty());
}

#[tokio::test]
async fn a_card_that_forgets_is_noticed_within_a_month() {
    let dir = tempfile::tempdir().unwrap();
    let (store, inbox) = filled(dir.path(), 50).await;
    work(&store).await;
    let month_ago = store.shared().clock.now().as_second() - SCRUB_INTERVAL;
    let mut batch = Batch::new();
    batch.put_setting(&format!("{SCRUBBED}1"), month_ago.to_le_bytes().to_vec());
    store.commit(batch).await.unwrap();
    rot(dir.path(), 5_000);
    assert!(work(&store).await);
    assert_eq!(store.stats().unwrap().damaged_records, 1);
    assert!(!work(&store).await, "not again before another month is over");
    assert!(matches!(Store::open(dir.path(), Options::default()), Err(OpenError::Busy { .. })));
    assert_eq!(store.messages(inbox).unwrap().len(), 50);
}

/// A letter with many small files.
fn album(number: u8) -> Vec<u8> {
    use base64::Engine as _;
    let mut text = format!("Subject: album {number}\r\n\r\n");
    let pictures: Vec<_> = noise(60_000).iter().map(|byte| byte ^ number).collect();
    for picture in pictures.chunks(600) {
        for line in picture.chunks(57) {
            text += &(base64::engine::general_purpose::STANDARD.encode(line) + "\r\n");
        }
        text += "--\r\n";
    }
    text.into_bytes()
}

async fn add(store: &Store, inbox: MailboxId, bytes: &[u8]) {
    let mut body = store.new_body();
    body.write(bytes).await.unwrap();
    let body = body.finish().await.unwrap();
    let mut batch = Batch::new();
    batch.add_message(inbox, b"", &body, Flags::none(), jiff::Timestamp::UNIX_EPOCH);
    store.commit(batch).await.unwrap();
}

async fn compact(store: &Store) -> Compacted {
    let mut keeper = store.keeper();
    let mut compacting = tokio::task::spawn_blocking(move || keeper.compact());
    tokio::select! {
        compacted = &mut compacting => compacted.unwrap().unwrap(),
        () = tokio::time::sleep(Duration::from_secs(40)) => {
            store.end_housekeeping();
            let _ = compacting.await;
            panic!("compaction goes on and on");
        }
    }
}

#[tokio::test]
async fn what_is_needed_is_not_written_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 0).await.0.close().await.unwrap();
    let options = Options { reserve: 0, segment_size: 20 << 10, ..Options::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let inbox = store.find_mailbox(ALICE, &MailboxName::inbox()).unwrap().unwrap().id;
    // The second time, all files are there: a segment has little more than where they are used.
    for _ in 0..2 {
        for number in 0..30 {
            add(&store, inbox, &album(number)).await;
        }
    }
    assert_eq!(compact(&store).await.segments, 0);
}

#[tokio::test]
async fn what_cannot_be_moved_is_not_tried_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = with_room_to_win(dir.path()).await;
    rot(dir.path(), 5_000);
    let mut keeper = store.keeper();
    let ends = tokio::task::spawn_blocking(move || {
        Way(&keeper.store).seal().unwrap();
        [0, 1, 2].map(|_| {
            keeper.work().unwrap();
            assert_eq!(keeper.segments().unwrap().len(), 2, "the damaged one stays");
            keeper.shared().index.state().unwrap().unwrap().position
        })
    });
    let ends = ends.await.unwrap();
    // The first rounds note when each segment was read.
    assert_eq!(ends[1], ends[2]);
}

#[tokio::test]
async fn mail_does_not_rely_on_a_file_that_the_card_has_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (store, inbox) = filled(dir.path(), 0).await;
    add(&store, inbox, &album(0)).await;
    let first = store.messages(inbox).unwrap().pop().unwrap();
    // Every part is damaged.
    for (_, part) in store.shared().index.parts_in(1).unwrap() {
        let file = store.shared().segments.file(1).unwrap();
        file.write_at(b"forgotten", part.offset + 100).unwrap();
    }
    let mut read = store.read(&first.content).unwrap();
    assert!(read.read_to_end(&mut Vec::new()).is_err());
    add(&store, inbox, &album(0)).await;
    let second = store.messages(inbox).unwrap().pop().unwrap();
    assert!(bytes_of(&store, &second) == album(0));
    assert!(bytes_of(&store, &first) == album(0), "and heals what relied on it");
    store.close().await.unwrap();
    let store = Store::rebuild(dir.path(), Options::default()).unwrap();
    assert!(bytes_of(&store, &second) == album(0));
    assert!(bytes_of(&store, &first) == album(0));
}

#[tokio::test]
async fn compaction_tells_again_what_a_damaged_commit_had_told() {
    let dir = tempfile::tempdir().unwrap();
    let (store, inbox) = with_room_to_win(dir.path()).await;
    // The commit that made the mailbox.
    rot(dir.path(), 90);
    assert_eq!(compact(&store).await.segments, 1);
    store.close().await.unwrap();
    let store = Store::rebuild(dir.path(), Options::default()).unwrap();
    assert_eq!(store.messages(inbox).unwrap().len(), 50);
    assert_eq!(store.mailbox(inbox).unwrap().unwrap().messages, 50);
    check(&store, inbox);
}

#[tokio::test]
async fn a_segment_that_is_gone_is_told_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (store, inbox) = filled(dir.path(), 2).await;
    let message = store.messages(inbox).unwrap().pop().unwrap();
    store.close().await.unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    store.shared().segments.remove(1).unwrap();
    assert!(matches!(store.read(&message.content), Err(StoreError::Damaged(_))));
    let stats = store.stats().unwrap();
    assert_eq!((stats.damaged_records, stats.io_errors), (1, 0));
}

#[tokio::test]
async fn a_rotten_index_stops_compaction_before_mail_is_lost_and_heals_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let (store, inbox) = filled(dir.path(), 60).await;
    let path = dir.path().join("index.redb");
    let (store, refused) = tokio::task::spawn_blocking(move || {
        // Written, so that it can rot.
        store.verify().unwrap();
        let mut index = std::fs::read(&path).unwrap();
        for page in index.chunks_mut(4096).skip(1) {
            page[17] ^= 4;
        }
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &index, 0).unwrap();
        let refused = store.keeper().compact();
        (store, refused)
    })
    .await
    .unwrap();
    assert!(matches!(refused, Err(StoreError::Index(_))), "{refused:?}");
    assert!(matches!(store.alive().await, Err(StoreError::Closed)), "it goes on writing");
    drop(store);
    let store = Store::open(dir.path(), Options::default()).unwrap();
    assert_eq!(store.messages(inbox).unwrap().len(), 60);
    let verified = tokio::task::spawn_blocking(move || store.verify()).await.unwrap().unwrap();
    assert!(verified.damage.is_empty());
}
