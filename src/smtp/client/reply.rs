//! Replies of a host (RFC 5321 §4.2), within limits, with nothing in them that could end a line or
//! move a cursor.

use std::fmt;

use crate::net::{LineBuffer, LineError};

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The text of each line, without code.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 5xx.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The enhanced status code (RFC 2034 §4) when it agrees with the reply code, else a general
    /// one of the same class.
    pub fn status(&self) -> String {
        let class = self.code / 100;
        let given = self.lines.first().and_then(|line| line.split(' ').next()).unwrap_or_default();
        let parts: Vec<&str> = given.split('.').collect();
        let number = |part: &&str| (1..=3).contains(&part.len()) && part.parse::<u16>().is_ok();
        match parts.as_slice() {
            [first, rest @ ..]
                if rest.len() == 2 && *first == class.to_string() && rest.iter().all(number) =>
            {
                given.to_owned()
            }
            _ => format!("{class}.0.0"),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        let mut room = SHOWN;
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            let part: String = line.chars().take(room).collect();
            room = room.saturating_sub(part.len() + 1);
            write!(f, " {part}")?;
            if room == 0 {
                return f.write_str("…");
            }
        }
        Ok(())
    }
}

/// Why something is not a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// No three digits at the start, or digits that mean nothing.
    #[error("a line without a reply code")]
    Code,
    /// The lines of one reply have different codes.
    #[error("a reply with several codes")]
    Mixed,
    /// More lines than any host needs.
    #[error("a reply of more than {MAX_LINES} lines")]
    TooLong,
    /// A line too long or with a bare CR or LF.
    #[error("{0}")]
    Line(#[from] LineError),
}

/// Collects bytes and gives out whole replies. Holds at most [`MAX_LINES`] lines.
#[derive(Debug, Default)]
pub(super) struct ReplyBuffer {
    bytes: LineBuffer,
    code: Option<u16>,
    lines: Vec<String>,
}

impl ReplyBuffer {
    /// Adds what the host sent.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.feed(bytes);
    }

    /// Whether something came that no reply has used up.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.pending() == 0 && self.lines.is_empty()
    }

    /// The next reply; nothing until one is complete.
    pub(super) fn next_reply(&mut self) -> Result<Option<Reply>, ReplyError> {
        while let Some(line) = self.bytes.next_line(MAX_LINE)? {
            let (code, last, text) = parse(&line.0)?;
            if self.code.is_some_and(|begun| begun != code) {
                return Err(ReplyError::Mixed);
            }
            self.code = Some(code);
            self.lines.push(text);
            if last {
                self.code = None;
                return Ok(Some(Reply { code, lines: std::mem::take(&mut self.lines) }));
            }
            if self.lines.len() >= MAX_LINES {
                return Err(ReplyError::TooLong);
            }
        }
        Ok(None)
    }
}

/// Code, whether this is the last line, and the text.
fn parse(line: &[u8]) -> Result<(u16, bool, String), ReplyError> {
    let (digits, rest) = line.split_at_checked(3).ok_or(ReplyError::Code)?;
    let [class @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] = digits else {
        return Err(ReplyError::Code);
    };
    let code = [class, b, c].into_iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0'));
    let (last, text) = match rest {
        [] => (true, rest),
        [b' ', text @ ..] => (true, text),
        [b'-', text @ ..] => (false, text),
        _ => return Err(ReplyError::Code),
    };
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    Ok((code, last, String::from_utf8_lossy(text).chars().map(clean).collect()))
}

/// The longest reply line taken; RFC 5321 §4.5.3.1.5 says 512.
const MAX_LINE: usize = 2048;
/// More lines than any host's EHLO has.
const MAX_LINES: usize = 100;
/// Characters shown of a reply.
const SHOWN: usize = 500;
