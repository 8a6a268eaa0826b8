//! Sockets and TLS for the sending end. To strangers' hosts TLS is used when it works, with any
//! certificate: an eavesdropper on the line learns nothing, and mail still flows. To a relay it
//! is required and verified, because a password goes there.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::data::DotStuffer;
use super::reply::ReplyBuffer;
use super::session::{Action, Phase, Session, Tls};
use super::{Fault, Mail, Reply, Report};
use crate::accounts::Password;
use crate::mail::Domain;

/// Sends messages to hosts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    hello: Domain,
    /// Takes any certificate.
    lenient: Arc<ClientConfig>,
    /// Takes what the web's authorities, or the given roots, vouch for.
    strict: Arc<ClientConfig>,
    timeouts: Timeouts,
}

/// One host to talk to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is.
    pub address: SocketAddr,
    /// Its name, for TLS.
    pub name: Domain,
    /// How the connection is protected.
    pub security: Security,
    /// Name and password, when it wants a login.
    pub login: Option<(String, Password)>,
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// STARTTLS when offered, with any certificate; in the clear when it fails.
    Opportunistic,
    /// STARTTLS or nothing, with a certificate that is verified.
    StartTls,
    /// TLS from the first byte (RFC 8314), with a certificate that is verified.
    Implicit,
    /// In the clear.
    None,
}

/// How long to wait; the defaults are the least that RFC 5321 §4.5.3.2 asks for.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the connection, and for the TLS handshake.
    pub connect: Duration,
    /// For a reply to a command, the greeting included.
    pub command: Duration,
    /// For the reply to DATA.
    pub data_start: Duration,
    /// For each piece of the message to go out.
    pub data_block: Duration,
    /// For the reply to the end of the message.
    pub data_end: Duration,
    /// For all of it: a host that trickles must not keep a place in the queue for ever.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            command: Duration::from_mins(5),
            data_start: Duration::from_mins(2),
            data_block: Duration::from_mins(3),
            data_end: Duration::from_mins(10),
            total: Duration::from_hours(1),
        }
    }
}

impl Client {
    /// A client that calls itself `hello`. `roots` are trusted beside the web's authorities.
    pub fn new(
        hello: Domain,
        roots: &[CertificateDer<'static>],
        timeouts: Timeouts,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
        };
        let mut trusted: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        for root in roots {
            trusted.add(root.clone())?;
        }
        let strict = builder()?.with_root_certificates(trusted).with_no_client_auth();
        let lenient = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(&provider)))
            .with_no_client_auth();
        Ok(Self { hello, lenient: Arc::new(lenient), strict: Arc::new(strict), timeouts })
    }

    /// Hands one message to one host. `open` gives the message's bytes; it and its reader run on a
    /// thread where waiting for the disk is allowed, and only when the host wants the message.
    pub async fn send<R: Read>(
        &self,
        target: &Target,
        mail: &Mail,
        open: impl Fn() -> io::Result<R> + Send + Sync + 'static,
    ) -> Result<Report, Fault> {
        let open = Arc::new(open);
        let attempt = self.attempt(target, target.security, mail, Arc::clone(&open));
        match Box::pin(attempt).await {
            Err(Fault::Tls(error)) if target.security == Security::Opportunistic => {
                tracing::info!(host = %target.name, %error, "TLS failed; trying without");
                Box::pin(self.attempt(target, Security::None, mail, open)).await
            }
            other => other,
        }
    }

    async fn attempt<R: Read>(
        &self,
        target: &Target,
        security: Security,
        mail: &Mail,
        open: Arc<impl Fn() -> io::Result<R> + Send + Sync + 'static>,
    ) -> Result<Report, Fault> {
        let conversation = self.converse(target, security, mail, open);
        timeout(self.timeouts.total, conversation).await.map_err(|_| Fault::Timeout)?
    }

    async fn converse<R: Read>(
        &self,
        target: &Target,
        security: Security,
        mail: &Mail,
        open: Arc<impl Fn() -> io::Result<R> + Send + Sync + 'static>,
    ) -> Result<Report, Fault> {
        let tls = match security {
            Security::Opportunistic => Tls::Wanted,
            Security::StartTls => Tls::Required,
            Security::Implicit | Security::None => Tls::Settled,
        };
        let mut session = Session::new(self.hello.clone(), mail.clone(), tls, target.login.clone());
        let stream = timeout(self.timeouts.connect, TcpStream::connect(target.address))
            .await
            .map_err(|_| Fault::Connect(io::ErrorKind::TimedOut.into()))?
            .map_err(Fault::Connect)?;
        stream.set_nodelay(true).map_err(Fault::Connect)?;
        let mut wire = Wire::new(Box::new(stream), self.timeouts);
        if security == Security::Implicit {
            wire = self.secure(wire, target, security).await?;
        }
        let mut action = Action::Wait;
        loop {
            let step = match &action {
                Action::Send(bytes) => wire.send(bytes).await.map(|()| true),
                Action::Wait => Ok(true),
                Action::SendMessage => wire.send_message(Arc::clone(&open)).await.map(|()| true),
                Action::StartTls => {
                    wire = self.secure(wire, target, security).await?;
                    action = session.secured();
                    Ok(false)
                }
                Action::Finish => {
                    wire.quit().await;
                    return Ok(session.report());
                }
            };
            let next = match step {
                Ok(false) => continue,
                Ok(true) => wire.reply(session.phase()).await.and_then(|r| session.reply(r)),
                Err(fault) => Err(fault),
            };
            match next {
                Ok(next) => action = next,
                Err(fault) => return session.broken(fault),
            }
        }
    }

    /// The TLS handshake. Nothing may have come in between: it would have come in the clear, and
    /// would be taken for something said under TLS.
    async fn secure(&self, wire: Wire, target: &Target, how: Security) -> Result<Wire, Fault> {
        if !wire.replies.is_empty() {
            return Err(Fault::Injection);
        }
        let config = match how {
            Security::Opportunistic | Security::None => &self.lenient,
            Security::StartTls | Security::Implicit => &self.strict,
        };
        let name = ServerName::try_from(target.name.as_str().to_owned())
            .map_err(|error| Fault::Tls(io::Error::other(error)))?;
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, wire.stream);
        let stream = timeout(self.timeouts.connect, handshake)
            .await
            .map_err(|_| Fault::Tls(io::ErrorKind::TimedOut.into()))?
            .map_err(Fault::Tls)?;
        Ok(Wire::new(Box::new(stream), self.timeouts))
    }
}

/// A connection, in the clear or under TLS.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A connection with the replies on it.
struct Wire {
    stream: Box<dyn Connection>,
    replies: ReplyBuffer,
    timeouts: Timeouts,
}

impl Wire {
    fn new(stream: Box<dyn Connection>, timeouts: Timeouts) -> Self {
        Self { stream, replies: ReplyBuffer::default(), timeouts }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(self.timeouts.data_block, write)
            .await
            .map_err(|_| Fault::Timeout)?
            .map_err(Fault::Broken)
    }

    async fn reply(&mut self, phase: Phase) -> Result<Reply, Fault> {
        let patience = match phase {
            Phase::Command => self.timeouts.command,
            Phase::DataStart => self.timeouts.data_start,
            Phase::DataEnd => self.timeouts.data_end,
        };
        let read = async {
            let mut chunk = [0; 4096];
            loop {
                if let Some(reply) = self.replies.next_reply()? {
                    return Ok(reply);
                }
                match self.stream.read(&mut chunk).await.map_err(Fault::Broken)? {
                    0 => return Err(Fault::Closed),
                    n => self.replies.feed(chunk.get(..n).unwrap_or_default()),
                }
            }
        };
        timeout(patience, read).await.map_err(|_| Fault::Timeout)?
    }

    /// Streams the message with dots doubled. When our own copy cannot be read, the connection is
    /// dropped without the final dot, so that the host cannot take a part for the whole.
    async fn send_message<R: Read>(
        &mut self,
        open: Arc<impl Fn() -> io::Result<R> + Send + Sync + 'static>,
    ) -> Result<(), Fault> {
        let (to_wire, mut pieces) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || pump(open.as_ref(), &to_wire));
        let mut ended = false;
        while let Some(piece) = pieces.recv().await {
            let Piece { bytes, last } = piece.map_err(Fault::Message)?;
            self.send(&bytes).await?;
            ended = last;
        }
        if ended { Ok(()) } else { Err(Fault::Message(io::ErrorKind::UnexpectedEof.into())) }
    }

    /// Courtesy; whatever the host answers, the matter is settled.
    async fn quit(mut self) {
        let goodbye = async {
            self.send(b"QUIT\r\n").await?;
            self.reply(Phase::Command).await
        };
        if !matches!(timeout(QUIT_PATIENCE, goodbye).await, Ok(Ok(_))) {
            tracing::debug!("a host did not answer QUIT");
        }
    }
}

/// A part of the message in its wire form.
struct Piece {
    bytes: Vec<u8>,
    last: bool,
}

/// Reads the message and passes it on piece by piece, until it ends or nobody listens.
fn pump<R: Read>(open: impl Fn() -> io::Result<R>, to: &mpsc::Sender<io::Result<Piece>>) {
    let send = |piece| to.blocking_send(piece).is_ok();
    let mut message = match open() {
        Ok(message) => message,
        Err(error) => {
            send(Err(error));
            return;
        }
    };
    let mut stuffer = DotStuffer::new();
    let mut chunk = vec![0; BLOCK];
    loop {
        let mut bytes = Vec::with_capacity(BLOCK + BLOCK / 16);
        match message.read(&mut chunk) {
            Ok(0) => {
                stuffer.finish(&mut bytes);
                send(Ok(Piece { bytes, last: true }));
                return;
            }
            Ok(n) => stuffer.push(chunk.get(..n).unwrap_or_default(), &mut bytes),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                send(Err(error));
                return;
            }
        }
        if !send(Ok(Piece { bytes, last: false })) {
            return;
        }
    }
}

/// Takes any certificate: to a stranger's host, encryption without identity is what there is.
/// The handshake's own signatures are still checked.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyCertificate {
    fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Bytes read from the disk at once.
const BLOCK: usize = 32 << 10;
const QUIT_PATIENCE: Duration = Duration::from_secs(5);
