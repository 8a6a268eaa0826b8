//! What became of mail to each address, as far as it went badly: returned by the host for good,
//! reported as returned later, complained about. An address that does not exist is not written
//! to again for a while: hosts count such attempts against this box. Bounded; the oldest go first.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::states::{Problem, signed};
use crate::mail::Address;
use crate::store::{Batch, Store, StoreError};

/// What is held against an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Times its host said that it does not exist.
    #[serde(default)]
    pub returned: u64,
    /// Times a notice said that it did not get there. Anybody can write such a notice, so this
    /// alone keeps no mail back.
    #[serde(default)]
    pub reported: u64,
    /// Times its owner called our mail unwanted (RFC 5965).
    #[serde(default)]
    pub complaints: u64,
    /// When the first of these was, and the last.
    pub since: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// The last words about it.
    pub words: String,
    /// No mail is taken for it until then.
    pub kept_back_until: Option<Timestamp>,
}

/// Something that happened to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Returned,
    Reported,
    Complaint,
}

/// Notes that something happened, with the words that were said.
pub(super) fn note(
    store: &Store,
    batch: &mut Batch,
    address: &Address,
    event: Event,
    words: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let key = key(address);
    let mut entry = match read(store, address)? {
        Some(entry) => entry,
        None => {
            make_room(store, batch)?;
            LedgerEntry {
                returned: 0,
                reported: 0,
                complaints: 0,
                since: now,
                last: now,
                words: String::new(),
                kept_back_until: None,
            }
        }
    };
    entry.last = now;
    entry.words = words.chars().take(MOST_WORDS).collect();
    match event {
        Event::Returned => {
            entry.returned = entry.returned.saturating_add(1);
            entry.kept_back_until = now.checked_add(signed(KEPT_BACK)).ok();
        }
        Event::Reported => entry.reported = entry.reported.saturating_add(1),
        Event::Complaint => entry.complaints = entry.complaints.saturating_add(1),
    }
    batch.put_setting(&key, serde_json::to_vec(&entry).unwrap_or_default());
    Ok(())
}

/// What a host said about a recipient that is no more.
pub(super) fn words(problem: &Problem) -> &str {
    problem.reply.as_deref().unwrap_or(&problem.what)
}

/// The entry of an address.
pub(super) fn read(store: &Store, address: &Address) -> Result<Option<LedgerEntry>, StoreError> {
    let stored = store.setting(&key(address))?;
    Ok(stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// All entries, by address.
pub(super) fn all(store: &Store) -> Result<Vec<(String, LedgerEntry)>, StoreError> {
    let entries = store.settings(PREFIX)?.into_iter().filter_map(|(key, value)| {
        let address = key.strip_prefix(PREFIX)?.to_owned();
        Some((address, serde_json::from_slice(&value).ok()?))
    });
    Ok(entries.collect())
}

/// It got there after all, or the owner says so.
pub(super) fn forget(batch: &mut Batch, address: &Address) {
    batch.delete_setting(&key(address));
}

fn make_room(store: &Store, batch: &mut Batch) -> Result<(), StoreError> {
    let mut known = all(store)?;
    if known.len() >= MOST {
        known.sort_unstable_by_key(|(_, entry)| entry.last);
        for (address, _) in known.iter().take(known.len() + 1 - MOST) {
            batch.delete_setting(&format!("{PREFIX}{address}"));
        }
    }
    Ok(())
}

fn key(address: &Address) -> String {
    format!("{PREFIX}{}", address.key())
}

const PREFIX: &str = "queue/ledger/";
const MOST: usize = 2_000;
const MOST_WORDS: usize = 300;
/// Long enough to matter to a host's counting; an account may exist again after that.
const KEPT_BACK: std::time::Duration = std::time::Duration::from_hours(30 * 24);
