//! Housekeeping while nobody needs the box: learning a dictionary from its mail, compacting
//! segments, and reading everything once a month, so that a card that forgets is noticed while there
//! is still a copy elsewhere. Everything is done in small steps that give way to mail, can be cut
//! off anywhere, and writes nothing when there is nothing to do.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Store;
use super::batch::Batch;
use super::compact::{self, Log, Survey};
use super::disk::How;
use super::error::StoreError;
use super::segment;
use super::shared::Shared;
use super::shelf;
use super::train::{self, Samples};
use super::types::BodyId;
use super::verify;
use super::writer::Command;

/// Pause between two steps, and how long nobody must have written anything before the next.
const PAUSE: Duration = Duration::from_millis(20);
const QUIET: Duration = Duration::from_millis(300);
/// Work goes on all the same after so long, or a busy box would never be tidied.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often every record is read, in seconds.
const SCRUB_INTERVAL: i64 = 30 * 24 * 3600;
/// How long a checked index is believed.
const INDEX_INTERVAL: Duration = Duration::from_hours(24);
/// When a segment was read, in seconds since 1970, by its number.
const SCRUBBED: &str = "store/scrubbed/";
/// A store this small is compressed anew with each better dictionary; a larger one would wear the
/// card out for less and less.
const YOUNG: u64 = 256 << 20;
/// Share of a segment, in percent, that must be won; less is enough for a better dictionary, which
/// comes only a few times in a store's life.
const WORTH: u64 = 20;
const WORTH_LEARNING: u64 = 5;
/// The last segment is ended early when it holds at least this.
const MIN_SEAL: u64 = 256 << 10;
/// Bodies looked at for samples; so many at a time are spread over all there are.
const MAX_SAMPLES: usize = 4096;
const SOME: usize = 512;

/// What the store is doing in the background.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Background {
    /// Nothing.
    #[default]
    Idle,
    /// Learning a dictionary.
    Learning,
    /// Rewriting what is needed of an old segment.
    Compacting,
    /// Reading what has not been read for a month.
    Scrubbing,
}

/// Does the housekeeping; blocks its caller. Several take turns.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    /// What was found out about segments, as long as not much died in them since.
    surveyed: BTreeMap<u32, (u64, u32, Survey)>,
    /// Segments that had to stay when they were compacted, and how many bytes were needed of them.
    /// As long as that is so, another attempt would only write everything else once more.
    stuck: BTreeMap<u32, u64>,
    /// Bodies there were when training was last thought about.
    bodies_seen: Option<BodyId>,
    /// When the index was last checked; opening does it too.
    checked: Instant,
}

/// What compaction has won.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Segments rewritten and removed.
    pub segments: u32,
    /// Bytes of all segments before.
    pub bytes_before: u64,
    /// Bytes of all segments after.
    pub bytes_after: u64,
}

impl Keeper {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            surveyed: BTreeMap::new(),
            stuck: BTreeMap::new(),
            bodies_seen: None,
            checked: Instant::now(),
        }
    }

    /// Does what is due; whether it did anything. Ends early when the store is closed.
    pub fn work(&mut self) -> Result<bool, StoreError> {
        let store = self.store.clone();
        let _alone = store.shared().keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = self.work_inner();
        self.tell(Background::Idle);
        worked
    }

    /// Compacts every segment that is worth it, the one in use too.
    pub fn compact(&mut self) -> Result<Compacted, StoreError> {
        let store = self.store.clone();
        let _alone = store.shared().keeping.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.ask(Command::CheckIndex)?;
        let bytes_before = self.store.stats()?.segment_bytes;
        Way(&self.store).seal()?;
        let result = self.compact_worthy();
        self.tell(Background::Idle);
        let segments = result?;
        Ok(Compacted { segments, bytes_before, bytes_after: self.store.stats()?.segment_bytes })
    }

    fn work_inner(&mut self) -> Result<bool, StoreError> {
        let learned = self.learn()?;
        if learned {
            self.seal_for_compaction()?;
        }
        let compacted = self.compact_worthy()?;
        let scrubbed = self.scrub()?;
        Ok(learned || compacted > 0 || scrubbed)
    }

    /// Learns a dictionary when the store has grown enough since the last one.
    fn learn(&mut self) -> Result<bool, StoreError> {
        const TRAINED: &str = "store/trained";
        let shared = self.shared();
        let newest = BodyId(shared.next_body.load(Ordering::Relaxed));
        // Each body has to be looked at: not for every new one.
        if self.bodies_seen.is_some_and(|seen| newest.0 <= seen.0.saturating_add(seen.0 / 16)) {
            return Ok(false);
        }
        let (stored, count) = shared.index.plain_bytes()?;
        let stage = train::stage(stored);
        self.bodies_seen = Some(newest);
        // The stage, and the number of the dictionary: it must not be given again, even if its
        // files get lost.
        let trained = self.store.setting(TRAINED)?.unwrap_or_default();
        let (last_stage, last) = match trained.split_first_chunk::<1>() {
            Some(([stage], number)) => (*stage, number.try_into().map_or(0, u32::from_le_bytes)),
            None => (0, 0),
        };
        if stage <= last_stage.into() {
            return Ok(false);
        }
        self.tell(Background::Learning);
        let samples = self.samples(count)?;
        let Some(dictionary) = train::train(&samples, stage) else { return Ok(false) };
        let segments = &self.shared().segments;
        let number = shelf::add(segments, last, &dictionary)
            .map_err(|error| segments.failed("write a dictionary", error))?;
        let mut batch = Batch::new();
        let stage = u8::try_from(stage).unwrap_or(u8::MAX);
        batch.put_setting(TRAINED, [&[stage][..], &number.to_le_bytes()].concat());
        Way(&self.store).commit(batch)?;
        tracing::info!(
            number,
            bytes = dictionary.len(),
            "learned a dictionary from this box's mail"
        );
        Ok(true)
    }

    /// The beginnings of messages, spread over all there are.
    fn samples(&self, count: usize) -> Result<Samples, StoreError> {
        let shared = self.shared();
        let mut samples = Samples::new();
        let step = count.div_ceil(SOME).max(1);
        let all = self.store.bodies_after(None, usize::MAX)?;
        let spread = (0..step).flat_map(|first| all.iter().skip(first).step_by(step));
        for id in spread.take(MAX_SAMPLES).copied() {
            let Some((stored, _)) = shared.index.body(id)? else { continue };
            let Some(chunk) = stored.chunks.first() else { continue };
            let file = shared.segments.file(chunk.segment)?;
            // What is damaged has nothing to teach.
            let Ok(bytes) = shared.segments.chunk(&*file, chunk) else { continue };
            if !samples.add(&bytes) {
                break;
            }
            self.check_closed()?;
        }
        Ok(samples)
    }

    /// Ends the segment in use, so that what is in it profits from the new dictionary.
    fn seal_for_compaction(&mut self) -> Result<(), StoreError> {
        let young = self.store.stats()?.segment_bytes <= YOUNG;
        let last = self.segments()?.into_iter().last();
        if young && last.is_some_and(|(_, size)| size >= MIN_SEAL) {
            Way(&self.store).seal()?;
        }
        Ok(())
    }

    /// Compacts segments as long as one is worth it; how many.
    fn compact_worthy(&mut self) -> Result<u32, StoreError> {
        let mut done = self.remove_stuck()?;
        while let Some(segment) = self.worthiest()? {
            self.tell(Background::Compacting);
            self.check_index()?;
            let compacted = compact::compact(&mut Way(&self.store), segment);
            match compacted {
                Ok(true) => done += 1,
                Err(StoreError::Closed | StoreError::Full) => return compacted.map(|_| done),
                // Somebody needs it still, or it is damaged.
                Ok(false) | Err(_) => drop(self.stuck.insert(segment, self.live_in(segment)?)),
            }
            compacted?;
        }
        Ok(done)
    }

    /// What an index that rotted does not know would not be carried, and be lost with its segment.
    fn check_index(&mut self) -> Result<(), StoreError> {
        if self.checked.elapsed() >= INDEX_INTERVAL {
            self.store.ask(Command::CheckIndex)?;
            self.checked = Instant::now();
        }
        Ok(())
    }

    /// Removes segments that somebody still needed when they were compacted; how many.
    fn remove_stuck(&mut self) -> Result<u32, StoreError> {
        let mut done = 0;
        let known: Vec<_> = self.segments()?.into_iter().map(|(number, _)| number).collect();
        self.stuck.retain(|number, _| known.contains(number));
        for number in self.stuck.keys().copied().collect::<Vec<_>>() {
            if self.live_in(number)? == 0 && Way(&self.store).remove(number)? {
                done += 1;
            }
        }
        Ok(done)
    }

    fn live_in(&self, segment: u32) -> Result<u64, StoreError> {
        Ok(self.shared().index.live()?.get(&segment).copied().unwrap_or(0))
    }

    fn worthiest(&mut self) -> Result<Option<u32>, StoreError> {
        let segments = self.segments()?;
        let total: u64 = segments.iter().map(|(_, size)| size).sum();
        let live = self.shared().index.live()?;
        let newest = self.shared().segments.dictionaries.newest().number;
        self.surveyed.retain(|number, _| segments.iter().any(|(known, _)| known == number));
        let mut best = None;
        for (number, size) in segments.split_last().map_or(&[][..], |(_, sealed)| sealed) {
            let live = live.get(number).copied().unwrap_or(0);
            let stays = !self.shared().segments.pins.are_off(*number);
            if stays || self.stuck.get(number) == Some(&live) {
                continue;
            }
            // Reading all of a segment again is not worth it for the little that died since.
            let known = self.surveyed.get(number).filter(|(then, dictionary, _)| {
                *dictionary == newest && then.abs_diff(live) <= size / 32
            });
            let survey = if let Some((_, _, survey)) = known {
                *survey
            } else if total <= YOUNG || (size - live.min(*size)) * 100 >= size * WORTH {
                let survey = match compact::survey(self.shared(), *number, newest) {
                    // The card does not give it back: the others get their turn all the same.
                    Err(StoreError::Disk { .. }) => {
                        self.stuck.insert(*number, live);
                        continue;
                    }
                    survey => survey?,
                };
                self.surveyed.insert(*number, (live, newest, survey));
                self.check_closed()?;
                survey
            } else {
                continue;
            };
            let dead = size.saturating_sub(survey.live + survey.commits);
            let shrink = if total <= YOUNG { survey.shrink } else { 0 };
            let won = dead + shrink;
            let worth = (won * 100 >= size * WORTH || shrink * 100 >= size * WORTH_LEARNING)
                && self.has_room(survey.live + survey.commits)?;
            if worth && best.is_none_or(|(most, _)| won * 100 / size.max(&1) > most) {
                best = Some((won * 100 / size.max(&1), *number));
            }
        }
        Ok(best.map(|(_, number)| number))
    }

    fn has_room(&self, bytes: u64) -> Result<bool, StoreError> {
        let segments = &self.shared().segments;
        let free = segments.disk.free();
        let free = free.map_err(|error| segments.failed("ask for space", error))?;
        Ok(free > bytes.saturating_mul(2))
    }

    /// Reads one segment that nobody has read in full for long; whether there was one.
    fn scrub(&mut self) -> Result<bool, StoreError> {
        let now = self.shared().clock.now().as_second();
        let (mut due, mut batch) = (None, Batch::new());
        let mut known: BTreeMap<String, i64> = BTreeMap::new();
        for (key, value) in self.store.settings(SCRUBBED)? {
            known.insert(key, value.try_into().map_or(i64::MAX, i64::from_le_bytes));
        }
        for (number, _) in self.segments()? {
            let key = format!("{SCRUBBED}{number}");
            match known.remove(&key) {
                Some(read) if now - read >= SCRUB_INTERVAL => {
                    due = due.min(Some(number)).or(Some(number));
                }
                // A clock that was wrong must not put it off for ever.
                Some(read) if read <= now => {}
                _ => {
                    batch.put_setting(&key, now.to_le_bytes().to_vec());
                }
            }
        }
        for gone in known.keys() {
            batch.delete_setting(gone);
        }
        if !batch.is_empty() {
            Way(&self.store).commit(batch)?;
        }
        let Some(number) = due else { return Ok(false) };
        self.tell(Background::Scrubbing);
        self.check_index()?;
        let damage = match verify::scrub(self.shared(), number, &|| self.give_way()) {
            // Counted as a failure of the disk; again in a month, not at once and for ever.
            Err(StoreError::Disk { .. }) => 1,
            damage => damage?,
        };
        if damage > 0 {
            tracing::error!(
                segment = number,
                damage,
                "the card has lost parts of what was written"
            );
        }
        let mut batch = Batch::new();
        batch.put_setting(&format!("{SCRUBBED}{number}"), now.to_le_bytes().to_vec());
        Way(&self.store).commit(batch)?;
        Ok(true)
    }

    /// Numbers and sizes of all segments.
    fn segments(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        let segments = &self.shared().segments;
        let list = || {
            let numbers = segment::numbers(&*segments.disk)?;
            let size = |number| {
                let file = segments.disk.open(&segment::name(number), How::Known)?;
                Ok((number, file.len()?))
            };
            numbers.into_iter().map(size).collect::<std::io::Result<_>>()
        };
        list().map_err(|error| segments.failed("list the segments", error))
    }

    fn give_way(&self) -> Result<(), StoreError> {
        Way(&self.store).rest()
    }

    fn check_closed(&self) -> Result<(), StoreError> {
        if self.shared().closing.load(Ordering::Relaxed) { Err(StoreError::Closed) } else { Ok(()) }
    }

    fn tell(&self, doing: Background) {
        self.shared().tell(doing);
    }

    fn shared(&self) -> &Shared {
        self.store.shared()
    }
}

/// The way to the writer.
struct Way<'a>(&'a Store);

impl Log for Way<'_> {
    fn shared(&self) -> &Shared {
        self.0.shared()
    }

    fn commit(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.0.ask(|reply| Command::Commit { batch, reply }).map(drop)
    }

    fn seal(&mut self) -> Result<u32, StoreError> {
        self.0.ask(Command::Seal)
    }

    fn remove(&mut self, segment: u32) -> Result<bool, StoreError> {
        self.0.ask(|reply| Command::Remove(segment, reply))
    }

    fn rest(&mut self) -> Result<(), StoreError> {
        let begun = Instant::now();
        loop {
            thread::sleep(PAUSE);
            if self.shared().closing.load(Ordering::Relaxed) {
                return Err(StoreError::Closed);
            }
            if begun.elapsed() >= PATIENCE || self.shared().quiet_for() >= QUIET {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test")]
mod tests;
