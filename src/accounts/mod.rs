//! Who lives here: accounts, aliases, our domains, passwords and device passwords.
//!
//! The directory is kept in the store's settings and, being small, wholly in memory. Passwords are
//! Argon2id hashes; checking one is slow on purpose, so it runs off the async threads, a bounded
//! number at a time, and failures slow down the network they come from, never the owner.

mod argon;
mod directory;
mod error;
mod login;
mod marks;
mod passwords;
mod recent;
mod removal;
pub mod sasl;
mod spelling;
mod throttle;
mod uses;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use tokio::sync::watch;

use directory::{Alias, Device, Directory, Edit, Entry};
use passwords::{Cost, DeviceHash, Hasher};
use recent::Recent;
use throttle::{LoginTag, Network, Throttle};
use uses::Uses;

use crate::clock::{ClockTrust, SharedClock, SystemClock};
use crate::mail::{Address, Domain, MailboxName, SpecialUse};
use crate::store::{AccountId, Batch, Quota, Store, StoreError};

pub use error::{AccountError, AuthError};
pub use login::Login;
pub use marks::{JunkMarks, MarksError};
pub use passwords::{HashError, Password};
pub use removal::Removal;
pub use uses::{DeviceInfo, LastUse};

/// The directory; cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    directory: RwLock<Directory>,
    /// Held from looking to having changed, so that two who add the same address meet.
    changing: tokio::sync::Mutex<()>,
    hasher: Hasher,
    throttle: Mutex<Throttle>,
    recent: Mutex<Recent>,
    uses: Mutex<Uses>,
    clock: SharedClock,
    /// Tells of changes of the directory.
    changes: watch::Sender<()>,
    /// Keys the tags in those tables, so that memory holds no password.
    tag_key: [u8; 32],
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inner")
    }
}

impl Accounts {
    /// Reads the directory from the store. `domains` are ours: mail for them is never relayed.
    pub fn open(store: Store, domains: Vec<Domain>) -> Result<Self, AccountError> {
        Self::open_by(store, domains, Arc::new(SystemClock))
    }

    /// The same with another clock than the system's.
    pub fn open_by(
        store: Store,
        domains: Vec<Domain>,
        clock: SharedClock,
    ) -> Result<Self, AccountError> {
        Self::open_with(store, domains, Cost::NORMAL, clock)
    }

    fn open_with(
        store: Store,
        domains: Vec<Domain>,
        cost: Cost,
        clock: SharedClock,
    ) -> Result<Self, AccountError> {
        let directory = Directory::load(&store, domains)?;
        let mut tag_key = [0; 32];
        passwords::fill_random(&mut tag_key)?;
        let inner = Inner {
            store,
            directory: RwLock::new(directory),
            changing: tokio::sync::Mutex::new(()),
            hasher: Hasher::new(cost)?,
            throttle: Mutex::new(Throttle::new()),
            recent: Mutex::default(),
            uses: Mutex::default(),
            clock,
            changes: watch::Sender::new(()),
            tag_key,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Replaces our domains, after set-up or a change of configuration.
    pub fn set_domains(&self, domains: Vec<Domain>) {
        self.inner.write(|directory| directory.set_domains(domains));
    }

    /// Whether we are the last stop for this domain.
    pub fn is_ours(&self, domain: &Domain) -> bool {
        self.inner.read().is_ours(domain)
    }

    /// Who gets mail for this address. `postmaster` and `abuse` of our domains reach the first
    /// account (RFC 5321 §4.5.1, RFC 2142); `name+tag` reaches `name` (RFC 5233); the alias `*` of
    /// a domain takes whatever nobody else of it does.
    pub fn lookup(&self, address: &Address) -> Lookup {
        self.inner.read().lookup(address)
    }

    /// Whether this login may use an address as sender: its own, with or without tag, or an alias
    /// that leads to it.
    pub fn may_send_as(&self, account: AccountId, from: &Address) -> bool {
        self.inner.read().reaches(from, account)
    }

    /// Makes an account with its mailboxes (INBOX and one for each special use).
    pub async fn add(
        &self,
        address: Address,
        password: Password,
    ) -> Result<AccountId, AccountError> {
        // Before the slow hash: most mistakes are seen here.
        self.inner.read().may_add(&address)?;
        let secured = self.secure(password, &address).await?;
        self.change(move |inner, batch| {
            let directory = inner.read();
            directory.may_add(&address)?;
            let id = directory.next();
            batch.create_mailbox(id, MailboxName::inbox(), None);
            for usage in SpecialUse::ALL {
                let name = usage.default_name();
                let name = name.parse().map_err(|_| AccountError::Damaged(name.to_owned()))?;
                batch.create_mailbox(id, name, Some(usage));
            }
            let entry = secured.entry(address);
            Ok((vec![Edit::Next(AccountId(id.0 + 1)), Edit::Account(id, entry)], id))
        })
        .await
    }

    /// All accounts, oldest first.
    pub fn list(&self) -> Vec<Account> {
        let devices = |entry: &Entry| entry.devices.iter().map(|d| d.name.clone()).collect();
        let directory = self.inner.read();
        let account = |(id, entry): (AccountId, &Entry)| Account {
            id,
            address: entry.address.clone(),
            devices: devices(entry),
        };
        directory.accounts().map(account).collect()
    }

    /// Sets a new password.
    pub async fn set_password(
        &self,
        address: &Address,
        password: Password,
    ) -> Result<(), AccountError> {
        self.inner.read().existing(address)?;
        let secured = self.secure(password, address).await?;
        self.change_entry(address, move |entry| {
            secured.replace(entry);
            Ok(())
        })
        .await
    }

    /// Removes an account, all its mail, and its place in aliases.
    pub async fn remove(&self, address: &Address) -> Result<(), AccountError> {
        /// Mailboxes may come and go while their list is being made.
        const TRIES: u32 = 5;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.remove_once(address.clone()).await {
                Err(AccountError::Store(StoreError::NoMailbox)) if tries < TRIES => {}
                done => return done,
            }
        }
    }

    /// Mints a password for one device; shown once, stored only as a hash.
    pub async fn add_device(
        &self,
        address: &Address,
        name: &str,
    ) -> Result<Password, AccountError> {
        let name = device_name(name)?;
        let (password, hash) = DeviceHash::mint()?;
        let scram = self.keys(passwords::device_spellings(&password), &address.key()).await?;
        let clock = &self.inner.clock;
        let created = (clock.trust() > ClockTrust::Unknown).then(|| clock.now());
        let id = self.inner.read().account(address).map(|(id, _)| id);
        let known_as = name.clone();
        self.change_entry(address, move |entry| {
            if entry.devices.iter().any(|device| same_device(&device.name, &name)) {
                return Err(AccountError::DeviceExists(name));
            }
            let last_use = None;
            entry.devices.push(Device { name, password: hash, scram, created, last_use });
            Ok(())
        })
        .await?;
        if let Some(id) = id {
            self.inner.uses().forget(id, &known_as);
        }
        Ok(password)
    }

    /// Takes a device's password away.
    pub async fn revoke_device(&self, address: &Address, name: &str) -> Result<(), AccountError> {
        let name = name.trim().to_owned();
        self.change_entry(address, move |entry| {
            let before = entry.devices.len();
            entry.devices.retain(|device| !same_device(&device.name, &name));
            if entry.devices.len() == before {
                return Err(AccountError::Missing(format!("device called {name}")));
            }
            Ok(())
        })
        .await
    }

    /// The account's own marks for junk; nothing when it follows the box's.
    pub fn junk_marks(&self, account: AccountId) -> Option<JunkMarks> {
        self.inner.read().entry(account).and_then(|entry| entry.junk_marks)
    }

    /// Sets an account's own marks for junk, or has it follow the box's.
    pub async fn set_junk_marks(
        &self,
        address: &Address,
        marks: Option<JunkMarks>,
    ) -> Result<(), AccountError> {
        self.change_entry(address, move |entry| {
            entry.junk_marks = marks;
            Ok(())
        })
        .await
    }

    /// The IMAP extensions an account is kept from, by their capabilities; nothing when there is no
    /// such account.
    pub fn without(&self, address: &Address) -> Option<Vec<String>> {
        self.inner.read().account(address).map(|(_, entry)| entry.without.clone())
    }

    /// Keeps an account from these IMAP extensions and no others, from its next login on. What they
    /// are called is the business of who knows them.
    pub async fn set_without(
        &self,
        address: &Address,
        without: Vec<String>,
    ) -> Result<(), AccountError> {
        self.change_entry(address, move |entry| {
            entry.without = without;
            Ok(())
        })
        .await
    }

    /// Sends mail for `alias` on to `target` (an account of ours or an address elsewhere). An
    /// alias that exists gets one more target.
    pub async fn add_alias(&self, alias: Address, target: Address) -> Result<(), AccountError> {
        self.change(move |inner, _| {
            let directory = inner.read();
            if !directory.is_ours(alias.domain()) {
                return Err(AccountError::ForeignDomain(alias.domain().clone()));
            }
            if directory.leads_through(&target, &alias.key()) {
                return Err(AccountError::Circle(alias));
            }
            if directory.lookup(&target) == Lookup::NoSuchUser {
                return Err(AccountError::Missing(format!("account or alias {target}")));
            }
            let mut entry = match directory.alias(&alias) {
                Some(entry) => entry.clone(),
                None if directory.is_taken(&alias) => return Err(AccountError::Exists(alias)),
                None => Alias { alias, targets: Vec::new() },
            };
            if entry.targets.iter().any(|old| same_target(&directory, old, &target)) {
                return Err(AccountError::Exists(entry.alias));
            }
            entry.targets.push(target);
            Ok((vec![Edit::Alias(entry)], ()))
        })
        .await
    }

    /// All aliases with their targets.
    pub fn aliases(&self) -> Vec<(Address, Vec<Address>)> {
        let directory = self.inner.read();
        directory.aliases().map(|alias| (alias.alias.clone(), alias.targets.clone())).collect()
    }

    /// Removes an alias.
    pub async fn remove_alias(&self, alias: &Address) -> Result<(), AccountError> {
        let alias = alias.clone();
        self.change(move |inner, _| {
            if inner.read().alias(&alias).is_none() {
                return Err(AccountError::Missing(format!("alias {alias}")));
            }
            Ok((vec![Edit::NoAlias(alias)], ()))
        })
        .await
    }

    async fn remove_once(&self, address: Address) -> Result<(), AccountError> {
        self.change(move |inner, batch| {
            let directory = inner.read();
            let (id, entry) = directory.existing(&address)?;
            for mailbox in inner.store.mailboxes(id)? {
                batch.delete_mailbox(mailbox.id);
            }
            batch.set_quota(id, Quota::NONE);
            for (key, _) in inner.store.settings(&id.settings())? {
                batch.delete_setting(&key);
            }
            batch.forget_account(id);
            let mut edits = vec![Edit::NoAccount(id)];
            let key = entry.address.key();
            for alias in directory.aliases() {
                let mut left = alias.clone();
                left.targets.retain(|target| target.key() != key);
                if left.targets.is_empty() {
                    edits.push(Edit::NoAlias(left.alias));
                } else if left != *alias {
                    edits.push(Edit::Alias(left));
                }
            }
            Ok((edits, ()))
        })
        .await
    }

    async fn change_entry<F>(&self, address: &Address, edit: F) -> Result<(), AccountError>
    where
        F: FnOnce(&mut Entry) -> Result<(), AccountError> + Send + 'static,
    {
        let address = address.clone();
        self.change(move |inner, _| {
            let directory = inner.read();
            let (id, entry) = directory.existing(&address)?;
            let mut entry = entry.clone();
            edit(&mut entry)?;
            Ok((vec![Edit::Account(id, entry)], ()))
        })
        .await
    }

    /// Plans a change, makes it durable and only then takes it into memory; one at a time. Runs
    /// in a task of its own: a caller that goes away must not part memory from the store.
    async fn change<F, T>(&self, plan: F) -> Result<T, AccountError>
    where
        F: FnOnce(&Inner, &mut Batch) -> Result<(Vec<Edit>, T), AccountError> + Send + 'static,
        T: Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let task = tokio::spawn(async move {
            let _alone = inner.changing.lock().await;
            let mut batch = Batch::new();
            let (edits, result) = plan(&inner, &mut batch)?;
            for edit in &edits {
                edit.record(&mut batch)?;
            }
            inner.store.commit(batch).await?;
            inner.write(|directory| edits.into_iter().for_each(|edit| directory.apply(edit)));
            inner.changes.send_replace(());
            Ok(result)
        });
        task.await.unwrap_or(Err(AccountError::Store(StoreError::Closed)))
    }
}

impl Inner {
    fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, change: impl FnOnce(&mut Directory)) {
        change(&mut self.directory.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, from: Network, login: &LoginTag) -> Result<(), AuthError> {
        match self.throttle().wait(from, login, now()) {
            Some(wait) => Err(AuthError::Throttled(wait.as_secs().saturating_add(1))),
            None => Ok(()),
        }
    }

    async fn hash(&self, password: Password) -> Result<passwords::StoredHash, AccountError> {
        if password.expose().chars().count() < Password::MIN {
            return Err(AccountError::ShortPassword);
        }
        if password.expose().chars().any(char::is_control) {
            return Err(AccountError::ControlCharacter);
        }
        Ok(self.hasher.hash(password).await?)
    }

    fn tag(&self, parts: &[&[u8]]) -> [u8; 16] {
        keyed_tag(&self.tag_key, parts)
    }
}

/// Stands for these parts to whoever knows the key.
fn keyed_tag(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut tag = [0; 16];
    hasher.finalize_xof().fill(&mut tag);
    tag
}

impl Directory {
    fn may_add(&self, address: &Address) -> Result<(), AccountError> {
        if !self.is_ours(address.domain()) {
            return Err(AccountError::ForeignDomain(address.domain().clone()));
        }
        if self.is_taken(address) {
            return Err(AccountError::Exists(address.clone()));
        }
        Ok(())
    }

    fn existing(&self, address: &Address) -> Result<(AccountId, &Entry), AccountError> {
        self.account(address).ok_or_else(|| AccountError::Missing(format!("account {address}")))
    }
}

/// Case tells targets apart only where another host may do so.
fn same_target(directory: &Directory, one: &Address, other: &Address) -> bool {
    one == other || (directory.is_ours(one.domain()) && one.key() == other.key())
}

fn same_device(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn device_name(name: &str) -> Result<String, AccountError> {
    let name = name.trim();
    let fits = !name.is_empty() && name.chars().count() <= 64;
    if fits && !name.chars().any(char::is_control) {
        Ok(name.to_owned())
    } else {
        Err(AccountError::DeviceName)
    }
}

/// The time that a test can set with `tokio::time`.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Where mail for an address goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// To an account here.
    Account(AccountId),
    /// Through an alias to these addresses, at least one; resolve each again, but no address
    /// twice: removing an alias may close a circle.
    Forward(Vec<Address>),
    /// Our domain, but nobody of that name: 550 5.1.1.
    NoSuchUser,
    /// Not our domain.
    NotOurs,
}

/// One account as shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Its main address, which is also its login.
    pub address: Address,
    /// Names of the devices with a password of their own.
    pub devices: Vec<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests;
