//! What we tell others about TLS on our port 25 (MTA-STS, RFC 8461): a policy, fetched from a web
//! address below each domain, and a record whose id changes whenever the policy does.

use super::Site;
use crate::mail::Domain;

/// How firmly others shall insist on TLS with a right certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MtaSts {
    /// Nothing is said.
    Off,
    /// They shall tell us of failures, and deliver all the same.
    #[default]
    Testing,
    /// They shall rather not deliver.
    Enforce,
}

/// A policy, ready to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicy {
    /// Its lines (RFC 8461 §3.2).
    pub text: String,
    /// Goes into the record: another one means another policy.
    pub id: String,
}

impl MtaSts {
    /// The policy of all our domains: they have the same one mail host.
    pub fn policy(self, site: &Site) -> Option<StsPolicy> {
        // Remembered for a day while it is tried out, then for a week.
        let (mode, max_age) = match self {
            Self::Off => return None,
            Self::Testing => ("testing", 86_400),
            Self::Enforce => ("enforce", 604_800),
        };
        let text = format!(
            "version: STSv1\r\nmode: {mode}\r\nmx: {}\r\nmax_age: {max_age}\r\n",
            site.hostname
        );
        // §3.1: up to 32 letters and digits.
        let id = blake3::hash(text.as_bytes()).to_hex().chars().take(20).collect();
        Some(StsPolicy { text, id })
    }
}

/// The host whose web page holds a domain's policy (RFC 8461 §3.2); nothing for a name too long.
pub fn policy_host(domain: &Domain) -> Option<Domain> {
    domain.child("mta-sts").ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn the_id_changes_with_the_policy_and_only_then() {
        let site = |hostname: &str| Site {
            hostname: hostname.parse().unwrap(),
            domains: vec!["example.org".parse().unwrap()],
            owner: "alice@example.org".parse().unwrap(),
            timezone: "UTC".to_owned(),
        };
        let policy = |mode: MtaSts, hostname| mode.policy(&site(hostname));
        let testing = policy(MtaSts::Testing, "mail.example.org").unwrap();
        assert_eq!(
            testing.text,
            "version: STSv1\r\nmode: testing\r\nmx: mail.example.org\r\nmax_age: 86400\r\n"
        );
        assert!(testing.id.len() <= 32 && testing.id.chars().all(|c| c.is_ascii_alphanumeric()));
        assert_eq!(policy(MtaSts::Testing, "mail.example.org").unwrap(), testing);
        for other in [
            policy(MtaSts::Enforce, "mail.example.org").unwrap(),
            policy(MtaSts::Testing, "mx.example.org").unwrap(),
        ] {
            assert_ne!(other.id, testing.id);
        }
        assert_eq!(policy(MtaSts::Off, "mail.example.org"), None);
    }
}
