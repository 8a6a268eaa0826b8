//! Questions to the DNS with three outcomes: yes, no, and could not tell. The only user of
//! hickory. An answer says whether DNSSEC proved it; only our own validation counts.
//!
//! A timeout, a refusal and a failing server all mean *could not tell*: mail waits for a later
//! attempt then, and a check lights neither green nor red. [`world`] is the other side: a name
//! server of our own with made-up zones, for the demo and for tests.

#[cfg(feature = "demo")]
pub mod world;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};

use crate::clock::{ClockTrust, SharedClock};
use crate::mail::Domain;

/// The resolver; cheap to clone, one cache.
#[derive(Clone)]
pub struct Resolver {
    /// Asks without proof, so that a router which drops signatures does not stop all mail.
    plain: TokioResolver,
    /// Validates from the root key; asked second, for the proof alone.
    proof: Option<(TokioResolver, SharedClock)>,
}

impl Resolver {
    /// Asks these servers, or the system's when the list is empty.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, ResolverError> {
        Ok(Self { plain: build(servers, false)?, proof: None })
    }

    /// Also has each positive answer proved by DNSSEC, from the root key down. Costs further
    /// questions. Says [`Proof::Insecure`] while the clock is not synchronised: signatures are
    /// valid between two dates.
    pub fn validating(servers: &[SocketAddr], clock: SharedClock) -> Result<Self, ResolverError> {
        Ok(Self { plain: build(servers, false)?, proof: Some((build(servers, true)?, clock)) })
    }

    /// Forgets every cached answer, so that a check after a change of records sees the change.
    pub fn forget(&self) {
        self.plain.clear_cache();
        if let Some((proof, _)) = &self.proof {
            proof.clear_cache();
        }
    }

    /// Mail exchangers, best preference first; a null MX (RFC 7505) is a single root target,
    /// [`Mx::host`] = `None`.
    pub async fn mx(&self, domain: &Domain) -> Answer<Vec<Mx>> {
        let answer = self.ask(name(domain), RecordType::MX, |data| match data {
            RData::MX(mx) if mx.exchange.is_root() => {
                Some(Mx { preference: mx.preference, host: None })
            }
            RData::MX(mx) => {
                Some(Mx { preference: mx.preference, host: Some(to_domain(&mx.exchange)?) })
            }
            _ => None,
        });
        answer.await.map(|mut all| {
            all.sort();
            // A root target beside real hosts is a mistake, not a refusal (RFC 7505 §3).
            if all.iter().any(|mx| mx.host.is_some()) {
                all.retain(|mx| mx.host.is_some());
            }
            all
        })
    }

    /// IPv4 and IPv6 addresses, IPv4 first.
    pub async fn addresses(&self, host: &Domain) -> Answer<Vec<IpAddr>> {
        let (v4, v6) = tokio::join!(
            self.ask(name(host), RecordType::A, |data| match data {
                RData::A(a) => Some(IpAddr::V4(a.0)),
                _ => None,
            }),
            self.ask(name(host), RecordType::AAAA, |data| match data {
                RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
                _ => None,
            }),
        );
        match (v4, v6) {
            (Answer::Yes(mut all, a), Answer::Yes(more, b)) => {
                all.extend(more);
                Answer::Yes(all, a.min(b))
            }
            (Answer::Yes(all, proof), _) | (_, Answer::Yes(all, proof)) => Answer::Yes(all, proof),
            (Answer::CouldNotTell(why), _) | (_, Answer::CouldNotTell(why)) => {
                Answer::CouldNotTell(why)
            }
            (Answer::No(a), Answer::No(b)) => Answer::No(a.max(b)),
        }
    }

    /// Names of an address.
    pub async fn ptr(&self, address: IpAddr) -> Answer<Vec<Domain>> {
        self.ask(Ok(Name::from(address)), RecordType::PTR, |data| match data {
            RData::PTR(ptr) => to_domain(&ptr.0),
            _ => None,
        })
        .await
    }

    /// TXT records, the strings of each joined (RFC 7208 §3.3).
    pub async fn txt(&self, domain: &Domain) -> Answer<Vec<String>> {
        self.ask(name(domain), RecordType::TXT, |data| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        })
        .await
    }

    /// One question; `pick` takes what is of use from each record.
    async fn ask<T>(
        &self,
        name: Result<Name, String>,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Answer<Vec<T>> {
        let name = match name {
            Ok(name) => name,
            Err(why) => return Answer::CouldNotTell(why),
        };
        let found = match self.plain.lookup(name.clone(), kind).await {
            Ok(lookup) => lookup,
            Err(error) => return failure(&name, &error),
        };
        let picked: Vec<T> = found.answers().iter().filter_map(|r| pick(&r.data)).collect();
        if picked.is_empty() {
            return Answer::No(Absence::NoRecord);
        }
        let proof = self.prove(name, kind, &found).await;
        Answer::Yes(picked, proof)
    }

    /// Whether the validating resolver finds the very same records, all of them proved.
    async fn prove(&self, name: Name, kind: RecordType, found: &Lookup) -> Proof {
        let Some((resolver, clock)) = &self.proof else { return Proof::Insecure };
        if clock.trust() != ClockTrust::Synced {
            return Proof::Insecure;
        }
        let Ok(proved) = resolver.lookup(name, kind).await else { return Proof::Insecure };
        let same = |record: &Record| {
            proved
                .answers()
                .iter()
                .any(|other| other.data == record.data && other.proof.is_secure())
        };
        let mut of_kind = found.answers().iter().filter(|r| r.record_type() == kind);
        if of_kind.all(same) { Proof::Secure } else { Proof::Insecure }
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

impl<T> Answer<T> {
    /// Changes what was found, if anything was.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Yes(found, proof) => Answer::Yes(change(found), proof),
            Self::No(absence) => Answer::No(absence),
            Self::CouldNotTell(why) => Answer::CouldNotTell(why),
        }
    }
}

/// Which kind of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Absence {
    /// The name does not exist (NXDOMAIN).
    NoName,
    /// The name exists, without such a record (NODATA).
    NoRecord,
}

/// Whether DNSSEC proved an answer to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Unsigned, or not validated.
    Insecure,
    /// Validated by our own resolver.
    Secure,
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

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("validating", &self.proof.is_some())
            .finish_non_exhaustive()
    }
}

fn build(servers: &[SocketAddr], validate: bool) -> Result<TokioResolver, ResolverError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| ResolverError(error.to_string()))?
    } else {
        let servers = servers.iter().map(server).collect();
        let config = ResolverConfig::from_name_servers(servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    settings(builder.options_mut(), validate);
    builder.build().map_err(|error| ResolverError(error.to_string()))
}

fn settings(options: &mut ResolverOpts, validate: bool) {
    options.validate = validate;
    options.timeout = Duration::from_secs(3);
    options.attempts = 1;
    options.cache_size = 1024;
    // What the public DNS says decides where mail goes; the file of this machine does not.
    options.use_hosts_file = ResolveHosts::Never;
    options.try_tcp_on_error = true;
    // Mail waits minutes between attempts: a record that appears must be seen soon.
    options.negative_max_ttl = Some(Duration::from_mins(1));
    options.positive_max_ttl = Some(Duration::from_hours(1));
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

/// The absolute name, so that no search list of the system is tried.
fn name(domain: &Domain) -> Result<Name, String> {
    Name::from_ascii(format!("{domain}."))
        .map_err(|error| format!("{domain} cannot be asked for: {error}"))
}

fn to_domain(name: &Name) -> Option<Domain> {
    name.to_ascii().parse().ok()
}

fn failure<T>(name: &Name, error: &NetError) -> Answer<T> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Answer::No(Absence::NoName),
            ResponseCode::NoError => Answer::No(Absence::NoRecord),
            code => Answer::CouldNotTell(format!("the DNS server answered {code} for {name}")),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => {
            Answer::CouldNotTell(format!("the DNS server answered {code} for {name}"))
        }
        NetError::Timeout => Answer::CouldNotTell(format!("no DNS server answered for {name}")),
        other => Answer::CouldNotTell(format!("{name} could not be looked up: {other}")),
    }
}

#[cfg(all(test, feature = "demo"))]
mod tests;
