//! STORE (RFC 3501 §6.4.6), also on condition that nobody was faster (RFC 7162 §3.1.3).

use crate::mail::{ModSeq, Uid};
use crate::store::{Batch, FlagChange, Flagged, Outcome};

use super::command::{FetchItem, SequenceSet, Tag};
use super::question::FetchJob;
use super::respond::{number_set, uid_set};
use super::session::{Session, State};
use super::view::{Expunges, Target};

/// What a STORE does with the messages of its set.
pub(super) struct FlagStore {
    pub(super) uid: bool,
    pub(super) change: FlagChange,
    pub(super) silent: bool,
    pub(super) unchanged_since: Option<ModSeq>,
}

impl Session {
    pub(super) fn store_flags(&mut self, tag: Tag, set: &SequenceSet, store: FlagStore) {
        if store.unchanged_since.is_some() {
            self.enable_condstore();
        }
        let State::Selected(_, view) = &self.state else { return };
        if view.read_only {
            return self.no(&tag, "[READ-ONLY] The mailbox is open for reading only");
        }
        let targets = view.targets(set, store.uid);
        if targets.is_empty() {
            return self.finish(&tag, "Nothing to store", Some(store.news()));
        }
        let uids: Vec<Uid> = targets.iter().map(|target| target.uid).collect();
        let mut batch = Batch::new();
        batch.set_flags(view.mailbox, uids, store.change.clone(), store.unchanged_since);
        self.ask_commit(batch, move |session, answer| {
            let stored = match answer {
                Ok(outcomes) => outcomes.into_iter().find_map(|outcome| match outcome {
                    Outcome::Flags { changed, modified } => Some((changed, modified)),
                    _ => None,
                }),
                Err(error) => return session.failed(&tag, &error),
            };
            let (changed, modified) = stored.unwrap_or_default();
            let complete = changed.len() + modified.len() == targets.len();
            session.tell_stored(&store, changed);
            if modified.is_empty() {
                let text = if complete {
                    "STORE completed"
                } else {
                    "[EXPUNGEISSUED] STORE completed; some messages are gone"
                };
                return session.finish(&tag, text, Some(store.news()));
            }
            let mut modified = targets
                .into_iter()
                .filter(|target| modified.binary_search(&target.uid).is_ok())
                .collect::<Vec<_>>();
            modified.sort_unstable_by_key(|target| target.number);
            session.tell_modified(tag, &store, modified);
        });
    }

    /// What the messages are like now, as far as the client does not know.
    fn tell_stored(&mut self, store: &FlagStore, changed: Vec<Flagged>) {
        let enabled = self.enabled;
        let State::Selected(_, view) = &mut self.state else { return };
        let newest = changed.iter().map(|message| message.modseq).max();
        for Flagged { uid, flags, modseq, before } in changed {
            let Some(number) = view.uids().number(uid) else { continue };
            let told = enabled.modseq(modseq);
            // What others changed meanwhile is told even so (RFC 3501 §6.4.6).
            if !store.silent || !view.knows(uid, before) {
                view.introduce_keywords(&flags, &mut self.out);
                let with_uid = store.uid || enabled.rev2 || told.is_some();
                self.out.fetch_flags(number, with_uid.then_some(uid), &flags, told);
            } else if let Some(modseq) = told {
                self.out.fetch_modseq(number, uid, modseq);
            }
            view.told(uid, &flags, modseq);
        }
        if let Some(newest) = newest {
            view.told_all(newest);
        }
    }

    /// Tells which messages others had changed, and what they are like now: then the client need
    /// not ask (RFC 7162 §3.1.3).
    fn tell_modified(&mut self, tag: Tag, store: &FlagStore, modified: Vec<Target>) {
        let State::Selected(_, view) = &self.state else { return };
        let set = if store.uid {
            uid_set(modified.iter().map(|target| target.uid))
        } else {
            number_set(modified.iter().map(|target| target.number))
        };
        let news = store.news();
        let items = [FetchItem::Uid, FetchItem::Flags, FetchItem::ModSeq];
        let speech = self.out.speech();
        let job =
            FetchJob { mailbox: view.mailbox, items: items.into(), targets: modified, speech };
        self.ask_fetch(job, move |session, _| {
            let text = format!("[MODIFIED {set}] Others changed these meanwhile");
            session.finish(&tag, &text, Some(news));
        });
    }
}

impl FlagStore {
    fn news(&self) -> Expunges {
        if self.uid { Expunges::Told } else { Expunges::Held }
    }
}
