//! PARTIAL with FETCH (RFC 9394 §3.3): a page of the messages a set names. With SEARCH it is one of
//! the results asked for; see `search`.

use super::command::PartialRange;

/// What is left of a list; all of it without a range.
pub(super) fn page<T>(mut list: Vec<T>, range: Option<PartialRange>) -> Vec<T> {
    if let Some(range) = range {
        let range = range.within(list.len());
        list.truncate(range.end);
        list.drain(..range.start);
    }
    list
}
