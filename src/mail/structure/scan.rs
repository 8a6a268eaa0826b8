//! The one pass that finds the parts: line by line, with a stack of open entities and no
//! recursion. Memory is bounded by the limits below, whatever the message is made of.

use std::io::{self, Read};

use super::fields::{Disposition, MediaType, languages};
use super::{Head, Inside, MAX_DEPTH, MAX_PARTS, Part, PartId, Structure, people};

/// Longest header field value kept, in bytes; the rest is cut off.
const MAX_FIELD: usize = 64 << 10;
/// Bytes of header fields kept in all; fields beyond are as if absent.
const MAX_KEPT: usize = 256 << 10;
/// No boundary line is longer.
const MAX_BOUNDARY_LINE: usize = 1024;

/// Takes a message apart.
pub(super) fn scan(reader: impl Read) -> io::Result<Structure> {
    read_until(reader, 32 << 10, |_| false)
}

/// Reads the header only.
pub(super) fn scan_head(reader: impl Read, length: u64) -> io::Result<Structure> {
    let mut structure =
        read_until(reader, 4 << 10, |scanner| scanner.header.is_none() || scanner.parts.len() > 1)?;
    structure.rest.clear();
    structure.root.inside = Inside::Leaf;
    structure.root.body.end = length.max(structure.root.body.start);
    Ok(structure)
}

/// The part that these fields of its header describe; where it lies is not told. `digest_child`:
/// it is a message unless they say otherwise.
pub(super) fn described(fields: &[u8], is_message: bool, digest_child: bool) -> Part {
    let mut scanner = Scanner::new();
    scanner.header = Some(Header { is_message, digest_child, ..Header::default() });
    scanner.feed(fields);
    if scanner.line_length > 0 {
        scanner.end_line(0);
    }
    let mut part = empty_part(0);
    describe(&mut part, scanner.header.take().unwrap_or_default());
    part
}

fn read_until(
    mut reader: impl Read,
    step: usize,
    enough: impl Fn(&Scanner) -> bool,
) -> io::Result<Structure> {
    let mut scanner = Scanner::new();
    let mut buffer = vec![0; step];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(scanner.finish()),
            Ok(read) => scanner.feed(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if enough(&scanner) {
            return Ok(scanner.finish());
        }
    }
}

struct Scanner {
    parts: Vec<Part>,
    /// From the root to the entity that gets the next line.
    open: Vec<Open>,
    /// The header being read; nothing within a body.
    header: Option<Header>,
    /// The beginning of the present line.
    line: Vec<u8>,
    /// Bytes of the present line so far, kept or not.
    line_length: u64,
    last_byte: u8,
    /// Where the present line begins.
    start: u64,
    /// Complete lines so far.
    lines: u64,
    previous: Line,
    kept: usize,
}

/// An entity that is not complete yet.
struct Open {
    part: usize,
    boundary: Option<Vec<u8>>,
    /// Its children are messages unless they say otherwise.
    digest: bool,
    /// Number of lines before its body.
    lines_before: u64,
}

/// How the line before the present one was.
#[derive(Clone, Copy, Default)]
struct Line {
    empty: bool,
    end_length: u64,
}

#[derive(Default)]
struct Header {
    is_message: bool,
    digest_child: bool,
    fields: Vec<(Field, Vec<u8>)>,
    /// The last line began a field that is not kept: neither are its continuations.
    skipping: bool,
}

impl Scanner {
    fn new() -> Self {
        let mut scanner = Self {
            parts: Vec::new(),
            open: Vec::new(),
            header: None,
            line: Vec::new(),
            line_length: 0,
            last_byte: 0,
            start: 0,
            lines: 0,
            previous: Line::default(),
            kept: 0,
        };
        scanner.push(0, true, false);
        scanner
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let newline = bytes.iter().position(|b| *b == b'\n');
            let (piece, rest) = bytes.split_at(newline.map_or(bytes.len(), |at| at + 1));
            let content = if newline.is_some() { piece.len() - 1 } else { piece.len() };
            let content = piece.get(..content).unwrap_or_default();
            let limit = if self.header.is_some() { MAX_FIELD } else { MAX_BOUNDARY_LINE };
            let room = limit.saturating_sub(self.line.len());
            self.line.extend_from_slice(content.get(..room).unwrap_or(content));
            self.last_byte = content.last().copied().unwrap_or(self.last_byte);
            self.line_length += piece.len() as u64;
            if newline.is_some() {
                let crlf = self.last_byte == b'\r' && self.line_length > 1;
                self.end_line(if crlf { 2 } else { 1 });
            }
            bytes = rest;
        }
    }

    fn finish(mut self) -> Structure {
        if self.line_length > 0 {
            self.end_line(0);
        }
        let end = self.start;
        while self.header.is_some() {
            self.end_header(end);
        }
        while let Some(open) = self.open.pop() {
            self.close(&open, end, self.lines);
        }
        let mut parts = self.parts.into_iter();
        // The root was pushed first of all.
        let root = parts.next().unwrap_or_else(|| empty_part(0));
        Structure { root, rest: parts.collect() }
    }

    fn end_line(&mut self, end_length: u64) {
        let mut line = std::mem::take(&mut self.line);
        let whole = line.len() as u64 + end_length.min(1) == self.line_length;
        if end_length == 2 && whole {
            line.pop();
        }
        let next = self.start + self.line_length;
        let boundary = if whole { self.boundary(&line) } else { None };
        // The line is counted before what it starts, so that a body begins behind it.
        self.lines += 1;
        match boundary {
            Some((index, last)) => self.delimiter(index, last, next),
            None if self.header.is_none() => {}
            None if whole && line.is_empty() => self.end_header(next),
            None => self.header_line(&line),
        }
        self.previous = Line { empty: self.line_length == end_length, end_length };
        self.start = next;
        self.line_length = 0;
        self.last_byte = 0;
        line.clear();
        self.line = line;
    }

    /// Which open multipart's delimiter this line is, and whether it is the last one.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line.strip_prefix(b"--")?.trim_ascii_end();
        let matching = |open: &Open| {
            let boundary = open.boundary.as_deref()?;
            match text.strip_prefix(boundary)? {
                b"" => Some(false),
                b"--" => Some(true),
                _ => None,
            }
        };
        let found =
            self.open.iter().enumerate().rev().find_map(|(i, o)| matching(o).map(|last| (i, last)));
        found.filter(|(_, last)| *last || self.parts.len() < MAX_PARTS)
    }

    fn delimiter(&mut self, index: usize, last: bool, next: u64) {
        while self.header.is_some() {
            self.end_header(self.start);
        }
        // The line end before a delimiter belongs to it (RFC 2046 §5.1.1).
        let end = self.start.saturating_sub(self.previous.end_length);
        let lines = self.lines.saturating_sub(1 + u64::from(self.previous.empty));
        while self.open.len() > index + 1 {
            if let Some(open) = self.open.pop() {
                self.close(&open, end, lines);
            }
        }
        let Some(open) = self.open.last_mut() else { return };
        if last {
            open.boundary = None;
            return;
        }
        let (parent, digest) = (open.part, open.digest);
        let child = self.push(next, false, digest);
        if let Some(Part { inside: Inside::Parts(children), .. }) = self.parts.get_mut(parent) {
            children.push(child);
        }
    }

    fn push(&mut self, start: u64, is_message: bool, digest_child: bool) -> PartId {
        let part = self.parts.len();
        self.parts.push(empty_part(start));
        self.open.push(Open { part, boundary: None, digest: false, lines_before: self.lines });
        self.header = Some(Header { is_message, digest_child, ..Header::default() });
        PartId(part)
    }

    fn header_line(&mut self, line: &[u8]) {
        let Some(header) = self.header.as_mut() else { return };
        let left = MAX_KEPT.saturating_sub(self.kept);
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if let Some((_, value)) = header.fields.last_mut().filter(|_| !header.skipping) {
                let room = left.min(MAX_FIELD.saturating_sub(value.len()));
                let more = line.get(..room).unwrap_or(line);
                value.extend_from_slice(more);
                self.kept += more.len();
            }
            return;
        }
        header.skipping = true;
        let Some(colon) = line.iter().position(|b| *b == b':') else { return };
        let (name, value) = line.split_at(colon);
        let Some(field) = Field::named(name.trim_ascii_end(), header.is_message) else { return };
        let value = value.get(1..).unwrap_or_default();
        // Only the first of each counts: RFC 5322 §3.6 allows no second.
        if value.len() <= left && header.fields.iter().all(|(known, _)| *known != field) {
            header.skipping = false;
            self.kept += value.len();
            header.fields.push((field, value.to_vec()));
        }
    }

    /// The header of the innermost entity ended; its body begins at `body`.
    fn end_header(&mut self, body: u64) {
        let Some(header) = self.header.take() else { return };
        let depth = self.open.len();
        let lines = self.lines;
        let Some(open) = self.open.last_mut() else { return };
        let Some(part) = self.parts.get_mut(open.part) else { return };
        open.lines_before = lines;
        part.header.end = body;
        part.body = body..body;
        describe(part, header);
        if depth >= MAX_DEPTH {
            if part.media.is_kind("multipart") || part.media.is_kind("message") {
                part.media = MediaType::unknown();
            }
        } else if part.media.is_kind("multipart") {
            open.boundary = part.media.boundary().map(<[u8]>::to_vec);
            open.digest = part.media.is("multipart", "digest");
            part.inside = Inside::Parts(Vec::new());
        } else if is_plain_message(part) {
            let parent = open.part;
            if self.parts.len() < MAX_PARTS {
                let child = self.push(body, true, false);
                if let Some(part) = self.parts.get_mut(parent) {
                    part.inside = Inside::Message(child);
                }
            } else if let Some(part) = self.parts.get_mut(parent) {
                part.media = MediaType::unknown();
            }
        }
    }

    fn close(&mut self, open: &Open, end: u64, lines: u64) {
        let next = self.parts.len();
        let Some(part) = self.parts.get_mut(open.part) else { return };
        part.body.end = end.max(part.body.start);
        part.lines = if part.body.is_empty() { 0 } else { lines.saturating_sub(open.lines_before) };
        // A multipart without parts is shown as one text, so that its content can be seen.
        if let Inside::Parts(children) = &mut part.inside
            && children.is_empty()
        {
            children.push(PartId(next));
            let text =
                Part { body: part.body.clone(), lines: part.lines, ..empty_part(part.body.start) };
            self.parts.push(text);
        }
    }
}

/// The header fields that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    ContentType,
    Encoding,
    Id,
    Description,
    Md5,
    Disposition,
    Language,
    Location,
    Date,
    Subject,
    From,
    Sender,
    ReplyTo,
    To,
    Cc,
    Bcc,
    InReplyTo,
    MessageId,
}

impl Field {
    /// The field of that name, as far as parts have it, or messages.
    pub(super) fn named(name: &[u8], is_message: bool) -> Option<Self> {
        let mime = [
            (Self::ContentType, "content-type"),
            (Self::Encoding, "content-transfer-encoding"),
            (Self::Id, "content-id"),
            (Self::Description, "content-description"),
            (Self::Md5, "content-md5"),
            (Self::Disposition, "content-disposition"),
            (Self::Language, "content-language"),
            (Self::Location, "content-location"),
        ];
        let message = [
            (Self::Date, "date"),
            (Self::Subject, "subject"),
            (Self::From, "from"),
            (Self::Sender, "sender"),
            (Self::ReplyTo, "reply-to"),
            (Self::To, "to"),
            (Self::Cc, "cc"),
            (Self::Bcc, "bcc"),
            (Self::InReplyTo, "in-reply-to"),
            (Self::MessageId, "message-id"),
        ];
        let all = mime.iter().chain(message.iter().filter(|_| is_message));
        all.copied().find(|(_, text)| name.eq_ignore_ascii_case(text.as_bytes())).map(|(f, _)| f)
    }
}

/// Puts the fields of a header into its part.
fn describe(part: &mut Part, header: Header) {
    let mut head = Head::default();
    let mut named_type = None;
    for (field, value) in header.fields {
        let value = value.trim_ascii();
        let text = (!value.is_empty()).then(|| value.to_vec());
        match field {
            Field::ContentType => named_type = MediaType::parse(value),
            Field::Encoding => part.encoding = text,
            Field::Id => part.id = text,
            Field::Description => part.description = text,
            Field::Md5 => part.md5 = text,
            Field::Disposition => part.disposition = Disposition::parse(value),
            Field::Language => part.language = languages(value),
            Field::Location => part.location = text,
            Field::Date => head.date = text,
            Field::Subject => head.subject = text,
            Field::From => head.from = people::parse(value),
            Field::Sender => head.sender = people::parse(value),
            Field::ReplyTo => head.reply_to = people::parse(value),
            Field::To => head.to = people::parse(value),
            Field::Cc => head.cc = people::parse(value),
            Field::Bcc => head.bcc = people::parse(value),
            Field::InReplyTo => head.in_reply_to = text,
            Field::MessageId => head.message_id = text,
        }
    }
    part.media = named_type.unwrap_or_else(|| {
        if header.digest_child { MediaType::message() } else { MediaType::plain() }
    });
    part.head = header.is_message.then(|| Box::new(head));
}

/// A message inside can be read in place only when it is not encoded (RFC 2046 §5.2.1).
fn is_plain_message(part: &Part) -> bool {
    let encoded = part.encoding.as_deref().is_some_and(|encoding| {
        ["base64", "quoted-printable"].iter().any(|e| encoding.eq_ignore_ascii_case(e.as_bytes()))
    });
    let message = part.media.is("message", "rfc822");
    message && !encoded
}

fn empty_part(start: u64) -> Part {
    Part {
        header: start..start,
        body: start..start,
        lines: 0,
        media: MediaType::plain(),
        encoding: None,
        id: None,
        description: None,
        md5: None,
        disposition: None,
        language: Vec::new(),
        location: None,
        head: None,
        inside: Inside::Leaf,
    }
}
