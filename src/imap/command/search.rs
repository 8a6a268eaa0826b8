//! What SEARCH can ask for (RFC 3501 §6.4.4).

use jiff::civil::Date;

use super::cursor::{Cursor, Parsed};
use super::{Reason, SequenceSet};
use crate::mail::{Flag, Keyword, SystemFlag};

/// Deepest nesting of NOT, OR and parentheses.
const MAX_DEPTH: usize = 50;
/// Most keys in one search.
const MAX_KEYS: usize = 1000;

/// A condition on a message. Texts are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) enum SearchKey {
    All,
    /// RECENT and NEW: no message is recent here.
    Nothing,
    Flag(Flag),
    Numbers(SequenceSet),
    Uids(SequenceSet),
    Before(Date),
    On(Date),
    Since(Date),
    SentBefore(Date),
    SentOn(Date),
    SentSince(Date),
    Larger(u64),
    Smaller(u64),
    Address(AddressField, String),
    Subject(String),
    Header(String, String),
    Body(String),
    Text(String),
    Not(Box<Self>),
    Or(Box<Self>, Box<Self>),
    And(Vec<Self>),
}

/// Which addresses are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::imap) enum AddressField {
    From,
    To,
    Cc,
    Bcc,
}

impl AddressField {
    /// The header field's name.
    pub(in crate::imap) fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
            Self::Cc => "cc",
            Self::Bcc => "bcc",
        }
    }
}

/// The arguments of SEARCH.
pub(super) fn search(cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    let mut charset_is_known = true;
    if cursor.word("CHARSET ") {
        let charset = cursor.astring()?;
        charset_is_known =
            ["UTF-8", "US-ASCII"].iter().any(|c| charset.eq_ignore_ascii_case(c.as_bytes()));
        cursor.space()?;
    }
    if !charset_is_known {
        return Err(Reason::Charset);
    }
    let mut keys = Vec::new();
    let mut left = MAX_KEYS;
    loop {
        keys.push(key(cursor, 0, &mut left)?);
        if cursor.peek() != Some(b' ') {
            return Ok(SearchKey::And(keys));
        }
        cursor.space()?;
        if cursor.is_empty() {
            return Ok(SearchKey::And(keys));
        }
    }
}

fn key(cursor: &mut Cursor<'_>, depth: usize, left: &mut usize) -> Parsed<SearchKey> {
    *left = left.checked_sub(1).ok_or(Reason::TooComplex)?;
    if depth > MAX_DEPTH {
        return Err(Reason::TooComplex);
    }
    match cursor.peek() {
        Some(b'(') => {
            return cursor.list(1, |c| key(c, depth + 1, left)).map(SearchKey::And);
        }
        Some(b'*' | b'0'..=b'9') => {
            return SequenceSet::parse(cursor).map(SearchKey::Numbers);
        }
        _ => {}
    }
    let name = cursor.atom()?.to_ascii_uppercase();
    if let Some(key) = flag_key(&name) {
        return Ok(key);
    }
    match name.as_str() {
        "ALL" | "OLD" => return Ok(SearchKey::All),
        "NEW" | "RECENT" => return Ok(SearchKey::Nothing),
        _ => {}
    }
    if cursor.peek() != Some(b' ') {
        return Err(Reason::Syntax("unknown search key"));
    }
    cursor.space()?;
    match name.as_str() {
        "KEYWORD" => keyword(cursor),
        "UNKEYWORD" => keyword(cursor).map(not),
        "UID" => SequenceSet::parse(cursor).map(SearchKey::Uids),
        "BEFORE" => cursor.date().map(SearchKey::Before),
        "ON" => cursor.date().map(SearchKey::On),
        "SINCE" => cursor.date().map(SearchKey::Since),
        "SENTBEFORE" => cursor.date().map(SearchKey::SentBefore),
        "SENTON" => cursor.date().map(SearchKey::SentOn),
        "SENTSINCE" => cursor.date().map(SearchKey::SentSince),
        "LARGER" => cursor.size().map(SearchKey::Larger),
        "SMALLER" => cursor.size().map(SearchKey::Smaller),
        "FROM" => text(cursor).map(|t| SearchKey::Address(AddressField::From, t)),
        "TO" => text(cursor).map(|t| SearchKey::Address(AddressField::To, t)),
        "CC" => text(cursor).map(|t| SearchKey::Address(AddressField::Cc, t)),
        "BCC" => text(cursor).map(|t| SearchKey::Address(AddressField::Bcc, t)),
        "SUBJECT" => text(cursor).map(SearchKey::Subject),
        "BODY" => text(cursor).map(SearchKey::Body),
        "TEXT" => text(cursor).map(SearchKey::Text),
        "HEADER" => {
            let field = text(cursor)?;
            cursor.space()?;
            Ok(SearchKey::Header(field, text(cursor)?))
        }
        "NOT" => key(cursor, depth + 1, left).map(not),
        "OR" => {
            let one = key(cursor, depth + 1, left)?;
            cursor.space()?;
            let other = key(cursor, depth + 1, left)?;
            Ok(SearchKey::Or(Box::new(one), Box::new(other)))
        }
        _ => Err(Reason::Syntax("unknown search key")),
    }
}

fn flag_key(name: &str) -> Option<SearchKey> {
    let (negated, name) = match name.strip_prefix("UN") {
        Some(rest) => (true, rest),
        None => (false, name),
    };
    let flag = match name {
        "ANSWERED" => SystemFlag::Answered,
        "DELETED" => SystemFlag::Deleted,
        "DRAFT" => SystemFlag::Draft,
        "FLAGGED" => SystemFlag::Flagged,
        "SEEN" => SystemFlag::Seen,
        _ => return None,
    };
    let key = SearchKey::Flag(Flag::System(flag));
    Some(if negated { not(key) } else { key })
}

fn keyword(cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    let keyword: Keyword = cursor.atom()?.parse().map_err(Reason::Flag)?;
    Ok(SearchKey::Flag(Flag::Keyword(keyword)))
}

fn text(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.text().map(|text| text.to_lowercase())
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}
