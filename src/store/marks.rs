//! Damage that is known: every place once, however often it is read, with the time when it was
//! first met. It is kept among the settings, so that a box that was started anew still tells of it,
//! and goes when a look at every byte finds it gone, or when its segment is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::record::Place;
use super::types::Damage;

/// The setting it is kept in.
pub(super) const KEY: &str = "store/damage";
/// Places told apart; a card with more is no better known for them.
const MOST: usize = 500;
/// Stands for a segment whose file is not there.
const MISSING: u64 = u64::MAX;

/// The places that are known to be damaged.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<BTreeMap<Place, Option<Timestamp>>>);

impl Marks {
    /// Notes a damaged place; whether it was not known.
    pub(super) fn note(&self, place: Place) -> bool {
        let mut marks = self.lock();
        let new = marks.len() < MOST && !marks.contains_key(&place);
        if new {
            marks.insert(place, None);
        }
        new
    }

    /// Notes that a segment's file is not there.
    pub(super) fn note_missing(&self, segment: u32) -> bool {
        self.note(Place { segment, offset: MISSING })
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.lock().len() as u64
    }

    /// When the first of them was met.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.lock().values().copied().flatten().min()
    }

    /// Believes a look at every byte: what it did not find damaged is not.
    pub(super) fn settle(&self, found: &[Damage]) {
        let within = |place: &Place| {
            place.offset == MISSING
                || found.iter().any(|damage| {
                    let end = damage.offset + damage.len;
                    damage.segment == place.segment && (damage.offset..end).contains(&place.offset)
                })
        };
        self.lock().retain(|place, _| within(place));
        for damage in found {
            self.note(Place { segment: damage.segment, offset: damage.offset });
        }
    }

    /// Forgets what was in segments that are gone, gives the rest its time, and tells what to keep:
    /// a line for each place.
    pub(super) fn keep(&self, segments: &BTreeSet<u32>, now: Timestamp) -> String {
        let mut marks = self.lock();
        marks.retain(|place, _| segments.contains(&place.segment) != (place.offset == MISSING));
        let mut text = String::new();
        for (Place { segment, offset }, since) in marks.iter_mut() {
            let since = since.get_or_insert(now).as_second();
            // Writing to a string never fails.
            let _ = writeln!(text, "{segment} {offset} {since}");
        }
        text
    }

    /// Takes up what was kept. A line that says nothing is left out.
    pub(super) fn load(&self, kept: &[u8]) {
        let mut marks = self.lock();
        for line in String::from_utf8_lossy(kept).lines().take(MOST) {
            let mut words = line.split(' ');
            let place = words.next().and_then(|word| word.parse().ok());
            let place = place.zip(words.next().and_then(|word| word.parse().ok()));
            let since = words.next().and_then(|word| word.parse().ok());
            let since = since.and_then(|second| Timestamp::from_second(second).ok());
            if let Some((segment, offset)) = place {
                marks.insert(Place { segment, offset }, since);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Option<Timestamp>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u32, offset: u64) -> Place {
        Place { segment, offset }
    }

    #[test]
    fn a_place_counts_once_and_is_kept_with_its_first_time() {
        let (marks, later) = (Marks::default(), Marks::default());
        let segments = BTreeSet::from([1, 2]);
        assert!(marks.note(place(1, 64)) && !marks.note(place(1, 64)));
        let kept = marks.keep(&segments, Timestamp::constant(1_000, 0));
        later.load(kept.as_bytes());
        assert!(!later.note(place(1, 64)) && later.note(place(2, 5)));
        later.keep(&segments, Timestamp::constant(2_000, 0));
        assert_eq!((later.count(), later.since()), (2, Some(Timestamp::constant(1_000, 0))));
    }

    #[test]
    fn what_a_later_look_does_not_find_is_forgotten() {
        let marks = Marks::default();
        for offset in [64, 100, 500] {
            marks.note(place(1, offset));
        }
        marks.note(place(2, 64));
        marks.settle(&[Damage { segment: 1, offset: 60, len: 50 }]);
        let kept = marks.keep(&BTreeSet::from([1, 2]), Timestamp::constant(7, 0));
        assert_eq!(kept, "1 60 7\n1 64 7\n1 100 7\n");
    }

    #[test]
    fn damage_goes_with_its_segment_and_a_lost_segment_stays_known() {
        let marks = Marks::default();
        marks.note(place(1, 64));
        marks.note_missing(2);
        marks.note_missing(3);
        marks.keep(&BTreeSet::from([3]), Timestamp::constant(7, 0));
        assert_eq!(marks.count(), 1);
        assert!(!marks.note_missing(2));
    }

    #[test]
    fn there_are_never_too_many() {
        let marks = Marks::default();
        assert_eq!((0..10_000).filter(|n| marks.note(place(1, *n))).count(), MOST);
        marks.load("7 7 7\n".repeat(10_000).as_bytes());
        marks.load(b"nonsense\n1\n\xff 2 3\n1 2\n-1 5 5\n");
        assert!(marks.count() <= MOST as u64 + 2);
    }
}
