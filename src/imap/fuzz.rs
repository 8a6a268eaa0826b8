//! Ways in for the fuzz targets of `tests/fuzz`: each takes any bytes and must come back, whatever
//! they are, and what it says of them must hold.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::command::{Names, Tag, append_head, parse, tag_of};
use super::desk::Desk;
use super::input::{Event, Input, Limits};
use super::question::{Answer, Question};
use super::respond::Output;
use super::session::{Effect, Session};
use crate::accounts::{AuthError, Login};
use crate::clock::{Clock, ClockTrust};
use crate::mail::structure::Structure;
use crate::mail::{MailboxName, SpecialUse};
use crate::net::Bindings;
use crate::search::Index;
use crate::store::{AccountId, Batch, Options, Store};

/// Inputs after which the store is begun anew.
const STORE_RUNS: u64 = 500;

/// One command, and what stands before the message of an APPEND.
pub fn command(bytes: &[u8]) {
    let tag = tag_of(bytes);
    for names in [Names::Utf7, Names::Utf8] {
        match parse(bytes, names) {
            Ok(command) => assert_eq!(Some(command.tag.as_str()), tag.as_ref().map(Tag::as_str)),
            Err(refused) => assert!(refused.tag.is_none() || refused.tag == tag, "another's tag"),
        }
        if let Some(Ok(head)) = append_head(bytes, names) {
            assert_eq!(Some(&head.tag), tag.as_ref());
        }
    }
}

/// Lines and literals out of bytes that come in pieces of any size.
pub fn literals(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let limits = Limits { line: 60, literal: 40, command: 150 };
    let (mut whole, mut pieces) = (Input::default(), Input::default());
    let (mut expected, mut events) = (Vec::new(), Vec::new());
    whole.feed(bytes);
    drain(&mut whole, limits, &mut expected);
    for piece in bytes.chunks(usize::from(*step).max(1)) {
        pieces.feed(piece);
        drain(&mut pieces, limits, &mut events);
        assert!(pieces.so_far().len() <= limits.command + 40, "more is kept than a command");
    }
    assert_eq!(events, expected, "pieces of another size give other commands");
}

fn drain(input: &mut Input, limits: Limits, events: &mut Vec<String>) {
    while let Some(event) = input.next(limits) {
        events.push(format!("{event:?}"));
        if let Event::Literal(marker) = event {
            match usize::try_from(marker.size) {
                Ok(size) if marker.size <= limits.literal => input.accept(size),
                _ => input.refuse(marker),
            }
        }
    }
}

/// A message's envelope and structure: whatever it is, one response that can be read.
pub fn structure(bytes: &[u8]) {
    let Ok(structure) = Structure::scan(bytes) else { return };
    let mut out = Output::default();
    let head = structure.root().head.as_deref().cloned().unwrap_or_default();
    out.envelope(&head).structure(&structure, true).structure(&structure, false);
    let said = out.take();
    let mut rest = said.as_slice();
    for _ in 0..3 {
        rest = list(rest, 0).unwrap_or_else(|| panic!("unreadable: {}", said.escape_ascii()));
    }
    assert!(rest.is_empty(), "more than was asked for");
}

/// What follows a list (RFC 3501 §9 `envelope`, `body`).
fn list(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"(").filter(|_| depth < 400)?;
    loop {
        match rest.first()? {
            b')' => return rest.get(1..),
            b'(' => rest = list(rest, depth + 1)?,
            b' ' => rest = rest.get(1..)?,
            b'"' => rest = quoted(rest.get(1..)?)?,
            b'{' => {
                let end = rest.windows(3).position(|three| three == b"}\r\n")?;
                let size: usize = std::str::from_utf8(rest.get(1..end)?).ok()?.parse().ok()?;
                rest = rest.get(end + 3 + size..)?;
            }
            byte if byte.is_ascii_alphanumeric() => rest = rest.get(1..)?,
            _ => return None,
        }
    }
}

fn quoted(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        match rest.first()? {
            b'"' => return rest.get(1..),
            b'\\' if matches!(rest.get(1)?, b'"' | b'\\') => rest = rest.get(2..)?,
            b'\\' | b'\r' | b'\n' | 0 => return None,
            _ => rest = rest.get(1..)?,
        }
    }
}

/// A message (all but the first line) is searched for by the first line: either it is found, or
/// the opposite is.
pub fn search(bytes: &[u8]) {
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    let (keys, message) = bytes.split_at(end);
    if keys.is_empty() || keys.iter().any(|b| matches!(b, b'\r' | b'{' | b'}')) {
        return;
    }
    with_house(|house| {
        let mut client = house.client();
        client.send(b"a LOGIN alice@example.org x\r\nb DELETE Box\r\nc CREATE Box\r\n");
        client.send(format!("d APPEND Box {{{}+}}\r\n", message.len()).as_bytes());
        client.send(message);
        client.send(b"\r\ne SELECT Box\r\n");
        if !client.out.windows(10).any(|ten| ten == b"* 1 EXISTS") {
            return;
        }
        client.out.clear();
        client.send(&[b"f UID SEARCH ", keys, b"\r\n"].concat());
        let found = client.found();
        client.out.clear();
        client.send(&[b"g UID SEARCH NOT (", keys, b")\r\n"].concat());
        // A character set or options of the answer cannot stand in parentheses.
        if let (Some(found), Some(opposite)) = (found, client.found()) {
            assert_ne!(found, opposite, "both or neither: {}", keys.escape_ascii());
        }
    });
}

/// Any bytes of somebody who has logged in, in pieces of any size.
pub fn session(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    with_house(|house| {
        let mut client = house.client();
        client.send(b"a LOGIN alice@example.org x\r\nb SELECT INBOX\r\n");
        for piece in bytes.chunks(usize::from(*step).max(1)) {
            client.send(piece);
        }
        assert!(client.out.is_empty() || client.out.ends_with(b"\r\n"), "half a response");
    });
}

/// Any bytes of a stranger, who is never let in.
pub fn stranger(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    with_house(|house| {
        let mut client = house.client();
        for piece in bytes.chunks(usize::from(*step).max(1)) {
            client.send(piece);
            assert!(client.closed || client.session.is_guest(), "a stranger is in");
        }
    });
}

/// A post office in which alice's password is always right when it is `x`.
struct House {
    runtime: Runtime,
    store: Store,
    search: Arc<Index>,
    runs: u64,
}

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn trust(&self) -> ClockTrust {
        ClockTrust::Synced
    }
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("pillarbox-fuzz-imap-{}", std::process::id()))
}

fn with_house(job: impl FnOnce(&House)) {
    static HOUSE: OnceLock<Mutex<Option<House>>> = OnceLock::new();
    let house = HOUSE.get_or_init(Mutex::default);
    let mut house = house.lock().unwrap_or_else(PoisonError::into_inner);
    if house.as_ref().is_none_or(|house| house.runs >= STORE_RUNS) {
        *house = None;
        let _ = std::fs::remove_dir_all(folder());
        *house = House::new();
    }
    if let Some(house) = house.as_mut() {
        house.runs += 1;
        job(house);
    }
}

impl House {
    fn new() -> Option<Self> {
        std::fs::create_dir_all(folder()).ok()?;
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let store = Store::open(&folder(), Options::default()).ok()?;
        let mut batch = Batch::new();
        let account = AccountId(1);
        batch.create_mailbox(account, MailboxName::inbox(), None);
        for special_use in SpecialUse::ALL {
            let name = special_use.default_name().parse().ok()?;
            batch.create_mailbox(account, name, Some(special_use));
        }
        runtime.block_on(store.commit(batch)).ok()?;
        let search = Arc::new(Index::open(&folder(), &store));
        Some(Self { runtime, store, search, runs: 0 })
    }

    fn client(&self) -> Client<'_> {
        let hostname = "mail.example.org".parse().expect("a host name");
        let search = Arc::clone(&self.search);
        let readers = Arc::new(Semaphore::new(1));
        let desk = Desk::new(self.store.clone(), search, Arc::new(Noon), readers);
        let session = Session::new(&hostname, Some(Bindings::default()), 1 << 20);
        Client { house: self, session, desk, out: Vec::new(), closed: false }
    }
}

/// One connection.
struct Client<'a> {
    house: &'a House,
    session: Session,
    desk: Desk,
    out: Vec<u8>,
    closed: bool,
}

impl Client<'_> {
    fn send(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        self.session.receive(bytes);
        while let Some(effect) = self.session.next() {
            match effect {
                Effect::Output(bytes) => self.out.extend_from_slice(&bytes),
                Effect::Ask(Question::Login { user, password }) => {
                    let right = user == "alice@example.org" && password.expose() == "x";
                    let address = "alice@example.org".parse().expect("an address");
                    let login = Login {
                        account: AccountId(1),
                        address,
                        device: None,
                        without: Arc::default(),
                        proof: [0; 16],
                    };
                    let answer = if right { Ok(login) } else { Err(AuthError::Wrong) };
                    self.session.answer(Answer::Login(answer));
                }
                Effect::Ask(Question::Salt(_)) => {
                    self.session.answer(Answer::Salt(Err(AuthError::Wrong)));
                }
                Effect::Ask(Question::Proof(_)) => {
                    self.session.answer(Answer::Proof(Err(AuthError::Wrong)));
                }
                Effect::Ask(question) => {
                    let answer = self.desk.answer(question, &mut self.out);
                    let answer = self.house.runtime.block_on(answer).expect("memory takes bytes");
                    self.session.answer(answer);
                }
                Effect::DropBody => self.desk.drop_body(),
                Effect::Client(name) => assert!(name.chars().count() <= 100, "a long name"),
                Effect::Compress(early) => self.session.receive(&early),
                Effect::StartTls => self.session.tls_started(Bindings::default()),
                Effect::Close => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    /// Whether the last search found anything; nothing when it was refused.
    fn found(&self) -> Option<bool> {
        let text = String::from_utf8_lossy(&self.out);
        let line = text.lines().find_map(|line| line.strip_prefix("* SEARCH"))?;
        Some(!line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The fuzz targets' own beginnings: what clients say in the dialogues and the letters in them, as
    /// they are and with bytes of them changed.
    #[test]
    fn what_clients_say_holds_even_when_it_is_broken() {
        let dialogs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
        let mut seed = 1_u64;
        for entry in fs::read_dir(&dialogs).expect("dialogues") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|extension| extension != "imap") {
                continue;
            }
            let script = fs::read_to_string(&path).expect("a script");
            let said = script.lines().filter_map(|line| line.strip_prefix("C: "));
            let said: Vec<String> = said.map(|line| format!("{line}\r\n")).collect();
            let whole = [&[255], said.concat().as_bytes()].concat();
            for bytes in [whole.clone(), damaged(&whole, &mut seed)] {
                session(&bytes);
                stranger(&bytes);
                literals(&bytes);
            }
            for line in &said {
                command(line.trim_end().as_bytes());
                command(&damaged(line.as_bytes(), &mut seed));
            }
        }
        for entry in fs::read_dir(dialogs.join("messages")).expect("letters") {
            let letter = fs::read(entry.expect("an entry").path()).expect("a letter");
            for _ in 0..20 {
                let letter = damaged(&letter, &mut seed);
                structure(&letter);
                let keys = b"OR SUBJECT \"tea\" NOT (BODY e HEADER To \"\")\n";
                search(&[keys.as_slice(), &letter].concat());
            }
        }
        let _ = fs::remove_dir_all(folder());
    }

    /// Some bytes changed.
    fn damaged(bytes: &[u8], seed: &mut u64) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..3 {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(*seed >> 33).unwrap_or(0) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = b"\r\n {}()\"\\*%\0\xffa1="[usize::try_from(*seed >> 60).unwrap_or(0)];
            }
        }
        bytes
    }
}
