//! STORE (RFC 3501 §6.4.6).

use crate::mail::Uid;
use crate::store::{Batch, FlagChange, Outcome};

use super::command::{SequenceSet, Tag};
use super::session::{Session, State};
use super::view::{Entry, Expunges};

impl Session {
    pub(super) fn store_flags(
        &mut self,
        tag: Tag,
        uid: bool,
        set: &SequenceSet,
        change: FlagChange,
        silent: bool,
    ) {
        let State::Selected(_, view) = &self.state else { return };
        if view.read_only {
            return self.no(&tag, "[READ-ONLY] The mailbox is open for reading only");
        }
        let news = if uid { Expunges::Told } else { Expunges::Held };
        let uids: Vec<Uid> = view.targets(set, uid).iter().map(|target| target.uid).collect();
        if uids.is_empty() {
            return self.finish(&tag, "Nothing to store", Some(news));
        }
        let wanted = uids.len();
        let mut batch = Batch::new();
        batch.set_flags(view.mailbox, uids, change.clone(), None);
        self.ask_commit(batch, move |session, answer| {
            let changed = match answer {
                Ok(outcomes) => outcomes.into_iter().find_map(|outcome| match outcome {
                    Outcome::Flags { changed, .. } => Some(changed),
                    _ => None,
                }),
                Err(error) => return session.failed(&tag, &error),
            };
            let changed = changed.unwrap_or_default();
            let complete = changed.len() == wanted;
            let State::Selected(_, view) = &mut session.state else { return };
            for (message, flags, modseq) in changed {
                // What others changed meanwhile is told even so (RFC 3501 §6.4.6).
                let expected = |old: &Entry| silent && change.applied_to(&old.flags) == flags;
                if let Some((number, _)) = view.by_uid(message).filter(|(_, old)| !expected(old)) {
                    session.out.fetch_flags(number, uid.then_some(message), &flags);
                }
                view.told(message, flags, modseq);
            }
            let text = if complete {
                "STORE completed"
            } else {
                "[EXPUNGEISSUED] STORE completed; some messages are gone"
            };
            session.finish(&tag, text, Some(news));
        });
    }
}
