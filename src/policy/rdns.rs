//! What the DNS says of the machine at the other end: the names of its address, whether they lead
//! back to it (RFC 8601 §2.7.3), whether they look like a line a provider hands to anybody, and
//! whether the name it gave in HELO is its own.

use std::net::IpAddr;

use crate::dns::{Absence, Answer, Resolver};
use crate::mail::Domain;

/// What is known of a peer's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reverse {
    /// A name of it leads back to it.
    Confirmed(Domain),
    /// It has a name, which leads elsewhere or nowhere.
    Unconfirmed(Domain),
    /// It has none.
    NoName,
    /// The DNS could not tell; why, in words.
    CouldNotTell(String),
}

/// What is known of the name given in HELO or EHLO (RFC 5321 §4.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Helo {
    /// It leads to the peer.
    Confirmed(Domain),
    /// It is an address, and the peer's own.
    Literal,
    /// It exists, and leads elsewhere. Large senders do so too.
    Elsewhere(Domain),
    /// There is no such name, or no address for it.
    Unknown(Domain),
    /// It is no name of a host in the DNS, or another's address.
    Malformed,
    /// The DNS could not tell; why, in words.
    CouldNotTell(String),
}

impl Reverse {
    /// Looks the names of an address up, and some of them again the other way.
    pub async fn look_up(resolver: &Resolver, ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let names = match resolver.ptr(ip).await {
            Answer::Yes(names) => names,
            Answer::No(_) => return Self::NoName,
            Answer::CouldNotTell(why) => return Self::CouldNotTell(why),
        };
        let mut unknown = None;
        for name in names.iter().take(MAX_NAMES) {
            match resolver.addresses(name).await {
                Answer::Yes(addresses) if holds(&addresses, ip) => {
                    return Self::Confirmed(name.clone());
                }
                Answer::Yes(_) | Answer::No(_) => {}
                Answer::CouldNotTell(why) => unknown = Some(why),
            }
        }
        match (unknown, names.into_iter().next()) {
            (Some(why), _) => Self::CouldNotTell(why),
            (None, Some(name)) => Self::Unconfirmed(name),
            (None, None) => Self::NoName,
        }
    }

    /// The name, whether or not it leads back.
    pub fn name(&self) -> Option<&Domain> {
        match self {
            Self::Confirmed(name) | Self::Unconfirmed(name) => Some(name),
            Self::NoName | Self::CouldNotTell(_) => None,
        }
    }
}

impl Helo {
    /// Looks the name up.
    pub async fn look_up(resolver: &Resolver, helo: &str, ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        if let Some(inner) = helo.strip_prefix('[') {
            return if literal(inner) == Some(ip) { Self::Literal } else { Self::Malformed };
        }
        let Some(name) = host_name(helo) else { return Self::Malformed };
        match resolver.addresses(&name).await {
            Answer::Yes(addresses) if holds(&addresses, ip) => Self::Confirmed(name),
            Answer::Yes(_) => Self::Elsewhere(name),
            Answer::No(Absence::NoName | Absence::NoRecord) => Self::Unknown(name),
            Answer::CouldNotTell(why) => Self::CouldNotTell(why),
        }
    }
}

/// Why a name looks like one that a provider gives to any line, rather than one that somebody
/// chose for a mail server; nothing when it does not. In words.
pub fn generic(name: &Domain, ip: IpAddr) -> Option<String> {
    let labels: Vec<&str> = name.as_str().split('.').collect();
    // What was registered was chosen: only what stands before it is judged.
    let (host, _) = labels.split_at(labels.len().saturating_sub(2));
    let host = host.join(".");
    let words: Vec<&str> =
        host.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()).collect();
    if let Some(word) = words.iter().find(|word| LINE_WORDS.contains(word)) {
        return Some(format!("the name {name} says \"{word}\""));
    }
    let holds_address = match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let octets = v4.octets();
            let [a, b, c, d] = octets;
            let numbers: Vec<u32> = host
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect();
            let row = |wanted: &[u8]| {
                let wanted: Vec<u32> = wanted.iter().map(|octet| u32::from(*octet)).collect();
                numbers.windows(wanted.len()).any(|window| window == wanted)
            };
            row(&[a, b, c, d])
                || row(&[d, c, b, a])
                || row(&[b, c, d])
                || row(&[d, c, b])
                || host.contains(&format!("{a:02x}{b:02x}{c:02x}{d:02x}"))
                || host.contains(&format!("{a:03}{b:03}{c:03}{d:03}"))
                || host.contains(&format!("{d:03}{c:03}{b:03}{a:03}"))
        }
        IpAddr::V6(v6) => {
            let hex = format!("{:032x}", u128::from(v6));
            let digits: String = host.chars().filter(char::is_ascii_hexdigit).collect();
            // The half that names one of many lines, or all of it.
            hex.get(16..).is_some_and(|lower| {
                lower.trim_start_matches('0').len() >= 8 && digits.contains(lower)
            }) || digits.contains(&hex)
        }
    };
    holds_address.then(|| format!("the name {name} is made of the address"))
}

/// A name of the DNS with at least one dot (RFC 5321 §2.3.5), and not an address in disguise.
pub(super) fn host_name(text: &str) -> Option<Domain> {
    let name: Domain = text.parse().ok()?;
    let last = name.as_str().rsplit_once('.')?.1;
    (!last.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// An address literal after its bracket (RFC 5321 §4.1.3).
fn literal(inner: &str) -> Option<IpAddr> {
    let text = inner.strip_suffix(']')?;
    match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            text.get(5..)?.parse().ok().map(IpAddr::V6)
        }
        _ => text.parse().ok().map(IpAddr::V4),
    }
    .map(|ip| ip.to_canonical())
}

fn holds(addresses: &[IpAddr], ip: IpAddr) -> bool {
    addresses.iter().any(|address| address.to_canonical() == ip)
}

/// Names of one address that are looked at: RFC 8601 §2.7.3 leaves the limit to us.
const MAX_NAMES: usize = 5;
/// Words providers put into the names of lines.
const LINE_WORDS: &[&str] = &[
    "adsl",
    "broadband",
    "cable",
    "client",
    "cpe",
    "customer",
    "customers",
    "dhcp",
    "dial",
    "dialin",
    "dialup",
    "dip",
    "docsis",
    "dsl",
    "dyn",
    "dynamic",
    "dynamicip",
    "fiber",
    "fibre",
    "ftth",
    "gpon",
    "home",
    "hsi",
    "mobile",
    "nat",
    "pool",
    "pools",
    "ppp",
    "pppoe",
    "res",
    "residential",
    "retail",
    "umts",
    "user",
    "users",
    "vdsl",
    "wifi",
    "wimax",
    "wireless",
    "wlan",
    "xdsl",
];

#[cfg(all(test, feature = "demo"))]
mod tests;
