//! What goes on the wire above a message's stored bytes. Mail of our people is signed with DKIM.
//! What an alias of ours leads elsewhere says by which address it came (RFC 9228), so that a circle
//! is seen when it closes; a stranger's is sealed (RFC 8617), because being passed on breaks SPF.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use super::attempt::Outgoing;
use super::security::Wish;
use super::states::{Origin, State};
use super::{Inner, QueueError, bounce};
use crate::clock::ClockTrust;
use crate::mail::structure::fields;
use crate::mail::{Address, Domain};
use crate::policy::dkim::{SignError, SigningKeys};
use crate::store::{Content, QueueRecord, Store};

impl Inner {
    /// A record as each alias sends it on, and as it leaves without one.
    pub(super) async fn outgoing(
        &self,
        record: &QueueRecord,
        state: &State,
    ) -> Result<BTreeMap<Option<Address>, Arc<Outgoing>>, QueueError> {
        let at = (self.clock.trust() != ClockTrust::Unknown).then(|| self.clock.now());
        let scribe = Scribe {
            store: self.store.clone(),
            keys: self.keys.clone(),
            hostname: self.hostname.clone(),
            content: record.content.clone(),
            at,
        };
        let aliases: Vec<Option<Address>> = state.open().map(|one| one.via.clone()).collect();
        let origin = state.origin;
        let written = tokio::task::spawn_blocking(move || {
            (scribe.heads(origin, aliases), scribe.waives_tls())
        });
        let (heads, waives_tls) =
            written.await.map_err(|error| QueueError::Stopped(error.to_string()))?;
        let wish = match (state.asked.require_tls, waives_tls) {
            // RFC 8689 §4.1: it counts more than the field.
            (true, _) => Wish::Tls,
            (false, true) => Wish::Arrival,
            (false, false) => Wish::None,
        };
        let outgoing = |head| {
            Arc::new(Outgoing {
                id: record.id,
                origin,
                from: state.from.clone(),
                asked: state.asked.clone(),
                wish,
                head,
                content: record.content.clone(),
            })
        };
        Ok(heads.into_iter().map(|(alias, head)| (alias, outgoing(head))).collect())
    }
}

/// Writes the heads of one message; waits for the disk.
struct Scribe {
    store: Store,
    keys: SigningKeys,
    hostname: Domain,
    content: Content,
    /// The time to claim.
    at: Option<Timestamp>,
}

impl Scribe {
    fn heads(
        &self,
        origin: Origin,
        aliases: Vec<Option<Address>>,
    ) -> BTreeMap<Option<Address>, Vec<u8>> {
        let own = if origin == Origin::Stranger { Vec::new() } else { self.signatures() };
        let mut seals: BTreeMap<Domain, Vec<u8>> = BTreeMap::new();
        let mut heads = BTreeMap::new();
        for alias in aliases {
            let head = match &alias {
                None => own.clone(),
                Some(address) => {
                    let mut head = format!("Delivered-To: {address}\r\n").into_bytes();
                    if origin == Origin::Stranger {
                        let domain = address.domain();
                        let seal = seals.entry(domain.clone()).or_insert_with(|| self.seal(domain));
                        head.extend_from_slice(seal);
                    } else {
                        head.extend_from_slice(&own);
                    }
                    head
                }
            };
            heads.insert(alias, head);
        }
        heads
    }

    /// The DKIM fields, or none.
    fn signatures(&self) -> Vec<u8> {
        let signed = self.read().and_then(|stored| self.keys.sign(stored, self.at));
        signed
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "a message goes out without DKIM signature");
                None
            })
            .unwrap_or_default()
    }

    /// The ARC fields in the name of this domain, or none.
    fn seal(&self, domain: &Domain) -> Vec<u8> {
        let sealed =
            self.read().and_then(|stored| self.keys.seal(domain, &self.hostname, stored, self.at));
        sealed
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "a message is passed on without ARC seal");
                None
            })
            .unwrap_or_default()
    }

    /// Whether its sender would rather have it arrive than protected (RFC 8689 §4.2). What cannot
    /// be read says nothing.
    fn waives_tls(&self) -> bool {
        let header = self.read().ok().and_then(|stored| bounce::header_of(stored).ok());
        header.is_some_and(|header| waives_tls(&header))
    }

    fn read(&self) -> Result<impl io::Read, SignError> {
        self.store.read(&self.content).map_err(io::Error::other).map_err(SignError::Read)
    }
}

/// The field may stand there once, and may say one thing.
fn waives_tls(header: &[u8]) -> bool {
    let mut said = fields(header).filter(|field| field.name.eq_ignore_ascii_case(b"TLS-Required"));
    let (Some(only), None) = (said.next(), said.next()) else { return false };
    only.value.trim_ascii().eq_ignore_ascii_case(b"no")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_waives_protection() {
        for (header, waived) in [
            ("Subject: x\r\nTLS-Required: No\r\n\r\n", true),
            ("tls-required:\r\n no\r\n\r\n", true),
            ("TLS-Required: No\r\nTLS-Required: No\r\n\r\n", false),
            ("TLS-Required: Yes\r\n\r\n", false),
            ("TLS-Required: Nonsense\r\n\r\n", false),
            ("X-TLS-Required: No\r\n\r\n", false),
            ("Subject: x\r\n\r\nTLS-Required: No\r\n", false),
            ("", false),
        ] {
            assert_eq!(waives_tls(header.as_bytes()), waived, "{header:?}");
        }
    }
}
