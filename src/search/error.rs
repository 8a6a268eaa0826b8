//! What can go wrong with the index. None of it is the searcher's fault, and none of it is the
//! end of a search: messages are read instead.

/// Why the index has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The file does not hold what was written.
    #[error("the search index is damaged and will be made anew")]
    Damaged,
    /// The file cannot be read or written.
    #[error("the search index cannot be used: {0}")]
    File(#[from] Box<redb::Error>),
    /// The folder does not take the file.
    #[error("the file of the search index cannot be replaced: {0}")]
    Disk(std::io::Error),
    /// Terms cannot be compressed.
    #[error("cannot compress a part of the search index: {0}")]
    Pack(std::io::Error),
    /// The mail store does not answer.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The program stops.
    #[error("the program stops")]
    Stopped,
}
