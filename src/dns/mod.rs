//! Questions to the DNS with three outcomes: yes, no, and could not tell. The only user of
//! hickory. An answer is proved by DNSSEC only when it comes as [`Proved`]: the signatures were
//! checked here. A bit set by a server along the way proves nothing.
//!
//! A timeout, a refusal and a failing server all mean *could not tell*: mail waits for a later
//! attempt then, and a check lights neither green nor red. [`world`] is the other side: a name
//! server of our own with made-up zones, for the demo and for tests.

mod proof;
#[cfg(feature = "demo")]
pub mod world;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::system_conf::parse_resolv_conf;

use crate::mail::Domain;
pub use proof::{Matching, Proved, Selector, Tlsa, Usage};

/// The resolver; cheap to clone, one cache.
#[derive(Clone)]
pub struct Resolver {
    servers: Servers,
}

/// Who is asked.
#[derive(Clone)]
enum Servers {
    /// The servers the owner named.
    Named(Box<Pair>),
    /// The system's, as they are at the time of asking.
    System(Arc<System>),
}

impl Resolver {
    /// Asks these servers, or the system's when the list is empty. The system's need not be known
    /// yet, and may change: a box starts before its cable is plugged in, and moves house.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, ResolverError> {
        Self::with_anchors(servers, proof::Anchors::default())
    }

    /// Like [`Resolver::new`]; DNSSEC proofs start from the DNSKEY records in this file instead of
    /// the root's own keys.
    pub fn with_trust_anchor(servers: &[SocketAddr], file: &Path) -> Result<Self, ResolverError> {
        Self::with_anchors(servers, proof::read_anchors(file).map_err(ResolverError)?)
    }

    fn with_anchors(
        servers: &[SocketAddr],
        anchors: proof::Anchors,
    ) -> Result<Self, ResolverError> {
        if servers.is_empty() {
            let system = System::new(SYSTEM_FILE, anchors);
            return Ok(Self { servers: Servers::System(Arc::new(system)) });
        }
        let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
        let named = Pair::build(&config, anchors).map_err(ResolverError)?;
        Ok(Self { servers: Servers::Named(Box::new(named)) })
    }

    /// Forgets every cached answer, so that a check after a change of records sees the change.
    pub fn forget(&self) {
        if let Ok(pair) = self.present() {
            pair.plain.clear_cache();
            pair.proving.clear_cache();
        }
    }

    /// Mail exchangers, best preference first; a null MX (RFC 7505) is a single root target,
    /// [`Mx::host`] = `None`.
    pub async fn mx(&self, domain: &Domain) -> Answer<Vec<Mx>> {
        self.ask(name(domain), RecordType::MX, exchange).await.map(in_order)
    }

    /// IPv4 and IPv6 addresses, IPv4 first.
    pub async fn addresses(&self, host: &Domain) -> Answer<Vec<IpAddr>> {
        self.addresses_at(name(host)).await
    }

    /// The same of a name that need not be a host's, such as SPF makes of a sender; one that no
    /// question can hold does not exist.
    pub async fn addresses_of(&self, name: &str) -> Answer<Vec<IpAddr>> {
        match Name::from_labels(name.split('.').map(str::as_bytes)) {
            Ok(name) => self.addresses_at(Ok(name)).await,
            Err(_) => Answer::No(Absence::NoName),
        }
    }

    async fn addresses_at(&self, name: Result<Name, String>) -> Answer<Vec<IpAddr>> {
        let (v4, v6) = tokio::join!(
            self.ask(name.clone(), RecordType::A, address),
            self.ask(name, RecordType::AAAA, address),
        );
        both(v4, v6)
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
        let resolver = match self.present() {
            Ok(pair) => pair.plain,
            Err(why) => return Answer::CouldNotTell(why),
        };
        let found = match resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => lookup,
            Err(error) => return failure(&name, &error),
        };
        let picked: Vec<T> = found.answers().iter().filter_map(|r| pick(&r.data)).collect();
        if picked.is_empty() { Answer::No(Absence::NoRecord) } else { Answer::Yes(picked) }
    }

    fn present(&self) -> Result<Pair, String> {
        match &self.servers {
            Servers::Named(pair) => Ok(Pair::clone(pair)),
            Servers::System(system) => system.present(),
        }
    }
}

/// What the DNS said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// There is such a record.
    Yes(T),
    /// There certainly is none.
    No(Absence),
    /// Nobody could say; try again later. In words for people.
    CouldNotTell(String),
}

impl<T> Answer<T> {
    /// Changes what was found, if anything was.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Yes(found) => Answer::Yes(change(found)),
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
        f.write_str("Resolver")
    }
}

/// The same servers, asked with and without proof.
#[derive(Clone)]
struct Pair {
    plain: TokioResolver,
    proving: TokioResolver,
    able: Arc<proof::Able>,
}

impl Pair {
    fn build(config: &ResolverConfig, anchors: proof::Anchors) -> Result<Self, String> {
        Ok(Self {
            plain: build(config.clone(), None)?,
            proving: build(config.clone(), Some(anchors))?,
            able: Arc::default(),
        })
    }
}

/// The servers named in the system's file, read again whenever it changes.
struct System {
    file: PathBuf,
    anchors: proof::Anchors,
    read: Mutex<Option<(Vec<u8>, Pair)>>,
}

impl System {
    fn new(file: impl Into<PathBuf>, anchors: proof::Anchors) -> Self {
        Self { file: file.into(), anchors, read: Mutex::default() }
    }

    fn present(&self) -> Result<Pair, String> {
        // Some hundred bytes in memory: cheaper than to be wrong about when they changed.
        let text = std::fs::read(&self.file).unwrap_or_default();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, pair)) = &*read
            && *known == text
        {
            return Ok(pair.clone());
        }
        let (config, _) = parse_resolv_conf(&text).map_err(|_| NO_SERVER.to_owned())?;
        let pair = Pair::build(&config, self.anchors.clone())?;
        *read = Some((text, pair.clone()));
        Ok(pair)
    }
}

/// Where a system names its servers (resolv.conf(5)).
const SYSTEM_FILE: &str = "/etc/resolv.conf";

const NO_SERVER: &str =
    "no DNS server is known: is the network cable plugged in, and does the router name a server?";

/// With `anchors`, every signature is checked from there down.
fn build(config: ResolverConfig, anchors: Option<proof::Anchors>) -> Result<TokioResolver, String> {
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    settings(builder.options_mut());
    if let Some(anchors) = anchors {
        builder = builder.with_trust_anchor(anchors);
    }
    builder.build().map_err(|error| error.to_string())
}

fn settings(options: &mut ResolverOpts) {
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

fn exchange(data: &RData) -> Option<Mx> {
    match data {
        RData::MX(mx) if mx.exchange.is_root() => {
            Some(Mx { preference: mx.preference, host: None })
        }
        RData::MX(mx) => {
            Some(Mx { preference: mx.preference, host: Some(to_domain(&mx.exchange)?) })
        }
        _ => None,
    }
}

fn in_order(mut all: Vec<Mx>) -> Vec<Mx> {
    all.sort();
    // A root target beside real hosts is a mistake, not a refusal (RFC 7505 §3).
    if all.iter().any(|mx| mx.host.is_some()) {
        all.retain(|mx| mx.host.is_some());
    }
    all
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

/// What both families give together.
fn both(v4: Answer<Vec<IpAddr>>, v6: Answer<Vec<IpAddr>>) -> Answer<Vec<IpAddr>> {
    match (v4, v6) {
        (Answer::Yes(mut all), Answer::Yes(more)) => {
            all.extend(more);
            Answer::Yes(all)
        }
        (Answer::Yes(all), _) | (_, Answer::Yes(all)) => Answer::Yes(all),
        (Answer::CouldNotTell(why), _) | (_, Answer::CouldNotTell(why)) => {
            Answer::CouldNotTell(why)
        }
        (Answer::No(a), Answer::No(b)) => Answer::No(a.max(b)),
    }
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
