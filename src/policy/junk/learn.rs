//! Learning from what people do with their mail.
//!
//! - Moved into Junk: junk. Filed there by us: nothing, until somebody takes it out.
//! - Taken out of Junk, to anywhere but the trash: wanted, and what was learned before is undone.
//! - Kept in Archive or another folder, answered or flagged, or read and left in the inbox for some
//!   days: wanted, unless our own score had doubts.
//! - In Sent: the people it went to are known, and answers to it are.
//!
//! What was done with a body is noted for each account, so a lesson is taken once and a look that
//! was interrupted is simply taken again. Weights, notes and the places reached are written
//! together: after a power cut they fit each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::known::{self, Kind};
use super::lesson::{Mark, Purpose, Todo, read, todo};
use super::model::{Class, Lessons};
use super::score::Verdict;
use super::{Junk, SENT, header};
use crate::mail::structure::Structure;
use crate::mail::{ModSeq, SystemFlag};
use crate::policy::notes::{LEARNED, MODELS, NotesError, PLACES, file};
use crate::store::{AccountId, BodyId, Entry, Mailbox, MailboxId, Store, StoreError};

/// The number under which an account's lessons are counted, among the chunks of its model.
pub(super) const LESSONS: u16 = u16::MAX;
/// Messages looked at in a mailbox that was never looked at before: the newest.
const FIRST_LOOK: usize = 2000;
/// Lessons between two commits.
const STEP: usize = 100;
/// Messages of the inbox looked at every day, and lessons taken from them.
const INBOX_LOOK: usize = 300;
const INBOX_LESSONS: usize = 50;
/// Mail that was read and left in the inbox for so long is wanted.
const SETTLED: SignedDuration = SignedDuration::from_hours(48);
/// Of mail with so many points of ours nobody but its reader says that it is wanted.
const DOUBT: i32 = 25;
/// Bodies of an account that it is known what was done with; the oldest are forgotten.
const MOST_LEARNED: usize = 50_000;

/// How far each mailbox was looked through.
#[derive(Debug, Default)]
pub(super) struct Work {
    places: HashMap<MailboxId, Place>,
    /// Some are not in the notes.
    unwritten: BTreeSet<MailboxId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    modseq: ModSeq,
    /// Messages below were there at the last look.
    next: u32,
}

/// What is to be written together.
#[derive(Debug, Default)]
struct Lesson {
    marks: BTreeMap<(u32, u64), Mark>,
    known: BTreeSet<(AccountId, u64)>,
}

impl Junk {
    /// Looks through what changed in an account's mailboxes and learns from it. `goes_on` is asked
    /// between messages. Blocks the caller.
    pub fn catch_up(
        &self,
        store: &Store,
        account: AccountId,
        now: Timestamp,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<(), NotesError> {
        let mut work = self.work.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut lesson = Lesson::default();
        let done = (|| {
            for mailbox in store.mailboxes(account)? {
                self.look(store, &mailbox, now, &mut work, &mut lesson, &mut goes_on)?;
            }
            self.write(&lesson, &mut work, now, Haste::WhenLearned)
        })();
        self.forget_unwritten(&mut work, &done);
        done
    }

    /// The daily look at what people read and left in the inbox, and the end of what is too old
    /// to be kept.
    pub fn settle(
        &self,
        store: &Store,
        account: AccountId,
        now: Timestamp,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<(), NotesError> {
        let mut work = self.work.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let done = (|| {
            let mut lesson = Lesson::default();
            let mailboxes = store.mailboxes(account)?;
            if let Some(inbox) = mailboxes.iter().find(|mailbox| mailbox.name.is_inbox())
                && let Some((_, entries)) = store.entries(inbox.id)?
            {
                let read = entries.iter().rev().take(INBOX_LOOK).filter(|entry| {
                    entry.flags.has(SystemFlag::Seen) && !entry.flags.has(SystemFlag::Deleted)
                });
                for entry in read {
                    if lesson.marks.len() >= INBOX_LESSONS {
                        break;
                    }
                    if !goes_on() {
                        return Err(NotesError::Stopped);
                    }
                    let settled = |date: Timestamp| now.duration_since(date) >= SETTLED;
                    if self.mark(&lesson, account, entry.body)?.is_none()
                        && store.message(inbox.id, entry.uid)?.is_some_and(|m| settled(m.save_date))
                    {
                        self.take(store, inbox, entry, Todo::Trust, None, &mut lesson)?;
                    }
                }
            }
            self.write(&lesson, &mut work, now, Haste::Now)?;
            known::prune(&self.notes, account, known::MOST)?;
            self.prune_marks(account)
        })();
        self.forget_unwritten(&mut work, &done);
        done
    }

    /// Writes what is not written yet: the program is about to stop.
    pub fn put_away(&self, now: Timestamp) -> Result<(), NotesError> {
        let mut work = self.work.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.write(&Lesson::default(), &mut work, now, Haste::Now)
    }

    fn look(
        &self,
        store: &Store,
        mailbox: &Mailbox,
        now: Timestamp,
        work: &mut Work,
        lesson: &mut Lesson,
        goes_on: &mut impl FnMut() -> bool,
    ) -> Result<(), NotesError> {
        let purpose = Purpose::of(mailbox);
        let place = self.place(work, mailbox.id)?;
        if place.is_some_and(|place| place.modseq >= mailbox.highest_modseq) {
            return Ok(());
        }
        let found = match place {
            Some(place) => {
                store.changed_since(mailbox.id, place.modseq)?.map(|c| (c.mailbox, c.changed))
            }
            None => store.entries(mailbox.id)?.map(|(mailbox, mut entries)| {
                let old = entries.len().saturating_sub(FIRST_LOOK);
                entries.drain(..old);
                (mailbox, entries)
            }),
        };
        // Removed meanwhile.
        let Some((mailbox, entries)) = found else { return Ok(()) };
        let next = place.map_or(0, |place| place.next);
        for entry in &entries {
            if purpose == Purpose::Other {
                break;
            }
            if !goes_on() {
                return Err(NotesError::Stopped);
            }
            let mark = self.mark(lesson, mailbox.account, entry.body)?;
            let todo = todo(purpose, &entry.flags, entry.uid.get() >= next, mark);
            self.take(store, &mailbox, entry, todo, mark, lesson)?;
            if lesson.marks.len() + lesson.known.len() >= STEP {
                self.write(&std::mem::take(lesson), work, now, Haste::WhenLearned)?;
            }
        }
        let place = Place { modseq: mailbox.highest_modseq, next: mailbox.uid_next.get() };
        work.places.insert(mailbox.id, place);
        work.unwritten.insert(mailbox.id);
        Ok(())
    }

    /// Does what there is to do about one message.
    fn take(
        &self,
        store: &Store,
        mailbox: &Mailbox,
        entry: &Entry,
        todo: Todo,
        before: Option<Mark>,
        lesson: &mut Lesson,
    ) -> Result<(), NotesError> {
        if todo == Todo::Nothing {
            return Ok(());
        }
        let account = mailbox.account;
        let read = match read(store, mailbox.id, entry.uid) {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(()),
            Err(error @ StoreError::Closed) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(body = entry.body.0, %error, "nothing is learned from a message");
                return Ok(());
            }
        };
        let told = read.told();
        let class = match todo {
            Todo::Nothing => return Ok(()),
            Todo::Sent => {
                let hashes = self.sent_to(&read.head);
                lesson.known.extend(hashes.into_iter().map(|hash| (account, hash)));
                return Ok(());
            }
            Todo::AskWhoFiled if told.as_ref().is_some_and(|t| t.verdict != Verdict::Inbox) => {
                lesson.marks.insert((account.0, entry.body.0), Mark::Filed);
                return Ok(());
            }
            Todo::Trust if told.as_ref().is_some_and(|told| told.score.points >= DOUBT) => {
                return Ok(());
            }
            Todo::AskWhoFiled => Class::Spam,
            Todo::Trust => Class::Ham,
            Todo::Learn(class) => class,
        };
        let seen = read.inspect();
        self.teach(account, &seen.tokens, class, before.and_then(Mark::class))?;
        lesson.marks.insert((account.0, entry.body.0), class.into());
        Ok(())
    }

    /// Whom a sent message makes known.
    fn sent_to(&self, header: &[u8]) -> Vec<u64> {
        let Ok(structure) = Structure::scan_head(header, 0) else { return Vec::new() };
        let Some(head) = &structure.root().head else { return Vec::new() };
        let people = head.to.iter().chain(&head.cc).chain(&head.bcc).take(100);
        let addresses = people.filter_map(header::address_of);
        let hashes = addresses.map(|address| Kind::Address.hash(&self.notes, &address));
        let id = head.message_id.as_deref().map(String::from_utf8_lossy);
        hashes.chain(id.map(|id| Kind::MessageId.hash(&self.notes, id.trim()))).collect()
    }

    fn mark(
        &self,
        lesson: &Lesson,
        account: AccountId,
        body: BodyId,
    ) -> Result<Option<Mark>, NotesError> {
        let key = (account.0, body.0);
        if let Some(mark) = lesson.marks.get(&key) {
            return Ok(Some(*mark));
        }
        self.notes.read(|txn| {
            let learned = txn.open_table(LEARNED).map_err(file)?;
            Ok(learned.get(key).map_err(file)?.and_then(|mark| Mark::of(mark.value())))
        })
    }

    fn place(&self, work: &mut Work, mailbox: MailboxId) -> Result<Option<Place>, NotesError> {
        if let Some(place) = work.places.get(&mailbox) {
            return Ok(Some(*place));
        }
        let place = self.notes.read(|txn| {
            let places = txn.open_table(PLACES).map_err(file)?;
            let place = places.get(mailbox.0).map_err(file)?.map(|place| place.value());
            Ok(place.map(|(modseq, next)| Place { modseq: ModSeq(modseq), next }))
        })?;
        if let Some(place) = place {
            work.places.insert(mailbox, place);
        }
        Ok(place)
    }

    /// Writes weights, marks and places together. Places alone are worth a commit only when there
    /// is no later one.
    fn write(
        &self,
        lesson: &Lesson,
        work: &mut Work,
        now: Timestamp,
        haste: Haste,
    ) -> Result<(), NotesError> {
        let dirty: Vec<_> = self
            .models()
            .iter()
            .filter(|(_, model)| model.is_dirty())
            .map(|(account, model)| (account.0, model.lessons, model.changed()))
            .collect();
        let sent = {
            let mut sent = self.sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::take(&mut *sent)
        };
        let learned = !(dirty.is_empty() && lesson.marks.is_empty() && lesson.known.is_empty());
        let worth = match haste {
            Haste::WhenLearned => learned || !sent.is_empty(),
            Haste::Now => learned || !sent.is_empty() || !work.unwritten.is_empty(),
        };
        if !worth {
            return Ok(());
        }
        let day = u32::try_from(now.as_second() / 86_400).unwrap_or_default();
        let written = self.notes.write(|txn| {
            let mut chunks = txn.open_table(MODELS).map_err(file)?;
            for (account, lessons, changed) in &dirty {
                for (number, chunk) in changed {
                    chunks.insert((*account, *number), chunk.as_slice()).map_err(file)?;
                }
                let lessons = write_lessons(*lessons);
                chunks.insert((*account, LESSONS), lessons.as_slice()).map_err(file)?;
            }
            let mut learned = txn.open_table(LEARNED).map_err(file)?;
            for (key, mark) in &lesson.marks {
                learned.insert(*key, *mark as u8).map_err(file)?;
            }
            for (account, hash) in lesson.known.iter().chain(&sent) {
                known::put(txn, *account, [*hash], day)?;
            }
            let mut places = txn.open_table(PLACES).map_err(file)?;
            for mailbox in &work.unwritten {
                if let Some(place) = work.places.get(mailbox) {
                    places.insert(mailbox.0, (place.modseq.0, place.next)).map_err(file)?;
                }
            }
            Ok(())
        });
        if let Err(error) = written {
            // Nothing else remembers what was sent.
            let mut kept = self.sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            kept.extend(sent);
            kept.truncate(SENT);
            return Err(error);
        }
        // Whoever learns holds `work`: nothing was learned meanwhile.
        let written = |account: &AccountId| dirty.iter().any(|(whose, ..)| *whose == account.0);
        self.models().iter_mut().filter(|(account, _)| written(account)).for_each(|(_, model)| {
            model.is_written();
        });
        work.unwritten.clear();
        Ok(())
    }

    /// What was learned and could not be written is as if it had never been learned: it will be
    /// learned again.
    fn forget_unwritten(&self, work: &mut Work, done: &Result<(), NotesError>) {
        if done.is_err() {
            self.models().clear();
            *work = Work::default();
        }
    }

    fn prune_marks(&self, account: AccountId) -> Result<(), NotesError> {
        let all = (account.0, 0)..=(account.0, u64::MAX);
        let count = self.notes.read(|txn| {
            let learned = txn.open_table(LEARNED).map_err(file)?;
            Ok(learned.range(all.clone()).map_err(file)?.count())
        })?;
        let Some(mut over) = count.checked_sub(MOST_LEARNED).filter(|over| *over > 0) else {
            return Ok(());
        };
        self.notes.write(|txn| {
            let mut learned = txn.open_table(LEARNED).map_err(file)?;
            learned
                .retain_in(all, |_, _| {
                    let goes = over > 0;
                    over -= usize::from(goes);
                    !goes
                })
                .map_err(file)
        })
    }
}

/// When a commit is worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Haste {
    WhenLearned,
    Now,
}

fn write_lessons(lessons: Lessons) -> [u8; 8] {
    (u64::from(lessons.ham) << 32 | u64::from(lessons.spam)).to_le_bytes()
}

/// Whether these are an account's counts.
pub(super) fn read_lessons(bytes: &[u8], lessons: &mut Lessons) -> bool {
    let Some((spam, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let Ok(ham) = <[u8; 4]>::try_from(rest) else { return false };
    *lessons = Lessons { spam: u32::from_le_bytes(*spam), ham: u32::from_le_bytes(ham) };
    true
}
