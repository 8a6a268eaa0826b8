//! What waits, as people are told of it: for whom, what was heard last, what can be done about it,
//! and until when the box tries.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Queue;
use super::advice;
use super::states::{Hold, Problem, State, signed};
use crate::config::OutboundMode;
use crate::mail::Address;
use crate::store::{QueueId, QueueRecord, StoreError};

/// A queue record as shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its number.
    pub id: QueueId,
    /// The envelope sender, empty for notices.
    pub from: String,
    /// When it was taken.
    pub received: Timestamp,
    /// When it is tried next; nothing while it is held.
    pub next_attempt: Option<Timestamp>,
    /// When it goes back to its sender as things stand; nothing while it is kept back here.
    #[serde(default)]
    pub gives_up: Option<Timestamp>,
    /// Bytes.
    pub size: u64,
    /// Each recipient still open, with the last thing heard about it.
    pub recipients: Vec<(Address, String)>,
    /// What can be done about what was heard, a sentence each.
    #[serde(default)]
    pub advice: Vec<String>,
}

impl Queue {
    /// What waits, oldest first. A record that cannot be read is shown without recipients.
    pub fn list(&self) -> Result<Vec<Item>, StoreError> {
        let holding = matches!(self.inner.outbound.mode, OutboundMode::Hold);
        let now = self.inner.clock.now();
        let item = |record: QueueRecord| {
            let size = record.content.size();
            let Some(state) = State::decode(&record.state) else {
                let from = "(damaged, or of a newer release)".to_owned();
                let (received, recipients) = (Timestamp::UNIX_EPOCH, Vec::new());
                let (next_attempt, gives_up, advice) = (None, None, Vec::new());
                let id = record.id;
                return Item {
                    id,
                    from,
                    received,
                    next_attempt,
                    gives_up,
                    size,
                    recipients,
                    advice,
                };
            };
            let held = state.is_held(holding);
            let problems = state.open().filter_map(|recipient| recipient.last.as_ref());
            let mut advice: Vec<String> =
                problems.filter_map(advice::while_waiting).map(str::to_owned).collect();
            advice.sort_unstable();
            advice.dedup();
            // What is kept back here is never returned for that.
            let ours = |last: &Option<Problem>| last.as_ref().is_some_and(|last| last.ours);
            let returned = !held && state.open().any(|recipient| !ours(&recipient.last));
            // Counted up to now, or the end would move away while people look at it.
            let mut age = state.age;
            age.count(now, self.inner.clock.trust(), self.inner.schedule.longest());
            let left = signed(age.left(self.inner.schedule.expiry));
            let recipients = state.recipients.iter().map(|recipient| {
                let said = match &recipient.last {
                    Some(problem) => problem.to_string(),
                    None if state.hold == Hold::Limit => {
                        "held: more was sent than the account may in a day; release it to send it"
                            .to_owned()
                    }
                    None if held => "held here; release it to send it".to_owned(),
                    None => "not tried yet".to_owned(),
                };
                (recipient.address.clone(), said)
            });
            Item {
                id: record.id,
                from: state.from.to_string(),
                received: state.received,
                next_attempt: (!held).then(|| state.due(now, &self.inner.schedule)),
                gives_up: returned.then(|| now.saturating_add(left).unwrap_or(now)),
                size,
                recipients: recipients.collect(),
                advice,
            }
        };
        Ok(self.inner.store.queue()?.into_iter().map(item).collect())
    }
}
