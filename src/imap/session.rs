//! The protocol without I/O (RFC 3501 §3): bytes, answers and news go in, effects come out. The
//! session asks one question at a time and takes no further command until it is answered.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::mail::Domain;
use crate::net::Bindings;
use crate::store::{AccountId, Change, StoreError};

use super::append::Append;
use super::auth::{self, Failures, Pending};
use super::command::{self, AppendHead, Body, Command, Names, Ranges, Reason, Refused, Tag};
use super::extensions::{Enabled, Off, Resync, Switch};
use super::id::Identity;
use super::input::{Event, Input, Limits, Marker};
use super::notify::{EVENTS, Watch};
use super::question::{Question, Waiting};
use super::respond::{Output, refusal};
use super::store_flags::FlagStore;
use super::view::{Expunges, View};

const SWITCHED_OFF: &str = "This is switched off for the account";

/// What the world has to do for the session.
#[derive(Debug)]
pub(super) enum Effect {
    /// Send these.
    Output(Vec<u8>),
    /// Find out, and call [`Session::answer`].
    Ask(Question),
    /// The message being taken in will not be used.
    DropBody,
    /// Who the client says it is (RFC 2971), for the list of devices.
    Client(String),
    /// Everything after what was sent so far is compressed, in both directions (RFC 4978). These
    /// bytes came already, and are the client's first compressed ones.
    Compress(Bytes),
    /// Begin TLS, then call [`Session::tls_started`].
    StartTls,
    /// Send what is left and end the connection.
    Close,
}

/// RFC 3501 §3.
pub(super) enum State {
    /// Not authenticated.
    Guest(Failures),
    Authenticated(AccountId),
    Selected(AccountId, View),
    /// Logout, or an error nothing can follow.
    Over,
}

/// What the next line is.
pub(super) enum Mode {
    Commands,
    /// The answer to a challenge of AUTHENTICATE.
    Sasl(Tag, Pending),
    /// DONE.
    Idle(Tag),
    /// Part of a message.
    Append(Append),
}

/// One connection's protocol.
pub(super) struct Session {
    pub(super) state: State,
    pub(super) mode: Mode,
    pub(super) input: Input,
    pub(super) out: Output,
    /// What a login may be bound to; nothing in the clear.
    pub(super) tls: Option<Bindings>,
    /// COMPRESS was said.
    pub(super) compressing: bool,
    pub(super) message_size: u64,
    pub(super) enabled: Enabled,
    /// What the account is kept from.
    pub(super) off: Off,
    pub(super) identity: Identity,
    pub(super) watch: Watch,
    /// The mailbox may have changed since the client was last told.
    pub(super) stale: bool,
    pub(super) waiting: Option<Waiting>,
    effects: VecDeque<Effect>,
}

impl Session {
    /// A new connection; the greeting is the first effect.
    pub(super) fn new(hostname: &Domain, tls: Option<Bindings>, message_size: u64) -> Self {
        let mut session = Self {
            state: State::Guest(Failures::default()),
            mode: Mode::Commands,
            input: Input::default(),
            out: Output::default(),
            tls,
            compressing: false,
            message_size,
            enabled: Enabled::default(),
            off: Off::default(),
            identity: Identity::default(),
            watch: Watch::default(),
            stale: false,
            waiting: None,
            effects: VecDeque::new(),
        };
        let capability = session.capability();
        session.out.line(&format!("OK [CAPABILITY {capability}] {hostname} is ready"));
        session
    }

    /// Bytes came from the client.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input.feed(bytes);
    }

    /// Gives back what is held for no command: the client may say nothing for half an hour.
    pub(super) fn rest(&mut self) {
        self.input.rest();
        self.effects.shrink_to_fit();
    }

    /// What to do next; nothing when more bytes or news are needed.
    pub(super) fn next(&mut self) -> Option<Effect> {
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            let output = self.out.take();
            if !output.is_empty() {
                return Some(Effect::Output(output));
            }
            if self.waiting.is_some() || matches!(self.state, State::Over) || !self.advance() {
                return None;
            }
        }
    }

    /// Something changed in the store, or news were missed.
    pub(super) fn changed(&mut self, change: Option<&Change>) {
        self.watch.changed(&self.state, change);
        self.stale |= match (&self.state, change) {
            (State::Selected(account, view), Some(change)) => {
                *account == change.account && change.mailbox.is_none_or(|id| id == view.mailbox)
            }
            (State::Selected(..), None) => true,
            _ => false,
        };
    }

    /// TLS is there. Whatever was said before is forgotten (RFC 3501 §6.2.1).
    pub(super) fn tls_started(&mut self, bindings: Bindings) {
        self.tls = Some(bindings);
        self.input.clear();
        self.enabled = Enabled::default();
        self.out.speak(self.enabled.speech());
        self.identity = Identity::default();
        self.state = State::Guest(Failures::default());
        self.mode = Mode::Commands;
    }

    /// Ends the session from our side.
    pub(super) fn bye(&mut self, text: &str) {
        self.out.line(&format!("BYE {text}"));
        self.close();
    }

    pub(super) fn close(&mut self) {
        if matches!(self.mode, Mode::Append(_)) {
            self.effect(Effect::DropBody);
        }
        self.mode = Mode::Commands;
        self.waiting = None;
        self.state = State::Over;
        self.effect(Effect::Close);
    }

    /// Whether nobody has logged in yet.
    pub(super) fn is_guest(&self) -> bool {
        matches!(self.state, State::Guest(_))
    }

    pub(super) fn capability(&self) -> String {
        let names = self.off.announced(!self.is_guest(), self.message_size);
        match (&self.state, &self.tls) {
            (State::Guest(_), Some(bindings)) => format!("{names}{}", auth::offered(bindings)),
            (State::Guest(_), None) => format!("{names} STARTTLS LOGINDISABLED"),
            _ => names,
        }
    }

    /// How the client writes mailbox names.
    pub(super) fn names(&self) -> Names {
        if self.enabled.utf8 { Names::Utf8 } else { Names::Utf7 }
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        let output = self.out.take();
        if !output.is_empty() {
            self.effects.push_back(Effect::Output(output));
        }
        self.effects.push_back(effect);
    }

    pub(super) fn limits(&self) -> Limits {
        match self.state {
            State::Guest(_) => Limits::GUEST,
            _ => Limits::USER,
        }
    }

    /// Takes one step with the bytes at hand; whether there was one.
    fn advance(&mut self) -> bool {
        match std::mem::replace(&mut self.mode, Mode::Commands) {
            Mode::Commands => self.next_command() || self.watch_step(),
            Mode::Sasl(tag, pending) => self.sasl_line(tag, pending),
            Mode::Idle(tag) => self.idle_step(tag),
            Mode::Append(append) => self.append_step(append),
        }
    }

    fn next_command(&mut self) -> bool {
        match self.input.next(self.limits()) {
            None => return false,
            Some(Event::Bad(text)) => {
                self.out.line(&format!("BAD {text}"));
            }
            Some(Event::Literal(marker)) => self.literal(marker),
            Some(Event::Command(bytes)) => {
                self.watch.wake();
                match command::parse(&bytes, self.names()) {
                    Ok(command) => self.run(command),
                    Err(refused) => self.refuse(&refused),
                }
            }
        }
        true
    }

    fn literal(&mut self, marker: Marker) {
        let limits = self.limits();
        let head = match self.state {
            State::Authenticated(account) | State::Selected(account, _) => {
                command::append_head(self.input.so_far(), self.names()).map(|head| (account, head))
            }
            _ => None,
        };
        if let Some((account, head)) = head {
            if let Ok(AppendHead { tag, replaces: Some(_), .. }) = &head
                && !self.off.offers("REPLACE")
            {
                self.input.refuse(marker);
                return self.bad(tag, SWITCHED_OFF);
            }
            return self.append(account, head, marker);
        }
        let room = limits.command.saturating_sub(self.input.so_far().len());
        let size = usize::try_from(marker.size).unwrap_or(usize::MAX);
        if marker.size <= limits.literal && size <= room {
            self.input.accept(size);
            if marker.waits {
                self.out.raw("+ Ready\r\n");
            }
            return;
        }
        let tag = command::tag_of(self.input.so_far());
        self.input.refuse(marker);
        match tag {
            // Skipping it would be reading whatever a stranger sends.
            _ if !marker.waits && matches!(self.state, State::Guest(_)) => {
                self.bye("[TOOBIG] The literal is too large");
            }
            Some(tag) => self.bad(&tag, "[TOOBIG] The literal is too large"),
            None => {
                self.out.line("BAD [TOOBIG] The literal is too large");
            }
        }
    }

    pub(super) fn refuse(&mut self, refused: &Refused) {
        let Some(tag) = &refused.tag else {
            self.out.line(&format!("BAD {}", refused.reason));
            return;
        };
        match refused.reason {
            Reason::Name(error) => self.no(tag, &format!("[CANNOT] {error}")),
            reason @ Reason::Charset { save } => {
                if save {
                    self.save(Ranges::default());
                }
                self.no(tag, &format!("[BADCHARSET (US-ASCII UTF-8)] {reason}"));
            }
            Reason::Use => self.no(tag, &format!("[USEATTR] {}", Reason::Use)),
            Reason::Event => self.no(tag, &format!("[BADEVENT ({EVENTS})] {}", Reason::Event)),
            Reason::TooMuchToWatch => {
                self.no(tag, &format!("[NOTIFICATIONOVERFLOW] {}", Reason::TooMuchToWatch));
            }
            reason => self.bad(tag, &reason.to_string()),
        }
    }

    fn run(&mut self, Command { tag, body }: Command) {
        if !self.off.offers_command(&body) {
            return self.bad(&tag, SWITCHED_OFF);
        }
        // Commands of any state (RFC 3501 §6.1).
        let body = match body {
            Body::Capability => {
                let capability = self.capability();
                self.out.line(&format!("CAPABILITY {capability}"));
                return self.finish(&tag, "CAPABILITY completed", Some(Expunges::Told));
            }
            Body::Noop => {
                self.stale = true;
                return self.finish(&tag, "NOOP completed", Some(Expunges::Told));
            }
            Body::Logout => {
                self.out.line("BYE Goodbye");
                self.ok(&tag, "LOGOUT completed");
                return self.close();
            }
            Body::Id(fields) => return self.id(&tag, &fields),
            body => body,
        };
        match (&self.state, body) {
            (State::Guest(_), Body::StartTls) => self.start_tls(&tag),
            (State::Guest(_), Body::Authenticate { mechanism, initial }) => {
                self.authenticate(tag, &mechanism, initial.as_deref());
            }
            (State::Guest(_), Body::Login { user, password }) => self.login(tag, user, password),
            (State::Guest(_), _) => self.bad(&tag, "Log in first"),
            (_, Body::StartTls | Body::Authenticate { .. } | Body::Login { .. }) => {
                self.bad(&tag, "You are logged in already");
            }
            (State::Authenticated(account) | State::Selected(account, _), body) => {
                self.with_account(tag, *account, body);
            }
            (State::Over, _) => {}
        }
    }

    /// RFC 3501 §6.3.
    fn with_account(&mut self, tag: Tag, account: AccountId, body: Body) {
        match body {
            Body::Select { name, read_only, params } => {
                self.select(tag, account, name, read_only, params);
            }
            Body::Create { name, special_use } => self.create(tag, account, &name, special_use),
            Body::Delete(name) => self.delete(tag, account, name),
            Body::Rename { from, to } => self.rename(tag, account, from, &to),
            Body::Subscribe { name, on } => self.subscribe(tag, account, name, on),
            Body::List(list) => self.list(tag, account, list),
            Body::Lsub(matching) => self.lsub(tag, account, matching),
            Body::Status { name, items } => self.status(tag, account, name, items),
            Body::Namespace => {
                // One personal namespace without prefix, none of others (RFC 2342).
                self.out.line("NAMESPACE ((\"\" \"/\")) NIL NIL");
                self.finish(&tag, "NAMESPACE completed", Some(Expunges::Told));
            }
            Body::Enable(names) => self.enable(tag, account, &names),
            Body::Quota(asked) => self.quota(tag, account, asked),
            Body::GetMetadata(get) => self.get_metadata(tag, account, get),
            Body::SetMetadata(set) => self.set_metadata(tag, account, set),
            Body::Notify(wish) => self.notify(tag, account, wish),
            Body::Idle => self.idle(tag),
            Body::Compress => self.compress(&tag),
            body if matches!(self.state, State::Selected(..)) => {
                self.with_mailbox(tag, account, body);
            }
            _ => self.bad(&tag, "Select a mailbox first"),
        }
    }

    /// RFC 5161 §3.1; with a mailbox open too: clients do it, and nothing speaks against it.
    fn enable(&mut self, tag: Tag, account: AccountId, names: &[String]) {
        let before = self.enabled.resync;
        let known = names.iter().filter_map(|name| Switch::named(name));
        let mut new: Vec<&str> = Vec::new();
        for (name, switch) in known.filter(|(name, _)| self.off.offers(name)) {
            if self.enabled.add(switch) {
                new.push(name);
            }
        }
        let blank = if new.is_empty() { "" } else { " " };
        self.out.line(&format!("ENABLED{blank}{}", new.join(" ")));
        self.tell_highest(before);
        self.out.speak(self.enabled.speech());
        self.watch_metadata(account, move |session| {
            session.finish(&tag, "ENABLE completed", Some(Expunges::Told));
        });
    }

    /// A command that only a client aware of modification sequences uses was given (RFC 7162 §3.1):
    /// from now on it is told them. With a mailbox open, where it stands is told at once.
    pub(super) fn enable_condstore(&mut self) {
        let before = self.enabled.resync;
        self.enabled.add(Switch::Condstore);
        self.tell_highest(before);
    }

    fn tell_highest(&mut self, before: Resync) {
        if let State::Selected(_, view) = &self.state
            && before == Resync::None
            && self.enabled.resync > before
        {
            self.out.line(&format!("OK [HIGHESTMODSEQ {}] Up to here you know", view.seen().0));
        }
    }

    /// RFC 3501 §6.4.
    fn with_mailbox(&mut self, tag: Tag, account: AccountId, body: Body) {
        match body {
            Body::Check => {
                self.stale = true;
                self.finish(&tag, "CHECK completed", Some(Expunges::Told));
            }
            Body::Close => self.close_mailbox(tag, account),
            Body::Unselect => self.unselect(&tag, account),
            Body::Expunge(set) => self.expunge(tag, set),
            Body::Search(search) => self.search(tag, search),
            Body::Fetch { uid, set, items, modifiers } => {
                self.fetch(tag, uid, &set, items, &modifiers);
            }
            Body::Store { uid, set, change, silent, unchanged_since } => {
                let store = FlagStore { uid, change, silent, unchanged_since };
                self.store_flags(tag, &set, store);
            }
            Body::Copy { uid, set, to, moving } => {
                self.copy(tag, account, uid, &set, to, moving);
            }
            _ => self.bad(&tag, "This command cannot be used now"),
        }
    }

    /// Ends a command well, telling first what others changed when that is allowed now.
    pub(super) fn finish(&mut self, tag: &Tag, text: &str, news: Option<Expunges>) {
        let line = format!("{} OK {text}\r\n", tag.as_str());
        match news {
            Some(expunges) => self.news(expunges, move |session| {
                session.out.raw(&line);
            }),
            None => {
                self.out.raw(&line);
            }
        }
    }

    /// Tells what others changed in the selected mailbox, then goes on.
    pub(super) fn news(
        &mut self,
        expunges: Expunges,
        then: impl FnOnce(&mut Self) + Send + 'static,
    ) {
        // When they cannot be read now, the next command tries again.
        self.try_news(expunges, |session, _| then(session));
    }

    /// The same; goes on with whether the mailbox could be looked at.
    pub(super) fn try_news(
        &mut self,
        expunges: Expunges,
        then: impl FnOnce(&mut Self, Result<(), StoreError>) + Send + 'static,
    ) {
        let State::Selected(_, view) = &self.state else { return then(self, Ok(())) };
        if !self.stale || !self.watch.tells_selected() {
            return then(self, Ok(()));
        }
        let (mailbox, since, last) = (view.mailbox, view.seen(), view.last());
        self.stale = false;
        self.ask_changes(mailbox, since, move |session, answer| {
            let mut new = Vec::new();
            let result = match (answer, &mut session.state) {
                (Ok(Some(mut changes)), State::Selected(_, view)) => {
                    new = session.watch.filter(&mut changes, last);
                    let enabled = session.enabled;
                    let held = view.update(changes, expunges, enabled, &mut session.out);
                    session.stale |= held;
                    Ok(())
                }
                (Ok(None), _) => {
                    // RFC 2180 §3: its numbers mean nothing any more.
                    return session.bye("The selected mailbox was deleted");
                }
                (Ok(Some(_)), _) => Ok(()),
                (Err(error), _) => {
                    session.stale = true;
                    Err(error)
                }
            };
            session.fetch_new(&new, move |session| then(session, result));
        });
    }

    pub(super) fn ok(&mut self, tag: &Tag, text: &str) {
        self.out.raw(tag.as_str()).raw(" OK ").raw(text).raw("\r\n");
    }

    pub(super) fn no(&mut self, tag: &Tag, text: &str) {
        self.out.raw(tag.as_str()).raw(" NO ").raw(text).raw("\r\n");
    }

    pub(super) fn bad(&mut self, tag: &Tag, text: &str) {
        self.out.raw(tag.as_str()).raw(" BAD ").raw(text).raw("\r\n");
    }

    /// The store refused.
    pub(super) fn failed(&mut self, tag: &Tag, error: &StoreError) {
        self.no(tag, refusal(error));
    }
}
