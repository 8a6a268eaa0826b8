//! Connections kept for a moment after a message, because the next one for the same host is often
//! close behind. A host sees few of them, each carries a bounded number of messages, and one that
//! is not used again says QUIT by itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connect::Target;
use super::session::Session;
use super::wire::Wire;

/// The connections kept; clones are the same pool.
#[derive(Clone, Default)]
pub(super) struct Pool {
    kept: Arc<Mutex<Vec<Kept>>>,
    next: Arc<AtomicU64>,
}

/// A connection at rest.
pub(super) struct Kept {
    pub(super) session: Session,
    pub(super) wire: Wire,
    /// Messages it carried.
    pub(super) messages: u32,
    target: Target,
    number: u64,
}

impl Pool {
    /// A connection to the very same host under the very same protection.
    pub(super) fn take(&self, target: &Target) -> Option<Kept> {
        let mut kept = self.kept();
        let at = kept.iter().position(|one| one.target == *target)?;
        Some(kept.swap_remove(at))
    }

    /// Keeps a connection for a moment; gives it back when there are enough.
    pub(super) fn keep(
        &self,
        target: &Target,
        session: Session,
        wire: Wire,
        messages: u32,
        idle: Duration,
    ) -> Option<Wire> {
        let mut kept = self.kept();
        let same = kept.iter().filter(|one| one.target == *target).count();
        if messages >= MESSAGES || same >= PER_HOST || kept.len() >= IN_ALL {
            return Some(wire);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        kept.push(Kept { session, wire, messages, target: target.clone(), number });
        // Without a client there is nobody to wait for.
        let pool = Arc::downgrade(&self.kept);
        tokio::spawn(async move {
            tokio::time::sleep(idle).await;
            let unused = pool.upgrade().and_then(|kept| remove(&kept, number));
            if let Some(unused) = unused {
                unused.wire.quit().await;
            }
        });
        None
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("kept", &self.kept().len()).finish()
    }
}

fn remove(kept: &Mutex<Vec<Kept>>, number: u64) -> Option<Kept> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let at = kept.iter().position(|one| one.number == number)?;
    Some(kept.swap_remove(at))
}

/// Messages on one connection; many hosts end it after 20 to 100.
const MESSAGES: u32 = 20;
/// At rest, to one host and in all.
const PER_HOST: usize = 2;
const IN_ALL: usize = 10;
