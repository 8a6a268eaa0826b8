//! Framing of CRLF lines. What counts as a line end decides whether mail can be smuggled past a
//! check, so it is decided here once: only CRLF ends a line; a bare CR or LF is reported, never
//! taken for an end (RFC 5321 §2.3.8).

use bytes::{Buf, Bytes, BytesMut};

/// Collects bytes and gives out whole lines. Holds at most the limit given by the caller plus
/// what one read brought.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: BytesMut,
    /// Up to here no line end was found.
    scanned: usize,
    /// The rest of a line that was too long is being thrown away.
    skipping: bool,
}

/// A line without its CRLF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(pub Bytes);

/// Why there is no line to give out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line is longer than allowed; its rest is skipped, the next line is intact.
    #[error("line too long")]
    TooLong,
    /// A CR without LF or an LF without CR stood in the line, which is consumed.
    #[error("bare CR or LF in a line")]
    Bare,
}

impl LineBuffer {
    /// Adds what the peer sent.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Where a socket may read into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Bytes received and not yet given out.
    pub fn pending(&self) -> usize {
        self.bytes.len()
    }

    /// Gives back the memory of an empty buffer: a peer may be silent for minutes.
    pub fn release(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
            self.scanned = 0;
        }
    }

    /// Throws away what was received and not given out: at STARTTLS, plaintext that came early
    /// must not be taken for something said under TLS (RFC 3207 §4.2).
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next line of at most `max` bytes without CRLF; nothing until one is complete.
    pub fn next_line(&mut self, max: usize) -> Result<Option<Line>, LineError> {
        loop {
            let Some(end) = self.find_crlf() else {
                if self.skipping || self.bytes.len() > max + 1 {
                    return self.skip_partial();
                }
                return Ok(None);
            };
            let line = self.bytes.split_to(end).freeze();
            self.bytes.advance(2);
            self.scanned = 0;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if line.len() > max {
                return Err(LineError::TooLong);
            }
            if line.iter().any(|b| matches!(b, b'\r' | b'\n')) {
                return Err(LineError::Bare);
            }
            return Ok(Some(Line(line)));
        }
    }

    /// Takes up to `max` raw bytes: for literals and message data, framed elsewhere.
    pub fn take(&mut self, max: usize) -> Bytes {
        self.scanned = 0;
        let length = max.min(self.bytes.len());
        self.bytes.split_to(length).freeze()
    }

    /// Drops the part of an over-long line that is here, once told as an error.
    fn skip_partial(&mut self) -> Result<Option<Line>, LineError> {
        // A CR at the end may be the first half of the line end.
        let keep = usize::from(self.bytes.last() == Some(&b'\r'));
        let drop = self.bytes.len() - keep;
        self.bytes.advance(drop);
        self.scanned = 0;
        if std::mem::replace(&mut self.skipping, true) { Ok(None) } else { Err(LineError::TooLong) }
    }

    fn find_crlf(&mut self) -> Option<usize> {
        let found = self.bytes[self.scanned..].windows(2).position(|pair| pair == b"\r\n");
        if found.is_none() {
            self.scanned = self.bytes.len().saturating_sub(1);
        }
        found.map(|at| self.scanned + at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a missing line is the failed test")]
mod tests {
    use super::*;

    fn line(buffer: &mut LineBuffer) -> Option<Bytes> {
        buffer.next_line(20).unwrap().map(|line| line.0)
    }

    #[test]
    fn lines_come_out_whole_however_they_arrive() {
        let mut buffer = LineBuffer::default();
        for byte in b"EHLO a\r\nMAIL\r\n\r\nQU" {
            buffer.feed(&[*byte]);
        }
        assert_eq!(line(&mut buffer).unwrap(), "EHLO a");
        assert_eq!(line(&mut buffer).unwrap(), "MAIL");
        assert_eq!(line(&mut buffer).unwrap(), "");
        assert_eq!(line(&mut buffer), None);
        buffer.feed(b"IT\r\n");
        assert_eq!(line(&mut buffer).unwrap(), "QUIT");
    }

    #[test]
    fn bare_line_ends_end_nothing() {
        let mut buffer = LineBuffer::default();
        buffer.feed(b"a\nb\r\nc\rd\r\n.\n\r\nok\r\n");
        for _ in 0..3 {
            assert_eq!(buffer.next_line(20), Err(LineError::Bare));
        }
        assert_eq!(line(&mut buffer).unwrap(), "ok");
    }

    #[test]
    fn an_endless_line_needs_no_memory_and_is_told_once() {
        let mut buffer = LineBuffer::default();
        let mut errors = 0;
        for _ in 0..1000 {
            buffer.feed(&[b'x'; 1000]);
            match buffer.next_line(20) {
                Err(LineError::TooLong) => errors += 1,
                other => assert_eq!(other, Ok(None)),
            }
            assert!(buffer.pending() <= 1);
        }
        assert_eq!(errors, 1);
        buffer.feed(b"\r");
        assert_eq!(buffer.next_line(20), Ok(None));
        buffer.feed(b"\nnext\r\n");
        assert_eq!(line(&mut buffer).unwrap(), "next");
    }

    #[test]
    fn the_limit_counts_without_the_line_end() {
        let mut buffer = LineBuffer::default();
        buffer.feed(b"01234567890123456789\r\n012345678901234567890\r\nok\r\n");
        assert_eq!(line(&mut buffer).unwrap().len(), 20);
        assert_eq!(buffer.next_line(20), Err(LineError::TooLong));
        assert_eq!(line(&mut buffer).unwrap(), "ok");
    }
}
