//! The client's side of SCRAM, for tests alone: written from RFC 5802 §3, not from the server.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use super::{Keys, Proof, Salted, Signature};
use crate::accounts::Password;

/// A client that knows a password.
pub(crate) struct Client<'a> {
    pub(crate) login: &'a str,
    pub(crate) password: &'a str,
    /// `n,,` or `p=…,,`.
    pub(crate) flag: &'a str,
    /// What it takes the TLS connection for.
    pub(crate) binding: &'a [u8],
}

impl Client<'_> {
    /// The first line, in Base64.
    pub(crate) fn first(&self) -> String {
        STANDARD.encode(format!("{}{}", self.flag, self.bare()))
    }

    /// The last line and what the server has to answer, both in Base64.
    pub(crate) fn last(&self, challenge: &str) -> (String, String) {
        let said = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
        let mut parts = said.split(',');
        let mut part = |name: &str| parts.next().unwrap().strip_prefix(name).unwrap();
        let (nonce, salt, rounds) = (part("r="), part("s="), part("i="));
        let (salt, rounds) = (STANDARD.decode(salt).unwrap(), rounds.parse().unwrap());
        let mut salted = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, rounds, &salt, self.password.as_bytes(), &mut salted);
        let client = sign(&salted, b"Client Key");
        let bound = [self.flag.as_bytes(), self.binding].concat();
        let without = format!("c={},r={nonce}", STANDARD.encode(bound));
        let message = format!("{},{said},{without}", self.bare());
        let stored = digest::digest(&digest::SHA256, &client);
        let mask = sign(stored.as_ref(), message.as_bytes());
        let proof: Vec<u8> = client.iter().zip(mask).map(|(a, b)| a ^ b).collect();
        let signature = sign(&sign(&salted, b"Server Key"), message.as_bytes());
        let answer = format!("v={}", STANDARD.encode(signature));
        let last = format!("{without},p={}", STANDARD.encode(proof));
        (STANDARD.encode(last), STANDARD.encode(answer))
    }

    fn bare(&self) -> String {
        format!("n={},r=fyko+d2lbbFgONRv9qkxdawL", self.login)
    }
}

/// The server's side with the salt, rounds and nonce of RFC 7677 §3, for scripts in which every
/// byte is written down.
pub(crate) struct Scripted {
    keys: Keys,
}

impl Scripted {
    /// Of somebody with this password.
    pub(crate) fn new(password: &str) -> Self {
        let password = Password::new(password.to_owned());
        let Salted { salt, iterations, .. } = Self::salted();
        Self { keys: Keys::derive(&password, &salt, iterations) }
    }

    /// Our signature, when this login has given the right proof.
    pub(crate) fn check(&self, login: &str, proof: &Proof) -> Option<Signature> {
        self.keys.check(proof).filter(|_| proof.login() == login)
    }

    /// The same for everybody.
    pub(crate) fn salted() -> Salted {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
        Salted { salt, iterations: NonZeroU32::new(4096).unwrap(), nonce }
    }
}

fn sign(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}
