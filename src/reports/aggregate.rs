//! DMARC aggregate reports of others about mail in our name (RFC 9990, and RFC 7489 appendix C):
//! XML that streams past. Only elements that are known here are looked at. Document types and
//! entities of the sender's own are refused: no reporter writes them, attackers do.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::IpAddr;

use jiff::Timestamp;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use serde::{Deserialize, Serialize};

use super::{Broken, text};
use crate::mail::Domain;

/// What one reporter saw of one domain's mail in one stretch of time, a day as a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Who reports, in its own words.
    pub reporter: String,
    /// The reporter's name for the report.
    pub id: String,
    /// The domain whose policy was applied.
    pub domain: Domain,
    /// The first second it is about.
    pub begin: Timestamp,
    /// The last one.
    pub end: Timestamp,
    /// Sources of mail; equal ones are put together.
    pub rows: Vec<Row>,
    /// Messages of rows beyond the most that are kept.
    pub beyond: u64,
    /// Records that said nothing that could be understood.
    pub unread: u64,
}

/// Messages from one source with one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What they have in common.
    #[serde(flatten)]
    pub facts: Facts,
    /// How many.
    pub count: u64,
}

/// Where messages came from, and what became of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Facts {
    /// The address that handed them in.
    pub source: IpAddr,
    /// The author's domain they showed; nothing when it is the report's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Domain>,
    /// SPF passed for a domain that belongs to the author's.
    pub spf: bool,
    /// A signature did.
    pub dkim: bool,
    /// What was done with them.
    pub disposition: Disposition,
}

impl Facts {
    /// Whether the mail proved that it is the domain's own.
    pub fn is_proved(&self) -> bool {
        self.spf || self.dkim
    }
}

/// What a receiver did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    /// Nothing that DMARC asked for.
    None,
    /// Put it aside.
    Quarantine,
    /// Refused it.
    Reject,
}

impl Disposition {
    /// As reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }
}

/// Records read of one report; what comes after is not.
pub(super) const MOST_RECORDS: u64 = 50_000;
/// Rows kept of one report.
pub(super) const MOST_ROWS: usize = 500;
/// Deepest nesting; reports have four levels.
const MOST_DEPTH: usize = 32;
/// Bytes kept of one element's text.
const LONGEST_TEXT: usize = 512;
/// More messages in one record are a slip, or a lie.
const MOST_MESSAGES: u64 = 1_000_000_000;

/// Reads a report.
pub(super) fn read(xml: impl BufRead) -> Result<Aggregate, Broken> {
    let mut reader = Reader::from_reader(xml);
    let (mut buffer, mut draft) = (Vec::new(), Draft::default());
    let mut path: Vec<Tag> = Vec::new();
    let mut value = String::new();
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer)? {
            Event::Start(start) => {
                path.push(Tag::of(start.local_name().into_inner()));
                if path.len() > MOST_DEPTH || path.first() != Some(&Tag::Feedback) {
                    return Err(Broken::NotAReport);
                }
                value.clear();
            }
            Event::Text(piece) => keep(&mut value, &piece),
            Event::CData(piece) => keep(&mut value, &piece),
            Event::GeneralRef(reference) => keep(&mut value, character(&reference)?.as_str()),
            Event::End(_) => {
                if draft.take(&path, value.trim()) == Reading::Enough {
                    return draft.finish();
                }
                value.clear();
                path.pop();
            }
            Event::DocType(_) => return Err(Broken::Entities),
            Event::Eof if path.is_empty() => return draft.finish(),
            Event::Eof => return Err(Broken::Ended),
            Event::Empty(_) if path.is_empty() => return Err(Broken::NotAReport),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

fn keep(value: &mut String, piece: &str) {
    if value.len() + piece.len() <= LONGEST_TEXT {
        value.push_str(piece);
    }
}

/// The five entities that XML itself has, and characters by number.
fn character(reference: &BytesRef<'_>) -> Result<String, Broken> {
    if let Some(character) = reference.resolve_char_ref()? {
        return Ok(character.to_string());
    }
    let known = match &**reference {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "quot" => "\"",
        "apos" => "'",
        _ => return Err(Broken::Entities),
    };
    Ok(known.to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    GoesOn,
    Enough,
}

/// A report as far as it was read.
#[derive(Default)]
struct Draft {
    reporter: Option<String>,
    id: Option<String>,
    domain: Option<Domain>,
    begin: Option<Timestamp>,
    end: Option<Timestamp>,
    rows: BTreeMap<Facts, u64>,
    beyond: u64,
    unread: u64,
    records: u64,
    record: Record,
}

/// The record being read.
#[derive(Default)]
struct Record {
    source: Option<IpAddr>,
    count: Option<u64>,
    disposition: Option<Disposition>,
    spf: bool,
    dkim: bool,
    from: Option<Domain>,
}

impl Draft {
    /// An element has ended.
    fn take(&mut self, path: &[Tag], value: &str) -> Reading {
        let [Tag::Feedback, inner @ ..] = path else { return Reading::GoesOn };
        let record = &mut self.record;
        match inner {
            [Tag::Metadata, Tag::OrgName] => self.reporter = Some(text(value)),
            [Tag::Metadata, Tag::ReportId] => self.id = Some(text(value)),
            [Tag::Metadata, Tag::DateRange, Tag::Begin] => self.begin = moment(value),
            [Tag::Metadata, Tag::DateRange, Tag::End] => self.end = moment(value),
            [Tag::Published, Tag::Domain] => self.domain = value.parse().ok(),
            [Tag::Record, Tag::Row, Tag::SourceIp] => record.source = value.parse().ok(),
            [Tag::Record, Tag::Row, Tag::Count] => record.count = value.parse().ok(),
            [Tag::Record, Tag::Row, Tag::Evaluated, Tag::Disposition] => {
                record.disposition = match value.to_ascii_lowercase().as_str() {
                    // RFC 9990 calls it "pass" when nothing had to be done.
                    "none" | "pass" => Some(Disposition::None),
                    "quarantine" => Some(Disposition::Quarantine),
                    "reject" => Some(Disposition::Reject),
                    _ => None,
                };
            }
            [Tag::Record, Tag::Row, Tag::Evaluated, Tag::Dkim] => {
                record.dkim = value.eq_ignore_ascii_case("pass");
            }
            [Tag::Record, Tag::Row, Tag::Evaluated, Tag::Spf] => {
                record.spf = value.eq_ignore_ascii_case("pass");
            }
            [Tag::Record, Tag::Identifiers, Tag::HeaderFrom] => record.from = value.parse().ok(),
            [Tag::Record] => return self.end_record(),
            _ => {}
        }
        Reading::GoesOn
    }

    fn end_record(&mut self) -> Reading {
        self.records += 1;
        let Record { source, count, disposition, spf, dkim, from } =
            std::mem::take(&mut self.record);
        match (source, count) {
            (Some(source), Some(count)) => {
                let from = from.filter(|from| Some(from) != self.domain.as_ref());
                let disposition = disposition.unwrap_or(Disposition::None);
                let source = source.to_canonical();
                let facts = Facts { source, from, spf, dkim, disposition };
                let count = count.min(MOST_MESSAGES);
                let room = self.rows.len() < MOST_ROWS;
                match self.rows.get_mut(&facts) {
                    Some(known) => *known = known.saturating_add(count),
                    None if room => {
                        self.rows.insert(facts, count);
                    }
                    None => self.beyond = self.beyond.saturating_add(count),
                }
            }
            _ => self.unread += 1,
        }
        if self.records < MOST_RECORDS { Reading::GoesOn } else { Reading::Enough }
    }

    fn finish(self) -> Result<Aggregate, Broken> {
        let (Some(domain), Some(begin), Some(end)) = (self.domain, self.begin, self.end) else {
            return Err(Broken::NotAReport);
        };
        if end < begin {
            return Err(Broken::NotAReport);
        }
        let rows = self.rows.into_iter().map(|(facts, count)| Row { facts, count }).collect();
        Ok(Aggregate {
            reporter: self.reporter.unwrap_or_default(),
            id: self.id.unwrap_or_default(),
            domain,
            begin,
            end,
            rows,
            beyond: self.beyond,
            unread: self.unread,
        })
    }
}

/// Seconds since 1970; some reporters write a fraction.
fn moment(value: &str) -> Option<Timestamp> {
    let seconds = value.split_once('.').map_or(value, |(whole, _)| whole);
    Timestamp::from_second(seconds.parse().ok()?).ok()
}

/// The elements looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Feedback,
    Metadata,
    OrgName,
    ReportId,
    DateRange,
    Begin,
    End,
    Published,
    Domain,
    Record,
    Row,
    SourceIp,
    Count,
    Evaluated,
    Disposition,
    Dkim,
    Spf,
    Identifiers,
    HeaderFrom,
    Other,
}

impl Tag {
    fn of(name: &str) -> Self {
        match name {
            "feedback" => Self::Feedback,
            "report_metadata" => Self::Metadata,
            "org_name" => Self::OrgName,
            "report_id" => Self::ReportId,
            "date_range" => Self::DateRange,
            "begin" => Self::Begin,
            "end" => Self::End,
            "policy_published" => Self::Published,
            "domain" => Self::Domain,
            "record" => Self::Record,
            "row" => Self::Row,
            "source_ip" => Self::SourceIp,
            "count" => Self::Count,
            "policy_evaluated" => Self::Evaluated,
            "disposition" => Self::Disposition,
            "dkim" => Self::Dkim,
            "spf" => Self::Spf,
            "identifiers" => Self::Identifiers,
            "header_from" => Self::HeaderFrom,
            _ => Self::Other,
        }
    }
}
