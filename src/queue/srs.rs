//! The sender rewriting scheme. Mail that an alias of ours sends on leaves from here, so its
//! envelope sender must be of a domain of ours, or SPF calls it forged. The rewritten address
//! carries the first one with a date and a code that only this box can make: notices that come
//! back to it are sent on to where they belong, for some weeks, and nothing else is.

use jiff::Timestamp;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::mail::{Address, Domain};
use crate::store::{Batch, Store, StoreError};

/// What makes the codes of this box.
pub(super) struct Secret(hmac::Key);

impl Secret {
    /// The secret in the store; nothing before the first forward.
    pub(super) fn read(store: &Store) -> Result<Option<Self>, StoreError> {
        let stored = store.setting(SECRET)?;
        Ok(stored.filter(|bytes| bytes.len() == 32).map(|bytes| Self::of(&bytes)))
    }

    /// The secret in the store, made by `batch` when there is none.
    pub(super) fn read_or_make(
        store: &Store,
        batch: &mut Batch,
    ) -> Result<Option<Self>, StoreError> {
        if let Some(known) = Self::read(store)? {
            return Ok(Some(known));
        }
        let mut bytes = [0; 32];
        if ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).is_err() {
            return Ok(None);
        }
        batch.put_setting(SECRET, bytes.to_vec());
        Ok(Some(Self::of(&bytes)))
    }

    fn of(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// `from` as an address at `ours`. An address too long for that is kept in the store, and a
    /// short name stands for it.
    pub(super) fn forward(
        &self,
        store: &Store,
        batch: &mut Batch,
        from: &Address,
        ours: &Domain,
        now: Timestamp,
    ) -> Result<Option<Address>, StoreError> {
        let day = day(now);
        if let Some(address) = self.wrap(from, ours, day) {
            return Ok(Some(address));
        }
        let name = code(&self.0, &from.to_string(), 20);
        keep(store, batch, &name, from, day)?;
        Ok(self.zero(day, STAND_IN, &name, ours))
    }

    fn wrap(&self, from: &Address, ours: &Domain, day: i64) -> Option<Address> {
        let (local, domain) = (from.local().as_str(), from.domain().as_str());
        // Rewritten already: only who rewrote it first needs to be remembered (SRS1).
        if let Some(rest) = tagged(local, "SRS0") {
            return self.one(domain, rest, ours);
        }
        if let Some(rest) = tagged(local, "SRS1") {
            let (_, rest) = rest.split_once('=')?;
            let (first, rest) = rest.split_once("==")?;
            return self.one(first, rest, ours);
        }
        self.zero(day, domain, local, ours)
    }

    fn zero(&self, day: i64, domain: &str, local: &str, ours: &Domain) -> Option<Address> {
        let stamped = format!("{}={domain}={local}", stamp(day));
        let code = code(&self.0, &stamped, CODE);
        format!("SRS0={code}={stamped}@{ours}").parse().ok()
    }

    fn one(&self, domain: &str, rest: &str, ours: &Domain) -> Option<Address> {
        let inner = format!("{domain}=={rest}");
        let code = code(&self.0, &inner, CODE);
        format!("SRS1={code}={inner}@{ours}").parse().ok()
    }

    /// The address that was rewritten to this one here; nothing when it is none of ours, or too
    /// old. Without `now` the clock cannot be believed, and age does not count.
    pub(super) fn reverse(
        &self,
        store: &Store,
        address: &Address,
        now: Option<Timestamp>,
    ) -> Option<Address> {
        let local = address.local().as_str();
        if let Some(rest) = tagged(local, "SRS0") {
            let (given, stamped) = rest.split_once('=')?;
            self.check(given, stamped)?;
            let (stamped, rest) = stamped.split_once('=')?;
            if now.is_some_and(|now| !is_recent(stamped, day(now))) {
                return None;
            }
            let (domain, local) = rest.split_once('=')?;
            return match domain {
                STAND_IN => kept(store, local),
                _ => format!("{local}@{domain}").parse().ok(),
            };
        }
        let rest = tagged(local, "SRS1")?;
        let (given, inner) = rest.split_once('=')?;
        self.check(given, inner)?;
        let (domain, rest) = inner.split_once("==")?;
        format!("SRS0={rest}@{domain}").parse().ok()
    }

    fn check(&self, given: &str, text: &str) -> Option<()> {
        let right = code(&self.0, text, CODE);
        let given = given.to_lowercase();
        let same: bool = subtle::ConstantTimeEq::ct_eq(right.as_bytes(), given.as_bytes()).into();
        same.then_some(())
    }
}

/// An address that stands in the store.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    address: Address,
    day: i64,
}

fn keep(
    store: &Store,
    batch: &mut Batch,
    name: &str,
    address: &Address,
    day: i64,
) -> Result<(), StoreError> {
    let known = store.settings(PREFIX)?;
    let mut ages: Vec<(i64, String)> = Vec::new();
    for (key, value) in known {
        match serde_json::from_slice::<Kept>(&value) {
            Ok(other) if day - other.day <= VALID => ages.push((other.day, key)),
            _ => {
                batch.delete_setting(&key);
            }
        }
    }
    ages.sort_unstable();
    for (_, key) in ages.iter().take((ages.len() + 1).saturating_sub(MOST)) {
        batch.delete_setting(key);
    }
    let kept = Kept { address: address.clone(), day };
    batch.put_setting(&format!("{PREFIX}{name}"), serde_json::to_vec(&kept).unwrap_or_default());
    Ok(())
}

fn kept(store: &Store, name: &str) -> Option<Address> {
    let stored = store.setting(&format!("{PREFIX}{}", name.to_lowercase())).ok().flatten()?;
    serde_json::from_slice::<Kept>(&stored).ok().map(|kept| kept.address)
}

/// What follows `SRS0=`, or with `+` or `-` as some write it; letters may have changed their case
/// on the way.
fn tagged<'a>(local: &'a str, tag: &str) -> Option<&'a str> {
    let (start, rest) = local.split_at_checked(tag.len())?;
    let rest = rest.strip_prefix(['=', '+', '-'])?;
    start.eq_ignore_ascii_case(tag).then_some(rest)
}

/// A code over the text, whatever the case of its letters: so many characters of base 32.
fn code(key: &hmac::Key, text: &str, length: usize) -> String {
    let tag = hmac::sign(key, text.to_lowercase().as_bytes());
    tag.as_ref().iter().take(length).map(|byte| letter(u16::from(*byte) % 32)).collect()
}

/// The day in two characters; they come round after almost three years.
fn stamp(day: i64) -> String {
    let day = u16::try_from(day.rem_euclid(1024)).unwrap_or_default();
    [letter(day / 32), letter(day % 32)].into_iter().collect()
}

fn is_recent(stamped: &str, today: i64) -> bool {
    (0..=VALID).any(|days| stamp(today - days).eq_ignore_ascii_case(stamped))
        // A clock that was ahead by a day when it was written.
        || stamp(today + 1).eq_ignore_ascii_case(stamped)
}

fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(86_400)
}

fn letter(value: u16) -> char {
    char::from(BASE32.get(usize::from(value % 32)).copied().unwrap_or(b'a'))
}

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Characters of a code: 40 bits.
const CODE: usize = 8;
/// Days for which notices are sent on; hosts try for five.
const VALID: i64 = 21;
/// In place of a domain: the rest is the name of an address in the store.
const STAND_IN: &str = "_";
const SECRET: &str = "queue/srs-secret";
const PREFIX: &str = "queue/srs/";
/// Addresses kept; each lies there for three weeks.
const MOST: usize = 2_000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;
    use crate::store::Options;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    #[tokio::test]
    async fn what_was_rewritten_here_is_found_again_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        assert!(Secret::read(&store).unwrap().is_none());
        let mut batch = Batch::new();
        let secret = Secret::read_or_make(&store, &mut batch).unwrap().unwrap();
        let ours: Domain = "home.test".parse().unwrap();
        let long = format!("bounces+{}@mail.{}.test", "1".repeat(50), "x".repeat(50));
        for from in [
            "eve@far.test",
            "a=b=c@far.test",
            "Case.Kept@far.test",
            "SRS0=ab=cd=first.test=bob@second.test",
            "SRS1=xy=first.test==ab=cd=start.test=bob@third.test",
            &long,
        ] {
            let from: Address = from.parse().unwrap();
            let forward = |batch: &mut Batch| {
                secret.forward(&store, batch, &from, &ours, at(20_000)).unwrap().unwrap()
            };
            let rewritten = forward(&mut batch);
            assert_eq!(rewritten.domain(), &ours);
            store.commit(std::mem::replace(&mut batch, Batch::new())).await.unwrap();
            let known = Secret::read(&store).unwrap().unwrap();
            let back = |address: &Address, day| known.reverse(&store, address, Some(at(day)));
            let found = back(&rewritten, 20_021).unwrap();
            match from.local().as_str() {
                // The chain is cut: notices go to who rewrote it first.
                local if local.starts_with("SRS0") => assert_eq!(found, from),
                local if local.starts_with("SRS1") => {
                    assert_eq!(found.to_string(), "SRS0=ab=cd=start.test=bob@first.test");
                }
                _ => {
                    assert_eq!(found, from);
                    assert_eq!(back(&rewritten, 20_022), None, "too old");
                    assert!(known.reverse(&store, &rewritten, None).is_some());
                }
            }
            // A host on the way that changes the case of letters.
            let lower: Address = rewritten.to_string().to_lowercase().parse().unwrap();
            assert!(back(&lower, 20_000).is_some(), "{lower}");
            for (old, new) in [("=", "=x"), ("far", "fat"), ("bob", "rob"), ("1", "2")] {
                let forged = rewritten.to_string().replace(old, new);
                if forged == rewritten.to_string() || forged.ends_with("x@home.test") {
                    continue;
                }
                let Ok(forged) = forged.parse::<Address>() else { continue };
                if forged.local() != rewritten.local() {
                    assert_eq!(back(&forged, 20_000), None, "{forged}");
                }
            }
        }
        for foreign in
            ["SRS0=aaaaaaaa=aa=far.test=eve@home.test", "bob@home.test", "SRS0@home.test"]
        {
            assert_eq!(secret.reverse(&store, &foreign.parse().unwrap(), None), None);
        }
    }
}
