//! What is true: mailboxes with messages, and what each command does to them.

use std::collections::{BTreeMap, BTreeSet};

pub(super) const FLAGS: &[&str] =
    &["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Work", "other"];

#[derive(Default)]
pub(super) struct World {
    pub(super) boxes: BTreeMap<String, Mailbox>,
    /// Counts the commands that were run.
    pub(super) step: u64,
}

pub(super) struct Mailbox {
    pub(super) validity: Option<u64>,
    pub(super) next: u32,
    pub(super) messages: BTreeMap<u32, Message>,
    /// UIDs and when they went.
    pub(super) gone: BTreeMap<u32, u64>,
    /// The largest modification sequence that anybody was told.
    pub(super) highest: u64,
}

#[derive(Clone)]
pub(super) struct Message {
    pub(super) flags: BTreeSet<String>,
    pub(super) text: String,
    /// The step that changed it last.
    pub(super) changed: u64,
    /// Larger than this its modification sequence has to be.
    pub(super) above: u64,
    /// What somebody was told since it changed.
    pub(super) modseq: Option<u64>,
}

impl Default for Mailbox {
    fn default() -> Self {
        let (messages, gone) = (BTreeMap::new(), BTreeMap::new());
        Self { validity: None, next: 1, messages, gone, highest: 0 }
    }
}

/// What STORE does to flags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Add,
    Remove,
    Replace,
}

impl Change {
    pub(super) fn apply(self, flags: &mut BTreeSet<String>, with: &BTreeSet<String>) {
        match self {
            Self::Add => flags.extend(with.iter().cloned()),
            Self::Remove => flags.retain(|flag| !with.contains(flag)),
            Self::Replace => flags.clone_from(with),
        }
    }
}

impl Mailbox {
    pub(super) fn uids(&self) -> Vec<u32> {
        self.messages.keys().copied().collect()
    }

    pub(super) fn add(&mut self, step: u64, flags: BTreeSet<String>, text: String) -> u32 {
        let uid = self.next;
        self.next += 1;
        let above = self.highest;
        let message = Message { flags, text, changed: step, above, modseq: None };
        self.messages.insert(uid, message);
        uid
    }

    pub(super) fn store(&mut self, step: u64, uid: u32, change: Change, with: &BTreeSet<String>) {
        let above = self.highest;
        let Some(message) = self.messages.get_mut(&uid) else { return };
        let before = message.flags.clone();
        change.apply(&mut message.flags, with);
        if message.flags != before {
            (message.changed, message.above, message.modseq) = (step, above, None);
        }
    }

    pub(super) fn remove(&mut self, step: u64, uid: u32) -> Option<Message> {
        let message = self.messages.remove(&uid)?;
        self.gone.insert(uid, step);
        Some(message)
    }

    /// Removes what is marked, of these or of all.
    pub(super) fn expunge(&mut self, step: u64, only: Option<&BTreeSet<u32>>) {
        for uid in self.uids() {
            let marked = self.messages[&uid].flags.contains("\\Deleted");
            if marked && only.is_none_or(|only| only.contains(&uid)) {
                self.remove(step, uid);
            }
        }
    }

    pub(super) fn unseen(&self) -> usize {
        self.messages.values().filter(|message| !message.flags.contains("\\Seen")).count()
    }

    /// A modification sequence that was told for a message: whether it can be.
    pub(super) fn told_modseq(&mut self, uid: u32, modseq: u64) -> Result<(), String> {
        self.highest = self.highest.max(modseq);
        let Some(message) = self.messages.get_mut(&uid) else { return Ok(()) };
        match message.modseq {
            Some(known) if known != modseq => {
                Err(format!("MODSEQ of {uid} was {known} and is {modseq} without a change"))
            }
            None if modseq <= message.above => {
                Err(format!("MODSEQ {modseq} of {uid} is not above {}", message.above))
            }
            _ => {
                message.modseq = Some(modseq);
                Ok(())
            }
        }
    }
}
