//! What a client may say: a line becomes a [`Command`] or is refused, without looking at state.

use crate::accounts::Password;

/// One command line.
#[derive(Debug, Clone)]
pub(super) enum Command {
    /// RFC 2449 §5.
    Capa,
    /// RFC 2595 §4.
    Stls,
    /// The login name.
    User(String),
    /// The rest of the line, spaces included.
    Pass(Password),
    /// RFC 5034; without a mechanism the client asks for the list.
    Auth { mechanism: Option<String>, initial: Option<Password> },
    /// Ends the session, and removes what was marked.
    Quit,
    /// Number and size of the messages.
    Stat,
    /// Sizes.
    List(Option<Number>),
    /// Unique names.
    Uidl(Option<Number>),
    /// A whole message.
    Retr(Number),
    /// Header and some lines of a message.
    Top(Number, u32),
    /// Marks for removal.
    Dele(Number),
    /// Unmarks all.
    Rset,
    /// Nothing.
    Noop,
    /// RFC 6856 §2.1.
    Utf8,
}

/// A message's number in this session, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(u32);

impl Number {
    /// Its place in a list that starts with 0.
    pub(super) fn index(self) -> usize {
        usize::try_from(self.0 - 1).unwrap_or(usize::MAX)
    }

    /// As the client says it.
    pub(super) fn get(self) -> u32 {
        self.0
    }
}

impl Command {
    /// Longest command line without CRLF (RFC 2449 §4).
    pub(super) const LINE_MAX: usize = 253;

    /// Understands a line. Keywords ignore case (RFC 1939 §3).
    pub(super) fn parse(line: &[u8]) -> Result<Self, CommandError> {
        if line.len() > Self::LINE_MAX && !is_auth(line) {
            return Err(CommandError::TooLong);
        }
        let line = std::str::from_utf8(line).map_err(|_| CommandError::Syntax)?;
        let (keyword, rest) = match line.split_once(' ') {
            Some((keyword, rest)) => (keyword, Some(rest)),
            None => (line, None),
        };
        let words: Vec<&str> = rest.unwrap_or_default().split_ascii_whitespace().collect();
        let command = match (keyword.to_ascii_uppercase().as_str(), words.as_slice()) {
            ("CAPA", []) => Self::Capa,
            ("STLS", []) => Self::Stls,
            ("USER", [name]) => Self::User((*name).to_owned()),
            // A password may begin or end with spaces (RFC 1939 §7).
            ("PASS", _) => match rest {
                Some(password) if !password.is_empty() => {
                    Self::Pass(Password::new(password.to_owned()))
                }
                _ => return Err(CommandError::Syntax),
            },
            ("AUTH", []) => Self::Auth { mechanism: None, initial: None },
            ("AUTH", [mechanism]) => {
                Self::Auth { mechanism: Some((*mechanism).to_owned()), initial: None }
            }
            ("AUTH", [mechanism, initial]) => Self::Auth {
                mechanism: Some((*mechanism).to_owned()),
                // It holds the password.
                initial: Some(Password::new((*initial).to_owned())),
            },
            ("QUIT", []) => Self::Quit,
            ("STAT", []) => Self::Stat,
            ("LIST", []) => Self::List(None),
            ("LIST", [one]) => Self::List(Some(number(one)?)),
            ("UIDL", []) => Self::Uidl(None),
            ("UIDL", [one]) => Self::Uidl(Some(number(one)?)),
            ("RETR", [one]) => Self::Retr(number(one)?),
            ("TOP", [one, lines]) => Self::Top(number(one)?, digits(lines)?),
            ("DELE", [one]) => Self::Dele(number(one)?),
            ("RSET", []) => Self::Rset,
            ("NOOP", []) => Self::Noop,
            ("UTF8", []) => Self::Utf8,
            (
                "CAPA" | "STLS" | "USER" | "AUTH" | "QUIT" | "STAT" | "LIST" | "UIDL" | "RETR"
                | "TOP" | "DELE" | "RSET" | "NOOP" | "UTF8",
                _,
            ) => return Err(CommandError::Syntax),
            _ => return Err(CommandError::Unknown),
        };
        Ok(command)
    }
}

/// Why a line is no command; always the client's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    #[error("this command is not known here")]
    Unknown,
    #[error("the command is not complete or has too much behind it")]
    Syntax,
    #[error("messages are numbered from 1")]
    Number,
    #[error("the line is too long")]
    TooLong,
}

fn is_auth(line: &[u8]) -> bool {
    line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "))
}

fn number(text: &str) -> Result<Number, CommandError> {
    match digits(text)? {
        0 => Err(CommandError::Number),
        number => Ok(Number(number)),
    }
}

/// A number too large for us is as good as the largest: there is no such message, or all lines.
fn digits(text: &str) -> Result<u32, CommandError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(CommandError::Syntax);
    }
    Ok(text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_password_is_the_whole_rest_of_the_line() {
        let Ok(Command::Pass(password)) = Command::parse(b"pass  a b ") else {
            panic!("not understood")
        };
        assert_eq!(password.expose(), " a b ");
    }

    #[test]
    fn only_auth_may_be_long() {
        let long = "x".repeat(300);
        let parse = |line: String| Command::parse(line.as_bytes());
        assert!(matches!(parse(format!("auth PLAIN {long}")), Ok(Command::Auth { .. })));
        assert!(matches!(parse(format!("PASS {long}")), Err(CommandError::TooLong)));
        assert!(matches!(parse("RETR 99999999999999999999".to_owned()), Ok(Command::Retr(_))));
        assert!(matches!(parse("RETR +1".to_owned()), Err(CommandError::Syntax)));
        assert!(matches!(parse("RETR 0".to_owned()), Err(CommandError::Number)));
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(
            line in any::<Vec<u8>>(),
            tail in "[ 0-9A-Z\u{e9}]{0,9}",
        ) {
            let _ = Command::parse(&line);
            for keyword in ["LIST", "TOP", "AUTH", "PASS", "USER", "RETR"] {
                let _ = Command::parse(format!("{keyword}{tail}").as_bytes());
            }
        }
    }
}
