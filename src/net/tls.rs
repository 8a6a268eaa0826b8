//! TLS for every listener: one certificate, made at the first start when none is given, and one
//! stream type so that a protocol server does not care when STARTTLS happens.

#[cfg(test)]
mod certified;
mod channel;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

#[cfg(test)]
pub(crate) use self::certified::certified;
pub use self::channel::{Bindings, Channel};
use super::deflate::{Compressors, Deflated};
use crate::files::{create_private_folder, write_private};
use crate::mail::Domain;

/// Bytes that wait for a peer, before and after encryption.
const BUFFER: usize = 16 << 10;

/// The box's certificate, ready to accept TLS connections; cheap to clone.
#[derive(Clone)]
pub struct Tls {
    identity: Arc<RwLock<Identity>>,
}

/// What goes with one certificate.
#[derive(Clone)]
struct Identity {
    acceptor: TlsAcceptor,
    /// See [`Bindings::end_point`].
    end_point: Option<Arc<[u8]>>,
}

impl Tls {
    /// Loads certificate and key from PEM files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let file = |path: &Path, reason| TlsError::File { path: path.to_owned(), reason };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| file(certificate, error.to_string()))?;
        let key =
            PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, error.to_string()))?;
        let end_point = chain.first().and_then(|leaf| channel::end_point(leaf));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(TlsError::Unusable)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { identity: Arc::new(RwLock::new(Identity { acceptor, end_point })) })
    }

    /// Loads the self-signed certificate in `folder`, making one for `name` when there is none.
    pub fn self_signed(folder: &Path, name: &Domain) -> Result<Self, TlsError> {
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        if !certificate.exists() || !key.exists() {
            let names = [name.to_string()];
            let made = rcgen::generate_simple_self_signed(names).map_err(TlsError::Generate)?;
            let write = |path: &Path, pem: String| {
                write_private(path, pem.as_bytes()).map_err(|error| TlsError::File {
                    path: path.to_owned(),
                    reason: error.to_string(),
                })
            };
            create_private_folder(folder).map_err(|error| TlsError::File {
                path: folder.to_owned(),
                reason: error.to_string(),
            })?;
            // The key first: a certificate without its key would be taken for complete.
            write(&key, made.signing_key.serialize_pem())?;
            write(&certificate, made.cert.pem())?;
        }
        Self::load(&certificate, &key)
    }

    /// Performs the server's side of the handshake.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let Identity { acceptor, end_point } = self.identity();
        // In a box of its own: a handshake needs room that the connection after it does not.
        let mut stream = Box::pin(acceptor.accept(stream)).await?;
        // Who asks and takes no answer has us hold that much, twice.
        stream.get_mut().1.set_buffer_limit(Some(BUFFER));
        Ok(Stream::Tls(Box::new(Secured { stream, end_point })))
    }

    /// Takes another's certificate for all connections from now on, on every clone of this one.
    pub fn renew(&self, other: &Self) {
        let new = other.identity();
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn identity(&self) -> Identity {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// A connection, in the clear or under TLS.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<Secured>),
    /// One of these, compressed.
    Deflated(Box<Deflated<Stream>>),
}

/// A connection under TLS, and what the certificate it began with is known by.
#[derive(Debug)]
pub struct Secured {
    stream: TlsStream<TcpStream>,
    end_point: Option<Arc<[u8]>>,
}

impl Stream {
    /// Whether what is said can be overheard.
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(_) => true,
            Self::Deflated(inside) => inside.get_ref().is_tls(),
        }
    }

    /// What TLS came about; nothing in the clear.
    pub fn channel(&self) -> Option<Channel> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(secured) => {
                let (_, connection) = secured.stream.get_ref();
                Some(Channel::of(connection, secured.end_point.clone()))
            }
            Self::Deflated(inside) => inside.get_ref().channel(),
        }
    }

    /// STARTTLS: turns a plain connection into one under TLS.
    pub async fn start_tls(self, tls: &Tls) -> io::Result<Self> {
        match self {
            Self::Plain(stream) => tls.accept(stream).await,
            Self::Tls(_) | Self::Deflated(_) => {
                Err(io::Error::other("TLS comes before all else on a connection"))
            }
        }
    }

    /// From now on the bytes are compressed, in both directions; `early` came already.
    #[must_use]
    pub fn deflated(self, early: &[u8], compressors: Compressors) -> Self {
        Self::Deflated(Box::new(Deflated::new(self, early, compressors)))
    }

    /// Gives back memory that only a busy connection needs.
    pub fn rest(&mut self) {
        if let Self::Deflated(inside) = self {
            inside.rest();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_read(context, buffer),
            Self::Deflated(inside) => Pin::new(inside).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_write(context, bytes),
            Self::Deflated(inside) => Pin::new(inside).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_flush(context),
            Self::Deflated(inside) => Pin::new(inside).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_shutdown(context),
            Self::Deflated(inside) => Pin::new(inside).poll_shutdown(context),
        }
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate or key file cannot be used.
    #[error("the certificate file {path} cannot be used: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why, in words.
        reason: String,
    },
    /// Certificate and key do not fit together.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[source] rustls::Error),
    /// No certificate could be made.
    #[error("no certificate could be made: {0}")]
    Generate(#[source] rcgen::Error),
}
