//! When a device's password was used last, from where, and by what program: so that its owner can
//! tell a lost phone from the one in the pocket. Kept in memory at each login, and written at most
//! once an hour for each device, since phones log in all day and the card wears.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::directory::Device;
use super::throttle::Network;
use super::{Accounts, Inner, Login};
use crate::clock::ClockTrust;
use crate::mail::Address;
use crate::store::AccountId;

/// The last login with a device's password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUse {
    /// When.
    pub at: Timestamp,
    /// The network: an IPv4 address, or an IPv6 /64.
    pub from: String,
    /// What the program called itself in IMAP (RFC 2971), this time or before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// A device as shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// Whose.
    pub address: Address,
    /// What its owner calls it.
    pub name: String,
    /// When its password was made; nothing when that was before it was noted down.
    pub created: Option<Timestamp>,
    /// Nothing when it never was.
    pub last_use: Option<LastUse>,
}

/// What is not written yet. Never more than there are devices.
#[derive(Debug, Default)]
pub(super) struct Uses {
    latest: HashMap<(AccountId, String), Latest>,
}

#[derive(Debug)]
struct Latest {
    last: LastUse,
    /// A task is going to write it.
    due: bool,
}

/// Between two writes for one device.
const OFTEN: SignedDuration = SignedDuration::from_hours(1);
/// Before the first: a program says what it is some moments after its login.
const SETTLE: Duration = Duration::from_secs(10);
/// Longest name of a program, in characters.
const LONGEST_NAME: usize = 100;

impl Uses {
    /// A password made anew has never been used.
    pub(super) fn forget(&mut self, account: AccountId, device: &str) {
        self.latest.remove(&(account, device.to_owned()));
    }
}

impl Accounts {
    /// The devices with a password of their own; of one account, or of all.
    pub fn devices(&self, of: Option<&Address>) -> Vec<DeviceInfo> {
        let directory = self.inner.read();
        let uses = self.inner.uses();
        let key = of.map(Address::key);
        let accounts = directory
            .accounts()
            .filter(|(_, entry)| key.as_ref().is_none_or(|key| entry.address.key() == *key));
        let shown = |account: AccountId, address: &Address, device: &Device| {
            let latest = uses.latest.get(&(account, device.name.clone()));
            DeviceInfo {
                address: address.clone(),
                name: device.name.clone(),
                created: device.created,
                last_use: latest.map(|it| it.last.clone()).or_else(|| device.last_use.clone()),
            }
        };
        accounts
            .flat_map(|(id, entry)| {
                entry.devices.iter().map(move |device| shown(id, &entry.address, device))
            })
            .collect()
    }

    /// What the program behind this login calls itself.
    pub fn called_itself(&self, login: &Login, name: &str) {
        let Some(device) = &login.device else { return };
        let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
        let known = {
            let mut uses = self.inner.uses();
            let latest = uses.latest.get_mut(&(login.account, device.clone()));
            latest.map(|latest| latest.last.client = Some(name)).is_some()
        };
        if known {
            self.write_before_long(login.account, device.clone());
        }
    }

    /// A login with a device's password was right.
    pub(super) fn used(&self, account: AccountId, device: &Device, peer: IpAddr) {
        // A time that is certainly wrong tells nobody anything.
        if self.inner.clock.trust() == ClockTrust::Unknown {
            return;
        }
        let (at, from) = (self.inner.clock.now(), Network::of(peer).to_string());
        {
            let mut uses = self.inner.uses();
            let key = (account, device.name.clone());
            let before = uses.latest.get(&key);
            let (client, due) = match before {
                Some(before) => (before.last.client.clone(), before.due),
                None => (device.last_use.as_ref().and_then(|it| it.client.clone()), false),
            };
            uses.latest.insert(key, Latest { last: LastUse { at, from, client }, due });
        }
        self.write_before_long(account, device.name.clone());
    }

    /// Sees to it that the latest use of a device is written once its hour has come.
    fn write_before_long(&self, account: AccountId, device: String) {
        let Some(wait) = self.inner.wait_of(account, &device) else { return };
        // The house may close while this waits.
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            write(&inner, account, device).await;
        });
    }
}

impl Inner {
    /// How long to wait before writing; nothing when that is seen to, or there is nothing to write.
    fn wait_of(&self, account: AccountId, device: &str) -> Option<Duration> {
        let written = {
            let directory = self.read();
            let mut devices = directory.entry(account)?.devices.iter();
            devices.find(|one| one.name == device)?.last_use.as_ref().map(|it| it.at)
        };
        let mut uses = self.uses();
        let latest = uses.latest.get_mut(&(account, device.to_owned()))?;
        if std::mem::replace(&mut latest.due, true) {
            return None;
        }
        let since = written.map_or(OFTEN, |at| latest.last.at.duration_since(at));
        // A clock that was set back must not put it off for ever.
        let left = (OFTEN - since).min(OFTEN);
        Some(Duration::try_from(left).unwrap_or_default().max(SETTLE))
    }
}

async fn write(inner: &Weak<Inner>, account: AccountId, device: String) {
    let Some(inner) = inner.upgrade() else { return };
    let last = {
        let uses = inner.uses();
        let Some(latest) = uses.latest.get(&(account, device.clone())) else { return };
        latest.last.clone()
    };
    let Some(address) = inner.read().entry(account).map(|entry| entry.address.clone()) else {
        return;
    };
    let (accounts, name) = (Accounts { inner }, device.clone());
    let written = accounts.change_entry(&address, move |entry| {
        // Its password may have been taken away meanwhile.
        if let Some(device) = entry.devices.iter_mut().find(|one| one.name == name) {
            device.last_use = Some(last);
        }
        Ok(())
    });
    if let Err(error) = written.await {
        tracing::warn!(%error, "the last use of a device could not be noted down");
    }
    if let Some(latest) = accounts.inner.uses().latest.get_mut(&(account, device)) {
        latest.due = false;
    }
}
