//! The scripts in `tests/dialogs/*.imap` played against the session and a real store, and what no
//! script can say. A script is read as a conversation; see `tests/dialogs/README.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here is the failed test")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, broadcast};

use super::desk::Desk;
use super::question::{Answer, Question};
use super::session::{Effect, Session};
use crate::accounts::sasl::scram::client::Scripted;
use crate::accounts::{AuthError, Login};
use crate::clock::{Clock, ClockTrust};
use crate::mail::{Flags, MailboxName, SpecialUse};
use crate::net::Bindings;
use crate::search::Index;
use crate::store::{AccountId, Batch, Change, Options, Quota, Store, StoreError};
use crate::summary::Summaries;

mod items;
mod model;
mod news;
mod responses;
mod resync;
mod search;
mod socket;
mod waiting;

const ALICE: AccountId = AccountId(1);

#[test]
fn every_dialog_goes_as_written_however_its_bytes_arrive() {
    let mut scripts = 0;
    for entry in fs::read_dir(dialogs()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "imap") {
            let script = fs::read_to_string(&path).unwrap();
            for (piece, indexed) in [(usize::MAX, true), (1, false), (7, false)] {
                play(&path.display().to_string(), &script, piece, indexed);
            }
            scripts += 1;
        }
    }
    assert!(scripts >= 10, "only {scripts} scripts were found");
}

#[test]
fn a_large_message_passes_in_pieces() {
    let house = House::new();
    let mut client = house.client(993);
    client.log_in();
    client.send(b"s SELECT INBOX\r\n", usize::MAX);
    let line = |i| format!("line {i} of a large message\r\n");
    let body = (0..60_000).map(line).collect::<Vec<_>>().concat();
    let message = format!("Subject: large\r\n\r\n{body}");
    let append = format!("a APPEND INBOX {{{}+}}\r\n{message}\r\n", message.len());
    client.out.clear();
    client.send(append.as_bytes(), 16 << 10);
    assert!(client.text().contains("a OK [APPENDUID "), "{}", client.text());
    client.out.clear();
    client.largest = 0;
    client.send(b"f FETCH 1 BODY.PEEK[]\r\n", usize::MAX);
    let expected = format!("* 1 FETCH (BODY[] {{{}}}\r\n{message})\r\n", message.len());
    assert!(client.text().starts_with(&expected));
    assert!(client.largest <= 128 << 10, "{} bytes at once", client.largest);
    client.out.clear();
    client.send(b"p FETCH 1 BODY.PEEK[TEXT]<100000.200000>\r\n", usize::MAX);
    let part = &body[100_000..300_000];
    let expected = format!("* 1 FETCH (BODY[TEXT]<100000> {{200000}}\r\n{part})\r\n");
    assert!(client.text().starts_with(&expected));
}

#[test]
fn a_message_over_the_limit_is_refused_and_the_next_command_is_intact() {
    let house = House::new();
    let mut client = house.client(993);
    client.log_in();
    client.out.clear();
    let size = House::MESSAGE_SIZE + 1;
    let mut bytes = format!("a APPEND INBOX {{{size}+}}\r\n").into_bytes();
    bytes.resize(bytes.len() + usize::try_from(size).unwrap(), b'x');
    bytes.extend_from_slice(b"\r\nb NOOP\r\n");
    client.send(&bytes, 16 << 10);
    assert!(client.text().starts_with("a NO [TOOBIG] "));
    assert!(client.text().ends_with("b OK NOOP completed\r\n"));
}

#[test]
fn an_endless_line_needs_no_memory_and_harms_no_other() {
    let house = House::new();
    let mut client = house.client(993);
    client.out.clear();
    for _ in 0..200 {
        client.send(&[b'x'; 1000], usize::MAX);
        assert!(client.session.input.pending() <= 8 << 10);
    }
    client.send(b"\r\na NOOP\r\n", usize::MAX);
    assert_eq!(client.text(), "* BAD The line is too long\r\na OK NOOP completed\r\n");
}

#[test]
fn nothing_in_a_message_or_name_can_begin_a_line() {
    let house = House::new();
    let evil = "Subject: a\u{1}\"b\\ {5}\r\nFrom: \"x\\\r\n * BYE\" <a@b>\r\n\
        Content-Type: text/plain; name=\"a\rb\"; x=\"ü\0\"\r\n\r\nx\r\n";
    house.deliver(evil.as_bytes());
    let mut client = house.client(993);
    client.log_in();
    client.send(b"s SELECT INBOX\r\n", usize::MAX);
    client.out.clear();
    client.send(b"f FETCH 1 (ENVELOPE BODYSTRUCTURE)\r\n", usize::MAX);
    let responses = client.text().split("\r\n").filter(|line| line.starts_with("* ")).count();
    assert_eq!(responses, 1, "{}", client.text());
    assert!(!client.text().contains("\r\n* BYE") && !client.text().contains("\r\n * BYE"));
    assert!(!client.text().contains('\0'));
}

#[test]
fn a_full_account_is_told_before_the_message_comes_and_can_still_move_and_delete() {
    let house = House::new();
    house.deliver(b"Subject: x\r\n\r\nhello\r\n");
    let mut batch = Batch::new();
    batch.set_quota(ALICE, Quota { bytes: Some(40), messages: None });
    house.runtime.block_on(house.store.commit(batch)).unwrap();
    let mut client = house.client(993);
    client.log_in();
    client.send(b"s SELECT INBOX\r\n", usize::MAX);
    client.out.clear();
    client.send(b"a APPEND INBOX {100}\r\n", usize::MAX);
    assert!(client.text().starts_with("a NO [OVERQUOTA] "), "{}", client.text());
    client.out.clear();
    client.send(b"b COPY 1 Drafts\r\n", usize::MAX);
    assert!(client.text().starts_with("b NO [OVERQUOTA] "), "{}", client.text());
    client.out.clear();
    client.send(b"c MOVE 1 Trash\r\nd SELECT Trash\r\n", usize::MAX);
    client.send(b"e STORE 1 +FLAGS (\\Deleted)\r\nf EXPUNGE\r\n", usize::MAX);
    client.send(b"g APPEND INBOX {3+}\r\nabc\r\n", usize::MAX);
    for tag in ["c", "d", "e", "f", "g"] {
        assert!(client.text().contains(&format!("\r\n{tag} OK ")), "{}", client.text());
    }
}

#[test]
fn a_store_that_fails_ends_idle_instead_of_being_asked_for_ever() {
    let house = House::new();
    let mut client = house.client(993);
    client.log_in();
    client.send(b"s SELECT INBOX\r\ni IDLE\r\n", usize::MAX);
    client.session.changed(None);
    let mut asked = 0;
    while let Some(effect) = client.session.next() {
        match effect {
            Effect::Ask(_) if asked == 10 => panic!("asked on and on"),
            Effect::Ask(_) => {
                asked += 1;
                client.session.answer(Answer::Changes(Err(StoreError::Closed)));
            }
            Effect::Output(bytes) => client.out.extend_from_slice(&bytes),
            Effect::Close => client.closed = true,
            effect => panic!("{effect:?}"),
        }
    }
    assert!(client.closed && client.text().contains("* BYE [UNAVAILABLE]"), "{}", client.text());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn pieces_do_not_change_the_outcome(
        commands in proptest::collection::vec(prop_oneof![
            Just("x NOOP\r\n"), Just("x SELECT INBOX\r\n"), Just("x SELECT {5}\r\nINBOX\r\n"),
            Just("x APPEND INBOX (\\Seen) {3+}\r\nabc\r\n"), Just("x APPEND INBOX {3}\r\nabc\r\n"),
            Just("x APPEND {5+}\r\nINBOX {2+}\r\nab more\r\n"), Just("x IDLE\r\nDONE\r\n"),
            Just("x FETCH 1:* (FLAGS BODY[])\r\n"), Just("x LIST \"\" {1+}\r\n*\r\n"),
            Just("\r\n"), Just("x\r\n"), Just("* {3+}\r\nabc\r\n"), Just("x SEARCH TEXT {99999+}\r\n"),
            Just("x STORE 1 +FLAGS.SILENT (\\Deleted)\r\n"), Just("x EXPUNGE\r\n"),
            Just("a\nb\r\n"), Just("x AUTHENTICATE PLAIN\r\n*\r\n"), Just("x LOGOUT\r\n"),
        ], 0..12),
        step in 1_usize..20,
    ) {
        let run = |step| {
            let house = House::new();
            let mut client = house.client(993);
            client.log_in();
            client.send(commands.concat().as_bytes(), step);
            let inbox = house.store.find_mailbox(ALICE, &MailboxName::inbox()).unwrap().unwrap();
            client.text().replace(&inbox.uid_validity.0.to_string(), "VALIDITY")
        };
        prop_assert_eq!(run(usize::MAX), run(step));
    }

    #[test]
    fn random_bytes_never_break_a_session(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        port in prop_oneof![Just(143_u16), Just(993)],
    ) {
        let house = House::new();
        let mut client = house.client(port);
        client.send(&bytes, usize::MAX);
        client.session.input.clear();
        client.out.clear();
        if !client.closed {
            client.send(b"a NOOP\r\n", usize::MAX);
            prop_assert!(client.text().ends_with("a OK NOOP completed\r\n"));
        }
    }
}

fn dialogs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs")
}

fn play(name: &str, script: &str, piece: usize, indexed: bool) {
    let house = House { indexed, ..House::new() };
    let mut port = 993;
    let mut lines: VecDeque<(usize, &str)> = script
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .collect();
    if let Some((_, word)) = lines.front().filter(|(_, line)| line.starts_with("port ")) {
        port = word.trim_start_matches("port ").parse().unwrap();
        lines.pop_front();
    }
    let mut client = house.client(port);
    let mut other: Option<Client<'_>> = None;
    let (mut pending, mut transcript) = (Vec::new(), Vec::new());
    for (number, line) in lines {
        let place = format!("{name}:{number} (in pieces of {piece})");
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !matches!(word, "C:" | "C>") && !pending.is_empty() {
            client.send(&std::mem::take(&mut pending), piece);
        }
        match word {
            "C:" => pending.extend_from_slice(format!("{rest}\r\n").as_bytes()),
            "C>" => pending.extend_from_slice(&unescape(rest)),
            "S:" => {
                let said = client.line();
                transcript.extend_from_slice(said.as_bytes());
                transcript.extend_from_slice(b"\r\n");
                assert!(matches(rest, &said), "{place}: expected {rest:?}, got {said:?}");
            }
            "tls" => client.handshake(),
            "deliver" => {
                let text = fs::read_to_string(dialogs().join("messages").join(rest)).unwrap();
                house.deliver(text.replace('\n', "\r\n").as_bytes());
                client.pump();
            }
            "2:" => {
                let other = other.get_or_insert_with(|| {
                    let mut other = house.client(993);
                    other.log_in();
                    other
                });
                other.out.clear();
                other.send(format!("2 {rest}\r\n").as_bytes(), usize::MAX);
                assert!(other.text().contains("2 OK"), "{place}: {}", other.text());
                client.pump();
            }
            "quota" => {
                let (bytes, messages) = rest.split_once(' ').unwrap();
                let quota = Quota { bytes: bytes.parse().ok(), messages: messages.parse().ok() };
                let mut batch = Batch::new();
                batch.set_quota(ALICE, quota);
                house.runtime.block_on(house.store.commit(batch)).unwrap();
            }
            "without" => {
                *house.without.borrow_mut() = rest.split(' ').map(str::to_owned).collect();
            }
            "introduced" => assert_eq!(client.introduced, [rest], "{place}"),
            "closed" => assert!(client.closed, "{place}: the connection is open"),
            _ => panic!("{place}: unknown word {word}"),
        }
    }
    client.send(&pending, piece);
    assert_eq!(client.text(), "", "{name} (in pieces of {piece}): said more than was written");
    let read = responses::read_all(&transcript);
    assert!(matches!(read, Ok(1..)), "{name}: no client can read this: {read:?}");
}

/// `…` in a pattern stands for anything; the end may always be missing.
fn matches(pattern: &str, line: &str) -> bool {
    let mut rest = line;
    for (i, part) in pattern.split('…').enumerate() {
        let Some(at) = rest.find(part).filter(|at| i > 0 || *at == 0) else { return false };
        rest = &rest[at + part.len()..];
    }
    pattern.ends_with('…') || pattern.contains('…') || rest.is_empty()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b'0') => 0,
                Some(other) => other,
                None => b'\\',
            },
            byte => byte,
        });
    }
    bytes
}

/// A post office with one account and a clock that stands still.
struct House {
    runtime: Runtime,
    store: Store,
    search: Arc<Index>,
    summaries: Arc<Summaries>,
    /// Whether index and summaries are up to date at every search and FETCH; otherwise they know
    /// nothing.
    indexed: bool,
    folder: TempDir,
    /// Extensions the account is kept from.
    without: RefCell<Arc<[String]>>,
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn trust(&self) -> ClockTrust {
        ClockTrust::Synced
    }
}

impl House {
    const MESSAGE_SIZE: u64 = 4 << 20;

    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let store = Store::open(folder.path(), options).unwrap();
        let mut batch = Batch::new();
        batch.create_mailbox(ALICE, MailboxName::inbox(), None);
        for special_use in SpecialUse::ALL {
            let name = special_use.default_name().parse().unwrap();
            batch.create_mailbox(ALICE, name, Some(special_use));
        }
        runtime.block_on(store.commit(batch)).unwrap();
        let search = Arc::new(Index::open(folder.path(), &store));
        let summaries = Arc::new(Summaries::open(folder.path(), &store));
        let without = RefCell::default();
        Self { runtime, store, search, summaries, indexed: false, folder, without }
    }

    fn login(&self) -> Login {
        let address = "alice@example.org".parse().unwrap();
        let without = self.without.borrow().clone();
        Login { account: ALICE, address, device: None, without, proof: [0; 16] }
    }

    fn deliver(&self, message: &[u8]) {
        self.deliver_with(&[""], message);
    }

    /// One body for several, each with header fields of its own.
    fn deliver_with(&self, prefixes: &[&str], message: &[u8]) {
        self.runtime.block_on(async {
            let inbox = self.store.find_mailbox(ALICE, &MailboxName::inbox()).unwrap().unwrap();
            let mut writer = self.store.new_body();
            writer.write(message).await.unwrap();
            let body = writer.finish().await.unwrap();
            let mut batch = Batch::new();
            for prefix in prefixes {
                batch.add_message(inbox.id, prefix.as_bytes(), &body, Flags::none(), Noon.now());
            }
            self.store.commit(batch).await.unwrap();
        });
    }

    fn client(&self, port: u16) -> Client<'_> {
        let hostname = "mail.example.org".parse().unwrap();
        let mut client = Client {
            house: self,
            session: Session::new(
                &hostname,
                (port == 993).then(Bindings::default),
                Self::MESSAGE_SIZE,
            ),
            desk: Desk::new(
                self.store.clone(),
                Arc::clone(&self.search),
                Arc::new(Noon),
                Arc::new(Semaphore::new(1)),
            )
            .with_summaries(Some(Arc::clone(&self.summaries))),
            changes: self.store.changes(),
            out: Vec::new(),
            largest: 0,
            handshake: false,
            closed: false,
            introduced: Vec::new(),
        };
        client.pump();
        client
    }
}

/// Alice's, however it came about.
/// Logins by proof, always with the same salt and nonce, so that a script can know the answers.
fn scripted() -> Scripted {
    Scripted::new("wonderland-7")
}

/// One connection; what the session says gathers in `out`.
struct Client<'a> {
    house: &'a House,
    session: Session,
    desk: Desk,
    changes: broadcast::Receiver<Change>,
    out: Vec<u8>,
    largest: usize,
    handshake: bool,
    closed: bool,
    /// Who it said it is.
    introduced: Vec<String>,
}

impl Client<'_> {
    fn send(&mut self, bytes: &[u8], piece: usize) {
        for piece in bytes.chunks(piece.min(bytes.len()).max(1)) {
            if !self.closed {
                self.session.receive(piece);
                self.pump();
            }
        }
    }

    fn pump(&mut self) {
        self.catch_up();
        while !self.handshake && !self.closed {
            let Some(effect) = self.session.next() else { return };
            match effect {
                Effect::Output(bytes) => self.out.extend_from_slice(&bytes),
                Effect::Ask(Question::Login { user, password }) => {
                    let right = user == "alice@example.org" && password.expose() == "wonderland-7";
                    let answer = if right { Ok(self.house.login()) } else { Err(AuthError::Wrong) };
                    self.session.answer(Answer::Login(answer));
                }
                Effect::Ask(Question::Salt(_)) => {
                    self.session.answer(Answer::Salt(Ok(Scripted::salted())));
                }
                Effect::Ask(Question::Proof(proof)) => {
                    let right = scripted().check("alice@example.org", &proof);
                    let login = |signature| (self.house.login(), signature);
                    let answer = right.map(login).ok_or(AuthError::Wrong);
                    self.session.answer(Answer::Proof(answer));
                }
                Effect::Ask(question) => {
                    if self.house.indexed && matches!(question, Question::Search(_)) {
                        self.house.search.catch_up(&self.house.store).unwrap();
                    }
                    if self.house.indexed && matches!(question, Question::Fetch(_)) {
                        self.house.summaries.catch_up(&self.house.store).unwrap();
                    }
                    let mut writer = Watched { out: &mut self.out, largest: &mut self.largest };
                    let answer = self.desk.answer(question, &mut writer);
                    let answer = self.house.runtime.block_on(answer).unwrap();
                    self.catch_up();
                    self.session.answer(answer);
                }
                Effect::DropBody => self.desk.drop_body(),
                Effect::Client(name) => self.introduced.push(name),
                Effect::Compress(early) => self.session.receive(&early),
                Effect::StartTls => self.handshake = true,
                Effect::Close => self.closed = true,
            }
        }
    }

    fn catch_up(&mut self) {
        while let Ok(change) = self.changes.try_recv() {
            self.session.changed(Some(&change));
        }
    }

    fn handshake(&mut self) {
        assert!(std::mem::take(&mut self.handshake), "TLS was not agreed on");
        self.session.tls_started(Bindings::default());
        self.pump();
    }

    fn log_in(&mut self) {
        self.send(b"l LOGIN alice@example.org wonderland-7\r\n", usize::MAX);
        assert!(self.text().contains("l OK"), "{}", self.text());
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("only texts in these tests")
    }

    /// Takes the next line.
    fn line(&mut self) -> String {
        let Some(end) = self.out.windows(2).position(|pair| pair == b"\r\n") else {
            return format!("(nothing more but {:?})", self.text());
        };
        let line: Vec<u8> = self.out.drain(..end + 2).collect();
        String::from_utf8(line[..end].to_vec()).unwrap()
    }
}

/// Notes how much is written at once.
struct Watched<'a> {
    out: &'a mut Vec<u8>,
    largest: &'a mut usize,
}

impl tokio::io::AsyncWrite for Watched<'_> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        *self.largest = (*self.largest).max(bytes.len());
        self.out.extend_from_slice(bytes);
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
