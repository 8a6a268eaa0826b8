//! MTA-STS (RFC 8461): a domain says over HTTPS that its mail hosts have TLS with a right
//! certificate, and which hosts these are. A policy is remembered, through restarts too, for as
//! long as it says, so that whoever comes between later cannot hide it.

mod fetch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dns::{Answer, Resolver};
use crate::mail::Domain;
use crate::store::{Batch, Store, StoreError};
use fetch::FetchError;
pub(super) use fetch::Fetcher;

/// The policies of the domains we send to.
pub(super) struct Policies {
    store: Store,
    resolver: Resolver,
    fetcher: Fetcher,
    /// Domains whose policy could not be fetched; not tried again for a while.
    failed: Mutex<HashMap<Domain, Instant>>,
}

/// What a domain demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    pub(super) mode: Mode,
    /// Hosts, `*.` in front for one label of any name.
    mx: Vec<String>,
    /// Seconds.
    max_age: u64,
    /// Its lines, for reports.
    pub(super) lines: Vec<String>,
}

/// How much a policy means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// Nothing is sent otherwise.
    Enforce,
    /// Failures are reported, and mail flows.
    Testing,
    /// The domain gave it up.
    None,
}

/// What is known about a domain's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// It has none.
    Nothing,
    /// It has this one.
    Policy(Arc<Policy>),
    /// It has one that cannot be had; mail flows as if there were none (§5).
    Unreadable(Unreadable),
}

/// Why a policy cannot be had, in the words of RFC 8460 §4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    Fetch,
    Certificate,
    Invalid,
}

/// A policy as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Cached {
    /// From the TXT record: a new one means a new policy.
    id: String,
    fetched: Timestamp,
    policy: Policy,
}

impl Policies {
    pub(super) fn new(store: Store, resolver: Resolver, fetcher: Fetcher) -> Self {
        Self { store, resolver, fetcher, failed: Mutex::default() }
    }

    /// What `domain` demands at this time. Never fails: where nothing can be found out, what was
    /// found before counts.
    pub(super) async fn of(&self, domain: &Domain, now: Timestamp) -> Known {
        let cached = self.cached(domain, now);
        let known = |cached: &Option<Cached>| match cached {
            Some(Cached { policy, .. }) if policy.mode != Mode::None => {
                Known::Policy(Arc::new(policy.clone()))
            }
            _ => Known::Nothing,
        };
        let Some(id) = self.published(domain).await else { return known(&cached) };
        let half_way = |cached: &Cached| {
            let age = now.duration_since(cached.fetched).as_secs();
            u64::try_from(age).unwrap_or(0) > cached.policy.max_age / 2
        };
        let fresh = cached.as_ref().is_some_and(|cached| cached.id == id && !half_way(cached));
        if fresh || self.failed_lately(domain) {
            return known(&cached);
        }
        match self.fetcher.fetch(&self.resolver, domain).await {
            Ok(policy) => {
                let policy = Cached { id, fetched: now, policy };
                if let Err(error) = self.keep(domain, &policy, now).await {
                    tracing::warn!(%domain, %error, "an MTA-STS policy is not remembered");
                }
                known(&Some(policy))
            }
            Err(error) => {
                tracing::info!(%domain, %error, "no MTA-STS policy");
                self.remember_failure(domain);
                match known(&cached) {
                    Known::Nothing if cached.is_none() => Known::Unreadable(match error {
                        FetchError::Tls(_) => Unreadable::Certificate,
                        FetchError::Invalid(_) => Unreadable::Invalid,
                        _ => Unreadable::Fetch,
                    }),
                    other => other,
                }
            }
        }
    }

    /// The id of the policy, when the DNS says that there is one (§3.1).
    async fn published(&self, domain: &Domain) -> Option<String> {
        let name = domain.child("_mta-sts").ok()?;
        match self.resolver.txt(&name).await {
            Answer::Yes(texts) => policy_id(&texts),
            Answer::No(_) | Answer::CouldNotTell(_) => None,
        }
    }

    fn cached(&self, domain: &Domain, now: Timestamp) -> Option<Cached> {
        let stored = self.store.setting(&key(domain)).ok().flatten()?;
        let cached: Cached = serde_json::from_slice(&stored).ok()?;
        is_alive(&cached, now).then_some(cached)
    }

    async fn keep(
        &self,
        domain: &Domain,
        cached: &Cached,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        let known = self.store.settings(PREFIX)?;
        if known.len() >= MOST {
            let mut ages: Vec<(Timestamp, &str)> = Vec::new();
            for (key, value) in &known {
                match serde_json::from_slice::<Cached>(value) {
                    Ok(other) if is_alive(&other, now) => ages.push((other.fetched, key)),
                    _ => {
                        batch.delete_setting(key);
                    }
                }
            }
            ages.sort_unstable();
            let excess = (ages.len() + 1).saturating_sub(MOST);
            for (_, key) in ages.iter().take(excess) {
                batch.delete_setting(key);
            }
        }
        batch.put_setting(&key(domain), serde_json::to_vec(cached).unwrap_or_default());
        self.store.commit(batch).await.map(drop)
    }

    fn failed_lately(&self, domain: &Domain) -> bool {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, at| at.elapsed() < FAILED_FOR);
        failed.contains_key(domain)
    }

    fn remember_failure(&self, domain: &Domain) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() < MOST {
            failed.insert(domain.clone(), Instant::now());
        }
    }
}

impl Policy {
    /// Reads a policy (§3.2).
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let (mut mx, mut lines) = (Vec::new(), Vec::new());
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(':').ok_or("a line without colon")?;
            let value = value.trim();
            // Of a field that stands twice the first one counts.
            match key.trim() {
                "version" if version.is_none() => version = Some(value),
                "mode" if mode.is_none() => {
                    mode = Some(match value {
                        "enforce" => Mode::Enforce,
                        "testing" => Mode::Testing,
                        "none" => Mode::None,
                        other => return Err(format!("the mode {other:?} is not known")),
                    });
                }
                "max_age" if max_age.is_none() => {
                    let seconds: u64 = value.parse().map_err(|_| "max_age is no number")?;
                    max_age = Some(seconds.min(LONGEST));
                }
                "mx" if mx.len() < MOST_HOSTS => mx.push(pattern(value)?),
                "mx" => return Err("too many hosts".to_owned()),
                _ => continue,
            }
            lines.push(line.to_owned());
        }
        if version != Some("STSv1") {
            return Err("it is not of version STSv1".to_owned());
        }
        let mode = mode.ok_or("it says no mode")?;
        let max_age = max_age.ok_or("it says no max_age")?;
        if mx.is_empty() && mode != Mode::None {
            return Err("it names no host".to_owned());
        }
        Ok(Self { mode, mx, max_age, lines })
    }

    /// Whether mail may go to this host (§4.1).
    pub(super) fn names(&self, host: &Domain) -> bool {
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(rest) => host.as_str().split_once('.').is_some_and(|(_, parent)| parent == rest),
            None => pattern == host.as_str(),
        })
    }

    /// The hosts, as reports name them.
    pub(super) fn hosts(&self) -> &[String] {
        &self.mx
    }
}

/// A pattern in the form hosts have here: A-labels in lower case.
fn pattern(text: &str) -> Result<String, String> {
    let (star, name) = match text.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", text),
    };
    let name: Domain = name.parse().map_err(|_| format!("{text:?} is not a host name"))?;
    Ok(format!("{star}{name}"))
}

/// The id in the TXT records; nothing unless there is exactly one record (§3.1).
fn policy_id(texts: &[String]) -> Option<String> {
    let mut ours = texts.iter().filter(|text| {
        let rest = text.strip_prefix("v=STSv1");
        rest.is_some_and(|rest| rest.trim_start().starts_with(';'))
    });
    let (Some(text), None) = (ours.next(), ours.next()) else { return None };
    let fields = text.split(';').filter_map(|field| field.trim().split_once('='));
    let id = fields.filter(|(key, _)| key.trim() == "id").map(|(_, id)| id.trim()).next()?;
    let sound = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    sound.then(|| id.to_owned())
}

fn is_alive(cached: &Cached, now: Timestamp) -> bool {
    let age = now.duration_since(cached.fetched).as_secs();
    // One from the future was fetched before the clock was set back.
    u64::try_from(age).unwrap_or(0) <= cached.policy.max_age
}

fn key(domain: &Domain) -> String {
    format!("{PREFIX}{domain}")
}

const PREFIX: &str = "queue/sts/";
/// Policies remembered.
const MOST: usize = 1_000;
const MOST_HOSTS: usize = 100;
/// About a year (§3.2).
const LONGEST: u64 = 31_557_600;
const FAILED_FOR: Duration = Duration::from_mins(5);

#[cfg(all(test, feature = "demo"))]
mod tests;
