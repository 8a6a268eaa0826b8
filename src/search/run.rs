//! A run: the terms of some bodies and which of them are in which, immutable once written. Terms
//! are sorted and lie in blocks, each compressed as one; beside each block lie the postings of its
//! terms in groups, so that a term's postings are found by decoding a few. `Head` is the way
//! through both, small enough to be kept in memory.

use std::borrow::Cow;

use super::bits::{BitReader, BitWriter, put_number, take_number};
use super::docs::Docs;
use super::error::SearchError;
use super::terms::MAX_TERM;

/// Where a term was found. A subject, a sender and so on are fields of the message itself; the
/// fields of its parts count to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Subject,
    From,
    To,
    Cc,
    OtherField,
    Body,
}

/// Number of places.
pub(super) const PLACES: usize = 6;
/// The same, as a number of bits.
const PLACE_BITS: u32 = 6;

impl Place {
    /// Its bit in a set of places.
    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The documents of one term, by place, ascending.
pub(super) type Postings = [Vec<u32>; PLACES];

/// The parts a run is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Head,
    Terms,
    Postings,
}

impl Section {
    pub(super) const ALL: [Self; 3] = [Self::Head, Self::Terms, Self::Postings];
}

/// Takes the bytes of a run's sections as they come.
pub(super) trait Sink {
    fn put(&mut self, section: Section, bytes: &[u8]) -> Result<(), SearchError>;
}

/// Gives them again.
pub(super) trait Source {
    fn get(
        &self,
        section: Section,
        start: u64,
        length: usize,
    ) -> Result<Cow<'_, [u8]>, SearchError>;
}

/// A run in memory.
#[derive(Debug, Default)]
pub(super) struct Sections([Vec<u8>; 3]);

impl Sink for Sections {
    fn put(&mut self, section: Section, bytes: &[u8]) -> Result<(), SearchError> {
        if let Some(all) = self.0.get_mut(section as usize) {
            all.extend_from_slice(bytes);
        }
        Ok(())
    }
}

impl Source for Sections {
    fn get(
        &self,
        section: Section,
        start: u64,
        length: usize,
    ) -> Result<Cow<'_, [u8]>, SearchError> {
        let start = usize::try_from(start).ok();
        let all = self.0.get(section as usize);
        let bytes = start.and_then(|start| all?.get(start..start.checked_add(length)?));
        bytes.map(Cow::Borrowed).ok_or(SearchError::Damaged)
    }
}

impl Sections {
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|section| section.len() as u64).sum()
    }
}

/// Terms in one block.
const BLOCK: usize = 4096;
/// Terms whose postings lie together.
const GROUP: usize = 32;

/// Writes a run.
pub(super) struct RunWriter<'a, S: Sink> {
    sink: &'a mut S,
    packer: zstd::bulk::Compressor<'static>,
    head: Head,
    /// The present block: how much each term shares with the one before, and the rest of each.
    shared: Vec<u8>,
    rests: Vec<u8>,
    last: String,
    bits: BitWriter,
    groups: Vec<u32>,
}

impl<'a, S: Sink> RunWriter<'a, S> {
    /// `level` is zstd's: small runs are soon merged.
    pub(super) fn new(docs: Docs, level: i32, sink: &'a mut S) -> Result<Self, SearchError> {
        let packer = zstd::bulk::Compressor::new(level).map_err(SearchError::Pack)?;
        let head = Head { docs, blocks: Vec::new(), terms: 0, postings: 0 };
        Ok(Self {
            sink,
            packer,
            head,
            shared: Vec::new(),
            rests: Vec::new(),
            last: String::new(),
            bits: BitWriter::default(),
            groups: Vec::new(),
        })
    }

    /// The next term; terms ascend.
    pub(super) fn put(&mut self, term: &str, postings: &Postings) -> Result<(), SearchError> {
        let count = self.shared.len();
        if count.is_multiple_of(GROUP) {
            let at = self.bits.align();
            self.groups.push(u32::try_from(at).map_err(|_| SearchError::Damaged)?);
        }
        let pairs = term.bytes().zip(self.last.bytes());
        let mut shared = if count == 0 { 0 } else { pairs.take_while(|(a, b)| a == b).count() };
        while !term.is_char_boundary(shared) {
            shared -= 1;
        }
        self.shared.push(u8::try_from(shared).map_err(|_| SearchError::Damaged)?);
        self.rests.extend_from_slice(term.as_bytes().get(shared..).unwrap_or_default());
        self.rests.push(b'\n');
        term.clone_into(&mut self.last);

        let places = postings.iter().map(|docs| !docs.is_empty());
        let places = places.enumerate().fold(0, |all, (i, there)| all | u32::from(there) << i);
        if places == u32::from(Place::Body.bit()) {
            self.bits.bits(0b0, 1);
        } else if places == u32::from(Place::OtherField.bit()) {
            self.bits.bits(0b01, 2);
        } else {
            self.bits.bits(0b11 | places << 2, 2 + PLACE_BITS);
        }
        for docs in postings.iter().filter(|docs| !docs.is_empty()) {
            self.bits.gamma(u32::try_from(docs.len()).map_err(|_| SearchError::Damaged)?);
            self.bits.ascending(docs, self.head.docs.len());
        }
        if self.shared.len() == BLOCK {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), SearchError> {
        let count = self.shared.len();
        if count == 0 {
            return Ok(());
        }
        let mut plain = std::mem::take(&mut self.shared);
        plain.append(&mut self.rests);
        let packed = self.packer.compress(&plain).map_err(SearchError::Pack)?;
        let postings = self.bits.take();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| SearchError::Damaged);
        let block = Block {
            count: u32::try_from(count).map_err(|_| SearchError::Damaged)?,
            terms: self.head.terms,
            packed: length(&packed)?,
            plain: length(&plain)?,
            postings: self.head.postings,
            length: length(&postings)?,
            groups: std::mem::take(&mut self.groups),
        };
        self.sink.put(Section::Terms, &packed)?;
        self.sink.put(Section::Postings, &postings)?;
        self.head.terms += packed.len() as u64;
        self.head.postings += postings.len() as u64;
        self.head.blocks.push(block);
        Ok(())
    }

    /// Writes the head.
    pub(super) fn finish(mut self) -> Result<Head, SearchError> {
        self.end_block()?;
        let packed = self.packer.compress(&self.head.encode()).map_err(SearchError::Pack)?;
        self.sink.put(Section::Head, &packed)?;
        Ok(self.head)
    }
}

/// The way through a run.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) docs: Docs,
    pub(super) blocks: Vec<Block>,
    /// Bytes of the terms section and of the postings section.
    terms: u64,
    postings: u64,
}

/// Some terms and their postings.
#[derive(Debug)]
pub(super) struct Block {
    count: u32,
    /// Where the terms lie, and their bytes there and unpacked.
    terms: u64,
    packed: u32,
    plain: u32,
    /// Where the postings lie, and their bytes.
    postings: u64,
    length: u32,
    /// Where each group begins within the postings.
    groups: Vec<u32>,
}

impl Block {
    /// Its terms, each between line ends.
    pub(super) fn terms(&self, source: &impl Source) -> Result<Vec<u8>, SearchError> {
        let packed = source.get(Section::Terms, self.terms, self.packed as usize)?;
        let plain = zstd::bulk::decompress(&packed, self.plain as usize)
            .map_err(|_| SearchError::Damaged)?;
        unfold(&plain, self.count as usize).ok_or(SearchError::Damaged)
    }
}

/// Largest head that is believed.
const MAX_HEAD: usize = 64 << 20;

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.docs.encode(&mut out);
        put_number(&mut out, self.blocks.len() as u64);
        for block in &self.blocks {
            for number in [block.count, block.packed, block.plain, block.length] {
                put_number(&mut out, u64::from(number));
            }
            let mut last = 0;
            for group in &block.groups {
                put_number(&mut out, u64::from(group - last));
                last = *group;
            }
        }
        out
    }

    /// Reads a head back.
    pub(super) fn decode(packed: &[u8]) -> Result<Self, SearchError> {
        let bytes = zstd::bulk::decompress(packed, MAX_HEAD).map_err(|_| SearchError::Damaged)?;
        Self::parse(&mut bytes.as_slice()).ok_or(SearchError::Damaged)
    }

    fn parse(from: &mut &[u8]) -> Option<Self> {
        let mut head =
            Self { docs: Docs::decode(from)?, blocks: Vec::new(), terms: 0, postings: 0 };
        for _ in 0..take_number(from)? {
            let mut number = || u32::try_from(take_number(from)?).ok();
            let (count, packed, plain, length) = (number()?, number()?, number()?, number()?);
            let largest = BLOCK * (MAX_TERM + 2);
            if count as usize > BLOCK || plain as usize > largest || packed as usize > 2 * largest {
                return None;
            }
            let mut at = 0_u32;
            let groups = (0..(count as usize).div_ceil(GROUP)).map(|_| {
                at = at.checked_add(number()?)?;
                (at <= length).then_some(at)
            });
            let groups = groups.collect::<Option<Vec<u32>>>()?;
            let (terms, postings) = (head.terms, head.postings);
            head.terms += u64::from(packed);
            head.postings += u64::from(length);
            head.blocks.push(Block { count, terms, packed, plain, postings, length, groups });
        }
        Some(head)
    }

    /// Calls for each of some terms of a block, ascending, with its postings in some places.
    pub(super) fn postings(
        &self,
        block: &Block,
        wanted: &[u32],
        places: u8,
        source: &impl Source,
        mut each: impl FnMut(Place, &[u32]),
    ) -> Result<(), SearchError> {
        let mut docs = Vec::new();
        let mut wanted = wanted.iter().copied().peekable();
        while let Some(first) = wanted.peek() {
            let group = *first as usize / GROUP;
            let Some(start) = block.groups.get(group) else { return Err(SearchError::Damaged) };
            let end = block.groups.get(group + 1).unwrap_or(&block.length);
            let length = end.checked_sub(*start).ok_or(SearchError::Damaged)?;
            let start = block.postings + u64::from(*start);
            let bytes = source.get(Section::Postings, start, length as usize)?;
            let mut bits = BitReader::new(&bytes);
            let mut index = u32::try_from(group * GROUP).map_err(|_| SearchError::Damaged)?;
            while let Some(next) = wanted.next_if(|next| *next as usize / GROUP == group) {
                loop {
                    let chosen = if index == next { places } else { 0 };
                    self.one(&mut bits, chosen, &mut docs, &mut each)
                        .ok_or(SearchError::Damaged)?;
                    index += 1;
                    if index > next {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Decodes the postings of the next term.
    fn one(
        &self,
        bits: &mut BitReader<'_>,
        chosen: u8,
        docs: &mut Vec<u32>,
        each: &mut impl FnMut(Place, &[u32]),
    ) -> Option<()> {
        // What most terms have takes one bit or two.
        let places = match bits.bits(1)? {
            0 => Place::Body.bit(),
            _ => match bits.bits(1)? {
                0 => Place::OtherField.bit(),
                _ => u8::try_from(bits.bits(PLACE_BITS)?).ok()?,
            },
        };
        for place in ALL_PLACES {
            if places & place.bit() == 0 {
                continue;
            }
            docs.clear();
            let length = bits.gamma()?;
            bits.ascending(length, self.docs.len(), docs)?;
            if chosen & place.bit() != 0 {
                each(place, docs);
            }
        }
        Some(())
    }
}

const ALL_PLACES: [Place; PLACES] =
    [Place::Subject, Place::From, Place::To, Place::Cc, Place::OtherField, Place::Body];

/// Puts the terms of a block together again.
fn unfold(plain: &[u8], count: usize) -> Option<Vec<u8>> {
    let (shared, rests) = plain.split_at_checked(count)?;
    let mut terms = Vec::with_capacity(rests.len() * 2);
    terms.push(b'\n');
    let mut last = 1;
    let mut rests = rests.split_inclusive(|byte| *byte == b'\n');
    for shared in shared {
        let here = terms.len();
        let same = last..last + usize::from(*shared);
        if same.end > here || same.len() > MAX_TERM {
            return None;
        }
        terms.extend_from_within(same);
        terms.extend_from_slice(rests.next()?);
        last = here;
    }
    Some(terms)
}

/// Goes through all terms of a run in order.
pub(super) struct Walk<'a, S: Source> {
    head: &'a Head,
    source: &'a S,
    /// The block after the present one.
    next: usize,
    terms: Vec<u8>,
    /// Where the present term lies in `terms`.
    term: std::ops::Range<usize>,
    index: usize,
    postings: Cow<'a, [u8]>,
    /// The next bit of `postings`.
    bit: usize,
}

impl<'a, S: Source> Walk<'a, S> {
    /// Stands before the first term.
    pub(super) fn new(head: &'a Head, source: &'a S) -> Self {
        let (terms, postings) = (Vec::new(), Cow::Borrowed(&[][..]));
        Self { head, source, next: 0, terms, term: 0..0, index: 0, postings, bit: 0 }
    }

    /// Goes to the next term; tells whether there is one.
    pub(super) fn advance(&mut self) -> Result<bool, SearchError> {
        let mut start = self.term.end + 1;
        self.index += 1;
        if start >= self.terms.len() {
            let Some(block) = self.head.blocks.get(self.next) else { return Ok(false) };
            self.terms = block.terms(self.source)?;
            self.postings =
                self.source.get(Section::Postings, block.postings, block.length as usize)?;
            (start, self.index) = (1, 0);
            self.next += 1;
        }
        let rest = self.terms.get(start..).unwrap_or_default();
        let length = rest.iter().position(|b| *b == b'\n').ok_or(SearchError::Damaged)?;
        self.term = start..start + length;
        Ok(true)
    }

    /// The present term.
    pub(super) fn term(&self) -> &[u8] {
        self.terms.get(self.term.clone()).unwrap_or_default()
    }

    /// Its postings; to be asked for once, at every term.
    pub(super) fn postings(
        &mut self,
        mut each: impl FnMut(Place, &[u32]),
    ) -> Result<(), SearchError> {
        let block = self.next.checked_sub(1).and_then(|block| self.head.blocks.get(block));
        let group = block.and_then(|block| block.groups.get(self.index / GROUP));
        if self.index.is_multiple_of(GROUP) {
            self.bit = *group.ok_or(SearchError::Damaged)? as usize * 8;
        }
        let mut bits = BitReader::at(&self.postings, self.bit);
        let read = self.head.one(&mut bits, u8::MAX, &mut Vec::new(), &mut each);
        self.bit = bits.position();
        read.ok_or(SearchError::Damaged)
    }
}
