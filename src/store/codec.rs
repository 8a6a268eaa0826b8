//! How values become bytes: little-endian, lengths and numbers as LEB128 varints. Decoding takes
//! any bytes and never panics; what does not fit is [`Malformed`].

use std::num::NonZeroU32;

use jiff::Timestamp;

use super::types::{BodyId, Content};
use crate::mail::{Flag, Flags, Keyword, ModSeq, SystemFlag, Uid};

/// The bytes do not hold what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed")]
pub(super) struct Malformed;

/// Collects bytes.
#[derive(Debug, Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    #[allow(clippy::cast_possible_truncation, reason = "seven bits at a time")]
    pub(super) fn number(&mut self, number: impl Into<u64>) {
        let mut rest = number.into();
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }

    /// Bytes whose number is known to the reader.
    pub(super) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Microseconds since 1970, zigzag.
    pub(super) fn time(&mut self, time: Timestamp) {
        let micros = time.as_microsecond();
        self.number((micros.cast_unsigned() << 1) ^ (micros >> 63).cast_unsigned());
    }

    pub(super) fn uid(&mut self, uid: Uid) {
        self.number(uid.get());
    }

    /// One byte of system flags, then the keywords.
    pub(super) fn flags(&mut self, flags: &Flags) {
        let bit = |flag| u8::from(flags.has(flag)) << bit_of(flag);
        self.byte(SystemFlag::ALL.into_iter().map(bit).fold(0, |all, bit| all | bit));
        let keywords: Vec<_> = flags
            .iter()
            .filter_map(|flag| match flag {
                Flag::Keyword(keyword) => Some(keyword),
                Flag::System(_) => None,
            })
            .collect();
        self.number(keywords.len() as u64);
        for keyword in keywords {
            self.bytes(keyword.as_str().as_bytes());
        }
    }

    pub(super) fn content(&mut self, content: &Content) {
        self.bytes(&content.prefix);
        self.number(content.body.0);
        self.number(content.skip);
        self.number(content.len);
    }
}

/// Takes bytes apart.
#[derive(Debug)]
pub(super) struct Decoder<'a>(pub(super) &'a [u8]);

impl<'a> Decoder<'a> {
    /// Whether all bytes were taken.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return T::try_from(number).map_err(|_| Malformed);
            }
        }
        Err(Malformed)
    }

    /// A count and as many things.
    pub(super) fn list<T>(
        &mut self,
        item: impl Fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count: u64 = self.number()?;
        (0..count).map(|_| item(self)).collect()
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.number()?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// As many bytes as the array has.
    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Malformed> {
        let zigzag: u64 = self.number()?;
        let micros = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        Timestamp::from_microsecond(micros).map_err(|_| Malformed)
    }

    pub(super) fn nonzero(&mut self) -> Result<NonZeroU32, Malformed> {
        NonZeroU32::new(self.number()?).ok_or(Malformed)
    }

    pub(super) fn uid(&mut self) -> Result<Uid, Malformed> {
        self.nonzero().map(Uid)
    }

    pub(super) fn modseq(&mut self) -> Result<ModSeq, Malformed> {
        self.number().map(ModSeq)
    }

    pub(super) fn flags(&mut self) -> Result<Flags, Malformed> {
        let bits = self.byte()?;
        let system = SystemFlag::ALL.into_iter().filter(|flag| bits >> bit_of(*flag) & 1 == 1);
        let keywords = self.list(|from| from.text()?.parse::<Keyword>().map_err(|_| Malformed))?;
        Ok(system.map(Flag::System).chain(keywords.into_iter().map(Flag::Keyword)).collect())
    }

    /// The body, [`Content::is_body`] and [`Content::size`] of a content, without taking its bytes
    /// out.
    pub(super) fn content_in_short(&mut self) -> Result<(BodyId, bool, u64), Malformed> {
        let prefix = self.bytes()?.len() as u64;
        let (body, skip) = (BodyId(self.number()?), self.number::<u32>()?);
        Ok((body, prefix == 0 && skip == 0, prefix.saturating_add(self.number()?)))
    }

    pub(super) fn content(&mut self) -> Result<Content, Malformed> {
        Ok(Content {
            prefix: self.bytes()?.into(),
            body: BodyId(self.number()?),
            skip: self.number()?,
            len: self.number()?,
        })
    }

    /// As format 1 had it.
    pub(super) fn content_1(&mut self) -> Result<Content, Malformed> {
        Ok(Content {
            prefix: self.bytes()?.into(),
            body: BodyId(self.number()?),
            skip: 0,
            len: self.number()?,
        })
    }
}

/// Fixed for ever, whatever order the enum has.
fn bit_of(flag: SystemFlag) -> u8 {
    match flag {
        SystemFlag::Seen => 0,
        SystemFlag::Answered => 1,
        SystemFlag::Flagged => 2,
        SystemFlag::Deleted => 3,
        SystemFlag::Draft => 4,
    }
}
