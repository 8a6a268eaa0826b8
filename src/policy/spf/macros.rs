//! Names with macros in them (RFC 7208 §7): a domain may ask the DNS about the sender at hand.

use std::fmt::Write;
use std::net::IpAddr;

/// A text with macros.
#[derive(Debug)]
pub(super) struct MacroString {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Macro {
        letter: char,
        /// Whether the value is to be escaped as in URLs.
        escape: bool,
        /// How many parts from the right.
        keep: Option<usize>,
        reverse: bool,
        delimiters: String,
    },
}

/// What the macros stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) sender: &'a str,
    pub(super) domain: &'a str,
    pub(super) ip: IpAddr,
    pub(super) helo: &'a str,
    /// The validated name of the address.
    pub(super) name: &'a str,
}

impl MacroString {
    /// A `domain-spec` (§7.1): a text that ends in a top-level domain or in a macro.
    pub(super) fn domain(text: &str) -> Option<Self> {
        let parsed = Self::parse(text, "slodiphv")?;
        match parsed.parts.last()? {
            Part::Macro { .. } => Some(parsed),
            Part::Text(end) => {
                // An escaped percent sign, space or `%20` is a macro too, and may be the end.
                let escaped = ["%%", "%_", "%-"].iter().any(|escape| text.ends_with(escape));
                let end = end.strip_suffix('.').unwrap_or(end);
                let top = end.rsplit_once('.').is_some_and(|(_, top)| is_top_label(top));
                (escaped || top).then_some(parsed)
            }
        }
    }

    /// The value of a modifier nobody knows: any text, and any macro.
    pub(super) fn unknown(text: &str) -> Option<Self> {
        Self::parse(text, "slodiphvcrt")
    }

    /// Whether the name of the address must be known.
    pub(super) fn needs_name(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Macro { letter: 'p', .. }))
    }

    /// The text for these values, cut from the left to what fits a name (§7.3).
    pub(super) fn expand(&self, values: &Values<'_>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Macro { letter, escape, keep, reverse, delimiters } => {
                    let value = values.get(*letter);
                    let delimiter = |c: char| delimiters.contains(c);
                    let mut parts: Vec<&str> = value.split(delimiter).collect();
                    if *reverse {
                        parts.reverse();
                    }
                    let skip = keep.map_or(0, |keep| parts.len().saturating_sub(keep));
                    let value = parts.get(skip..).unwrap_or_default().join(".");
                    if *escape { push_escaped(&mut text, &value) } else { text.push_str(&value) }
                }
            }
        }
        let mut name = text.trim_end_matches('.');
        while name.len() > 253 {
            name = name.split_once('.').map_or("", |(_, rest)| rest);
        }
        name.to_owned()
    }

    fn parse(text: &str, letters: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => match chars.next()? {
                    '%' => plain.push('%'),
                    '_' => plain.push(' '),
                    '-' => plain.push_str("%20"),
                    '{' => {
                        if !plain.is_empty() {
                            parts.push(Part::Text(std::mem::take(&mut plain)));
                        }
                        let (inner, rest) = chars.as_str().split_once('}')?;
                        parts.push(Part::parse(inner, letters)?);
                        chars = rest.chars();
                    }
                    _ => return None,
                },
                '!'..='~' => plain.push(c),
                _ => return None,
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Some(Self { parts })
    }
}

impl Part {
    /// What stands between the braces: a letter, a number, `r`, delimiters.
    fn parse(inner: &str, letters: &str) -> Option<Self> {
        let letter = inner.chars().next()?;
        let lower = letter.to_ascii_lowercase();
        if !letters.contains(lower) {
            return None;
        }
        let rest = inner.get(1..)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, rest) = rest.split_at(digits);
        let keep = match number {
            "" => None,
            // More parts than fit a name are all of them.
            number => Some(number.parse().unwrap_or(usize::MAX)).filter(|keep| *keep > 0),
        };
        if keep.is_none() && !number.is_empty() {
            return None;
        }
        let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(delimiters) => (true, delimiters),
            None => (false, rest),
        };
        if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
            return None;
        }
        let delimiters = if delimiters.is_empty() { "." } else { delimiters };
        let escape = letter.is_ascii_uppercase();
        Some(Self::Macro {
            letter: lower,
            escape,
            keep,
            reverse,
            delimiters: delimiters.to_owned(),
        })
    }
}

impl Values<'_> {
    fn get(&self, letter: char) -> String {
        let (local, host) = self.sender.rsplit_once('@').unwrap_or(("postmaster", self.sender));
        match letter {
            's' => self.sender.to_owned(),
            'l' => local.to_owned(),
            'o' => host.to_owned(),
            'd' => self.domain.to_owned(),
            'i' => dotted(self.ip),
            'p' => self.name.to_owned(),
            'v' => if self.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            'h' => self.helo.to_owned(),
            // The others are only in texts, which are not expanded.
            _ => String::new(),
        }
    }
}

/// An IPv6 address as its nibbles (§7.3).
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let nibbles = format!("{:032x}", u128::from(v6));
            nibbles.chars().map(String::from).collect::<Vec<_>>().join(".")
        }
    }
}

/// RFC 3986 §2.3.
fn push_escaped(text: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

/// Not all digits, and no hyphen at an end (§7.1).
fn is_top_label(label: &str) -> bool {
    !label.is_empty()
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.bytes().all(|byte| byte.is_ascii_digit())
}
