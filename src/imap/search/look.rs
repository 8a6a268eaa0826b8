//! Finding the messages, off the async threads and in steps that hold little memory and end soon.
//! A client that waits long is told how far it is (INPROGRESS, RFC 9585).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::plan::{Candidate, Context, Plan};
use super::text::Text;
use crate::imap::command::Program;
use crate::imap::desk::{Desk, Library, Shelved, send};
use crate::imap::question::{Found, SearchJob};
use crate::imap::sort::Order;
use crate::imap::thread::Threads;
use crate::imap::view::Target;
use crate::mail::{ModSeq, Uid};
use crate::search::{Facts, Verdict};
use crate::store::StoreError;

/// Messages read in one step, and messages looked up.
const READ_STEP: usize = 64;
const LOOK_STEP: usize = 4096;
/// Time between two words on how far it is (RFC 9585 §4).
const PATIENCE: Duration = Duration::from_secs(10);

/// A message that was found; date and size only when they are needed to order it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::imap) struct Match {
    pub(in crate::imap) number: u32,
    pub(in crate::imap) uid: Uid,
    pub(in crate::imap) modseq: ModSeq,
    /// Seconds since 1970.
    pub(in crate::imap) received: i64,
    pub(in crate::imap) size: u64,
}

impl Match {
    fn new(number: u32, facts: &Facts<'_>) -> Self {
        let Facts { uid, modseq, received, size, .. } = *facts;
        Self { number, uid, modseq, received, size }
    }
}

/// Messages the row and the index could not decide on.
struct Open {
    plan: Plan,
    job: SearchJob,
    targets: Vec<Target>,
}

impl Desk {
    /// Fails when the connection does.
    pub(in crate::imap) async fn search(
        &self,
        job: SearchJob,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<Result<Found, StoreError>> {
        let mut progress = Progress::new(&job, self.progress_after);
        let now = self.clock.now();
        let looked = self.reading(move |library| library.sort_out(job, now)).await?;
        let (mut found, open) = match looked {
            Ok(looked) => looked,
            Err(error) => return Ok(Err(error)),
        };
        let open = Arc::new(open);
        let mut next = 0;
        while next < open.targets.len() {
            let step = Arc::clone(&open);
            let read = self.reading(move |library| library.matching(&step, next)).await?;
            let (some, end) = match read {
                Ok(read) => read,
                Err(error) => return Ok(Err(error)),
            };
            found.extend(some);
            next = end;
            progress.at(open.job.targets.len() - open.targets.len() + next, writer).await?;
        }
        found.sort_unstable_by_key(|found| found.number);
        self.in_order(&open.job, found, progress, writer).await
    }

    /// Sorts or groups what was found.
    async fn in_order(
        &self,
        job: &SearchJob,
        found: Vec<Match>,
        mut progress: Progress,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<Result<Found, StoreError>> {
        let mut arrange = match &job.program {
            Program::Search => return Ok(Ok(Found::Messages(found))),
            Program::Sort(criteria) => Arrange::Sort(Order::new(criteria)),
            Program::Thread(algorithm) => Arrange::Thread(Threads::new(*algorithm)),
        };
        let (mailbox, uid, all) = (job.mailbox, job.uid, job.targets.len());
        let reads = arrange.reads();
        let mut done = 0;
        while done < found.len() {
            let step = if reads { READ_STEP } else { LOOK_STEP };
            let some: Vec<Match> = found.iter().skip(done).take(step).copied().collect();
            done += some.len();
            let work = move |library: &Library| {
                let uids: Vec<Uid> = some.iter().map(|one| one.uid).collect();
                let headers = if reads { library.headers(mailbox, &uids) } else { Vec::new() };
                let headers = headers.iter().map(Vec::as_slice).chain(std::iter::repeat(&[][..]));
                some.iter().zip(headers).try_for_each(|(one, header)| arrange.add(one, header))?;
                Ok(arrange)
            };
            arrange = match self.reading(work).await? {
                Ok(arrange) => arrange,
                Err(error) => return Ok(Err(error)),
            };
            // What was not found needs no second look.
            progress.at(2 * all - found.len() + done, writer).await?;
        }
        self.reading(move |_| arrange.finish(found, uid)).await.map(Ok)
    }
}

/// How what was found is put in order.
enum Arrange {
    Sort(Order),
    Thread(Threads),
}

impl Arrange {
    /// Whether it asks for the messages' headers.
    fn reads(&self) -> bool {
        match self {
            Self::Sort(order) => order.reads(),
            Self::Thread(_) => true,
        }
    }

    /// Takes the next message, by number.
    fn add(&mut self, found: &Match, header: &[u8]) -> Result<(), StoreError> {
        let room = match self {
            Self::Sort(order) => order.add(found, header),
            Self::Thread(threads) => threads.add(found, header),
        };
        if room { Ok(()) } else { Err(StoreError::TooLarge) }
    }

    fn finish(self, found: Vec<Match>, uid: bool) -> Found {
        match self {
            Self::Sort(order) => Found::Messages(order.sorted(found)),
            Self::Thread(threads) => Found::Threads(threads.render(&found, uid)),
        }
    }
}

impl Library {
    /// Asks the rows and the index, which reads no message.
    fn sort_out(
        &self,
        mut job: SearchJob,
        now: Timestamp,
    ) -> Result<(Vec<Match>, Open), StoreError> {
        let last = job.targets.last();
        let context = Context {
            now,
            saved: Arc::clone(&job.saved),
            last_number: last.map_or(0, |last| last.number),
            last_uid: last.map_or(0, |last| last.uid.get()),
        };
        let key = std::mem::replace(&mut job.key, crate::imap::command::SearchKey::All);
        let plan = Plan::new(&key, &context, &self.search);
        let mut needs = plan.needs();
        // Date and size of what is found are compared.
        needs.rows |= job.program != Program::Search;
        let (mut found, mut open) = (Vec::new(), Vec::new());
        let mut known = job.targets.iter().peekable();
        // Both go up by UID: what is not in both is gone, or not told to the client yet.
        self.search.facts(&self.store, job.mailbox, &needs, |facts| {
            while known.next_if(|target| target.uid < facts.uid).is_some() {}
            let Some(target) = known.next_if(|target| target.uid == facts.uid) else { return };
            let candidate = Candidate { number: target.number, facts, message: None };
            match plan.judge(&candidate) {
                Verdict::Yes => found.push(Match::new(target.number, &facts)),
                Verdict::No => {}
                Verdict::Maybe => open.push(*target),
            }
        })?;
        Ok((found, Open { plan, job, targets: open }))
    }

    /// Goes on with the messages that are open, and tells which one is next.
    fn matching(&self, open: &Open, first: usize) -> Result<(Vec<Match>, usize), StoreError> {
        let mailbox = open.job.mailbox;
        let mut needles = Vec::new();
        open.plan.needles(&mut needles);
        let mut found = Vec::new();
        let mut reads = 0;
        let mut next = first;
        for Target { number, uid, .. } in open.targets.iter().skip(first).take(LOOK_STEP) {
            next += 1;
            let Some(message) = self.store.message(mailbox, *uid)? else { continue };
            let facts = Facts::of(&message);
            let candidate = Candidate { number: *number, facts, message: Some(&message) };
            let matches = match open.plan.judge(&candidate) {
                Verdict::Yes => true,
                Verdict::No => false,
                Verdict::Maybe => {
                    reads += 1;
                    let source = Shelved { library: self, mailbox, message: &message };
                    let mut text = Text::new(&source, needles.clone());
                    open.plan.read(&candidate, &mut text).unwrap_or_else(|error| {
                        // One damaged message must not hide all others.
                        self.unread(mailbox, *uid, &error);
                        false
                    })
                }
            };
            if matches {
                found.push(Match::new(*number, &facts));
            }
            if reads == READ_STEP {
                break;
            }
        }
        Ok((found, next))
    }
}

/// Tells a client now and then how far its search is. Messages count, and once more when they
/// are put in order.
struct Progress {
    tag: String,
    every: Duration,
    told: Instant,
    goal: usize,
}

impl Progress {
    fn new(job: &SearchJob, every: Option<Duration>) -> Self {
        let rounds = if job.program == Program::Search { 1 } else { 2 };
        let goal = job.targets.len() * rounds;
        Self { tag: job.tag.clone(), every: every.unwrap_or(PATIENCE), told: Instant::now(), goal }
    }

    /// So many are done.
    async fn at(&mut self, done: usize, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.told.elapsed() < self.every {
            return Ok(());
        }
        self.told = Instant::now();
        let Self { tag, goal, .. } = self;
        let line = format!("* OK [INPROGRESS (\"{tag}\" {done} {goal})] Still searching\r\n");
        send(writer, line.as_bytes()).await?;
        tokio::io::AsyncWriteExt::flush(writer).await
    }
}
