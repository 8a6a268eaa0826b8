//! DKIM for what arrives (RFC 6376 §6): what a signature claims, and whether it is true.
//!
//! Only signatures over the whole body count. One with `l=` that stops short of the end lets
//! anybody add to the message (§8.2): its verdict is *policy*, never *pass*, whatever it covers.
//! One whose `l=` is the whole length says nothing less than one without.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;

use crate::dns::Answer;
use crate::mail::Domain;
use crate::policy::canonical::{BodyDigest, Canon, Field, Header};
use crate::policy::key::{Algorithm, Key, KeyError};
use crate::policy::questions::Questions;
use crate::policy::tags::Tags;

/// What became of one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Whether it holds.
    pub verdict: Dkim,
    /// `d=`: who takes responsibility for the message.
    pub domain: Option<Domain>,
    /// `s=`: which of its keys.
    pub selector: Option<Domain>,
    /// `a=`.
    pub algorithm: Option<Algorithm>,
    /// The first characters of `b=`, which tell one signature from another (RFC 6008).
    pub mark: String,
    /// The domain is only trying it out (`t=y`): a failure means nothing (RFC 6376 §3.6.1).
    pub testing: bool,
}

/// Whether a signature holds (RFC 8601 §2.7.1); why not, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dkim {
    /// The message is as its signer sent it.
    Pass,
    /// It was changed, or was never signed by that domain.
    Fail(String),
    /// The signature may hold, but proves too little for us.
    Policy(String),
    /// The signature or its key cannot be used, now or later.
    PermError(String),
    /// The DNS could not tell.
    TempError(String),
}

/// A `DKIM-Signature` field as it was found.
#[derive(Debug)]
pub(in crate::policy) struct Claim {
    signature: Result<Signature, Dkim>,
    /// What its tags say of themselves, readable or not; the verdict is open.
    shown: Signed,
}

impl Claim {
    pub(in crate::policy) fn parse(field: &Field<'_>) -> Self {
        let mut shown = Signed {
            verdict: Dkim::PermError("the signature cannot be read".to_owned()),
            domain: None,
            selector: None,
            algorithm: None,
            mark: String::new(),
            testing: false,
        };
        let unreadable = Err(shown.verdict.clone());
        let Ok(text) = std::str::from_utf8(field.value()) else {
            return Self { signature: unreadable, shown };
        };
        let tags = match Tags::parse(text) {
            Ok(tags) => tags,
            Err(why) => {
                let signature = Err(Dkim::PermError(format!("the signature has {why}")));
                return Self { signature, shown };
            }
        };
        shown.domain = tags.get("d").and_then(|domain| domain.parse().ok());
        shown.selector = tags.get("s").and_then(|selector| selector.parse().ok());
        shown.algorithm = tags.get("a").and_then(Algorithm::parse);
        let base64 = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
        let mark = tags.compact("b").unwrap_or_default();
        shown.mark = mark.chars().take_while(base64).take(8).collect();
        Self { signature: Signature::parse(&tags, Kind::Dkim), shown }
    }

    /// The form in which the body is to be hashed.
    pub(in crate::policy) fn body_form(&self) -> Option<Canon> {
        self.signature.as_ref().ok().map(|signature| signature.canon.1)
    }

    /// The name of the key to be asked for.
    pub(in crate::policy) fn key_name(&self) -> Option<Domain> {
        let signature = self.signature.as_ref().ok()?;
        key_name(&signature.selector, &signature.domain)
    }

    /// Finds out whether it holds.
    pub(in crate::policy) async fn check(
        self,
        header: &Header<'_>,
        own: &Field<'_>,
        body: Option<&BodyDigest>,
        now: Option<Timestamp>,
        questions: &mut Questions<'_>,
    ) -> Signed {
        let Self { signature, mut shown } = self;
        let checked = match signature {
            Ok(signature) => match signature.check_body(body, now) {
                Ok(()) => signature.check_header(header, own, questions).await,
                Err(why) => Err((why, false)),
            },
            Err(why) => Err((why, false)),
        };
        (shown.verdict, shown.testing) = match checked {
            Ok(testing) => (Dkim::Pass, testing),
            Err(why) => why,
        };
        shown
    }
}

/// What a signature claims.
#[derive(Debug)]
pub(in crate::policy) struct Signature {
    pub(in crate::policy) algorithm: Algorithm,
    pub(in crate::policy) domain: Domain,
    pub(in crate::policy) selector: Domain,
    pub(in crate::policy) canon: (Canon, Canon),
    /// The signed fields' names in lower case.
    pub(in crate::policy) names: Vec<String>,
    bytes: Vec<u8>,
    body_hash: Vec<u8>,
    length: Option<u64>,
    expires: Option<u64>,
    /// The domain in `i=`.
    identity: Option<Domain>,
}

/// Which field a signature was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Kind {
    /// `DKIM-Signature`.
    Dkim,
    /// `ARC-Message-Signature` (RFC 8617 §4.1.2): `i=` is its number, and it has no version.
    Arc,
}

impl Signature {
    /// Reads the tags; §6.1.1 says what makes them useless.
    pub(in crate::policy) fn parse(tags: &Tags<'_>, kind: Kind) -> Result<Self, Dkim> {
        let wrong = |what: &str| Dkim::PermError(what.to_owned());
        let need = |name| {
            let value = tags.compact(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| Dkim::PermError(format!("the signature has no {name}=")))
        };
        let number = |name: &str| match tags.get(name) {
            None => Ok(None),
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                let number = text.parse().map_err(|_| wrong("a number that is none"))?;
                Ok(Some(number))
            }
            Some(_) => Err(wrong("a number that is none")),
        };
        if kind == Kind::Dkim && tags.get("v") != Some("1") {
            return Err(wrong("the signature has no v=1"));
        }
        let algorithm = tags.get("a").ok_or_else(|| wrong("the signature has no a="))?;
        let algorithm = match Algorithm::parse(algorithm) {
            Some(algorithm) => algorithm,
            // RFC 8301 §3.1.
            None if algorithm == "rsa-sha1" => {
                return Err(Dkim::Policy("SHA-1 proves nothing any more".to_owned()));
            }
            None => return Err(wrong("the algorithm is not known")),
        };
        let (signature, body_hash) = (need("b")?, need("bh")?);
        let base64 = |text| BASE64.decode(text).map_err(|_| wrong("the signature is no Base64"));
        let names: Vec<String> = tags
            .list("h")
            .ok_or_else(|| wrong("the signature has no h="))?
            .map(str::to_ascii_lowercase)
            .filter(|name| !name.is_empty())
            .collect();
        if names.len() > MAX_NAMES {
            return Err(wrong("it names more fields than any message has"));
        }
        let domain = need("d")?.parse::<Domain>().map_err(|_| wrong("d= is no domain"))?;
        let expires = number("x")?;
        if number("t")?.zip(expires).is_some_and(|(signed, expires)| signed > expires) {
            return Err(wrong("the signature expires before it was made"));
        }
        let identity = match (kind, tags.get("i")) {
            (Kind::Dkim, Some(identity)) => {
                let (_, host) = identity.rsplit_once('@').ok_or_else(|| wrong("i= has no @"))?;
                Some(host.parse::<Domain>().map_err(|_| wrong("i= is no domain"))?)
            }
            _ => None,
        };
        if kind == Kind::Dkim {
            if !names.iter().any(|name| name == "from") {
                return Err(wrong("From is not signed"));
            }
            if identity.as_ref().is_some_and(|identity| !within(identity, &domain)) {
                return Err(wrong("i= is not within d="));
            }
            if let Some(mut ways) = tags.list("q")
                && !ways.any(|way| way == "dns/txt")
            {
                return Err(wrong("the key is not in the DNS"));
            }
        } else if names.iter().any(|name| name == "arc-seal") {
            return Err(wrong("it covers a seal"));
        }
        Ok(Self {
            algorithm,
            selector: need("s")?.parse().map_err(|_| wrong("s= is no name"))?,
            domain,
            canon: canon(tags.get("c"), kind)
                .ok_or_else(|| wrong("the form in c= is not known"))?,
            names,
            bytes: base64(signature)?,
            body_hash: base64(body_hash)?,
            length: number("l")?,
            expires,
            identity,
        })
    }

    /// Checks everything that needs no DNS: time, then the body.
    pub(in crate::policy) fn check_body(
        &self,
        body: Option<&BodyDigest>,
        now: Option<Timestamp>,
    ) -> Result<(), Dkim> {
        let now = now.and_then(|now| u64::try_from(now.as_second()).ok());
        if self.expires.zip(now).is_some_and(|(expires, now)| expires < now) {
            return Err(Dkim::PermError("the signature has expired".to_owned()));
        }
        let body = body.ok_or_else(|| Dkim::PermError("the body was not looked at".to_owned()))?;
        match self.length {
            Some(length) if length > body.length => {
                return Err(Dkim::Fail("the body is shorter than what was signed".to_owned()));
            }
            Some(length) if length < body.length => {
                return Err(Dkim::Policy("l= leaves the end of the body unsigned".to_owned()));
            }
            _ => {}
        }
        if body.digest.as_ref() == self.body_hash {
            Ok(())
        } else {
            Err(Dkim::Fail("the body was changed".to_owned()))
        }
    }

    /// Checks the header against the key in the DNS. Says whether the key is only tried out.
    pub(in crate::policy) async fn check_header(
        &self,
        header: &Header<'_>,
        own: &Field<'_>,
        questions: &mut Questions<'_>,
    ) -> Result<bool, (Dkim, bool)> {
        let key = key(&self.selector, &self.domain, questions).await.map_err(|why| (why, false))?;
        let testing = key.testing;
        if key.strict && self.identity.as_ref().is_some_and(|identity| *identity != self.domain) {
            let why = Dkim::PermError("the key is not for parts of its domain".to_owned());
            return Err((why, testing));
        }
        let mut covered = header.signed(&self.names, self.canon.0);
        covered.extend(self.canon.0.field(&without_signature(own.raw)));
        match key.verify(self.algorithm, &covered, &self.bytes) {
            Ok(()) => Ok(testing),
            Err(why) => Err((why.into(), testing)),
        }
    }
}

/// Fetches a key. Of several records the first that is a key counts (RFC 6376 §3.6.2.2 leaves it
/// open).
pub(in crate::policy) async fn key(
    selector: &Domain,
    domain: &Domain,
    questions: &mut Questions<'_>,
) -> Result<Key, Dkim> {
    let name = key_name(selector, domain)
        .ok_or_else(|| Dkim::PermError("the name of the key is too long".to_owned()))?;
    let records = match questions.txt(&name).await {
        Answer::Yes(records) => records,
        Answer::No(_) => return Err(Dkim::PermError("there is no such key".to_owned())),
        Answer::CouldNotTell(why) => return Err(Dkim::TempError(why)),
    };
    let mut wrong = KeyError::Record;
    for record in records.iter().take(MAX_RECORDS) {
        match Key::parse(record) {
            Ok(key) => return Ok(key),
            Err(KeyError::Record) => {}
            Err(other) => wrong = other,
        }
    }
    Err(wrong.into())
}

/// Where a key is published (RFC 6376 §3.6.2.1).
pub(in crate::policy) fn key_name(selector: &Domain, domain: &Domain) -> Option<Domain> {
    domain.child(&format!("{selector}._domainkey")).ok()
}

impl From<KeyError> for Dkim {
    fn from(error: KeyError) -> Self {
        let why = error.to_string();
        match error {
            KeyError::Record | KeyError::Revoked | KeyError::Mismatch => Self::PermError(why),
            KeyError::Weak => Self::Policy(why),
            KeyError::Signature => Self::Fail(why),
        }
    }
}

/// A field with the value of its `b=` taken out (RFC 6376 §3.5, "b=").
pub(in crate::policy) fn without_signature(field: &[u8]) -> Vec<u8> {
    let mut from = memchr::memchr(b':', field).map_or(0, |colon| colon + 1);
    while let Some(pair) = field.get(from..) {
        let end = memchr::memchr(b';', pair).map_or(field.len(), |at| from + at);
        let equals = memchr::memchr(b'=', pair).map_or(end, |at| from + at);
        let name = field.get(from..equals.min(end)).unwrap_or_default();
        if name.trim_ascii() == b"b" && equals < end {
            let (before, after) = (field.get(..=equals), field.get(end..));
            return [before.unwrap_or_default(), after.unwrap_or_default()].concat();
        }
        from = end + 1;
    }
    field.to_vec()
}

/// Whether a name is the domain or below it.
pub(in crate::policy) fn within(name: &Domain, domain: &Domain) -> bool {
    let above = name.as_str().strip_suffix(domain.as_str());
    above.is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
}

/// `c=`: the forms of header and body (RFC 6376 §3.5). RFC 8617 names no other default for ARC, but
/// its test suite and those who seal without `c=` mean the relaxed ones.
fn canon(text: Option<&str>, kind: Kind) -> Option<(Canon, Canon)> {
    let one = |text| match text {
        "simple" => Some(Canon::Simple),
        "relaxed" => Some(Canon::Relaxed),
        _ => None,
    };
    match text.map(|text| (text, text.split_once('/'))) {
        Some((_, Some((header, body)))) => Some((one(header)?, one(body)?)),
        Some((header, None)) => Some((one(header)?, Canon::Simple)),
        None if kind == Kind::Arc => Some((Canon::Relaxed, Canon::Relaxed)),
        None => Some((Canon::Simple, Canon::Simple)),
    }
}

/// Signatures looked at, from the top: the author's, his provider's and some lists'.
pub(in crate::policy) const MAX_SIGNATURES: usize = 10;
const MAX_RECORDS: usize = 8;
const MAX_NAMES: usize = 500;
