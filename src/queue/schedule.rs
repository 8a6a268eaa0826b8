//! When to try again. Pure: the number of failed attempts and a random number go in, a time comes
//! out.

use std::time::Duration;

/// How long to wait between attempts, and when to give up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Waiting time after the first failed attempt, the second, and so on; the last one repeats.
    /// RFC 5321 §4.5.4.1 asks for 30 minutes and more in the long run; the first are shorter,
    /// because greylisting hosts take the second attempt.
    pub delays: Vec<Duration>,
    /// Time after which a message goes back to its sender.
    pub expiry: Duration,
    /// Time after which its sender is told that it waits.
    pub notice: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        let minutes = Duration::from_mins;
        Self {
            delays: [5, 15, 30, 60, 120, 240].map(minutes).to_vec(),
            expiry: minutes(5 * 24 * 60),
            notice: minutes(4 * 60),
        }
    }
}

impl Schedule {
    /// How long to wait after this many failed attempts. `random` spreads the attempts by a tenth
    /// either way, so that what failed together does not come back together.
    pub fn delay(&self, attempts: u32, random: u32) -> Duration {
        let last = self.delays.len().saturating_sub(1);
        let at = usize::try_from(attempts.saturating_sub(1)).unwrap_or(last).min(last);
        let delay = self.delays.get(at).copied().unwrap_or(FALLBACK);
        let share = f64::from(random) / f64::from(u32::MAX);
        delay.mul_f64(0.9 + 0.2 * share)
    }

    /// The longest time between two attempts. A record that is due later than this after now was
    /// written under a clock that was ahead.
    pub fn longest(&self) -> Duration {
        self.delays.iter().max().copied().unwrap_or(FALLBACK).mul_f64(1.1)
    }
}

const FALLBACK: Duration = Duration::from_mins(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_grow_rare_and_never_stop_before_the_expiry() {
        let schedule = Schedule::default();
        let middle = |n| schedule.delay(n, u32::MAX / 2).as_millis().div_ceil(60_000);
        let minutes: Vec<u128> = (0..9).map(middle).collect();
        assert_eq!(minutes, [5, 5, 15, 30, 60, 120, 240, 240, 240]);
        assert_eq!(middle(u32::MAX), 240);
    }

    #[test]
    fn what_failed_together_spreads_by_a_tenth() {
        let schedule = Schedule::default();
        for random in [0, 1, u32::MAX / 3, u32::MAX] {
            let seconds = schedule.delay(1, random).as_secs();
            assert!((270..=330).contains(&seconds), "{seconds}");
            assert!(schedule.delay(20, random) <= schedule.longest());
        }
        let none = Schedule { delays: Vec::new(), ..schedule };
        assert!(none.delay(3, 0) > Duration::from_mins(1));
    }
}
