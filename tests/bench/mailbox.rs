//! What a large mailbox costs.
//!
//!     cargo bench --bench mailbox -- [MESSAGES]
//!
//! A mailbox of MESSAGES (200,000) is filled with copies of one small message; every hundredth is
//! unread, every thousandth was expunged. Printed: the time to open it by its blocks of UIDs, as SELECT
//! does, and by a look at every message's row; the memory each leaves behind for as long as a
//! session has it open; and the time to learn of 50 changes among 3,000 messages and among all,
//! while the box runs and after it was started anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here stops the benchmark")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pillarbox::mail::{Flag, Flags, ModSeq, SystemFlag, Uid};
use pillarbox::store::{AccountId, Batch, FlagChange, MailboxId, Options, Outcome, Store};

const ALICE: AccountId = AccountId(1);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // The test runner's own options are none of ours.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let count = arguments.next().map_or(200_000, |count| count.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let begun = Instant::now();
    let large = fill(&store, "INBOX", count).await;
    let small = fill(&store, "Small", 3000).await;
    println!("filled in {:.1?}", begun.elapsed());

    println!("open {count} by blocks: {:.1?}", middle(|| store.overview(large).unwrap().unwrap()));
    println!("open {count} by rows:   {:.1?}", middle(|| store.entries(large).unwrap().unwrap()));
    println!("open 3000 by blocks: {:.1?}", middle(|| store.overview(small).unwrap().unwrap()));
    println!("open 3000 by rows:   {:.1?}", middle(|| store.entries(small).unwrap().unwrap()));
    println!("bodies of 3000 by blocks: {:.1?}", middle(|| store.held(small).unwrap()));

    let before = resident();
    let kept: Vec<_> = (0..1000).map(|_| store.overview(large).unwrap().unwrap().uids).collect();
    println!("memory of 1,000 sessions, by blocks: {} kB", resident() - before);
    drop(kept);
    let before = resident();
    let kept = store.entries(large).unwrap();
    println!("memory of one session, by rows: {} kB", resident() - before);
    drop(kept);

    let since = [change(&store, small).await, change(&store, large).await];
    let learn = |store: &Store, when: &str| {
        for ((name, mailbox), since) in [("3000", small), ("all", large)].into_iter().zip(since) {
            let changes = || store.changed_since(mailbox, since).unwrap().unwrap().changed;
            assert_eq!(changes().len(), 50);
            println!("50 changes of {name}, {when}: {:.1?}", middle(changes));
        }
    };
    learn(&store, "running");
    store.close().await.unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    learn(&store, "started anew");
}

async fn fill(store: &Store, name: &str, count: u32) -> MailboxId {
    let mut batch = Batch::new();
    batch.create_mailbox(ALICE, name.parse().unwrap(), None);
    let outcomes = store.commit(batch).await.unwrap();
    let [Outcome::Created(mailbox)] = outcomes[..] else { panic!("no mailbox: {outcomes:?}") };
    let mut writer = store.new_body();
    writer.write(b"Subject: x\r\n\r\nx\r\n").await.unwrap();
    let body = writer.finish().await.unwrap();
    let seen = Flags::from_iter([Flag::System(SystemFlag::Seen)]);
    for first in (0..count).step_by(2000) {
        let mut batch = Batch::new();
        for number in first..count.min(first + 2000) {
            let flags = if number % 100 == 0 { Flags::none() } else { seen.clone() };
            batch.add_message(mailbox, b"", &body, flags, Timestamp::UNIX_EPOCH);
        }
        store.commit(batch).await.unwrap();
    }
    let mut batch = Batch::new();
    batch.expunge(mailbox, (1..count).step_by(1000).filter_map(Uid::new).collect());
    store.commit(batch).await.unwrap();
    mailbox
}

/// Flags 50 messages, one after the other; what had changed before.
async fn change(store: &Store, mailbox: MailboxId) -> ModSeq {
    let since = store.mailbox(mailbox).unwrap().unwrap().highest_modseq;
    let flagged = Flags::from_iter([Flag::System(SystemFlag::Flagged)]);
    for number in 1..=50 {
        let mut batch = Batch::new();
        let uids = vec![Uid::new(number * 50 + 2).unwrap()];
        batch.set_flags(mailbox, uids, FlagChange::Add(flagged.clone()), None);
        store.commit(batch).await.unwrap();
    }
    since
}

/// The middle of eleven.
fn middle<T>(step: impl Fn() -> T) -> Duration {
    let mut times: Vec<_> = (0..11)
        .map(|_| {
            let begun = Instant::now();
            black_box(step());
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[5]
}

/// Kilobytes of memory in use.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
