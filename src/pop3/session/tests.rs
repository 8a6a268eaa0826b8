#![allow(clippy::unwrap_used, reason = "a missing step is the failed test")]
//! Plays the chat scripts of `tests/dialogs/*.pop3` against the session: `C: ` lines are said,
//! `S: ` lines must be answered exactly, `#` begins a comment. A line `= word` changes the world:
//! `tls` (the connection begins under TLS), `busy` (another session has the maildrop), `broken`
//! (the store fails), `trash` (what is removed goes there), `gone` (IMAP removed the messages), `throttled`, `closed` (the connection
//! must be closed now).

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::accounts::sasl::scram::client::Scripted;

const MESSAGES: [&str; 3] = [
    "Subject: one\r\n\r\nfirst\r\n",
    "Subject: two\r\n\r\n.dot\r\n..dots\r\nlast",
    "Subject: three\r\n\r\n1\r\n2\r\n3\r\n",
];

/// Answers the session's questions as a small post office would.
#[derive(Default)]
struct World {
    /// The words that hold now.
    facts: HashSet<String>,
    closed: bool,
    removed: Vec<Uid>,
}

impl World {
    fn is(&self, fact: &str) -> bool {
        self.facts.contains(fact)
    }

    fn play(&mut self, session: &mut Session, mut step: Step) -> String {
        let mut said = String::new();
        let mut say = |bytes: Vec<u8>| said.push_str(&String::from_utf8(bytes).unwrap());
        loop {
            step = match step {
                Step::Reply(reply) => {
                    say(reply);
                    while let Some(more) = session.more() {
                        say(more);
                    }
                    return said;
                }
                Step::StartTls(reply) => {
                    say(reply);
                    session.secured(Bindings::default());
                    return said;
                }
                Step::Check(credentials) => {
                    let answer = self.check(&credentials);
                    session.checked(answer)
                }
                Step::Send { .. } if self.is("broken") || self.is("gone") => {
                    let gone = self.is("gone");
                    session.unreadable(if gone { Unreadable::Gone } else { Unreadable::Now })
                }
                Step::Salt(_) if self.is("throttled") => {
                    session.salted(Err(AuthError::Throttled(40)))
                }
                Step::Salt(_) => session.salted(Ok(Scripted::salted())),
                Step::Prove(proof) => {
                    let right = Scripted::new("correct horse").check("alice@example.org", &proof);
                    session.proved(right.ok_or(AuthError::Wrong))
                }
                Step::Open => {
                    let answer = self.open();
                    session.checked(Ok(answer))
                }
                Step::Send { reply, uid, lines, utf8 } => {
                    say(reply);
                    let index = usize::try_from(uid.get()).unwrap() / 10 - 1;
                    let mut transfer = super::super::transfer::Transfer::new(lines);
                    let mut out = Vec::new();
                    let mut ascii = Vec::new();
                    if utf8 {
                        ascii.extend_from_slice(MESSAGES[index].as_bytes());
                    } else {
                        let mut form = super::super::surrogate::Surrogate::default();
                        form.push(MESSAGES[index].as_bytes(), &mut ascii);
                        form.finish(&mut ascii);
                    }
                    transfer.push(&ascii, &mut out);
                    transfer.finish(&mut out);
                    say(out);
                    return said;
                }
                Step::Remove(uids) => {
                    let (count, trash) = (uids.len(), self.is("trash"));
                    let done =
                        if trash { Removed::Trashed(count) } else { Removed::Deleted(count) };
                    let done = (!self.is("broken")).then_some(done);
                    if done.is_some() {
                        self.removed.extend(uids);
                    }
                    session.removed(done)
                }
                Step::Close(reply) => {
                    say(reply);
                    self.closed = true;
                    return said;
                }
            };
        }
    }

    fn check(&self, credentials: &Credentials) -> Result<Result<Maildrop, OpenFailure>, AuthError> {
        if self.is("throttled") {
            return Err(AuthError::Throttled(40));
        }
        if credentials.login != "alice@example.org"
            || credentials.password.expose() != "correct horse"
        {
            return Err(AuthError::Wrong);
        }
        Ok(self.open())
    }

    fn open(&self) -> Result<Maildrop, OpenFailure> {
        if self.is("busy") {
            return Err(OpenFailure::InUse);
        }
        if self.is("broken") {
            return Err(OpenFailure::Unavailable);
        }
        let item =
            |(message, uid): (&&str, u32)| Item::new(Uid::new(uid).unwrap(), message.len() as u64);
        let items = MESSAGES.iter().zip([10, 20, 30]).map(item).collect();
        Ok(Maildrop::new(UidValidity(7.try_into().unwrap()), items))
    }
}

fn session(secure: bool) -> Session {
    Session::new("mail.example.org".parse().unwrap(), secure.then(Bindings::default))
}

/// Plays one script; the world is given back for a look at what was removed.
fn play(name: &str) -> World {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs").join(name);
    let script = fs::read_to_string(&path).unwrap();
    let mut world = World::default();
    let mut session = session(script.lines().any(|line| line == "= tls"));
    let mut said = String::from_utf8(session.greeting()).unwrap();
    for (number, line) in script.lines().enumerate() {
        let at = format!("{name}:{}", number + 1);
        if let Some(expected) = line.strip_prefix("S: ").or((line == "S:").then_some("")) {
            let (answer, rest) = said.split_once("\r\n").unwrap_or(("(nothing)", ""));
            assert_eq!(answer, expected, "{at}");
            said = rest.to_owned();
        } else if let Some(text) = line.strip_prefix("C: ").or((line == "C:").then_some("")) {
            assert_eq!(said, "", "{at}: the session said more");
            assert!(!world.closed, "{at}: the session is closed");
            let text = text.replace("{long}", &"x".repeat(300));
            let step = if text.len() > session.line_limit() {
                session.line(Err(LineError::TooLong))
            } else {
                session.line(Ok(text.as_bytes()))
            };
            said = world.play(&mut session, step);
        } else {
            match line {
                "= tls" => {}
                "= closed" => assert!(world.closed, "{at}: the session is open"),
                "= busy" | "= broken" | "= gone" | "= throttled" | "= trash" => {
                    world.facts.insert(line[2..].to_owned());
                }
                "= free" => {
                    world.facts.remove("busy");
                }
                _ => assert!(line.is_empty() || line.starts_with('#'), "{at}: {line:?}?"),
            }
        }
    }
    assert_eq!(said, "", "{name}: the session said more");
    world
}

#[test]
fn dialogs_go_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let mut played = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name).extension().is_some_and(|extension| extension == "pop3") {
            play(&name);
            played += 1;
        }
    }
    assert!(played >= 5, "only {played} dialogs found");
}

#[test]
fn only_quit_removes_and_only_what_is_marked() {
    let uids = |world: World| world.removed.iter().map(|uid| uid.get()).collect::<Vec<_>>();
    assert_eq!(uids(play("removal.pop3")), [10, 30]);
    assert_eq!(uids(play("removal-fails.pop3")), [0; 0]);
    assert_eq!(uids(play("fetch.pop3")), [0; 0]);
}

#[test]
fn long_lists_come_in_pieces() {
    let mut session = session(true);
    session.state = State::Opening;
    let items = (1..=1200).map(|uid| Item::new(Uid::new(uid).unwrap(), 5)).collect();
    let drop = Maildrop::new(UidValidity(7.try_into().unwrap()), items);
    session.checked(Ok(Ok(drop)));
    session.line(Ok(b"DELE 700"));
    session.line(Ok(b"UIDL"));
    let mut text = String::new();
    let mut pieces = 0;
    while let Some(piece) = session.more() {
        assert!(piece.len() < 16_000);
        text.push_str(&String::from_utf8(piece).unwrap());
        pieces += 1;
    }
    assert_eq!(pieces, 3);
    assert_eq!(text.lines().count(), 1199 + 1);
    assert!(text.contains("\r\n1200 7.1200\r\n.\r\n") && !text.contains("\r\n700 "));
}

#[test]
fn nonsense_ends_in_a_closed_connection() {
    for first in ["", "NONSENSE"] {
        let (mut world, mut session) = (World::default(), session(true));
        let mut lines = 0;
        while !world.closed {
            let step = session.line(Ok(first.as_bytes()));
            assert!(world.play(&mut session, step).starts_with("-ERR "));
            lines += 1;
        }
        assert_eq!(lines, MAX_FAULTS);
    }
}

proptest! {
    #[test]
    fn no_input_makes_a_session_panic_or_talk_out_of_turn(
        secure: bool,
        logged_in: bool,
        lines in prop::collection::vec(
            prop_oneof![
                any::<Vec<u8>>(),
                "(USER|PASS|AUTH|AUTH PLAIN|AUTH LOGIN|CAPA|STLS|QUIT|STAT|LIST|UIDL|RETR|TOP|DELE|\
                 RSET|NOOP|UTF8|AUTH SCRAM-SHA-256)( [0-4]){0,2}"
                    .prop_map(String::into_bytes),
            ],
            0..40,
        ),
    ) {
        let (mut world, mut session) = (World::default(), session(secure));
        if logged_in && secure {
            for line in [&b"USER alice@example.org"[..], b"PASS correct horse"] {
                let step = session.line(Ok(line));
                world.play(&mut session, step);
            }
            prop_assert!(session.is_logged_in());
        }
        for line in lines {
            if world.closed {
                break;
            }
            let step = session.line(Ok(&line));
            let said = world.play(&mut session, step);
            prop_assert!(["+OK", "-ERR ", "+ "].iter().any(|start| said.starts_with(start)));
            prop_assert!(said.ends_with("\r\n"));
            prop_assert!(!said.lines().any(|line| line.contains('\r')));
        }
    }
}
