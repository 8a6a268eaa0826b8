//! Numbers in as few bits as they need: the Elias gamma code for counts, and binary interpolative
//! coding (Moffat and Stuiver) for ascending lists, which comes close to what such a list tells
//! and gains where messages on one subject lie together. Bits are filled from the lowest up.

/// Takes bits.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    count: u32,
}

impl BitWriter {
    /// The lowest `width` bits of a value, at most 32.
    pub(super) fn bits(&mut self, value: u32, width: u32) {
        self.pending |= u64::from(value) << self.count;
        self.count += width;
        while self.count >= 8 {
            self.bytes.push((self.pending & 0xff) as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// A number from 1 on: as many zeros as it has further digits, then it.
    pub(super) fn gamma(&mut self, value: u32) {
        let digits = value.max(1).ilog2();
        self.bits(0, digits);
        self.bits(1, 1);
        self.bits(value & !(1 << digits), digits);
    }

    /// One of `count` numbers from 0 on, those that need fewer bits first.
    fn choice(&mut self, value: u32, count: u32) {
        let (width, short) = choice_width(count);
        if value < short {
            self.bits(value, width);
        } else {
            // The bit that tells the long ones comes last.
            let long = value + short;
            self.bits(long >> 1, width);
            self.bits(long & 1, 1);
        }
    }

    /// An ascending list of numbers below `end`; the reader has to know how many there are.
    pub(super) fn ascending(&mut self, list: &[u32], end: u32) {
        self.between(list, 0, end);
    }

    fn between(&mut self, list: &[u32], start: u32, end: u32) {
        let middle = list.len() / 2;
        let (Some(value), Ok(length)) = (list.get(middle), u32::try_from(list.len())) else {
            return;
        };
        if end - start == length {
            // Every number there is.
            return;
        }
        let before = length / 2;
        self.choice(value - start - before, end - start - length + 1);
        self.between(list.get(..middle).unwrap_or_default(), start, *value);
        self.between(list.get(middle + 1..).unwrap_or_default(), value + 1, end);
    }

    /// Bytes so far, the last one filled up.
    pub(super) fn align(&mut self) -> usize {
        if self.count > 0 {
            self.bits(0, 8 - self.count);
        }
        self.bytes.len()
    }

    /// All bytes; begins anew.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.align();
        std::mem::take(&mut self.bytes)
    }
}

/// Bits that every choice takes, and how many choices take no more.
fn choice_width(count: u32) -> (u32, u32) {
    let width = count.max(1).ilog2();
    let short = (2_u64 << width) - u64::from(count.max(1));
    (width, u32::try_from(short).unwrap_or(u32::MAX))
}

/// Gives bits. What was not written reads as nothing: damage ends in `None`, never in a panic.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next bit.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self::at(bytes, 0)
    }

    /// From a bit on.
    pub(super) fn at(bytes: &'a [u8], bit: usize) -> Self {
        Self { bytes, at: bit }
    }

    /// The next bit.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// So many bits, at most 32.
    pub(super) fn bits(&mut self, width: u32) -> Option<u32> {
        let window = self.window()?;
        let value = window & ((1_u64 << width) - 1);
        self.at += width as usize;
        (self.at <= self.bytes.len() * 8).then_some(())?;
        u32::try_from(value).ok()
    }

    /// The next 56 bits or more, zeros behind the end.
    fn window(&self) -> Option<u64> {
        let rest = self.bytes.get(self.at / 8..)?;
        let mut eight = [0; 8];
        match rest.first_chunk::<8>() {
            Some(whole) => eight = *whole,
            None => eight.iter_mut().zip(rest).for_each(|(to, from)| *to = *from),
        }
        Some(u64::from_le_bytes(eight) >> (self.at % 8))
    }

    pub(super) fn gamma(&mut self) -> Option<u32> {
        let digits = self.window()?.trailing_zeros();
        if digits > 31 {
            return None;
        }
        self.at += digits as usize + 1;
        Some(1 << digits | self.bits(digits)?)
    }

    fn choice(&mut self, count: u32) -> Option<u32> {
        let (width, short) = choice_width(count);
        let value = self.bits(width)?;
        if value < short {
            return Some(value);
        }
        let long = value << 1 | self.bits(1)?;
        (long - short < count).then(|| long - short)
    }

    /// Appends an ascending list of `length` numbers below `end`.
    pub(super) fn ascending(&mut self, length: u32, end: u32, list: &mut Vec<u32>) -> Option<()> {
        if length > end {
            return None;
        }
        self.between(length, 0, end, list)
    }

    fn between(&mut self, length: u32, start: u32, end: u32, list: &mut Vec<u32>) -> Option<()> {
        if length == 0 {
            return Some(());
        }
        if end - start == length {
            list.extend(start..end);
            return Some(());
        }
        let before = length / 2;
        let value = start + before + self.choice(end - start - length + 1)?;
        self.between(before, start, value, list)?;
        list.push(value);
        self.between(length - before - 1, value + 1, end, list)
    }
}

/// Appends a number, seven bits a byte.
pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Takes a number off the front.
pub(super) fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test")]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_come_back(list in btree_set(0_u32..3000, 0..400), more in 0_u32..2000) {
            let list: Vec<u32> = list.into_iter().collect();
            let end = list.last().map_or(0, |last| last + 1) + more;
            let mut writer = BitWriter::default();
            writer.gamma(u32::try_from(list.len()).unwrap() + 1);
            writer.ascending(&list, end);
            let bytes = writer.take();
            let mut reader = BitReader::new(&bytes);
            let length = reader.gamma().unwrap() - 1;
            let mut back = Vec::new();
            reader.ascending(length, end, &mut back).unwrap();
            prop_assert_eq!(back, list);
        }

        #[test]
        fn damaged_bits_end_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            length in 0_u32..5000,
            end in 0_u32..5000,
        ) {
            let mut reader = BitReader::new(&bytes);
            let mut list = Vec::new();
            let _ = reader.gamma();
            let _ = reader.ascending(length, end, &mut list);
            prop_assert!(list.iter().all(|value| *value < end));
            prop_assert!(list.is_sorted());
        }

        #[test]
        fn numbers_come_back(numbers in proptest::collection::vec(any::<u64>(), 0..20)) {
            let mut bytes = Vec::new();
            for number in &numbers {
                put_number(&mut bytes, *number);
            }
            let mut rest = bytes.as_slice();
            for number in numbers {
                prop_assert_eq!(take_number(&mut rest), Some(number));
            }
            prop_assert_eq!(take_number(&mut rest), None);
        }
    }
}
