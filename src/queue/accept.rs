//! Taking a message: aliases are followed, and everything that shall happen with the message goes into
//! one batch.

use std::collections::BTreeSet;

use super::states::{Hold, Problem, Recipient, State};
use super::{AcceptError, Incoming, Inner, Source};
use crate::accounts::{Accounts, Lookup};
use crate::config::OutboundMode;
use crate::deliver;
use crate::mail::Address;
use crate::store::{AccountId, Batch, Outcome, StoreError};

/// Where the recipients of an envelope lead.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expansion {
    /// Accounts here, each once, with the address that led to it.
    local: Vec<(AccountId, Address)>,
    /// The others, each once.
    remote: Vec<Recipient>,
}

impl Inner {
    /// Takes a message in one commit together with what `also` adds to it; returns the outcomes and
    /// the number of local copies.
    ///
    /// SMTP has one answer for all recipients of a message (RFC 5321 §4.2.5). So when some of them
    /// have no room for it, and that could not be said at RCPT, all get it: to refuse it would keep
    /// it from the others, to return it later would go to whomever a forger named as sender.
    /// RCPT refuses the full ones from then on. Only when nobody has room is it refused.
    pub(super) async fn take(
        &self,
        incoming: &Incoming,
        also: impl Fn(&mut Batch),
    ) -> Result<(Vec<Outcome>, usize), AcceptError> {
        let mut batch = Batch::new();
        let delivered = self.plan(&mut batch, incoming).await?;
        also(&mut batch);
        match self.store.commit(batch).await {
            Err(StoreError::OverQuota) if self.fits_somewhere(incoming)? => {}
            other => return Ok((other?, delivered)),
        }
        let mut batch = Batch::new();
        let delivered = self.plan(&mut batch, incoming).await?;
        also(&mut batch);
        batch.over_quota();
        Ok((self.store.commit(batch).await?, delivered))
    }

    fn fits_somewhere(&self, incoming: &Incoming) -> Result<bool, AcceptError> {
        self.has_room(
            incoming.envelope.addresses(),
            incoming.trace.len() as u64 + incoming.body.size(),
        )
    }

    /// Adds to `batch` all that taking a message means, and counts the local copies.
    pub(super) async fn plan(
        &self,
        batch: &mut Batch,
        incoming: &Incoming,
    ) -> Result<usize, AcceptError> {
        let Expansion { local, remote } = expand(&self.accounts, incoming.envelope.addresses())?;
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
        for (account, recipient) in &local {
            deliver::place(
                &self.store,
                batch,
                *account,
                recipient,
                &envelope.from,
                trace,
                body,
                *received,
            )
            .await?;
        }
        if !remote.is_empty() {
            let hold = match self.outbound.mode {
                OutboundMode::Hold => Hold::Setting,
                OutboundMode::Direct | OutboundMode::Relay(_) => Hold::No,
            };
            let state = State::new(incoming, remote, hold);
            batch.enqueue(trace, body, state.encode());
        }
        Ok(local.len())
    }
}

impl Inner {
    /// Whether mail of this size for these finds room with anyone: an account within its quota, or
    /// somebody elsewhere.
    pub(super) fn has_room<'a>(
        &self,
        to: impl IntoIterator<Item = &'a Address>,
        size: u64,
    ) -> Result<bool, AcceptError> {
        let Expansion { local, remote } = expand(&self.accounts, to)?;
        for (account, _) in &local {
            if self.store.has_room(*account, size)? {
                return Ok(true);
            }
        }
        // Who failed already is nobody.
        Ok(local.is_empty() || remote.iter().any(|one| !one.failed))
    }
}

/// Follows aliases from each recipient to accounts and to addresses elsewhere.
fn expand<'a>(
    accounts: &Accounts,
    to: impl IntoIterator<Item = &'a Address>,
) -> Result<Expansion, AcceptError> {
    let mut all = Expansion::default();
    let mut accounts_seen = BTreeSet::new();
    let mut remote_seen = BTreeSet::new();
    for first in to {
        let mut count = 0;
        // Each with the aliases that led to it.
        let mut open: Vec<(Address, Vec<String>)> = vec![(first.clone(), Vec::new())];
        while let Some((address, path)) = open.pop() {
            count += 1;
            if count > MAX_EXPANSION {
                return Err(AcceptError::Alias(first.clone()));
            }
            let via = (!path.is_empty()).then(|| first.clone());
            match accounts.lookup(&address) {
                Lookup::Account(account) => {
                    if accounts_seen.insert(account) {
                        all.local.push((account, first.clone()));
                    }
                }
                Lookup::Forward(targets) => {
                    let key = address.key();
                    if path.contains(&key) {
                        return Err(AcceptError::Alias(first.clone()));
                    }
                    let path: Vec<String> = path.into_iter().chain([key]).collect();
                    open.extend(targets.into_iter().rev().map(|target| (target, path.clone())));
                }
                Lookup::NotOurs => {
                    if remote_seen.insert(address.clone()) {
                        let recipient = Recipient { address, via, last: None, failed: false };
                        all.remote.push(recipient);
                    }
                }
                // Gone since the door looked, or an alias that leads nowhere: its sender is told.
                Lookup::NoSuchUser => {
                    let last = Some(Problem::new("5.1.1", "nobody of that name lives here"));
                    all.remote.push(Recipient { address, via, last, failed: true });
                }
            }
        }
    }
    Ok(all)
}

/// More addresses than this behind one recipient are a mistake.
const MAX_EXPANSION: usize = 100;
