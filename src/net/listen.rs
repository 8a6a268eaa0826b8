//! Accepting connections, never more than the box can carry: as many as a [`Gate`] lets in, and a pause
//! when the system has no file descriptor left.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
    sockopt,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limits::Gate;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address; an IPv4 address that came in over IPv6 is shown as IPv4.
    pub address: IpAddr,
    /// The port of ours it reached.
    pub local: SocketAddr,
}

/// A bound port. Bound before it is served, so that an error shows at start and not later.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local: SocketAddr,
    gate: Gate,
}

impl Listener {
    /// Binds an address. IPv6 sockets take IPv6 only, so that both families can be bound.
    pub fn bind(address: SocketAddr, gate: &Gate) -> Result<Self, ListenError> {
        let fail = |source| ListenError { address, source };
        let socket = open(address).map_err(|errno| fail(errno.into()))?;
        let socket = std::net::TcpListener::from(socket);
        socket.set_nonblocking(true).map_err(fail)?;
        let socket = TcpListener::from_std(socket).map_err(fail)?;
        let local = socket.local_addr().map_err(fail)?;
        Ok(Self { socket, local, gate: gate.clone() })
    }

    /// The address bound, with the port the system chose when 0 was asked for.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Accepts until `stop`, giving each connection to `serve` in a task of its own.
    /// Connections still open then are `tasks`' to wait for.
    pub async fn run<F, Fut>(self, stop: CancellationToken, tasks: TaskTracker, serve: F)
    where
        F: Fn(TcpStream, Peer) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // EMFILE and its like last: without a pause this loop would eat a core.
                    tracing::warn!(port = self.local.port(), %error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let peer = Peer { address: address.ip().to_canonical(), local: self.local };
            let now = tokio::time::Instant::now().into_std();
            let entry = match self.gate.enter(peer.address, now) {
                Ok(entry) => entry,
                Err(reason) => {
                    tracing::debug!(peer = %peer.address, %reason, "not let in");
                    // What does not fit into an empty buffer at once is not worth waiting for.
                    let _ = stream.try_write(self.gate.refusal());
                    continue;
                }
            };
            // Replies are small and awaited: waiting for more to send only delays them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY refused");
            }
            let connection = serve(stream, peer);
            tasks.spawn(async move {
                connection.await;
                drop(entry);
            });
        }
    }
}

/// A port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(source))]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

fn open(address: SocketAddr) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(128)?)?;
    Ok(socket)
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another program has the port: stop it, or choose another)",
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need CAP_NET_BIND_SERVICE: start as the service does, or choose others)"
        }
        _ => "",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what cannot be set up is the failed test")]
mod tests;
