//! What SEARCH can ask for (RFC 3501 §6.4.4, RFC 9051 §6.4.4), and with it SORT and THREAD
//! (RFC 5256 §3), which take the same keys.

use jiff::civil::Date;

use super::cursor::{Cursor, Parsed};
use super::results::{Results, results};
use super::{Program, Reason, SequenceSet, sort};
use crate::mail::{Flag, Keyword, ModSeq, SystemFlag};

/// Deepest nesting of NOT, OR and parentheses.
const MAX_DEPTH: usize = 50;
/// Most keys in one search.
const MAX_KEYS: usize = 1000;
/// Longest object id (RFC 8474 §7).
const MAX_OBJECT_ID: usize = 255;

/// SEARCH, SORT or THREAD.
#[derive(Debug, Clone)]
pub(in crate::imap) struct Search {
    /// Whether UIDs are answered.
    pub(in crate::imap) uid: bool,
    pub(in crate::imap) program: Program,
    /// With RETURN (RFC 4466 §2.6.1).
    pub(in crate::imap) results: Option<Results>,
    pub(in crate::imap) key: SearchKey,
}

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
    /// RFC 8514 §4.3.
    SavedBefore(Date),
    SavedOn(Date),
    SavedSince(Date),
    /// RFC 5032 §2: received so many seconds ago, or earlier.
    Older(u32),
    /// The same, or later.
    Younger(u32),
    SentBefore(Date),
    SentOn(Date),
    SentSince(Date),
    Larger(u64),
    Smaller(u64),
    /// RFC 7162 §3.1.5: changed then or later.
    ModSeq(ModSeq),
    /// RFC 8474 §6.
    EmailId(String),
    ThreadId(String),
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
pub(super) fn search(uid: bool, cursor: &mut Cursor<'_>) -> Parsed<Search> {
    let results = results(cursor)?;
    let key = if cursor.word("CHARSET ") {
        charset(cursor, results.as_ref())?;
        keys(cursor)?
    } else {
        keys(cursor)?
    };
    Ok(Search { uid, program: Program::Search, results, key })
}

/// The arguments of SORT (RFC 5256 §5, with RETURN RFC 5267 §3).
pub(super) fn sort(uid: bool, cursor: &mut Cursor<'_>) -> Parsed<Search> {
    let results = results(cursor)?;
    let program = Program::Sort(sort::criteria(cursor)?);
    cursor.space()?;
    charset(cursor, results.as_ref())?;
    Ok(Search { uid, program, results, key: keys(cursor)? })
}

/// The arguments of THREAD (RFC 5256 §5).
pub(super) fn thread(uid: bool, cursor: &mut Cursor<'_>) -> Parsed<Search> {
    let program = Program::Thread(sort::algorithm(cursor)?);
    cursor.space()?;
    charset(cursor, None)?;
    Ok(Search { uid, program, results: None, key: keys(cursor)? })
}

/// A charset that can be searched in, and the blank behind it. What follows another one cannot be
/// read. RFC 9755 §3 would have CHARSET refused once a client has switched UTF-8 on; one that says so
/// a second time means the same (RFC 9051 §6.4.4).
fn charset(cursor: &mut Cursor<'_>, results: Option<&Results>) -> Parsed<()> {
    let charset = cursor.astring()?;
    cursor.space()?;
    if ["UTF-8", "US-ASCII"].iter().any(|known| charset.eq_ignore_ascii_case(known.as_bytes())) {
        return Ok(());
    }
    Err(Reason::Charset { save: results.is_some_and(Results::saves) })
}

fn keys(cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
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
        Some(b'*' | b'$' | b'0'..=b'9') => {
            return SequenceSet::parse(cursor).map(SearchKey::Numbers);
        }
        _ => {}
    }
    let name = cursor.atom()?.to_ascii_uppercase();
    if let Some(key) = flag_key(&name) {
        return Ok(key);
    }
    match name.as_str() {
        // Every message has the date of its coming (RFC 8514 §4.3).
        "ALL" | "OLD" | "SAVEDATESUPPORTED" => return Ok(SearchKey::All),
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
        "SAVEDBEFORE" => cursor.date().map(SearchKey::SavedBefore),
        "SAVEDON" => cursor.date().map(SearchKey::SavedOn),
        "SAVEDSINCE" => cursor.date().map(SearchKey::SavedSince),
        "OLDER" => interval(cursor).map(SearchKey::Older),
        "YOUNGER" => interval(cursor).map(SearchKey::Younger),
        "MODSEQ" => modseq(cursor),
        "EMAILID" => object_id(cursor).map(SearchKey::EmailId),
        "THREADID" => object_id(cursor).map(SearchKey::ThreadId),
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

/// Seconds, at least one (RFC 5032 §3).
fn interval(cursor: &mut Cursor<'_>) -> Parsed<u32> {
    match cursor.number()? {
        0 => Err(Reason::Syntax("an interval has at least one second")),
        seconds => Ok(seconds),
    }
}

/// A modification sequence. Each message has one for all that can change of it, so that the name of
/// a flag before it is ignored (RFC 7162 §3.1.5).
fn modseq(cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    if cursor.peek() == Some(b'"') {
        cursor.string()?;
        cursor.space()?;
        if !["priv", "shared", "all"].iter().any(|kind| cursor.word(kind)) {
            return Err(Reason::Syntax("MODSEQ asks for priv, shared or all"));
        }
        cursor.space()?;
    }
    cursor.size().map(|number| SearchKey::ModSeq(ModSeq(number)))
}

/// An object id; case counts (RFC 8474 §7).
fn object_id(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let id = cursor.text()?;
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if id.bytes().all(good) && (1..=MAX_OBJECT_ID).contains(&id.len()) {
        Ok(id)
    } else {
        Err(Reason::Syntax("not an object id"))
    }
}

fn text(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.text().map(|text| text.to_lowercase())
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}
