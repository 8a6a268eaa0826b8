//! Framing of commands: lines, and the literals between them (RFC 3501 §4.3, RFC 7888). Holds no
//! more than the limits allow; what is refused is skipped and the next command is intact.

use bytes::Bytes;

use crate::net::{LineBuffer, LineError};

/// How much of one command is held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Longest line.
    pub(super) line: usize,
    /// Longest literal; the message of an APPEND is none of these.
    pub(super) literal: u64,
    /// Lines and literals of one command together.
    pub(super) command: usize,
}

impl Limits {
    /// Small: anybody may send these.
    pub(super) const GUEST: Self = Self { line: 8 << 10, literal: 4 << 10, command: 16 << 10 };
    /// For someone with an account.
    pub(super) const USER: Self = Self { line: 64 << 10, literal: 64 << 10, command: 256 << 10 };
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A whole command without its last CRLF, literals in place.
    Command(Vec<u8>),
    /// A literal was announced. [`Input::so_far`] stands before it; it has to be accepted, taken
    /// as a stream, or refused.
    Literal(Marker),
    /// A line or command beyond the limits, or one with a bare CR or LF; it is skipped.
    Bad(&'static str),
}

/// `{size}` or, when the client does not wait for leave, `{size+}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) size: u64,
    pub(super) waits: bool,
}

/// Bytes on their way to becoming commands.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: LineBuffer,
    command: Vec<u8>,
    /// Bytes of an accepted literal that are still to come.
    literal: usize,
    /// Bytes to throw away, and the line after them.
    skip: Option<u64>,
}

impl Input {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.feed(bytes);
    }

    /// Gives back the memory of empty buffers.
    pub(super) fn rest(&mut self) {
        self.buffer.release();
    }

    /// Forgets everything: STARTTLS (RFC 3501 §6.2.1).
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn next(&mut self, limits: Limits) -> Option<Event> {
        if !self.skipped(limits) {
            return None;
        }
        while self.literal > 0 {
            let bytes = self.buffer.take(self.literal);
            if bytes.is_empty() {
                return None;
            }
            self.literal -= bytes.len();
            self.command.extend_from_slice(&bytes);
        }
        let line = match self.buffer.next_line(limits.line) {
            Ok(line) => line?.0,
            Err(error) => return Some(self.bad(error)),
        };
        if self.command.len() + line.len() > limits.command {
            self.command.clear();
            return Some(Event::Bad("The command is too long"));
        }
        let Some((marker, before)) = Marker::at_end_of(&line) else {
            self.command.extend_from_slice(&line);
            return Some(Event::Command(std::mem::take(&mut self.command)));
        };
        self.command.extend_from_slice(line.get(..before).unwrap_or_default());
        Some(Event::Literal(marker))
    }

    /// What stands before the literal that was announced.
    pub(super) fn so_far(&self) -> &[u8] {
        &self.command
    }

    /// Takes the announced literal as part of the command.
    pub(super) fn accept(&mut self, size: usize) {
        self.command.extend_from_slice(format!("{{{size}}}\r\n").as_bytes());
        self.literal = size;
    }

    /// Drops the command. The announced literal does not come when its sender waited for leave;
    /// otherwise it and the rest of its line are skipped.
    pub(super) fn refuse(&mut self, marker: Marker) {
        self.command.clear();
        if !marker.waits {
            self.skip = Some(marker.size);
        }
    }

    /// Ends the command whose last literal is read as a stream.
    pub(super) fn stream(&mut self) {
        self.command.clear();
    }

    /// Up to `max` bytes of a stream.
    pub(super) fn take(&mut self, max: u64) -> Bytes {
        self.buffer.take(usize::try_from(max).unwrap_or(usize::MAX).min(64 << 10))
    }

    /// All that came and is no command yet.
    pub(super) fn take_rest(&mut self) -> Bytes {
        self.buffer.take(usize::MAX)
    }

    /// A line that is no command: an answer to a challenge, DONE, the end of an APPEND.
    pub(super) fn line(&mut self, limits: Limits) -> Option<Result<Bytes, &'static str>> {
        match self.buffer.next_line(limits.line) {
            Ok(line) => line.map(|line| Ok(line.0)),
            Err(error) => Some(Err(reason(error))),
        }
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn pending(&self) -> usize {
        self.buffer.pending() + self.command.len()
    }

    /// Works on what is to be thrown away; whether that is done.
    fn skipped(&mut self, limits: Limits) -> bool {
        while let Some(left) = self.skip {
            if left > 0 {
                let bytes = self.take(left);
                if bytes.is_empty() {
                    return false;
                }
                self.skip = Some(left - bytes.len() as u64);
                continue;
            }
            let Some(line) = self.line(limits) else { return false };
            // The refused command may go on with another literal.
            let more = line.ok().and_then(|line| Marker::at_end_of(&line));
            self.skip = more.map(|(marker, _)| marker.size);
        }
        true
    }

    fn bad(&mut self, error: LineError) -> Event {
        self.command.clear();
        Event::Bad(reason(error))
    }
}

fn reason(error: LineError) -> &'static str {
    match error {
        LineError::TooLong => "The line is too long",
        LineError::Bare => "Lines end in CRLF; a CR or LF alone cannot be used",
    }
}

impl Marker {
    /// A literal announced at the end of a line, and where its brace is.
    pub(super) fn at_end_of(line: &[u8]) -> Option<(Self, usize)> {
        let inner = line.strip_suffix(b"}")?;
        let brace = inner.iter().rposition(|b| *b == b'{')?;
        let digits = inner.get(brace + 1..)?;
        let (digits, waits) = match digits.strip_suffix(b"+") {
            Some(digits) => (digits, false),
            None => (digits, true),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        // Too many digits for a number: no literal of that size is ever taken.
        let size = std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX);
        Some((Self { size, waits }, brace))
    }
}
