//! How much protection a domain's mail gets on the direct way: what DANE records prove (RFC 7672),
//! else what an MTA-STS policy demands (RFC 8461), else TLS when it works. DANE comes first where
//! both are there.

use std::net::IpAddr;

use super::Inner;
use super::route::NoRoute;
use super::states::Problem;
use super::sts::{Known, Mode};
use super::tally::{Basis, Fact};
use crate::clock::ClockTrust;
use crate::dns::{Answer, Proved};
use crate::mail::Domain;
use crate::smtp::client::Security;

/// What is demanded of a domain's hosts.
#[derive(Debug)]
pub(super) struct Demands {
    domain: Domain,
    /// The MX records are proved, so that DANE may be asked for.
    proved: bool,
    policy: Known,
    /// Asked for by the sender (RFC 8689).
    require_tls: bool,
}

/// What the sender asks for the way (RFC 8689).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing.
    None,
    /// REQUIRETLS: TLS all the way, or not at all.
    Tls,
    /// `TLS-Required: No`: it shall arrive, whatever its recipient's domain demands.
    Arrival,
}

/// What is demanded of one host.
#[derive(Debug)]
pub(super) struct Demand {
    pub(super) security: Security,
    pub(super) basis: Basis,
}

impl Inner {
    /// Finds out what the domain demands of all its hosts.
    pub(super) async fn demands(&self, domain: &Domain, proved: bool, wish: Wish) -> Demands {
        let (domain, require_tls) = (domain.clone(), wish == Wish::Tls);
        if wish == Wish::Arrival {
            return Demands { domain, proved: false, policy: Known::Nothing, require_tls };
        }
        let policy = self.policies.of(&domain, self.clock.now()).await;
        Demands { domain, proved, policy, require_tls }
    }

    /// Whether signatures with dates can be judged.
    pub(super) fn timely(&self) -> bool {
        self.clock.trust() != ClockTrust::Unknown
    }

    /// What is demanded of a host with these addresses.
    pub(super) async fn demand(
        &self,
        demands: &Demands,
        host: &Domain,
        addresses: &Proved<Vec<IpAddr>>,
    ) -> Result<Demand, NoRoute> {
        let dane =
            if demands.proved { self.dane(demands, host, addresses.secure).await? } else { None };
        if let Some(demand) = dane {
            return match demand.security {
                // Records nobody understands prove nothing.
                Security::Encrypted if demands.require_tls => Err(unprotected(&demands.domain)),
                _ => Ok(demand),
            };
        }
        match &demands.policy {
            Known::Policy(policy) if policy.mode == Mode::Enforce => {
                if !policy.names(host) {
                    return Err(NoRoute::Defer(Problem::new(
                        "4.7.5",
                        format!(
                            "{host} is a mail host of {} in the DNS, but not in the policy of \
                             that domain (MTA-STS): one of them may be forged",
                            demands.domain
                        ),
                    )));
                }
                Ok(Demand { security: Security::StartTls, basis: Basis::Sts(policy.clone()) })
            }
            Known::Policy(policy) => {
                let basis = Basis::Sts(policy.clone());
                if !demands.require_tls {
                    return Ok(Demand { security: Security::Opportunistic, basis });
                }
                let named = demands.proved || policy.names(host);
                let security = Security::StartTls;
                named.then_some(Demand { security, basis }).ok_or(unprotected(&demands.domain))
            }
            Known::Nothing | Known::Unreadable(_) if !demands.require_tls => {
                Ok(Demand { security: Security::Opportunistic, basis: Basis::None })
            }
            // RFC 8689 §4.2.1: the way to the host must be beyond doubt too.
            Known::Nothing | Known::Unreadable(_) if demands.proved => {
                Ok(Demand { security: Security::StartTls, basis: Basis::None })
            }
            Known::Nothing | Known::Unreadable(_) => Err(unprotected(&demands.domain)),
        }
    }

    async fn dane(
        &self,
        demands: &Demands,
        host: &Domain,
        found: bool,
    ) -> Result<Option<Demand>, NoRoute> {
        // RFC 7672 §2.1.2: what could not be told is no permission to go without.
        let untold = |why| NoRoute::Defer(Problem::new("4.7.5", why));
        let names = match self.resolver.tlsa_names(host, found, self.timely()).await {
            Answer::Yes(names) => names,
            Answer::No(_) => Vec::new(),
            Answer::CouldNotTell(why) => return Err(untold(why)),
        };
        for name in names {
            let found = self.resolver.tlsa(&name, self.outbound.mx_port, self.timely()).await;
            match found.answer {
                Answer::Yes(records) if found.secure => {
                    let names = vec![name, demands.domain.clone()];
                    let security = if records.iter().any(crate::dns::Tlsa::is_usable) {
                        Security::Dane { records, names }
                    } else {
                        Security::Encrypted
                    };
                    return Ok(Some(Demand { security, basis: Basis::Dane }));
                }
                Answer::Yes(_) | Answer::No(_) => {}
                Answer::CouldNotTell(why) => return Err(untold(why)),
            }
        }
        Ok(None)
    }
}

impl Demands {
    /// What reports shall say about the policy itself.
    pub(super) fn fact(&self) -> Option<Fact> {
        match self.policy {
            Known::Unreadable(why) => Some(Fact::unreadable(&self.domain, why)),
            _ => None,
        }
    }
}

fn unprotected(domain: &Domain) -> NoRoute {
    NoRoute::Reject(Problem::new(
        "5.7.10",
        format!(
            "the message must travel under TLS all the way (REQUIRETLS), and {domain} publishes \
             nothing that proves which hosts are its own"
        ),
    ))
}
