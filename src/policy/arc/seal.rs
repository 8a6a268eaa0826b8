//! The seal on what we pass on (RFC 8617 §5.1): the receiver learns from it what we found when the
//! message reached us, although forwarding broke SPF.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;

use super::super::canonical::{Canon, Header};
use super::super::dkim::{SIGNED, SignError, SigningKeys, fold, hash_body, read_header};
use super::super::results::Recorded;
use super::super::tags::Tags;
use super::{MAX_SETS, MESSAGE, RESULTS, SEAL};
use crate::mail::Domain;
use crate::mail::headers::claims_to_be_ours;

impl SigningKeys {
    /// The ARC set to put on top of a message that is passed on unchanged, sealed in the name of
    /// `domain`, which must be ours. What we found when it arrived is read from our own
    /// `Authentication-Results` field in it, the topmost that names `authserv_id`. Nothing when
    /// there is no such field, when the chain is as long as one may be, or when its last link says
    /// that it is broken: nobody adds to such a chain (§5.1.2). `at` is the time to claim.
    pub fn seal(
        &self,
        domain: &Domain,
        authserv_id: &Domain,
        mut message: impl Read,
        at: Option<Timestamp>,
    ) -> Result<Option<Vec<u8>>, SignError> {
        let (head, rest) = read_header(&mut message)?;
        let header = Header::parse(&head);
        let own = header
            .named("authentication-results")
            .find(|field| claims_to_be_ours(field.value(), authserv_id));
        let Some(recorded) = own.as_ref().and_then(|own| Recorded::parse(own.value())) else {
            return Ok(None);
        };
        let before = header.named(SEAL).count();
        let validation = match recorded.arc {
            _ if before == 0 => "none",
            "pass" => "pass",
            _ => "fail",
        };
        let newest = header.named(SEAL).find(|field| instance(field.value()) == Some(before));
        if before >= MAX_SETS || newest.is_some_and(|field| has_failed(field.value())) {
            return Ok(None);
        }
        let number = before + 1;
        let time = at.map(|at| format!(" t={};", at.as_second())).unwrap_or_default();

        let Some(keys) = self.of(domain) else { return Ok(None) };
        let [selector, _] = keys.selectors();
        let results =
            format!("ARC-Authentication-Results: i={number}; {authserv_id}{}", recorded.results);
        let (names, mut covered) = header.select(&plain());
        let message_signature = format!(
            "ARC-Message-Signature: i={number}; a=rsa-sha256; c=relaxed/relaxed;\r\n\
             \td={domain}; s={selector};{time}\r\n\th={};\r\n\tbh={};\r\n\tb=",
            names.join(":\r\n\t "),
            hash_body(&rest, &mut message)?,
        );
        covered.extend(Canon::Relaxed.field(message_signature.as_bytes()));
        let signature = keys.sign_rsa(&covered)?;
        let message_signature = message_signature + &fold(&BASE64.encode(signature));

        // A seal on a broken chain covers its own set alone (§5.1.2).
        let mut covered = if validation == "fail" { Vec::new() } else { sets(&header, before) };
        for field in [&results, &message_signature] {
            covered.extend(Canon::Relaxed.field(field.as_bytes()));
            covered.extend_from_slice(b"\r\n");
        }
        let seal = format!(
            "ARC-Seal: i={number}; a=rsa-sha256; cv={validation};\r\n\
             \td={domain}; s={selector};{time}\r\n\tb="
        );
        covered.extend(Canon::Relaxed.field(seal.as_bytes()));
        let signature = keys.sign_rsa(&covered)?;
        let seal = seal + &fold(&BASE64.encode(signature));
        Ok(Some(format!("{seal}\r\n{message_signature}\r\n{results}\r\n").into_bytes()))
    }
}

/// The fields to sign as they are, with the signatures already there. None is kept from being
/// added: the next list will.
fn plain() -> Vec<(&'static str, bool)> {
    let fields = SIGNED.iter().map(|(name, _)| (*name, false));
    fields.chain([("dkim-signature", false)]).collect()
}

/// The sets that are there, in the order seals cover them (§5.1.1).
fn sets(header: &Header<'_>, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 1..=count {
        for name in [RESULTS, MESSAGE, SEAL] {
            let field = header.named(name).find(|field| instance(field.value()) == Some(number));
            if let Some(field) = field {
                bytes.extend(Canon::Relaxed.field(field.raw));
                bytes.extend_from_slice(b"\r\n");
            }
        }
    }
    bytes
}

/// The number of the set a field belongs to; all three kinds have an `i=`, the results first.
fn instance(value: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(value).ok()?;
    super::results_instance(text).or_else(|| super::instance(Tags::parse(text).ok()?.get("i")?))
}

fn has_failed(seal: &[u8]) -> bool {
    let text = std::str::from_utf8(seal).unwrap_or_default();
    let verdict = Tags::parse(text).ok().and_then(|tags| tags.get("cv"));
    verdict.is_none_or(|cv| cv.eq_ignore_ascii_case("fail"))
}
