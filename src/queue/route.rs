//! Where a domain's mail goes: its MX hosts by preference (RFC 5321 §5.1), the domain itself when
//! there are none, or nowhere; never back to this box.

use std::net::{IpAddr, SocketAddr};

use super::states::Problem;
use crate::dns::{Absence, Answer, Mx, Resolver};
use crate::mail::Domain;

/// Why there is no way to a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoRoute {
    /// For now.
    Defer(Problem),
    /// For good.
    Reject(Problem),
}

/// The hosts of a domain, by what the DNS said. `random` orders hosts of one preference.
pub(super) fn hosts(
    said: Answer<Vec<Mx>>,
    domain: &Domain,
    own: &Domain,
    random: impl FnMut() -> u32,
) -> Result<Vec<Domain>, NoRoute> {
    match said {
        Answer::Yes(all) => order(domain, all, own, random),
        // The implicit MX; no address there is told when it is looked up.
        Answer::No(Absence::NoRecord) if domain == own => Err(loops(domain)),
        Answer::No(Absence::NoRecord) => Ok(vec![domain.clone()]),
        Answer::No(Absence::NoName) => {
            Err(NoRoute::Reject(Problem::new("5.1.2", format!("there is no domain {domain}"))))
        }
        Answer::CouldNotTell(why) => Err(NoRoute::Defer(Problem::new("4.4.3", why))),
    }
}

/// The addresses of a host.
pub(super) async fn addresses(resolver: &Resolver, host: &Domain) -> Result<Vec<IpAddr>, NoRoute> {
    // A relay in the house may be given by its number.
    if let Ok(address) = host.as_str().parse() {
        return Ok(vec![address]);
    }
    usable(resolver.addresses(host).await, host)
}

/// The addresses of a host, by what the DNS said.
pub(super) fn usable(said: Answer<Vec<IpAddr>>, host: &Domain) -> Result<Vec<IpAddr>, NoRoute> {
    match said {
        Answer::Yes(all) => Ok(all),
        Answer::No(_) => Err(NoRoute::Reject(Problem::new(
            "5.4.4",
            format!("the mail host {host} has no address"),
        ))),
        Answer::CouldNotTell(why) => Err(NoRoute::Defer(Problem::new("4.4.3", why))),
    }
}

/// Whether a connection would reach this box itself.
pub(super) fn is_own(target: SocketAddr, listening: &[SocketAddr]) -> bool {
    let at = target.ip().to_canonical();
    listening.iter().filter(|own| own.port() == target.port()).any(|own| {
        own.ip().to_canonical() == at
            || (own.ip().is_unspecified() && (at.is_loopback() || interfaces().contains(&at)))
    })
}

pub(super) fn loops(domain: &Domain) -> NoRoute {
    NoRoute::Reject(Problem::new(
        "5.4.6",
        format!(
            "the DNS says that mail for {domain} goes to this box, but this box does not take \
             mail for {domain}"
        ),
    ))
}

fn order(
    domain: &Domain,
    mut all: Vec<Mx>,
    own: &Domain,
    mut random: impl FnMut() -> u32,
) -> Result<Vec<Domain>, NoRoute> {
    if all.iter().all(|mx| mx.host.is_none()) {
        return Err(NoRoute::Reject(Problem::new(
            "5.1.10",
            format!("the domain {domain} takes no mail at all (it says so in the DNS)"),
        )));
    }
    // We are one of them: only better ones may be tried, or mail would go in a circle (§5.1).
    let us = all.iter().filter(|mx| mx.host.as_ref() == Some(own)).map(|mx| mx.preference).min();
    if let Some(us) = us {
        all.retain(|mx| mx.preference < us);
    }
    if all.is_empty() {
        return Err(loops(domain));
    }
    all.sort_by_cached_key(|mx| (mx.preference, random()));
    Ok(all.into_iter().filter_map(|mx| mx.host).take(MAX_HOSTS).collect())
}

/// The addresses of this machine.
fn interfaces() -> Vec<IpAddr> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    all.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    })
    .collect()
}

impl NoRoute {
    /// The problem, and whether it is final.
    pub(super) fn into_problem(self) -> (Problem, bool) {
        match self {
            Self::Defer(problem) => (problem, false),
            Self::Reject(problem) => (problem, true),
        }
    }
}

/// More hosts than this are not tried in one attempt.
const MAX_HOSTS: usize = 5;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;

    fn mx(preference: u16, host: &str) -> Mx {
        Mx { preference, host: host.parse().ok() }
    }

    fn ordered(all: Vec<Mx>, seed: u32) -> Result<Vec<String>, NoRoute> {
        let mut next = seed;
        let random = move || {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            next
        };
        let domain = "example.net".parse().unwrap();
        let hosts = order(&domain, all, &"box.example.org".parse().unwrap(), random)?;
        Ok(hosts.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn preference_decides_and_chance_among_equals() {
        let all = || vec![mx(20, "c.net"), mx(10, "a.net"), mx(10, "b.net")];
        let orders: Vec<_> = (0..50).map(|seed| ordered(all(), seed).unwrap()).collect();
        assert!(orders.iter().all(|order| order[2] == "c.net"));
        assert!(orders.iter().any(|order| order[0] == "a.net"));
        assert!(orders.iter().any(|order| order[0] == "b.net"));
    }

    #[test]
    fn mail_never_comes_back_to_this_box() {
        let all =
            vec![mx(10, "a.net"), mx(20, "box.example.org"), mx(20, "b.net"), mx(30, "c.net")];
        assert_eq!(ordered(all, 1).unwrap(), ["a.net"]);
        let (problem, last) =
            ordered(vec![mx(5, "box.example.org")], 1).unwrap_err().into_problem();
        assert_eq!((problem.status.as_str(), last), ("5.4.6", true));

        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(is_own(at("127.0.0.1:25"), &[at("0.0.0.0:25")]));
        assert!(is_own(at("127.0.0.1:25"), &[at("[::]:25")]));
        assert!(is_own(at("192.0.2.1:25"), &[at("192.0.2.1:25")]));
        assert!(!is_own(at("127.0.0.1:25"), &[at("0.0.0.0:2525")]));
        assert!(!is_own(at("192.0.2.1:25"), &[at("0.0.0.0:25")]));
    }

    #[test]
    fn a_domain_that_takes_no_mail_is_final() {
        let null = vec![Mx { preference: 0, host: None }];
        let (problem, last) = ordered(null, 1).unwrap_err().into_problem();
        assert_eq!((problem.status.as_str(), last), ("5.1.10", true));
    }
}
