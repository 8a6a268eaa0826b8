//! Passwords that were right a short while ago. Mail programs log in anew with every connection,
//! and a hash that is slow on purpose costs a Pi a good part of a second each time. What is kept
//! are tags, made with a key that lives as long as this process; they stand for the stored hash
//! too, so that nothing here outlives a change of password.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::throttle::GuessTag;

/// The last right passwords, the newest at the end.
#[derive(Debug, Default)]
pub(super) struct Recent {
    tags: VecDeque<(GuessTag, Instant)>,
}

/// So long after the slow check it is due again.
const KEPT: Duration = Duration::from_mins(15);
/// A household's mail programs, some times over.
const MOST: usize = 64;

impl Recent {
    /// The slow check said that this is right.
    pub(super) fn proved(&mut self, tag: GuessTag, now: Instant) {
        self.tags.retain(|(known, at)| *known != tag && is_fresh(*at, now));
        if self.tags.len() >= MOST {
            self.tags.pop_front();
        }
        self.tags.push_back((tag, now));
    }

    /// Whether it is known to be right.
    pub(super) fn knows(&self, tag: &GuessTag, now: Instant) -> bool {
        self.tags.iter().any(|(known, at)| known == tag && is_fresh(*at, now))
    }
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < KEPT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_right_is_known_for_a_while_and_never_more_than_some() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        recent.proved([1; 16], start);
        assert!(recent.knows(&[1; 16], start) && !recent.knows(&[2; 16], start));
        assert!(!recent.knows(&[1; 16], start + KEPT));
        for number in 2..200 {
            recent.proved([number; 16], start);
        }
        assert_eq!(recent.tags.len(), MOST);
        assert!(!recent.knows(&[1; 16], start) && recent.knows(&[199; 16], start));
        recent.proved([1; 16], start + KEPT);
        assert_eq!(recent.tags.len(), 1, "the old ones are gone");
    }
}
