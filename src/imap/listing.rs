//! LIST and LSUB (RFC 3501 §6.3.8, §6.3.9) with what phones ask for today: children, special uses
//! and counts in one go (RFC 3348, RFC 5258, RFC 5819, RFC 6154).

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::mail::MailboxName;
use crate::store::{AccountId, Mailbox};

use super::command::{List, Matching, Tag};
use super::respond::{Output, parents};
use super::session::Session;
use super::view::Expunges;

impl Session {
    pub(super) fn list(&mut self, tag: Tag, account: AccountId, list: List) {
        if list.matching.separator_only {
            self.out.line("LIST (\\Noselect) \"/\" \"\"");
            return self.finish(&tag, "LIST completed", Some(Expunges::Told));
        }
        self.ask_mailboxes(account, move |session, answer| match answer {
            Ok(mailboxes) => {
                Tree::new(&mailboxes).list(&list, &mut session.out);
                session.finish(&tag, "LIST completed", Some(Expunges::Told));
            }
            Err(error) => session.failed(&tag, &error),
        });
    }

    pub(super) fn lsub(&mut self, tag: Tag, account: AccountId, matching: Matching) {
        self.ask_mailboxes(account, move |session, answer| match answer {
            Ok(mut mailboxes) => {
                mailboxes.retain(|mailbox| mailbox.subscribed);
                Tree::new(&mailboxes).lsub(&matching, &mut session.out);
                session.finish(&tag, "LSUB completed", Some(Expunges::Told));
            }
            Err(error) => session.failed(&tag, &error),
        });
    }
}

/// All names by order, with the levels that are only there because of their children.
struct Tree<'a>(BTreeMap<&'a str, Option<&'a Mailbox>>);

impl<'a> Tree<'a> {
    fn new(mailboxes: &'a [Mailbox]) -> Self {
        let mut names = BTreeMap::new();
        for mailbox in mailboxes {
            for parent in parents(&mailbox.name) {
                names.entry(parent).or_insert(None);
            }
            names.insert(mailbox.name.as_str(), Some(mailbox));
        }
        Self(names)
    }

    fn list(&self, list: &List, out: &mut Output) {
        for (name, mailbox) in &self.0 {
            if !list.matching.matches(name) {
                continue;
            }
            let wanted = (!list.subscribed || mailbox.is_some_and(|m| m.subscribed))
                && (!list.special_use || mailbox.is_some_and(|m| m.special_use.is_some()));
            let below = list.recursive && self.children(name).any(|child| child.subscribed);
            if !wanted && !below {
                continue;
            }
            let mut attributes = Vec::new();
            // What RFC 3501 clients know; \NonExistent implies it for the others.
            if mailbox.is_none() {
                attributes.extend(["\\NonExistent", "\\Noselect"]);
            }
            attributes.push(self.children_attribute(name));
            if list.wanted.subscribed && mailbox.is_some_and(|m| m.subscribed) {
                attributes.push("\\Subscribed");
            }
            if let Some(special) = mailbox.and_then(|m| m.special_use) {
                attributes.push(special.attribute());
            }
            out.raw("* LIST (").raw(&attributes.join(" ")).raw(") \"/\" ").mailbox(name);
            if below {
                out.raw(" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
            }
            out.raw("\r\n");
            if let Some(mailbox) = mailbox.filter(|_| !list.wanted.status.is_empty()) {
                out.status(mailbox, &list.wanted.status);
            }
        }
    }

    /// A level that is not subscribed is shown when a child below the pattern is.
    fn lsub(&self, matching: &Matching, out: &mut Output) {
        for (name, mailbox) in &self.0 {
            let hidden = || self.children(name).any(|c| !matching.matches(c.name.as_str()));
            if !matching.matches(name) || (mailbox.is_none() && !hidden()) {
                continue;
            }
            let attributes = if mailbox.is_some() { "" } else { "\\Noselect" };
            out.raw("* LSUB (").raw(attributes).raw(") \"/\" ").mailbox(name).raw("\r\n");
        }
    }

    fn children_attribute(&self, name: &str) -> &'static str {
        if self.children(name).next().is_some() { "\\HasChildren" } else { "\\HasNoChildren" }
    }

    /// All mailboxes below a name.
    fn children(&self, name: &str) -> impl Iterator<Item = &'a Mailbox> {
        let prefix = format!("{name}{}", MailboxName::SEPARATOR);
        let range = (Bound::Excluded(prefix.as_str()), Bound::Unbounded);
        let found: Vec<_> = self
            .0
            .range::<str, _>(range)
            .take_while(|(below, _)| below.starts_with(&prefix))
            .filter_map(|(_, mailbox)| *mailbox)
            .collect();
        found.into_iter()
    }
}
