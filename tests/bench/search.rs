//! What the search index costs and how fast it answers.
//!
//!     cargo bench --bench search -- CORPUS [MESSAGES]
//!
//! CORPUS is a folder with `msgs.bin` (messages one after the other) and `index.jsonl` (a line each
//! with `off` and `len`). They are repeated, with changed Message-IDs, until there are MESSAGES
//! (20,000). Printed: bytes of the index for each raw byte, seconds of computing for 1,000
//! messages, the time from a word to the verdict on every message: the first after opening, and the
//! middle of twenty; and the time to look at what the rows say of every message, in the same way and
//! after a change.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here stops the benchmark")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::path::Path;
use std::time::{Duration, Instant};

use pillarbox::mail::{Flag, Flags, MailboxName, SystemFlag, Uid};
use pillarbox::search::{Facts, Field, Index, Needs, Verdict};
use pillarbox::store::{AccountId, Batch, BodyId, FlagChange, MailboxId, Options, Outcome, Store};

const WORDS: [&str; 6] = ["linux", "meeting", "zebra", "money", "thursday", "xyzzyplugh"];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // The test runner's own options are none of ours.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let Some(corpus) = arguments.next() else {
        println!("name a corpus folder to measure the search index");
        return;
    };
    let count = arguments.next().map_or(20_000, |count| count.parse().expect("a number"));
    let messages = read_corpus(Path::new(&corpus));
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let raw = fill(&store, &messages, count).await;
    println!("{count} messages, {raw} bytes");

    let index = Index::open(folder.path(), &store);
    let (before, begun) = (cpu(), Instant::now());
    index.catch_up(&store).unwrap();
    let spent = cpu().saturating_sub(before).as_secs_f64() * 1000.0 / count as f64;
    println!("indexing: {spent:.3} CPU s a 1,000 messages, {:.1?} in all", begun.elapsed());
    let stats = index.stats();
    let share = |bytes: u64| bytes as f64 * 100.0 / raw as f64;
    println!(
        "size: runs {} bytes ({:.2} %), file {} bytes ({:.2} %), {} runs",
        stats.bytes,
        share(stats.bytes),
        stats.file_bytes,
        share(stats.file_bytes),
        stats.runs
    );
    drop(index);

    let bodies = bodies(&store);
    println!(
        "{:<12} {:<5} {:>8} {:>10} {:>10} {:>10}",
        "word", "key", "found", "open", "cold", "warm"
    );
    for word in WORDS {
        for (name, field) in [
            ("BODY", Field::Body),
            ("TEXT", Field::Text),
            ("SUBJ", Field::Named("subject")),
            ("FROM", Field::Named("from")),
        ] {
            let opening = Instant::now();
            let index = Index::open(folder.path(), &store);
            let opening = opening.elapsed();
            let (found, cold) = ask(&index, field, word, &bodies);
            let mut warm: Vec<Duration> =
                (0..20).map(|_| ask(&index, field, word, &bodies).1).collect();
            warm.sort_unstable();
            let warm = warm[warm.len() / 2];
            println!(
                "{word:<12} {name:<5} {found:>8} {opening:>10.1?} {cold:>10.1?} {warm:>10.1?}"
            );
        }
    }
    rows(&store, &Index::open(folder.path(), &store)).await;
}

/// Looks at the rows for the first time, again, and after changes.
async fn rows(store: &Store, index: &Index) {
    let inbox = store.find_mailbox(AccountId(1), &MailboxName::inbox()).unwrap().unwrap().id;
    let flags = Needs { flags: vec![SystemFlag::Seen], ..Needs::default() };
    let bodies = Needs { bodies: true, ..Needs::default() };
    for (name, needs) in [("flags", &flags), ("bodies", &bodies)] {
        let times = [(); 20].map(|()| {
            let begun = Instant::now();
            index.facts(store, inbox, needs, |_| {}).unwrap();
            begun.elapsed()
        });
        println!("{name}: first {:.1?}, again {:.1?}", times[0], times[10]);
    }
    let look = || {
        let (begun, mut unseen) = (Instant::now(), 0);
        let count = |facts: Facts<'_>| unseen += u32::from(!facts.flags.has(SystemFlag::Seen));
        index.facts(store, inbox, &Needs { rows: true, ..Needs::default() }, count).unwrap();
        (begun.elapsed(), unseen)
    };
    let (first, unseen) = look();
    let mut again: Vec<Duration> = (0..20).map(|_| look().0).collect();
    again.sort_unstable();
    let mut changed = Vec::new();
    for uid in (1..=20).filter_map(Uid::new) {
        let mut batch = Batch::new();
        let seen = [Flag::System(SystemFlag::Seen)].into_iter().collect();
        batch.set_flags(inbox, vec![uid], FlagChange::Add(seen), None);
        store.commit(batch).await.unwrap();
        changed.push(look().0);
    }
    changed.sort_unstable();
    println!(
        "rows: {unseen} messages, first {first:.1?}, again {:.1?}, after a change {:.1?}",
        again[10], changed[10]
    );
}

/// The number of messages found, and the time it took.
fn ask(index: &Index, field: Field<'_>, word: &str, bodies: &[BodyId]) -> (usize, Duration) {
    let begun = Instant::now();
    let hits = index.find(field, word);
    let verdicts = bodies.iter().map(|body| hits.verdict(*body));
    let found = verdicts.inspect(|v| assert_ne!(*v, Verdict::Maybe)).filter(|v| *v == Verdict::Yes);
    let found = found.count();
    (found, begun.elapsed())
}

fn bodies(store: &Store) -> Vec<BodyId> {
    let mut all: Vec<BodyId> = Vec::new();
    loop {
        let page = store.bodies_after(all.last().copied(), 1000).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn read_corpus(folder: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(folder.join("msgs.bin")).expect("msgs.bin");
    let rows = std::fs::read_to_string(folder.join("index.jsonl")).expect("index.jsonl");
    let message = |row: &str| {
        let row: serde_json::Value = serde_json::from_str(row).expect("a line of JSON");
        let number = |name: &str| usize::try_from(row[name].as_u64().unwrap()).unwrap();
        bytes[number("off")..][..number("len")].to_vec()
    };
    rows.lines().map(message).collect()
}

async fn fill(store: &Store, messages: &[Vec<u8>], count: usize) -> u64 {
    let mut batch = Batch::new();
    batch.create_mailbox(AccountId(1), MailboxName::inbox(), None);
    let outcomes = store.commit(batch).await.unwrap();
    let [Outcome::Created(inbox)] = outcomes[..] else { panic!("no mailbox") };
    let mut raw = 0;
    let mut numbers = 0..count;
    loop {
        let some: Vec<usize> = numbers.by_ref().take(100).collect();
        if some.is_empty() {
            return raw;
        }
        raw += add(store, inbox, some.iter().map(|i| repeated(messages, *i))).await;
    }
}

async fn add(store: &Store, inbox: MailboxId, messages: impl Iterator<Item = Vec<u8>>) -> u64 {
    let (mut batch, mut raw) = (Batch::new(), 0);
    for message in messages {
        let mut writer = store.new_body();
        writer.write(&message).await.unwrap();
        raw += message.len() as u64;
        let body = writer.finish().await.unwrap();
        batch.add_message(inbox, &[], &body, Flags::default(), jiff::Timestamp::UNIX_EPOCH);
    }
    store.commit(batch).await.unwrap();
    raw
}

/// The message of that number; from the second round on with another Message-ID.
fn repeated(messages: &[Vec<u8>], number: usize) -> Vec<u8> {
    let mut message = messages[number % messages.len()].clone();
    let round = number / messages.len();
    let at = message.windows(13).position(|w| w.eq_ignore_ascii_case(b"\nMessage-ID: "));
    if let Some(at) = at.filter(|_| round > 0) {
        let open = message[at..].iter().position(|byte| *byte == b'<');
        let mark = format!("{round}x{number}.").into_bytes();
        let from = at + open.map_or(13, |open| open + 1);
        message.splice(from..from, mark);
    }
    message
}

/// Computing time of this process.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let spent = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(spent.unwrap_or_default())
}
