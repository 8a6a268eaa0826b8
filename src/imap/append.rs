//! APPEND (RFC 3501 §6.3.11) of one message or several (RFC 3502), and REPLACE (RFC 8508): the
//! messages go to the store as they come, never held here, and count all together or not at all.

use bytes::Bytes;

use crate::mail::Uid;
use crate::store::{AccountId, MailboxId, Outcome, StoreError};

use super::binary::{Binary, UNKEPT, Unkept};
use super::command::{AppendHead, Form, MessageHead, Reason, Refused, Replaced, Tag, next_message};
use super::input::Marker;
use super::question::Question;
use super::respond::{refusal, uid_set};
use super::session::{Effect, Mode, Session, State};
use super::view::Expunges;

/// Most messages of one APPEND: each may hold some memory until all have come.
const MOST: usize = 50;
const NO_MAILBOX: &str = "[TRYCREATE] There is no such mailbox: create it first";

/// An APPEND whose messages are coming.
pub(super) struct Append {
    tag: Tag,
    account: AccountId,
    mailbox: MailboxId,
    /// The message that goes away for the new one.
    instead_of: Option<(MailboxId, Uid)>,
    message: MessageHead,
    /// Bytes of it still to come.
    left: u64,
    /// A message that is looked through for zero bytes first.
    binary: Option<Binary>,
    /// Messages begun, and their bytes.
    count: usize,
    size: u64,
    /// The rest is thrown away.
    failed: Option<String>,
}

impl Session {
    pub(super) fn append(
        &mut self,
        account: AccountId,
        head: Result<AppendHead, Refused>,
        marker: Marker,
    ) {
        let AppendHead { tag, name, replaces, message } = match head {
            Ok(head) => head,
            Err(refused) => {
                self.input.refuse(marker);
                return self.refuse(&refused);
            }
        };
        let instead_of = match replaces.map(|replaced| self.replaced(&replaced)).transpose() {
            Ok(found) => found,
            Err(answer) => {
                self.input.refuse(marker);
                return match answer {
                    Wrong::Client(text) => self.bad(&tag, text),
                    Wrong::Now(text) => self.no(&tag, text),
                };
            }
        };
        if let Some(text) = self.refusal_of(&message, marker, 0) {
            self.input.refuse(marker);
            return self.no(&tag, &text);
        }
        self.ask_mailbox(account, name, move |session, answer| match answer {
            Ok(Some(mailbox)) => {
                let append = Append {
                    tag,
                    account,
                    mailbox: mailbox.id,
                    instead_of,
                    message,
                    left: 0,
                    binary: None,
                    count: 0,
                    size: 0,
                    failed: None,
                };
                session.begin(append, marker);
            }
            Ok(None) => {
                session.input.refuse(marker);
                session.no(&tag, NO_MAILBOX);
            }
            Err(error) => {
                session.input.refuse(marker);
                session.failed(&tag, &error);
            }
        });
    }

    /// The one message that REPLACE names (RFC 8508 §3.2).
    fn replaced(&self, replaced: &Replaced) -> Result<(MailboxId, Uid), Wrong> {
        let State::Selected(_, view) = &self.state else {
            return Err(Wrong::Client("Select a mailbox first"));
        };
        match *view.targets(&replaced.set, replaced.uid) {
            _ if view.read_only => {
                Err(Wrong::Now("[CANNOT] The mailbox was opened for reading only"))
            }
            [target] => Ok((view.mailbox, target.uid)),
            [] if replaced.uid => Err(Wrong::Now("[NONEXISTENT] There is no message of that UID")),
            [] => Err(Wrong::Client("There is no message of that number")),
            _ => Err(Wrong::Client("REPLACE takes one message")),
        }
    }

    /// Why a message is not taken, before any of it has come.
    fn refusal_of(&self, message: &MessageHead, marker: Marker, before: u64) -> Option<String> {
        let most = self.message_size;
        if marker.size > most {
            // RFC 7889 §4.
            return Some(format!("[TOOBIG] A message may have at most {most} bytes"));
        }
        if marker.size.saturating_add(before) > most {
            return Some(format!(
                "[LIMIT] The messages of one APPEND may have at most {most} bytes together: send \
                 them one by one"
            ));
        }
        if marker.size == 0 {
            // RFC 3502: so a client takes the whole command back.
            return Some("[CANNOT] A message of no bytes is not kept".to_owned());
        }
        if message.form == Form::Utf8 && !self.enabled.utf8 {
            return Some("[CANNOT] ENABLE UTF8=ACCEPT comes first".to_owned());
        }
        None
    }

    /// The next message comes.
    fn begin(&mut self, mut append: Append, marker: Marker) {
        append.left = marker.size;
        append.count += 1;
        append.size += marker.size;
        append.binary = match append.message.form {
            Form::Literal => None,
            Form::Literal8 | Form::Utf8 => Some(Binary::of(marker.size)),
        };
        // What is replaced gives its room, which the commit knows.
        let size = if append.instead_of.is_some() { 0 } else { append.size };
        let question = Question::BodyStart { account: append.account, size };
        self.ask_body(question, move |session, answer| match answer {
            Ok(()) => {
                if marker.waits {
                    session.out.raw("+ Ready\r\n");
                }
                session.input.stream();
                session.mode = Mode::Append(append);
            }
            Err(error) => {
                session.input.refuse(marker);
                session.effect(Effect::DropBody);
                session.failed(&append.tag, &error);
            }
        });
    }

    /// Takes what came of a message, or the line after it; whether there was either.
    pub(super) fn append_step(&mut self, mut append: Append) -> bool {
        if append.left > 0 {
            let bytes = self.input.take(append.left);
            if bytes.is_empty() {
                self.mode = Mode::Append(append);
                return false;
            }
            append.left -= bytes.len() as u64;
            self.take_bytes(append, bytes);
            return true;
        }
        let Some(line) = self.input.line(self.limits()) else {
            self.mode = Mode::Append(append);
            return false;
        };
        match line {
            Ok(line) => self.after_message(append, &line),
            Err(text) => {
                self.effect(Effect::DropBody);
                self.bad(&append.tag, text);
            }
        }
        true
    }

    fn take_bytes(&mut self, mut append: Append, bytes: Bytes) {
        let last = append.left == 0;
        let taken = match &mut append.binary {
            _ if append.failed.is_some() => Ok(None),
            None => Ok(Some(bytes)),
            Some(binary) => binary.take(bytes, last),
        };
        let pieces = taken.unwrap_or_else(|Unkept| {
            append.failed = Some(UNKEPT.to_owned());
            None
        });
        let Some(bytes) = pieces else {
            self.mode = Mode::Append(append);
            return;
        };
        self.ask_body(Question::BodyBytes(bytes), move |session, answer| {
            append.failed = answer.err().map(|error| refusal(&error).to_owned());
            session.mode = Mode::Append(append);
        });
    }

    /// The rest of the line behind a message: nothing, or what stands before the next one.
    fn after_message(&mut self, append: Append, line: &[u8]) {
        let (marker, head) = match Marker::at_end_of(line) {
            Some((marker, brace)) => (Some(marker), line.get(..brace).unwrap_or_default()),
            None => (None, line),
        };
        match self.check_next(&append, marker, head) {
            Ok(next) => {
                let MessageHead { flags, date, .. } = append.message.clone();
                self.ask_body(Question::BodyEnd { flags, date }, move |session, answer| {
                    match (answer, next.zip(marker)) {
                        (Err(error), _) => {
                            if let Some(marker) = marker {
                                session.input.refuse(marker);
                            }
                            session.effect(Effect::DropBody);
                            session.failed(&append.tag, &error);
                        }
                        (Ok(()), Some((message, marker))) => {
                            session.begin(Append { message, ..append }, marker);
                        }
                        (Ok(()), None) => session.keep(append),
                    }
                });
            }
            Err(answer) => {
                // The next message, already under way, is no command.
                if let Some(marker) = marker {
                    self.input.refuse(marker);
                }
                self.effect(Effect::DropBody);
                match answer {
                    Refusal::Now(text) => self.no(&append.tag, &text),
                    Refusal::Client(reason) => {
                        self.refuse(&Refused { tag: Some(append.tag), reason });
                    }
                }
            }
        }
    }

    /// What stands before the next message, if there is one.
    fn check_next(
        &self,
        append: &Append,
        marker: Option<Marker>,
        line: &[u8],
    ) -> Result<Option<MessageHead>, Refusal> {
        if let Some(text) = &append.failed {
            return Err(Refusal::Now(text.clone()));
        }
        let line = match append.message.form {
            Form::Utf8 => line.strip_prefix(b")"),
            _ => Some(line),
        };
        let line = line.ok_or(Reason::Syntax("UTF8 has no end"))?;
        let Some(marker) = marker else {
            return match line.trim_ascii() {
                b"" => Ok(None),
                _ => Err(Reason::Syntax("a message has to be a literal").into()),
            };
        };
        let next = next_message(line)?;
        if append.instead_of.is_some() {
            return Err(Reason::Syntax("REPLACE takes one message").into());
        }
        if append.count >= MOST {
            let text = format!("[LIMIT] One APPEND takes {MOST} messages at most");
            return Err(Refusal::Now(text));
        }
        match self.refusal_of(&next, marker, append.size) {
            Some(text) => Err(Refusal::Now(text)),
            None => Ok(Some(next)),
        }
    }

    /// All messages have come.
    fn keep(&mut self, append: Append) {
        let Append { tag, mailbox, instead_of, .. } = append;
        self.ask_append(Question::Append { mailbox, instead_of }, move |session, answer| {
            session.appended(&tag, instead_of.is_some(), answer);
        });
    }

    fn appended(&mut self, tag: &Tag, replaced: bool, answer: Result<Vec<Outcome>, StoreError>) {
        let outcomes = match answer {
            Ok(outcomes) => outcomes,
            // Deleted while the message came.
            Err(StoreError::NoMailbox) => return self.no(tag, NO_MAILBOX),
            Err(error) => return self.failed(tag, &error),
        };
        let added = outcomes.into_iter().filter_map(|outcome| match outcome {
            Outcome::Added { uid_validity, uid, .. } => Some((uid_validity.0, uid)),
            _ => None,
        });
        let (validities, uids): (Vec<_>, Vec<Uid>) = added.unzip();
        let Some(validity) = validities.first() else {
            return self.finish(tag, "APPEND completed", Some(Expunges::Told));
        };
        let code = format!("[APPENDUID {validity} {}]", uid_set(uids));
        if replaced {
            // Told before the old message goes (RFC 8508 §4.3).
            self.out.line(&format!("OK {code} The new message is kept"));
            self.stale = true;
            return self.finish(tag, "REPLACE completed", Some(Expunges::Told));
        }
        self.finish(tag, &format!("{code} APPEND completed"), Some(Expunges::Told));
    }
}

/// Why REPLACE does not begin.
enum Wrong {
    Client(&'static str),
    Now(&'static str),
}

/// Why an APPEND ends early.
enum Refusal {
    Client(Reason),
    Now(String),
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Client(reason)
    }
}
