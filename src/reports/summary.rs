//! What the reports of some days say together, for the page and the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::SignedDuration;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::aggregate::{Disposition, Row};
use super::shelf::{self, Report, day_of};
use super::{Reports, ReportsError};
use crate::mail::Domain;

/// What others said about the last days.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many days were looked at.
    pub days: u16,
    /// How many reporters told of mail in our name.
    pub reporters: u64,
    /// How many told of connections to our hosts.
    pub tls_reporters: u64,
    /// Where mail in our names came from: by domain, the most messages first; not all of it.
    #[serde(default)]
    pub origins: Vec<Origin>,
    /// By day and domain, the newest day first.
    pub dmarc: Vec<DmarcDay>,
    /// Likewise.
    pub tls: Vec<TlsDay>,
}

/// Mail in one domain's name from one address, over all days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Whose name.
    pub domain: Domain,
    /// From where.
    pub source: std::net::IpAddr,
    /// Messages in all.
    pub messages: u64,
    /// Those that did not prove to be the domain's own.
    pub unproved: u64,
    /// Those of them that were put aside or refused.
    pub stopped: u64,
}

/// A day's mail in one domain's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmarcDay {
    /// Which day, by the world's clock.
    pub day: Date,
    /// Whose name.
    pub domain: Domain,
    /// Who told, and of how many messages.
    pub reporters: BTreeMap<String, u64>,
    /// Messages in all.
    pub messages: u64,
    /// Those that did not prove to be the domain's own.
    pub unproved: u64,
    /// Those of them that were put aside or refused.
    pub stopped: u64,
    /// Where unproved ones came from, the most first; not all of them.
    pub sources: Vec<(std::net::IpAddr, u64)>,
}

/// A day's connections for one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsDay {
    /// Which day, by the world's clock.
    pub day: Date,
    /// Mail for whom.
    pub domain: Domain,
    /// Connections that did as our policy demands.
    pub successes: u64,
    /// Those that did not.
    pub failures: u64,
    /// Failures by kind and host.
    pub details: BTreeMap<String, u64>,
}

/// Days looked at, at most.
const MOST_DAYS: u16 = 366;
/// Lists that are shown: more help nobody.
const MOST_SHOWN: usize = 20;

impl Reports {
    /// What others said about the last days, today included. Reads every report of these days: call
    /// it where waiting is allowed.
    pub fn summary(&self, days: u16) -> Result<Summary, ReportsError> {
        let days = days.clamp(1, MOST_DAYS);
        let today = day_of(self.inner.clock.now());
        let since = today.saturating_sub(SignedDuration::from_hours(24 * (i64::from(days) - 1)));
        let keys = self.inner.shelf().since(since);
        let mut gathered = Gathered::default();
        for key in keys {
            if let Some(report) = shelf::get(&self.inner.store, &key)? {
                gathered.add(report);
            }
        }
        Ok(gathered.finish(days))
    }
}

/// What was read so far.
#[derive(Default)]
struct Gathered {
    origins: BTreeMap<(Domain, std::net::IpAddr), Origin>,
    dmarc: BTreeMap<(Date, Domain), (DmarcDay, BTreeMap<std::net::IpAddr, u64>)>,
    tls: BTreeMap<(Date, Domain), TlsDay>,
    reporters: BTreeSet<String>,
    tls_reporters: BTreeSet<String>,
}

impl Gathered {
    fn add(&mut self, report: Report) {
        let day = report.day();
        match report {
            Report::Dmarc(report) => {
                self.reporters.insert(report.reporter.clone());
                let place = self.dmarc.entry((day, report.domain.clone()));
                let (of_day, sources) = place.or_insert_with(|| {
                    (DmarcDay::new(day, report.domain.clone()), BTreeMap::new())
                });
                let told = of_day.reporters.entry(report.reporter).or_default();
                *told = told.saturating_add(report.beyond);
                of_day.messages = of_day.messages.saturating_add(report.beyond);
                for row in report.rows {
                    let place = self.origins.entry((report.domain.clone(), row.facts.source));
                    place.or_insert_with_key(Origin::new).add(&row);
                    *told = told.saturating_add(row.count);
                    of_day.messages = of_day.messages.saturating_add(row.count);
                    if !row.facts.is_proved() {
                        of_day.unproved = of_day.unproved.saturating_add(row.count);
                        let source = sources.entry(row.facts.source).or_default();
                        *source = source.saturating_add(row.count);
                        if row.facts.disposition != Disposition::None {
                            of_day.stopped = of_day.stopped.saturating_add(row.count);
                        }
                    }
                }
            }
            Report::Tls(report) => {
                self.tls_reporters.insert(report.reporter);
                for policy in report.policies {
                    let place = self.tls.entry((day, policy.domain.clone()));
                    let of_day = place.or_insert_with(|| TlsDay::new(day, policy.domain));
                    of_day.successes = of_day.successes.saturating_add(policy.successes);
                    of_day.failures = of_day.failures.saturating_add(policy.failures);
                    for failure in policy.details {
                        let name = format!("{} at {}", failure.kind, failure.host);
                        if of_day.details.len() < MOST_SHOWN || of_day.details.contains_key(&name) {
                            let count = of_day.details.entry(name).or_default();
                            *count = count.saturating_add(failure.count);
                        }
                    }
                }
            }
        }
    }

    fn finish(self, days: u16) -> Summary {
        let dmarc = self.dmarc.into_values().rev().map(|(mut of_day, sources)| {
            let mut sources: Vec<_> = sources.into_iter().collect();
            sources.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            sources.truncate(MOST_SHOWN);
            of_day.sources = sources;
            of_day
        });
        let mut origins: Vec<Origin> = self.origins.into_values().collect();
        origins.sort_by(|a, b| (&a.domain, b.messages).cmp(&(&b.domain, a.messages)));
        let mut shown: BTreeMap<Domain, usize> = BTreeMap::new();
        origins.retain(|origin| {
            let shown = shown.entry(origin.domain.clone()).or_default();
            *shown += 1;
            *shown <= MOST_SHOWN
        });
        Summary {
            days,
            origins,
            reporters: self.reporters.len() as u64,
            tls_reporters: self.tls_reporters.len() as u64,
            dmarc: dmarc.collect(),
            tls: self.tls.into_values().rev().collect(),
        }
    }
}

impl Origin {
    fn new((domain, source): &(Domain, std::net::IpAddr)) -> Self {
        let (messages, unproved, stopped) = (0, 0, 0);
        Self { domain: domain.clone(), source: *source, messages, unproved, stopped }
    }

    fn add(&mut self, row: &Row) {
        self.messages = self.messages.saturating_add(row.count);
        if !row.facts.is_proved() {
            self.unproved = self.unproved.saturating_add(row.count);
            if row.facts.disposition != Disposition::None {
                self.stopped = self.stopped.saturating_add(row.count);
            }
        }
    }

    /// How many, and what became of them: "42 messages, all passed".
    pub fn told(&self) -> String {
        format!("{}, {}", capital(&counted(self.messages, "message", "messages")), self.outcome())
    }

    fn outcome(&self) -> String {
        let proved = self.messages.saturating_sub(self.unproved);
        let stopped = match self.stopped {
            0 => "none of those was stopped".to_owned(),
            1 => "one was put aside or refused".to_owned(),
            some => format!("{some} were put aside or refused"),
        };
        match (proved, self.unproved) {
            (1, 0) => "it passed".to_owned(),
            (_, 0) => "all passed".to_owned(),
            (0, 1) => format!("it did not pass; {stopped}"),
            (0, _) => format!("none passed; {stopped}"),
            (proved, unproved) => format!("{proved} passed, {unproved} did not; {stopped}"),
        }
    }
}

impl fmt::Display for Origin {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = capital(&counted(self.messages, "message", "messages"));
        let (domain, source) = (&self.domain, &self.source);
        write!(f, "{messages} in the name of {domain} from {source}, {}", self.outcome())
    }
}

impl DmarcDay {
    fn new(day: Date, domain: Domain) -> Self {
        let (reporters, sources) = (BTreeMap::new(), Vec::new());
        Self { day, domain, reporters, messages: 0, unproved: 0, stopped: 0, sources }
    }
}

impl TlsDay {
    fn new(day: Date, domain: Domain) -> Self {
        Self { day, domain, successes: 0, failures: 0, details: BTreeMap::new() }
    }
}

impl Summary {
    /// What it comes to, a sentence each.
    pub fn sentences(&self) -> Vec<String> {
        let mut said = Vec::new();
        let all = |count: fn(&DmarcDay) -> u64| {
            self.dmarc.iter().fold(0_u64, |sum, day| sum.saturating_add(count(day)))
        };
        let (messages, unproved) = (all(|day| day.messages), all(|day| day.unproved));
        if self.dmarc.is_empty() {
            said.push(format!(
                "No report about mail in your name came in the last {} days. Reports come once \
                 your DMARC record is published and large providers got mail of yours.",
                self.days
            ));
        } else {
            said.push(format!(
                "In the last {} days {} said that they got {} as yours; {}.",
                self.days,
                counted(self.reporters, "mail provider", "mail providers"),
                counted(messages, "message", "messages"),
                match unproved {
                    0 => "all of them proved it".to_owned(),
                    1 => "one of them did not prove it".to_owned(),
                    some => format!("{some} of them did not prove it"),
                }
            ));
            if unproved > 0 {
                said.push(format!(
                    "Of the unproved, {} put aside or refused there. If you know none of the \
                     addresses they came from, somebody used your name, and DMARC did its work; if \
                     one of them sends for you, it is missing in your SPF record.",
                    match all(|day| day.stopped) {
                        0 => "none was".to_owned(),
                        1 => "one was".to_owned(),
                        some => format!("{some} were"),
                    }
                ));
            }
        }
        let (mut good, mut bad) = (0_u64, 0_u64);
        for day in &self.tls {
            good = good.saturating_add(day.successes);
            bad = bad.saturating_add(day.failures);
        }
        if !self.tls.is_empty() {
            said.push(format!(
                "{} told of {} to this box under TLS; {}.",
                capital(&counted(self.tls_reporters, "mail provider", "mail providers")),
                counted(good.saturating_add(bad), "connection", "connections"),
                if bad == 0 { "all were well".to_owned() } else { format!("{bad} failed") }
            ));
        }
        said
    }
}

fn counted(count: u64, one: &str, more: &str) -> String {
    if count == 1 { format!("one {one}") } else { format!("{count} {more}") }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + characters.as_str()
}
