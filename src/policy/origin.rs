//! Where a message comes from: what is known of the peer and of the sender it names before a byte
//! of the message was sent. It is looked up once for each MAIL command.

use std::net::IpAddr;

use tokio::time::{Instant, timeout_at};

use super::questions::LATE;
use super::rdns::{Helo, Reverse, host_name};
use super::spf::{self, Spf};
use crate::dns::Resolver;
use crate::mail::{Domain, ReversePath};

/// Who hands a message in, by his own words but for the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where the connection comes from.
    pub ip: IpAddr,
    /// The argument of HELO or EHLO.
    pub helo: String,
    /// The argument of MAIL FROM.
    pub mail_from: ReversePath,
}

/// What the DNS says of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who was looked up.
    pub peer: Peer,
    /// The names of his address.
    pub reverse: Reverse,
    /// The name he gave.
    pub helo: Helo,
    /// SPF for that name (RFC 7208 §2.3); nothing when it is none that could have a record.
    pub helo_spf: Option<Spf>,
    /// SPF for the sender's domain (RFC 7208 §2.4); nothing for the null sender.
    pub mail_from_spf: Option<Spf>,
}

impl Origin {
    /// Asks the DNS, all questions at the same time. What is not answered by `until` could not be
    /// told: RFC 7208 §4.6.4 would give SPF 20 seconds, in which most senders have answered a
    /// hundred times over and others hang up.
    pub async fn look_up(resolver: &Resolver, peer: Peer, until: Instant) -> Self {
        let Peer { ip, helo, mail_from } = &peer;
        let helo_name = host_name(helo);
        let limit = Limit(until);
        // Boxed: a connection has room for these as long as it lasts, and needs it for a moment.
        let (reverse, helo_found, helo_spf, mail_from_spf) = tokio::join!(
            limit.on(Box::pin(Reverse::look_up(resolver, *ip)), Reverse::CouldNotTell),
            limit.on(Box::pin(Helo::look_up(resolver, helo, *ip)), Helo::CouldNotTell),
            async {
                let name = helo_name.as_ref()?;
                let sender = format!("postmaster@{name}");
                let judged = spf::evaluate(resolver, *ip, name, &sender, helo);
                Some(limit.on(Box::pin(judged), Spf::TempError).await)
            },
            async {
                let sender = mail_from.address()?;
                let text = sender.to_string();
                let judged = spf::evaluate(resolver, *ip, sender.domain(), &text, helo);
                Some(limit.on(Box::pin(judged), Spf::TempError).await)
            },
        );
        Self { reverse, helo: helo_found, helo_spf, mail_from_spf, peer }
    }

    /// The domain SPF speaks of, and what it says: the sender's, or for the null sender that of
    /// HELO (RFC 7208 §2.4). DMARC knows no other (RFC 9989 §4.4.2).
    pub fn spf(&self) -> Option<(Domain, &Spf)> {
        match self.peer.mail_from.address() {
            Some(sender) => Some((sender.domain().clone(), self.mail_from_spf.as_ref()?)),
            None => Some((host_name(&self.peer.helo)?, self.helo_spf.as_ref()?)),
        }
    }
}

/// When questions end.
struct Limit(Instant);

impl Limit {
    async fn on<T>(
        &self,
        work: impl Future<Output = T> + Unpin,
        late: impl FnOnce(String) -> T,
    ) -> T {
        match timeout_at(self.0, work).await {
            Ok(done) => done,
            Err(_) => late(LATE.to_owned()),
        }
    }
}
