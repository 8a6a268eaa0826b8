//! A DNS world: an authoritative name server on this machine with made-up zones, for the demo and
//! for tests. Zones are text; records can be replaced while it runs, so that the records a wizard
//! asks for can "appear", and names can be made to fail.

mod signing;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::{Metadata, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType, RrKey};
use hickory_proto::serialize::txt::Parser;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

use crate::mail::Domain;
use signing::Signer;

/// The running name server; stops when the last handle is dropped.
#[derive(Clone)]
pub struct World {
    records: Arc<RwLock<Records>>,
    local: SocketAddr,
    server: Arc<Server<Answerer>>,
}

impl World {
    /// Starts an empty world on UDP and TCP of this address; port 0 lets the system choose.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        let (udp, tcp) = bind(address).await?;
        let local = udp.local_addr()?;
        let records = Arc::new(RwLock::new(Records::default()));
        let mut server = Server::new(Answerer { records: Arc::clone(&records) });
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(10), 64);
        Ok(Self { records, local, server: Arc::new(server) })
    }

    /// Where to ask.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The same for a library that brings its own resolver.
    pub fn config(&self) -> (ResolverConfig, ResolverOpts) {
        let config = ResolverConfig::from_name_servers(vec![super::server(&self.local)]);
        (config, ResolverOpts::default())
    }

    /// Adds the records of a zone text (RFC 1035 §5), names relative to `origin` (`.` for none). Each
    /// record set in it replaces the one of the same name and type; others stay.
    pub fn load(&self, origin: &str, text: &str) -> Result<(), ZoneError> {
        let fail = |reason: String| ZoneError { origin: origin.to_owned(), reason };
        let origin = Name::from_ascii(origin).map_err(|error| fail(error.to_string()))?;
        let (_, sets) = Parser::new(text, None, Some(origin))
            .parse()
            .map_err(|error| fail(error.to_string()))?;
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        for (key, set) in sets {
            records.sets.insert(key, set.records_without_rrsigs().cloned().collect());
        }
        Ok(())
    }

    /// Removes all records of a name.
    pub fn remove(&self, domain: &Domain) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        records
            .sets
            .retain(|key, _| key.name().to_string().trim_end_matches('.') != domain.as_str());
    }

    /// Signs every answer from now on, as one zone with the key that follows from this seed.
    /// Returns the text of a trust anchor file.
    pub fn sign(&self, seed: [u8; 32]) -> Result<String, ZoneError> {
        let fail = |reason| ZoneError { origin: ".".to_owned(), reason };
        let signer = Signer::new(seed).map_err(fail)?;
        let anchor = signer.anchor();
        self.records.write().unwrap_or_else(PoisonError::into_inner).signer = Some(signer);
        Ok(anchor)
    }

    /// Signs nothing at this name and below it, as in a zone without DNSSEC.
    pub fn cut_off(&self, domain: &Domain) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(signer) = &mut records.signer {
            signer.cuts.insert(domain.to_string());
        }
    }

    /// Signs wrongly at this name, as a forger would.
    pub fn spoil(&self, domain: &Domain) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(signer) = &mut records.signer {
            signer.spoilt.insert(domain.to_string());
        }
    }

    /// Makes questions about a name fail (SERVFAIL) or work again.
    pub fn fail(&self, domain: &Domain, fails: bool) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        if fails {
            records.failing.insert(domain.to_string());
        } else {
            records.failing.remove(domain.as_str());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if Arc::strong_count(&self.server) == 1 {
            self.server.shutdown_token().cancel();
        }
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("local", &self.local).finish_non_exhaustive()
    }
}

/// A zone text that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the zone {origin} cannot be read: {reason}")]
pub struct ZoneError {
    origin: String,
    reason: String,
}

/// Everything this world knows.
#[derive(Default)]
struct Records {
    sets: BTreeMap<RrKey, Vec<Record>>,
    failing: BTreeSet<String>,
    signer: Option<Signer>,
}

impl Records {
    fn answer(&self, name: &LowerName, kind: RecordType) -> (ResponseCode, Vec<Record>) {
        if self.failing.contains(name.to_string().trim_end_matches('.')) {
            return (ResponseCode::ServFail, Vec::new());
        }
        let mut found = Vec::new();
        let mut name = name.clone();
        // A chain of aliases, followed no further than any real server would.
        for _ in 0..8 {
            if let Some(set) = self.sets.get(&RrKey::new(name.clone(), kind)) {
                found.extend_from_slice(set);
                break;
            }
            let own = self.signer.as_ref().map(|signer| signer.own(&name, kind));
            if let Some(own) = own.filter(|own| !own.is_empty()) {
                found.extend(own);
                break;
            }
            let Some(alias) = self.sets.get(&RrKey::new(name.clone(), RecordType::CNAME)) else {
                break;
            };
            found.extend_from_slice(alias);
            match alias.first().map(|record| &record.data) {
                Some(RData::CNAME(target)) => name = LowerName::new(&target.0),
                _ => break,
            }
        }
        // A name exists when it, or anything below it, has a record (RFC 8020).
        let exists = || self.sets.keys().any(|key| name.zone_of(key.name()));
        // A signed world says of every name that it exists: one kind of proof is enough.
        let code = if !found.is_empty() || self.signer.is_some() || exists() {
            ResponseCode::NoError
        } else {
            ResponseCode::NXDomain
        };
        if let Some(signer) = &self.signer {
            found.extend(signer.sign(&found));
        }
        (code, found)
    }

    /// What goes with an answer that there is no such record.
    fn absence(&self, name: &LowerName) -> Vec<Record> {
        let mut all = vec![soa()];
        if let Some(signer) = &self.signer {
            let mut types: Vec<RecordType> = self
                .sets
                .keys()
                .filter(|key| key.name() == name)
                .map(|key| key.record_type)
                .collect();
            let own =
                [RecordType::NS].into_iter().filter(|kind| !signer.own(name, *kind).is_empty());
            types.extend(own);
            all.extend(signer.nothing_else(name, types));
            all.extend(signer.sign(&all));
        }
        all
    }
}

struct Answerer {
    records: Arc<RwLock<Records>>,
}

impl Answerer {
    async fn respond<R: ResponseHandler>(&self, request: &Request, mut to: R) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        let (code, answers, absence) = match request.request_info() {
            Ok(info) => {
                let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
                let (code, answers) = records.answer(info.query.name(), info.query.query_type());
                let empty = answers.is_empty();
                let absence = if empty { records.absence(info.query.name()) } else { Vec::new() };
                (code, answers, absence)
            }
            Err(_) => (ResponseCode::FormErr, Vec::new(), Vec::new()),
        };
        metadata.authoritative = true;
        metadata.recursion_available = true;
        metadata.response_code = code;
        let response = MessageResponseBuilder::from_message_request(request)
            .build(metadata, &answers, &absence, None, None);
        match to.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "a DNS answer could not be sent");
                hickory_proto::op::Header {
                    metadata,
                    counts: hickory_proto::op::HeaderCounts::default(),
                }
                .into()
            }
        }
    }
}

/// Written out as the server's attribute macro would.
impl RequestHandler for Answerer {
    fn handle_request<'life0, 'life1, 'async_trait, R, T>(
        &'life0 self,
        request: &'life1 Request,
        response_handle: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'async_trait>>
    where
        R: 'async_trait + ResponseHandler,
        T: 'async_trait + Time,
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.respond(request, response_handle))
    }
}

/// Goes with every negative answer; its TTL of zero keeps a resolver from remembering it.
fn soa() -> Record {
    let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86400, 0);
    Record::from_rdata(Name::root(), 0, RData::SOA(soa))
}

/// UDP and TCP on the same port.
async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut attempts = 0;
    loop {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            // The system chose a UDP port whose TCP twin is taken.
            Err(error) if address.port() != 0 || attempts == 20 => return Err(error),
            Err(_) => attempts += 1,
        }
    }
}
