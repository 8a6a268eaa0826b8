//! Which messages belong together (THREADID, RFC 8474 §5.2): one that names another by its id, or is
//! named by it, is in the same thread. The index keeps which ids an account has seen in which
//! thread, never the ids themselves: a keyed hash is enough, and outlives the messages, so that an
//! answer finds its thread after what it answers was deleted. A thread that was given stays; two
//! that a later message connects remain two.

use redb::TableDefinition;
use serde::{Deserialize, Serialize};

use super::record::Key;
use super::types::BodyId;
use crate::mail::threading::{MessageId, Threading};

/// Threads by account and hash of a message id.
pub(super) const THREADS: TableDefinition<'_, (u32, u64), u64> = TableDefinition::new("threads");

/// A thread's number: that of the first body in it. Given once in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ThreadId(pub u64);

impl ThreadId {
    /// THREADID of its messages (RFC 8474 §5.2): `T` and the number.
    pub fn thread_id(self) -> String {
        format!("T{}", self.0)
    }

    /// The thread of a THREADID; nothing for what is none of ours.
    pub fn from_thread_id(id: &str) -> Option<Self> {
        let thread = Self(id.strip_prefix('T')?.parse().ok()?);
        (thread.thread_id() == id).then_some(thread)
    }

    /// Of a message that follows no other.
    pub(super) fn of(first: BodyId) -> Self {
        Self(first.0)
    }
}

/// What a message id is known by: 64 bits of keyed BLAKE3. Nobody without the store's key can make
/// ids that collide, or find out who got which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct IdHash(pub(super) [u8; 8]);

impl IdHash {
    fn of(key: &Key, id: &MessageId) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(b"thread").update(id.as_bytes());
        let mut hash = [0; 8];
        hasher.finalize_xof().fill(&mut hash);
        Self(hash)
    }

    /// As the index has it.
    pub(super) fn number(self) -> u64 {
        u64::from_be_bytes(self.0)
    }
}

/// The ids a message names, each once, in the order in which they decide: its own, then those it
/// follows, the latest first. `own` is its id when it got it here.
pub(super) fn hashes(key: &Key, named: &Threading, own: Option<&MessageId>) -> Vec<IdHash> {
    let mut hashes = Vec::new();
    for id in own.or(named.id.as_ref()).into_iter().chain(named.cites.iter().rev()) {
        let hash = IdHash::of(key, id);
        if !hashes.contains(&hash) {
            hashes.push(hash);
        }
    }
    hashes
}
