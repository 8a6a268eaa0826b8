//! What others report about mail in our name and connections to our hosts, and what we report about
//! theirs: DMARC aggregate reports (RFC 9990, RFC 7489) and TLS reports (RFC 8460).
//!
//! Reports come as ordinary mail to `postmaster` of our domains, which is the address our records
//! name. [`Reports::follow`] looks at new mail in the background: [`found`] sees which messages
//! are reports, [`wrap`] unwraps them within limits, [`aggregate`] and [`tls`] read them, and
//! [`shelf`] keeps what they say for a year. Nothing here stands in the way of delivery, and
//! everybody can send a report: what they say is shown as what others say, and decides nothing.
//!
//! The other direction: whoever judges a message or sends one notes it in the [`tally`], and once a
//! day [`send`] writes to those who asked to be told. Mail that is itself a report is never
//! reported on.

mod aggregate;
mod compose;
mod follow;
mod found;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::missing_panics_doc, reason = "to panic is how a target tells what it found")]
pub mod fuzz;
mod send;
mod shelf;
mod summary;
mod tally;
mod tls;
mod wrap;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use aggregate::{Aggregate, Disposition, Facts, Row};
pub use found::REPORT_ADDRESS;
pub use send::{Post, TlsResults, is_report_mail};
pub use shelf::Report;
pub use summary::{DmarcDay, Origin, Summary, TlsDay};
pub use tally::{Checked, DmarcSeen, Published, TlsSeen};
pub use tls::{Failure, PolicyKind, TlsPolicy, TlsReport};

use crate::accounts::Accounts;
use crate::clock::SharedClock;
use crate::store::{Store, StoreError};
use follow::Place;
use shelf::Shelf;
use tally::Tally;

/// What is known from reports, and noted for ours; cheap to clone.
#[derive(Clone)]
pub struct Reports {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    accounts: Accounts,
    clock: SharedClock,
    shelf: Mutex<Shelf>,
    /// How far mail was looked at. One at a time looks.
    place: tokio::sync::Mutex<Place>,
    tally: Mutex<Tally>,
}

impl Reports {
    /// What the store has kept. Reads a name for each report, not the reports.
    pub fn open(
        store: Store,
        accounts: Accounts,
        clock: SharedClock,
    ) -> Result<Self, ReportsError> {
        let shelf = Mutex::new(Shelf::load(&store)?);
        let place = tokio::sync::Mutex::new(Place::load(&store)?);
        let tally = Mutex::new(Tally::load(&store)?);
        let inner = Inner { store, accounts, clock, shelf, place, tally };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Reports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reports")
    }
}

/// Why reports cannot be kept or sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportsError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part of the work was stopped.
    #[error("the work was stopped: {0}")]
    Stopped(String),
    /// One of ours could not be written.
    #[error("a report cannot be written: {0}")]
    Write(#[from] io::Error),
    /// The queue did not take it.
    #[error("a report cannot be sent: {0}")]
    Send(#[from] crate::queue::AcceptError),
}

/// Why something that looked like a report cannot be read: the sender's fault, but for `Card`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// It is something else.
    #[error("it is no report")]
    NotAReport,
    /// More than a report ever has.
    #[error("it is larger than reports are")]
    TooLarge,
    /// A document type, or entities of its own.
    #[error("it defines or uses entities, which reports do not")]
    Entities,
    /// It ends in the middle.
    #[error("it ends in the middle")]
    Ended,
    /// The archive around it.
    #[error("{0}")]
    Container(&'static str),
    /// Its grammar.
    #[error("its XML is broken: {0}")]
    Xml(quick_xml::Error),
    /// Its grammar.
    #[error("its JSON is broken: {0}")]
    Json(serde_json::Error),
    /// It cannot be unpacked, or the message it came in cannot be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
}

impl From<io::Error> for Broken {
    /// A limit that was passed while reading is told as that.
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Ended,
            Err(error) => Self::Read(error),
        }
    }
}

impl From<quick_xml::Error> for Broken {
    fn from(error: quick_xml::Error) -> Self {
        match error {
            // The parser shares its errors; only the words can be had.
            quick_xml::Error::Io(error) => {
                match error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()) {
                    Some(Self::TooLarge) => Self::TooLarge,
                    Some(Self::NotAReport) => Self::NotAReport,
                    _ => Self::Read(io::Error::new(error.kind(), error.to_string())),
                }
            }
            other => Self::Xml(other),
        }
    }
}

impl From<serde_json::Error> for Broken {
    fn from(error: serde_json::Error) -> Self {
        if error.is_io() { io::Error::from(error).into() } else { Self::Json(error) }
    }
}

/// A reporter's words, fit for a page: one line, not long.
fn text(words: &str) -> String {
    let line = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(LONGEST_WORDS).collect::<String>().trim().to_owned()
}

const LONGEST_WORDS: usize = 200;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step is the failed test")]
mod tests;
