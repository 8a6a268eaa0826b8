//! The stages of a session as types: each holds what is known by then, and consumes itself to
//! become the next.

use super::receiving::Receiving;
use super::transaction::{Mail, Rcpt};
use super::{Desk, MAX_RECIPIENTS, Role, State};
use crate::smtp::command::HelloName;
use crate::smtp::reply::Reply;

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
    /// And at least one piece of the message came, but not the last.
    Chunks(Box<Receiving>),
}

impl Stage {
    /// RSET: forgets the message, not the name.
    pub(super) fn reset(self, desk: &mut Desk) -> Self {
        match self {
            Self::Fresh => Self::Fresh,
            Self::Ready(ready)
            | Self::Mail(Mail { ready, .. })
            | Self::Rcpt(Rcpt { mail: Mail { ready, .. }, .. }) => Self::Ready(ready),
            Self::Chunks(receiving) => Self::Ready(receiving.give_up(desk)),
        }
    }
}

/// The client has said its name.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) name: HelloName,
    pub(super) extended: bool,
}

impl From<Ready> for State {
    fn from(ready: Ready) -> Self {
        Self::Command(Stage::Ready(ready))
    }
}

impl Desk {
    /// EHLO, and what is offered (RFC 5321 §4.1.1.1): STARTTLS never under TLS, AUTH and
    /// REQUIRETLS never without.
    pub(super) fn ehlo(&mut self, name: HelloName) -> State {
        let mut text = format!(
            "{} greets {name}\nPIPELINING\nSIZE {}\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\n\
             CHUNKING\nDSN\nLIMITS RCPTMAX={MAX_RECIPIENTS}\n",
            self.settings.hostname, self.settings.message_size,
        );
        match &self.settings.channel {
            None => text.push_str("STARTTLS\n"),
            Some(channel) => {
                text.push_str("REQUIRETLS\n");
                if self.settings.role != Role::Mx {
                    // The strongest first; -PLUS only where clients can bind.
                    text.push_str("AUTH ");
                    if channel.bindings.are_offered() {
                        text.push_str("SCRAM-SHA-256-PLUS ");
                    }
                    text.push_str("SCRAM-SHA-256 PLAIN LOGIN\n");
                }
            }
        }
        text.push_str("HELP");
        let reply = self.idle(Reply::worded(250, "", &text));
        self.say(reply);
        Ready { name, extended: true }.into()
    }

    /// HELO, as very old programs and some printers say it.
    pub(super) fn helo(&mut self, name: HelloName) -> State {
        let text = format!("{} greets {name}", self.settings.hostname);
        let reply = self.idle(Reply::worded(250, "", &text));
        self.say(reply);
        Ready { name, extended: false }.into()
    }
}
