//! The guard at port 25: when what is asked about a stranger and a message, and what follows from
//! the answers. What takes time is asked as early as it can be, while the stranger still talks; what
//! the DNS cannot tell never speaks against anybody.

use std::sync::Arc as Shared;

use tokio_util::task::AbortOnDropHandle;

use super::arc::Arc;
use super::dmarc::Policy;
use super::rdns::{Helo, Reverse};
use super::{Authentication, Inspected, Inspector, Origin, Peer, authenticate};
use crate::clock::{ClockTrust, SharedClock};
use crate::deliver::{Filing, Folder, Judge, Ruling};
use crate::dns::Resolver;
use crate::mail::Domain;
use crate::store::AccountId;

/// Looks after everybody who comes; cheap to clone.
#[derive(Clone)]
pub struct Guard {
    resolver: Resolver,
    clock: SharedClock,
    hostname: Domain,
}

impl Guard {
    /// A guard that writes what it finds in the name of this host.
    pub fn new(resolver: Resolver, clock: SharedClock, hostname: Domain) -> Self {
        Self { resolver, clock, hostname }
    }

    /// Somebody has said MAIL: the DNS is asked about him from now on.
    pub fn meet(&self, peer: Peer) -> Visit {
        let (resolver, stranger) = (self.resolver.clone(), peer.clone());
        let origin = tokio::spawn(async move { Origin::look_up(&resolver, stranger).await });
        let origin = AbortOnDropHandle::new(origin);
        Visit { guard: self.clone(), peer, origin, inspector: Inspector::new() }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("hostname", &self.hostname).finish_non_exhaustive()
    }
}

/// One MAIL command and the message that follows it.
#[derive(Debug)]
pub struct Visit {
    guard: Guard,
    peer: Peer,
    origin: AbortOnDropHandle<Origin>,
    inspector: Inspector,
}

impl Visit {
    /// Takes the next bytes of the message.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.inspector.pass(bytes);
    }

    /// The message has ended: what to write on it, and where it goes.
    pub async fn judge(self) -> Judged {
        let Self { guard, peer, origin, inspector } = self;
        let inspected: Inspected = inspector.finish();
        let origin = origin.await.unwrap_or_else(|error| unknown(peer, &error.to_string()));
        let trusted = guard.clock.trust() != ClockTrust::Unknown;
        let now = trusted.then(|| guard.clock.now());
        let found = authenticate(&guard.resolver, now, origin, inspected).await;
        Judged { field: found.field(&guard.hostname), ruling: ruling(&found) }
    }
}

/// What was found out about a message, and what follows.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The `Authentication-Results` field with its CRLF.
    pub field: String,
    ruling: Ruling,
}

impl Judged {
    /// As the one who decides at delivery.
    pub fn into_judge(self) -> Shared<dyn Judge> {
        Shared::new(self)
    }
}

impl Judge for Judged {
    fn judge(&self, _: Option<AccountId>) -> Ruling {
        self.ruling.clone()
    }
}

/// What the author's domain asks for. A chain of forwarders that is whole shows that somebody on
/// the way saw more than we can, so such mail is not refused (RFC 8617 §7.2.1; RFC 7960 §4.2).
fn ruling(found: &Authentication) -> Ruling {
    let junk = Filing { folder: Folder::Junk, fields: b"X-Spam: Yes\r\n".to_vec() };
    match found.dmarc.disposition {
        Policy::None => Ruling::File(Filing::default()),
        Policy::Reject if !matches!(found.arc, Arc::Pass(_)) => {
            let from = found.dmarc.from.as_ref();
            let whose = from.map_or_else(|| "the author's domain".to_owned(), Domain::to_string);
            let reason = format!(
                "{whose} asks to refuse mail in its name that nothing proves to be its own (DMARC)"
            );
            Ruling::Refuse { otherwise: junk, status: "5.7.26", reason }
        }
        Policy::Reject | Policy::Quarantine => Ruling::File(junk),
    }
}

fn unknown(peer: Peer, why: &str) -> Origin {
    Origin {
        peer,
        reverse: Reverse::CouldNotTell(why.to_owned()),
        helo: Helo::CouldNotTell(why.to_owned()),
        helo_spf: None,
        mail_from_spf: None,
    }
}
