//! The background task: wakes when mailboxes change, waits a little so that more comes together,
//! and learns from it. It works at most half of the time, and writes nothing when nothing is
//! learned.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Junk;
use crate::accounts::Accounts;
use crate::clock::{ClockTrust, SharedClock};
use crate::policy::greylist::Greylist;
use crate::policy::notes::NotesError;
use crate::store::{AccountId, Store};

/// Time for more changes to come: whoever moves one message to Junk moves others too.
const GATHER: Duration = Duration::from_secs(10);
/// Time between two looks at what people left in their inboxes.
const DAY: Duration = Duration::from_hours(24);
/// Time between two writes of the greylist.
const KEEP: Duration = Duration::from_mins(15);

/// What the task works on.
#[derive(Clone)]
pub struct Parts {
    /// What learns.
    pub junk: Arc<Junk>,
    /// What is kept along.
    pub greylist: Arc<Greylist>,
    /// Where people move their mail.
    pub store: Store,
    /// Who they are.
    pub accounts: Accounts,
    /// Says how long mail has lain where it is.
    pub clock: SharedClock,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("junk", &self.junk).finish_non_exhaustive()
    }
}

/// Learns from what people do, until `stop`.
pub async fn follow(parts: Parts, stop: CancellationToken) {
    let mut changes = parts.store.changes();
    let mut due = parts.all();
    // Not at once: a box that starts has other things to do.
    let mut settle = Instant::now() + KEEP;
    let mut keep = Instant::now() + KEEP;
    loop {
        for account in std::mem::take(&mut due) {
            parts.run(Job::CatchUp(account), &stop).await;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep_until(keep) => {
                keep = Instant::now() + KEEP;
                parts.run(Job::Keep, &stop).await;
            }
            () = sleep_until(settle) => {
                settle = Instant::now() + DAY;
                parts.run(Job::Forget, &stop).await;
                if parts.clock.trust() != ClockTrust::Unknown {
                    for account in parts.all() {
                        parts.run(Job::Settle(account), &stop).await;
                    }
                }
            }
            change = changes.recv() => {
                match change {
                    Ok(change) => {
                        due.insert(change.account);
                    }
                    Err(RecvError::Lagged(_)) => due = parts.all(),
                    Err(RecvError::Closed) => break,
                }
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = sleep(GATHER) => {}
                }
                loop {
                    use tokio::sync::broadcast::error::TryRecvError;
                    match changes.try_recv() {
                        Ok(change) => {
                            due.insert(change.account);
                        }
                        Err(TryRecvError::Lagged(_)) => due = parts.all(),
                        Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                    }
                }
            }
        }
    }
    parts.run(Job::End, &CancellationToken::new()).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    CatchUp(AccountId),
    Settle(AccountId),
    /// What belongs to accounts that are gone.
    Forget,
    Keep,
    End,
}

impl Parts {
    fn all(&self) -> BTreeSet<AccountId> {
        self.accounts.list().into_iter().map(|account| account.id).collect()
    }

    /// Does something off the threads that serve connections. What fails is tried again after the
    /// next change.
    async fn run(&self, job: Job, stop: &CancellationToken) {
        let (parts, stopped) = (self.clone(), stop.clone());
        let done = spawn_blocking(move || {
            let now = parts.clock.now();
            let mut turn = Turn::new();
            let goes_on = || turn.take(&stopped);
            match job {
                Job::CatchUp(account) => parts.junk.catch_up(&parts.store, account, now, goes_on),
                Job::Settle(account) => parts.junk.settle(&parts.store, account, now, goes_on),
                Job::Forget => {
                    parts.junk.keep_only(&parts.all().iter().map(|account| account.0).collect())
                }
                Job::Keep => parts.greylist.keep(now),
                Job::End => parts.greylist.keep(now).and(parts.junk.put_away(now)),
            }
        });
        match done.await {
            Ok(Ok(()) | Err(NotesError::Stopped)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "nothing was learned about junk just now"),
            Err(error) => tracing::error!(%error, "learning about junk was stopped"),
        }
    }
}

/// Work and rest in turn.
struct Turn {
    begun: std::time::Instant,
}

impl Turn {
    fn new() -> Self {
        Self { begun: std::time::Instant::now() }
    }

    /// Rests as long as it has worked; whether it goes on.
    fn take(&mut self, stop: &CancellationToken) -> bool {
        let worked = self.begun.elapsed();
        if worked >= Duration::from_millis(50) {
            std::thread::sleep(worked.min(Duration::from_secs(1)));
            self.begun = std::time::Instant::now();
        }
        !stop.is_cancelled()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is the failed test")]
mod tests {
    use super::*;
    use crate::accounts::Password;
    use crate::clock::SystemClock;
    use crate::mail::{Flags, MailboxName};
    use crate::policy::junk::{Lessons, Tokens};
    use crate::policy::notes::Notes;
    use crate::store::{Batch, Options, Outcome};

    #[tokio::test(flavor = "multi_thread")]
    async fn the_task_learns_what_was_moved_before_and_while_it_runs_and_ends_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let domains = vec!["x.org".parse().unwrap()];
        let accounts = Accounts::open(store.clone(), domains).unwrap();
        let address = "alice@x.org".parse().unwrap();
        let password = Password::new("correct horse battery".to_owned());
        accounts.add(address, password).await.unwrap();
        let account = accounts.list().first().unwrap().id;
        let notes = Arc::new(Notes::open(folder.path()));
        let junk = Arc::new(Junk::open(Arc::clone(&notes)));
        let greylist = Arc::new(Greylist::open(notes));
        let clock: SharedClock = Arc::new(SystemClock);
        let parts =
            Parts { junk: Arc::clone(&junk), greylist, store: store.clone(), accounts, clock };
        let into_junk = async |text: &str| {
            let name: MailboxName = "Junk".parse().unwrap();
            let mailbox = store.find_mailbox(account, &name).unwrap().unwrap().id;
            let mut body = store.new_body();
            body.write(text.as_bytes()).await.unwrap();
            let body = body.finish().await.unwrap();
            let mut batch = Batch::new();
            let now = jiff::Timestamp::UNIX_EPOCH;
            batch.add_message(mailbox, b"", &body, Flags::none(), now);
            let outcomes = store.commit(batch).await.unwrap();
            assert!(matches!(outcomes.as_slice(), [Outcome::Added { .. }]));
        };
        into_junk("Subject: one\r\n\r\none\r\n").await;
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(parts, stop.clone()));
        let learned = async |spam: u32| {
            for _ in 0..400 {
                let (_, lessons) = junk.opinion(account, &Tokens::default()).unwrap();
                if lessons == (Lessons { spam, ham: 0 }) {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
            panic!("not learned");
        };
        learned(1).await;
        into_junk("Subject: two\r\n\r\ntwo\r\n").await;
        learned(2).await;
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
    }
}
