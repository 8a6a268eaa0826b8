//! What an extended SEARCH or SORT shall answer: `RETURN (MIN MAX ALL COUNT SAVE PARTIAL 1:50)`
//! (RFC 4731 §3.1, RFC 5182 §2, RFC 5267 §3.1, RFC 9394 §3.1), and the range of PARTIAL.

use super::Reason;
use super::cursor::{Cursor, Parsed};

/// One result asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::imap) enum ResultItem {
    Min,
    Max,
    All,
    Count,
    /// Keep what was found for `$`.
    Save,
    Partial(PartialRange),
}

/// The results asked for, each once, in the client's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::imap) struct Results(Vec<ResultItem>);

impl Results {
    /// What `()` stands for (RFC 4731 §3.1).
    pub(in crate::imap) fn all() -> Self {
        Self(vec![ResultItem::All])
    }

    pub(in crate::imap) fn has(&self, item: ResultItem) -> bool {
        self.0.contains(&item)
    }

    /// Whether the result is kept for `$`.
    pub(in crate::imap) fn saves(&self) -> bool {
        self.has(ResultItem::Save)
    }

    /// Whether it is kept and nothing is answered (RFC 5182 §2.4).
    pub(in crate::imap) fn is_silent(&self) -> bool {
        self.0 == [ResultItem::Save]
    }

    pub(in crate::imap) fn partial(&self) -> Option<PartialRange> {
        self.0.iter().find_map(|item| match item {
            ResultItem::Partial(range) => Some(*range),
            _ => None,
        })
    }
}

/// `1:50`, or from the end `-1:-50` (RFC 9394 §3.1): places in a list, the first being 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::imap) struct PartialRange {
    /// As the client wrote them: the answer repeats the range.
    first: u32,
    last: u32,
    from_end: bool,
}

impl PartialRange {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let place = |cursor: &mut Cursor<'_>, from_end| {
            if cursor.skip(b'-') != from_end {
                return Err(Reason::Syntax("both ends of PARTIAL count from the same side"));
            }
            match cursor.number()? {
                0 => Err(Reason::Syntax("the places of PARTIAL begin with 1")),
                number => Ok(number),
            }
        };
        let from_end = cursor.peek() == Some(b'-');
        let first = place(cursor, from_end)?;
        cursor.expect(b':', "PARTIAL needs two places")?;
        let last = place(cursor, from_end)?;
        Ok(Self { first, last, from_end })
    }

    /// Where the places lie in a list of so many; what is beyond it is left out.
    pub(in crate::imap) fn within(self, length: usize) -> std::ops::Range<usize> {
        let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        // 500:400 is the same as 400:500.
        let low = place(self.first.min(self.last)) - 1;
        let high = place(self.first.max(self.last)).min(length);
        let low = low.min(high);
        if self.from_end { length - high..length - low } else { low..high }
    }
}

impl std::fmt::Display for PartialRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let minus = if self.from_end { "-" } else { "" };
        write!(f, "{minus}{}:{minus}{}", self.first, self.last)
    }
}

/// `RETURN (…)` and the blank behind it, when it comes next.
pub(super) fn results(cursor: &mut Cursor<'_>) -> Parsed<Option<Results>> {
    if !cursor.word("RETURN ") {
        return Ok(None);
    }
    let mut results = Results(Vec::new());
    cursor.list(0, |cursor| {
        let item = item(cursor)?;
        if !results.has(item) {
            results.0.push(item);
        }
        Ok(())
    })?;
    cursor.space()?;
    let partials = results.0.iter().filter(|item| matches!(item, ResultItem::Partial(_))).count();
    // RFC 9394 §3.1.
    if partials > 1 || partials == 1 && results.has(ResultItem::All) {
        return Err(Reason::Syntax("PARTIAL is asked for once, and not with ALL"));
    }
    Ok(Some(if results.0.is_empty() { Results::all() } else { results }))
}

fn item(cursor: &mut Cursor<'_>) -> Parsed<ResultItem> {
    let name = cursor.atom()?.to_ascii_uppercase();
    Ok(match name.as_str() {
        "MIN" => ResultItem::Min,
        "MAX" => ResultItem::Max,
        "ALL" => ResultItem::All,
        "COUNT" => ResultItem::Count,
        "SAVE" => ResultItem::Save,
        "PARTIAL" => {
            cursor.space()?;
            ResultItem::Partial(PartialRange::parse(cursor)?)
        }
        // RFC 9051 §6.4.4.
        _ => return Err(Reason::Syntax("unknown result option")),
    })
}
