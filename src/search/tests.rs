//! The promises of the index, against looking through the texts one by one.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::texts::{Text, Wish, texts};
use super::work::Haste;
use super::*;
use crate::mail::structure::Structure;
use crate::mail::{Flags, MailboxName, Uid};
use crate::store::{AccountId, Batch, BodyId, MailboxId, Options, Outcome};

mod mail;

use mail::{Random, message};

/// A store with an inbox, its index, and what is in it in plain view.
struct House {
    runtime: Runtime,
    folder: TempDir,
    store: Store,
    index: Index,
    inbox: MailboxId,
    known: BTreeMap<BodyId, (Uid, Plain)>,
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
        let index = Index::open(folder.path(), &store);
        Self { runtime, folder, store, index, inbox, known: BTreeMap::new() }
    }

    fn deliver(&mut self, message: &[u8]) -> BodyId {
        let uid = self.runtime.block_on(async {
            let mut writer = self.store.new_body();
            writer.write(message).await.unwrap();
            let body = writer.finish().await.unwrap();
            let mut batch = Batch::new();
            batch.add_message(self.inbox, &[], &body, Flags::none(), Timestamp::UNIX_EPOCH);
            match self.store.commit(batch).await.unwrap()[..] {
                [Outcome::Added { uid, .. }] => uid,
                _ => unreachable!(),
            }
        });
        let body = self.store.message(self.inbox, uid).unwrap().unwrap().content.body;
        self.known.insert(body, (uid, Plain::of(message)));
        body
    }

    fn remove(&mut self, body: BodyId) {
        let (uid, _) = self.known.remove(&body).unwrap();
        let mut batch = Batch::new();
        batch.expunge(self.inbox, vec![uid]);
        self.runtime.block_on(self.store.commit(batch)).unwrap();
    }

    fn reopen(&mut self) {
        // The file is locked as long as it is open.
        self.index = Index::open(&self.folder.path().join("nowhere"), &self.store);
        self.index = Index::open(self.folder.path(), &self.store);
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// What the index says must be so; returns of how many messages it could not tell.
    fn check(&self, needle: &str) -> usize {
        let mut open = 0;
        let fields = ["subject", "FROM", "to", "cc", "received"].map(Field::Named);
        for field in fields.into_iter().chain([Field::Body, Field::Text]) {
            let hits = self.index.find(field, needle);
            for (body, (_, plain)) in &self.known {
                let has = plain.has(field, needle);
                match hits.verdict(*body) {
                    Verdict::Yes => assert!(has, "{needle:?} is not in {field:?} of {body:?}"),
                    Verdict::No => assert!(!has, "{needle:?} is in {field:?} of {body:?}"),
                    Verdict::Maybe => open += 1,
                }
            }
        }
        open
    }
}

/// The texts of a message.
#[derive(Debug, Default)]
struct Plain {
    fields: Vec<(bool, String, String)>,
    parts: Vec<String>,
}

impl Plain {
    fn of(message: &[u8]) -> Self {
        let mut plain = Self::default();
        let structure = Structure::scan(message).unwrap();
        texts(&structure, &mut Cursor::new(message), |text| {
            match text {
                Text::Field { own, name, value } => {
                    let name = String::from_utf8_lossy(name).to_lowercase();
                    plain.fields.push((own, name, value.to_owned()));
                }
                Text::Part => plain.parts.push(String::new()),
                Text::Piece(piece) => plain.parts.last_mut().unwrap().push_str(piece),
            }
            Wish::More
        })
        .unwrap();
        plain
    }

    fn has(&self, field: Field<'_>, needle: &str) -> bool {
        let in_body = || self.parts.iter().any(|part| part.contains(needle));
        match field {
            Field::Body => in_body(),
            Field::Text => {
                in_body() || self.fields.iter().any(|(_, _, value)| value.contains(needle))
            }
            Field::Named(wanted) => self.fields.iter().any(|(own, name, value)| {
                *own && name.eq_ignore_ascii_case(wanted) && value.contains(needle)
            }),
        }
    }

    /// Some of what it says.
    fn cut(&self, random: &mut Random) -> String {
        let fields = self.fields.iter().map(|(_, _, value)| value);
        let all: Vec<&String> = fields.chain(&self.parts).filter(|text| !text.is_empty()).collect();
        if all.is_empty() {
            return "nothing".to_owned();
        }
        let text: Vec<char> = all[random.below(all.len())].chars().collect();
        let most = [3, 8, 20, 60][random.below(4)];
        let length = 1 + random.below(most);
        let start = random.below(text.len());
        text[start..].iter().take(length).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_index_says_what_reading_says(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let mut house = House::new();
        for _ in 0..25 {
            match random.below(8) {
                0..=3 => {
                    for _ in 0..=random.below(6) {
                        house.deliver(&message(&mut random));
                    }
                }
                4 => assert!(!house.index.take_in(&house.store, None).unwrap().bodies),
                5 => house.index.put_away(&house.store, Haste::None, || true).unwrap(),
                6 => house.reopen(),
                _ => {
                    let bodies: Vec<BodyId> = house.known.keys().copied().collect();
                    if !bodies.is_empty() {
                        house.remove(bodies[random.below(bodies.len())]);
                    }
                }
            }
            let plains: Vec<&Plain> = house.known.values().map(|(_, plain)| plain).collect();
            let needles: Vec<String> = (0..6)
                .filter(|_| !plains.is_empty())
                .map(|_| plains[random.below(plains.len())].cut(&mut random))
                .collect();
            for needle in needles {
                house.check(&needle);
                // Neither is what is not there found.
                house.check(&(needle.clone() + "q"));
                house.check(&format!("\u{3b1}{needle}"));
            }
        }
    }
}

#[test]
fn words_of_every_script_are_found_without_reading() {
    let mut house = House::new();
    for text in mail::SENTENCES {
        house.deliver(format!("Subject: {text}\r\n\r\n{text}\r\n").as_bytes());
    }
    house.index.catch_up(&house.store).unwrap();
    for needle in [
        "grüße",
        "straße",
        "καλημέρα",
        "привет",
        "السلام",
        "שלום",
        "東京",
        "都",
        "안녕",
        "नमस्ते",
        "กรุ",
        "🎉",
    ] {
        let hits = house.index.find(Field::Body, needle);
        let yes = house.known.keys().filter(|body| hits.verdict(**body) == Verdict::Yes).count();
        assert_eq!(yes, 1, "{needle}");
        let open = house.known.keys().filter(|body| hits.verdict(**body) == Verdict::Maybe).count();
        assert_eq!(open, 0, "{needle}");
    }
}

#[test]
fn a_phrase_leaves_only_messages_with_all_its_words_to_read() {
    let mut house = House::new();
    for i in 0..50 {
        house.deliver(format!("Subject: s\r\n\r\nnumber {i} of many\r\n").as_bytes());
    }
    house.index.catch_up(&house.store).unwrap();
    let hits = house.index.find(Field::Body, "number 17 of");
    let open = house.known.keys().filter(|body| hits.verdict(**body) == Verdict::Maybe).count();
    assert_eq!(open, 1);
}

#[test]
fn what_is_not_indexed_yet_is_left_to_reading() {
    let mut house = House::new();
    house.deliver(b"Subject: zebra\r\n\r\n");
    house.index.catch_up(&house.store).unwrap();
    let late = house.deliver(b"Subject: zebra\r\n\r\n");
    assert_eq!(house.index.find(Field::Text, "zebra").verdict(late), Verdict::Maybe);
    house.index.take_in(&house.store, None).unwrap();
    assert_eq!(house.index.find(Field::Text, "zebra").verdict(late), Verdict::Yes);
}

#[test]
fn a_body_that_waited_long_for_its_commit_is_indexed_though_later_ones_were_before() {
    let mut house = House::new();
    let mut slow = house.store.new_body();
    house.runtime.block_on(slow.write(b"Subject: slow\r\n\r\nzebra\r\n")).unwrap();
    let body = house.runtime.block_on(slow.finish()).unwrap();
    house.deliver(b"Subject: quick\r\n\r\n");
    house.index.catch_up(&house.store).unwrap();
    let mut batch = Batch::new();
    batch.add_message(house.inbox, &[], &body, Flags::none(), Timestamp::UNIX_EPOCH);
    house.runtime.block_on(house.store.commit(batch)).unwrap();
    house.index.catch_up(&house.store).unwrap();
    let first = house.store.bodies_after(None, 1).unwrap()[0];
    assert_eq!(house.index.find(Field::Body, "zebra").verdict(first), Verdict::Yes);
}

#[test]
fn a_stop_between_two_steps_loses_nothing_but_time() {
    let mut house = House::new();
    for i in 0..20 {
        house.deliver(format!("Subject: s\r\n\r\nbefore{i}\r\n").as_bytes());
    }
    house.index.catch_up(&house.store).unwrap();
    for i in 0..20 {
        house.deliver(format!("Subject: s\r\n\r\nafter{i}\r\n").as_bytes());
    }
    house.index.take_in(&house.store, None).unwrap();
    // Stopped in the middle of putting away, then the program ends.
    let stopped = house.index.put_away(&house.store, Haste::None, || false);
    assert!(stopped.is_ok() || matches!(stopped, Err(SearchError::Stopped)));
    house.reopen();
    assert!(house.index.stats().bodies >= 20);
    house.index.catch_up(&house.store).unwrap();
    assert_eq!(house.index.stats().bodies, 40);
    assert_eq!(house.check("after7"), 0);
    assert_eq!(house.check("before17"), 0);
}

#[test]
fn nothing_is_written_when_nothing_is_new() {
    let mut house = House::new();
    house.deliver(b"Subject: zebra\r\n\r\n");
    house.index.catch_up(&house.store).unwrap();
    let before = std::fs::read(house.file()).unwrap();
    house.index.catch_up(&house.store).unwrap();
    house.check("zebra");
    assert_eq!(std::fs::read(house.file()).unwrap(), before);
}

#[test]
fn bodies_that_are_gone_leave_the_index_at_the_next_merge() {
    let mut house = House::new();
    let bodies: Vec<BodyId> =
        (0..40).map(|i| house.deliver(format!("Subject: {i}\r\n\r\n").as_bytes())).collect();
    house.index.catch_up(&house.store).unwrap();
    bodies[..30].iter().for_each(|body| house.remove(*body));
    house.deliver(b"Subject: new\r\n\r\n");
    house.index.catch_up(&house.store).unwrap();
    assert_eq!(house.index.stats().bodies, 11);
}

#[test]
fn one_huge_text_cannot_fill_the_index_and_is_still_found() {
    let mut house = House::new();
    let words: Vec<String> = (0..60_000).map(|i| format!("w{i}")).collect();
    let first = house.deliver(format!("Subject: book\r\n\r\n{}\r\n", words.join(" ")).as_bytes());
    house.index.catch_up(&house.store).unwrap();
    assert!(house.index.stats().bytes < 200_000, "{:?}", house.index.stats());
    let verdict = |word| house.index.find(Field::Body, word).verdict(first);
    assert_eq!(verdict("w59999"), Verdict::Maybe);
    assert_eq!(verdict("w17"), Verdict::Yes);
    house.check("w59999");
}

#[test]
fn a_damaged_file_is_made_anew_and_never_lies() {
    let mut random = Random::new(7);
    let mut house = House::new();
    for _ in 0..60 {
        house.deliver(&message(&mut random));
    }
    house.index.catch_up(&house.store).unwrap();
    let needles: Vec<String> =
        house.known.values().map(|(_, plain)| plain.cut(&mut random)).take(10).collect();
    house.index = Index::open(&house.folder.path().join("nowhere"), &house.store);
    let whole = std::fs::read(house.file()).unwrap();
    for round in 0..60 {
        let mut bytes = whole.clone();
        match round % 3 {
            0 => bytes.truncate(random.below(bytes.len())),
            _ => {
                for _ in 0..=random.below(20) {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
            }
        }
        std::fs::write(house.file(), &bytes).unwrap();
        house.index = Index::open(house.folder.path(), &house.store);
        for needle in &needles {
            house.check(needle);
        }
        house.index.catch_up(&house.store).unwrap();
        assert_eq!(house.index.stats().bodies, 60, "round {round}");
        for needle in &needles {
            house.check(needle);
        }
        house.index = Index::open(&house.folder.path().join("nowhere"), &house.store);
    }
}

#[test]
fn an_index_of_another_store_is_not_believed() {
    let mut one = House::new();
    for _ in 0..10 {
        one.deliver(b"Subject: zebra\r\n\r\n");
    }
    one.index.catch_up(&one.store).unwrap();
    let file = std::fs::read(one.file()).unwrap();
    let mut other = House::new();
    other.deliver(b"Subject: lion\r\n\r\n");
    other.index = Index::open(&other.folder.path().join("nowhere"), &other.store);
    std::fs::write(other.file(), file).unwrap();
    other.index = Index::open(other.folder.path(), &other.store);
    other.check("zebra");
    other.index.catch_up(&other.store).unwrap();
    assert_eq!(other.check("zebra"), 0);
}

#[test]
fn many_small_runs_become_few() {
    let mut house = House::new();
    for i in 0..100 {
        house.deliver(format!("Subject: s\r\n\r\nword{i}\r\n").as_bytes());
        house.index.catch_up(&house.store).unwrap();
    }
    let stats = house.index.stats();
    assert_eq!(stats.bodies, 100);
    assert!(stats.runs <= 4, "{stats:?}");
    assert_eq!(house.check("word77"), 0);
}

/// With `PILLARBOX_CORPUS` naming a folder of `msgs.bin` and `index.jsonl`, some hundred texts cut
/// out of its messages are looked for in all of them both ways.
#[test]
fn the_index_says_what_reading_says_of_real_mail() {
    let Some(corpus) = std::env::var_os("PILLARBOX_CORPUS") else { return };
    let mut house = House::new();
    let mut random = Random::new(1);
    for message in corpus_messages(Path::new(&corpus)) {
        house.deliver(&message);
    }
    house.index.catch_up(&house.store).unwrap();
    let plains: Vec<&Plain> = house.known.values().map(|(_, plain)| plain).collect();
    let needles: Vec<String> =
        (0..300).map(|_| plains[random.below(plains.len())].cut(&mut random)).collect();
    let open: usize = needles.iter().map(|needle| house.check(needle)).sum();
    println!("{} messages, 300 texts, {open} verdicts left to reading", house.known.len());
}

fn corpus_messages(folder: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(folder.join("msgs.bin")).unwrap();
    let rows = std::fs::read_to_string(folder.join("index.jsonl")).unwrap();
    let message = |row: &str| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let number = |name: &str| usize::try_from(row[name].as_u64().unwrap()).unwrap();
        bytes[number("off")..][..number("len")].to_vec()
    };
    rows.lines().map(message).collect()
}
