//! The text of a message that a search has to read: its header, and all its text parts piece by
//! piece, whatever their size.

use std::io::{self, Read, Seek, SeekFrom};

use jiff::civil::Date;

use crate::imap::render::{Source, read};
use crate::mail::structure::{self, Structure};
use crate::search::texts::{self, MAX_HEADER, Wish, texts};

/// Where a text was found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) in_header: bool,
    pub(super) in_body: bool,
}

/// The text of one message, read when first needed.
pub(super) struct Text<'a, S: Source> {
    source: &'a S,
    /// All texts of BODY and TEXT keys: looked for in one pass.
    needles: Vec<&'a str>,
    reader: Option<S::Reader>,
    header: Option<Vec<u8>>,
    found: Option<Vec<Found>>,
}

impl<'a, S: Source> Text<'a, S> {
    pub(super) fn new(source: &'a S, needles: Vec<&'a str>) -> Self {
        Self { source, needles, reader: None, header: None, found: None }
    }

    fn reader(&mut self) -> io::Result<&mut S::Reader> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.source.open()?,
        };
        Ok(self.reader.insert(reader))
    }

    fn header(&mut self) -> io::Result<&[u8]> {
        let header = if let Some(header) = self.header.take() {
            header
        } else {
            read_header(self.reader()?)?
        };
        Ok(self.header.insert(header))
    }

    pub(super) fn sent(&mut self) -> io::Result<Option<Date>> {
        let sent = |header: &[u8]| {
            let date = structure::fields(header).find(|f| f.name.eq_ignore_ascii_case(b"date"));
            date.and_then(|field| structure::sent_date(field.value))
        };
        match self.source.summary() {
            Some(summary) => Ok(sent(summary.fields())),
            None => self.header().map(sent),
        }
    }

    pub(super) fn has_field(&mut self, name: &str, needle: &str) -> io::Result<bool> {
        let header = self.header()?;
        let named = |f: &structure::RawField<'_>| f.name.eq_ignore_ascii_case(name.as_bytes());
        let mut fields = structure::fields(header).filter(named);
        Ok(fields.any(|f| texts::field_text(f.name, f.value).contains(needle)))
    }

    pub(super) fn find(&mut self, needle: &str) -> io::Result<Found> {
        let found = match self.found.take() {
            Some(found) => found,
            None => self.scan()?,
        };
        let at = self.needles.iter().position(|known| *known == needle);
        let result = at.and_then(|at| found.get(at)).copied().unwrap_or_default();
        self.found = Some(found);
        Ok(result)
    }

    /// Looks for all texts in all headers and text parts.
    fn scan(&mut self) -> io::Result<Vec<Found>> {
        let needles = self.needles.clone();
        let source = self.source;
        let reader = self.reader()?;
        let structure = source.structure(reader)?;
        let mut found = vec![Found::default(); needles.len()];
        let overlap = needles.iter().map(|needle| needle.len()).max().unwrap_or(0);
        let mut tail = String::new();
        texts(&structure, reader, |text| match text {
            texts::Text::Field { value, .. } => {
                for (found, needle) in found.iter_mut().zip(&needles) {
                    found.in_header |= value.contains(*needle);
                }
                Wish::More
            }
            texts::Text::Part => {
                tail.clear();
                Wish::More
            }
            texts::Text::Piece(piece) => {
                tail.push_str(piece);
                for (found, needle) in found.iter_mut().zip(&needles) {
                    found.in_body |= tail.contains(*needle);
                }
                // A text may lie across two pieces.
                let mut cut = tail.len().saturating_sub(overlap);
                while !tail.is_char_boundary(cut) {
                    cut -= 1;
                }
                tail.drain(..cut);
                let all = found.iter().all(|found| found.in_body);
                if all { Wish::NextPart } else { Wish::More }
            }
        })?;
        Ok(found)
    }
}

/// The header of a message, as far as it is looked at.
pub(in crate::imap) fn read_header(reader: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
    let length = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let range = Structure::scan_head(&mut *reader, length)?.root().header.clone();
    read(reader, range.start..range.end.min(MAX_HEADER))
}
