//! The envelope: who a message is from and for, as SMTP says it, whatever its header says.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Address, AddressError};

/// Sender and recipients of one message as given in MAIL and RCPT (RFC 5321 §3.3).
/// The envelope alone decides where a message goes; `To:` does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Where a failure notice would go.
    pub from: ReversePath,
    /// At least one recipient, in the order given.
    pub to: Vec<Address>,
}

/// The argument of MAIL FROM: an address, or `<>` for notices that must never be answered
/// (RFC 5321 §4.5.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReversePath {
    /// `<>`: a notice; no bounce is ever sent to it.
    Null,
    /// The sender's address.
    Address(Address),
}

impl ReversePath {
    /// The sender, unless the path is null.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }
}

impl FromStr for ReversePath {
    type Err = AddressError;

    /// Takes the text between the angle brackets.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() { Ok(Self::Null) } else { text.parse().map(Self::Address) }
    }
}

/// The text between the angle brackets; empty for the null path.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl TryFrom<String> for ReversePath {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<ReversePath> for String {
    fn from(path: ReversePath) -> Self {
        path.to_string()
    }
}
