//! Which way a recipient's mail goes: to its domain's own hosts, to the relay for everything, or by
//! an exception the owner made. Pure.

use super::states::Recipient;
use crate::config::{Outbound, OutboundMode, Relay, Route, Via};
use crate::mail::{Domain, ReversePath};

/// A way out; recipients of one way go together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// To the hosts of this domain.
    Direct(Domain),
    /// To the relay for everything.
    Relay,
    /// To the relay of the exception with this number.
    Exception(usize),
}

impl Way {
    /// The way of a recipient.
    pub(super) fn of(outbound: &Outbound, from: &ReversePath, recipient: &Recipient) -> Self {
        let domain = recipient.address.domain();
        let detour = || detour(outbound, from, domain).map(Self::Exception);
        if let Some(way) = recipient.detour.then(detour).flatten() {
            return way;
        }
        let mut routes = outbound.routes.iter().enumerate();
        let fits = routes.find(|(_, route)| !route.if_refused && fits(route, from, domain));
        match (fits, &outbound.mode) {
            (Some((_, Route { via: Via::Direct, .. })), _) => Self::Direct(domain.clone()),
            (Some((at, _)), _) => Self::Exception(at),
            (None, OutboundMode::Relay(_)) => Self::Relay,
            // What is held goes directly once it is released.
            (None, OutboundMode::Direct | OutboundMode::Hold) => Self::Direct(domain.clone()),
        }
    }

    /// The relay of this way, unless it is direct or the settings changed meanwhile.
    pub(super) fn relay<'a>(&self, outbound: &'a Outbound) -> Option<&'a Relay> {
        match (self, &outbound.mode) {
            (Self::Relay, OutboundMode::Relay(relay)) => Some(relay),
            (Self::Exception(at), _) => match &outbound.routes.get(*at)?.via {
                Via::Relay(relay) => Some(relay),
                Via::Direct => None,
            },
            _ => None,
        }
    }
}

/// The exception for what is refused on the direct way.
pub(super) fn detour(outbound: &Outbound, from: &ReversePath, to: &Domain) -> Option<usize> {
    outbound.routes.iter().position(|route| route.if_refused && fits(route, from, to))
}

fn fits(route: &Route, from: &ReversePath, to: &Domain) -> bool {
    let sender = from.address().map(crate::mail::Address::domain);
    route.from.as_ref().is_none_or(|domain| sender == Some(domain))
        && route.to.as_ref().is_none_or(|domain| domain == to)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;
    use crate::config::ConfigFile;

    const FILE: &str = r#"
[outbound]
mode = "direct"
[[outbound.routes]]
to = "local.example"
mode = "direct"
[[outbound.routes]]
from = "club.example"
relay = { host = "club.relay.example" }
[[outbound.routes]]
to = "far.example"
relay = { preset = "postmark", user = "token", password = "token" }
[[outbound.routes]]
when = "refused"
relay = { host = "last.relay.example" }
"#;

    fn way(from: &str, to: &str, detour: bool) -> String {
        let config = ConfigFile::parse(FILE, "x").unwrap().resolve("x").unwrap();
        let to = to.parse().unwrap();
        let mut recipient = Recipient::new(to, None, crate::mail::RecipientRequests::default());
        recipient.detour = detour;
        let way = Way::of(&config.outbound, &from.parse().unwrap(), &recipient);
        match way.relay(&config.outbound) {
            Some(relay) => format!("{}:{}", relay.host, relay.port),
            None => format!("{way:?}"),
        }
    }

    #[test]
    fn the_first_exception_that_fits_decides() {
        assert_eq!(way("a@club.example", "b@local.example", false), "Direct(local.example)");
        assert_eq!(way("a@club.example", "b@far.example", false), "club.relay.example:465");
        assert_eq!(way("a@home.example", "b@far.example", false), "smtp.postmarkapp.com:587");
        assert_eq!(way("a@home.example", "b@else.example", false), "Direct(else.example)");
        assert_eq!(way("", "b@else.example", false), "Direct(else.example)");
        // Refused on the direct way.
        assert_eq!(way("a@home.example", "b@else.example", true), "last.relay.example:465");
    }
}
