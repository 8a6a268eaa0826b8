//! The blink vocabulary, as data.
//!
//! One table says what the light means; the LED drivers, the demo page and the owner's guide are
//! all made from it. Every pattern but the steady one ends dark, rests at both ends, and starts at
//! most three flashes within any second, the limit for people with photosensitive epilepsy
//! (WCAG 2.3.1).

use std::fmt::Write as _;
use std::time::Duration;

use crate::status::{Area, State};

/// What the light does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// No light at all: no power, stopped, or hung.
    Dark,
    /// On all the time.
    Steady,
    /// On and off at 1 Hz.
    Slow,
    /// Two quick flashes every two seconds, like a heartbeat.
    Double,
    /// As many calm blinks as the area's number, then a pause of two seconds.
    Count(Area),
    /// On and off at 2.5 Hz.
    Fast,
}

/// A stretch of light or darkness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Whether the light is on.
    pub lit: bool,
    /// For how long, in milliseconds.
    pub millis: u32,
}

impl Pattern {
    /// What the light says in a state.
    pub fn of(state: &State) -> Self {
        match state {
            State::Stopped => Self::Dark,
            State::Ready => Self::Steady,
            // What is not known is neither good nor bad news: the box is still working on it.
            State::Starting | State::Working | State::WaitingForTime | State::Unknown => Self::Slow,
            State::SetupWaiting => Self::Double,
            State::Attention(concerns) | State::Broken(concerns) => {
                Self::Count(concerns.first_area())
            }
            State::DoNotUnplug => Self::Fast,
        }
    }

    /// One period as a timeline, to be repeated for ever by whoever draws it.
    pub fn frames(self) -> Vec<Frame> {
        match self {
            Self::Dark => vec![off(1000)],
            Self::Steady => vec![on(1000)],
            Self::Slow => vec![off(250), on(500), off(250)],
            Self::Double => vec![off(825), on(100), off(150), on(100), off(825)],
            Self::Count(area) => {
                let mut frames = vec![off(1000)];
                for _ in 1..area.number() {
                    frames.extend([on(300), off(300)]);
                }
                frames.extend([on(300), off(1000)]);
                frames
            }
            Self::Fast => vec![off(100), on(200), off(100)],
        }
    }

    /// How long one period takes.
    pub fn period(self) -> Duration {
        let millis = self.frames().iter().map(|frame| u64::from(frame.millis)).sum();
        Duration::from_millis(millis)
    }

    /// Whether the pattern may be started anew this long after its start without spoiling what a
    /// person is counting: it is in the rest between two periods.
    pub fn rests_at(self, since_start: Duration) -> bool {
        let frames = self.frames();
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
            return true;
        };
        let period = self.period().as_millis().max(1);
        let at = since_start.as_millis() % period;
        at < u128::from(first.millis) || at + u128::from(last.millis) >= period
    }

    /// What a person sees, in words.
    pub fn description(self) -> String {
        match self {
            Self::Dark => "dark".into(),
            Self::Steady => "steady".into(),
            Self::Slow => "slow blinking, once a second".into(),
            Self::Double => "a quick double blink every two seconds".into(),
            Self::Count(area) if area.number() == 1 => "1 calm blink, then a pause".into(),
            Self::Count(area) => format!("{} calm blinks, then a pause", area.number()),
            Self::Fast => "fast blinking".into(),
        }
    }

    /// What it means and what to do, in words.
    pub fn meaning(self) -> String {
        match self {
            Self::Dark => "No power, or the box has stopped. If it does not come back within two \
                           minutes, unplug it and plug it in again."
                .into(),
            Self::Steady => "Ready: everything was checked and works.".into(),
            Self::Slow => "Starting or working, or waiting for the time. Nothing to do.".into(),
            Self::Double => "Waiting for set-up: open the address of the box in a browser.".into(),
            Self::Count(area) => format!(
                "Area {}, {}, needs you: the box's page says what to do.",
                area.number(),
                area.name()
            ),
            Self::Fast => "Do not unplug: important data is being written.".into(),
        }
    }
}

/// Every pattern there is, in the order of the guide.
pub fn vocabulary() -> Vec<Pattern> {
    let mut patterns = vec![Pattern::Steady, Pattern::Slow, Pattern::Double, Pattern::Fast];
    patterns.extend(Area::ALL.map(Pattern::Count));
    patterns.push(Pattern::Dark);
    patterns
}

/// The vocabulary as a Markdown table for the owner's guide, with a final line break.
pub fn vocabulary_table() -> String {
    let mut table = String::from("| The light | What it means |\n|---|---|\n");
    for pattern in vocabulary() {
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| {} | {} |", pattern.description(), pattern.meaning());
    }
    table
}

const fn on(millis: u32) -> Frame {
    Frame { lit: true, millis }
}

const fn off(millis: u32) -> Frame {
    Frame { lit: false, millis }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::status::Concerns;

    /// When flashes start, in milliseconds, over some periods.
    fn flashes(pattern: Pattern) -> Vec<u32> {
        let mut starts = Vec::new();
        let (mut at, mut lit) = (0, false);
        for frame in pattern.frames().iter().cycle().take(200) {
            if frame.lit && !lit {
                starts.push(at);
            }
            lit = frame.lit;
            at += frame.millis;
        }
        starts
    }

    #[test]
    fn never_more_than_three_flashes_within_any_second() {
        for pattern in vocabulary() {
            let starts = flashes(pattern);
            for (i, start) in starts.iter().enumerate() {
                let within = starts.iter().skip(i).take_while(|at| **at < start + 1000).count();
                assert!(within <= 3, "{pattern:?} flashes {within} times in a second");
            }
        }
    }

    #[test]
    fn each_area_blinks_its_own_number() {
        for area in Area::ALL {
            let pattern = Pattern::of(&State::Attention(Concerns::one(area, "")));
            let blinks = pattern.frames().iter().filter(|frame| frame.lit).count();
            assert_eq!(blinks, usize::from(area.number()));
            let pattern = Pattern::of(&State::Broken(Concerns::one(area, "")));
            assert_eq!(pattern, Pattern::Count(area));
        }
    }

    #[test]
    fn rates_are_those_of_the_vocabulary() {
        assert_eq!(Pattern::Slow.period(), Duration::from_secs(1));
        assert_eq!(Pattern::Double.period(), Duration::from_secs(2));
        assert_eq!(Pattern::Fast.period(), Duration::from_millis(400));
        // The pause after a count, which spans the seam of two periods, is two seconds.
        assert_eq!(Pattern::Count(Area::Tls).period(), Duration::from_millis(5 * 600 + 300 + 2000));
    }

    #[test]
    fn only_ready_is_steady_and_only_stopped_is_dark() {
        for state in [
            State::Starting,
            State::SetupWaiting,
            State::Working,
            State::WaitingForTime,
            State::Unknown,
            State::DoNotUnplug,
            State::Broken(Concerns::one(Area::Time, "")),
        ] {
            let frames = Pattern::of(&state).frames();
            assert!(frames.iter().any(|frame| frame.lit), "{state:?}");
            // A driver that stops after a whole period leaves the light off.
            assert!(frames.last().is_some_and(|frame| !frame.lit), "{state:?}");
        }
        assert_eq!(Pattern::of(&State::Ready), Pattern::Steady);
        assert_eq!(Pattern::of(&State::Stopped), Pattern::Dark);
    }

    #[test]
    fn two_patterns_never_look_or_read_alike() {
        let words: HashSet<_> = vocabulary().iter().map(|p| p.description()).collect();
        assert_eq!(words.len(), vocabulary().len());
        let timelines: Vec<_> = vocabulary().iter().map(|p| p.frames()).collect();
        for (i, timeline) in timelines.iter().enumerate() {
            assert!(!timelines.iter().skip(i + 1).any(|other| other == timeline));
        }
    }

    #[test]
    fn a_count_is_not_restarted_between_its_blinks() {
        let pattern = Pattern::Count(Area::Dns);
        assert!(pattern.rests_at(Duration::from_millis(999)));
        assert!(!pattern.rests_at(Duration::from_secs(1)));
        assert!(!pattern.rests_at(Duration::from_millis(2499)));
        assert!(pattern.rests_at(Duration::from_millis(2500)));
        assert!(pattern.rests_at(pattern.period()));
        assert!(Pattern::Steady.rests_at(Duration::from_millis(12_345)));
    }

    #[test]
    fn the_table_has_a_row_for_each_pattern() {
        let table = vocabulary_table();
        assert_eq!(table.lines().count(), 2 + vocabulary().len());
        assert!(table.contains("| 4 calm blinks, then a pause | Area 4, reverse DNS, needs you"));
        assert!(table.lines().all(|row| row.matches('|').count() == 3));
    }
}
