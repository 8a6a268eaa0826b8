//! What can go wrong in the store, and whose fault it is.

/// Why a store operation failed; says whether the disk, the caller or the data is to blame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The reserve is reached: refuse mail for now (452 4.3.1).
    #[error("the card is full: free some space by deleting mail, or use a larger card")]
    Full,
    /// The disk failed; nothing of the batch is acknowledged.
    #[error("the disk failed to {doing}: {source}")]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stored record does not match its checksum.
    #[error("stored data is damaged ({0})")]
    Damaged(String),
    /// The index failed; an opening that cannot use it makes it anew.
    #[error("the index failed ({0}); your mail is not in it: start the box again to make it anew")]
    Index(String),
    /// The account's quota does not allow it (452 4.2.2, `[OVERQUOTA]`).
    #[error("the account's mailboxes are full: delete some mail, or raise its quota")]
    OverQuota,
    /// No such mailbox: it may have been deleted meanwhile.
    #[error("the mailbox does not exist")]
    NoMailbox,
    /// The name is taken.
    #[error("a mailbox of that name exists already")]
    MailboxExists,
    /// No such message body: its last message was expunged meanwhile.
    #[error("the message does not exist any more")]
    NoMessage,
    /// More than one batch can hold, or the last UID is used up.
    #[error("this is too much at once: do it in smaller steps")]
    TooLarge,
    /// The store was closed or its writer stopped after a disk failure.
    #[error("the store is closed")]
    Closed,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds it.
    #[error(
        "another pillarbox (process {pid}) is using {dir}: stop it first, or use another --data folder"
    )]
    Busy {
        /// The folder.
        dir: String,
        /// The holder, 0 when unknown.
        pid: u32,
    },
    /// Made by a newer release.
    #[error(
        "{dir} was written by a newer pillarbox (format {found}; this one knows {known}): update this one"
    )]
    Newer {
        /// The folder.
        dir: String,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// A file or folder cannot be used.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The log or the index is not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The disk's fault.
pub(super) fn disk(doing: &'static str, source: std::io::Error) -> StoreError {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Disk { doing, source },
    }
}

impl StoreError {
    /// Whether only the batch that caused it is concerned.
    pub(super) fn is_callers(&self) -> bool {
        matches!(
            self,
            Self::OverQuota
                | Self::NoMailbox
                | Self::MailboxExists
                | Self::NoMessage
                | Self::TooLarge
        )
    }
}

/// The same failure for another one who waits.
pub(super) fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full => StoreError::Full,
        StoreError::Disk { doing, source } => {
            let source = source.raw_os_error().map_or_else(
                || std::io::Error::new(source.kind(), source.to_string()),
                std::io::Error::from_raw_os_error,
            );
            StoreError::Disk { doing, source }
        }
        StoreError::Damaged(what) => StoreError::Damaged(what.clone()),
        StoreError::Index(what) => StoreError::Index(what.clone()),
        StoreError::OverQuota => StoreError::OverQuota,
        StoreError::NoMailbox => StoreError::NoMailbox,
        StoreError::MailboxExists => StoreError::MailboxExists,
        StoreError::NoMessage => StoreError::NoMessage,
        StoreError::TooLarge => StoreError::TooLarge,
        StoreError::Closed => StoreError::Closed,
    }
}
