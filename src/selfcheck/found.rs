//! What one check finds, and how the findings for several domains or addresses become one.

use super::Outcome;

/// An outcome with its evidence and advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) outcome: Outcome,
    pub(super) evidence: Vec<String>,
    pub(super) fix: String,
}

impl Found {
    pub(super) fn ok() -> Self {
        Self::new(Outcome::Ok, "")
    }

    pub(super) fn attention(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Outcome::Attention(what.into()), fix)
    }

    pub(super) fn broken(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Outcome::Broken(what.into()), fix)
    }

    /// Nothing to fix: it is asked again by itself.
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::new(Outcome::Unknown(why.into()), "")
    }

    pub(super) fn not_applicable(why: impl Into<String>) -> Self {
        Self::new(Outcome::NotApplicable(why.into()), "")
    }

    /// Adds a line of evidence.
    pub(super) fn saw(mut self, what: impl Into<String>) -> Self {
        self.evidence.push(what.into());
        self
    }

    /// Adds lines of evidence.
    pub(super) fn saw_all(mut self, what: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(what);
        self
    }

    /// The worst outcome, with all evidence and all that there is to fix.
    pub(super) fn worst(all: impl IntoIterator<Item = Self>) -> Self {
        let mut all = all.into_iter();
        let Some(mut worst) = all.next() else {
            return Self::not_applicable("there is nothing to look at");
        };
        for found in all {
            if found.outcome.weight() > worst.outcome.weight() {
                worst.outcome = found.outcome;
            }
            worst.evidence.extend(found.evidence);
            if !found.fix.is_empty() && !worst.fix.contains(&found.fix) {
                if !worst.fix.is_empty() {
                    worst.fix.push('\n');
                }
                worst.fix.push_str(&found.fix);
            }
        }
        worst
    }

    /// A failure that concerns one of several ways, of which another works, is not a failure of
    /// the whole.
    pub(super) fn softened(self) -> Self {
        let outcome = match self.outcome {
            Outcome::Broken(what) => Outcome::Attention(what),
            other => other,
        };
        Self { outcome, ..self }
    }

    fn new(outcome: Outcome, fix: impl Into<String>) -> Self {
        Self { outcome, evidence: Vec::new(), fix: fix.into() }
    }
}

/// A list for people.
pub(super) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
