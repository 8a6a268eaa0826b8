//! Whether mail is junk: a score with reasons, made of rules written by hand ([`rules`]), of what
//! the account knows of the sender ([`known`]) and of a classifier of the account's own ([`model`]).
//!
//! A message is looked at while it streams past ([`Inspector`]); [`Junk::judge`] then answers for
//! each account it is meant for. [`follow`] learns in the background from what people do with their
//! mail: what they move into Junk and out of it, what they keep, answer and send. It remembers in
//! [`super::notes`], and nothing of it is needed to take mail.

mod body;
mod facts;
mod follow;
mod gist;
mod header;
mod html;
mod inspect;
mod known;
mod learn;
mod lesson;
mod model;
mod phrases;
mod rules;
mod score;
mod shown;
mod signals;
mod tokens;
mod words;

pub use facts::{Facts, Harm, LinkFacts};
pub use follow::{Parts, follow};
pub use inspect::{Inspector, Seen};
pub use model::{BYTES as MODEL_BYTES, Class, Lessons};
pub use phrases::{Found, Topic};
pub use rules::Acquaintance;
pub use score::{FIELD, FLAG, Marks, Reason, Score, Told, Verdict};
pub use shown::{Pile, Shown};
pub use signals::{Dkim, Dmarc, Helo, Rdns, Signals, Spf, Wish};
pub use tokens::Tokens;
pub use words::TextFacts;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is the failed test")]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::notes::{MODELS, Notes, NotesError, file};
use crate::mail::Address;
use crate::store::AccountId;
use known::Kind;
use learn::Work;
use model::Model;
use rules::Case;

/// Models kept in memory at once, beside those not written yet.
const MODELS_KEPT: usize = 4;
/// What was sent since the last look, kept until it is put down; more is forgotten.
const SENT: usize = 10_000;

/// Judges mail; one for the box.
#[derive(Debug)]
pub struct Junk {
    notes: Arc<Notes>,
    /// The last used first.
    models: Mutex<Vec<(AccountId, Model)>>,
    /// What accounts have sent, not in the notes yet.
    sent: Mutex<Vec<(AccountId, u64)>>,
    /// One at a time learns.
    work: Mutex<Work>,
}

impl Junk {
    /// With what was remembered before.
    pub fn open(notes: Arc<Notes>) -> Self {
        Self { notes, models: Mutex::default(), sent: Mutex::default(), work: Mutex::default() }
    }

    /// What one account is to think of a message. Never fails: what cannot be looked up is as if
    /// it were unknown. Costs the same however much mail the account has.
    pub fn judge(&self, account: AccountId, signals: &Signals, seen: &Seen) -> Score {
        let mut score = Score::default();
        let known = self.acquaintance(account, &seen.facts).unwrap_or_else(|error| {
            tracing::warn!(%error, "judging without knowing whom the account knows");
            Acquaintance::default()
        });
        let case = Case { signals, facts: &seen.facts, known };
        rules::judge(&case, &mut score);
        match self.opinion(account, &seen.tokens) {
            Ok((odds, lessons)) => {
                let points = lessons.points(odds).min(case.most_learned());
                score.add(
                    points,
                    match points {
                        ..0 => "it is written like the mail you keep",
                        _ => "it is written like the junk you moved away",
                    },
                );
            }
            Err(error) => tracing::warn!(%error, "judging without what the account has learned"),
        }
        score
    }

    /// What the account knows of a message's sender.
    fn acquaintance(&self, account: AccountId, facts: &Facts) -> Result<Acquaintance, NotesError> {
        let from = facts.from.iter().map(|from| Kind::Address.hash(&self.notes, from));
        let ids = facts.references.iter().map(|id| Kind::MessageId.hash(&self.notes, id));
        Ok(Acquaintance {
            correspondent: self.knows(account, &from.collect::<Vec<_>>())?,
            answer: self.knows(account, &ids.collect::<Vec<_>>())?,
        })
    }

    /// Whether the account has written to this address before: the others are first-time
    /// recipients.
    pub fn has_written_to(&self, account: AccountId, to: &Address) -> Result<bool, NotesError> {
        self.knows(account, &[Kind::Address.hash(&self.notes, &to.to_string())])
    }

    fn knows(&self, account: AccountId, hashes: &[u64]) -> Result<bool, NotesError> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.iter().any(|(whose, hash)| *whose == account && hashes.contains(hash)) {
            return Ok(true);
        }
        drop(sent);
        known::any(&self.notes, account, hashes)
    }

    /// The account hands in a message for these people: from now on it knows them, and an answer
    /// to the message. Put down with the next lessons.
    pub fn sent(&self, account: AccountId, to: &[Address], message_id: Option<&str>) {
        let people = to.iter().map(|to| Kind::Address.hash(&self.notes, &to.to_string()));
        let id = message_id.map(|id| Kind::MessageId.hash(&self.notes, id));
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let room = SENT.saturating_sub(sent.len());
        sent.extend(people.chain(id).take(room).map(|hash| (account, hash)));
    }

    /// What the account's classifier thinks, and how much it has learned.
    pub fn opinion(
        &self,
        account: AccountId,
        tokens: &Tokens,
    ) -> Result<(f32, Lessons), NotesError> {
        self.with_model(account, |model| (model.odds(tokens), model.lessons))
    }

    /// How much the account's classifier has learned.
    pub fn lessons(&self, account: AccountId) -> Result<Lessons, NotesError> {
        self.with_model(account, |model| model.lessons)
    }

    /// Teaches an account's classifier. What it was taught of the same message before is to be
    /// named: it counts no more.
    pub fn teach(
        &self,
        account: AccountId,
        tokens: &Tokens,
        class: Class,
        before: Option<Class>,
    ) -> Result<(), NotesError> {
        self.with_model(account, |model| {
            model.learn(tokens, class);
            model.count(class, before);
        })
    }

    /// Forgets all accounts but these.
    fn keep_only(&self, here: &BTreeSet<u32>) -> Result<(), NotesError> {
        self.models().retain(|(account, _)| here.contains(&account.0));
        self.notes.keep_only(here)
    }

    fn with_model<T>(
        &self,
        account: AccountId,
        work: impl FnOnce(&mut Model) -> T,
    ) -> Result<T, NotesError> {
        let mut models = self.models();
        if let Some(at) = models.iter().position(|(whose, _)| *whose == account) {
            models.get_mut(..=at).unwrap_or_default().rotate_right(1);
        } else {
            let model = self.load(account)?;
            models.insert(0, (account, model));
            // What is not written yet is in memory only.
            let spare = models.iter().rposition(|(_, model)| !model.is_dirty());
            if let Some(spare) = spare.filter(|at| *at > 0 && models.len() > MODELS_KEPT) {
                models.remove(spare);
            }
        }
        let first = models.first_mut().map(|(_, model)| work(model));
        first.ok_or(NotesError::Stopped)
    }

    fn load(&self, account: AccountId) -> Result<Model, NotesError> {
        self.notes.read(|txn| {
            let mut model = Model::default();
            let chunks = txn.open_table(MODELS).map_err(file)?;
            for row in chunks.range((account.0, 0)..=(account.0, u16::MAX)).map_err(file)? {
                let (key, chunk) = row.map_err(file)?;
                let (_, number) = key.value();
                let sound = match number {
                    learn::LESSONS => learn::read_lessons(chunk.value(), &mut model.lessons),
                    number => model.put(number, chunk.value()),
                };
                if !sound {
                    return Err(NotesError::Damaged);
                }
            }
            Ok(model)
        })
    }

    fn models(&self) -> MutexGuard<'_, Vec<(AccountId, Model)>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
