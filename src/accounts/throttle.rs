//! Slows guessing down. What is slowed is the network the guesses come from (an IPv4 address or
//! an IPv6 /64), for all logins: nobody can lock an owner out from elsewhere. An account under
//! fire from many networks gives each of them fewer tries, but never none. The same wrong
//! password again is no new guess: a phone with an old password does not lock its household out.
//! And where somebody has logged in of late, what others do from the same network does not count
//! against that login: a mail service logs many people in from one address, strangers among them.
//! Tables have a fixed size, and the time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Who failed how often.
#[derive(Debug)]
pub(super) struct Throttle {
    networks: Table<Network, Failures>,
    pairs: Table<(Network, LoginTag), Pair>,
    logins: Table<LoginTag, Failures>,
    /// Who logged in from where.
    known: Table<(Network, LoginTag), Known>,
}

/// An IPv4 address or the /64 of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Network(IpAddr);

/// Stands for a login name: names are the peer's to choose and may be long.
pub(super) type LoginTag = [u8; 16];

/// Stands for one wrong password at one login.
pub(super) type GuessTag = [u8; 16];

/// Wrong guesses a network has before it waits.
const FREE: u32 = 5;
/// The same for a login that is under fire from everywhere.
const FREE_UNDER_FIRE: u32 = 2;
/// Wrong guesses at one login, from anywhere, that mean fire.
const FIRE: u32 = 30;
/// The first wait; each further wrong guess doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// Failures are forgotten after this long without another.
const FORGET: Duration = Duration::from_hours(6);
/// A right login is remembered for so long.
const REMEMBER: Duration = Duration::from_hours(30 * 24);
/// Entries in each table; some hundred kilobytes in all.
const ENTRIES: usize = 4096;

impl Network {
    /// The network of an address; IPv4 inside IPv6 counts as IPv4.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
            v4 @ IpAddr::V4(_) => Self(v4),
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = if self.0.is_ipv6() { "/64" } else { "" };
        write!(f, "{}{width}", self.0)
    }
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            networks: Table::new(),
            pairs: Table::new(),
            logins: Table::new(),
            known: Table::new(),
        }
    }

    /// How long this network has to wait before it may try a login; nothing when it may now.
    pub(super) fn wait(&self, from: Network, login: &LoginTag, now: Instant) -> Option<Duration> {
        let pair = (from, *login);
        let known = self.known.get(&pair, now).is_some();
        let failures = if known {
            &self.pairs.get(&pair, now)?.failures
        } else {
            self.networks.get(&from, now)?
        };
        let fire = !known && self.logins.get(login, now).is_some_and(|login| login.count >= FIRE);
        let free = if fire { FREE_UNDER_FIRE } else { FREE };
        // The count says how far over; the first failure over the line waits FIRST_WAIT.
        let over = failures.count.checked_sub(free)?;
        let wait = FIRST_WAIT.saturating_mul(1 << over.min(16)).min(LONGEST_WAIT);
        (failures.last + wait).checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Whether this network tried exactly this at this login last time, in vain.
    pub(super) fn is_repeated(
        &self,
        from: Network,
        login: &LoginTag,
        guess: &GuessTag,
        now: Instant,
    ) -> bool {
        self.pairs.get(&(from, *login), now).is_some_and(|pair| pair.last_guess == *guess)
    }

    /// Counts a wrong guess.
    pub(super) fn failed(&mut self, from: Network, login: LoginTag, guess: GuessTag, now: Instant) {
        self.networks.entry(from, now).count_one(now);
        self.logins.entry(login, now).count_one(now);
        let pair = self.pairs.entry((from, login), now);
        pair.failures.count_one(now);
        pair.last_guess = guess;
    }

    /// Forgives what this network did wrong at this login, and only that: an attacker who has an
    /// account here gets no fresh tries at others by logging in.
    pub(super) fn succeeded(&mut self, from: Network, login: &LoginTag, now: Instant) {
        self.known.entry((from, *login), now).last = now;
        let Some(pair) = self.pairs.remove(&(from, *login)) else { return };
        self.networks.entry(from, now).forgive(pair.failures.count);
        self.logins.entry(*login, now).forgive(pair.failures.count);
    }
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn count_one(&mut self, now: Instant) {
        self.count = self.count.saturating_add(1);
        self.last = now;
    }

    fn forgive(&mut self, count: u32) {
        self.count = self.count.saturating_sub(count);
    }
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    failures: Failures,
    last_guess: GuessTag,
}

/// What has a time after which it does not count any more.
trait Aging {
    /// How long it counts.
    const KEPT: Duration;
    fn fresh(now: Instant) -> Self;
    fn last(&self) -> Instant;
}

impl Aging for Failures {
    const KEPT: Duration = FORGET;

    fn fresh(now: Instant) -> Self {
        Self { count: 0, last: now }
    }

    fn last(&self) -> Instant {
        self.last
    }
}

impl Aging for Pair {
    const KEPT: Duration = FORGET;

    fn fresh(now: Instant) -> Self {
        Self { failures: Failures::fresh(now), last_guess: GuessTag::default() }
    }

    fn last(&self) -> Instant {
        self.failures.last
    }
}

/// A login that was right.
#[derive(Debug, Clone, Copy)]
struct Known {
    last: Instant,
}

impl Aging for Known {
    const KEPT: Duration = REMEMBER;

    fn fresh(now: Instant) -> Self {
        Self { last: now }
    }

    fn last(&self) -> Instant {
        self.last
    }
}

/// A map that never holds more than [`ENTRIES`]; the one longest without a failure goes first.
#[derive(Debug)]
struct Table<K, V> {
    entries: HashMap<K, V>,
}

impl<K: Hash + Eq + Copy, V: Aging> Table<K, V> {
    fn new() -> Self {
        Self { entries: HashMap::new() }
    }

    fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.entries.get(key).filter(|entry| !is_old(*entry, now))
    }

    fn entry(&mut self, key: K, now: Instant) -> &mut V {
        if !self.entries.contains_key(&key) && self.entries.len() >= ENTRIES {
            self.make_room(now);
        }
        let entry = self.entries.entry(key).or_insert_with(|| V::fresh(now));
        if is_old(entry, now) {
            *entry = V::fresh(now);
        }
        entry
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key)
    }

    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| !is_old(entry, now));
        if self.entries.len() >= ENTRIES {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last());
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.entries.remove(&key);
            }
        }
    }
}

fn is_old<A: Aging>(entry: &A, now: Instant) -> bool {
    now.saturating_duration_since(entry.last()) >= A::KEPT
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a missing wait is the failed test")]
mod tests {
    use super::*;

    const ALICE: LoginTag = [1; 16];
    const BOB: LoginTag = [2; 16];

    fn net(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    fn guess(number: u32) -> GuessTag {
        let mut tag = [7; 16];
        tag[..4].copy_from_slice(&number.to_be_bytes());
        tag
    }

    fn fail(throttle: &mut Throttle, from: &str, login: LoginTag, times: u32, now: Instant) {
        for number in 0..times {
            throttle.failed(net(from), login, guess(number), now);
        }
    }

    #[test]
    fn waits_grow_up_to_an_hour_and_end() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        fail(&mut throttle, "192.0.2.1", ALICE, FREE - 1, now);
        assert_eq!(throttle.wait(net("192.0.2.1"), &ALICE, now), None);
        let mut longest = Duration::ZERO;
        for number in 0..20 {
            throttle.failed(net("192.0.2.1"), ALICE, guess(number), now);
            let wait = throttle.wait(net("192.0.2.1"), &ALICE, now).unwrap();
            assert!(wait > longest || wait == LONGEST_WAIT);
            longest = wait;
            assert_eq!(throttle.wait(net("192.0.2.1"), &ALICE, now + wait), None);
        }
        assert_eq!(longest, LONGEST_WAIT);
        fail(&mut throttle, "192.0.2.1", ALICE, 1, now + FORGET);
        assert_eq!(throttle.wait(net("192.0.2.1"), &ALICE, now + FORGET), None);
    }

    #[test]
    fn an_owner_is_never_locked_out_from_elsewhere() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        for host in 0..200 {
            fail(&mut throttle, &format!("198.51.100.{host}"), ALICE, 10, now);
        }
        assert!(throttle.wait(net("198.51.100.9"), &ALICE, now).is_some());
        assert_eq!(throttle.wait(net("192.0.2.1"), &ALICE, now), None);
        fail(&mut throttle, "192.0.2.1", ALICE, 1, now);
        assert_eq!(throttle.wait(net("192.0.2.1"), &ALICE, now), None);
        // Under fire, a network that keeps guessing waits sooner than at a quiet account.
        fail(&mut throttle, "192.0.2.1", ALICE, 1, now);
        assert!(throttle.wait(net("192.0.2.1"), &ALICE, now).is_some());
        assert_eq!(throttle.wait(net("192.0.2.1"), &BOB, now), None);
    }

    #[test]
    fn a_network_is_an_ipv4_address_or_an_ipv6_slash_64() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        fail(&mut throttle, "2001:db8:1:2::1", ALICE, 9, now);
        fail(&mut throttle, "::ffff:192.0.2.1", ALICE, 9, now);
        let waits = |from| throttle.wait(net(from), &ALICE, now).is_some();
        assert!(waits("2001:db8:1:2:ffff::9"));
        assert!(!waits("2001:db8:1:3::1"));
        assert!(waits("192.0.2.1"));
        assert!(!waits("192.0.2.2"));
    }

    #[test]
    fn an_own_account_buys_no_fresh_guesses_at_others() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        fail(&mut throttle, "192.0.2.1", ALICE, 9, now);
        fail(&mut throttle, "192.0.2.1", BOB, 2, now);
        throttle.succeeded(net("192.0.2.1"), &BOB, now);
        assert!(throttle.wait(net("192.0.2.1"), &ALICE, now).is_some());
        throttle.succeeded(net("192.0.2.1"), &ALICE, now);
        assert_eq!(throttle.wait(net("192.0.2.1"), &ALICE, now), None);
    }

    #[test]
    fn strangers_at_the_same_mail_service_do_not_lock_out_who_is_known_there() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        throttle.succeeded(net("192.0.2.1"), &ALICE, now);
        // Others guess, at other names and at everybody's.
        fail(&mut throttle, "192.0.2.1", BOB, 40, now);
        assert!(throttle.wait(net("192.0.2.1"), &BOB, now).is_some());
        assert_eq!(throttle.wait(net("192.0.2.1"), &ALICE, now), None);
        for host in 0..50 {
            fail(&mut throttle, &format!("198.51.100.{host}"), ALICE, 9, now);
        }
        assert_eq!(throttle.wait(net("192.0.2.1"), &ALICE, now), None);
        // Guesses at this very name from there count as ever, and so do those at it from elsewhere.
        fail(&mut throttle, "192.0.2.1", ALICE, FREE + 1, now);
        assert!(throttle.wait(net("192.0.2.1"), &ALICE, now).is_some());
        assert!(throttle.wait(net("198.51.100.9"), &ALICE, now).is_some());
        let later = now + REMEMBER;
        fail(&mut throttle, "192.0.2.1", BOB, 40, later);
        assert!(throttle.wait(net("192.0.2.1"), &ALICE, later).is_some(), "known for ever");
    }

    #[test]
    fn the_same_wrong_password_again_is_known() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        throttle.failed(net("192.0.2.1"), ALICE, guess(1), now);
        let known =
            |from, login, number| throttle.is_repeated(net(from), &login, &guess(number), now);
        assert!(known("192.0.2.1", ALICE, 1));
        assert!(!known("192.0.2.1", ALICE, 2));
        assert!(!known("192.0.2.1", BOB, 1));
        assert!(!known("192.0.2.2", ALICE, 1));
    }

    #[test]
    fn memory_is_bounded_whoever_guesses() {
        let (mut throttle, mut now) = (Throttle::new(), Instant::now());
        for host in 0..6_000_u32 {
            now += Duration::from_millis(1);
            let mut login = ALICE;
            login[..4].copy_from_slice(&host.to_be_bytes());
            let from = Network::of(IpAddr::V4(host.into()));
            throttle.failed(from, login, guess(host), now);
        }
        assert_eq!(throttle.networks.entries.len(), ENTRIES);
        assert_eq!(throttle.pairs.entries.len(), ENTRIES);
        assert_eq!(throttle.logins.entries.len(), ENTRIES);
        let last = Network::of(IpAddr::V4(5_999.into()));
        assert!(throttle.networks.get(&last, now).is_some());
    }
}
