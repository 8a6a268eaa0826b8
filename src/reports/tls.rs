//! TLS reports of others about connections to our mail hosts (RFC 8460): JSON that streams past.
//! Unknown members are passed over, lists and texts are cut to what a page can show.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Broken, text};
use crate::mail::Domain;

/// What one reporter saw of connections to a domain's hosts, in a day as a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsReport {
    /// Who reports, in its own words.
    pub reporter: String,
    /// The reporter's name for the report.
    pub id: String,
    /// The first moment it is about.
    pub begin: Timestamp,
    /// The last one.
    pub end: Timestamp,
    /// One for each policy that was applied.
    pub policies: Vec<TlsPolicy>,
}

/// Connections under one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsPolicy {
    /// The domain mail was for.
    pub domain: Domain,
    /// What demanded TLS.
    pub kind: PolicyKind,
    /// Connections that did as the policy demands.
    pub successes: u64,
    /// Those that did not.
    pub failures: u64,
    /// The failures by what was wrong and where.
    pub details: Vec<Failure>,
}

/// What demanded TLS (RFC 8460 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// DANE.
    Tlsa,
    /// MTA-STS.
    Sts,
    /// Nothing did.
    NoPolicyFound,
}

/// Failures of one kind at one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The word of RFC 8460 §4.3, such as `certificate-expired`.
    pub kind: String,
    /// The host that was asked; empty when it was not said.
    pub host: String,
    /// How many connections.
    pub count: u64,
}

/// Policies kept of one report, and failures of one policy.
const MOST_POLICIES: usize = 64;
const MOST_DETAILS: usize = 100;

/// Reads a report.
pub(super) fn read(json: impl BufRead) -> Result<TlsReport, Broken> {
    let wire: Wire = serde_json::from_reader(json)?;
    let policies = wire.policies.0.into_iter().filter_map(WirePolicy::understood).collect();
    let (begin, end) = (wire.range.begin, wire.range.end);
    if end < begin {
        return Err(Broken::NotAReport);
    }
    Ok(TlsReport { reporter: wire.organisation.0, id: wire.id.0, begin, end, policies })
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "organization-name", default)]
    organisation: Text,
    #[serde(rename = "report-id", default)]
    id: Text,
    #[serde(rename = "date-range")]
    range: WireRange,
    policies: Few<WirePolicy, MOST_POLICIES>,
}

#[derive(Deserialize)]
struct WireRange {
    #[serde(rename = "start-datetime")]
    begin: Timestamp,
    #[serde(rename = "end-datetime")]
    end: Timestamp,
}

#[derive(Deserialize)]
struct WirePolicy {
    policy: WireTerms,
    #[serde(default)]
    summary: WireSummary,
    #[serde(rename = "failure-details", default)]
    details: Few<WireFailure, MOST_DETAILS>,
}

#[derive(Deserialize)]
struct WireTerms {
    #[serde(rename = "policy-type", default)]
    kind: Text,
    #[serde(rename = "policy-domain", default)]
    domain: Text,
}

#[derive(Deserialize, Default)]
struct WireSummary {
    #[serde(rename = "total-successful-session-count", default)]
    successes: u64,
    #[serde(rename = "total-failure-session-count", default)]
    failures: u64,
}

#[derive(Deserialize)]
struct WireFailure {
    #[serde(rename = "result-type", default)]
    kind: Text,
    #[serde(rename = "receiving-mx-hostname", default)]
    host: Text,
    #[serde(rename = "failed-session-count", default)]
    count: u64,
}

impl WirePolicy {
    /// Nothing when it is not said which domain it is about.
    fn understood(self) -> Option<TlsPolicy> {
        let mut details: BTreeMap<(String, String), u64> = BTreeMap::new();
        for WireFailure { kind, host, count } in self.details.0 {
            let known = details.entry((kind.0, host.0)).or_default();
            *known = known.saturating_add(count);
        }
        let details = details.into_iter();
        Some(TlsPolicy {
            domain: self.policy.domain.0.parse().ok()?,
            kind: match self.policy.kind.0.as_str() {
                "tlsa" => PolicyKind::Tlsa,
                "sts" => PolicyKind::Sts,
                _ => PolicyKind::NoPolicyFound,
            },
            successes: self.summary.successes,
            failures: self.summary.failures,
            details: details.map(|((kind, host), count)| Failure { kind, host, count }).collect(),
        })
    }
}

/// A short text; `null` is an empty one.
#[derive(Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let whole = Option::<String>::deserialize(from)?.unwrap_or_default();
        Ok(Self(text(&whole)))
    }
}

/// A list of which the first elements are kept; `null` is an empty one.
struct Few<T, const MOST: usize>(Vec<T>);

impl<T, const MOST: usize> Default for Few<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Few<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for FewVisitor<T, MOST> {
    type Value = Few<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Few::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MOST {
            let Some(one) = list.next_element()? else { return Ok(Few(kept)) };
            kept.push(one);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Few(kept))
    }
}
