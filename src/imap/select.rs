//! Opening and closing a mailbox: SELECT, EXAMINE, CLOSE, UNSELECT, EXPUNGE
//! (RFC 3501 §6.3.1, §6.4.2, §6.4.3; RFC 3691; RFC 4315).

use std::collections::BTreeSet;

use crate::mail::{Flag, MailboxName, SystemFlag, Uid};
use crate::store::{AccountId, Batch, Changes, MailboxId, Outcome};

use super::command::{SequenceSet, Tag};
use super::question::Snapshot;
use super::session::{Session, State};
use super::view::{Expunges, View};

/// Keywords that mail programs agree on (RFC 9051 §2.3.2): offered before a message has them.
const USUAL: [&str; 5] = ["$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Phishing"];

impl Session {
    pub(super) fn select(
        &mut self,
        tag: Tag,
        account: AccountId,
        name: MailboxName,
        read_only: bool,
    ) {
        if matches!(self.state, State::Selected(..)) {
            // RFC 7162 §3.2.11, RFC 9051 §6.3.2: what follows is of the new one.
            self.out.line("OK [CLOSED] The mailbox before is closed");
        }
        // Even when it fails, no mailbox is selected afterwards (RFC 3501 §6.3.1).
        self.state = State::Authenticated(account);
        self.stale = false;
        self.ask_mailbox(account, name.clone(), move |session, answer| match answer {
            Ok(Some(mailbox)) => session.open(tag, account, mailbox.id, name, read_only),
            Ok(None) => session.no(&tag, "[NONEXISTENT] There is no such mailbox"),
            Err(error) => session.failed(&tag, &error),
        });
    }

    fn open(
        &mut self,
        tag: Tag,
        account: AccountId,
        mailbox: MailboxId,
        asked: MailboxName,
        read_only: bool,
    ) {
        self.ask_snapshot(mailbox, move |session, answer| match answer {
            Ok(Some(snapshot)) => session.opened(tag, account, snapshot, asked, read_only),
            Ok(None) => session.no(&tag, "[NONEXISTENT] The mailbox was deleted just now"),
            Err(error) => session.failed(&tag, &error),
        });
    }

    fn opened(
        &mut self,
        tag: Tag,
        account: AccountId,
        snapshot: Snapshot,
        asked: MailboxName,
        read_only: bool,
    ) {
        let Snapshot { mailbox, entries } = snapshot;
        let system = SystemFlag::ALL.map(|flag| flag.name().to_owned());
        let mut keywords: BTreeSet<String> = entries
            .iter()
            .flat_map(|entry| entry.flags.iter())
            .filter(|flag| matches!(flag, Flag::Keyword(_)))
            .map(|flag| flag.to_string())
            .collect();
        let known =
            |name: &&&str| !keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(name));
        let usual: Vec<String> =
            USUAL.iter().filter(known).map(|name| (*name).to_owned()).collect();
        keywords.extend(usual);
        let flags = system.into_iter().chain(keywords).collect::<Vec<_>>().join(" ");
        self.out.line(&format!("FLAGS ({flags})"));
        let permanent = if read_only { String::new() } else { format!("{flags} \\*") };
        self.out.line(&format!("OK [PERMANENTFLAGS ({permanent})] Kept for ever"));
        self.out.line(&format!("{} EXISTS", entries.len()));
        self.out.recent();
        let unseen = || entries.iter().position(|entry| !entry.flags.has(SystemFlag::Seen));
        // RFC 9051 Appendix E 11.
        if let Some(at) = (!self.enabled.rev2).then(unseen).flatten() {
            self.out.line(&format!("OK [UNSEEN {}] First unread message", at + 1));
        }
        self.out.line(&format!("OK [UIDVALIDITY {}] UIDs are valid", mailbox.uid_validity.0));
        self.out.line(&format!("OK [UIDNEXT {}] Next UID", mailbox.uid_next.get()));
        self.state = State::Selected(account, View::new(&mailbox, read_only, entries));
        let done = if read_only { "[READ-ONLY] EXAMINE" } else { "[READ-WRITE] SELECT" };
        self.introduce(account, &mailbox, asked, move |session| {
            session.ok(&tag, &format!("{done} completed"));
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
            session.ok(tag, "CLOSE completed");
        });
    }

    pub(super) fn expunge(&mut self, tag: Tag, set: Option<SequenceSet>) {
        let State::Selected(_, view) = &self.state else { return };
        if view.read_only {
            return self.no(&tag, "[READ-ONLY] The mailbox is open for reading only");
        }
        self.remove_deleted(tag, set, |session, tag, gone| {
            if let State::Selected(_, view) = &mut session.state {
                view.expunge(gone, &mut session.out);
            }
            session.finish(tag, "EXPUNGE completed", Some(Expunges::Told));
        });
    }

    /// Removes the messages the client knows of that are marked `\Deleted` now, within a set of
    /// UIDs when there is one.
    fn remove_deleted(
        &mut self,
        tag: Tag,
        set: Option<SequenceSet>,
        then: impl FnOnce(&mut Self, &Tag, &[Uid]) + Send + 'static,
    ) {
        let State::Selected(_, view) = &self.state else { return };
        let (mailbox, since) = (view.mailbox, view.seen());
        self.ask_changes(mailbox, since, move |session, answer| {
            let changes = match answer {
                Ok(Some(changes)) => changes,
                Ok(None) => return session.bye("The selected mailbox was deleted"),
                Err(error) => return session.failed(&tag, &error),
            };
            let uids = session.deleted(&changes, set.as_ref());
            if uids.is_empty() {
                return then(session, &tag, &[]);
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
                    then(session, &tag, &gone);
                }
                Err(error) => session.failed(&tag, &error),
            });
        });
    }

    fn deleted(&self, changes: &Changes, set: Option<&SequenceSet>) -> Vec<Uid> {
        let State::Selected(_, view) = &self.state else { return Vec::new() };
        let chosen = match set {
            Some(set) => view.targets(set, true),
            None => view.all(),
        };
        let is_deleted = |uid: &Uid| {
            let found = changes.changed.binary_search_by_key(uid, |entry| entry.uid).ok();
            let now = found.and_then(|index| changes.changed.get(index)).map(|now| &now.flags);
            let flags = now.or_else(|| view.by_uid(*uid).map(|(_, known)| &known.flags));
            flags.is_some_and(|flags| flags.has(SystemFlag::Deleted))
        };
        chosen.into_iter().map(|target| target.uid).filter(is_deleted).collect()
    }
}
