//! The way out, and the one door through which messages are taken: what was accepted is made
//! durable in one commit, local recipients' copies and the outbound record together. A record
//! is tried by schedule, its recipients grouped by where they go (MX hosts by priority, or a
//! relay), each signed with DKIM or sealed with ARC on the way and protected as its domain demands
//! (DANE, MTA-STS), and it ends delivered, or returned to its sender with a reason, never in silence.

mod accept;
mod advice;
mod attempt;
mod bounce;
#[cfg(feature = "fuzzing")]
#[allow(clippy::missing_panics_doc, reason = "a panic is what is looked for")]
pub mod fuzz;
mod head;
mod ledger;
mod listed;
mod note;
mod providers;
mod reports;
mod route;
mod runner;
mod schedule;
mod security;
mod send;
mod srs;
mod states;
mod sts;
mod tally;
mod ways;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::clock::SharedClock;
use crate::config::Outbound;
use crate::deliver::Judge;
use crate::dns::Resolver;
use crate::mail::{Address, Domain, Envelope};
use crate::policy::dkim::SigningKeys;
use crate::smtp::client::{Client, Timeouts};
use crate::store::{AccountId, Batch, Body, Outcome, QueueId, QueueRecord, Store, StoreError};
pub use ledger::LedgerEntry;
pub use listed::Item;
pub use schedule::Schedule;
use states::{Hold, State};
use sts::{Fetcher, Policies};
pub use tally::{TlsFailure, TlsTally};

/// The queue; cheap to clone.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

/// What a queue stands on.
pub struct QueueParts {
    /// Where records and local copies go.
    pub store: Store,
    /// Who lives here.
    pub accounts: Accounts,
    /// Where mail hosts are found.
    pub resolver: Resolver,
    /// What signs our people's mail.
    pub keys: SigningKeys,
    /// The box's name, said in EHLO and in notices.
    pub hostname: Domain,
    /// How mail leaves.
    pub outbound: Outbound,
    /// Where this box takes mail itself: never a place to send to.
    pub listens: Vec<SocketAddr>,
    /// The time.
    pub clock: SharedClock,
    /// When to try again.
    pub schedule: Schedule,
}

/// What all handles share.
struct Inner {
    store: Store,
    accounts: Accounts,
    resolver: Resolver,
    keys: SigningKeys,
    hostname: Domain,
    outbound: Outbound,
    listens: Vec<SocketAddr>,
    clock: SharedClock,
    schedule: Schedule,
    client: Client,
    policies: Policies,
    /// Whether this box's IPv6 addresses have its name in the DNS, and since when that is known.
    six: Mutex<Option<(std::time::Instant, bool)>>,
    marks: Arc<Marks>,
}

/// What is under way in one data folder; a queue with other settings takes it over, so that what
/// the former one is still busy with is not begun twice.
struct Marks {
    /// Something may be due.
    wake: Notify,
    /// A record's state is read and written by one at a time.
    edit: tokio::sync::Mutex<()>,
    /// Records being tried.
    busy: Mutex<HashSet<QueueId>>,
    /// Conversations at once, in all and by domain.
    places: Semaphore,
    /// Of these, those for [`Whose::Other`].
    others: Semaphore,
    turns: Mutex<HashMap<(Domain, Whose), Arc<Semaphore>>>,
    /// Recipients under way to each large provider.
    under_way: Mutex<HashMap<&'static str, u64>>,
}

/// Whose mail it is. What none of our people sent never waits in the same line with what they did:
/// strangers decide where it goes, to hosts that take an hour for a word, if they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    /// An account sent it.
    Ours,
    /// Notices, reports, and what aliases send on.
    Other,
}

impl Queue {
    /// A queue over these parts. It takes messages at once; [`Queue::run`] sends them.
    pub fn new(parts: QueueParts) -> Result<Self, QueueError> {
        let marks = Marks {
            wake: Notify::new(),
            edit: tokio::sync::Mutex::default(),
            busy: Mutex::default(),
            places: Semaphore::new(PLACES),
            others: Semaphore::new(OTHERS),
            turns: Mutex::default(),
            under_way: Mutex::default(),
        };
        Self::with(parts, Arc::new(marks))
    }

    /// A queue over the same records with other settings. Both may be used: what one of them is
    /// busy with the other leaves alone.
    pub fn successor(&self, parts: QueueParts) -> Result<Self, QueueError> {
        Self::with(parts, Arc::clone(&self.inner.marks))
    }

    fn with(parts: QueueParts, marks: Arc<Marks>) -> Result<Self, QueueError> {
        let roots = parts.outbound.ca.as_deref().map(authorities).transpose()?.unwrap_or_default();
        let client = Client::new(parts.hostname.clone(), &roots, Timeouts::default())
            .map_err(QueueError::Tls)?;
        let web = client.web().map_err(QueueError::Tls)?;
        let fetcher = Fetcher::new(web, parts.outbound.https_port);
        let policies = Policies::new(parts.store.clone(), parts.resolver.clone(), fetcher);
        let inner = Inner {
            store: parts.store,
            accounts: parts.accounts,
            resolver: parts.resolver,
            keys: parts.keys,
            hostname: parts.hostname,
            outbound: parts.outbound,
            listens: parts.listens,
            clock: parts.clock,
            schedule: parts.schedule,
            client,
            policies,
            six: Mutex::default(),
            marks,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends what is due until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        Box::pin(self.inner.run(stop)).await;
    }

    /// Takes a message for all recipients of its envelope, durable when this returns.
    /// Local ones are delivered at once; for the others one record is queued.
    pub async fn accept(&self, incoming: Incoming) -> Result<Accepted, AcceptError> {
        self.accept_on(incoming, &Terms::default()).await
    }

    /// The same, on terms.
    pub async fn accept_on(
        &self,
        incoming: Incoming,
        terms: &Terms,
    ) -> Result<Accepted, AcceptError> {
        if terms.held && self.inner.held_of(incoming.source)? >= MOST_HELD {
            return Err(AcceptError::Held(MOST_HELD));
        }
        let also = |batch: &mut Batch| {
            for (key, value) in &terms.settings {
                batch.put_setting(key, value.clone());
            }
        };
        let (outcomes, planned) = self.inner.take(&incoming, terms.held, also).await?;
        let delivered = planned.delivered;
        let queued = outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Queued(id) => Some(id),
            _ => None,
        });
        // The message is safe: what goes wrong from here on is no reason to refuse it.
        if let Err(error) = self.inner.tell_of_success(&incoming, planned).await {
            tracing::warn!(%error, "a sender is not told of success");
        }
        if delivered > 0 && self.inner.may_report(&incoming) {
            let content = incoming.body.content(&incoming.trace);
            let (inner, now) = (Arc::clone(&self.inner), incoming.received);
            tokio::spawn(async move {
                if let Err(error) = inner.learn(content, now).await {
                    tracing::warn!(%error, "a report could not be read");
                }
            });
        }
        if queued.is_some() {
            self.inner.marks.wake.notify_one();
        }
        Ok(Accepted { queued, delivered })
    }

    /// Whether this is an address of ours made for a sender whose mail an alias sent on: notices
    /// to it are taken and sent back there. Only valid ones are.
    pub fn sends_back(&self, to: &Address) -> bool {
        self.inner.rewritten(to).is_some()
    }

    /// Why no mail is taken for an address elsewhere: its host said that it does not exist.
    pub fn kept_back(&self, to: &Address) -> Result<Option<LedgerEntry>, StoreError> {
        let entry = ledger::read(&self.inner.store, to)?;
        let now = self.inner.clock.now();
        Ok(entry.filter(|entry| entry.kept_back_until.is_some_and(|until| until > now)))
    }

    /// Addresses to which mail went badly, and how.
    pub fn ledger(&self) -> Result<Vec<(String, LedgerEntry)>, StoreError> {
        ledger::all(&self.inner.store)
    }

    /// Forgets what is held against an address, so that mail for it is taken again.
    pub async fn lift(&self, address: &Address) -> Result<(), QueueError> {
        let _turn = self.inner.marks.edit.lock().await;
        if ledger::read(&self.inner.store, address)?.is_none() {
            return Err(QueueError::Blameless(address.clone()));
        }
        let mut batch = Batch::new();
        ledger::forget(&mut batch, address);
        self.inner.store.commit(batch).await?;
        Ok(())
    }

    /// What became of TLS on one day (days since 1970), by domain: for the reports of RFC 8460.
    /// Kept for three days.
    pub fn tls_results(&self, day: i64) -> Result<Vec<(Domain, TlsTally)>, StoreError> {
        tally::of_day(&self.inner.store, day)
    }

    /// Whether mail for this address finds room, by the size its sender announced: not when all
    /// accounts behind it are full.
    pub fn has_room(&self, to: &Address, size: Option<u64>) -> Result<bool, AcceptError> {
        self.inner.has_room(std::slice::from_ref(to), size.unwrap_or(1))
    }

    /// Makes one record, or all, due now.
    pub async fn retry(&self, id: Option<QueueId>) -> Result<(), QueueError> {
        let ids = match id {
            Some(id) => vec![id],
            None => self.inner.store.queue()?.into_iter().map(|record| record.id).collect(),
        };
        let now = self.inner.clock.now();
        for one in ids {
            match self.inner.change(one, |state| state.next_attempt = now).await {
                // Of all, those that are gone or damaged are not the ones meant.
                Err(QueueError::Missing(_) | QueueError::Damaged(_)) if id.is_none() => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Keeps a record from being tried. An attempt going on is not stopped.
    pub async fn hold(&self, id: QueueId) -> Result<(), QueueError> {
        self.inner.change(id, |state| state.hold = Hold::Owner).await
    }

    /// Ends a hold, also that of a box set to hold everything.
    pub async fn release(&self, id: QueueId) -> Result<(), QueueError> {
        let now = self.inner.clock.now();
        let release = |state: &mut State| {
            state.hold = Hold::No;
            state.next_attempt = now;
        };
        self.inner.change(id, release).await
    }

    /// Removes a record; nobody is told.
    pub async fn discard(&self, id: QueueId) -> Result<(), QueueError> {
        let _turn = self.inner.marks.edit.lock().await;
        self.inner.record(id)?;
        let mut batch = Batch::new();
        batch.dequeue(id);
        self.inner.store.commit(batch).await?;
        Ok(())
    }
}

impl Inner {
    /// Messages held because whoever handed them in sends too much.
    fn held_of(&self, source: Source) -> Result<usize, StoreError> {
        let Source::Account(account) = source else { return Ok(0) };
        let is_its = |state: &State| {
            state.hold == Hold::Limit && state.origin == states::Origin::Account(account)
        };
        let records = self.store.queue()?;
        Ok(records.iter().filter_map(|r| State::decode(&r.state)).filter(is_its).count())
    }

    fn record(&self, id: QueueId) -> Result<QueueRecord, QueueError> {
        self.store.queued(id)?.ok_or(QueueError::Missing(id.0))
    }

    fn load(&self, id: QueueId) -> Result<(QueueRecord, State), QueueError> {
        let record = self.record(id)?;
        let state = State::decode(&record.state).ok_or(QueueError::Damaged(id.0))?;
        Ok((record, state))
    }

    async fn change(&self, id: QueueId, change: impl FnOnce(&mut State)) -> Result<(), QueueError> {
        let _turn = self.marks.edit.lock().await;
        let (_, mut state) = self.load(id)?;
        change(&mut state);
        let mut batch = Batch::new();
        batch.update_queued(id, state.encode());
        self.store.commit(batch).await?;
        self.marks.wake.notify_one();
        Ok(())
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("hostname", &self.inner.hostname).finish_non_exhaustive()
    }
}

/// A message that passed every check at the door.
#[derive(Debug)]
pub struct Incoming {
    /// Who it is from and for.
    pub envelope: Envelope,
    /// Received fields of ours, to be put on top; whole lines.
    pub trace: Vec<u8>,
    /// The message.
    pub body: Body,
    /// Who handed it in.
    pub source: Source,
    /// When.
    pub received: Timestamp,
    /// Decides where it goes; without, it goes to the inbox.
    pub judge: Option<Arc<dyn Judge>>,
}

/// What taking a message comes with.
#[derive(Debug, Default)]
pub struct Terms {
    /// Its account has sent more than it may: what goes elsewhere waits for the owner.
    pub held: bool,
    /// Settings of the store, written in the same commit.
    pub settings: Vec<(String, Vec<u8>)>,
}

/// Who handed a message in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A stranger's server on port 25: local recipients only, and where their aliases lead.
    Stranger,
    /// An account: may send out, and is signed.
    Account(AccountId),
    /// This box itself: notices and bounces.
    Own,
}

/// A message is safe here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The outbound record, when some recipient is elsewhere.
    pub queued: Option<QueueId>,
    /// Number of local copies.
    pub delivered: usize,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stranger's mail, and nobody of this address lives here.
    #[error("{0} does not live here, and mail of strangers is not passed on")]
    Relay(Address),
    /// An alias leads in a circle, or to more than 100 addresses.
    #[error("the alias {0} leads in a circle or to too many addresses")]
    Alias(Address),
    /// The account has sent more than it may, and so much of it is held already.
    #[error("{0} messages of this account are held already")]
    Held(usize),
    /// Nobody wants it; why, in words for its sender.
    #[error("{reason}")]
    Unwanted {
        /// RFC 3463.
        status: &'static str,
        /// Why, in words.
        reason: String,
    },
}

/// Why a queue command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// No such record: delivered, returned or dropped meanwhile.
    #[error("there is no message {0} in the queue; `pillarbox queue list` shows what is")]
    Missing(u64),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record cannot be read.
    #[error(
        "the queue record {0} cannot be read: update this box, or `pillarbox queue drop {0}` it"
    )]
    Damaged(u64),
    /// Nothing is held against an address.
    #[error("nothing is held against {0}; `pillarbox queue ledger` shows what is")]
    Blameless(Address),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
    /// The file of authorities cannot be used.
    #[error("[outbound] ca: {} cannot be used: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A part of an attempt was stopped.
    #[error("an attempt was stopped: {0}")]
    Stopped(String),
}

/// The certificates in a PEM file.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, QueueError> {
    let fail = |reason: String| QueueError::Authorities { path: path.to_owned(), reason };
    let all = CertificateDer::pem_file_iter(path).map_err(|error| fail(error.to_string()))?;
    all.collect::<Result<_, _>>().map_err(|error| fail(error.to_string()))
}

/// Chance; zero should the system have none, which does no harm here.
fn random() -> u32 {
    let mut bytes = [0; 4];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::warn!("the system gives no random numbers");
    }
    u32::from_ne_bytes(bytes)
}

/// Conversations at once.
const PLACES: usize = 10;
/// And those of them for what none of our people sent.
const OTHERS: usize = 4;
/// Messages of one account held for its sending too much: whoever stole a password must not fill
/// the card.
const MOST_HELD: usize = 500;

#[cfg(all(test, feature = "demo"))]
mod tests;
