//! What is known of a message before it is read: who hands it in, and what can be proved of its
//! sender. Whoever did not check something leaves it unknown, which counts nothing.

use jiff::Timestamp;

use crate::policy::dnsbl::Finding;

/// Signals of one message.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// SPF of the envelope sender.
    pub spf: Spf,
    /// The best of all DKIM signatures.
    pub dkim: Dkim,
    /// DMARC of the `From` domain.
    pub dmarc: Dmarc,
    /// A chain of forwarders we trust vouches for the results it saw (ARC).
    pub vouched: bool,
    /// The name of the sender's address.
    pub rdns: Rdns,
    /// The name it says it has.
    pub helo: Helo,
    /// What block lists say of its address.
    pub lists: Vec<Finding>,
    /// What lists of names say of the domains of links ([`super::LinkFacts::domains`]).
    pub link_lists: Vec<Finding>,
    /// Now, when the clock can be trusted.
    pub now: Option<Timestamp>,
}

/// SPF (RFC 7208 §2.6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the RFC's own words")]
pub enum Spf {
    Pass,
    Fail,
    SoftFail,
    /// `neutral`, `none` and records that are wrong.
    Neutral,
    #[default]
    Unknown,
}

/// DKIM (RFC 6376).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dkim {
    /// A signature is good.
    Pass,
    /// There are signatures, and none is good.
    Fail,
    /// There is none.
    Absent,
    /// Not checked, or the DNS could not tell.
    #[default]
    Unknown,
}

/// DMARC (RFC 7489): is the `From` domain proved?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dmarc {
    /// It is.
    Pass,
    /// It is not, and the domain's wish for such mail.
    Fail(Wish),
    /// The domain has no policy, but an aligned SPF or DKIM result proves it.
    Aligned,
    /// The domain has no policy, and nothing proves it.
    Absent,
    /// An author is shown, in a way that leaves open whose policy applies.
    Hidden,
    /// Not checked, or the DNS could not tell.
    #[default]
    Unknown,
}

/// What a domain wants done with mail that fails (RFC 7489 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the RFC's own words")]
pub enum Wish {
    None,
    Quarantine,
    Reject,
}

/// Reverse DNS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rdns {
    /// A name that leads back to the address.
    Confirmed,
    /// The same, but one that a provider gives to every connection.
    Generic,
    /// A name that leads elsewhere.
    Unconfirmed,
    /// No name.
    Missing,
    /// Not checked, or the DNS could not tell.
    #[default]
    Unknown,
}

/// EHLO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Helo {
    /// A name of the DNS.
    Name,
    /// An address, or one word.
    NoName,
    /// Our own name or address: a lie.
    Ours,
    /// Not looked at.
    #[default]
    Unknown,
}

impl Signals {
    /// The `From` domain is proved.
    pub fn proves_sender(&self) -> bool {
        matches!(self.dmarc, Dmarc::Pass | Dmarc::Aligned) || self.vouched
    }

    /// Something says that `From` is forged.
    pub fn doubts_sender(&self) -> bool {
        let fails = matches!(self.dmarc, Dmarc::Fail(_) | Dmarc::Hidden);
        let spf = self.spf == Spf::Fail && self.dkim != Dkim::Pass;
        (fails || spf) && !self.vouched
    }
}
