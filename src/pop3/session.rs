//! The protocol, without I/O: what each line means in each state, and what is answered.
//!
//! A line gives a [`Step`]. Some steps are questions (is the password right?); the world answers
//! with the method the step names, which gives the next step.

use std::num::NonZeroUsize;

use super::command::{Command, CommandError, Number};
use super::login::{Pending, offered};
use super::remove::Removed;
use crate::accounts::AuthError;
use crate::accounts::sasl::scram::{Finding, Proof};
use crate::accounts::sasl::{Credentials, Exchange};
use crate::mail::{Domain, Uid, UidValidity};
use crate::net::{Bindings, LineError};

/// One client's session.
#[derive(Debug)]
pub struct Session {
    pub(super) state: State,
    hostname: Domain,
    /// What a login may be bound to; nothing in the clear.
    pub(super) tls: Option<Bindings>,
    /// The client takes UTF-8 in headers (RFC 6856 §2.1).
    utf8: bool,
    pub(super) failed_logins: u32,
    faults: u32,
}

#[derive(Debug)]
pub(super) enum State {
    /// Before login; the name that USER gave.
    Authorization { user: Option<String> },
    /// AUTH waits for the client's next line.
    Exchange(Pending),
    /// The salt for a login by proof is looked up.
    Finding(Finding),
    /// The login is being checked, then its mail looked up.
    Opening,
    /// Logged in.
    Transaction { drop: Maildrop, listing: Option<Listing> },
    /// QUIT was said, messages are being removed.
    Update,
    /// Over.
    Closed,
}

/// What the world has to do.
#[derive(Debug)]
pub enum Step {
    /// Send this, then whatever [`Session::more`] gives, then bring the next line.
    Reply(Vec<u8>),
    /// Send this, forget what the client has sent beyond, start TLS, call [`Session::secured`].
    StartTls(Vec<u8>),
    /// Is this login right? Answer with [`Session::checked`].
    Check(Credentials),
    /// Which salt belongs to this login? Answer with [`Session::salted`].
    Salt(String),
    /// Is this proof right? Answer with [`Session::proved`].
    Prove(Proof),
    /// The login whose proof was right stands: answer with [`Session::checked`].
    Open,
    /// Send the reply, then the message (or its header and `lines` lines), then bring the next
    /// line. When the message cannot be read, send nothing and call [`Session::unreadable`].
    Send {
        /// Goes before the message.
        reply: Vec<u8>,
        /// Which.
        uid: Uid,
        /// Lines of the body; all when nothing.
        lines: Option<u32>,
        /// As it is; otherwise in the form for clients that take ASCII alone in headers.
        utf8: bool,
    },
    /// Remove these durably, and answer with [`Session::removed`].
    Remove(Vec<Uid>),
    /// Send this and close.
    Close(Vec<u8>),
}

/// The messages as they are for the whole session (RFC 1939 §4), locked for this client.
#[derive(Debug, Clone)]
pub struct Maildrop {
    validity: UidValidity,
    items: Vec<Item>,
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    uid: Uid,
    size: u64,
    deleted: bool,
}

impl Maildrop {
    /// The messages in the order in which they are numbered.
    pub fn new(validity: UidValidity, items: Vec<Item>) -> Self {
        Self { validity, items }
    }

    /// Messages, marked ones included.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl Item {
    /// A message of `size` octets.
    pub fn new(uid: Uid, size: u64) -> Self {
        Self { uid, size, deleted: false }
    }
}

/// Why a login that is right gets no maildrop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFailure {
    /// Another POP3 session has it.
    InUse,
    /// It cannot be read now.
    Unavailable,
}

/// Why a message is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not there any more.
    Gone,
    /// It never can be again.
    Damaged,
    /// It cannot be read now.
    Now,
}

/// A list that is being sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing {
    what: Listed,
    next: usize,
}

#[derive(Debug, Clone, Copy)]
enum Listed {
    Sizes,
    Names,
}

/// Lines that make no sense before the connection is closed.
const MAX_FAULTS: u32 = 20;
/// Entries of a list that are put together at once.
const LIST_PIECE: usize = 500;

impl Session {
    /// A new connection; when TLS came first, with what it can be bound to.
    pub fn new(hostname: Domain, tls: Option<Bindings>) -> Self {
        let state = State::Authorization { user: None };
        Self { state, hostname, tls, utf8: false, failed_logins: 0, faults: 0 }
    }

    /// What is said first.
    pub fn greeting(&self) -> Vec<u8> {
        format!("+OK {} POP3 ready\r\n", self.hostname).into_bytes()
    }

    /// Longest line taken now, without CRLF.
    pub fn line_limit(&self) -> usize {
        match self.state {
            State::Exchange(_) => Exchange::LINE_MAX,
            // AUTH with an initial response; other commands are measured when parsed.
            State::Authorization { .. } if self.tls.is_some() => Exchange::LINE_MAX,
            _ => Command::LINE_MAX,
        }
    }

    /// Whether the client has logged in.
    pub fn is_logged_in(&self) -> bool {
        matches!(self.state, State::Transaction { .. } | State::Update)
    }

    /// The client's next line, or what was wrong with it.
    pub fn line(&mut self, line: Result<&[u8], LineError>) -> Step {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                if matches!(self.state, State::Exchange(_)) {
                    self.state = State::Authorization { user: None };
                }
                return self.fault(match error {
                    LineError::TooLong => "the line is too long",
                    LineError::Bare => "a line has to end with CR and LF",
                });
            }
        };
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Exchange(pending) => self.answered(pending, line),
            state => {
                self.state = state;
                match Command::parse(line) {
                    Ok(command) => self.command(command),
                    Err(error) => self.misunderstood(error),
                }
            }
        }
    }

    /// The next piece of a long reply, at most some kilobytes; nothing when it is complete.
    pub fn more(&mut self) -> Option<Vec<u8>> {
        let State::Transaction { drop, listing } = &mut self.state else { return None };
        let Listing { what, next } = (*listing)?;
        let end = next.saturating_add(LIST_PIECE).min(drop.items.len());
        let mut text = String::new();
        for (index, item) in drop.items.iter().enumerate().take(end).skip(next) {
            if !item.deleted {
                text.push_str(&drop.entry(what, index, item));
                text.push_str("\r\n");
            }
        }
        *listing = if end < drop.items.len() {
            Some(Listing { what, next: end })
        } else {
            text.push_str(".\r\n");
            None
        };
        Some(text.into_bytes())
    }

    /// TLS has started; everything said before is forgotten (RFC 2595 §4).
    pub fn secured(&mut self, bindings: Bindings) {
        self.tls = Some(bindings);
        self.utf8 = false;
        self.state = State::Authorization { user: None };
    }

    /// Answers [`Step::Check`] and [`Step::Open`]: the login was right and `open` gives its mail, or why not.
    pub fn checked(&mut self, result: Result<Result<Maildrop, OpenFailure>, AuthError>) -> Step {
        if !matches!(self.state, State::Opening) {
            return self.close("-ERR");
        }
        self.state = State::Authorization { user: None };
        match result {
            Ok(Ok(drop)) => {
                let count = drop.items.len();
                self.state = State::Transaction { drop, listing: None };
                ok(&format!("{count} messages"))
            }
            // RFC 2449 §8.1.2: the login was right, another session has the maildrop.
            Ok(Err(OpenFailure::InUse)) => err(
                "[IN-USE] another program is fetching this mail over POP3; try again in a minute",
            ),
            Ok(Err(OpenFailure::Unavailable)) => {
                err("[SYS/TEMP] the mail cannot be read now; try again later")
            }
            Err(error) => self.refused(&error),
        }
    }

    /// Answers [`Step::Send`] when the message cannot be read.
    pub fn unreadable(&mut self, why: Unreadable) -> Step {
        err(match why {
            Unreadable::Gone => "this message was removed by another program",
            // RFC 3206 §4: trying again does not help.
            Unreadable::Damaged => {
                "[SYS/PERM] the card has lost this message; the others can be fetched as before"
            }
            Unreadable::Now => "[SYS/TEMP] this message cannot be read now; try again later",
        })
    }

    /// Answers [`Step::Remove`]: what was durably done to how many, or nothing on failure.
    pub fn removed(&mut self, done: Option<Removed>) -> Step {
        match done {
            Some(Removed::Deleted(count)) => {
                self.close(&format!("+OK {count} messages removed, goodbye"))
            }
            Some(Removed::Trashed(count)) => {
                self.close(&format!("+OK {count} messages moved to the trash, goodbye"))
            }
            None => {
                self.close("-ERR [SYS/TEMP] the messages could not be removed and are still there")
            }
        }
    }

    fn command(&mut self, command: Command) -> Step {
        match (command, &mut self.state) {
            (Command::Capa, _) => self.capabilities(),
            (Command::Quit, State::Transaction { .. }) => self.update(),
            (Command::Quit, _) => self.close("+OK goodbye"),
            (Command::Stls, State::Authorization { .. }) if self.tls.is_some() => {
                err("the connection is under TLS already")
            }
            (Command::Stls, State::Authorization { .. }) => {
                Step::StartTls(b"+OK begin TLS\r\n".to_vec())
            }
            (
                Command::User(_) | Command::Pass(_) | Command::Auth { mechanism: Some(_), .. },
                State::Authorization { .. },
            ) if self.tls.is_none() => {
                // No code: [AUTH] would make phones ask for a new password.
                err("turn on SSL/TLS in your mail program first: a password must not be overheard")
            }
            (Command::User(name), State::Authorization { user }) => {
                *user = Some(name);
                ok("now the password")
            }
            (Command::Pass(password), State::Authorization { user }) => match user.take() {
                Some(login) => self.check(Credentials { login, password }),
                None => self.fault("USER comes before PASS"),
            },
            (Command::Auth { mechanism: None, .. }, State::Authorization { .. }) => {
                self.mechanisms()
            }
            (Command::Auth { mechanism: Some(name), initial }, State::Authorization { .. }) => {
                self.auth(&name, initial.as_ref().map(|initial| initial.expose().as_bytes()))
            }
            (Command::Utf8, State::Authorization { .. }) => {
                self.utf8 = true;
                ok("headers come in UTF-8")
            }
            (command, State::Transaction { .. }) => self.transact(&command),
            _ => self.fault("log in first"),
        }
    }

    fn transact(&mut self, command: &Command) -> Step {
        let utf8 = self.utf8;
        let State::Transaction { drop, listing } = &mut self.state else {
            return self.close("-ERR");
        };
        let answer = match *command {
            Command::Stat => {
                let (count, size) = drop.totals();
                Ok(ok(&format!("{count} {size}")))
            }
            Command::List(None) => {
                let (count, size) = drop.totals();
                *listing = Some(Listing { what: Listed::Sizes, next: 0 });
                Ok(ok(&format!("{count} messages ({size} octets)")))
            }
            Command::Uidl(None) => {
                *listing = Some(Listing { what: Listed::Names, next: 0 });
                Ok(ok("unique names follow"))
            }
            Command::List(Some(number)) => {
                drop.item(number).map(|item| ok(&drop.entry(Listed::Sizes, number.index(), item)))
            }
            Command::Uidl(Some(number)) => {
                drop.item(number).map(|item| ok(&drop.entry(Listed::Names, number.index(), item)))
            }
            Command::Retr(number) => drop.item(number).map(|item| Step::Send {
                reply: format!("+OK {} octets\r\n", item.size).into_bytes(),
                uid: item.uid,
                lines: None,
                utf8,
            }),
            Command::Top(number, lines) => drop.item(number).map(|item| Step::Send {
                reply: b"+OK top of message follows\r\n".to_vec(),
                uid: item.uid,
                lines: Some(lines),
                utf8,
            }),
            Command::Dele(number) => drop
                .mark(number)
                .map(|()| ok(&format!("message {} will be removed at QUIT", number.get()))),
            Command::Rset => {
                drop.items.iter_mut().for_each(|item| item.deleted = false);
                Ok(ok("nothing will be removed"))
            }
            Command::Noop => Ok(ok("still here")),
            _ => return self.fault("you are logged in already"),
        };
        answer.unwrap_or_else(|NoSuchMessage| err("no such message"))
    }

    fn update(&mut self) -> Step {
        let State::Transaction { drop, .. } = std::mem::replace(&mut self.state, State::Update)
        else {
            return self.close("-ERR");
        };
        let doomed: Vec<Uid> =
            drop.items.iter().filter(|item| item.deleted).map(|item| item.uid).collect();
        match NonZeroUsize::new(doomed.len()) {
            Some(_) => Step::Remove(doomed),
            None => self.close("+OK goodbye"),
        }
    }

    fn capabilities(&self) -> Step {
        // Who logs in again at once may do so (RFC 2449 §6.5), and nothing is removed that nobody
        // has asked to be removed (§6.7).
        let mut text = "+OK this server can\r\nTOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\n\
                        AUTH-RESP-CODE\r\nLOGIN-DELAY 0\r\nEXPIRE NEVER\r\nUTF8 USER\r\n"
            .to_owned();
        if let Some(bindings) = &self.tls {
            text.push_str("USER\r\nSASL ");
            text.push_str(&offered(bindings).join(" "));
            text.push_str("\r\n");
        } else {
            text.push_str("STLS\r\n");
        }
        text.push_str("IMPLEMENTATION Pillarbox\r\n.\r\n");
        Step::Reply(text.into_bytes())
    }

    fn mechanisms(&self) -> Step {
        let mut text = "+OK mechanisms follow\r\n".to_owned();
        for name in self.tls.as_ref().map(offered).unwrap_or_default() {
            text.push_str(name);
            text.push_str("\r\n");
        }
        text.push_str(".\r\n");
        Step::Reply(text.into_bytes())
    }

    fn misunderstood(&mut self, error: CommandError) -> Step {
        self.fault(&error.to_string())
    }

    pub(super) fn fault(&mut self, text: &str) -> Step {
        self.faults += 1;
        if self.faults >= MAX_FAULTS {
            return self.close("-ERR too many lines that make no sense; closing");
        }
        err(text)
    }

    pub(super) fn close(&mut self, text: &str) -> Step {
        self.state = State::Closed;
        Step::Close(format!("{text}\r\n").into_bytes())
    }
}

struct NoSuchMessage;

impl Maildrop {
    /// Number and size of what is not marked.
    fn totals(&self) -> (usize, u64) {
        let left = self.items.iter().filter(|item| !item.deleted);
        left.fold((0, 0), |(count, size), item| (count + 1, item.size.saturating_add(size)))
    }

    fn item(&self, number: Number) -> Result<&Item, NoSuchMessage> {
        self.items.get(number.index()).filter(|item| !item.deleted).ok_or(NoSuchMessage)
    }

    fn mark(&mut self, number: Number) -> Result<(), NoSuchMessage> {
        let item = self.items.get_mut(number.index()).filter(|item| !item.deleted);
        item.ok_or(NoSuchMessage)?.deleted = true;
        Ok(())
    }

    /// One line of a list: number and size, or number and a name that never changes
    /// (RFC 1939 §7 UIDL: 1 to 70 characters).
    fn entry(&self, what: Listed, index: usize, item: &Item) -> String {
        let number = index + 1;
        match what {
            Listed::Sizes => format!("{number} {}", item.size),
            Listed::Names => format!("{number} {}.{}", self.validity.0, item.uid.get()),
        }
    }
}

fn ok(text: &str) -> Step {
    Step::Reply(format!("+OK {text}\r\n").into_bytes())
}

pub(super) fn err(text: &str) -> Step {
    Step::Reply(format!("-ERR {text}\r\n").into_bytes())
}

#[cfg(test)]
mod tests;
