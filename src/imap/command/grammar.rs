//! From the bytes of a command to its type (RFC 3501 §9 `command`).

use super::cursor::{Cursor, Parsed};
use super::{
    Body, Command, Names, Reason, Refused, SequenceSet, Tag, fetch, list, metadata, notify, quota,
    resync, search,
};
use crate::accounts::Password;
use crate::mail::{Flags, SpecialUse};
use crate::store::FlagChange;

/// Most name-value pairs in an ID, and longest of them (RFC 2971 §3.3).
const MAX_ID_PAIRS: usize = 30;

/// Parses a whole command, literals in place, without its last CRLF.
pub(in crate::imap) fn parse(bytes: &[u8], names: Names) -> Result<Command, Refused> {
    let mut cursor = Cursor::new(bytes, names);
    let tag = tag(&mut cursor).map_err(|reason| Refused { tag: None, reason })?;
    match body(&mut cursor).and_then(|body| cursor.end().map(|()| body)) {
        Ok(body) => Ok(Command { tag, body }),
        Err(reason) => Err(Refused { tag: Some(tag), reason }),
    }
}

/// The tag of what may be no command at all, for the answer.
pub(in crate::imap) fn tag_of(bytes: &[u8]) -> Option<Tag> {
    tag(&mut Cursor::new(bytes, Names::default())).ok()
}

pub(super) fn tag(cursor: &mut Cursor<'_>) -> Parsed<Tag> {
    let tag = Tag(cursor.tag().map_err(|_| Reason::Tag)?.to_owned());
    cursor.space().map_err(|_| Reason::Tag)?;
    Ok(tag)
}

fn body(cursor: &mut Cursor<'_>) -> Parsed<Body> {
    let name = cursor.atom().map_err(|_| Reason::Unknown)?.to_ascii_uppercase();
    if let Some(body) = without_arguments(&name) {
        return Ok(body);
    }
    if cursor.is_empty() && !is_known(&name) {
        return Err(Reason::Unknown);
    }
    match name.as_str() {
        "UID" => {
            cursor.space()?;
            let name = cursor.atom()?.to_ascii_uppercase();
            if name == "REPLACE" {
                return with_arguments(&name, cursor);
            }
            if name == "EXPUNGE" {
                cursor.space()?;
                return Ok(Body::Expunge(Some(SequenceSet::parse(cursor)?)));
            }
            numbered(&name, true, cursor)
        }
        "FETCH" | "STORE" | "SEARCH" | "SORT" | "THREAD" | "COPY" | "MOVE" => {
            numbered(&name, false, cursor)
        }
        _ => with_arguments(&name, cursor),
    }
}

fn without_arguments(name: &str) -> Option<Body> {
    Some(match name {
        "CAPABILITY" => Body::Capability,
        "NOOP" => Body::Noop,
        "LOGOUT" => Body::Logout,
        "STARTTLS" => Body::StartTls,
        "NAMESPACE" => Body::Namespace,
        "CHECK" => Body::Check,
        "CLOSE" => Body::Close,
        "UNSELECT" => Body::Unselect,
        "EXPUNGE" => Body::Expunge(None),
        "IDLE" => Body::Idle,
        _ => return None,
    })
}

/// Tells a known command without its arguments from an unknown one.
fn is_known(name: &str) -> bool {
    const KNOWN: [&str; 31] = [
        "GETQUOTA",
        "GETQUOTAROOT",
        "SETQUOTA",
        "GETMETADATA",
        "SETMETADATA",
        "NOTIFY",
        "AUTHENTICATE",
        "LOGIN",
        "ID",
        "ENABLE",
        "COMPRESS",
        "SELECT",
        "EXAMINE",
        "CREATE",
        "DELETE",
        "RENAME",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "LIST",
        "LSUB",
        "STATUS",
        "APPEND",
        "REPLACE",
        "UID",
        "FETCH",
        "STORE",
        "SEARCH",
        "SORT",
        "THREAD",
        "COPY",
        "MOVE",
    ];
    KNOWN.contains(&name)
}

fn with_arguments(name: &str, cursor: &mut Cursor<'_>) -> Parsed<Body> {
    if !is_known(name) {
        return Err(Reason::Unknown);
    }
    cursor.space()?;
    Ok(match name {
        "AUTHENTICATE" => {
            let mechanism = cursor.atom()?.to_ascii_uppercase();
            let mut initial = None;
            if cursor.peek() == Some(b' ') {
                cursor.space()?;
                initial = Some(cursor.astring()?);
            }
            Body::Authenticate { mechanism, initial }
        }
        "LOGIN" => {
            let user = cursor.text()?;
            cursor.space()?;
            Body::Login { user, password: Password::new(cursor.text()?) }
        }
        "ENABLE" => Body::Enable(enable(cursor)?),
        "COMPRESS" if cursor.word("DEFLATE") => Body::Compress,
        "COMPRESS" => return Err(Reason::Syntax("only DEFLATE is offered")),
        "ID" => Body::Id(id(cursor)?),
        "GETQUOTA" | "GETQUOTAROOT" | "SETQUOTA" => Body::Quota(quota::asked(name, cursor)?),
        "GETMETADATA" => Body::GetMetadata(metadata::get(cursor)?),
        "SETMETADATA" => Body::SetMetadata(metadata::set(cursor)?),
        "NOTIFY" => Body::Notify(notify::wish(cursor)?),
        "SELECT" | "EXAMINE" => {
            let read_only = name == "EXAMINE";
            let name = cursor.mailbox()?;
            Body::Select { name, read_only, params: resync::select_params(cursor)? }
        }
        "CREATE" => {
            let name = cursor.new_mailbox()?;
            Body::Create { name, special_use: create_use(cursor)? }
        }
        "DELETE" => Body::Delete(cursor.mailbox()?),
        "RENAME" => {
            let from = cursor.mailbox()?;
            cursor.space()?;
            Body::Rename { from, to: cursor.new_mailbox()? }
        }
        "SUBSCRIBE" | "UNSUBSCRIBE" => {
            Body::Subscribe { name: cursor.mailbox()?, on: name == "SUBSCRIBE" }
        }
        "LIST" => Body::List(list::list(cursor)?),
        "LSUB" => Body::Lsub(list::matching(cursor)?),
        "STATUS" => {
            let name = cursor.mailbox()?;
            cursor.space()?;
            Body::Status { name, items: list::status_items(cursor)? }
        }
        "APPEND" | "REPLACE" => return Err(Reason::Syntax("a message has to be a literal")),
        _ => return Err(Reason::Unknown),
    })
}

/// Commands that exist with message numbers and with UIDs.
fn numbered(name: &str, uid: bool, cursor: &mut Cursor<'_>) -> Parsed<Body> {
    cursor.space()?;
    match name {
        "SEARCH" => return search::search(uid, cursor).map(Body::Search),
        "SORT" => return search::sort(uid, cursor).map(Body::Search),
        "THREAD" => return search::thread(uid, cursor).map(Body::Search),
        _ => {}
    }
    let set = SequenceSet::parse(cursor)?;
    cursor.space()?;
    Ok(match name {
        "FETCH" => {
            let items = fetch::items(cursor)?;
            Body::Fetch { uid, set, items, modifiers: fetch::modifiers(uid, cursor)? }
        }
        "STORE" => {
            let unchanged_since = resync::unchanged_since(cursor)?;
            let (change, silent) = flag_change(cursor)?;
            Body::Store { uid, set, change, silent, unchanged_since }
        }
        "COPY" | "MOVE" => Body::Copy { uid, set, to: cursor.mailbox()?, moving: name == "MOVE" },
        _ => return Err(Reason::Unknown),
    })
}

fn flag_change(cursor: &mut Cursor<'_>) -> Parsed<(FlagChange, bool)> {
    let change = if cursor.skip(b'+') {
        FlagChange::Add
    } else if cursor.skip(b'-') {
        FlagChange::Remove
    } else {
        FlagChange::Replace
    };
    if !cursor.word("FLAGS") {
        return Err(Reason::Syntax("STORE changes FLAGS only"));
    }
    let silent = cursor.word(".SILENT");
    cursor.space()?;
    if cursor.peek() == Some(b'(') {
        return Ok((change(cursor.flags()?), silent));
    }
    let mut flags = Flags::none();
    loop {
        cursor.flag()?.into_iter().for_each(|flag| flags.insert(flag));
        if cursor.is_empty() {
            return Ok((change(flags), silent));
        }
        cursor.space()?;
    }
}

/// `(USE (\Drafts))` (RFC 6154 §3).
fn create_use(cursor: &mut Cursor<'_>) -> Parsed<Option<SpecialUse>> {
    if cursor.peek() != Some(b' ') {
        return Ok(None);
    }
    cursor.space()?;
    if cursor.is_empty() {
        return Ok(None);
    }
    if !cursor.word("(USE ") {
        return Err(Reason::Syntax("unknown CREATE option"));
    }
    let uses = cursor.list(0, |cursor| {
        cursor.expect(b'\\', "not a special use")?;
        let word = cursor.atom()?;
        let known = SpecialUse::ALL
            .into_iter()
            .find(|u| u.attribute().get(1..).is_some_and(|name| name.eq_ignore_ascii_case(word)));
        Ok(known)
    })?;
    cursor.expect(b')', "a list has no end")?;
    match *uses {
        [] => Ok(None),
        [Some(only)] => Ok(Some(only)),
        // RFC 6154 §3: no mistake in syntax, but nothing that can be had.
        _ => Err(Reason::Use),
    }
}

fn enable(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    let mut names = vec![cursor.atom()?.to_owned()];
    while cursor.peek() == Some(b' ') {
        cursor.space()?;
        names.push(cursor.atom()?.to_owned());
    }
    Ok(names)
}

/// Names and values; what a client tells of itself need not be UTF-8.
fn id(cursor: &mut Cursor<'_>) -> Parsed<Vec<(String, Option<String>)>> {
    if cursor.word("NIL") {
        return Ok(Vec::new());
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let fields = cursor.list(0, |cursor| {
        let name = text(cursor.string()?);
        cursor.space()?;
        Ok((name, cursor.nstring()?.map(text)))
    })?;
    if fields.len() > MAX_ID_PAIRS {
        return Err(Reason::Syntax("too many ID fields"));
    }
    Ok(fields)
}
