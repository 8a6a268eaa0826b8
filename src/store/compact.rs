//! Compaction: what is still needed of an old segment is appended once more at the end of the log,
//! and the segment is removed. Everything goes through ordinary commits, in small steps, beside
//! all other work; a power cut in the middle leaves both copies, of which the later one counts.
//! Never more than one segment is under way, so it needs no more free space than one.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::{Batch, Carry, Ends};
use super::body::Packed;
use super::error::StoreError;
use super::event::{ChunkRef, Commit, Event, Hash};
use super::packing;
use super::record::{Place, SEGMENT_HEADER};
use super::segment::{self, Found, Walk};
use super::shared::Shared;
use super::threads::IdHash;
use super::types::{AccountId, BodyId, MailboxId, QueueId};
use super::writer::Writer;
use crate::mail::{ModSeq, Uid};

/// Bytes of records, or number of events, carried in one commit.
const STEP_BYTES: usize = 512 << 10;
const STEP_EVENTS: usize = 500;

/// The log as compaction uses it: the writer itself, or the way to it.
pub(super) trait Log {
    fn shared(&self) -> &Shared;
    fn commit(&mut self, batch: Batch) -> Result<(), StoreError>;
    /// Begins another segment; its number.
    fn seal(&mut self) -> Result<u32, StoreError>;
    /// Removes a segment that nothing needs; whether it is gone.
    fn remove(&mut self, segment: u32) -> Result<bool, StoreError>;
    /// Called between two steps: others go first.
    fn rest(&mut self) -> Result<(), StoreError>;
}

impl Log for Writer {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn commit(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.commit(&[batch]).pop().unwrap_or(Err(StoreError::Closed)).map(drop)
    }

    fn seal(&mut self) -> Result<u32, StoreError> {
        self.seal()
    }

    fn remove(&mut self, segment: u32) -> Result<bool, StoreError> {
        self.remove(segment)
    }

    fn rest(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What is worth knowing of a segment before it is compacted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Bytes of the file.
    pub(super) size: u64,
    /// Bytes of chunks that are still needed.
    pub(super) live: u64,
    /// Bytes of commits, about as many as will be written again. Never too few: what counts as won
    /// here and is written again all the same would be compacted again and again.
    pub(super) commits: u64,
    /// Bytes that the needed chunks would lose with the newest dictionary.
    pub(super) shrink: u64,
}

/// Reads what there is in a sealed segment, without changing anything.
pub(super) fn survey(shared: &Shared, segment: u32, newest: u32) -> Result<Survey, StoreError> {
    let segments = &shared.segments;
    let failed = |error| segments.failed("read a segment", error);
    let file = segments.file(segment)?;
    let mut survey = Survey { size: file.len().map_err(failed)?, ..Survey::default() };
    let needed = needed(shared, segment)?;
    let from = Place { segment, offset: SEGMENT_HEADER as u64 };
    let mut walk = Walk::new(&*file, &segments.key, from, false).map_err(failed)?;
    while let Some(found) = walk.next().map_err(failed)? {
        match found {
            Found::Record { offset, end, commit: Some(bytes) } => {
                let events = Commit::decode(&bytes).map(|commit| commit.events).unwrap_or_default();
                let mut lasting = 0_u64;
                for event in events {
                    lasting += carried(shared, &event)? as u64;
                }
                let share = (end - offset).saturating_mul(lasting);
                survey.commits += share.checked_div(bytes.len() as u64).unwrap_or(0);
            }
            Found::Record { offset, end, commit: None } if needed.contains(&offset) => {
                survey.live += end - offset;
                let codec = walk.payload_head(offset).map_err(failed)?;
                survey.shrink += (end - offset) * packing::would_shrink(&codec, newest) / 100;
            }
            Found::Record { .. } | Found::Damage { .. } => {}
        }
    }
    Ok(survey)
}

/// Where the chunks lie that some body or part still needs.
fn needed(shared: &Shared, segment: u32) -> Result<BTreeSet<u64>, StoreError> {
    let bodies = shared.index.bodies_in(segment, BodyId(0), usize::MAX)?;
    let parts = shared.index.parts_in(segment)?;
    let chunks = bodies.into_iter().flat_map(|(_, chunks)| chunks);
    Ok(chunks.chain(parts.into_iter().map(|(_, chunk)| chunk)).map(|chunk| chunk.offset).collect())
}

/// Bytes that are written when an event is carried.
fn carried(shared: &Shared, event: &Event) -> Result<usize, StoreError> {
    let index = &shared.index;
    let told = match event {
        Event::Counters(_) => false,
        Event::Message(mailbox, message) => index.message(*mailbox, message.uid)?.is_some(),
        Event::Flags(mailbox, modseq, changed) => {
            let mut bytes = 0;
            for (uid, _) in changed {
                let message = index.message(*mailbox, *uid)?.filter(|m| m.modseq == *modseq);
                bytes += message.map_or(0, |message| Event::Message(*mailbox, message).size());
            }
            return Ok(bytes);
        }
        Event::QueueState(id, _) => {
            return Ok(index.queued(*id)?.map_or(0, |record| Event::Queued(record).size()));
        }
        Event::Queued(record) => index.queued(record.id)?.is_some(),
        // What was told of them later stands elsewhere.
        Event::Body(id, stored) => index.body(*id)?.is_some_and(|(now, _)| now == *stored),
        Event::Part(hash, chunk) => index.part(*hash)? == Some(*chunk),
        Event::Setting(key, value) => index.setting(key)?.as_ref() == Some(value),
        Event::Expunged(mailbox, ..) => index.mailbox(*mailbox)?.is_some(),
        Event::Thread(account, _, ids) => index.knows_thread(*account, ids)?,
        _ => true,
    };
    Ok(if told { event.size() } else { 0 })
}

/// Moves what is needed out of a sealed segment and removes it; whether it is gone.
pub(super) fn compact(log: &mut impl Log, segment: u32) -> Result<bool, StoreError> {
    carry_events(log, segment)?;
    let mut step = Step::new(Ends::LeftOut);
    let mut from = BodyId(0);
    loop {
        let bodies = log.shared().index.bodies_in(segment, from, STEP_EVENTS)?;
        let Some((last, _)) = bodies.last() else { break };
        from = BodyId(last.0.saturating_add(1));
        for (id, chunks) in bodies {
            // A large body in several steps: each names the chunks that it moves.
            let mut moved = Vec::new();
            for chunk in chunks {
                let Some(raw) = read(log.shared(), &chunk)? else { continue };
                let packed = Packed::plain(&log.shared().segments.dictionaries, &raw)?;
                step.bytes += packed.payload.len();
                moved.push((chunk, packed));
                if step.is_full() {
                    step.push(Carry::Body(id, std::mem::take(&mut moved)));
                    step.go(log)?;
                }
            }
            if !moved.is_empty() {
                step.push(Carry::Body(id, moved));
            }
        }
        step.go_when_full(log)?;
    }
    for (hash, chunk) in log.shared().index.parts_in(segment)? {
        let Some(raw) = read(log.shared(), &chunk)? else { continue };
        let packed = Packed::part(&log.shared().segments.dictionaries, &raw)?;
        step.bytes += packed.payload.len();
        step.push(Carry::Part(hash, Some((chunk, packed))));
        step.go_when_full(log)?;
    }
    step.go(log)?;
    log.remove(segment)
}

/// The bytes of a chunk; nothing when the card does not give them back: then it stays where it is,
/// and its segment too, while all that can be read is moved away from there.
fn read(shared: &Shared, chunk: &ChunkRef) -> Result<Option<Vec<u8>>, StoreError> {
    let file = shared.segments.file(chunk.segment)?;
    match shared.segments.chunk(&*file, chunk) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::Damaged(_) | StoreError::Disk { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says once more what the commits of a segment told and is still true.
fn carry_events(log: &mut impl Log, segment: u32) -> Result<(), StoreError> {
    let oldest = {
        let segments = &log.shared().segments;
        let numbers = segment::numbers(&*segments.disk);
        let numbers = numbers.map_err(|error| segments.failed("list the segments", error))?;
        numbers.first().is_none_or(|first| *first >= segment)
    };
    let file = log.shared().segments.file(segment)?;
    let key = log.shared().segments.key;
    let from = Place { segment, offset: SEGMENT_HEADER as u64 };
    let mut walk = Walk::new(&*file, &key, from, false)
        .map_err(|error| log.shared().segments.failed("read a segment", error))?;
    let mut step = Step::new(if oldest { Ends::LeftOut } else { Ends::Told });
    let mut damaged = false;
    loop {
        let found = walk.next();
        let found = found.map_err(|error| log.shared().segments.failed("read a segment", error))?;
        let commit = match found {
            None => break,
            Some(Found::Record { commit: None, .. }) => continue,
            Some(Found::Record { commit: Some(bytes), .. }) => Commit::decode(&bytes).ok(),
            Some(Found::Damage { .. }) => None,
        };
        let Some(commit) = commit else {
            damaged = true;
            continue;
        };
        for mut event in commit.events {
            if let Event::Flags(mailbox, modseq, changed) = &mut event {
                // Once for each message, not for each time that somebody has changed it.
                let index = &log.shared().index;
                let mut latest = Vec::new();
                for (uid, flags) in changed.drain(..) {
                    if index.message(*mailbox, uid)?.is_some_and(|m| m.modseq == *modseq) {
                        latest.push((uid, flags));
                    }
                }
                *changed = latest;
            }
            step.take(event, segment);
        }
        step.go_when_full(log)?;
    }
    if damaged {
        carry_lost(log, segment, &mut step)?;
    }
    step.go(log)
}

/// Says once more what a damaged commit of a segment may have told: only the index still knows, and
/// without it an index made anew would lack a mailbox and all that is in it.
fn carry_lost(log: &mut impl Log, segment: u32, step: &mut Step) -> Result<(), StoreError> {
    let index = &log.shared().index;
    step.mailboxes.extend(index.all_mailboxes()?);
    step.queued.extend(index.queue()?.into_iter().map(|record| record.id));
    step.settings.extend(index.settings("")?.into_iter().map(|(key, _)| key));
    let mut last = None;
    loop {
        let threads = log.shared().index.threads_after(last, STEP_EVENTS)?;
        let Some((account, id, _)) = threads.last() else { break };
        last = Some((*account, *id));
        step.events += threads.len();
        step.threads.extend(threads.into_iter().map(|(account, id, _)| (account, id)));
        step.go_when_full(log)?;
    }
    for message in log.shared().index.messages_with(|chunk| chunk.segment == segment)? {
        step.events += 1;
        step.messages.insert(message);
        step.go_when_full(log)?;
    }
    Ok(())
}

/// What goes into one commit. Each thing once, however often the segment speaks of it, and in an
/// order that no reader of the log can mistake: first what exists, then what is gone.
struct Step {
    ends: Ends,
    mailboxes: BTreeSet<MailboxId>,
    messages: BTreeSet<(MailboxId, Uid)>,
    expunged: BTreeMap<(MailboxId, ModSeq), Vec<Uid>>,
    bodies: BTreeSet<BodyId>,
    parts: BTreeSet<Hash>,
    queued: BTreeSet<QueueId>,
    settings: BTreeSet<String>,
    threads: BTreeSet<(AccountId, IdHash)>,
    gone: BTreeSet<AccountId>,
    moved: Vec<Carry>,
    events: usize,
    bytes: usize,
}

impl Step {
    fn new(ends: Ends) -> Self {
        Self {
            ends,
            mailboxes: BTreeSet::new(),
            messages: BTreeSet::new(),
            expunged: BTreeMap::new(),
            bodies: BTreeSet::new(),
            parts: BTreeSet::new(),
            queued: BTreeSet::new(),
            settings: BTreeSet::new(),
            threads: BTreeSet::new(),
            gone: BTreeSet::new(),
            moved: Vec::new(),
            events: 0,
            bytes: 0,
        }
    }

    fn push(&mut self, carry: Carry) {
        self.events += 1;
        self.moved.push(carry);
    }

    /// Notes what an event was about.
    fn take(&mut self, event: Event, segment: u32) {
        self.events += 1;
        match event {
            // Each segment has its own.
            Event::Counters(_) => {}
            // Told when they move; their bytes may also lie in other segments and stay there.
            Event::Body(_, stored) if stored.chunks.iter().any(|c| c.segment == segment) => {}
            Event::Part(_, chunk) if chunk.segment == segment => {}
            Event::Body(id, _) => self.bodies.extend([id]),
            Event::Part(hash, _) => self.parts.extend([hash]),
            Event::Mailbox(mailbox) => self.mailboxes.extend([mailbox.id]),
            Event::MailboxDeleted(id) => self.mailboxes.extend([id]),
            Event::Message(mailbox, message) => self.messages.extend([(mailbox, message.uid)]),
            Event::Flags(mailbox, _, changed) => {
                self.events += changed.len();
                self.messages.extend(changed.into_iter().map(|(uid, _)| (mailbox, uid)));
            }
            Event::Expunged(mailbox, modseq, uids) => {
                self.events += uids.len();
                self.expunged.entry((mailbox, modseq)).or_default().extend(uids);
            }
            Event::Thread(account, _, ids) => {
                self.events += ids.len();
                self.threads.extend(ids.into_iter().map(|id| (account, id)));
            }
            Event::AccountGone(account) => self.gone.extend([account]),
            Event::Queued(record) => self.queued.extend([record.id]),
            Event::QueueState(id, _) | Event::Dequeued(id) => self.queued.extend([id]),
            Event::Setting(key, _) | Event::SettingDeleted(key) => self.settings.extend([key]),
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= STEP_BYTES || self.events >= STEP_EVENTS
    }

    fn go_when_full(&mut self, log: &mut impl Log) -> Result<(), StoreError> {
        if self.is_full() { self.go(log) } else { Ok(()) }
    }

    fn go(&mut self, log: &mut impl Log) -> Result<(), StoreError> {
        let step = std::mem::replace(self, Self::new(self.ends));
        let mut carries: Vec<Carry> = Vec::new();
        carries.extend(step.mailboxes.into_iter().map(Carry::Mailbox));
        carries.extend(step.parts.into_iter().map(|hash| Carry::Part(hash, None)));
        carries.extend(step.bodies.into_iter().map(|id| Carry::Body(id, Vec::new())));
        carries
            .extend(step.messages.into_iter().map(|(mailbox, uid)| Carry::Message(mailbox, uid)));
        carries.extend(step.queued.into_iter().map(Carry::Queued));
        carries.extend(step.settings.into_iter().map(Carry::Setting));
        carries.extend(step.gone.into_iter().map(Carry::AccountGone));
        let mut threads = BTreeMap::<_, Vec<_>>::new();
        for (account, id) in step.threads {
            threads.entry(account).or_default().push(id);
        }
        carries.extend(threads.into_iter().map(|(account, ids)| Carry::Thread(account, ids)));
        carries.extend(step.moved);
        let expunged = step.expunged.into_iter();
        carries.extend(expunged.map(|((mailbox, at), uids)| Carry::Expunged(mailbox, at, uids)));
        if carries.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for carry in carries {
            batch.carry(carry, step.ends);
        }
        log.commit(batch)?;
        log.rest()
    }
}
