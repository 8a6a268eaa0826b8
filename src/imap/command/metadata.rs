//! The arguments of GETMETADATA and SETMETADATA (RFC 5464 §5).

use super::Reason;
use super::cursor::{Cursor, Parsed};
use crate::mail::MailboxName;

/// Most entries in one command.
const MAX_ENTRIES: usize = 100;
/// Longest name of an entry, in bytes.
const MAX_NAME: usize = 250;
/// Largest value of an entry, in bytes.
pub(in crate::imap) const MAX_VALUE: usize = 8 << 10;

/// What annotations belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) enum Place {
    Server,
    Mailbox(MailboxName),
}

/// The name of an entry, in lower case: case does not tell entries apart (RFC 5464 §3.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::imap) struct Entry(String);

/// How far below an entry to look (RFC 5464 §4.2.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::imap) enum Depth {
    #[default]
    Itself,
    Children,
    All,
}

/// GETMETADATA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) struct GetMetadata {
    pub(in crate::imap) place: Place,
    /// Larger values are left out, in bytes.
    pub(in crate::imap) max_size: Option<u64>,
    pub(in crate::imap) depth: Depth,
    pub(in crate::imap) entries: Vec<Entry>,
}

/// SETMETADATA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) struct SetMetadata {
    pub(in crate::imap) place: Place,
    /// Nothing removes the entry.
    pub(in crate::imap) values: Vec<(Entry, Option<Vec<u8>>)>,
}

/// The options stand before the mailbox in the grammar and behind it in the examples: both are
/// taken. Entries without parentheses stand in an example too.
pub(super) fn get(cursor: &mut Cursor<'_>) -> Parsed<GetMetadata> {
    let mut get = GetMetadata {
        place: Place::Server,
        max_size: None,
        depth: Depth::default(),
        entries: Vec::new(),
    };
    if cursor.peek() == Some(b'(') {
        options(cursor, &mut get)?;
        cursor.space()?;
    }
    get.place = place(cursor)?;
    cursor.space()?;
    let mut ahead = *cursor;
    if ahead.skip(b'(') && (ahead.word("MAXSIZE ") || ahead.word("DEPTH ")) {
        options(cursor, &mut get)?;
        cursor.space()?;
    }
    if cursor.peek() == Some(b'(') {
        get.entries = cursor.list(1, entry)?;
    } else {
        get.entries.push(entry(cursor)?);
        while cursor.peek() == Some(b' ') {
            cursor.space()?;
            get.entries.push(entry(cursor)?);
        }
    }
    if get.entries.len() > MAX_ENTRIES { Err(TOO_MANY) } else { Ok(get) }
}

pub(super) fn set(cursor: &mut Cursor<'_>) -> Parsed<SetMetadata> {
    let place = place(cursor)?;
    cursor.space()?;
    let values = cursor.list(1, |cursor| {
        let entry = entry(cursor)?;
        entry.check_depth()?;
        cursor.space()?;
        Ok((entry, cursor.value()?))
    })?;
    if values.len() > MAX_ENTRIES { Err(TOO_MANY) } else { Ok(SetMetadata { place, values }) }
}

const TOO_MANY: Reason = Reason::Syntax("too many entries at once");

fn options(cursor: &mut Cursor<'_>, get: &mut GetMetadata) -> Parsed<()> {
    cursor.list(1, |cursor| {
        let option = cursor.atom()?.to_ascii_uppercase();
        cursor.space()?;
        match option.as_str() {
            "MAXSIZE" => get.max_size = Some(cursor.size()?),
            "DEPTH" => {
                get.depth = match cursor.atom()?.to_ascii_lowercase().as_str() {
                    "0" => Depth::Itself,
                    "1" => Depth::Children,
                    "infinity" => Depth::All,
                    _ => return Err(Reason::Syntax("DEPTH is 0, 1 or infinity")),
                }
            }
            _ => return Err(Reason::Syntax("unknown GETMETADATA option")),
        }
        Ok(())
    })?;
    Ok(())
}

fn place(cursor: &mut Cursor<'_>) -> Parsed<Place> {
    let name = cursor.mailbox_text()?;
    if name.is_empty() {
        return Ok(Place::Server);
    }
    name.parse().map(Place::Mailbox).map_err(Reason::Name)
}

fn entry(cursor: &mut Cursor<'_>) -> Parsed<Entry> {
    let name = cursor.text()?.to_ascii_lowercase();
    let plain = |b: u8| matches!(b, b' '..=b'~') && !matches!(b, b'*' | b'%');
    let mut levels = name.split('/');
    let rooted = levels.next() == Some("") && matches!(levels.next(), Some("private" | "shared"));
    let fits = name.len() <= MAX_NAME && name.bytes().all(plain);
    if !rooted || !fits || levels.any(str::is_empty) {
        return Err(Reason::Entry);
    }
    Ok(Entry(name))
}

impl Entry {
    pub(in crate::imap) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether everybody has the same value.
    pub(in crate::imap) fn is_shared(&self) -> bool {
        self.0.starts_with("/shared")
    }

    /// Whether a name is this one, or so far below it.
    pub(in crate::imap) fn covers(&self, name: &str, depth: Depth) -> bool {
        let Some(rest) = name.strip_prefix(&self.0) else { return false };
        match depth {
            _ if rest.is_empty() => true,
            Depth::Itself => false,
            Depth::Children => rest.starts_with('/') && rest.matches('/').count() == 1,
            Depth::All => rest.starts_with('/'),
        }
    }

    /// What can hold a value has two levels, those of vendors four (RFC 5464 §3.2).
    fn check_depth(&self) -> Parsed<()> {
        let levels: Vec<&str> = self.0.split('/').skip(1).collect();
        let least = if levels.get(1) == Some(&"vendor") { 4 } else { 2 };
        if levels.len() < least {
            return Err(Reason::Entry);
        }
        Ok(())
    }
}
