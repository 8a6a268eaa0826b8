//! What was seen of others' mail, counted by day and domain until a report is made of it. Kept in
//! memory and put into the store in batches: a message costs no write of its own, and a power cut
//! takes the counts of some minutes. Bounded whatever comes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::aggregate::Disposition;
use crate::mail::Domain;
use crate::policy::Authentication;
use crate::policy::arc::Arc;
use crate::policy::dkim::verify::Dkim;
use crate::policy::dmarc::{Alignment, Dmarc, Policy, Verdict};
use crate::policy::spf::Spf;
use crate::store::{Batch, Store, StoreError};

/// What DMARC made of one message that came from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcSeen {
    /// Where the record was found: whom to tell.
    pub domain: Domain,
    /// What it says.
    pub published: Published,
    /// The rest.
    pub checked: Checked,
}

/// A domain's policy, as reports repeat it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// `p=`.
    pub policy: Disposition,
    /// `sp=`.
    pub subdomains: Option<Disposition>,
    /// `np=`.
    pub missing: Option<Disposition>,
    /// `adkim=s`.
    pub strict_dkim: bool,
    /// `aspf=s`.
    pub strict_spf: bool,
    /// `t=y`.
    pub testing: bool,
}

/// What was found out about a message, and done with it. Messages that are equal in this are
/// counted together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Who handed it in.
    pub source: IpAddr,
    /// The domain in `From`.
    pub from: Domain,
    /// The domain in MAIL; nothing for `<>`.
    pub envelope_from: Option<Domain>,
    /// SPF passed for a domain that belongs to the author's.
    pub spf_aligned: bool,
    /// So did a signature.
    pub dkim_aligned: bool,
    /// What was done.
    pub disposition: Disposition,
    /// That is less than the domain asks for, since a chain of forwarders vouched for the message.
    #[serde(default)]
    pub vouched: bool,
    /// The domain SPF was asked about, whether that was the one in MAIL, and the result's word.
    pub spf: Option<(Domain, bool, String)>,
    /// Each signature's domain, selector and the result's word. The first [`MOST_SIGNATURES`].
    pub dkim: Vec<(Domain, String, String)>,
}

/// What became of TLS with one domain on one day, as RFC 8460 §4 wants it told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSeen {
    /// Whose hosts.
    pub domain: Domain,
    /// `sts`, `tlsa` or `no-policy-found`.
    pub policy_type: String,
    /// The policy's lines, for `sts`.
    pub policy: Vec<String>,
    /// The hosts it names.
    pub hosts: Vec<String>,
    /// Conversations as the policy demands.
    pub good: u64,
    /// The others: kind in the words of RFC 8460 §4.3, host, how many.
    pub failures: Vec<(String, Option<String>, u64)>,
}

impl DmarcSeen {
    /// What there is to tell of a message: nothing when no domain asks about it, or when the DNS
    /// could not tell. `disposition` is what was done with the message because of DMARC, which may
    /// be less than what its author's domain asks for.
    pub fn of(known: &Authentication, disposition: Disposition) -> Option<Self> {
        let Dmarc { verdict, from, record, spf_aligned, dkim_aligned, .. } = &known.dmarc;
        let ((domain, record), from) = (record.as_ref()?, from.as_ref()?);
        // What nobody wants to hear costs no room.
        if !matches!(verdict, Verdict::Pass | Verdict::Fail) || record.reports.is_empty() {
            return None;
        }
        let origin = &known.origin;
        let sender = origin.peer.mail_from.address();
        let spf = origin.spf().map(|(domain, spf)| (domain, sender.is_some(), spf_word(spf)));
        let dkim = known.dkim.iter().filter_map(|signed| {
            let selector = signed.selector.as_ref()?.to_string();
            Some((signed.domain.clone()?, selector, dkim_word(&signed.verdict)))
        });
        Some(Self {
            domain: domain.clone(),
            published: Published {
                policy: record.own.map_or(Disposition::None, asked),
                subdomains: record.subdomains.map(asked),
                missing: record.missing.map(asked),
                strict_dkim: record.dkim == Alignment::Strict,
                strict_spf: record.spf == Alignment::Strict,
                testing: record.testing,
            },
            checked: Checked {
                source: origin.peer.ip.to_canonical(),
                from: from.clone(),
                envelope_from: sender.map(|sender| sender.domain().clone()),
                spf_aligned: *spf_aligned,
                dkim_aligned: *dkim_aligned,
                disposition,
                vouched: disposition != asked(known.dmarc.disposition)
                    && matches!(known.arc, Arc::Pass(_)),
                spf,
                dkim: dkim.take(MOST_SIGNATURES).collect(),
            },
        })
    }
}

pub(super) fn asked(policy: Policy) -> Disposition {
    match policy {
        Policy::None => Disposition::None,
        Policy::Quarantine => Disposition::Quarantine,
        Policy::Reject => Disposition::Reject,
    }
}

fn spf_word(spf: &Spf) -> String {
    let word = match spf {
        Spf::Pass => "pass",
        Spf::Fail => "fail",
        Spf::SoftFail => "softfail",
        Spf::Neutral => "neutral",
        Spf::None => "none",
        Spf::PermError(_) => "permerror",
        Spf::TempError(_) => "temperror",
    };
    word.to_owned()
}

fn dkim_word(verdict: &Dkim) -> String {
    let word = match verdict {
        Dkim::Pass => "pass",
        Dkim::Fail(_) => "fail",
        Dkim::Policy(_) => "policy",
        Dkim::PermError(_) => "permerror",
        Dkim::TempError(_) => "temperror",
    };
    word.to_owned()
}

/// Days that a count waits when no report can be sent.
pub(super) const WAIT_DAYS: i64 = 3;
/// Signatures told of one message.
const MOST_SIGNATURES: usize = 4;
/// Rows counted of one domain and day, and in all.
const MOST_ROWS: usize = 200;
const MOST_ROWS_IN_ALL: usize = 10_000;
/// Names under one that are counted on one day: whoever has a domain can make up any number, and
/// would leave no room for others, and no report of the day's.
const MOST_RELATIVES: usize = 20;
/// Characters of a word from a message.
const LONGEST_WORD: usize = 100;

const COUNTS: &str = "reports/out/dmarc/";
const SENT: &str = "reports/out/sent";

/// One day's count for one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    pub(super) published: Published,
    pub(super) rows: Vec<(Checked, u64)>,
}

/// All that waits to be reported.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: BTreeMap<(Date, Domain), Count>,
    rows: usize,
    /// Counts that the store does not know yet.
    changed: BTreeSet<(Date, Domain)>,
    sent: Sent,
    sent_changed: bool,
}

/// What was sent.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sent {
    /// Which day, and how many reports on it.
    today: Option<(Date, u32)>,
    /// TLS reports of the last days, sent or not wanted.
    tls: BTreeSet<(Date, Domain)>,
}

impl Tally {
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        let mut tally = Self::default();
        for (key, value) in store.settings(COUNTS)? {
            let place = key.strip_prefix(COUNTS).and_then(|rest| rest.split_once('/'));
            let place =
                place.and_then(|(day, domain)| Some((day.parse().ok()?, domain.parse().ok()?)));
            if let (Some(place), Ok(count)) = (place, serde_json::from_slice::<Count>(&value)) {
                tally.rows += count.rows.len();
                tally.counts.insert(place, count);
            }
        }
        if let Some(value) = store.setting(SENT)? {
            tally.sent = serde_json::from_slice(&value).unwrap_or_default();
        }
        Ok(tally)
    }

    pub(super) fn note(&mut self, day: Date, seen: DmarcSeen) {
        let DmarcSeen { domain, published, mut checked } = seen;
        checked.dkim.truncate(MOST_SIGNATURES);
        for (_, selector, result) in &mut checked.dkim {
            shorten(selector);
            shorten(result);
        }
        if let Some((_, _, result)) = &mut checked.spf {
            shorten(result);
        }
        let place = (day, domain);
        let new = !self.counts.contains_key(&place);
        if new && (self.rows >= MOST_ROWS_IN_ALL || self.relatives(&place) >= MOST_RELATIVES) {
            return;
        }
        let empty = Count { published: published.clone(), rows: Vec::new() };
        let count = self.counts.entry(place.clone()).or_insert(empty);
        count.published = published;
        let room = count.rows.len() < MOST_ROWS && self.rows < MOST_ROWS_IN_ALL;
        match count.rows.iter_mut().find(|(known, _)| *known == checked) {
            Some((_, times)) => *times = times.saturating_add(1),
            None if room => {
                count.rows.push((checked, 1));
                self.rows += 1;
            }
            None => return,
        }
        self.changed.insert(place);
    }

    /// How many names that end alike are counted on that day.
    fn relatives(&self, (day, domain): &(Date, Domain)) -> usize {
        let alike = |(on, other): &&(Date, Domain)| on == day && family(other) == family(domain);
        self.counts.keys().filter(alike).count()
    }

    /// Adds to `batch` what the store does not know. To be followed by its commit.
    pub(super) fn save(&mut self, batch: &mut Batch) -> bool {
        let changed = std::mem::take(&mut self.changed);
        let any = !changed.is_empty() || self.sent_changed;
        for place in changed {
            let key = key(&place);
            match self.counts.get(&place).map(serde_json::to_vec) {
                Some(Ok(value)) => batch.put_setting(&key, value),
                _ => batch.delete_setting(&key),
            };
        }
        if std::mem::take(&mut self.sent_changed)
            && let Ok(value) = serde_json::to_vec(&self.sent)
        {
            batch.put_setting(SENT, value);
        }
        any
    }

    /// The domains whose days before `today` wait; the older day first.
    pub(super) fn waiting(&self, today: Date) -> Vec<(Date, Domain)> {
        self.counts.keys().take_while(|(day, _)| *day < today).cloned().collect()
    }

    pub(super) fn get(&self, place: &(Date, Domain)) -> Option<Count> {
        self.counts.get(place).cloned()
    }

    /// It was reported, or nobody wants it.
    pub(super) fn done(&mut self, place: &(Date, Domain)) {
        if let Some(count) = self.counts.remove(place) {
            self.rows = self.rows.saturating_sub(count.rows.len());
            self.changed.insert(place.clone());
        }
    }

    pub(super) fn is_tls_done(&self, place: &(Date, Domain)) -> bool {
        self.sent.tls.contains(place)
    }

    pub(super) fn tls_done(&mut self, place: (Date, Domain), oldest: Date) {
        self.sent.tls.retain(|(day, _)| *day >= oldest);
        self.sent.tls.insert(place);
        self.sent_changed = true;
    }

    /// Reports sent on this day.
    pub(super) fn sent_on(&self, today: Date) -> u32 {
        self.sent.today.filter(|(day, _)| *day == today).map_or(0, |(_, count)| count)
    }

    pub(super) fn one_more(&mut self, today: Date) {
        self.sent.today = Some((today, self.sent_on(today).saturating_add(1)));
        self.sent_changed = true;
    }
}

/// The last two labels of a name.
fn family(domain: &Domain) -> &str {
    let name = domain.as_str();
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at + 1);
    dots.nth(1).and_then(|at| name.get(at..)).unwrap_or(name)
}

fn key((day, domain): &(Date, Domain)) -> String {
    format!("{COUNTS}{day}/{domain}")
}

fn shorten(word: &mut String) {
    if let Some((end, _)) = word.char_indices().nth(LONGEST_WORD) {
        word.truncate(end);
    }
}
