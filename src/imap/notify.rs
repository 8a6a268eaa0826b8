//! NOTIFY (RFC 5465), and what ENABLE METADATA asks for (RFC 5464 §4.1): telling between commands
//! what happens in the open mailbox and in others. What the client was told last is kept; when
//! something changed, the account is looked at anew and the difference told. So nothing has to be
//! dropped however much happens, and NOTIFICATIONOVERFLOW is only said to who asks for too much.

mod news;

use std::collections::{BTreeMap, BTreeSet};

use super::command::{Events, FetchItem, Ranges, Selected, SequenceSet, StatusItem, Tag, Wish};
use super::facts::Overview;
use super::mailboxes::Counts;
use super::question::FetchJob;
use super::session::{Session, State};
use super::view::Expunges;
use crate::mail::{Uid, UidValidity};
use crate::store::{AccountId, Change, Changes, MailboxId, Outcome};

use news::News;

/// All that can be watched (RFC 5465 §8 `unsupported-events-code`).
pub(super) const EVENTS: &str = "MessageNew MessageExpunge FlagChange MailboxName \
    SubscriptionChange MailboxMetadataChange ServerMetadataChange";

/// Messages of this client's own making that are remembered: it has no need to be told of them.
const MAX_OWN: usize = 10_000;

/// What a client is told without asking, and what it knows.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Nothing before the first NOTIFY.
    wish: Option<Wish>,
    /// What was told of the account last; only while there is something to tell.
    known: Option<Box<Overview>>,
    /// Something changed since then.
    due: bool,
    /// The open mailbox may have news that were not tried to be told yet.
    fresh: bool,
    own: Own,
}

/// What this client did itself (RFC 5465 §5: it need not be told).
#[derive(Debug, Default)]
struct Own {
    /// Mailboxes made, removed, renamed, subscribed to.
    mailboxes: BTreeSet<MailboxId>,
    names: BTreeSet<String>,
    messages: BTreeSet<(UidValidity, Uid)>,
    /// How many messages were put into a mailbox since its last news.
    added: BTreeMap<UidValidity, u32>,
}

impl Session {
    /// RFC 5465 §3.1.
    pub(super) fn notify(&mut self, tag: Tag, account: AccountId, wish: Wish) {
        let Wish::Set { status, .. } = wish else {
            self.watch = Watch { wish: Some(wish), ..Watch::default() };
            return self.finish(&tag, "NOTIFY completed", None);
        };
        // What piled up is told at once, whatever was wished before.
        self.stale = true;
        self.watch.wish = None;
        self.news(Expunges::Told, move |session| {
            session.ask_overview(account, true, move |session, answer| {
                let overview = match answer {
                    Ok(overview) => overview,
                    Err(error) => return session.failed(&tag, &error),
                };
                if status {
                    session.tell_standing(&wish, &overview);
                }
                session.watch.wish = Some(wish);
                session.watch.keep(overview, session.enabled.metadata);
                session.finish(&tag, "NOTIFY completed", None);
            });
        });
    }

    /// Begins to watch annotations for who has switched that on.
    pub(super) fn watch_metadata(
        &mut self,
        account: AccountId,
        then: impl FnOnce(&mut Self) + Send + 'static,
    ) {
        if !self.enabled.metadata || self.watch.known.is_some() {
            return then(self);
        }
        self.ask_overview(account, true, move |session, answer| {
            if let Ok(overview) = answer {
                session.watch.keep(overview, true);
            }
            then(session);
        });
    }

    /// Tells, between commands, what there is to tell; whether there was something to do.
    pub(super) fn watch_step(&mut self) -> bool {
        if self.stale
            && matches!(self.state, State::Selected(..))
            && let Some(expunges) = self.watch.unasked()
        {
            self.news(expunges, |_| {});
            return true;
        }
        self.tell_watched(|_| {})
    }

    /// Tells what happened outside of the open mailbox, then goes on; whether there was a reason to
    /// look.
    pub(super) fn tell_watched(&mut self, then: impl FnOnce(&mut Self) + Send + 'static) -> bool {
        let (State::Authenticated(account) | State::Selected(account, _)) = self.state else {
            return false;
        };
        if !std::mem::take(&mut self.watch.due) || self.watch.known.is_none() {
            return false;
        }
        self.ask_overview(account, true, move |session, answer| {
            // When it cannot be read now, the next change tries again.
            if let Ok(now) = answer {
                session.tell_difference(now);
            }
            then(session);
        });
        true
    }

    fn tell_difference(&mut self, now: Overview) {
        let Some(known) = self.watch.known.take() else { return };
        let selected = self.selected();
        let news = News {
            wish: self.watch.wish.as_ref(),
            known: &known,
            now: &now,
            selected,
            enabled: self.enabled,
            off: &self.off,
            own: &self.watch.own,
        };
        news.tell(&mut self.out);
        self.watch.keep(now, self.enabled.metadata);
    }

    /// Where the watched mailboxes stand (RFC 5465 §3.1).
    fn tell_standing(&mut self, wish: &Wish, overview: &Overview) {
        let selected = self.selected();
        for mailbox in &overview.folders.mailboxes {
            let events = wish.events(mailbox.name.as_str(), mailbox.subscribed);
            let mut items = Vec::new();
            if events.messages {
                items.extend([StatusItem::Messages, StatusItem::UidNext, StatusItem::UidValidity]);
            }
            if events.flags && self.off.offers("CONDSTORE") {
                items.push(StatusItem::HighestModSeq);
            }
            if !items.is_empty() && selected != Some(mailbox.id) {
                self.out.status(mailbox, &items, &Counts::default());
            }
        }
    }

    /// Sends what was wished to be told of new messages, then goes on.
    pub(super) fn fetch_new(
        &mut self,
        uids: &[Uid],
        then: impl FnOnce(&mut Self) + Send + 'static,
    ) {
        let attributes = self.watch.attributes().to_vec();
        let State::Selected(_, view) = &self.state else { return then(self) };
        if uids.is_empty() || attributes.is_empty() {
            return then(self);
        }
        let set = SequenceSet::Given(Ranges::of(uids.iter().map(|uid| (uid.get(), uid.get()))));
        let targets = view.targets(&set, true);
        let (mailbox, speech) = (view.mailbox, self.out.speech());
        let job = FetchJob { mailbox, items: attributes.into(), speech, targets };
        self.ask_fetch(job, |session, _| then(session));
    }

    fn selected(&self) -> Option<MailboxId> {
        match &self.state {
            State::Selected(_, view) => Some(view.mailbox),
            _ => None,
        }
    }
}

impl Wish {
    /// What is told of a mailbox that is not open.
    fn events(&self, name: &str, subscribed: bool) -> Events {
        let Self::Set { groups, .. } = self else { return Events::default() };
        let groups = groups.iter().filter(|group| group.scope.has(name, subscribed));
        groups.fold(Events::default(), |all, group| all.and(group.events))
    }
}

impl Watch {
    /// Something changed in the store, or news were missed.
    pub(super) fn changed(&mut self, state: &State, change: Option<&Change>) {
        self.fresh = true;
        self.due |= match (state, change) {
            (_, None) => true,
            (State::Authenticated(account) | State::Selected(account, _), Some(change)) => {
                change.account == *account || change.account == AccountId::EVERYBODY
            }
            _ => false,
        };
    }

    /// A command was run: what had to be held back during it can be told after it.
    pub(super) fn wake(&mut self) {
        self.fresh = true;
    }

    /// Whether news of the open mailbox are told at all.
    pub(super) fn tells_selected(&self) -> bool {
        !matches!(&self.wish, Some(Wish::Nothing | Wish::Set { selected: Selected::Nothing, .. }))
    }

    /// Takes out what is not told of the open mailbox, and gives the new messages of which more is
    /// told. `last` is the highest UID that the client knows.
    pub(super) fn filter(&self, changes: &mut Changes, last: Option<Uid>) -> Vec<Uid> {
        let Some(Wish::Set { selected: Selected::Messages { flags, attributes, .. }, .. }) =
            &self.wish
        else {
            return Vec::new();
        };
        let is_new = |uid: Uid| last.is_none_or(|last| uid > last);
        changes.changed.retain(|entry| *flags || is_new(entry.uid));
        if attributes.is_empty() {
            return Vec::new();
        }
        let validity = changes.mailbox.uid_validity;
        let new = changes.changed.iter().map(|entry| entry.uid).filter(|uid| is_new(*uid));
        new.filter(|uid| !self.own.messages.contains(&(validity, *uid))).collect()
    }

    /// This client changed a mailbox's name or whether it is subscribed.
    pub(super) fn own(&mut self, mailbox: MailboxId) {
        if self.known.is_some() {
            self.own.mailboxes.insert(mailbox);
        }
    }

    /// The same of a name without mailbox.
    pub(super) fn own_name(&mut self, name: &str) {
        if self.known.is_some() {
            self.own.names.insert(name.to_owned());
        }
    }

    /// This client changed an annotation to what has this digest, or removed it.
    pub(super) fn annotated(
        &mut self,
        mailbox: Option<MailboxId>,
        entry: &str,
        digest: Option<u64>,
    ) {
        let Some(known) = &mut self.known else { return };
        let key = (mailbox, entry.to_owned());
        match digest {
            Some(digest) => known.annotations.insert(key, digest),
            None => known.annotations.remove(&key),
        };
    }

    /// A commit of this client did this.
    pub(super) fn did(&mut self, outcomes: &[Outcome]) {
        if !matches!(self.wish, Some(Wish::Set { .. })) {
            return;
        }
        for outcome in outcomes {
            match outcome {
                Outcome::Created(id) => self.own(*id),
                Outcome::Added { uid_validity, uid, .. } => self.own.add(*uid_validity, *uid),
                Outcome::Copied { uid_validity, uids } => {
                    for (_, uid) in uids {
                        self.own.add(*uid_validity, *uid);
                    }
                }
                _ => {}
            }
        }
    }

    /// Keeps what the client knows now, when it is needed to find news.
    fn keep(&mut self, overview: Overview, metadata: bool) {
        let watching = match &self.wish {
            Some(Wish::Set { groups, .. }) => !groups.is_empty() || metadata,
            Some(Wish::Nothing) => false,
            None => metadata,
        };
        self.known = watching.then(|| Box::new(overview));
        self.own.mailboxes.clear();
        self.own.names.clear();
        self.own.added.clear();
    }

    /// Whether news of the open mailbox may be told without a command, and with expunges or not;
    /// asked for once each time something happened.
    fn unasked(&mut self) -> Option<Expunges> {
        let fresh = std::mem::take(&mut self.fresh);
        match &self.wish {
            Some(Wish::Set { selected: Selected::Messages { delayed, .. }, .. }) if fresh => {
                Some(if *delayed { Expunges::Held } else { Expunges::Told })
            }
            _ => None,
        }
    }

    fn attributes(&self) -> &[FetchItem] {
        match &self.wish {
            Some(Wish::Set { selected: Selected::Messages { attributes, .. }, .. }) => attributes,
            _ => &[],
        }
    }
}

impl Own {
    fn add(&mut self, validity: UidValidity, uid: Uid) {
        if self.messages.len() >= MAX_OWN {
            self.messages.pop_first();
        }
        self.messages.insert((validity, uid));
        *self.added.entry(validity).or_default() += 1;
    }
}
