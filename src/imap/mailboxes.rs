//! Making, removing and renaming mailboxes, subscriptions and STATUS
//! (RFC 3501 §6.3.3 to §6.3.7, §6.3.10; RFC 6154 §3).

use std::collections::BTreeSet;

use crate::mail::{MailboxName, SpecialUse, Uid};
use crate::store::{AccountId, Batch, Mailbox, Outcome, StoreError};

use super::command::{StatusItem, Tag};
use super::respond::{Output, parents};
use super::session::{Session, State};
use super::view::Expunges;

/// Deepest level of a mailbox: each level that is missing is made.
const MAX_LEVELS: usize = 50;

const MISSING: &str = "[NONEXISTENT] There is no such mailbox";

impl Session {
    pub(super) fn create(
        &mut self,
        tag: Tag,
        account: AccountId,
        name: MailboxName,
        special_use: Option<SpecialUse>,
    ) {
        self.ask_mailboxes(account, move |session, answer| {
            let mailboxes = match answer {
                Ok(mailboxes) => mailboxes,
                Err(error) => return session.failed(&tag, &error),
            };
            if mailboxes.iter().any(|mailbox| mailbox.name == name) {
                return session.failed(&tag, &StoreError::MailboxExists);
            }
            if special_use.is_some() && mailboxes.iter().any(|m| m.special_use == special_use) {
                let text = "[USEATTR] Another mailbox has this use already";
                return session.no(&tag, text);
            }
            let mut batch = Batch::new();
            if let Err(text) = create_parents(&mut batch, account, &mailboxes, &name) {
                return session.no(&tag, text);
            }
            batch.create_mailbox(account, name, special_use);
            session.commit_and_finish(tag, batch, "CREATE completed");
        });
    }

    pub(super) fn delete(&mut self, tag: Tag, account: AccountId, name: MailboxName) {
        if name.is_inbox() {
            return self.no(&tag, "[CANNOT] The inbox cannot be deleted");
        }
        self.ask_mailbox(account, name, move |session, answer| {
            let mailbox = match answer {
                Ok(Some(mailbox)) => mailbox.id,
                Ok(None) => return session.no(&tag, MISSING),
                Err(error) => return session.failed(&tag, &error),
            };
            let mut batch = Batch::new();
            batch.delete_mailbox(mailbox);
            session.ask_commit(batch, move |session, answer| {
                if let Err(error) = answer {
                    return session.failed(&tag, &error);
                }
                if matches!(&session.state, State::Selected(_, view) if view.mailbox == mailbox) {
                    session.state = State::Authenticated(account);
                }
                session.finish(&tag, "DELETE completed", Some(Expunges::Told));
            });
        });
    }

    /// With its children; those of the inbox stay, and so does the inbox itself, empty.
    pub(super) fn rename(
        &mut self,
        tag: Tag,
        account: AccountId,
        from: MailboxName,
        to: MailboxName,
    ) {
        self.ask_mailboxes(account, move |session, answer| {
            let mailboxes = match answer {
                Ok(mailboxes) => mailboxes,
                Err(error) => return session.failed(&tag, &error),
            };
            if mailboxes.iter().any(|mailbox| mailbox.name == to) {
                return session.failed(&tag, &StoreError::MailboxExists);
            }
            if child_part(&to, &from).is_some() && !from.is_inbox() {
                return session.no(&tag, "[CANNOT] A mailbox cannot become its own child");
            }
            let mut batch = Batch::new();
            if let Err(text) = create_parents(&mut batch, account, &mailboxes, &to) {
                return session.no(&tag, text);
            }
            if from.is_inbox() {
                return session.rename_inbox(tag, account, &mailboxes, batch, to);
            }
            let mut found = false;
            for mailbox in &mailboxes {
                let new = match child_part(&mailbox.name, &from) {
                    Some(child) => format!("{to}{child}").parse(),
                    None if mailbox.name == from => Ok(to.clone()),
                    None => continue,
                };
                match new {
                    Ok(new) => batch.rename_mailbox(mailbox.id, new),
                    Err(error) => return session.no(&tag, &format!("[CANNOT] {error}")),
                };
                found = true;
            }
            if found {
                session.commit_and_finish(tag, batch, "RENAME completed");
            } else {
                session.no(&tag, MISSING);
            }
        });
    }

    /// RFC 3501 §6.3.5: its messages move, the inbox stays.
    fn rename_inbox(
        &mut self,
        tag: Tag,
        account: AccountId,
        mailboxes: &[Mailbox],
        mut batch: Batch,
        to: MailboxName,
    ) {
        let Some(inbox) = mailboxes.iter().find(|m| m.name.is_inbox()).map(|m| m.id) else {
            return self.no(&tag, MISSING);
        };
        batch.create_mailbox(account, to, None);
        self.ask_commit(batch, move |session, answer| {
            let created = answer.map(|outcomes| {
                outcomes.into_iter().rev().find_map(|outcome| match outcome {
                    Outcome::Created(id) => Some(id),
                    _ => None,
                })
            });
            let target = match created {
                Ok(Some(target)) => target,
                Ok(None) => return session.no(&tag, MISSING),
                Err(error) => return session.failed(&tag, &error),
            };
            session.ask_snapshot(inbox, move |session, answer| {
                let held = match answer {
                    Ok(snapshot) => snapshot.map(|s| s.uids).unwrap_or_default(),
                    Err(error) => return session.failed(&tag, &error),
                };
                let uids: Vec<Uid> = held.iter().collect();
                if uids.is_empty() {
                    return session.finish(&tag, "RENAME completed", Some(Expunges::Told));
                }
                let mut batch = Batch::new();
                batch.move_to(inbox, uids, target);
                session.commit_and_finish(tag, batch, "RENAME completed");
            });
        });
    }

    pub(super) fn subscribe(&mut self, tag: Tag, account: AccountId, name: MailboxName, on: bool) {
        self.ask_mailbox(account, name, move |session, answer| match answer {
            Ok(Some(mailbox)) => {
                let mut batch = Batch::new();
                batch.subscribe(mailbox.id, on);
                session.commit_and_finish(tag, batch, "Subscription changed");
            }
            Ok(None) => session.no(&tag, MISSING),
            Err(error) => session.failed(&tag, &error),
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
                session.out.status(&mailbox, &items);
                session.finish(&tag, "STATUS completed", Some(Expunges::Told));
            }
            Ok(None) => session.no(&tag, MISSING),
            Err(error) => session.failed(&tag, &error),
        });
    }

    fn commit_and_finish(&mut self, tag: Tag, batch: Batch, text: &'static str) {
        self.ask_commit(batch, move |session, answer| match answer {
            Ok(_) => session.finish(&tag, text, Some(Expunges::Told)),
            Err(error) => session.failed(&tag, &error),
        });
    }
}

impl Output {
    /// RFC 3501 §7.2.4.
    pub(super) fn status(&mut self, mailbox: &Mailbox, items: &[StatusItem]) {
        self.raw("* STATUS ").mailbox(mailbox.name.as_str()).raw(" (");
        for (i, item) in items.iter().enumerate() {
            let (name, value) = match item {
                StatusItem::Messages => ("MESSAGES", mailbox.messages),
                StatusItem::Recent => ("RECENT", 0),
                StatusItem::UidNext => ("UIDNEXT", mailbox.uid_next.get()),
                StatusItem::UidValidity => ("UIDVALIDITY", mailbox.uid_validity.0.get()),
                StatusItem::Unseen => ("UNSEEN", mailbox.unseen),
            };
            self.raw(if i == 0 { "" } else { " " }).raw(name).raw(" ").number(value);
        }
        self.raw(")\r\n");
    }
}

/// Makes the levels above a new mailbox that are missing (RFC 3501 §6.3.3).
fn create_parents(
    batch: &mut Batch,
    account: AccountId,
    mailboxes: &[Mailbox],
    name: &MailboxName,
) -> Result<(), &'static str> {
    let present: BTreeSet<&str> = mailboxes.iter().map(|mailbox| mailbox.name.as_str()).collect();
    let mut missing: Vec<&str> = parents(name).filter(|parent| !present.contains(parent)).collect();
    missing.reverse();
    if missing.len() >= MAX_LEVELS {
        return Err("[CANNOT] Mailboxes cannot be nested so deeply");
    }
    for parent in missing {
        let Ok(parent) = parent.parse() else {
            return Err("[CANNOT] A level of this name cannot be a mailbox");
        };
        batch.create_mailbox(account, parent, None);
    }
    Ok(())
}

/// What follows the parent in a child's name, the separator included.
fn child_part<'a>(name: &'a MailboxName, parent: &MailboxName) -> Option<&'a str> {
    let rest = name.as_str().strip_prefix(parent.as_str())?;
    rest.starts_with(MailboxName::SEPARATOR).then_some(rest)
}
