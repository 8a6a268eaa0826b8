//! Handing a group to a host: the hosts of its domain one after the other, each at all its
//! addresses, under the protection that was found to be demanded; or the relay.

use std::io::{self, Cursor, Read};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::advice;
use super::attempt::Outgoing;
use super::note::{Heard, Outcome};
use super::providers::{Provider, Warmth};
use super::route::{self, NoRoute};
use super::states::{Origin, Problem};
use super::tally::{Basis, Fact};
use super::{Inner, random};
use crate::config::{Relay, RelayTls};
use crate::dns::Answer;
use crate::mail::{self, Domain};
use crate::smtp::client::{Fault, Mail, Security, Target, Trouble, Verdict};

/// What was heard while a host was looked for.
struct Search<'a> {
    outgoing: &'a Outgoing,
    to: &'a [mail::Recipient],
    problem: Option<Problem>,
    /// Every host so far is without a way for good.
    last: bool,
    /// Connections left in this attempt.
    room: usize,
    facts: Vec<Fact>,
}

impl Inner {
    /// Hands a group to the hosts of its domain.
    pub(super) async fn try_domain(
        &self,
        outgoing: &Outgoing,
        domain: &Domain,
        to: &[mail::Recipient],
    ) -> Outcome {
        let mx = self.resolver.proved_mx(domain, self.timely()).await;
        let hosts = match route::hosts(mx.answer, domain, &self.hostname, random) {
            Ok(hosts) => hosts,
            Err(none) => return without_way(to, none),
        };
        let provider = hosts.first().and_then(Provider::of);
        let ours = outgoing.origin == Origin::Own;
        let turn = provider.map(|provider| self.reserve(provider, ours, to.len() as u64));
        let room = turn.as_ref().map_or(to.len(), |turn| turn.room);
        let (now, later) = to.split_at_checked(room).unwrap_or((to, &[]));
        let kept_back = turn.as_ref().map(Turn::problem).filter(|_| !later.is_empty());
        let kept_back = kept_back.map(|problem| Heard::all(later, &problem, false));
        let mut outcome = if now.is_empty() {
            Outcome::default()
        } else {
            let demands = self.demands(domain, mx.secure, outgoing.wish).await;
            let mut search = Search::new(outgoing, now);
            search.facts.extend(demands.fact());
            let heard = self.search(&mut search, domain, &hosts, &demands).await;
            if ours {
                // Else reports about the sending of reports would go to and fro for ever.
                search.facts.clear();
            }
            Outcome { heard, tls: search.facts, provider }
        };
        outcome.heard.extend(kept_back.into_iter().flatten());
        outcome
    }

    async fn search(
        &self,
        search: &mut Search<'_>,
        domain: &Domain,
        hosts: &[Domain],
        demands: &super::security::Demands,
    ) -> Vec<Heard> {
        for host in hosts {
            let addresses = self.resolver.proved_addresses(host, self.timely()).await;
            let demand = match self.demand(demands, host, &addresses).await {
                Ok(demand) => demand,
                Err(none) => {
                    search.without_way(none);
                    continue;
                }
            };
            let addresses = match route::usable(addresses.answer, host) {
                Ok(addresses) => self.in_order(addresses).await,
                Err(none) => {
                    search.without_way(none);
                    continue;
                }
            };
            let target = |address| Target {
                address: SocketAddr::new(address, self.outbound.mx_port),
                name: host.clone(),
                security: demand.security.clone(),
                login: None,
            };
            let targets = addresses.into_iter().map(target).collect();
            if let Some(heard) = self.try_targets(search, domain, &demand.basis, targets).await {
                return heard;
            }
        }
        // Nothing heard, and nothing tried: every address is our own.
        let own = || route::loops(domain).into_problem().0;
        Heard::all(search.to, &search.problem.take().unwrap_or_else(own), search.last)
    }

    /// Hands a group to a relay. A wrong setting is for the owner to mend: mail waits for that.
    pub(super) async fn try_relay(
        &self,
        outgoing: &Outgoing,
        relay: &Relay,
        to: &[mail::Recipient],
    ) -> Outcome {
        let mut search = Search::new(outgoing, to);
        let addresses = match route::addresses(&self.resolver, &relay.host).await {
            Ok(addresses) => addresses,
            Err(none) => {
                let heard = Heard::all(to, &none.into_problem().0, false);
                return Outcome { heard, ..Outcome::default() };
            }
        };
        let target = |address| Target {
            address: SocketAddr::new(address, relay.port),
            name: relay.host.clone(),
            security: match relay.tls {
                RelayTls::Implicit => Security::Implicit,
                RelayTls::StartTls => Security::StartTls,
                RelayTls::None => Security::None,
            },
            login: relay.login.clone(),
        };
        let targets = addresses.into_iter().map(target).collect();
        let heard = self.try_targets(&mut search, &relay.host, &Basis::None, targets).await;
        let own = || route::loops(&relay.host).into_problem().0;
        let heard = heard
            .unwrap_or_else(|| Heard::all(to, &search.problem.take().unwrap_or_else(own), false));
        Outcome { heard, ..Outcome::default() }
    }

    /// Tries the addresses of a host until one holds a conversation to its end.
    async fn try_targets(
        &self,
        search: &mut Search<'_>,
        domain: &Domain,
        basis: &Basis,
        targets: Vec<Target>,
    ) -> Option<Vec<Heard>> {
        let others = targets.into_iter().filter(|one| !route::is_own(one.address, &self.listens));
        for target in others {
            search.room = search.room.checked_sub(1)?;
            let (host, address) = (&target.name, target.address);
            let fault = match self.try_host(search.outgoing, &target, search.to).await {
                Ok((heard, tls)) => {
                    search.facts.push(Fact::held(domain, basis, host, tls));
                    return Some(heard);
                }
                Err(fault) => fault,
            };
            tracing::info!(id = search.outgoing.id.0, %host, %address, %fault, "not sent");
            search.facts.extend(Fact::missed(domain, basis, host, &fault));
            search.last &= matches!(fault, Fault::NoRequireTls);
            // A host that says what it has against us tells more than one that is silent.
            if !search.problem.as_ref().is_some_and(advice::is_about_place) {
                search.problem = Some(faulty(host, basis, &fault));
            }
        }
        None
    }

    async fn try_host(
        &self,
        outgoing: &Outgoing,
        target: &Target,
        to: &[mail::Recipient],
    ) -> Result<(Vec<Heard>, crate::smtp::client::Encryption), Fault> {
        let mail = Mail {
            from: outgoing.from.clone(),
            to: to.to_vec(),
            size: outgoing.content.size() + outgoing.head.len() as u64,
            asked: outgoing.asked.clone(),
        };
        let store = self.store.clone();
        let (above, content) = (outgoing.head.clone(), outgoing.content.clone());
        let open = move || {
            let stored = store.read(&content).map_err(io::Error::other)?;
            Ok(Cursor::new(above.clone()).chain(stored))
        };
        let report = self.client.send(target, &mail, open).await?;
        let tells = report.tells;
        let heard = to.iter().zip(report.verdicts).map(|(to, verdict)| match verdict {
            Verdict::Deliver(words) => {
                let (to, host) = (&to.address, &target.name);
                tracing::info!(id = outgoing.id.0, %to, %host, reply = %words, "delivered");
                Heard::Delivered { words: format!("{words} ({host})"), tells }
            }
            Verdict::Defer(trouble) => heard_from(target, trouble, false),
            Verdict::Reject(trouble) => heard_from(target, trouble, true),
        });
        Ok((heard.collect(), report.tls))
    }

    /// IPv4 first, unless IPv6 shows a name: receivers distrust nameless addresses, and those of
    /// IPv6 most of all.
    async fn in_order(&self, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let six = addresses.iter().find(|address| address.is_ipv6());
        let first = match six {
            Some(six) => self.six_is_named(*six).await,
            None => false,
        };
        addresses.sort_by_key(|address| address.is_ipv6() != first);
        addresses
    }

    /// Whether the address this box uses towards IPv6 has the box's name, there and back.
    async fn six_is_named(&self, towards: IpAddr) -> bool {
        let known = *self.six.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, named)) = known.filter(|(since, _)| since.elapsed() < NAMED_FOR) {
            return named;
        }
        let named = match source(towards) {
            Some(own) => self.is_named(own).await,
            None => false,
        };
        *self.six.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), named));
        named
    }

    pub(super) async fn is_named(&self, own: IpAddr) -> bool {
        let names = self.resolver.ptr(own).await;
        let back = self.resolver.addresses(&self.hostname).await;
        matches!(names, Answer::Yes(names) if names.contains(&self.hostname))
            && matches!(back, Answer::Yes(back) if back.contains(&own))
    }

    /// Takes places among those a large provider gets today; `ours` is what this box writes itself.
    fn reserve(&self, provider: &'static Provider, ours: bool, wanted: u64) -> Turn<'_> {
        let stored = self.store.setting(&provider.key()).ok().flatten();
        let day = self.clock.now().as_second().div_euclid(86_400);
        let warmth = Warmth::read(provider, stored.as_deref()).on(provider, day);
        let mut under_way = self.marks.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = under_way.entry(provider.name).or_default();
        // Days are counted by a clock that can be believed.
        let room = if self.timely() { warmth.room(*taken, ours) } else { None };
        let room = room.unwrap_or(wanted).min(wanted);
        *taken += room;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        Turn { inner: self, provider, limit: warmth.limit(), room }
    }
}

impl<'a> Search<'a> {
    fn new(outgoing: &'a Outgoing, to: &'a [mail::Recipient]) -> Self {
        let facts = Vec::new();
        Self { outgoing, to, problem: None, last: true, room: MAX_CONNECTIONS, facts }
    }

    fn without_way(&mut self, none: NoRoute) {
        let (problem, last) = none.into_problem();
        self.problem = Some(problem);
        self.last &= last;
    }
}

/// Places among what a large provider gets today, until its host has answered.
struct Turn<'a> {
    inner: &'a Inner,
    provider: &'static Provider,
    limit: u64,
    room: usize,
}

impl Turn<'_> {
    fn problem(&self) -> Problem {
        Problem::kept_back(format!(
            "{} does not know this box yet, which sends it no more than {} messages a day at \
             first; this one waits for its turn",
            self.provider.name, self.limit
        ))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let marks = &self.inner.marks;
        let mut under_way = marks.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = under_way.get_mut(self.provider.name) {
            *taken = taken.saturating_sub(self.room as u64);
        }
    }
}

fn without_way(to: &[mail::Recipient], none: NoRoute) -> Outcome {
    let (problem, last) = none.into_problem();
    Outcome { heard: Heard::all(to, &problem, last), ..Outcome::default() }
}

fn heard_from(target: &Target, trouble: Trouble, last: bool) -> Heard {
    Heard::Problem { problem: Problem::heard(target.name.as_str(), trouble), last }
}

fn faulty(host: &Domain, basis: &Basis, fault: &Fault) -> Problem {
    let status = match fault {
        Fault::Connect(_) | Fault::Timeout => "4.4.1",
        Fault::Broken(_) | Fault::Closed => "4.4.2",
        Fault::Tls(_) | Fault::NoTls => "4.7.5",
        Fault::Injection | Fault::Login(_) => "4.7.0",
        Fault::NoRequireTls => "5.7.30",
        Fault::Message(_) => "4.3.0",
        _ => "4.5.0",
    };
    let reply = match fault {
        Fault::Refused(reply) => Some(reply.to_string()),
        _ => None,
    };
    let demanded = match basis {
        Basis::None => "",
        Basis::Sts(_) => "its domain demands TLS with a right certificate (MTA-STS): ",
        Basis::Dane => "its domain demands TLS with the certificate in the DNS (DANE): ",
    };
    let what = match fault {
        Fault::Refused(_) => "the host refused the conversation".to_owned(),
        Fault::Tls(_) | Fault::NoTls => format!("{demanded}{fault}"),
        other => other.to_string(),
    };
    let problem = Problem::new(status, what);
    Problem { host: Some(host.to_string()), reply, ..problem }
}

/// The address this machine would use; nothing is sent to find out.
fn source(towards: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind("[::]:0").ok()?;
    socket.connect(SocketAddr::new(towards, 25)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Connections tried for one group in one attempt.
const MAX_CONNECTIONS: usize = 8;
const NAMED_FOR: Duration = Duration::from_hours(1);
