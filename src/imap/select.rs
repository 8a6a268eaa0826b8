//! Opening and closing a mailbox: SELECT, EXAMINE, CLOSE, UNSELECT, EXPUNGE
//! (RFC 3501 §6.3.1, §6.4.2, §6.4.3; RFC 3691; RFC 4315).

use crate::mail::{MailboxName, Uid};
use crate::store::{AccountId, Batch, MailboxId, Outcome, Overview};

use super::command::{Known, SelectParams, SequenceSet, Tag};
use super::extensions::Resync;
use super::session::{Session, State};
use super::view::{Expunges, View};

/// How a mailbox is opened.
struct Opening {
    /// The name as it was asked for.
    asked: MailboxName,
    read_only: bool,
    /// What the client knows from before.
    known: Option<Known>,
}

impl Session {
    pub(super) fn select(
        &mut self,
        tag: Tag,
        account: AccountId,
        name: MailboxName,
        read_only: bool,
        params: SelectParams,
    ) {
        if params.qresync.is_some() && self.enabled.resync != Resync::Qresync {
            // RFC 7162 §3.2.5.
            return self.bad(&tag, "ENABLE QRESYNC comes first");
        }
        if matches!(self.state, State::Selected(..)) {
            // RFC 7162 §3.2.11, RFC 9051 §6.3.2: what follows is of the new one.
            self.out.line("OK [CLOSED] The mailbox before is closed");
        }
        // Even when it fails, no mailbox is selected afterwards (RFC 3501 §6.3.1).
        self.state = State::Authenticated(account);
        self.stale = false;
        if params.condstore {
            self.enable_condstore();
        }
        let how = Opening { asked: name.clone(), read_only, known: params.qresync };
        self.ask_mailbox(account, name, move |session, answer| match answer {
            Ok(Some(mailbox)) => session.open(tag, account, mailbox.id, how),
            Ok(None) => session.no(&tag, "[NONEXISTENT] There is no such mailbox"),
            Err(error) => session.failed(&tag, &error),
        });
    }

    fn open(&mut self, tag: Tag, account: AccountId, mailbox: MailboxId, how: Opening) {
        self.ask_snapshot(mailbox, move |session, answer| match answer {
            Ok(Some(snapshot)) => session.opened(tag, account, snapshot, how),
            Ok(None) => session.no(&tag, "[NONEXISTENT] The mailbox was deleted just now"),
            Err(error) => session.failed(&tag, &error),
        });
    }

    fn opened(&mut self, tag: Tag, account: AccountId, snapshot: Overview, how: Opening) {
        let Opening { asked, read_only, known } = how;
        let (mailbox, unseen) = (snapshot.mailbox.clone(), snapshot.unseen.first());
        let view = View::new(snapshot, read_only);
        let flags = view.flags();
        self.out.line(&format!("FLAGS ({flags})"));
        let permanent = if read_only { String::new() } else { format!("{flags} \\*") };
        self.out.line(&format!("OK [PERMANENTFLAGS ({permanent})] Kept for ever"));
        self.out.line(&format!("{} EXISTS", view.len()));
        self.out.recent();
        // RFC 9051 Appendix E 11.
        let first = unseen.filter(|_| !self.enabled.rev2);
        if let Some(number) = first.and_then(|uid| view.uids().number(uid)) {
            self.out.line(&format!("OK [UNSEEN {number}] First unread message"));
        }
        self.out.line(&format!("OK [UIDVALIDITY {}] UIDs are valid", mailbox.uid_validity.0));
        self.out.line(&format!("OK [UIDNEXT {}] Next UID", mailbox.uid_next.get()));
        // RFC 7162 §3.1.2.1: to every client, whatever it has switched on.
        let highest = mailbox.highest_modseq.0;
        self.out.line(&format!("OK [HIGHESTMODSEQ {highest}] Last change"));
        self.state = State::Selected(account, view);
        let done = if read_only { "[READ-ONLY] EXAMINE" } else { "[READ-WRITE] SELECT" };
        self.introduce(account, &mailbox, asked, move |session| {
            // RFC 7162 §3.2.5: of a mailbox with another validity the client knows nothing.
            match known.filter(|known| known.uid_validity == mailbox.uid_validity.0.get()) {
                Some(known) => session.resync(tag, known, done),
                None => session.ok(&tag, &format!("{done} completed")),
            }
        });
    }

    pub(super) fn unselect(&mut self, tag: &Tag, account: AccountId) {
        self.state = State::Authenticated(account);
        self.ok(tag, "UNSELECT completed");
    }

    /// Removes what is marked `\Deleted` without telling, and leaves the mailbox.
    pub(super) fn close_mailbox(&mut self, tag: Tag, account: AccountId) {
        let State::Selected(_, view) = &self.state else { return };
        if view.read_only {
            self.state = State::Authenticated(account);
            return self.ok(&tag, "CLOSE completed");
        }
        self.remove_deleted(tag, None, move |session, tag, _| {
            session.state = State::Authenticated(account);
            session.ok(&tag, "CLOSE completed");
        });
    }

    pub(super) fn expunge(&mut self, tag: Tag, set: Option<SequenceSet>) {
        let State::Selected(_, view) = &self.state else { return };
        if view.read_only {
            return self.no(&tag, "[READ-ONLY] The mailbox is open for reading only");
        }
        self.remove_deleted(tag, set, |session, tag, gone| {
            if gone.is_empty() {
                return session.finish(&tag, "EXPUNGE completed", Some(Expunges::Told));
            }
            session.tell_gone(gone);
            session.finish_expunge(tag, "EXPUNGE completed");
        });
    }

    /// Messages went away by the client's own command.
    pub(super) fn tell_gone(&mut self, gone: &[Uid]) {
        if let State::Selected(_, view) = &mut self.state {
            view.expunge(gone, self.enabled, &mut self.out);
        }
    }

    /// Ends a command that removed messages; a client that resynchronises is told how far it has come
    /// (RFC 7162 §3.2.7, §3.2.9; RFC 6851 §4.4).
    pub(super) fn finish_expunge(&mut self, tag: Tag, text: &'static str) {
        self.stale = true;
        self.try_news(Expunges::Told, move |session, told| {
            let seen = match &session.state {
                State::Selected(_, view) if told.is_ok() => Some(view.seen().0),
                _ => None,
            };
            match seen.filter(|_| session.enabled.resync == Resync::Qresync) {
                Some(seen) => session.ok(&tag, &format!("[HIGHESTMODSEQ {seen}] {text}")),
                None => session.ok(&tag, text),
            }
        });
    }

    /// Removes the messages the client knows of that are marked `\Deleted` now, within a set of
    /// UIDs when there is one.
    fn remove_deleted(
        &mut self,
        tag: Tag,
        set: Option<SequenceSet>,
        then: impl FnOnce(&mut Self, Tag, &[Uid]) + Send + 'static,
    ) {
        let State::Selected(_, view) = &self.state else { return };
        let mailbox = view.mailbox;
        self.ask_snapshot(mailbox, move |session, answer| {
            let deleted = match answer {
                Ok(Some(overview)) => overview.deleted,
                Ok(None) => return session.bye("The selected mailbox was deleted"),
                Err(error) => return session.failed(&tag, &error),
            };
            let State::Selected(_, view) = &session.state else { return };
            let uids: Vec<Uid> = match &set {
                Some(set) => {
                    let chosen = view.targets(set, true).into_iter().map(|target| target.uid);
                    chosen.filter(|uid| deleted.contains(*uid)).collect()
                }
                None => deleted.and(view.uids()).iter().collect(),
            };
            if uids.is_empty() {
                return then(session, tag, &[]);
            }
            let mut batch = Batch::new();
            batch.expunge(mailbox, uids);
            session.ask_commit(batch, move |session, answer| match answer {
                Ok(outcomes) => {
                    let gone = outcomes.into_iter().flat_map(|outcome| match outcome {
                        Outcome::Expunged(uids) => uids,
                        _ => Vec::new(),
                    });
                    let gone: Vec<Uid> = gone.collect();
                    then(session, tag, &gone);
                }
                Err(error) => session.failed(&tag, &error),
            });
        });
    }
}
