//! Public keys in the DNS, and what they prove (RFC 6376 §3.6.1, RFC 8301, RFC 8463).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};

use super::tags::Tags;

/// How a signature is made. SHA-1 is not among them: RFC 8301 §3.1 forbids to believe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// rsa-sha256.
    RsaSha256,
    /// ed25519-sha256 (RFC 8463).
    Ed25519Sha256,
}

impl Algorithm {
    /// The word for `a=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::RsaSha256, Self::Ed25519Sha256].into_iter().find(|known| known.as_str() == text)
    }

    fn key_type(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa",
            Self::Ed25519Sha256 => "ed25519",
        }
    }
}

/// A key record.
#[derive(Debug)]
pub(super) struct Key {
    /// `k=` in lower case.
    kind: String,
    public: Vec<u8>,
    /// `h=`: the hashes it may be used with.
    hashes: Option<Vec<String>>,
    /// `s=`: what it may be used for.
    services: Option<Vec<String>>,
    /// `t=s`: only for the domain itself, no part of it.
    pub(super) strict: bool,
    /// `t=y`: the domain is trying it out.
    pub(super) testing: bool,
}

/// Why a key or what it signed is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    /// The record is no key.
    #[error("the key record cannot be read")]
    Record,
    /// An empty `p=`.
    #[error("the key was revoked")]
    Revoked,
    /// Another algorithm, hash or service.
    #[error("the key is for something else")]
    Mismatch,
    /// Shorter than 1024 bits.
    #[error("the key is too short")]
    Weak,
    /// It does not fit what was signed.
    #[error("the signature does not match")]
    Signature,
}

impl Key {
    pub(super) fn parse(record: &str) -> Result<Self, KeyError> {
        let tags = Tags::parse(record).map_err(|_| KeyError::Record)?;
        match tags.get("v") {
            None => {}
            Some("DKIM1") if tags.first() == Some("v") => {}
            Some(_) => return Err(KeyError::Record),
        }
        let public = tags.compact("p").ok_or(KeyError::Record)?;
        if public.is_empty() {
            return Err(KeyError::Revoked);
        }
        let list = |name| tags.list(name).map(|words| words.map(str::to_ascii_lowercase).collect());
        let flags: Vec<String> = list("t").unwrap_or_default();
        Ok(Self {
            kind: tags.get("k").unwrap_or("rsa").to_ascii_lowercase(),
            public: BASE64.decode(public).map_err(|_| KeyError::Record)?,
            hashes: list("h"),
            services: list("s"),
            strict: flags.iter().any(|flag| flag == "s"),
            testing: flags.iter().any(|flag| flag == "y"),
        })
    }

    /// Whether this key signed these bytes.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyError> {
        let allows = |list: &Option<Vec<String>>, words: &[&str]| {
            list.as_ref().is_none_or(|list| list.iter().any(|word| words.contains(&word.as_str())))
        };
        if self.kind != algorithm.key_type()
            || !allows(&self.hashes, &["sha256"])
            || !allows(&self.services, &["*", "email"])
        {
            return Err(KeyError::Mismatch);
        }
        let verified = match algorithm {
            Algorithm::RsaSha256 => {
                let key = rsa_key(&self.public).ok_or(KeyError::Record)?;
                if modulus_bits(key).ok_or(KeyError::Record)? < MIN_RSA_BITS {
                    return Err(KeyError::Weak);
                }
                UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key)
                    .verify(signed, signature)
            }
            // RFC 8463 §3: the hash is what was signed.
            Algorithm::Ed25519Sha256 => UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(digest(&SHA256, signed).as_ref(), signature),
        };
        verified.map_err(|_| KeyError::Signature)
    }
}

/// The `RSAPublicKey` in a `SubjectPublicKeyInfo`. Some publish it bare, and are understood
/// everywhere.
fn rsa_key(der: &[u8]) -> Option<&[u8]> {
    let (content, _) = element(0x30, der)?;
    let Some((_algorithm, rest)) = element(0x30, content) else { return Some(der) };
    let (bits, _) = element(0x03, rest)?;
    // A bit string starts with the number of bits that do not count.
    bits.strip_prefix(&[0])
}

/// The size of the modulus of an `RSAPublicKey` (RFC 8017 §A.1.1).
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let (content, _) = element(0x30, key)?;
    let (modulus, _) = element(0x02, content)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let significant = modulus.get(zeros..)?;
    let first = significant.first()?;
    Some(significant.len() * 8 - first.leading_zeros() as usize)
}

/// The content of a DER element with this tag, and what follows it (X.690 §8.1.3).
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length >= 0x80 {
        let (bytes, after) = rest.split_at_checked(length - 0x80)?;
        if bytes.len() > 4 {
            return None;
        }
        length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = after;
    }
    (*found == tag).then(|| rest.split_at_checked(length))?
}

/// RFC 8301 §3.2.
const MIN_RSA_BITS: usize = 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 8463 §A.2.
    const ED25519_KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    #[test]
    fn records_are_read_as_the_rfc_says() {
        let key = Key::parse(&format!("v=DKIM1; k=ed25519; t=y : s; p={ED25519_KEY}")).unwrap();
        assert!(key.strict && key.testing);
        let wrong = |record: &str| Key::parse(record).unwrap_err();
        assert_eq!(wrong("v=DKIM1; p="), KeyError::Revoked);
        assert_eq!(wrong("v=DKIM1; k=rsa"), KeyError::Record);
        assert_eq!(wrong("k=rsa; v=DKIM1; p=YQ=="), KeyError::Record);
        assert_eq!(wrong("v=DKIM2; p=YQ=="), KeyError::Record);
        assert_eq!(wrong("v=DKIM1; p=!"), KeyError::Record);
        assert_eq!(wrong("hello"), KeyError::Record);
    }

    #[test]
    fn a_key_is_used_for_nothing_but_what_it_is_for() {
        for tags in ["k=rsa", "k=ed25519; h=sha1", "k=ed25519; s=tlsrpt", "k=x"] {
            let key = Key::parse(&format!("{tags}; p={ED25519_KEY}")).unwrap();
            let found = key.verify(Algorithm::Ed25519Sha256, b"", &[0; 64]);
            assert_eq!(found, Err(KeyError::Mismatch), "{tags}");
        }
        for tags in ["k=ed25519", "k=ED25519; h=sha1:sha256; s=*", "k=ed25519; s=x:email"] {
            let key = Key::parse(&format!("{tags}; p={ED25519_KEY}")).unwrap();
            let found = key.verify(Algorithm::Ed25519Sha256, b"", &[0; 64]);
            assert_eq!(found, Err(KeyError::Signature), "{tags}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_key_reader_panic(der in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = rsa_key(&der).and_then(modulus_bits);
            for prefix in [&[0x30_u8, 0x84, 0xff][..], &[0x30, 0x09, 0x30, 0x02]] {
                let der = [prefix, &der].concat();
                let _ = rsa_key(&der).and_then(modulus_bits);
            }
        }
    }
}
