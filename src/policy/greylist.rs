//! Greylisting (RFC 6647) of the few: a message that is both from somebody unknown and suspicious
//! is asked to come back in some minutes, which a mail server does and a hijacked machine mostly
//! does not. Who decides that it is suspicious says why, and the owner can read it. Whoever came
//! back is let through for weeks, a network that came back again and again is one of mail servers,
//! and everybody else never notices.
//!
//! The table lives in memory, is bounded, and is kept in [`Notes`] now and then: what a power cut
//! takes costs a sender one more attempt.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use redb::ReadableTable as _;
use serde::{Deserialize, Serialize};

use super::notes::{DELAYED, GREY, Notes, NotesError, file};
use crate::mail::{Address, Domain};

/// A sender that comes back earlier did not wait; the first retry of common servers comes after
/// five minutes or later.
pub const DELAY: SignedDuration = SignedDuration::from_mins(4);
/// A sender that comes back later is one that has not been here before.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// Who came back is let through for so long after the last message.
pub const REMEMBERED: SignedDuration = SignedDuration::from_hours(35 * 24);
/// A network whose messages came back so many times is not asked again: forwarders are of that kind.
const RETURNS: u8 = 5;
/// Most rows of the table; the oldest that were never passed are forgotten first.
const MOST: usize = 20_000;
/// Delays kept for the owner to look at.
const SHOWN: usize = 200;
/// Longest reason kept, in bytes.
const REASON: usize = 200;

/// Whom a message is from and for, as far as greylisting tells messages apart: retries come from
/// another machine of the same network, and with another bounce address of the same domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triplet {
    /// Who hands the message in; its /24 or /64 counts.
    pub peer: IpAddr,
    /// The domain of the envelope sender; nothing for bounces.
    pub from: Option<Domain>,
    /// For whom.
    pub to: Address,
}

/// What becomes of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grey {
    /// It has waited, or its sender is known for that.
    Pass,
    /// It has to come back; the sender is told [`Grey::REPLY`].
    Wait {
        /// At the earliest so much later.
        left: SignedDuration,
    },
}

impl Grey {
    /// What is said with 451 4.7.1. The sender's server reads the code; the words are for whoever
    /// looks into its log.
    pub const REPLY: &'static str = "We have not had mail from you before. Please try again in 5 minutes; it will then be taken";
}

/// A message that was asked to come back, as shown to the owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// When it first came.
    pub first: Timestamp,
    /// From when on it is taken.
    pub retry: Timestamp,
    /// When it came back and was taken; nothing while it has not.
    pub passed: Option<Timestamp>,
    /// Who handed it in.
    pub peer: IpAddr,
    /// The domain it is from; `<>` for a notice of another mail server.
    pub from: String,
    /// For whom.
    pub to: String,
    /// Why it was suspicious, in words that stand alone.
    pub reason: String,
}

/// The table; one for the box.
#[derive(Debug)]
pub struct Greylist {
    notes: Arc<Notes>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    rows: HashMap<u64, Row>,
    shown: VecDeque<(u64, Waiting)>,
    /// The notes do not show these yet.
    unshown: bool,
    /// Rows changed since they were kept, and rows kept that are gone: both are bounded.
    unkept: HashSet<u64>,
}

/// What is known of a triplet, or of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    first: Timestamp,
    last: Timestamp,
    /// How often it came back; of a triplet only whether it did.
    passed: u8,
    /// There is such a row in the notes, if an older one.
    kept: bool,
    /// Whose it is; nothing of a network's own row, and of one from before the start.
    network: Option<u64>,
}

impl Greylist {
    /// With what was kept before.
    pub fn open(notes: Arc<Notes>) -> Self {
        let kept = notes.read(|txn| {
            let table = txn.open_table(GREY).map_err(file)?;
            let mut rows = HashMap::new();
            for row in table.iter().map_err(file)?.take(MOST) {
                let (key, row) = row.map_err(file)?;
                if let Some(row) = Row::decode(row.value()) {
                    rows.insert(key.value(), row);
                }
            }
            Ok(rows)
        });
        let rows = kept.unwrap_or_else(|error| {
            tracing::warn!(%error, "who came back before is not known");
            HashMap::new()
        });
        // An older file has no such table, and nobody misses what it would hold.
        let shown = notes.read(|txn| {
            let table = txn.open_table(DELAYED).map_err(file)?;
            let shown = table.get(0).map_err(file)?;
            Ok(shown.and_then(|json| serde_json::from_slice(json.value()).ok()))
        });
        let shown = shown.ok().flatten().unwrap_or_default();
        Self { notes, table: Mutex::new(Table { rows, shown, ..Table::default() }) }
    }

    /// Whether a suspicious message of somebody unknown is let through now. `reason` says what is
    /// suspicious. A clock that jumps costs nobody more than one delay.
    pub fn ask(&self, triplet: &Triplet, reason: &str, now: Timestamp) -> Grey {
        let (key, network) = (self.key(triplet), self.network_key(triplet));
        let mut table = self.lock();
        if table.is_of_mail_servers(network, now) {
            return Grey::Pass;
        }
        let row = table.rows.get(&key).copied().filter(|row| row.counts(now));
        let Some(mut row) = row else {
            table.put(key, Row { network: Some(network), ..Row::new(now) });
            table.show(key, triplet, reason, now);
            return Grey::Wait { left: DELAY };
        };
        let left = DELAY - now.duration_since(row.first);
        if row.passed == 0 && left.is_positive() {
            return Grey::Wait { left };
        }
        if row.passed == 0 {
            table.came_back(network, now);
        }
        if row.passed == 0 || row.is_stale(now) {
            (row.last, row.passed) = (now, 1);
            table.put(key, row);
        }
        table.has_come(key, now);
        Grey::Pass
    }

    /// Who was asked to come back, may still do so and has not yet; the latest first, at most
    /// 200.
    pub fn waiting(&self, now: Timestamp) -> Vec<Waiting> {
        let mut waiting = self.delayed();
        waiting.retain(|one| one.passed.is_none() && now.duration_since(one.first) < WINDOW);
        waiting
    }

    /// The last delays, over or not, the latest first, at most 200: why a message came late.
    pub fn delayed(&self) -> Vec<Waiting> {
        self.lock().shown.iter().rev().map(|(_, waiting)| waiting.clone()).collect()
    }

    /// Forgets what is over and keeps the rest; writes nothing when nothing changed. Blocks the
    /// caller.
    pub fn keep(&self, now: Timestamp) -> Result<(), NotesError> {
        let (unkept, shown) = {
            let mut table = self.lock();
            let unshown = std::mem::take(&mut table.unshown);
            let shown = unshown.then(|| serde_json::to_vec(&table.shown).unwrap_or_default());
            let over: Vec<u64> = table
                .rows
                .iter()
                .filter(|(_, row)| !row.counts(now))
                .map(|(key, _)| *key)
                .collect();
            for key in over {
                table.forget(key);
            }
            let unkept = std::mem::take(&mut table.unkept);
            let now_kept = unkept.into_iter().map(|key| {
                let row = table.rows.get_mut(&key);
                (
                    key,
                    row.map(|row| {
                        row.kept = true;
                        *row
                    }),
                )
            });
            (now_kept.collect::<Vec<_>>(), shown)
        };
        if unkept.is_empty() && shown.is_none() {
            return Ok(());
        }
        self.notes.write(|txn| {
            let mut table = txn.open_table(GREY).map_err(file)?;
            for (key, row) in &unkept {
                match row {
                    Some(row) => table.insert(key, row.encode().as_slice()).map_err(file)?,
                    None => table.remove(key).map_err(file)?,
                };
            }
            if let Some(shown) = &shown {
                let mut delayed = txn.open_table(DELAYED).map_err(file)?;
                delayed.insert(0, shown.as_slice()).map_err(file)?;
            }
            Ok(())
        })
    }

    fn key(&self, triplet: &Triplet) -> u64 {
        let from = triplet.from.as_ref().map_or("", Domain::as_str);
        let text = format!("{} {from} {}", network(triplet.peer), triplet.to.key());
        self.notes.hash("grey", &text)
    }

    fn network_key(&self, triplet: &Triplet) -> u64 {
        self.notes.hash("grey network", &network(triplet.peer))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn put(&mut self, key: u64, row: Row) {
        let before = self.rows.get(&key);
        let kept = before.is_some_and(|row| row.kept) || self.unkept.contains(&key);
        if before.is_none() && self.rows.len() >= MOST {
            self.make_room();
        }
        self.rows.insert(key, Row { kept, ..row });
        self.unkept.insert(key);
    }

    /// Whether this network has shown that it comes back. It is remembered as long as it sends.
    fn is_of_mail_servers(&mut self, network: u64, now: Timestamp) -> bool {
        let row = self.rows.get(&network).copied();
        let Some(mut row) = row.filter(|row| row.counts(now) && row.passed >= RETURNS) else {
            return false;
        };
        if row.is_stale(now) {
            row.last = now;
            self.put(network, row);
        }
        true
    }

    /// A message of this network came back.
    fn came_back(&mut self, network: u64, now: Timestamp) {
        let known = self.rows.get(&network).copied().filter(|row| row.counts(now));
        let mut row = known.unwrap_or_else(|| Row::new(now));
        (row.last, row.passed) = (now, row.passed.saturating_add(1));
        self.put(network, row);
    }

    /// Who was made to wait for this is not waited for any more.
    fn has_come(&mut self, key: u64, now: Timestamp) {
        let waiting = self.shown.iter_mut().filter(|(shown, _)| *shown == key);
        for (_, waiting) in waiting.filter(|(_, waiting)| waiting.passed.is_none()) {
            waiting.passed = Some(now);
            self.unshown = true;
        }
    }

    /// Takes out a tenth: first who never came back, and of those the ones of the network that has
    /// most of them, or it could make everybody else wait for ever; then whoever was not here for
    /// longest.
    fn make_room(&mut self) {
        let mut waiting: HashMap<u64, usize> = HashMap::new();
        for network in self.rows.values().filter_map(Row::waits_for) {
            *waiting.entry(network).or_default() += 1;
        }
        let crowd = |row: &Row| row.waits_for().and_then(|network| waiting.get(&network)).copied();
        let place = |(key, row): (&u64, &Row)| {
            (row.passed > 0, Reverse(crowd(row).unwrap_or_default()), row.last, *key)
        };
        let mut all: Vec<_> = self.rows.iter().map(place).collect();
        all.sort_unstable();
        for (.., key) in all.into_iter().take(MOST / 10) {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: u64) {
        match self.rows.remove(&key) {
            Some(Row { kept: true, .. }) => self.unkept.insert(key),
            _ => self.unkept.remove(&key),
        };
    }

    fn show(&mut self, key: u64, triplet: &Triplet, reason: &str, now: Timestamp) {
        if self.shown.len() >= SHOWN {
            self.shown.pop_front();
        }
        let end = reason.floor_char_boundary(REASON);
        let from = triplet.from.as_ref().map_or("<>".to_owned(), Domain::to_string);
        let waiting = Waiting {
            first: now,
            retry: now.saturating_add(DELAY).unwrap_or(now),
            passed: None,
            peer: triplet.peer.to_canonical(),
            from,
            to: triplet.to.to_string(),
            reason: reason.get(..end).unwrap_or_default().to_owned(),
        };
        self.shown.push_back((key, waiting));
        self.unshown = true;
    }
}

impl Row {
    fn new(now: Timestamp) -> Self {
        Self { first: now, last: now, passed: 0, kept: false, network: None }
    }

    /// The network that has to come back, and has not.
    fn waits_for(&self) -> Option<u64> {
        self.network.filter(|_| self.passed == 0)
    }

    /// A day old: worth to be dated anew.
    fn is_stale(&self, now: Timestamp) -> bool {
        now.duration_since(self.last) >= SignedDuration::from_hours(24)
    }

    /// Whether it still says something. A moment that lies ahead was written by a clock that was
    /// wrong then, or is wrong now.
    fn counts(&self, now: Timestamp) -> bool {
        let age = now.duration_since(if self.passed > 0 { self.last } else { self.first });
        let most = if self.passed > 0 { REMEMBERED } else { WINDOW };
        if age.is_negative() { self.passed > 0 && -age < REMEMBERED } else { age < most }
    }

    fn encode(&self) -> [u8; 17] {
        let mut bytes = [0; 17];
        let (first, rest) = bytes.split_at_mut(8);
        let (last, passed) = rest.split_at_mut(8);
        first.copy_from_slice(&self.first.as_second().to_le_bytes());
        last.copy_from_slice(&self.last.as_second().to_le_bytes());
        passed.fill(self.passed);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first_chunk::<8>()?;
        let (last, rest) = rest.split_first_chunk::<8>()?;
        let moment = |bytes: &[u8; 8]| Timestamp::from_second(i64::from_le_bytes(*bytes)).ok();
        let [passed] = *rest else { return None };
        Some(Self { first: moment(first)?, last: moment(last)?, passed, kept: true, network: None })
    }
}

/// What counts of an address.
fn network(peer: IpAddr) -> String {
    match peer.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests;
