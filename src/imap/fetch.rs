//! FETCH (RFC 3501 §6.4.5): the steps of the command, and the making of one response out of a
//! message that is read in place.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use crate::mail::structure::{self, Piece, Structure};
use crate::mail::{Flag, Flags, SystemFlag};
use crate::store::{Batch, FlagChange, Flagged, Message, Outcome};

use super::command::{
    FetchItem, FetchModifiers, HeaderFilter, Label, Partial, Section, SectionKind, SequenceSet, Tag,
};
use super::extensions::Resync;
use super::question::{FetchJob, Fetched};
use super::respond::Output;
use super::session::{Session, State};
use super::view::{Expunges, Target};

/// Parts up to this size are put into the response at once; larger ones are streamed.
const INLINE: u64 = 64 << 10;
/// Says that messages were left out.
const DAMAGED: &str = "[CORRUPTION] The card has lost some of these messages and they were left \
    out; the others are complete. On the box, 'pillarbox store verify' names what is lost";
/// Longest header of which fields are chosen; what lies behind is not found.
const MAX_HEADER: u64 = 1 << 20;

impl Session {
    pub(super) fn fetch(
        &mut self,
        tag: Tag,
        uid: bool,
        set: &SequenceSet,
        mut items: Vec<FetchItem>,
        modifiers: &FetchModifiers,
    ) {
        if modifiers.vanished && self.enabled.resync != Resync::Qresync {
            // RFC 7162 §3.2.6.
            return self.bad(&tag, "ENABLE QRESYNC comes first");
        }
        if modifiers.changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        if items.contains(&FetchItem::ModSeq) {
            self.enable_condstore();
        }
        if uid && !items.contains(&FetchItem::Uid) {
            // RFC 3501 §6.4.8: told whether asked for or not.
            items.insert(0, FetchItem::Uid);
        }
        let State::Selected(_, view) = &self.state else { return };
        let targets = view.targets(set, uid);
        match modifiers.changed_since {
            Some(since) => {
                let set = set.clone();
                self.changed_since(
                    tag,
                    set,
                    modifiers,
                    since,
                    targets,
                    move |session, tag, left| {
                        session.fetch_targets(tag, uid, items, left);
                    },
                );
            }
            None => self.fetch_targets(tag, uid, items, targets),
        }
    }

    fn fetch_targets(
        &mut self,
        tag: Tag,
        uid: bool,
        mut items: Vec<FetchItem>,
        targets: Vec<Target>,
    ) {
        let State::Selected(_, view) = &self.state else { return };
        let (mailbox, speech) = (view.mailbox, self.out.speech());
        let reads = |item: &FetchItem| matches!(item, FetchItem::Section(s) if !s.peek);
        let mut unread = Vec::new();
        if !view.read_only && items.iter().any(reads) {
            let uids = targets.iter().map(|target| target.uid);
            unread.extend(uids.filter(|uid| view.is_unread(*uid)));
        }
        if unread.is_empty() {
            let job = FetchJob { mailbox, items: items.into(), speech, targets };
            return self.fetch_now(tag, uid, job);
        }
        // RFC 3501 §6.4.5: the change is told with the text, in one response: some clients take
        // the first response for a message as the one they asked for.
        let mut told = vec![FetchItem::Flags];
        if self.enabled.resync > Resync::None {
            // RFC 7162 §3.2.4.
            told.extend([FetchItem::Uid, FetchItem::ModSeq]);
        }
        told.retain(|item| !items.contains(item));
        items.extend(told);
        let job = FetchJob { mailbox, items: items.into(), speech, targets };
        let seen = Flags::from_iter([Flag::System(SystemFlag::Seen)]);
        let mut batch = Batch::new();
        batch.set_flags(mailbox, unread, FlagChange::Add(seen), None);
        self.ask_commit(batch, move |session, answer| {
            // Reading goes on when the flag cannot be set.
            for outcome in answer.unwrap_or_default() {
                if let Outcome::Flags { changed, .. } = outcome {
                    session.seen(changed);
                }
            }
            session.fetch_now(tag, uid, job);
        });
    }

    /// Notes what the responses will tell: that messages are read now.
    fn seen(&mut self, changed: Vec<Flagged>) {
        let State::Selected(_, view) = &mut self.state else { return };
        let newest = changed.iter().map(|message| message.modseq).max();
        for Flagged { uid, flags, modseq, .. } in changed {
            view.told(uid, &flags, modseq);
        }
        if let Some(newest) = newest {
            view.told_all(newest);
        }
    }

    fn fetch_now(&mut self, tag: Tag, uid: bool, job: FetchJob) {
        let news = if uid { Expunges::Told } else { Expunges::Held };
        if job.targets.is_empty() {
            return self.finish(&tag, "FETCH completed", Some(news));
        }
        self.ask_fetch(job, move |session, Fetched { missing, damaged }| {
            if damaged {
                session.no(&tag, DAMAGED);
            } else if missing {
                let text = "[EXPUNGEISSUED] FETCH completed; some messages are gone";
                session.finish(&tag, text, Some(news));
            } else {
                session.finish(&tag, "FETCH completed", Some(news));
            }
        });
    }
}

/// A piece of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Bytes(Vec<u8>),
    /// These bytes of the message, too many to hold.
    Stream(Range<u64>),
}

/// What is known of a message's structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    /// Nothing of its bytes is needed.
    None,
    /// Its bytes as a whole.
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
    /// Whether these bytes can be read. What was announced to the client has to come.
    fn check(&self, reader: &Self::Reader, range: Range<u64>) -> io::Result<()>;
}

/// A response in pieces, and the reader out of which to take those that are streamed.
pub(super) type Rendered<R> = (Vec<Chunk>, Option<R>);

/// Makes the response for one message.
pub(super) fn render<S: Source>(
    target: Target,
    message: &Message,
    job: &FetchJob,
    source: &S,
) -> io::Result<Rendered<S::Reader>> {
    let items = &job.items;
    let depth = items.iter().map(depth).max().unwrap_or(Depth::None);
    let length = message.content.size();
    let mut reader = if depth == Depth::None { None } else { Some(source.open()?) };
    let structure = match &mut reader {
        Some(reader) if depth == Depth::Parts => Some(source.structure(reader)?),
        Some(reader) if depth == Depth::Head => {
            reader.seek(SeekFrom::Start(0))?;
            Some(Arc::new(Structure::scan_head(reader, length)?))
        }
        _ => None,
    };
    let mut response = Response { out: Output::speaking(job.speech), chunks: Vec::new() };
    response.out.raw("* ").number(target.number).raw(" FETCH (");
    for (i, item) in items.iter().enumerate() {
        let out = response.out.raw(if i == 0 { "" } else { " " });
        match (item, &structure) {
            (FetchItem::Uid, _) => out.raw("UID ").number(message.uid.get()),
            (FetchItem::Flags, _) => out.raw("FLAGS ").flags(&message.flags),
            (FetchItem::ModSeq, _) => out.raw("MODSEQ (").number(message.modseq.0).raw(")"),
            (FetchItem::InternalDate, _) => {
                out.raw("INTERNALDATE ").date_time(message.internal_date)
            }
            (FetchItem::Size, _) => out.raw("RFC822.SIZE ").number(length),
            (FetchItem::Envelope, Some(structure)) => {
                let head = structure.root().head.as_deref().cloned().unwrap_or_default();
                out.raw("ENVELOPE ").envelope(&head)
            }
            (FetchItem::Body, Some(structure)) => out.raw("BODY ").structure(structure, false),
            (FetchItem::BodyStructure, Some(structure)) => {
                out.raw("BODYSTRUCTURE ").structure(structure, true)
            }
            (FetchItem::Section(section), structure) => {
                if let Some(reader) = &mut reader {
                    let range = find(section, structure.as_deref(), length);
                    response.section(section, range, source, reader)?;
                }
                continue;
            }
            // `depth` says what each item needs.
            _ => continue,
        };
    }
    response.out.raw(")\r\n");
    response.flush();
    Ok((response.chunks, reader))
}

fn depth(item: &FetchItem) -> Depth {
    match item {
        FetchItem::Uid
        | FetchItem::Flags
        | FetchItem::ModSeq
        | FetchItem::InternalDate
        | FetchItem::Size => Depth::None,
        FetchItem::Envelope => Depth::Head,
        FetchItem::Body | FetchItem::BodyStructure => Depth::Parts,
        FetchItem::Section(Section { path, kind, .. }) => match kind {
            _ if !path.is_empty() => Depth::Parts,
            SectionKind::Piece(Piece::Content) => Depth::Bytes,
            _ => Depth::Head,
        },
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
        source: &S,
        reader: &mut S::Reader,
    ) -> io::Result<()> {
        self.label(section);
        let Some(range) = range else {
            self.out.raw(" NIL");
            return Ok(());
        };
        self.out.raw(" ");
        if let SectionKind::Fields(filter) = &section.kind {
            let header = read(reader, range.start..range.end.min(range.start + MAX_HEADER))?;
            let chosen = choose(&header, filter);
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
            let bytes = read(reader, range)?;
            self.out.bytes(&bytes);
        } else {
            source.check(reader, range.clone())?;
            self.flush();
            self.chunks.push(Chunk::Stream(range));
        }
        Ok(())
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
