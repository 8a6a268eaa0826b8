//! The classifier of one account: two logistic regressions, each over half of the hashed tokens,
//! that are asked together. Each is trained one message at a time and only as far as it was wrong
//! or unsure; two that learned from other tokens rarely make the same mistake. The model has the
//! same size however much it has learned, a verdict costs the same too, and new lessons wear old
//! ones away.

use super::tokens::{Tokens, weight};

/// Weights in a chunk: what is written when one of them changed fits a page of the file.
const CHUNK: usize = 2016;
/// Chunks of a half, and of both.
const HALF: usize = 65;
pub(super) const CHUNKS: usize = 2 * HALF;
/// Weights; tokens share them by their hashes.
pub(super) const CELLS: usize = CHUNK * CHUNKS;
/// Bytes of a model, in memory and in the file.
pub const BYTES: usize = CELLS * 2 + 8;

/// A weight of 1, as it is kept.
const ONE: f32 = 1024.0;
/// How far a message wrong by 1 moves the weights: wanted mail that was taken for junk moves them
/// further, for it must not happen again.
const RATES: PerClass = PerClass { ham: 16.0, spam: 8.0 };
/// A message that is wrong by less is known well enough.
const SURE: PerClass = PerClass { ham: 0.1, spam: 0.2 };

/// What a message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wanted.
    Ham,
    /// Junk.
    Spam,
}

/// The weights of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    cells: Vec<i16>,
    /// Chunks that changed since they were written.
    dirty: Vec<bool>,
    pub(super) lessons: Lessons,
    /// The lessons changed since they were written.
    counted: bool,
}

/// Odds beyond any that a message has.
const CERTAIN: f32 = 1000.0;

/// What an account has taught.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lessons {
    /// Messages learned as junk.
    pub spam: u32,
    /// Messages learned as wanted.
    pub ham: u32,
}

impl Lessons {
    /// What the classifier's odds are worth in points of the score. The fewer lessons of both
    /// kinds there were, the surer it has to be, and the less it may add: junk that comes through
    /// is a nuisance, a letter filed as junk may never be read.
    pub fn points(self, odds: f32) -> i32 {
        let lessons = f32::from(u16::try_from(self.spam.min(self.ham)).unwrap_or(u16::MAX));
        let heard = (lessons / HEARD).min(1.0);
        let worth = (WORTH.0 + WORTH.1 * lessons.sqrt()).min(WORTH.2);
        let grown = ((lessons - GROWN.0) / (GROWN.1 - GROWN.0)).clamp(0.0, 1.0);
        let doubt = DOUBT.0 + (DOUBT.1 - DOUBT.0) * grown;
        let most = (MOST.0 + MOST.1 * lessons).min(MOST.2);
        let beyond = if odds > 0.0 { (odds - doubt).max(0.0) } else { odds };
        #[allow(clippy::cast_possible_truncation, reason = "between the bounds")]
        let points = ((beyond * worth).clamp(LEAST, most) * heard).round() as i32;
        points
    }

    /// Whether they are enough for the classifier to be heard at all: it has to know both kinds.
    pub fn are_heard(self) -> bool {
        self.points(CERTAIN) > 0
    }

    fn of(&mut self, class: Class) -> &mut u32 {
        match class {
            Class::Ham => &mut self.ham,
            Class::Spam => &mut self.spam,
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self {
            cells: vec![0; CELLS],
            dirty: vec![false; CHUNKS],
            lessons: Lessons::default(),
            counted: false,
        }
    }
}

impl Model {
    /// How likely it is junk: the logarithm of the odds, 0 when nothing is known.
    pub(super) fn odds(&self, tokens: &Tokens) -> f32 {
        let [one, other] = self.halves(tokens);
        f32::midpoint(one.odds(), other.odds())
    }

    /// Takes a lesson.
    pub(super) fn learn(&mut self, tokens: &Tokens, class: Class) {
        let target = match class {
            Class::Ham => 0.0,
            Class::Spam => 1.0,
        };
        let steps = self.halves(tokens).map(|half| {
            let wrong = target - likelihood(half.odds());
            let known = wrong.abs() < SURE.of(class);
            if known { 0.0 } else { RATES.of(class) * wrong / half.scale() * ONE }
        });
        for token in tokens.iter() {
            let (half, cell, sign) = place(token);
            let step = steps.get(half).copied().unwrap_or_default();
            if step == 0.0 {
                continue;
            }
            if let Some(kept) = self.cells.get_mut(cell) {
                #[allow(clippy::cast_possible_truncation, reason = "the cast saturates")]
                let new = (f32::from(*kept) + step * sign).round() as i16;
                *kept = new;
            }
            if let Some(dirty) = self.dirty.get_mut(cell / CHUNK) {
                *dirty = true;
            }
        }
    }

    /// What the two halves say.
    fn halves(&self, tokens: &Tokens) -> [Half; 2] {
        let mut halves = [Half::default(); 2];
        for token in tokens.iter() {
            let (half, cell, sign) = place(token);
            let weight = self.cells.get(cell).copied().unwrap_or_default();
            if let Some(half) = halves.get_mut(half) {
                half.sum += f32::from(weight) * sign;
                half.squares += sign * sign;
            }
        }
        halves
    }

    /// Counts a lesson. What was taught of the same message before counts no more.
    pub(super) fn count(&mut self, class: Class, before: Option<Class>) {
        if let Some(before) = before {
            let count = self.lessons.of(before);
            *count = count.saturating_sub(1);
        }
        let count = self.lessons.of(class);
        *count = count.saturating_add(1);
        self.counted = true;
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.counted || self.dirty.contains(&true)
    }

    /// The chunks that changed since they were written, with their numbers.
    pub(super) fn changed(&self) -> Vec<(u16, Vec<u8>)> {
        let chunks = (0..).zip(self.cells.chunks(CHUNK)).zip(&self.dirty);
        let changed = chunks.filter(|(_, dirty)| **dirty).map(|((number, chunk), _)| {
            (number, chunk.iter().flat_map(|cell| cell.to_le_bytes()).collect())
        });
        changed.collect()
    }

    /// All of it is in the file. Not before: a model with changes is one that memory may not
    /// forget, or the older one of the file would take its place.
    pub(super) fn is_written(&mut self) {
        self.counted = false;
        self.dirty.fill(false);
    }

    /// Takes back a chunk as it was written; tells whether it is one.
    pub(super) fn put(&mut self, number: u16, bytes: &[u8]) -> bool {
        let Some(chunk) = self.cells.chunks_mut(CHUNK).nth(usize::from(number)) else {
            return false;
        };
        let (pairs, rest) = bytes.as_chunks::<2>();
        if pairs.len() != chunk.len() || !rest.is_empty() {
            return false;
        }
        for (cell, pair) in chunk.iter_mut().zip(pairs) {
            *cell = i16::from_le_bytes(*pair);
        }
        true
    }
}

/// From the logarithm of the odds to a share of 1.
pub(super) fn likelihood(odds: f32) -> f32 {
    1.0 / (1.0 + (-odds).exp())
}

/// What half of a message's tokens come to.
#[derive(Debug, Clone, Copy, Default)]
struct Half {
    sum: f32,
    squares: f32,
}

impl Half {
    fn odds(self) -> f32 {
        self.sum / ONE / self.scale()
    }

    /// Long messages count as much as short ones.
    fn scale(self) -> f32 {
        self.squares.max(1.0).sqrt()
    }
}

/// A token's half, its place among the weights, and how it counts: with a sign, so that tokens that
/// share a weight by chance do not add up.
fn place(token: u64) -> (usize, usize, f32) {
    let half = usize::from(token >> 40 & 1 == 1);
    let cells = CELLS as u64 / 2;
    let cell = usize::try_from((token & u64::from(u32::MAX)) % cells).unwrap_or_default();
    let sign = if token >> 63 == 0 { weight(token) } else { -weight(token) };
    (half, cell + half * CELLS / 2, sign)
}

/// A value for each class.
#[derive(Debug, Clone, Copy)]
struct PerClass {
    ham: f32,
    spam: f32,
}

impl PerClass {
    const fn of(self, class: Class) -> f32 {
        match class {
            Class::Ham => self.ham,
            Class::Spam => self.spam,
        }
    }
}

// How the odds become points, by the number of lessons of the kind there were fewer of. Measured
// by cutting the corpus of `tests/bench/junk.rs` in two at random: these keep wanted mail filed as
// junk at about 0.1 % from the first lesson on.

/// Lessons after which the classifier is heard wholly.
const HEARD: f32 = 5.0;
/// Points for each unit of the odds: at first, for the root of the lessons, at most.
const WORTH: (f32, f32, f32) = (4.0, 2.0, 48.0);
/// Odds that say nothing yet, with few lessons and with many; and what is few and many.
const DOUBT: (f32, f32) = (1.0, 0.4);
const GROWN: (f32, f32) = (250.0, 1000.0);
/// Most points: at first, for each lesson, at most.
const MOST: (f32, f32, f32) = (15.0, 1.0 / 3.0, 90.0);
/// Most points against.
const LEAST: f32 = -40.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(spam: u32, ham: u32) -> impl Fn(f32) -> i32 {
        move |odds| Lessons { spam, ham }.points(odds)
    }

    #[test]
    fn whoever_has_learned_little_files_nothing_alone() {
        let sure = 1000.0;
        assert_eq!((after(0, 0)(sure), after(50, 0)(sure), after(0, 5000)(-sure)), (0, 0, 0));
        let grows = [1, 5, 20, 50, 100, 200, 1000].map(|lessons| after(lessons, 9999)(sure));
        assert!(grows.is_sorted() && grows[3] < 35 && grows[6] == 90, "{grows:?}");
    }

    #[test]
    fn points_are_bounded_and_grow_with_the_odds() {
        for lessons in [0, 1, 7, 300, 5000, u32::MAX] {
            let points: Vec<i32> = (-400..400_i16)
                .map(|odds| after(lessons, lessons)(f32::from(odds) / 20.0))
                .collect();
            assert!(points.is_sorted());
            assert!(points.iter().all(|points| (-40..=90).contains(points)));
        }
        // Doubt says nothing, and less doubt is left with more lessons.
        assert_eq!((after(100, 100)(0.9), after(2000, 2000)(0.3)), (0, 0));
        assert!(after(2000, 2000)(0.9) > 0);
    }

    #[test]
    fn what_changed_is_new_until_it_is_written() {
        let mut model = Model::default();
        assert!(!model.is_dirty() && model.changed().is_empty());
        model.learn(&(0..200_u64).map(|n| n << 41 | n).collect(), Class::Spam);
        model.count(Class::Spam, None);
        let changed = model.changed();
        assert!(!changed.is_empty());
        assert!(model.is_dirty() && model.changed() == changed, "forgotten before it was written");
        let mut read = Model { lessons: model.lessons, ..Model::default() };
        assert!(changed.iter().all(|(number, chunk)| read.put(*number, chunk)));
        model.is_written();
        assert!(!model.is_dirty() && model == read);
    }

    #[test]
    fn halves_learn_for_themselves_and_wanted_mail_weighs_more() {
        let tokens: Tokens = (0..200_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let mut model = Model::default();
        model.learn(&tokens, Class::Spam);
        let spam = model.odds(&tokens);
        assert!((spam - 4.0).abs() < 0.2, "{spam}");
        assert!(model.halves(&tokens).iter().all(|half| half.odds() > 3.0));
        let known = model.clone();
        model.learn(&tokens, Class::Spam);
        assert_eq!(model, known, "what is known was learned again");
        model.learn(&tokens, Class::Ham);
        assert!(model.odds(&tokens) < -spam);
    }
}
