//! How much an account may send away in a day: messages, and people it never wrote to before. A
//! stolen password is used for thousands of both, a household for neither. What is over is not
//! lost: it is kept in the queue, and the owner is told. Counted by the hour over the last 24, in
//! the store's settings, in the same commit as the message, so that neither a restart nor a power
//! cut starts a new day. Whom an account has written to is what its junk filter knows, too.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::junk::Junk;
use crate::config::DailyLimits;
use crate::mail::Address;
use crate::store::{AccountId, Batch, Store, StoreError};

/// What accounts have sent of late.
#[derive(Debug)]
pub struct Allowance {
    store: Store,
    junk: Arc<Junk>,
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
    /// Goes on counting where the store says; `junk` knows whom accounts have written to.
    pub fn new(store: Store, junk: Arc<Junk>, limits: DailyLimits) -> Self {
        Self { store, junk, limits, days: Mutex::default() }
    }

    /// Counts a message to these people elsewhere. Nothing is counted of one that is over: when
    /// the flood ends, the account can send again as the hours pass. Whoever sends the message tells
    /// `junk` of it, unless it is over.
    pub fn spend<'a>(
        &self,
        account: AccountId,
        elsewhere: impl IntoIterator<Item = &'a Address>,
        now: Timestamp,
    ) -> Result<Spent, StoreError> {
        let people: BTreeMap<String, &Address> =
            elsewhere.into_iter().map(|to| (to.key(), to)).collect();
        if people.is_empty() {
            return Ok(Spent::default());
        }
        // Nobody is known while that cannot be looked up: a household meets fewer in a day than it
        // may, and a thief is held up all the same.
        let known = |to: &&&Address| self.junk.has_written_to(account, to).unwrap_or(false);
        let strangers = people.values().filter(|to| !known(to)).count();
        let new = u32::try_from(strangers).unwrap_or(u32::MAX);
        let key = key(account);
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let day = match days.entry(account) {
            Entry::Occupied(day) => day.into_mut(),
            Entry::Vacant(place) => {
                let stored = self.store.setting(&key)?;
                // Damaged, it is a new day: nobody's mail may depend on it.
                let day = stored.and_then(|json| serde_json::from_slice(&json).ok());
                place.insert(day.unwrap_or_default())
            }
        };
        let hour = now.as_second().div_euclid(3600);
        let over = day.spend(hour, new, self.limits);
        let mut settings = vec![(key, serde_json::to_vec(day).unwrap_or_default())];
        if over.is_some_and(|over| !over.is_new) {
            settings.clear();
        }
        Ok(Spent { settings, over })
    }
}

/// Removes what was counted of accounts that are gone, and what older versions kept beside it.
pub async fn sweep(store: &Store, accounts: &[AccountId]) -> Result<(), StoreError> {
    let here: BTreeSet<String> = accounts.iter().map(|account| key(*account)).collect();
    let mut batch = Batch::new();
    let counted = store.settings(COUNTED)?.into_iter().filter(|(key, _)| !here.contains(key));
    let gone: Vec<String> = counted.chain(store.settings("met/")?).map(|(key, _)| key).collect();
    if gone.is_empty() {
        return Ok(());
    }
    for key in &gone {
        batch.delete_setting(key);
    }
    store.commit(batch).await.map(drop)
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

fn key(account: AccountId) -> String {
    format!("{COUNTED}{}", account.0)
}

const COUNTED: &str = "allowance/";
/// A day has so many.
const HOURS: i64 = 24;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;
    use crate::policy::notes::Notes;
    use crate::store::Options;

    const ALICE: AccountId = AccountId(1);
    const LIMITS: DailyLimits = DailyLimits { messages: 5, new_recipients: 3 };

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hour * 3600).unwrap()
    }

    struct Desk {
        folder: tempfile::TempDir,
        store: Store,
        junk: Arc<Junk>,
        allowance: Allowance,
    }

    impl Desk {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path(), Options::default()).unwrap();
            let junk = Arc::new(Junk::open(Arc::new(Notes::open(folder.path()))));
            let allowance = Allowance::new(store.clone(), Arc::clone(&junk), LIMITS);
            Self { folder, store, junk, allowance }
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
            if spent.over.is_none() {
                self.junk.sent(ALICE, &to, None);
            }
            spent.over
        }

        fn restart(self) -> Self {
            let Self { folder, store, junk, allowance } = self;
            junk.put_away(at(0)).unwrap();
            drop((allowance, junk));
            let junk = Arc::new(Junk::open(Arc::new(Notes::open(folder.path()))));
            let allowance = Allowance::new(store.clone(), Arc::clone(&junk), LIMITS);
            Self { folder, store, junk, allowance }
        }
    }

    #[tokio::test]
    async fn a_day_has_so_many_messages_and_a_restart_starts_no_new_one() {
        let mut desk = Desk::new();
        for hour in 0..5 {
            desk = desk.restart();
            assert_eq!(desk.send(&["bob@x.net"], hour).await, None);
        }
        desk = desk.restart();
        let over = |is_new| Some(Over { what: Limit::Messages, allowed: 5, is_new });
        assert_eq!(desk.send(&["bob@x.net"], 5).await, over(true));
        desk = desk.restart();
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
        desk = desk.restart();
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
    async fn nothing_is_kept_of_accounts_that_are_gone() {
        let desk = Desk::new();
        desk.send(&["a@x.net"], 0).await;
        let mut batch = Batch::new();
        for key in ["allowance/2", "allowance/12", "met/1/0f", "met/2/a0", "method"] {
            batch.put_setting(key, b"{}".to_vec());
        }
        desk.store.commit(batch).await.unwrap();
        for _ in 0..2 {
            sweep(&desk.store, &[ALICE, AccountId(12)]).await.unwrap();
            let left = desk.store.settings("").unwrap();
            let left: Vec<&str> = left.iter().map(|(key, _)| key.as_str()).collect();
            assert_eq!(left, ["allowance/1", "allowance/12", "method"]);
        }
    }
}
