//! Who lives here: accounts, aliases, our domains, passwords and device passwords.
//!
//! The directory is kept in the store's settings and, being small, wholly in memory. Passwords are
//! Argon2id hashes; checking one is slow on purpose, so it runs off the async threads, a bounded
//! number at a time, and failures slow down the network they come from, never the owner.

use std::net::IpAddr;

use zeroize::Zeroizing;

use crate::mail::{Address, AddressError, Domain};
use crate::store::{AccountId, Store, StoreError};

/// The directory; cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts {}

impl Accounts {
    /// Reads the directory from the store. `domains` are ours: mail for them is never relayed.
    pub fn open(store: Store, domains: Vec<Domain>) -> Result<Self, AccountError> {
        todo!()
    }

    /// Replaces our domains, after set-up or a change of configuration.
    pub fn set_domains(&self, domains: Vec<Domain>) {
        todo!()
    }

    /// Whether we are the last stop for this domain.
    pub fn is_ours(&self, domain: &Domain) -> bool {
        todo!()
    }

    /// Who gets mail for this address. `postmaster` and `abuse` of our domains reach the first
    /// account (RFC 5321 §4.5.1, RFC 2142); `name+tag` reaches `name` (RFC 5233).
    pub fn lookup(&self, address: &Address) -> Lookup {
        todo!()
    }

    /// Checks a login. Takes the same time whether the account exists or not.
    pub async fn authenticate(
        &self,
        login: &str,
        password: Password,
        peer: IpAddr,
    ) -> Result<Login, AuthError> {
        todo!()
    }

    /// Whether this login may use an address as sender: its own, with or without tag, or an alias
    /// that leads to it.
    pub fn may_send_as(&self, account: AccountId, from: &Address) -> bool {
        todo!()
    }

    /// Makes an account with its mailboxes (INBOX and one for each special use).
    pub async fn add(
        &self,
        address: Address,
        password: Password,
    ) -> Result<AccountId, AccountError> {
        todo!()
    }

    /// All accounts, oldest first.
    pub fn list(&self) -> Vec<Account> {
        todo!()
    }

    /// Sets a new password.
    pub async fn set_password(
        &self,
        address: &Address,
        password: Password,
    ) -> Result<(), AccountError> {
        todo!()
    }

    /// Removes an account and all its mail.
    pub async fn remove(&self, address: &Address) -> Result<(), AccountError> {
        todo!()
    }

    /// Mints a password for one device; shown once, stored only as a hash.
    pub async fn add_device(
        &self,
        address: &Address,
        name: &str,
    ) -> Result<Password, AccountError> {
        todo!()
    }

    /// Takes a device's password away.
    pub async fn revoke_device(&self, address: &Address, name: &str) -> Result<(), AccountError> {
        todo!()
    }

    /// Sends mail for `alias` on to `target` (an account of ours or an address elsewhere).
    pub async fn add_alias(&self, alias: Address, target: Address) -> Result<(), AccountError> {
        todo!()
    }

    /// All aliases with their targets.
    pub fn aliases(&self) -> Vec<(Address, Vec<Address>)> {
        todo!()
    }

    /// Removes an alias.
    pub async fn remove_alias(&self, alias: &Address) -> Result<(), AccountError> {
        todo!()
    }
}

/// Where mail for an address goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// To an account here.
    Account(AccountId),
    /// Through an alias to these addresses, at least one; resolve each again.
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

/// A successful login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The account.
    pub account: AccountId,
    /// Its address.
    pub address: Address,
    /// The device, when its own password was used.
    pub device: Option<String>,
}

/// A password in memory: wiped when dropped, never shown by `Debug`.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Shortest password taken for an account, in characters.
    pub const MIN: usize = 8;

    /// Wraps what a person or a client gave.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Why a login failed; both look alike to the peer except for the waiting time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Unknown login or wrong password.
    #[error("the user name or password is not right")]
    Wrong,
    /// Too many failures from this network: try again later.
    #[error("too many failed logins from your network: try again in {0} seconds")]
    Throttled(u64),
    /// Our own fault; not a reason to ask for a new password.
    #[error("the login cannot be checked now")]
    Unavailable,
}

/// Why the directory could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The address is an account or alias already.
    #[error("{0} exists already")]
    Exists(Address),
    /// No such account, alias or device.
    #[error("there is no {0}")]
    Missing(String),
    /// Its domain is not one of ours.
    #[error("{0} is not a domain of this box: add it to the configuration first")]
    ForeignDomain(Domain),
    /// Too short to be safe.
    #[error("a password needs at least {} characters", Password::MIN)]
    ShortPassword,
    /// Not an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored entry cannot be read.
    #[error("the stored entry {0} cannot be read")]
    Damaged(String),
}
