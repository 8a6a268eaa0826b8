//! Base64 found in a message's bytes and taken apart so that it can be put together again byte
//! for byte: an attachment is stored as the file it was, a quarter smaller before compression,
//! and the same file is the same bytes whatever mail it came in. Purely lexical: no header is
//! looked at, so a run may be found where MIME has none, which costs nothing but its place.
//!
//! A **run** is lines of one width and one line end, in canonical base64 (RFC 4648 section 4: no
//! stray character, zero bits at the end); the last line may be shorter, and only it is padded.
//! Whatever is not exactly that stays plain.

use std::mem;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Most decoded bytes of one piece. Whole lines of 76, 72, 64 and 60 characters, so that a file
/// is cut at the same places whichever of these a mailer wraps at.
pub(super) const MAX_PIECE: usize = 123_120;

/// Decoded bytes below which a run is not worth a part of its own. Over real mail all from 200 to
/// 1000 came out alike; each part is an entry in the index as well.
const MIN_RUN: usize = 512;

/// Characters a line has at least for a run to begin with it: no mailer wraps below, words do.
const MIN_WIDTH: usize = 32;

/// Longest line of a run: what fits SMTP's 998 characters, rounded up (RFC 5321 section 4.5.3.1.6).
const MAX_WIDTH: usize = 1000;

/// How the text of a run is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Groups of four characters in a full line, 1 to 250.
    groups: u8,
    crlf: bool,
    /// Whether the last line has its line end; the others always do.
    ended: bool,
}

impl Form {
    /// A number below 1024 for the log.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.groups) << 2 | u64::from(self.crlf) << 1 | u64::from(self.ended)
    }

    /// The reverse of [`Form::to_bits`]; nothing for a number it never gives.
    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        let groups = u8::try_from(bits >> 2).ok()?;
        let fits = (1..=MAX_WIDTH / 4).contains(&usize::from(groups));
        fits.then_some(Self { groups, crlf: bits & 2 != 0, ended: bits & 1 != 0 })
    }

    /// Bytes of text for so many decoded bytes.
    pub(super) fn encoded_len(self, decoded: u64) -> u64 {
        let lines = decoded.div_ceil(self.line_bytes() as u64);
        let ends = if self.ended { lines } else { lines.saturating_sub(1) };
        let text = decoded.div_ceil(3).saturating_mul(4);
        text.saturating_add(ends.saturating_mul(self.line_end().len() as u64))
    }

    /// Appends the exact text of these bytes.
    pub(super) fn encode(self, decoded: &[u8], out: &mut Vec<u8>) {
        let end = self.line_end();
        for line in decoded.chunks(self.line_bytes()) {
            let start = out.len();
            let width = line.len().div_ceil(3) * 4;
            out.resize(start + width, 0);
            // Cannot fail: the room was just made for it.
            let _ = BASE64.encode_slice(line, &mut out[start..]);
            out.extend_from_slice(end);
        }
        if !self.ended && !decoded.is_empty() {
            out.truncate(out.len() - end.len());
        }
    }

    /// Decoded bytes of a full line.
    fn line_bytes(self) -> usize {
        usize::from(self.groups) * 3
    }

    fn line_end(self) -> &'static [u8] {
        if self.crlf { b"\r\n" } else { b"\n" }
    }
}

/// A stretch of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Bytes as they are; the next piece may be plain as well.
    Plain(&'a [u8]),
    /// Text that `form.encode(&decoded)` gives back; at most [`MAX_PIECE`] decoded bytes.
    Base64 { form: Form, decoded: Vec<u8> },
}

/// Finds the runs in a stream. What it emits is, in order, exactly what it was fed. Holds at most
/// one piece and one line.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The beginning of a line that the input broke off in; at most `MAX_WIDTH` bytes and a CR.
    line: Vec<u8>,
    /// Inside a line too long for any run.
    overlong: bool,
    run: Option<Run>,
}

impl Splitter {
    /// At the beginning of a message.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8], emit: &mut impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        if self.overlong || !self.line.is_empty() {
            rest = self.continue_line(rest, emit);
        }
        // Lines that are not part of a run wait between `plain` and `rest`, to go out together.
        let mut plain = rest;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end + 1);
            let before = &plain[..plain.len() - rest.len()];
            if self.take_line(line, before, emit) {
                plain = after;
            }
            rest = after;
        }
        if rest.len() > MAX_WIDTH + 1 {
            self.end_run(emit);
            self.overlong = true;
            rest = &[];
        }
        emit_plain(&plain[..plain.len() - rest.len()], emit);
        self.line.extend_from_slice(rest);
    }

    /// Ends the message.
    pub(super) fn finish(mut self, emit: &mut impl FnMut(Piece<'_>)) {
        let line = mem::take(&mut self.line);
        if !self.take_line(&line, &[], emit) {
            emit_plain(&line, emit);
        }
        self.end_run(emit);
    }

    /// Brings the line that the last input broke off in to its end; gives what follows it.
    fn continue_line<'a>(&mut self, bytes: &'a [u8], emit: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        let end = memchr::memchr(b'\n', bytes);
        let (more, after) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        if !self.overlong
            && self.line.len() + more.len() <= MAX_WIDTH + 1 + usize::from(end.is_some())
        {
            self.line.extend_from_slice(more);
            if end.is_some() {
                let mut line = mem::take(&mut self.line);
                if !self.take_line(&line, &[], emit) {
                    emit_plain(&line, emit);
                }
                line.clear();
                self.line = line;
            }
        } else {
            self.end_run(emit);
            emit_plain(&self.line, emit);
            self.line.clear();
            emit_plain(more, emit);
            self.overlong = end.is_none();
        }
        after
    }

    /// Takes a line into the run, or begins one with it after the plain bytes before it; says
    /// whether it did. A line that is not taken ends the run.
    fn take_line(&mut self, line: &[u8], before: &[u8], emit: &mut impl FnMut(Piece<'_>)) -> bool {
        let line = Line::new(line);
        if let Some(run) = &mut self.run {
            let taken = run.push(line);
            if taken.is_some_and(|more| more) {
                run.emit_full(emit);
            } else {
                self.end_run(emit);
            }
            if taken.is_some() {
                return true;
            }
        }
        let Some(mut run) = Run::new(line) else { return false };
        let Some(more) = run.push(line) else { return false };
        emit_plain(before, emit);
        self.run = Some(run);
        if !more {
            self.end_run(emit);
        }
        true
    }

    /// Emits what the run still holds.
    fn end_run(&mut self, emit: &mut impl FnMut(Piece<'_>)) {
        if let Some(run) = self.run.take() {
            run.end(emit);
        }
    }
}

fn emit_plain(bytes: &[u8], emit: &mut impl FnMut(Piece<'_>)) {
    if !bytes.is_empty() {
        emit(Piece::Plain(bytes));
    }
}

/// A line and how it ends.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    end: Option<LineEnd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Lf,
    CrLf,
}

impl<'a> Line<'a> {
    fn new(line: &'a [u8]) -> Self {
        if let Some(text) = line.strip_suffix(b"\r\n") {
            Self { text, end: Some(LineEnd::CrLf) }
        } else if let Some(text) = line.strip_suffix(b"\n") {
            Self { text, end: Some(LineEnd::Lf) }
        } else {
            Self { text: line, end: None }
        }
    }
}

/// Lines that belong together so far.
#[derive(Debug)]
struct Run {
    form: Form,
    decoded: Vec<u8>,
    /// Whether a piece of it went out already, so that the rest does as well.
    begun: bool,
}

impl Run {
    /// A run of lines as wide as this one, when a run may begin with it. Still empty.
    fn new(line: Line<'_>) -> Option<Self> {
        let fits = (MIN_WIDTH..=MAX_WIDTH).contains(&line.text.len());
        let groups = u8::try_from(line.text.len() / 4).ok().filter(|_| fits)?;
        let form = Form { groups, crlf: line.end == Some(LineEnd::CrLf), ended: true };
        Some(Self { form, decoded: Vec::new(), begun: false })
    }

    /// Takes a line that fits, and says whether another may follow it.
    fn push(&mut self, line: Line<'_>) -> Option<bool> {
        let width = line.text.len();
        let full = self.form.line_bytes();
        let crlf = line.end.map_or(self.form.crlf, |end| end == LineEnd::CrLf);
        if width == 0 || !width.is_multiple_of(4) || width / 4 * 3 > full || crlf != self.form.crlf
        {
            return None;
        }
        let start = self.decoded.len();
        self.decoded.resize(start + width / 4 * 3, 0);
        // Refuses bad characters, bad padding and bits that are not zero at the end.
        let Ok(count) = BASE64.decode_slice(line.text, &mut self.decoded[start..]) else {
            self.decoded.truncate(start);
            return None;
        };
        self.decoded.truncate(start + count);
        self.form.ended = line.end.is_some();
        Some(count == full && self.form.ended)
    }

    /// Emits a piece when another line would not fit into it.
    fn emit_full(&mut self, emit: &mut impl FnMut(Piece<'_>)) {
        if self.decoded.len() + self.form.line_bytes() > MAX_PIECE {
            self.begun = true;
            emit(Piece::Base64 { form: self.form, decoded: mem::take(&mut self.decoded) });
        }
    }

    fn end(self, emit: &mut impl FnMut(Piece<'_>)) {
        let Self { form, decoded, begun } = self;
        if decoded.len() >= MIN_RUN || begun && !decoded.is_empty() {
            emit(Piece::Base64 { form, decoded });
        } else {
            let mut text = Vec::new();
            form.encode(&decoded, &mut text);
            emit_plain(&text, emit);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test")]
mod tests;
