//! FETCH (RFC 3501 §6.4.5): the steps of the command. `render` makes the responses.

use crate::mail::{Flag, Flags, SystemFlag};
use crate::store::{Batch, FlagChange, Flagged, Outcome};

use super::command::{FetchItem, FetchModifiers, SequenceSet, Tag};
use super::extensions::Resync;
use super::partial::page;
use super::question::{FetchJob, Fetched};
use super::session::{Session, State};
use super::view::{Expunges, Target};

/// Says that messages were left out.
const DAMAGED: &str = "[CORRUPTION] The card has lost some of these messages and they were left \
    out; the others are complete. On the box, 'pillarbox store verify' names what is lost";
/// RFC 3516 §4.3.
const UNKNOWN_CTE: &str = "[UNKNOWN-CTE] A part has a content transfer encoding that this box does \
    not know: fetch it with BODY instead";

impl Session {
    pub(super) fn fetch(
        &mut self,
        tag: Tag,
        uid: bool,
        set: &SequenceSet,
        mut items: Vec<FetchItem>,
        modifiers: &FetchModifiers,
    ) {
        if modifiers.vanished && self.enabled.resync != Resync::Qresync {
            // RFC 7162 §3.2.6.
            return self.bad(&tag, "ENABLE QRESYNC comes first");
        }
        if modifiers.changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        if items.contains(&FetchItem::ModSeq) {
            self.enable_condstore();
        }
        if uid && !items.contains(&FetchItem::Uid) {
            // RFC 3501 §6.4.8: told whether asked for or not.
            items.insert(0, FetchItem::Uid);
        }
        let State::Selected(_, view) = &self.state else { return };
        let targets = view.targets(set, uid);
        let partial = modifiers.partial;
        match modifiers.changed_since {
            Some(since) => {
                let set = set.clone();
                self.changed_since(
                    tag,
                    set,
                    modifiers,
                    since,
                    targets,
                    move |session, tag, left| {
                        session.fetch_targets(tag, uid, items, page(left, partial));
                    },
                );
            }
            None => self.fetch_targets(tag, uid, items, page(targets, partial)),
        }
    }

    fn fetch_targets(
        &mut self,
        tag: Tag,
        uid: bool,
        mut items: Vec<FetchItem>,
        targets: Vec<Target>,
    ) {
        let State::Selected(_, view) = &self.state else { return };
        let (mailbox, speech) = (view.mailbox, self.out.speech());
        let reads = FetchItem::marks_as_read;
        let mut unread = Vec::new();
        if !view.read_only && items.iter().any(reads) {
            // Whether somebody made it unread again is not known while there are news.
            let uids = targets.iter().map(|target| target.uid);
            unread.extend(uids.filter(|uid| self.stale || view.is_unread(*uid)));
        }
        if unread.is_empty() {
            let job = FetchJob { mailbox, items: items.into(), targets, speech };
            return self.fetch_now(tag, uid, job);
        }
        // RFC 3501 §6.4.5: the change is told with the text, in one response: some clients take
        // the first response for a message as the one they asked for.
        let mut told = vec![FetchItem::Flags];
        if self.enabled.resync > Resync::None {
            // RFC 7162 §3.2.4.
            told.extend([FetchItem::Uid, FetchItem::ModSeq]);
        }
        told.retain(|item| !items.contains(item));
        items.extend(told);
        let job = FetchJob { mailbox, items: items.into(), targets, speech };
        let seen = Flags::from_iter([Flag::System(SystemFlag::Seen)]);
        let mut batch = Batch::new();
        batch.set_flags(mailbox, unread, FlagChange::Add(seen), None);
        self.ask_commit(batch, move |session, answer| {
            // Reading goes on when the flag cannot be set.
            for outcome in answer.unwrap_or_default() {
                if let Outcome::Flags { changed, .. } = outcome {
                    session.seen(changed);
                }
            }
            session.fetch_now(tag, uid, job);
        });
    }

    /// Notes what the responses will tell: that messages are read now.
    fn seen(&mut self, changed: Vec<Flagged>) {
        let State::Selected(_, view) = &mut self.state else { return };
        let newest = changed.iter().map(|message| message.modseq).max();
        for Flagged { uid, flags, modseq, .. } in changed {
            view.told(uid, &flags, modseq);
        }
        if let Some(newest) = newest {
            view.told_all(newest);
        }
    }

    fn fetch_now(&mut self, tag: Tag, uid: bool, job: FetchJob) {
        let news = if uid { Expunges::Told } else { Expunges::Held };
        if job.targets.is_empty() {
            return self.finish(&tag, "FETCH completed", Some(news));
        }
        self.ask_fetch(job, move |session, Fetched { missing, damaged, unknown }| {
            if unknown {
                session.no(&tag, UNKNOWN_CTE);
            } else if damaged {
                session.no(&tag, DAMAGED);
            } else if missing {
                let text = "[EXPUNGEISSUED] FETCH completed; some messages are gone";
                session.finish(&tag, text, Some(news));
            } else {
                session.finish(&tag, "FETCH completed", Some(news));
            }
        });
    }
}
