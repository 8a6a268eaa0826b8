//! SEARCH (RFC 3501 §6.4.4): the command, and whether one message matches. Flags, dates and
//! sizes are looked at first; the bytes of a message only when a key needs them, piece by piece.

use std::io::{self, Seek, SeekFrom};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::mail::Uid;
use crate::mail::structure::{self, Structure};
use crate::search::texts::{self, MAX_HEADER, Wish, texts};
use crate::store::Message;

use super::command::{SearchKey, Tag};
use super::question::SearchJob;
use super::render::{Source, read};
use super::session::{Session, State};
use super::view::{Expunges, Target};

mod plan;

pub(super) use plan::{Body, Plan};

impl Session {
    pub(super) fn search(&mut self, tag: Tag, uid: bool, mut key: SearchKey) {
        let State::Selected(_, view) = &self.state else { return };
        let last_uid = view.uids().last().map_or(0, Uid::get);
        resolve(&mut key, view.len(), last_uid);
        let (mailbox, targets, stale) = (view.mailbox, view.all(), self.stale);
        let job = SearchJob { mailbox, key: Arc::new(key), stale, targets };
        self.ask_search(job, move |session, answer| match answer {
            Ok(found) => {
                session.out.raw("* SEARCH");
                for target in found {
                    let number = if uid { target.uid.get() } else { target.number };
                    session.out.raw(" ").number(number);
                }
                session.out.raw("\r\n");
                let news = if uid { Expunges::Told } else { Expunges::Held };
                session.finish(&tag, "SEARCH completed", Some(news));
            }
            Err(error) => session.failed(&tag, &error),
        });
    }
}

/// Replaces what `*` stands for in all sets.
fn resolve(key: &mut SearchKey, last_number: u32, last_uid: u32) {
    match key {
        SearchKey::Numbers(set) => set.resolve(last_number),
        SearchKey::Uids(set) => set.resolve(last_uid),
        SearchKey::Not(key) => resolve(key, last_number, last_uid),
        SearchKey::Or(one, other) => {
            resolve(one, last_number, last_uid);
            resolve(other, last_number, last_uid);
        }
        SearchKey::And(keys) => {
            for key in keys {
                resolve(key, last_number, last_uid);
            }
        }
        _ => {}
    }
}

/// Whether a message matches a key whose sets are resolved.
pub(super) fn matches<S: Source>(
    key: &SearchKey,
    target: Target,
    message: &Message,
    source: &S,
) -> io::Result<bool> {
    let mut text = Text { source, needles: Vec::new(), reader: None, header: None, found: None };
    collect_needles(key, &mut text.needles);
    Candidate { target, message }.matches(key, &mut text)
}

fn collect_needles<'a>(key: &'a SearchKey, needles: &mut Vec<&'a str>) {
    match key {
        SearchKey::Body(text) | SearchKey::Text(text) => needles.push(text),
        SearchKey::Not(key) => collect_needles(key, needles),
        SearchKey::Or(one, other) => {
            collect_needles(one, needles);
            collect_needles(other, needles);
        }
        SearchKey::And(keys) => keys.iter().for_each(|key| collect_needles(key, needles)),
        _ => {}
    }
}

/// A message a key is tried on.
struct Candidate<'a> {
    target: Target,
    message: &'a Message,
}

impl Candidate<'_> {
    fn matches<S: Source>(&self, key: &SearchKey, text: &mut Text<'_, S>) -> io::Result<bool> {
        if let Some(matches) = self.matches_unread(key) {
            return Ok(matches);
        }
        Ok(match key {
            SearchKey::SentBefore(date) => text.sent()?.is_some_and(|sent| sent < *date),
            SearchKey::SentOn(date) => text.sent()?.is_some_and(|sent| sent == *date),
            SearchKey::SentSince(date) => text.sent()?.is_some_and(|sent| sent >= *date),
            SearchKey::Address(field, needle) => text.has_field(field.name(), needle)?,
            SearchKey::Subject(needle) => text.has_field("subject", needle)?,
            SearchKey::Header(name, needle) => text.has_field(name, needle)?,
            SearchKey::Body(needle) => text.find(needle)?.in_body,
            SearchKey::Text(needle) => {
                let found = text.find(needle)?;
                found.in_header || found.in_body
            }
            SearchKey::Not(key) => !self.matches(key, text)?,
            SearchKey::Or(one, other) => self.matches(one, text)? || self.matches(other, text)?,
            SearchKey::And(keys) => {
                // Cheap keys first: most messages are ruled out without being read.
                let (cheap, dear): (Vec<_>, Vec<_>) = keys.iter().partition(|key| is_cheap(key));
                for key in cheap.into_iter().chain(dear) {
                    if !self.matches(key, text)? {
                        return Ok(false);
                    }
                }
                true
            }
            // Decided above.
            _ => false,
        })
    }

    /// Whether it matches a key that is no combination and asks for nothing in the message's bytes.
    fn matches_unread(&self, key: &SearchKey) -> Option<bool> {
        let message = self.message;
        Some(match key {
            SearchKey::All => true,
            SearchKey::Nothing => false,
            SearchKey::Flag(flag) => message.flags.contains(flag),
            SearchKey::Numbers(set) => set.contains(self.target.number),
            SearchKey::Uids(set) => set.contains(self.target.uid.get()),
            SearchKey::Before(date) => self.received() < *date,
            SearchKey::On(date) => self.received() == *date,
            SearchKey::Since(date) => self.received() >= *date,
            SearchKey::Larger(size) => message.content.size() > *size,
            SearchKey::Smaller(size) => message.content.size() < *size,
            _ => return None,
        })
    }

    /// RFC 3501 §6.4.4: without regard to the time zone; ours is universal time.
    fn received(&self) -> Date {
        self.message.internal_date.to_zoned(TimeZone::UTC).date()
    }
}

/// Whether a key can be decided without the message's bytes.
fn is_cheap(key: &SearchKey) -> bool {
    match key {
        SearchKey::Not(key) => is_cheap(key),
        SearchKey::Or(one, other) => is_cheap(one) && is_cheap(other),
        SearchKey::And(keys) => keys.iter().all(is_cheap),
        SearchKey::SentBefore(_)
        | SearchKey::SentOn(_)
        | SearchKey::SentSince(_)
        | SearchKey::Address(..)
        | SearchKey::Subject(_)
        | SearchKey::Header(..)
        | SearchKey::Body(_)
        | SearchKey::Text(_) => false,
        _ => true,
    }
}

/// Where a text was found.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    in_header: bool,
    in_body: bool,
}

/// The text of one message, read when first needed.
struct Text<'a, S: Source> {
    source: &'a S,
    /// All texts of BODY and TEXT keys: looked for in one pass.
    needles: Vec<&'a str>,
    reader: Option<S::Reader>,
    header: Option<Vec<u8>>,
    found: Option<Vec<Found>>,
}

impl<S: Source> Text<'_, S> {
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
            let reader = self.reader()?;
            let length = reader.seek(SeekFrom::End(0))?;
            reader.seek(SeekFrom::Start(0))?;
            let range = Structure::scan_head(&mut *reader, length)?.root().header.clone();
            read(reader, range.start..range.end.min(MAX_HEADER))?
        };
        Ok(self.header.insert(header))
    }

    fn sent(&mut self) -> io::Result<Option<Date>> {
        let header = self.header()?;
        let date = structure::fields(header).find(|f| f.name.eq_ignore_ascii_case(b"date"));
        Ok(date.and_then(|field| structure::sent_date(field.value)))
    }

    fn has_field(&mut self, name: &str, needle: &str) -> io::Result<bool> {
        let header = self.header()?;
        let named = |f: &structure::RawField<'_>| f.name.eq_ignore_ascii_case(name.as_bytes());
        let mut fields = structure::fields(header).filter(named);
        Ok(fields.any(|f| structure::header_text(f.value).to_lowercase().contains(needle)))
    }

    fn find(&mut self, needle: &str) -> io::Result<Found> {
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
