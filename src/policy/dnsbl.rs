//! Block lists asked over the DNS (RFC 5782): is this address known to send junk? All lists are
//! asked at once, for a short time, and there are three answers: listed and as what, not listed,
//! and could not tell. A list that answers "you ask too much" or "not through this resolver"
//! (127.255.255.x) could not tell. Each list has to know its own test points (RFC 5782 §5) before
//! it is believed, and again every day: a list that was given up as a rule lists the whole world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::dns::{Answer, Resolver};
use crate::mail::Domain;

/// Longest time the lists may take together.
const LIMIT: Duration = Duration::from_secs(4);
/// Time between two looks at the test points, and after one that could not tell.
const AGAIN: Duration = Duration::from_hours(24);
const AGAIN_SOON: Duration = Duration::from_mins(10);

/// A list, what its answers mean and how much each weighs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Its zone.
    pub zone: Domain,
    /// What it is about.
    pub about: About,
    /// Meanings of its answers; one that is not among them is no listing.
    pub codes: Vec<Code>,
}

/// What a list has entries of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// IPv4 addresses only.
    Ipv4,
    /// Addresses of both kinds.
    Addresses,
    /// Names: of links, of senders.
    Names,
}

/// What one range of answers means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The first and the last answer of it.
    pub answers: (Ipv4Addr, Ipv4Addr),
    /// In words that go on from "the sender's address is".
    pub meaning: String,
    /// Added to the junk score; negative for lists of good senders.
    pub points: i32,
}

impl List {
    /// The lists asked when the owner names none: free for the mail of a household, each with a
    /// policy that has been kept for years. Spamhaus asks not to be asked through public resolvers
    /// and answers such questions with a code that counts as "could not tell" here.
    pub fn defaults() -> Vec<Self> {
        DEFAULTS.iter().filter_map(List::of_row).collect()
    }

    /// The lists the owner named, or the usual ones. A list that is not in our table is asked about
    /// addresses, and any answer of it counts a little.
    pub fn chosen(zones: Option<&[Domain]>) -> Vec<Self> {
        let known = Self::defaults();
        let Some(zones) = zones else { return known };
        let chosen = zones.iter().map(|zone| {
            let row = known.iter().find(|list| list.zone == *zone).cloned();
            row.unwrap_or_else(|| Self {
                zone: zone.clone(),
                about: About::Addresses,
                codes: vec![Code {
                    answers: (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 255, 254)),
                    meaning: format!("on the block list {zone}"),
                    points: UNKNOWN,
                }],
            })
        });
        chosen.collect()
    }

    fn of_row((zone, about, codes): &(&str, About, &[Row])) -> Option<Self> {
        let code = |(first, last, points, meaning): &Row| Code {
            answers: (Ipv4Addr::from(*first), Ipv4Addr::from(*last)),
            meaning: (*meaning).to_owned(),
            points: *points,
        };
        let codes = codes.iter().map(code).collect();
        Some(Self { zone: zone.parse().ok()?, about: *about, codes })
    }

    /// The name to ask for; nothing when the list has no such entries.
    fn question(&self, about: &Subject) -> Option<Domain> {
        let label = match (self.about, about) {
            (About::Ipv4 | About::Addresses, Subject::Address(IpAddr::V4(address))) => {
                reversed_v4(*address)
            }
            (About::Addresses, Subject::Address(IpAddr::V6(address))) => reversed_v6(*address),
            (About::Names, Subject::Name(name)) => name.to_string(),
            _ => return None,
        };
        format!("{label}.{}", self.zone).parse().ok()
    }

    /// What the answers say.
    fn read(&self, answers: &[Ipv4Addr]) -> Listing {
        let refused = |answer: &&Ipv4Addr| {
            let [a, b, c, d] = answer.octets();
            // 127.255.255.x, 127.0.1.255 of name lists, 127.0.0.255 of dnswl.org; and whatever is
            // not in 127/8 comes from a resolver that answers every name with its own pages.
            a != 127 || (b, c) == (255, 255) || d == 255
        };
        if let Some(answer) = answers.iter().find(refused) {
            return Listing::CouldNotTell(format!("{} does not answer us ({answer})", self.zone));
        }
        let known = self.codes.iter().filter(|code| {
            answers.iter().any(|answer| (code.answers.0..=code.answers.1).contains(answer))
        });
        let strongest = known.max_by_key(|code| code.points.abs());
        match strongest {
            Some(code) => Listing::Listed { points: code.points, meaning: code.meaning.clone() },
            None => Listing::NotListed,
        }
    }
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// It is there.
    Listed {
        /// How much that weighs.
        points: i32,
        /// What it means, in words.
        meaning: String,
    },
    /// It certainly is not.
    NotListed,
    /// The list does not answer, or not us; why, in words.
    CouldNotTell(String),
}

/// One list's answer about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which list.
    pub zone: Domain,
    /// What it says.
    pub listing: Listing,
}

/// Who is asked about.
#[derive(Debug, Clone)]
enum Subject {
    Address(IpAddr),
    Name(Domain),
}

/// How a list does on its test points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Not tried yet, or it could not be told: not used.
    Unknown,
    /// It lists what it must and does not list what it must not.
    Sound,
    /// It does not: not used.
    Unsound,
}

/// The lists of this box; cheap to clone.
#[derive(Clone)]
pub struct Dnsbl {
    inner: Arc<Inner>,
}

struct Inner {
    resolver: Resolver,
    lists: Vec<List>,
    health: Mutex<Vec<Health>>,
}

impl Dnsbl {
    /// These lists, none of which is used before [`Dnsbl::probe`] has tried it.
    pub fn new(resolver: Resolver, lists: Vec<List>) -> Self {
        let health = Mutex::new(vec![Health::Unknown; lists.len()]);
        Self { inner: Arc::new(Inner { resolver, lists, health }) }
    }

    /// Asks all sound lists about a peer. An address of a private network, of this machine or of
    /// no host at all is asked about nowhere: it says something about us only, and lists nothing.
    pub async fn ask(&self, peer: IpAddr) -> Vec<Finding> {
        let peer = peer.to_canonical();
        if is_public(peer) { self.ask_about(Subject::Address(peer)).await } else { Vec::new() }
    }

    /// Asks the sound lists of names about a domain: of a link, of a sender.
    pub async fn ask_name(&self, name: &Domain) -> Vec<Finding> {
        self.ask_about(Subject::Name(name.clone())).await
    }

    /// How each list does, for a page.
    pub fn health(&self) -> Vec<(Domain, Health)> {
        let health = self.inner.health.lock().unwrap_or_else(PoisonError::into_inner);
        let zones = self.inner.lists.iter().map(|list| list.zone.clone());
        zones.zip(health.iter().copied()).collect()
    }

    /// Tries every list's test points; whether all could be told.
    pub async fn probe(&self) -> bool {
        let mut all = JoinSet::new();
        for (number, list) in self.inner.lists.iter().cloned().enumerate() {
            let resolver = self.inner.resolver.clone();
            all.spawn(async move { (number, probe(&resolver, &list).await) });
        }
        let mut told = true;
        while let Some(done) = all.join_next().await {
            let Ok((number, found)) = done else { continue };
            let mut health = self.inner.health.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(known) = health.get_mut(number) else { continue };
            told &= found != Health::Unknown;
            // A list that could not be asked just now is what it was.
            if found != Health::Unknown && *known != found {
                let zone = self.inner.lists.get(number).map(|list| list.zone.to_string());
                if found == Health::Sound {
                    tracing::info!(zone, "the block list answers as it should");
                } else {
                    tracing::warn!(zone, "the block list fails its own test: not used");
                }
                *known = found;
            }
        }
        told
    }

    /// Tries the test points now and every day, until `stop`.
    pub async fn keep(&self, stop: CancellationToken) {
        loop {
            let told = self.probe().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(if told { AGAIN } else { AGAIN_SOON }) => {}
            }
        }
    }

    async fn ask_about(&self, subject: Subject) -> Vec<Finding> {
        let health = self.inner.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sound = self.inner.lists.iter().zip(health).filter(|(_, h)| *h == Health::Sound);
        let mut all = JoinSet::new();
        let mut findings = Vec::new();
        for (list, _) in sound {
            let Some(question) = list.question(&subject) else { continue };
            let late = Listing::CouldNotTell(format!("{} did not answer in time", list.zone));
            let index = findings.len();
            findings.push(Finding { zone: list.zone.clone(), listing: late });
            let (resolver, list) = (self.inner.resolver.clone(), list.clone());
            all.spawn(async move { (index, look_up(&resolver, &list, &question).await) });
        }
        let gather = async {
            while let Some(done) = all.join_next().await {
                if let Ok((index, listing)) = done
                    && let Some(finding) = findings.get_mut(index)
                {
                    finding.listing = listing;
                }
            }
        };
        // What has not answered by then stays as it is.
        let _ = timeout(LIMIT, gather).await;
        findings
    }
}

impl std::fmt::Debug for Dnsbl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dnsbl").field("health", &self.health()).finish_non_exhaustive()
    }
}

async fn look_up(resolver: &Resolver, list: &List, question: &Domain) -> Listing {
    match resolver.ipv4(question).await {
        Answer::Yes(answers) => list.read(&answers),
        Answer::No(_) => Listing::NotListed,
        Answer::CouldNotTell(why) => Listing::CouldNotTell(why),
    }
}

/// RFC 5782 §5: 127.0.0.2 must be listed and 127.0.0.1 must not; of names TEST and INVALID.
async fn probe(resolver: &Resolver, list: &List) -> Health {
    let (there, not_there) = match list.about {
        About::Names => ("test", "invalid"),
        _ => ("2.0.0.127", "1.0.0.127"),
    };
    let name = |label: &str| list.zone.child(label).ok();
    let (Some(there), Some(not_there)) = (name(there), name(not_there)) else {
        return Health::Unsound;
    };
    let (there, not_there) =
        tokio::join!(look_up(resolver, list, &there), look_up(resolver, list, &not_there));
    match (there, not_there) {
        (Listing::CouldNotTell(_), _) | (_, Listing::CouldNotTell(_)) => Health::Unknown,
        // What the test entry is listed as is up to the list.
        (_, Listing::NotListed) if is_listed(resolver, list).await => Health::Sound,
        _ => Health::Unsound,
    }
}

/// Whether the entry that must be there is, under any code.
async fn is_listed(resolver: &Resolver, list: &List) -> bool {
    let label = if list.about == About::Names { "test" } else { "2.0.0.127" };
    match list.zone.child(label) {
        Ok(name) => matches!(resolver.ipv4(&name).await, Answer::Yes(_)),
        Err(_) => false,
    }
}

/// RFC 5782 §2.1.
fn reversed_v4(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}")
}

/// RFC 5782 §2.4.
fn reversed_v6(address: Ipv6Addr) -> String {
    let nibbles = address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
    nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
}

/// Whether a list may know the address.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_documentation()
                || a == 0
                || a == 100 && (64..128).contains(&b)
                || a >= 240)
        }
        // Global unicast, but for documentation.
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0xdb8)
        }
    }
}

/// Points of a list that is not in the table.
const UNKNOWN: i32 = 20;

/// First and last answer, points, meaning.
type Row = ([u8; 4], [u8; 4], i32, &'static str);

/// A mark of 50 points files into junk: only what Spamhaus itself lists does so alone.
const DEFAULTS: &[(&str, About, &[Row])] = &[
    (
        "zen.spamhaus.org",
        About::Addresses,
        &[
            ([127, 0, 0, 2], [127, 0, 0, 2], 60, "known as a source of junk (Spamhaus SBL)"),
            ([127, 0, 0, 3], [127, 0, 0, 3], 50, "known as a source of junk (Spamhaus CSS)"),
            ([127, 0, 0, 4], [127, 0, 0, 7], 60, "a hijacked machine (Spamhaus XBL)"),
            ([127, 0, 0, 9], [127, 0, 0, 9], 80, "of a network of criminals (Spamhaus DROP)"),
            (
                [127, 0, 0, 10],
                [127, 0, 0, 11],
                30,
                "of a range that should not send mail itself (Spamhaus PBL)",
            ),
        ],
    ),
    (
        "psbl.surriel.com",
        About::Ipv4,
        &[([127, 0, 0, 2], [127, 0, 0, 2], 20, "seen sending to traps (PSBL)")],
    ),
    (
        "bl.spamcop.net",
        About::Ipv4,
        &[([127, 0, 0, 2], [127, 0, 0, 2], 20, "reported by people for junk (SpamCop)")],
    ),
    (
        "list.dnswl.org",
        About::Addresses,
        &[
            // The last number is the trust, the one before it the kind of sender.
            ([127, 0, 2, 1], [127, 0, 2, 3], -15, "known as a good sender (dnswl.org)"),
            ([127, 0, 3, 1], [127, 0, 3, 3], -15, "known as a good sender (dnswl.org)"),
            ([127, 0, 9, 2], [127, 0, 9, 3], -15, "known as a good sender (dnswl.org)"),
            ([127, 0, 11, 1], [127, 0, 11, 3], -15, "known as a good sender (dnswl.org)"),
        ],
    ),
    (
        "dbl.spamhaus.org",
        About::Names,
        &[
            ([127, 0, 1, 2], [127, 0, 1, 2], 50, "named in junk (Spamhaus DBL)"),
            ([127, 0, 1, 4], [127, 0, 1, 6], 70, "used to deceive or to attack (Spamhaus DBL)"),
            ([127, 0, 1, 102], [127, 0, 1, 106], 25, "good but abused at present (Spamhaus DBL)"),
        ],
    ),
];

#[cfg(all(test, feature = "demo"))]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests;
