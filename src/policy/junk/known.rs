//! Whom an account knows: the people it has written to, and the messages it has sent, so that an
//! answer is known as one. Kept as keyed hashes with the day of the last time: the file tells
//! nobody who writes to whom. Bounded for each account; the longest ago goes first.

use crate::policy::notes::{KNOWN, Notes, NotesError, file};
use crate::store::AccountId;

/// Most entries of an account: an address or a Message-ID each, 16 bytes.
pub(super) const MOST: usize = 30_000;

/// What is known, with the key it is known under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An address the account has written to.
    Address,
    /// The Message-ID of a message of the account's.
    MessageId,
}

impl Kind {
    pub(super) fn hash(self, notes: &Notes, text: &str) -> u64 {
        match self {
            Self::Address => notes.hash("address", &text.to_lowercase()),
            Self::MessageId => notes.hash("id", text.trim_matches(['<', '>', ' '])),
        }
    }
}

/// Whether an account knows one of these.
pub(super) fn any(notes: &Notes, account: AccountId, hashes: &[u64]) -> Result<bool, NotesError> {
    notes.read(|txn| {
        let known = txn.open_table(KNOWN).map_err(file)?;
        for hash in hashes {
            if known.get((account.0, *hash)).map_err(file)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

/// Puts down what an account knows from `day` on.
pub(super) fn put(
    txn: &redb::WriteTransaction,
    account: AccountId,
    hashes: impl IntoIterator<Item = u64>,
    day: u32,
) -> Result<(), NotesError> {
    let mut known = txn.open_table(KNOWN).map_err(file)?;
    for hash in hashes {
        known.insert((account.0, hash), day).map_err(file)?;
    }
    Ok(())
}

/// Forgets what an account knew longest ago, as far as it is too much.
pub(super) fn prune(notes: &Notes, account: AccountId, most: usize) -> Result<(), NotesError> {
    let all = (account.0, 0)..=(account.0, u64::MAX);
    let mut days: Vec<u32> = notes.read(|txn| {
        let known = txn.open_table(KNOWN).map_err(file)?;
        let rows = known.range(all.clone()).map_err(file)?;
        rows.map(|row| Ok(row.map_err(file)?.1.value())).collect()
    })?;
    let Some(over) = days.len().checked_sub(most).filter(|over| *over > 0) else { return Ok(()) };
    days.sort_unstable();
    let Some(last) = days.get(over - 1).copied() else { return Ok(()) };
    notes.write(|txn| {
        let mut known = txn.open_table(KNOWN).map_err(file)?;
        let mut left = over;
        known
            .retain_in(all, |_, day| {
                let goes = left > 0 && day <= last;
                left -= usize::from(goes);
                !goes
            })
            .map_err(file)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn accounts_know_people_for_themselves_and_the_longest_ago_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::open(folder.path());
        let (alice, bob) = (AccountId(1), AccountId(2));
        let hash = |text: &str| Kind::Address.hash(&notes, text);
        assert_eq!(hash("Zoe@Example.org"), hash("zoe@example.org"));
        notes
            .write(|txn| {
                put(txn, alice, [hash("zoe@example.org")], 10)?;
                put(txn, alice, (0..50).map(|n| hash(&format!("p{n}@x.org"))), 20)?;
                put(txn, bob, [hash("p1@x.org")], 1)
            })
            .unwrap();
        assert!(any(&notes, alice, &[1, hash("zoe@example.org")]).unwrap());
        assert!(!any(&notes, bob, &[hash("zoe@example.org")]).unwrap());
        prune(&notes, alice, 50).unwrap();
        assert!(!any(&notes, alice, &[hash("zoe@example.org")]).unwrap());
        let left = (0..50).filter(|n| any(&notes, alice, &[hash(&format!("p{n}@x.org"))]).unwrap());
        assert_eq!(left.count(), 50);
        prune(&notes, alice, 20).unwrap();
        let left = (0..50).filter(|n| any(&notes, alice, &[hash(&format!("p{n}@x.org"))]).unwrap());
        assert_eq!(left.count(), 20);
        assert!(any(&notes, bob, &[hash("p1@x.org")]).unwrap());
    }
}
