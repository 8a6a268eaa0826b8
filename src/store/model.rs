//! The store as a plain structure in memory, to hold the real one against.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::num::NonZeroU32;

use jiff::Timestamp;

use super::batch::{Batch, Op};
use super::blocks::Held;
use super::changes::Recent;
use super::reader::MessageReader;
use super::record::Key;
use super::shared::Shared;
use super::threads::{self, IdHash, ThreadId};
use super::types::{
    AccountId, BodyId, Content, FlagChange, Flagged, Mailbox, MailboxId, Message, Outcome, QueueId,
    QueueRecord,
};
use crate::mail::{Flag, Flags, ModSeq, SystemFlag, Uid, UidSet, UidValidity};

/// Everything a store holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Model {
    pub(super) mailboxes: BTreeMap<MailboxId, Mailbox>,
    pub(super) messages: BTreeMap<(MailboxId, Uid), Message>,
    pub(super) queue: BTreeMap<QueueId, QueueRecord>,
    pub(super) settings: BTreeMap<String, Vec<u8>>,
    pub(super) threads: BTreeMap<(AccountId, IdHash), ThreadId>,
}

/// The numbers given so far; what an observer cannot see.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(super) struct Numbers {
    pub(super) mailbox: u32,
    pub(super) queue: u64,
    pub(super) uid_validity: u32,
}

pub(super) const NOW: Timestamp = Timestamp::constant(1_000, 0);

/// The key of the stores that are held against it.
pub(super) const KEY: Key = [7; 32];

impl Model {
    pub(super) fn new() -> (Self, Numbers) {
        let model = Self {
            mailboxes: BTreeMap::new(),
            messages: BTreeMap::new(),
            queue: BTreeMap::new(),
            settings: BTreeMap::new(),
            threads: BTreeMap::new(),
        };
        (model, Numbers { mailbox: 1, queue: 1, uid_validity: 1_000 })
    }

    /// Does what the batch says; nothing of it when one operation cannot be done.
    pub(super) fn run(&mut self, numbers: &mut Numbers, batch: &Batch) -> Option<Vec<Outcome>> {
        let before = (self.clone(), numbers.clone());
        let outcomes: Option<Vec<_>> = batch.ops.iter().map(|op| self.op(numbers, op)).collect();
        if outcomes.is_none() {
            (*self, *numbers) = before;
        }
        self.count();
        outcomes
    }

    fn op(&mut self, numbers: &mut Numbers, op: &Op) -> Option<Outcome> {
        Some(match op {
            Op::Add { mailbox, content, body, own, flags, internal_date } => {
                let account = self.mailboxes.get(mailbox)?.account;
                let ids = threads::hashes(&KEY, body.threading(), own.as_ref());
                let mut known = ids.iter().filter_map(|id| self.threads.get(&(account, *id)));
                let thread = known.next().copied().unwrap_or(ThreadId::of(body.id()));
                for id in ids {
                    self.threads.entry((account, id)).or_insert(thread);
                }
                let content = content.clone();
                let (uid, modseq) = (self.uid(*mailbox)?, self.modseq(*mailbox)?);
                let message = Message {
                    uid,
                    modseq,
                    flags: flags.clone(),
                    internal_date: *internal_date,
                    save_date: NOW,
                    content,
                    thread: Some(thread),
                };
                self.messages.insert((*mailbox, uid), message);
                self.raise(*mailbox, modseq);
                let uid_validity = self.mailboxes.get(mailbox)?.uid_validity;
                Outcome::Added { uid_validity, uid, modseq }
            }
            Op::SetFlags { mailbox, uids, change, unchanged_since } => {
                let modseq = self.modseq(*mailbox)?;
                let (mut changed, mut modified, mut any) = (vec![], vec![], false);
                for uid in uids.iter().copied().collect::<BTreeSet<_>>() {
                    let Some(message) = self.messages.get_mut(&(*mailbox, uid)) else { continue };
                    if unchanged_since.is_some_and(|since| since < message.modseq) {
                        modified.push(uid);
                        continue;
                    }
                    let (old, before) = (message.flags.clone(), message.modseq);
                    match change {
                        FlagChange::Replace(new) => message.flags = new.clone(),
                        FlagChange::Add(new) => new.iter().for_each(|f| message.flags.insert(f)),
                        FlagChange::Remove(new) => {
                            new.iter().for_each(|f| message.flags.remove(&f));
                        }
                    }
                    if message.flags != old {
                        message.modseq = modseq;
                        any = true;
                    }
                    let (flags, modseq) = (message.flags.clone(), message.modseq);
                    changed.push(Flagged { uid, flags, modseq, before });
                }
                if any {
                    self.raise(*mailbox, modseq);
                }
                Outcome::Flags { changed, modified }
            }
            Op::Copy { from, uids, to, away } => {
                self.mailboxes.get(from)?;
                let (modseq, mut pairs) = (self.modseq(*to)?, vec![]);
                for old in uids.iter().copied().collect::<BTreeSet<_>>() {
                    let Some(message) = self.messages.get(&(*from, old)).cloned() else { continue };
                    let uid = self.uid(*to)?;
                    let message = Message { uid, modseq, save_date: NOW, ..message };
                    self.messages.insert((*to, uid), message);
                    pairs.push((old, uid));
                }
                if !pairs.is_empty() {
                    self.raise(*to, modseq);
                }
                if *away {
                    self.expunge(*from, &pairs.iter().map(|pair| pair.0).collect::<Vec<_>>())?;
                }
                Outcome::Copied { uid_validity: self.mailboxes.get(to)?.uid_validity, uids: pairs }
            }
            Op::Expunge { mailbox, uids } => Outcome::Expunged(self.expunge(*mailbox, uids)?),
            Op::Create { account, name, special_use, subscribed } => {
                self.free_name(*account, name.as_str())?;
                let id = MailboxId(numbers.mailbox);
                let uid_validity = UidValidity(NonZeroU32::new(numbers.uid_validity).unwrap());
                numbers.mailbox += 1;
                numbers.uid_validity += 1;
                let mailbox = Mailbox {
                    id,
                    account: *account,
                    name: name.clone(),
                    uid_validity,
                    uid_next: Uid::FIRST,
                    highest_modseq: ModSeq(1),
                    special_use: *special_use,
                    subscribed: *subscribed,
                    messages: 0,
                    unseen: 0,
                    size: 0,
                };
                self.mailboxes.insert(id, mailbox);
                Outcome::Created(id)
            }
            Op::Rename { mailbox, name } => {
                let row = self.mailboxes.get(mailbox)?.clone();
                if row.name != *name {
                    self.free_name(row.account, name.as_str())?;
                    self.mailboxes.get_mut(mailbox)?.name = name.clone();
                }
                Outcome::Done
            }
            Op::Delete(mailbox) => {
                self.mailboxes.remove(mailbox)?;
                self.messages.retain(|(owner, _), _| owner != mailbox);
                Outcome::Done
            }
            Op::Subscribe(mailbox, subscribed) => {
                self.mailboxes.get_mut(mailbox)?.subscribed = *subscribed;
                Outcome::Done
            }
            Op::Touch(mailbox) => {
                let modseq = self.modseq(*mailbox)?;
                self.raise(*mailbox, modseq);
                Outcome::Done
            }
            Op::Enqueue { content, state, .. } => self.enqueue(numbers, content.clone(), state),
            Op::EnqueueStored { content, state } => {
                let mut held = self.messages.values().map(|message| &message.content);
                let queued = self.queue.values().any(|r| r.content.body == content.body);
                if !held.any(|held| held.body == content.body) && !queued {
                    return None;
                }
                self.enqueue(numbers, content.clone(), state)
            }
            Op::UpdateQueued(id, state) => {
                if let Some(record) = self.queue.get_mut(id) {
                    record.state.clone_from(state);
                }
                Outcome::Done
            }
            Op::Dequeue(id) => {
                self.queue.remove(id);
                Outcome::Done
            }
            Op::PutSetting(key, value) => {
                self.settings.insert(key.clone(), value.clone());
                Outcome::Done
            }
            Op::DeleteSetting(key) => {
                self.settings.remove(key);
                Outcome::Done
            }
            Op::ForgetAccount(account) => {
                self.threads.retain(|(owner, _), _| owner != account);
                Outcome::Done
            }
            Op::Carry(..) => Outcome::Done,
        })
    }

    fn enqueue(&mut self, numbers: &mut Numbers, content: Content, state: &[u8]) -> Outcome {
        let id = QueueId(numbers.queue);
        numbers.queue += 1;
        self.queue.insert(id, QueueRecord { id, content, state: state.to_vec() });
        Outcome::Queued(id)
    }

    fn expunge(&mut self, mailbox: MailboxId, uids: &[Uid]) -> Option<Vec<Uid>> {
        let modseq = self.modseq(mailbox)?;
        let uids = uids.iter().copied().collect::<BTreeSet<_>>().into_iter();
        let gone: Vec<_> =
            uids.filter(|uid| self.messages.remove(&(mailbox, *uid)).is_some()).collect();
        if !gone.is_empty() {
            self.raise(mailbox, modseq);
        }
        Some(gone)
    }

    fn uid(&mut self, mailbox: MailboxId) -> Option<Uid> {
        let row = self.mailboxes.get_mut(&mailbox)?;
        let uid = row.uid_next;
        row.uid_next = Uid::new(uid.get() + 1).unwrap();
        Some(uid)
    }

    fn modseq(&self, mailbox: MailboxId) -> Option<ModSeq> {
        Some(ModSeq(self.mailboxes.get(&mailbox)?.highest_modseq.0 + 1))
    }

    fn raise(&mut self, mailbox: MailboxId, modseq: ModSeq) {
        self.mailboxes.get_mut(&mailbox).unwrap().highest_modseq = modseq;
    }

    fn free_name(&self, account: AccountId, name: &str) -> Option<()> {
        let mut all = self.mailboxes.values();
        all.all(|row| row.account != account || row.name.as_str() != name).then_some(())
    }

    fn count(&mut self) {
        for (id, row) in &mut self.mailboxes {
            let flags = |message: &&Message| !message.flags.has(SystemFlag::Seen);
            let range = (*id, Uid::FIRST)..=(*id, Uid(NonZeroU32::MAX));
            let held: Vec<_> = self.messages.range(range).map(|(_, message)| message).collect();
            row.messages = held.len().try_into().unwrap();
            row.unseen = held.iter().copied().filter(flags).count().try_into().unwrap();
            row.size = held.iter().map(|message| message.content.size()).sum();
        }
    }

    /// What a store shows; every body is read and compared.
    pub(super) fn observe(
        shared: &std::sync::Arc<Shared>,
        bodies: &BTreeMap<BodyId, Vec<u8>>,
    ) -> Self {
        let (mut model, _) = Self::new();
        for account in 0..4 {
            for mailbox in shared.index.mailboxes(AccountId(account)).unwrap() {
                assert_eq!(shared.index.mailbox(mailbox.id).unwrap().as_ref(), Some(&mailbox));
                let found = shared.index.find_mailbox(mailbox.account, &mailbox.name).unwrap();
                assert_eq!(found.as_ref(), Some(&mailbox));
                for message in shared.index.messages(mailbox.id).unwrap() {
                    same_bytes(shared, &message.content, bodies);
                    model.messages.insert((mailbox.id, message.uid), message);
                }
                same_blocks(shared, &mailbox);
                model.mailboxes.insert(mailbox.id, mailbox);
            }
        }
        for record in shared.index.queue().unwrap() {
            same_bytes(shared, &record.content, bodies);
            model.queue.insert(record.id, record);
        }
        let threads = shared.index.threads_after(None, usize::MAX).unwrap();
        model.threads = threads.into_iter().map(|(who, id, thread)| ((who, id), thread)).collect();
        model.settings = shared.index.settings("").unwrap().into_iter().collect();
        model
    }
}

/// What the blocks of a mailbox tell follows from its messages.
fn same_blocks(shared: &Shared, mailbox: &Mailbox) {
    let messages = shared.index.messages(mailbox.id).unwrap();
    let overview = shared.index.overview(mailbox.id).unwrap().unwrap();
    let with = |keep: &dyn Fn(&Flags) -> bool| -> UidSet {
        messages.iter().filter(|message| keep(&message.flags)).map(|message| message.uid).collect()
    };
    assert_eq!(overview.mailbox, *mailbox);
    assert_eq!(overview.uids, with(&|_| true));
    assert_eq!(overview.unseen, with(&|flags| !flags.has(SystemFlag::Seen)));
    assert_eq!(overview.answered, with(&|flags| flags.has(SystemFlag::Answered)));
    assert_eq!(overview.flagged, with(&|flags| flags.has(SystemFlag::Flagged)));
    assert_eq!(overview.deleted, with(&|flags| flags.has(SystemFlag::Deleted)));
    assert_eq!(overview.draft, with(&|flags| flags.has(SystemFlag::Draft)));
    let keywords = messages.iter().flat_map(|message| message.flags.iter());
    let keywords = keywords.filter_map(|flag| match flag {
        Flag::Keyword(keyword) => Some(keyword),
        Flag::System(_) => None,
    });
    assert_eq!(overview.keywords, keywords.collect());
    let held = messages.iter().map(|message| {
        let content = &message.content;
        Held { uid: message.uid, body: content.body, is_body: content.is_body() }
    });
    assert_eq!(shared.index.held(mailbox.id).unwrap(), held.collect::<Vec<_>>());
    // From far back, only blocks with news are looked at.
    for since in [0, mailbox.highest_modseq.0 / 2, mailbox.highest_modseq.0.saturating_sub(1)] {
        let nothing = Recent::new(0);
        let found = shared.index.changed_since(mailbox.id, ModSeq(since), &nothing).unwrap();
        let found = found.unwrap().changed.into_iter().map(|entry| entry.uid);
        let later = messages.iter().filter(|message| message.modseq.0 > since);
        assert_eq!(found.collect::<Vec<_>>(), later.map(|message| message.uid).collect::<Vec<_>>());
    }
}

fn same_bytes(
    shared: &std::sync::Arc<Shared>,
    content: &Content,
    bodies: &BTreeMap<BodyId, Vec<u8>>,
) {
    let mut bytes = Vec::new();
    MessageReader::message(shared, content).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, content.size());
    let (prefix, body) = bytes.split_at(content.prefix.len());
    let stored = &bodies[&content.body][usize::try_from(content.skip).unwrap()..];
    assert!(*prefix == *content.prefix && body == stored, "bytes differ");
}

/// Flags drawn from a few bits.
pub(super) fn some_flags(bits: usize) -> Flags {
    let names = ["\\Seen", "\\Deleted", "$Forwarded", "\\Flagged"];
    let set = names.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
    set.map(|(_, name)| name.parse().unwrap()).collect()
}
