//! What commands about mailboxes as a whole have to know beside the mailboxes themselves: names
//! that stay subscribed though their mailbox is gone, quota, annotations. Asked as one [`About`],
//! answered out of the store, and where it lies among the account's settings.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::mail::{MailboxName, SystemFlag, Uid};
use crate::store::{AccountId, Mailbox, MailboxId, Quota, Store, StoreError, Usage};

use super::question::Question;
use super::session::Session;

/// Rows looked at in one go while messages are counted.
const STEP: usize = 1000;

/// What is asked.
#[derive(Debug)]
pub(super) enum About {
    Folders(AccountId),
    /// Settings whose key begins so.
    Settings(String),
    Quota(AccountId),
    /// What EXPUNGE would remove from these.
    Marked(Vec<MailboxId>),
    /// Annotations are looked at too.
    Overview(AccountId, bool),
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Fact {
    Folders(Folders),
    Settings(Vec<(String, Vec<u8>)>),
    Quota(Quota, Usage),
    Marked(BTreeMap<MailboxId, Marked>),
    Overview(Overview),
}

/// An account's mailboxes, and the names beyond them that are subscribed.
#[derive(Debug, Clone, Default)]
pub(super) struct Folders {
    pub(super) mailboxes: Vec<Mailbox>,
    /// Subscriptions outlive their mailbox (RFC 3501 §6.3.6).
    pub(super) gone: BTreeSet<String>,
}

impl Folders {
    /// The mailbox of this name, or of the one with its characters composed (RFC 9051 §5.1).
    pub(super) fn find(&self, name: &MailboxName) -> Option<&Mailbox> {
        let named = |name: &MailboxName| self.mailboxes.iter().find(|m| m.name == *name);
        named(name).or_else(|| named(&name.composed()))
    }
}

/// Messages marked `\Deleted`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) messages: u32,
    pub(super) bytes: u64,
}

/// All that can be told of without being asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Overview {
    pub(super) folders: Folders,
    /// A digest of each value, by mailbox (nothing: the server) and entry.
    pub(super) annotations: BTreeMap<(Option<MailboxId>, String), u64>,
}

/// The key under which a name stays subscribed.
pub(super) fn subscription(account: AccountId, name: &str) -> String {
    format!("{}{name}", subscriptions(account))
}

fn subscriptions(account: AccountId) -> String {
    format!("{}subscribed/", account.settings())
}

/// What the keys of all annotations of an account begin with; those of its mailboxes go on with
/// the mailbox's number, those of the server with 0.
pub(super) fn annotations(account: AccountId) -> String {
    format!("{}metadata/", account.settings())
}

/// The same for one mailbox, or for the server. An entry begins with a slash.
pub(super) fn annotations_of(account: AccountId, mailbox: Option<MailboxId>) -> String {
    format!("{}{}", annotations(account), mailbox.map_or(0, |id| id.0))
}

/// Stands for an annotation's value.
pub(super) fn digest(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The mailbox of a name, however its characters are composed.
pub(super) fn find_mailbox(
    store: &Store,
    account: AccountId,
    name: &MailboxName,
) -> Result<Option<Mailbox>, StoreError> {
    match store.find_mailbox(account, name)? {
        Some(found) => Ok(Some(found)),
        None => store.find_mailbox(account, &name.composed()),
    }
}

/// Answers out of the store.
pub(super) fn find_out(store: &Store, about: About) -> Result<Fact, StoreError> {
    Ok(match about {
        About::Folders(account) => Fact::Folders(folders(store, account)?),
        About::Settings(prefix) => Fact::Settings(store.settings(&prefix)?),
        About::Quota(account) => Fact::Quota(store.quota(account)?, store.usage(account)?),
        About::Marked(mailboxes) => {
            let counted = |id| marked(store, id).map(|marked| (id, marked));
            Fact::Marked(mailboxes.into_iter().map(counted).collect::<Result<_, _>>()?)
        }
        About::Overview(account, annotated) => {
            let mut overview =
                Overview { folders: folders(store, account)?, annotations: BTreeMap::new() };
            if annotated {
                for owner in [account, AccountId::EVERYBODY] {
                    overview.annotate(owner, store.settings(&annotations(owner))?);
                }
            }
            Fact::Overview(overview)
        }
    })
}

fn folders(store: &Store, account: AccountId) -> Result<Folders, StoreError> {
    let mailboxes = store.mailboxes(account)?;
    let prefix = subscriptions(account);
    let mut gone = BTreeSet::new();
    for (key, _) in store.settings(&prefix)? {
        let name = key.strip_prefix(&prefix).unwrap_or_default();
        if mailboxes.iter().all(|mailbox| mailbox.name.as_str() != name) {
            gone.insert(name.to_owned());
        }
    }
    Ok(Folders { mailboxes, gone })
}

fn marked(store: &Store, mailbox: MailboxId) -> Result<Marked, StoreError> {
    let mut marked = Marked::default();
    let mut after: Option<Uid> = None;
    loop {
        let messages = store.messages_after(mailbox, after, STEP)?;
        let Some(last) = messages.last() else { return Ok(marked) };
        after = Some(last.uid);
        for message in messages.iter().filter(|m| m.flags.has(SystemFlag::Deleted)) {
            marked.messages += 1;
            marked.bytes = marked.bytes.saturating_add(message.content.size());
        }
    }
}

impl Overview {
    fn annotate(&mut self, owner: AccountId, settings: Vec<(String, Vec<u8>)>) {
        let prefix = annotations(owner);
        for (key, value) in settings {
            let rest = key.strip_prefix(&prefix).unwrap_or_default();
            let Some((number, _)) = rest.split_once('/') else { continue };
            let entry = rest.get(number.len()..).unwrap_or_default();
            let mailbox = number.parse().ok().filter(|number| *number != 0).map(MailboxId);
            self.annotations.insert((mailbox, entry.to_owned()), digest(&value));
        }
    }
}

impl Session {
    pub(super) fn ask_folders(
        &mut self,
        account: AccountId,
        then: impl FnOnce(&mut Self, Result<Folders, StoreError>) + Send + 'static,
    ) {
        self.ask_about(About::Folders(account), move |session, answer| match answer {
            Ok(Fact::Folders(folders)) => then(session, Ok(folders)),
            Ok(_) => session.lost(),
            Err(error) => then(session, Err(error)),
        });
    }

    pub(super) fn ask_settings(
        &mut self,
        prefix: String,
        then: impl FnOnce(&mut Self, Result<Vec<(String, Vec<u8>)>, StoreError>) + Send + 'static,
    ) {
        self.ask_about(About::Settings(prefix), move |session, answer| match answer {
            Ok(Fact::Settings(settings)) => then(session, Ok(settings)),
            Ok(_) => session.lost(),
            Err(error) => then(session, Err(error)),
        });
    }

    pub(super) fn ask_quota(
        &mut self,
        account: AccountId,
        then: impl FnOnce(&mut Self, Result<(Quota, Usage), StoreError>) + Send + 'static,
    ) {
        self.ask_about(About::Quota(account), move |session, answer| match answer {
            Ok(Fact::Quota(quota, usage)) => then(session, Ok((quota, usage))),
            Ok(_) => session.lost(),
            Err(error) => then(session, Err(error)),
        });
    }

    /// Counts what is marked `\Deleted` when `wanted`: that has to look at every message.
    pub(super) fn ask_marked(
        &mut self,
        wanted: bool,
        mailboxes: Vec<MailboxId>,
        then: impl FnOnce(&mut Self, Result<BTreeMap<MailboxId, Marked>, StoreError>) + Send + 'static,
    ) {
        if !wanted {
            return then(self, Ok(BTreeMap::new()));
        }
        self.ask_about(About::Marked(mailboxes), move |session, answer| match answer {
            Ok(Fact::Marked(marked)) => then(session, Ok(marked)),
            Ok(_) => session.lost(),
            Err(error) => then(session, Err(error)),
        });
    }

    pub(super) fn ask_overview(
        &mut self,
        account: AccountId,
        annotated: bool,
        then: impl FnOnce(&mut Self, Result<Overview, StoreError>) + Send + 'static,
    ) {
        self.ask_about(About::Overview(account, annotated), move |session, answer| match answer {
            Ok(Fact::Overview(overview)) => then(session, Ok(overview)),
            Ok(_) => session.lost(),
            Err(error) => then(session, Err(error)),
        });
    }

    fn ask_about(
        &mut self,
        about: About,
        then: impl FnOnce(&mut Self, Result<Fact, StoreError>) + Send + 'static,
    ) {
        self.ask_fact(Question::About(about), then);
    }
}
