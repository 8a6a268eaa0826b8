//! Block lists asked over the DNS (RFC 5782): is this address known to send junk? All lists are
//! asked at once, for a short time, and there are three answers: listed and as what, not listed,
//! and could not tell. A list that answers "you ask too much" or "not through this resolver"
//! (127.255.255.x) could not tell. Each list has to know its own test points (RFC 5782 §5) before
//! it is believed, and again every day: a list that was given up as a rule lists the whole world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::dns::{Answer, Resolver};
use crate::mail::Domain;

/// Time between two looks at the test points, and after a first one that could not tell.
const AGAIN: Duration = Duration::from_hours(24);
const AGAIN_SOON: Duration = Duration::from_mins(10);

/// A list, what its answers mean and how much each weighs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Its zone.
    pub zone: Domain,
    /// What it is about.
    pub about: About,
    /// An entry it must have, as it is asked for.
    pub test: String,
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
    /// policy that has been kept for years. What a list refuses to tell us counts as "could not
    /// tell".
    pub fn defaults() -> Vec<Self> {
        DEFAULTS.iter().filter_map(List::of_row).collect()
    }

    /// The lists the owner named, or the usual ones. A list that is not in our table is asked about
    /// addresses, and any answer of it counts a little.
    pub fn chosen(zones: Option<&[Domain]>) -> Vec<Self> {
        let known = Self::defaults();
        let Some(zones) = zones else { return known };
        let chosen = zones.iter().map(|zone| {
            let name = zone.as_str();
            let same = WITH_KEY.iter().find(|(end, _)| name.ends_with(end));
            let name = same.map_or(name, |(_, name)| name);
            if let Some(row) = known.iter().find(|list| list.zone.as_str() == name) {
                return Self { zone: zone.clone(), ..row.clone() };
            }
            Self {
                zone: zone.clone(),
                about: About::Addresses,
                test: TEST_ADDRESS.to_owned(),
                codes: vec![Code {
                    answers: (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 255, 254)),
                    meaning: format!("on the block list {zone}"),
                    points: UNKNOWN,
                }],
            }
        });
        chosen.collect()
    }

    fn of_row((zone, about, test, codes): &Known) -> Option<Self> {
        let code = |(first, last, points, meaning): &Row| Code {
            answers: (Ipv4Addr::from(*first), Ipv4Addr::from(*last)),
            meaning: (*meaning).to_owned(),
            points: *points,
        };
        let codes = if codes.is_empty() { trusted() } else { codes.iter().map(code).collect() };
        Some(Self { zone: zone.parse().ok()?, about: *about, test: (*test).to_owned(), codes })
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
        if let Some(answer) = answers.iter().find(|answer| is_refusal(**answer)) {
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

    /// Asks all sound lists about a peer; what they have not answered by `until` could not be told.
    /// An address of a private network, of this machine or of no host at all is asked about
    /// nowhere: it says something about us only, and lists nothing.
    pub async fn ask(&self, peer: IpAddr, until: Instant) -> Vec<Finding> {
        let peer = peer.to_canonical();
        if !is_public(peer) {
            return Vec::new();
        }
        self.ask_about(vec![Subject::Address(peer)], until).await
    }

    /// Asks the sound lists of names about domains: of links, of senders.
    pub async fn ask_names(&self, names: Vec<Domain>, until: Instant) -> Vec<Finding> {
        self.ask_about(names.into_iter().map(Subject::Name).collect(), until).await
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
        let mut in_vain = 0;
        loop {
            let told = self.probe().await;
            if in_vain == 0 {
                let untried = |(zone, health)| (health == Health::Unknown).then_some(zone);
                for zone in self.health().into_iter().filter_map(untried) {
                    tracing::info!(%zone, "the block list does not answer, or not us: not used");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause(told, in_vain)) => {}
            }
            in_vain = if told { 0 } else { in_vain + 1 };
        }
    }

    /// As if all lists had passed their tests.
    #[cfg(all(test, feature = "demo"))]
    pub(super) fn trust(&self) {
        self.inner.health.lock().unwrap_or_else(PoisonError::into_inner).fill(Health::Sound);
    }

    async fn ask_about(&self, subjects: Vec<Subject>, until: Instant) -> Vec<Finding> {
        let health = self.inner.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sound = self.inner.lists.iter().zip(health).filter(|(_, h)| *h == Health::Sound);
        let pairs = sound.flat_map(|(list, _)| subjects.iter().map(move |subject| (list, subject)));
        let mut all = JoinSet::new();
        let mut findings = Vec::new();
        for (list, subject) in pairs {
            let Some(question) = list.question(subject) else { continue };
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
        let _ = timeout_at(until, gather).await;
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

/// How long until the test points are tried again. A list that does not answer, or not us, is asked
/// less and less: it may never do.
fn pause(told: bool, in_vain: u32) -> Duration {
    if told { AGAIN } else { AGAIN_SOON.saturating_mul(1 << in_vain.min(16)).min(AGAIN) }
}

/// Asks for the list's own test entries (RFC 5782 §5).
async fn probe(resolver: &Resolver, list: &List) -> Health {
    let not_there = if list.about == About::Names { NO_NAME } else { NO_ADDRESS };
    let (there, not_there) =
        tokio::join!(is_listed(resolver, list, &list.test), is_listed(resolver, list, not_there),);
    match (there, not_there) {
        (Some(true), Some(false)) => Health::Sound,
        (None, _) | (_, None) => Health::Unknown,
        _ => Health::Unsound,
    }
}

/// Whether an entry is there, under any code: what the test entry is listed as is up to the list.
async fn is_listed(resolver: &Resolver, list: &List, label: &str) -> Option<bool> {
    let name = format!("{label}.{}", list.zone).parse().ok()?;
    match resolver.ipv4(&name).await {
        Answer::Yes(answers) if answers.iter().copied().any(is_refusal) => None,
        Answer::Yes(_) => Some(true),
        Answer::No(_) => Some(false),
        Answer::CouldNotTell(_) => None,
    }
}

/// 127.255.255.x, 127.0.1.255 of name lists, 127.0.0.255 of dnswl.org; and whatever is not in 127/8
/// comes from a resolver that answers every name with its own pages.
fn is_refusal(answer: Ipv4Addr) -> bool {
    let [a, b, c, d] = answer.octets();
    a != 127 || (b, c) == (255, 255) || d == 255
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
pub(super) fn is_public(address: IpAddr) -> bool {
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

/// A list of the table: zone, kind, entry that must be there, answers.
type Known = (&'static str, About, &'static str, &'static [Row]);

/// A mark of 50 points files into junk: only what Spamhaus itself lists does so alone.
///
/// - Spamhaus: free for private mail in small numbers, not through public resolvers, which are
///   answered with 127.255.255.254 (255 when too much is asked, 252 for a zone that does not exist):
///   <https://www.spamhaus.org/news/article/788/>. Whoever has no resolver of the own can have a key
///   without charge and names `KEY.zen.dq.spamhaus.net` and `KEY.dbl.dq.spamhaus.net`. Answers:
///   <https://docs.spamhaus.com/datasets/docs/source/10-data-type-documentation/datasets/040-zones.html>;
///   DROP comes with SBL, 127.0.0.5 to 7 are kept for XBL, `dbltest.com` is DBL's test entry.
/// - PSBL: anybody may use it, <https://psbl.surriel.com/howto/>; it lists whoever sent to a trap,
///   and anybody can take an address out again.
/// - `SpamCop`: <https://www.spamcop.net/bl.shtml> asks to mark by it rather than to refuse; it lists
///   shared senders, too.
const DEFAULTS: &[Known] = &[
    (
        ZEN,
        About::Addresses,
        TEST_ADDRESS,
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
            (
                [127, 0, 0, 30],
                [127, 0, 0, 30],
                80,
                "one that commands hijacked machines (Spamhaus BCL)",
            ),
        ],
    ),
    (
        "psbl.surriel.com",
        About::Ipv4,
        TEST_ADDRESS,
        &[([127, 0, 0, 2], [127, 0, 0, 2], 20, "seen sending to traps (PSBL)")],
    ),
    (
        "bl.spamcop.net",
        About::Ipv4,
        TEST_ADDRESS,
        &[([127, 0, 0, 2], [127, 0, 0, 2], 20, "reported by people for junk (SpamCop)")],
    ),
    ("list.dnswl.org", About::Addresses, TEST_ADDRESS, &[]),
    (
        DBL,
        About::Names,
        "dbltest.com",
        &[
            ([127, 0, 1, 2], [127, 0, 1, 2], 50, "named in junk (Spamhaus DBL)"),
            ([127, 0, 1, 4], [127, 0, 1, 6], 70, "used to deceive or to attack (Spamhaus DBL)"),
            ([127, 0, 1, 102], [127, 0, 1, 106], 25, "good but abused at present (Spamhaus DBL)"),
        ],
    ),
];
const ZEN: &str = "zen.spamhaus.org";
const DBL: &str = "dbl.spamhaus.org";
/// Where Spamhaus answers those who have a key: below it, as another list.
const WITH_KEY: &[(&str, &str)] = &[(".zen.dq.spamhaus.net", ZEN), (".dbl.dq.spamhaus.net", DBL)];

/// RFC 5782 §5: 127.0.0.2 must be listed and 127.0.0.1 must not; of names INVALID must not.
const TEST_ADDRESS: &str = "2.0.0.127";
const NO_ADDRESS: &str = "1.0.0.127";
const NO_NAME: &str = "invalid";

/// The answers of dnswl.org, free below 100,000 questions a day: the third number is the kind of
/// sender, the last one the trust, from 0 for none (<https://www.dnswl.org/?page_id=15>). Senders of
/// advertisements (kind 15) get nothing from us, nor does kind 10: whoever asks too much is answered
/// with 127.0.0.255, and later with 127.0.10.3 about everybody.
fn trusted() -> Vec<Code> {
    let kinds = (2..=14_u8).filter(|kind| *kind != 10);
    let code = |kind: u8, trust: u8, points| {
        let answer = Ipv4Addr::new(127, 0, kind, trust);
        let meaning = "known as a good sender (dnswl.org)".to_owned();
        Code { answers: (answer, answer), meaning, points }
    };
    kinds.flat_map(|kind| [code(kind, 1, -5), code(kind, 2, -15), code(kind, 3, -20)]).collect()
}

#[cfg(all(test, feature = "demo"))]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests;
