//! Sockets for the sending end: a conversation with one host, on a connection kept from the message
//! before or on a new one. To strangers' hosts TLS is used when it works, with any certificate, as
//! long as nobody published that there must be more: an eavesdropper on the line learns nothing,
//! and mail still flows. To a relay it is required and verified, because a password goes there.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::pool::Pool;
use super::session::{Action, Session, Tls};
use super::tls::{CertificateFault, Encryption, Security, Trust};
use super::wire::{Wire, scan};
use super::{Fault, Mail, Report};
use crate::accounts::Password;
use crate::mail::Domain;

/// Sends messages to hosts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    hello: Domain,
    trust: Trust,
    timeouts: Timeouts,
    pool: Pool,
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

/// The same host, under the same protection, for the same user.
impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        let login = |target: &Self| {
            target.login.as_ref().map(|(name, word)| (name.clone(), word.expose().to_owned()))
        };
        (self.address, &self.name, &self.security) == (other.address, &other.name, &other.security)
            && login(self) == login(other)
    }
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
    /// How long a connection waits for another message. Hosts count open connections: seconds.
    pub idle: Duration,
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
            idle: Duration::from_secs(8),
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
        Ok(Self { hello, trust: Trust::new(roots)?, timeouts, pool: Pool::default() })
    }

    /// What this client demands of a web host (HTTPS), for policies that are read there.
    pub fn web(&self) -> Result<rustls::ClientConfig, rustls::Error> {
        self.trust.web()
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
        if let Some(report) = Box::pin(self.send_again(target, mail, &open)).await {
            return report;
        }
        let attempt = self.attempt(target, &target.security, mail, Arc::clone(&open));
        match Box::pin(attempt).await {
            Err(Fault::Tls(error)) if target.security == Security::Opportunistic => {
                tracing::info!(host = %target.name, %error, "TLS failed; trying without");
                let plain = self.attempt(target, &Security::None, mail, open);
                let mut report = Box::pin(plain).await?;
                report.tls = Encryption::Broken(CertificateFault::in_handshake(&error));
                Ok(report)
            }
            other => other,
        }
    }

    /// On a connection kept from the message before. Nothing when there is none, or when it turns
    /// out to be gone before any of this message was said.
    async fn send_again<R: Read>(
        &self,
        target: &Target,
        mail: &Mail,
        open: &Arc<impl Fn() -> io::Result<R> + Send + Sync + 'static>,
    ) -> Option<Result<Report, Fault>> {
        let mut kept = self.pool.take(target)?;
        kept.wire.begin();
        let Action::Send(reset) = kept.session.again(mail.clone()) else { return None };
        let awake = async {
            kept.wire.send(&reset).await?;
            kept.wire.reply(kept.session.phase()).await
        };
        // A host that is gone says nothing: it must not cost the patience a living one gets.
        let reply = timeout(AWAKE, awake).await.ok()?.ok()?;
        let action = match kept.session.reply(reply) {
            Ok(action) => action,
            Err(fault @ Fault::NoRequireTls) => return Some(Err(fault)),
            Err(_) => return None,
        };
        let talk = Talk { session: kept.session, wire: kept.wire, messages: kept.messages };
        let told = talk.go_on(self, target, &target.security, action, Arc::clone(open));
        match told.await {
            // The message may have been given over half: that is for the report to say.
            Ok(report) => Some(Ok(report)),
            Err(Fault::Timeout) => Some(Err(Fault::Timeout)),
            // All else is tried on a connection of its own.
            Err(_) => None,
        }
    }

    async fn attempt<R: Read>(
        &self,
        target: &Target,
        security: &Security,
        mail: &Mail,
        open: Arc<impl Fn() -> io::Result<R> + Send + Sync + 'static>,
    ) -> Result<Report, Fault> {
        let tls = match security {
            Security::Opportunistic => Tls::Wanted,
            Security::StartTls | Security::Encrypted | Security::Dane { .. } => Tls::Required,
            Security::Implicit | Security::None => Tls::Settled,
        };
        let session = Session::new(self.hello.clone(), mail.clone(), tls, target.login.clone());
        let stream = timeout(self.timeouts.connect, TcpStream::connect(target.address))
            .await
            .map_err(|_| Fault::Connect(io::ErrorKind::TimedOut.into()))?
            .map_err(Fault::Connect)?;
        stream.set_nodelay(true).map_err(Fault::Connect)?;
        let until = Instant::now() + self.timeouts.total;
        let mut wire = Wire::new(Box::new(stream), Encryption::None, self.timeouts, until);
        if *security == Security::Implicit {
            wire = self.secure(wire, target, security).await?;
        }
        let talk = Talk { session, wire, messages: 0 };
        talk.go_on(self, target, security, Action::Wait, open).await
    }

    /// The TLS handshake. Nothing may have come in between: it would have come in the clear, and
    /// would be taken for something said under TLS.
    async fn secure(&self, wire: Wire, target: &Target, how: &Security) -> Result<Wire, Fault> {
        if !wire.replies.is_empty() {
            return Err(Fault::Injection);
        }
        // RFC 7672 §8.1: the name its records stand at is the one it has a certificate for.
        let name = match how {
            Security::Dane { names, .. } => names.first().unwrap_or(&target.name),
            _ => &target.name,
        };
        let name = ServerName::try_from(name.as_str().to_owned())
            .map_err(|error| Fault::Tls(io::Error::other(error)))?;
        let (config, seen) =
            self.trust.handshake(how).map_err(|error| Fault::Tls(io::Error::other(error)))?;
        let handshake = TlsConnector::from(config).connect(name, wire.stream);
        let stream = timeout(self.timeouts.connect, handshake)
            .await
            .map_err(|_| Fault::Tls(io::ErrorKind::TimedOut.into()))?
            .map_err(Fault::Tls)?;
        Ok(Wire::new(Box::new(stream), seen.encryption(), self.timeouts, wire.until))
    }
}

/// A conversation under way.
struct Talk {
    session: Session,
    wire: Wire,
    /// Messages before this one.
    messages: u32,
}

impl Talk {
    /// Does what the session says until this message is settled.
    async fn go_on<R: Read>(
        self,
        client: &Client,
        target: &Target,
        security: &Security,
        mut action: Action,
        open: Arc<impl Fn() -> io::Result<R> + Send + Sync + 'static>,
    ) -> Result<Report, Fault> {
        let Self { mut session, mut wire, messages } = self;
        loop {
            let step = match &action {
                Action::Send(bytes) => wire.send(bytes).await.map(|()| true),
                Action::Wait => Ok(true),
                Action::SendMessage => wire.send_message(Arc::clone(&open)).await.map(|()| true),
                Action::StartTls => {
                    wire = client.secure(wire, target, security).await?;
                    action = session.secured();
                    Ok(false)
                }
                Action::Scan => {
                    action = session.scanned(scan(Arc::clone(&open)).await?);
                    Ok(false)
                }
                Action::Finish => {
                    let report = Report { tls: wire.tls, ..session.report() };
                    let may_go_on = session.may_go_on() && *security == target.security;
                    let rest = if may_go_on {
                        let idle = client.timeouts.idle;
                        client.pool.keep(target, session, wire, messages + 1, idle)
                    } else {
                        Some(wire)
                    };
                    // What was heard is written down before the host has found its goodbye: until
                    // then a power cut sends the message twice.
                    if let Some(wire) = rest {
                        tokio::spawn(wire.quit());
                    }
                    return Ok(report);
                }
            };
            let next = match step {
                Ok(false) => continue,
                Ok(true) => wire.reply(session.phase()).await.and_then(|r| session.reply(r)),
                Err(fault) => Err(fault),
            };
            match next {
                Ok(next) => action = next,
                Err(fault) => {
                    let report = session.broken(fault)?;
                    return Ok(Report { tls: wire.tls, ..report });
                }
            }
        }
    }
}

/// Time for a host at rest to show that it is still there.
const AWAKE: Duration = Duration::from_secs(10);
