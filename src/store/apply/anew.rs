//! Making the index anew out of the whole log: what cannot be known before its end.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;

use super::super::error::StoreError;
use super::super::index::index;
use super::super::rows::message_row;
use super::super::types::{AccountId, MailboxId};
use super::{State, Tables};
use crate::mail::{ModSeq, Uid};

/// What making the index anew keeps until the whole log was read. Compaction appends what is still
/// true once more at the end of the log and drops the older record, so an event may speak of a
/// mailbox or a body that only comes later, and the last reference to a body may go before another
/// one comes. Therefore nothing is dropped, and nothing counted, before the end.
#[derive(Debug, Default)]
pub(in super::super) struct Anew {
    /// Only written at the end: an index without it is not whole.
    pub(in super::super) state: Option<State>,
    /// The highest numbers given in each mailbox.
    pub(super) highest: BTreeMap<MailboxId, (ModSeq, Uid)>,
    /// The highest modification sequence of each block of UIDs.
    pub(super) blocks: BTreeMap<(MailboxId, u32), ModSeq>,
    /// Accounts that came to their end.
    pub(super) gone: BTreeSet<AccountId>,
}

impl Tables<'_> {
    /// Ends making the index anew: drops what nothing refers to, and counts the rest.
    pub(in super::super) fn settle(&mut self) -> Result<(), StoreError> {
        let Some(Anew { highest, blocks, gone, .. }) = self.anew.take() else { return Ok(()) };
        gone.into_iter().try_for_each(|account| self.forget_account(account))?;
        let mut orphans = BTreeSet::new();
        for (id, (modseq, uid)) in highest {
            if !self.raise(id, modseq, uid)? {
                orphans.insert(id);
            }
        }
        for ((id, block), modseq) in blocks {
            if !orphans.contains(&id) {
                self.map.raise(id, block, modseq)?;
            }
        }
        let mut at = (0, 0);
        loop {
            let rows = self.messages.range(at..).map_err(index)?.take(1000);
            let rows: Result<Vec<_>, StoreError> = rows
                .map(|entry| {
                    let (key, row) = entry.map_err(index)?;
                    let (mailbox, uid) = key.value();
                    Ok((MailboxId(mailbox), message_row(uid, row.value())?))
                })
                .collect();
            let rows = rows?;
            let Some((mailbox, last)) = rows.last() else { break };
            at = (mailbox.0, last.uid.get().saturating_add(1));
            for (mailbox, message) in rows {
                if orphans.contains(&mailbox) {
                    self.take_message(mailbox, message.uid)?;
                } else {
                    self.count_message(mailbox, &message, u64::saturating_add)?;
                    self.map.add(mailbox, &message)?;
                }
            }
            // Else a whole box would be held.
            self.map.keep()?;
        }
        for id in orphans {
            self.forget_expunged(id)?;
            self.map.forget(id)?;
        }
        self.drop_unused()
    }
}
