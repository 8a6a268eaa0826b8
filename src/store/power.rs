//! The promise that counts, tried on a disk that keeps none: whatever was acknowledged is there
//! after the power was cut, whole and once; whatever was not is there whole or not at all.
//!
//! `STORE_SEEDS=5000` tries more, `STORE_SEED=17` tries one again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::Options;
use super::batch::Batch;
use super::body::{Body, CHUNK, Lump, Packed, Parts};
use super::compact::{compact, survey};
use super::error::{StoreError, disk};
use super::event::{Hash, PartUse};
use super::model::{KEY, Model, NOW, Numbers, some_flags};
use super::open;
use super::segment;
use super::sim::{Rng, SimDisk};
use super::transfer::{Piece, Splitter};
use super::types::{AccountId, BodyId, FlagChange, MailboxId, QueueId};
use super::writer::Writer;
use crate::clock::{Clock, ClockTrust};
use crate::mail::threading::HeaderHead;
use crate::mail::{ModSeq, SpecialUse, Uid};

#[derive(Debug)]
struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn trust(&self) -> ClockTrust {
        ClockTrust::Synced
    }
}

pub(super) fn options() -> Options {
    // Small segments, so that many are begun.
    Options { segment_size: 20_000, clock: Arc::new(StillClock), ..Options::default() }
}

pub(super) fn open(disk: &SimDisk, rebuild: bool) -> Result<Writer, open::Refused> {
    open::open(Arc::new(disk.clone()), &options(), KEY, rebuild)
}

/// A body of these bytes, as [`super::BodyWriter`] makes it.
pub(super) fn body_of(writer: &mut Writer, bytes: &[u8]) -> Result<Body, StoreError> {
    let shared = Arc::clone(&writer.shared);
    let (mut parts, mut plain, mut plain_len) = (Parts::default(), Vec::new(), 0);
    let mut pieces = Vec::new();
    let mut splitter = Splitter::new();
    let mut emit = |piece: Piece<'_>| match piece {
        Piece::Plain(bytes) => pieces.push((None, bytes.to_vec())),
        Piece::Base64 { form, decoded } => pieces.push((Some(form), decoded)),
    };
    splitter.feed(bytes, &mut emit);
    splitter.finish(&mut emit);
    for (form, bytes) in pieces {
        let Some(form) = form else {
            plain_len += bytes.len() as u64;
            plain.extend(bytes);
            continue;
        };
        let (len, hash) = (bytes.len().try_into().unwrap(), Hash::of(&shared.segments.key, &bytes));
        parts.uses.push(PartUse { at: plain_len, form, len, hash });
        if let Some(known) = shared.pinned_part(hash)? {
            parts.lumps.insert(hash, Lump::Written(known));
        } else {
            let packed = Packed::part(&shared.segments.dictionaries, &bytes)?;
            let lump = match len % 2 {
                0 => Lump::Packed(packed),
                _ => Lump::Written(writer.append(&packed)?),
            };
            parts.lumps.insert(hash, lump);
        }
    }
    let mut chunks = plain.chunks(CHUNK).peekable();
    while let Some(chunk) = chunks.next() {
        parts.chunks.push(match chunks.peek() {
            Some(_) => {
                let packed = Packed::plain(&shared.segments.dictionaries, chunk)?;
                Lump::Written(writer.append(&packed)?)
            }
            None => Lump::Raw(chunk.to_vec()),
        });
    }
    let id = BodyId(writer.shared.next_body.fetch_add(1, Ordering::Relaxed));
    let mut head = HeaderHead::default();
    head.pass(bytes);
    Ok(Body::new(id, bytes.len() as u64, head.threading(), parts))
}

/// A store, what it must hold, and what it may hold besides.
pub(super) struct Trial {
    pub(super) rng: Rng,
    pub(super) disk: SimDisk,
    pub(super) model: Model,
    numbers: Numbers,
    pub(super) bodies: BTreeMap<BodyId, Vec<u8>>,
    known_leads: BTreeSet<BodyId>,
    /// Committed at some time, to be named again.
    known: Vec<Body>,
    /// The batches of a group that got no answer.
    unanswered: Vec<Batch>,
}

impl Trial {
    pub(super) fn new(seed: u64) -> Self {
        let (model, numbers) = Model::new();
        Self {
            rng: Rng(seed),
            disk: SimDisk::new(!seed),
            model,
            numbers,
            bodies: BTreeMap::new(),
            known_leads: BTreeSet::new(),
            known: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    /// Opens the store and holds it against the model. Some of what got no answer may be there, in
    /// its order, each batch whole.
    pub(super) fn open(&mut self) -> Option<Writer> {
        let rebuild = self.rng.once_in(6);
        let writer = match open(&self.disk, rebuild) {
            Ok(writer) => writer,
            Err(refused) => {
                assert!(self.disk.is_off() || self.disk.has_failed(), "{refused:?}");
                return None;
            }
        };
        let observed = Model::observe(&writer.shared, &self.bodies);
        let counters = writer.shared.index.state().unwrap().map(|state| state.counters);
        let numbers = counters.map_or_else(
            || Model::new().1,
            |counters| Numbers {
                mailbox: counters.mailbox,
                queue: counters.queue,
                uid_validity: counters.uid_validity.max(1_000),
            },
        );
        for batch in std::mem::take(&mut self.unanswered) {
            if observed == self.model && numbers == self.numbers {
                break;
            }
            self.model.run(&mut self.numbers, &batch);
        }
        assert_eq!(observed, self.model, "the store does not hold what it should");
        assert_eq!(numbers, self.numbers, "numbers may be given twice");
        assert_eq!(writer.shared.segments.damaged.load(Ordering::Relaxed), 0, "false alarm");
        self.known.clear();
        Some(writer)
    }

    /// Commits one group; whether the writer can go on.
    pub(super) fn step(&mut self, writer: &mut Writer) -> bool {
        if self.rng.once_in(10) && writer.flush().is_err() {
            return false;
        }
        if self.rng.once_in(10) && self.compact(writer).is_err() {
            return !writer.is_stopped() && !self.disk.is_off();
        }
        let mut batches = Vec::new();
        for _ in 0..=self.rng.below(3) {
            let Some(batch) = self.batch(writer) else { return !writer.is_stopped() };
            batches.push(batch);
        }
        let before = (self.model.clone(), self.numbers.clone());
        let expected: Vec<_> =
            batches.iter().map(|batch| self.model.run(&mut self.numbers, batch)).collect();
        let packed = |batch: &Batch| batch.pack(&writer.shared.segments.dictionaries);
        batches.iter().try_for_each(packed).unwrap();
        let results = writer.commit(&batches);
        let ours = |error: &StoreError| !error.is_callers();
        if !results.iter().any(|result| result.as_ref().is_err_and(ours)) {
            for (result, expected) in results.into_iter().zip(expected) {
                assert_eq!(result.ok(), expected, "an outcome is wrong");
            }
            return true;
        }
        assert!(results.iter().all(Result::is_err), "some of a failed group was acknowledged");
        (self.model, self.numbers) = before;
        if writer.is_stopped() || self.disk.is_off() {
            self.unanswered = batches;
            return false;
        }
        // The writer says that it knows what is on the disk: then nothing of the group is.
        assert_eq!(Model::observe(&writer.shared, &self.bodies), self.model);
        true
    }

    /// Compacts one segment; nobody may notice.
    fn compact(&mut self, writer: &mut Writer) -> Result<(), StoreError> {
        let last = writer.seal()?;
        let numbers = segment::numbers(&self.disk).map_err(|error| disk("list", error))?;
        let sealed: Vec<_> = numbers.into_iter().filter(|number| *number < last).collect();
        let Some(&segment) = sealed.get(self.rng.below(sealed.len())) else { return Ok(()) };
        survey(&writer.shared, segment, 1)?;
        compact(writer, segment)?;
        assert_eq!(Model::observe(&writer.shared, &self.bodies), self.model, "after compaction");
        Ok(())
    }

    /// A body of random bytes; nothing when the disk fails.
    fn body(&mut self, writer: &mut Writer) -> Option<Body> {
        if let Some(known) = self.known.last().filter(|_| self.rng.once_in(4)) {
            return Some(known.clone());
        }
        let bytes = if self.rng.once_in(8) {
            // An attachment that others may have as well.
            let (file, width) = (self.rng.below(3), [57, 54][self.rng.below(2)]);
            let mut text = format!("To: {}\r\n\r\n", self.rng.below(9)).into_bytes();
            text.extend(attachment(file, width));
            text.extend(b"--end\r\n");
            text
        } else if self.rng.once_in(3) {
            // One that belongs to a thread with others.
            let mut id = || format!("<{}@x>", self.rng.below(40));
            let header = format!("Message-ID: {}\r\nReferences: {} {}\r\n\r\n", id(), id(), id());
            [header.into_bytes(), self.random_bytes()].concat()
        } else {
            self.random_bytes()
        };
        let body = body_of(writer, &bytes).ok()?;
        self.bodies.insert(body.id(), bytes);
        self.known_leads.remove(&body.id());
        self.known.push(body.clone());
        Some(body)
    }

    fn random_bytes(&mut self) -> Vec<u8> {
        let len = match self.rng.below(40) {
            0 => self.rng.below(3 * CHUNK),
            1 => 0,
            _ => self.rng.below(3_000),
        };
        let spread = [1, 16, 256][self.rng.below(3)];
        (0..len).map(|_| self.rng.below(spread).to_le_bytes()[0]).collect()
    }

    fn batch(&mut self, writer: &mut Writer) -> Option<Batch> {
        let mut batch = Batch::new();
        for _ in 0..=self.rng.below(3) {
            let (here, there) = (self.mailbox(), self.mailbox());
            let (flags, uids) = (some_flags(self.rng.below(16)), self.uids(here));
            let account = AccountId(self.rng.below(3).try_into().unwrap());
            let name = ["INBOX", "Sent", "Work", "Work/2026"][self.rng.below(4)].parse().unwrap();
            let date = Timestamp::constant(self.rng.below(2_000_000_000).try_into().unwrap(), 0);
            let queued = QueueId(self.rng.below(20) as u64);
            let word = format!("{}", self.rng.below(1000)).into_bytes();
            match self.rng.below(20) {
                0 => batch.create_mailbox(account, name, Some(SpecialUse::Sent)),
                1 => batch.rename_mailbox(here, name),
                2 if self.rng.once_in(3) => batch.delete_mailbox(here),
                3 if self.rng.once_in(2) => batch.touch_mailbox(here),
                3 => batch.subscribe(here, self.rng.once_in(2)),
                4 => batch.copy(here, uids, there),
                5 => batch.move_to(here, uids, there),
                6 => batch.expunge(here, uids),
                7 => batch.set_flags(here, uids, FlagChange::Replace(flags), None),
                8 => batch.set_flags(here, uids, FlagChange::Add(flags), Some(ModSeq(3))),
                9 => batch.set_flags(here, uids, FlagChange::Remove(flags), None),
                10 | 11 => {
                    let body = self.body(writer)?;
                    batch.enqueue(b"X: y\r\n", &body, word);
                    self.note_lead(&body);
                    &mut batch
                }
                12 => batch.update_queued(queued, word),
                13 => batch.dequeue(queued),
                14 => batch.put_setting(name.as_str(), word),
                15 => batch.delete_setting(name.as_str()),
                16 => match self.model.messages.values().next() {
                    Some(message) => batch.enqueue_stored(&message.content, word),
                    None => batch.create_mailbox(account, name, None),
                },
                _ => {
                    let body = self.body(writer)?;
                    batch.add_message(here, &word, &body, flags, date);
                    self.note_lead(&body);
                    &mut batch
                }
            };
        }
        Some(batch)
    }

    /// What is stored for a body begins with the prefix of the first message that has it.
    fn note_lead(&mut self, body: &Body) {
        if self.known_leads.insert(body.id()) {
            let bytes = self.bodies.get_mut(&body.id()).unwrap();
            bytes.splice(0..0, body.lead());
        }
    }

    /// A mailbox that exists, most of the time.
    fn mailbox(&mut self) -> MailboxId {
        let count = self.model.mailboxes.len();
        let id = self.model.mailboxes.keys().nth(self.rng.below(count + usize::from(count < 2)));
        id.copied().unwrap_or(MailboxId(1))
    }

    fn uids(&mut self, mailbox: MailboxId) -> Vec<Uid> {
        let next = self.model.mailboxes.get(&mailbox).map_or(1, |row| row.uid_next.get());
        let below = usize::try_from(next).unwrap();
        let some = |_| Uid::new(self.rng.below(below + 1).try_into().unwrap());
        (0..3).filter_map(some).collect()
    }

    /// The index made anew from the segments has to be the one that was kept up all the time.
    fn compare_rebuilt(&mut self) {
        let kept = open(&self.disk.copy(), false).unwrap();
        let rebuilt = open(&self.disk.copy(), true).unwrap();
        assert_eq!(kept.shared.index.dump(), rebuilt.shared.index.dump(), "rebuilt differs");
    }
}

/// One of a few files, in base64 of this many bytes a line.
pub(super) fn attachment(file: usize, width: usize) -> Vec<u8> {
    use base64::Engine as _;
    let mut rng = Rng(file as u64);
    let bytes: Vec<u8> = (0..2_000 + 1_001 * file).map(|_| rng.next().to_le_bytes()[0]).collect();
    let line = |line| base64::engine::general_purpose::STANDARD.encode(line) + "\r\n";
    bytes.chunks(width).map(line).collect::<String>().into_bytes()
}

/// Runs a trial for each seed, and says how to repeat the one that fails.
fn for_seeds(test: &str, trial: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("STORE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STORE_SEEDS").unwrap_or(100),
    };
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| trial(seed));
        if let Err(cause) = std::panic::catch_unwind(run) {
            eprintln!("repeat with: STORE_SEED={seed} cargo test --lib store::power::{test}");
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn power_cuts_keep_what_was_acknowledged() {
    for_seeds("power_cuts_keep_what_was_acknowledged", |seed| {
        let mut trial = Trial::new(seed);
        for _ in 0..3 {
            trial.disk.cut_power_after(1 + trial.rng.below(120) as u64);
            if let Some(mut writer) = trial.open() {
                while trial.step(&mut writer) {}
                assert!(trial.disk.is_off());
            }
            trial.disk.restart();
        }
        let mut writer = trial.open().unwrap();
        (0..5).for_each(|_| assert!(trial.step(&mut writer)));
        drop(writer);
        trial.compare_rebuilt();
        trial.open().unwrap();
    });
}

#[test]
fn failing_disks_keep_what_was_acknowledged() {
    for_seeds("failing_disks_keep_what_was_acknowledged", |seed| {
        let mut trial = Trial::new(seed);
        for _ in 0..4 {
            let kind = [io::ErrorKind::StorageFull, io::ErrorKind::Other][trial.rng.below(2)];
            trial.disk.fail_after(trial.rng.below(100) as u64, kind);
            if let Some(mut writer) = trial.open() {
                let steps = 1 + trial.rng.below(20);
                let went_on = (0..steps).all(|_| trial.step(&mut writer));
                assert!(went_on || trial.disk.has_failed());
                if trial.rng.once_in(2) {
                    trial.disk.power_off();
                }
            }
            // Without a power cut the restarted process sees what the system still shows.
            if trial.disk.is_off() {
                trial.disk.restart();
            }
            trial.disk.repair();
            drop(trial.open().unwrap());
            trial.disk.power_off();
            trial.disk.restart();
        }
        let mut writer = trial.open().unwrap();
        (0..5).for_each(|_| assert!(trial.step(&mut writer)));
        drop(writer);
        trial.compare_rebuilt();
    });
}
