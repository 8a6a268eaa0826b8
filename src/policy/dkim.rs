//! DKIM (RFC 6376, RFC 8301, RFC 8463). For what leaves: the keys of our domains, the records to
//! publish for them, and the signatures. For what arrives: [`verify`], whether its signatures hold.
//!
//! Each domain has an RSA-2048 key, which everybody can check, and an Ed25519 key, which is short
//! enough for any DNS form. A message is read once, in small pieces: only its header is held in
//! memory, so signing costs the same whatever the size of its attachments.

pub mod rotation;
pub mod verify;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use mail_auth::dkim::generate::DkimKeyPair;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};

use super::canonical::{BodyHash, Canon, Header};
use crate::files::write_private;
use crate::mail::Domain;
use crate::mail::headers::author_domains;
use rotation::Ring;
pub(super) use verify::{Claim, MAX_SIGNATURES};

/// The keys of all our domains; cheap to clone.
#[derive(Clone)]
pub struct SigningKeys {
    ring: Arc<Ring>,
}

impl SigningKeys {
    /// Reads the keys in `folder`, making what is missing. Making an RSA key takes seconds on a
    /// small board: call it where waiting is allowed. Keys are never replaced here, because their
    /// records were published: see [`rotation`].
    pub fn open_or_create(folder: &Path, domains: &[Domain]) -> Result<Self, KeyError> {
        Ok(Self { ring: Arc::new(Ring::open_or_create(folder, domains)?) })
    }

    /// The TXT records of the keys that sign now: name and value.
    pub fn records(&self) -> Vec<(Domain, String)> {
        let domains = self.ring.domains().into_iter();
        domains
            .filter_map(|d| self.ring.present(&d).map(|keys| keys.records(&d)))
            .flatten()
            .collect()
    }

    /// The DKIM-Signature fields to put on top of a message, or nothing when its author's domain
    /// is not ours. `at` is the time to claim; `None` while the clock is not to be believed.
    pub fn sign(
        &self,
        mut message: impl Read,
        at: Option<Timestamp>,
    ) -> Result<Option<Vec<u8>>, SignError> {
        let (head, rest) = read_header(&mut message)?;
        let header = Header::parse(&head);
        let Some((domain, keys)) = self.author(&header) else { return Ok(None) };
        let body = hash_body(&rest, &mut message)?;
        let (names, signed) = header.select(SIGNED);
        let mut fields = Vec::new();
        for (algorithm, selector) in ["rsa-sha256", "ed25519-sha256"].iter().zip(keys.selectors()) {
            let time = at.map(|at| format!(" t={};", at.as_second())).unwrap_or_default();
            let field = format!(
                "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d={domain};\r\n\
                 \ts={selector};{time}\r\n\th={};\r\n\tbh={body};\r\n\tb=",
                names.join(":\r\n\t "),
            );
            // The signature covers its own field with an empty b=, without line end (§3.7).
            let mut covered = signed.clone();
            covered.extend(Canon::Relaxed.field(field.as_bytes()));
            let signature = match *algorithm {
                "rsa-sha256" => keys.sign_rsa(&covered)?,
                // RFC 8463 §3: the hash is what Ed25519 signs.
                _ => keys.ed25519.sign(digest(&SHA256, &covered).as_ref()).as_ref().to_vec(),
            };
            fields.extend(field.into_bytes());
            fields.extend(fold(&BASE64.encode(signature)).into_bytes());
            fields.extend(b"\r\n");
        }
        Ok(Some(fields))
    }

    /// The keys that sign in the name of one of our domains.
    pub(super) fn of(&self, domain: &Domain) -> Option<Arc<DomainKeys>> {
        self.ring.present(domain)
    }

    /// The keys of the one domain in the one From field; nothing for a foreign domain.
    fn author(&self, header: &Header<'_>) -> Option<(Domain, Arc<DomainKeys>)> {
        let mut fields = header.named("from");
        let (Some(from), None) = (fields.next(), fields.next()) else { return None };
        match author_domains(from.value())?.as_slice() {
            [domain] => self.of(domain).map(|keys| (domain.clone(), keys)),
            _ => None,
        }
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ring.domains()).finish()
    }
}

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A file cannot be read or written.
    #[error("the DKIM key file {path} cannot be used: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error(
        "{path} is not a DKIM key ({reason}): restore it from a backup, or remove it to make a \
         new one and publish its record"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why, in words.
        reason: String,
    },
    /// It is not known which key signs.
    #[error(
        "{path} cannot be read ({reason}): restore it from a backup. Without it the box signs with \
         its first keys; remove it only if their records are published"
    )]
    State {
        /// Which.
        path: PathBuf,
        /// Why, in words.
        reason: String,
    },
    /// No key could be made.
    #[error("no DKIM key could be made: {0}")]
    Generate(String),
}

/// Why a message cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The message cannot be read.
    #[error("the message cannot be read: {0}")]
    Read(#[source] io::Error),
    /// Its header is larger than any mail program writes.
    #[error("the message's header is larger than {MAX_HEADER} bytes")]
    Header,
    /// The key failed.
    #[error("the signing key failed")]
    Key,
}

/// A pair of keys of one domain.
pub(super) struct DomainKeys {
    number: u32,
    rsa: RsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl DomainKeys {
    fn open_or_create(folder: &Path, domain: &Domain, number: u32) -> Result<Self, KeyError> {
        let damaged = |path: &Path, reason: ring::error::KeyRejected| KeyError::Damaged {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let [path, second] = Self::paths(folder, domain, number);
        let der = read_or_make(&path, || {
            let pair = DkimKeyPair::generate_rsa(RSA_BITS);
            pair.map(|pair| pair.into_inner().0).map_err(|error| error.to_string())
        })?;
        let rsa = RsaKeyPair::from_der(&der).map_err(|reason| damaged(&path, reason))?;
        let path = second;
        let der = read_or_make(&path, || {
            let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
            made.map(|der| der.as_ref().to_vec()).map_err(|error| error.to_string())
        })?;
        let ed25519 = Ed25519KeyPair::from_pkcs8(&der).map_err(|reason| damaged(&path, reason))?;
        Ok(Self { number, rsa, ed25519 })
    }

    /// The files of the RSA and of the Ed25519 key.
    fn paths(folder: &Path, domain: &Domain, number: u32) -> [PathBuf; 2] {
        selectors(number).map(|selector| folder.join(format!("{selector}.{domain}.der")))
    }

    /// The selectors of the RSA and of the Ed25519 key.
    pub(super) fn selectors(&self) -> [String; 2] {
        selectors(self.number)
    }

    /// The records to publish. A domain so long that no name fits below it cannot publish any.
    fn records(&self, domain: &Domain) -> Vec<(Domain, String)> {
        let [rsa, ed25519] = self.selectors();
        let values = [
            (rsa, format!("v=DKIM1; k=rsa; p={}", BASE64.encode(self.rsa_public()))),
            (
                ed25519,
                format!("v=DKIM1; k=ed25519; p={}", BASE64.encode(self.ed25519.public_key())),
            ),
        ];
        let named = values.into_iter().filter_map(|(selector, value)| {
            Some((domain.child(&format!("{selector}._domainkey")).ok()?, value))
        });
        named.collect()
    }

    /// The public key as a `SubjectPublicKeyInfo`, the form every verifier takes.
    fn rsa_public(&self) -> Vec<u8> {
        let key = self.rsa.public().as_ref();
        let bits = der(0x03, &[&[0], key].concat());
        der(0x30, &[RSA_ENCRYPTION, bits.as_slice()].concat())
    }

    pub(super) fn sign_rsa(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; self.rsa.public().modulus_len()];
        self.rsa
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| SignError::Key)?;
        Ok(signature)
    }
}

/// The Base64 of the relaxed hash of a body: what was read of it, and the rest.
pub(super) fn hash_body(begin: &[u8], message: &mut impl Read) -> Result<String, SignError> {
    let mut body = BodyHash::new(Canon::Relaxed);
    body.update(begin);
    let mut chunk = vec![0; 16 << 10];
    loop {
        match message.read(&mut chunk) {
            Ok(0) => return Ok(BASE64.encode(body.finish().digest)),
            Ok(n) => body.update(chunk.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SignError::Read(error)),
        }
    }
}

/// The selectors of a pair of keys.
fn selectors(number: u32) -> [String; 2] {
    [format!("pb{number}r"), format!("pb{number}e")]
}

/// The header block with its last CRLF, and what was read of the body by then.
pub(super) fn read_header(message: &mut impl Read) -> Result<(Vec<u8>, Vec<u8>), SignError> {
    let mut head = Vec::new();
    let mut chunk = vec![0; 16 << 10];
    loop {
        let from = head.len().saturating_sub(3);
        let n = match message.read(&mut chunk) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SignError::Read(error)),
        };
        head.extend_from_slice(chunk.get(..n).unwrap_or_default());
        let tail = head.get(from..).unwrap_or_default();
        if let Some(at) = tail.windows(4).position(|four| four == b"\r\n\r\n") {
            let mut body = head.split_off(from + at + 2);
            body.drain(..2);
            return Ok((head, body));
        }
        if n == 0 {
            return Ok((head, Vec::new()));
        }
        if head.len() > MAX_HEADER {
            return Err(SignError::Header);
        }
    }
}

/// Folds a long word: whitespace within b= means nothing (RFC 6376 §3.5).
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len() + text.len() / 24);
    for (i, c) in text.chars().enumerate() {
        if i > 0 && i % 72 == 0 {
            folded.push_str("\r\n\t");
        }
        folded.push(c);
    }
    folded
}

fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, String>,
) -> Result<Vec<u8>, KeyError> {
    let fail = |source| KeyError::File { path: path.to_owned(), source };
    match fs::read(path) {
        Ok(der) => return Ok(der),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error)),
    }
    let der = make().map_err(KeyError::Generate)?;
    write_private(path, &der).map_err(fail)?;
    Ok(der)
}

/// A DER element (X.690 §8.1.3: long lengths are preceded by their own length).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut element = vec![tag];
    match length.as_slice() {
        [] => element.push(0),
        [short] if *short < 0x80 => element.push(*short),
        // At most 8 bytes of length.
        long => {
            element.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            element.extend_from_slice(long);
        }
    }
    element.extend_from_slice(content);
    element
}

/// RFC 8301 §3.2: 2048 bits should be used, and fit one TXT record.
const RSA_BITS: usize = 2048;
/// A header larger than this is an attack, or no mail.
const MAX_HEADER: usize = 1 << 20;
/// `AlgorithmIdentifier` of rsaEncryption (RFC 3279 §2.3.1).
const RSA_ENCRYPTION: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The fields to sign (RFC 6376 §5.4.1), and whether one more than there are is named, so that
/// none can be added on the way (§8.15). Message-ID is not: a relay may add a missing one. What
/// leaves here has a Date.
pub(super) const SIGNED: &[(&str, bool)] = &[
    ("from", true),
    ("sender", false),
    ("reply-to", true),
    ("to", true),
    ("cc", true),
    ("subject", true),
    ("date", true),
    ("message-id", false),
    ("in-reply-to", false),
    ("references", false),
    ("mime-version", true),
    ("content-type", true),
    ("content-transfer-encoding", true),
    ("content-disposition", false),
    ("list-id", false),
    ("list-unsubscribe", false),
    ("list-unsubscribe-post", false),
    ("auto-submitted", false),
];

#[cfg(all(test, feature = "demo"))]
mod tests;
