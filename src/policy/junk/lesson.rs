//! Which of the things people do with their mail teach what.

use std::io::Read;

use super::model::Class;
use super::score::{FIELD, Told};
use super::{Inspector, Seen};
use crate::mail::structure;
use crate::mail::{Flags, SpecialUse, SystemFlag, Uid};
use crate::store::{Mailbox, MailboxId, MessageReader, Store, StoreError};

/// Bytes of a message in which our own fields and the header of sent mail are looked for.
const HEADER: u64 = 64 << 10;

/// What was done with a body in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// We filed it in Junk.
    Filed = 1,
    Spam = 2,
    Ham = 3,
}

impl Mark {
    pub(super) fn of(byte: u8) -> Option<Self> {
        [Self::Filed, Self::Spam, Self::Ham].into_iter().find(|mark| *mark as u8 == byte)
    }

    pub(super) fn class(self) -> Option<Class> {
        match self {
            Self::Filed => None,
            Self::Spam => Some(Class::Spam),
            Self::Ham => Some(Class::Ham),
        }
    }
}

impl From<Class> for Mark {
    fn from(class: Class) -> Self {
        match class {
            Class::Spam => Self::Spam,
            Class::Ham => Self::Ham,
        }
    }
}

/// What lies in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Inbox,
    Junk,
    Sent,
    /// Archive and folders of the person's own.
    Kept,
    /// Trash, drafts: says nothing.
    Other,
}

impl Purpose {
    /// By its use, or by the name that programs without such uses give it.
    pub(super) fn of(mailbox: &Mailbox) -> Self {
        if mailbox.name.is_inbox() {
            return Self::Inbox;
        }
        match mailbox.special_use {
            Some(SpecialUse::Junk) => return Self::Junk,
            Some(SpecialUse::Sent) => return Self::Sent,
            Some(SpecialUse::Archive) => return Self::Kept,
            Some(SpecialUse::Drafts | SpecialUse::Trash) => return Self::Other,
            None => {}
        }
        let name = mailbox.name.as_str();
        let last = name.rsplit('/').next().unwrap_or(name).to_lowercase();
        match last.as_str() {
            "junk"
            | "spam"
            | "junk e-mail"
            | "junk email"
            | "junk mail"
            | "bulk mail"
            | "spamverdacht"
            | "unerwünscht"
            | "junk-e-mail"
            | "courrier indésirable" => Self::Junk,
            "sent"
            | "sent items"
            | "sent messages"
            | "sent mail"
            | "gesendet"
            | "gesendete elemente"
            | "gesendete objekte"
            | "éléments envoyés" => Self::Sent,
            "trash"
            | "deleted items"
            | "deleted messages"
            | "bin"
            | "papierkorb"
            | "corbeille"
            | "gelöschte elemente"
            | "drafts"
            | "entwürfe"
            | "brouillons"
            | "outbox"
            | "templates"
            | "notes" => Self::Other,
            _ => Self::Kept,
        }
    }
}

/// What there is to do about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Todo {
    Nothing,
    /// Learn it, whatever we thought of it.
    Learn(Class),
    /// Learn it as wanted, unless we had doubts.
    Trust,
    /// It came into Junk: by whom, the message tells.
    AskWhoFiled,
    /// It was sent.
    Sent,
}

pub(super) fn todo(purpose: Purpose, flags: &Flags, new: bool, mark: Option<Mark>) -> Todo {
    if flags.has(SystemFlag::Deleted) {
        return Todo::Nothing;
    }
    match (purpose, mark) {
        (Purpose::Sent, _) if new => Todo::Sent,
        (Purpose::Junk, None) if new => Todo::AskWhoFiled,
        (Purpose::Junk, Some(Mark::Ham)) if new => Todo::Learn(Class::Spam),
        (Purpose::Inbox | Purpose::Kept, Some(Mark::Filed | Mark::Spam)) if new => {
            Todo::Learn(Class::Ham)
        }
        (Purpose::Kept, None) if new => Todo::Trust,
        (Purpose::Inbox | Purpose::Kept, None)
            if flags.has(SystemFlag::Answered) || flags.has(SystemFlag::Flagged) =>
        {
            Todo::Learn(Class::Ham)
        }
        _ => Todo::Nothing,
    }
}

/// The beginning of a message, and the way to the rest.
pub(super) struct Message {
    pub(super) head: Vec<u8>,
    rest: MessageReader,
}

/// Nothing when it is gone, or damaged on the card.
pub(super) fn read(
    store: &Store,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<Option<Message>, StoreError> {
    let Some(message) = store.message(mailbox, uid)? else { return Ok(None) };
    let mut rest = store.read(&message.content)?;
    let mut head = Vec::new();
    match rest.by_ref().take(HEADER).read_to_end(&mut head) {
        Ok(_) => Ok(Some(Message { head, rest })),
        // Damaged on the card; the store has said so.
        Err(error) => {
            tracing::debug!(%error, "a message cannot be read");
            Ok(None)
        }
    }
}

impl Message {
    /// The score we gave it on arrival. Only a field above all traces of others is ours.
    pub(super) fn told(&self) -> Option<Told> {
        let own = structure::fields(&self.head)
            .take_while(|field| !field.name.eq_ignore_ascii_case(b"Received"));
        let mut named = own.filter(|field| field.name.eq_ignore_ascii_case(FIELD.as_bytes()));
        Told::parse(&String::from_utf8_lossy(named.next()?.value).replace(['\r', '\n'], ""))
    }

    /// What the classifier sees of it.
    pub(super) fn inspect(mut self) -> Seen {
        let mut inspector = Inspector::new();
        inspector.feed(&self.head);
        let mut buffer = vec![0; 16 << 10];
        while inspector.wants_more() {
            match self.rest.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => inspector.feed(buffer.get(..length).unwrap_or_default()),
            }
        }
        inspector.finish()
    }
}
