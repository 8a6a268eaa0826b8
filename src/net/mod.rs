//! Connections: listening on IPv4 and IPv6 with limits, one stream type for plain and TLS, framing
//! of lines, and the certificates. Protocol servers get a [`Stream`] and a peer address and know
//! nothing of how they came about.

mod line;
mod listen;
mod tls;

pub use line::{Line, LineBuffer, LineError};
pub use listen::{Limits, ListenError, Listener, Peer};
pub use tls::{Stream, Tls, TlsError};
