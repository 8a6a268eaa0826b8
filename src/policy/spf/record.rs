//! An SPF record (RFC 7208 §4.6.1 and §12): read whole before any of it is used, because one slip
//! anywhere makes all of it worthless.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::macros::MacroString;

/// A record: its directives in order, and where to go on when none matches.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<MacroString>,
}

/// What to answer when something matches.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) qualifier: Qualifier,
    pub(super) mechanism: Mechanism,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

/// What an address may match. A missing name is the domain in question.
#[derive(Debug)]
pub(super) enum Mechanism {
    All,
    Include(MacroString),
    A(Option<MacroString>, Lengths),
    Mx(Option<MacroString>, Lengths),
    Ptr(Option<MacroString>),
    Network(IpAddr, Lengths),
    Exists(MacroString),
}

/// How many bits of an address must agree, for each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lengths {
    v4: u8,
    v6: u8,
}

impl Record {
    /// Reads a record that starts with its version; nothing when there is a slip in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut record = Self { directives: Vec::new(), redirect: None };
        let mut explained = false;
        for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
            // A modifier has its = before anything that could start a mechanism's argument.
            match term.split_once(['=', ':', '/']) {
                Some((name, value)) if term.as_bytes().get(name.len()) == Some(&b'=') => {
                    if name.eq_ignore_ascii_case("redirect") {
                        let target = MacroString::domain(value)?;
                        if record.redirect.replace(target).is_some() {
                            return None;
                        }
                    } else if name.eq_ignore_ascii_case("exp") {
                        // Strangers' texts are not shown to anybody; the syntax counts.
                        MacroString::domain(value)?;
                        if std::mem::replace(&mut explained, true) {
                            return None;
                        }
                    } else {
                        is_modifier_name(name).then(|| MacroString::unknown(value))??;
                    }
                }
                _ => record.directives.push(Directive::parse(term)?),
            }
        }
        Some(record)
    }
}

impl Directive {
    fn parse(term: &str) -> Option<Self> {
        let (qualifier, term) = match term.split_at_checked(1)? {
            ("+", rest) => (Qualifier::Pass, rest),
            ("-", rest) => (Qualifier::Fail, rest),
            ("~", rest) => (Qualifier::SoftFail, rest),
            ("?", rest) => (Qualifier::Neutral, rest),
            _ => (Qualifier::Pass, term),
        };
        let end = term.find([':', '/']).unwrap_or(term.len());
        let (name, argument) = term.split_at(end);
        Some(Self { qualifier, mechanism: Mechanism::parse(name, argument)? })
    }
}

impl Mechanism {
    /// `argument` is what follows the name, with its colon or slash.
    fn parse(name: &str, argument: &str) -> Option<Self> {
        let needed = || argument.strip_prefix(':');
        let optional = |text: &str| match text {
            "" => Some(None),
            text => MacroString::domain(text.strip_prefix(':')?).map(Some),
        };
        Some(match name.to_ascii_lowercase().as_str() {
            "all" if argument.is_empty() => Self::All,
            "include" => Self::Include(MacroString::domain(needed()?)?),
            "exists" => Self::Exists(MacroString::domain(needed()?)?),
            "ptr" => Self::Ptr(optional(argument)?),
            "a" => {
                let (name, lengths) = Lengths::split(argument)?;
                Self::A(optional(name)?, lengths)
            }
            "mx" => {
                let (name, lengths) = Lengths::split(argument)?;
                Self::Mx(optional(name)?, lengths)
            }
            "ip4" => {
                let (network, v4) = network(needed()?, 32)?;
                Self::Network(network.parse::<Ipv4Addr>().ok()?.into(), Lengths { v4, v6: 128 })
            }
            "ip6" => {
                let (network, v6) = network(needed()?, 128)?;
                Self::Network(network.parse::<Ipv6Addr>().ok()?.into(), Lengths { v4: 32, v6 })
            }
            _ => return None,
        })
    }
}

impl Lengths {
    /// Whether two addresses of one family agree in these bits.
    pub(super) fn agree(self, one: IpAddr, other: IpAddr) -> bool {
        match (one, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                let differ = u32::from(one) ^ u32::from(other);
                differ.leading_zeros() >= u32::from(self.v4)
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                let differ = u128::from(one) ^ u128::from(other);
                differ.leading_zeros() >= u32::from(self.v6)
            }
            _ => false,
        }
    }

    /// Takes a `dual-cidr-length` off the end of an argument.
    fn split(argument: &str) -> Option<(&str, Self)> {
        let (rest, v6) = match argument.rsplit_once("//") {
            Some((rest, length)) => (rest, bits(length, 128)?),
            None => (argument, 128),
        };
        match rest.rsplit_once('/') {
            // A slash may also be part of a name, which then ends in something else.
            Some((name, length)) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some((name, Self { v4: bits(length, 32)?, v6 }))
            }
            _ => Some((rest, Self { v4: 32, v6 })),
        }
    }
}

fn network(text: &str, most: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((network, length)) => Some((network, bits(length, most)?)),
        None => Some((text, most)),
    }
}

/// A prefix length without leading zeros.
fn bits(text: &str, most: u8) -> Option<u8> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u8 =
        text.parse().ok().filter(|_| plain && (text == "0" || !text.starts_with('0')))?;
    (number <= most).then_some(number)
}

fn is_modifier_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
