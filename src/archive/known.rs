//! Knows what a mailbox holds in little memory: the size of each message, and the digest of those
//! whose size was asked for. Only messages of equal size are ever read.

use std::collections::HashSet;
use std::io::{self, Read};

use super::wire::{Digest, DigestKey, Hasher, PIECE};
use crate::mail::Uid;
use crate::store::{MailboxId, Message, Store, StoreError};

/// Messages looked up at once.
const PAGE: usize = 500;

/// What one mailbox holds.
#[derive(Debug)]
pub(super) struct Known {
    mailbox: MailboxId,
    key: DigestKey,
    /// Sorted by size.
    sizes: Vec<(u64, Uid)>,
    /// Sizes of which all digests are known.
    read: HashSet<u64>,
    digests: HashSet<Digest>,
}

impl Known {
    pub(super) fn load(
        store: &Store,
        mailbox: MailboxId,
        key: DigestKey,
    ) -> Result<Self, StoreError> {
        let mut sizes = Vec::new();
        let mut after = None;
        loop {
            let page = store.messages_after(mailbox, after, PAGE)?;
            after = page.last().map(|message| message.uid);
            sizes.extend(page.iter().map(|message| (message.content.size(), message.uid)));
            if page.len() < PAGE {
                break;
            }
        }
        sizes.sort_unstable();
        Ok(Self { mailbox, key, sizes, read: HashSet::new(), digests: HashSet::new() })
    }

    /// Whether these bytes are there. Blocks while messages of this size are read.
    pub(super) fn holds(
        &mut self,
        store: &Store,
        size: u64,
        digest: Digest,
    ) -> Result<bool, StoreError> {
        if self.read.insert(size) {
            let first = self.sizes.partition_point(|(other, _)| *other < size);
            let equal = self.sizes.iter().skip(first).take_while(|(other, _)| *other == size);
            for (_, uid) in equal {
                let Some(message) = store.message(self.mailbox, *uid)? else { continue };
                // What cannot be read any more is not the message that comes whole now.
                if let Ok(digest) = digest_of(store, &message, self.key.hasher()) {
                    self.digests.insert(digest);
                }
            }
        }
        Ok(self.digests.contains(&digest))
    }

    /// It is there from now on.
    pub(super) fn add(&mut self, digest: Digest) {
        self.digests.insert(digest);
    }

    /// Entries held, for the bound on memory.
    pub(super) fn len(&self) -> usize {
        self.sizes.len() + self.read.len() + self.digests.len()
    }
}

fn digest_of(store: &Store, message: &Message, mut hasher: Hasher) -> io::Result<Digest> {
    let mut reader = store.read(&message.content).map_err(io::Error::other)?;
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(piece.get(..count).unwrap_or_default()),
        }
    }
}
