//! One attempt at one record: its recipients are grouped by where they go, each group is handed to
//! the first host that takes it, and what was heard is written down group by group, so that nobody
//! whose host said yes is ever sent it twice.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::runner::LONGEST_WAIT;
use super::states::{Origin, Problem, Recipient, State};
use super::{AcceptError, Incoming, Inner, QueueError, Source, bounce, route};
use crate::clock::ClockTrust;
use crate::config::{OutboundMode, Relay, RelayTls};
use crate::mail::{Address, Domain, Envelope, ReversePath};
use crate::policy::dkim::SignError;
use crate::smtp::client::{Fault, Mail, Security, Target, Trouble, Verdict};
use crate::store::{Batch, Body, Content, QueueId, StoreError};

/// A message on its way: what goes on the wire before its stored bytes, and those.
struct Outgoing {
    id: QueueId,
    from: ReversePath,
    signature: Vec<u8>,
    content: Content,
}

/// What was heard about one recipient.
enum Heard {
    Delivered,
    Problem { problem: Problem, last: bool },
}

impl Inner {
    /// Tries a record once and writes down what came of it.
    pub(super) async fn attempt(self: &Arc<Self>, id: QueueId) -> Result<(), QueueError> {
        let (record, state) = self.load(id)?;
        let groups = self.groups(&state);
        if !groups.is_empty() {
            // Nothing goes out while nothing can be written down: it would go out again and again.
            self.store.alive().await?;
            let signature = self.sign(&record.content, &state).await?;
            let outgoing = Arc::new(Outgoing {
                id,
                from: state.from.clone(),
                signature,
                content: record.content.clone(),
            });
            let mut running = JoinSet::new();
            for (domain, to) in groups {
                let (inner, outgoing) = (Arc::clone(self), Arc::clone(&outgoing));
                running.spawn(async move {
                    let heard = Box::pin(inner.try_group(&outgoing, domain.as_ref(), &to)).await;
                    inner.note_surely(outgoing.id, &to, &heard).await;
                });
            }
            // All of them end: what one host took must be written down whatever befell another.
            let mut failure = None;
            while let Some(ended) = running.join_next().await {
                failure = failure.or(ended.err());
            }
            if let Some(error) = failure {
                return Err(QueueError::Stopped(error.to_string()));
            }
        }
        self.conclude(id).await
    }

    /// Recipients by domain; all in one group for a relay. Without key: the relay.
    fn groups(&self, state: &State) -> Vec<(Option<Domain>, Vec<Address>)> {
        let mut by_domain: BTreeMap<Option<Domain>, Vec<Address>> = BTreeMap::new();
        for recipient in state.open() {
            let address = &recipient.address;
            let relayed = matches!(self.outbound.mode, OutboundMode::Relay(_))
                && !self.accounts.is_ours(address.domain());
            let key = (!relayed).then(|| address.domain().clone());
            by_domain.entry(key).or_default().push(address.clone());
        }
        // A host need take no more than 100 recipients at once (RFC 5321 §4.5.3.1.8).
        let chunks = by_domain.into_iter().flat_map(|(key, to)| {
            let chunks: Vec<Vec<Address>> = to.chunks(100).map(<[Address]>::to_vec).collect();
            chunks.into_iter().map(move |chunk| (key.clone(), chunk))
        });
        chunks.collect()
    }

    /// The DKIM fields for a message of our own people, or none.
    async fn sign(&self, content: &Content, state: &State) -> Result<Vec<u8>, QueueError> {
        if state.origin == Origin::Stranger {
            return Ok(Vec::new());
        }
        let at = (self.clock.trust() != ClockTrust::Unknown).then(|| self.clock.now());
        let (store, keys, content) = (self.store.clone(), self.keys.clone(), content.clone());
        let signed = tokio::task::spawn_blocking(move || {
            let stored = store.read(&content).map_err(io::Error::other).map_err(SignError::Read)?;
            keys.sign(stored, at)
        });
        match signed.await.map_err(|error| QueueError::Stopped(error.to_string()))? {
            Ok(signature) => Ok(signature.unwrap_or_default()),
            Err(error) => {
                tracing::warn!(%error, "a message goes out without DKIM signature");
                Ok(Vec::new())
            }
        }
    }

    async fn try_group(
        &self,
        outgoing: &Outgoing,
        domain: Option<&Domain>,
        to: &[Address],
    ) -> Vec<Heard> {
        // The domain's turn first: those who wait for a slow host take no place from others.
        let turns = domain.map(|domain| self.turns(domain));
        let _turn = match &turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        let _place = self.marks.places.acquire().await;
        let result = match (domain, &self.outbound.mode) {
            // It became ours while the message waited.
            (Some(domain), _) if self.accounts.is_ours(domain) => {
                self.keep_here(outgoing, to).await
            }
            (None, OutboundMode::Relay(relay)) => self.try_relay(outgoing, relay, to).await,
            (None, _) => Err((Problem::new("4.3.5", "the relay's settings are gone"), false)),
            (Some(domain), _) => self.try_domain(outgoing, domain, to).await,
        };
        result.unwrap_or_else(|(problem, last)| {
            to.iter().map(|_| Heard::Problem { problem: problem.clone(), last }).collect()
        })
    }

    async fn try_domain(
        &self,
        outgoing: &Outgoing,
        domain: &Domain,
        to: &[Address],
    ) -> Result<Vec<Heard>, (Problem, bool)> {
        let hosts = route::hosts(&self.resolver, domain, &self.hostname, super::random)
            .await
            .map_err(route::NoRoute::into_problem)?;
        let target = |address, name: &Domain| Target {
            address,
            name: name.clone(),
            security: Security::Opportunistic,
            login: None,
        };
        self.try_hosts(outgoing, domain, &hosts, self.outbound.mx_port, to, target).await
    }

    async fn try_relay(
        &self,
        outgoing: &Outgoing,
        relay: &Relay,
        to: &[Address],
    ) -> Result<Vec<Heard>, (Problem, bool)> {
        let target = |address, name: &Domain| Target {
            address,
            name: name.clone(),
            security: match relay.tls {
                RelayTls::Implicit => Security::Implicit,
                RelayTls::StartTls => Security::StartTls,
                RelayTls::None => Security::None,
            },
            login: relay.login.clone(),
        };
        let hosts = std::slice::from_ref(&relay.host);
        let heard = self.try_hosts(outgoing, &relay.host, hosts, relay.port, to, target).await;
        // A wrong relay setting is for the owner to mend: mail waits for that.
        heard.map_err(|(problem, _)| (problem, false))
    }

    /// Tries hosts one after the other until one holds a conversation to its end.
    async fn try_hosts(
        &self,
        outgoing: &Outgoing,
        domain: &Domain,
        hosts: &[Domain],
        port: u16,
        to: &[Address],
        target: impl Fn(SocketAddr, &Domain) -> Target,
    ) -> Result<Vec<Heard>, (Problem, bool)> {
        let mut heard = None;
        // Final only when every host is without a way for good.
        let mut last = true;
        let mut room = MAX_CONNECTIONS;
        for host in hosts {
            let addresses = match route::addresses(&self.resolver, host).await {
                Ok(addresses) => addresses,
                Err(none) => {
                    let (problem, final_here) = none.into_problem();
                    heard = Some(problem);
                    last &= final_here;
                    continue;
                }
            };
            let others = addresses.into_iter().map(|address| SocketAddr::new(address, port));
            for address in others.filter(|address| !route::is_own(*address, &self.listens)) {
                if room == 0 {
                    break;
                }
                room -= 1;
                let fault = match self.try_host(outgoing, &target(address, host), to).await {
                    Ok(heard) => return Ok(heard),
                    Err(fault) => fault,
                };
                tracing::info!(id = outgoing.id.0, %host, %address, %fault, "not sent");
                heard = Some(faulty(host, &fault));
                last = false;
            }
        }
        // Nothing heard, and nothing tried: every address is our own.
        let problem = heard.unwrap_or_else(|| route::loops(domain).into_problem().0);
        Err((problem, last))
    }

    async fn try_host(
        &self,
        outgoing: &Outgoing,
        target: &Target,
        to: &[Address],
    ) -> Result<Vec<Heard>, Fault> {
        let size = outgoing.content.size() + outgoing.signature.len() as u64;
        let mail = Mail { from: outgoing.from.clone(), to: to.to_vec(), size };
        let store = self.store.clone();
        let (signature, content) = (outgoing.signature.clone(), outgoing.content.clone());
        let open = move || {
            let stored = store.read(&content).map_err(io::Error::other)?;
            Ok(Cursor::new(signature.clone()).chain(stored))
        };
        let report = self.client.send(target, &mail, open).await?;
        let heard = to.iter().zip(report.verdicts).map(|(to, verdict)| match verdict {
            Verdict::Deliver(reply) => {
                tracing::info!(id = outgoing.id.0, %to, host = %target.name, %reply, "delivered");
                Heard::Delivered
            }
            Verdict::Defer(trouble) => heard_from(target, trouble, false),
            Verdict::Reject(trouble) => heard_from(target, trouble, true),
        });
        Ok(heard.collect())
    }

    /// Delivers to people here what was queued for elsewhere.
    async fn keep_here(
        &self,
        outgoing: &Outgoing,
        to: &[Address],
    ) -> Result<Vec<Heard>, (Problem, bool)> {
        let fail =
            |error: &dyn std::fmt::Display| (Problem::new("4.3.0", error.to_string()), false);
        let body = self.copy(&outgoing.content).await.map_err(|error| fail(&error))?;
        // Delivery and the end of waiting are one commit.
        let _turn = self.marks.edit.lock().await;
        let (_, mut state) = self.load(outgoing.id).map_err(|error| fail(&error))?;
        let gone = |r: &Recipient| !r.failed && to.contains(&r.address);
        state.recipients.retain(|recipient| !gone(recipient));
        let incoming = Incoming {
            envelope: Envelope::new(outgoing.from.clone(), to.iter().cloned()),
            trace: Vec::new(),
            body,
            source: match state.origin {
                Origin::Stranger => Source::Stranger,
                Origin::Account(account) => Source::Account(account),
                Origin::Own => Source::Own,
            },
            received: self.clock.now(),
        };
        let settled = state.encode();
        let settle = |batch: &mut Batch| {
            batch.update_queued(outgoing.id, settled.clone());
        };
        self.take(&incoming, settle).await.map_err(|error| match error {
            AcceptError::Store(StoreError::OverQuota) => {
                (Problem::new("4.2.2", "the mailbox is full"), false)
            }
            error => fail(&error),
        })?;
        Ok(to.iter().map(|_| Heard::Delivered).collect())
    }

    /// The bytes of a stored message as a new body, piece by piece.
    async fn copy(&self, content: &Content) -> Result<Body, StoreError> {
        let mut writer = self.store.new_body();
        let mut reader = self.store.read(content)?;
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; 64 << 10];
                let n = reader.read(&mut piece)?;
                piece.truncate(n);
                Ok::<_, io::Error>((reader, piece))
            });
            let broken = |source| StoreError::Disk { doing: "read a message", source };
            let (back, piece) =
                read.await.map_err(|error| broken(io::Error::other(error)))?.map_err(broken)?;
            reader = back;
            if piece.is_empty() {
                return writer.finish().await;
            }
            writer.write(&piece).await?;
        }
    }

    /// Writes down what was heard, and does not give up: until it is written, the record is busy,
    /// and nobody whose host said yes is sent it twice.
    async fn note_surely(&self, id: QueueId, to: &[Address], heard: &[Heard]) {
        while let Err(error) = self.note(id, to, heard).await {
            tracing::error!(id = id.0, %error, "what became of a message cannot be written down");
            tokio::time::sleep(LONGEST_WAIT).await;
        }
    }

    /// Writes down what was heard about some recipients, durable before anything else is tried.
    async fn note(&self, id: QueueId, to: &[Address], heard: &[Heard]) -> Result<(), QueueError> {
        let _turn = self.marks.edit.lock().await;
        let (_, mut state) = match self.load(id) {
            // Dropped by the owner while it was tried.
            Err(QueueError::Missing(_)) => return Ok(()),
            other => other?,
        };
        for (address, heard) in to.iter().zip(heard) {
            let of_address = |r: &Recipient| !r.failed && r.address == *address;
            match heard {
                Heard::Delivered => state.recipients.retain(|r| !of_address(r)),
                Heard::Problem { problem, last } => {
                    for recipient in state.recipients.iter_mut().filter(|r| of_address(r)) {
                        recipient.last = Some(problem.clone());
                        recipient.failed = *last;
                    }
                }
            }
        }
        let mut batch = Batch::new();
        batch.update_queued(id, state.encode());
        self.store.commit(batch).await?;
        Ok(())
    }

    /// The turns of one domain; unused ones of others are forgotten.
    fn turns(&self, domain: &Domain) -> Arc<Semaphore> {
        let mut all = self.marks.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns =
            all.entry(domain.clone()).or_insert_with(|| Arc::new(Semaphore::new(PER_DOMAIN)));
        Arc::clone(turns)
    }

    /// The header of a stored message, for a notice about it.
    pub(super) async fn header(&self, content: &Content) -> Result<Vec<u8>, QueueError> {
        let (store, content) = (self.store.clone(), content.clone());
        let read = tokio::task::spawn_blocking(move || {
            bounce::header_of(store.read(&content)?)
                .map_err(|source| StoreError::Disk { doing: "read a message", source })
        });
        Ok(read.await.map_err(|error| QueueError::Stopped(error.to_string()))??)
    }
}

fn heard_from(target: &Target, trouble: Trouble, last: bool) -> Heard {
    Heard::Problem { problem: Problem::heard(target.name.as_str(), trouble), last }
}

fn faulty(host: &Domain, fault: &Fault) -> Problem {
    let status = match fault {
        Fault::Connect(_) | Fault::Timeout => "4.4.1",
        Fault::Broken(_) | Fault::Closed => "4.4.2",
        Fault::Tls(_) | Fault::NoTls | Fault::Injection | Fault::Login(_) => "4.7.0",
        Fault::Message(_) => "4.3.0",
        _ => "4.5.0",
    };
    let reply = match fault {
        Fault::Refused(reply) => Some(reply.to_string()),
        _ => None,
    };
    let what = match fault {
        Fault::Refused(_) => "the host refused the conversation".to_owned(),
        other => other.to_string(),
    };
    Problem { status: status.to_owned(), host: Some(host.to_string()), reply, what }
}

/// Conversations with the hosts of one domain at once.
const PER_DOMAIN: usize = 2;
/// Connections tried for one group in one attempt.
const MAX_CONNECTIONS: usize = 8;
