//! Connections: listening on IPv4 and IPv6 with limits, one stream type for plain and TLS, framing
//! of lines, and the certificates. Protocol servers get a [`Stream`] and a peer address and know
//! nothing of how they came about.

mod deflate;
mod limits;
mod line;
mod listen;
mod tls;

pub use deflate::{Compressors, Deflated};
pub use limits::{Conduct, Entry, Gate, Limits, Network, Rate, Refused, Width};
pub use line::{Line, LineBuffer, LineError};
pub use listen::{ListenError, Listener, Peer};
#[cfg(test)]
pub(crate) use tls::certified;
pub use tls::{Bindings, Channel, Stream, Tls, TlsError};
