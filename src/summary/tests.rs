//! The promise of a summary: the same as reading the message, or nothing.

use std::io::Cursor;

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::mail::structure::{Structure, fields};
use crate::mail::{Flags, MailboxName, Uid, preview};
use crate::store::{AccountId, Batch, MailboxId, Message, Options, Outcome};

/// A store with an inbox and its summaries.
struct House {
    runtime: Runtime,
    folder: TempDir,
    store: Store,
    summaries: Summaries,
    inbox: MailboxId,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let mut batch = Batch::new();
        batch.create_mailbox(AccountId(1), MailboxName::inbox(), None);
        let outcomes = runtime.block_on(store.commit(batch)).unwrap();
        let [Outcome::Created(inbox)] = outcomes[..] else { unreachable!() };
        let summaries = Summaries::open(folder.path(), &store);
        Self { runtime, folder, store, summaries, inbox }
    }

    /// A message for several, each with fields of its own before it.
    fn deliver(&self, message: &[u8], prefixes: &[&[u8]]) -> Vec<Message> {
        let outcomes = self.runtime.block_on(async {
            let mut writer = self.store.new_body();
            writer.write(message).await.unwrap();
            let body = writer.finish().await.unwrap();
            let mut batch = Batch::new();
            for prefix in prefixes {
                batch.add_message(self.inbox, prefix, &body, Flags::none(), Timestamp::UNIX_EPOCH);
            }
            self.store.commit(batch).await.unwrap()
        });
        let uid = |outcome| match outcome {
            Outcome::Added { uid, .. } => uid,
            _ => unreachable!(),
        };
        let message = |uid| self.store.message(self.inbox, uid).unwrap().unwrap();
        outcomes.into_iter().map(uid).map(message).collect()
    }

    fn deliver_many(&self, count: usize) -> Vec<Message> {
        let text = |n: usize| {
            format!("Subject: number {n}\r\nMessage-ID: <{n}@x>\r\nX: {n}\r\n\r\ntext {n}\r\n")
        };
        (0..count).flat_map(|n| self.deliver(text(n).as_bytes(), &[b""])).collect()
    }

    fn remove(&self, messages: &[Message]) {
        let uids: Vec<Uid> = messages.iter().map(|message| message.uid).collect();
        let mut batch = Batch::new();
        batch.expunge(self.inbox, uids);
        self.runtime.block_on(self.store.commit(batch)).unwrap();
    }

    fn reopen(&mut self) {
        self.summaries = Summaries::open(self.folder.path(), &self.store);
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// Whether there is a summary, which has to be right.
    fn knows(&self, message: &Message) -> bool {
        let Some(summary) = self.summaries.message(&message.content) else { return false };
        let mut bytes = Vec::new();
        let mut reader = self.store.read(&message.content).unwrap();
        std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
        let structure = Structure::scan(bytes.as_slice()).unwrap();
        assert_eq!(summary.structure().unwrap(), structure);
        let header = &bytes[..usize::try_from(structure.root().header.end).unwrap()];
        let kept: Vec<u8> = fields(header)
            .filter(|field| is_kept(field.name))
            .flat_map(|field| field.whole.iter().copied())
            .collect();
        assert_eq!(summary.fields(), kept);
        let words = preview(&structure, &mut Cursor::new(bytes)).unwrap();
        assert_eq!(summary.preview().unwrap(), words);
        true
    }

    fn known(&self, messages: &[Message]) -> usize {
        messages.iter().filter(|message| self.knows(message)).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_summary_tells_what_the_message_would(
        lines in proptest::collection::vec(prop_oneof![
            Just("--a"), Just("--a--"), Just("--b"), Just("--b--"), Just(""), Just("text é"),
            Just("Content-Type: multipart/mixed; boundary=a"), Just("Subject: one"), Just("\tmore"),
            Just("Content-Type: multipart/digest; boundary=b"), Just("subject : two"),
            Just("Content-Type: message/rfc822"), Just(" folded"), Just("\r"), Just("X: y"),
            Just("From: \"A\" <a@b>, g: c@d;"), Just("Content-Disposition: inline; filename=x"),
            Just("Content-Type: text/html"), Just("<p>page"), Just("Received: by x"),
        ], 1..40),
    ) {
        let house = House::new();
        let message = lines.join("\r\n");
        let prefixes: [&[u8]; 4] =
            [b"Return-Path: <>\r\n", b"", b"Delivered-To: a@b\r\nX: y\r\n", b"From: z\r\n"];
        let messages = house.deliver(message.as_bytes(), &prefixes);
        house.summaries.catch_up(&house.store).unwrap();
        for message in &messages[..3] {
            prop_assert!(house.knows(message));
        }
        // It has fields of its own that its body's summary knows nothing of.
        prop_assert!(!house.knows(&messages[3]));
    }
}

#[test]
fn summaries_outlast_the_program_and_follow_it() {
    let mut house = House::new();
    let mut messages = house.deliver_many(150);
    assert_eq!(house.known(&messages), 0);
    house.summaries.catch_up(&house.store).unwrap();
    assert_eq!(house.known(&messages), 150);
    for _ in 0..3 {
        house.reopen();
        assert_eq!(house.known(&messages), messages.len());
        messages.extend(house.deliver_many(30));
        assert_eq!(house.known(&messages), messages.len() - 30);
        house.summaries.catch_up(&house.store).unwrap();
        assert_eq!(house.known(&messages), messages.len());
    }
}

#[test]
fn damage_is_found_and_mended() {
    let mut house = House::new();
    let messages = house.deliver_many(400);
    house.summaries.catch_up(&house.store).unwrap();
    let whole = std::fs::read(house.file()).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 23) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(house.file(), &bytes).unwrap();
        house.reopen();
        let known = house.known(&messages);
        assert!(known < 400, "{at}");
        house.summaries.catch_up(&house.store).unwrap();
        assert_eq!(house.known(&messages), 400, "{at}");
    }
    for length in [0, 5, whole.len() / 2, whole.len() - 1] {
        std::fs::write(house.file(), &whole[..length]).unwrap();
        house.reopen();
        assert!(house.known(&messages) < 400);
        house.summaries.catch_up(&house.store).unwrap();
        assert_eq!(house.known(&messages), 400);
    }
}

#[test]
fn summaries_of_another_store_are_not_used() {
    let other = House::new();
    other.deliver_many(90);
    other.summaries.catch_up(&other.store).unwrap();
    let mut house = House::new();
    std::fs::copy(other.file(), house.file()).unwrap();
    let mut messages = house.deliver_many(3);
    house.reopen();
    assert_eq!(house.known(&messages), 0);
    // As many bodies, but others.
    std::fs::copy(other.file(), house.file()).unwrap();
    messages.extend((0..100).flat_map(|_| house.deliver(b"Subject: x\r\n\r\nothers", &[b""])));
    house.reopen();
    assert_eq!(house.known(&messages[3..]), 0);
    house.summaries.catch_up(&house.store).unwrap();
    assert_eq!(house.known(&messages), 103);
}

#[test]
fn the_room_of_what_is_gone_is_given_back() {
    let mut house = House::new();
    let messages = house.deliver_many(1400);
    house.summaries.catch_up(&house.store).unwrap();
    let before = house.summaries.stats();
    assert_eq!(before.bodies, 1400);
    house.remove(&messages[..1300]);
    house.summaries.keep(&house.store, || false).unwrap();
    assert_eq!(house.summaries.stats(), before);
    house.summaries.keep(&house.store, || true).unwrap();
    let after = house.summaries.stats();
    assert!(after.bodies <= 164 && after.file_bytes < before.file_bytes / 4, "{after:?}");
    assert_eq!(house.known(&messages[1300..]), 100);
    house.reopen();
    assert_eq!(house.known(&messages[1300..]), 100);
}

#[test]
fn without_a_file_messages_are_read() {
    let house = House::new();
    let messages = house.deliver_many(100);
    let nowhere = Summaries::open(&house.folder.path().join("nowhere"), &house.store);
    assert!(nowhere.catch_up(&house.store).is_err());
    assert!(nowhere.message(&messages[99].content).is_none());
}

#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::new();
    let mode = std::fs::metadata(house.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
