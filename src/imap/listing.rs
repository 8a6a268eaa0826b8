//! LIST and LSUB (RFC 3501 §6.3.8, §6.3.9) with what phones ask for today: children, special uses
//! and counts in one go (RFC 3348, RFC 5258, RFC 5819, RFC 6154).

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::mail::MailboxName;
use crate::store::{AccountId, Mailbox};

use super::command::{List, Matching, Tag};
use super::extensions::Off;
use super::facts::Folders;
use super::mailboxes::Counts;
use super::respond::{Output, parents};
use super::session::Session;
use super::view::Expunges;

impl Session {
    pub(super) fn list(&mut self, tag: Tag, account: AccountId, list: List) {
        if list.matching.separator_only {
            self.out.line("LIST (\\Noselect) \"/\" \"\"");
            return self.finish(&tag, "LIST completed", Some(Expunges::Told));
        }
        self.ask_folders(account, move |session, answer| {
            let folders = match answer {
                Ok(folders) => folders,
                Err(error) => return session.failed(&tag, &error),
            };
            let wanted = list.wanted.status.iter().any(|item| item.needs_count());
            let matching = |mailbox: &&Mailbox| list.matching.matches(mailbox.name.as_str());
            let ids = folders.mailboxes.iter().filter(matching).map(|m| m.id).collect();
            session.noted(&list.wanted.status);
            session.ask_marked(wanted, ids, move |session, answer| {
                let marked = match answer {
                    Ok(marked) => marked,
                    Err(error) => return session.failed(&tag, &error),
                };
                let counts = Counts { limit: session.message_size, marked };
                Tree::new(&folders, &session.off).list(&list, &counts, &mut session.out);
                session.finish(&tag, "LIST completed", Some(Expunges::Told));
            });
        });
    }

    pub(super) fn lsub(&mut self, tag: Tag, account: AccountId, matching: Matching) {
        self.ask_folders(account, move |session, answer| match answer {
            Ok(folders) => {
                Tree::new(&folders, &session.off).lsub(&matching, &mut session.out);
                session.finish(&tag, "LSUB completed", Some(Expunges::Told));
            }
            Err(error) => session.failed(&tag, &error),
        });
    }

    /// Tells of one name without having been asked, with the name it was known by, to a client that
    /// has `IMAP4rev2` (RFC 9051 §6.3.9.7).
    pub(super) fn tell_name(
        &mut self,
        account: AccountId,
        name: MailboxName,
        old: Option<MailboxName>,
        then: impl FnOnce(&mut Self) + Send + 'static,
    ) {
        if !self.enabled.rev2 {
            return then(self);
        }
        self.ask_folders(account, move |session, answer| {
            // When it cannot be found out now, the client does without.
            if let Ok(folders) = answer {
                let old = old.as_ref().map(MailboxName::as_str);
                let tree = Tree::new(&folders, &session.off);
                tree.tell(name.as_str(), old, Subscribed::Told, &mut session.out);
            }
            then(session);
        });
    }
}

/// Whether `\Subscribed` is told of a name that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subscribed {
    Told,
    Silent,
}

/// All names by order, with the levels that are only there because of their children.
pub(super) struct Tree<'a> {
    names: BTreeMap<&'a str, Node<'a>>,
    off: &'a Off,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy, Default)]
struct Node<'a> {
    mailbox: Option<&'a Mailbox>,
    subscribed: bool,
    /// It has a mailbox below it.
    level: bool,
}

impl<'a> Tree<'a> {
    pub(super) fn new(folders: &'a Folders, off: &'a Off) -> Self {
        let mut names: BTreeMap<&str, Node<'_>> = BTreeMap::new();
        for mailbox in &folders.mailboxes {
            for parent in parents(mailbox.name.as_str()) {
                names.entry(parent).or_default().level = true;
            }
            let node = names.entry(mailbox.name.as_str()).or_default();
            node.mailbox = Some(mailbox);
            node.subscribed = mailbox.subscribed;
        }
        for name in &folders.gone {
            for parent in parents(name) {
                names.entry(parent).or_default();
            }
            names.entry(name).or_default().subscribed = true;
        }
        Self { names, off }
    }

    fn list(&self, list: &List, counts: &Counts, out: &mut Output) {
        let meets = |node: &Node<'_>| {
            (!list.subscribed || node.subscribed)
                && (!list.special_use || node.mailbox.is_some_and(|m| m.special_use.is_some()))
        };
        let chosen = list.subscribed || list.special_use;
        for (name, node) in &self.names {
            if !list.matching.matches(name) {
                continue;
            }
            let wanted = if chosen { meets(node) } else { node.mailbox.is_some() || node.level };
            let mut below = list.recursive.then(|| self.below(name)).into_iter().flatten();
            let has_below = below.clone().any(|(_, node)| meets(node));
            // Alone for its children only when none of them is told (RFC 9051 §6.3.9.6).
            let hidden =
                |(name, node): (&str, &Node<'_>)| meets(node) && !list.matching.matches(name);
            if !wanted && !below.any(hidden) {
                continue;
            }
            let told = if list.wanted.subscribed { Subscribed::Told } else { Subscribed::Silent };
            self.begin(name, *node, told, out);
            if has_below {
                let options = [(list.subscribed, "SUBSCRIBED"), (list.special_use, "SPECIAL-USE")];
                let options = options.iter().filter(|(on, _)| *on);
                let options: Vec<_> = options.map(|(_, name)| format!("\"{name}\"")).collect();
                out.raw(&format!(" (\"CHILDINFO\" ({}))", options.join(" ")));
            }
            out.raw("\r\n");
            let counted = |_: &&Mailbox| wanted && !list.wanted.status.is_empty();
            if let Some(mailbox) = node.mailbox.filter(counted) {
                out.status(mailbox, &list.wanted.status, counts);
            }
        }
    }

    /// A level that is not subscribed is shown when a child below a `%` is (RFC 3501 §6.3.9).
    fn lsub(&self, matching: &Matching, out: &mut Output) {
        for (name, node) in &self.names {
            let hidden =
                |(name, node): (&str, &Node<'_>)| node.subscribed && !matching.matches(name);
            let level = || matching.has_percent() && self.below(name).any(hidden);
            if !matching.matches(name) || !(node.subscribed || level()) {
                continue;
            }
            let attributes = if node.subscribed { "" } else { "\\Noselect" };
            out.raw("* LSUB (").raw(attributes).raw(") \"/\" ").mailbox(name).raw("\r\n");
        }
    }

    /// One name, whatever has become of it.
    pub(super) fn tell(
        &self,
        name: &str,
        old: Option<&str>,
        subscribed: Subscribed,
        out: &mut Output,
    ) {
        let node = self.names.get(name).copied().unwrap_or_default();
        self.begin(name, node, subscribed, out);
        if let Some(old) = old {
            out.raw(" (\"OLDNAME\" (").mailbox(old).raw("))");
        }
        out.raw("\r\n");
    }

    /// A response up to the name.
    fn begin(&self, name: &str, node: Node<'_>, subscribed: Subscribed, out: &mut Output) {
        let mut attributes = Vec::new();
        if node.mailbox.is_none() {
            attributes.push("\\NonExistent");
            // It implies this one for clients that ask for more than RFC 3501 had (RFC 5258 §3).
            if subscribed != Subscribed::Told {
                attributes.push("\\Noselect");
            }
        }
        if self.off.offers("CHILDREN") {
            let children = self.below(name).any(|(_, node)| node.mailbox.is_some());
            attributes.push(if children { "\\HasChildren" } else { "\\HasNoChildren" });
        }
        if subscribed == Subscribed::Told && node.subscribed {
            attributes.push("\\Subscribed");
        }
        let special_use = node.mailbox.and_then(|m| m.special_use);
        if let Some(special) = special_use.filter(|_| self.off.offers("SPECIAL-USE")) {
            attributes.push(special.attribute());
        }
        out.raw("* LIST (").raw(&attributes.join(" ")).raw(") \"/\" ").mailbox(name);
    }

    /// All names below a name.
    fn below(&self, name: &str) -> impl Iterator<Item = (&'a str, &Node<'a>)> + Clone {
        let prefix = format!("{name}{}", MailboxName::SEPARATOR);
        let range = (Bound::Excluded(prefix.as_str()), Bound::Unbounded);
        let all = self.names.range::<str, _>(range).map(|(name, node)| (*name, node));
        all.take_while(move |(below, _)| below.starts_with(&prefix))
    }
}
