//! The difference between what a client knows of its account and what is there now, as responses
//! (RFC 5465 §5).

use std::collections::{BTreeMap, BTreeSet};

use super::Own;
use crate::imap::command::{Events, StatusItem, Wish};
use crate::imap::extensions::{Enabled, Off, Resync};
use crate::imap::facts::Overview;
use crate::imap::listing::{Subscribed, Tree};
use crate::imap::mailboxes::Counts;
use crate::imap::respond::{Output, parents};
use crate::mail::MailboxName;
use crate::store::{Mailbox, MailboxId};

/// All that tells what is news.
pub(super) struct News<'a> {
    pub(super) wish: Option<&'a Wish>,
    pub(super) known: &'a Overview,
    pub(super) now: &'a Overview,
    /// Its messages are told otherwise.
    pub(super) selected: Option<MailboxId>,
    pub(super) enabled: Enabled,
    pub(super) off: &'a Off,
    pub(super) own: &'a Own,
}

type ById<'a> = BTreeMap<MailboxId, &'a Mailbox>;

impl News<'_> {
    pub(super) fn tell(&self, out: &mut Output) {
        let before: ById<'_> = self.known.folders.mailboxes.iter().map(|m| (m.id, m)).collect();
        let after: ById<'_> = self.now.folders.mailboxes.iter().map(|m| (m.id, m)).collect();
        self.names(&before, &after, out);
        for mailbox in &self.now.folders.mailboxes {
            self.messages(before.get(&mailbox.id).copied(), mailbox, out);
        }
        self.annotations(&after, out);
    }

    fn events(&self, name: &MailboxName, subscribed: bool) -> Events {
        self.wish.map(|wish| wish.events(name.as_str(), subscribed)).unwrap_or_default()
    }

    /// `MailboxName` and `SubscriptionChange` (RFC 5465 §5.4, §5.5): one response for each name.
    fn names(&self, before: &ById<'_>, after: &ById<'_>, out: &mut Output) {
        let mut affected: BTreeSet<&str> = BTreeSet::new();
        let mut renamed: BTreeMap<&str, &str> = BTreeMap::new();
        let strange = |id: &MailboxId| !self.own.mailboxes.contains(id);
        let came = after.iter().filter(|(id, _)| !before.contains_key(id));
        let went = before.iter().filter(|(id, _)| !after.contains_key(id));
        for (_, mailbox) in came.chain(went).filter(|(id, _)| strange(id)) {
            if self.events(&mailbox.name, mailbox.subscribed).names {
                affected.insert(mailbox.name.as_str());
            }
            // Its parent may have got or lost its only child.
            let parent = parents(mailbox.name.as_str()).next();
            let named = parent.and_then(|parent| parent.parse().ok());
            if let Some((parent, name)) = parent.zip(named)
                && self.events(&name, self.is_subscribed(parent)).names
            {
                affected.insert(parent);
            }
        }
        for (id, mailbox) in after.iter().filter(|(id, _)| strange(id)) {
            let Some(old) = before.get(id) else { continue };
            let events = self
                .events(&mailbox.name, mailbox.subscribed)
                .and(self.events(&old.name, old.subscribed));
            let moved = old.name != mailbox.name && !with_parent(old, mailbox, before, after);
            if moved && events.names {
                renamed.insert(mailbox.name.as_str(), old.name.as_str());
            } else if old.subscribed != mailbox.subscribed && events.subscriptions {
                affected.insert(mailbox.name.as_str());
            }
        }
        for name in self.known.folders.gone.difference(&self.now.folders.gone) {
            let known: Option<MailboxName> = name.parse().ok();
            let told = known.is_some_and(|name| self.events(&name, true).subscriptions);
            if told && !self.own.names.contains(name) && !self.is_subscribed(name) {
                affected.insert(name);
            }
        }
        let tree = Tree::new(&self.now.folders, self.off);
        for name in affected.iter().filter(|name| !renamed.contains_key(*name)) {
            tree.tell(name, None, Subscribed::Told, out);
        }
        for (name, old) in renamed {
            tree.tell(name, Some(old), Subscribed::Told, out);
        }
    }

    fn is_subscribed(&self, name: &str) -> bool {
        let mut mailboxes = self.now.folders.mailboxes.iter();
        mailboxes.any(|mailbox| mailbox.name.as_str() == name && mailbox.subscribed)
    }

    /// `MessageNew`, `MessageExpunge` and `FlagChange` in other mailboxes (RFC 5465 §5.1 to §5.3): one
    /// STATUS for all that happened in each.
    fn messages(&self, old: Option<&Mailbox>, new: &Mailbox, out: &mut Output) {
        let events = self.events(&new.name, new.subscribed);
        if self.selected == Some(new.id) || !(events.messages || events.flags) {
            return;
        }
        let resync = self.enabled.resync >= Resync::Condstore;
        let Some(old) = old else {
            // Mail came before the mailbox was known.
            if new.messages > 0 {
                out.status(new, &[StatusItem::UidNext, StatusItem::Messages], &Counts::default());
            }
            return;
        };
        let counted = old.messages != new.messages || old.uid_next != new.uid_next;
        let touched = events.flags && (resync && old.highest_modseq != new.highest_modseq);
        let read = events.flags && old.unseen != new.unseen;
        let valid = old.uid_validity == new.uid_validity;
        if valid && (!(counted || touched || read) || self.is_own(old, new)) {
            return;
        }
        let mut items = Vec::new();
        if counted {
            items.extend([StatusItem::UidNext, StatusItem::Messages]);
        }
        if read {
            items.push(StatusItem::Unseen);
        }
        if resync {
            items.push(StatusItem::HighestModSeq);
        }
        if !valid || (events.flags && resync) {
            items.push(StatusItem::UidValidity);
        }
        out.status(new, &items, &Counts::default());
    }

    /// Whether what happened is just what this client put there itself.
    fn is_own(&self, old: &Mailbox, new: &Mailbox) -> bool {
        let added = self.own.added.get(&new.uid_validity).copied().unwrap_or_default();
        added > 0
            && new.messages == old.messages.saturating_add(added)
            && new.uid_next.get() == old.uid_next.get().saturating_add(added)
    }

    /// `MailboxMetadataChange` and `ServerMetadataChange` (RFC 5465 §5.6, §5.7): names only.
    fn annotations(&self, after: &ById<'_>, out: &mut Output) {
        let (before, now) = (&self.known.annotations, &self.now.annotations);
        let mut changed: BTreeMap<Option<MailboxId>, BTreeSet<&str>> = BTreeMap::new();
        for (key, digest) in now {
            if before.get(key) != Some(digest) {
                changed.entry(key.0).or_default().insert(&key.1);
            }
        }
        for key in before.keys().filter(|key| !now.contains_key(*key)) {
            changed.entry(key.0).or_default().insert(&key.1);
        }
        for (place, entries) in changed {
            let (name, told) = match place {
                None => ("", self.wish.is_some_and(Wish::watches_server)),
                Some(id) => {
                    let Some(mailbox) = after.get(&id) else { continue };
                    let events = self.events(&mailbox.name, mailbox.subscribed);
                    (mailbox.name.as_str(), events.mailbox_metadata)
                }
            };
            if !told && !self.enabled.metadata {
                continue;
            }
            out.raw("* METADATA ").mailbox(name);
            for entry in entries {
                out.raw(" ").entry(entry);
            }
            out.raw("\r\n");
        }
    }
}

impl Wish {
    fn watches_server(&self) -> bool {
        let Self::Set { groups, .. } = self else { return false };
        groups.iter().any(|group| group.events.server_metadata)
    }
}

/// Whether a mailbox has its new name only because a parent was renamed.
fn with_parent(old: &Mailbox, new: &Mailbox, before: &ById<'_>, after: &ById<'_>) -> bool {
    before.iter().any(|(id, parent)| {
        let Some(now) = after.get(id).filter(|now| now.name != parent.name) else { return false };
        let rest = old.name.as_str().strip_prefix(parent.name.as_str());
        let rest = rest.filter(|rest| rest.starts_with(MailboxName::SEPARATOR));
        rest.is_some_and(|rest| new.name.as_str() == format!("{}{rest}", now.name))
    })
}
