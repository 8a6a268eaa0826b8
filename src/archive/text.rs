//! Line ends and quoting between files and the wire. Mail on the wire ends its lines in CRLF; files
//! mostly in LF. A file whose first line ends in CRLF is in the form of the wire, and nothing in it
//! is touched; in any other each LF becomes CRLF. A message with a CR or LF standing alone would
//! not survive the way there and back, so it is written in the form of the wire.

use std::io::{self, BufRead, Read, Write};

use super::wire::PIECE;

/// How the bytes of a file become those of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Known to be in the form of the wire, whatever the first line looks like.
    pub(super) verbatim: bool,
    /// One `>` is taken from lines that start with `>From ` (mboxrd).
    pub(super) quoted: bool,
}

/// A message's bytes out of a file's.
pub(super) struct Normal<R> {
    from: R,
    form: Form,
    /// Known at the first line end.
    lines: Option<Lines>,
    last: u8,
    start: Option<Start>,
    out: Vec<u8>,
    given: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    Wire,
    Unix,
}

/// At the start of a line that may be quoted.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// One `>` is held back.
    held: bool,
    /// Bytes of `From ` after it, held back as well.
    matched: usize,
}

const START: Start = Start { held: false, matched: 0 };
const FROM: &[u8] = b"From ";

impl<R: BufRead> Normal<R> {
    pub(super) fn new(from: R, form: Form) -> Self {
        Self {
            from,
            form,
            lines: form.verbatim.then_some(Lines::Wire),
            last: 0,
            start: form.quoted.then_some(START),
            out: Vec::new(),
            given: 0,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.out.clear();
        self.given = 0;
        while self.out.is_empty() {
            let chunk = self.from.fill_buf()?;
            let taken = chunk.len();
            if taken == 0 {
                if let Some(start) = self.start.take() {
                    release(start, &mut self.out);
                }
                return Ok(());
            }
            let mut rest = chunk;
            while let Some(&byte) = rest.first() {
                if let Some(start) = &mut self.start {
                    match (byte, start.matched) {
                        (b'>', 0) => {
                            // All but one go on: a line of them must not fill the memory.
                            if start.held {
                                self.out.push(b'>');
                            }
                            start.held = true;
                        }
                        (byte, at) if start.held && FROM.get(at) == Some(&byte) => {
                            start.matched += 1;
                            if start.matched == FROM.len() {
                                self.out.extend_from_slice(FROM);
                                self.start = None;
                            }
                        }
                        _ => {
                            release(*start, &mut self.out);
                            self.start = None;
                            continue;
                        }
                    }
                    self.last = byte;
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                let Some(newline) = rest.iter().position(|byte| *byte == b'\n') else {
                    self.out.extend_from_slice(rest);
                    self.last = rest.last().copied().unwrap_or(self.last);
                    break;
                };
                let (line, after) = rest.split_at(newline);
                self.out.extend_from_slice(line);
                let crlf = line.last().copied().unwrap_or(self.last) == b'\r';
                let lines = self.lines.get_or_insert(if crlf { Lines::Wire } else { Lines::Unix });
                if *lines == Lines::Unix && !crlf {
                    self.out.push(b'\r');
                }
                self.out.push(b'\n');
                self.last = b'\n';
                rest = after.get(1..).unwrap_or_default();
                self.start = self.form.quoted.then_some(START);
            }
            self.from.consume(taken);
        }
        Ok(())
    }
}

fn release(start: Start, out: &mut Vec<u8>) {
    if start.held {
        out.push(b'>');
    }
    out.extend_from_slice(FROM.get(..start.matched).unwrap_or_default());
}

impl<R: BufRead> Read for Normal<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.out.len() {
            self.refill()?;
        }
        let ready = self.out.get(self.given..).unwrap_or_default();
        let count = ready.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(ready) {
            *to = *from;
        }
        self.given += count;
        Ok(count)
    }
}

/// What a message's line ends are like, learned while it passes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LineEnds {
    last: u8,
    /// A CR or LF stands alone.
    bare: bool,
    pub(super) len: u64,
}

impl LineEnds {
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.bare |= (byte == b'\n') != (self.last == b'\r');
            self.last = byte;
        }
        self.len += bytes.len() as u64;
    }

    /// Whether writing LF for CRLF can be undone.
    pub(super) fn can_be_unix(&self) -> bool {
        !self.bare && self.last != b'\r'
    }

    /// Whether the last line is complete.
    pub(super) fn is_closed(&self) -> bool {
        self.last == b'\n'
    }
}

/// Writes a message into a file; returns the bytes written.
pub(super) fn write_message(
    message: &mut impl Read,
    to: &mut impl Write,
    unix: bool,
    quote: bool,
) -> io::Result<u64> {
    let mut piece = vec![0; PIECE];
    let mut out = Vec::with_capacity(PIECE + PIECE / 8);
    let mut written = 0;
    // How much of `From ` the line starts with, `>` before it left out; nothing further on.
    let mut start = quote.then_some(0);
    loop {
        let count = message.read(&mut piece)?;
        for &byte in piece.get(..count).unwrap_or_default() {
            if byte == b'\r' && unix {
                continue;
            }
            if let Some(matched) = start {
                match (byte, matched) {
                    (b'>', 0) => out.push(byte),
                    (byte, at) if FROM.get(at) == Some(&byte) => {
                        start = Some(at + 1);
                        if at + 1 == FROM.len() {
                            out.push(b'>');
                            out.extend_from_slice(FROM);
                            start = None;
                        }
                    }
                    _ => {
                        out.extend_from_slice(FROM.get(..matched).unwrap_or_default());
                        out.push(byte);
                        start = (byte == b'\n').then_some(0);
                    }
                }
                continue;
            }
            out.push(byte);
            if byte == b'\n' && quote {
                start = Some(0);
            }
        }
        if count == 0 {
            out.extend_from_slice(FROM.get(..start.unwrap_or_default()).unwrap_or_default());
        }
        to.write_all(&out)?;
        written += out.len() as u64;
        out.clear();
        if count == 0 {
            return Ok(written);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(bytes: &[u8], verbatim: bool, quoted: bool) -> Vec<u8> {
        let mut text = Vec::new();
        // Small pieces, so that each state meets their borders.
        let from = io::BufReader::with_capacity(3, bytes);
        Normal::new(from, Form { verbatim, quoted }).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn lone_line_feeds_become_line_ends_unless_the_file_is_in_the_form_of_the_wire() {
        assert_eq!(normal(b"a\nb\r\nc", false, false), b"a\r\nb\r\nc");
        assert_eq!(normal(b"a\r\nb\nc\n", false, false), b"a\r\nb\nc\n");
        assert_eq!(normal(b"a\nb\n", true, false), b"a\nb\n");
        assert_eq!(normal(b"\n", false, false), b"\r\n");
    }

    #[test]
    fn quoting_is_undone_at_line_starts_only() {
        let quoted = b">From a\n>>From b\n > From c\nx>From d\n>Fro\n>From";
        let plain = b"From a\n>From b\n > From c\nx>From d\n>Fro\n>From";
        assert_eq!(normal(quoted, true, true), plain);
        assert_eq!(normal(b">>>>From x", true, true), b">>>From x");
        assert_eq!(normal(b">>>>Fram", true, true), b">>>>Fram");
    }

    proptest! {
        #[test]
        fn every_message_survives_the_way_into_a_file_and_back(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "From ", ">", "From", "Fr", "\r\n", "\r\n", "\n", "\r", "a", "\0", "\u{fc}", " ",
                ]),
                0..30,
            ),
            quote: bool,
        ) {
            let message = words.concat().into_bytes();
            let mut ends = LineEnds::default();
            ends.pass(&message);
            let unix = ends.can_be_unix();
            let mut file = Vec::new();
            let written = write_message(&mut &message[..], &mut file, unix, quote).unwrap();
            prop_assert_eq!(written, file.len() as u64);
            prop_assert!(!quote || !file.split(|b| *b == b'\n').any(|l| l.starts_with(b"From ")));
            prop_assert_eq!(normal(&file, !unix, quote), message);
        }
    }
}
