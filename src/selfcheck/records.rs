//! The DNS records that make a domain's mail find this box, and be believed.

/// A record to publish at the domain's provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The whole name, without a trailing dot.
    pub name: String,
    /// `MX`, `A`, `AAAA` or `TXT`.
    pub kind: &'static str,
    /// The value as a provider's form takes it.
    pub value: String,
    /// What it is good for, in plain words.
    pub why: String,
}
