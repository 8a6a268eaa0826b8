//! Taking a message: aliases are followed, and everything that shall happen with the message goes into
//! one batch.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::bounce::{Kind, Success};
use super::ledger::{self, Event};
use super::reports::{self, Reported};
use super::runner::About;
use super::srs::Secret;
use super::states::{Hold, Problem, Recipient, State, Wish};
use super::{AcceptError, Incoming, Inner, QueueError, Source};
use crate::accounts::Lookup;
use crate::clock::ClockTrust;
use crate::config::OutboundMode;
use crate::deliver::{self, Filing, Ruling, Slot};
use crate::mail::{self, Address, Notify, RecipientRequests, ReversePath};
use crate::store::{AccountId, Batch, Content, Outcome, StoreError};

/// Where the recipients of an envelope lead.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expansion {
    /// Accounts here, each once, with the address that led to it.
    local: Vec<(AccountId, mail::Recipient)>,
    /// The others, each once.
    remote: Vec<Recipient>,
    /// Aliases with several addresses behind them.
    several: Vec<mail::Recipient>,
}

/// What taking a message means.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// Local copies.
    pub(super) delivered: usize,
    /// Whom the sender wants to know about, once it is done.
    good: Vec<(Recipient, Success)>,
}

impl Inner {
    /// Takes a message in one commit together with what `also` adds to it; returns the outcomes and
    /// what was planned.
    ///
    /// SMTP has one answer for all recipients of a message (RFC 5321 §4.2.5). So when some of them
    /// have no room for it, and that could not be said at RCPT, all get it: to refuse it would keep
    /// it from the others, to return it later would go to whomever a forger named as sender.
    /// RCPT refuses the full ones from then on. Only when nobody has room is it refused.
    pub(super) async fn take(
        &self,
        incoming: &Incoming,
        over_limit: bool,
        also: impl Fn(&mut Batch),
    ) -> Result<(Vec<Outcome>, Planned), AcceptError> {
        let mut batch = Batch::new();
        let planned = self.plan(&mut batch, incoming, over_limit).await?;
        also(&mut batch);
        match self.store.commit(batch).await {
            Err(StoreError::OverQuota) if self.fits_somewhere(incoming)? => {}
            other => return Ok((other?, planned)),
        }
        let mut batch = Batch::new();
        let planned = self.plan(&mut batch, incoming, over_limit).await?;
        also(&mut batch);
        batch.over_quota();
        Ok((self.store.commit(batch).await?, planned))
    }

    fn fits_somewhere(&self, incoming: &Incoming) -> Result<bool, AcceptError> {
        self.has_room(
            incoming.envelope.addresses(),
            incoming.trace.len() as u64 + incoming.body.size(),
        )
    }

    /// Adds to `batch` all that taking a message means.
    pub(super) async fn plan(
        &self,
        batch: &mut Batch,
        incoming: &Incoming,
        over_limit: bool,
    ) -> Result<Planned, AcceptError> {
        let Expansion { local, mut remote, several } = self.expand(&incoming.envelope.to)?;
        // Asked at the door too; here nothing gets past.
        let passed_on = || remote.iter().find(|one| one.via.is_none() && !one.failed);
        if incoming.source == Source::Stranger
            && let Some(recipient) = passed_on()
        {
            return Err(AcceptError::Relay(recipient.address.clone()));
        }
        if incoming.source == Source::Own {
            // A notice tells people what became of their mail: it is small, and must not be lost.
            batch.over_quota();
        }
        let Incoming { envelope, trace, body, received, .. } = incoming;
        let mut planned = Planned { delivered: local.len(), good: Vec::new() };
        let Filings { filings, keep_back } = file(incoming, &local, &remote)?;
        for ((account, recipient), filing) in local.into_iter().zip(&filings) {
            let slot = Slot { account, recipient: &recipient.address, filing };
            deliver::place(&self.store, batch, slot, &envelope.from, trace, body, *received)
                .await?;
            planned.good.push((of(recipient), Success::Delivered));
        }
        if let Some((status, reason)) = keep_back {
            for one in remote.iter_mut().filter(|one| !one.failed) {
                one.last = Some(Problem::new(status, format!("not passed on: {reason}")));
                one.failed = true;
            }
        }
        planned.good.extend(several.into_iter().map(|alias| (of(alias), Success::Expanded)));
        planned.good.retain(|(recipient, _)| recipient.wants(Wish::Success));
        if !remote.is_empty() {
            let hold = match self.outbound.mode {
                _ if over_limit => Hold::Limit,
                OutboundMode::Hold => Hold::Setting,
                OutboundMode::Direct | OutboundMode::Relay(_) => Hold::No,
            };
            let mut state = State::new(incoming, remote, hold);
            state.from = self.sender(batch, incoming, &state.recipients)?;
            batch.enqueue(trace, body, state.encode());
        }
        Ok(planned)
    }

    /// The envelope sender as it leaves: a stranger's mail that an alias sends on has one of ours.
    fn sender(
        &self,
        batch: &mut Batch,
        incoming: &Incoming,
        remote: &[Recipient],
    ) -> Result<ReversePath, StoreError> {
        let from = &incoming.envelope.from;
        let alias = remote.iter().find_map(|recipient| recipient.via.as_ref());
        match (incoming.source, from, alias) {
            (Source::Stranger, ReversePath::Address(address), Some(alias))
                if !self.accounts.is_ours(address.domain()) =>
            {
                let now = incoming.received;
                let Some(secret) = Secret::read_or_make(&self.store, batch)? else {
                    return Ok(from.clone());
                };
                let ours = alias.domain();
                let rewritten = secret.forward(&self.store, batch, address, ours, now)?;
                Ok(rewritten.map_or_else(|| from.clone(), ReversePath::Address))
            }
            _ => Ok(from.clone()),
        }
    }

    /// The address that was rewritten to this one, when mail went through an alias of ours.
    pub(super) fn rewritten(&self, address: &Address) -> Option<Address> {
        // Most addresses are spared the question to the store.
        let local = address.local().as_str();
        local.get(..3).filter(|start| start.eq_ignore_ascii_case("srs"))?;
        let now = (self.clock.trust() != ClockTrust::Unknown).then(|| self.clock.now());
        let secret = Secret::read(&self.store).ok().flatten()?;
        secret.reverse(&self.store, address, now).filter(|found| found != address)
    }

    /// Tells the sender what went well, where that was asked for. Strangers are not told: whoever
    /// they claim to be may never have written.
    pub(super) async fn tell_of_success(
        &self,
        incoming: &Incoming,
        planned: Planned,
    ) -> Result<(), QueueError> {
        let (Source::Account(_), Some(to)) = (incoming.source, incoming.envelope.from.address())
        else {
            return Ok(());
        };
        if planned.good.is_empty() {
            return Ok(());
        }
        let content = incoming.body.content(&incoming.trace);
        let asked = &incoming.envelope.asked;
        let about = About { content: &content, asked, received: incoming.received };
        let mut batch = Batch::new();
        for how in [Success::Delivered, Success::Expanded] {
            let these = planned.good.iter().filter(|(_, success)| *success == how);
            let these: Vec<Recipient> = these.map(|(recipient, _)| recipient.clone()).collect();
            if !these.is_empty() {
                self.tell(&mut batch, to.clone(), &about, &these, Kind::Success(how)).await?;
            }
        }
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Whether a message may be a report about mail of ours.
    pub(super) fn may_report(&self, incoming: &Incoming) -> bool {
        let ours = |domain: &mail::Domain| self.accounts.is_ours(domain);
        let takes = |address: &Address| reports::takes_reports(address, ours);
        incoming.source == Source::Stranger
            && (incoming.envelope.from == ReversePath::Null
                || incoming.envelope.addresses().any(takes))
    }

    /// Reads a message that may be a report, and notes what it says in the ledger.
    pub(super) async fn learn(&self, content: Content, now: Timestamp) -> Result<(), QueueError> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || {
            reports::reported(store.read(&content)?)
                .map_err(|source| StoreError::Disk { doing: "read a message", source })
        });
        let found = read.await.map_err(|error| QueueError::Stopped(error.to_string()))??;
        for one in found {
            let (address, event, words) = match &one {
                Reported::Returned(address, words) => (address, Event::Reported, words),
                Reported::Complaint(address, words) => (address, Event::Complaint, words),
            };
            if self.accounts.is_ours(address.domain()) {
                continue;
            }
            let _turn = self.marks.edit.lock().await;
            let mut batch = Batch::new();
            ledger::note(&self.store, &mut batch, address, event, words, now)?;
            self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Whether mail of this size for these finds room with anyone: an account within its quota, or
    /// somebody elsewhere.
    pub(super) fn has_room<'a>(
        &self,
        to: impl IntoIterator<Item = &'a Address>,
        size: u64,
    ) -> Result<bool, AcceptError> {
        let to: Vec<mail::Recipient> = to.into_iter().cloned().map(Into::into).collect();
        let Expansion { local, remote, .. } = self.expand(&to)?;
        for (account, _) in &local {
            if self.store.has_room(*account, size)? {
                return Ok(true);
            }
        }
        // Who failed already is nobody.
        Ok(local.is_empty() || remote.iter().any(|one| !one.failed))
    }

    /// Follows aliases from each recipient to accounts and to addresses elsewhere.
    fn expand(&self, to: &[mail::Recipient]) -> Result<Expansion, AcceptError> {
        let mut all = Expansion::default();
        let mut accounts_seen = BTreeSet::new();
        let mut remote_seen = BTreeSet::new();
        for mail::Recipient { address: first, asked } in to {
            let (locals, remotes) = (all.local.len(), all.remote.len());
            let mut count = 0;
            // Each with the aliases that led to it.
            let mut open: Vec<(Address, Vec<String>)> = vec![(first.clone(), Vec::new())];
            while let Some((address, path)) = open.pop() {
                count += 1;
                if count > MAX_EXPANSION {
                    return Err(AcceptError::Alias(first.clone()));
                }
                let via = (!path.is_empty()).then(|| first.clone());
                // Before anything else: an alias that takes all would take these too.
                let lookup = match self.rewritten(&address) {
                    Some(original) if self.accounts.is_ours(address.domain()) => {
                        Lookup::Forward(vec![original])
                    }
                    _ => self.accounts.lookup(&address),
                };
                match lookup {
                    Lookup::Account(account) => {
                        if accounts_seen.insert(account) {
                            let (address, asked) = (first.clone(), asked.clone());
                            all.local.push((account, mail::Recipient { address, asked }));
                        }
                    }
                    Lookup::Forward(targets) => {
                        let key = address.key();
                        if path.contains(&key) {
                            return Err(AcceptError::Alias(first.clone()));
                        }
                        let path: Vec<String> = path.into_iter().chain([key]).collect();
                        open.extend(targets.into_iter().rev().map(|to| (to, path.clone())));
                    }
                    Lookup::NotOurs => {
                        if remote_seen.insert(address.clone()) {
                            all.remote.push(Recipient::new(address, via, asked.clone()));
                        }
                    }
                    // Gone since the door looked, or an alias that leads nowhere: its sender is told.
                    Lookup::NoSuchUser => {
                        let last = Some(Problem::new("5.1.1", "nobody of that name lives here"));
                        let recipient = Recipient::new(address, via, asked.clone());
                        all.remote.push(Recipient { last, failed: true, ..recipient });
                    }
                }
            }
            if all.local.len() - locals + all.remote.len() - remotes > 1 {
                // RFC 3461 §5.2.7.3: that it went to many is what there is to tell of success.
                let address = first.clone();
                all.several.push(mail::Recipient { address, asked: asked.clone() });
                let behind = all.local.iter_mut().skip(locals).map(|(_, one)| &mut one.asked);
                behind.for_each(quieten);
                let behind = all.remote.iter_mut().skip(remotes).map(|one| &mut one.asked);
                behind.for_each(quieten);
            }
        }
        Ok(all)
    }
}

fn of(recipient: mail::Recipient) -> Recipient {
    Recipient::new(recipient.address, None, recipient.asked)
}

/// Takes the wish to hear of success out.
fn quieten(asked: &mut RecipientRequests) {
    asked.notify = match asked.notify.take() {
        Some(Notify::On { failure: false, delay: false, .. }) => Some(Notify::Never),
        Some(Notify::On { failure, delay, .. }) => {
            Some(Notify::On { success: false, failure, delay })
        }
        other => other,
    };
}

/// What is decided about a message.
struct Filings {
    /// For each account.
    filings: Vec<Filing>,
    /// Why those elsewhere to whom aliases lead do not get it.
    keep_back: Option<(&'static str, String)>,
}

/// Asks the message's judge. SMTP has one answer for all: it is refused when nobody at all wants it;
/// when somebody does, the others get it among their junk. It is not passed on then, which would
/// spoil our name elsewhere; the owner is told.
fn file(
    incoming: &Incoming,
    local: &[(AccountId, mail::Recipient)],
    remote: &[Recipient],
) -> Result<Filings, AcceptError> {
    let Some(judge) = &incoming.judge else {
        return Ok(Filings { filings: vec![Filing::default(); local.len()], keep_back: None });
    };
    let (mut filings, mut wanted, mut refusal) = (Vec::new(), false, None);
    for (account, _) in local {
        filings.push(match judge.judge(Some(*account)) {
            Ruling::File(filing) => {
                wanted = true;
                filing
            }
            Ruling::Refuse { otherwise, status, reason } => {
                refusal = Some((status, reason));
                otherwise
            }
        });
    }
    let mut keep_back = None;
    if remote.iter().any(|one| !one.failed) {
        match judge.judge(None) {
            Ruling::File(_) => wanted = true,
            Ruling::Refuse { status, reason, .. } => keep_back = Some((status, reason)),
        }
    }
    match keep_back.as_ref().or(refusal.as_ref()) {
        Some((status, reason)) if !wanted => {
            Err(AcceptError::Unwanted { status, reason: reason.clone() })
        }
        _ => Ok(Filings { filings, keep_back }),
    }
}

/// More addresses than this behind one recipient are a mistake.
const MAX_EXPANSION: usize = 100;
