//! What FETCH can ask for (RFC 3501 §6.4.5).

use super::cursor::{Cursor, Parsed};
use super::resync::mod_sequence;
use super::{PartialRange, Reason};
use crate::mail::ModSeq;
use crate::mail::structure::Piece;

/// Deepest part number taken, as deep as messages are taken apart.
const MAX_PATH: usize = 100;

/// Most items in one FETCH: the answer may hold 64 KiB of each.
const MAX_ITEMS: usize = 100;

/// One data item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) enum FetchItem {
    Uid,
    Flags,
    InternalDate,
    Size,
    Envelope,
    /// BODY: the structure without extension data.
    Body,
    BodyStructure,
    /// RFC 8514 §4.2.
    SaveDate,
    /// RFC 8474 §5.
    EmailId,
    ThreadId,
    /// RFC 8970 §3; `lazy`: only when it is at hand.
    Preview {
        lazy: bool,
    },
    /// RFC 7162 §3.1.4.2.
    ModSeq,
    Section(Section),
    Binary(Binary),
}

impl FetchItem {
    /// Whether asking for it sets `\\Seen`.
    pub(in crate::imap) fn marks_as_read(&self) -> bool {
        match self {
            Self::Section(section) => !section.peek,
            Self::Binary(binary) => !binary.peek,
            _ => false,
        }
    }
}

/// A part without its transfer encoding (RFC 3516 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) struct Binary {
    pub(in crate::imap) path: Vec<u32>,
    pub(in crate::imap) partial: Option<Partial>,
    pub(in crate::imap) peek: bool,
    /// How large it is, instead of the part.
    pub(in crate::imap) size: bool,
}

/// What stands behind the items (RFC 4466 §2.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::imap) struct FetchModifiers {
    /// Only what changed later (RFC 7162 §3.1.4.1).
    pub(in crate::imap) changed_since: Option<ModSeq>,
    /// With what vanished since (RFC 7162 §3.2.6).
    pub(in crate::imap) vanished: bool,
    /// A page of them (RFC 9394 §3.3).
    pub(in crate::imap) partial: Option<PartialRange>,
}

/// Bytes of a message, or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) struct Section {
    pub(in crate::imap) path: Vec<u32>,
    pub(in crate::imap) kind: SectionKind,
    pub(in crate::imap) partial: Option<Partial>,
    /// Whether to leave `\Seen` alone.
    pub(in crate::imap) peek: bool,
    pub(in crate::imap) label: Label,
}

/// Which bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) enum SectionKind {
    Piece(Piece),
    /// HEADER.FIELDS and HEADER.FIELDS.NOT.
    Fields(HeaderFilter),
}

/// A choice of header fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) struct HeaderFilter {
    /// All but these.
    pub(in crate::imap) not: bool,
    /// As the client wrote them.
    pub(in crate::imap) names: Vec<Vec<u8>>,
}

/// `<first.count>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::imap) struct Partial {
    pub(in crate::imap) first: u64,
    pub(in crate::imap) count: u64,
}

/// What the answer calls the section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::imap) enum Label {
    Body,
    Rfc822,
    Rfc822Header,
    Rfc822Text,
}

/// A macro or items.
pub(super) fn items(cursor: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    use FetchItem::{Body, Envelope, Flags, InternalDate, Size};
    if cursor.peek() == Some(b'(') {
        let items = cursor.list(1, item)?;
        if items.len() > MAX_ITEMS {
            return Err(Reason::Syntax("too many FETCH items"));
        }
        return Ok(items);
    }
    for (name, items) in [
        ("ALL", &[Flags, InternalDate, Size, Envelope][..]),
        ("FAST", &[Flags, InternalDate, Size]),
        ("FULL", &[Flags, InternalDate, Size, Envelope, Body]),
    ] {
        if cursor.word(name) {
            return Ok(items.to_vec());
        }
    }
    Ok(vec![item(cursor)?])
}

/// `(CHANGEDSINCE 12345 VANISHED PARTIAL -1:-50)` behind the items.
pub(super) fn modifiers(uid: bool, cursor: &mut Cursor<'_>) -> Parsed<FetchModifiers> {
    let mut modifiers = FetchModifiers::default();
    if cursor.peek() != Some(b' ') {
        return Ok(modifiers);
    }
    cursor.space()?;
    if cursor.is_empty() {
        return Ok(modifiers);
    }
    cursor.list(1, |cursor| {
        if cursor.word("CHANGEDSINCE ") && modifiers.changed_since.is_none() {
            let since = mod_sequence(cursor)?;
            // Nothing is as old as 0, and RFC 7162 §7 has no 0 here; clients send it.
            modifiers.changed_since = Some(since);
        } else if cursor.word("VANISHED") {
            modifiers.vanished = true;
        } else if cursor.word("PARTIAL ") && modifiers.partial.is_none() {
            modifiers.partial = Some(PartialRange::parse(cursor)?);
        } else {
            return Err(Reason::Syntax("unknown FETCH modifier"));
        }
        Ok(())
    })?;
    // RFC 7162 §3.2.6.
    if modifiers.vanished && (!uid || modifiers.changed_since.is_none()) {
        return Err(Reason::Syntax("VANISHED needs UID FETCH and CHANGEDSINCE"));
    }
    Ok(modifiers)
}

fn item(cursor: &mut Cursor<'_>) -> Parsed<FetchItem> {
    // Longer names before those they begin with.
    let whole = |label, piece, peek| {
        let kind = SectionKind::Piece(piece);
        FetchItem::Section(Section { path: Vec::new(), kind, partial: None, peek, label })
    };
    let simple = [
        ("UID", FetchItem::Uid),
        ("FLAGS", FetchItem::Flags),
        ("MODSEQ", FetchItem::ModSeq),
        ("INTERNALDATE", FetchItem::InternalDate),
        ("ENVELOPE", FetchItem::Envelope),
        ("BODYSTRUCTURE", FetchItem::BodyStructure),
        ("RFC822.SIZE", FetchItem::Size),
        ("SAVEDATE", FetchItem::SaveDate),
        ("EMAILID", FetchItem::EmailId),
        ("THREADID", FetchItem::ThreadId),
        // Unlike RFC822.TEXT, the header does not mark as read.
        ("RFC822.HEADER", whole(Label::Rfc822Header, Piece::Header, true)),
        ("RFC822.TEXT", whole(Label::Rfc822Text, Piece::Text, false)),
        ("RFC822", whole(Label::Rfc822, Piece::Content, false)),
    ];
    for (name, item) in simple {
        if cursor.word(name) {
            return Ok(item);
        }
    }
    if cursor.word("PREVIEW") {
        return Ok(FetchItem::Preview { lazy: cursor.word(" (LAZY)") });
    }
    for (name, peek, size) in
        [("BINARY.PEEK", true, false), ("BINARY.SIZE", true, true), ("BINARY", false, false)]
    {
        if cursor.word(name) {
            return binary(cursor, peek, size).map(FetchItem::Binary);
        }
    }
    let peek = cursor.word("BODY.PEEK");
    if !peek && !cursor.word("BODY") {
        return Err(Reason::Syntax("unknown FETCH item"));
    }
    if cursor.peek() == Some(b'[') {
        return section(cursor, peek).map(FetchItem::Section);
    }
    if peek { Err(Reason::Syntax("BODY.PEEK needs a section")) } else { Ok(FetchItem::Body) }
}

fn section(cursor: &mut Cursor<'_>, peek: bool) -> Parsed<Section> {
    cursor.expect(b'[', "a section is missing")?;
    let (path, dot) = path(cursor)?;
    let kind = if cursor.word("HEADER.FIELDS") {
        let not = cursor.word(".NOT");
        cursor.space()?;
        let names = cursor.list(1, field_name)?;
        SectionKind::Fields(HeaderFilter { not, names })
    } else if cursor.word("HEADER") {
        SectionKind::Piece(Piece::Header)
    } else if cursor.word("TEXT") {
        SectionKind::Piece(Piece::Text)
    } else if !path.is_empty() && cursor.word("MIME") {
        SectionKind::Piece(Piece::Mime)
    } else if path.is_empty() || !dot {
        SectionKind::Piece(Piece::Content)
    } else {
        return Err(Reason::Syntax("unknown section"));
    };
    cursor.expect(b']', "a section has no end")?;
    let partial = partial(cursor)?;
    // `1HEADER` without the dot.
    if !path.is_empty() && !dot && kind != SectionKind::Piece(Piece::Content) {
        return Err(Reason::Syntax("unknown section"));
    }
    Ok(Section { path, kind, partial, peek, label: Label::Body })
}

fn binary(cursor: &mut Cursor<'_>, peek: bool, size: bool) -> Parsed<Binary> {
    cursor.expect(b'[', "a section is missing")?;
    let (path, dot) = path(cursor)?;
    if dot && !path.is_empty() {
        return Err(Reason::Syntax("a part number is missing"));
    }
    cursor.expect(b']', "a section has no end")?;
    let partial = if size { None } else { partial(cursor)? };
    Ok(Binary { path, partial, peek, size })
}

/// Part numbers, and whether a dot stands behind them; without any, one is as good as there.
fn path(cursor: &mut Cursor<'_>) -> Parsed<(Vec<u32>, bool)> {
    let mut path = Vec::new();
    let mut dot = true;
    while dot && cursor.peek().is_some_and(|b| b.is_ascii_digit()) {
        match cursor.number()? {
            0 => return Err(Reason::Syntax("part numbers begin with 1")),
            _ if path.len() >= MAX_PATH => return Err(Reason::Syntax("too many part numbers")),
            number => path.push(number),
        }
        dot = cursor.skip(b'.');
    }
    Ok((path, dot))
}

/// `<first.count>`.
fn partial(cursor: &mut Cursor<'_>) -> Parsed<Option<Partial>> {
    if !cursor.skip(b'<') {
        return Ok(None);
    }
    let first = cursor.size()?;
    cursor.expect(b'.', "not a partial range")?;
    let count = cursor.size()?;
    cursor.expect(b'>', "not a partial range")?;
    if count == 0 {
        return Err(Reason::Syntax("a partial range has at least one byte"));
    }
    Ok(Some(Partial { first, count }))
}

fn field_name(cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    let name = cursor.astring()?;
    // RFC 3501 §9: any astring; one with a colon is no field's name and finds none.
    if name.iter().all(u8::is_ascii_graphic) && !name.is_empty() {
        Ok(name)
    } else {
        Err(Reason::Syntax("not the name of a header field"))
    }
}
