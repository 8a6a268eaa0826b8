//! Greylisting (RFC 6647) of the few: a message that is both from somebody unknown and suspicious
//! is asked to come back in some minutes, which a mail server does and a hijacked machine mostly
//! does not. Who decides that it is suspicious says why, and the owner can read it. Whoever came
//! back is let through for weeks, and everybody else never notices.
//!
//! The table lives in memory, is bounded, and is kept in [`Notes`] now and then: what a power cut
//! takes costs a sender one more attempt.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use redb::ReadableTable as _;
use serde::{Deserialize, Serialize};

use super::notes::{GREY, Notes, NotesError, file};
use crate::mail::{Address, Domain};

/// A sender that comes back earlier did not wait; the first retry of common servers comes after
/// five minutes or later.
pub const DELAY: SignedDuration = SignedDuration::from_mins(4);
/// A sender that comes back later is one that has not been here before.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// Who came back is let through for so long after the last message.
pub const REMEMBERED: SignedDuration = SignedDuration::from_hours(35 * 24);
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
    /// Rows changed since they were kept, and rows kept that are gone: both are bounded.
    unkept: HashSet<u64>,
}

/// What is known of a triplet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    first: Timestamp,
    last: Timestamp,
    passed: bool,
    /// There is such a row in the notes, if an older one.
    kept: bool,
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
        Self { notes, table: Mutex::new(Table { rows, ..Table::default() }) }
    }

    /// Whether a suspicious message of somebody unknown is let through now. `reason` says what is
    /// suspicious. A clock that jumps costs nobody more than one delay.
    pub fn ask(&self, triplet: &Triplet, reason: &str, now: Timestamp) -> Grey {
        let key = self.key(triplet);
        let mut table = self.lock();
        let row = table.rows.get(&key).copied().filter(|row| row.counts(now));
        let Some(mut row) = row else {
            table.put(key, Row { first: now, last: now, passed: false, kept: false });
            table.show(key, triplet, reason, now);
            return Grey::Wait { left: DELAY };
        };
        let left = DELAY - now.duration_since(row.first);
        if !row.passed && left.is_positive() {
            return Grey::Wait { left };
        }
        let known = row.passed && now.duration_since(row.last) < SignedDuration::from_hours(24);
        row.passed = true;
        if !known {
            row.last = now;
            table.put(key, row);
        }
        for (_, waiting) in table.shown.iter_mut().filter(|(shown, _)| *shown == key) {
            waiting.passed.get_or_insert(now);
        }
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
        let unkept = {
            let mut table = self.lock();
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
            now_kept.collect::<Vec<_>>()
        };
        if unkept.is_empty() {
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
            Ok(())
        })
    }

    fn key(&self, triplet: &Triplet) -> u64 {
        let network = match triplet.peer.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                format!("{a}.{b}.{c}")
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}")
            }
        };
        let from = triplet.from.as_ref().map_or("", Domain::as_str);
        self.notes.hash("grey", &format!("{network} {from} {}", triplet.to.key()))
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

    /// Takes out a tenth: first who never came back, then whoever was not here for longest.
    fn make_room(&mut self) {
        let mut all: Vec<(bool, Timestamp, u64)> =
            self.rows.iter().map(|(key, row)| (row.passed, row.last, *key)).collect();
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
    }
}

impl Row {
    /// Whether it still says something. A moment that lies ahead was written by a clock that was
    /// wrong then, or is wrong now.
    fn counts(&self, now: Timestamp) -> bool {
        let age = now.duration_since(if self.passed { self.last } else { self.first });
        let most = if self.passed { REMEMBERED } else { WINDOW };
        if age.is_negative() { self.passed && -age < REMEMBERED } else { age < most }
    }

    fn encode(&self) -> [u8; 17] {
        let mut bytes = [0; 17];
        let (first, rest) = bytes.split_at_mut(8);
        let (last, passed) = rest.split_at_mut(8);
        first.copy_from_slice(&self.first.as_second().to_le_bytes());
        last.copy_from_slice(&self.last.as_second().to_le_bytes());
        passed.fill(u8::from(self.passed));
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first_chunk::<8>()?;
        let (last, rest) = rest.split_first_chunk::<8>()?;
        let moment = |bytes: &[u8; 8]| Timestamp::from_second(i64::from_le_bytes(*bytes)).ok();
        Some(Self { first: moment(first)?, last: moment(last)?, passed: rest == [1], kept: true })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;

    const REASON: &str = "the sender's address has no name";

    fn list() -> (tempfile::TempDir, Greylist) {
        let folder = tempfile::tempdir().unwrap();
        let list = Greylist::open(Arc::new(Notes::open(folder.path())));
        (folder, list)
    }

    fn triplet(peer: &str, from: &str, to: &str) -> Triplet {
        Triplet { peer: peer.parse().unwrap(), from: from.parse().ok(), to: to.parse().unwrap() }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
    }

    #[test]
    fn who_comes_back_is_let_through_and_remembered() {
        let (_folder, list) = list();
        let one = triplet("192.0.2.7", "shop.example", "alice@x.org");
        assert_eq!(list.ask(&one, REASON, at(0)), Grey::Wait { left: DELAY });
        assert!(matches!(list.ask(&one, REASON, at(3)), Grey::Wait { .. }), "did not wait");
        // From another machine of the network, with the recipient in other letters.
        let retry = triplet("192.0.2.99", "shop.example", "ALICE@x.org");
        assert_eq!(list.ask(&retry, REASON, at(5)), Grey::Pass);
        let day = 24 * 60;
        assert_eq!(list.ask(&one, REASON, at(30 * day)), Grey::Pass);
        assert_eq!(list.ask(&one, REASON, at(60 * day)), Grey::Pass);
        assert!(matches!(list.ask(&one, REASON, at(96 * day)), Grey::Wait { .. }));
        let shown = list.delayed();
        assert_eq!(shown.len(), 2);
        let latest = shown.first().unwrap();
        assert_eq!((latest.reason.as_str(), latest.passed), (REASON, None));
        assert_eq!((latest.first, latest.retry), (at(96 * day), at(96 * day + 4)));
        assert_eq!(shown.last().unwrap().passed, Some(at(5)), "why it came late is forgotten");
        assert_eq!(list.waiting(at(96 * day)), vec![latest.clone()], "who is over is waited for");
        assert!(list.waiting(at(97 * day)).is_empty(), "nobody comes back after a day");
    }

    #[test]
    fn others_do_not_profit_from_it() {
        let (_folder, list) = list();
        let one = triplet("2001:db8:1:2::5", "shop.example", "alice@x.org");
        list.ask(&one, REASON, at(0));
        assert_eq!(
            list.ask(&triplet("2001:db8:1:2:f::1", "shop.example", "alice@x.org"), "", at(5)),
            Grey::Pass
        );
        for other in [
            triplet("2001:db8:1:3::5", "shop.example", "alice@x.org"),
            triplet("2001:db8:1:2::5", "other.example", "alice@x.org"),
            triplet("2001:db8:1:2::5", "shop.example", "bob@x.org"),
            triplet("2001:db8:1:2::5", "", "alice@x.org"),
        ] {
            assert_eq!(list.ask(&other, REASON, at(5)), Grey::Wait { left: DELAY }, "{other:?}");
        }
    }

    #[test]
    fn a_day_later_it_begins_anew() {
        let (_folder, list) = list();
        let one = triplet("192.0.2.7", "shop.example", "alice@x.org");
        list.ask(&one, REASON, at(0));
        assert_eq!(list.ask(&one, REASON, at(25 * 60)), Grey::Wait { left: DELAY });
        assert_eq!(list.ask(&one, REASON, at(25 * 60 + 5)), Grey::Pass);
    }

    #[test]
    fn a_clock_that_jumps_costs_one_delay_at_most() {
        let (_folder, list) = list();
        let one = triplet("192.0.2.7", "shop.example", "alice@x.org");
        list.ask(&one, REASON, at(0));
        assert_eq!(list.ask(&one, REASON, at(10)), Grey::Pass);
        // Back by two days: who was let through still is.
        assert_eq!(list.ask(&one, REASON, at(-2 * 24 * 60)), Grey::Pass);
        let two = triplet("192.0.2.7", "late.example", "alice@x.org");
        list.ask(&two, REASON, at(0));
        assert!(matches!(list.ask(&two, REASON, at(-60)), Grey::Wait { left } if left == DELAY));
        assert_eq!(list.ask(&two, REASON, at(-55)), Grey::Pass);
        // Far ahead, and back.
        let years = 5 * 365 * 24 * 60;
        let three = triplet("192.0.2.7", "years.example", "alice@x.org");
        list.ask(&three, REASON, at(years));
        assert_eq!(list.ask(&three, REASON, at(0)), Grey::Wait { left: DELAY });
        assert_eq!(list.ask(&three, REASON, at(5)), Grey::Pass);
    }

    #[test]
    fn a_restart_forgets_nobody() {
        let (folder, list) = list();
        let (one, two) = (
            triplet("192.0.2.7", "shop.example", "alice@x.org"),
            triplet("192.0.2.7", "two.example", "alice@x.org"),
        );
        list.ask(&one, REASON, at(0));
        list.ask(&one, REASON, at(5));
        list.ask(&two, REASON, at(5));
        list.keep(at(5)).unwrap();
        drop(list);
        let list = Greylist::open(Arc::new(Notes::open(folder.path())));
        assert_eq!(list.ask(&one, REASON, at(6)), Grey::Pass);
        assert_eq!(list.ask(&two, REASON, at(10)), Grey::Pass);
        list.keep(at(60 * 24 * 60)).unwrap();
        assert!(list.lock().rows.is_empty(), "what is over is kept");
    }

    #[test]
    fn a_flood_does_not_fill_the_memory_nor_drive_out_who_was_let_through() {
        let (_folder, list) = list();
        let good = triplet("192.0.2.7", "shop.example", "alice@x.org");
        list.ask(&good, REASON, at(0));
        list.ask(&good, REASON, at(5));
        for number in 0..MOST + 5000 {
            let from = format!("d{number}.example");
            list.ask(&triplet("198.51.100.1", &from, "alice@x.org"), REASON, at(6));
        }
        assert!(list.lock().rows.len() <= MOST);
        assert!(list.delayed().len() <= SHOWN);
        assert_eq!(list.ask(&good, REASON, at(7)), Grey::Pass);
    }
}
