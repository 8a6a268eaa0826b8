//! One FETCH response, made of a message's row, of its summary if that tells enough, and else of its
//! bytes, which are read in place.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use crate::mail::preview;
use crate::mail::structure::{self, Part, Piece, Plain, Structure};
use crate::store::Message;
use crate::summary::{Summary, is_kept};

use super::command::{Binary, FetchItem, HeaderFilter, Label, Partial, Section, SectionKind};
use super::respond::{Output, Speech};
use super::view::Target;

/// Parts up to this size are put into the response at once; larger ones are streamed.
const INLINE: u64 = 64 << 10;
/// Longest header of which fields are chosen; what lies behind is not found.
const MAX_HEADER: u64 = 1 << 20;

/// A piece of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Bytes(Vec<u8>),
    /// Bytes of the message, too many to hold.
    Stream(Stretch),
}

/// A stretch of a message, as it is or decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// What to read.
    pub(super) raw: Range<u64>,
    pub(super) decoded: Option<Decoded>,
}

/// What to send of a part's decoded bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) part: Box<Part>,
    /// The bytes wanted of those that it has.
    pub(super) range: Range<u64>,
}

/// What is needed of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    /// Nothing of its bytes.
    None,
    /// Its bytes as a whole, or its summary alone.
    Bytes,
    Head,
    Parts,
}

/// Where a message's bytes and structure come from; asked only when needed.
pub(super) trait Source {
    type Reader: Read + Seek;
    /// Opens the message.
    fn open(&self) -> io::Result<Self::Reader>;
    /// Its parts.
    fn structure(&self, reader: &mut Self::Reader) -> io::Result<Arc<Structure>>;
    /// What is kept of it, when something is.
    fn summary(&self) -> Option<Summary>;
    /// Whether these bytes can be read. What was announced to the client has to come.
    fn check(&self, reader: &Self::Reader, range: Range<u64>) -> io::Result<()>;
}

/// A response in pieces, and the reader out of which to take those that are streamed.
pub(super) type Rendered<R> = (Vec<Chunk>, Option<R>);

/// Why there is no response for a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unrendered {
    /// It cannot be read.
    #[error(transparent)]
    Unread(#[from] io::Error),
    /// RFC 3516 §4.3: a part is encoded in a way nobody here knows.
    #[error("unknown content transfer encoding")]
    Encoding,
}

/// Makes the response for one message.
pub(super) fn render<S: Source>(
    target: Target,
    message: &Message,
    items: &[FetchItem],
    speech: Speech,
    source: &S,
) -> Result<Rendered<S::Reader>, Unrendered> {
    let mut opened = Opened::new(source, message, items)?;
    let mut response = Response { out: Output::speaking(speech), chunks: Vec::new() };
    response.out.raw("* ").number(target.number).raw(" FETCH (");
    for (i, item) in items.iter().enumerate() {
        let out = response.out.raw(if i == 0 { "" } else { " " });
        match (item, opened.structure.clone()) {
            (FetchItem::Uid, _) => out.raw("UID ").number(message.uid.get()),
            (FetchItem::Flags, _) => out.raw("FLAGS ").flags(&message.flags),
            (FetchItem::ModSeq, _) => out.raw("MODSEQ (").number(message.modseq.0).raw(")"),
            (FetchItem::InternalDate, _) => {
                out.raw("INTERNALDATE ").date_time(message.internal_date)
            }
            (FetchItem::SaveDate, _) => out.raw("SAVEDATE ").date_time(message.save_date),
            (FetchItem::EmailId, _) => {
                out.raw("EMAILID (").raw(&message.content.body.email_id()).raw(")")
            }
            (FetchItem::ThreadId, _) => match message.thread {
                Some(thread) => out.raw("THREADID (").raw(&thread.thread_id()).raw(")"),
                None => out.raw("THREADID NIL"),
            },
            (FetchItem::Size, _) => out.raw("RFC822.SIZE ").number(opened.length),
            (FetchItem::Preview { lazy }, _) => {
                let words = opened.preview(*lazy)?;
                out.raw("PREVIEW ").nstring(words.as_deref().map(str::as_bytes))
            }
            (FetchItem::Envelope, Some(structure)) => {
                let head = structure.root().head.as_deref().cloned().unwrap_or_default();
                out.raw("ENVELOPE ").envelope(&head)
            }
            (FetchItem::Body, Some(structure)) => out.raw("BODY ").structure(&structure, false),
            (FetchItem::BodyStructure, Some(structure)) => {
                out.raw("BODYSTRUCTURE ").structure(&structure, true)
            }
            (FetchItem::Section(section), structure) => {
                let range = find(section, structure.as_deref(), opened.length);
                response.section(section, range, &mut opened)?;
                continue;
            }
            (FetchItem::Binary(binary), Some(structure)) => {
                response.binary(binary, &structure, &mut opened)?;
                continue;
            }
            // `depth` says what each item needs.
            _ => continue,
        };
    }
    response.out.raw(")\r\n");
    response.flush();
    Ok((response.chunks, opened.reader))
}

/// A message as far as it was looked at.
struct Opened<'a, S: Source> {
    source: &'a S,
    length: u64,
    summary: Option<Summary>,
    structure: Option<Arc<Structure>>,
    reader: Option<S::Reader>,
}

impl<'a, S: Source> Opened<'a, S> {
    fn new(source: &'a S, message: &Message, items: &[FetchItem]) -> io::Result<Self> {
        let length = message.content.size();
        let mut opened = Self { source, length, summary: None, structure: None, reader: None };
        if items.iter().any(can_be_summary) {
            opened.summary = source.summary();
        }
        let known = opened.summary.is_some();
        let depth = items.iter().map(|item| depth(item, known)).max().unwrap_or(Depth::None);
        if depth < Depth::Head {
            return Ok(opened);
        }
        opened.structure = opened.summary.as_ref().and_then(Summary::structure).map(Arc::new);
        if opened.structure.is_none() {
            let reader = opened.reader()?;
            let structure = if depth == Depth::Parts {
                source.structure(reader)?
            } else {
                reader.seek(SeekFrom::Start(0))?;
                Arc::new(Structure::scan_head(reader, length)?)
            };
            opened.structure = Some(structure);
        }
        Ok(opened)
    }

    fn reader(&mut self) -> io::Result<&mut S::Reader> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.source.open()?,
        };
        Ok(self.reader.insert(reader))
    }

    /// The first words; `lazy`: only when they are known (RFC 8970 §4.1).
    fn preview(&mut self, lazy: bool) -> io::Result<Option<String>> {
        if let Some(words) = self.summary.as_ref().and_then(Summary::preview) {
            return Ok(Some(words));
        }
        if lazy {
            return Ok(None);
        }
        let (source, structure) = (self.source, self.structure.clone());
        let reader = self.reader()?;
        let structure = match structure {
            Some(structure) => structure,
            None => source.structure(reader)?,
        };
        preview(&structure, reader).map(Some)
    }
}

fn can_be_summary(item: &FetchItem) -> bool {
    match item {
        FetchItem::Section(section) => {
            section.kind != SectionKind::Piece(Piece::Content) || !section.path.is_empty()
        }
        FetchItem::Preview { .. } => true,
        item => depth(item, false) > Depth::Bytes,
    }
}

/// What an item needs; `known`: there is a summary.
fn depth(item: &FetchItem, known: bool) -> Depth {
    match item {
        FetchItem::Uid
        | FetchItem::Flags
        | FetchItem::ModSeq
        | FetchItem::InternalDate
        | FetchItem::SaveDate
        | FetchItem::EmailId
        | FetchItem::ThreadId
        | FetchItem::Size
        | FetchItem::Preview { lazy: true } => Depth::None,
        FetchItem::Preview { .. } if known => Depth::None,
        FetchItem::Envelope => Depth::Head,
        FetchItem::Body
        | FetchItem::BodyStructure
        | FetchItem::Binary(_)
        | FetchItem::Preview { .. } => Depth::Parts,
        FetchItem::Section(section) if known && section.is_summarised() => Depth::None,
        FetchItem::Section(Section { path, kind, .. }) => match kind {
            _ if !path.is_empty() => Depth::Parts,
            SectionKind::Piece(Piece::Content) => Depth::Bytes,
            _ => Depth::Head,
        },
    }
}

impl Section {
    /// Whether a summary has all of it: header fields of the message that are kept.
    fn is_summarised(&self) -> bool {
        match &self.kind {
            SectionKind::Fields(HeaderFilter { not: false, names }) => {
                self.path.is_empty() && names.iter().all(|name| is_kept(name))
            }
            _ => false,
        }
    }
}

fn find(section: &Section, structure: Option<&Structure>, length: u64) -> Option<Range<u64>> {
    let piece = match section.kind {
        SectionKind::Piece(piece) => piece,
        SectionKind::Fields(_) => Piece::Header,
    };
    match structure {
        Some(structure) if !section.path.is_empty() || piece != Piece::Content => {
            structure.find(&section.path, piece)
        }
        _ => Some(0..length),
    }
}

/// A response being made.
struct Response {
    out: Output,
    chunks: Vec<Chunk>,
}

impl Response {
    fn section<S: Source>(
        &mut self,
        section: &Section,
        range: Option<Range<u64>>,
        opened: &mut Opened<'_, S>,
    ) -> io::Result<()> {
        self.label(section);
        let Some(range) = range else {
            self.out.raw(" NIL");
            return Ok(());
        };
        self.out.raw(" ");
        if let SectionKind::Fields(filter) = &section.kind {
            let summary = opened.summary.as_ref().filter(|_| section.is_summarised());
            let chosen = if let Some(summary) = summary {
                choose(summary.fields(), filter)
            } else {
                let range = range.start..range.end.min(range.start + MAX_HEADER);
                choose(&read(opened.reader()?, range)?, filter)
            };
            let part = cut(0..chosen.len() as u64, section.partial);
            let bytes = usize::try_from(part.start).ok().zip(usize::try_from(part.end).ok());
            let bytes = bytes.and_then(|(start, end)| chosen.get(start..end)).unwrap_or_default();
            self.out.literal(bytes.len() as u64).bytes(bytes);
            return Ok(());
        }
        let range = cut(range, section.partial);
        let size = range.end - range.start;
        self.out.literal(size);
        if size <= INLINE {
            let bytes = read(opened.reader()?, range)?;
            self.out.bytes(&bytes);
        } else {
            let source = opened.source;
            source.check(opened.reader()?, range.clone())?;
            self.stream(Stretch { raw: range, decoded: None });
        }
        Ok(())
    }

    /// BINARY and BINARY.SIZE (RFC 3516 §4.3).
    fn binary<S: Source>(
        &mut self,
        binary: &Binary,
        structure: &Structure,
        opened: &mut Opened<'_, S>,
    ) -> Result<(), Unrendered> {
        let path: Vec<String> = binary.path.iter().map(ToString::to_string).collect();
        self.out.raw(if binary.size { "BINARY.SIZE[" } else { "BINARY[" }).raw(&path.join("."));
        self.out.raw("]");
        if let Some(partial) = binary.partial {
            self.out.raw("<").number(partial.first).raw(">");
        }
        let found = structure.find(&binary.path, Piece::Content);
        let (Some(raw), part) = (found, structure.leaf(&binary.path)) else {
            self.out.raw(if binary.size { " 0" } else { " NIL" });
            return Ok(());
        };
        // What holds parts is not encoded itself (RFC 2045 §6.4).
        let Some(part) = part else {
            let range = cut(raw, binary.partial);
            let size = range.end - range.start;
            self.out.raw(" ");
            if binary.size {
                self.out.number(size);
            } else {
                let source = opened.source;
                source.check(opened.reader()?, range.clone())?;
                self.out.raw("~").literal(size);
                self.stream(Stretch { raw: range, decoded: None });
            }
            return Ok(());
        };
        let measured = measure(part, opened.reader()?)?;
        if binary.size {
            self.out.raw(" ").number(measured.size);
            return Ok(());
        }
        let range = cut(0..measured.size, binary.partial);
        let size = range.end - range.start;
        self.out.raw(if measured.has_zero { " ~" } else { " " }).literal(size);
        let source = opened.source;
        source.check(opened.reader()?, part.body.clone())?;
        let decoded = Some(Decoded { part: Box::new(part.clone()), range });
        if measured.size <= INLINE {
            let mut stream = Stream::new(Stretch { raw: part.body.clone(), decoded });
            while let Some(bytes) = stream.next(opened.reader()?)? {
                self.out.bytes(&bytes);
            }
        } else {
            self.stream(Stretch { raw: part.body.clone(), decoded });
        }
        Ok(())
    }

    fn stream(&mut self, stretch: Stretch) {
        self.flush();
        self.chunks.push(Chunk::Stream(stretch));
    }

    fn label(&mut self, section: &Section) {
        let fixed = match section.label {
            Label::Rfc822 => "RFC822",
            Label::Rfc822Header => "RFC822.HEADER",
            Label::Rfc822Text => "RFC822.TEXT",
            Label::Body => "BODY[",
        };
        self.out.raw(fixed);
        if section.label != Label::Body {
            return;
        }
        let mut words: Vec<String> = section.path.iter().map(ToString::to_string).collect();
        let word = match &section.kind {
            SectionKind::Piece(Piece::Content) => "",
            SectionKind::Piece(Piece::Header) => "HEADER",
            SectionKind::Piece(Piece::Text) => "TEXT",
            SectionKind::Piece(Piece::Mime) => "MIME",
            SectionKind::Fields(HeaderFilter { not: false, .. }) => "HEADER.FIELDS",
            SectionKind::Fields(_) => "HEADER.FIELDS.NOT",
        };
        if !word.is_empty() {
            words.push(word.to_owned());
        }
        self.out.raw(&words.join("."));
        if let SectionKind::Fields(filter) = &section.kind {
            self.out.raw(" (");
            for (i, name) in filter.names.iter().enumerate() {
                self.out.raw(if i == 0 { "" } else { " " });
                if name.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b)) {
                    self.out.bytes(name);
                } else {
                    self.out.string(name);
                }
            }
            self.out.raw(")");
        }
        self.out.raw("]");
        if let Some(partial) = section.partial {
            self.out.raw("<").number(partial.first).raw(">");
        }
    }

    fn flush(&mut self) {
        let bytes = self.out.take();
        if !bytes.is_empty() {
            self.chunks.push(Chunk::Bytes(bytes));
        }
    }
}

/// A stretch of a message on its way out.
pub(super) struct Stream {
    raw: Range<u64>,
    decoder: Option<(Plain, Range<u64>)>,
    /// Decoded bytes so far.
    at: u64,
}

impl Stream {
    pub(super) fn new(Stretch { raw, decoded }: Stretch) -> Self {
        let decoder = decoded.and_then(|decoded| Some((Plain::new(&decoded.part)?, decoded.range)));
        Self { raw, decoder, at: 0 }
    }

    /// The next bytes, at most some 100 kB of them; nothing at the end.
    pub(super) fn next(&mut self, reader: &mut (impl Read + Seek)) -> io::Result<Option<Vec<u8>>> {
        if self.raw.is_empty() {
            return Ok(None);
        }
        let end = self.raw.end.min(self.raw.start + INLINE);
        let bytes = read(reader, self.raw.start..end)?;
        self.raw.start = end;
        let Some((decoder, wanted)) = &mut self.decoder else { return Ok(Some(bytes)) };
        let mut plain = Vec::new();
        decoder.feed(&bytes, &mut plain);
        if self.raw.is_empty() {
            decoder.finish(&mut plain);
        }
        let start = wanted.start.saturating_sub(self.at).min(plain.len() as u64);
        let end = wanted.end.saturating_sub(self.at).min(plain.len() as u64);
        self.at += plain.len() as u64;
        plain.truncate(usize::try_from(end).map_err(io::Error::other)?);
        plain.drain(..usize::try_from(start.min(end)).map_err(io::Error::other)?);
        Ok(Some(plain))
    }
}

/// What decoding a part will give.
struct Measured {
    size: u64,
    has_zero: bool,
}

fn measure(part: &Part, reader: &mut (impl Read + Seek)) -> Result<Measured, Unrendered> {
    if Plain::new(part).is_none() {
        return Err(Unrendered::Encoding);
    }
    let decoded = Some(Decoded { part: Box::new(part.clone()), range: 0..u64::MAX });
    let mut stream = Stream::new(Stretch { raw: part.body.clone(), decoded });
    let mut measured = Measured { size: 0, has_zero: false };
    while let Some(bytes) = stream.next(reader)? {
        measured.size += bytes.len() as u64;
        measured.has_zero |= bytes.contains(&0);
    }
    Ok(measured)
}

/// The part of a range that was asked for.
fn cut(range: Range<u64>, partial: Option<Partial>) -> Range<u64> {
    let Some(Partial { first, count }) = partial else { return range };
    let start = range.start.saturating_add(first).min(range.end);
    start..start.saturating_add(count).min(range.end)
}

/// Reads a range that is known to be short.
pub(super) fn read(reader: &mut (impl Read + Seek), range: Range<u64>) -> io::Result<Vec<u8>> {
    let size = range.end.saturating_sub(range.start);
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    reader.seek(SeekFrom::Start(range.start))?;
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The chosen fields with the empty line, which is always there (RFC 3501 §6.4.5).
fn choose(header: &[u8], filter: &HeaderFilter) -> Vec<u8> {
    let named = |field: &structure::RawField<'_>| {
        filter.names.iter().any(|name| name.eq_ignore_ascii_case(field.name))
    };
    let fields = structure::fields(header).filter(|field| named(field) != filter.not);
    let mut chosen: Vec<u8> = fields.flat_map(|field| field.whole.iter().copied()).collect();
    chosen.extend_from_slice(b"\r\n");
    chosen
}
