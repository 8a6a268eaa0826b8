//! Making, removing and renaming mailboxes, subscriptions and STATUS
//! (RFC 3501 §6.3.3 to §6.3.7, §6.3.10; RFC 6154 §3; RFC 9051 §6.3.4 to §6.3.8, §6.3.11).

use std::collections::{BTreeMap, BTreeSet};

use crate::mail::{MailboxName, SpecialUse, Uid};
use crate::store::{AccountId, Batch, Mailbox, MailboxId, Outcome, StoreError};

use super::command::{StatusItem, Tag};
use super::facts::{Folders, Marked, annotations_of, subscription};
use super::respond::{Output, parents};
use super::session::{Session, State};
use super::view::Expunges;

/// Deepest level of a mailbox: each level that is missing is made.
const MAX_LEVELS: usize = 50;

/// Most subscriptions of an account to mailboxes that are gone; after that they go with them.
const MAX_GONE: usize = 1000;

const UNPRINTABLE: &str = "[CANNOT] A mailbox name may not have line breaks";
const MISSING: &str = "[NONEXISTENT] There is no such mailbox";

impl Session {
    pub(super) fn create(
        &mut self,
        tag: Tag,
        account: AccountId,
        asked: &MailboxName,
        special_use: Option<SpecialUse>,
    ) {
        let Some(name) = creatable(asked) else { return self.no(&tag, UNPRINTABLE) };
        let old = Some(asked.clone()).filter(|asked| *asked != name);
        self.ask_folders(account, move |session, answer| {
            let folders = match answer {
                Ok(folders) => folders,
                Err(error) => return session.failed(&tag, &error),
            };
            if folders.find(&name).is_some() {
                return session.failed(&tag, &StoreError::MailboxExists);
            }
            let in_use = |mailbox: &Mailbox| mailbox.special_use == special_use;
            if special_use.is_some() && folders.mailboxes.iter().any(in_use) {
                let text = "[USEATTR] Another mailbox has this use already";
                return session.no(&tag, text);
            }
            let mut batch = Batch::new();
            if let Err(text) = create_parents(&mut batch, account, &folders, &name) {
                return session.no(&tag, text);
            }
            make(&mut batch, account, &folders, &name, special_use);
            session.ask_commit(batch, move |session, answer| {
                let created = match answer {
                    Ok(outcomes) => created(&outcomes),
                    Err(error) => return session.failed(&tag, &error),
                };
                let code = created.filter(|_| session.off.offers("OBJECTID"));
                let code = code.map(|id| format!("[MAILBOXID ({})] ", id.object_id()));
                let text = format!("{}CREATE completed", code.unwrap_or_default());
                let done = move |session: &mut Self| {
                    session.finish(&tag, &text, Some(Expunges::Told));
                };
                match old {
                    Some(old) => session.tell_name(account, name, Some(old), done),
                    None => done(session),
                }
            });
        });
    }

    /// Its annotations go with it (RFC 5464 §4.1); that it is subscribed stays.
    pub(super) fn delete(&mut self, tag: Tag, account: AccountId, name: MailboxName) {
        if name.is_inbox() {
            return self.no(&tag, "[CANNOT] The inbox cannot be deleted");
        }
        self.ask_folders(account, move |session, answer| {
            let folders = match answer {
                Ok(folders) => folders,
                Err(error) => return session.failed(&tag, &error),
            };
            let Some(mailbox) = folders.find(&name) else { return session.no(&tag, MISSING) };
            let id = mailbox.id;
            let mut batch = Batch::new();
            batch.delete_mailbox(id);
            if mailbox.subscribed && folders.gone.len() < MAX_GONE {
                batch.put_setting(&subscription(account, mailbox.name.as_str()), Vec::new());
            }
            let annotations = format!("{}/", annotations_of(account, Some(id)));
            session.ask_settings(annotations, move |session, answer| {
                for (key, _) in answer.unwrap_or_default() {
                    batch.delete_setting(&key);
                }
                session.watch.own(id);
                session.ask_commit(batch, move |session, answer| {
                    if let Err(error) = answer {
                        return session.failed(&tag, &error);
                    }
                    if matches!(&session.state, State::Selected(_, view) if view.mailbox == id) {
                        session.state = State::Authenticated(account);
                    }
                    session.finish(&tag, "DELETE completed", Some(Expunges::Told));
                });
            });
        });
    }

    /// With its children; those of the inbox stay, and so does the inbox itself, empty.
    pub(super) fn rename(
        &mut self,
        tag: Tag,
        account: AccountId,
        from: MailboxName,
        to: &MailboxName,
    ) {
        let Some(to) = creatable(to) else { return self.no(&tag, UNPRINTABLE) };
        self.ask_folders(account, move |session, answer| {
            let folders = match answer {
                Ok(folders) => folders,
                Err(error) => return session.failed(&tag, &error),
            };
            if folders.find(&to).is_some() {
                return session.failed(&tag, &StoreError::MailboxExists);
            }
            // Of a level without mailbox too.
            let from = folders.find(&from).map_or(from, |mailbox| mailbox.name.clone());
            if child_part(&to, &from).is_some() && !from.is_inbox() {
                return session.no(&tag, "[CANNOT] A mailbox cannot become its own child");
            }
            let mut batch = Batch::new();
            if let Err(text) = create_parents(&mut batch, account, &folders, &to) {
                return session.no(&tag, text);
            }
            if from.is_inbox() {
                return session.rename_inbox(tag, account, &folders, batch, &to);
            }
            let mut found = false;
            for mailbox in &folders.mailboxes {
                let new: MailboxName = match child_part(&mailbox.name, &from) {
                    Some(child) => match format!("{to}{child}").parse() {
                        Ok(new) => new,
                        Err(error) => return session.no(&tag, &format!("[CANNOT] {error}")),
                    },
                    None if mailbox.name == from => to.clone(),
                    None => continue,
                };
                if folders.gone.contains(new.as_str()) {
                    batch.subscribe(mailbox.id, true);
                    batch.delete_setting(&subscription(account, new.as_str()));
                }
                batch.rename_mailbox(mailbox.id, new);
                session.watch.own(mailbox.id);
                found = true;
            }
            if !found {
                return session.no(&tag, MISSING);
            }
            session.ask_commit(batch, move |session, answer| match answer {
                Ok(_) => session.tell_name(account, to, Some(from), move |session| {
                    session.finish(&tag, "RENAME completed", Some(Expunges::Told));
                }),
                Err(error) => session.failed(&tag, &error),
            });
        });
    }

    /// RFC 3501 §6.3.5: its messages move, the inbox stays, and so do its annotations, of which the
    /// new mailbox gets a copy (RFC 5464 §4.1).
    fn rename_inbox(
        &mut self,
        tag: Tag,
        account: AccountId,
        folders: &Folders,
        mut batch: Batch,
        to: &MailboxName,
    ) {
        let Some(inbox) = folders.find(&MailboxName::inbox()).map(|inbox| inbox.id) else {
            return self.no(&tag, MISSING);
        };
        make(&mut batch, account, folders, to, None);
        self.ask_commit(batch, move |session, answer| {
            let target = match answer.map(|outcomes| created(&outcomes)) {
                Ok(Some(target)) => target,
                Ok(None) => return session.no(&tag, MISSING),
                Err(error) => return session.failed(&tag, &error),
            };
            let annotations = annotations_of(account, Some(inbox));
            session.ask_settings(format!("{annotations}/"), move |session, answer| {
                let mut batch = Batch::new();
                for (key, value) in answer.unwrap_or_default() {
                    let entry = key.strip_prefix(&annotations).unwrap_or_default();
                    let target = annotations_of(account, Some(target));
                    batch.put_setting(&format!("{target}{entry}"), value);
                }
                session.empty_into(tag, inbox, target, batch);
            });
        });
    }

    /// Moves all messages, and finishes RENAME.
    fn empty_into(&mut self, tag: Tag, from: MailboxId, to: MailboxId, mut batch: Batch) {
        self.ask_snapshot(from, move |session, answer| {
            let held = match answer {
                Ok(snapshot) => snapshot.map(|s| s.uids).unwrap_or_default(),
                Err(error) => return session.failed(&tag, &error),
            };
            let uids: Vec<Uid> = held.iter().collect();
            if !uids.is_empty() {
                batch.move_to(from, uids, to);
            }
            session.commit_and_finish(tag, batch, "RENAME completed");
        });
    }

    /// Only what exists can be subscribed to; a name that is subscribed stays so until this says
    /// otherwise (RFC 3501 §6.3.6).
    pub(super) fn subscribe(&mut self, tag: Tag, account: AccountId, name: MailboxName, on: bool) {
        self.ask_folders(account, move |session, answer| {
            let folders = match answer {
                Ok(folders) => folders,
                Err(error) => return session.failed(&tag, &error),
            };
            let known = folders.gone.contains(name.as_str());
            let mut batch = Batch::new();
            match folders.find(&name) {
                Some(mailbox) => {
                    session.watch.own(mailbox.id);
                    batch.subscribe(mailbox.id, on);
                }
                None if on && !known => return session.no(&tag, MISSING),
                None if !on && known => {
                    session.watch.own_name(name.as_str());
                    batch.delete_setting(&subscription(account, name.as_str()));
                }
                None => {}
            }
            session.commit_and_finish(tag, batch, "Subscription changed");
        });
    }

    pub(super) fn status(
        &mut self,
        tag: Tag,
        account: AccountId,
        name: MailboxName,
        items: Vec<StatusItem>,
    ) {
        self.ask_mailbox(account, name, move |session, answer| match answer {
            Ok(Some(mailbox)) => {
                session.noted(&items);
                let wanted = items.iter().any(|item| item.needs_count());
                session.ask_marked(wanted, vec![mailbox.id], move |session, answer| {
                    let marked = match answer {
                        Ok(marked) => marked,
                        Err(error) => return session.failed(&tag, &error),
                    };
                    let counts = Counts { limit: session.message_size, marked };
                    session.out.status(&mailbox, &items, &counts);
                    session.finish(&tag, "STATUS completed", Some(Expunges::Told));
                });
            }
            Ok(None) => session.no(&tag, MISSING),
            Err(error) => session.failed(&tag, &error),
        });
    }

    /// Who asks for HIGHESTMODSEQ knows of modification sequences (RFC 7162 §3.1).
    pub(super) fn noted(&mut self, items: &[StatusItem]) {
        if items.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore();
        }
    }

    /// Tells what a mailbox is besides its numbers when it is opened: its lasting id (RFC 8474
    /// §4.2) and, to who has `IMAP4rev2`, its name and attributes (RFC 9051 §6.3.2).
    pub(super) fn introduce(
        &mut self,
        account: AccountId,
        mailbox: &Mailbox,
        asked: MailboxName,
        then: impl FnOnce(&mut Self) + Send + 'static,
    ) {
        if self.off.offers("OBJECTID") {
            let id = mailbox.id.object_id();
            self.out.line(&format!("OK [MAILBOXID ({id})] Keeps this id"));
        }
        let old = Some(asked).filter(|asked| *asked != mailbox.name);
        self.tell_name(account, mailbox.name.clone(), old, then);
    }

    fn commit_and_finish(&mut self, tag: Tag, batch: Batch, text: &'static str) {
        self.ask_commit(batch, move |session, answer| match answer {
            Ok(_) => session.finish(&tag, text, Some(Expunges::Told)),
            Err(error) => session.failed(&tag, &error),
        });
    }
}

/// What STATUS tells beside what a mailbox knows of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Largest message APPEND takes, in bytes.
    pub(super) limit: u64,
    /// Where it was asked for.
    pub(super) marked: BTreeMap<MailboxId, Marked>,
}

impl Output {
    /// RFC 3501 §7.2.4.
    pub(super) fn status(&mut self, mailbox: &Mailbox, items: &[StatusItem], counts: &Counts) {
        let marked = counts.marked.get(&mailbox.id).copied().unwrap_or_default();
        self.raw("* STATUS ").mailbox(mailbox.name.as_str()).raw(" (");
        for (i, item) in items.iter().enumerate() {
            let (name, value): (_, u64) = match item {
                StatusItem::Messages => ("MESSAGES", mailbox.messages.into()),
                StatusItem::Recent => ("RECENT", 0),
                StatusItem::UidNext => ("UIDNEXT", mailbox.uid_next.get().into()),
                StatusItem::UidValidity => ("UIDVALIDITY", mailbox.uid_validity.0.get().into()),
                StatusItem::Unseen => ("UNSEEN", mailbox.unseen.into()),
                StatusItem::Size => ("SIZE", mailbox.size),
                StatusItem::Deleted => ("DELETED", marked.messages.into()),
                StatusItem::DeletedStorage => ("DELETED-STORAGE", marked.bytes),
                StatusItem::HighestModSeq => ("HIGHESTMODSEQ", mailbox.highest_modseq.0),
                StatusItem::AppendLimit => ("APPENDLIMIT", counts.limit),
                StatusItem::MailboxId => ("MAILBOXID", 0),
            };
            self.raw(if i == 0 { "" } else { " " }).raw(name).raw(" ");
            if *item == StatusItem::MailboxId {
                self.raw("(").raw(&mailbox.id.object_id()).raw(")");
            } else {
                self.number(value);
            }
        }
        self.raw(")\r\n");
    }
}

/// The name under which a mailbox is made: its characters composed (RFC 9051 §5.1). Nothing when it
/// has some that break lines (RFC 9755 §3).
fn creatable(name: &MailboxName) -> Option<MailboxName> {
    let breaks = |c| matches!(c, '\u{2028}' | '\u{2029}');
    (!name.as_str().contains(breaks)).then(|| name.composed())
}

/// Makes one mailbox. Nobody subscribes to it but its owner, who may have done so long before
/// (RFC 3501 §6.3.6).
fn make(
    batch: &mut Batch,
    account: AccountId,
    folders: &Folders,
    name: &MailboxName,
    special_use: Option<SpecialUse>,
) {
    if folders.gone.contains(name.as_str()) {
        batch.create_mailbox(account, name.clone(), special_use);
        batch.delete_setting(&subscription(account, name.as_str()));
    } else {
        batch.create_unsubscribed(account, name.clone(), special_use);
    }
}

/// The mailbox that was made last.
fn created(outcomes: &[Outcome]) -> Option<MailboxId> {
    outcomes.iter().rev().find_map(|outcome| match outcome {
        Outcome::Created(id) => Some(*id),
        _ => None,
    })
}

/// Makes the levels above a new mailbox that are missing (RFC 3501 §6.3.3).
fn create_parents(
    batch: &mut Batch,
    account: AccountId,
    folders: &Folders,
    name: &MailboxName,
) -> Result<(), &'static str> {
    let present: BTreeSet<&str> = folders.mailboxes.iter().map(|m| m.name.as_str()).collect();
    let levels = parents(name.as_str()).filter(|parent| !present.contains(parent));
    let mut missing: Vec<&str> = levels.collect();
    missing.reverse();
    if missing.len() >= MAX_LEVELS {
        return Err("[CANNOT] Mailboxes cannot be nested so deeply");
    }
    for parent in missing {
        let Ok(parent) = parent.parse() else {
            return Err("[CANNOT] A level of this name cannot be a mailbox");
        };
        make(batch, account, folders, &parent, None);
    }
    Ok(())
}

/// What follows the parent in a child's name, the separator included.
fn child_part<'a>(name: &'a MailboxName, parent: &MailboxName) -> Option<&'a str> {
    let rest = name.as_str().strip_prefix(parent.as_str())?;
    rest.starts_with(MailboxName::SEPARATOR).then_some(rest)
}
