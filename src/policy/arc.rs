//! ARC (RFC 8617): what those who forwarded a message found when it reached them. A chain that
//! holds proves who said so, not that they are honest: whom to believe is decided elsewhere.

mod seal;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;

use super::canonical::{BodyDigest, Canon, Field, Header};
use super::dkim::verify::{Dkim, Kind, Signature, key, key_name, without_signature};
use super::inspect::Bodies;
use super::key::Algorithm;
use super::questions::Questions;
use super::tags::Tags;
use crate::mail::Domain;

/// What became of the chain (RFC 8617 §4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arc {
    /// There is none.
    None,
    /// It holds; who sealed, the newest first.
    Pass(Vec<Domain>),
    /// It does not; why, in words.
    Fail(String),
    /// The DNS could not tell. Counts as a failure (RFC 8617 §5.2.2), but another attempt may fare
    /// better.
    TempError(String),
}

/// The ARC sets of a header, as far as they could be read.
#[derive(Debug, Default)]
pub(super) enum Chain {
    #[default]
    None,
    Broken(String),
    Sets {
        /// From the first to the newest.
        sets: Vec<Set>,
        /// The message signature of the newest.
        message: Box<Signature>,
    },
}

/// What one sealer added: where its fields are among those of their name, and its seal.
#[derive(Debug)]
pub(super) struct Set {
    results: usize,
    message: usize,
    at: usize,
    seal: Seal,
}

/// An `ARC-Seal` field (RFC 8617 §4.1.3).
#[derive(Debug)]
struct Seal {
    algorithm: Algorithm,
    domain: Domain,
    selector: Domain,
    signature: Vec<u8>,
    validation: Validation,
}

/// `cv=`: what the sealer found of the chain before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validation {
    None,
    Pass,
    Fail,
}

impl Chain {
    pub(super) fn parse(header: &Header<'_>) -> Self {
        match read(header) {
            Ok(chain) => chain,
            Err(why) => Self::Broken(why),
        }
    }

    /// The form in which the body is to be hashed.
    pub(super) fn body_form(&self) -> Option<Canon> {
        match self {
            Self::Sets { message, .. } => Some(message.canon.1),
            Self::None | Self::Broken(_) => None,
        }
    }

    /// The names of the keys to be asked for.
    pub(super) fn key_names(&self) -> Vec<Domain> {
        let Self::Sets { sets, message } = self else { return Vec::new() };
        let seals = sets.iter().filter_map(|set| key_name(&set.seal.selector, &set.seal.domain));
        key_name(&message.selector, &message.domain).into_iter().chain(seals).collect()
    }

    /// Validates the chain (RFC 8617 §5.2).
    pub(super) async fn check(
        self,
        header: &Header<'_>,
        bodies: &Bodies<BodyDigest>,
        now: Option<Timestamp>,
        questions: &mut Questions<'_>,
    ) -> Arc {
        let (sets, message) = match self {
            Self::None => return Arc::None,
            Self::Broken(why) => return Arc::Fail(why),
            Self::Sets { sets, message } => (sets, message),
        };
        match validate(&sets, &message, header, bodies, now, questions).await {
            Ok(()) => Arc::Pass(sets.into_iter().rev().map(|set| set.seal.domain).collect()),
            Err(Dkim::TempError(why)) => Arc::TempError(why),
            Err(Dkim::Fail(why) | Dkim::Policy(why) | Dkim::PermError(why)) => Arc::Fail(why),
            Err(Dkim::Pass) => Arc::Fail("a signature is missing".to_owned()),
        }
    }
}

async fn validate(
    sets: &[Set],
    message: &Signature,
    header: &Header<'_>,
    bodies: &Bodies<BodyDigest>,
    now: Option<Timestamp>,
    questions: &mut Questions<'_>,
) -> Result<(), Dkim> {
    let lost = || Dkim::PermError("a field of the chain is missing".to_owned());
    let all = |name| header.named(name).collect::<Vec<Field<'_>>>();
    let (results, messages, seals) = (all(RESULTS), all(MESSAGE), all(SEAL));
    let newest = sets.last().and_then(|set| messages.get(set.message)).ok_or_else(lost)?;
    message.check_body(bodies.get(message.canon.1), now)?;
    message.check_header(header, newest, questions).await.map_err(|(why, _)| why)?;
    // Each seal covers all sets before it (§5.1.1), and of its own seal all but the signature.
    let mut covered = Vec::new();
    for set in sets {
        for field in [results.get(set.results), messages.get(set.message)] {
            covered.extend(Canon::Relaxed.field(field.ok_or_else(lost)?.raw));
            covered.extend_from_slice(b"\r\n");
        }
        let own = seals.get(set.at).ok_or_else(lost)?.raw;
        let before = covered.len();
        covered.extend(Canon::Relaxed.field(&without_signature(own)));
        let seal = &set.seal;
        let key = key(&seal.selector, &seal.domain, questions).await?;
        key.verify(seal.algorithm, &covered, &seal.signature).map_err(Dkim::from)?;
        covered.truncate(before);
        covered.extend(Canon::Relaxed.field(own));
        covered.extend_from_slice(b"\r\n");
    }
    Ok(())
}

/// Puts the sets together and looks at their shape (RFC 8617 §5.2, steps 1 to 3).
fn read(header: &Header<'_>) -> Result<Chain, String> {
    let count = header.named(SEAL).count();
    if count == 0
        && header.named(MESSAGE).next().is_none()
        && header.named(RESULTS).next().is_none()
    {
        return Ok(Chain::None);
    }
    if count > MAX_SETS {
        return Err(format!("the chain has more than {MAX_SETS} links"));
    }
    let results = places(header, RESULTS, count, |text| results_instance(text).map(|i| (i, ())))?;
    let mut newest = None;
    let messages = places(header, MESSAGE, count, |text| {
        let tags = Tags::parse(text).ok()?;
        let at = instance(tags.get("i")?)?;
        if at == count {
            newest = Some(Signature::parse(&tags, Kind::Arc));
        }
        Some((at, ()))
    })?;
    let seals = places(header, SEAL, count, |text| {
        let tags = Tags::parse(text).ok()?;
        Some((instance(tags.get("i")?)?, Seal::parse(&tags)?))
    })?;
    let mut sets = Vec::with_capacity(count);
    for (number, ((results, message), seal)) in
        results.into_iter().zip(messages).zip(seals).enumerate()
    {
        let (at, seal) = seal;
        let right = if number == 0 { Validation::None } else { Validation::Pass };
        if seal.validation != right {
            return Err(format!("link {} says that the chain was broken there", number + 1));
        }
        sets.push(Set { results: results.0, message: message.0, at, seal });
    }
    match newest {
        Some(Ok(message)) => Ok(Chain::Sets { sets, message: Box::new(message) }),
        _ => Err("the newest message signature cannot be read".to_owned()),
    }
}

/// Sorts the fields of a name by their instance; there must be one for each from 1 to `count`.
fn places<T>(
    header: &Header<'_>,
    name: &str,
    count: usize,
    mut parse: impl FnMut(&str) -> Option<(usize, T)>,
) -> Result<Vec<(usize, T)>, String> {
    let mut found: Vec<Option<(usize, T)>> = std::iter::repeat_with(|| None).take(count).collect();
    for (place, field) in header.named(name).enumerate() {
        let parsed = std::str::from_utf8(field.value()).ok().and_then(&mut parse);
        let (at, what) = parsed.ok_or_else(|| format!("a field {name} cannot be read"))?;
        match found.get_mut(at - 1) {
            Some(free @ None) => *free = Some((place, what)),
            Some(Some(_)) => return Err(format!("there are two fields {name} for link {at}")),
            None => return Err(format!("a field {name} belongs to no link")),
        }
    }
    let all: Option<Vec<_>> = found.into_iter().collect();
    all.ok_or_else(|| format!("a field {name} is missing"))
}

/// The `i=` at the start of `ARC-Authentication-Results` (RFC 8617 §4.1.1).
fn results_instance(value: &str) -> Option<usize> {
    let (first, _) = value.split_once(';')?;
    let (name, number) = first.split_once('=')?;
    if name.trim() == "i" { instance(number.trim()) } else { None }
}

/// A number from 1 to 50 (RFC 8617 §4.2.1).
fn instance(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits)?;
    (1..=MAX_SETS).contains(&number).then_some(number)
}

impl Seal {
    fn parse(tags: &Tags<'_>) -> Option<Self> {
        // A seal covers what it covers; one that says otherwise is none (§4.1.3).
        if tags.get("h").is_some() {
            return None;
        }
        if let Some(time) = tags.get("t") {
            time.parse::<u64>().ok()?;
        }
        let signature = BASE64.decode(tags.compact("b")?).ok()?;
        Some(Self {
            algorithm: Algorithm::parse(tags.get("a")?)?,
            domain: tags.get("d")?.parse().ok()?,
            selector: tags.get("s")?.parse().ok()?,
            signature,
            validation: match tags.get("cv")? {
                cv if cv.eq_ignore_ascii_case("none") => Validation::None,
                cv if cv.eq_ignore_ascii_case("pass") => Validation::Pass,
                cv if cv.eq_ignore_ascii_case("fail") => Validation::Fail,
                _ => return None,
            },
        })
    }
}

const RESULTS: &str = "arc-authentication-results";
const MESSAGE: &str = "arc-message-signature";
const SEAL: &str = "arc-seal";
/// RFC 8617 §4.2.1.
const MAX_SETS: usize = 50;

#[cfg(all(test, feature = "demo"))]
mod tests;
