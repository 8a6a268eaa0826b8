//! Commands as a client writes them (RFC 5321 §4.1), parsed once; what parses here is meaningful
//! as it stands. Lenient where phones and printers are careless and nothing can be gained by it,
//! strict where two servers could read the same line differently.

use std::fmt;

use crate::accounts::sasl::Mechanism;
use crate::mail::{Address, LocalPart, ReversePath};

/// One command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Ehlo(HelloName),
    Helo(HelloName),
    Mail(MailFrom),
    Rcpt(Recipient),
    Data,
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
    /// SMTPUTF8: addresses and header may hold UTF-8 (RFC 6531).
    pub(crate) utf8: bool,
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
        let mut mail = Self { from, size: None, utf8: false, author: false };
        let mut body = false;
        for parameter in parameters.split(' ').filter(|text| !text.is_empty()) {
            let (key, value) = match parameter.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (parameter, None),
            };
            match (key.to_ascii_uppercase().as_str(), value) {
                ("SIZE", Some(size)) if mail.size.is_none() => {
                    // RFC 1870 §4: up to 20 digits.
                    let digits = size.len() <= 20 && size.bytes().all(|b| b.is_ascii_digit());
                    if !digits || size.is_empty() {
                        return Err(CommandError::Parameter);
                    }
                    mail.size = Some(size.parse().unwrap_or(u64::MAX));
                }
                ("BODY", Some(kind)) if !body => {
                    body = true;
                    // RFC 6152. BINARYMIME needs CHUNKING, which is not offered.
                    if !kind.eq_ignore_ascii_case("7BIT") && !kind.eq_ignore_ascii_case("8BITMIME")
                    {
                        return Err(CommandError::Parameter);
                    }
                }
                ("SMTPUTF8", None) if !mail.utf8 => mail.utf8 = true,
                ("AUTH", Some(author)) if !mail.author && !author.is_empty() => {
                    mail.author = true;
                }
                ("SIZE" | "BODY" | "SMTPUTF8" | "AUTH", _) => return Err(CommandError::Parameter),
                _ => return Err(CommandError::UnknownParameter),
            }
        }
        if !mail.utf8 && !path.is_ascii() {
            return Err(CommandError::NeedsUtf8);
        }
        Ok(mail)
    }
}

/// RCPT TO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// `<postmaster>` without domain: ours, whoever asks (RFC 5321 §4.5.1).
    Postmaster,
    /// Anyone else.
    Address {
        /// Where to.
        address: Address,
        /// Written with characters beyond ASCII: allowed only after SMTPUTF8.
        utf8: bool,
    },
}

impl Recipient {
    fn parse(text: &str) -> Result<Self, CommandError> {
        let (path, parameters) = split_path("TO:", text)?;
        if path.starts_with('@') {
            return Err(CommandError::SourceRoute);
        }
        if !parameters.is_empty() {
            return Err(CommandError::UnknownParameter);
        }
        if path.eq_ignore_ascii_case("postmaster") {
            return Ok(Self::Postmaster);
        }
        let address = path.parse().map_err(|_| CommandError::Recipient)?;
        Ok(Self::Address { address, utf8: !path.is_ascii() })
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
    let mechanism = Mechanism::named(name).ok_or(CommandError::Mechanism)?;
    Ok(Command::Auth { mechanism, initial })
}

fn alone(rest: &str, command: Command) -> Result<Command, CommandError> {
    if rest.is_empty() { Ok(command) } else { Err(CommandError::Argument) }
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
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Command, CommandError> {
        Command::parse(line.as_bytes())
    }

    fn mail(line: &str) -> MailFrom {
        match parse(line).unwrap() {
            Command::Mail(mail) => mail,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn what_phones_send_is_understood() {
        let sent = mail("mail FROM:<alice@example.org> BODY=8BITMIME SIZE=1234 SMTPUTF8");
        assert_eq!((sent.size, sent.utf8), (Some(1234), true));
        assert_eq!(mail("MAIL FROM: <a@b>  ").from.to_string(), "a@b");
        assert_eq!(mail("MAIL FROM:<>").from, ReversePath::Null);
        assert!(mail("MAIL FROM:<a@b> AUTH=<>").author);
        assert_eq!(mail("MAIL FROM:<\"a> b\"@c> SIZE=0").from.to_string(), "\"a> b\"@c");
        assert_eq!(mail("MAIL FROM:<a@b> SIZE=99999999999999999999").size, Some(u64::MAX));
        assert_eq!(parse("rcpt to:<PostMaster>"), Ok(Command::Rcpt(Recipient::Postmaster)));
        assert_eq!(parse("NOOP whatever"), Ok(Command::Noop));
        assert_eq!(parse("quit "), Ok(Command::Quit));
    }

    #[test]
    fn what_two_servers_could_read_differently_is_refused() {
        for (line, why) in [
            ("MAIL FROM:a@b", CommandError::Argument),
            ("MAIL FROM <a@b>", CommandError::Argument),
            ("MAIL FROM:<a@b>SIZE=1", CommandError::Argument),
            ("MAIL FROM:<a@b", CommandError::Argument),
            ("MAIL FROM:<a@b><c@d>", CommandError::Argument),
            ("MAIL FROM:<a@b> SIZE=1 SIZE=2", CommandError::Parameter),
            ("MAIL FROM:<a@b> SIZE=-1", CommandError::Parameter),
            ("MAIL FROM:<a@b> SIZE=", CommandError::Parameter),
            ("MAIL FROM:<a@b> BODY=BINARYMIME", CommandError::Parameter),
            ("MAIL FROM:<a@b> SMTPUTF8=1", CommandError::Parameter),
            ("MAIL FROM:<a@b> RET=HDRS", CommandError::UnknownParameter),
            ("MAIL FROM:<a>", CommandError::Sender),
            ("MAIL FROM:<ä@b>", CommandError::NeedsUtf8),
            ("RCPT TO:<>", CommandError::Recipient),
            ("RCPT TO:<a@[127.0.0.1]>", CommandError::Recipient),
            ("RCPT TO:<@x,@y:a@b>", CommandError::SourceRoute),
            ("RCPT TO:<a@b> NOTIFY=NEVER", CommandError::UnknownParameter),
            ("EHLO", CommandError::HelloName),
            ("EHLO a b", CommandError::HelloName),
            ("DATA now", CommandError::Argument),
            ("AUTH CRAM-MD5", CommandError::Mechanism),
            ("NOOP \0", CommandError::NotText),
            ("GET / HTTP/1.1", CommandError::Http),
            ("", CommandError::Unknown),
        ] {
            assert_eq!(parse(line), Err(why), "{line}");
        }
        assert_eq!(Command::parse(b"EHLO \xff"), Err(CommandError::NotText));
    }

    #[test]
    fn a_name_cannot_break_the_trace_field() {
        let Ok(Command::Ehlo(name)) = parse("EHLO evil(by)<x>;käthe") else { panic!() };
        assert_eq!(name.to_string(), "evil?by??x??k?the");
    }

    #[test]
    fn routes_hidden_in_a_local_part_are_seen() {
        let routed = |text: &str| is_routed(text.parse::<Address>().unwrap().local());
        assert!(routed("a%b@c") && routed("a!b@c") && routed("\"a@b\"@c"));
        assert!(!routed("a+b.c@d"));
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Command::parse(&line);
        }

        #[test]
        fn no_path_makes_the_parser_panic(line in "(MAIL FROM|RCPT TO):[<>\"\\\\@ =äS]{0,20}") {
            let _ = parse(&line);
        }
    }
}
