//! What the store speaks of: plain values without behaviour, shared by every file beside this one
//! and by the rest of the house.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::keeper::Background;
use super::threads::ThreadId;
use crate::mail::{Flags, MailboxName, ModSeq, SpecialUse, Uid, UidValidity};

/// An account's number; given once, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub u32);

impl AccountId {
    /// Stands for all accounts together; no account ever has this number.
    pub const EVERYBODY: Self = Self(0);

    /// What the keys of those settings begin with that belong to an account and go when it goes. A
    /// change of one is told as a change of the account's mailboxes.
    pub fn settings(self) -> String {
        format!("own/{}/", self.0)
    }

    /// Whose setting this is; nothing when it is the box's.
    pub(super) fn of_setting(key: &str) -> Option<Self> {
        let (number, _) = key.strip_prefix("own/")?.split_once('/')?;
        number.parse().ok().map(Self)
    }
}

/// A mailbox's number in this box; survives renames, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MailboxId(pub u32);

impl MailboxId {
    /// MAILBOXID (RFC 8474 §4): `F` and the mailbox's number, which a rename keeps.
    pub fn object_id(self) -> String {
        format!("F{}", self.0)
    }
}

/// A stored body's number; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BodyId(pub u64);

impl BodyId {
    /// EMAILID of the messages that have these bytes (RFC 8474 §5.1): `E` and the body's number.
    /// Copies and moves keep it, within an account no two messages of other content share it, and
    /// nothing has to be stored for it.
    pub fn email_id(self) -> String {
        format!("E{}", self.0)
    }

    /// The body of an EMAILID; nothing for what is none of ours.
    pub fn from_email_id(id: &str) -> Option<Self> {
        let body = Self(id.strip_prefix('E')?.parse().ok()?);
        (body.email_id() == id).then_some(body)
    }
}

/// A queue record's number; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueId(pub u64);

/// A mailbox and its counts at the time of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Its number.
    pub id: MailboxId,
    /// Whose it is.
    pub account: AccountId,
    /// Its name now.
    pub name: MailboxName,
    /// Unique for (account, name) over all time.
    pub uid_validity: UidValidity,
    /// Above every UID ever given here.
    pub uid_next: Uid,
    /// The highest modification sequence of any message here, expunged ones included.
    pub highest_modseq: ModSeq,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// Whether the client wants it listed by LSUB.
    pub subscribed: bool,
    /// Number of messages.
    pub messages: u32,
    /// Number of messages without `\Seen`.
    pub unseen: u32,
    /// Sum of the message sizes in bytes.
    pub size: u64,
}

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number in the mailbox.
    pub uid: Uid,
    /// When it last changed.
    pub modseq: ModSeq,
    /// Its flags.
    pub flags: Flags,
    /// INTERNALDATE: when it was received, or what APPEND said; kept to the microsecond.
    pub internal_date: Timestamp,
    /// When it came into this mailbox (RFC 8514).
    pub save_date: Timestamp,
    /// Where its bytes are.
    pub content: Content,
    /// What it belongs to; nothing when a release before threads took it in.
    pub thread: Option<ThreadId>,
}

/// The bytes of a message: a prefix of our own trace fields, then what was received. One body can
/// serve several recipients; the first one's prefix usually lies at its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Whole header fields that are not part of the stored body; at most 64 KiB.
    pub(super) prefix: Box<[u8]>,
    /// Where the other bytes are stored. The same for all copies of a message.
    pub body: BodyId,
    /// Stored bytes to leave out: another recipient's prefix.
    pub(super) skip: u32,
    /// Number of the stored bytes from there on.
    pub(super) len: u64,
}

impl Content {
    /// RFC822.SIZE in bytes.
    pub fn size(&self) -> u64 {
        self.prefix.len() as u64 + self.len
    }

    /// Whether it is all of its body's stored bytes and nothing else.
    pub fn is_body(&self) -> bool {
        self.prefix.is_empty() && self.skip == 0
    }

    /// Bytes stored for its body, those that are left out of this message included.
    pub fn stored_size(&self) -> u64 {
        u64::from(self.skip).saturating_add(self.len)
    }

    /// How many of the body's bytes are left out at its beginning: header fields of another
    /// recipient.
    pub fn left_out(&self) -> u64 {
        self.skip.into()
    }

    /// Header fields before those of the body's stored bytes.
    pub fn own_prefix(&self) -> &[u8] {
        &self.prefix
    }
}

/// How STORE changes flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlagChange {
    /// `FLAGS`: exactly these.
    Replace(Flags),
    /// `+FLAGS`.
    Add(Flags),
    /// `-FLAGS`.
    Remove(Flags),
}

impl FlagChange {
    /// What it makes of these flags.
    pub fn applied_to(&self, flags: &Flags) -> Flags {
        let mut flags = flags.clone();
        match self {
            Self::Replace(new) => flags.clone_from(new),
            Self::Add(new) => new.iter().for_each(|flag| flags.insert(flag)),
            Self::Remove(old) => old.iter().for_each(|flag| flags.remove(&flag)),
        }
        flags
    }
}

/// What became of one operation of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Done, and there is nothing to say.
    Done,
    /// A message has its UID.
    Added {
        /// The mailbox's validity.
        uid_validity: UidValidity,
        /// The message's UID.
        uid: Uid,
        /// Its modification sequence.
        modseq: ModSeq,
    },
    /// Flags are changed.
    Flags {
        /// The messages and what they have now.
        changed: Vec<Flagged>,
        /// Left alone because of `unchanged_since`.
        modified: Vec<Uid>,
    },
    /// Messages are in the target mailbox; UIDs that were gone are left out.
    Copied {
        /// Validity of the target mailbox.
        uid_validity: UidValidity,
        /// Old and new UID of each.
        uids: Vec<(Uid, Uid)>,
    },
    /// These are gone.
    Expunged(Vec<Uid>),
    /// A mailbox exists.
    Created(MailboxId),
    /// A queue record exists.
    Queued(QueueId),
}

/// What STORE made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flagged {
    /// The message.
    pub uid: Uid,
    /// Its flags now.
    pub flags: Flags,
    /// When it last changed; now, unless it had these flags already.
    pub modseq: ModSeq,
    /// When it had last changed before.
    pub before: ModSeq,
}

/// A message on its way out, with the queue's own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRecord {
    /// Its number; older ones are smaller.
    pub id: QueueId,
    /// Its bytes.
    pub content: Content,
    /// What the queue knows of it, in the queue's encoding.
    pub state: Vec<u8>,
}

/// Something changed in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Whose.
    pub account: AccountId,
    /// Where; nothing when mailboxes came, went or changed their names, or when a setting of the
    /// account did.
    pub mailbox: Option<MailboxId>,
}

/// Sizes and counts of the whole store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Accounts that have a mailbox.
    pub accounts: u32,
    /// Mailboxes.
    pub mailboxes: u32,
    /// Messages in mailboxes.
    pub messages: u64,
    /// Bytes clients see: the sum of all message sizes.
    pub message_bytes: u64,
    /// Messages in the queue.
    pub queued: u64,
    /// Segment files and their bytes on disk.
    pub segments: u32,
    /// Bytes of the segment files.
    pub segment_bytes: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// Free bytes on the file system.
    pub free_bytes: u64,
    /// Records known to be damaged, whenever that was found.
    pub damaged_records: u64,
    /// When the first of them was found.
    pub damaged_since: Option<Timestamp>,
    /// Read or write errors of the disk since opening.
    pub io_errors: u64,
    /// What is done in the background now.
    pub background: Background,
}

/// What a look at every byte of the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// Segments read.
    pub segments: u32,
    /// Whole records.
    pub records: u64,
    /// Bytes of the whole records.
    pub bytes: u64,
    /// Places that are damaged.
    pub damage: Vec<Damage>,
    /// Messages whose bytes lie in such a place.
    pub messages: Vec<(MailboxId, Uid)>,
}

/// A stretch of a segment that does not match its checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Number of the segment.
    pub segment: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}
