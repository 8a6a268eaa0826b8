//! What CONDSTORE and QRESYNC add to commands (RFC 7162 §7): modification sequences, and what a
//! client knows of a mailbox that it opens again.

use super::cursor::{Cursor, Parsed};
use super::{Reason, SequenceSet};
use crate::mail::ModSeq;

/// What may stand behind the name in SELECT and EXAMINE (RFC 4466 §2.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::imap) struct SelectParams {
    /// RFC 7162 §3.1.8.
    pub(in crate::imap) condstore: bool,
    /// RFC 7162 §3.2.5.
    pub(in crate::imap) qresync: Option<Known>,
}

/// What a client knows of a mailbox (RFC 7162 §3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) struct Known {
    pub(in crate::imap) uid_validity: u32,
    pub(in crate::imap) modseq: ModSeq,
    /// The messages it wants to hear of; all of them when there is no set.
    pub(in crate::imap) uids: Option<SequenceSet>,
    /// Some numbers and the UIDs it knows under them, in the same order (§3.2.5.2).
    pub(in crate::imap) sample: Option<(SequenceSet, SequenceSet)>,
}

/// Nothing, or the parameters in parentheses.
pub(super) fn select_params(cursor: &mut Cursor<'_>) -> Parsed<SelectParams> {
    let mut params = SelectParams::default();
    if !another(cursor)? || cursor.peek() != Some(b'(') {
        return Ok(params);
    }
    cursor.list(1, |cursor| {
        if cursor.word("CONDSTORE") {
            params.condstore = true;
        } else if cursor.word("QRESYNC") && params.qresync.is_none() {
            cursor.space()?;
            params.qresync = Some(known(cursor)?);
        } else {
            return Err(Reason::Syntax("unknown SELECT parameter"));
        }
        Ok(())
    })?;
    Ok(params)
}

fn known(cursor: &mut Cursor<'_>) -> Parsed<Known> {
    cursor.expect(b'(', "QRESYNC needs its list")?;
    let uid_validity = cursor.number()?;
    cursor.space()?;
    let modseq = mod_sequence(cursor)?;
    let mut known = Known { uid_validity, modseq, uids: None, sample: None };
    if uid_validity == 0 || modseq.0 == 0 {
        return Err(Reason::Syntax("validity and modification sequence begin with 1"));
    }
    let mut more = another(cursor)?;
    if more && cursor.peek() != Some(b'(') {
        known.uids = Some(given(cursor)?);
        more = another(cursor)?;
    }
    if more {
        cursor.expect(b'(', "not a list of numbers and UIDs")?;
        let numbers = given(cursor)?;
        cursor.space()?;
        known.sample = Some((numbers, given(cursor)?));
        cursor.expect(b')', "a list has no end")?;
    }
    cursor.expect(b')', "a list has no end")?;
    Ok(known)
}

/// A set without `*`: RFC 7162 §7 `known-uids`.
fn given(cursor: &mut Cursor<'_>) -> Parsed<SequenceSet> {
    let set = SequenceSet::parse(cursor)?;
    if set.is_plain() { Ok(set) } else { Err(Reason::Syntax("* means nothing here")) }
}

/// `(UNCHANGEDSINCE n)` before what STORE changes (RFC 7162 §3.1.3).
pub(super) fn unchanged_since(cursor: &mut Cursor<'_>) -> Parsed<Option<ModSeq>> {
    if cursor.peek() != Some(b'(') {
        return Ok(None);
    }
    let mut since = None;
    cursor.list(1, |cursor| {
        if !cursor.word("UNCHANGEDSINCE ") || since.is_some() {
            return Err(Reason::Syntax("unknown STORE modifier"));
        }
        since = Some(mod_sequence(cursor)?);
        Ok(())
    })?;
    cursor.space()?;
    Ok(since)
}

/// `mod-sequence-valzer`: 63 bits (RFC 7162 §3.1).
pub(super) fn mod_sequence(cursor: &mut Cursor<'_>) -> Parsed<ModSeq> {
    let number = cursor.size()?;
    match i64::try_from(number) {
        Ok(_) => Ok(ModSeq(number)),
        Err(_) => Err(Reason::Syntax("a modification sequence has at most 63 bits")),
    }
}

/// Whether something follows behind a blank.
fn another(cursor: &mut Cursor<'_>) -> Parsed<bool> {
    if cursor.peek() != Some(b' ') {
        return Ok(false);
    }
    cursor.space()?;
    Ok(!cursor.is_empty())
}
