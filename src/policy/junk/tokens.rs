//! Tokens: what the classifier sees of a message. A token is the hash of a word, of two words near
//! each other or of a peculiarity of the message, with the place it was seen in; a message has a
//! bounded set of them, and the words themselves are kept nowhere.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Most tokens of one message; what comes later in it does not count. So many fill the set's memory.
pub(super) const MAX_TOKENS: usize = 7168;

/// The distinct tokens of one message.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    all: HashSet<u64, BuildHasherDefault<AsItIs>>,
}

/// Three bits of a token say where it was seen.
const PLACE_SHIFT: u32 = 60;
const PLACES: u64 = 7 << PLACE_SHIFT;
/// How much a token counts by where it was seen, in the order of [`Place`].
const WEIGHTS: [f32; 8] = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.5, 1.0];

/// How much a token counts: of a header's few words each says more than of a text's many.
pub(super) fn weight(token: u64) -> f32 {
    let place = usize::try_from((token & PLACES) >> PLACE_SHIFT).unwrap_or_default();
    WEIGHTS.get(place).copied().unwrap_or_default()
}

/// Where a word was seen: the same word is another token elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Text,
    Subject,
    /// A person's name beside an address.
    Name,
    /// A host, an address or a part of a link.
    Link,
    /// Something of a header field.
    Field,
    /// Something of the make of the message: types, encodings, attachments, HTML.
    Make,
    /// Two words of the text near each other.
    Pair,
    /// A few bytes in a row, of the header or of where the text begins and ends.
    Gram,
}

impl Tokens {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Every token once, in no order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.all.iter().copied()
    }

    pub(super) fn add(&mut self, place: Place, word: Hash) {
        if self.all.len() < MAX_TOKENS {
            let hash = word.and(place as u64).finish();
            self.all.insert(hash & !PLACES | (place as u64) << PLACE_SHIFT);
        }
    }

    /// Every `N` bytes in a row: how something is written, whatever its words.
    pub(super) fn grams<const N: usize>(&mut self, kind: &str, bytes: &[u8]) {
        let kind = Hash::of(kind);
        for gram in bytes.array_windows::<N>() {
            let all = gram.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
            self.add(Place::Gram, kind.and(all));
        }
    }

    /// A token out of a kind and a value of it.
    pub(super) fn note(&mut self, place: Place, kind: &str, value: &str) {
        self.add(place, Hash::of(kind).and_text(value));
    }
}

/// Made from a few numbers, for tests.
impl FromIterator<u64> for Tokens {
    fn from_iter<I: IntoIterator<Item = u64>>(tokens: I) -> Self {
        Self { all: tokens.into_iter().take(MAX_TOKENS).collect() }
    }
}

/// A hash under way: of characters one after the other, or of hashes. It says nothing to whoever
/// has it but is no secret either; what must be one is hashed with a key elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    pub(super) fn of(text: &str) -> Self {
        Self::EMPTY.and_text(text)
    }

    /// With these characters behind it, and a mark of where they end.
    pub(super) fn and_text(self, text: &str) -> Self {
        text.chars().fold(self, |hash, c| hash.and(u64::from(u32::from(c)))).and(u64::MAX)
    }

    pub(super) fn and(self, more: u64) -> Self {
        Self((self.0.rotate_left(5) ^ more).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn and_hash(self, more: Self) -> Self {
        self.and(more.0)
    }

    /// Spreads what was hashed over all bits.
    pub(super) fn finish(self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^ hash >> 32
    }
}

/// A token is a hash already.
#[derive(Debug, Clone, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |all, byte| all.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, token: u64) {
        self.0 = token;
    }
}
