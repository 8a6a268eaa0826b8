//! What is announced, and what a client has switched on: the one table of extensions. A capability
//! stands here only when all of it is built; `README.md` in `tests/dialogs` says what shows it.

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

/// The capabilities for somebody who has logged in, or has not.
pub(super) fn announced(logged_in: bool) -> String {
    let other = if logged_in { When::Guest } else { When::User };
    let names: Vec<&str> =
        ANNOUNCED.iter().filter(|one| one.when != other).map(|one| one.name).collect();
    names.join(" ")
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
}

impl Switch {
    /// Those that are built.
    const BUILT: &[(&str, Self)] = &[
        ("CONDSTORE", Self::Condstore),
        ("QRESYNC", Self::Qresync),
        ("UTF8=ACCEPT", Self::Utf8),
        ("IMAP4rev2", Self::Rev2),
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
        }
        *self != before
    }
}
