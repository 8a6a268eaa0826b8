//! Mail addresses as types: what parses here may be stored, looked up and put on the wire.

use std::fmt;
use std::str::FromStr;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};

/// A mailbox address, `local-part@domain` (RFC 5321 §4.1.2), without display name or source route.
///
/// Two addresses are equal when the domains are equal and the local parts are the same octets;
/// [`Address::key`] gives the form under which our own accounts are looked up.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    local: LocalPart,
    domain: Domain,
}

impl Address {
    /// Joins two parts that were parsed before.
    pub fn new(local: LocalPart, domain: Domain) -> Self {
        Self { local, domain }
    }

    /// The part before the `@`.
    pub fn local(&self) -> &LocalPart {
        &self.local
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The form under which a household looks an address up: local part in lower case, and its
    /// characters composed, however a keyboard writes an `ä` (NFC; RFC 6532 §3.1).
    /// Only for domains of our own: other hosts may tell case apart (RFC 5321 §2.4).
    pub fn key(&self) -> String {
        let lower = self.local.0.to_lowercase();
        let local = const { ComposingNormalizerBorrowed::new_nfc() }.normalize(&lower);
        format!("{local}@{}", self.domain)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // The last @ splits: a quoted local part may contain others.
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoAt)?;
        Ok(Self::new(local.parse()?, domain.parse()?))
    }
}

/// The part before the `@`, kept as it was written (RFC 5321 §2.4: only the host that owns it may
/// interpret it). Quoted strings are stored unquoted and quoted again when shown.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalPart(String);

impl LocalPart {
    /// Longest local part in octets (RFC 5321 §4.5.3.1.1).
    pub const MAX: usize = 64;

    /// The text without quoting.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it holds characters beyond ASCII, so that the next hop needs SMTPUTF8 (RFC 6531).
    pub fn needs_utf8(&self) -> bool {
        !self.0.is_ascii()
    }
}

impl FromStr for LocalPart {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() || text.len() > Self::MAX {
            return Err(AddressError::LocalLength);
        }
        if let Some(inner) = text.strip_prefix('"') {
            let inner = inner.strip_suffix('"').ok_or(AddressError::LocalSyntax)?;
            return unquote(inner).map(Self);
        }
        // Dot-string: atoms separated by single dots (RFC 5321 §4.1.2, with RFC 6531 UTF-8 atoms).
        if text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(AddressError::LocalSyntax)
        }
    }
}

/// A DNS name in its ASCII form, lower case, without a trailing dot.
///
/// Unicode names are converted on parsing (RFC 5890), so equality and DNS look-ups need no thought.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

impl Domain {
    /// The ASCII form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name below this one, such as `_dmarc` or `selector._domainkey`.
    pub fn child(&self, label: &str) -> Result<Self, AddressError> {
        format!("{label}.{}", self.0).parse()
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let ascii = idna::domain_to_ascii(text.strip_suffix('.').unwrap_or(text))
            .map_err(|_| AddressError::Domain)?;
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if ascii.len() <= 253 && ascii.split('.').all(label_ok) {
            Ok(Self(ascii))
        } else {
            Err(AddressError::Domain)
        }
    }
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no `@`.
    #[error("an address has the form name@domain; the @ is missing")]
    NoAt,
    /// Empty, or longer than 64 octets.
    #[error("the part before the @ must have 1 to 64 characters")]
    LocalLength,
    /// A character or dot where none may be.
    #[error("the part before the @ has a character or a dot where none may be")]
    LocalSyntax,
    /// Not a DNS name.
    #[error("the part after the @ is not a domain name")]
    Domain,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{self}>")
    }
}

impl fmt::Debug for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for Domain {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.0
    }
}

/// The content of a quoted string (RFC 5321 §4.1.2 `QcontentSMTP`), backslashes removed.
fn unquote(inner: &str) -> Result<String, AddressError> {
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '"' => return Err(AddressError::LocalSyntax),
            '\\' => chars.next().ok_or(AddressError::LocalSyntax)?,
            c => c,
        };
        // Printable ASCII, space and UTF-8; never a control character: it could end a line.
        if c.is_control() {
            return Err(AddressError::LocalSyntax);
        }
        text.push(c);
    }
    if text.is_empty() { Err(AddressError::LocalSyntax) } else { Ok(text) }
}

/// RFC 5322 §3.2.3 atext, and any character beyond ASCII that is no control (RFC 6531 §3.3).
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || (!c.is_ascii() && !c.is_control() && !c.is_whitespace())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were_written() {
        for text in [
            "alice@example.org",
            "Alice.B+tag@example.org",
            "\"a b\"@example.org",
            "\"a\\\"b\"@example.org",
            "käthe@example.org",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }
    }

    #[test]
    fn domains_have_one_form() {
        let domain: Domain = "BÜCHER.Example.".parse().unwrap();
        assert_eq!(domain.as_str(), "xn--bcher-kva.example");
        assert_eq!(domain.child("_dmarc").unwrap().as_str(), "_dmarc.xn--bcher-kva.example");
    }

    #[test]
    fn what_could_end_a_line_or_split_an_address_is_refused() {
        for text in [
            "",
            "alice",
            "@example.org",
            "alice@",
            "a..b@example.org",
            ".a@example.org",
            "a b@example.org",
            "a\r\n@example.org",
            "\"a\nb\"@example.org",
            "\"\"@example.org",
            "a@b..c",
            "a@-b",
            "a@b c",
            "a@[192.0.2.1]",
            "a@x\r\n",
            "\"a\"b@c@example.org",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?} was taken");
        }
        assert!(format!("{}@example.org", "a".repeat(65)).parse::<Address>().is_err());
    }
}
