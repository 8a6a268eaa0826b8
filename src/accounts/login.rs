//! What a login leaves behind, and whether it holds still: a connection may outlive the password
//! that opened it.

use tokio::sync::watch;

use super::directory::{Device, Entry};
use super::{Accounts, Inner};
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
    /// See [`Accounts::is_current`].
    pub(crate) proof: ProofTag,
}

/// Stands for a password that was right, as long as this process lives.
pub(crate) type ProofTag = [u8; 16];

impl Accounts {
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

impl Inner {
    /// Stands for the password that was right: that of a device or, without one, the account's.
    pub(super) fn proof(&self, entry: &Entry, device: Option<&Device>) -> ProofTag {
        let hash = device.map(|device| String::from(device.password.clone()));
        self.tag(&[hash.as_deref().unwrap_or(entry.password.as_str()).as_bytes()])
    }
}
