//! The time, and how far to trust it. A Pi has no clock of its own: until it is set from the
//! network, dates may be years off, and what depends on them (DNSSEC, DKIM, certificates, queue
//! expiry) has to wait. Everything that needs the time takes a [`Clock`].

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

/// Where the time comes from. Shared by every part; tests set their own.
pub type SharedClock = Arc<dyn Clock>;

/// A source of wall-clock time.
pub trait Clock: Send + Sync {
    /// The present moment, as far as known.
    fn now(&self) -> Timestamp;
    /// How far [`Clock::now`] may be believed.
    fn trust(&self) -> ClockTrust;
}

/// How far the time may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClockTrust {
    /// Before this program was built: certainly wrong.
    Unknown,
    /// Plausible, but not confirmed by a time server since the start.
    Rough,
    /// Synchronised by the system's time service.
    Synced,
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn trust(&self) -> ClockTrust {
        // systemd-timesyncd creates this file once a server has answered (systemd-timesyncd(8)).
        if Path::new("/run/systemd/timesync/synchronized").exists() {
            ClockTrust::Synced
        } else if self.now().as_second() > EARLIEST {
            ClockTrust::Rough
        } else {
            ClockTrust::Unknown
        }
    }
}

/// No release of this program ran before this second (2026-11-01T00:00:00Z).
const EARLIEST: i64 = 1_793_491_200;
