//! What is known of a TLS connection once it stands: for the trace field, and for logins that are
//! bound to it, so that nobody in the middle can use them elsewhere.

use std::sync::Arc;

use ring::digest;
use rustls::{ProtocolVersion, ServerConnection};

/// A TLS connection as the protocols above it see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Such as `TLSv1.3`.
    pub version: &'static str,
    /// The name that IANA has for it.
    pub suite: String,
    /// What a login may be bound to.
    pub bindings: Bindings,
}

/// Channel bindings (RFC 5056): both ends of one TLS connection have the same, nobody else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings {
    /// `tls-exporter` (RFC 9266), under TLS 1.3.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point` (RFC 5929 §4): a hash of our certificate, when its signature has one.
    pub end_point: Option<Arc<[u8]>>,
}

impl Bindings {
    /// Whether logins that are bound are offered: where there is what every client that binds knows.
    /// Under TLS 1.2 most take `tls-unique` (RFC 5802 §6.1), which is not to be had here, and rather
    /// fail than log in without.
    pub fn are_offered(&self) -> bool {
        self.exporter.is_some()
    }
}

impl Channel {
    pub(super) fn of(connection: &ServerConnection, end_point: Option<Arc<[u8]>>) -> Self {
        let newest = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        let suite = suite.and_then(|suite| suite.as_str()).unwrap_or("unknown");
        // In TLS 1.2 the exporter binds only with an extension that not every client has.
        let exported = newest.then(|| {
            connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))
        });
        Self {
            version: if newest { "TLSv1.3" } else { "TLSv1.2" },
            suite: suite.replacen("TLS13_", "TLS_", 1),
            bindings: Bindings { exporter: exported.and_then(Result::ok), end_point },
        }
    }
}

/// The certificate's hash under the algorithm of its signature, SHA-256 for the older ones
/// (RFC 5929 §4.1). Nothing when that algorithm has no hash of its own, as Ed25519.
pub(super) fn end_point(certificate: &[u8]) -> Option<Arc<[u8]>> {
    let algorithm = signature_algorithm(certificate)?;
    let hash = match algorithm {
        // ecdsa-with-SHA256, sha256WithRSAEncryption, and the same with MD5 or SHA-1.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]
        | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4 | 5 | 11] => &digest::SHA256,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]
        | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12] => &digest::SHA384,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4]
        | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13] => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(hash, certificate).as_ref().into())
}

/// The object identifier of `Certificate.signatureAlgorithm` (RFC 5280 §4.1.1.2).
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const OBJECT_IDENTIFIER: u8 = 6;
    let (certificate, _) = element(SEQUENCE, certificate)?;
    let (_to_be_signed, rest) = element(SEQUENCE, certificate)?;
    let (algorithm, _) = element(SEQUENCE, rest)?;
    element(OBJECT_IDENTIFIER, algorithm).map(|(identifier, _)| identifier)
}

/// The content of a DER element of this kind, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (first == tag).then(|| rest.split_at_checked(length))?
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what cannot be made is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_known_by_the_hash_its_signature_uses() {
        for (algorithm, length) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let made = rcgen::CertificateParams::new(["x.example".to_owned()]).unwrap();
            let certificate = made.self_signed(&key).unwrap();
            let hash = end_point(certificate.der());
            assert_eq!(hash.as_ref().map(|hash| hash.len()), length);
            if length == Some(32) {
                let digest = digest::digest(&digest::SHA256, certificate.der());
                assert_eq!(hash.unwrap().as_ref(), digest.as_ref());
            }
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_hash() {
        for der in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 2, 0x30, 0]] {
            assert_eq!(end_point(der), None);
        }
    }
}
