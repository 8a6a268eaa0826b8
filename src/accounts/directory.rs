//! The directory in memory and its entries in the store: accounts under `account/<id>`, aliases
//! under `alias/<address key>`, both JSON, the next account number under `accounts/next`, so that
//! a number is never given twice, and what SCRAM's salts are made of under `accounts/salts`. A change is a list of [`Edit`]s: recorded in a batch
//! first, applied here once that batch is durable.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::login::Salts;
use super::marks::JunkMarks;
use super::passwords::{DeviceHash, StoredHash};
use super::sasl::scram::Keys;
use super::{AccountError, LastUse, Lookup, Removal};
use crate::mail::{Address, Domain, LocalPart};
use crate::store::{AccountId, Batch, Store};

const ACCOUNTS: &str = "account/";
const ALIASES: &str = "alias/";
const NEXT: &str = "accounts/next";
const SALTS: &str = "accounts/salts";

/// Who lives here.
#[derive(Debug, Default)]
pub(super) struct Directory {
    domains: HashSet<Domain>,
    accounts: BTreeMap<AccountId, Entry>,
    /// By [`Address::key`].
    ids: HashMap<String, AccountId>,
    /// By [`Address::key`].
    aliases: BTreeMap<String, Alias>,
    next: u32,
    salts: Option<Salts>,
}

/// An account as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) address: Address,
    pub(super) password: StoredHash,
    /// Of the same password; missing until it is given once to a release that knows SCRAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scram: Option<Keys>,
    /// Of the same password in its other spellings, where it has some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) scram_spelt: Vec<Keys>,
    #[serde(default)]
    pub(super) devices: Vec<Device>,
    /// Where its person decided; the box's otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) junk_marks: Option<JunkMarks>,
    /// IMAP extensions its programs do not see, by their capabilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) without: Vec<String>,
    /// What DELE does in POP3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pop3_removal: Option<Removal>,
}

/// A device's password as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) password: DeviceHash,
    /// Of the same password, as it is shown and without dashes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) scram: Vec<Keys>,
    /// Unknown for those made before it was noted down, or before the box knew the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_use: Option<LastUse>,
}

/// An alias as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alias {
    pub(super) alias: Address,
    /// Never empty.
    pub(super) targets: Vec<Address>,
}

/// One change of the directory.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// The number the next account gets.
    Next(AccountId),
    /// What salts are made of, once and for all.
    Salts(Salts),
    /// A new account, or a new state of one.
    Account(AccountId, Entry),
    /// An account is gone.
    NoAccount(AccountId),
    /// A new alias, or new targets of one.
    Alias(Alias),
    /// An alias is gone.
    NoAlias(Address),
}

impl Edit {
    /// Adds the change to a batch.
    pub(super) fn record(&self, batch: &mut Batch) -> Result<(), AccountError> {
        match self {
            Self::Next(id) => batch.put_setting(NEXT, json(NEXT, id)?),
            Self::Salts(salts) => batch.put_setting(SALTS, json(SALTS, salts)?),
            Self::Account(id, entry) => {
                let key = account_key(*id);
                batch.put_setting(&key, json(&key, entry)?)
            }
            Self::NoAccount(id) => batch.delete_setting(&account_key(*id)),
            Self::Alias(alias) => {
                let key = alias_key(&alias.alias);
                batch.put_setting(&key, json(&key, alias)?)
            }
            Self::NoAlias(alias) => batch.delete_setting(&alias_key(alias)),
        };
        Ok(())
    }
}

impl Directory {
    /// Reads the directory from the store.
    pub(super) fn load(store: &Store, domains: Vec<Domain>) -> Result<Self, AccountError> {
        let mut directory = Self { domains: domains.into_iter().collect(), ..Self::default() };
        for (key, value) in store.settings(ACCOUNTS)? {
            let id = key.strip_prefix(ACCOUNTS).and_then(|id| id.parse().ok());
            let id = id.ok_or_else(|| AccountError::Damaged(key.clone()))?;
            directory.apply(Edit::Account(AccountId(id), from_json(&key, &value)?));
        }
        for (key, value) in store.settings(ALIASES)? {
            directory.apply(Edit::Alias(from_json(&key, &value)?));
        }
        let highest = directory.accounts.last_key_value().map_or(0, |(id, _)| id.0);
        directory.next = highest + 1;
        if let Some(value) = store.setting(SALTS)? {
            directory.salts = Some(from_json(SALTS, &value)?);
        }
        if let Some(value) = store.setting(NEXT)? {
            directory.next = directory.next.max(from_json(NEXT, &value)?);
        }
        Ok(directory)
    }

    /// Takes in a change that is durable.
    pub(super) fn apply(&mut self, edit: Edit) {
        match edit {
            Edit::Next(AccountId(next)) => self.next = next,
            Edit::Salts(salts) => self.salts = Some(salts),
            Edit::Account(id, entry) => {
                self.ids.insert(entry.address.key(), id);
                self.accounts.insert(id, entry);
            }
            Edit::NoAccount(id) => {
                if let Some(entry) = self.accounts.remove(&id) {
                    self.ids.remove(&entry.address.key());
                }
            }
            Edit::Alias(alias) => {
                self.aliases.insert(alias.alias.key(), alias);
            }
            Edit::NoAlias(alias) => {
                self.aliases.remove(&alias.key());
            }
        }
    }

    pub(super) fn set_domains(&mut self, domains: Vec<Domain>) {
        self.domains = domains.into_iter().collect();
    }

    pub(super) fn is_ours(&self, domain: &Domain) -> bool {
        self.domains.contains(domain)
    }

    /// What salts are made of; nothing before the first password.
    pub(super) fn salts(&self) -> Option<&Salts> {
        self.salts.as_ref()
    }

    /// The number for a new account.
    pub(super) fn next(&self) -> AccountId {
        AccountId(self.next)
    }

    /// The account with exactly this address, whatever our domains are now.
    pub(super) fn account(&self, address: &Address) -> Option<(AccountId, &Entry)> {
        let id = self.ids.get(&address.key())?;
        self.accounts.get(id).map(|entry| (*id, entry))
    }

    /// The account of that number.
    pub(super) fn entry(&self, id: AccountId) -> Option<&Entry> {
        self.accounts.get(&id)
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = (AccountId, &Entry)> {
        self.accounts.iter().map(|(id, entry)| (*id, entry))
    }

    pub(super) fn alias(&self, alias: &Address) -> Option<&Alias> {
        self.aliases.get(&alias.key())
    }

    pub(super) fn aliases(&self) -> impl Iterator<Item = &Alias> {
        self.aliases.values()
    }

    /// Whether an account or alias has this address.
    pub(super) fn is_taken(&self, address: &Address) -> bool {
        let key = address.key();
        self.ids.contains_key(&key) || self.aliases.contains_key(&key)
    }

    /// See [`super::Accounts::lookup`]. The more exact rule wins.
    pub(super) fn lookup(&self, address: &Address) -> Lookup {
        if !self.is_ours(address.domain()) {
            return Lookup::NotOurs;
        }
        let anyone = || catch_all(address.domain()).and_then(|any| self.lookup_exact(&any));
        self.lookup_named(address).or_else(anyone).unwrap_or(Lookup::NoSuchUser)
    }

    /// The same without the catch-all, for a domain of ours.
    fn lookup_named(&self, address: &Address) -> Option<Lookup> {
        let base = untagged(address);
        let exact = self.lookup_exact(address);
        let untagged = || base.as_ref().and_then(|base| self.lookup_exact(base));
        let role = || is_role(base.as_ref().unwrap_or(address).local()).then(|| self.first());
        exact.or_else(untagged).or_else(|| role().flatten())
    }

    /// Whether mail for `address` ends, through whatever aliases, at this account.
    pub(super) fn reaches(&self, address: &Address, account: AccountId) -> bool {
        self.walk(address, &mut |_, found| *found == Lookup::Account(account))
    }

    /// Whether mail for `address` would come through the address with this key.
    pub(super) fn leads_through(&self, address: &Address, key: &str) -> bool {
        self.walk(address, &mut |on_the_way, _| {
            let any = || catch_all(on_the_way.domain()).is_some_and(|any| any.key() == key);
            on_the_way.key() == key
                || untagged(on_the_way).is_some_and(|base| base.key() == key)
                || any() && self.lookup_named(on_the_way).is_none()
        })
    }

    /// Follows aliases from `address` until `found` says so; each address once.
    fn walk(&self, address: &Address, found: &mut dyn FnMut(&Address, &Lookup) -> bool) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![address.clone()];
        while let Some(address) = open.pop() {
            if !seen.insert(address.key()) {
                continue;
            }
            let lookup = self.lookup(&address);
            if found(&address, &lookup) {
                return true;
            }
            if let Lookup::Forward(targets) = lookup {
                open.extend(targets);
            }
        }
        false
    }

    fn lookup_exact(&self, address: &Address) -> Option<Lookup> {
        let key = address.key();
        if let Some(id) = self.ids.get(&key) {
            return Some(Lookup::Account(*id));
        }
        self.aliases.get(&key).map(|alias| Lookup::Forward(alias.targets.clone()))
    }

    fn first(&self) -> Option<Lookup> {
        self.accounts.first_key_value().map(|(id, _)| Lookup::Account(*id))
    }
}

/// `name+tag` without its tag (RFC 5233 §4); nothing when there is none.
fn untagged(address: &Address) -> Option<Address> {
    let (name, _) = address.local().as_str().split_once('+')?;
    // A quoted name that is no plain word has no tag either.
    let name: LocalPart = name.parse().ok()?;
    Some(Address::new(name, address.domain().clone()))
}

/// The alias that takes what nobody else of its domain does.
fn catch_all(domain: &Domain) -> Option<Address> {
    Some(Address::new("*".parse().ok()?, domain.clone()))
}

/// Names every domain must have (RFC 5321 §4.5.1, RFC 2142 §4).
fn is_role(name: &LocalPart) -> bool {
    ["postmaster", "abuse"].iter().any(|role| name.as_str().eq_ignore_ascii_case(role))
}

fn account_key(id: AccountId) -> String {
    format!("{ACCOUNTS}{}", id.0)
}

fn alias_key(alias: &Address) -> String {
    format!("{ALIASES}{}", alias.key())
}

fn json(key: &str, value: &impl Serialize) -> Result<Vec<u8>, AccountError> {
    serde_json::to_vec(value).map_err(|_| AccountError::Damaged(key.to_owned()))
}

fn from_json<T: for<'a> Deserialize<'a>>(key: &str, value: &[u8]) -> Result<T, AccountError> {
    serde_json::from_slice(value).map_err(|_| AccountError::Damaged(key.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
                        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn directory() -> Directory {
        let mut directory = Directory::default();
        directory.set_domains(["x.org", "y.org", "z.org"].map(|name| name.parse().unwrap()).into());
        for (id, name) in [(1, "alice@x.org"), (2, "Bob@x.org"), (10, "käthe@y.org")] {
            let password = HASH.to_owned().try_into().unwrap();
            let entry = Entry {
                address: address(name),
                password,
                scram: None,
                scram_spelt: Vec::new(),
                devices: Vec::new(),
                junk_marks: None,
                without: Vec::new(),
                pop3_removal: None,
            };
            directory.apply(Edit::Account(AccountId(id), entry));
        }
        for (alias, targets) in [
            ("family@x.org", vec!["alice@x.org", "bob@x.org", "aunt@elsewhere.org"]),
            ("sales@y.org", vec!["office+sales@x.org"]),
            ("office@x.org", vec!["bob+office@x.org"]),
            ("alice+spam@x.org", vec!["bob@x.org"]),
            ("abuse@y.org", vec!["käthe@y.org"]),
            ("*@z.org", vec!["bob@x.org"]),
        ] {
            let targets = targets.into_iter().map(address).collect();
            directory.apply(Edit::Alias(Alias { alias: address(alias), targets }));
        }
        directory
    }

    #[test]
    fn mail_finds_its_account_by_the_most_exact_rule() {
        let directory = directory();
        let account = |id| Lookup::Account(AccountId(id));
        for (to, lookup) in [
            ("alice@x.org", account(1)),
            ("ALICE@X.ORG", account(1)),
            ("bob+news+more@x.org", account(2)),
            ("KÄTHE@y.org", account(10)),
            ("alice+spam@x.org", Lookup::Forward(vec![address("bob@x.org")])),
            ("office+a@x.org", Lookup::Forward(vec![address("bob+office@x.org")])),
            ("postmaster@x.org", account(1)),
            ("PostMaster+x@y.org", account(1)),
            ("abuse@x.org", account(1)),
            ("abuse@y.org", Lookup::Forward(vec![address("käthe@y.org")])),
            ("alice@y.org", Lookup::NoSuchUser),
            ("+alice@x.org", Lookup::NoSuchUser),
            ("\"a b\"@x.org", Lookup::NoSuchUser),
            ("hostmaster@x.org", Lookup::NoSuchUser),
            ("anyone@z.org", Lookup::Forward(vec![address("bob@x.org")])),
            ("anyone+tag@z.org", Lookup::Forward(vec![address("bob@x.org")])),
            ("alice@z.org", Lookup::Forward(vec![address("bob@x.org")])),
            ("*@z.org", Lookup::Forward(vec![address("bob@x.org")])),
            ("abuse@z.org", account(1)),
            ("alice@elsewhere.org", Lookup::NotOurs),
            ("postmaster@elsewhere.org", Lookup::NotOurs),
        ] {
            assert_eq!(directory.lookup(&address(to)), lookup, "{to}");
        }
        assert_eq!(
            Directory { domains: directory.domains, ..Directory::default() }
                .lookup(&address("postmaster@x.org")),
            Lookup::NoSuchUser
        );
    }

    #[test]
    fn aliases_are_followed_to_their_end_and_no_circle_is_endless() {
        let mut directory = directory();
        let reaches =
            |directory: &Directory, from, id| directory.reaches(&address(from), AccountId(id));
        assert!(reaches(&directory, "sales@y.org", 2));
        assert!(reaches(&directory, "family+x@x.org", 1));
        assert!(!reaches(&directory, "sales@y.org", 1));
        assert!(!reaches(&directory, "alice@elsewhere.org", 1));
        assert!(directory.leads_through(&address("sales@y.org"), "office@x.org"));
        assert!(!directory.leads_through(&address("family@x.org"), "office@x.org"));
        // A catch-all whose target is nobody would catch its own mail.
        assert!(directory.leads_through(&address("nobody@z.org"), "*@z.org"));
        assert!(!directory.leads_through(&address("abuse@z.org"), "*@z.org"));
        assert!(!directory.leads_through(&address("nobody@y.org"), "*@z.org"));
        let (a, b) = (address("a@x.org"), address("b@x.org"));
        directory.apply(Edit::Alias(Alias { alias: a.clone(), targets: vec![b.clone()] }));
        directory.apply(Edit::Alias(Alias { alias: b, targets: vec![a] }));
        assert!(!reaches(&directory, "a@x.org", 1));
    }
}
