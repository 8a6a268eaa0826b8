//! A message that is complete, as the session hands it to the house.

use jiff::Timestamp;

use crate::mail::headers::{HeaderFacts, Received, date};
use crate::mail::{Envelope, ReversePath};

/// A complete message with everything but its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// Who it is from and for.
    pub envelope: Envelope,
    /// Our trace field.
    pub received: Received,
    /// An account sent it: what its header lacks is added (RFC 6409 §8.2, §8.3).
    pub(super) submitted: bool,
    /// What its header has.
    pub(super) facts: HeaderFacts,
}

impl Handover {
    /// The fields to put on top of the message, each with its CRLF.
    pub fn trace(&self, at: Timestamp) -> Vec<u8> {
        let mut trace = vec![self.received.field(at)];
        if self.submitted {
            if !self.facts.date {
                trace.push(format!("Date: {}\r\n", date(at)));
            }
            if !self.facts.message_id {
                let Received { id, by, .. } = &self.received;
                trace.push(format!("Message-ID: <{id}@{by}>\r\n"));
            }
            if let (0, ReversePath::Address(from)) = (self.facts.from, &self.envelope.from) {
                trace.push(format!("From: <{from}>\r\n"));
            }
        }
        // A message that is all text would have its first lines taken for header fields.
        if !self.facts.any && !self.facts.empty {
            trace.push("\r\n".to_owned());
        }
        trace.concat().into_bytes()
    }
}
