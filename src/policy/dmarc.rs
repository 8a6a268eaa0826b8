//! DMARC (RFC 9989, and records written for RFC 7489): may a message carry its author's domain,
//! and what does that domain ask to be done when it may not?
//!
//! A message with no author that can be told, or with several, gets a *permerror*: no domain's
//! wish can be applied to it, and no sound mail program writes one.

mod record;

use super::dkim::verify::{Dkim, Signed, within};
use super::inspect::Author;
use super::questions::Questions;
use super::spf::Spf;
use crate::dns::Answer;
use crate::mail::Domain;
pub use record::{Alignment, Policy, Record};

/// What became of the author's domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dmarc {
    /// Whether the message may carry it.
    pub verdict: Verdict,
    /// The author's domain, when there is one.
    pub from: Option<Domain>,
    /// Where the record was found, and what it says.
    pub record: Option<(Domain, Record)>,
    /// What the domain asks to be done with a message that fails; [`Policy::None`] for one that
    /// does not.
    pub disposition: Policy,
    /// SPF passed for a domain that belongs to the author's.
    pub spf_aligned: bool,
    /// So did a signature.
    pub dkim_aligned: bool,
    /// The message shows an author, and whose policy to apply cannot be told.
    pub hidden: bool,
}

/// Whether a message may carry its author's domain (RFC 9989 §5.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The domain does not say.
    None,
    /// It may.
    Pass,
    /// It may not.
    Fail,
    /// Nobody will ever be able to tell; why, in words.
    PermError(String),
    /// The DNS could not tell.
    TempError(String),
}

/// What the message itself proved.
pub(super) struct Proofs<'a> {
    /// The domain SPF was asked about, and what it said.
    pub(super) spf: Option<(&'a Domain, &'a Spf)>,
    pub(super) dkim: &'a [Signed],
}

impl Dmarc {
    /// The names whose records decide about the author's policy.
    pub(super) fn places(author: &Author) -> Vec<Domain> {
        match author {
            Author::One(from) => places(from),
            Author::Unclear(_) | Author::Hidden(_) | Author::Missing => Vec::new(),
        }
    }

    /// Finds the author's policy and applies it (RFC 9989 §5.3).
    pub(super) async fn check(
        author: Author,
        proofs: Proofs<'_>,
        questions: &mut Questions<'_>,
    ) -> Self {
        let mut outcome = Self {
            verdict: Verdict::None,
            from: None,
            record: None,
            disposition: Policy::None,
            spf_aligned: false,
            dkim_aligned: false,
            hidden: matches!(author, Author::Hidden(_)),
        };
        match author {
            Author::One(from) => {
                outcome.from = Some(from.clone());
                if let Err(why) = outcome.judge(&from, proofs, questions).await {
                    outcome.verdict = Verdict::TempError(why);
                }
            }
            Author::Unclear(why) | Author::Hidden(why) => {
                outcome.verdict = Verdict::PermError(why.to_owned());
            }
            Author::Missing => {
                outcome.verdict = Verdict::PermError("the message has no header".to_owned());
            }
        }
        outcome
    }

    /// `Err` says why the DNS could not tell.
    async fn judge(
        &mut self,
        from: &Domain,
        proofs: Proofs<'_>,
        questions: &mut Questions<'_>,
    ) -> Result<(), String> {
        let mut walk = walk(from, questions).await?;
        let organisation = organisation(&walk, from);
        // §4.10.1: the author's own record, or its organisation's, or the public suffix's.
        let place = [from, &organisation]
            .into_iter()
            .find_map(|name| walk.iter().position(|(at, _)| at == name))
            .or_else(|| walk.len().checked_sub(1));
        let Some(place) = place else { return Ok(()) };
        let (at, record) = walk.swap_remove(place);
        let Some(policy) = record.policy(&at, from, questions).await else { return Ok(()) };

        let mut unknown = None;
        if let Some((domain, spf)) = proofs.spf
            && matches!(spf, Spf::Pass | Spf::TempError(_))
            && aligned(domain, from, &organisation, record.spf, questions).await?
        {
            match spf {
                Spf::TempError(why) => unknown = Some(why.clone()),
                _ => self.spf_aligned = true,
            }
        }
        for signed in proofs.dkim {
            let Some(domain) = &signed.domain else { continue };
            if matches!(signed.verdict, Dkim::Pass | Dkim::TempError(_))
                && aligned(domain, from, &organisation, record.dkim, questions).await?
            {
                match &signed.verdict {
                    Dkim::TempError(why) => unknown = Some(why.clone()),
                    _ => self.dkim_aligned = true,
                }
            }
        }
        self.verdict = match unknown {
            _ if self.spf_aligned || self.dkim_aligned => Verdict::Pass,
            // §5.3.6: what could not be told may have been a pass.
            Some(why) => Verdict::TempError(why),
            None => Verdict::Fail,
        };
        if self.verdict == Verdict::Fail {
            self.disposition = policy;
        }
        self.record = Some((at, record));
        Ok(())
    }
}

/// Whether a proven domain speaks for the author's (RFC 9989 §4.4).
async fn aligned(
    domain: &Domain,
    from: &Domain,
    organisation: &Domain,
    mode: Alignment,
    questions: &mut Questions<'_>,
) -> Result<bool, String> {
    if domain == from {
        return Ok(true);
    }
    // Whatever is not below the author's organisation cannot have the same one.
    if mode == Alignment::Strict || !within(domain, organisation) {
        return Ok(false);
    }
    questions.prepare(places(domain)).await;
    let walk = walk(domain, questions).await?;
    Ok(self::organisation(&walk, domain) == *organisation)
}

/// The DNS tree walk (RFC 9989 §4.10): the records from a name upwards, in at most eight questions.
async fn walk(
    name: &Domain,
    questions: &mut Questions<'_>,
) -> Result<Vec<(Domain, Record)>, String> {
    let mut found = Vec::new();
    for at in steps(name) {
        let Ok(place) = at.child("_dmarc") else { continue };
        let texts = match questions.txt(&place).await {
            Answer::Yes(texts) => texts,
            Answer::No(_) => continue,
            // What a whole top-level domain says is rarely anything, and never worth the mail.
            Answer::CouldNotTell(_) if !at.as_str().contains('.') && !found.is_empty() => continue,
            Answer::CouldNotTell(why) => return Err(why),
        };
        let mut records = texts.iter().filter_map(|text| Record::parse(text));
        // Several records are as good as none.
        if let (Some(record), None) = (records.next(), records.next()) {
            let last = record.suffix.is_some();
            found.push((at, record));
            if last {
                break;
            }
        }
    }
    Ok(found)
}

/// Where a walk looks for records.
fn places(name: &Domain) -> Vec<Domain> {
    steps(name).into_iter().filter_map(|at| at.child("_dmarc").ok()).collect()
}

/// The names a walk asks about: of a long one itself, then its last seven labels and fewer.
fn steps(name: &Domain) -> Vec<Domain> {
    let labels: Vec<&str> = name.as_str().split('.').collect();
    let tails = (1..labels.len().min(8)).rev().filter_map(|count| {
        labels.get(labels.len() - count..).and_then(|tail| tail.join(".").parse().ok())
    });
    std::iter::once(name.clone()).chain(tails).collect()
}

/// The organisational domain (RFC 9989 §4.10.2) of the name a walk started from.
fn organisation(walk: &[(Domain, Record)], start: &Domain) -> Domain {
    for (at, record) in walk {
        match record.suffix {
            Some(false) => return at.clone(),
            // Below a public suffix: one label more than it.
            Some(true) if at != start => {
                let above = start.as_str().len() - at.as_str().len() - 1;
                let labels = start.as_str().get(..above).unwrap_or_default();
                let label = labels.rsplit('.').next().unwrap_or_default();
                return at.child(label).unwrap_or_else(|_| start.clone());
            }
            _ => {}
        }
    }
    walk.last().map_or_else(|| start.clone(), |(at, _)| at.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_walk_asks_at_most_eight_questions() {
        let walked = |name: &str| {
            let steps = steps(&name.parse().unwrap());
            steps.iter().map(Domain::as_str).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(walked("a.b.c"), "a.b.c b.c c");
        assert_eq!(walked("org"), "org");
        // RFC 9989 §4.10, step 4.
        assert_eq!(
            walked("a.b.c.d.e.f.g.h.i.j.mail.example.com"),
            "a.b.c.d.e.f.g.h.i.j.mail.example.com g.h.i.j.mail.example.com \
             h.i.j.mail.example.com i.j.mail.example.com j.mail.example.com mail.example.com \
             example.com com"
        );
    }

    #[test]
    fn the_organisation_is_where_the_records_say() {
        let found = |walk: &[(&str, &str)], start: &str| {
            let walk: Vec<(Domain, Record)> = walk
                .iter()
                .map(|(at, text)| (at.parse().unwrap(), Record::parse(text).unwrap()))
                .collect();
            organisation(&walk, &start.parse().unwrap()).to_string()
        };
        assert_eq!(found(&[], "a.b.example"), "a.b.example");
        assert_eq!(found(&[("b.example", "v=DMARC1")], "a.b.example"), "b.example");
        let both = [("a.b.example", "v=DMARC1"), ("b.example", "v=DMARC1")];
        assert_eq!(found(&both, "a.b.example"), "b.example");
        assert_eq!(found(&[("b.example", "v=DMARC1; psd=n")], "a.b.example"), "b.example");
        assert_eq!(found(&[("example", "v=DMARC1; psd=y")], "a.b.example"), "b.example");
        assert_eq!(found(&[("example", "v=DMARC1; psd=y")], "example"), "example");
    }
}
