//! How much one network may ask of the box: connections at once, connections a minute, and
//! patience with what it does wrong. A network is what one household or one rented server has: an
//! IPv4 /24 or single address, an IPv6 /64. Tables have a fixed size, the time is an argument, and
//! this computer itself is never hindered.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What connections of one kind may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once, in all.
    pub total: usize,
    /// Connections at once from one network.
    pub per_network: usize,
    /// What counts as one network.
    pub width: Width,
    /// New connections from one network.
    pub rate: Option<Rate>,
    /// What is sent to whom there is no place for, in one piece, before hanging up; may be empty.
    pub refusal: &'static [u8],
}

/// Which addresses count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// Each IPv4 address for itself, IPv6 by /64: a household behind one router.
    Household,
    /// IPv4 by /24, IPv6 by /64: what a sender of junk has at hand.
    Neighbourhood,
}

/// So many at once, and after that one each so often: a token bucket.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// How many may come at once.
    pub burst: u32,
    /// How long until one more may.
    pub each: Duration,
}

/// A network, as far as limits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// The network of an address; IPv4 inside IPv6 counts as IPv4.
    pub fn of(address: IpAddr, width: Width) -> Self {
        Self(match (address.to_canonical(), width) {
            (IpAddr::V4(v4), Width::Neighbourhood) => {
                let [a, b, c, _] = v4.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
            }
            (v4 @ IpAddr::V4(_), Width::Household) => v4,
            (IpAddr::V6(v6), _) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}

/// Who is connected now, and who came of late; cheap to clone. Listeners for the same people share
/// one, or each network would have a place on every port.
#[derive(Debug, Clone)]
pub struct Gate {
    limits: Limits,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug)]
struct Book {
    total: usize,
    /// Never more than there are connections.
    here: HashMap<Network, usize>,
    came: Buckets,
}

impl Gate {
    /// With nobody here.
    pub fn new(limits: Limits) -> Self {
        let book = Book { total: 0, here: HashMap::new(), came: Buckets::new() };
        Self { limits, book: Arc::new(Mutex::new(book)) }
    }

    /// A place for a connection, or why there is none.
    pub fn enter(&self, address: IpAddr, now: Instant) -> Result<Entry, Refused> {
        let network = Network::of(address, self.limits.width);
        let mut guard = self.book();
        let book = &mut *guard;
        if book.total >= self.limits.total {
            return Err(Refused::Full);
        }
        let here = book.here.get(&network).copied().unwrap_or(0);
        if !address.to_canonical().is_loopback() {
            if here >= self.limits.per_network {
                return Err(Refused::TooMany);
            }
            if let Some(rate) = self.limits.rate
                && !book.came.take(network, rate, now)
            {
                return Err(Refused::TooOften);
            }
        }
        book.total += 1;
        book.here.insert(network, here + 1);
        Ok(Entry { gate: self.clone(), network })
    }

    /// See [`Limits::refusal`].
    pub(super) fn refusal(&self) -> &'static [u8] {
        self.limits.refusal
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Every place is taken.
    #[error("every place for a connection is taken")]
    Full,
    /// The network has all the places it may have.
    #[error("too many connections from this network")]
    TooMany,
    /// The network comes too often.
    #[error("too many connections from this network within a short time")]
    TooOften,
}

/// One connection's place; given back when dropped, a panic included.
#[derive(Debug)]
pub struct Entry {
    gate: Gate,
    network: Network,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut guard = self.gate.book();
        let book = &mut *guard;
        book.total -= 1;
        if let Some(here) = book.here.get_mut(&self.network) {
            *here -= 1;
            if *here == 0 {
                book.here.remove(&self.network);
            }
        }
    }
}

/// How networks have behaved: faults, made-up recipients, wrong logins. Each costs a step, and
/// steps are forgiven with time. The more there are, the later the replies; who goes on and on is
/// not let in for a while. Nothing waits but the peer: a late reply takes no memory.
#[derive(Debug)]
pub struct Conduct {
    steps: Mutex<Buckets>,
}

impl Default for Conduct {
    fn default() -> Self {
        Self { steps: Mutex::new(Buckets::new()) }
    }
}

impl Conduct {
    /// Missteps that anybody has free.
    pub const FREE: u32 = 5;
    /// The latest a reply comes.
    pub const LATEST: Duration = Duration::from_secs(20);
    /// A network with so many is not served.
    pub const UNWELCOME: u32 = 50;
    /// One is forgiven after this long.
    pub const FORGIVEN: Duration = Duration::from_mins(2);

    /// Counts a misstep; how late the reply to it shall be.
    pub fn misstep(&self, address: IpAddr, now: Instant) -> Duration {
        if address.to_canonical().is_loopback() {
            return Duration::ZERO;
        }
        let network = Network::of(address, Width::Neighbourhood);
        let steps = self.steps().add(network, Self::FORGIVEN, Self::UNWELCOME * 2, now);
        Duration::from_secs(u64::from(steps.saturating_sub(Self::FREE))).min(Self::LATEST)
    }

    /// Whether a network has gone too far.
    pub fn is_unwelcome(&self, address: IpAddr, now: Instant) -> bool {
        let network = Network::of(address, Width::Neighbourhood);
        self.steps().level(network, Self::FORGIVEN, now) >= Self::UNWELCOME
    }

    fn steps(&self) -> MutexGuard<'_, Buckets> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bucket for each network, all of one kind. What a bucket holds drains at a steady rate, so the
/// moment at which it will be empty tells all there is to know of it.
#[derive(Debug)]
struct Buckets {
    empty_at: HashMap<Network, Instant>,
}

impl Buckets {
    fn new() -> Self {
        Self { empty_at: HashMap::new() }
    }

    /// Adds one, unless that is more than the rate allows.
    fn take(&mut self, network: Network, rate: Rate, now: Instant) -> bool {
        let fits = self.level(network, rate.each, now) < rate.burst;
        if fits {
            self.add(network, rate.each, rate.burst, now);
        }
        fits
    }

    /// Adds one, up to `most`; how much is in it then.
    fn add(&mut self, network: Network, each: Duration, most: u32, now: Instant) -> u32 {
        let level = self.level(network, each, now).saturating_add(1).min(most);
        if !self.empty_at.contains_key(&network) && self.empty_at.len() >= ENTRIES {
            self.make_room(now);
        }
        let from = self.empty_at.get(&network).copied().filter(|at| *at > now).unwrap_or(now);
        let at = (from + each).min(now + each.saturating_mul(most));
        self.empty_at.insert(network, at);
        level
    }

    /// How much is in it, a part counting as one.
    fn level(&self, network: Network, each: Duration, now: Instant) -> u32 {
        let left = self.empty_at.get(&network).map(|at| at.saturating_duration_since(now));
        let parts = left.unwrap_or_default().as_nanos().div_ceil(each.as_nanos().max(1));
        u32::try_from(parts).unwrap_or(u32::MAX)
    }

    /// The empty ones go; when there is none, the one that would be empty first.
    fn make_room(&mut self, now: Instant) {
        self.empty_at.retain(|_, at| *at > now);
        if self.empty_at.len() >= ENTRIES {
            let first =
                self.empty_at.iter().min_by_key(|(_, at)| **at).map(|(network, _)| *network);
            if let Some(network) = first {
                self.empty_at.remove(&network);
            }
        }
    }
}

/// Networks remembered, some hundred kilobytes.
const ENTRIES: usize = 4096;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a place that is missing is the failed test")]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        total: 6,
        per_network: 2,
        width: Width::Neighbourhood,
        rate: Some(Rate { burst: 4, each: Duration::from_secs(10) }),
        refusal: b"",
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_counted_by_network_and_given_back() {
        let (gate, now) = (Gate::new(Limits { rate: None, ..LIMITS }), Instant::now());
        let first = gate.enter(ip("192.0.2.1"), now).unwrap();
        let _second = gate.enter(ip("::ffff:192.0.2.200"), now).unwrap();
        assert_eq!(gate.enter(ip("192.0.2.99"), now).unwrap_err(), Refused::TooMany);
        let _other = gate.enter(ip("192.0.3.1"), now).unwrap();
        let _v6 = [gate.enter(ip("2001:db8::1"), now), gate.enter(ip("2001:db8::9:9:9:9"), now)];
        assert_eq!(gate.enter(ip("2001:db8::2"), now).unwrap_err(), Refused::TooMany);
        drop(first);
        let _third = gate.enter(ip("192.0.2.1"), now).unwrap();
        let _last = gate.enter(ip("2001:db8:0:1::1"), now).unwrap();
        assert_eq!(gate.enter(ip("203.0.113.1"), now).unwrap_err(), Refused::Full);
        assert_eq!(gate.enter(ip("127.0.0.1"), now).unwrap_err(), Refused::Full);
    }

    #[test]
    fn a_household_is_one_ipv4_address() {
        let limits = Limits { rate: None, width: Width::Household, ..LIMITS };
        let (gate, now) = (Gate::new(limits), Instant::now());
        let _here = [gate.enter(ip("192.0.2.1"), now), gate.enter(ip("192.0.2.1"), now)];
        assert_eq!(gate.enter(ip("192.0.2.1"), now).unwrap_err(), Refused::TooMany);
        assert!(gate.enter(ip("192.0.2.2"), now).is_ok());
    }

    #[test]
    fn who_comes_too_often_waits_and_is_let_in_again() {
        let (gate, mut now) = (Gate::new(LIMITS), Instant::now());
        let come = |now| gate.enter(ip("192.0.2.1"), now).map(drop);
        for _ in 0..4 {
            come(now).unwrap();
        }
        assert_eq!(come(now), Err(Refused::TooOften));
        assert!(gate.enter(ip("198.51.100.1"), now).is_ok());
        now += Duration::from_secs(10);
        come(now).unwrap();
        assert_eq!(come(now), Err(Refused::TooOften));
        // Trying in vain costs nothing; a long pause gives back no more than the burst.
        now += Duration::from_hours(1);
        assert_eq!((0..9).filter(|_| come(now).is_ok()).count(), 4);
    }

    #[test]
    fn this_computer_is_never_hindered() {
        let (gate, now) = (Gate::new(Limits { total: 100, ..LIMITS }), Instant::now());
        let here: Vec<_> = (0..100).map(|_| gate.enter(ip("127.0.0.1"), now).unwrap()).collect();
        assert_eq!(here.len(), 100);
        let conduct = Conduct::default();
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.9"] {
            for _ in 0..200 {
                assert_eq!(conduct.misstep(ip(address), now), Duration::ZERO);
            }
            assert!(!conduct.is_unwelcome(ip(address), now));
        }
    }

    #[test]
    fn replies_come_later_and_later_but_never_later_than_that() {
        let (conduct, mut now) = (Conduct::default(), Instant::now());
        let peer = ip("192.0.2.1");
        let mut before = Duration::ZERO;
        for step in 1..=Conduct::UNWELCOME {
            assert!(!conduct.is_unwelcome(peer, now), "{step}");
            let late = conduct.misstep(peer, now);
            assert!(late >= before && late <= Conduct::LATEST);
            assert_eq!(late.is_zero(), step <= Conduct::FREE);
            before = late;
        }
        assert_eq!(before, Conduct::LATEST);
        assert!(conduct.is_unwelcome(ip("192.0.2.250"), now), "a neighbour is the same");
        assert!(!conduct.is_unwelcome(ip("192.0.3.1"), now));
        now += Conduct::FORGIVEN;
        assert!(!conduct.is_unwelcome(peer, now));
        // However bad it was, it is forgotten within hours.
        for _ in 0..100_000 {
            conduct.misstep(peer, now);
        }
        now += Conduct::FORGIVEN * Conduct::UNWELCOME * 2;
        assert!(conduct.misstep(peer, now).is_zero());
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let (conduct, now) = (Conduct::default(), Instant::now());
        for _ in 0..3 {
            conduct.misstep(ip("192.0.2.1"), now);
        }
        for number in 0..20_000_u32 {
            let peer = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + (number << 8)));
            conduct.misstep(peer, now + Duration::from_millis(u64::from(number)));
        }
        assert_eq!(conduct.steps().empty_at.len(), ENTRIES);
        let later = now + Duration::from_secs(20);
        let network = Network::of(ip("192.0.2.1"), Width::Neighbourhood);
        assert_eq!(conduct.steps().level(network, Conduct::FORGIVEN, later), 3, "forgotten first");
    }
}
