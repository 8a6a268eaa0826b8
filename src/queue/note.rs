//! What was heard about recipients, and how it is written down: recipients, ledger, counts for
//! large providers and for TLS in one commit, so that each is counted once.

use super::advice;
use super::ledger::{self, Event};
use super::providers::{Provider, Warmth};
use super::runner::LONGEST_WAIT;
use super::states::{Problem, Recipient, Wish};
use super::tally::{self, Fact};
use super::ways::{self, Way};
use super::{Inner, QueueError};
use crate::clock::ClockTrust;
use crate::mail;
use crate::store::{Batch, QueueId, StoreError};

/// What was heard about one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// Its host took it, with these words; whether that host tells the sender what follows.
    Delivered { words: String, tells: bool },
    /// It is here, and noted already.
    Kept,
    /// It was not taken.
    Problem { problem: Problem, last: bool },
}

/// What came of one group, and what was learnt on the way.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// One for each recipient.
    pub(super) heard: Vec<Heard>,
    /// What became of TLS.
    pub(super) tls: Vec<Fact>,
    /// Whose host it was, on the direct way.
    pub(super) provider: Option<&'static Provider>,
}

impl Heard {
    /// The same for all.
    pub(super) fn all(to: &[mail::Recipient], problem: &Problem, last: bool) -> Vec<Self> {
        to.iter().map(|_| Self::Problem { problem: problem.clone(), last }).collect()
    }
}

impl Inner {
    /// Writes down what was heard, and does not give up: until it is written, the record is busy,
    /// and nobody whose host said yes is sent it twice.
    pub(super) async fn note_surely(
        &self,
        id: QueueId,
        way: &Way,
        to: &[mail::Recipient],
        outcome: &Outcome,
    ) {
        while let Err(error) = self.note(id, way, to, outcome).await {
            tracing::error!(id = id.0, %error, "what became of a message cannot be written down");
            tokio::time::sleep(LONGEST_WAIT).await;
        }
    }

    /// Writes down what was heard about some recipients, durable before anything else is tried.
    async fn note(
        &self,
        id: QueueId,
        way: &Way,
        to: &[mail::Recipient],
        outcome: &Outcome,
    ) -> Result<(), QueueError> {
        let _turn = self.marks.edit.lock().await;
        let mut batch = Batch::new();
        // Gone when the owner dropped it while it was tried: what was learnt counts all the same.
        let loaded = match self.load(id) {
            Err(QueueError::Missing(_)) => None,
            other => Some(other?),
        };
        if let Some((_, mut state)) = loaded {
            for (to, heard) in to.iter().zip(&outcome.heard) {
                let of_address = |r: &Recipient| r.is_open() && r.address == to.address;
                match heard {
                    Heard::Kept => {}
                    Heard::Delivered { words, tells } => {
                        for recipient in state.recipients.iter_mut().filter(|r| of_address(r)) {
                            recipient.relayed = Some(words.clone());
                        }
                        state.recipients.retain(|r| {
                            let done = r.relayed.is_some() && r.address == to.address;
                            !done || (r.wants(Wish::Success) && !tells)
                        });
                    }
                    Heard::Problem { problem, last } => {
                        let detour = matches!(way, Way::Direct(_))
                            && advice::is_about_place(problem)
                            && ways::detour(&self.outbound, &state.from, to.address.domain())
                                .is_some();
                        for recipient in state.recipients.iter_mut().filter(|r| of_address(r)) {
                            recipient.last = Some(problem.clone());
                            recipient.failed = *last && !detour;
                            recipient.detour |= detour;
                        }
                    }
                }
            }
            batch.update_queued(id, state.encode());
        }
        self.learn_from(&mut batch, to, outcome)?;
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Adds to `batch` what this teaches about addresses, providers and TLS.
    fn learn_from(
        &self,
        batch: &mut Batch,
        to: &[mail::Recipient],
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let (mut taken, mut refused) = (0, 0);
        for (to, heard) in to.iter().zip(&outcome.heard) {
            match heard {
                Heard::Kept => {}
                Heard::Delivered { .. } => {
                    taken += 1;
                    if ledger::read(&self.store, &to.address)?.is_some() {
                        ledger::forget(batch, &to.address);
                    }
                }
                Heard::Problem { problem, last } => {
                    refused += u64::from(advice::is_about_place(problem));
                    if *last && advice::is_dead(problem) {
                        let words = ledger::words(problem);
                        let event = Event::Returned;
                        ledger::note(&self.store, batch, &to.address, event, words, now)?;
                    }
                }
            }
        }
        // Days are counted by a clock that can be believed.
        if self.clock.trust() == ClockTrust::Unknown {
            return Ok(());
        }
        let day = now.as_second().div_euclid(86_400);
        if let Some(provider) = outcome.provider.filter(|_| taken + refused > 0) {
            let stored = self.store.setting(&provider.key())?;
            let mut warmth = Warmth::read(provider, stored.as_deref()).on(provider, day);
            warmth.count(taken, refused);
            batch.put_setting(&provider.key(), warmth.write());
        }
        tally::add(&self.store, batch, day, &outcome.tls)
    }
}
