//! What policy remembers between messages, in a redb file of its own (`junk.redb`), so that it
//! never waits for the mail store nor makes it wait. Everything here is derived from the mail or
//! soon forgotten: a file that is lost or damaged is begun anew, and costs what was learned until
//! the mailboxes have been looked through again. No message depends on it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{
    AccessGuard, Database, ReadTransaction, ReadableDatabase, TableDefinition, WriteTransaction,
};
use ring::rand::{SecureRandom, SystemRandom};

/// File name, in the data folder.
pub const FILE: &str = "junk.redb";

/// The layout under `layout`.
const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");
/// The key of all keyed hashes under `key`.
const SECRET: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("secret");
/// Parts of an account's classifier, by account and number.
pub(super) const MODELS: TableDefinition<'_, (u32, u16), &[u8]> = TableDefinition::new("models");
/// What is known of a body in an account: see `junk::learn`.
pub(super) const LEARNED: TableDefinition<'_, (u32, u64), u8> = TableDefinition::new("learned");
/// How far a mailbox has been looked through: modification sequence and next UID.
pub(super) const PLACES: TableDefinition<'_, u32, (u64, u32)> = TableDefinition::new("places");
/// Keyed hashes of what an account has written to, with the day it was last so.
pub(super) const KNOWN: TableDefinition<'_, (u32, u64), u32> = TableDefinition::new("known");
/// Who was asked to come back, by keyed hash: see `greylist`.
pub(super) const GREY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("grey");

/// The last delays, as they are shown to the owner, under 0.
pub(super) const DELAYED: TableDefinition<'_, u8, &[u8]> = TableDefinition::new("delayed");

/// Layout of the tables; another one is begun anew.
const LAYOUT: u32 = 1;
/// Memory redb may use for pages.
const CACHE: usize = 1 << 20;

/// The open file.
#[derive(Debug)]
pub struct Notes {
    path: PathBuf,
    /// Nothing when no file can be made: nothing is remembered then.
    open: RwLock<Option<Open>>,
}

#[derive(Debug, Clone)]
struct Open {
    database: Arc<Database>,
    key: [u8; 32],
}

/// Why something cannot be remembered, or looked up. Never a reason to refuse mail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotesError {
    /// The file does not hold what was written.
    #[error("what was learned about junk is damaged and is begun anew")]
    Damaged,
    /// The file cannot be read or written.
    #[error("what was learned about junk cannot be used: {0}")]
    File(#[from] Box<redb::Error>),
    /// The folder does not take the file.
    #[error("the file for what is learned about junk cannot be made: {0}")]
    Disk(io::Error),
    /// The mail store does not answer.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The program stops.
    #[error("the program stops")]
    Stopped,
}

impl Notes {
    /// Opens the file in the data folder. One that is damaged or of another layout is begun anew.
    pub fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let open = Open::at(&path).or_else(|error| {
            tracing::warn!(%error, "what was learned about junk is begun anew");
            remove(&path).map_err(NotesError::Disk)?;
            Open::at(&path)
        });
        if let Err(error) = &open {
            tracing::error!(%error, "nothing is learned about junk");
        }
        Self { path, open: RwLock::new(open.ok()) }
    }

    /// A hash that tells equal things, and what they were to nobody who has not the box's key.
    pub(super) fn hash(&self, kind: &str, text: &str) -> u64 {
        let key = self.present().map_or([0; 32], |open| open.key);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(kind.as_bytes()).update(&[0]).update(text.as_bytes());
        let mut hash = [0; 8];
        hasher.finalize_xof().fill(&mut hash);
        u64::from_le_bytes(hash)
    }

    /// Looks something up.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Result<T, NotesError>,
    ) -> Result<T, NotesError> {
        let open = self.present()?;
        let found = open.database.begin_read().map_err(file).and_then(|txn| look(&txn));
        self.heed(found)
    }

    /// Changes something, durably: all of it or nothing.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, NotesError>,
    ) -> Result<T, NotesError> {
        let open = self.present()?;
        let changed = open.database.begin_write().map_err(file).and_then(|txn| {
            let changed = change(&txn)?;
            txn.commit().map_err(file)?;
            Ok(changed)
        });
        self.heed(changed)
    }

    /// Forgets all accounts but these: the others are gone.
    pub(super) fn keep_only(&self, here: &BTreeSet<u32>) -> Result<(), NotesError> {
        let gone = self.read(|txn| {
            let models = txn.open_table(MODELS).map_err(file)?;
            let learned = txn.open_table(LEARNED).map_err(file)?;
            let known = txn.open_table(KNOWN).map_err(file)?;
            let mut gone = BTreeSet::new();
            let mut from = 0;
            // From account to account, whatever each has.
            loop {
                let next = [
                    models.range((from, 0)..).map_err(file)?.next().map(first).transpose()?,
                    learned.range((from, 0)..).map_err(file)?.next().map(first).transpose()?,
                    known.range((from, 0)..).map_err(file)?.next().map(first).transpose()?,
                ];
                let Some(account) = next.into_iter().flatten().min() else { return Ok(gone) };
                if !here.contains(&account) {
                    gone.insert(account);
                }
                let Some(after) = account.checked_add(1) else { return Ok(gone) };
                from = after;
            }
        })?;
        if gone.is_empty() {
            return Ok(());
        }
        self.write(|txn| {
            for account in gone {
                let (parts, all) =
                    ((account, 0)..=(account, u16::MAX), (account, 0)..=(account, u64::MAX));
                let mut models = txn.open_table(MODELS).map_err(file)?;
                models.retain_in(parts, |_, _| false).map_err(file)?;
                let mut learned = txn.open_table(LEARNED).map_err(file)?;
                learned.retain_in(all.clone(), |_, _| false).map_err(file)?;
                let mut known = txn.open_table(KNOWN).map_err(file)?;
                known.retain_in(all, |_, _| false).map_err(file)?;
            }
            Ok(())
        })
    }

    /// Bytes the file occupies on the disk.
    pub fn file_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(&self.path).map_or(0, |found| found.blocks() * 512)
    }

    fn present(&self) -> Result<Open, NotesError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or(NotesError::Damaged)
    }

    /// Begins anew when the file turned out to be damaged.
    fn heed<T>(&self, result: Result<T, NotesError>) -> Result<T, NotesError> {
        let damaged = match &result {
            Err(NotesError::Damaged) => true,
            Err(NotesError::File(error)) => matches!(**error, redb::Error::Corrupted(_)),
            _ => false,
        };
        if damaged {
            tracing::warn!("what was learned about junk is damaged; it is begun anew");
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            *open = None;
            *open = remove(&self.path).ok().and_then(|()| Open::at(&self.path).ok());
        }
        result
    }
}

impl Open {
    fn at(path: &Path) -> Result<Self, NotesError> {
        let mut builder = redb::Builder::new();
        // The check tells of damage where redb would stop the program later.
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let own = options.open(path).map_err(NotesError::Disk)?;
        // What it tells of mail is as private as the mail.
        own.set_permissions(Permissions::from_mode(0o600)).map_err(NotesError::Disk)?;
        let database = builder.create(path).map_err(file)?;
        let known = {
            let txn = database.begin_read().map_err(file)?;
            match txn.open_table(META) {
                Ok(meta) => meta.get("layout").map_err(file)?.map(|layout| layout.value()),
                Err(redb::TableError::TableDoesNotExist(_)) => None,
                Err(error) => return Err(file(error)),
            }
        };
        match known {
            None => lay_out(&database)?,
            Some(LAYOUT) => {}
            Some(_) => return Err(NotesError::Damaged),
        }
        let txn = database.begin_read().map_err(file)?;
        let secret = txn.open_table(SECRET).map_err(file)?;
        let key = secret.get("key").map_err(file)?.ok_or(NotesError::Damaged)?;
        let key = <[u8; 32]>::try_from(key.value()).map_err(|_| NotesError::Damaged)?;
        Ok(Self { database: Arc::new(database), key })
    }
}

/// Makes all tables of a new file.
fn lay_out(database: &Database) -> Result<(), NotesError> {
    let mut key = [0; 32];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| NotesError::Disk(io::ErrorKind::Unsupported.into()))?;
    let txn = database.begin_write().map_err(file)?;
    txn.open_table(META).map_err(file)?.insert("layout", LAYOUT).map_err(file)?;
    txn.open_table(SECRET).map_err(file)?.insert("key", key.as_slice()).map_err(file)?;
    txn.open_table(MODELS).map_err(file)?;
    txn.open_table(LEARNED).map_err(file)?;
    txn.open_table(PLACES).map_err(file)?;
    txn.open_table(KNOWN).map_err(file)?;
    txn.open_table(GREY).map_err(file)?;
    txn.open_table(DELAYED).map_err(file)?;
    txn.commit().map_err(file)
}

/// A row of an account's.
type Row<'a, K, V> = (AccessGuard<'a, (u32, K)>, AccessGuard<'a, V>);

/// Whose row it is.
fn first<K, V>(row: Result<Row<'_, K, V>, redb::StorageError>) -> Result<u32, NotesError>
where
    K: redb::Key + 'static,
    V: redb::Value + 'static,
    (u32, K): for<'a> redb::Key<SelfType<'a> = (u32, K)>,
{
    let (key, _) = row.map_err(file)?;
    Ok(key.value().0)
}

/// The file's fault.
pub(super) fn file(error: impl Into<redb::Error>) -> NotesError {
    NotesError::File(Box::new(error.into()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use redb::ReadableTable as _;

    use super::*;

    fn remember(notes: &Notes, day: u32) {
        let put = notes.write(|txn| {
            txn.open_table(KNOWN).map_err(file)?.insert((1, 2), day).map_err(file)?;
            Ok(())
        });
        put.unwrap();
    }

    fn remembered(notes: &Notes) -> Option<u32> {
        let look = notes.read(|txn| {
            let known = txn.open_table(KNOWN).map_err(file)?;
            Ok(known.get((1, 2)).map_err(file)?.map(|day| day.value()))
        });
        look.unwrap()
    }

    #[test]
    fn what_is_remembered_outlasts_a_restart_and_hashes_stay_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::open(folder.path());
        let hash = notes.hash("address", "a@x.org");
        remember(&notes, 7);
        drop(notes);
        let notes = Notes::open(folder.path());
        assert_eq!(remembered(&notes), Some(7));
        assert_eq!(notes.hash("address", "a@x.org"), hash);
        assert_ne!(notes.hash("id", "a@x.org"), hash);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Notes::open(other.path()).hash("address", "a@x.org"), hash);
    }

    #[test]
    fn accounts_that_are_gone_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::open(folder.path());
        let put = notes.write(|txn| {
            for account in [0, 1, 3, u32::MAX] {
                let mut models = txn.open_table(MODELS).map_err(file)?;
                models.insert((account, u16::MAX), [1].as_slice()).map_err(file)?;
                let mut known = txn.open_table(KNOWN).map_err(file)?;
                known.insert((account, u64::MAX), 1).map_err(file)?;
                known.insert((account, 0), 1).map_err(file)?;
            }
            txn.open_table(LEARNED).map_err(file)?.insert((2, 5), 1).map_err(file)?;
            Ok(())
        });
        put.unwrap();
        for _ in 0..2 {
            notes.keep_only(&BTreeSet::from([1, 2, 4])).unwrap();
            let look = notes.read(|txn| {
                let rows = |name| -> Result<Vec<u32>, NotesError> {
                    let table = txn.open_table::<(u32, u64), u32>(name).map_err(file)?;
                    table.iter().map_err(file)?.map(first).collect()
                };
                let models = txn.open_table(MODELS).map_err(file)?;
                let models: Result<Vec<u32>, _> = models.iter().map_err(file)?.map(first).collect();
                let learned = txn.open_table(LEARNED).map_err(file)?;
                let learned: Result<Vec<u32>, _> =
                    learned.iter().map_err(file)?.map(first).collect();
                Ok((models?, learned?, rows(KNOWN)?))
            });
            assert_eq!(look.unwrap(), (vec![1], vec![2], vec![1, 1]));
        }
    }

    #[test]
    fn a_damaged_file_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        remember(&Notes::open(folder.path()), 7);
        let path = folder.path().join(FILE);
        let length = fs::metadata(&path).unwrap().len();
        for damage in
            [vec![], b"no database".to_vec(), vec![0xa5; usize::try_from(length).unwrap()]]
        {
            fs::write(&path, damage).unwrap();
            let notes = Notes::open(folder.path());
            assert_eq!(remembered(&notes), None);
            remember(&notes, 8);
            assert_eq!(remembered(&notes), Some(8));
        }
    }

    #[test]
    fn a_folder_that_takes_no_file_is_survived() {
        let notes = Notes::open(Path::new("/nonexistent/folder"));
        assert!(notes.read(|_| Ok(())).is_err());
        assert!(notes.write(|_| Ok(())).is_err());
    }
}
