//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), without I/O:
//! lines of Base64 in, challenges out, and between them two questions to the house. The password
//! never crosses the wire, and -PLUS binds the login to this TLS connection, so that whoever sits
//! in the middle with another certificate gains nothing. The protocols differ only in how they
//! wrap these lines.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::SaslError;
use crate::accounts::Password;
use crate::net::Bindings;

/// The mechanism of that name, in any case.
pub fn named(name: &str) -> Option<Scram> {
    if name.eq_ignore_ascii_case("SCRAM-SHA-256") {
        Some(Scram { plus: false })
    } else if name.eq_ignore_ascii_case("SCRAM-SHA-256-PLUS") {
        Some(Scram { plus: true })
    } else {
        None
    }
}

/// One of the two mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scram {
    plus: bool,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Send this challenge, Base64 already, and give the answer to the exchange.
    Ask {
        /// May be empty.
        challenge: String,
        /// Takes the answer.
        then: Exchange,
    },
    /// Get the salt for this login with `Accounts::salt`, and go on with [`Finding::found`].
    Find(Finding),
    /// Have this proof checked by `Accounts::prove`, and go on with [`Step::proved`].
    Prove(Proof),
    /// The client has seen our own proof: the login stands.
    Done,
}

impl Scram {
    /// Begins, with the client's initial response if it sent one. `bindings` are those of the TLS
    /// connection; -PLUS must have been offered exactly when [`Bindings::are_offered`].
    pub fn begin(self, initial: Option<&[u8]>, bindings: &Bindings) -> Result<Step, SaslError> {
        let bindings = bindings.clone();
        let exchange = Exchange(Expect::First { plus: self.plus, bindings });
        match initial {
            Some(response) => exchange.answer(response),
            None => Ok(Step::Ask { challenge: String::new(), then: exchange }),
        }
    }
}

impl Step {
    /// The proof was right; `signature` is ours, for the client to see that we know its key.
    pub fn proved(signature: &Signature) -> Self {
        let challenge = STANDARD.encode(format!("v={}", STANDARD.encode(signature.0)));
        Self::Ask { challenge, then: Exchange(Expect::Nothing) }
    }
}

/// An exchange that waits for the client's next line.
#[derive(Debug)]
pub struct Exchange(Expect);

#[derive(Debug)]
enum Expect {
    First { plus: bool, bindings: Bindings },
    Final(Challenged),
    Nothing,
}

impl Exchange {
    /// Takes the client's line, without CRLF.
    pub fn answer(self, line: &[u8]) -> Result<Step, SaslError> {
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        let bytes = STANDARD.decode(line).map_err(|_| SaslError::Base64)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SaslError::Malformed)?;
        match self.0 {
            Expect::First { plus, bindings } => {
                Finding::parse(text, plus, &bindings).map(Step::Find)
            }
            Expect::Final(challenged) => challenged.proof(text).map(Step::Prove),
            Expect::Nothing if text.is_empty() => Ok(Step::Done),
            Expect::Nothing => Err(SaslError::Malformed),
        }
    }
}

/// The client's first message, understood (RFC 5802 §7, `client-first-message`).
#[derive(Debug)]
pub struct Finding {
    login: String,
    nonce: String,
    /// `client-first-message-bare`.
    bare: String,
    /// What the client has to repeat as `c=`.
    binding: Vec<u8>,
}

impl Finding {
    /// The login name as given.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Goes on with the salt for this login.
    pub fn found(self, salted: &Salted) -> Step {
        let Salted { salt, iterations, nonce } = salted;
        let nonce = format!("{}{nonce}", self.nonce);
        let first = format!("r={nonce},s={},i={iterations}", STANDARD.encode(salt));
        let challenge = STANDARD.encode(&first);
        let Self { login, bare, binding, .. } = self;
        let challenged = Challenged { login, nonce, said: format!("{bare},{first}"), binding };
        Step::Ask { challenge, then: Exchange(Expect::Final(challenged)) }
    }

    fn parse(message: &str, plus: bool, bindings: &Bindings) -> Result<Self, SaslError> {
        const WRONG: SaslError = SaslError::Malformed;
        let (flag, rest) = message.split_once(',').ok_or(WRONG)?;
        let (acting_as, bare) = rest.split_once(',').ok_or(WRONG)?;
        let data: &[u8] = match flag.strip_prefix("p=") {
            Some("tls-exporter") if plus => bindings.exporter.as_ref().ok_or(WRONG)?,
            Some("tls-server-end-point") if plus => bindings.end_point.as_deref().ok_or(WRONG)?,
            None if !plus && flag == "n" => &[],
            // The client can bind and believes we cannot, although we offered it: somebody took
            // the offer out on the way (RFC 5802 §6).
            None if !plus && flag == "y" && !bindings.are_offered() => &[],
            _ => return Err(WRONG),
        };
        let mut binding = format!("{flag},{acting_as},").into_bytes();
        binding.extend_from_slice(data);

        // No mandatory extension (`m=`) is known; optional ones may follow.
        let mut parts = bare.split(',');
        let name = parts.next().and_then(|part| part.strip_prefix("n=")).ok_or(WRONG)?;
        let nonce = parts.next().and_then(|part| part.strip_prefix("r=")).ok_or(WRONG)?;
        let login = sasl_name(name)?;
        let printable = nonce.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
        if nonce.is_empty() || nonce.len() > LONGEST_NONCE || !printable {
            return Err(WRONG);
        }
        match acting_as.strip_prefix("a=").map(sasl_name).transpose()? {
            Some(identity) if !identity.eq_ignore_ascii_case(&login) => {
                return Err(SaslError::OtherIdentity);
            }
            None if !acting_as.is_empty() => return Err(WRONG),
            _ => {}
        }
        Ok(Self { login, nonce: nonce.to_owned(), bare: bare.to_owned(), binding })
    }
}

/// Waits for the client's final message.
#[derive(Debug)]
struct Challenged {
    login: String,
    /// Both halves.
    nonce: String,
    /// What was said so far, as `AuthMessage` has it.
    said: String,
    binding: Vec<u8>,
}

impl Challenged {
    fn proof(self, message: &str) -> Result<Proof, SaslError> {
        const WRONG: SaslError = SaslError::Malformed;
        let (without, proof) = message.rsplit_once(",p=").ok_or(WRONG)?;
        let mut parts = without.split(',');
        let binding = parts.next().and_then(|part| part.strip_prefix("c=")).ok_or(WRONG)?;
        let nonce = parts.next().and_then(|part| part.strip_prefix("r=")).ok_or(WRONG)?;
        let proof = STANDARD.decode(proof).map_err(|_| WRONG)?;
        let proof = proof.try_into().map_err(|_| WRONG)?;
        // Another connection's binding is a wrong login, whatever the password.
        let bound = STANDARD.decode(binding).is_ok_and(|said| said == self.binding);
        let sound = bound && nonce == self.nonce;
        let message = format!("{},{without}", self.said);
        Ok(Proof { login: self.login, message, given: proof, sound })
    }
}

/// A client's claim to know a password; not checked yet.
#[derive(Debug)]
pub struct Proof {
    login: String,
    /// `AuthMessage`.
    message: String,
    /// `ClientProof`.
    given: [u8; 32],
    /// Nonce and channel binding are ours.
    sound: bool,
}

impl Proof {
    /// The login name as given.
    pub fn login(&self) -> &str {
        &self.login
    }
}

/// What a client needs to make its keys from the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salted {
    pub(in crate::accounts) salt: [u8; 16],
    pub(in crate::accounts) iterations: NonZeroU32,
    /// Our half of the nonce, used once.
    pub(in crate::accounts) nonce: String,
}

/// `ServerSignature`: shows the client that we know its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature([u8; 32]);

/// What is stored of a password for SCRAM (RFC 5802 §3): enough to check a proof, not to make one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(in crate::accounts) struct Keys {
    stored: [u8; 32],
    server: [u8; 32],
}

impl Keys {
    /// Slow on purpose.
    pub(in crate::accounts) fn derive(
        password: &Password,
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> Self {
        let mut salted = Zeroizing::new([0; 32]);
        let text = password.expose().as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, text, salted.as_mut_slice());
        let client = Zeroizing::new(sign(salted.as_slice(), b"Client Key"));
        Self { stored: hash(client.as_slice()), server: sign(salted.as_slice(), b"Server Key") }
    }

    /// Our signature, when the proof is right (RFC 5802 §3).
    pub(in crate::accounts) fn check(&self, proof: &Proof) -> Option<Signature> {
        let mask = sign(&self.stored, proof.message.as_bytes());
        let mut client = Zeroizing::new([0; 32]);
        for (byte, (a, b)) in client.iter_mut().zip(proof.given.iter().zip(mask)) {
            *byte = a ^ b;
        }
        let right = bool::from(hash(client.as_slice()).ct_eq(&self.stored)) && proof.sound;
        right.then(|| Signature(sign(&self.server, proof.message.as_bytes())))
    }
}

impl TryFrom<String> for Keys {
    type Error = SaslError;

    fn try_from(text: String) -> Result<Self, SaslError> {
        let key = |text| STANDARD.decode(text).ok().and_then(|key| key.try_into().ok());
        let keys = text.split_once(':').and_then(|(a, b)| Some((key(a)?, key(b)?)));
        keys.map(|(stored, server)| Self { stored, server }).ok_or(SaslError::Malformed)
    }
}

impl From<Keys> for String {
    fn from(keys: Keys) -> Self {
        format!("{}:{}", STANDARD.encode(keys.stored), STANDARD.encode(keys.server))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

/// `saslname`: comma and equals sign are written as `=2C` and `=3D` (RFC 5802 §5.1).
fn sasl_name(text: &str) -> Result<String, SaslError> {
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('=');
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (c, rest) = match part.split_at_checked(2) {
            Some(("2C", rest)) => (',', rest),
            Some(("3D", rest)) => ('=', rest),
            _ => return Err(SaslError::Malformed),
        };
        name.push(c);
        name.push_str(rest);
    }
    if name.is_empty() || name.contains('\0') { Err(SaslError::Malformed) } else { Ok(name) }
}

fn sign(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    bytes(tag.as_ref())
}

fn hash(message: &[u8]) -> [u8; 32] {
    bytes(digest::digest(&digest::SHA256, message).as_ref())
}

/// The 32 bytes that every SHA-256 has.
fn bytes(from: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(from) {
        *to = *from;
    }
    bytes
}

/// Longest nonce a client may send.
const LONGEST_NONCE: usize = 256;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a missing step is the failed test")]
pub(crate) mod client;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a missing step is the failed test")]
mod tests;
