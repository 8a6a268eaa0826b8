//! One attempt at one record: its recipients are grouped by where they go, each group is handed to
//! the first host that takes it, and what was heard is written down group by group, so that nobody
//! whose host said yes is ever sent it twice. Who was refused on the direct way because of where
//! this box stands is tried by the relay for such cases in the same attempt.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::note::{Heard, Outcome};
use super::security::Wish;
use super::states::{Origin, Problem, Recipient, State};
use super::ways::Way;
use super::{AcceptError, Incoming, Inner, QueueError, Source, Whose, bounce};
use crate::mail::{self, Address, Domain, Envelope, MailRequests, ReversePath};
use crate::store::{Batch, Body, BodyWriter, Content, QueueId, StoreError};

/// A message on its way: what goes on the wire before its stored bytes, and those.
pub(super) struct Outgoing {
    pub(super) id: QueueId,
    pub(super) origin: Origin,
    pub(super) from: ReversePath,
    pub(super) asked: MailRequests,
    pub(super) wish: Wish,
    /// See [`super::head`].
    pub(super) head: Vec<u8>,
    pub(super) content: Content,
}

/// Recipients who go together.
struct Group {
    way: Way,
    /// The address of ours that sends it on to them.
    alias: Option<Address>,
    to: Vec<mail::Recipient>,
}

impl Inner {
    /// Tries a record once and writes down what came of it.
    pub(super) async fn attempt(self: &Arc<Self>, id: QueueId) -> Result<(), QueueError> {
        let (record, state) = self.load(id)?;
        let groups = self.groups(&state, |_| true);
        if !groups.is_empty() {
            // Nothing goes out while nothing can be written down: it would go out again and again.
            self.store.alive().await?;
            let outgoing = self.outgoing(&record, &state).await?;
            self.try_groups(&outgoing, groups).await?;
            let before = |recipient: &Recipient| {
                state.recipients.iter().any(|r| r.address == recipient.address && r.detour)
            };
            let second_round = match self.load(id) {
                Ok((_, now)) => self.groups(&now, |r| r.detour && !before(r)),
                Err(QueueError::Missing(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
            self.try_groups(&outgoing, second_round).await?;
        }
        self.conclude(id).await
    }

    async fn try_groups(
        self: &Arc<Self>,
        outgoing: &BTreeMap<Option<Address>, Arc<Outgoing>>,
        groups: Vec<Group>,
    ) -> Result<(), QueueError> {
        let mut running = JoinSet::new();
        for Group { way, alias, to } in groups {
            let Some(outgoing) = outgoing.get(&alias).cloned() else { continue };
            let inner = Arc::clone(self);
            running.spawn(async move {
                let outcome = Box::pin(inner.try_group(&outgoing, &way, &to)).await;
                inner.note_surely(outgoing.id, &way, &to, &outcome).await;
            });
        }
        // All of them end: what one host took must be written down whatever befell another.
        let mut failure = None;
        while let Some(ended) = running.join_next().await {
            failure = failure.or(ended.err());
        }
        failure.map_or(Ok(()), |error| Err(QueueError::Stopped(error.to_string())))
    }

    /// Open recipients by the way they go, and by the alias that sends it there: each is told of
    /// its own alone.
    fn groups(&self, state: &State, which: impl Fn(&Recipient) -> bool) -> Vec<Group> {
        let mut groups: BTreeMap<(Way, Option<Address>), Vec<mail::Recipient>> = BTreeMap::new();
        for recipient in state.open().filter(|recipient| which(recipient)) {
            let domain = recipient.address.domain();
            // It became ours while the message waited.
            let way = if self.accounts.is_ours(domain) {
                Way::Direct(domain.clone())
            } else {
                Way::of(&self.outbound, &state.from, recipient)
            };
            let key = (way, recipient.via.clone());
            groups.entry(key).or_default().push(recipient.outward());
        }
        // A host need take no more than 100 recipients at once (RFC 5321 §4.5.3.1.8).
        let chunks = groups.into_iter().flat_map(|((way, alias), to)| {
            let chunks: Vec<_> = to.chunks(100).map(<[mail::Recipient]>::to_vec).collect();
            let group = move |to| Group { way: way.clone(), alias: alias.clone(), to };
            chunks.into_iter().map(group)
        });
        chunks.collect()
    }

    async fn try_group(&self, outgoing: &Outgoing, way: &Way, to: &[mail::Recipient]) -> Outcome {
        // The host's turn first: those who wait for a slow one take no place from others.
        let relay = way.relay(&self.outbound);
        let whose = match outgoing.origin {
            Origin::Account(_) => Whose::Ours,
            Origin::Own | Origin::Stranger => Whose::Other,
        };
        let turns = match (way, relay) {
            (Way::Direct(domain), _) => Some(self.turns(domain, whose)),
            (_, Some(relay)) => Some(self.turns(&relay.host, whose)),
            _ => None,
        };
        let _turn = match &turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        let _other = match whose {
            Whose::Ours => None,
            Whose::Other => self.marks.others.acquire().await.ok(),
        };
        let _place = self.marks.places.acquire().await;
        match (way, relay) {
            (Way::Direct(domain), _) if self.accounts.is_ours(domain) => {
                let kept = self.keep_here(outgoing, to).await;
                let heard = kept.unwrap_or_else(|problem| Heard::all(to, &problem, false));
                Outcome { heard, ..Outcome::default() }
            }
            (Way::Direct(domain), _) => self.try_domain(outgoing, domain, to).await,
            (_, Some(relay)) => self.try_relay(outgoing, relay, to).await,
            (_, None) => {
                let gone = Problem::new("4.3.5", "the relay's settings are gone");
                Outcome { heard: Heard::all(to, &gone, false), ..Outcome::default() }
            }
        }
    }

    /// Delivers to people here what was queued for elsewhere.
    async fn keep_here(
        &self,
        outgoing: &Outgoing,
        to: &[mail::Recipient],
    ) -> Result<Vec<Heard>, Problem> {
        let fail = |error: &dyn std::fmt::Display| Problem::new("4.3.0", error.to_string());
        let body = self.copy(&outgoing.content).await.map_err(|error| fail(&error))?;
        // Delivery and the end of waiting are one commit.
        let _turn = self.marks.edit.lock().await;
        let (_, mut state) = self.load(outgoing.id).map_err(|error| fail(&error))?;
        let gone = |r: &Recipient| r.is_open() && to.iter().any(|to| to.address == r.address);
        state.recipients.retain(|recipient| !gone(recipient));
        let incoming = Incoming {
            envelope: Envelope {
                from: outgoing.from.clone(),
                to: to.to_vec(),
                asked: outgoing.asked.clone(),
            },
            trace: Vec::new(),
            body,
            source: match state.origin {
                Origin::Stranger => Source::Stranger,
                Origin::Account(account) => Source::Account(account),
                Origin::Own => Source::Own,
            },
            received: self.clock.now(),
            judge: None,
        };
        let settled = state.encode();
        let settle = |batch: &mut Batch| {
            batch.update_queued(outgoing.id, settled.clone());
        };
        self.take(&incoming, false, settle).await.map_err(|error| match error {
            AcceptError::Store(StoreError::OverQuota) => {
                Problem::new("4.2.2", "the mailbox is full")
            }
            error => fail(&error),
        })?;
        Ok(to.iter().map(|_| Heard::Kept).collect())
    }

    /// The bytes of a stored message as a new body, piece by piece.
    async fn copy(&self, content: &Content) -> Result<Body, StoreError> {
        let mut writer = self.store.new_body();
        self.copy_into(&mut writer, content).await?;
        writer.finish().await
    }

    /// Adds the bytes of a stored message to a body, piece by piece.
    pub(super) async fn copy_into(
        &self,
        writer: &mut BodyWriter,
        content: &Content,
    ) -> Result<(), StoreError> {
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
                return Ok(());
            }
            writer.write(&piece).await?;
        }
    }

    /// The turns of one domain; unused ones of others are forgotten.
    fn turns(&self, domain: &Domain, whose: Whose) -> Arc<Semaphore> {
        let mut all = self.marks.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.retain(|_, turns| Arc::strong_count(turns) > 1);
        let at_once = match whose {
            Whose::Ours => PER_DOMAIN,
            Whose::Other => 1,
        };
        let turns =
            all.entry((domain.clone(), whose)).or_insert_with(|| Arc::new(Semaphore::new(at_once)));
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

/// Conversations with the hosts of one domain at once, for our people; one more for the rest.
const PER_DOMAIN: usize = 2;
