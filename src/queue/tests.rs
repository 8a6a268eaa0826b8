#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

mod forwards;
mod host;
mod notices;
mod power;
mod quota;
mod security;
mod smuggling;
mod ways;

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use host::Host;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::accounts::Password;
use crate::clock::{Clock, ClockTrust};
use crate::config::{OutboundMode, Relay, RelayTls};
use crate::dns::world::World;
use crate::mail::MailboxName;
use crate::store::Options;

const MESSAGE: &[u8] =
    b"From: alice@example.org\r\nTo: bob@example.net\r\nSubject: hi\r\n\r\nHello\r\n.\r\n";

/// A box with alice, in a world of its own.
struct Office {
    folder: TempDir,
    world: World,
    clock: Arc<TestClock>,
    store: Store,
    accounts: Accounts,
    queue: Queue,
    runner: Option<(CancellationToken, JoinHandle<()>)>,
    port: u16,
    mode: OutboundMode,
}

struct TestClock(Mutex<(Timestamp, ClockTrust)>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    fn trust(&self) -> ClockTrust {
        self.0.lock().unwrap().1
    }
}

impl Office {
    async fn new(port: u16, mode: OutboundMode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), Options::default()).unwrap();
        Self::with(folder, store, port, mode).await
    }

    /// A box whose disk fails after as many changes as the function is told.
    async fn failing(port: u16) -> (Self, impl Fn(u64)) {
        let (store, fail) = Store::on_a_failing_disk();
        let folder = tempfile::tempdir().unwrap();
        (Self::with(folder, store, port, OutboundMode::Direct).await, fail)
    }

    async fn with(folder: TempDir, store: Store, port: u16, mode: OutboundMode) -> Self {
        let world = World::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let start = "2026-11-22T10:00:00Z".parse().unwrap();
        let clock = Arc::new(TestClock(Mutex::new((start, ClockTrust::Synced))));
        let (accounts, queue) = open(folder.path(), &store, &world, &clock, port, mode.clone());
        accounts
            .add(address("alice@example.org"), Password::new("long enough".into()))
            .await
            .unwrap();
        Self { folder, world, clock, store, accounts, queue, runner: None, port, mode }
    }

    fn run(&mut self) {
        let (stop, queue) = (CancellationToken::new(), self.queue.clone());
        let token = stop.clone();
        self.runner = Some((stop, tokio::spawn(async move { queue.run(token).await })));
    }

    async fn stop(&mut self) {
        let (stop, runner) = self.runner.take().unwrap();
        stop.cancel();
        runner.await.unwrap();
    }

    /// What is on the disk at this moment, opened by another process after this one was killed.
    fn restart(self) -> Self {
        let Self { folder: old, world, clock, store, port, mode, .. } = self;
        let folder = tempfile::tempdir().unwrap();
        copy(old.path(), folder.path());
        drop(store);
        let store = Store::open(&folder.path().join("store"), Options::default()).unwrap();
        let (accounts, queue) = open(folder.path(), &store, &world, &clock, port, mode.clone());
        Self { folder, world, clock, store, accounts, queue, runner: None, port, mode }
    }

    /// The test message from one of our people.
    async fn incoming(&self, from: &str, to: &[&str]) -> Incoming {
        let mut body = self.store.new_body();
        body.write(MESSAGE).await.unwrap();
        Incoming {
            envelope: Envelope::new(from.parse().unwrap(), to.iter().map(|to| address(to))),
            trace: b"Received: by box.example.org\r\n".to_vec(),
            body: body.finish().await.unwrap(),
            source: Source::Account(self.accounts.list()[0].id),
            received: self.clock.now(),
            judge: None,
        }
    }

    async fn send(&self, from: &str, to: &[&str], source: Source) -> Result<Accepted, AcceptError> {
        let incoming = self.incoming(from, to).await;
        self.queue.accept(Incoming { source, ..incoming }).await
    }

    async fn submit(&self, to: &[&str]) -> Accepted {
        let alice = self.accounts.list()[0].id;
        self.send("alice@example.org", to, Source::Account(alice)).await.unwrap()
    }

    fn inbox(&self) -> Vec<String> {
        let alice = self.accounts.list()[0].id;
        let Some(inbox) = self.store.find_mailbox(alice, &MailboxName::inbox()).unwrap() else {
            return Vec::new();
        };
        let text = |message: crate::store::Message| {
            let mut text = String::new();
            self.store.read(&message.content).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        self.store.messages(inbox.id).unwrap().into_iter().map(text).collect()
    }

    async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        for _ in 0..1000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} did not happen: {:?}", self.queue.list());
    }

    async fn until_empty(&self) {
        self.until("an empty queue", |b| b.queue.list().unwrap().is_empty()).await;
    }

    async fn until_tried(&self, attempts: u32) {
        self.until("an attempt", |b| {
            let records = b.store.queue().unwrap();
            records.first().and_then(|r| State::decode(&r.state)).unwrap().attempts >= attempts
        })
        .await;
    }

    fn pass(&self, time: Duration) {
        let mut clock = self.clock.0.lock().unwrap();
        clock.0 += states::signed(time);
        self.queue.inner.marks.wake.notify_one();
    }
}

fn open(
    folder: &Path,
    store: &Store,
    world: &World,
    clock: &Arc<TestClock>,
    port: u16,
    mode: OutboundMode,
) -> (Accounts, Queue) {
    let accounts = Accounts::open(store.clone(), vec!["example.org".parse().unwrap()]).unwrap();
    let queue = Queue::new(parts(folder, store, &accounts, world, clock, port, mode));
    (accounts, queue.unwrap())
}

fn parts(
    folder: &Path,
    store: &Store,
    accounts: &Accounts,
    world: &World,
    clock: &Arc<TestClock>,
    port: u16,
    mode: OutboundMode,
) -> QueueParts {
    let domains = ["example.org".parse().unwrap()];
    QueueParts {
        store: store.clone(),
        accounts: accounts.clone(),
        resolver: Resolver::new(&[world.local()]).unwrap(),
        keys: SigningKeys::open_or_create(&folder.join("keys"), &domains).unwrap(),
        hostname: "box.example.org".parse().unwrap(),
        outbound: Outbound { mx_port: port, ..mode.into() },
        listens: vec![([127, 0, 0, 9], port).into()],
        clock: clock.clone(),
        schedule: Schedule::default(),
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

const ZONE: &str = "$TTL 0\n\
    example.net.  MX 10 first.example.net.\nexample.net. MX 20 second.example.net.\n\
    first.example.net. A 127.0.0.2\nsecond.example.net. A 127.0.0.3\n\
    none.example.net. MX 0 .\ncircle.example.net. MX 10 us.example.net.\n\
    us.example.net. A 127.0.0.9\n";

#[tokio::test]
async fn the_second_host_gets_what_the_first_cannot_take() {
    let second = Host::start("127.0.0.3:0").await;
    let mut office = Office::new(second.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    office.run();
    let accepted = office.submit(&["bob@example.net", "alice@example.org"]).await;
    assert_eq!(accepted.delivered, 1);
    office.until_empty().await;
    let got = second.got();
    assert_eq!(got.len(), 1);
    assert_eq!(
        (got[0].from.as_str(), got[0].to.as_slice()),
        ("alice@example.org", &["bob@example.net".to_owned()][..])
    );
    assert!(got[0].data.starts_with("DKIM-Signature: v=1; a=rsa-sha256;"), "{}", got[0].data);
    assert!(got[0].data.contains("a=ed25519-sha256"));
    let rest = format!(
        "Received: by box.example.org\r\n{}",
        String::from_utf8_lossy(MESSAGE).replace("\r\n.\r\n", "\r\n..\r\n")
    );
    assert!(got[0].data.ends_with(&rest), "{}", got[0].data);
    assert!(office.inbox()[0].starts_with("Return-Path: <alice@example.org>\r\n"));

    let first = Host::start(&format!("127.0.0.2:{}", second.port())).await;
    first.answer("", "421 busy");
    office.submit(&["bob@example.net"]).await;
    office.until_empty().await;
    assert_eq!((first.got().len(), second.got().len()), (0, 2));
}

#[tokio::test]
async fn who_got_it_never_gets_it_again_and_who_did_not_gets_it_later() {
    let host = Host::start("127.0.0.2:0").await;
    host.answer("carol@example.net", "450 4.2.1 come back later");
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    office.run();
    let id = office.submit(&["bob@example.net", "carol@example.net"]).await.queued.unwrap();
    office.until_tried(1).await;
    let item = &office.queue.list().unwrap()[0];
    assert_eq!(item.recipients.len(), 1);
    assert_eq!(item.recipients[0].0, address("carol@example.net"));
    assert!(item.recipients[0].1.contains("450 4.2.1 come back later"), "{item:?}");
    let wait = item.next_attempt.unwrap().duration_since(office.clock.now()).as_secs();
    assert!((270..=330).contains(&wait), "{wait}");
    let left = item.gives_up.unwrap().duration_since(office.clock.now()).as_hours();
    assert!((119..=120).contains(&left), "{left}");
    assert_eq!(item.advice, [] as [String; 0], "waiting is all there is to do");
    let end = item.gives_up.unwrap();
    office.pass(Duration::from_secs(100));
    let later = office.queue.list().unwrap()[0].gives_up.unwrap();
    assert!(later.duration_since(end).abs().as_secs() <= 2, "the end moves: {end}, {later}");
    office.stop().await;

    // The record outlives the process, and what was settled stays settled.
    let mut office = office.restart();
    host.answer("carol@example.net", "250 ok");
    office.run();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(host.got().len(), 1, "tried before its time");
    office.queue.retry(Some(id)).await.unwrap();
    office.until_empty().await;
    let to: Vec<_> = host.got().into_iter().flat_map(|mail| mail.to).collect();
    assert_eq!(to, ["bob@example.net", "carol@example.net"]);
    assert!(matches!(office.queue.retry(Some(id)).await, Err(QueueError::Missing(_))));
}

#[tokio::test]
async fn what_cannot_be_delivered_comes_back_with_a_reason() {
    let host = Host::start("127.0.0.2:0").await;
    host.answer("nobody@example.net", "550 5.1.1 no such user here");
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    office.run();
    for (to, words) in [
        ("nobody@example.net", "The host said: 550 5.1.1 no such user here"),
        ("x@nowhere.invalid", "there is no domain nowhere.invalid"),
        ("x@none.example.net", "takes no mail at all"),
        ("x@circle.example.net", "goes to this box"),
        ("x@second.example.net", ""),
    ] {
        let before = office.inbox().len();
        office.submit(&[to]).await;
        if words.is_empty() {
            // A host without MX that does not answer: not now is not never.
            office.until_tried(1).await;
            assert_eq!(office.inbox().len(), before);
            continue;
        }
        office.until_empty().await;
        let inbox = office.inbox();
        assert_eq!(inbox.len(), before + 1, "{to}");
        let notice = inbox.last().unwrap();
        assert!(notice.starts_with("Return-Path: <>\r\nDelivered-To: alice@example.org\r\n"));
        assert!(notice.contains(words), "{words} is not in {notice}");
        assert!(notice.contains(&format!("Final-Recipient: rfc822; {to}\r\n")), "{notice}");
        assert!(notice.contains("\r\nSubject: hi\r\n") && !notice.contains("Hello"));
    }
}

#[tokio::test]
async fn a_notice_is_never_answered_and_a_stranger_never_told() {
    let host = Host::start("127.0.0.2:0").await;
    host.answer("nobody@example.net", "550 5.1.1 no such user");
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    office
        .accounts
        .add_alias(address("away@example.org"), address("nobody@example.net"))
        .await
        .unwrap();
    office.run();
    office.send("", &["nobody@example.net"], Source::Own).await.unwrap();
    office.until_empty().await;
    office.send("", &["away@example.org"], Source::Stranger).await.unwrap();
    office.until_empty().await;
    assert_eq!(office.inbox().len(), 0);
    office.send("eve@example.com", &["away@example.org"], Source::Stranger).await.unwrap();
    office.until_empty().await;
    // postmaster is alice.
    let inbox = office.inbox();
    assert_eq!(inbox.len(), 1);
    assert!(inbox[0].contains("To: <postmaster@example.org>"), "{}", inbox[0]);
    assert!(inbox[0].contains("you wrote to away@example.org, which leads there"));
    assert!(host.got().is_empty());
}

#[tokio::test]
async fn aliases_lead_everywhere_at_once_and_never_in_a_circle() {
    let office = Office::new(2, OutboundMode::Hold).await;
    let alias = async |from: &str, to: &str| {
        office.accounts.add_alias(address(from), address(to)).await.unwrap();
    };
    alias("more@example.org", "alice@example.org").await;
    alias("more@example.org", "bob@example.net").await;
    alias("all@example.org", "alice@example.org").await;
    alias("all@example.org", "bob@example.net").await;
    alias("all@example.org", "more@example.org").await;
    let sent =
        office.send("eve@example.com", &["all@example.org"], Source::Stranger).await.unwrap();
    assert_eq!(sent.delivered, 1);
    assert_eq!(office.inbox().len(), 1);
    let item = &office.queue.list().unwrap()[0];
    assert_eq!(Some(item.id), sent.queued);
    assert_eq!(item.recipients.len(), 1);
    assert_eq!(item.size, MESSAGE.len() as u64 + 30);

    let state = State::decode(&office.store.queue().unwrap()[0].state).unwrap();
    assert_eq!(state.recipients[0].via, Some(address("all@example.org")));

    // Where the directory lets a circle or a crowd in, the door does not: nobody gets it.
    let circle = office.accounts.add_alias(address("more@example.org"), address("all@example.org"));
    let circle = circle.await.is_ok();
    for n in 0..100 {
        alias("crowd@example.org", &format!("n{n}@example.net")).await;
    }
    for (to, refused) in [("more@example.org", circle), ("crowd@example.org", true)] {
        let to = ["alice@example.org", to];
        let sent = office.send("eve@example.com", &to, Source::Stranger).await;
        assert_eq!(matches!(sent, Err(AcceptError::Alias(_))), refused, "{sent:?}");
    }
    let expected = if circle { 1 } else { 2 };
    assert_eq!((office.inbox().len(), office.queue.list().unwrap().len()), (expected, expected));
}

#[tokio::test]
async fn a_box_that_holds_sends_only_what_is_released() {
    let host = Host::start("127.0.0.2:0").await;
    let mut office = Office::new(host.port(), OutboundMode::Hold).await;
    office.world.load(".", ZONE).unwrap();
    office.run();
    let id = office.submit(&["bob@example.net"]).await.queued.unwrap();
    let other = office.submit(&["carol@example.net"]).await.queued.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let items = office.queue.list().unwrap();
    assert!(items.iter().all(|item| item.next_attempt.is_none() && item.gives_up.is_none()));
    assert!(items[0].recipients[0].1.contains("release it"));
    office.queue.release(id).await.unwrap();
    office.until("the released one sent", |_| host.got().len() == 1).await;
    office.queue.discard(other).await.unwrap();
    office.until_empty().await;
    assert_eq!(host.got()[0].to, ["bob@example.net"]);
    office.stop().await;

    // Held by the owner, it stays when the setting changes.
    let held = office.submit(&["bob@example.net"]).await.queued.unwrap();
    office.submit(&["dora@example.net"]).await;
    office.queue.hold(held).await.unwrap();
    office.mode = OutboundMode::Direct;
    let mut office = office.restart();
    office.run();
    office.until("the other one sent", |_| host.got().len() == 2).await;
    assert_eq!(host.got()[1].to, ["dora@example.net"]);
    assert_eq!(office.queue.list().unwrap()[0].id, held);
}

#[tokio::test]
async fn a_sender_hears_of_a_delay_and_of_the_end_but_not_from_a_wrong_clock() {
    let host = Host::start("127.0.0.2:0").await;
    host.answer("bob@example.net", "450 4.2.1 later");
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    office.clock.0.lock().unwrap().1 = ClockTrust::Unknown;
    office.run();
    office.submit(&["bob@example.net"]).await;
    office.until_tried(1).await;
    office.pass(Duration::from_hours(30 * 24));
    office.until_tried(2).await;
    assert_eq!(office.inbox().len(), 0, "time was counted by a clock nobody believes");
    office.clock.0.lock().unwrap().1 = ClockTrust::Synced;
    let mut attempts = 2;
    let mut hours = 0;
    while !office.queue.list().unwrap().is_empty() {
        assert!(hours < 160, "it never ends");
        office.pass(Duration::from_mins(270));
        hours += 4;
        attempts += 1;
        office
            .until("an attempt", |b| {
                b.store
                    .queue()
                    .unwrap()
                    .first()
                    .is_none_or(|record| State::decode(&record.state).unwrap().attempts >= attempts)
            })
            .await;
    }
    assert!(hours > 100, "{hours}");
    let inbox = office.inbox();
    assert_eq!(inbox.len(), 2);
    assert!(inbox[0].contains("Action: delayed\r\n"), "{}", inbox[0]);
    assert!(inbox[1].contains("Status: 5.4.7\r\n"), "{}", inbox[1]);
    assert!(inbox[1].contains("450 4.2.1 later"));
}

#[tokio::test]
async fn a_relay_gets_everything_in_one_go() {
    let host = Host::start("127.0.0.2:0").await;
    let relay = Relay {
        host: "127.0.0.2".parse().unwrap(),
        port: host.port(),
        login: None,
        tls: RelayTls::None,
        spf: None,
    };
    let mut office = Office::new(2, OutboundMode::Relay(relay)).await;
    office.run();
    office.submit(&["bob@example.net", "x@nowhere.invalid"]).await;
    office.until_empty().await;
    assert_eq!(host.got().len(), 1);
    assert_eq!(host.got()[0].to, ["bob@example.net", "x@nowhere.invalid"]);
}

#[tokio::test]
async fn mail_for_a_domain_that_became_ours_stays_here() {
    let host = Host::start("127.0.0.2:0").await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    office.submit(&["postmaster@example.net", "nobody@example.net"]).await;
    office
        .accounts
        .set_domains(vec!["example.org".parse().unwrap(), "example.net".parse().unwrap()]);
    office.run();
    office.until("a delivery and a return", |b| b.inbox().len() == 2).await;
    office.until_empty().await;
    assert!(host.got().is_empty());
    assert!(office.inbox().iter().any(|text| text.contains("nobody of that name lives here")));
}

#[tokio::test]
async fn mail_of_strangers_is_not_passed_on_whatever_the_door_says() {
    let office = Office::new(2, OutboundMode::Hold).await;
    for to in [&["bob@example.net"][..], &["alice@example.org", "bob@example.net"]] {
        let sent = office.send("eve@example.com", to, Source::Stranger).await;
        assert!(matches!(sent, Err(AcceptError::Relay(_))), "{sent:?}");
    }
    assert!(office.queue.list().unwrap().is_empty() && office.inbox().is_empty());
}

#[tokio::test]
async fn nothing_is_sent_that_could_not_be_written_down() {
    let host = Host::start("127.0.0.2:0").await;
    let (office, fail) = Office::failing(host.port()).await;
    office.world.load(".", ZONE).unwrap();
    let id = office.submit(&["bob@example.net"]).await.queued.unwrap();
    // It cannot be written down now: the attempt does not end before it is.
    fail(0);
    let attempt = office.queue.inner.attempt(id);
    assert!(tokio::time::timeout(Duration::from_secs(2), attempt).await.is_err(), "it was let go");
    assert_eq!(host.got().len(), 1);

    // The sync fails, and with it the store: the next attempt does not even begin.
    fail(1);
    office.queue.hold(id).await.unwrap_err();
    assert!(matches!(office.queue.inner.attempt(id).await, Err(QueueError::Store(_))));
    assert_eq!(host.got().len(), 1, "it was sent again");
}

#[tokio::test]
async fn what_the_former_queue_is_busy_with_is_not_begun_again() {
    let silent = tokio::net::TcpListener::bind("127.0.0.3:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut office = Office::new(port, OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    office.run();
    office.submit(&["x@second.example.net"]).await;
    let _first = silent.accept().await.unwrap();

    let Office { folder, store, accounts, world, clock, .. } = &office;
    let mode = OutboundMode::Direct;
    let parts = parts(folder.path(), store, accounts, world, clock, port, mode);
    let successor = office.queue.successor(parts).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { successor.run(stop).await }
    });
    let second = tokio::time::timeout(Duration::from_millis(500), silent.accept());
    assert!(second.await.is_err(), "two conversations about one message");
    stop.cancel();
    running.await.unwrap();
}
