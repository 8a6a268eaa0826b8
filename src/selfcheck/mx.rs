//! `dns.mx`: does mail for our domains come here?

use super::found::list;
use super::{Area, Check, Found, Inputs, Running};
use crate::dns::{Answer, Mx as Exchanger, Resolver};
use crate::mail::Domain;

pub(super) struct Mx;

impl Check for Mx {
    fn id(&self) -> &'static str {
        "dns.mx"
    }

    fn area(&self) -> Area {
        Area::Dns
    }

    fn question(&self) -> &'static str {
        "Does mail for your domain come to this box?"
    }

    fn why(&self) -> &'static str {
        "The MX record tells other mail servers where to bring your mail. Without it, or with \
         another host in it, your mail goes elsewhere or back to its sender."
    }

    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a> {
        Box::pin(async move {
            let mut all = Vec::new();
            for domain in &inputs.site.domains {
                all.push(one(&inputs.resolver, domain, &inputs.site.hostname).await);
            }
            Found::worst(all)
        })
    }
}

async fn one(resolver: &Resolver, domain: &Domain, hostname: &Domain) -> Found {
    let record = format!("{domain}. 3600 IN MX 10 {hostname}.");
    let publish = format!("Publish this record: {record}");
    let exchangers = match resolver.mx(domain).await {
        Answer::Yes(found) => found,
        Answer::No(_) => return without_mx(resolver, domain, hostname, publish).await,
        Answer::CouldNotTell(why) => return Found::unknown(why),
    };
    let seen = format!("MX of {domain}: {}", list(exchangers.iter().map(shown)));
    let Some(first) = exchangers.first() else {
        return Found::broken(format!("{domain} has no MX record"), publish);
    };
    if first.host.is_none() {
        return Found::broken(
            format!("{domain} says that it takes no mail at all (a null MX record)"),
            format!("Remove the record \"{domain}. MX 0 .\", then: {publish}"),
        )
        .saw(seen);
    }
    let mut ours = None;
    let mut others = Vec::new();
    for exchanger in &exchangers {
        let Some(host) = &exchanger.host else { continue };
        match is_here(resolver, host, hostname).await {
            Here::Yes => ours = ours.or(Some(exchanger)),
            other => others.push((exchanger, host, other)),
        }
    }
    let Some(ours) = ours else {
        return foreign(domain, hostname, &others, &publish).saw(seen);
    };
    if ours.host.as_ref().is_some_and(|host| host == hostname)
        && let Answer::No(_) = resolver.addresses(hostname).await
    {
        return Found::broken(
            format!("the MX record of {domain} names {hostname}, which has no address"),
            format!("Publish an address: {hostname}. 3600 IN A {}", super::records::PUBLIC_ADDRESS),
        )
        .saw(seen);
    }
    let before = others.iter().filter(|(other, ..)| other.preference <= ours.preference);
    let (unclear, before): (Vec<_>, Vec<_>) =
        before.partition(|(.., here)| matches!(here, Here::CouldNotTell(_)));
    let before: Vec<_> = before.into_iter().map(|(_, host, _)| *host).collect();
    if !before.is_empty() {
        return Found::attention(
            format!("mail for {domain} goes to {} first, or as often as here", list(&before)),
            format!(
                "Remove the MX record of a former provider. If it is a host of yours that passes \
                 mail on, give it a higher number than this box: {record}"
            ),
        )
        .saw(seen);
    }
    if let Some((.., Here::CouldNotTell(why))) = unclear.first() {
        return Found::unknown(why.clone()).saw(seen);
    }
    let gone = others.iter().filter(|(_, _, here)| matches!(here, Here::Nowhere));
    let gone: Vec<_> = gone.map(|(_, host, _)| *host).collect();
    if !gone.is_empty() {
        return Found::attention(
            format!("{} is named for mail to {domain} and has no address", list(&gone)),
            format!("Remove the MX record of {domain} for {}.", list(&gone)),
        )
        .saw(seen);
    }
    Found::ok().saw(seen)
}

/// None of the exchangers is this box, as far as could be told.
fn foreign(
    domain: &Domain,
    hostname: &Domain,
    others: &[(&Exchanger, &Domain, Here)],
    publish: &str,
) -> Found {
    let unclear = others.iter().find_map(|(.., here)| match here {
        Here::CouldNotTell(why) => Some(why),
        _ => None,
    });
    match unclear {
        Some(why) => Found::unknown(why.clone()),
        None => Found::broken(
            format!("mail for {domain} goes to another host, not to {hostname}"),
            format!("{publish}\nThen remove the other MX records of {domain}."),
        ),
    }
}

/// RFC 5321 §5.1: without MX records mail goes to the domain's own address.
async fn without_mx(
    resolver: &Resolver,
    domain: &Domain,
    hostname: &Domain,
    publish: String,
) -> Found {
    let seen = format!("{domain} has no MX record");
    match is_here(resolver, domain, hostname).await {
        Here::Yes => Found::attention(
            format!("{domain} has no MX record; mail finds this box by the domain's own address"),
            publish,
        ),
        Here::No | Here::Nowhere => {
            Found::broken(format!("no record says that mail for {domain} comes here"), publish)
        }
        Here::CouldNotTell(why) => Found::unknown(why),
    }
    .saw(seen)
}

/// Whether a host is this box.
enum Here {
    Yes,
    No,
    Nowhere,
    CouldNotTell(String),
}

/// By name, or under another name with the same addresses.
async fn is_here(resolver: &Resolver, host: &Domain, hostname: &Domain) -> Here {
    if host == hostname {
        return Here::Yes;
    }
    let theirs = match resolver.addresses(host).await {
        Answer::Yes(addresses) => addresses,
        Answer::No(_) => return Here::Nowhere,
        Answer::CouldNotTell(why) => return Here::CouldNotTell(why),
    };
    match resolver.addresses(hostname).await {
        Answer::Yes(ours) if theirs.iter().any(|one| ours.contains(one)) => Here::Yes,
        Answer::Yes(_) | Answer::No(_) => Here::No,
        Answer::CouldNotTell(why) => Here::CouldNotTell(why),
    }
}

fn shown(exchanger: &Exchanger) -> String {
    let host = exchanger.host.as_ref().map_or(".", Domain::as_str);
    format!("{} {host}", exchanger.preference)
}
