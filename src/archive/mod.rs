//! Old mail in, all mail out: Maildir, mbox and trees of single messages, read and written while
//! the post office works.
//!
//! Files are read and written by whoever gives the command, with that person's rights; the store is
//! read and written by the post office, running or opened for the purpose. Between them is one line
//! (`wire`): `import` and `export` are its end at the files, `receive` and `give` the one at the
//! store. Messages are *offered* by size and digest or number, and only what is missing on the
//! other side goes over: so a second run adds nothing, and an interrupted one is run again.

mod export;
mod facts;
mod give;
mod import;
mod known;
mod labels;
mod maildir;
mod mbox;
mod receive;
mod shelf;
mod text;
mod walk;
mod wire;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is the failed test")]
mod tests;

pub use export::export;
pub use give::give;
pub use import::{ImportOptions, import};
pub use receive::receive;

use std::io;
use std::path::PathBuf;

use serde::Serialize;

/// How files hold mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A file a message, flags in its name.
    Maildir,
    /// A file a mailbox.
    Mbox,
    /// A file a message, ending in `.eml`.
    Eml,
}

/// What an export writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// [`Format::Maildir`].
    Maildir,
    /// [`Format::Mbox`].
    Mbox,
}

/// Looks on while mail is carried.
pub trait Watch {
    /// Called after every batch.
    fn progress(&mut self, progress: &Progress);
    /// Whether to stop after this batch.
    fn is_stopped(&self) -> bool;
}

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The mailbox at hand.
    pub mailbox: String,
    /// Messages looked at.
    pub messages: u64,
    /// Bytes looked at.
    pub bytes: u64,
    /// Bytes there are, as far as known.
    pub bytes_of: u64,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Messages added, durably.
    pub added: u64,
    /// Messages that were there already.
    pub present: u64,
    /// Messages Thunderbird had deleted and not yet tidied up, left out.
    pub deleted: u64,
    /// How many could not be carried.
    pub failed: u64,
    /// The first thousand of these: which, and why.
    pub failures: Vec<(String, String)>,
    /// Things a person should know.
    pub notes: Vec<String>,
    /// Stopped on demand, before the end.
    pub interrupted: bool,
    /// Stopped because nothing more can be carried: why.
    pub stopped: Option<String>,
}

impl Summary {
    fn fail(&mut self, what: impl Into<String>, why: impl std::fmt::Display) {
        /// Of a million bad files the first ones tell enough.
        const KEPT: usize = 1000;
        self.failed += 1;
        if self.failures.len() < KEPT {
            self.failures.push((what.into(), why.to_string()));
        }
    }
}

/// Why nothing, or nothing more, could be carried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The path cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}: {source}; what is there stays: run the same command again")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a file that no export wrote.
    #[error("{0} is there and no export made it: name an empty folder")]
    Foreign(PathBuf),
    /// Nothing that looks like mail.
    #[error(
        "there is no mail in {0} that is recognised: it may be a Maildir, an mbox, or files that \
         end in .eml; --format names one"
    )]
    Nothing(PathBuf),
    /// The post office went away or speaks another version.
    #[error("the post office broke off ({0}): start it again and run the same command again")]
    Line(#[from] io::Error),
}
