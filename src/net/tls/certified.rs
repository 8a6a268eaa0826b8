//! For tests of whoever connects: a host's side of TLS.

use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate for this name, signed by itself, and what serves it.
#[allow(clippy::unwrap_used, reason = "what cannot be set up is the failed test")]
pub(crate) fn certified(name: &str) -> (CertificateDer<'static>, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    (certificate, TlsAcceptor::from(Arc::new(tls)))
}
