//! Looking for reports in new mail, in the background: what was stored since the last look, in its
//! order, a little at a time. How far it got is kept, now and then and with every report found; after
//! a power cut some messages are looked at twice, and a report is still kept once.

use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::shelf::{Kept, Report, Shelf};
use super::{Broken, Reports, ReportsError, found};
use crate::clock::ClockTrust;
use crate::store::{Batch, BodyId, Store, StoreError};

/// Time for more mail to come.
const GATHER: Duration = Duration::from_secs(5);
/// Time before the next attempt after a failure, or while the clock is wrong.
const RETRY: Duration = Duration::from_mins(5);
/// Messages looked at in one step.
const STEP: usize = 64;
/// Numbers asked for at once.
const PAGE: usize = 1024;
/// A body whose upload took long appears below others that were looked at: so far back we look.
const BACK: u64 = 2048;
/// Messages after which the place is kept even when none was a report.
const KEEP_EVERY: u64 = 1000;

const PLACE: &str = "reports/looked";

/// How far mail was looked at.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The highest number looked at.
    seen: Option<BodyId>,
    /// Those looked at since the start that are not far below it.
    recent: BTreeSet<BodyId>,
    /// What the store knows of it.
    kept: Option<BodyId>,
}

impl Place {
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        let kept = store.setting(PLACE)?.and_then(|value| {
            let number = std::str::from_utf8(&value).ok()?.parse().ok()?;
            // A number that no body has yet: of another store.
            (BodyId(number) < store.body_horizon()).then_some(BodyId(number))
        });
        Ok(Self { seen: kept, recent: BTreeSet::new(), kept })
    }

    /// Bodies to look at next, and whether these are all.
    fn next(&self, store: &Store) -> Result<(Vec<BodyId>, bool), StoreError> {
        let mut after = self.seen.and_then(|seen| seen.0.checked_sub(BACK)).map(BodyId);
        let mut new = Vec::new();
        loop {
            let page = store.bodies_after(after, PAGE)?;
            let all = page.len() < PAGE;
            after = page.last().copied().or(after);
            new.extend(page.into_iter().filter(|body| !self.recent.contains(body)));
            if new.len() > STEP {
                new.truncate(STEP);
                return Ok((new, false));
            }
            if all {
                return Ok((new, true));
            }
        }
    }

    fn looked_at(&mut self, body: BodyId) {
        self.seen = self.seen.max(Some(body));
        self.recent.insert(body);
        let floor = self.seen.map_or(0, |seen| seen.0.saturating_sub(BACK));
        while self.recent.first().is_some_and(|first| first.0 < floor) {
            self.recent.pop_first();
        }
    }

    /// Adds the place to `batch`.
    fn keep(&mut self, batch: &mut Batch) {
        if let Some(seen) = self.seen.filter(|_| self.kept != self.seen) {
            batch.put_setting(PLACE, seen.0.to_string().into_bytes());
            self.kept = Some(seen);
        }
    }

    fn is_far(&self) -> bool {
        let number = |body: Option<BodyId>| body.map_or(0, |body| body.0);
        number(self.seen).saturating_sub(number(self.kept)) >= KEEP_EVERY
    }
}

impl Reports {
    /// Looks at new mail until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        let mut changes = self.inner.store.changes();
        loop {
            let wait = tokio::select! {
                () = stop.cancelled() => return,
                done = self.catch_up() => match done {
                    Ok(true) => GATHER,
                    // The time decides what is kept: nothing is looked at before it is known.
                    Ok(false) => RETRY,
                    Err(error) => {
                        tracing::warn!(%error, "reports of other mail hosts are not read now");
                        RETRY
                    }
                },
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
            }
            if wait == RETRY {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                change = changes.recv() => match change {
                    Ok(_) | Err(RecvError::Lagged(_)) => changes = changes.resubscribe(),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// Looks at all mail that was not looked at; false when it cannot be done yet. Works at most
    /// half of the time.
    pub async fn catch_up(&self) -> Result<bool, ReportsError> {
        if self.inner.clock.trust() == ClockTrust::Unknown {
            return Ok(false);
        }
        loop {
            let begun = Instant::now();
            if self.step().await? {
                return Ok(true);
            }
            sleep(begun.elapsed()).await;
        }
    }

    /// Looks at some messages; true when there are no more.
    async fn step(&self) -> Result<bool, ReportsError> {
        let mut place = self.inner.place.lock().await;
        let (bodies, all) = place.next(&self.inner.store)?;
        if bodies.is_empty() {
            return Ok(true);
        }
        let inner = Arc::clone(&self.inner);
        let looking = bodies.clone();
        let work = move || {
            let ours = |domain: &_| inner.accounts.is_ours(domain);
            let mut found = Vec::new();
            for body in looking {
                if let Some(report) = look(&inner.store, body, ours)? {
                    found.push(report);
                }
            }
            Ok::<_, StoreError>(found)
        };
        let found = tokio::task::spawn_blocking(work).await;
        let found = found.map_err(|error| ReportsError::Stopped(error.to_string()))??;
        let mut batch = Batch::new();
        let news = self.put(&found, &mut batch);
        for body in bodies {
            place.looked_at(body);
        }
        if news || place.is_far() {
            place.keep(&mut batch);
            if let Err(error) = self.inner.store.commit(batch).await {
                // What was not kept is found again.
                *place = Place::load(&self.inner.store)?;
                *self.inner.shelf() = Shelf::load(&self.inner.store)?;
                return Err(error.into());
            }
        }
        Ok(all)
    }

    /// Adds to `batch` what keeping these reports means; whether any of them is new.
    fn put(&self, found: &[Report], batch: &mut Batch) -> bool {
        let mut kept = self.inner.shelf();
        let now = self.inner.clock.now();
        let mut news = false;
        for report in found {
            let day = report.day();
            match kept.put(report, now, batch) {
                Kept::New => news = true,
                Kept::Known => {}
                Kept::OutOfTime => tracing::debug!(%day, "a report out of time"),
                Kept::TooMany => tracing::info!(%day, "too many reports; one was left out"),
            }
        }
        news
    }
}

/// What a stored message reports. One that cannot be read, or is broken, reports nothing.
fn look(
    store: &Store,
    body: BodyId,
    is_ours: impl Fn(&crate::mail::Domain) -> bool,
) -> Result<Option<Report>, StoreError> {
    let mut reader = match store.read_body(body) {
        Ok(reader) => reader,
        Err(error @ StoreError::Closed) => return Err(error),
        Err(_) => return Ok(None),
    };
    let looked = reader.seek(SeekFrom::End(0)).map_err(Broken::from).and_then(|length| {
        reader.seek(SeekFrom::Start(0))?;
        found::look(&mut reader, length, is_ours)
    });
    Ok(looked.unwrap_or_else(|broken| {
        tracing::debug!(body = body.0, %broken, "not a report after all");
        None
    }))
}
