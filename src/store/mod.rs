//! The mail store: what was acknowledged here survives a power cut.
//!
//! Append-only **segment files are the truth**: every change is a record there, and a change is
//! durable when its record is synced. **redb is the index** over them: made from the log, committed
//! durably now and then with the log position it has reached, replayed from there at opening, and
//! rebuilt from nothing when it is lost. One writer thread owns the log; all connections in flight
//! share one write and one sync (group commit). `FORMAT.md` is the byte-exact page.
//!
//! The order of use: stream a message in with [`Store::new_body`], describe what shall happen in a
//! [`Batch`] and [`Store::commit`] it: all of it is durable when that returns, or none of it.
//! Reads see every committed batch at once and hold nothing open between calls.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::mail::{Flags, MailboxName, ModSeq, SpecialUse, Uid, UidValidity};

/// The open store; cheap to clone. There is one per data folder, kept by a lock file.
#[derive(Clone, Debug)]
pub struct Store {}

impl Store {
    /// Opens the store in `dir`, creating it when the folder is empty, and replays what a power
    /// cut left unindexed. Refuses a folder that another process holds ([`OpenError::Busy`]).
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        todo!()
    }

    /// Starts taking in a message's bytes. Memory is bounded whatever the size: full chunks go to
    /// the log at once. Dropping the writer, or its [`Body`] before a commit names it, leaves
    /// nothing but dead bytes for compaction.
    pub fn new_body(&self) -> BodyWriter {
        todo!()
    }

    /// Makes a batch durable: all of it or nothing. One [`Outcome`] per operation, in order.
    /// Cancelling the future does not cancel the batch.
    pub async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        todo!()
    }

    /// All mailboxes of an account, by name.
    pub fn mailboxes(&self, account: AccountId) -> Result<Vec<Mailbox>, StoreError> {
        todo!()
    }

    /// One mailbox with its present counts.
    pub fn mailbox(&self, id: MailboxId) -> Result<Option<Mailbox>, StoreError> {
        todo!()
    }

    /// The mailbox of that name.
    pub fn find_mailbox(
        &self,
        account: AccountId,
        name: &MailboxName,
    ) -> Result<Option<Mailbox>, StoreError> {
        todo!()
    }

    /// Every message of a mailbox in UID order.
    pub fn messages(&self, mailbox: MailboxId) -> Result<Vec<Message>, StoreError> {
        todo!()
    }

    /// One message.
    pub fn message(&self, mailbox: MailboxId, uid: Uid) -> Result<Option<Message>, StoreError> {
        todo!()
    }

    /// The bytes of a message, prefix first.
    pub fn read(&self, content: &Content) -> Result<MessageReader, StoreError> {
        todo!()
    }

    /// Everything that waits in the queue, oldest first.
    pub fn queue(&self) -> Result<Vec<QueueRecord>, StoreError> {
        todo!()
    }

    /// One setting.
    pub fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        todo!()
    }

    /// All settings whose key starts with `prefix`, by key.
    pub fn settings(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        todo!()
    }

    /// Tells of every committed change to an account's mailboxes from now on. A receiver that
    /// falls behind is told so and looks at the mailbox anew.
    pub fn changes(&self) -> tokio::sync::broadcast::Receiver<Change> {
        todo!()
    }

    /// Sizes and counts for people, the self-check and `store stats`.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        todo!()
    }

    /// Commits the index durably and stops the writer. Dropping the last handle does the same;
    /// not doing it costs only replay time at the next opening.
    pub async fn close(self) -> Result<(), StoreError> {
        todo!()
    }
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Free bytes on the file system below which mail is refused with [`StoreError::Full`]
    /// (452 4.3.1) while reading, flags and expunging still work.
    pub reserve: u64,
    /// Bytes after which a segment is sealed and a new one begun.
    pub segment_size: u64,
    /// Longest time the index stays behind the log on disk.
    pub index_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { reserve: 64 << 20, segment_size: 64 << 20, index_interval: Duration::from_secs(5) }
    }
}

/// An account's number; given once, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub u32);

/// A mailbox's number in this box; survives renames, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MailboxId(pub u32);

/// A stored body's number; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BodyId(pub u64);

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
    /// INTERNALDATE: when it was received, or what APPEND said.
    pub internal_date: Timestamp,
    /// When it came into this mailbox (RFC 8514).
    pub save_date: Timestamp,
    /// Where its bytes are.
    pub content: Content,
}

/// The bytes of a message: a prefix of our own trace fields, then the body exactly as received.
/// Kept apart so that one body can serve several recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Whole header fields, each with its CRLF; at most 64 KiB.
    pub prefix: Box<[u8]>,
    /// The received bytes.
    pub body: BodyId,
    /// Length of the received bytes.
    pub body_size: u64,
}

impl Content {
    /// RFC822.SIZE: bytes of prefix and body.
    pub fn size(&self) -> u64 {
        self.prefix.len() as u64 + self.body_size
    }
}

/// Takes in one message's bytes.
#[derive(Debug)]
pub struct BodyWriter {}

impl BodyWriter {
    /// Adds bytes; waits when the card is slower than the sender.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        todo!()
    }

    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        todo!()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the message. It is durable, and exists at all, only once a commit names it.
    pub async fn finish(self) -> Result<Body, StoreError> {
        todo!()
    }
}

/// A message taken in and not yet committed; may be named several times in one batch.
#[derive(Debug, Clone)]
pub struct Body {}

impl Body {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        todo!()
    }
}

/// Random access to a message without holding it in memory. Holds no database transaction.
#[derive(Debug)]
pub struct MessageReader {}

impl MessageReader {
    /// Bytes of prefix and body.
    pub fn len(&self) -> u64 {
        todo!()
    }

    /// Whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::io::Read for MessageReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        todo!()
    }
}

impl std::io::Seek for MessageReader {
    fn seek(&mut self, position: std::io::SeekFrom) -> std::io::Result<u64> {
        todo!()
    }
}

/// What shall happen, all at once.
#[derive(Debug, Default)]
pub struct Batch {}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a message into a mailbox: [`Outcome::Added`]. `prefix` as in [`Content::prefix`].
    pub fn add_message(
        &mut self,
        mailbox: MailboxId,
        prefix: &[u8],
        body: &Body,
        flags: Flags,
        internal_date: Timestamp,
    ) -> &mut Self {
        todo!()
    }

    /// Changes flags: [`Outcome::Flags`]. With `unchanged_since`, messages changed later are left
    /// alone (RFC 7162 §3.1.3).
    pub fn set_flags(
        &mut self,
        mailbox: MailboxId,
        uids: Vec<Uid>,
        change: FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> &mut Self {
        todo!()
    }

    /// Copies messages, flags and dates kept: [`Outcome::Copied`].
    pub fn copy(&mut self, from: MailboxId, uids: Vec<Uid>, to: MailboxId) -> &mut Self {
        todo!()
    }

    /// Moves messages: [`Outcome::Copied`].
    pub fn move_to(&mut self, from: MailboxId, uids: Vec<Uid>, to: MailboxId) -> &mut Self {
        todo!()
    }

    /// Removes messages: [`Outcome::Expunged`].
    pub fn expunge(&mut self, mailbox: MailboxId, uids: Vec<Uid>) -> &mut Self {
        todo!()
    }

    /// Creates a mailbox: [`Outcome::Created`]; fails the batch when the name is taken.
    pub fn create_mailbox(
        &mut self,
        account: AccountId,
        name: MailboxName,
        special_use: Option<SpecialUse>,
    ) -> &mut Self {
        todo!()
    }

    /// Renames one mailbox (children are the caller's business): [`Outcome::Done`].
    pub fn rename_mailbox(&mut self, mailbox: MailboxId, name: MailboxName) -> &mut Self {
        todo!()
    }

    /// Removes a mailbox and its messages: [`Outcome::Done`].
    pub fn delete_mailbox(&mut self, mailbox: MailboxId) -> &mut Self {
        todo!()
    }

    /// Subscribes or unsubscribes: [`Outcome::Done`].
    pub fn subscribe(&mut self, mailbox: MailboxId, subscribed: bool) -> &mut Self {
        todo!()
    }

    /// Puts a new record into the queue: [`Outcome::Queued`]. `state` is the queue's own encoding.
    pub fn enqueue(&mut self, prefix: &[u8], body: &Body, state: Vec<u8>) -> &mut Self {
        todo!()
    }

    /// Like [`Batch::enqueue`] for bytes that are stored already.
    pub fn enqueue_stored(&mut self, content: &Content, state: Vec<u8>) -> &mut Self {
        todo!()
    }

    /// Replaces a queue record's state: [`Outcome::Done`]; nothing happens when it is gone.
    pub fn update_queued(&mut self, id: QueueId, state: Vec<u8>) -> &mut Self {
        todo!()
    }

    /// Removes a queue record: [`Outcome::Done`].
    pub fn dequeue(&mut self, id: QueueId) -> &mut Self {
        todo!()
    }

    /// Sets a setting: [`Outcome::Done`]. Keys are paths such as `account/7`.
    pub fn put_setting(&mut self, key: &str, value: Vec<u8>) -> &mut Self {
        todo!()
    }

    /// Removes a setting: [`Outcome::Done`].
    pub fn delete_setting(&mut self, key: &str) -> &mut Self {
        todo!()
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
        changed: Vec<(Uid, Flags, ModSeq)>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub account: AccountId,
    /// Where; nothing when mailboxes came, went or changed their names.
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
    /// Records found damaged since opening.
    pub damaged_records: u64,
    /// Read or write errors of the disk since opening.
    pub io_errors: u64,
}

/// Why a store operation failed; says whether the disk, the caller or the data is to blame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The reserve is reached: refuse mail for now (452 4.3.1).
    #[error("the card is full: free some space by deleting mail, or use a larger card")]
    Full,
    /// The disk failed; nothing of the batch is acknowledged.
    #[error("the disk failed to {doing}: {source}")]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stored record does not match its checksum.
    #[error("stored data is damaged ({0})")]
    Damaged(String),
    /// The index failed; `store rebuild` makes it anew.
    #[error("the index failed ({0}); `pillarbox store rebuild` makes it anew")]
    Index(String),
    /// No such mailbox: it may have been deleted meanwhile.
    #[error("the mailbox does not exist")]
    NoMailbox,
    /// The name is taken.
    #[error("a mailbox of that name exists already")]
    MailboxExists,
    /// The store was closed or its writer stopped after a disk failure.
    #[error("the store is closed")]
    Closed,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds it.
    #[error(
        "another pillarbox (process {pid}) is using {dir}: stop it first, or use another --data folder"
    )]
    Busy {
        /// The folder.
        dir: String,
        /// The holder, 0 when unknown.
        pid: u32,
    },
    /// Made by a newer release.
    #[error(
        "{dir} was written by a newer pillarbox (format {found}; this one knows {known}): update this one"
    )]
    Newer {
        /// The folder.
        dir: String,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// A file or folder cannot be used.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The log or the index is not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
}
