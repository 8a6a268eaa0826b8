//! What can go wrong with a login or a change, and whose fault it is.

use super::{HashError, Password};
use crate::mail::{Address, AddressError, Domain};
use crate::store::StoreError;

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
    /// The device has a password already.
    #[error("the device {0} has a password already: revoke it first, or choose another name")]
    DeviceExists(String),
    /// Not a name for a device.
    #[error("a device name has 1 to 64 characters")]
    DeviceName,
    /// The alias would lead back to itself.
    #[error("mail for {0} would go in a circle")]
    Circle(Address),
    /// A password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// Too short to be safe.
    #[error("a password needs at least {} characters", Password::MIN)]
    ShortPassword,
    /// RFC 8265 §4.2.1 allows none.
    #[error("a password has no tab, line end or other control character: phones cannot type them")]
    ControlCharacter,
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
