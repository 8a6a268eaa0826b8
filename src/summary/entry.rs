//! One body's summary: what is kept of it, and what can be told from that.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::block::Block;
use crate::mail::preview;
use crate::mail::structure::{self, Structure, describes};
use crate::store::Content;

/// The fields of a message's header that are kept whole: those that lists of messages show or sort
/// by, and those that mail programs are known to ask for with them.
pub const KEPT: [&str; 40] = [
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-ID",
    "Content-Description",
    "Content-MD5",
    "Content-Disposition",
    "Content-Language",
    "Content-Location",
    "MIME-Version",
    "X-Priority",
    "Priority",
    "Importance",
    "X-MSMail-Priority",
    "List-ID",
    "List-Post",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Newsgroups",
    "Followup-To",
    "Disposition-Notification-To",
    "Auto-Submitted",
    "Autocrypt-Setup-Message",
    "Chat-Version",
    "X-K9mail-Identity",
    "X-Uniform-Type-Identifier",
    "X-Universally-Unique-Identifier",
    "BIMI-Indicator",
    "BIMI-Location",
    "X-BIMI-Indicator-Hash",
];

/// Largest header looked at, and most bytes kept of one message.
const MAX_HEADER: u64 = 256 << 10;
const MAX_TEXT: usize = 24 << 10;
/// Most parts of a message that is summarised.
const MAX_PARTS: usize = 200;

/// Whether a header field of this name is kept.
pub fn is_kept(name: &[u8]) -> bool {
    KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept.as_bytes()))
}

/// What is kept of one body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where the first kept field stood, how many parts there are, how long the fields of each
    /// are, and the outline of the structure. Empty for a body that cannot be summarised.
    pub(super) numbers: Vec<u8>,
    /// The fields of the message, then those of each part.
    pub(super) text: Vec<u8>,
    pub(super) preview: String,
}

impl Entry {
    /// Summarises a body. One that would not come back as it was has an empty summary.
    pub(super) fn of(structure: &Structure, reader: &mut (impl Read + Seek)) -> io::Result<Self> {
        if structure.parts().count() > MAX_PARTS {
            return Ok(Self::default());
        }
        let (mut stood, mut text, mut lengths) = (0, Vec::new(), Vec::new());
        for (i, part) in structure.parts().enumerate() {
            let length = part.header.end - part.header.start;
            if length > MAX_HEADER {
                return Ok(Self::default());
            }
            reader.seek(SeekFrom::Start(part.header.start))?;
            let mut header = Vec::new();
            if reader.take(length).read_to_end(&mut header)? as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (before, mut first, mut at) = (text.len(), None, 0);
            for field in structure::fields(&header) {
                let kept = match i {
                    0 => is_kept(field.name),
                    _ => describes(field.name, part.head.is_some()),
                };
                if kept {
                    first.get_or_insert(at);
                    text.extend_from_slice(field.whole);
                }
                at += field.whole.len();
            }
            if i == 0 {
                stood = first.unwrap_or(at);
            }
            lengths.push(text.len() - before);
        }
        let mut numbers = Vec::new();
        put(stood as u64, &mut numbers);
        put(lengths.len() as u64, &mut numbers);
        let lengths = lengths.into_iter().map(|length| length as u64);
        for number in lengths.chain(structure.outline()) {
            put(number, &mut numbers);
        }
        let entry = Self { numbers, text, preview: String::new() };
        let faithful = entry.text.len() <= MAX_TEXT
            && entry.view().and_then(View::structure).is_some_and(|made| made == *structure);
        if !faithful {
            return Ok(Self::default());
        }
        Ok(Self { preview: preview(structure, reader)?, ..entry })
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        self.numbers.len() + self.text.len() + self.preview.len()
    }

    fn view(&self) -> Option<View<'_>> {
        View::new(&self.numbers, &self.text)
    }
}

/// What an entry says, without the preview.
#[derive(Clone, Copy)]
struct View<'a> {
    stood: u64,
    lengths: &'a [u8],
    outline: &'a [u8],
    text: &'a [u8],
}

impl<'a> View<'a> {
    fn new(numbers: &'a [u8], text: &'a [u8]) -> Option<Self> {
        let mut rest = numbers;
        let stood = take(&mut rest)?;
        let parts = take(&mut rest)?;
        let lengths = rest;
        for _ in 0..parts {
            take(&mut rest)?;
        }
        Some(Self { stood, lengths, outline: rest, text })
    }

    fn fields(self) -> Option<&'a [u8]> {
        let length = take(&mut { self.lengths })?;
        self.text.get(..usize::try_from(length).ok()?)
    }

    fn structure(self) -> Option<Structure> {
        let Self { mut lengths, mut outline, mut text, .. } = self;
        let fields = || {
            let length = usize::try_from(take(&mut lengths)?).ok()?;
            let (fields, after) = text.split_at_checked(length)?;
            text = after;
            Some(fields)
        };
        Structure::from_outline(|| take(&mut outline), fields)
    }

    /// Bytes of the whole body: those of the root, which come first of the outline.
    fn length(self) -> Option<u64> {
        let mut outline = self.outline;
        let (_parts, _flags) = (take(&mut outline)?, take(&mut outline)?);
        (0..4).try_fold(0_u64, |sum, _| sum.checked_add(take(&mut outline)?))
    }
}

/// The summary of one message.
#[derive(Debug, Clone)]
pub struct Summary {
    held: Held,
    /// Header fields of its own before the body's, and bytes of the body that are not its.
    before: u64,
    without: u64,
}

#[derive(Debug, Clone)]
enum Held {
    Alone(Arc<Entry>),
    InBlock(Arc<Block>, u32),
}

impl Summary {
    pub(super) fn of_entry(entry: &Arc<Entry>) -> Option<Self> {
        let held = Held::Alone(Arc::clone(entry));
        Self { held, before: 0, without: 0 }.checked()
    }

    pub(super) fn of_block(block: Arc<Block>, at: u32) -> Option<Self> {
        Self { held: Held::InBlock(block, at), before: 0, without: 0 }.checked()
    }

    /// The header fields named in [`KEPT`], as they stand in the message and in its order: with
    /// folds and line ends, without the empty line.
    pub fn fields(&self) -> &[u8] {
        self.view().and_then(View::fields).unwrap_or_default()
    }

    /// How the message is made, the same as reading it would tell.
    pub fn structure(&self) -> Option<Structure> {
        let mut structure = self.view()?.structure()?;
        if (self.before, self.without) != (0, 0) {
            structure.shift(self.without, self.before);
        }
        Some(structure)
    }

    /// Its first words; empty when it has none.
    pub fn preview(&self) -> Option<String> {
        match &self.held {
            Held::Alone(entry) => Some(entry.preview.clone()),
            Held::InBlock(block, at) => block.preview(*at),
        }
    }

    /// Of the message that has these bytes; nothing when it has other fields than the body.
    pub(super) fn behind(mut self, content: &Content) -> Option<Self> {
        if content.is_body() {
            return Some(self);
        }
        self.before = content.own_prefix().len() as u64;
        self.without = content.left_out();
        let apart = self.without <= self.view()?.stood;
        let mut own = structure::fields(content.own_prefix());
        (apart && !own.any(|field| is_kept(field.name))).then_some(self)
    }

    /// Bytes of the body.
    pub(super) fn length(&self) -> Option<u64> {
        self.view()?.length()
    }

    fn checked(self) -> Option<Self> {
        self.view().is_some().then_some(self)
    }

    fn view(&self) -> Option<View<'_>> {
        match &self.held {
            Held::Alone(entry) => entry.view(),
            Held::InBlock(block, at) => {
                let (numbers, text) = block.entry(*at)?;
                View::new(numbers, text)
            }
        }
    }
}

/// Seven bits a byte, the lowest first; the highest bit tells that more come.
pub(super) fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

pub(super) fn take(from: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0_u64, 0);
    loop {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}
