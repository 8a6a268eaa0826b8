//! The mail store: what was acknowledged here survives a power cut.
//!
//! Append-only **segment files are the truth**: every change is a record there, and a change is
//! durable when its record is synced. **redb is the index** over them: made from the log, committed
//! durably now and then with the log position it has reached, replayed from there at opening, and
//! rebuilt from nothing when it is lost. One writer thread owns the log; all connections in flight
//! share one write and one sync (group commit). `FORMAT.md` is the byte-exact page.
//!
//! The order of use: stream a message in with [`Store::new_body`], describe what shall happen in a
//! [`Batch`] and [`Store::commit`] it: all of it is durable when that returns, or none of it.
//! Reads see every committed batch at once and hold nothing open between calls.

mod apply;
mod batch;
mod blocks;
mod body;
mod changes;
mod codec;
mod compact;
mod disk;
mod error;
mod event;
#[cfg(feature = "fuzzing")]
#[allow(clippy::missing_panics_doc, reason = "a panic is what is looked for")]
pub mod fuzz;
mod index;
mod keeper;
mod lock;
mod marks;
mod open;
mod packing;
mod plan;
mod quota;
mod reader;
mod record;
mod rows;
mod segment;
mod shared;
mod shelf;
mod sound;
mod starter;
mod threads;
mod train;
mod transfer;
mod types;
mod verify;
mod writer;

pub use batch::Batch;
pub use blocks::{Held, Overview};
pub use body::{Body, BodyWriter};
pub use changes::{Changes, Entry};
pub use error::{OpenError, StoreError};
pub use keeper::{Background, Compacted, Keeper};
#[cfg(test)]
pub(crate) use plug::Plug;
pub use quota::{Quota, Usage};
pub use reader::MessageReader;
pub use threads::ThreadId;
pub use types::{
    AccountId, BodyId, Change, Content, Damage, FlagChange, Flagged, Mailbox, MailboxId, Message,
    Outcome, QueueId, QueueRecord, Stats, Verify,
};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test")]
mod damage;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test")]
mod golden;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test")]
mod model;
#[cfg(test)]
#[allow(clippy::expect_used, reason = "a failed test")]
mod plug;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test")]
mod power;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test")]
mod sim;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test")]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, oneshot};

use crate::clock::{SharedClock, SystemClock};
use crate::files::create_private_folder;
use crate::mail::{MailboxName, ModSeq, Uid};
use disk::{Disk, How, OsDisk};
use lock::Lock;
use open::Refused;
use shared::Shared;
use writer::{Command, Writer};

/// The open store; cheap to clone. There is one per data folder, kept by a lock file.
#[derive(Clone, Debug)]
pub struct Store {
    handle: Arc<Handle>,
}

impl Store {
    /// Opens the store in `dir`, creating it when the folder is empty, and replays what a power
    /// cut left unindexed. Refuses a folder that another process holds ([`OpenError::Busy`]).
    #[allow(clippy::needless_pass_by_value, reason = "callers mostly write them in place")]
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_folder(dir, &options, false)
    }

    /// Like [`Store::open`], with the index made anew from the segments.
    #[allow(clippy::needless_pass_by_value, reason = "callers mostly write them in place")]
    pub fn rebuild(dir: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_folder(dir, &options, true)
    }

    fn open_folder(dir: &Path, options: &Options, rebuild: bool) -> Result<Self, OpenError> {
        let io = |doing| {
            let path = dir.display().to_string();
            move |source| OpenError::Io { doing, path, source }
        };
        create_folder(dir).map_err(io("create"))?;
        let lock = Lock::take(dir)?;
        let mut key = [0; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key)
            .map_err(|_| io("draw a random key for")(std::io::ErrorKind::Unsupported.into()))?;
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(dir));
        let rebuild = rebuild || !sound::is_sound(&disk);
        let writer = open::open(disk, options, key, rebuild).map_err(|refused| match refused {
            Refused::Store(error) => OpenError::Store(error),
            Refused::Newer(found) => {
                OpenError::Newer { dir: dir.display().to_string(), found, known: record::FORMAT }
            }
        })?;
        Self::start(writer, Some(lock)).map_err(io("start the writer for"))
    }

    /// An empty store on a disk that can be made to fail: the function says after how many changes.
    #[cfg(test)]
    #[allow(clippy::expect_used, reason = "a failed test")]
    pub(crate) fn on_a_failing_disk() -> (Self, impl Fn(u64)) {
        let disk = sim::SimDisk::new(0);
        let writer = power::open(&disk, false).expect("an empty disk");
        let store = Self::start(writer, None).expect("a thread");
        (store, move |changes| disk.fail_after(changes, std::io::ErrorKind::Other))
    }

    /// Gives the writer its thread.
    fn start(writer: Writer, lock: Option<Lock>) -> std::io::Result<Self> {
        let shared = Arc::clone(&writer.shared);
        match shared.index.setting(marks::KEY) {
            Ok(known) => shared.segments.marks.load(&known.unwrap_or_default()),
            Err(error) => tracing::error!(%error, "what is known of damage cannot be read"),
        }
        let (commands, waiting) = mpsc::channel(writer::WAITING);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || runtime.block_on(writer::serve(writer, waiting)))?;
        let handle = Handle {
            shared,
            commands: Some(commands),
            thread: Some(thread),
            lock: Mutex::new(lock),
        };
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Starts taking in a message's bytes. Memory is bounded whatever the size: full chunks go to
    /// the log at once. Dropping the writer, or its [`Body`] before a commit names it, leaves
    /// nothing but dead bytes for compaction.
    pub fn new_body(&self) -> BodyWriter {
        BodyWriter::new(self.clone())
    }

    /// Makes a batch durable: all of it or nothing. One [`Outcome`] per operation, in order.
    /// Dropping the future while the disk works does not take the batch back.
    pub async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        batch.pack(&self.shared().segments.dictionaries)?;
        self.shared().note_busy();
        let (begun, bytes) = (Instant::now(), batch.take_part_bytes());
        let (reply, outcome) = oneshot::channel();
        self.send(Command::Commit { batch, reply }).await?;
        let outcome = outcome.await.map_err(|_| StoreError::Closed)?;
        // Whether its files had to be written or not: nobody can tell from the time whether somebody
        // else in the house has the same file. What is larger is written before the commit.
        let least = self.shared().time_to_write(bytes.min(2 * body::WAITING_PARTS as u64));
        if begun.elapsed() < least {
            tokio::time::sleep_until((begun + least).into()).await;
        }
        outcome
    }

    /// Returns once the writer has come to it and could still write: a sign of life that costs
    /// the card nothing. [`StoreError::Closed`] when it takes no more changes.
    pub async fn alive(&self) -> Result<(), StoreError> {
        self.commit(Batch::new()).await.map(drop)
    }

    /// All mailboxes of an account, by name.
    pub fn mailboxes(&self, account: AccountId) -> Result<Vec<Mailbox>, StoreError> {
        self.shared().index.mailboxes(account)
    }

    /// One mailbox with its present counts.
    pub fn mailbox(&self, id: MailboxId) -> Result<Option<Mailbox>, StoreError> {
        self.shared().index.mailbox(id)
    }

    /// The mailbox of that name.
    pub fn find_mailbox(
        &self,
        account: AccountId,
        name: &MailboxName,
    ) -> Result<Option<Mailbox>, StoreError> {
        self.shared().index.find_mailbox(account, name)
    }

    /// Every message of a mailbox in UID order.
    pub fn messages(&self, mailbox: MailboxId) -> Result<Vec<Message>, StoreError> {
        self.shared().index.messages(mailbox)
    }

    /// A mailbox and, in UID order, what SELECT needs of its messages: of one moment, and much lighter
    /// than [`Store::messages`]. Nothing when there is no such mailbox.
    pub fn entries(&self, mailbox: MailboxId) -> Result<Option<(Mailbox, Vec<Entry>)>, StoreError> {
        self.shared().index.entries(mailbox)
    }

    /// A mailbox as a whole: a few rows for each 1,024 UIDs, whatever is in them. Nothing when there is
    /// no such mailbox.
    pub fn overview(&self, mailbox: MailboxId) -> Result<Option<Overview>, StoreError> {
        self.shared().index.overview(mailbox)
    }

    /// Whose bytes each message of a mailbox has, in UID order, likewise.
    pub fn held(&self, mailbox: MailboxId) -> Result<Vec<Held>, StoreError> {
        self.shared().index.held(mailbox)
    }

    /// What changed in a mailbox after `since`: costs as much as changed, unless that is more than
    /// the last 65,536 changes of the box or before it was opened; then a look at every row.
    /// Nothing when there is no such mailbox.
    pub fn changed_since(
        &self,
        mailbox: MailboxId,
        since: ModSeq,
    ) -> Result<Option<Changes>, StoreError> {
        let shared = self.shared();
        shared.index.changed_since(mailbox, since, &shared.recent)
    }

    /// The messages of a mailbox after a UID in UID order, at most `limit`: so a large mailbox can
    /// be walked in little memory.
    pub fn messages_after(
        &self,
        mailbox: MailboxId,
        after: Option<Uid>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.shared().index.messages_after(mailbox, after, limit)
    }

    /// One message.
    pub fn message(&self, mailbox: MailboxId, uid: Uid) -> Result<Option<Message>, StoreError> {
        self.shared().index.message(mailbox, uid)
    }

    /// Messages by their UIDs, which ascend; those that are gone are left out. All from one moment,
    /// and much faster than one by one where UIDs follow each other.
    pub fn messages_of(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
    ) -> Result<Vec<Message>, StoreError> {
        self.shared().index.messages_of(mailbox, uids)
    }

    /// The bytes of a message, prefix first.
    pub fn read(&self, content: &Content) -> Result<MessageReader, StoreError> {
        MessageReader::message(self.shared(), content)
    }

    /// The bytes stored for a body: those of the first message that had it.
    pub fn read_body(&self, body: BodyId) -> Result<MessageReader, StoreError> {
        MessageReader::body(self.shared(), body)
    }

    /// The numbers of up to `limit` stored bodies above `after`, ascending. A body may appear later
    /// than one with a higher number, which was committed earlier.
    pub fn bodies_after(
        &self,
        after: Option<BodyId>,
        limit: usize,
    ) -> Result<Vec<BodyId>, StoreError> {
        self.shared().index.bodies_after(after, limit)
    }

    /// Above every number that a body ever had.
    pub fn body_horizon(&self) -> BodyId {
        BodyId(self.shared().next_body.load(Ordering::Relaxed))
    }

    /// Everything that waits in the queue, oldest first.
    pub fn queue(&self) -> Result<Vec<QueueRecord>, StoreError> {
        self.shared().index.queue()
    }

    /// One record of the queue.
    pub fn queued(&self, id: QueueId) -> Result<Option<QueueRecord>, StoreError> {
        self.shared().index.queued(id)
    }

    /// One setting.
    pub fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared().index.setting(key)
    }

    /// All settings whose key starts with `prefix`, by key.
    pub fn settings(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.shared().index.settings(prefix)
    }

    /// What an account's mailboxes hold now. Costs a look at each of its mailboxes, whatever is in them.
    pub fn usage(&self, account: AccountId) -> Result<Usage, StoreError> {
        self.shared().index.usage(account)
    }

    /// What an account may hold; [`Batch::set_quota`] sets it.
    pub fn quota(&self, account: AccountId) -> Result<Quota, StoreError> {
        Quota::decode(account, self.setting(&Quota::key(account))?.as_deref())
    }

    /// Whether an account may get one more message of so many bytes. The commit asks again: others
    /// may be faster.
    pub fn has_room(&self, account: AccountId, bytes: u64) -> Result<bool, StoreError> {
        let quota = self.quota(account)?;
        Ok(quota == Quota::NONE || quota.allows(self.usage(account)?.and(bytes, 1)))
    }

    /// Tells of every committed change to an account's mailboxes from now on. A receiver that
    /// falls behind is told so and looks at the mailbox anew.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.shared().changes.subscribe()
    }

    /// Sizes and counts for people, the self-check and `store stats`.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let shared = self.shared();
        let segments = &shared.segments;
        let measure = || {
            let mut sizes = (0, 0);
            for number in segment::numbers(&*segments.disk)? {
                let file = match segments.disk.open(&segment::name(number), How::Known) {
                    // Compacted meanwhile.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    file => file?,
                };
                sizes.0 += 1;
                sizes.1 += file.len()?;
            }
            let index = segments.disk.open(index::FILE, How::Known)?.len()?;
            Ok((sizes, index, segments.disk.free()?))
        };
        let ((count, bytes), index_bytes, free_bytes) =
            measure().map_err(|error| segments.failed("measure the store", error))?;
        Ok(Stats {
            segments: count,
            segment_bytes: bytes,
            index_bytes,
            free_bytes,
            damaged_records: segments.marks.count()
                + segments.dictionaries_lost.load(Ordering::Relaxed),
            damaged_since: segments.marks.since(),
            io_errors: segments.io_errors.load(Ordering::Relaxed),
            background: shared.background(),
            ..shared.index.stats()?
        })
    }

    /// Failures of the disk and damaged places met since the store was opened: grows when there is
    /// something to tell.
    pub fn troubles(&self) -> u64 {
        let segments = &self.shared().segments;
        segments.io_errors.load(Ordering::Relaxed) + segments.damaged.load(Ordering::Relaxed)
    }

    /// Reads and checks every byte of every record, and every page of the index. Takes long on a full
    /// card; blocks the caller. What it finds is known from then on, and nothing else is:
    /// [`Store::keep_damage`]. When the index is damaged it fails, and the next opening makes it anew.
    pub fn verify(&self) -> Result<Verify, StoreError> {
        self.ask(Command::CheckIndex)?;
        let found = verify::verify(self.shared())?;
        self.shared().segments.marks.settle(&found.damage);
        Ok(found)
    }

    /// Makes what is known of damage outlast the program, when that has changed.
    pub async fn keep_damage(&self) -> Result<(), StoreError> {
        let segments = &self.shared().segments;
        let numbers = segment::numbers(&*segments.disk)
            .map_err(|error| segments.failed("list the segments", error))?;
        let known = segments.marks.keep(&numbers.into_iter().collect(), self.shared().clock.now());
        if self.setting(marks::KEY)?.unwrap_or_default() == known.as_bytes() {
            return Ok(());
        }
        let mut batch = Batch::new();
        if known.is_empty() {
            batch.delete_setting(marks::KEY);
        } else {
            batch.put_setting(marks::KEY, known.into_bytes());
        }
        self.commit(batch).await.map(drop)
    }

    /// Who does the housekeeping.
    pub fn keeper(&self) -> Keeper {
        Keeper::new(self.clone())
    }

    /// Makes housekeeping end soon, for good: the program is about to stop.
    pub fn end_housekeeping(&self) {
        self.shared().closing.store(true, Ordering::Relaxed);
    }

    /// Commits the index durably and stops the writer. Dropping the last handle does the same;
    /// not doing it costs only replay time at the next opening.
    pub async fn close(self) -> Result<(), StoreError> {
        let (reply, closed) = oneshot::channel();
        self.end_housekeeping();
        self.send(Command::Close(reply)).await?;
        let closed = closed.await.map_err(|_| StoreError::Closed)?;
        // Another handle may live on; the folder is free all the same.
        let lock = self.handle.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lock) = lock {
            lock.release();
        }
        closed
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    async fn send(&self, command: Command) -> Result<(), StoreError> {
        let commands = self.handle.commands.as_ref().ok_or(StoreError::Closed)?;
        commands.send(command).await.map_err(|_| StoreError::Closed)
    }

    /// Asks the writer and waits for its answer, outside of asynchronous code.
    fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let commands = self.handle.commands.as_ref().ok_or(StoreError::Closed)?;
        commands.blocking_send(command(reply)).map_err(|_| StoreError::Closed)?;
        answer.blocking_recv().map_err(|_| StoreError::Closed)?
    }

    fn next_body(&self) -> BodyId {
        BodyId(self.shared().next_body.fetch_add(1, Ordering::Relaxed))
    }
}

/// Mail is private. A new folder's name has to outlast a power cut as well as what is in it.
fn create_folder(dir: &Path) -> std::io::Result<()> {
    if !dir.is_dir() {
        create_private_folder(dir)?;
        std::fs::File::open(dir.join(".."))?.sync_all()?;
    }
    Ok(())
}

/// What ends with the last [`Store`].
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    /// Held as long as the folder is ours.
    lock: Mutex<Option<Lock>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Without a sender the writer commits the index and ends.
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has said so; what it acknowledged is in the log.
            let ended = thread.join();
            let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let (Ok(()), Some(lock)) = (ended, lock) {
                lock.release();
            }
        }
    }
}

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// Free bytes on the file system below which mail is refused with [`StoreError::Full`]
    /// (452 4.3.1) while reading, flags and expunging still work.
    pub reserve: u64,
    /// Bytes after which a segment is sealed and a new one begun.
    pub segment_size: u64,
    /// Longest time the index stays behind the log on disk; it is never more than 16 MiB behind.
    pub index_interval: Duration,
    /// Gives [`Message::save_date`] and the first [`crate::mail::UidValidity`].
    pub clock: SharedClock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reserve: 64 << 20,
            segment_size: 64 << 20,
            // Nothing but replay time depends on it, and each commit of the index costs ten messages'
            // worth of writing.
            index_interval: Duration::from_mins(10),
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("reserve", &self.reserve)
            .field("segment_size", &self.segment_size)
            .field("index_interval", &self.index_interval)
            .finish_non_exhaustive()
    }
}
