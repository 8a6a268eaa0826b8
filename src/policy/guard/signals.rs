//! What was found out about a message's origin, as the junk score counts it.

use jiff::Timestamp;

use super::super::dkim::verify;
use super::super::dmarc::{Policy, Verdict};
use super::super::dnsbl::{Finding, is_public};
use super::super::junk::{Dkim, Dmarc, Helo, Rdns, Signals, Spf, Wish};
use super::super::rdns::{self, Reverse, generic};
use super::super::{Authentication, spf};
use crate::mail::Domain;

/// The signals of a message.
pub(super) fn of(
    found: &Authentication,
    lists: Vec<Finding>,
    link_lists: Vec<Finding>,
    ours: &Domain,
    now: Option<Timestamp>,
) -> Signals {
    // What stands in the house has no name in the DNS, and needs none.
    let at_home = !is_public(found.origin.peer.ip.to_canonical());
    Signals {
        spf: found.origin.spf().map_or(Spf::Unknown, |(_, spf)| of_spf(spf)),
        dkim: of_dkim(found),
        dmarc: of_dmarc(found),
        // Anybody can seal a chain; whom to believe nobody has said.
        vouched: false,
        rdns: match &found.origin.reverse {
            _ if at_home => Rdns::Unknown,
            Reverse::Confirmed(name) if generic(name, found.origin.peer.ip).is_some() => {
                Rdns::Generic
            }
            Reverse::Confirmed(_) => Rdns::Confirmed,
            Reverse::Unconfirmed(_) => Rdns::Unconfirmed,
            Reverse::NoName => Rdns::Missing,
            Reverse::CouldNotTell(_) => Rdns::Unknown,
        },
        helo: match &found.origin.helo {
            _ if at_home => Helo::Unknown,
            rdns::Helo::Elsewhere(name) | rdns::Helo::Unknown(name) if name == ours => Helo::Ours,
            rdns::Helo::Confirmed(_) | rdns::Helo::Elsewhere(_) => Helo::Name,
            rdns::Helo::Literal | rdns::Helo::Unknown(_) | rdns::Helo::Malformed => Helo::NoName,
            rdns::Helo::CouldNotTell(_) => Helo::Unknown,
        },
        lists,
        link_lists,
        now,
    }
}

fn of_spf(found: &spf::Spf) -> Spf {
    match found {
        spf::Spf::Pass => Spf::Pass,
        spf::Spf::Fail => Spf::Fail,
        spf::Spf::SoftFail => Spf::SoftFail,
        spf::Spf::Neutral | spf::Spf::None | spf::Spf::PermError(_) => Spf::Neutral,
        spf::Spf::TempError(_) => Spf::Unknown,
    }
}

fn of_dkim(found: &Authentication) -> Dkim {
    let mut best = Dkim::Absent;
    for signed in &found.dkim {
        best = match &signed.verdict {
            verify::Dkim::Pass => return Dkim::Pass,
            // A signature that somebody only tries out says nothing when it fails.
            verify::Dkim::TempError(_) => Dkim::Unknown,
            _ if signed.testing => best,
            _ if best == Dkim::Unknown => best,
            _ => Dkim::Fail,
        };
    }
    best
}

fn of_dmarc(found: &Authentication) -> Dmarc {
    let dmarc = &found.dmarc;
    match &dmarc.verdict {
        Verdict::Pass => Dmarc::Pass,
        Verdict::Fail => Dmarc::Fail(match dmarc.disposition {
            Policy::None => Wish::None,
            Policy::Quarantine => Wish::Quarantine,
            Policy::Reject => Wish::Reject,
        }),
        // What stands in the house is often made by simple minds.
        Verdict::PermError(_) if dmarc.hidden && is_public(found.origin.peer.ip.to_canonical()) => {
            Dmarc::Hidden
        }
        Verdict::None if dmarc.spf_aligned || dmarc.dkim_aligned => Dmarc::Aligned,
        Verdict::None | Verdict::PermError(_) => Dmarc::Absent,
        Verdict::TempError(_) => Dmarc::Unknown,
    }
}
