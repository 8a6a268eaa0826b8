//! A domain's DMARC record (RFC 9989 §4.7).

use super::super::questions::Questions;
use super::super::tags::Tags;
use crate::mail::Domain;

/// What a record says, as far as it concerns the message at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `p=`: what the domain asks for; nothing when it only wants reports.
    pub own: Option<Policy>,
    /// `sp=`: for its subdomains.
    pub subdomains: Option<Policy>,
    /// `np=`: for those that do not exist.
    pub missing: Option<Policy>,
    /// `adkim=`.
    pub dkim: Alignment,
    /// `aspf=`.
    pub spf: Alignment,
    /// `t=y`: the domain is trying it out, and asks for one step less.
    pub testing: bool,
    /// `psd=`: whether it is a public suffix, under which others register; nothing when unsaid.
    pub suffix: Option<bool>,
    /// `rua=`: addresses that want to be told of the results (without `mailto:` and size).
    pub reports: Vec<String>,
}

/// What a domain asks to be done with what fails, from the mildest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Nothing.
    None,
    /// To treat it with suspicion.
    Quarantine,
    /// To refuse it.
    Reject,
}

/// How close a proven domain must be to the author's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// Of the same organisation.
    Relaxed,
    /// The same.
    Strict,
}

impl Record {
    /// Reads a record; nothing when the text is not one. A tag with a slip in it counts as unsaid.
    pub fn parse(text: &str) -> Option<Self> {
        let tags = Tags::lenient(text);
        if tags.first() != Some("v") || tags.get("v") != Some("DMARC1") {
            return None;
        }
        let policy = |name| tags.get(name).and_then(Policy::parse);
        let yes = |name: &str| tags.get(name).is_some_and(|value| value.eq_ignore_ascii_case("y"));
        let mode = |name| match tags.get(name) {
            Some("s" | "S") => Alignment::Strict,
            _ => Alignment::Relaxed,
        };
        Some(Self {
            own: policy("p"),
            subdomains: policy("sp"),
            missing: policy("np"),
            dkim: mode("adkim"),
            spf: mode("aspf"),
            // pct=0 said the same before t=y was invented (RFC 9989 §A.6); other shares mean nothing.
            testing: yes("t") || tags.get("pct") == Some("0"),
            suffix: match tags.get("psd") {
                Some("y" | "Y") => Some(true),
                Some("n" | "N") => Some(false),
                _ => None,
            },
            reports: reports(tags.get("rua").unwrap_or_default()),
        })
    }

    /// What to do with a failing message from `from`, when this record stands at `at`; nothing when
    /// the record has no policy (RFC 9989 §4.10.1).
    pub(super) async fn policy(
        &self,
        at: &Domain,
        from: &Domain,
        questions: &mut Questions<'_>,
    ) -> Option<Policy> {
        let own = match self.own {
            Some(own) => own,
            None if self.reports.is_empty() => return None,
            None => Policy::None,
        };
        let subdomains = self.subdomains.unwrap_or(own);
        let missing = self.missing.unwrap_or(subdomains);
        let asked = if at == from {
            own
        } else if missing != subdomains && questions.exists(from).await == Some(false) {
            missing
        } else {
            subdomains
        };
        Some(if self.testing { asked.milder() } else { asked })
    }
}

impl Policy {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::None, Self::Quarantine, Self::Reject];
        all.into_iter().find(|policy| policy.as_str().eq_ignore_ascii_case(text))
    }

    fn milder(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }
}

fn reports(text: &str) -> Vec<String> {
    let address = |uri: &str| {
        let uri = uri.trim();
        let (scheme, rest) = uri.split_once(':')?;
        let address = rest.split('!').next().unwrap_or_default();
        let mail = scheme.eq_ignore_ascii_case("mailto") && address.contains('@');
        mail.then(|| address.to_owned())
    };
    text.split(',').filter_map(address).take(MAX_REPORTS).collect()
}

/// More than any domain needs.
const MAX_REPORTS: usize = 5;
