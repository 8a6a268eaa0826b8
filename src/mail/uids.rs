//! Sets of UIDs as mailboxes have them: mostly long runs. A mailbox of 200,000 messages takes some
//! kilobytes, and which message has which number (RFC 3501 §2.3.1.2) costs a search among its
//! blocks.

use super::Uid;

/// UIDs in one [`Block`].
pub const BLOCK: u32 = 1024;
const WORDS: usize = 16;
const ALL: u16 = 1024;

/// Some of the 1024 UIDs of one block, by their place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block(Form);

/// A set has one form only, so that equal sets are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// One run; without length, nothing.
    Run { first: u16, len: u16 },
    /// Anything else.
    Map(Box<[u64; WORDS]>),
}

impl Default for Block {
    fn default() -> Self {
        Self(Form::Run { first: 0, len: 0 })
    }
}

impl Block {
    /// One run; what lies beyond the block is left out.
    pub fn run(first: u16, len: u16) -> Self {
        let len = len.min(ALL.saturating_sub(first));
        // Nothing has one form only.
        Self(Form::Run { first: if len == 0 { 0 } else { first }, len })
    }

    /// Out of a bit for each place, the lowest of the first word for the first place.
    pub fn from_words(words: [u64; WORDS]) -> Self {
        let mut runs = Runs { words: &words, at: 0 };
        let (first, last) = (runs.next(), runs.next());
        match (first, last) {
            (None, _) => Self::default(),
            (Some((first, len)), None) => Self::run(first, len),
            _ => Self(Form::Map(Box::new(words))),
        }
    }

    /// A bit for each place.
    pub fn words(&self) -> [u64; WORDS] {
        match &self.0 {
            Form::Map(words) => **words,
            Form::Run { first, len } => {
                let (first, end) = (u32::from(*first), u32::from(*first) + u32::from(*len));
                std::array::from_fn(|index| {
                    let base = u32::try_from(index * 64).unwrap_or(u32::MAX);
                    below(end.saturating_sub(base)) & !below(first.saturating_sub(base))
                })
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        match &self.0 {
            Form::Run { len, .. } => (*len).into(),
            Form::Map(words) => words.iter().map(|word| word.count_ones()).sum(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Form::Run { len: 0, .. })
    }

    /// Whether a place is in it.
    pub fn contains(&self, place: u16) -> bool {
        match &self.0 {
            Form::Run { first, len } => (*first..first + len).contains(&place),
            Form::Map(words) => {
                let word = words.get(usize::from(place / 64)).copied().unwrap_or(0);
                word >> (place % 64) & 1 == 1
            }
        }
    }

    /// Puts a place in or takes it out; whether that changed anything. Places from 1024 on are none.
    pub fn set(&mut self, place: u16, present: bool) -> bool {
        if place >= ALL || self.contains(place) == present {
            return false;
        }
        if let Form::Run { first, len } = &mut self.0
            && present
            && place == *first + *len
            && *len > 0
        {
            // What comes new into a mailbox comes at the end.
            *len += 1;
            return true;
        }
        let mut words = self.words();
        if let Some(word) = words.get_mut(usize::from(place / 64)) {
            *word ^= 1 << (place % 64);
        }
        *self = Self::from_words(words);
        true
    }

    /// How many are below a place.
    pub fn rank(&self, place: u16) -> u32 {
        match &self.0 {
            Form::Run { first, len } => place.saturating_sub(*first).min(*len).into(),
            Form::Map(words) => {
                let whole = usize::from(place / 64);
                let part = words.get(whole).map_or(0, |word| word & below((place % 64).into()));
                let before = words.iter().take(whole).map(|word| word.count_ones());
                before.sum::<u32>() + part.count_ones()
            }
        }
    }

    /// The place that has so many below it.
    pub fn select(&self, mut rank: u32) -> Option<u16> {
        match &self.0 {
            Form::Run { first, len } => {
                let rank = u16::try_from(rank).ok().filter(|rank| rank < len)?;
                Some(first + rank)
            }
            Form::Map(words) => {
                for (base, word) in (0_u16..).step_by(64).zip(words.iter()) {
                    if rank >= word.count_ones() {
                        rank -= word.count_ones();
                        continue;
                    }
                    let mut word = *word;
                    for _ in 0..rank {
                        word &= word - 1;
                    }
                    return u16::try_from(word.trailing_zeros()).ok().map(|bit| base + bit);
                }
                None
            }
        }
    }

    /// Its runs: first place and length, ascending.
    pub fn runs(&self) -> Vec<(u16, u16)> {
        match &self.0 {
            Form::Run { len: 0, .. } => Vec::new(),
            Form::Run { first, len } => vec![(*first, *len)],
            Form::Map(words) => Runs { words, at: 0 }.collect(),
        }
    }
}

/// The lowest bits, so many of them.
fn below(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

/// Runs of set bits.
struct Runs<'a> {
    words: &'a [u64; WORDS],
    at: u16,
}

impl Runs<'_> {
    /// The first place from `self.at` on whose bit is this.
    fn seek(&self, bit: bool) -> u16 {
        let mut at = self.at;
        while let Some(word) = self.words.get(usize::from(at / 64)) {
            let rest = (if bit { *word } else { !*word }) >> (at % 64);
            if rest != 0 {
                return at + u16::try_from(rest.trailing_zeros()).unwrap_or(0);
            }
            at = at / 64 * 64 + 64;
        }
        ALL
    }
}

impl Iterator for Runs<'_> {
    type Item = (u16, u16);

    fn next(&mut self) -> Option<(u16, u16)> {
        self.at = self.seek(true);
        if self.at >= ALL {
            return None;
        }
        let first = self.at;
        self.at = self.seek(false);
        Some((first, self.at - first))
    }
}

/// UIDs in ascending order, each with its number: the first one has 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UidSet {
    slots: Vec<Slot>,
    len: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    /// UIDs from here times [`BLOCK`] on.
    number: u32,
    /// How many are in the slots before.
    before: u32,
    block: Block,
}

impl UidSet {
    /// Adds a block behind all others. One that does not come behind them is left out.
    pub fn push(&mut self, number: u32, block: Block) {
        let in_order = self.slots.last().is_none_or(|last| last.number < number);
        if in_order && !block.is_empty() {
            let before = self.len;
            self.len += block.len();
            self.slots.push(Slot { number, before, block });
        }
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lowest.
    pub fn first(&self) -> Option<Uid> {
        self.uid(1)
    }

    /// The highest.
    pub fn last(&self) -> Option<Uid> {
        self.uid(self.len)
    }

    /// Whether it is in it.
    pub fn contains(&self, uid: Uid) -> bool {
        let (number, place) = split(uid.get());
        let slot = self.slots.binary_search_by_key(&number, |slot| slot.number).ok();
        slot.and_then(|at| self.slots.get(at)).is_some_and(|slot| slot.block.contains(place))
    }

    /// A UID's number.
    pub fn number(&self, uid: Uid) -> Option<u32> {
        self.contains(uid).then(|| self.below(uid.get()) + 1)
    }

    /// The UID with a number.
    pub fn uid(&self, number: u32) -> Option<Uid> {
        let rank = number.checked_sub(1)?;
        let at = self.slots.partition_point(|slot| slot.before <= rank).checked_sub(1)?;
        let slot = self.slots.get(at)?;
        let place = slot.block.select(rank - slot.before)?;
        slot.uid(place)
    }

    /// How many are lower than a UID, whether that one is in it or not.
    pub fn below(&self, uid: u32) -> u32 {
        let (number, place) = split(uid);
        let at = self.slots.partition_point(|slot| slot.number < number);
        match self.slots.get(at) {
            Some(slot) if slot.number == number => slot.before + slot.block.rank(place),
            Some(slot) => slot.before,
            None => self.len,
        }
    }

    /// Puts one in; whether it was not.
    pub fn insert(&mut self, uid: Uid) -> bool {
        let (number, place) = split(uid.get());
        let at = self.slots.partition_point(|slot| slot.number < number);
        if self.slots.get(at).is_none_or(|slot| slot.number != number) {
            let before = self.slots.get(at).map_or(self.len, |slot| slot.before);
            self.slots.insert(at, Slot { number, before, block: Block::default() });
        }
        let new = self.slots.get_mut(at).is_some_and(|slot| slot.block.set(place, true));
        if new {
            self.len += 1;
            self.slots.iter_mut().skip(at + 1).for_each(|slot| slot.before += 1);
        }
        new
    }

    /// Takes one out; whether it was in it.
    pub fn remove(&mut self, uid: Uid) -> bool {
        let (number, place) = split(uid.get());
        let Ok(at) = self.slots.binary_search_by_key(&number, |slot| slot.number) else {
            return false;
        };
        let Some(slot) = self.slots.get_mut(at) else { return false };
        if !slot.block.set(place, false) {
            return false;
        }
        let empty = slot.block.is_empty();
        self.len -= 1;
        self.slots.iter_mut().skip(at + 1).for_each(|slot| slot.before -= 1);
        if empty {
            self.slots.remove(at);
        }
        true
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, |ours, theirs| ours & theirs)
    }

    /// Those that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.with(other, |ours, theirs| ours & !theirs)
    }

    fn with(&self, other: &Self, join: fn(u64, u64) -> u64) -> Self {
        let nothing = Block::default();
        let mut result = Self::default();
        for slot in &self.slots {
            let found = other.slots.binary_search_by_key(&slot.number, |slot| slot.number).ok();
            let theirs = found.and_then(|at| other.slots.get(at)).map_or(&nothing, |s| &s.block);
            let (mut words, theirs) = (slot.block.words(), theirs.words());
            for (ours, theirs) in words.iter_mut().zip(theirs) {
                *ours = join(*ours, theirs);
            }
            result.push(slot.number, Block::from_words(words));
        }
        result
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.ranges().flat_map(|(from, to)| from..=to).filter_map(Uid::new)
    }

    /// Those with the numbers from `first` to `last`, with their numbers.
    pub fn numbered(&self, first: u32, last: u32) -> impl Iterator<Item = (u32, Uid)> + '_ {
        let first = first.max(1);
        let from = self.uid(first).map_or(u32::MAX, Uid::get);
        let uids = self.slots_from(from).flat_map(Slot::uids).skip_while(move |uid| *uid < from);
        (first..=last.min(self.len)).zip(uids.filter_map(Uid::new))
    }

    /// Runs of UIDs without gaps: first and last, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let runs = self.slots.iter().flat_map(Slot::ranges);
        let mut runs = runs.peekable();
        std::iter::from_fn(move || {
            let (from, mut to) = runs.next()?;
            // A run may go on in the next block.
            while let Some((_, end)) = runs.next_if(|(next, _)| *next == to + 1) {
                to = end;
            }
            Some((from, to))
        })
    }

    fn slots_from(&self, uid: u32) -> impl Iterator<Item = &Slot> {
        let at = self.slots.partition_point(|slot| slot.number < uid / BLOCK);
        self.slots.iter().skip(at)
    }
}

impl Slot {
    fn uid(&self, place: u16) -> Option<Uid> {
        Uid::new(self.number * BLOCK + u32::from(place))
    }

    fn ranges(&self) -> impl Iterator<Item = (u32, u32)> {
        let base = self.number * BLOCK;
        let runs = self.block.runs().into_iter();
        runs.map(move |(first, len)| {
            let from = base + u32::from(first);
            (from, from + (u32::from(len) - 1))
        })
    }

    fn uids(&self) -> impl Iterator<Item = u32> {
        self.ranges().flat_map(|(from, to)| from..=to)
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut set = Self::default();
        set.extend(uids);
        set
    }
}

impl Extend<Uid> for UidSet {
    fn extend<I: IntoIterator<Item = Uid>>(&mut self, uids: I) {
        uids.into_iter().for_each(|uid| {
            self.insert(uid);
        });
    }
}

/// The number of a UID's block and its place there.
pub fn split(uid: u32) -> (u32, u16) {
    let place = u16::try_from(uid % BLOCK).unwrap_or(0);
    (uid / BLOCK, place)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests;
