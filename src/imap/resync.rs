//! What changed while a client was away (RFC 7162 §3.2.5, §3.2.6): told when it opens a mailbox
//! again, and when it asks.

use crate::mail::{ModSeq, Uid, UidSet};
use crate::store::Changes;

use super::command::{FetchModifiers, Known, SequenceSet, Tag};
use super::respond::{Output, uid_ranges};
use super::session::{Session, State};
use super::view::{Target, View};

impl Session {
    /// Ends SELECT with what changed since the client was last here.
    pub(super) fn resync(&mut self, tag: Tag, known: Known, done: &'static str) {
        let State::Selected(_, view) = &self.state else { return };
        self.ask_changes(view.mailbox, known.modseq, move |session, answer| {
            let changes = match answer {
                Ok(Some(changes)) => changes,
                Ok(None) => return session.bye("The selected mailbox was deleted"),
                Err(error) => return session.failed(&tag, &error),
            };
            let State::Selected(_, view) = &session.state else { return };
            let of = Wanted::new(known.uids.as_ref(), &changes);
            let floor = known.sample.as_ref().and_then(|(n, uids)| matching(view, n, uids));
            let since = floor.map_or(0, Uid::get);
            session.out.vanished_earlier(view, &changes, &of, since);
            let mut told = 0;
            // What is younger than the view is news, told in order.
            let seen = view.seen();
            for entry in changes.changed.iter().filter(|entry| entry.modseq <= seen) {
                if let Some(number) = view.uids().number(entry.uid).filter(|_| of.has(entry.uid)) {
                    let (uid, modseq) = (Some(entry.uid), Some(entry.modseq));
                    session.out.fetch_flags(number, uid, &entry.flags, modseq);
                    told += 1;
                }
            }
            session.ok(&tag, &format!("{done} completed, {told} messages had changed"));
        });
    }

    /// Leaves those of a FETCH's messages that changed since, and tells first what vanished.
    pub(super) fn changed_since(
        &mut self,
        tag: Tag,
        set: SequenceSet,
        modifiers: &FetchModifiers,
        since: ModSeq,
        mut targets: Vec<Target>,
        then: impl FnOnce(&mut Self, Tag, Vec<Target>) + Send + 'static,
    ) {
        let State::Selected(_, view) = &self.state else { return };
        let vanished = modifiers.vanished;
        self.ask_changes(view.mailbox, since, move |session, answer| {
            let changes = match answer {
                Ok(Some(changes)) => changes,
                Ok(None) => return session.bye("The selected mailbox was deleted"),
                Err(error) => return session.failed(&tag, &error),
            };
            if let State::Selected(_, view) = &session.state
                && vanished
            {
                let of = Wanted::new(Some(&set), &changes);
                session.out.vanished_earlier(view, &changes, &of, 0);
            }
            let news: UidSet = changes.changed.iter().map(|entry| entry.uid).collect();
            targets.retain(|target| news.contains(target.uid));
            then(session, tag, targets);
        });
    }
}

/// The UIDs a client wants to hear of.
struct Wanted(Option<Vec<(u32, u32)>>);

impl Wanted {
    /// `*` stands for the last UID that was given: what vanished behind the last message there is
    /// counts too.
    fn new(set: Option<&SequenceSet>, changes: &Changes) -> Self {
        let last = changes.mailbox.uid_next.get() - 1;
        Self(set.map(|set| set.ranges(last)))
    }

    fn has(&self, uid: Uid) -> bool {
        self.0.as_ref().is_none_or(|ranges| {
            let after = ranges.partition_point(|(from, _)| *from <= uid.get());
            let range = after.checked_sub(1).and_then(|index| ranges.get(index));
            range.is_some_and(|(_, to)| uid.get() <= *to)
        })
    }
}

impl Output {
    /// RFC 7162 §3.2.10.1. What the client still has under a number is told when numbers may
    /// shift, as news.
    fn vanished_earlier(&mut self, view: &View, changes: &Changes, of: &Wanted, above: u32) {
        let gone = changes.vanished.iter().copied();
        let gone = gone.filter(|uid| uid.get() > above && of.has(*uid));
        let gone: UidSet = gone.filter(|uid| !view.uids().contains(*uid)).collect();
        if !gone.is_empty() {
            self.raw("* VANISHED (EARLIER) ").raw(&uid_ranges(gone.ranges())).raw("\r\n");
        }
    }
}

/// The highest UID that a client knows under its right number: it knows what vanished up to there
/// (RFC 7162 §3.2.5.2).
fn matching(view: &View, numbers: &SequenceSet, uids: &SequenceSet) -> Option<Uid> {
    let each = |set: &SequenceSet| set.ranges(0).into_iter().flat_map(|(from, to)| from..=to);
    // Numbers ascend: at most as many as there are messages are looked at.
    let pairs = each(numbers).zip(each(uids)).take_while(|(number, _)| *number <= view.len());
    let right = |(number, uid): &(u32, u32)| {
        view.uids().uid(*number).is_some_and(|found| found.get() == *uid)
    };
    pairs.filter(right).last().and_then(|(_, uid)| Uid::new(uid))
}
