//! APPEND (RFC 3501 §6.3.11): the message goes to the store as it comes, never held here.

use jiff::Timestamp;

use crate::mail::Flags;
use crate::store::{AccountId, MailboxId, Outcome, StoreError};

use super::command::{AppendHead, Refused, Tag};
use super::input::Marker;
use super::question::Question;
use super::respond::refusal;
use super::session::{Effect, Mode, Session};
use super::view::Expunges;

/// An APPEND whose message is coming.
pub(super) struct Append {
    tag: Tag,
    mailbox: MailboxId,
    flags: Flags,
    date: Option<Timestamp>,
    /// Bytes still to come.
    left: u64,
    /// The store refused; the rest is thrown away.
    failed: Option<&'static str>,
}

impl Session {
    pub(super) fn append(
        &mut self,
        account: AccountId,
        head: Result<AppendHead, Refused>,
        marker: Marker,
    ) {
        let AppendHead { tag, name, flags, date } = match head {
            Ok(head) => head,
            Err(refused) => {
                self.input.refuse(marker);
                return self.refuse(&refused);
            }
        };
        if marker.size > self.message_size {
            self.input.refuse(marker);
            let text = format!("[TOOBIG] A message may have at most {} bytes", self.message_size);
            return self.no(&tag, &text);
        }
        if marker.size == 0 {
            self.input.refuse(marker);
            return self.no(&tag, "[CANNOT] A message of no bytes is not kept");
        }
        self.ask_mailbox(account, name, move |session, answer| match answer {
            Ok(Some(mailbox)) => {
                let left = marker.size;
                let mailbox = mailbox.id;
                let append = Append { tag, mailbox, flags, date, left, failed: None };
                session.begin(account, append, marker);
            }
            Ok(None) => {
                session.input.refuse(marker);
                session.no(&tag, "[TRYCREATE] There is no such mailbox: create it first");
            }
            Err(error) => {
                session.input.refuse(marker);
                session.failed(&tag, &error);
            }
        });
    }

    fn begin(&mut self, account: AccountId, append: Append, marker: Marker) {
        let question = Question::BodyStart { account, size: append.left };
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
                session.failed(&append.tag, &error);
            }
        });
    }

    /// Takes what came of the message, or the line after it; whether there was either.
    pub(super) fn append_step(&mut self, mut append: Append) -> bool {
        if append.left > 0 {
            let bytes = self.input.take(append.left);
            if bytes.is_empty() {
                self.mode = Mode::Append(append);
                return false;
            }
            append.left -= bytes.len() as u64;
            if append.failed.is_some() {
                self.mode = Mode::Append(append);
                return true;
            }
            self.ask_body(Question::BodyBytes(bytes), move |session, answer| {
                append.failed = answer.err().map(|error| refusal(&error));
                session.mode = Mode::Append(append);
            });
            return true;
        }
        let Some(line) = self.input.line(self.limits()) else {
            self.mode = Mode::Append(append);
            return false;
        };
        let Append { tag, mailbox, flags, date, failed, .. } = append;
        let complete = line.as_ref().is_ok_and(|line| line.trim_ascii().is_empty());
        if let Some((marker, _)) = line.ok().and_then(|line| Marker::at_end_of(&line)) {
            // A second message (RFC 3502), already under way, is no command.
            self.input.refuse(marker);
        }
        if let Some(text) = failed {
            self.effect(Effect::DropBody);
            self.no(&tag, text);
        } else if complete {
            let question = Question::Append { mailbox, flags, date };
            self.ask_append(question, move |session, answer| session.appended(&tag, answer));
        } else {
            self.effect(Effect::DropBody);
            self.bad(&tag, "APPEND takes one message");
        }
        true
    }

    fn appended(&mut self, tag: &Tag, answer: Result<Vec<Outcome>, StoreError>) {
        match answer {
            Ok(outcomes) => {
                let added = outcomes.into_iter().find_map(|outcome| match outcome {
                    Outcome::Added { uid_validity, uid, .. } => Some((uid_validity.0, uid.get())),
                    _ => None,
                });
                let text = match added {
                    Some((validity, uid)) => {
                        format!("[APPENDUID {validity} {uid}] APPEND completed")
                    }
                    None => "APPEND completed".to_owned(),
                };
                self.finish(tag, &text, Some(Expunges::Told));
            }
            // Deleted while the message came.
            Err(StoreError::NoMailbox) => {
                self.no(tag, "[TRYCREATE] There is no such mailbox: create it first");
            }
            Err(error) => self.failed(tag, &error),
        }
    }
}
