//! Every answer this server gives, in one place: code, enhanced status (RFC 3463) and words for
//! the person who will find them in a bounce. The tables at the end turn our errors into replies.

use std::borrow::Cow;

use super::command::CommandError;
use crate::accounts::AuthError;
use crate::accounts::sasl::SaslError;
use crate::mail::Address;
use crate::net::LineError;
use crate::queue::{AcceptError, LedgerEntry};
use crate::store::StoreError;

/// One reply, of one or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    /// Empty for the greeting, EHLO and intermediate replies (RFC 2034 §4).
    status: &'static str,
    /// Lines, separated by `\n`.
    text: Cow<'static, str>,
}

impl Reply {
    /// A reply of fixed words.
    pub const fn new(code: u16, status: &'static str, text: &'static str) -> Self {
        Self { code, status, text: Cow::Borrowed(text) }
    }

    /// A reply made for the occasion. Control characters are taken out, line feeds apart: a reply
    /// cannot be made to hold another. What is beyond ASCII shows as `?`, because hardly any reply
    /// may have it (RFC 5321 §4.2, RFC 6531 §3.7.4.2).
    pub fn worded(code: u16, status: &'static str, text: &str) -> Self {
        let text = text.chars().filter(|c| *c == '\n' || !c.is_control());
        let text = text.map(|c| if c.is_ascii() { c } else { '?' }).collect();
        Self { code, status, text: Cow::Owned(text) }
    }

    /// The three-digit code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Whether the same may work later (RFC 5321 §4.2.1).
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// Appends the reply as it goes on the wire (RFC 5321 §4.2.1). Words that are too many for a
    /// line go on in the next.
    pub fn write(&self, out: &mut Vec<u8>) {
        let given = self.text.split('\n');
        let lines: Vec<&str> = match self.status {
            // EHLO's answer has a keyword in each line, and a challenge is as long as it is.
            "" => given.collect(),
            _ => given.flat_map(folded).collect(),
        };
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if lines.peek().is_some() { b'-' } else { b' ' });
            if !self.status.is_empty() {
                out.extend_from_slice(self.status.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A line in pieces that fit, parted at spaces where there are some.
fn folded(mut line: &str) -> impl Iterator<Item = &str> {
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let (piece, rest) = match line.split_at_checked(LINE_MAX) {
            Some((start, _)) if line.len() > LINE_MAX => {
                let end = start.rfind(' ').filter(|at| *at > 0).unwrap_or(LINE_MAX);
                let (piece, rest) = line.split_at(end);
                (piece, rest.strip_prefix(' ').unwrap_or(rest))
            }
            _ => (line, ""),
        };
        (line, done) = (rest, rest.is_empty());
        Some(piece)
    })
}

/// Most text in a line. With code, status and line end it stays under the 512 octets of RFC 5321
/// §4.5.3.1.5, and people can read it.
const LINE_MAX: usize = 400;

pub(crate) const READY_FOR_TLS: Reply = Reply::new(220, "2.0.0", "Ready to start TLS");
pub(crate) const BYE: Reply = Reply::new(221, "2.0.0", "Goodbye");
pub(crate) const LOGGED_IN: Reply = Reply::new(235, "2.7.0", "Logged in");
pub(crate) const OK: Reply = Reply::new(250, "2.0.0", "OK");
pub(crate) const SENDER_OK: Reply = Reply::new(250, "2.1.0", "Sender OK");
pub(crate) const RECIPIENT_OK: Reply = Reply::new(250, "2.1.5", "Recipient OK");
pub(crate) const GO_AHEAD: Reply =
    Reply::new(354, "", "Send the message, end it with <CRLF>.<CRLF>");
pub(crate) const NOT_VERIFIED: Reply =
    Reply::new(252, "2.5.0", "Addresses are not told here; send the mail and see");
pub(crate) const HELP: Reply = Reply::new(
    214,
    "2.0.0",
    "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP\n\
     Mail programs send on port 465 or 587 after a login; port 25 is for other servers",
);

pub(crate) const TIMED_OUT: Reply =
    Reply::new(421, "4.4.2", "Nothing was heard for too long; closing, please connect again");
pub(crate) const SHUTTING_DOWN: Reply =
    Reply::new(421, "4.3.2", "This post office is restarting; please try again in a minute");
pub(crate) const TOO_MANY_ERRORS: Reply =
    Reply::new(421, "4.7.0", "Too many commands that lead nowhere; closing");
pub(crate) const TOO_MANY_LOGINS: Reply = Reply::new(
    421,
    "4.7.0",
    "Too many wrong logins; closing, please set the right password before the next",
);
pub(crate) const UNWELCOME: Reply = Reply::new(
    421,
    "4.7.0",
    "Your network made too many errors here; please come back in an hour or two",
);
pub(crate) const NOT_HTTP: Reply =
    Reply::new(421, "4.7.0", "This is a mail server, not a web server; closing");
pub(crate) const TOO_MANY_RECIPIENTS: Reply = Reply::new(
    452,
    "4.5.3",
    "Too many recipients for one message; send it to the others in another",
);

pub(crate) const HELLO_FIRST: Reply = Reply::new(503, "5.5.1", "Say EHLO first");
pub(crate) const MAIL_FIRST: Reply = Reply::new(503, "5.5.1", "Say MAIL FROM first");
pub(crate) const NESTED_MAIL: Reply =
    Reply::new(503, "5.5.1", "A message is under way already; RSET drops it");
pub(crate) const CHUNKS_UNDER_WAY: Reply =
    Reply::new(503, "5.5.1", "BDAT is under way: end the message with BDAT LAST, or say RSET");
pub(crate) const NO_RECIPIENTS: Reply =
    Reply::new(554, "5.5.1", "No recipient was accepted, so there is no one to send to");
pub(crate) const TLS_ALREADY: Reply = Reply::new(503, "5.5.1", "TLS is on already");
pub(crate) const NO_LOGIN_HERE: Reply = Reply::new(
    502,
    "5.5.1",
    "There is no login on port 25: mail programs send on port 465 (TLS) or 587 (STARTTLS)",
);
pub(crate) const LOGIN_ALREADY: Reply = Reply::new(503, "5.5.1", "You are logged in already");
pub(crate) const LOGIN_IN_TRANSACTION: Reply =
    Reply::new(503, "5.5.1", "No login while a message is under way");
pub(crate) const LOGIN_NEEDS_TLS: Reply = Reply::new(
    538,
    "5.7.11",
    "No password in the clear: say STARTTLS first, or set the mail program to SSL/TLS on port 465",
);
pub(crate) const TLS_REQUIRED: Reply = Reply::new(
    530,
    "5.7.0",
    "Say STARTTLS first, then log in: set the mail program to STARTTLS, or to SSL/TLS on port 465",
);
pub(crate) const LOGIN_REQUIRED: Reply = Reply::new(
    530,
    "5.7.0",
    "Log in first: set the mail program to use a user name and password for sending, too",
);
pub(crate) const WRONG_LOGIN: Reply = Reply::new(
    535,
    "5.7.8",
    "The user name or password is not right; the user name is the whole mail address",
);
/// RFC 4954 §4.
pub(crate) const LOGIN_TOO_LONG: Reply =
    Reply::new(500, "5.5.6", "The line is too long, even for a login");

pub(crate) const TOO_BIG: Reply = Reply::new(
    552,
    "5.3.4",
    "The message is larger than this post office takes; make its attachments smaller, or send a link",
);
pub(crate) const BARE_LINE_END: Reply = Reply::new(
    550,
    "5.6.11",
    "The message has a CR or LF that is not part of a CRLF line end; whatever sent it is at fault",
);
pub(crate) const LOOP: Reply =
    Reply::new(554, "5.4.6", "The message has been passed on over 50 times: it goes in a circle");
pub(crate) const BACK_AGAIN: Reply = Reply::new(
    554,
    "5.4.6",
    "This message was delivered to the same address here before: it goes in a circle",
);
pub(crate) const NO_FROM: Reply =
    Reply::new(554, "5.6.0", "The message has no From: field, and no sender to make one of");
pub(crate) const BAD_FROM: Reply =
    Reply::new(554, "5.6.0", "The message needs one From: field with a mail address in it");

pub(crate) const NO_RELAY: Reply = Reply::new(
    550,
    "5.7.1",
    "This post office does not pass mail on to other domains without a login",
);
pub(crate) const NO_SUCH_USER: Reply =
    Reply::new(550, "5.1.1", "Nobody here has that address; check the spelling");
/// RFC 3463 §3.3, X.2.2. Transient, as large providers answer: most full mailboxes are emptied within
/// days, and until then the sender's server keeps the message and tries again. A permanent 552 5.2.2
/// would return it at once, and makes mailing lists unsubscribe people.
pub(crate) const MAILBOX_FULL: Reply =
    Reply::new(452, "4.2.2", "The mailbox of this recipient is full; please try again later");
pub(crate) const NOT_YOUR_ADDRESS: Reply = Reply::new(
    550,
    "5.7.1",
    "This sender address does not belong to your account; choose one of your own",
);
pub(crate) const LOGIN_UNAVAILABLE: Reply = Reply::new(
    454,
    "4.7.0",
    "The login cannot be checked now; the password may be right, please try again in a minute",
);
pub(crate) const FAILED: Reply =
    Reply::new(451, "4.3.0", "Something went wrong here; please try again later");

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Unknown => Self::new(500, "5.5.2", "Unknown command"),
            CommandError::NotText => {
                Self::new(500, "5.5.2", "A command is plain text without control characters")
            }
            CommandError::Http => NOT_HTTP,
            CommandError::HelloName => {
                Self::new(501, "5.5.4", "Give one name: EHLO client.example.org")
            }
            CommandError::Argument => Self::new(
                501,
                "5.5.4",
                "The command needs another form, such as MAIL FROM:<name@example.org>",
            ),
            CommandError::Parameter => {
                Self::new(501, "5.5.4", "A parameter has a wrong value or is given twice")
            }
            CommandError::UnknownParameter => {
                Self::new(555, "5.5.4", "A parameter is used that EHLO did not offer")
            }
            CommandError::Sender => Self::new(501, "5.1.7", "The sender is not a mail address"),
            CommandError::Recipient => {
                Self::new(501, "5.1.3", "The recipient is not a mail address")
            }
            CommandError::SourceRoute => {
                Self::new(550, "5.7.1", "Source routes are not followed; give the address alone")
            }
            CommandError::NeedsUtf8 => Self::new(
                553,
                "5.6.7",
                "An address with characters beyond ASCII needs SMTPUTF8 in MAIL FROM",
            ),
            CommandError::Chunk => {
                Self::new(501, "5.5.4", "The command needs a size: BDAT 1000, or BDAT 1000 LAST")
            }
            CommandError::Mechanism => Self::new(
                504,
                "5.5.4",
                "Login is by SCRAM-SHA-256, PLAIN or LOGIN; set it to normal password",
            ),
        }
    }
}

impl From<LineError> for Reply {
    fn from(error: LineError) -> Self {
        match error {
            LineError::TooLong => Self::new(500, "5.5.2", "The line is too long"),
            LineError::Bare => Self::new(500, "5.5.2", "A line ends with CR and LF together"),
        }
    }
}

impl From<SaslError> for Reply {
    fn from(error: SaslError) -> Self {
        match error {
            SaslError::Cancelled => Self::new(501, "5.7.0", "Login cancelled"),
            SaslError::Base64 | SaslError::Malformed => {
                Self::new(501, "5.5.2", "The login is not written as its mechanism demands")
            }
            SaslError::OtherIdentity => WRONG_LOGIN,
        }
    }
}

impl From<&AuthError> for Reply {
    fn from(error: &AuthError) -> Self {
        match error {
            AuthError::Wrong => WRONG_LOGIN,
            // RFC 4954 §6: temporary, so that nobody is asked for a new password.
            AuthError::Throttled(seconds) => {
                let text = format!(
                    "Too many logins from your network failed; please try again in {seconds} seconds"
                );
                Self::worded(454, "4.7.0", &text)
            }
            AuthError::Unavailable => LOGIN_UNAVAILABLE,
        }
    }
}

impl From<&StoreError> for Reply {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::TooLarge => TOO_BIG,
            StoreError::Full => {
                Self::new(452, "4.3.1", "The card of this post office is full; please try later")
            }
            StoreError::OverQuota => MAILBOX_FULL,
            // What exactly failed is for the owner's log, not for strangers.
            StoreError::Disk { .. }
            | StoreError::Damaged(_)
            | StoreError::Index(_)
            | StoreError::NoMailbox
            | StoreError::NoMessage
            | StoreError::MailboxExists
            | StoreError::Closed => FAILED,
        }
    }
}

impl From<&AcceptError> for Reply {
    fn from(error: &AcceptError) -> Self {
        match error {
            AcceptError::Store(error) => error.into(),
            AcceptError::Relay(_) => NO_RELAY,
            AcceptError::Held(many) => {
                let text = format!(
                    "This account has sent more than it may in a day, and {many} of its messages\n\
                     wait for the owner of this post office: pillarbox queue list shows them"
                );
                Self::worded(452, "4.7.1", &text)
            }
            AcceptError::Unwanted { status, reason } => Self::worded(550, status, reason),
            AcceptError::Alias(alias) => {
                let text = format!(
                    "Mail for {alias} cannot be delivered: it is passed on in a circle, or to too many"
                );
                Self::worded(550, "5.4.6", &text)
            }
        }
    }
}

/// Mail that is to come back later.
pub(super) fn come_back(text: &str) -> Reply {
    Reply::worded(451, "4.7.1", text)
}

/// An address elsewhere whose host said that it does not exist.
pub(crate) fn kept_back(to: &Address, entry: &LedgerEntry) -> Reply {
    let day = |at: jiff::Timestamp| at.strftime("%Y-%m-%d").to_string();
    let until = entry.kept_back_until.map(day).unwrap_or_default();
    let words: String = entry.words.chars().take(200).collect();
    let text = format!(
        "Mail for {to} was returned by its host on {}\nin these words: {words}\n\
         Until {until} none is taken for it. If the address is right, the owner of this\n\
         post office may lift that: pillarbox queue lift {to}",
        day(entry.last),
    );
    Reply::worded(550, "5.1.1", &text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what cannot be made is the failed test")]
mod tests;
