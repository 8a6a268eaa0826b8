//! Letters for the trials, and signatures of every kind on them, right and wrong.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::policy::canonical::{BodyHash, Canon, Header};

/// A message under way.
#[derive(Clone)]
pub(super) struct Letter(pub(super) String);

/// How a signature is made.
#[derive(Clone, Copy)]
pub(super) struct Sign<'a> {
    pub(super) domain: &'a str,
    pub(super) selector: &'a str,
    pub(super) algorithm: &'a str,
    pub(super) canon: &'a str,
    pub(super) names: &'a str,
    /// More tags.
    pub(super) tags: &'a str,
    /// How much of the body is signed, with `l=`.
    pub(super) length: Option<usize>,
}

pub(super) const SIGN: Sign<'static> = Sign {
    domain: "example.org",
    selector: "ed",
    algorithm: "ed25519-sha256",
    canon: "relaxed/relaxed",
    names: "from:to:subject:date",
    tags: " v=1;",
    length: None,
};

/// The key of all signatures here.
pub(super) fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

/// Its record.
pub(super) fn record() -> String {
    format!("v=DKIM1; k=ed25519; p={}", public())
}

pub(super) fn public() -> String {
    BASE64.encode(key().public_key())
}

impl Letter {
    pub(super) fn from(from: &str) -> Self {
        Self(format!(
            "From: {from}\r\nTo: Bob <bob@home.test>\r\nSubject: Hello  there\r\n\tBob\r\n\
             Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n\
             Hello  Bob, \r\n\r\nhow are you?\t\r\n\r\n \r\n\r\n"
        ))
    }

    /// Another field on top.
    pub(super) fn with(self, field: &str) -> Self {
        Self(format!("{field}\r\n{}", self.0))
    }

    pub(super) fn replace(self, this: &str, that: &str) -> Self {
        assert!(self.0.contains(this), "{this} is not in {}", self.0);
        Self(self.0.replacen(this, that, 1))
    }

    pub(super) fn signed(self, sign: &Sign<'_>) -> Self {
        let Sign { tags, .. } = sign;
        let field = self.signature(&format!("DKIM-Signature:{tags}"), sign);
        self.with(&field)
    }

    /// An ARC set in the name of a domain.
    pub(super) fn sealed(self, number: usize, validation: &str, domain: &str) -> Self {
        let results = format!("ARC-Authentication-Results: i={number}; {domain}; arc=none");
        let sign = Sign { domain, ..SIGN };
        let start = format!("ARC-Message-Signature: i={number};");
        let message = self.signature(&start, &sign);
        let mut seal = format!(
            "ARC-Seal: i={number}; a=ed25519-sha256; cv={validation}; d={domain}; s=ed; b="
        );
        let mut sets = String::new();
        let header = Header::parse(self.0.as_bytes());
        for before in 1..number {
            for name in ["arc-authentication-results", "arc-message-signature", "arc-seal"] {
                let field = header.named(name).nth(number - 1 - before).unwrap();
                push(&mut sets, &Canon::Relaxed.field(field.raw));
            }
        }
        push(&mut sets, &Canon::Relaxed.field(results.as_bytes()));
        push(&mut sets, &Canon::Relaxed.field(message.as_bytes()));
        let covered = [sets.as_bytes(), &Canon::Relaxed.field(seal.as_bytes())].concat();
        seal.push_str(&sign_bytes(&covered));
        self.with(&results).with(&message).with(&seal)
    }

    fn signature(&self, start: &str, sign: &Sign<'_>) -> String {
        let (head, body) = self.0.split_once("\r\n\r\n").unwrap();
        let head = format!("{head}\r\n");
        let form = |name: &str| match name {
            "simple" => Canon::Simple,
            _ => Canon::Relaxed,
        };
        let (header_form, body_form) = sign.canon.split_once('/').unwrap_or((sign.canon, "simple"));
        let mut hash = BodyHash::new(form(body_form));
        hash.update(&body.as_bytes()[..sign.length.unwrap_or(body.len())]);
        let hash = hash.finish();
        let length = sign.length.map(|_| format!(" l={};", hash.length)).unwrap_or_default();
        let mut field = format!(
            "{start} a={}; c={};\r\n d={}; s={};{length}\r\n h={};\r\n bh={};\r\n b=",
            sign.algorithm,
            sign.canon,
            sign.domain,
            sign.selector,
            sign.names,
            BASE64.encode(hash.digest),
        );
        let names: Vec<String> = sign.names.split(':').map(str::to_lowercase).collect();
        let mut covered = Header::parse(head.as_bytes()).signed(&names, form(header_form));
        covered.extend(form(header_form).field(field.as_bytes()));
        let signature = sign_bytes(&covered);
        let (one, two) = signature.split_at(40);
        write!(field, "{one}\r\n {two}").unwrap();
        field
    }
}

fn sign_bytes(covered: &[u8]) -> String {
    BASE64.encode(key().sign(digest(&SHA256, covered).as_ref()))
}

fn push(text: &mut String, field: &[u8]) {
    text.push_str(std::str::from_utf8(field).unwrap());
    text.push_str("\r\n");
}
