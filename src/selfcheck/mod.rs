//! The self-check: is this box ready to send, receive and keep mail? One file per check, all of
//! one shape: id, area, question, why it matters, run. An answer that could not be had is
//! *unknown*; it lights neither green nor red.
//!
//! [`Checks::run`] asks all of them at once and gives a [`Report`]. [`records`] is the other side:
//! what the owner has to publish so that the checks find it.

mod card;
mod clock;
mod dkim;
mod dmarc;
mod dns;
mod found;
mod hostname;
mod mx;
mod quota;
mod rdns;
pub mod records;
mod space;
mod spf;
mod tls;

use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::SharedClock;
use crate::config::{OutboundMode, Site};
use crate::dns::Resolver;
use crate::policy::dkim::rotation::KeyRecord;
use crate::store::Stats;
use found::Found;
pub use quota::Holding;

/// All checks.
#[derive(Debug, Clone, Copy)]
pub struct Checks;

impl Checks {
    /// Runs the checks named in `only`, or all when it is empty. They run at once, and each has
    /// [`PATIENCE`]; one that takes longer is unknown.
    pub async fn run(inputs: &Inputs, only: &[String]) -> Result<Report, UnknownCheck> {
        if let Some(id) = only.iter().find(|id| ALL.iter().all(|check| check.id() != **id)) {
            return Err(UnknownCheck { id: id.clone() });
        }
        let chosen =
            |check: &&&dyn Check| only.is_empty() || only.iter().any(|id| id == check.id());
        // Almost all of a check's time is waiting for the DNS: one task serves them all.
        let mut running: Vec<_> =
            ALL.iter().filter(chosen).map(|check| Box::pin(run_one(*check, inputs))).collect();
        let mut findings: Vec<Option<Finding>> = running.iter().map(|_| None).collect();
        std::future::poll_fn(|context| {
            let mut waiting = false;
            for (check, finding) in running.iter_mut().zip(&mut findings) {
                if finding.is_none() {
                    match check.as_mut().poll(context) {
                        std::task::Poll::Ready(found) => *finding = Some(found),
                        std::task::Poll::Pending => waiting = true,
                    }
                }
            }
            if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
        })
        .await;
        Ok(Report { at: inputs.clock.now(), findings: findings.into_iter().flatten().collect() })
    }

    /// The ids of all checks, in the order of a report.
    pub fn ids() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|check| check.id())
    }
}

/// What the checks look at.
#[derive(Clone)]
pub struct Inputs {
    /// Asks the DNS as the rest of the box does.
    pub resolver: Resolver,
    /// Names of the box.
    pub site: Site,
    /// How mail leaves.
    pub outbound: OutboundMode,
    /// Names and values of our DKIM records.
    pub dkim: Vec<KeyRecord>,
    /// Addresses of the box's own interfaces, see [`own_addresses`].
    pub addresses: Vec<IpAddr>,
    /// The time, and how far to trust it.
    pub clock: SharedClock,
    /// The store's figures, or why there are none.
    pub stats: Result<Stats, String>,
    /// The accounts that have a quota, or why that is not known.
    pub holdings: Result<Vec<Holding>, String>,
    /// The file with the certificate the listeners show.
    pub certificate: PathBuf,
}

/// A check was asked for that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no check \"{id}\": the checks are {}", Checks::ids().collect::<Vec<_>>().join(", "))]
pub struct UnknownCheck {
    /// What was asked for.
    pub id: String,
}

/// Addresses of this machine's interfaces that others can reach it at: neither loopback nor
/// link-local.
pub fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut addresses: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(|address| !matches!(Scope::of(*address), Scope::Host | Scope::Link))
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// What all checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When.
    pub at: Timestamp,
    /// One per check, in the order of the areas.
    pub findings: Vec<Finding>,
}

impl Report {
    /// For scripts: 0 all is well, 1 something needs attention, 2 something is broken, 3 nothing
    /// of these is known, but something could not be told.
    pub fn exit_code(&self) -> u8 {
        match self.worst() {
            Outcome::Ok | Outcome::NotApplicable(_) => 0,
            Outcome::Attention(_) => 1,
            Outcome::Broken(_) => 2,
            Outcome::Unknown(_) => 3,
        }
    }

    /// The outcome that weighs most; what could not be told weighs less than what is known to be
    /// wrong, and more than what is well.
    pub fn worst(&self) -> &Outcome {
        let outcomes = self.findings.iter().map(|finding| &finding.outcome);
        outcomes.fold(
            &Outcome::Ok,
            |worst, one| {
                if one.weight() > worst.weight() { one } else { worst }
            },
        )
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check, such as `dns.mx`.
    pub id: String,
    /// What it belongs to; also the number of blinks.
    pub area: Area,
    /// The question asked, in plain words.
    pub question: String,
    /// The answer.
    pub outcome: Outcome,
    /// What was asked, of whom, and what came back.
    pub evidence: Vec<String>,
    /// Why it matters, when the outcome is not ok.
    pub why: String,
    /// What to do next, with the exact record to publish; empty when there is nothing to do.
    pub fix: String,
}

/// A check's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "detail", rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Works, but not well for all.
    Attention(String),
    /// Does not work.
    Broken(String),
    /// Could not be told, and why.
    Unknown(String),
    /// Has no meaning in this set-up, and why.
    NotApplicable(String),
}

impl Outcome {
    /// What there is to say beyond the outcome itself.
    pub fn detail(&self) -> &str {
        match self {
            Self::Ok => "",
            Self::Attention(detail)
            | Self::Broken(detail)
            | Self::Unknown(detail)
            | Self::NotApplicable(detail) => detail,
        }
    }

    fn weight(&self) -> u8 {
        match self {
            Self::NotApplicable(_) => 0,
            Self::Ok => 1,
            Self::Unknown(_) => 2,
            Self::Attention(_) => 3,
            Self::Broken(_) => 4,
        }
    }
}

/// Areas, numbered as the light blinks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// 1: cable, Wi-Fi, address.
    Network = 1,
    /// 2: the clock.
    Time = 2,
    /// 3: names and MX.
    Dns = 3,
    /// 4: the address's name.
    ReverseDns = 4,
    /// 5: SPF, DKIM, DMARC.
    Authentication = 5,
    /// 6: certificates.
    Tls = 6,
    /// 7: the card.
    Storage = 7,
    /// 8: updates.
    Updates = 8,
}

/// The shape of all checks.
trait Check: Sync {
    /// Its name for scripts; never changes.
    fn id(&self) -> &'static str;
    /// What it belongs to.
    fn area(&self) -> Area;
    /// The question it answers.
    fn question(&self) -> &'static str;
    /// Why a bad answer matters.
    fn why(&self) -> &'static str;
    /// Looks.
    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a>;
}

/// A check at work.
type Running<'a> = Pin<Box<dyn Future<Output = Found> + Send + 'a>>;

async fn run_one(check: &dyn Check, inputs: &Inputs) -> Finding {
    let found = tokio::time::timeout(PATIENCE, check.run(inputs)).await.unwrap_or_else(|_| {
        Found::unknown(format!("no answer came within {} seconds", PATIENCE.as_secs()))
    });
    let well = found.outcome == Outcome::Ok;
    Finding {
        id: check.id().to_owned(),
        area: check.area(),
        question: check.question().to_owned(),
        outcome: found.outcome,
        evidence: found.evidence,
        why: if well { String::new() } else { check.why().to_owned() },
        fix: found.fix,
    }
}

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This machine alone.
    Host,
    /// The cable alone.
    Link,
    /// A house, a provider's inner network: not from the internet.
    Private,
    /// Anywhere.
    Public,
}

impl Scope {
    /// Of this address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) if v4.is_loopback() || v4.is_unspecified() => Self::Host,
            IpAddr::V4(v4) if v4.is_link_local() => Self::Link,
            // RFC 6598: shared by a provider's customers.
            IpAddr::V4(v4) if v4.is_private() || in_shared_space(v4) => Self::Private,
            IpAddr::V6(v6) if v6.is_loopback() || v6.is_unspecified() => Self::Host,
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Self::Link,
            IpAddr::V6(v6) if v6.is_unique_local() => Self::Private,
            _ => Self::Public,
        }
    }
}

fn in_shared_space(address: std::net::Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    a == 100 && (64..128).contains(&b)
}

/// In the order of the areas.
static ALL: &[&dyn Check] = &[
    &clock::Clock,
    &dns::Works,
    &mx::Mx,
    &hostname::Address,
    &rdns::ReverseName,
    &spf::Spf,
    &dkim::Dkim,
    &dmarc::Dmarc,
    &tls::Certificate,
    &space::Space,
    &quota::Quotas,
    &card::Card,
];

/// How long one check may take. A resolver gives up on one question after seconds; the checks that
/// ask many questions get several such waits.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(all(test, feature = "demo"))]
mod tests;
