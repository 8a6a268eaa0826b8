//! TLS for the sending end: how much of it is demanded, and how a certificate is judged. To a
//! stranger's host any certificate is taken, but what a strict reader would have said is
//! remembered; MTA-STS and relays demand one that the web's authorities vouch for, DANE
//! (RFC 7672) one that fits the records of the host.

use std::io;
use std::sync::{Arc, OnceLock};

use ring::digest::{SHA256, SHA512, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::dns::{Matching, Selector, Tlsa, Usage};
use crate::mail::Domain;

/// How the connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// STARTTLS when offered, with any certificate; in the clear when it fails.
    Opportunistic,
    /// STARTTLS or nothing, with any certificate: DANE records there are, but none we understand
    /// (RFC 7672 §2.2).
    Encrypted,
    /// STARTTLS or nothing, with a certificate the web's authorities vouch for.
    StartTls,
    /// STARTTLS or nothing, with a certificate that fits these records (RFC 7672). An authority of
    /// the host's own may vouch for any of these names.
    Dane {
        /// At least one of them is usable.
        records: Vec<Tlsa>,
        /// The name the records stand at, which the host is asked for, and the domain the mail is
        /// for.
        names: Vec<Domain>,
    },
    /// TLS from the first byte (RFC 8314), with a certificate the web's authorities vouch for.
    Implicit,
    /// In the clear.
    None,
}

/// What became of TLS on a connection, for reports (RFC 8460).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// The host does not offer it, or it was not tried.
    None,
    /// The host offers it, and it does not work.
    Broken(CertificateFault),
    /// TLS, with a certificate that would not have passed.
    Unproved(CertificateFault),
    /// TLS, with a certificate that passed what was demanded, or would have passed for the web.
    Proved,
}

/// What is wrong with a certificate or with the handshake (RFC 8460 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFault {
    /// It is for other names.
    Name,
    /// It is no longer, or not yet, valid.
    Expired,
    /// Nobody we trust vouches for it; under DANE, it fits no record.
    Untrusted,
    /// Something else.
    Other,
}

impl CertificateFault {
    fn of(error: &Error) -> Self {
        use CertificateError as Wrong;
        let Error::InvalidCertificate(wrong) = error else { return Self::Other };
        match wrong {
            Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => Self::Name,
            Wrong::Expired
            | Wrong::ExpiredContext { .. }
            | Wrong::NotValidYet
            | Wrong::NotValidYetContext { .. } => Self::Expired,
            Wrong::UnknownIssuer | Wrong::ApplicationVerificationFailure => Self::Untrusted,
            _ => Self::Other,
        }
    }

    /// What a failed handshake says.
    pub fn in_handshake(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        inner.map_or(Self::Other, Self::of)
    }
}

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    provider: Arc<CryptoProvider>,
    web: Arc<WebPkiServerVerifier>,
}

impl Trust {
    /// Trusts the web's authorities and these.
    pub(super) fn new(more: &[CertificateDer<'static>]) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        for root in more {
            roots.add(root.clone())?;
        }
        let web =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { provider, web })
    }

    /// The settings of one handshake, and where it notes what it thinks of the certificate.
    pub(super) fn handshake(&self, how: &Security) -> Result<(Arc<ClientConfig>, Seen), Error> {
        let seen = Seen::default();
        let judge = Judge { trust: self.clone(), how: how.clone(), seen: seen.clone() };
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_no_client_auth();
        Ok((Arc::new(config), seen))
    }

    /// Settings for reading a policy from a web host: nothing but the web's authorities will do.
    pub(super) fn web(&self) -> Result<ClientConfig, Error> {
        Ok(ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&self.web) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth())
    }
}

/// What a handshake thought of the certificate.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<OnceLock<Result<(), CertificateFault>>>);

impl Seen {
    pub(super) fn encryption(&self) -> Encryption {
        match self.0.get() {
            Some(Ok(())) => Encryption::Proved,
            Some(Err(fault)) => Encryption::Unproved(*fault),
            None => Encryption::Unproved(CertificateFault::Other),
        }
    }
}

/// Judges one host's certificate. The handshake's own signatures are always checked.
#[derive(Debug)]
struct Judge {
    trust: Trust,
    how: Security,
    seen: Seen,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        host: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = match &self.how {
            Security::Dane { records, names } => {
                fits(&self.trust.provider, records, names, host, chain, now)
            }
            _ => self.trust.web.verify_server_cert(host, chain, name, ocsp, now).map(drop),
        };
        // One handshake, one certificate: the first word stays.
        let _ = self.seen.0.set(verdict.as_ref().copied().map_err(CertificateFault::of));
        match (&self.how, verdict) {
            (Security::Opportunistic | Security::Encrypted | Security::None, _) | (_, Ok(())) => {
                Ok(ServerCertVerified::assertion())
            }
            (_, Err(error)) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.web.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.web.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.web.supported_verify_schemes()
    }
}

/// Whether a certificate fits one of the records.
fn fits(
    provider: &Arc<CryptoProvider>,
    records: &[Tlsa],
    names: &[Domain],
    host: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let usable = || records.iter().filter(|record| record.is_usable());
    // RFC 7672 §3.1.1: names and dates in the host's own certificate do not count.
    if usable().any(|record| record.usage == Usage::Host && is_meant(record, host)) {
        return Ok(());
    }
    let mut why = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    for record in usable().filter(|record| record.usage == Usage::Authority) {
        let sent = chain.iter().find(|authority| is_meant(record, authority));
        // A record may bring the whole certificate, which need not come again.
        let whole = (record.selector, record.matching) == (Selector::Certificate, Matching::Whole);
        let brought = || whole.then(|| CertificateDer::from(record.data.clone()));
        let Some(authority) = sent.map(|found| found.clone().into_owned()).or_else(brought) else {
            continue;
        };
        match vouches(provider, authority, names, host, chain, now) {
            Ok(()) => return Ok(()),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Whether this authority vouches for the host under one of the names (RFC 7672 §3.1.2).
fn vouches(
    provider: &Arc<CryptoProvider>,
    authority: CertificateDer<'static>,
    names: &[Domain],
    host: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
    let mut why = Error::InvalidCertificate(CertificateError::NotValidForName);
    for name in names {
        let Ok(name) = ServerName::try_from(name.as_str()) else { continue };
        match verifier.verify_server_cert(host, chain, &name, &[], now) {
            Ok(_) => return Ok(()),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Whether a record means this certificate.
fn is_meant(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let part: Vec<u8> = match record.selector {
        Selector::Certificate => certificate.to_vec(),
        Selector::Key => match ParsedCertificate::try_from(certificate) {
            Ok(parsed) => parsed.subject_public_key_info().to_vec(),
            Err(_) => return false,
        },
        Selector::Unusable => return false,
    };
    match record.matching {
        Matching::Whole => part == record.data,
        Matching::Sha256 => digest(&SHA256, &part).as_ref() == record.data.as_slice(),
        Matching::Sha512 => digest(&SHA512, &part).as_ref() == record.data.as_slice(),
        Matching::Unusable => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what cannot be set up is the failed test")]
mod tests;
