//! How much an account may send away in a day: messages, and people it never wrote to before. A
//! stolen password is used for thousands of both, a household for neither. What is over is not
//! lost: it is kept in the queue, and the owner is told. Counted by the hour over the last 24, in
//! the store's settings, in the same commit as the message, so that neither a restart nor a power
//! cut starts a new day. Whom an account has written to is kept as hashes, a bounded number.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::DailyLimits;
use crate::mail::Address;
use crate::store::{AccountId, Store, StoreError};

/// What accounts have sent of late.
#[derive(Debug)]
pub struct Allowance {
    store: Store,
    limits: DailyLimits,
    days: Mutex<HashMap<AccountId, Day>>,
}

/// What one message means for its account's allowance.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// To be committed with the message.
    pub settings: Vec<(String, Vec<u8>)>,
    /// The message is over a limit: it is to be held.
    pub over: Option<Over>,
}

/// A limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// Which.
    pub what: Limit,
    /// How much there may be in a day.
    pub allowed: u32,
    /// Nobody was told of it within this day.
    pub is_new: bool,
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Messages to elsewhere.
    Messages,
    /// People elsewhere never written to before.
    NewRecipients,
}

/// The last 24 hours of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Day {
    /// Hour since 1970, messages, new recipients; at most [`HOURS`], oldest first.
    hours: Vec<(i64, u32, u32)>,
    /// The hour in which people were told last.
    #[serde(default)]
    told: Option<i64>,
}

impl Allowance {
    /// Goes on counting where the store says.
    pub fn new(store: Store, limits: DailyLimits) -> Self {
        Self { store, limits, days: Mutex::default() }
    }

    /// Counts a message to these people elsewhere. Nothing is counted of one that is over: when
    /// the flood ends, the account can send again as the hours pass.
    pub fn spend<'a>(
        &self,
        account: AccountId,
        elsewhere: impl IntoIterator<Item = &'a Address>,
        now: Timestamp,
    ) -> Result<Spent, StoreError> {
        let mut met: HashMap<u8, Vec<u64>> = HashMap::new();
        let (mut any, mut new) = (false, 0_u32);
        for address in elsewhere {
            any = true;
            let tag = tag(address);
            let shelf = tag.to_le_bytes()[0];
            let known = match met.entry(shelf) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(self.met(account, shelf)?)
                }
            };
            if !known.contains(&tag) {
                known.push(tag);
                new += 1;
            }
        }
        if !any {
            return Ok(Spent::default());
        }
        let key = format!("allowance/{}", account.0);
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let day = match days.entry(account) {
            std::collections::hash_map::Entry::Occupied(day) => day.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let stored = self.store.setting(&key)?;
                // Damaged, it is a new day: nobody's mail may depend on it.
                let day = stored.and_then(|json| serde_json::from_slice(&json).ok());
                place.insert(day.unwrap_or_default())
            }
        };
        let hour = now.as_second().div_euclid(3600);
        let over = day.spend(hour, new, self.limits);
        let mut settings = vec![(key, serde_json::to_vec(day).unwrap_or_default())];
        drop(days);
        if over.is_none() && new > 0 {
            for (shelf, mut tags) in met {
                // The oldest are forgotten.
                let from = tags.len().saturating_sub(SHELF);
                let bytes = tags.drain(from..).flat_map(u64::to_le_bytes).collect();
                settings.push((met_key(account, shelf), bytes));
            }
        }
        if over.is_some_and(|over| !over.is_new) {
            settings.clear();
        }
        Ok(Spent { settings, over })
    }

    /// Those an account has written to, one shelf of them.
    fn met(&self, account: AccountId, shelf: u8) -> Result<Vec<u64>, StoreError> {
        let bytes = self.store.setting(&met_key(account, shelf))?.unwrap_or_default();
        let (tags, _) = bytes.as_chunks::<8>();
        Ok(tags.iter().map(|tag| u64::from_le_bytes(*tag)).collect())
    }
}

impl Day {
    fn spend(&mut self, hour: i64, new: u32, limits: DailyLimits) -> Option<Over> {
        // A clock that was set back leaves hours in the future: they never were.
        self.hours.retain(|(at, ..)| (hour - HOURS + 1..=hour).contains(at));
        let messages: u32 = self.hours.iter().map(|(_, messages, _)| messages).sum();
        let met: u32 = self.hours.iter().map(|(.., new)| new).sum();
        let (what, allowed) = if messages >= limits.messages {
            (Limit::Messages, limits.messages)
        } else if new > 0 && met.saturating_add(new) > limits.new_recipients {
            (Limit::NewRecipients, limits.new_recipients)
        } else {
            match self.hours.last_mut() {
                Some((at, messages, met)) if *at == hour => {
                    *messages += 1;
                    *met += new;
                }
                _ => self.hours.push((hour, 1, new)),
            }
            return None;
        };
        let told = self.told.is_some_and(|at| (hour - HOURS + 1..=hour).contains(&at));
        if !told {
            self.told = Some(hour);
        }
        Some(Over { what, allowed, is_new: !told })
    }
}

fn met_key(account: AccountId, shelf: u8) -> String {
    format!("met/{}/{shelf:02x}", account.0)
}

/// Stands for an address.
fn tag(address: &Address) -> u64 {
    let hash = blake3::hash(address.key().as_bytes());
    let mut tag = [0; 8];
    for (to, from) in tag.iter_mut().zip(hash.as_bytes()) {
        *to = *from;
    }
    u64::from_le_bytes(tag)
}

/// A day has so many.
const HOURS: i64 = 24;
/// Addresses remembered on each of 256 shelves: some 16,000 people for each account, in values of
/// at most half a KiB, so that one more costs no more than that.
const SHELF: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;
    use crate::store::{Batch, Options};

    const ALICE: AccountId = AccountId(1);
    const LIMITS: DailyLimits = DailyLimits { messages: 5, new_recipients: 3 };

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hour * 3600).unwrap()
    }

    struct Desk {
        _folder: tempfile::TempDir,
        store: Store,
        allowance: Allowance,
    }

    impl Desk {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path(), Options::default()).unwrap();
            let allowance = Allowance::new(store.clone(), LIMITS);
            Self { _folder: folder, store, allowance }
        }

        /// Sends to these, with what belongs to it.
        async fn send(&self, to: &[&str], hour: i64) -> Option<Over> {
            let to: Vec<Address> = to.iter().map(|to| to.parse().unwrap()).collect();
            let spent = self.allowance.spend(ALICE, &to, at(hour)).unwrap();
            let mut batch = Batch::new();
            for (key, value) in spent.settings {
                batch.put_setting(&key, value);
            }
            self.store.commit(batch).await.unwrap();
            spent.over
        }

        fn restart(&mut self) {
            self.allowance = Allowance::new(self.store.clone(), LIMITS);
        }
    }

    #[tokio::test]
    async fn a_day_has_so_many_messages_and_a_restart_starts_no_new_one() {
        let mut desk = Desk::new();
        for hour in 0..5 {
            desk.restart();
            assert_eq!(desk.send(&["bob@x.net"], hour).await, None);
        }
        desk.restart();
        let over = |is_new| Some(Over { what: Limit::Messages, allowed: 5, is_new });
        assert_eq!(desk.send(&["bob@x.net"], 5).await, over(true));
        desk.restart();
        assert_eq!(desk.send(&["bob@x.net"], 6).await, over(false), "told twice");
        // As the hours of yesterday pass, there is room for what they had.
        assert_eq!(desk.send(&["bob@x.net"], 24).await, None);
        assert_eq!(desk.send(&["bob@x.net"], 24).await, over(false));
        assert_eq!(desk.send(&["bob@x.net"], 30).await, None);
        for _ in 0..3 {
            assert_eq!(desk.send(&["bob@x.net"], 47).await, None);
        }
        assert_eq!(desk.send(&["bob@x.net"], 47).await, over(true));
    }

    #[tokio::test]
    async fn people_written_to_before_are_not_new() {
        let mut desk = Desk::new();
        assert_eq!(desk.send(&["a@x.net", "b@x.net"], 0).await, None);
        assert_eq!(desk.send(&["A@X.net", "c@x.net", "c@x.net"], 0).await, None);
        desk.restart();
        let over = Over { what: Limit::NewRecipients, allowed: 3, is_new: true };
        assert_eq!(desk.send(&["a@x.net", "d@x.net"], 1).await, Some(over));
        assert_eq!(desk.send(&["a@x.net", "b@x.net", "c@x.net"], 1).await, None);
        let again = Over { is_new: false, ..over };
        assert_eq!(desk.send(&["d@x.net"], 1).await, Some(again), "held counts as met");
        assert_eq!(desk.send(&["d@x.net"], 24).await, None);
    }

    #[tokio::test]
    async fn mail_within_the_house_is_not_counted() {
        let desk = Desk::new();
        for _ in 0..20 {
            assert_eq!(desk.send(&[], 0).await, None);
        }
        assert!(desk.store.settings("").unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_holds_nothing() {
        let desk = Desk::new();
        for _ in 0..6 {
            desk.send(&["a@x.net"], 1000).await;
        }
        assert_eq!(desk.send(&["a@x.net"], 0).await, None);
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let desk = Desk::new();
        let allowance = Allowance::new(
            desk.store.clone(),
            DailyLimits { messages: u32::MAX, new_recipients: u32::MAX },
        );
        let to: Vec<Address> =
            (0..40_000).map(|n| format!("r{n}@x.net").parse().unwrap()).collect();
        let mut batch = Batch::new();
        for (key, value) in allowance.spend(ALICE, &to, at(0)).unwrap().settings {
            assert!(value.len() <= SHELF * 8);
            batch.put_setting(&key, value);
        }
        desk.store.commit(batch).await.unwrap();
        assert_eq!(desk.store.settings("met/").unwrap().len(), 256);
        // The last are remembered, the first are not.
        assert_eq!(allowance.spend(ALICE, &to[39_990..], at(0)).unwrap().settings.len(), 1);
        assert!(allowance.spend(ALICE, &to[..10], at(0)).unwrap().settings.len() > 1);
    }
}
