//! The way out, and the one door through which messages are taken: what was accepted is made
//! durable in one commit, local recipients' copies and the outbound record together. A record
//! is tried by schedule, its recipients grouped by where they go (MX hosts by priority, or the relay), each signed with DKIM on
//! the way, and it ends delivered, or returned to its sender with a reason, never in silence.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::mail::{Address, Envelope};
use crate::store::{AccountId, Body, QueueId, StoreError};

/// The queue; cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {}

impl Queue {
    /// Takes a message for all recipients of its envelope, durable when this returns.
    /// Local ones are delivered at once; for the others one record is queued.
    pub async fn accept(&self, incoming: Incoming) -> Result<Accepted, AcceptError> {
        todo!()
    }

    /// What waits, oldest first.
    pub fn list(&self) -> Result<Vec<Item>, StoreError> {
        todo!()
    }

    /// Makes one record, or all, due now.
    pub async fn retry(&self, id: Option<QueueId>) -> Result<(), QueueError> {
        todo!()
    }

    /// Keeps a record from being tried.
    pub async fn hold(&self, id: QueueId) -> Result<(), QueueError> {
        todo!()
    }

    /// Ends a hold.
    pub async fn release(&self, id: QueueId) -> Result<(), QueueError> {
        todo!()
    }

    /// Removes a record; nobody is told.
    pub async fn discard(&self, id: QueueId) -> Result<(), QueueError> {
        todo!()
    }
}

/// A message that passed every check at the door.
#[derive(Debug)]
pub struct Incoming {
    /// Who it is from and for. Every recipient was found to be local, or the sender is allowed
    /// to send out.
    pub envelope: Envelope,
    /// Received fields of ours, to be put on top; whole lines.
    pub trace: Vec<u8>,
    /// The message.
    pub body: Body,
    /// Who handed it in.
    pub source: Source,
    /// When.
    pub received: Timestamp,
}

/// Who handed a message in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A stranger's server on port 25: local recipients only.
    Stranger,
    /// An account: may send out, and is signed.
    Account(AccountId),
    /// This box itself: notices and bounces.
    Own,
}

/// A message is safe here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The outbound record, when some recipient is elsewhere.
    pub queued: Option<QueueId>,
    /// Number of local copies.
    pub delivered: usize,
}

/// A queue record as shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its number.
    pub id: QueueId,
    /// The envelope sender, empty for notices.
    pub from: String,
    /// When it was taken.
    pub received: Timestamp,
    /// When it is tried next; nothing while it is held.
    pub next_attempt: Option<Timestamp>,
    /// Bytes.
    pub size: u64,
    /// Each recipient still open, with the last thing heard about it.
    pub recipients: Vec<(Address, String)>,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An alias leads in a circle, or to more than 100 addresses.
    #[error("the alias {0} leads in a circle or to too many addresses")]
    Alias(Address),
}

/// Why a queue command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// No such record: delivered, returned or dropped meanwhile.
    #[error("there is no message {0} in the queue; `pillarbox queue list` shows what is")]
    Missing(u64),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record cannot be read.
    #[error("the queue record {0} cannot be read")]
    Damaged(u64),
}
