//! Batches: what callers ask for. Nothing here is checked; `plan.rs` does that against the index.

use jiff::Timestamp;

use super::body::{Body, Packed};
use super::error::StoreError;
use super::event::{ChunkRef, Hash};
use super::packing::Dictionaries;
use super::quota::Quota;
use super::threads::IdHash;
use super::types::{AccountId, BodyId, Content, FlagChange, MailboxId, QueueId};
use crate::mail::threading::{MessageId, Threading};
use crate::mail::{Flags, MailboxName, ModSeq, SpecialUse, Uid};

/// What shall happen, all at once.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) ops: Vec<Op>,
    /// Quotas are not asked.
    pub(super) over_quota: bool,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a message into a mailbox: [`Outcome::Added`]. `prefix` is whole header
    /// fields of ours, each with its CRLF, that go above the body; at most 64 KiB.
    pub fn add_message(
        &mut self,
        mailbox: MailboxId,
        prefix: &[u8],
        body: &Body,
        flags: Flags,
        internal_date: Timestamp,
    ) -> &mut Self {
        let content = body.content(prefix);
        // Mail without an id that our people hand in gets one in the prefix.
        let own = match body.threading().id {
            Some(_) => None,
            None => Threading::of(prefix).id,
        };
        self.push(Op::Add { mailbox, content, body: body.clone(), own, flags, internal_date })
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
        self.push(Op::SetFlags { mailbox, uids, change, unchanged_since })
    }

    /// Copies messages, flags and dates kept: [`Outcome::Copied`].
    pub fn copy(&mut self, from: MailboxId, uids: Vec<Uid>, to: MailboxId) -> &mut Self {
        self.push(Op::Copy { from, uids, to, away: false })
    }

    /// Moves messages: [`Outcome::Copied`].
    pub fn move_to(&mut self, from: MailboxId, uids: Vec<Uid>, to: MailboxId) -> &mut Self {
        self.push(Op::Copy { from, uids, to, away: true })
    }

    /// Removes messages: [`Outcome::Expunged`].
    pub fn expunge(&mut self, mailbox: MailboxId, uids: Vec<Uid>) -> &mut Self {
        self.push(Op::Expunge { mailbox, uids })
    }

    /// Creates a mailbox, subscribed, since phones show no others by default and nobody may be there
    /// to subscribe to it: [`Outcome::Created`]; fails the batch when the name is taken.
    pub fn create_mailbox(
        &mut self,
        account: AccountId,
        name: MailboxName,
        special_use: Option<SpecialUse>,
    ) -> &mut Self {
        self.push(Op::Create { account, name, special_use, subscribed: true })
    }

    /// Creates a mailbox that nobody has subscribed to: [`Outcome::Created`]; fails the batch when
    /// the name is taken.
    pub fn create_unsubscribed(
        &mut self,
        account: AccountId,
        name: MailboxName,
        special_use: Option<SpecialUse>,
    ) -> &mut Self {
        self.push(Op::Create { account, name, special_use, subscribed: false })
    }

    /// Renames one mailbox (children are the caller's business): [`Outcome::Done`].
    pub fn rename_mailbox(&mut self, mailbox: MailboxId, name: MailboxName) -> &mut Self {
        self.push(Op::Rename { mailbox, name })
    }

    /// Removes a mailbox and its messages: [`Outcome::Done`].
    pub fn delete_mailbox(&mut self, mailbox: MailboxId) -> &mut Self {
        self.push(Op::Delete(mailbox))
    }

    /// Subscribes or unsubscribes: [`Outcome::Done`].
    pub fn subscribe(&mut self, mailbox: MailboxId, subscribed: bool) -> &mut Self {
        self.push(Op::Subscribe(mailbox, subscribed))
    }

    /// Raises a mailbox's highest modification sequence: something of it changed that is no message,
    /// such as an annotation (RFC 7162 §3.2). [`Outcome::Done`].
    pub fn touch_mailbox(&mut self, mailbox: MailboxId) -> &mut Self {
        self.push(Op::Touch(mailbox))
    }

    /// Puts a new record into the queue: [`Outcome::Queued`]. `state` is the queue's own encoding.
    pub fn enqueue(&mut self, prefix: &[u8], body: &Body, state: Vec<u8>) -> &mut Self {
        self.push(Op::Enqueue { content: body.content(prefix), body: body.clone(), state })
    }

    /// Like [`Batch::enqueue`] for bytes that are stored already.
    pub fn enqueue_stored(&mut self, content: &Content, state: Vec<u8>) -> &mut Self {
        self.push(Op::EnqueueStored { content: content.clone(), state })
    }

    /// Replaces a queue record's state: [`Outcome::Done`]; nothing happens when it is gone.
    pub fn update_queued(&mut self, id: QueueId, state: Vec<u8>) -> &mut Self {
        self.push(Op::UpdateQueued(id, state))
    }

    /// Removes a queue record: [`Outcome::Done`].
    pub fn dequeue(&mut self, id: QueueId) -> &mut Self {
        self.push(Op::Dequeue(id))
    }

    /// Sets a setting: [`Outcome::Done`]. Keys are paths such as `account/7`.
    pub fn put_setting(&mut self, key: &str, value: Vec<u8>) -> &mut Self {
        self.push(Op::PutSetting(key.to_owned(), value))
    }

    /// Forgets what is kept of an account beside its mailboxes and settings: [`Outcome::Done`].
    /// Nothing may be added to it any more.
    pub fn forget_account(&mut self, account: AccountId) -> &mut Self {
        self.push(Op::ForgetAccount(account))
    }

    /// Removes a setting: [`Outcome::Done`].
    pub fn delete_setting(&mut self, key: &str) -> &mut Self {
        self.push(Op::DeleteSetting(key.to_owned()))
    }

    pub(super) fn carry(&mut self, carry: Carry, ends: Ends) -> &mut Self {
        self.push(Op::Carry(carry, ends))
    }

    /// Compresses what the bodies still have to get into the log.
    pub(super) fn pack(&self, dictionaries: &Dictionaries) -> Result<(), StoreError> {
        self.bodies().try_for_each(|body| body.pack(dictionaries))
    }

    /// Bytes of parts, whether the box has them already or not; told once.
    pub(super) fn take_part_bytes(&self) -> u64 {
        self.bodies().map(Body::take_part_bytes).sum()
    }

    fn bodies(&self) -> impl Iterator<Item = &Body> {
        self.ops.iter().filter_map(|op| match op {
            Op::Add { body, .. } | Op::Enqueue { body, .. } => Some(body),
            _ => None,
        })
    }

    /// Sets what an account may hold: [`Outcome::Done`]. What it holds already stays.
    pub fn set_quota(&mut self, account: AccountId, quota: Quota) -> &mut Self {
        let key = Quota::key(account);
        match quota.encode() {
            Some(value) => self.put_setting(&key, value),
            None => self.delete_setting(&key),
        }
    }

    /// This batch may bring accounts over their quota. Without it, what adds mail to an account
    /// that has no room for it fails the batch with [`super::StoreError::OverQuota`]; moving within
    /// an account adds nothing and is never refused.
    pub fn over_quota(&mut self) -> &mut Self {
        self.over_quota = true;
        self
    }

    fn push(&mut self, op: Op) -> &mut Self {
        self.ops.push(op);
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Whether it makes the store hold more mail: refused when the reserve is reached.
    pub(super) fn adds_mail(&self) -> bool {
        self.ops.iter().any(|op| match op {
            Op::Add { .. } | Op::Enqueue { .. } | Op::EnqueueStored { .. } => true,
            // A phone deletes by moving to the trash: that has to work on a full card.
            Op::Copy { away, .. } => !away,
            _ => false,
        })
    }
}

/// One operation of a batch.
#[derive(Debug)]
pub(super) enum Op {
    Add {
        mailbox: MailboxId,
        content: Content,
        body: Body,
        /// Its message id, when it stands in the prefix.
        own: Option<MessageId>,
        flags: Flags,
        internal_date: Timestamp,
    },
    SetFlags {
        mailbox: MailboxId,
        uids: Vec<Uid>,
        change: FlagChange,
        unchanged_since: Option<ModSeq>,
    },
    /// `away`: the old ones are removed.
    Copy {
        from: MailboxId,
        uids: Vec<Uid>,
        to: MailboxId,
        away: bool,
    },
    Expunge {
        mailbox: MailboxId,
        uids: Vec<Uid>,
    },
    Create {
        account: AccountId,
        name: MailboxName,
        special_use: Option<SpecialUse>,
        subscribed: bool,
    },
    Rename {
        mailbox: MailboxId,
        name: MailboxName,
    },
    Delete(MailboxId),
    Subscribe(MailboxId, bool),
    Touch(MailboxId),
    Enqueue {
        content: Content,
        body: Body,
        state: Vec<u8>,
    },
    EnqueueStored {
        content: Content,
        state: Vec<u8>,
    },
    UpdateQueued(QueueId, Vec<u8>),
    Dequeue(QueueId),
    PutSetting(String, Vec<u8>),
    DeleteSetting(String),
    ForgetAccount(AccountId),
    /// Only compaction asks for it.
    Carry(Carry, Ends),
}

/// Whether the end of what is not there any more is said once more too: needed as long as an older
/// segment may tell of its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Told,
    LeftOut,
}

/// Something of an old segment to be said once more at the end of the log, as it is now.
#[derive(Debug)]
pub(super) enum Carry {
    Mailbox(MailboxId),
    Message(MailboxId, Uid),
    Expunged(MailboxId, ModSeq, Vec<Uid>),
    Queued(QueueId),
    Setting(String),
    /// Where a body lies; these of its chunks move.
    Body(BodyId, Vec<(ChunkRef, Packed)>),
    /// Where a part lies; it moves from there.
    Part(Hash, Option<(ChunkRef, Packed)>),
    Thread(AccountId, Vec<IdHash>),
    AccountGone(AccountId),
}
