//! The envelope: who a message is from and for, as SMTP says it, whatever its header says, and
//! what its sender asks of whoever carries it: notices (RFC 3461), SMTPUTF8 (RFC 6531) and
//! REQUIRETLS (RFC 8689). Every request has a default that asks nothing, so that a record written
//! before it was known stays readable.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::notices::{EnvelopeId, Notify, OriginalRecipient, Return};
use super::{Address, AddressError};

/// Sender and recipients of one message as given in MAIL and RCPT (RFC 5321 §3.3).
/// The envelope alone decides where a message goes; `To:` does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Where a failure notice would go.
    pub from: ReversePath,
    /// At least one recipient, in the order given.
    pub to: Vec<Recipient>,
    /// What was asked for the message as a whole.
    #[serde(default)]
    pub asked: MailRequests,
}

impl Envelope {
    /// An envelope that asks nothing.
    pub fn new(from: ReversePath, to: impl IntoIterator<Item = Address>) -> Self {
        let to = to.into_iter().map(Recipient::from).collect();
        Self { from, to, asked: MailRequests::default() }
    }

    /// The addresses it is for.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.to.iter().map(|recipient| &recipient.address)
    }
}

/// One RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Where to.
    pub address: Address,
    /// What was asked for it.
    #[serde(default)]
    pub asked: RecipientRequests,
}

/// A recipient for whom nothing is asked.
impl From<Address> for Recipient {
    fn from(address: Address) -> Self {
        Self { address, asked: RecipientRequests::default() }
    }
}

/// What MAIL asks beside the sender. The default asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MailRequests {
    /// How much of the message a failure notice shall bring back (RFC 3461 §4.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ret: Option<Return>,
    /// The sender's own name for this message, given back in notices (RFC 3461 §4.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envid: Option<EnvelopeId>,
    /// How the message was declared (RFC 6152).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyKind>,
    /// SMTPUTF8: header or addresses may be UTF-8; who does not offer it too must not get the
    /// message (RFC 6531 §3.2).
    pub utf8: bool,
    /// REQUIRETLS: never over a hop without verified TLS (RFC 8689).
    pub require_tls: bool,
}

/// What RCPT asks beside the recipient. The default asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecipientRequests {
    /// When to tell the sender what became of it (RFC 3461 §4.1); without, as we see fit: when it
    /// failed, and when it takes long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Whom the sender first wrote to (RFC 3461 §4.2), for notices and for the next hop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<OriginalRecipient>,
}

/// The BODY parameter (RFC 6152 §2). `BINARYMIME` (RFC 3030) is not offered, so never heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyKind {
    /// `7BIT`: every octet is ASCII, says the sender.
    #[serde(rename = "7bit")]
    SevenBit,
    /// `8BITMIME`.
    #[serde(rename = "8bitmime")]
    EightBitMime,
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_before_requests_were_known_stays_readable() {
        let old = r#"{"from":"a@example.org","to":[{"address":"b@example.net"}]}"#;
        let envelope: Envelope = serde_json::from_str(old).unwrap();
        let plain =
            Envelope::new("a@example.org".parse().unwrap(), ["b@example.net".parse().unwrap()]);
        assert_eq!(envelope, plain);
    }

    #[test]
    fn requests_come_back_from_the_store_as_they_were_asked() {
        let mut envelope = Envelope::new(ReversePath::Null, ["b@example.net".parse().unwrap()]);
        envelope.asked = MailRequests {
            ret: Some(Return::Headers),
            envid: Some(EnvelopeId::from_xtext("a+2Bb").unwrap()),
            body: Some(BodyKind::EightBitMime),
            utf8: true,
            require_tls: true,
        };
        envelope.to[0].asked = RecipientRequests {
            notify: Some("SUCCESS,DELAY".parse().unwrap()),
            orcpt: Some("rfc822;x+40y".parse().unwrap()),
        };
        let json = serde_json::to_string(&envelope).unwrap();
        assert_eq!(serde_json::from_str::<Envelope>(&json).unwrap(), envelope, "{json}");
    }
}
