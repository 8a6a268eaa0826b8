//! The arguments of NOTIFY (RFC 5465 §8).

use super::cursor::{Cursor, Parsed};
use super::{FetchItem, Reason, fetch};
use crate::mail::MailboxName;

/// Most groups of events, and most mailboxes named in them.
const MAX_GROUPS: usize = 50;
const MAX_NAMES: usize = 500;

/// What a client wants to be told of without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) enum Wish {
    /// Of nothing at all.
    Nothing,
    Set {
        /// Where the watched mailboxes stand now, too.
        status: bool,
        /// Of the open mailbox.
        selected: Selected,
        /// Of others.
        groups: Vec<Group>,
    },
}

/// What is told of the mailbox that is open (RFC 5465 §6.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::imap) enum Selected {
    #[default]
    Nothing,
    Messages {
        /// Expunges wait for a command that may tell them.
        delayed: bool,
        /// Changes of flags too.
        flags: bool,
        /// To be told of each new message.
        attributes: Vec<FetchItem>,
    },
}

/// Some mailboxes, and what of them is told. Several groups may meet in one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) struct Group {
    pub(in crate::imap) scope: Scope,
    pub(in crate::imap) events: Events,
}

/// Which mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) enum Scope {
    /// All; and those that mail can be delivered to, since rules may file it anywhere
    /// (RFC 5465 §6.3).
    Personal,
    Subscribed,
    /// These and all below.
    Subtree(Vec<MailboxName>),
    Mailboxes(Vec<MailboxName>),
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "a set of events, each there or not")]
pub(in crate::imap) struct Events {
    /// Messages come and go.
    pub(in crate::imap) messages: bool,
    pub(in crate::imap) flags: bool,
    pub(in crate::imap) names: bool,
    pub(in crate::imap) subscriptions: bool,
    pub(in crate::imap) mailbox_metadata: bool,
    pub(in crate::imap) server_metadata: bool,
}

impl Events {
    /// These and those.
    pub(in crate::imap) fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages || other.messages,
            flags: self.flags || other.flags,
            names: self.names || other.names,
            subscriptions: self.subscriptions || other.subscriptions,
            mailbox_metadata: self.mailbox_metadata || other.mailbox_metadata,
            server_metadata: self.server_metadata || other.server_metadata,
        }
    }
}

/// One event as it is written.
enum Event {
    New(Vec<FetchItem>),
    Expunge,
    Flags,
    Names,
    Subscriptions,
    MailboxMetadata,
    ServerMetadata,
}

/// The events of a group, as far as they stand in it.
#[derive(Default)]
struct Named {
    new: Option<Vec<FetchItem>>,
    expunge: bool,
    events: Events,
}

/// The mailboxes of a group.
enum Filter {
    Selected { delayed: bool },
    Others(Scope),
}

pub(super) fn wish(cursor: &mut Cursor<'_>) -> Parsed<Wish> {
    if cursor.word("NONE") {
        return Ok(Wish::Nothing);
    }
    if !cursor.word("SET") {
        return Err(Reason::Syntax("NOTIFY takes SET or NONE"));
    }
    cursor.space()?;
    let status = cursor.word("STATUS ");
    let (mut selected, mut groups, mut names) = (None, Vec::new(), 0);
    loop {
        cursor.expect(b'(', "a group of events is missing")?;
        let filter = filter(cursor)?;
        cursor.space()?;
        let wanted = events(cursor)?;
        cursor.expect(b')', "a group of events has no end")?;
        match filter {
            Filter::Selected { delayed } => {
                if selected.replace(wanted.of_selected(delayed)?).is_some() {
                    return Err(Reason::Syntax("the selected mailbox can stand in one group only"));
                }
            }
            Filter::Others(scope) => {
                names += scope.len();
                groups.push(Group { scope, events: wanted.of_others()? });
            }
        }
        if groups.len() > MAX_GROUPS || names > MAX_NAMES {
            return Err(Reason::TooMuchToWatch);
        }
        if cursor.is_empty() {
            return Ok(Wish::Set { status, selected: selected.unwrap_or_default(), groups });
        }
        cursor.space()?;
    }
}

fn filter(cursor: &mut Cursor<'_>) -> Parsed<Filter> {
    Ok(Filter::Others(match cursor.atom()?.to_ascii_lowercase().as_str() {
        "selected" => return Ok(Filter::Selected { delayed: false }),
        "selected-delayed" => return Ok(Filter::Selected { delayed: true }),
        "inboxes" | "personal" => Scope::Personal,
        "subscribed" => Scope::Subscribed,
        "subtree" => Scope::Subtree(names(cursor)?),
        "mailboxes" => Scope::Mailboxes(names(cursor)?),
        _ => return Err(Reason::Syntax("unknown mailboxes to watch")),
    }))
}

/// What cannot be a mailbox is passed over (RFC 5465 §3.1, §6.6).
fn names(cursor: &mut Cursor<'_>) -> Parsed<Vec<MailboxName>> {
    cursor.space()?;
    let names = if cursor.peek() == Some(b'(') {
        cursor.list(1, Cursor::mailbox_text)?
    } else {
        vec![cursor.mailbox_text()?]
    };
    Ok(names.into_iter().filter_map(|name| name.parse().ok()).collect())
}

/// In parentheses; without them, as an example of the RFC has it, up to the end of the group.
fn events(cursor: &mut Cursor<'_>) -> Parsed<Named> {
    let mut named = Named::default();
    let mut ahead = *cursor;
    if ahead.word("NONE") && ahead.peek() == Some(b')') {
        cursor.word("NONE");
        return Ok(named);
    }
    if cursor.peek() == Some(b'(') {
        for event in cursor.list(1, event)? {
            named.note(event);
        }
        return Ok(named);
    }
    loop {
        named.note(event(cursor)?);
        if cursor.peek() != Some(b' ') {
            return Ok(named);
        }
        cursor.space()?;
    }
}

fn event(cursor: &mut Cursor<'_>) -> Parsed<Event> {
    Ok(match cursor.atom()?.to_ascii_lowercase().as_str() {
        "messagenew" => {
            let mut ahead = *cursor;
            if ahead.space().is_ok() && ahead.peek() == Some(b'(') {
                *cursor = ahead;
                Event::New(fetch::items(cursor)?)
            } else {
                Event::New(Vec::new())
            }
        }
        "messageexpunge" => Event::Expunge,
        "flagchange" => Event::Flags,
        "mailboxname" => Event::Names,
        "subscriptionchange" => Event::Subscriptions,
        "mailboxmetadatachange" => Event::MailboxMetadata,
        "servermetadatachange" => Event::ServerMetadata,
        // AnnotationChange too: no message has annotations here.
        _ => return Err(Reason::Event),
    })
}

impl Named {
    fn note(&mut self, event: Event) {
        let events = &mut self.events;
        match event {
            Event::New(attributes) => self.new = Some(attributes),
            Event::Expunge => self.expunge = true,
            Event::Flags => events.flags = true,
            Event::Names => events.names = true,
            Event::Subscriptions => events.subscriptions = true,
            Event::MailboxMetadata => events.mailbox_metadata = true,
            Event::ServerMetadata => events.server_metadata = true,
        }
    }

    fn of_selected(self, delayed: bool) -> Parsed<Selected> {
        self.check()?;
        let flags = self.events.flags;
        if self.events != (Events { flags, ..Events::default() }) {
            return Err(Reason::Syntax("only messages can be watched in the selected mailbox"));
        }
        Ok(match self.new {
            Some(attributes) => Selected::Messages { delayed, flags, attributes },
            None => Selected::Nothing,
        })
    }

    fn of_others(self) -> Parsed<Events> {
        self.check()?;
        if self.new.as_ref().is_some_and(|attributes| !attributes.is_empty()) {
            return Err(Reason::Syntax("only new messages of the selected mailbox can be fetched"));
        }
        Ok(Events { messages: self.new.is_some(), ..self.events })
    }

    /// RFC 5465 §5.
    fn check(&self) -> Parsed<()> {
        if self.new.is_some() != self.expunge {
            return Err(Reason::Syntax("MessageNew and MessageExpunge go together"));
        }
        if self.events.flags && self.new.is_none() {
            return Err(Reason::Syntax("FlagChange needs MessageNew and MessageExpunge"));
        }
        Ok(())
    }
}

impl Scope {
    fn len(&self) -> usize {
        match self {
            Self::Personal | Self::Subscribed => 0,
            Self::Subtree(names) | Self::Mailboxes(names) => names.len(),
        }
    }

    /// Whether a mailbox is among them.
    pub(in crate::imap) fn has(&self, name: &str, subscribed: bool) -> bool {
        let below = |top: &MailboxName| {
            let rest = name.strip_prefix(top.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(MailboxName::SEPARATOR))
        };
        match self {
            Self::Personal => true,
            Self::Subscribed => subscribed,
            Self::Subtree(names) => names.iter().any(below),
            Self::Mailboxes(names) => names.iter().any(|known| known.as_str() == name),
        }
    }
}
