//! The order of SORT (RFC 5256 §3, RFC 5957): what is compared of each message is taken out of its
//! header once, in the form in which it is compared.

use std::cmp::Ordering;

use super::command::{Criterion, SortKey};
use super::search::Match;
use crate::mail::sorting::{BaseSubject, casemap, display, sent_second};
use crate::mail::structure::{Mailbox, RawField, fields, people};

/// Most bytes of what is compared, of all messages together: some 200,000 usual subjects.
const ROOM: usize = 16 << 20;
/// What is compared of one text, in bytes; those that differ only behind it stand by number.
const LONGEST: usize = 512;
/// What each value costs beside its text, roughly.
const COST: usize = 24;

/// The messages of one SORT, as they come by number.
pub(super) struct Order {
    criteria: Vec<Criterion>,
    /// For each message its values, one for each criterion.
    values: Vec<Value>,
    room: usize,
}

/// Something that is compared. The empty text stands before all others.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Text(Box<[u8]>),
}

impl Order {
    pub(super) fn new(criteria: &[Criterion]) -> Self {
        Self { criteria: criteria.to_vec(), values: Vec::new(), room: ROOM }
    }

    /// Whether it asks for the messages' headers.
    pub(super) fn reads(&self) -> bool {
        self.criteria.iter().any(|one| !matches!(one.by, SortKey::Arrival | SortKey::Size))
    }

    /// Takes the next message, by number; whether there was room.
    pub(super) fn add(&mut self, found: &Match, header: &[u8]) -> bool {
        let Self { criteria, values, room } = self;
        for Criterion { by, .. } in criteria {
            let value = value(*by, found, header);
            let cost = COST + if let Value::Text(text) = &value { text.len() } else { 0 };
            let Some(left) = room.checked_sub(cost) else { return false };
            *room = left;
            values.push(value);
        }
        true
    }

    /// The messages that were added, in their order.
    pub(super) fn sorted(self, found: Vec<Match>) -> Vec<Match> {
        let values = self.values.chunks(self.criteria.len().max(1));
        let mut all: Vec<(Match, &[Value])> = found.into_iter().zip(values).collect();
        // Stable: by number where all is alike.
        all.sort_by(|(_, one), (_, other)| {
            let pairs = self.criteria.iter().zip(one.iter().zip(other.iter()));
            pairs.map(compare).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        all.into_iter().map(|(found, _)| found).collect()
    }
}

fn compare((criterion, (one, other)): (&Criterion, (&Value, &Value))) -> Ordering {
    if criterion.descending { other.cmp(one) } else { one.cmp(other) }
}

fn value(by: SortKey, found: &Match, header: &[u8]) -> Value {
    match by {
        SortKey::Arrival => Value::Number(found.received),
        SortKey::Size => Value::Number(i64::try_from(found.size).unwrap_or(i64::MAX)),
        SortKey::Date => Value::Number(sent(found, header)),
        SortKey::Subject => {
            text(&field(header, "subject").map(BaseSubject::of).unwrap_or_default().text)
        }
        SortKey::From => mailbox(header, "from"),
        SortKey::To => mailbox(header, "to"),
        SortKey::Cc => mailbox(header, "cc"),
        SortKey::DisplayFrom => shown(header, "from"),
        SortKey::DisplayTo => shown(header, "to"),
    }
}

/// When it was sent, or else received (RFC 5256 §2.2): seconds since 1970.
pub(super) fn sent(found: &Match, header: &[u8]) -> i64 {
    field(header, "date").and_then(sent_second).unwrap_or(found.received)
}

/// The value of a message's field, the first one of this name.
pub(super) fn field<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let named = |field: &RawField<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
    fields(header).find(named).map(|field| field.value)
}

fn first_address(header: &[u8], name: &str) -> Option<Mailbox> {
    people(field(header, name)?).into_iter().next()
}

fn mailbox(header: &[u8], name: &str) -> Value {
    let address = first_address(header, name).and_then(|address| address.mailbox);
    text(&String::from_utf8_lossy(&address.unwrap_or_default()))
}

fn shown(header: &[u8], name: &str) -> Value {
    text(&first_address(header, name).map(|address| display(&address)).unwrap_or_default())
}

fn text(text: &str) -> Value {
    let mut bytes = casemap(text.get(..text.floor_char_boundary(LONGEST)).unwrap_or(text));
    bytes.truncate(LONGEST);
    Value::Text(bytes.into())
}
