//! `rdns`: does the box's address carry its name?

use std::net::IpAddr;

use super::found::list;
use super::{Area, Check, Found, Inputs, Outcome, Running, Scope};
use crate::config::OutboundMode;
use crate::dns::Answer;
use crate::mail::Domain;

pub(super) struct ReverseName;

impl Check for ReverseName {
    fn id(&self) -> &'static str {
        "rdns"
    }

    fn area(&self) -> Area {
        Area::ReverseDns
    }

    fn question(&self) -> &'static str {
        "Does the box's address carry the box's name?"
    }

    fn why(&self) -> &'static str {
        "Large mail providers refuse mail from an address without a name, or with a name that \
         does not lead back to it."
    }

    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a> {
        Box::pin(check(inputs))
    }
}

async fn check(inputs: &Inputs) -> Found {
    match &inputs.outbound {
        OutboundMode::Direct => {}
        OutboundMode::Relay(relay) => {
            return Found::not_applicable(format!(
                "mail leaves through {}, so the name of its address counts",
                relay.host
            ));
        }
        OutboundMode::Hold => return Found::not_applicable("no mail leaves this box for now"),
    }
    let hostname = &inputs.site.hostname;
    let addresses = match inputs.resolver.addresses(hostname).await {
        Answer::Yes(addresses) => addresses,
        Answer::No(_) => {
            return Found::unknown(format!("{hostname} has no address whose name could be asked"));
        }
        Answer::CouldNotTell(why) => return Found::unknown(why),
    };
    let mut all = Vec::new();
    for address in addresses {
        all.push(one(inputs, address, hostname).await);
    }
    // With two families, mail can still leave by the one that has its name.
    let one_is_well = all.iter().any(|found| found.outcome == Outcome::Ok);
    if one_is_well {
        all = all.into_iter().map(Found::softened).collect();
    }
    Found::worst(all)
}

async fn one(inputs: &Inputs, address: IpAddr, hostname: &Domain) -> Found {
    if Scope::of(address) == Scope::Host && inputs.addresses.contains(&address) {
        return Found::not_applicable("mail stays on this computer, whose address has no name");
    }
    let provider = format!(
        "Ask the provider of your internet address to name {address} \"{hostname}\" (a PTR \
         record; often a field called reverse DNS)."
    );
    let advice = format!("{provider} If it does not do that, send through a relay instead.");
    let public = Scope::of(address) == Scope::Public;
    let names = match inputs.resolver.ptr(address).await {
        Answer::Yes(names) => names,
        Answer::No(_) if !public => {
            return Found::unknown(format!(
                "{address} is not a public address, so the name others see is not known"
            ));
        }
        Answer::No(_) => {
            return Found::broken(format!("the address {address} has no name"), advice)
                .saw(format!("no PTR record of {address}"));
        }
        Answer::CouldNotTell(why) => return Found::unknown(why),
    };
    let seen = format!("{address} is named {}", list(&names));
    if names.contains(hostname) {
        return if carries(hostname, address) {
            Found::attention(
                format!("{hostname} looks like the name of a home connection, made from {address}"),
                format!("Take a name in your own domain for the box. {provider}"),
            )
        } else {
            Found::ok()
        }
        .saw(seen);
    }
    if !public {
        return Found::unknown(format!(
            "{address} is not a public address, so the name others see is not known"
        ))
        .saw(seen);
    }
    let mut leads_back = false;
    let mut reason = None;
    for name in &names {
        match inputs.resolver.addresses(name).await {
            Answer::Yes(addresses) => leads_back |= addresses.contains(&address),
            Answer::No(_) => {}
            Answer::CouldNotTell(why) => reason = Some(why),
        }
    }
    match (leads_back, reason) {
        (true, _) if names.iter().any(|name| looks_generic(name, address)) => Found::attention(
            format!("{address} has its provider's name for it: many refuse mail from such names"),
            advice,
        ),
        (true, _) => {
            Found::attention(format!("{address} is named {}, not {hostname}", list(&names)), advice)
        }
        (false, Some(why)) => Found::unknown(why),
        (false, None) => Found::broken(
            format!("{address} is named {}, which does not lead back to it", list(&names)),
            advice,
        ),
    }
    .saw(seen)
}

/// Whether a name says "some customer's line": the address in it, or a word for such lines.
fn looks_generic(name: &Domain, address: IpAddr) -> bool {
    let letters = |c: char| !c.is_ascii_alphabetic();
    carries(name, address) || name.as_str().split(letters).any(|word| LINE_WORDS.contains(&word))
}

/// Whether a name is made from the address: three of its numbers in a row, in either order.
fn carries(name: &Domain, address: IpAddr) -> bool {
    let IpAddr::V4(v4) = address.to_canonical() else { return false };
    let octets = v4.octets();
    let numbers: Vec<u8> = name
        .as_str()
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    let backwards: Vec<u8> = octets.iter().rev().copied().collect();
    let hex = format!("{:08x}", u32::from(v4));
    numbers.windows(3).any(|run| {
        [octets.as_slice(), &backwards].iter().any(|all| all.windows(3).any(|w| w == run))
    }) || name.as_str().contains(&hex)
}

const LINE_WORDS: &[&str] = &[
    "adsl",
    "broadband",
    "cable",
    "client",
    "cpe",
    "cust",
    "customer",
    "dhcp",
    "dial",
    "dialup",
    "dsl",
    "dyn",
    "dynamic",
    "fiber",
    "ftth",
    "pool",
    "ppp",
    "pppoe",
    "res",
    "vdsl",
];
