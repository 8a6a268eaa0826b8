//! A mail transaction from MAIL to the last RCPT (RFC 5321 §3.3), each step a type that holds what
//! is known by then: a message without sender or recipient cannot be written down.

use super::receiving::Receiving;
use super::stages::{Ready, Stage};
use super::waiting::Waiting;
use super::{Desk, MAX_RECIPIENTS, Question, Role, State};
use crate::mail::{MailRequests, Recipient, ReversePath};
use crate::smtp::command::{self, Chunk, CommandError, MailFrom};
use crate::smtp::reply;

/// The sender is known.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) ready: Ready,
    pub(super) from: ReversePath,
    pub(super) asked: MailRequests,
    pub(super) size: Option<u64>,
}

impl Mail {
    pub(super) fn begin(ready: Ready, mail: MailFrom, desk: &mut Desk) -> State {
        let mx = desk.settings.role == Role::Mx;
        let tls = desk.settings.channel.is_some();
        let refusal = match mail.size {
            _ if !mx && !tls => reply::TLS_REQUIRED,
            _ if !mx && !desk.logged_in => reply::LOGIN_REQUIRED,
            _ if mx && mail.author => CommandError::UnknownParameter.into(),
            // Offered only where it means something (RFC 8689 §2).
            _ if mail.asked.require_tls && !tls => CommandError::UnknownParameter.into(),
            Some(size) if size > desk.settings.message_size => reply::TOO_BIG,
            _ => return Self::ask(ready, mail, desk),
        };
        let refusal = desk.idle(refusal);
        desk.say(refusal);
        ready.into()
    }

    fn ask(ready: Ready, mail: MailFrom, desk: &mut Desk) -> State {
        let mail = Self { ready, from: mail.from, asked: mail.asked, size: mail.size };
        let (from, hello) = (mail.from.clone(), mail.ready.name.to_string());
        desk.ask(Question::Sender { from, hello });
        State::Waiting(Waiting::Sender(mail))
    }

    pub(super) fn rcpt(self, to: command::Recipient, desk: &mut Desk) -> State {
        match desk.recipient(to, &self) {
            Some(to) => State::Waiting(Waiting::FirstRecipient(self, to)),
            None => State::Command(Stage::Mail(self)),
        }
    }
}

/// Sender and at least one recipient are known.
#[derive(Debug)]
pub(super) struct Rcpt {
    pub(super) mail: Mail,
    pub(super) to: Vec<Recipient>,
}

impl Rcpt {
    pub(super) fn rcpt(self, to: command::Recipient, desk: &mut Desk) -> State {
        if self.to.len() >= MAX_RECIPIENTS {
            // RFC 5321 §4.5.3.1.10: the others stay, and the client sends another message.
            desk.say(reply::TOO_MANY_RECIPIENTS);
            return State::Command(Stage::Rcpt(self));
        }
        match desk.recipient(to, &self.mail) {
            Some(to) => State::Waiting(Waiting::Recipient(self, to)),
            None => State::Command(Stage::Rcpt(self)),
        }
    }

    pub(super) fn data(self, desk: &mut Desk) -> State {
        Receiving::dotted(self, desk)
    }

    pub(super) fn bdat(self, chunk: Chunk, desk: &mut Desk) -> State {
        Receiving::first_chunk(self, chunk, desk)
    }

    pub(super) fn into_ready(self) -> Ready {
        self.mail.ready
    }
}

impl Desk {
    /// Asks about a recipient, or refuses it at once.
    fn recipient(&mut self, to: command::Recipient, mail: &Mail) -> Option<Recipient> {
        let (address, asked) = match to {
            command::Recipient::Postmaster(asked) => (self.settings.postmaster.clone(), asked),
            command::Recipient::Address { utf8: true, .. } if !mail.asked.utf8 => {
                self.say(CommandError::NeedsUtf8.into());
                return None;
            }
            command::Recipient::Address { address, .. }
                if self.settings.role == Role::Mx && command::is_routed(address.local()) =>
            {
                self.misstep(reply::NO_RELAY);
                return None;
            }
            command::Recipient::Address { address, asked, .. } => (address, asked),
        };
        self.ask(Question::Recipient { to: address.clone(), size: mail.size });
        Some(Recipient { address, asked })
    }
}
