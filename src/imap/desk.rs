//! Answers a session's questions out of the store. What reads messages runs off the async
//! threads, a bounded number at a time, in steps that hold little memory and end soon.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::accounts::AuthError;
use crate::clock::SharedClock;
use crate::mail::structure::Structure;
use crate::mail::{Flags, Uid};
use crate::search::Index;
use crate::store::{
    Batch, BodyWriter, MailboxId, Message, MessageReader, Outcome, Store, StoreError,
};
use crate::summary::{Summaries, Summary};

use super::facts::{find_mailbox, find_out};
use super::question::{Answer, FetchJob, Fetched, Question};
use super::render::{Chunk, Source, Stream, Stretch, Unrendered, render};
use super::search::read_header;

/// A client that takes no bytes for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_mins(2);
/// Responses are sent when there are so many bytes of them.
const BATCH: usize = 64 << 10;
/// Messages looked up at once for FETCH.
const FETCH_STEP: usize = 256;
/// Structures kept of the messages read last: a phone reads one message part by part.
const STRUCTURES: usize = 8;

/// The store's side of one connection.
pub(super) struct Desk {
    store: Store,
    search: Arc<Index>,
    pub(super) clock: SharedClock,
    /// Time between two words on how far a search is; nothing for the usual.
    pub(super) progress_after: Option<Duration>,
    /// Shared by all connections: how many may read messages at once.
    readers: Arc<Semaphore>,
    structures: Arc<Structures>,
    /// Nothing: messages are read instead.
    summaries: Option<Arc<Summaries>>,
    body: Option<BodyWriter>,
    /// Messages of one APPEND that are complete.
    taken: Vec<(crate::store::Body, Flags, Timestamp)>,
}

type Structures = Mutex<VecDeque<((MailboxId, Uid), Arc<Structure>)>>;

impl Desk {
    pub(super) fn new(
        store: Store,
        search: Arc<Index>,
        clock: SharedClock,
        readers: Arc<Semaphore>,
    ) -> Self {
        Self {
            store,
            search,
            clock,
            progress_after: None,
            readers,
            structures: Arc::default(),
            summaries: None,
            body: None,
            taken: Vec::new(),
        }
    }

    /// Answers out of summaries what they can tell.
    pub(super) fn with_summaries(self, summaries: Option<Arc<Summaries>>) -> Self {
        Self { summaries, ..self }
    }

    /// Answers anything but a login; FETCH responses go out through `writer`. Fails when the
    /// connection does, or when a message could not be sent to its end.
    pub(super) async fn answer(
        &mut self,
        question: Question,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<Answer> {
        Ok(match question {
            Question::Login { .. } => Answer::Login(Err(AuthError::Unavailable)),
            Question::Salt(_) => Answer::Salt(Err(AuthError::Unavailable)),
            Question::Proof(_) => Answer::Proof(Err(AuthError::Unavailable)),
            Question::Mailbox(account, name) => {
                Answer::Mailbox(self.look(move |store| find_mailbox(store, account, &name)).await)
            }
            Question::Snapshot(mailbox) => {
                Answer::Snapshot(self.look(move |store| store.overview(mailbox)).await)
            }
            Question::Changes(mailbox, since) => {
                let changes = self.look(move |store| store.changed_since(mailbox, since)).await;
                Answer::Changes(changes)
            }
            Question::Commit(batch) => Answer::Commit(self.store.commit(batch).await),
            Question::BodyStart { account, size } => {
                let room = self.look(move |store| store.has_room(account, size)).await;
                // What cannot be told now is told by the commit.
                let full = room.is_ok_and(|room| !room);
                self.body = (!full).then(|| self.store.new_body());
                Answer::Body(if full { Err(StoreError::OverQuota) } else { Ok(()) })
            }
            Question::BodyBytes(bytes) => Answer::Body(match &mut self.body {
                Some(body) => body.write(&bytes).await,
                None => Err(StoreError::Closed),
            }),
            Question::BodyEnd { flags, date } => Answer::Body(self.take_body(flags, date).await),
            Question::Append { mailbox, instead_of } => {
                Answer::Commit(self.append(mailbox, instead_of).await)
            }
            Question::Fetch(job) => Answer::Fetch(self.fetch(job, writer).await?),
            Question::Search(job) => Answer::Search(self.search(job, writer).await?),
            Question::About(about) => {
                Answer::About(self.look(move |store| find_out(store, about)).await)
            }
        })
    }

    /// Forgets the messages being taken in.
    pub(super) fn drop_body(&mut self) {
        self.body = None;
        self.taken.clear();
    }

    async fn take_body(&mut self, flags: Flags, date: Option<Timestamp>) -> Result<(), StoreError> {
        let body = self.body.take().ok_or(StoreError::Closed)?.finish().await?;
        self.taken.push((body, flags, date.unwrap_or_else(|| self.clock.now())));
        Ok(())
    }

    /// Keeps the messages taken in, all of them or none.
    async fn append(
        &mut self,
        mailbox: MailboxId,
        instead_of: Option<(MailboxId, Uid)>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut batch = Batch::new();
        // First, so that there is room for what replaces it (RFC 8508 §3.4).
        if let Some((mailbox, uid)) = instead_of {
            batch.expunge(mailbox, vec![uid]);
        }
        for (body, flags, date) in std::mem::take(&mut self.taken) {
            batch.add_message(mailbox, &[], &body, flags, date);
        }
        self.store.commit(batch).await
    }

    /// A question to the index.
    async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        spawn_blocking(move || question(&store)).await.unwrap_or(Err(StoreError::Closed))
    }

    /// A step that reads messages, when it is this connection's turn.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Library) -> T + Send + 'static,
    ) -> io::Result<T> {
        let turn = self.readers.acquire().await.map_err(io::Error::other)?;
        let structures = Arc::clone(&self.structures);
        let search = Arc::clone(&self.search);
        let summaries = self.summaries.clone();
        let library = Library { store: self.store.clone(), search, structures, summaries };
        let result = spawn_blocking(move || step(&library)).await.map_err(io::Error::other);
        drop(turn);
        result
    }

    async fn fetch(
        &self,
        job: FetchJob,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<Fetched> {
        let job = Arc::new(job);
        let mut all = Fetched::default();
        let mut next = 0;
        while next < job.targets.len() {
            let step = Arc::clone(&job);
            let made = self.reading(move |library| library.responses(&step, next)).await?;
            next = made.next;
            all.missing |= made.fetched.missing;
            all.damaged |= made.fetched.damaged;
            all.unknown |= made.fetched.unknown;
            let mut reader = made.reader;
            for chunk in made.chunks {
                match chunk {
                    Chunk::Bytes(bytes) => send(writer, &bytes).await?,
                    Chunk::Stream(stretch) => {
                        reader = self.stream(reader, stretch, writer).await?;
                    }
                }
            }
        }
        Ok(all)
    }

    /// Sends a part of a message that is too large to hold, and that could be read a moment ago. When
    /// the card fails in the middle of it, the connection has to end: so many bytes were announced.
    async fn stream(
        &self,
        reader: Option<MessageReader>,
        stretch: Stretch,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<Option<MessageReader>> {
        let mut source = reader.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut stream = Stream::new(stretch);
        loop {
            let step = move |_: &Library| (stream.next(&mut source), stream, source);
            let (bytes, rest, used) = self.reading(step).await?;
            (stream, source) = (rest, used);
            match bytes? {
                Some(bytes) => send(writer, &bytes).await?,
                None => return Ok(Some(source)),
            }
        }
    }
}

/// Sends bytes to a client that takes them.
pub(super) async fn send(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    patiently(writer.write_all(bytes)).await
}

/// Waits for a client to take what it is sent; one that does not is gone. TLS holds back up to 64
/// KiB, so that flushing and shutting down can wait as long as writing.
pub(super) async fn patiently(step: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let taken = tokio::time::timeout(WRITE_PATIENCE, step).await;
    taken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// What a step off the async threads works with.
pub(super) struct Library {
    pub(super) store: Store,
    pub(super) search: Arc<Index>,
    structures: Arc<Structures>,
    summaries: Option<Arc<Summaries>>,
}

/// Some responses of a FETCH.
struct Responses {
    chunks: Vec<Chunk>,
    /// For the last message, when it is streamed.
    reader: Option<MessageReader>,
    fetched: Fetched,
    /// The first target that has no response yet.
    next: usize,
}

impl Library {
    fn responses(&self, job: &FetchJob, first: usize) -> Responses {
        let mut made = Responses {
            chunks: Vec::new(),
            reader: None,
            fetched: Fetched::default(),
            next: first,
        };
        let mut size = 0;
        let rest = job.targets.get(first..).unwrap_or_default();
        let step = rest.get(..FETCH_STEP).unwrap_or(rest);
        let uids: Vec<Uid> = step.iter().map(|target| target.uid).collect();
        let mut rows = match self.store.messages_of(job.mailbox, &uids) {
            Ok(rows) => rows.into_iter().peekable(),
            Err(error) => {
                tracing::error!(mailbox = job.mailbox.0, %error, "messages cannot be looked up");
                made.fetched.damaged = true;
                made.next += step.len();
                return made;
            }
        };
        for target in step {
            made.next += 1;
            let Some(message) = rows.next_if(|message| message.uid == target.uid) else {
                made.fetched.missing = true;
                continue;
            };
            let source = Shelved { library: self, mailbox: job.mailbox, message: &message };
            match render(*target, &message, &job.items, job.speech, &source) {
                Ok((chunks, reader)) => {
                    let streamed = chunks.len() > 1;
                    size += chunks.iter().map(Chunk::held).sum::<usize>();
                    made.chunks.extend(chunks);
                    if streamed || size >= BATCH {
                        made.reader = reader;
                        return made;
                    }
                }
                Err(Unrendered::Encoding) => made.fetched.unknown = true,
                // Expunged since its row was looked at.
                Err(_) if self.is_gone(job.mailbox, target.uid) => made.fetched.missing = true,
                Err(Unrendered::Unread(error)) => {
                    tracing::error!(
                        mailbox = job.mailbox.0, uid = target.uid.get(), %error,
                        "a message cannot be read"
                    );
                    made.fetched.damaged = true;
                }
            }
        }
        made
    }

    fn is_gone(&self, mailbox: MailboxId, uid: Uid) -> bool {
        matches!(self.store.message(mailbox, uid), Ok(None))
    }

    /// The headers of some messages in UID order, or those fields of them that lists are sorted by;
    /// empty for those that are gone or cannot be read.
    pub(super) fn headers(&self, mailbox: MailboxId, uids: &[Uid]) -> Vec<Vec<u8>> {
        let rows = self.store.messages_of(mailbox, uids).unwrap_or_else(|error| {
            tracing::error!(mailbox = mailbox.0, %error, "messages cannot be looked up");
            Vec::new()
        });
        let mut rows = rows.into_iter().peekable();
        let header = |uid: &Uid| {
            let Some(message) = rows.next_if(|message| message.uid == *uid) else {
                return Vec::new();
            };
            let source = Shelved { library: self, mailbox, message: &message };
            let read = match source.summary() {
                Some(summary) => Ok(summary.fields().to_vec()),
                None => source.open().and_then(|mut reader| read_header(&mut reader)),
            };
            read.unwrap_or_else(|error| {
                self.unread(mailbox, *uid, &error);
                Vec::new()
            })
        };
        uids.iter().map(header).collect()
    }

    /// Says that a message could not be read for a search, unless it was expunged meanwhile.
    pub(super) fn unread(&self, mailbox: MailboxId, uid: Uid, error: &io::Error) {
        if !self.is_gone(mailbox, uid) {
            tracing::error!(
                mailbox = mailbox.0, uid = uid.get(), %error,
                "a message cannot be searched or sorted"
            );
        }
    }
}

impl Chunk {
    fn held(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Stream(_) => 0,
        }
    }
}

/// One message of the library.
pub(super) struct Shelved<'a> {
    pub(super) library: &'a Library,
    pub(super) mailbox: MailboxId,
    pub(super) message: &'a Message,
}

impl Source for Shelved<'_> {
    type Reader = MessageReader;

    fn open(&self) -> io::Result<MessageReader> {
        self.library.store.read(&self.message.content).map_err(io::Error::other)
    }

    fn structure(&self, reader: &mut MessageReader) -> io::Result<Arc<Structure>> {
        let key = (self.mailbox, self.message.uid);
        let lock = || self.library.structures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = lock().iter().find(|(known, _)| *known == key) {
            return Ok(Arc::clone(known));
        }
        reader.seek(SeekFrom::Start(0))?;
        let structure = Arc::new(Structure::scan(reader.by_ref())?);
        let mut known = lock();
        known.truncate(STRUCTURES - 1);
        known.push_front((key, Arc::clone(&structure)));
        Ok(structure)
    }

    fn summary(&self) -> Option<Summary> {
        self.library.summaries.as_ref()?.message(&self.message.content)
    }

    fn check(&self, reader: &MessageReader, range: Range<u64>) -> io::Result<()> {
        reader.check(range).map_err(io::Error::other)
    }
}
