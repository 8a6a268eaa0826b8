//! Answers proved by DNSSEC (RFC 4035), checked here from the root's keys down, and the TLSA records
//! of mail hosts (RFC 6698, RFC 7672), which mean nothing without such a proof.
//!
//! A forged answer is *could not tell*, so that mail waits. Only servers that hand signatures
//! through can be held to that: many a router at home does not. Whether ours do is tried at the
//! root's own records; while they do not, nothing counts as proved and nothing as forged.

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hickory_proto::dnssec::{Proof, TrustAnchors};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::tlsa;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::net::{DnsError, NetError};

use super::{
    Absence, Answer, Mx, Pair, Resolver, address, both, exchange, failure, in_order, name,
    to_domain,
};
use crate::mail::Domain;

/// An answer, and whether DNSSEC proves it. A *no* can be proved too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved<T> {
    /// What the DNS said.
    pub answer: Answer<T>,
    /// It was signed, and the signatures are right.
    pub secure: bool,
}

impl Resolver {
    /// [`Resolver::mx`], proved where possible. Without `timely`, the clock cannot be believed:
    /// signatures have dates, so nothing is proved then.
    pub async fn proved_mx(&self, domain: &Domain, timely: bool) -> Proved<Vec<Mx>> {
        let Some(pair) = self.proving(timely).await else {
            return Proved { answer: self.mx(domain).await, secure: false };
        };
        pair.prove(name(domain), RecordType::MX, exchange).await.map(in_order)
    }

    /// [`Resolver::addresses`], proved where possible.
    pub async fn proved_addresses(&self, host: &Domain, timely: bool) -> Proved<Vec<IpAddr>> {
        let Some(pair) = self.proving(timely).await else {
            return Proved { answer: self.addresses(host).await, secure: false };
        };
        let (v4, v6) = tokio::join!(
            pair.prove(name(host), RecordType::A, address),
            pair.prove(name(host), RecordType::AAAA, address),
        );
        // What is found must be proved. A family that is missing, or could not be told, lifts no
        // proof of the other: else a forger of the one could do away with DANE.
        let proved =
            |one: &Proved<Vec<IpAddr>>| one.secure || !matches!(one.answer, Answer::Yes(_));
        let secure = proved(&v4) && proved(&v6) && (v4.secure || v6.secure);
        Proved { answer: both(v4.answer, v6.answer), secure }
    }

    /// The TLSA records for SMTP at this host and port (RFC 7672 §2.2). Only when
    /// [`Proved::secure`] may they be used, or their absence be believed.
    pub async fn tlsa(&self, host: &Domain, port: u16, timely: bool) -> Proved<Vec<Tlsa>> {
        let Some(pair) = self.proving(timely).await else {
            return Proved { answer: Answer::No(Absence::NoRecord), secure: false };
        };
        let at = host.child("_tcp").and_then(|name| name.child(&format!("_{port}")));
        let at = at.map_err(|error| error.to_string()).and_then(|at| name(&at));
        pair.prove(at, RecordType::TLSA, |data| match data {
            RData::TLSA(record) => Some(Tlsa::from(record)),
            _ => None,
        })
        .await
    }

    /// The names at which the TLSA records of a host may stand, of which the first that has some
    /// counts (RFC 7672 §2.2.2): where its aliases end, when all on the way there is proved, and
    /// its own. None when nothing is proved. `found` is whether its addresses are.
    pub async fn tlsa_names(
        &self,
        host: &Domain,
        found: bool,
        timely: bool,
    ) -> Answer<Vec<Domain>> {
        let Some(pair) = self.proving(timely).await else { return Answer::Yes(Vec::new()) };
        let mut end = host.clone();
        for _ in 0..MAX_ALIASES {
            let alias = pair.prove(name(&end), RecordType::CNAME, |data| match data {
                RData::CNAME(target) => to_domain(&target.0),
                _ => None,
            });
            let alias = alias.await;
            match (alias.answer, &end == host) {
                (Answer::CouldNotTell(why), _) => return Answer::CouldNotTell(why),
                (Answer::Yes(targets), _) if alias.secure => {
                    let Some(target) = targets.into_iter().next() else { break };
                    end = target;
                }
                (Answer::No(_), true) if found => return Answer::Yes(vec![end]),
                (Answer::No(_), false) if found => return Answer::Yes(vec![end, host.clone()]),
                // Without proof from the start; else what it leads to is not proved, but that it
                // is an alias is.
                (_, true) => return Answer::Yes(Vec::new()),
                (_, false) => break,
            }
        }
        Answer::Yes(vec![host.clone()])
    }

    /// The servers to ask for proofs, when proofs can be had.
    async fn proving(&self, timely: bool) -> Option<Pair> {
        let pair = self.present().ok().filter(|_| timely)?;
        pair.is_able().await.then_some(pair)
    }
}

impl Pair {
    /// Whether the servers hand signatures through; tried again after some time.
    async fn is_able(&self) -> bool {
        if let Some(able) = self.able.known() {
            return able;
        }
        let root = self.proving.lookup(Name::root(), RecordType::SOA).await;
        let able = root.is_ok_and(|found| {
            let mut answers = found.answers().iter();
            answers.any(|r| r.record_type() == RecordType::SOA && r.proof == Proof::Secure)
        });
        self.able.learn(able);
        able
    }

    /// One question; `pick` takes what is of use from each record.
    async fn prove<T>(
        &self,
        name: Result<Name, String>,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Proved<Vec<T>> {
        let name = match name {
            Ok(name) => name,
            Err(why) => return Proved { answer: Answer::CouldNotTell(why), secure: false },
        };
        let found = match self.proving.lookup(name.clone(), kind).await {
            Ok(found) => found,
            Err(error) => return absence(&name, &error),
        };
        let mut secure = true;
        let mut picked = Vec::new();
        for record in found.answers() {
            // The aliases on the way count as much as the end.
            if ![kind, RecordType::CNAME, RecordType::DNAME].contains(&record.record_type()) {
                continue;
            }
            match record.proof {
                Proof::Secure => {}
                Proof::Insecure => secure = false,
                Proof::Bogus | Proof::Indeterminate => return forged(&name),
            }
            picked.extend(pick(&record.data));
        }
        let answer =
            if picked.is_empty() { Answer::No(Absence::NoRecord) } else { Answer::Yes(picked) };
        Proved { answer, secure }
    }
}

impl<T> Proved<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Proved<U> {
        Proved { answer: self.answer.map(change), secure: self.secure }
    }
}

/// A TLSA record (RFC 6698 §2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// What the certificate is held against.
    pub usage: Usage,
    /// Which part of the certificate.
    pub selector: Selector,
    /// In which form.
    pub matching: Matching,
    /// What it must be.
    pub data: Vec<u8>,
}

/// Certificate usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// 2, DANE-TA: an authority of the host's own choice.
    Authority,
    /// 3, DANE-EE: the host's certificate itself; names and dates in it do not count.
    Host,
    /// All others; for SMTP also 0 and 1 (RFC 7672 §3.1.3).
    Unusable,
}

/// Which part of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// 0.
    Certificate,
    /// 1: the public key.
    Key,
    /// All others.
    Unusable,
}

/// How the part is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// 0: as it is.
    Whole,
    /// 1.
    Sha256,
    /// 2.
    Sha512,
    /// All others.
    Unusable,
}

impl From<&tlsa::TLSA> for Tlsa {
    fn from(record: &tlsa::TLSA) -> Self {
        Self {
            usage: match record.cert_usage {
                tlsa::CertUsage::DaneTa => Usage::Authority,
                tlsa::CertUsage::DaneEe => Usage::Host,
                _ => Usage::Unusable,
            },
            selector: match record.selector {
                tlsa::Selector::Full => Selector::Certificate,
                tlsa::Selector::Spki => Selector::Key,
                _ => Selector::Unusable,
            },
            matching: match record.matching {
                tlsa::Matching::Raw => Matching::Whole,
                tlsa::Matching::Sha256 => Matching::Sha256,
                tlsa::Matching::Sha512 => Matching::Sha512,
                _ => Matching::Unusable,
            },
            data: record.cert_data.clone(),
        }
    }
}

impl Tlsa {
    /// Whether it says anything we understand.
    pub fn is_usable(&self) -> bool {
        self.usage != Usage::Unusable
            && self.selector != Selector::Unusable
            && self.matching != Matching::Unusable
            && !self.data.is_empty()
    }
}

/// Where proofs start.
pub(super) type Anchors = Arc<TrustAnchors>;

pub(super) fn read_anchors(file: &Path) -> Result<Anchors, String> {
    TrustAnchors::from_file(file)
        .map(Arc::new)
        .map_err(|error| format!("{} cannot be used: {error}", file.display()))
}

/// Whether the servers hand signatures through, as far as known.
#[derive(Debug, Default)]
pub(super) struct Able {
    /// Seconds since the start of the program at which the knowledge ends; negative for *no*.
    until: AtomicI64,
}

impl Able {
    fn known(&self) -> Option<bool> {
        let until = self.until.load(Ordering::Relaxed);
        (until.abs() > seconds()).then_some(until > 0)
    }

    fn learn(&self, able: bool) {
        let until = seconds() + if able { ABLE_FOR } else { UNABLE_FOR };
        self.until.store(if able { until } else { -until }, Ordering::Relaxed);
    }
}

fn seconds() -> i64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let passed = START.get_or_init(Instant::now).elapsed().as_secs();
    // Zero means that nothing is known.
    i64::try_from(passed).unwrap_or(i64::MAX - ABLE_FOR).saturating_add(1)
}

fn forged<T>(name: &Name) -> Proved<T> {
    let why = format!("the answer for {name} has no right signature (DNSSEC): it may be forged");
    Proved { answer: Answer::CouldNotTell(why), secure: false }
}

fn absence<T>(name: &Name, error: &NetError) -> Proved<T> {
    match error {
        NetError::Dns(DnsError::Nsec { response, proof, .. }) => match proof {
            Proof::Secure | Proof::Insecure => {
                let answer = match response.response_code {
                    ResponseCode::NXDomain => Answer::No(Absence::NoName),
                    ResponseCode::NoError => Answer::No(Absence::NoRecord),
                    code => Answer::CouldNotTell(format!("the DNS answered {code} for {name}")),
                };
                Proved { answer, secure: *proof == Proof::Secure }
            }
            Proof::Bogus | Proof::Indeterminate => forged(name),
        },
        NetError::Dns(DnsError::DnssecBogus) => forged(name),
        // Nothing gets here that should have been proved and was not.
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let denies = |record: &Record| {
                record.proof == Proof::Secure
                    && matches!(record.record_type(), RecordType::NSEC | RecordType::NSEC3)
            };
            let secure = none.authorities.iter().flat_map(|all| all.iter()).any(denies);
            Proved { answer: failure(name, error), secure }
        }
        other => Proved { answer: failure(name, other), secure: false },
    }
}

/// Seconds for which servers that hand signatures through are trusted to go on doing so, and for
/// which others are not tried again.
const ABLE_FOR: i64 = 6 * 3600;
const UNABLE_FOR: i64 = 600;
/// Aliases followed one after the other.
const MAX_ALIASES: usize = 8;

#[cfg(all(test, feature = "demo"))]
mod tests;
