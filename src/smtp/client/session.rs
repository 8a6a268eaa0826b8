//! The order of commands, without any I/O: replies go in, what to do next comes out. The session
//! never sends a recipient a host cannot take, and never asks for data when nobody would get it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::offers::Offers;
use super::{Beyond, Encryption, Fault, Mail, Reply, Report, Trouble, Verdict};
use crate::accounts::Password;
use crate::mail::{Address, BodyKind, Domain};

/// One conversation with one host.
#[derive(Debug)]
pub(super) struct Session {
    hello: Domain,
    mail: Mail,
    tls: Tls,
    login: Option<(String, Password)>,
    offers: Offers,
    verdicts: Vec<Option<Verdict>>,
    /// Recipients named in RCPT, as places in [`Mail::to`].
    asked: Vec<usize>,
    /// No reply to this message is outstanding.
    clean: bool,
    state: State,
}

/// What TLS is to this conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// Used when offered.
    Wanted,
    /// Nothing is said without it.
    Required,
    /// Not spoken of: it is there already, or shall not be.
    Settled,
}

/// What the driver does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send this and wait for a reply.
    Send(Vec<u8>),
    /// Wait for the next reply to what was sent.
    Wait,
    /// Do the TLS handshake, then call [`Session::secured`].
    StartTls,
    /// Look what characters the message has, then call [`Session::scanned`].
    Scan,
    /// Send the message, then wait for a reply.
    SendMessage,
    /// It is over: say QUIT and take the report.
    Finish,
}

/// How long the driver may have to wait (RFC 5321 §4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Greeting and commands.
    Command,
    /// The reply to DATA.
    DataStart,
    /// The reply to the end of the message.
    DataEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Plain,
    LoginName,
    LoginPassword,
    LoginEnd,
    /// Between two messages.
    Reset,
    Scan,
    Mail,
    /// This many RCPT were answered.
    Recipients(usize),
    Data,
    Message,
    Over,
}

impl Session {
    /// A conversation about to begin; wait for the greeting.
    pub(super) fn new(
        hello: Domain,
        mail: Mail,
        tls: Tls,
        login: Option<(String, Password)>,
    ) -> Self {
        let verdicts = vec![None; mail.to.len()];
        Self {
            hello,
            mail,
            tls,
            login,
            offers: Offers::default(),
            verdicts,
            asked: Vec::new(),
            clean: false,
            state: State::Greeting,
        }
    }

    /// Another message on the same connection, after [`Session::may_go_on`].
    pub(super) fn again(&mut self, mail: Mail) -> Action {
        self.verdicts = vec![None; mail.to.len()];
        self.mail = mail;
        self.asked.clear();
        self.state = State::Reset;
        Action::Send(b"RSET\r\n".to_vec())
    }

    /// Whether the host has answered everything, and may be given another message.
    pub(super) fn may_go_on(&self) -> bool {
        self.clean && self.state == State::Over
    }

    /// Takes the host's reply to what was done last.
    pub(super) fn reply(&mut self, reply: Reply) -> Result<Action, Fault> {
        // 421: the host is going away, whatever it was asked (§3.8).
        if reply.code() == 421 && self.state != State::Message {
            return Err(Fault::Refused(reply));
        }
        match self.state {
            State::Greeting if reply.code() == 220 => Ok(self.say_hello()),
            State::Ehlo if reply.is_positive() => {
                self.offers = Offers::parse(&reply);
                self.after_hello()
            }
            // §3.2: a host that does not know EHLO gets HELO.
            State::Ehlo if reply.is_permanent() => {
                self.state = State::Helo;
                Ok(Action::Send(format!("HELO {}\r\n", self.hello).into_bytes()))
            }
            State::Helo if reply.is_positive() => {
                self.offers = Offers::default();
                self.after_hello()
            }
            State::StartTls if reply.code() == 220 => Ok(Action::StartTls),
            State::StartTls if self.tls == Tls::Required => Err(Fault::NoTls),
            State::StartTls => {
                self.tls = Tls::Settled;
                self.after_hello()
            }
            State::LoginName if reply.code() == 334 => {
                self.state = State::LoginPassword;
                let name = self.login.as_ref().map(|(name, _)| name.as_bytes());
                Ok(base64_line("", name.unwrap_or_default()))
            }
            State::LoginPassword if reply.code() == 334 => {
                self.state = State::LoginEnd;
                let password = self.login.as_ref().map(|(_, word)| word.expose().as_bytes());
                Ok(base64_line("", password.unwrap_or_default()))
            }
            State::Plain | State::LoginEnd | State::Reset if reply.is_positive() => self.begin(),
            State::Greeting | State::Ehlo | State::Helo | State::Reset => {
                Err(Fault::Refused(reply))
            }
            State::Plain | State::LoginName | State::LoginPassword | State::LoginEnd => {
                Err(Fault::Login(reply.to_string()))
            }
            State::Mail => Ok(self.after_mail(&reply)),
            State::Recipients(answered) => Ok(self.after_recipient(answered, &reply)),
            State::Data if reply.code() == 354 => {
                self.state = State::Message;
                Ok(Action::SendMessage)
            }
            // A 2xx here is no permission to send.
            State::Data | State::Message => {
                let done = self.state == State::Message && reply.is_positive();
                self.settle_rest(&if done {
                    Verdict::Deliver(reply.to_string())
                } else {
                    refusal(&reply, "the host did not take the message")
                });
                self.clean = true;
                self.state = State::Over;
                Ok(Action::Finish)
            }
            State::Scan | State::Over => Ok(Action::Finish),
        }
    }

    /// Takes what was asked for by [`Action::Scan`]: whether a host without the extensions can be
    /// given the message.
    pub(super) fn scanned(&mut self, beyond: Beyond) -> Action {
        let refused = if beyond.header && !self.offers.utf8 && self.mail.asked.utf8 {
            // RFC 6531 §3.2: there is no other form of such a header.
            Some(("5.6.7", "the host does not take headers with characters beyond ASCII"))
        } else if (beyond.header || beyond.body) && !self.offers.eight_bit {
            // RFC 6152 §3: to rewrite the message would break its signatures.
            Some((
                "5.6.3",
                "the host takes plain ASCII alone, and the message has other characters",
            ))
        } else {
            None
        };
        if let Some((status, what)) = refused {
            self.settle_rest(&local_refusal(status, what.to_owned()));
            self.clean = true;
            self.state = State::Over;
            return Action::Finish;
        }
        self.mail_from()
    }

    /// TLS is there: what was said before counts for nothing (RFC 3207 §4.2).
    pub(super) fn secured(&mut self) -> Action {
        self.tls = Tls::Settled;
        self.offers = Offers::default();
        self.say_hello()
    }

    /// How patient to be for the next reply.
    pub(super) fn phase(&self) -> Phase {
        match self.state {
            State::Data => Phase::DataStart,
            State::Message => Phase::DataEnd,
            _ => Phase::Command,
        }
    }

    /// What became of each recipient.
    pub(super) fn report(&self) -> Report {
        let unanswered = || {
            Verdict::Defer(Trouble {
                status: "4.4.2".to_owned(),
                reply: None,
                what: "the host gave no answer for this recipient".to_owned(),
                at_rcpt: false,
            })
        };
        let verdicts = self.verdicts.iter().cloned();
        Report {
            verdicts: verdicts.map(|v| v.unwrap_or_else(unanswered)).collect(),
            tells: self.offers.dsn,
            tls: Encryption::None,
        }
    }

    /// The conversation broke. Before any of the message was sent nothing can have been delivered,
    /// and another host may be tried at once; later the answer may just have been lost.
    pub(super) fn broken(&mut self, fault: Fault) -> Result<Report, Fault> {
        if self.state != State::Message {
            return Err(fault);
        }
        self.settle_rest(&Verdict::Defer(Trouble {
            status: "4.4.2".to_owned(),
            reply: None,
            what: fault.to_string(),
            at_rcpt: false,
        }));
        Ok(self.report())
    }

    fn say_hello(&mut self) -> Action {
        self.state = State::Ehlo;
        Action::Send(format!("EHLO {}\r\n", self.hello).into_bytes())
    }

    fn after_hello(&mut self) -> Result<Action, Fault> {
        match self.tls {
            Tls::Wanted | Tls::Required if self.offers.starttls => {
                self.state = State::StartTls;
                return Ok(Action::Send(b"STARTTLS\r\n".to_vec()));
            }
            Tls::Required => return Err(Fault::NoTls),
            Tls::Wanted | Tls::Settled => {}
        }
        let Some((name, password)) = &self.login else { return self.begin() };
        if self.offers.plain {
            self.state = State::Plain;
            let word = zeroize::Zeroizing::new(format!("\0{name}\0{}", password.expose()));
            Ok(base64_line("AUTH PLAIN ", word.as_bytes()))
        } else if self.offers.login {
            self.state = State::LoginName;
            Ok(Action::Send(b"AUTH LOGIN\r\n".to_vec()))
        } else {
            Err(Fault::Login("it offers no way to log in that we know (PLAIN, LOGIN)".to_owned()))
        }
    }

    /// Settles what this host cannot take, and names the rest.
    fn begin(&mut self) -> Result<Action, Fault> {
        self.clean = false;
        if self.mail.asked.require_tls && !self.offers.require_tls {
            return Err(Fault::NoRequireTls);
        }
        if let Some(limit) = self.offers.size.filter(|limit| (1..self.mail.size).contains(limit)) {
            self.settle_rest(&local_refusal(
                "5.3.4",
                format!(
                    "the message has {} bytes, and the host takes no more than {limit}",
                    self.mail.size
                ),
            ));
        }
        let sender = self.mail.from.address().is_some_and(needs_utf8);
        if !self.offers.utf8 {
            // RFC 6531 §3.2: there is no other form of such an address.
            for (recipient, verdict) in self.mail.to.iter().zip(&mut self.verdicts) {
                if verdict.is_none() && (sender || needs_utf8(&recipient.address)) {
                    *verdict = Some(local_refusal(
                        "5.6.7",
                        "the host does not take addresses with characters beyond ASCII".to_owned(),
                    ));
                }
            }
        }
        self.asked = (0..self.verdicts.len())
            .filter(|at| self.verdicts.get(*at).is_some_and(Option::is_none))
            .collect();
        if self.asked.is_empty() {
            self.clean = true;
            self.state = State::Over;
            return Ok(Action::Finish);
        }
        // Many programs ask for the extensions whatever the message holds: it is looked at before
        // it is refused.
        let utf8 = self.mail.asked.utf8 && !self.offers.utf8;
        let eight_bit = !self.offers.eight_bit && self.mail.asked.body != Some(BodyKind::SevenBit);
        if utf8 || eight_bit {
            self.state = State::Scan;
            return Ok(Action::Scan);
        }
        Ok(self.mail_from())
    }

    fn mail_from(&mut self) -> Action {
        self.state = State::Mail;
        let mut bytes = self.mail_command().into_bytes();
        if self.offers.pipelining {
            for at in 0..self.asked.len() {
                bytes.extend(self.recipient_command(at).into_bytes());
            }
        }
        Action::Send(bytes)
    }

    fn mail_command(&self) -> String {
        let mut command = format!("MAIL FROM:<{}>", self.mail.from);
        if self.offers.size.is_some() {
            command.push_str(" SIZE=");
            command.push_str(&self.mail.size.to_string());
        }
        // Declared as such by its sender, or not at all: then it may hold anything.
        if self.offers.eight_bit && self.mail.asked.body != Some(BodyKind::SevenBit) {
            command.push_str(" BODY=8BITMIME");
        }
        let asked = self.asked.iter().filter_map(|at| self.mail.to.get(*at));
        let addresses = asked.map(|recipient| &recipient.address);
        let wide = self.mail.from.address().into_iter().chain(addresses).any(needs_utf8);
        if wide || (self.mail.asked.utf8 && self.offers.utf8) {
            command.push_str(" SMTPUTF8");
        }
        if self.mail.asked.require_tls {
            command.push_str(" REQUIRETLS");
        }
        // RFC 3461 §4.3 and §4.4: passed on as they came.
        if self.offers.dsn {
            if let Some(ret) = &self.mail.asked.ret {
                put(&mut command, format_args!(" RET={ret}"));
            }
            if let Some(id) = &self.mail.asked.envid {
                put(&mut command, format_args!(" ENVID={}", id.xtext()));
            }
        }
        command.push_str("\r\n");
        command
    }

    fn recipient_command(&self, at: usize) -> String {
        let recipient = self.asked.get(at).and_then(|place| self.mail.to.get(*place));
        let Some(recipient) = recipient else { return String::new() };
        let mut command = format!("RCPT TO:<{}>", recipient.address);
        if self.offers.dsn {
            if let Some(notify) = &recipient.asked.notify {
                put(&mut command, format_args!(" NOTIFY={notify}"));
            }
            if let Some(original) = &recipient.asked.orcpt {
                put(&mut command, format_args!(" ORCPT={}", original.xtext()));
            }
        }
        command.push_str("\r\n");
        command
    }

    fn after_mail(&mut self, reply: &Reply) -> Action {
        self.state = State::Recipients(0);
        if !reply.is_positive() {
            self.settle_rest(&refusal(reply, "the host refused the sender"));
            // With pipelining the answers to RCPT are still on their way, and of no interest.
            self.clean = !self.offers.pipelining;
            self.state = State::Over;
            return Action::Finish;
        }
        if self.offers.pipelining {
            Action::Wait
        } else {
            Action::Send(self.recipient_command(0).into_bytes())
        }
    }

    fn after_recipient(&mut self, answered: usize, reply: &Reply) -> Action {
        let place = self.asked.get(answered).and_then(|place| self.verdicts.get_mut(*place));
        if let Some(verdict) = place.filter(|_| !reply.is_positive()) {
            let refused = refusal(reply, "the host refused the recipient");
            // 552 to RCPT means too many recipients, unless the status says what it is: the others
            // go another time (§4.5.3.1.10).
            let crowded = reply.code() == 552 && ["5.0.0", "5.5.3"].contains(&&*reply.status());
            *verdict = Some(match refused {
                Verdict::Reject(trouble) if crowded => Verdict::Defer(trouble),
                Verdict::Reject(trouble) => Verdict::Reject(Trouble { at_rcpt: true, ..trouble }),
                other => other,
            });
        }
        let answered = answered + 1;
        self.state = State::Recipients(answered);
        if answered < self.asked.len() {
            return if self.offers.pipelining {
                Action::Wait
            } else {
                Action::Send(self.recipient_command(answered).into_bytes())
            };
        }
        if self.verdicts.iter().all(Option::is_some) {
            self.clean = true;
            self.state = State::Over;
            return Action::Finish;
        }
        self.state = State::Data;
        Action::Send(b"DATA\r\n".to_vec())
    }

    fn settle_rest(&mut self, verdict: &Verdict) {
        for open in self.verdicts.iter_mut().filter(|open| open.is_none()) {
            *open = Some(verdict.clone());
        }
    }
}

fn put(command: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = std::fmt::Write::write_fmt(command, words);
}

fn needs_utf8(address: &Address) -> bool {
    address.local().needs_utf8()
}

fn base64_line(command: &str, word: &[u8]) -> Action {
    Action::Send(format!("{command}{}\r\n", BASE64.encode(word)).into_bytes())
}

fn refusal(reply: &Reply, what: &str) -> Verdict {
    let (status, words) = (reply.status(), reply.to_string());
    let trouble = Trouble { status, reply: Some(words), what: what.to_owned(), at_rcpt: false };
    if reply.is_permanent() {
        Verdict::Reject(trouble)
    } else if reply.code() / 100 == 4 {
        Verdict::Defer(trouble)
    } else {
        // 2xx or 3xx where it has no meaning: the host is confused, now.
        Verdict::Defer(Trouble { status: "4.5.0".to_owned(), ..trouble })
    }
}

fn local_refusal(status: &str, what: String) -> Verdict {
    Verdict::Reject(Trouble { status: status.to_owned(), reply: None, what, at_rcpt: false })
}
