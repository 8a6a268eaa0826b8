//! Learning a dictionary from the box's own mail: the stretches of text that come again most, the
//! best of them last, where zstd reaches them cheapest. Pure: samples in, bytes out. The samples
//! and what is learnt from them are mail, and as private as mail.
//!
//! zstd's own trainer weighs a dictionary's size against a small part of the samples, and with
//! few samples gives a stub of what was asked for. So only its entropy tables are taken; the
//! content is selected here, by the same method (`FastCover`).

use zstd::dict::DecoderDictionary;

/// Most bytes taken of one message: a long one repeats itself, not others.
const SAMPLE: usize = 16 << 10;
/// Most bytes taken in all; more would hardly change the outcome.
const SAMPLES: usize = 4 << 20;
/// Fewest messages, and bytes, to learn anything from.
const FEWEST: (usize, usize) = (50, 64 << 10);

/// Bytes of plain text stored at which another dictionary is worth its room, and the size of it.
/// The first one stays within the size for which zstd keeps its tables small (128 KiB).
const STAGES: [(u64, usize); 5] = [
    (512 << 10, 112 << 10),
    (4 << 20, 256 << 10),
    (16 << 20, 512 << 10),
    (128 << 20, 512 << 10),
    (1 << 30, 512 << 10),
];

/// How far a store has come; 0 while it is too small to learn from. A new dictionary is due when
/// the stage is higher than at the last training.
pub(super) fn stage(stored: u64) -> usize {
    STAGES.iter().filter(|(from, _)| *from <= stored).count()
}

/// Pieces of mail to learn from, up to a bound.
#[derive(Debug, Default)]
pub(super) struct Samples {
    text: Vec<u8>,
    sizes: Vec<usize>,
}

impl Samples {
    /// None yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Takes the beginning of a message's plain stream; says whether there is room for more.
    pub(super) fn add(&mut self, chunk: &[u8]) -> bool {
        let sample = chunk.get(..SAMPLE).unwrap_or(chunk);
        if !sample.is_empty() && self.text.len() + sample.len() <= SAMPLES {
            self.text.extend_from_slice(sample);
            self.sizes.push(sample.len());
        }
        self.text.len() + SAMPLE <= SAMPLES
    }
}

/// A dictionary for a store at this stage, in zstd's format; nothing when there is too little to
/// learn from. With all the samples there may be it takes two seconds of a PC and 14 MB besides them.
pub(super) fn train(samples: &Samples, stage: usize) -> Option<Vec<u8>> {
    let (_, size) = STAGES.get(stage.checked_sub(1)?)?;
    if samples.sizes.len() < FEWEST.0 || samples.text.len() < FEWEST.1 {
        return None;
    }
    let trained = zstd::dict::from_continuous(&samples.text, &samples.sizes, *size).ok()?;
    let mut dictionary = trained.get(..tables(&trained)?)?.to_vec();
    dictionary.extend(samples.select(size - dictionary.len()));
    DecoderDictionary::try_copy(&dictionary).is_ok().then_some(dictionary)
}

/// Length of what stands before the content of a dictionary in zstd's format: magic number,
/// entropy tables and three offsets, which are 1, 4 and 8 (RFC 8878 section 5). Found by asking
/// zstd, which refuses a dictionary whose content is shorter than these offsets.
fn tables(dictionary: &[u8]) -> Option<usize> {
    const LONGEST_OFFSET: usize = 8;
    let accepted = |len: &usize| {
        dictionary.get(..*len).is_some_and(|start| DecoderDictionary::try_copy(start).is_ok())
    };
    // Shorter than any header, zstd would take it for plain content.
    (16..4096).find(accepted)?.checked_sub(LONGEST_OFFSET)
}

/// Bytes that are looked at together; a shorter match saves next to nothing.
const WORD: usize = 8;
/// Bytes of a stretch that is taken over.
const STRETCH: usize = 512;
/// Rounds in which the room is filled, each through all of the text.
const ROUNDS: usize = 4;
/// Places to count words in; few enough for a small board, and words that share one do no harm.
const PLACES_BITS: u32 = 20;

impl Samples {
    /// The stretches that hold the most frequent words, at most `room` bytes, the best last.
    fn select(&self, room: usize) -> Vec<u8> {
        let mut window = Window { counts: self.count(), seen: vec![0; 1 << PLACES_BITS] };
        // Every part of the text gets its turn, so that what is taken is spread over it.
        let parts = (room / STRETCH / ROUNDS).max(1);
        let part = (self.text.len() / parts).max(10 * STRETCH);
        let mut found = Vec::new();
        let mut filled = 0;
        while filled < room {
            let before = filled;
            for part in self.text.chunks(part) {
                let stretch = window.best(part);
                let stretch = stretch.get(..room - filled).unwrap_or(stretch);
                filled += stretch.len();
                found.push(stretch);
            }
            if filled == before {
                break;
            }
        }
        found.reverse();
        found.concat()
    }

    /// In how many messages the words of each place are; none when in only one, which teaches
    /// nothing about the next.
    fn count(&self) -> Vec<u32> {
        let mut counts = vec![0; 1 << PLACES_BITS];
        let mut last_in = vec![0; 1 << PLACES_BITS];
        let mut rest = &self.text[..];
        for (number, size) in (1_u32..).zip(&self.sizes) {
            let (sample, after) = rest.split_at(*size);
            rest = after;
            for place in sample.windows(WORD).map(place) {
                if last_in[place] != number {
                    last_in[place] = number;
                    counts[place] += 1;
                }
            }
        }
        for count in &mut counts {
            *count = if *count == 1 { 0 } else { *count };
        }
        counts
    }
}

/// Slides over text and adds up how many messages have its words.
struct Window {
    /// Of words that were not taken yet.
    counts: Vec<u32>,
    /// How often the word is in the window.
    seen: Vec<u16>,
}

impl Window {
    /// The stretch that holds most, whose words then count no more; empty when none holds anything.
    fn best<'t>(&mut self, text: &'t [u8]) -> &'t [u8] {
        const WORDS: usize = STRETCH - WORD + 1;
        let (mut score, mut best, mut start) = (0_u64, 0, 0);
        for (at, word) in text.windows(WORD).enumerate() {
            score += self.enter(place(word));
            if let Some(leaving) = at.checked_sub(WORDS) {
                score -= self.leave(place(&text[leaving..leaving + WORD]));
            }
            if score > best {
                best = score;
                start = (at + 1).saturating_sub(WORDS);
            }
        }
        for word in text.windows(WORD).rev().take(WORDS) {
            self.seen[place(word)] = 0;
        }
        if best == 0 {
            return &[];
        }
        let stretch = &text[start..text.len().min(start + STRETCH)];
        for word in stretch.windows(WORD) {
            self.counts[place(word)] = 0;
        }
        stretch
    }

    /// What a word adds that was not in the window.
    fn enter(&mut self, place: usize) -> u64 {
        self.seen[place] += 1;
        if self.seen[place] == 1 { u64::from(self.counts[place]) } else { 0 }
    }

    /// What goes with the last of a word.
    fn leave(&mut self, place: usize) -> u64 {
        self.seen[place] -= 1;
        if self.seen[place] == 0 { u64::from(self.counts[place]) } else { 0 }
    }
}

/// Where a word is counted.
fn place(word: &[u8]) -> usize {
    let word = word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    // Fibonacci hashing: the high bits depend on all of the word.
    (word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - PLACES_BITS)) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test")]
mod tests;
