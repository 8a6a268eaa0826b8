//! How SORT orders and THREAD groups what they find (RFC 5256 §5, RFC 5957 §5).

use super::Reason;
use super::cursor::{Cursor, Parsed};

/// Most criteria of one SORT.
const MAX_CRITERIA: usize = 20;

/// Which of the commands that search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) enum Program {
    Search,
    Sort(Vec<Criterion>),
    Thread(Algorithm),
}

/// One of several orders, each deciding where those before it do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::imap) struct Criterion {
    pub(in crate::imap) by: SortKey,
    /// REVERSE.
    pub(in crate::imap) descending: bool,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::imap) enum SortKey {
    /// The internal date.
    Arrival,
    Cc,
    /// The date the sender wrote.
    Date,
    From,
    Size,
    Subject,
    To,
    DisplayFrom,
    DisplayTo,
}

/// How THREAD groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::imap) enum Algorithm {
    OrderedSubject,
    References,
}

/// `(REVERSE DATE SUBJECT)`.
pub(super) fn criteria(cursor: &mut Cursor<'_>) -> Parsed<Vec<Criterion>> {
    let criteria = cursor.list(1, |cursor| {
        let descending = cursor.word("REVERSE ");
        Ok(Criterion { by: key(cursor)?, descending })
    })?;
    if criteria.len() > MAX_CRITERIA { Err(Reason::TooComplex) } else { Ok(criteria) }
}

pub(super) fn algorithm(cursor: &mut Cursor<'_>) -> Parsed<Algorithm> {
    match cursor.atom()?.to_ascii_uppercase().as_str() {
        "ORDEREDSUBJECT" => Ok(Algorithm::OrderedSubject),
        "REFERENCES" => Ok(Algorithm::References),
        _ => Err(Reason::Syntax("unknown threading algorithm")),
    }
}

fn key(cursor: &mut Cursor<'_>) -> Parsed<SortKey> {
    Ok(match cursor.atom()?.to_ascii_uppercase().as_str() {
        "ARRIVAL" => SortKey::Arrival,
        "CC" => SortKey::Cc,
        "DATE" => SortKey::Date,
        "FROM" => SortKey::From,
        "SIZE" => SortKey::Size,
        "SUBJECT" => SortKey::Subject,
        "TO" => SortKey::To,
        "DISPLAYFROM" => SortKey::DisplayFrom,
        "DISPLAYTO" => SortKey::DisplayTo,
        _ => return Err(Reason::Syntax("unknown sort criterion")),
    })
}
