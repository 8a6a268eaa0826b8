//! `auth.spf`: do our domains say that this box may send for them?

use std::net::IpAddr;

use super::found::list;
use super::{Area, Check, Found, Inputs, Running, Scope, records};
use crate::config::{OutboundMode, Relay};
use crate::dns::Answer;
use crate::mail::Domain;
use crate::policy::spf::{self, Spf as Verdict};

pub(super) struct Spf;

impl Check for Spf {
    fn id(&self) -> &'static str {
        "auth.spf"
    }

    fn area(&self) -> Area {
        Area::Authentication
    }

    fn question(&self) -> &'static str {
        "Does your domain say that this box may send its mail (SPF)?"
    }

    fn why(&self) -> &'static str {
        "Others compare the sender's address with the domain's SPF record. Mail that does not \
         match is refused or taken for junk."
    }

    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a> {
        Box::pin(async move {
            let mut all = Vec::new();
            for domain in &inputs.site.domains {
                all.push(one(inputs, domain).await);
            }
            Found::worst(all)
        })
    }
}

async fn one(inputs: &Inputs, domain: &Domain) -> Found {
    let wanted = records::spf(&inputs.outbound);
    let publish = format!("Publish this record: {domain}. 3600 IN TXT \"{wanted}\"");
    let txt = match inputs.resolver.txt(domain).await {
        Answer::Yes(txt) => txt,
        Answer::No(_) => Vec::new(),
        Answer::CouldNotTell(why) => return Found::unknown(why),
    };
    let record = match spf::records(&txt).as_slice() {
        [] => {
            return Found::broken(format!("{domain} has no SPF record"), publish)
                .saw(format!("no TXT record of {domain} begins with v=spf1"));
        }
        [one] => (*one).to_owned(),
        more => {
            return Found::broken(
                format!("{domain} has {} SPF records; others take that for none", more.len()),
                format!("Keep one of them, and remove the others. {publish}"),
            )
            .saw_all(more.iter().map(|record| format!("{domain}: {record}")));
        }
    };
    let judged = match &inputs.outbound {
        OutboundMode::Relay(relay) => through_relay(inputs, relay, domain, &record).await,
        OutboundMode::Direct | OutboundMode::Hold => from_here(inputs, domain, &record).await,
    };
    let judged = judged.saw(format!("{domain}: {record}"));
    if record.split_ascii_whitespace().any(|term| matches!(term, "+all" | "all")) {
        let open = Found::attention(
            format!("the SPF record of {domain} lets everybody send in its name"),
            format!("End the record with -all instead of +all. {publish}"),
        );
        return Found::worst([judged, open]);
    }
    judged
}

/// The addresses our mail can come from: those of our name, which behind a router is the router's,
/// and the public ones of this machine.
async fn from_here(inputs: &Inputs, domain: &Domain, record: &str) -> Found {
    let hostname = &inputs.site.hostname;
    let has_mx = record.split_ascii_whitespace().any(|term| matches!(term, "mx" | "+mx"));
    let term = if has_mx { format!("a:{hostname}") } else { "mx".to_owned() };
    let advice = with_term(domain, record, &term);
    let named = match inputs.resolver.addresses(hostname).await {
        Answer::Yes(addresses) => addresses,
        Answer::No(_) => Vec::new(),
        Answer::CouldNotTell(why) => return Found::unknown(why),
    };
    let mut all = Vec::new();
    for address in &named {
        all.push(judge(domain, *address, verdict(inputs, domain, *address).await, &advice));
    }
    if matches!(inputs.outbound, OutboundMode::Direct) {
        let public = |own: &&IpAddr| Scope::of(**own) == Scope::Public && !named.contains(own);
        for address in inputs.addresses.iter().filter(public) {
            let advice = with_term(domain, record, &network(*address));
            let verdict = verdict(inputs, domain, *address).await;
            // Mail may leave by it, or may not.
            all.push(judge(domain, *address, verdict, &advice).softened());
        }
    }
    if all.is_empty() {
        return Found::unknown(format!("{hostname} has no address that could be compared"));
    }
    Found::worst(all)
}

/// A relay sends from addresses only its operator knows; the record has to name them, mostly by
/// an include.
async fn through_relay(inputs: &Inputs, relay: &Relay, domain: &Domain, record: &str) -> Found {
    let addresses = match inputs.resolver.addresses(&relay.host).await {
        Answer::Yes(addresses) => addresses,
        Answer::No(_) => {
            return Found::broken(
                format!("the relay {} has no address", relay.host),
                "Compare the relay's name in the settings with what its operator says.",
            );
        }
        Answer::CouldNotTell(why) => return Found::unknown(why),
    };
    let advice = format!(
        "Ask the operator of {} for its SPF \"include\", and put it in the place of the a: part. {}",
        relay.host,
        with_term(domain, record, &format!("a:{}", relay.host))
    );
    for address in addresses {
        let verdict = verdict(inputs, domain, address).await;
        // The others say more about the record than about the relay, whose address for sending
        // need not be the one for receiving.
        if matches!(verdict, Verdict::Pass | Verdict::PermError(_) | Verdict::TempError(_)) {
            return judge(domain, address, verdict, &advice);
        }
    }
    let leaves_it_to: Vec<&str> = record
        .split_ascii_whitespace()
        .map(|term| term.trim_start_matches('+'))
        .filter(|term| term.starts_with("include:") || term.starts_with("redirect="))
        .collect();
    if leaves_it_to.is_empty() {
        let what = format!("{domain} does not name {}, which sends for it", relay.host);
        return Found::attention(what, advice);
    }
    Found::ok().saw(format!("{domain} trusts {} to name its relay", list(leaves_it_to)))
}

async fn verdict(inputs: &Inputs, domain: &Domain, address: IpAddr) -> Verdict {
    let sender = format!("postmaster@{domain}");
    spf::evaluate(&inputs.resolver, address, domain, &sender, inputs.site.hostname.as_str()).await
}

fn judge(domain: &Domain, address: IpAddr, verdict: Verdict, advice: &str) -> Found {
    let (word, found) = match verdict {
        Verdict::Pass => ("pass", Found::ok()),
        Verdict::Fail => {
            ("fail", Found::broken(format!("{domain} forbids {address} to send its mail"), advice))
        }
        Verdict::SoftFail => (
            "softfail",
            Found::attention(format!("{domain} doubts that {address} sends its mail"), advice),
        ),
        Verdict::Neutral => (
            "neutral",
            Found::attention(format!("{domain} does not say if {address} sends for it"), advice),
        ),
        Verdict::None => ("none", Found::broken(format!("{domain} has no SPF record"), advice)),
        Verdict::PermError(how) => (
            "permerror",
            Found::broken(
                format!("the SPF record of {domain} is wrong: {how}"),
                format!("Start afresh: {domain}. 3600 IN TXT \"v=spf1 mx -all\""),
            ),
        ),
        Verdict::TempError(why) => ("temperror", Found::unknown(why)),
    };
    found.saw(format!("{address} for {domain}: {word}"))
}

/// The record as it stands, with one more term in front, so that others it names keep their right.
fn with_term(domain: &Domain, record: &str, term: &str) -> String {
    let rest = record.split_once(' ').map_or("-all", |(_version, rest)| rest);
    format!("Change the record to: {domain}. 3600 IN TXT \"v=spf1 {term} {rest}\"")
}

/// The mechanism that covers an address: IPv6 hosts change theirs within the home's network.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("ip4:{v4}"),
        IpAddr::V6(v6) => {
            let network = u128::from(v6) >> 64 << 64;
            format!("ip6:{}/64", std::net::Ipv6Addr::from(network))
        }
    }
}
