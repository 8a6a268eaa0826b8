//! The service that tries what is due, and what becomes of a record after an attempt: gone, later,
//! or returned.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bounce::{Enclosed, Kind, Notice, Success};
use super::states::{Origin, Problem, Recipient, State, Wish, signed};
use super::{AcceptError, Incoming, Inner, QueueError, Source, random};
use crate::config::OutboundMode;
use crate::mail::{Address, Domain, Envelope, LocalPart, MailRequests, Return, ReversePath};
use crate::store::{Batch, Content, QueueId, QueueRecord, StoreError};

impl Inner {
    /// Tries what is due until `stop`; attempts going on then have a moment to end.
    pub(super) async fn run(self: &Arc<Self>, stop: CancellationToken) {
        let mut running = JoinSet::new();
        loop {
            let wait = self.start_due(&mut running).unwrap_or_else(|error| {
                tracing::error!(%error, "the queue cannot be read; trying again in a minute");
                LONGEST_WAIT
            });
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.marks.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(_) = running.join_next() => {}
            }
        }
        let ending = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ending).await.is_err() {
            // As safe as a power cut: what was heard is written down already.
            running.shutdown().await;
        }
    }

    /// Starts what is due, and says how long nothing else will be.
    fn start_due(self: &Arc<Self>, running: &mut JoinSet<()>) -> Result<Duration, StoreError> {
        let now = self.clock.now();
        let holding = matches!(self.outbound.mode, OutboundMode::Hold);
        let mut wait = LONGEST_WAIT;
        for record in self.store.queue()? {
            let Some(state) = State::decode(&record.state) else { continue };
            if state.is_held(holding) || self.busy().contains(&record.id) {
                continue;
            }
            if !state.is_due(now, &self.schedule, holding) {
                let due = state.due(now, &self.schedule);
                wait = wait.min(Duration::try_from(due.duration_since(now)).unwrap_or_default());
                continue;
            }
            // One that ends wakes us.
            if running.len() >= MAX_RECORDS {
                break;
            }
            // Half of them are for mail of our people.
            let own = matches!(state.origin, Origin::Account(_));
            if !own && running.len() >= MAX_RECORDS / 2 {
                continue;
            }
            self.busy().insert(record.id);
            let claim = Claim { inner: Arc::clone(self), id: record.id };
            running.spawn(async move {
                let Claim { inner, id } = &claim;
                match Box::pin(inner.attempt(*id)).await {
                    Ok(()) | Err(QueueError::Missing(_)) => {}
                    Err(error) => {
                        tracing::error!(id = id.0, %error, "an attempt failed here");
                        tokio::time::sleep(LONGEST_WAIT).await;
                    }
                }
            });
        }
        Ok(wait)
    }

    /// After an attempt: tells the sender what failed, forgets what is settled, sets the time of the
    /// next attempt; all in one commit, so that nobody is told twice or never.
    pub(super) async fn conclude(&self, id: QueueId) -> Result<(), QueueError> {
        let _turn = self.marks.edit.lock().await;
        let (record, mut state) = self.load(id)?;
        let now = self.clock.now();
        let delay = self.schedule.delay(state.attempts.saturating_add(1), random());
        let later = now.saturating_add(signed(delay)).unwrap_or(now);
        match self.settle(&record, state.clone(), now, later).await {
            // No room for a notice: the record keeps what is to be told, and is not tried in haste.
            Err(QueueError::Store(StoreError::Full)) => {
                tracing::warn!(id = id.0, "no room for a notice; it is written later");
                state.attempts = state.attempts.saturating_add(1);
                state.next_attempt = later;
                let mut batch = Batch::new();
                batch.update_queued(id, state.encode());
                self.store.commit(batch).await?;
                Ok(())
            }
            other => other,
        }
    }

    async fn settle(
        &self,
        record: &QueueRecord,
        mut state: State,
        now: Timestamp,
        later: Timestamp,
    ) -> Result<(), QueueError> {
        state.age.count(now, self.clock.trust(), self.schedule.longest());
        state.attempts = state.attempts.saturating_add(1);
        if state.age.reached(self.schedule.expiry) {
            // What we keep back ourselves is not returned for that.
            let ours = |r: &Recipient| r.last.as_ref().is_some_and(|problem| problem.ours);
            state.recipients.iter_mut().filter(|r| r.is_open() && !ours(r)).for_each(expire);
        }
        let (open, settled): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.recipients).into_iter().partition(Recipient::is_open);
        let (failed, relayed): (Vec<_>, Vec<_>) = settled.into_iter().partition(|r| r.failed);
        let failed: Vec<_> = failed.into_iter().filter(|r| r.wants(Wish::Failure)).collect();
        let mut batch = Batch::new();
        if !failed.is_empty() {
            self.notify(&mut batch, record, &state, &failed, Kind::Failure).await?;
        }
        if !relayed.is_empty() && matches!(state.origin, Origin::Account(_)) {
            let kind = Kind::Success(Success::Relayed);
            self.notify(&mut batch, record, &state, &relayed, kind).await?;
        }
        if open.is_empty() {
            batch.dequeue(record.id);
        } else {
            if !state.notified && state.age.reached(self.schedule.notice) {
                state.notified = true;
                let rest = self.schedule.expiry.saturating_sub(self.schedule.notice);
                let until = now.saturating_add(signed(rest)).unwrap_or(now);
                let told: Vec<_> = open.iter().filter(|r| r.wants(Wish::Delay)).cloned().collect();
                if matches!(state.origin, Origin::Account(_)) && !told.is_empty() {
                    self.notify(&mut batch, record, &state, &told, Kind::Delay(until)).await?;
                }
            }
            state.next_attempt = later;
            state.recipients = open;
            batch.update_queued(record.id, state.encode());
        }
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Adds to `batch` a notice to whoever should know.
    async fn notify(
        &self,
        batch: &mut Batch,
        record: &QueueRecord,
        state: &State,
        recipients: &[Recipient],
        kind: Kind,
    ) -> Result<(), QueueError> {
        let Some(to) = Self::informed(state, recipients) else {
            tracing::warn!(id = record.id.0, "a notice could not be delivered; it is dropped");
            return Ok(());
        };
        let about =
            About { content: &record.content, asked: &state.asked, received: state.received };
        self.tell(batch, to, &about, recipients, kind).await
    }

    /// Adds to `batch` a notice to `to`.
    pub(super) async fn tell(
        &self,
        batch: &mut Batch,
        to: Address,
        about: &About<'_>,
        recipients: &[Recipient],
        kind: Kind,
    ) -> Result<(), QueueError> {
        let home = if self.accounts.is_ours(to.domain()) { to.domain() } else { &self.hostname };
        let Some(from) = postmaster(home) else { return Ok(()) };
        let at: Timestamp = self.clock.now();
        let notice = Notice {
            to: &to,
            from,
            hostname: &self.hostname,
            envid: about.asked.envid.as_ref(),
            recipients,
            kind,
            received: about.received,
            at,
            unique: format!("{:08x}{:08x}{:08x}", random(), random(), random()),
        };
        let whole = kind == Kind::Failure
            && about.asked.ret == Some(Return::Full)
            && about.content.size() <= MOST_RETURNED;
        let enclosed = if whole { Enclosed::Message } else { Enclosed::Header };
        let (head, end) = notice.frame(enclosed);
        let mut body = self.store.new_body();
        body.write(&head).await?;
        if whole {
            self.copy_into(&mut body, about.content).await?;
        } else {
            let header = self.header(about.content).await.unwrap_or_else(|error| {
                // The card lost it: who sent it is told all the same.
                tracing::warn!(%error, "a notice goes without the message's header");
                Vec::new()
            });
            body.write(&header).await?;
        }
        body.write(&end).await?;
        let mut envelope = Envelope::new(ReversePath::Null, [to]);
        // RFC 8689 §5: it tells of the message, and is protected like it.
        envelope.asked.require_tls = about.asked.require_tls;
        let incoming = Incoming {
            envelope,
            trace: Vec::new(),
            body: body.finish().await?,
            source: Source::Own,
            received: at,
            judge: None,
        };
        match self.plan(batch, &incoming, false).await {
            Ok(_) => Ok(()),
            Err(AcceptError::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "a notice could not be delivered");
                Ok(())
            }
        }
    }

    /// Who is told: the sender; never the sender of a notice. A stranger's mail that an alias of
    /// ours sent on is our own affair: telling whom it claims to be from would spread spam.
    fn informed(state: &State, recipients: &[Recipient]) -> Option<Address> {
        let from = state.from.address()?;
        match state.origin {
            Origin::Account(_) => Some(from.clone()),
            Origin::Own => None,
            Origin::Stranger => {
                let first = recipients.first()?;
                postmaster(first.via.as_ref().unwrap_or(&first.address).domain())
            }
        }
    }
}

/// What a notice is about.
pub(super) struct About<'a> {
    pub(super) content: &'a Content,
    pub(super) asked: &'a MailRequests,
    pub(super) received: Timestamp,
}

/// Holds a record's place among those being tried; gives it back however the attempt ends.
struct Claim {
    inner: Arc<Inner>,
    id: QueueId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.inner.busy().remove(&self.id);
        self.inner.marks.wake.notify_one();
    }
}

impl Inner {
    pub(super) fn busy(&self) -> std::sync::MutexGuard<'_, std::collections::HashSet<QueueId>> {
        self.marks.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was temporary so long is final.
fn expire(recipient: &mut Recipient) {
    let mut problem = recipient
        .last
        .take()
        .unwrap_or_else(|| Problem::new("4.4.7", "the recipient's mail host was never reached"));
    "5.4.7".clone_into(&mut problem.status);
    problem.what = format!("it was tried for days; the last time: {}", problem.what);
    recipient.last = Some(problem);
    recipient.failed = true;
}

fn postmaster(domain: &Domain) -> Option<Address> {
    let local: LocalPart = "postmaster".parse().ok()?;
    Some(Address::new(local, domain.clone()))
}

/// The clock may be set at any time: due times are looked at this often at least.
pub(super) const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Time for attempts to end when the box stops; less than it waits for its services.
const GRACE: Duration = Duration::from_secs(8);
/// A message that its sender wants back whole is returned so up to this size.
const MOST_RETURNED: u64 = 5 << 20;
/// Records tried at once; connections are limited further.
const MAX_RECORDS: usize = 200;
