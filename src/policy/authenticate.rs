//! The checks of a whole message in one go: its signatures, its chain of forwarders, its author's
//! domain. What it costs is bounded whatever the message says: see `questions`.

use jiff::Timestamp;
use tokio::time::Instant;

use super::canonical::Header;
use super::dkim::Claim;
use super::dmarc::{Dmarc, Proofs};
use super::inspect::Inspected;
use super::origin::Origin;
use super::questions::Questions;
use super::results::Authentication;
use crate::dns::Resolver;

/// Checks what was claimed by a message that has passed through an `Inspector`. `now` is `None`
/// while the clock is not to be believed: then nothing has expired. What the DNS has not answered by
/// `until` could not be told.
pub async fn authenticate(
    resolver: &Resolver,
    now: Option<Timestamp>,
    origin: Origin,
    inspected: Inspected,
    until: Instant,
) -> Authentication {
    let Inspected { header, claims, chain, author, bodies } = inspected;
    let header = Header::parse(&header);
    // Signatures first: a long chain must not use up what they need.
    let mut keys = Questions::new(resolver, MAX_KEYS, until);
    let mut policies = Questions::new(resolver, MAX_POLICIES, until);
    // Asked at the same time: whoever makes us wait for his keys gains no way around the author's
    // policy.
    tokio::join!(
        keys.prepare(claims.iter().filter_map(Claim::key_name).chain(chain.key_names())),
        policies.prepare(Dmarc::places(&author)),
    );

    let mut dkim = Vec::with_capacity(claims.len());
    for (claim, field) in claims.into_iter().zip(header.named("dkim-signature")) {
        let body = claim.body_form().and_then(|form| bodies.get(form));
        dkim.push(claim.check(&header, &field, body, now, &mut keys).await);
    }
    let arc = chain.check(&header, &bodies, now, &mut keys).await;
    let spf = origin.spf();
    let proofs = Proofs { spf: spf.as_ref().map(|(domain, spf)| (domain, *spf)), dkim: &dkim };
    let dmarc = Dmarc::check(author, proofs, &mut policies).await;
    Authentication { origin, dkim, arc, dmarc }
}

/// Keys of one message; the longest chains seen have a handful of links.
const MAX_KEYS: usize = 30;
/// Names asked for a policy: eight for the author, as many for whoever speaks for him.
const MAX_POLICIES: usize = 40;
