//! The records an owner has to publish, as the checks want to find them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Scope;
use crate::config::{MtaSts, OutboundMode, Site, policy_host};
use crate::mail::Domain;
use crate::policy::dkim::rotation::{KeyRecord, Role};

/// Stands in a record whose value only the owner can know.
pub const PUBLIC_ADDRESS: &str = "<the public address of this box>";

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name, without a dot at the end.
    pub name: String,
    /// `MX`, `A`, `AAAA`, `CNAME` or `TXT`.
    pub kind: String,
    /// What a zone file has for it; a TXT record without quotes. [`PUBLIC_ADDRESS`] when the owner
    /// has to fill it in.
    pub value: String,
    /// What it is good for.
    pub why: String,
}

impl Record {
    /// Whether the value is to be filled in by the owner; such a record has no place in a zone.
    pub fn is_open(&self) -> bool {
        self.value == PUBLIC_ADDRESS
    }

    /// The record as a line of a zone file (RFC 1035 §5.1), without line end.
    pub fn zone_line(&self) -> String {
        let value = if self.kind == "TXT" { strings(&self.value) } else { self.value.clone() };
        format!("{}. {TTL} IN {} {value}", self.name, self.kind)
    }
}

/// Seconds a record may be remembered: short while an owner still tries things out.
const TTL: u32 = 3600;

/// A TXT value as strings of at most 255 octets (RFC 1035 §3.3.14).
fn strings(text: &str) -> String {
    let mut strings = vec![String::new()];
    for c in text.chars() {
        let escaped = matches!(c, '"' | '\\');
        if strings.last().is_some_and(|last| last.len() + c.len_utf8() + usize::from(escaped) > 255)
        {
            strings.push(String::new());
        }
        if let Some(last) = strings.last_mut() {
            if escaped {
                last.push('\\');
            }
            last.push(c);
        }
    }
    strings.iter().map(|string| format!("\"{string}\"")).collect::<Vec<_>>().join(" ")
}

/// All records for a box: its name's, then each domain's.
pub fn records(
    site: &Site,
    outbound: &OutboundMode,
    sts: MtaSts,
    dkim: &[KeyRecord],
    addresses: &[IpAddr],
) -> Vec<Record> {
    let mut records = Vec::new();
    let mut add = |name: &str, kind: &str, value: String, why: &str| {
        records.push(Record {
            name: name.to_owned(),
            kind: kind.to_owned(),
            value,
            why: why.to_owned(),
        });
    };
    let hostname = site.hostname.as_str();
    let public: Vec<_> = addresses.iter().filter(|one| Scope::of(**one) == Scope::Public).collect();
    for address in &public {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        add(hostname, kind, address.to_string(), "Where the box is on the internet.");
    }
    // A home has IPv4 behind a router, whatever IPv6 the box can see of itself.
    if !public.iter().any(|address| address.is_ipv4()) {
        add(
            hostname,
            "A",
            PUBLIC_ADDRESS.to_owned(),
            "Where the box is on the internet. The box cannot see this address itself: it is your \
             router's, and the router's page shows it.",
        );
    }
    if !site.domains.contains(&site.hostname) {
        add(
            hostname,
            "TXT",
            "v=spf1 a -all".to_owned(),
            "Lets the box send notices in its own name.",
        );
    }
    for domain in &site.domains {
        let name = domain.as_str();
        add(name, "MX", format!("10 {hostname}."), "Brings mail for the domain to this box.");
        add(name, "TXT", spf(outbound), spf_reason(outbound));
        let below = format!("._domainkey.{domain}");
        for key in dkim.iter().filter(|key| key.name.as_str().ends_with(&below)) {
            let why = match key.role {
                Role::Present(_) => "Lets others check the signatures of your mail.",
                Role::Next => {
                    "The next key: the box signs with it once it sees this record. Keep those of \
                     the present one."
                }
                Role::Former(_) => {
                    "A former key: mail signed with it is still on its way. `pillarbox dns keys` \
                     says when you may remove it."
                }
            };
            add(key.name.as_str(), "TXT", key.value.clone(), why);
        }
        add(
            &format!("_dmarc.{domain}"),
            "TXT",
            dmarc(domain),
            "Tells others to put forged mail in your name aside, and to report to you.",
        );
        add(
            &format!("_smtp._tls.{domain}"),
            "TXT",
            format!("v=TLSRPTv1; rua=mailto:postmaster@{domain}"),
            "Asks others to report to you when they cannot reach this box safely.",
        );
        if let (Some(policy), Some(host)) = (sts.policy(site), policy_host(domain)) {
            add(
                host.as_str(),
                "CNAME",
                format!("{hostname}."),
                "Where others find your rules for safe delivery (MTA-STS). Of use once this box \
                 has a certificate that others trust; until then nobody is bothered by it.",
            );
            add(
                &format!("_mta-sts.{domain}"),
                "TXT",
                format!("v=STSv1; id={}", policy.id),
                "Says that there are such rules. Its id changes when they do: compare it after a \
                 change of the box's name or settings.",
            );
        }
    }
    records
}

/// Who may send for a domain. A relay's own list is better than its one name; `~all` leaves room
/// for what the owner has not found out yet.
pub(super) fn spf(outbound: &OutboundMode) -> String {
    match outbound {
        OutboundMode::Relay(relay) => format!("v=spf1 mx a:{} ~all", relay.host),
        OutboundMode::Direct | OutboundMode::Hold => "v=spf1 mx -all".to_owned(),
    }
}

fn spf_reason(outbound: &OutboundMode) -> &'static str {
    match outbound {
        OutboundMode::Relay(_) => {
            "Says that this box and your relay send the domain's mail. Ask the relay's operator \
             for its \"include\", and put it in the place of the a: part."
        }
        OutboundMode::Direct | OutboundMode::Hold => {
            "Says that this box, and no other, sends the domain's mail."
        }
    }
}

/// What others shall do with forged mail.
pub(super) fn dmarc(domain: &Domain) -> String {
    format!("v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}")
}
