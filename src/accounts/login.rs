//! Logins, by password and by proof (SCRAM), what they leave behind, and whether that holds still:
//! a connection may outlive the password that opened it.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::directory::{Device, Edit, Entry};
use super::passwords::{self, StoredHash};
use super::sasl::scram::{Keys, Proof, Salted, Signature};
use super::spelling;
use super::throttle::{GuessTag, LoginTag, Network};
use super::{AccountError, Accounts, AuthError, Inner, Password, keyed_tag, now};
use crate::mail::Address;
use crate::store::AccountId;

/// A successful login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The account.
    pub account: AccountId,
    /// Its address.
    pub address: Address,
    /// The device, when its own password was used.
    pub device: Option<String>,
    /// IMAP extensions this account is kept from, by their capabilities.
    pub without: Arc<[String]>,
    /// See [`Accounts::is_current`].
    pub(crate) proof: ProofTag,
}

/// Stands for a password that was right, as long as this process lives.
pub(crate) type ProofTag = [u8; 16];

/// What the salts of SCRAM are made of. Every login name has a salt, whether anybody has that name
/// or not, and always the same: nobody can ask the salts who lives here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Salts {
    key: [u8; 32],
    rounds: NonZeroU32,
}

impl Salts {
    /// The salt for a login, by its key.
    fn of(&self, key: &str) -> [u8; 16] {
        keyed_tag(&self.key, &[key.as_bytes()])
    }
}

/// What is kept of a password.
pub(super) struct Secured {
    hash: StoredHash,
    /// One for each spelling.
    keys: Vec<Keys>,
}

impl Secured {
    /// A new account with it.
    pub(super) fn entry(self, address: Address) -> Entry {
        let Self { hash: password, keys } = self;
        let (scram, scram_spelt, devices) = (None, Vec::new(), Vec::new());
        let (junk_marks, pop3_removal, without) = (None, None, Vec::new());
        let mut entry = Entry {
            address,
            password,
            scram,
            scram_spelt,
            devices,
            junk_marks,
            without,
            pop3_removal,
        };
        entry.set_keys(keys);
        entry
    }

    /// Puts it in place of an older one.
    pub(super) fn replace(self, entry: &mut Entry) {
        entry.password = self.hash;
        entry.set_keys(self.keys);
    }
}

impl Entry {
    fn keys(&self) -> impl Iterator<Item = &Keys> {
        self.scram.iter().chain(&self.scram_spelt)
    }

    fn set_keys(&mut self, keys: Vec<Keys>) {
        let mut keys = keys.into_iter();
        (self.scram, self.scram_spelt) = (keys.next(), keys.collect());
    }
}

/// A login name as it was given, made ready to be looked up.
struct Named {
    key: String,
    account: Option<(AccountId, Entry)>,
}

impl Accounts {
    /// Checks a login: a full address in any case. Takes the same time whether the account exists
    /// or not.
    ///
    /// Device passwords are tried first, before any waiting: they cannot be guessed, so a phone
    /// that has one gets in whatever goes on in its network.
    pub async fn authenticate(
        &self,
        login: &str,
        password: Password,
        peer: IpAddr,
    ) -> Result<Login, AuthError> {
        let inner = &self.inner;
        let from = Network::of(peer);
        let Named { key, account: known } = inner.named(login);
        let hash = known.as_ref().map_or(inner.hasher.decoy(), |(_, entry)| &entry.password);
        let tag: LoginTag = inner.tag(&[key.as_bytes()]);
        // The hash is part of the tag: after a change of password an old guess may be right.
        let guess: GuessTag =
            inner.tag(&[key.as_bytes(), hash.as_str().as_bytes(), password.expose().as_bytes()]);

        let device = known.as_ref().and_then(|(_, entry)| {
            entry.devices.iter().find(|device| device.password.matches(&password))
        });
        let is_recent = inner.recent().knows(&guess, now());
        let given = password.clone();
        let right = if device.is_some() {
            true
        } else {
            inner.admit(from, &tag)?;
            if inner.throttle().is_repeated(from, &tag, &guess, now()) {
                return Err(AuthError::Wrong);
            }
            is_recent || {
                let turn = inner.hasher.turn().await.map_err(unavailable)?;
                // Others from the same network may have failed while this one waited.
                inner.admit(from, &tag)?;
                inner.hasher.verify(turn, password, hash.clone()).await.map_err(unavailable)?
            }
        };
        match known {
            Some((account, ref entry)) if right => {
                inner.throttle().succeeded(from, &tag, now());
                if device.is_none() && !is_recent {
                    inner.recent().proved(guess, now());
                }
                self.learn(entry, device, given);
                if let Some(device) = device {
                    self.used(account, device, peer);
                }
                Ok(inner.login(account, entry, device))
            }
            _ => {
                inner.throttle().failed(from, tag, guess, now());
                tracing::info!(%peer, "a login failed");
                Err(AuthError::Wrong)
            }
        }
    }

    /// The salt for a SCRAM login, and a nonce; the same way whether the account exists or not. No
    /// guess is made with it, so nobody waits here.
    pub async fn salt(&self, login: &str) -> Result<Salted, AuthError> {
        let Named { key, .. } = self.inner.named(login);
        let salts = self.salts().await.map_err(unavailable)?;
        let mut nonce = [0; 18];
        passwords::fill_random(&mut nonce).map_err(unavailable)?;
        let (salt, iterations) = (salts.of(&key), salts.rounds);
        Ok(Salted { salt, iterations, nonce: STANDARD.encode(nonce) })
    }

    /// Checks a SCRAM login, against those of its devices, which need not wait, and the account's
    /// password; they share a salt. With the login comes the signature that the client is waiting for.
    pub fn prove(&self, proof: &Proof, peer: IpAddr) -> Result<(Login, Signature), AuthError> {
        let inner = &self.inner;
        let from = Network::of(peer);
        let Named { key, account: known } = inner.named(proof.login());
        let tag: LoginTag = inner.tag(&[key.as_bytes()]);
        let device = known.as_ref().and_then(|(account, entry)| {
            let proved = |device: &Device| device.scram.iter().find_map(|keys| keys.check(proof));
            let (device, signature) =
                entry.devices.iter().find_map(|it| proved(it).map(|signature| (it, signature)))?;
            self.used(*account, device, peer);
            Some((inner.login(*account, entry, Some(device)), signature))
        });
        let own = |(account, entry): &(AccountId, Entry)| {
            let signature = entry.keys().find_map(|keys| keys.check(proof))?;
            Some((inner.login(*account, entry, None), signature))
        };
        let right = if device.is_some() {
            device
        } else {
            inner.admit(from, &tag)?;
            known.as_ref().and_then(own)
        };
        if right.is_some() {
            inner.throttle().succeeded(from, &tag, now());
        } else {
            // No two proofs are alike, so none is known to be the same guess again.
            let mut guess = GuessTag::default();
            passwords::fill_random(&mut guess).map_err(unavailable)?;
            inner.throttle().failed(from, tag, guess, now());
            tracing::info!(%peer, "a login failed");
        }
        right.ok_or(AuthError::Wrong)
    }

    /// Tells of every change of accounts, passwords and aliases. Who keeps a connection open for
    /// long asks then whether its login [is current](Self::is_current) still.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.inner.changes.subscribe()
    }

    /// Whether what was proved at this login would open the account still: a lost phone whose
    /// password was taken away must not go on reading over the connection it has.
    pub fn is_current(&self, login: &Login) -> bool {
        let directory = self.inner.read();
        let Some(entry) = directory.entry(login.account) else { return false };
        match &login.device {
            None => self.inner.proof(entry, None) == login.proof,
            Some(name) => {
                let device = entry.devices.iter().find(|device| device.name == *name);
                device.is_some() && self.inner.proof(entry, device) == login.proof
            }
        }
    }
}

impl Accounts {
    /// What is kept of an account's new password.
    pub(super) async fn secure(
        &self,
        password: Password,
        address: &Address,
    ) -> Result<Secured, AccountError> {
        let hash = self.inner.hash(password.clone()).await?;
        let keys = self.keys(spelling::keyed(password), &address.key()).await?;
        Ok(Secured { hash, keys })
    }

    /// SCRAM's keys for passwords of the account with this key.
    pub(super) async fn keys(
        &self,
        passwords: Vec<Password>,
        key: &str,
    ) -> Result<Vec<Keys>, AccountError> {
        let salts = self.salts().await?;
        Ok(self.inner.hasher.keys(passwords, salts.of(key), salts.rounds).await?)
    }

    async fn salts(&self) -> Result<Salts, AccountError> {
        let known = self.inner.read().salts().cloned();
        if let Some(salts) = known {
            return Ok(salts);
        }
        self.change(|inner, _| {
            // Somebody may have made them meanwhile.
            if let Some(salts) = inner.read().salts() {
                return Ok((Vec::new(), salts.clone()));
            }
            let mut key = [0; 32];
            passwords::fill_random(&mut key)?;
            let salts = Salts { key, rounds: inner.hasher.rounds() };
            Ok((vec![Edit::Salts(salts.clone())], salts))
        })
        .await
    }

    /// A password from before SCRAM, or before a spelling of it, was known is right: its keys are
    /// made while it is here. In the background, for the login is done.
    fn learn(&self, entry: &Entry, device: Option<&Device>, password: Password) {
        let known = match device {
            Some(device) => !device.scram.is_empty(),
            // More spellings than are known: this program has one of its own.
            None => entry.keys().count() >= spelling::keyed(password.clone()).len(),
        };
        if known {
            return;
        }
        let (accounts, address) = (self.clone(), entry.address.clone());
        let hash = entry.password.as_str().to_owned();
        let device = device.map(|device| device.name.clone());
        tokio::spawn(async move {
            let passwords = match device {
                Some(_) => passwords::device_spellings(&password),
                None => spelling::keyed(password),
            };
            let keep = async {
                let keys = accounts.keys(passwords, &address.key()).await?;
                let learnt = accounts.change_entry(&address, move |entry| {
                    match device {
                        Some(name) => {
                            let named = entry.devices.iter_mut().find(|one| one.name == name);
                            if let Some(device) = named {
                                device.scram = keys;
                            }
                        }
                        // Changed meanwhile, it is another password.
                        None if entry.password.as_str() == hash => entry.set_keys(keys),
                        None => {}
                    }
                    Ok(())
                });
                learnt.await
            };
            if let Err(error) = keep.await {
                tracing::warn!(%error, "a login cannot use SCRAM yet");
            }
        });
    }
}

impl Inner {
    fn named(&self, login: &str) -> Named {
        // Keyboards that complete a word put a space behind it.
        let login = login.trim();
        let name = login.parse::<Address>();
        let key = name.as_ref().map_or_else(|_| login.to_lowercase(), Address::key);
        let account = name.ok().and_then(|address| {
            let directory = self.read();
            directory.account(&address).map(|(id, entry)| (id, entry.clone()))
        });
        Named { key, account }
    }

    fn login(&self, account: AccountId, entry: &Entry, device: Option<&Device>) -> Login {
        Login {
            account,
            address: entry.address.clone(),
            device: device.map(|device| device.name.clone()),
            without: entry.without.clone().into(),
            proof: self.proof(entry, device),
        }
    }

    /// Stands for the password that was right: that of a device or, without one, the account's.
    pub(super) fn proof(&self, entry: &Entry, device: Option<&Device>) -> ProofTag {
        let hash = device.map(|device| String::from(device.password.clone()));
        self.tag(&[hash.as_deref().unwrap_or(entry.password.as_str()).as_bytes()])
    }
}

fn unavailable(error: impl std::fmt::Display) -> AuthError {
    tracing::warn!(%error, "a login could not be checked");
    AuthError::Unavailable
}
