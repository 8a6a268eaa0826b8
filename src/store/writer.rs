//! The writer: the one owner of the log's end. It takes what all connections want written, gives
//! each batch its numbers, appends everything with one write and one sync, brings it into the
//! index, and only then answers. When the disk fails it never guesses: what was not surely written
//! is cut away, and after a failed sync it stops, because nothing can be known any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redb::Durability;
use tokio::sync::{mpsc, oneshot};

use super::Options;
use super::apply::{State, Tables};
use super::batch::Batch;
use super::body::{Body, Packed, Placed};
use super::changes::{self, Touched};
use super::disk::DiskFile;
use super::error::{StoreError, again};
use super::event::{ChunkRef, Commit, Event};
use super::index::{FILE, index};
use super::packing;
use super::plan::{Planner, Writing};
use super::record::{self, Kind, Place, RECORD_HEADER, SEGMENT_HEADER};
use super::segment::Pinned;
use super::shared::Shared;
use super::sound;
use super::types::{Change, Outcome};

/// Commands that may wait for the writer; with chunks of 128 KiB at most 8 MiB.
pub(super) const WAITING: usize = 64;
/// Commands, batches or chunks, between two syncs at most: the first batch must not wait until
/// nobody has another chunk to send.
const GROUP: usize = 64;
/// Bytes of log after which the index is committed even when `index_interval` is not over.
const MAX_REPLAY: u64 = 16 << 20;
/// Shortest and longest wait for those who are about to commit; between them, as long as a sync takes.
const PATIENCE: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(3));
/// Bytes the log's file grows by. A sync that need not grow the file writes no file system metadata,
/// which is several times as much as a message.
const AHEAD: u64 = 512 << 10;
/// How long a look at the free space is believed.
const FREE_SPACE_AGE: Duration = Duration::from_secs(1);

/// What the writer can be asked for.
#[derive(Debug)]
pub(super) enum Command {
    /// Append a chunk; it is durable with the next commit.
    Chunk { chunk: Packed, reply: oneshot::Sender<Result<Pinned, StoreError>> },
    /// Make a batch durable.
    Commit { batch: Batch, reply: Reply },
    /// Begin another segment, so that the present one can be compacted: its number.
    Seal(oneshot::Sender<Result<u32, StoreError>>),
    /// Remove a segment that nothing needs any more; whether it is gone.
    Remove(u32, oneshot::Sender<Result<bool, StoreError>>),
    /// Check every page of the index.
    CheckIndex(oneshot::Sender<Result<(), StoreError>>),
    /// Commit the index and stop.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

type Reply = oneshot::Sender<Result<Vec<Outcome>, StoreError>>;

/// Serves commands until it is told to stop or nobody is left to send any.
pub(super) async fn serve(mut writer: Writer, mut commands: mpsc::Receiver<Command>) {
    let mut batches = Vec::new();
    let mut sync_time = Duration::ZERO;
    loop {
        let next = match writer.flush_due() {
            Some(due) => tokio::time::timeout_at(due.into(), commands.recv()).await,
            None => Ok(commands.recv().await),
        };
        let Ok(next) = next else {
            // The failure is kept by the writer and told to the next caller.
            let _ = writer.flush();
            continue;
        };
        let Some(mut command) = next else { break };
        let begun = Instant::now();
        for taken in 1.. {
            match command {
                Command::Chunk { chunk, reply } => drop(reply.send(writer.append(&chunk))),
                Command::Commit { batch, reply } => batches.push((batch, reply)),
                Command::Seal(reply) => drop(reply.send(writer.seal())),
                Command::Remove(segment, reply) => drop(reply.send(writer.remove(segment))),
                Command::CheckIndex(reply) => drop(reply.send(writer.check_index())),
                Command::Close(reply) => {
                    commit(&mut writer, &mut batches);
                    let flushed = writer.flush();
                    writer.shared.index.close();
                    let _ = reply.send(flushed);
                    return;
                }
            }
            if taken >= GROUP {
                break;
            }
            command = match commands.try_recv() {
                Ok(another) => another,
                Err(_) if batches.is_empty() => break,
                // Those who will be there in a moment share the sync.
                Err(_) => {
                    let patience = sync_time.clamp(PATIENCE.0, PATIENCE.1);
                    let patience = patience.saturating_sub(begun.elapsed());
                    if patience.is_zero() || writer.shared.coming.load(Ordering::Relaxed) == 0 {
                        break;
                    }
                    match tokio::time::timeout(patience, commands.recv()).await {
                        Ok(Some(another)) => another,
                        _ => break,
                    }
                }
            };
        }
        if !batches.is_empty() {
            let begun = Instant::now();
            commit(&mut writer, &mut batches);
            sync_time = begun.elapsed();
        }
        if writer.flush_due().is_some_and(|due| due <= Instant::now()) {
            let _ = writer.flush();
        }
    }
    let _ = writer.flush();
    writer.shared.index.close();
}

fn commit(writer: &mut Writer, waiting: &mut Vec<(Batch, Reply)>) {
    let (batches, replies): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
    for (reply, result) in replies.into_iter().zip(writer.commit(&batches)) {
        // Whoever asked may have gone meanwhile.
        let _ = reply.send(result);
    }
}

/// Where the log ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) segment: u32,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) len: u64,
    /// The segment was begun by an older release.
    pub(super) outdated: bool,
}

/// The end of the log.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    options: Options,
    segment: u32,
    file: Arc<dyn DiskFile>,
    /// The end of the log.
    len: u64,
    /// The end of its file: zeros are written ahead.
    file_len: u64,
    /// The segment was begun by an older release.
    outdated: bool,
    /// Since when the index on disk is behind the log.
    behind_since: Option<Instant>,
    behind_bytes: u64,
    /// Bytes written since the last sync.
    unsynced: u64,
    free: u64,
    free_seen: Option<Instant>,
    /// After a failure of which nothing is known: no more writing.
    stopped: bool,
}

impl Writer {
    /// Continues a segment at its end.
    pub(super) fn new(shared: Arc<Shared>, options: Options, end: End) -> Self {
        let End { segment, file, len, outdated } = end;
        Self {
            shared,
            options,
            segment,
            file,
            len,
            file_len: len,
            outdated,
            behind_since: None,
            behind_bytes: 0,
            unsynced: 0,
            free: 0,
            free_seen: None,
            stopped: false,
        }
    }

    /// Appends a chunk, unsynced.
    pub(super) fn append(&mut self, chunk: &Packed) -> Result<Pinned, StoreError> {
        self.usable()?;
        self.check_reserve()?;
        self.begin_segment_if_full()?;
        let mut record = Vec::with_capacity(RECORD_HEADER + chunk.payload.len());
        let at = self.frame_chunk(&mut record, chunk)?;
        self.write(record)?;
        Ok(self.shared.segments.pins.pin(at))
    }

    /// Makes batches durable with one sync; each succeeds or fails for itself.
    pub(super) fn commit(&mut self, batches: &[Batch]) -> Vec<Result<Vec<Outcome>, StoreError>> {
        let mut results: Vec<_> = batches.iter().map(|_| None).collect();
        if let Err(error) = self.try_commit(batches, &mut results) {
            let mut error = Some(error);
            for result in results.iter_mut().filter(|result| !matches!(result, Some(Err(_)))) {
                let cause = error.as_ref().map_or(StoreError::Closed, again);
                *result = Some(Err(cause));
            }
            error.take();
        }
        results.into_iter().map(|result| result.unwrap_or(Err(StoreError::Closed))).collect()
    }

    fn try_commit(
        &mut self,
        batches: &[Batch],
        results: &mut [Option<Result<Vec<Outcome>, StoreError>>],
    ) -> Result<(), StoreError> {
        self.usable()?;
        if batches.iter().all(Batch::is_empty) {
            results.fill_with(|| Some(Ok(Vec::new())));
            return Ok(());
        }
        if batches.iter().any(Batch::adds_mail) && self.check_reserve().is_err() {
            for (result, _) in results.iter_mut().zip(batches).filter(|(_, b)| b.adds_mail()) {
                *result = Some(Err(StoreError::Full));
            }
        }
        self.begin_segment_if_full()?;
        let shared = Arc::clone(&self.shared);
        // A batch that cannot be done spoils the attempt, and the others are tried without it.
        loop {
            let txn = shared.index.write(Durability::None)?;
            let Some(staged) = self.stage(&txn, batches, results)? else { continue };
            if staged.log.is_empty() {
                return Ok(());
            }
            self.write(staged.log)?;
            self.sync()?;
            shared.recent.add(staged.touched);
            txn.commit().map_err(index).inspect_err(|error| self.stop(error))?;
            for (body, placed) in staged.placed {
                body.written(&placed, |at| shared.segments.pins.pin(at));
            }
            self.behind_since.get_or_insert_with(Instant::now);
            // Nobody may be listening.
            staged.changes.into_iter().for_each(|change| drop(shared.changes.send(change)));
            return Ok(());
        }
    }

    /// Plans all batches that have not failed; nothing when one of them fails now.
    fn stage(
        &self,
        txn: &redb::WriteTransaction,
        batches: &[Batch],
        results: &mut [Option<Result<Vec<Outcome>, StoreError>>],
    ) -> Result<Option<Staged>, StoreError> {
        let mut tables = Tables::open(txn)?;
        let mut state = tables.state()?.unwrap_or_else(|| State::start(self.shared.segments.key));
        state.group += 1;
        let mut staged = Staged::default();
        let mut first = self.len == SEGMENT_HEADER as u64;
        for (batch, result) in batches.iter().zip(results) {
            if matches!(result, Some(Err(_))) {
                continue;
            }
            let mut planner = Planner {
                now: self.options.clock.now(),
                over_quota: batch.over_quota,
                writing: Tail { writer: self, staged: &mut staged },
                events: Vec::new(),
                changes: Vec::new(),
                tables: &mut tables,
                state: &mut state,
            };
            let counters = Event::Counters(planner.state.counters);
            let outcomes = planner.run(batch);
            let (mut events, changes) = (planner.events, planner.changes);
            // Only of mailboxes this batch changes: an event can also say again what is so already.
            let news = |touched: &Touched| changes.iter().any(|c| c.mailbox == Some(touched.0));
            staged.touched.extend(events.iter().flat_map(changes::touched).filter(news));
            if first && !events.is_empty() {
                events.insert(0, counters);
                first = false;
            }
            let logged = match outcomes {
                Ok(_) if events.is_empty() => Ok(()),
                Ok(_) => self.log(&mut staged.log, &mut state, events),
                Err(_) => Ok(()),
            };
            match outcomes.and_then(|outcomes| logged.map(|()| outcomes)) {
                Ok(outcomes) => *result = Some(Ok(outcomes)),
                Err(error) if error.is_callers() => {
                    *result = Some(Err(error));
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
            staged.changes.extend(changes);
        }
        tables.finish(&state)?;
        Ok(Some(staged))
    }

    /// Appends a chunk's record to what is going to be written at the end of the log.
    fn frame_chunk(&self, log: &mut Vec<u8>, chunk: &Packed) -> Result<ChunkRef, StoreError> {
        let place = self.place_after(log);
        let key = &self.shared.segments.key;
        let stored = record::append(log, key, place, Kind::Chunk, &chunk.payload)?;
        Ok(ChunkRef { segment: place.segment, offset: place.offset, stored, raw: chunk.raw })
    }

    /// Appends a commit's record likewise.
    fn log(
        &self,
        log: &mut Vec<u8>,
        state: &mut State,
        events: Vec<Event>,
    ) -> Result<(), StoreError> {
        let bytes = Commit { group: state.group, events }.encode();
        if bytes.len() > record::MAX_PAYLOAD {
            return Err(StoreError::TooLarge);
        }
        let (key, place) = (&self.shared.segments.key, self.place_after(log));
        record::append(log, key, place, Kind::Commit, &packing::pack_commit(&bytes)?)?;
        state.position = self.place_after(log);
        Ok(())
    }

    fn place_after(&self, log: &[u8]) -> Place {
        Place { segment: self.segment, offset: self.len + log.len() as u64 }
    }

    /// When the index has to be committed at the latest.
    pub(super) fn flush_due(&self) -> Option<Instant> {
        let since = self.behind_since.filter(|_| !self.stopped)?;
        let much = self.behind_bytes >= MAX_REPLAY;
        Some(if much { since } else { since + self.options.index_interval })
    }

    /// Makes the index durable as it stands.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        if self.behind_since.is_none() {
            return Ok(());
        }
        let flush = || {
            let txn = self.shared.index.write(Durability::Immediate)?;
            let tables = Tables::open(&txn)?;
            match tables.state()? {
                Some(state) => tables.finish(&state)?,
                None => drop(tables),
            }
            txn.commit().map_err(index)
        };
        flush().inspect_err(|error| self.stop(error))?;
        self.behind_since = None;
        self.behind_bytes = 0;
        Ok(())
    }

    /// Fails when the index on the disk is not what was written: then nothing is written any more,
    /// and the next opening makes it anew.
    fn check_index(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        let disk = &self.shared.segments.disk;
        if sound::is_sound(disk) {
            return Ok(());
        }
        let removed = disk.remove(FILE).and_then(|()| disk.sync_names());
        if let Err(error) = removed {
            tracing::warn!(%error, "the damaged index stays; the next opening looks again");
        }
        let error = StoreError::Index("pages of it are not what was written".to_owned());
        self.stop(&error);
        Err(error)
    }

    /// Begins another segment when there is something in this one; the number of the last one.
    pub(super) fn seal(&mut self) -> Result<u32, StoreError> {
        self.usable()?;
        if self.len > SEGMENT_HEADER as u64 {
            self.begin_segment()?;
        }
        Ok(self.segment)
    }

    /// Removes a segment, when nothing in it is needed: compaction has moved what was.
    pub(super) fn remove(&mut self, segment: u32) -> Result<bool, StoreError> {
        self.usable()?;
        let shared = Arc::clone(&self.shared);
        let last = shared.index.state()?.map_or(0, |state| state.position.segment);
        let needed = shared.index.live()?.contains_key(&segment);
        if needed || segment >= last || !shared.segments.pins.are_off(segment) {
            return Ok(false);
        }
        // Otherwise a power cut could bring back an index that still looks for it.
        self.flush()?;
        shared.segments.remove(segment).map(|()| true)
    }

    fn begin_segment_if_full(&mut self) -> Result<(), StoreError> {
        let full = self.len >= self.options.segment_size && self.len > SEGMENT_HEADER as u64;
        if full || self.outdated { self.begin_segment() } else { Ok(()) }
    }

    fn begin_segment(&mut self) -> Result<(), StoreError> {
        // Only the last segment may end in something unsynced, or in zeros written ahead.
        let cut = self.cut();
        cut.map_err(|error| self.shared.segments.failed("end a segment", error))
            .inspect_err(|error| self.stop(error))?;
        let next = self.segment.checked_add(1).ok_or(StoreError::TooLarge)?;
        match self.shared.segments.create(next) {
            Ok(file) => {
                self.segment = next;
                self.file = file;
                self.len = SEGMENT_HEADER as u64;
                self.file_len = self.len;
                self.outdated = false;
                Ok(())
            }
            Err(error) => {
                self.shared.segments.remove(next).inspect_err(|error| self.stop(error))?;
                Err(error)
            }
        }
    }

    /// Writes at the end of the log, or leaves it as it was.
    fn write(&mut self, mut bytes: Vec<u8>) -> Result<(), StoreError> {
        let len = bytes.len() as u64;
        let end = self.len + len;
        if end > self.file_len && self.free > self.options.reserve + len + AHEAD {
            let ahead = (end + AHEAD).min(self.options.segment_size.max(end));
            bytes.resize(bytes.len() + usize::try_from(ahead - end).unwrap_or(0), 0);
        }
        if let Err(error) = self.file.write_at(&bytes, self.len) {
            let error = self.shared.segments.failed("write to the log", error);
            // Synced, so that what is refused now does not appear after a power cut.
            let cut = self.cut();
            cut.map_err(|error| self.shared.segments.failed("shorten the log", error))
                .inspect_err(|error| self.stop(error))?;
            return Err(error);
        }
        self.file_len = self.file_len.max(self.len + bytes.len() as u64);
        self.len = end;
        self.behind_bytes += len;
        self.unsynced += len;
        self.free = self.free.saturating_sub(len);
        Ok(())
    }

    /// Ends the file where the log ends.
    fn cut(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.len)?;
        self.file_len = self.len;
        self.file.sync()
    }

    /// After a failed sync the system may have dropped the data and forgotten: never try again.
    fn sync(&mut self) -> Result<(), StoreError> {
        let begun = Instant::now();
        let synced = self.file.sync();
        let unsynced = std::mem::take(&mut self.unsynced);
        self.shared.note_speed(unsynced, begun.elapsed());
        let synced = synced.map_err(|error| self.shared.segments.failed("sync the log", error));
        synced.inspect_err(|error| self.stop(error))
    }

    fn check_reserve(&mut self) -> Result<(), StoreError> {
        if self.free_seen.is_none_or(|seen| seen.elapsed() >= FREE_SPACE_AGE) {
            let free = self.shared.segments.disk.free();
            let free = free.map_err(|error| self.shared.segments.failed("ask for space", error))?;
            self.free = free;
            self.free_seen = Some(Instant::now());
        }
        if self.free < self.options.reserve { Err(StoreError::Full) } else { Ok(()) }
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.stopped { Err(StoreError::Closed) } else { Ok(()) }
    }

    /// Whether nothing can be written any more.
    #[cfg(test)]
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn stop(&mut self, error: &StoreError) {
        self.stopped = true;
        tracing::error!(%error, "the mail store stops taking changes; restart to check the disk");
    }
}

/// What one attempt is going to write.
#[derive(Default)]
struct Staged {
    log: Vec<u8>,
    /// Bodies of which something is in it.
    placed: Vec<(Body, Placed)>,
    changes: BTreeSet<Change>,
    /// The messages that change.
    touched: Vec<Touched>,
}

/// The end of the log while a batch is planned.
struct Tail<'a> {
    writer: &'a Writer,
    staged: &'a mut Staged,
}

impl Writing for Tail<'_> {
    fn body(&mut self, body: &Body) -> Result<Placed, StoreError> {
        let placed = body.place(|chunk| self.writer.frame_chunk(&mut self.staged.log, chunk))?;
        self.staged.placed.push((body.clone(), placed.clone()));
        Ok(placed)
    }

    fn chunk(&mut self, chunk: &Packed) -> Result<ChunkRef, StoreError> {
        self.writer.frame_chunk(&mut self.staged.log, chunk)
    }
}
