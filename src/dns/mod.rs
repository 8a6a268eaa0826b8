//! Questions to the DNS with three outcomes: yes, no, and could not tell. The only user of
//! hickory. An answer says whether DNSSEC proved it; only our own validation counts.

use std::net::{IpAddr, SocketAddr};

use crate::mail::Domain;

/// The resolver; cheap to clone, one cache.
#[derive(Clone, Debug)]
pub struct Resolver {}

impl Resolver {
    /// Asks these servers, or the system's when the list is empty.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, ResolverError> {
        todo!()
    }

    /// Mail exchangers, best preference first; a null MX (RFC 7505) is a single root target, [`Mx::host`] = `None`.
    pub async fn mx(&self, domain: &Domain) -> Answer<Vec<Mx>> {
        todo!()
    }

    /// IPv4 and IPv6 addresses.
    pub async fn addresses(&self, host: &Domain) -> Answer<Vec<IpAddr>> {
        todo!()
    }

    /// Names of an address.
    pub async fn ptr(&self, address: IpAddr) -> Answer<Vec<Domain>> {
        todo!()
    }

    /// TXT records, the strings of each joined (RFC 7208 §3.3).
    pub async fn txt(&self, name: &Domain) -> Answer<Vec<String>> {
        todo!()
    }
}

/// What the DNS said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// There is such a record.
    Yes(T, Proof),
    /// There certainly is none.
    No(Absence),
    /// Nobody could say; try again later. In words for people.
    CouldNotTell(String),
}

/// Which kind of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// The name does not exist (NXDOMAIN).
    NoName,
    /// The name exists, without such a record (NODATA).
    NoRecord,
}

/// Whether DNSSEC proved an answer to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Validated by our own resolver.
    Secure,
    /// Unsigned, or not validated.
    Insecure,
}

/// A mail exchanger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// Lower is tried first.
    pub preference: u16,
    /// The host; nothing for the null MX.
    pub host: Option<Domain>,
}

/// Why there is no resolver.
#[derive(Debug, thiserror::Error)]
#[error("no DNS resolver: {0}")]
pub struct ResolverError(pub String);
