//! What became of TLS, counted per domain and day, for the reports of RFC 8460. Bounded: so many
//! domains a day, so many kinds of failure each, so many days.

use serde::{Deserialize, Serialize};

use super::sts::{Policy, Unreadable};
use crate::mail::Domain;
use crate::smtp::client::{CertificateFault, Encryption, Fault};
use crate::store::{Batch, Store, StoreError};

/// What became of TLS with one domain on one day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsTally {
    /// Which kind of policy the domain has: `sts`, `tlsa` or `no-policy-found`.
    pub policy_type: String,
    /// The policy's lines, for `sts`.
    #[serde(default)]
    pub policy: Vec<String>,
    /// The hosts it names.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Conversations as the policy demands.
    pub good: u64,
    /// The others, by kind and host.
    #[serde(default)]
    pub failures: Vec<TlsFailure>,
}

/// Conversations that failed in the same manner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFailure {
    /// In the words of RFC 8460 §4.3.
    pub kind: String,
    /// The mail host; nothing when it did not come that far.
    pub host: Option<String>,
    /// How often.
    pub count: u64,
}

/// One conversation, or why there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) domain: Domain,
    pub(super) basis: Basis,
    pub(super) host: Option<Domain>,
    /// Nothing when all was well.
    pub(super) failure: Option<&'static str>,
}

/// Which policy a host was held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Basis {
    None,
    Sts(std::sync::Arc<Policy>),
    Dane,
}

impl Fact {
    /// A conversation that took place.
    pub(super) fn held(domain: &Domain, basis: &Basis, host: &Domain, tls: Encryption) -> Self {
        let failure = match (tls, basis) {
            (Encryption::Proved, _) => None,
            // Without a policy, any certificate is as it should be.
            (Encryption::Unproved(_), Basis::None) => None,
            (Encryption::None, _) => Some("starttls-not-supported"),
            (Encryption::Broken(fault) | Encryption::Unproved(fault), _) => Some(kind(fault)),
        };
        Self { domain: domain.clone(), basis: basis.clone(), host: Some(host.clone()), failure }
    }

    /// A conversation that did not take place, when TLS was the reason.
    pub(super) fn missed(
        domain: &Domain,
        basis: &Basis,
        host: &Domain,
        fault: &Fault,
    ) -> Option<Self> {
        let failure = match fault {
            Fault::Tls(error) => match (CertificateFault::in_handshake(error), basis) {
                (CertificateFault::Untrusted, Basis::Dane) => "tlsa-invalid",
                (fault, _) => kind(fault),
            },
            Fault::NoTls => "starttls-not-supported",
            _ => return None,
        };
        let (domain, host) = (domain.clone(), Some(host.clone()));
        Some(Self { domain, basis: basis.clone(), host, failure: Some(failure) })
    }

    /// A policy that there is and that cannot be had.
    pub(super) fn unreadable(domain: &Domain, why: Unreadable) -> Self {
        let failure = Some(match why {
            Unreadable::Fetch => "sts-policy-fetch-error",
            Unreadable::Certificate => "sts-webpki-invalid",
            Unreadable::Invalid => "sts-policy-invalid",
        });
        Self { domain: domain.clone(), basis: Basis::None, host: None, failure }
    }
}

fn kind(fault: CertificateFault) -> &'static str {
    match fault {
        CertificateFault::Name => "certificate-host-mismatch",
        CertificateFault::Expired => "certificate-expired",
        CertificateFault::Untrusted => "certificate-not-trusted",
        CertificateFault::Other => "validation-failure",
    }
}

/// Adds what was learnt on `day` (days since 1970) to `batch`, and forgets what is too old.
pub(super) fn add(
    store: &Store,
    batch: &mut Batch,
    day: i64,
    facts: &[Fact],
) -> Result<(), StoreError> {
    let mut tallies: Vec<(String, TlsTally)> = Vec::new();
    for fact in facts {
        let key = key(day, &fact.domain);
        let at = match tallies.iter().position(|(known, _)| *known == key) {
            Some(at) => at,
            None => {
                let Some(tally) = begin(store, batch, day, &key)? else { continue };
                tallies.push((key, tally));
                tallies.len() - 1
            }
        };
        if let Some((_, tally)) = tallies.get_mut(at) {
            tally.count(fact);
        }
    }
    for (key, tally) in tallies {
        batch.put_setting(&key, serde_json::to_vec(&tally).unwrap_or_default());
    }
    Ok(())
}

/// The tally under this key. Nothing when the day has too many already.
fn begin(
    store: &Store,
    batch: &mut Batch,
    day: i64,
    key: &str,
) -> Result<Option<TlsTally>, StoreError> {
    if let Some(stored) = store.setting(key)? {
        return Ok(Some(serde_json::from_slice(&stored).unwrap_or_default()));
    }
    let mut today = 0;
    for (known, _) in store.settings(PREFIX)? {
        match day_of(&known) {
            Some(other) if other == day => today += 1,
            Some(other) if other < day && other >= day - DAYS => {}
            _ => {
                batch.delete_setting(&known);
            }
        }
    }
    Ok((today < DOMAINS).then(TlsTally::default))
}

/// What was counted on one day.
pub(super) fn of_day(store: &Store, day: i64) -> Result<Vec<(Domain, TlsTally)>, StoreError> {
    let prefix = format!("{PREFIX}{day}/");
    let all = store.settings(&prefix)?.into_iter().filter_map(|(key, value)| {
        let domain = key.strip_prefix(&prefix)?.parse().ok()?;
        Some((domain, serde_json::from_slice(&value).ok()?))
    });
    Ok(all.collect())
}

impl TlsTally {
    fn count(&mut self, fact: &Fact) {
        match &fact.basis {
            Basis::Sts(policy) => {
                "sts".clone_into(&mut self.policy_type);
                self.policy = policy.lines.clone();
                self.hosts = policy.hosts().to_vec();
            }
            Basis::Dane => "tlsa".clone_into(&mut self.policy_type),
            Basis::None if fact.failure.is_some_and(|kind| kind.starts_with("sts-")) => {
                "sts".clone_into(&mut self.policy_type);
            }
            Basis::None if self.policy_type.is_empty() => {
                "no-policy-found".clone_into(&mut self.policy_type);
            }
            Basis::None => {}
        }
        let Some(kind) = fact.failure else {
            self.good = self.good.saturating_add(1);
            return;
        };
        let host = fact.host.as_ref().map(ToString::to_string);
        let same = |known: &&mut TlsFailure| known.kind == kind && known.host == host;
        if let Some(known) = self.failures.iter_mut().find(same) {
            known.count = known.count.saturating_add(1);
        } else if self.failures.len() < KINDS {
            self.failures.push(TlsFailure { kind: kind.to_owned(), host, count: 1 });
        }
    }
}

fn key(day: i64, domain: &Domain) -> String {
    format!("{PREFIX}{day}/{domain}")
}

fn day_of(key: &str) -> Option<i64> {
    key.strip_prefix(PREFIX)?.split('/').next()?.parse().ok()
}

const PREFIX: &str = "queue/tls/";
/// A report is sent for the day before; one day more in case the box was off.
const DAYS: i64 = 3;
const DOMAINS: usize = 500;
const KINDS: usize = 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;
    use crate::store::Options;

    fn fact(domain: &str, tls: Encryption) -> Fact {
        let host = "mx.far.test".parse().unwrap();
        Fact::held(&domain.parse().unwrap(), &Basis::Dane, &host, tls)
    }

    #[tokio::test]
    async fn results_are_counted_by_domain_and_day_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let put = async |day, facts: &[Fact]| {
            let mut batch = Batch::new();
            add(&store, &mut batch, day, facts).unwrap();
            store.commit(batch).await.unwrap();
        };
        let bad = Encryption::Broken(CertificateFault::Name);
        put(10, &[fact("far.test", Encryption::Proved), fact("far.test", bad)]).await;
        put(10, &[fact("far.test", bad), fact("near.test", Encryption::None)]).await;
        let of = |day| of_day(&store, day).unwrap();
        assert_eq!(of(10).len(), 2);
        let (_, far) = of(10).swap_remove(0);
        assert_eq!((far.policy_type.as_str(), far.good), ("tlsa", 1));
        assert_eq!(far.failures.len(), 1);
        assert_eq!(
            (far.failures[0].kind.as_str(), far.failures[0].count),
            ("certificate-host-mismatch", 2)
        );

        let many: Vec<Fact> =
            (0..DOMAINS + 10).map(|n| fact(&format!("d{n}.test"), Encryption::Proved)).collect();
        for some in many.chunks(50) {
            put(11, some).await;
        }
        assert!(of(11).len() <= DOMAINS + 50);
        put(10 + DAYS + 1, &[fact("far.test", Encryption::Proved)]).await;
        assert!(of(10).is_empty() && !of(11).is_empty());
    }
}
