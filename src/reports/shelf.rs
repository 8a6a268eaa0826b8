//! The reports that were kept, in the store's settings: one value each, its name made of the day,
//! the kind, and a hash of reporter and number, so that a report that comes twice is kept once.
//! Bounded in age, number, bytes, and in how many a day brings; the oldest go.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::aggregate::Aggregate;
use super::tls::TlsReport;
use crate::mail::Domain;
use crate::store::{Batch, Store, StoreError};

/// A report that was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// About mail in our name.
    Dmarc(Aggregate),
    /// About connections to our hosts.
    Tls(TlsReport),
}

impl Report {
    /// What of it is about domains of ours, and those below them.
    pub(super) fn about(self, is_ours: impl Fn(&Domain) -> bool) -> Option<Self> {
        let ours = |domain: &Domain| {
            let mut name = domain.as_str();
            loop {
                if name.parse().is_ok_and(|domain| is_ours(&domain)) {
                    return true;
                }
                let Some((_, above)) = name.split_once('.') else { return false };
                name = above;
            }
        };
        match self {
            Self::Dmarc(report) => ours(&report.domain).then_some(Self::Dmarc(report)),
            Self::Tls(mut report) => {
                report.policies.retain(|policy| ours(&policy.domain));
                (!report.policies.is_empty()).then_some(Self::Tls(report))
            }
        }
    }

    /// The day it is about: a report of a day ends in its last second, or the first of the next.
    pub(super) fn day(&self) -> Date {
        let (begin, end) = match self {
            Self::Dmarc(report) => (report.begin, report.end),
            Self::Tls(report) => (report.begin, report.end),
        };
        let middle = begin.as_second().midpoint(end.as_second());
        day_of(Timestamp::from_second(middle).unwrap_or(end))
    }

    /// Where it is kept.
    fn key(&self) -> String {
        let (kind, reporter, id) = match self {
            Self::Dmarc(report) => ("dmarc", &report.reporter, &report.id),
            Self::Tls(report) => ("tls", &report.reporter, &report.id),
        };
        let domain = match self {
            Self::Dmarc(report) => report.domain.as_str(),
            Self::Tls(_) => "",
        };
        let hash = blake3::hash(format!("{reporter}\n{id}\n{domain}").as_bytes()).to_hex();
        format!("{PREFIX}{}/{kind}/{}", self.day(), hash.get(..24).unwrap_or_default())
    }
}

/// The day of a moment, by the world's clock: reports are cut so.
pub(super) fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Names and sizes of what is kept.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    sizes: BTreeMap<String, usize>,
    bytes: usize,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is new.
    New,
    /// It was there.
    Known,
    /// It is about a time that cannot be, or too long ago.
    OutOfTime,
    /// Too many about that day.
    TooMany,
}

impl Shelf {
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        let mut shelf = Self::default();
        for (key, value) in store.settings(PREFIX)? {
            shelf.bytes += value.len();
            shelf.sizes.insert(key, value.len());
        }
        Ok(shelf)
    }

    /// Adds to `batch` what keeping a report means. To be followed by its commit; should that fail,
    /// the shelf has to be loaded anew.
    pub(super) fn put(&mut self, report: &Report, now: Timestamp, batch: &mut Batch) -> Kept {
        let (day, today) = (report.day(), day_of(now));
        let oldest = oldest(today);
        let newest = today.saturating_add(SignedDuration::from_hours(48));
        if day < oldest || day > newest {
            return Kept::OutOfTime;
        }
        let key = report.key();
        if self.sizes.contains_key(&key) {
            return Kept::Known;
        }
        let of_day = format!("{PREFIX}{day}/");
        let same_day =
            self.sizes.range(of_day.clone()..).take_while(|(k, _)| k.starts_with(&of_day));
        if same_day.count() >= MOST_A_DAY {
            return Kept::TooMany;
        }
        let Ok(value) = serde_json::to_vec(report) else { return Kept::OutOfTime };
        self.bytes += value.len();
        self.sizes.insert(key.clone(), value.len());
        batch.put_setting(&key, value);
        let end = format!("{PREFIX}{oldest}");
        while self.sizes.first_key_value().is_some_and(|(first, _)| *first < end)
            || self.sizes.len() > MOST_REPORTS
            || self.bytes > MOST_BYTES
        {
            let Some((old, size)) = self.sizes.pop_first() else { break };
            self.bytes -= size;
            batch.delete_setting(&old);
        }
        Kept::New
    }

    /// The keys of all reports about this day and later ones.
    pub(super) fn since(&self, day: Date) -> Vec<String> {
        self.sizes.range(format!("{PREFIX}{day}")..).map(|(key, _)| key.clone()).collect()
    }
}

/// One report as it was kept; nothing when it is gone, or of a release that wrote others.
pub(super) fn get(store: &Store, key: &str) -> Result<Option<Report>, StoreError> {
    let value = store.setting(key)?;
    Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
}

/// The first day that is kept.
pub(super) fn oldest(today: Date) -> Date {
    today.saturating_sub(SignedDuration::from_hours(24 * KEEP_DAYS))
}

const PREFIX: &str = "reports/in/";
/// Days a report is kept.
const KEEP_DAYS: i64 = 366;
/// Reports kept in all, and their bytes.
pub(super) const MOST_REPORTS: usize = 10_000;
pub(super) const MOST_BYTES: usize = 16 << 20;
/// Reports about one day: a household's mail reaches some ten reporters. So a flood of forged ones
/// reaches no further than the day it claims.
pub(super) const MOST_A_DAY: usize = 200;
