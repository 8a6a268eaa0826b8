//! Bytes that rot on the card, at random places of the segments and of the index. `verify` names what
//! is damaged and nothing else, the rest reads as before, and `rebuild` makes the index anew.
//!
//! `DAMAGE_SEEDS=5000` tries more, `DAMAGE_SEED=17` tries one again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use jiff::Timestamp;
use pillarbox::mail::{Flag, Flags, MailboxName, SystemFlag, Uid};
use pillarbox::store::{
    AccountId, Batch, Body, FlagChange, MailboxId, Options, Outcome, Store, Verify,
};

const DATE: Timestamp = Timestamp::constant(1_000, 0);
const INDEX: &str = "index.redb";

#[test]
fn rot_in_the_segments_harms_only_what_verify_names() {
    let box_ = OldBox::new();
    for_seeds("rot_in_the_segments_harms_only_what_verify_names", |chance| {
        let card = box_.copy();
        let mut flips = BTreeSet::new();
        for _ in 0..=chance.below(6) {
            flips.insert(flip(card.path(), &chance.pick(&box_.segments()), chance));
        }
        let store = open(card.path());
        let verify = store.verify().unwrap();
        for (file, at) in &flips {
            assert!(is_told(&verify, file, *at), "{file}, byte {at} is not told: {verify:?}");
        }
        assert!(verify.damage.len() <= flips.len(), "more is told than was flipped: {verify:?}");
        let there = box_.compare(&store, &verify);
        assert_eq!(there, box_.messages.len(), "the index was whole");
        assert!(box_.removed.keys().all(|id| store.message(id.0, id.1).unwrap().is_none()));
        drop(store);

        let store = Store::rebuild(card.path(), options()).unwrap();
        let verify = store.verify().unwrap();
        let there = box_.compare(&store, &verify);
        // A record that is gone takes what it said along: one delivery and its copy at most.
        assert!(there + 2 * flips.len() >= box_.messages.len(), "{there} messages are left");
    });
}

#[test]
fn rot_in_the_index_is_healed_by_a_rebuild() {
    let box_ = OldBox::new();
    for_seeds("rot_in_the_index_is_healed_by_a_rebuild", |chance| {
        let card = box_.copy();
        for _ in 0..=chance.below(6) {
            flip(card.path(), INDEX, chance);
        }
        let store = Store::rebuild(card.path(), options()).unwrap();
        let verify = store.verify().unwrap();
        assert!(verify.damage.is_empty() && verify.messages.is_empty(), "{verify:?}");
        assert_eq!(box_.compare(&store, &verify), box_.messages.len());
    });
}

#[test]
fn a_rotten_index_is_made_anew_at_the_next_opening() {
    let box_ = OldBox::new();
    for_seeds("a_rotten_index_is_made_anew_at_the_next_opening", |chance| {
        let card = box_.copy();
        for _ in 0..=chance.below(6) {
            flip(card.path(), INDEX, chance);
        }
        let store = open(card.path());
        let verify = store.verify().unwrap();
        assert!(verify.damage.is_empty() && verify.messages.is_empty(), "{verify:?}");
        assert_eq!(box_.compare(&store, &verify), box_.messages.len());
    });
}

const ALICE: AccountId = AccountId(1);

/// A stopped box with mail in a few segments: every letter knows the bytes that were stored.
struct OldBox {
    folder: tempfile::TempDir,
    messages: Letters,
    /// Removed by their owner; each may be back when the record that says so is lost.
    removed: Letters,
}

type Letters = BTreeMap<(MailboxId, Uid), Vec<u8>>;

impl OldBox {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (messages, removed) = run(fill(folder.path()));
        Self { folder, messages, removed }
    }

    fn copy(&self) -> tempfile::TempDir {
        // In memory where there is such a folder: a real card's syncs would take most of the time.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let copy = tempfile::tempdir_in(place).unwrap();
        for file in fs::read_dir(self.folder.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        copy
    }

    fn segments(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.contains(".seg")).collect();
        names.sort_unstable();
        assert!(names.len() > 3, "{names:?}");
        names
    }

    /// Reads every message: whole, or named by `verify` and not to be read. How many there are.
    fn compare(&self, store: &Store, verify: &Verify) -> usize {
        let mut there = BTreeSet::new();
        for mailbox in store.mailboxes(ALICE).unwrap() {
            for message in store.messages(mailbox.id).unwrap() {
                let id = (mailbox.id, message.uid);
                assert!(there.insert(id), "{id:?} is there twice");
                let named = verify.messages.contains(&id);
                let mut bytes = Vec::new();
                let read = store.read(&message.content).map_err(std::io::Error::other);
                match read.and_then(|mut reader| reader.read_to_end(&mut bytes)) {
                    Ok(_) => {
                        assert!(!named, "{id:?} is named and reads well");
                        let sent = self.messages.get(&id).or_else(|| self.removed.get(&id));
                        assert!(sent == Some(&bytes), "{id:?} differs");
                    }
                    Err(error) => assert!(named, "{id:?} is not named, yet: {error}"),
                }
            }
        }
        let strangers = verify.messages.iter().filter(|id| !there.contains(id)).count();
        assert_eq!(strangers, 0, "messages are named that do not exist");
        there.iter().filter(|id| self.messages.contains_key(id)).count()
    }
}

/// Letters of all sizes, two with the same file, copies, flags, and some that were removed.
async fn fill(folder: &Path) -> (Letters, Letters) {
    let store = open(folder);
    let mut batch = Batch::new();
    batch.create_mailbox(ALICE, MailboxName::inbox(), None);
    batch.create_mailbox(ALICE, "Kept".parse().unwrap(), None);
    store.commit(batch).await.unwrap();
    let boxes = store.mailboxes(ALICE).unwrap();
    let (inbox, kept) = (boxes[0].id, boxes[1].id);
    let (mut chance, mut messages, mut removed) = (Chance(9), Letters::new(), Letters::new());
    let file = letter(&mut chance, 30_000);
    for number in 0..60_usize {
        let mut bytes = format!("Subject: letter {number}\r\n\r\n").into_bytes();
        match number % 20 {
            7 => bytes.extend(letter(&mut chance, 300_000)),
            3 | 13 => bytes.extend(&file),
            _ => bytes.extend(letter(&mut chance, 200 + number * 40)),
        }
        let body = body(&store, &bytes).await;
        let mut batch = Batch::new();
        let trace = format!("Return-Path: <a{number}@example.org>\r\n");
        batch.add_message(inbox, trace.as_bytes(), &body, Flags::none(), DATE);
        let uid = match &store.commit(batch).await.unwrap()[..] {
            [Outcome::Added { uid, .. }] => *uid,
            other => panic!("{other:?}"),
        };
        let whole = [trace.as_bytes(), &bytes].concat();
        messages.insert((inbox, uid), whole.clone());
        let mut batch = Batch::new();
        match number % 6 {
            1 => batch.copy(inbox, vec![uid], kept),
            3 => {
                let seen = [Flag::System(SystemFlag::Seen)].into_iter().collect();
                batch.set_flags(inbox, vec![uid], FlagChange::Add(seen), None)
            }
            5 => batch.expunge(inbox, vec![uid]),
            _ => continue,
        };
        match &store.commit(batch).await.unwrap()[..] {
            [Outcome::Copied { uids, .. }] => {
                messages.insert((kept, uids[0].1), whole);
            }
            [Outcome::Expunged(_)] => {
                messages.remove(&(inbox, uid));
                removed.insert((inbox, uid), whole);
            }
            _ => {}
        }
    }
    store.close().await.unwrap();
    (messages, removed)
}

async fn body(store: &Store, bytes: &[u8]) -> Body {
    let mut writer = store.new_body();
    writer.write(bytes).await.unwrap();
    writer.finish().await.unwrap()
}

/// Text in base64, as letters with files are, for half of it.
fn letter(chance: &mut Chance, len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len);
    while text.len() < len {
        let column = text.len() % 78;
        let alphabet: &[u8] = if text.len() > len / 2 { b"ABCDwxyz0189+/" } else { b"etaoin srhl" };
        match column {
            76 => text.push(b'\r'),
            77 => text.push(b'\n'),
            _ => text.push(alphabet[chance.below(alphabet.len())]),
        }
    }
    text
}

/// Changes one byte of a file, where something was written.
fn flip(folder: &Path, name: &str, chance: &mut Chance) -> (String, usize) {
    let path = folder.join(name);
    let mut bytes = fs::read(&path).unwrap();
    // What was set aside for more mail holds nothing yet.
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let at = chance.below(written);
    let bit = 1 << chance.below(8);
    bytes[at] ^= bit;
    fs::write(&path, bytes).unwrap();
    (name.to_owned(), at)
}

fn is_told(verify: &Verify, file: &str, at: usize) -> bool {
    verify.damage.iter().any(|damage| {
        let name = format!("{:08}.seg", damage.segment);
        name == file && (damage.offset..damage.offset + damage.len).contains(&(at as u64))
    })
}

fn open(folder: &Path) -> Store {
    Store::open(folder, options()).unwrap()
}

fn options() -> Options {
    Options { segment_size: 64 << 10, ..Options::default() }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Runs a trial for each seed, and says how to repeat the one that fails.
fn for_seeds(test: &str, trial: impl Fn(&mut Chance)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("DAMAGE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DAMAGE_SEEDS").unwrap_or(200),
    };
    for seed in seeds {
        let trial = AssertUnwindSafe(|| trial(&mut Chance(seed)));
        if let Err(cause) = std::panic::catch_unwind(trial) {
            eprintln!("repeat with: DAMAGE_SEED={seed} cargo test --test main damage::{test}");
            std::panic::resume_unwind(cause);
        }
    }
}

/// Random numbers by seed (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    fn pick(&mut self, names: &[String]) -> String {
        names[self.below(names.len())].clone()
    }
}
