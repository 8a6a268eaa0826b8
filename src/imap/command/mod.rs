//! Commands as types: what parses here is well-formed, within its limits, and holds no wire
//! syntax any more (mailbox names are Unicode, numbers are numbers). The grammar is that of
//! RFC 3501 §9 for the commands offered, taken a little leniently where clients are known to
//! stray, never where it could change the meaning.

mod append;
mod cursor;
mod fetch;
mod grammar;
mod list;
mod metadata;
mod notify;
mod quota;
mod results;
mod resync;
mod search;
mod sequence;
mod sort;

use jiff::Timestamp;

use crate::accounts::Password;
use crate::mail::{Flags, MailboxError, MailboxName, ModSeq, SpecialUse};
use crate::store::FlagChange;

pub(super) use append::{append_head, next_message};
pub(super) use fetch::{
    Binary, FetchItem, FetchModifiers, HeaderFilter, Label, Partial, Section, SectionKind,
};
pub(super) use grammar::{parse, tag_of};
pub(super) use list::{List, Matching};
pub(super) use metadata::{Depth, GetMetadata, MAX_VALUE, Place, SetMetadata};
pub(super) use notify::{Events, Selected, Wish};
pub(super) use quota::Asked;
pub(super) use results::{PartialRange, ResultItem, Results};
pub(super) use resync::{Known, SelectParams};
pub(super) use search::{Search, SearchKey};
pub(super) use sequence::{Ranges, SequenceSet};
pub(super) use sort::{Algorithm, Criterion, Program, SortKey};

/// How mailbox names are written in commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Names {
    /// Modified UTF-7 (RFC 3501 §5.1.3).
    #[default]
    Utf7,
    /// As they are, once UTF-8 is switched on (RFC 9755 §3, RFC 9051 §5.1).
    Utf8,
}

/// What the client calls a command; repeated in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag(String);

impl Tag {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One command with its tag.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) tag: Tag,
    pub(super) body: Body,
}

/// What is asked for; RFC 3501 §6 unless said otherwise.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Capability,
    Noop,
    Logout,
    /// RFC 2971: what the client tells of itself.
    Id(Vec<(String, Option<String>)>),
    StartTls,
    Authenticate {
        mechanism: String,
        /// RFC 4959.
        initial: Option<Vec<u8>>,
    },
    Login {
        user: String,
        password: Password,
    },
    Select {
        name: MailboxName,
        read_only: bool,
        params: SelectParams,
    },
    Create {
        name: MailboxName,
        /// RFC 6154 §3.
        special_use: Option<SpecialUse>,
    },
    Delete(MailboxName),
    Rename {
        from: MailboxName,
        to: MailboxName,
    },
    Subscribe {
        name: MailboxName,
        on: bool,
    },
    List(List),
    Lsub(Matching),
    Status {
        name: MailboxName,
        items: Vec<StatusItem>,
    },
    /// RFC 2342.
    Namespace,
    Check,
    Close,
    /// RFC 3691.
    Unselect,
    /// With UIDs: RFC 4315 §2.1.
    Expunge(Option<SequenceSet>),
    /// And SORT and THREAD (RFC 5256).
    Search(Search),
    Fetch {
        uid: bool,
        set: SequenceSet,
        items: Vec<FetchItem>,
        modifiers: FetchModifiers,
    },
    Store {
        uid: bool,
        set: SequenceSet,
        change: FlagChange,
        silent: bool,
        /// RFC 7162 §3.1.3.
        unchanged_since: Option<ModSeq>,
    },
    /// COPY, or MOVE (RFC 6851).
    Copy {
        uid: bool,
        set: SequenceSet,
        to: MailboxName,
        moving: bool,
    },
    /// RFC 5161: what to switch on, as the client wrote it.
    Enable(Vec<String>),
    /// RFC 2177.
    Idle,
    Quota(Asked),
    GetMetadata(GetMetadata),
    SetMetadata(SetMetadata),
    Notify(Wish),
    /// RFC 4978; there is one algorithm.
    Compress,
}

/// An APPEND, or a REPLACE (RFC 8508), up to its first message.
#[derive(Debug, Clone)]
pub(super) struct AppendHead {
    pub(super) tag: Tag,
    pub(super) name: MailboxName,
    pub(super) replaces: Option<Replaced>,
    pub(super) message: MessageHead,
}

/// What stands before each message of an APPEND (RFC 3502).
#[derive(Debug, Clone)]
pub(super) struct MessageHead {
    pub(super) flags: Flags,
    pub(super) date: Option<Timestamp>,
    pub(super) form: Form,
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Literal,
    /// It may have zero bytes (RFC 3516 §4.4).
    Literal8,
    /// `UTF8 (~{…} …)` (RFC 9755 §4).
    Utf8,
}

/// The message to replace; the set has to name one.
#[derive(Debug, Clone)]
pub(super) struct Replaced {
    pub(super) uid: bool,
    pub(super) set: SequenceSet,
}

/// What STATUS can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    /// RFC 8438.
    Size,
    /// RFC 9051 §6.3.11.
    Deleted,
    /// RFC 9208 §4.1.4.
    DeletedStorage,
    /// RFC 7162 §3.1.7.
    HighestModSeq,
    /// RFC 7889.
    AppendLimit,
    /// RFC 8474 §4.3.
    MailboxId,
}

impl StatusItem {
    /// Whether every message has to be looked at.
    pub(super) fn needs_count(self) -> bool {
        matches!(self, Self::Deleted | Self::DeletedStorage)
    }
}

/// A command that is not taken, and whose it is when that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) tag: Option<Tag>,
    pub(super) reason: Reason,
}

/// Why a command is not taken; those that stand last are no mistake in syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("a command begins with a tag")]
    Tag,
    #[error("unknown command")]
    Unknown,
    #[error("{0}")]
    Syntax(&'static str),
    #[error("{0}")]
    Flag(MailboxError),
    /// RFC 5464 §3.2.
    #[error("this is no name of an entry below /private or /shared")]
    Entry,
    #[error("text must be UTF-8")]
    Utf8,
    #[error("the search is nested too deeply or has too many keys")]
    TooComplex,
    #[error("{0}")]
    Name(MailboxError),
    #[error("only US-ASCII and UTF-8 can be searched for")]
    Charset {
        /// Nothing is saved of this search, nor of one before it (RFC 5182 §2.1).
        save: bool,
    },
    /// RFC 6154 §3.
    #[error("a mailbox can have one of the uses \\Drafts, \\Sent, \\Junk, \\Trash and \\Archive")]
    Use,
    /// RFC 5465 §3.1.
    #[error("this event cannot be watched")]
    Event,
    #[error("this is too much to watch at once")]
    TooMuchToWatch,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is the failed test")]
mod oracle;
#[cfg(test)]
mod tests;
