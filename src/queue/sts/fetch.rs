//! Reading a policy from its web host: one fixed name and path, no redirects, no more than
//! 64 KiB, a certificate the web's authorities vouch for, and never an address inside a house:
//! whoever controls the DNS of a domain must not make this box ask its neighbours.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Policy;
use crate::dns::{Answer, Resolver};
use crate::mail::Domain;

/// Reads policies.
pub(in crate::queue) struct Fetcher {
    tls: Arc<ClientConfig>,
    port: u16,
    allowed: fn(IpAddr) -> bool,
}

/// Why there is no policy to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The DNS, or no address that may be asked.
    #[error("{0}")]
    NoHost(String),
    /// No connection, or none in time.
    #[error("the policy host does not answer: {0}")]
    Silent(String),
    /// No TLS with the right certificate.
    #[error("the policy host has no right certificate: {0}")]
    Tls(std::io::Error),
    /// It answered, but not with a policy.
    #[error("the policy host answered {0}")]
    Refused(String),
    /// What it gave is no policy.
    #[error("the policy cannot be read: {0}")]
    Invalid(String),
}

impl Fetcher {
    /// Reads from public addresses at this port.
    pub(in crate::queue) fn new(tls: ClientConfig, port: u16) -> Self {
        Self { tls: Arc::new(tls), port, allowed: is_public }
    }

    /// For tests, which happen on one machine.
    #[cfg(test)]
    pub(in crate::queue) fn anywhere(tls: ClientConfig, port: u16) -> Self {
        Self { allowed: |_| true, ..Self::new(tls, port) }
    }

    /// The policy of a domain (RFC 8461 §3.3).
    pub(super) async fn fetch(
        &self,
        resolver: &Resolver,
        domain: &Domain,
    ) -> Result<Policy, FetchError> {
        let fetch = self.fetch_from(resolver, domain);
        let late = |_| FetchError::Silent("it takes too long".to_owned());
        let text = timeout(PATIENCE, fetch).await.map_err(late)??;
        let text =
            String::from_utf8(text).map_err(|_| FetchError::Invalid("no text".to_owned()))?;
        Policy::parse(&text).map_err(FetchError::Invalid)
    }

    async fn fetch_from(
        &self,
        resolver: &Resolver,
        domain: &Domain,
    ) -> Result<Vec<u8>, FetchError> {
        let host = domain.child("mta-sts").map_err(|e| FetchError::NoHost(e.to_string()))?;
        let stream = self.connect(resolver, &host).await?;
        let name = ServerName::try_from(host.as_str().to_owned())
            .map_err(|error| FetchError::NoHost(error.to_string()))?;
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await
            .map_err(FetchError::Tls)?;
        let silent = |error: hyper::Error| FetchError::Silent(error.to_string());
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(silent)?;
        let request = Request::get("/.well-known/mta-sts.txt")
            .header(header::HOST, host.as_str())
            .header(header::ACCEPT, "text/plain")
            .header(header::CONNECTION, "close")
            .body(String::new())
            .map_err(|error| FetchError::NoHost(error.to_string()))?;
        let answer = async {
            let response = send.send_request(request).await.map_err(silent)?;
            // A redirect is no policy (§3.3).
            if response.status() != StatusCode::OK {
                return Err(FetchError::Refused(response.status().to_string()));
            }
            let kind = response.headers().get(header::CONTENT_TYPE);
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            if !kind.eq_ignore_ascii_case("text/plain") {
                return Err(FetchError::Refused(format!("with {kind:?}, which is no plain text")));
            }
            read(response.into_body()).await
        };
        // The connection moves only while it is polled.
        tokio::pin!(answer);
        tokio::pin!(connection);
        tokio::select! {
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                // It ends once the answer is complete.
                Ok(()) => answer.await,
                Err(error) => Err(silent(error)),
            },
        }
    }

    async fn connect(&self, resolver: &Resolver, host: &Domain) -> Result<TcpStream, FetchError> {
        let addresses = match resolver.addresses(host).await {
            Answer::Yes(all) => all,
            Answer::No(_) => return Err(FetchError::NoHost(format!("there is no host {host}"))),
            Answer::CouldNotTell(why) => return Err(FetchError::NoHost(why)),
        };
        let mut why = format!("{host} has no public address");
        for address in addresses.into_iter().filter(|at| (self.allowed)(*at)).take(MOST_ADDRESSES) {
            let target = SocketAddr::new(address, self.port);
            match timeout(CONNECT, TcpStream::connect(target)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => "no answer".clone_into(&mut why),
            }
        }
        Err(FetchError::Silent(why))
    }
}

/// The body, unless it is too long.
async fn read(mut body: Incoming) -> Result<Vec<u8>, FetchError> {
    let mut text = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| FetchError::Silent(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            if text.len() + data.len() > LONGEST {
                return Err(FetchError::Invalid("it is longer than 64 KiB".to_owned()));
            }
            text.extend_from_slice(&data);
        }
    }
    Ok(text)
}

/// Whether an address is out in the world (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                // Shared by customers of one provider (RFC 6598), and benchmarks (RFC 2544).
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b)))
        }
        // The world has 2000::/3; inside it, 6to4 and Teredo lead to IPv4 addresses of any kind.
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            first & 0xe000 == 0x2000 && first != 0x2002 && !(first == 0x2001 && second == 0)
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(8);
/// Longest policy (§3.2 suggests it).
const LONGEST: usize = 64 << 10;
const MOST_ADDRESSES: usize = 4;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_policy_host_is_never_asked_inside_the_house() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:192.168.1.1",
            "2002:c0a8:101::1",
            "2001::1",
            "64:ff9b::a00:1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["192.0.2.1", "8.8.8.8", "100.128.0.1", "2606:4700::1", "2001:db8::1"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }
}
