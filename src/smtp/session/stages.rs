//! The stages of a session as types: each holds what is known by then, and consumes itself to
//! become the next, so that a message without sender or recipient cannot be written down.

use std::time::{Duration, Instant};

use super::{Desk, Effect, MAX_LOGINS, MAX_RECIPIENTS, Question, Role, State};
use crate::accounts::sasl::{Exchange, Mechanism, Next, SaslError};
use crate::mail::headers::{Bcc, HeaderScan, MAX_HOPS, Protocol, Received};
use crate::mail::{Address, Envelope, ReversePath};
use crate::net::{Line, LineError};
use crate::smtp::command::{self, CommandError, HelloName, MailFrom, Recipient};
use crate::smtp::data::DataReader;
use crate::smtp::reply::{self, Reply};
use crate::smtp::session::Handover;

/// What commands were given.
#[derive(Debug)]
pub(super) enum Stage {
    /// None; not even a name.
    Fresh,
    /// EHLO or HELO.
    Ready(Ready),
    /// MAIL.
    Mail(Mail),
    /// MAIL, and at least one recipient was accepted.
    Rcpt(Rcpt),
}

impl Stage {
    /// RSET: forgets the message, not the name.
    pub(super) fn reset(self) -> Self {
        match self {
            Self::Fresh => Self::Fresh,
            Self::Ready(ready)
            | Self::Mail(Mail { ready, .. })
            | Self::Rcpt(Rcpt { mail: Mail { ready, .. }, .. }) => Self::Ready(ready),
        }
    }
}

/// The client has said its name.
#[derive(Debug)]
pub(super) struct Ready {
    name: HelloName,
    extended: bool,
}

impl Ready {
    pub(super) fn auth(
        self,
        mechanism: Mechanism,
        initial: Option<&[u8]>,
        desk: &mut Desk,
    ) -> State {
        let refusal = match desk.settings.role {
            Role::Mx => reply::NO_LOGIN_HERE,
            _ if !desk.tls => reply::LOGIN_NEEDS_TLS,
            _ if desk.logged_in => reply::LOGIN_ALREADY,
            _ => return self.go_on(mechanism.begin(initial), desk),
        };
        desk.fault(refusal);
        self.into()
    }

    pub(super) fn mail(self, mail: MailFrom, desk: &mut Desk) -> State {
        let mx = desk.settings.role == Role::Mx;
        let refusal = match mail.size {
            _ if !mx && !desk.tls => reply::TLS_REQUIRED,
            _ if !mx && !desk.logged_in => reply::LOGIN_REQUIRED,
            _ if mx && mail.author => CommandError::UnknownParameter.into(),
            Some(size) if size > desk.settings.message_size => reply::TOO_BIG,
            _ => return self.ask_sender(mail, desk),
        };
        let refusal = desk.idle(refusal);
        desk.say(refusal);
        self.into()
    }

    fn ask_sender(self, mail: MailFrom, desk: &mut Desk) -> State {
        let mail = Mail { ready: self, from: mail.from, utf8: mail.utf8, size: mail.size };
        match &mail.from {
            // Read receipts and the like have no sender (RFC 8098 §2.1).
            ReversePath::Null => {
                desk.say(reply::SENDER_OK);
                State::Command(Stage::Mail(mail))
            }
            ReversePath::Address(address) => {
                desk.ask(Question::Sender(address.clone()));
                State::Waiting(Waiting::Sender(mail))
            }
        }
    }

    fn go_on(self, step: Result<Next, SaslError>, desk: &mut Desk) -> State {
        match step {
            Ok(Next::Ask { challenge, then: exchange }) => {
                desk.say(Reply::new(334, "", challenge));
                State::Challenged(Challenged { ready: self, exchange })
            }
            Ok(Next::Done(credentials)) => {
                desk.ask(Question::Login(credentials));
                State::Waiting(Waiting::Login(self))
            }
            Err(error) => {
                desk.fault(error);
                self.into()
            }
        }
    }
}

impl From<Ready> for State {
    fn from(ready: Ready) -> Self {
        Self::Command(Stage::Ready(ready))
    }
}

/// A login is under way.
#[derive(Debug)]
pub(super) struct Challenged {
    ready: Ready,
    exchange: Exchange,
}

impl Challenged {
    pub(super) fn respond(self, line: Result<Option<Line>, LineError>, desk: &mut Desk) -> State {
        match line {
            Ok(Some(line)) => self.ready.go_on(self.exchange.answer(&line.0), desk),
            Ok(None) => State::Challenged(self),
            Err(error) => {
                desk.fault(error);
                self.ready.into()
            }
        }
    }
}

/// The sender is known.
#[derive(Debug)]
pub(super) struct Mail {
    ready: Ready,
    from: ReversePath,
    utf8: bool,
    size: Option<u64>,
}

impl Mail {
    pub(super) fn rcpt(self, to: Recipient, desk: &mut Desk) -> State {
        match desk.recipient(to, &self) {
            Some(address) => State::Waiting(Waiting::FirstRecipient(self, address)),
            None => State::Command(Stage::Mail(self)),
        }
    }
}

/// Sender and at least one recipient are known.
#[derive(Debug)]
pub(super) struct Rcpt {
    mail: Mail,
    to: Vec<Address>,
}

impl Rcpt {
    pub(super) fn rcpt(self, to: Recipient, desk: &mut Desk) -> State {
        if self.to.len() >= MAX_RECIPIENTS {
            // RFC 5321 §4.5.3.1.10: the others stay, and the client sends another message.
            desk.say(reply::TOO_MANY_RECIPIENTS);
            return State::Command(Stage::Rcpt(self));
        }
        match desk.recipient(to, &self.mail) {
            Some(address) => State::Waiting(Waiting::Recipient(self, address)),
            None => State::Command(Stage::Rcpt(self)),
        }
    }

    pub(super) fn data(self, desk: &mut Desk) -> State {
        desk.messages += 1;
        desk.effects.push_back(Effect::BeginBody);
        desk.say(reply::GO_AHEAD);
        let bcc = if desk.settings.role == Role::Mx { Bcc::Keep } else { Bcc::Strip };
        State::Receiving(Receiving {
            rcpt: self,
            reader: DataReader::new(),
            scan: HeaderScan::new(bcc),
            refusal: None,
            started: desk.since,
            last: desk.since,
        })
    }
}

/// A message is coming in.
#[derive(Debug)]
pub(super) struct Receiving {
    rcpt: Rcpt,
    reader: DataReader,
    scan: HeaderScan,
    /// It will be refused at its end; its bytes are not kept any more.
    refusal: Option<Reply>,
    started: Instant,
    last: Instant,
}

/// What [`Receiving::take`] did with the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub(super) bytes: usize,
    pub(super) ended: bool,
}

impl Receiving {
    /// Takes what is there of the message.
    pub(super) fn take(&mut self, input: &[u8], desk: &mut Desk, now: Instant) -> Used {
        let mut bytes = Vec::with_capacity(input.len());
        let progress = self.reader.read(input, &mut bytes);
        self.last = now;
        if self.reader.has_bare_line_end() {
            self.refuse(reply::BARE_LINE_END, desk);
        } else if self.reader.size() > desk.settings.message_size {
            self.refuse(reply::TOO_BIG, desk);
        }
        let mut kept = Vec::with_capacity(bytes.len());
        self.scan.pass(&bytes, &mut kept);
        if self.refusal.is_none() && !kept.is_empty() {
            desk.effects.push_back(Effect::Body(kept));
        }
        Used { bytes: progress.used, ended: progress.ended }
    }

    /// What comes after that.
    pub(super) fn next(self, ended: bool, desk: &mut Desk) -> State {
        if ended {
            return self.end(desk);
        }
        // A refusal can be told only at the end of the message; somebody who sends without end
        // is not waited for.
        let patience = desk.settings.message_size.saturating_mul(2).saturating_add(1 << 20);
        match self.refusal {
            Some(refusal) if self.reader.size() > patience => {
                desk.say(refusal);
                State::Closed
            }
            _ => State::Receiving(self),
        }
    }

    /// When to give up waiting for more.
    pub(super) fn deadline(&self, desk: &Desk) -> Instant {
        let patience = desk.settings.timeouts.data;
        let earned = Duration::from_secs(self.reader.size() / 1024);
        (self.last + patience).min(self.started + patience + earned)
    }

    fn end(mut self, desk: &mut Desk) -> State {
        let mut rest = Vec::new();
        let facts = self.scan.finish(&mut rest);
        let submitted = desk.settings.role != Role::Mx;
        if facts.received > MAX_HOPS {
            self.refuse(reply::LOOP, desk);
        }
        let mut authors = Vec::new();
        match (facts.from, self.scan.authors()) {
            _ if !submitted => {}
            (0, _) if self.rcpt.mail.from == ReversePath::Null => {
                self.refuse(reply::NO_FROM, desk);
            }
            (0, _) => {}
            (1, Some(found)) => authors = found,
            // Two programs would show two authors (RFC 5322 §3.6 allows one field).
            _ => self.refuse(reply::BAD_FROM, desk),
        }
        let Rcpt { mail: Mail { ready, from, utf8, .. }, to } = self.rcpt;
        if let Some(refusal) = self.refusal {
            desk.say(refusal);
            return ready.into();
        }
        if !rest.is_empty() {
            desk.effects.push_back(Effect::Body(rest));
        }
        let received = Received {
            from: ready.name.to_string(),
            peer: desk.settings.peer,
            by: desk.settings.hostname.clone(),
            with: Protocol {
                extended: ready.extended,
                tls: desk.tls,
                authenticated: desk.logged_in,
                utf8,
            },
            id: format!("{:016x}-{}", desk.settings.number, desk.messages),
            recipient: match to.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
        };
        let envelope = Envelope::new(from, to);
        let handover = Box::new(Handover { envelope, received, submitted, facts });
        if authors.is_empty() {
            return hand_over(ready, handover, desk);
        }
        desk.ask(Question::Authors(authors));
        State::Waiting(Waiting::Authors(ready, handover))
    }

    fn refuse(&mut self, refusal: Reply, desk: &mut Desk) {
        if self.refusal.is_none() {
            self.refusal = Some(refusal);
            desk.effects.push_back(Effect::DropBody);
        }
    }
}

fn hand_over(ready: Ready, handover: Box<Handover>, desk: &mut Desk) -> State {
    let id = handover.received.id.clone();
    desk.effects.push_back(Effect::Accept(handover));
    State::Waiting(Waiting::Accept(ready, id))
}

/// Somebody outside has to answer.
#[derive(Debug)]
pub(super) enum Waiting {
    Tls,
    Login(Ready),
    Sender(Mail),
    FirstRecipient(Mail, Address),
    Recipient(Rcpt, Address),
    Authors(Ready, Box<Handover>),
    Accept(Ready, String),
}

impl Waiting {
    pub(super) fn answered(self, verdict: Result<(), Reply>, desk: &mut Desk) -> State {
        let (stage, reply) = match (self, verdict) {
            // The handshake has an answer of its own.
            (Self::Tls, _) => return State::Closed,
            (Self::Login(ready), Ok(())) => {
                (desk.logged_in, desk.proven) = (true, true);
                (Stage::Ready(ready), reply::LOGGED_IN)
            }
            (Self::Login(ready), Err(refusal)) => {
                desk.failed_logins += 1;
                if desk.failed_logins >= MAX_LOGINS {
                    desk.say(refusal);
                    desk.say(reply::TOO_MANY_ERRORS);
                    return State::Closed;
                }
                (Stage::Ready(ready), refusal)
            }
            (Self::Sender(mail), Ok(())) => (Stage::Mail(mail), reply::SENDER_OK),
            (Self::Sender(mail), Err(refusal)) => (Stage::Ready(mail.ready), desk.idle(refusal)),
            (Self::FirstRecipient(mail, address), Ok(())) => {
                desk.proven = true;
                (Stage::Rcpt(Rcpt { mail, to: vec![address] }), reply::RECIPIENT_OK)
            }
            (Self::FirstRecipient(mail, _), Err(refusal)) => (Stage::Mail(mail), refusal),
            (Self::Recipient(mut rcpt, address), Ok(())) => {
                // Said twice is delivered once.
                if !rcpt.to.contains(&address) {
                    rcpt.to.push(address);
                }
                (Stage::Rcpt(rcpt), reply::RECIPIENT_OK)
            }
            (Self::Recipient(rcpt, _), Err(refusal)) => (Stage::Rcpt(rcpt), refusal),
            (Self::Authors(ready, handover), Ok(())) => return hand_over(ready, handover, desk),
            (Self::Authors(ready, _), Err(refusal)) => {
                desk.effects.push_back(Effect::DropBody);
                (Stage::Ready(ready), refusal)
            }
            (Self::Accept(ready, id), Ok(())) => {
                desk.wasted = 0;
                let text = format!("The message is safe here as {id}");
                (Stage::Ready(ready), Reply::worded(250, "2.0.0", &text))
            }
            (Self::Accept(ready, _), Err(refusal)) => (Stage::Ready(ready), refusal),
        };
        desk.say(reply);
        State::Command(stage)
    }
}

impl Desk {
    pub(super) fn ehlo(&mut self, name: HelloName) -> State {
        // RFC 5321 §4.1.1.1. STARTTLS is never offered under TLS, AUTH never without.
        let mut text = format!(
            "{} greets {name}\nPIPELINING\nSIZE {}\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\n\
             LIMITS RCPTMAX={MAX_RECIPIENTS}\n",
            self.settings.hostname, self.settings.message_size,
        );
        if !self.tls {
            text.push_str("STARTTLS\n");
        } else if self.settings.role != Role::Mx {
            text.push_str("AUTH PLAIN LOGIN\n");
        }
        text.push_str("HELP");
        let reply = self.idle(Reply::worded(250, "", &text));
        self.say(reply);
        Ready { name, extended: true }.into()
    }

    pub(super) fn helo(&mut self, name: HelloName) -> State {
        let text = format!("{} greets {name}", self.settings.hostname);
        let reply = self.idle(Reply::worded(250, "", &text));
        self.say(reply);
        Ready { name, extended: false }.into()
    }

    fn ask(&mut self, question: Question) {
        self.effects.push_back(Effect::Ask(question));
    }

    /// Asks about a recipient, or refuses it at once.
    fn recipient(&mut self, to: Recipient, mail: &Mail) -> Option<Address> {
        let address = match to {
            Recipient::Postmaster => self.settings.postmaster.clone(),
            Recipient::Address { utf8: true, .. } if !mail.utf8 => {
                self.say(CommandError::NeedsUtf8.into());
                return None;
            }
            Recipient::Address { address, .. }
                if self.settings.role == Role::Mx && command::is_routed(address.local()) =>
            {
                self.say(reply::NO_RELAY);
                return None;
            }
            Recipient::Address { address, .. } => address,
        };
        self.ask(Question::Recipient { to: address.clone(), size: mail.size });
        Some(address)
    }
}
