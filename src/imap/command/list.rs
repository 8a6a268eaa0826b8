//! The arguments of LIST and LSUB, extensions included (RFC 5258, RFC 5819, RFC 6154).

use super::cursor::{Cursor, Parsed};
use super::{Reason, StatusItem};
use crate::mail::{MailboxName, composed};

/// Most patterns in one LIST.
const MAX_PATTERNS: usize = 100;
/// Most wildcards in one pattern: matching takes time by their number.
const MAX_WILDCARDS: usize = 10;

/// A LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) struct List {
    pub(in crate::imap) matching: Matching,
    /// Only subscribed mailboxes.
    pub(in crate::imap) subscribed: bool,
    /// Also parents of subscribed mailboxes that match when the child does not.
    pub(in crate::imap) recursive: bool,
    /// Only mailboxes with a special use.
    pub(in crate::imap) special_use: bool,
    pub(in crate::imap) wanted: Return,
}

/// What to tell of each mailbox beyond its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::imap) struct Return {
    pub(in crate::imap) subscribed: bool,
    /// RFC 5819.
    pub(in crate::imap) status: Vec<StatusItem>,
}

/// Which names are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::imap) struct Matching {
    patterns: Vec<Pattern>,
    /// `LIST "" ""`: asks for the separator only.
    pub(in crate::imap) separator_only: bool,
    /// Written as only RFC 5258 can.
    pub(in crate::imap) extended: bool,
}

/// A name with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    text: Vec<char>,
    /// The same for the inbox and what is below it: their first level has no case.
    for_inbox: Vec<char>,
}

pub(super) fn list(cursor: &mut Cursor<'_>) -> Parsed<List> {
    let mut list = List {
        matching: Matching::default(),
        subscribed: false,
        recursive: false,
        special_use: false,
        wanted: Return::default(),
    };
    let mut extended = cursor.peek() == Some(b'(');
    if extended {
        for option in cursor.list(0, Cursor::atom)? {
            match option.to_ascii_uppercase().as_str() {
                "SUBSCRIBED" => list.subscribed = true,
                "RECURSIVEMATCH" => list.recursive = true,
                "SPECIAL-USE" => list.special_use = true,
                // There are no remote mailboxes.
                "REMOTE" => {}
                _ => return Err(Reason::Syntax("unknown LIST selection option")),
            }
        }
        if list.recursive && !list.subscribed && !list.special_use {
            // RFC 5258 §3: it modifies another option.
            return Err(Reason::Syntax("RECURSIVEMATCH needs SUBSCRIBED or SPECIAL-USE"));
        }
        cursor.space()?;
    }
    let (reference, patterns) = patterns(cursor)?;
    extended |= patterns.is_list;
    // What was asked to be selected by is told (RFC 5258 §3.1).
    list.wanted.subscribed = list.subscribed;
    if cursor.peek() == Some(b' ') {
        cursor.space()?;
        if !cursor.word("RETURN ") {
            return Err(Reason::Syntax("RETURN is missing"));
        }
        extended = true;
        for wanted in cursor.list(0, return_option)? {
            list.wanted.subscribed |= wanted.subscribed;
            list.wanted.status.extend(wanted.status);
        }
    }
    list.matching = Matching::new(&reference, patterns.all, extended)?;
    Ok(list)
}

/// The arguments of LSUB: reference and one pattern.
pub(super) fn matching(cursor: &mut Cursor<'_>) -> Parsed<Matching> {
    let (reference, patterns) = patterns(cursor)?;
    Matching::new(&reference, patterns.all, patterns.is_list)
}

/// Patterns as they are written.
struct Patterns {
    all: Vec<String>,
    /// In parentheses.
    is_list: bool,
}

/// Reference and one pattern, or several in parentheses.
fn patterns(cursor: &mut Cursor<'_>) -> Parsed<(String, Patterns)> {
    let reference = cursor.mailbox_text()?;
    cursor.space()?;
    let is_list = cursor.peek() == Some(b'(');
    let all = if is_list { cursor.list(1, Cursor::pattern)? } else { vec![cursor.pattern()?] };
    Ok((reference, Patterns { all, is_list }))
}

fn return_option(cursor: &mut Cursor<'_>) -> Parsed<Return> {
    let mut wanted = Return::default();
    if cursor.word("STATUS ") {
        wanted.status = status_items(cursor)?;
        return Ok(wanted);
    }
    match cursor.atom()?.to_ascii_uppercase().as_str() {
        "SUBSCRIBED" => wanted.subscribed = true,
        // Told always.
        "CHILDREN" | "SPECIAL-USE" => {}
        _ => return Err(Reason::Syntax("unknown LIST return option")),
    }
    Ok(wanted)
}

pub(super) fn status_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    cursor.list(1, |cursor| match cursor.atom()?.to_ascii_uppercase().as_str() {
        "MESSAGES" => Ok(StatusItem::Messages),
        "RECENT" => Ok(StatusItem::Recent),
        "UIDNEXT" => Ok(StatusItem::UidNext),
        "UIDVALIDITY" => Ok(StatusItem::UidValidity),
        "UNSEEN" => Ok(StatusItem::Unseen),
        "SIZE" => Ok(StatusItem::Size),
        "DELETED" => Ok(StatusItem::Deleted),
        "DELETED-STORAGE" => Ok(StatusItem::DeletedStorage),
        "HIGHESTMODSEQ" => Ok(StatusItem::HighestModSeq),
        "APPENDLIMIT" => Ok(StatusItem::AppendLimit),
        "MAILBOXID" => Ok(StatusItem::MailboxId),
        _ => Err(Reason::Syntax("unknown STATUS item")),
    })
}

impl Matching {
    fn new(reference: &str, mut patterns: Vec<String>, extended: bool) -> Parsed<Self> {
        let separator_only = !extended && matches!(&*patterns, [only] if only.is_empty());
        if extended {
            // RFC 5258 §3.
            patterns.retain(|pattern| !pattern.is_empty());
        }
        let wildcards = |p: &String| p.chars().filter(|c| matches!(c, '*' | '%')).count();
        if patterns.len() > MAX_PATTERNS || patterns.iter().any(|p| wildcards(p) > MAX_WILDCARDS) {
            return Err(Reason::Syntax("too many mailbox patterns or wildcards"));
        }
        let whole = patterns.into_iter().map(|pattern| format!("{reference}{pattern}"));
        // As written, and as new names are composed.
        let spelt = whole.flat_map(|pattern| {
            let composed = composed(&pattern);
            let same = composed == pattern;
            [Some(pattern), Some(composed).filter(|_| !same)]
        });
        let patterns = spelt.flatten().map(|pattern| Pattern::new(&pattern)).collect();
        Ok(Self { patterns, separator_only, extended })
    }

    /// Whether a name matches: `*` stands for anything, `%` for anything within a level.
    pub(in crate::imap) fn matches(&self, name: &str) -> bool {
        let top = name.split(MailboxName::SEPARATOR).next().unwrap_or_default();
        let name: Vec<char> = name.chars().collect();
        self.patterns.iter().any(|pattern| {
            wildcard(&pattern.text, &name) || top == "INBOX" && wildcard(&pattern.for_inbox, &name)
        })
    }

    /// Whether there is a wildcard that stops at the end of a level.
    pub(in crate::imap) fn has_percent(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.text.contains(&'%'))
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let (top, rest) = text.split_at(text.find(MailboxName::SEPARATOR).unwrap_or(text.len()));
        let for_inbox = format!("{}{rest}", top.to_ascii_uppercase());
        Self { text: text.chars().collect(), for_inbox: for_inbox.chars().collect() }
    }
}

/// Dynamic programming over the name: time is pattern times name, never exponential.
fn wildcard(pattern: &[char], name: &[char]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for p in pattern {
        let mut next = vec![false; name.len() + 1];
        let mut running = false;
        for (at, slot) in next.iter_mut().enumerate() {
            let here = reached.get(at).copied().unwrap_or(false);
            let before = at.checked_sub(1);
            let previous = before.and_then(|i| name.get(i)).copied();
            *slot = match p {
                '*' | '%' => {
                    if *p == '%' && previous == Some(MailboxName::SEPARATOR) {
                        running = false;
                    }
                    running |= here;
                    running
                }
                p => {
                    let came = before.and_then(|i| reached.get(i)).copied().unwrap_or(false);
                    came && previous == Some(*p)
                }
            };
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}
