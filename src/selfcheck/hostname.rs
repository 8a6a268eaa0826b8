//! `dns.address`: does the box's name lead to an address others can use?

use std::net::IpAddr;

use super::found::list;
use super::records::PUBLIC_ADDRESS;
use super::{Area, Check, Found, Inputs, Running, Scope};
use crate::dns::Answer;

pub(super) struct Address;

impl Check for Address {
    fn id(&self) -> &'static str {
        "dns.address"
    }

    fn area(&self) -> Area {
        Area::Dns
    }

    fn question(&self) -> &'static str {
        "Does the box's name lead to an address that others can reach?"
    }

    fn why(&self) -> &'static str {
        "Other mail servers and your phone look up the box's name to find it. Behind a router that \
         is the router's public address, with ports passed on to the box."
    }

    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a> {
        Box::pin(check(inputs))
    }
}

async fn check(inputs: &Inputs) -> Found {
    let hostname = &inputs.site.hostname;
    let advice = advice(inputs);
    let found = match inputs.resolver.addresses(hostname).await {
        Answer::Yes(addresses) => addresses,
        Answer::No(_) => {
            return Found::broken(format!("{hostname} has no address"), advice)
                .saw(format!("no A and no AAAA record of {hostname}"));
        }
        Answer::CouldNotTell(why) => return Found::unknown(why),
    };
    let mut all = Vec::new();
    for address in &found {
        all.push(one(inputs, *address, &advice).await);
    }
    Found::worst(all).saw(format!("{hostname} has {}", list(&found)))
}

async fn one(inputs: &Inputs, address: IpAddr, advice: &str) -> Found {
    let hostname = &inputs.site.hostname;
    let own = inputs.addresses.contains(&address);
    match Scope::of(address) {
        // Loopback is never among a real box's addresses; the demo has it there.
        Scope::Host if own => Found::ok().saw(format!("{address} is this computer")),
        // The DNS asked here knows this very network: its own world, whole in itself.
        Scope::Private if own && is_named(inputs, address).await => {
            Found::ok().saw(format!("{address} is this box, in a network with a DNS of its own"))
        }
        Scope::Host | Scope::Link => Found::broken(
            format!("{hostname} leads to {address}, which nobody else can reach"),
            advice,
        ),
        Scope::Private => Found::attention(
            format!("{hostname} leads to {address}, an address inside a house or a provider"),
            format!(
                "{advice}\nIf your router answers so at home only, and the public record is \
                 right, nothing is wrong."
            ),
        ),
        Scope::Public if own => Found::ok().saw(format!("{address} is an address of this box")),
        Scope::Public => elsewhere(inputs, address, advice),
    }
}

/// A public address that no interface has: a router's, as a rule.
fn elsewhere(inputs: &Inputs, address: IpAddr, advice: &str) -> Found {
    let same_kind =
        |own: &&IpAddr| own.is_ipv4() == address.is_ipv4() && Scope::of(**own) == Scope::Public;
    let public: Vec<_> = inputs.addresses.iter().filter(same_kind).collect();
    if public.is_empty() {
        return Found::ok().saw(format!(
            "{address} is not an address of this box; behind a router that is as it should be"
        ));
    }
    Found::attention(
        format!("{} leads to {address}, but this box has {}", inputs.site.hostname, list(public)),
        advice,
    )
}

/// Whether the reverse DNS calls this address by our name.
async fn is_named(inputs: &Inputs, address: IpAddr) -> bool {
    match inputs.resolver.ptr(address).await {
        Answer::Yes(names) => names.contains(&inputs.site.hostname),
        Answer::No(_) | Answer::CouldNotTell(_) => false,
    }
}

fn advice(inputs: &Inputs) -> String {
    let hostname = &inputs.site.hostname;
    let public = inputs.addresses.iter().filter(|own| Scope::of(**own) == Scope::Public);
    let mut records: Vec<_> = public
        .map(|own| {
            let kind = if own.is_ipv4() { "A" } else { "AAAA" };
            format!("{hostname}. 3600 IN {kind} {own}")
        })
        .collect();
    if records.is_empty() {
        records.push(format!("{hostname}. 3600 IN A {PUBLIC_ADDRESS}"));
    }
    format!("Publish this record: {}", records.join("\n"))
}
