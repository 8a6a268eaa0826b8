//! What is announced, and what a client has switched on: the one table of extensions. A capability
//! stands here only when all of it is built; `README.md` in `tests/dialogs` says what shows it. An
//! account can be kept from an extension that one of its programs stumbles over.

use super::command::{Algorithm, Body, FetchItem, Program, Search, StatusItem};
use super::respond::Speech;

use crate::mail::ModSeq;

/// A capability (RFC 3501 §7.2.1) and when it is told.
struct Announced {
    name: &'static str,
    when: When,
}

/// Who is told of a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// What concerns logging in, or has to be known before it.
    Guest,
    /// What can only be used by somebody with an account.
    User,
}

const fn always(name: &'static str) -> Announced {
    Announced { name, when: When::Always }
}

const fn guest(name: &'static str) -> Announced {
    Announced { name, when: When::Guest }
}

const fn user(name: &'static str) -> Announced {
    Announced { name, when: When::User }
}

/// One line for each; the ways to log in are added by the session.
const ANNOUNCED: &[Announced] = &[
    always("IMAP4rev1"),
    always("LITERAL+"),
    guest("SASL-IR"),
    always("ID"),
    always("ENABLE"),
    user("IDLE"),
    user("NAMESPACE"),
    user("CHILDREN"),
    user("UNSELECT"),
    user("UIDPLUS"),
    user("MOVE"),
    user("CONDSTORE"),
    user("QRESYNC"),
    user("SPECIAL-USE"),
    user("CREATE-SPECIAL-USE"),
    user("LIST-EXTENDED"),
    user("LIST-STATUS"),
    user("STATUS=SIZE"),
    user("OBJECTID"),
    user("QUOTA"),
    user("QUOTA=RES-STORAGE"),
    user("QUOTA=RES-MESSAGE"),
    user("METADATA"),
    user("NOTIFY"),
    user(APPENDLIMIT),
    user("UTF8=ACCEPT"),
    user("IMAP4rev2"),
    user("ESEARCH"),
    user("SEARCHRES"),
    user("WITHIN"),
    user("SORT"),
    user("SORT=DISPLAY"),
    user("ESORT"),
    user("THREAD=ORDEREDSUBJECT"),
    user("THREAD=REFERENCES"),
    user("PARTIAL"),
    user("INPROGRESS"),
    user("MULTIAPPEND"),
    user("REPLACE"),
    user("BINARY"),
    user("PREVIEW"),
    user("COMPRESS=DEFLATE"),
    user("SAVEDATE"),
];

/// Announced with the largest message, in bytes (RFC 7889 §2).
const APPENDLIMIT: &str = "APPENDLIMIT";

/// What stands on others, and goes when one of them is switched off. Much of what is an extension
/// of `IMAP4rev1` is part of `IMAP4rev2` (RFC 9051 Appendix E 2).
const NEEDS: &[(&str, &[&str])] = &[
    ("QRESYNC", &["CONDSTORE"]),
    ("SEARCHRES", &["ESEARCH"]),
    ("ESORT", &["SORT"]),
    ("SORT=DISPLAY", &["SORT"]),
    ("LIST-STATUS", &["LIST-EXTENDED"]),
    ("CREATE-SPECIAL-USE", &["SPECIAL-USE"]),
    ("QUOTA=RES-STORAGE", &["QUOTA"]),
    ("QUOTA=RES-MESSAGE", &["QUOTA"]),
    (
        "IMAP4rev2",
        &[
            "IDLE",
            "NAMESPACE",
            "UNSELECT",
            "UIDPLUS",
            "MOVE",
            "LIST-EXTENDED",
            "LIST-STATUS",
            "STATUS=SIZE",
            "ESEARCH",
            "SEARCHRES",
            "BINARY",
        ],
    ),
];

/// The extensions that can be switched off for an account, by their capabilities.
pub fn switchable() -> impl Iterator<Item = &'static str> {
    ANNOUNCED.iter().filter(|one| one.when == When::User).map(|one| one.name)
}

/// What one account is kept from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Off(Vec<&'static str>);

impl Off {
    /// These extensions, and what stands on them. Names that mean nothing any more are left out.
    pub(super) fn of(names: &[String]) -> Self {
        let chosen = |one: &&str| names.iter().any(|name| name.eq_ignore_ascii_case(one));
        let mut off: Vec<&str> = switchable().filter(chosen).collect();
        for (name, needed) in NEEDS {
            if !off.contains(name) && needed.iter().any(|needed| off.contains(needed)) {
                off.push(name);
            }
        }
        Self(off)
    }

    /// Whether the account may use an extension.
    pub(super) fn offers(&self, name: &str) -> bool {
        !self.0.contains(&name)
    }

    /// Whether the account may use all that a command is made of.
    pub(super) fn offers_command(&self, body: &Body) -> bool {
        self.0.is_empty() || behind(body).into_iter().all(|name| self.offers(name))
    }

    /// The capabilities for somebody who has logged in, or has not. `limit` is the largest message
    /// APPEND takes, in bytes.
    pub(super) fn announced(&self, logged_in: bool, limit: u64) -> String {
        let other = if logged_in { When::Guest } else { When::User };
        let told = |one: &&Announced| one.when != other && self.offers(one.name);
        let written = |one: &Announced| match one.name {
            APPENDLIMIT => format!("{APPENDLIMIT}={limit}"),
            name => name.to_owned(),
        };
        let names: Vec<String> = ANNOUNCED.iter().filter(told).map(written).collect();
        names.join(" ")
    }
}

/// The extensions a command belongs to.
fn behind(body: &Body) -> Vec<&'static str> {
    match body {
        Body::Idle => vec!["IDLE"],
        Body::Namespace => vec!["NAMESPACE"],
        Body::Unselect => vec!["UNSELECT"],
        Body::Expunge(Some(_)) => vec!["UIDPLUS"],
        Body::Copy { moving: true, .. } => vec!["MOVE"],
        Body::Create { special_use: Some(_), .. } => vec!["CREATE-SPECIAL-USE"],
        Body::List(list) => {
            let mut names: Vec<_> =
                list.wanted.status.iter().copied().filter_map(item_behind).collect();
            names.extend(list.matching.extended.then_some("LIST-EXTENDED"));
            names.extend((!list.wanted.status.is_empty()).then_some("LIST-STATUS"));
            names
        }
        Body::Status { items, .. } => items.iter().copied().filter_map(item_behind).collect(),
        Body::Quota(_) => vec!["QUOTA"],
        Body::GetMetadata(_) | Body::SetMetadata(_) => vec!["METADATA"],
        Body::Notify(_) => vec!["NOTIFY"],
        Body::Compress => vec!["COMPRESS=DEFLATE"],
        Body::Select { params, .. } => {
            let condstore = params.condstore.then_some("CONDSTORE");
            condstore.into_iter().chain(params.qresync.is_some().then_some("QRESYNC")).collect()
        }
        Body::Store { unchanged_since: Some(_), .. } => vec!["CONDSTORE"],
        Body::Fetch { items, modifiers, .. } => {
            let mut names: Vec<_> = items.iter().filter_map(attribute_behind).collect();
            names.extend(modifiers.changed_since.is_some().then_some("CONDSTORE"));
            names.extend(modifiers.partial.is_some().then_some("PARTIAL"));
            names
        }
        Body::Search(search) => search_behind(search),
        _ => Vec::new(),
    }
}

fn search_behind(search: &Search) -> Vec<&'static str> {
    let returns = search.results.is_some();
    let mut names = match &search.program {
        Program::Search => returns.then_some("ESEARCH").into_iter().collect(),
        Program::Sort(_) if returns => vec!["SORT", "ESORT"],
        Program::Sort(_) => vec!["SORT"],
        Program::Thread(Algorithm::OrderedSubject) => vec!["THREAD=ORDEREDSUBJECT"],
        Program::Thread(Algorithm::References) => vec!["THREAD=REFERENCES"],
    };
    if let Some(results) = &search.results {
        names.extend(results.saves().then_some("SEARCHRES"));
        names.extend(results.partial().is_some().then_some("PARTIAL"));
    }
    names
}

fn attribute_behind(item: &FetchItem) -> Option<&'static str> {
    match item {
        FetchItem::Binary(_) => Some("BINARY"),
        FetchItem::Preview { .. } => Some("PREVIEW"),
        FetchItem::SaveDate => Some("SAVEDATE"),
        FetchItem::EmailId | FetchItem::ThreadId => Some("OBJECTID"),
        FetchItem::ModSeq => Some("CONDSTORE"),
        _ => None,
    }
}

fn item_behind(item: StatusItem) -> Option<&'static str> {
    match item {
        StatusItem::Size => Some("STATUS=SIZE"),
        StatusItem::AppendLimit => Some(APPENDLIMIT),
        StatusItem::MailboxId => Some("OBJECTID"),
        StatusItem::DeletedStorage => Some("QUOTA"),
        StatusItem::HighestModSeq => Some("CONDSTORE"),
        _ => None,
    }
}

/// What can be switched on (RFC 5161): before, a client is spoken to as if it had never heard of
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    /// RFC 7162 §3.1.
    Condstore,
    /// RFC 7162 §3.2; includes CONDSTORE.
    Qresync,
    /// RFC 9755.
    Utf8,
    /// RFC 9051; includes UTF-8 in names and texts.
    Rev2,
    /// RFC 5464 §4.1: to be told when annotations change.
    Metadata,
}

impl Switch {
    /// Those that are built.
    const BUILT: &[(&str, Self)] = &[
        ("CONDSTORE", Self::Condstore),
        ("QRESYNC", Self::Qresync),
        ("UTF8=ACCEPT", Self::Utf8),
        ("IMAP4rev2", Self::Rev2),
        ("METADATA", Self::Metadata),
    ];

    /// By its name in ENABLE; nothing for what cannot be switched on here (RFC 5161 §3.1: that is
    /// ignored).
    pub(super) fn named(name: &str) -> Option<(&'static str, Self)> {
        Self::BUILT.iter().copied().find(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

/// How much a client is told of modification sequences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resync {
    #[default]
    None,
    /// MODSEQ with every change.
    Condstore,
    /// And VANISHED instead of EXPUNGE.
    Qresync,
}

/// What one client has switched on. Only grows, until STARTTLS or the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Enabled {
    pub(super) resync: Resync,
    pub(super) utf8: bool,
    pub(super) rev2: bool,
    pub(super) metadata: bool,
}

impl Enabled {
    /// A modification sequence for a client that wants to know (RFC 7162 §3.1).
    pub(super) fn modseq(self, modseq: ModSeq) -> Option<ModSeq> {
        (self.resync > Resync::None).then_some(modseq)
    }

    /// Switches one on; whether that is new.
    pub(super) fn add(&mut self, switch: Switch) -> bool {
        let before = *self;
        match switch {
            Switch::Condstore => self.resync = self.resync.max(Resync::Condstore),
            Switch::Qresync => self.resync = Resync::Qresync,
            Switch::Utf8 => self.utf8 = true,
            Switch::Rev2 => (self.rev2, self.utf8) = (true, true),
            Switch::Metadata => self.metadata = true,
        }
        *self != before
    }

    /// How the client is to be spoken to.
    pub(super) fn speech(self) -> Speech {
        Speech { utf8: self.utf8, rev2: self.rev2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_on_an_extension_goes_with_it() {
        let off = Off::of(&["move".to_owned(), "SORT".to_owned(), "X-GONE".to_owned()]);
        for name in ["MOVE", "IMAP4rev2", "SORT", "SORT=DISPLAY", "ESORT"] {
            assert!(!off.offers(name), "{name}");
        }
        let told = off.announced(true, 1000);
        assert!(told.starts_with("IMAP4rev1 ") && told.contains(" APPENDLIMIT=1000"), "{told}");
        assert!(!told.contains("MOVE") && !told.contains("SORT"), "{told}");
        let guest = Off::default().announced(false, 1000);
        assert!(guest.contains("SASL-IR") && !guest.contains("APPENDLIMIT"), "{guest}");
    }

    #[test]
    fn what_is_needed_and_what_is_enabled_is_announced() {
        let is_known = |name: &&str| ANNOUNCED.iter().any(|one| one.name == *name);
        let needs = NEEDS.iter().flat_map(|(name, needed)| needed.iter().chain([name]));
        let unknown: Vec<_> = needs.filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(Switch::BUILT.iter().all(|(name, _)| is_known(name)));
        assert_eq!(switchable().filter(|name| name.starts_with("AUTH")).count(), 0);
    }

    #[test]
    fn every_capability_has_its_row_in_the_table_of_extensions() {
        let table = include_str!("../../tests/dialogs/README.md");
        let rows = || table.lines().filter(|line| line.starts_with("| "));
        let first = |row: &str| row.split('|').nth(1).unwrap_or_default().to_owned();
        let names = ANNOUNCED.iter().map(|one| one.name).filter(|name| *name != "IMAP4rev1");
        let told = |name: &str| rows().any(|row| first(row).contains(name));
        let missing: Vec<_> = names.filter(|name| !told(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
