//! The classifier of one account: a logistic regression over hashed tokens, trained one message
//! at a time and only as far as it was wrong or unsure. It has the same size however much it has
//! learned, a verdict costs the same too, and new lessons wear old ones away.

use super::tokens::{Tokens, weight};

/// Weights in a chunk: what is written when one of them changed fits a page of the file.
const CHUNK: usize = 2016;
/// Chunks, whose weights are [`CELLS`] in all.
pub(super) const CHUNKS: usize = 130;
/// Weights; tokens share them by their hashes.
pub(super) const CELLS: usize = CHUNK * CHUNKS;
/// Bytes of a model, in memory and in the file.
pub const BYTES: usize = CELLS * 2 + 8;

/// A weight of 1, as it is kept.
const ONE: f32 = 1024.0;
/// How far a message wrong by 1 moves the weights.
const RATE: f32 = 8.0;
/// A message that is wrong by less is known well enough.
const SURE: f32 = 0.2;
/// Lessons of each kind from which on the classifier is heard a little, and heard.
const HEARD: (u16, u16) = (5, 30);
/// What it is worth then, and lessons of each kind after which it is worth 1. Measured with
/// `tests/bench/junk.rs`: without this, 1.0 % of the wanted messages were filed as junk after a
/// hundred lessons, with it 0.5 %.
const YOUNG: f32 = 0.6;
const GROWN: u16 = 1000;

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

/// What an account has taught.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lessons {
    /// Messages learned as junk.
    pub spam: u32,
    /// Messages learned as wanted.
    pub ham: u32,
}

impl Lessons {
    /// How much the classifier is worth hearing, from 0 to 1. It has to know both kinds; and as
    /// long as it knows little of the mail its person wants, it has to be surer than later.
    pub fn weight(self) -> f32 {
        let both = u16::try_from(self.spam.min(self.ham)).unwrap_or(u16::MAX);
        let (least, most) = HEARD;
        let heard = f32::from(both.clamp(least, most) - least) / f32::from(most - least);
        let grown = f32::from(both.min(GROWN)) / f32::from(GROWN);
        heard * (YOUNG + (1.0 - YOUNG) * grown.sqrt())
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
        let sum: f32 = tokens
            .iter()
            .map(|token| {
                let (cell, sign) = place(token);
                self.cells.get(cell).map_or(0.0, |weight| f32::from(*weight) * sign)
            })
            .sum();
        sum / ONE / scale(tokens)
    }

    /// Takes a lesson.
    pub(super) fn learn(&mut self, tokens: &Tokens, class: Class) {
        let target = match class {
            Class::Ham => 0.0,
            Class::Spam => 1.0,
        };
        let wrong = target - likelihood(self.odds(tokens));
        if wrong.abs() < SURE {
            return;
        }
        let step = RATE * wrong / scale(tokens) * ONE;
        for token in tokens.iter() {
            let (cell, sign) = place(token);
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

    /// The chunks that changed, with their numbers; they count as written then.
    pub(super) fn take_dirty(&mut self) -> Vec<(u16, Vec<u8>)> {
        let mut changed = Vec::new();
        self.counted = false;
        for (number, (chunk, dirty)) in self.cells.chunks(CHUNK).zip(&mut self.dirty).enumerate() {
            if std::mem::take(dirty)
                && let Ok(number) = u16::try_from(number)
            {
                changed.push((number, chunk.iter().flat_map(|cell| cell.to_le_bytes()).collect()));
            }
        }
        changed
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

/// Long messages count as much as short ones.
fn scale(tokens: &Tokens) -> f32 {
    let squares: f32 = tokens.iter().map(|token| weight(token) * weight(token)).sum();
    squares.max(1.0).sqrt()
}

/// A token's place among the weights, and how it counts: with a sign, so that tokens that share a
/// weight by chance do not add up.
fn place(token: u64) -> (usize, f32) {
    let cell = usize::try_from((token & u64::from(u32::MAX)) % CELLS as u64).unwrap_or_default();
    (cell, if token >> 63 == 0 { weight(token) } else { -weight(token) })
}
