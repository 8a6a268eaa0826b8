//! The background task: wakes when mail comes, waits a little so that more comes together, takes
//! it in, and puts it on the shelf when there is much of it or after a while. It works at most
//! half of the time, and writes nothing when nothing is new.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Index;
use super::error::SearchError;
use super::work::{Haste, Left};
use crate::store::Store;
use crate::summary::Summaries;

/// Time for more mail to come.
const GATHER: Duration = Duration::from_secs(3);
/// Longest time that runs stay in memory only. What a power cut takes is taken in again.
const KEEP: Duration = Duration::from_mins(30);
/// Time before the next attempt after a failure.
const RETRY: Duration = Duration::from_mins(5);

/// Keeps an index and the summaries up to date until `stop`, then puts away what they have in
/// memory. A body that is new to both is read once.
pub async fn follow(
    index: Arc<Index>,
    summaries: Arc<Summaries>,
    store: Store,
    stop: CancellationToken,
) {
    let mut changes = store.changes();
    let task = Task { index, summaries, store, stop };
    let mut fresh_since = None;
    if let Err(error) = task.off_thread(|index, _, _| index.warm_up()).await {
        tracing::warn!(%error, "the search index cannot be read");
    }
    loop {
        let wait = match task.catch_up(&mut fresh_since).await {
            Ok(()) => task.summarise_the_rest().await,
            Err(SearchError::Stopped) => return task.end().await,
            Err(error) => {
                tracing::error!(%error, "the search index does not follow; searches read instead");
                Some(RETRY)
            }
        };
        if let Some(wait) = wait {
            tokio::select! {
                () = task.stop.cancelled() => return,
                () = sleep(wait) => continue,
            }
        }
        let due = fresh_since.map(|since: Instant| since + KEEP);
        tokio::select! {
            () = task.stop.cancelled() => {
                return task.end().await;
            }
            change = changes.recv() => match change {
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    tokio::select! {
                        () = task.stop.cancelled() => continue,
                        () = sleep(GATHER) => {}
                    }
                    changes = changes.resubscribe();
                }
                Err(RecvError::Closed) => return,
            },
            () = sleep_until(due.unwrap_or_else(far_away)), if due.is_some() => {}
        }
    }
}

fn far_away() -> Instant {
    Instant::now() + KEEP
}

struct Task {
    index: Arc<Index>,
    summaries: Arc<Summaries>,
    store: Store,
    stop: CancellationToken,
}

impl Task {
    /// Takes in all that is new; puts away what is many or old.
    async fn catch_up(&self, fresh_since: &mut Option<Instant>) -> Result<(), SearchError> {
        let mut news = false;
        loop {
            let begun = Instant::now();
            let summaries = Arc::clone(&self.summaries);
            let take_in =
                move |index: &Index, store: &Store, _: &_| index.take_in(store, Some(&summaries));
            let left = self.off_thread(take_in).await?;
            let Left { bodies, fresh, full } = left;
            if fresh {
                fresh_since.get_or_insert(begun);
            }
            news |= fresh;
            let old = fresh_since.is_some_and(|since| since.elapsed() >= KEEP);
            if full || old {
                self.off_thread(|index, store, stop| {
                    index.put_away(store, Haste::None, || !stop.is_cancelled())
                })
                .await?;
                let summaries = Arc::clone(&self.summaries);
                self.off_thread(move |_, store, stop| {
                    if let Err(error) = summaries.keep(store, || !stop.is_cancelled()) {
                        tracing::warn!(%error, "summaries of messages are behind");
                    }
                    Ok(())
                })
                .await?;
                *fresh_since = None;
            }
            if !bodies {
                if news {
                    // So that the first search after new mail is as fast as the second.
                    self.off_thread(|index, _, _| index.warm_up()).await?;
                }
                return Ok(());
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = sleep(begun.elapsed()) => {}
            }
        }
    }

    /// Summarises what the index knew before; how long to wait when that fails.
    async fn summarise_the_rest(&self) -> Option<Duration> {
        loop {
            let begun = Instant::now();
            let summaries = Arc::clone(&self.summaries);
            let done = self.off_thread(move |_, store, _| Ok(summaries.step(store)));
            match done.await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) | Err(_) => return None,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "messages are not summarised; lists read them instead");
                    return Some(RETRY);
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = sleep(begun.elapsed()) => {}
            }
        }
    }

    /// What is not put away now is taken in again after the next start.
    async fn end(&self) {
        let summaries = Arc::clone(&self.summaries);
        let put = self.off_thread(move |_, _, _| Ok(summaries.put_away())).await;
        if let Ok(Err(error)) = put {
            tracing::warn!(%error, "summaries of messages are behind");
        }
        let put = self.off_thread(|index, store, _| index.put_away(store, Haste::Great, || true));
        if let Err(error) = put.await {
            tracing::warn!(%error, "the search index is behind");
        }
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Index, &Store, &CancellationToken) -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchError> {
        let (index, store, stop) = (Arc::clone(&self.index), self.store.clone(), self.stop.clone());
        let done = spawn_blocking(move || work(&index, &store, &stop)).await;
        done.unwrap_or(Err(SearchError::Stopped))
    }
}
