//! Commands as a client writes them (RFC 5321 §4.1), parsed once; what parses here is meaningful
//! as it stands. Lenient where phones and printers are careless and nothing can be gained by it,
//! strict where two servers could read the same line differently.

use std::fmt;

use crate::accounts::sasl::{self, scram};
use crate::mail::{
    Address, BodyKind, EnvelopeId, LocalPart, MailRequests, RecipientRequests, ReversePath,
};

/// One command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Ehlo(HelloName),
    Helo(HelloName),
    Mail(MailFrom),
    Rcpt(Recipient),
    Data,
    Bdat(Chunk),
    StartTls,
    Auth { mechanism: Mechanism, initial: Option<String> },
    Rset,
    Noop,
    Quit,
    Verify,
    Help,
}

impl Command {
    /// Parses a line without its CRLF.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let line = std::str::from_utf8(line).map_err(|_| CommandError::NotText)?;
        if line.chars().any(char::is_control) {
            return Err(CommandError::NotText);
        }
        let line = line.trim_end_matches(' ');
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start_matches(' ');
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => HelloName::parse(rest).map(Self::Ehlo),
            "HELO" => HelloName::parse(rest).map(Self::Helo),
            "MAIL" => MailFrom::parse(rest).map(Self::Mail),
            "RCPT" => Recipient::parse(rest).map(Self::Rcpt),
            "AUTH" => parse_auth(rest),
            "DATA" => alone(rest, Self::Data),
            "BDAT" => Chunk::parse(rest).map(Self::Bdat),
            "STARTTLS" => alone(rest, Self::StartTls),
            "RSET" => alone(rest, Self::Rset),
            "QUIT" => alone(rest, Self::Quit),
            // RFC 5321 §4.1.1.9: a parameter of NOOP is ignored.
            "NOOP" => Ok(Self::Noop),
            "VRFY" | "EXPN" => Ok(Self::Verify),
            "HELP" => Ok(Self::Help),
            // A browser was made to talk to us; what follows would be taken for commands.
            "GET" | "POST" | "PUT" | "HEAD" | "CONNECT" | "OPTIONS" => Err(CommandError::Http),
            _ => Err(CommandError::Unknown),
        }
    }
}

/// How a client wants to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// With a password.
    Password(sasl::Mechanism),
    /// With a proof of one.
    Scram(scram::Scram),
}

/// The name a client gives itself. Not believed, only shown: what could confuse a reader of the
/// trace field is replaced by `?`, because phones and Windows machines send any name they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HelloName(String);

impl HelloName {
    fn parse(text: &str) -> Result<Self, CommandError> {
        if text.is_empty() || text.len() > 255 || text.contains(' ') {
            return Err(CommandError::HelloName);
        }
        let safe = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        Ok(Self(text.chars().map(|c| if safe(c) { c } else { '?' }).collect()))
    }
}

impl fmt::Display for HelloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// MAIL FROM with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MailFrom {
    /// The sender.
    pub(crate) from: ReversePath,
    /// The announced size in bytes (RFC 1870); a hint, the real one is counted.
    pub(crate) size: Option<u64>,
    /// What else is asked for the message.
    pub(crate) asked: MailRequests,
    /// AUTH=: who the client says wrote it (RFC 4954 §5); never believed.
    pub(crate) author: bool,
}

impl MailFrom {
    fn parse(text: &str) -> Result<Self, CommandError> {
        let (path, parameters) = split_path("FROM:", text)?;
        if path.starts_with('@') {
            return Err(CommandError::SourceRoute);
        }
        let from: ReversePath = path.parse().map_err(|_| CommandError::Sender)?;
        let mut mail = Self { from, size: None, asked: MailRequests::default(), author: false };
        for parameter in Parameter::each(parameters) {
            mail.take(&parameter)?;
        }
        if !mail.asked.utf8 && !text.is_ascii() {
            return Err(CommandError::NeedsUtf8);
        }
        Ok(mail)
    }

    /// Takes one parameter; none may be given twice (RFC 3461 §4.5), or each reader would believe
    /// another.
    fn take(&mut self, parameter: &Parameter<'_>) -> Result<(), CommandError> {
        const WRONG: CommandError = CommandError::Parameter;
        let Self { size, asked, author, .. } = self;
        match (parameter.name.as_str(), parameter.value) {
            ("SIZE", Some(digits)) => once(size, number(digits)?),
            ("BODY", Some(kind)) => once(&mut asked.body, body_kind(kind)?),
            ("RET", Some(ret)) => once(&mut asked.ret, ret.parse().map_err(|_| WRONG)?),
            ("ENVID", Some(id)) => {
                once(&mut asked.envid, EnvelopeId::from_xtext(id).map_err(|_| WRONG)?)
            }
            ("SMTPUTF8", None) if !asked.utf8 => {
                asked.utf8 = true;
                Ok(())
            }
            ("REQUIRETLS", None) if !asked.require_tls => {
                asked.require_tls = true;
                Ok(())
            }
            ("AUTH", Some(name)) if !*author && !name.is_empty() => {
                *author = true;
                Ok(())
            }
            ("SIZE" | "BODY" | "RET" | "ENVID" | "SMTPUTF8" | "REQUIRETLS" | "AUTH", _) => {
                Err(WRONG)
            }
            _ => Err(CommandError::UnknownParameter),
        }
    }
}

/// RCPT TO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// `<postmaster>` without domain: ours, whoever asks (RFC 5321 §4.5.1).
    Postmaster(RecipientRequests),
    /// Anyone else.
    Address {
        /// Where to.
        address: Address,
        /// Written with characters beyond ASCII: allowed only after SMTPUTF8.
        utf8: bool,
        /// What is asked for it.
        asked: RecipientRequests,
    },
}

impl Recipient {
    fn parse(text: &str) -> Result<Self, CommandError> {
        let (path, parameters) = split_path("TO:", text)?;
        if path.starts_with('@') {
            return Err(CommandError::SourceRoute);
        }
        let mut asked = RecipientRequests::default();
        for Parameter { name, value } in Parameter::each(parameters) {
            let wrong = |_| CommandError::Parameter;
            match (name.as_str(), value) {
                ("NOTIFY", Some(when)) => once(&mut asked.notify, when.parse().map_err(wrong)?)?,
                ("ORCPT", Some(whom)) => once(&mut asked.orcpt, whom.parse().map_err(wrong)?)?,
                ("NOTIFY" | "ORCPT", None) => return Err(CommandError::Parameter),
                _ => return Err(CommandError::UnknownParameter),
            }
        }
        if path.eq_ignore_ascii_case("postmaster") {
            return Ok(Self::Postmaster(asked));
        }
        let address = path.parse().map_err(|_| CommandError::Recipient)?;
        Ok(Self::Address { address, utf8: !text.is_ascii(), asked })
    }
}

/// BDAT: a piece of the message follows (RFC 3030 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Bytes that follow the command's CRLF.
    pub(crate) size: u64,
    /// The message ends with them.
    pub(crate) last: bool,
}

impl Chunk {
    fn parse(text: &str) -> Result<Self, CommandError> {
        let (size, last) = match text.split_once(' ') {
            Some((size, word)) if word.trim_matches(' ').eq_ignore_ascii_case("LAST") => {
                (size, true)
            }
            Some(_) => return Err(CommandError::Chunk),
            None => (text, false),
        };
        Ok(Self { size: number(size).map_err(|_| CommandError::Chunk)?, last })
    }
}

/// Whether a local part tells the next host to pass the mail on: `user%host`, `host!user` and
/// `user@host` in quotes were routes once, and open relays since.
pub(crate) fn is_routed(local: &LocalPart) -> bool {
    local.as_str().contains(['%', '!', '@'])
}

/// Why a line is not a command; always the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("unknown command")]
    Unknown,
    #[error("control characters or bytes that are not UTF-8")]
    NotText,
    #[error("an HTTP request")]
    Http,
    #[error("no usable name in EHLO or HELO")]
    HelloName,
    #[error("the argument does not have the form the command needs")]
    Argument,
    #[error("a parameter with a wrong value, or given twice")]
    Parameter,
    #[error("a parameter that was not offered")]
    UnknownParameter,
    #[error("the sender is not an address")]
    Sender,
    #[error("the recipient is not an address")]
    Recipient,
    #[error("a source route")]
    SourceRoute,
    #[error("BDAT without the size of what follows")]
    Chunk,
    #[error("characters beyond ASCII without SMTPUTF8")]
    NeedsUtf8,
    #[error("unknown login mechanism")]
    Mechanism,
}

fn parse_auth(rest: &str) -> Result<Command, CommandError> {
    let mut words = rest.split(' ').filter(|text| !text.is_empty());
    let name = words.next().ok_or(CommandError::Argument)?;
    let initial = words.next().map(str::to_owned);
    if words.next().is_some() {
        return Err(CommandError::Argument);
    }
    let password = sasl::Mechanism::named(name).map(Mechanism::Password);
    let mechanism = password
        .or_else(|| scram::named(name).map(Mechanism::Scram))
        .ok_or(CommandError::Mechanism)?;
    Ok(Command::Auth { mechanism, initial })
}

fn alone(rest: &str, command: Command) -> Result<Command, CommandError> {
    if rest.is_empty() { Ok(command) } else { Err(CommandError::Argument) }
}

/// `KEYWORD` or `KEYWORD=value` after a path (RFC 5321 §4.1.2).
struct Parameter<'a> {
    /// In upper case.
    name: String,
    value: Option<&'a str>,
}

impl<'a> Parameter<'a> {
    fn each(text: &'a str) -> impl Iterator<Item = Self> {
        text.split(' ').filter(|word| !word.is_empty()).map(|word| {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            Self { name: name.to_ascii_uppercase(), value }
        })
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), CommandError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(CommandError::Parameter),
    }
}

/// Up to 20 digits (RFC 1870 §4); more than fits is as much as there can be.
fn number(digits: &str) -> Result<u64, CommandError> {
    let sound = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if sound { Ok(digits.parse().unwrap_or(u64::MAX)) } else { Err(CommandError::Parameter) }
}

/// RFC 6152. BINARYMIME is not offered: a message here is lines.
fn body_kind(text: &str) -> Result<BodyKind, CommandError> {
    match text.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyKind::SevenBit),
        "8BITMIME" => Ok(BodyKind::EightBitMime),
        _ => Err(CommandError::Parameter),
    }
}

/// Splits `FROM:<path> parameters`. A space after the colon is wrong and widespread.
fn split_path<'a>(keyword: &str, text: &'a str) -> Result<(&'a str, &'a str), CommandError> {
    let path = match text.split_at_checked(keyword.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(keyword) => rest.trim_start_matches(' '),
        _ => return Err(CommandError::Argument),
    };
    let inner = path.strip_prefix('<').ok_or(CommandError::Argument)?;
    let end = closing_bracket(inner).ok_or(CommandError::Argument)?;
    let (path, rest) = (&inner[..end], &inner[end + 1..]);
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(CommandError::Argument);
    }
    Ok((path, rest.trim_matches(' ')))
}

/// Where the path ends; a `>` in a quoted local part does not end it.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a line that cannot be made is the failed test")]
mod differential;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests;
