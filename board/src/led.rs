//! A light of the kernel's LED class, such as the Pi's own ACT lamp.
//!
//! The kernel blinks by itself (trigger `pattern`), so a busy box keeps its rhythm. It is never
//! told to go on for ever: a pattern is written with a number of repeats that covers at least
//! [`LEASE`] and ends dark. [`Panel::show`], called every five seconds or so, arms it again before
//! that runs out. A hung or killed daemon thus leaves a dark lamp within half a minute, never a
//! reassuring one. Arming waits for the rest between two periods, so that a count of blinks is not
//! cut in two; only close to the end it happens at once.
//!
//! A kernel without that trigger gets the same from a thread of ours. The triggers
//! `timer` and `heartbeat` are not used: they cannot be told to end.

mod software;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::pattern::Pattern;
use crate::status::Status;
use crate::{Panel, PanelError};
use software::Blinker;

/// For how long a pattern goes on without being armed again, at least.
pub const LEASE: Duration = Duration::from_secs(20);
/// Armed again no later than this long before its end, at rest or not.
const MARGIN: Duration = Duration::from_secs(8);
/// How long udev may take to hand us the files of a trigger.
const UDEV: Duration = Duration::from_secs(1);

/// The lamps of a Pi: the activity lamp by its new and old name, then the power lamp.
const NAMES: [&str; 4] = ["ACT", "led0", "PWR", "led1"];

/// One light.
#[derive(Debug)]
pub struct Led {
    lamp: Lamp,
    drive: Drive,
    armed: Option<Armed>,
}

#[derive(Debug)]
enum Drive {
    /// The kernel's `pattern` trigger.
    Kernel,
    /// Our own thread.
    Software(Blinker),
}

#[derive(Debug, Clone, Copy)]
struct Armed {
    pattern: Pattern,
    since: Instant,
}

impl Led {
    /// The first lamp of a Pi in a directory like `/sys/class/leds` that this process may write.
    /// Other lights, such as those of a keyboard, are left alone.
    pub fn detect(class: &Path) -> Option<Self> {
        NAMES.iter().find_map(|name| Self::open(&class.join(name)).ok())
    }

    /// A light by its own directory, for example `/sys/class/leds/ACT`.
    pub fn open(directory: &Path) -> Result<Self, PanelError> {
        let lamp = Lamp { directory: directory.to_owned() };
        let kernel = lamp.knows_trigger("pattern")?;
        // Taking the lamp from whatever drove it proves that we may, and leaves it dark.
        lamp.write("trigger", "none")?;
        lamp.write("brightness", "0")?;
        let drive =
            if kernel { Drive::Kernel } else { Drive::Software(Blinker::new(lamp.clone())) };
        Ok(Self { lamp, drive, armed: None })
    }

    /// [`Panel::show`] with the time given.
    fn show_at(&mut self, status: &Status, now: Instant) -> Result<(), PanelError> {
        let pattern = Pattern::of(&status.state);
        if let Drive::Software(blinker) = &self.drive {
            return blinker.show(pattern);
        }
        match self.armed {
            Some(armed) if armed.pattern == pattern => {
                let since = now.saturating_duration_since(armed.since);
                let late = since + MARGIN >= LEASE;
                if !late && !pattern.rests_at(since) {
                    return Ok(());
                }
                // Writing the number of repeats starts the pattern from its beginning.
                self.lamp.write("repeat", &repeats(pattern).to_string())?;
            }
            _ => {
                self.armed = None;
                self.lamp.take_trigger("pattern")?;
                let shape = kernel_pattern(pattern, self.lamp.brightest());
                self.lamp.write_when_allowed("repeat", &repeats(pattern).to_string())?;
                self.lamp.write_when_allowed("pattern", &shape)?;
            }
        }
        self.armed = Some(Armed { pattern, since: now });
        Ok(())
    }
}

impl Panel for Led {
    fn name(&self) -> String {
        format!("the light {}", self.lamp.directory.display())
    }

    fn show(&mut self, status: &Status) -> Result<(), PanelError> {
        let result = self.show_at(status, Instant::now());
        if result.is_err() {
            self.armed = None;
        }
        result
    }
}

/// How often the kernel repeats what [`kernel_pattern`] wrote.
fn repeats(pattern: Pattern) -> u128 {
    match pattern {
        // Written as one long period.
        Pattern::Steady | Pattern::Dark => 1,
        _ => LEASE.as_millis().div_ceil(pattern.period().as_millis().max(1)),
    }
}

/// The pattern in the kernel's notation: pairs of brightness and milliseconds. A second pair of no
/// length after each makes it a step instead of a slope (ledtrig-pattern documentation).
fn kernel_pattern(pattern: Pattern, brightest: u32) -> String {
    let step = |lit: bool, millis: u128| {
        let brightness = if lit { brightest } else { 0 };
        format!("{brightness} {millis} {brightness} 0")
    };
    let steps: Vec<String> = match pattern {
        // The last step stays when the repeats are used up, so it is always a dark one.
        Pattern::Steady => vec![step(true, LEASE.as_millis()), step(false, 100)],
        _ => pattern.frames().iter().map(|f| step(f.lit, f.millis.into())).collect(),
    };
    steps.join(" ")
}

/// A directory of the LED class.
#[derive(Debug, Clone)]
struct Lamp {
    directory: PathBuf,
}

impl Lamp {
    fn write(&self, file: &str, value: &str) -> Result<(), PanelError> {
        let path = self.directory.join(file);
        // Attributes exist or they do not; a file must not be made by naming it wrong.
        fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
            .map_err(|source| PanelError::Light { path, source })
    }

    /// [`Lamp::write`] for a file that came with the trigger: until udev has heard of it, it
    /// belongs to root alone.
    fn write_when_allowed(&self, file: &str, value: &str) -> Result<(), PanelError> {
        let end = Instant::now() + UDEV;
        loop {
            let result = self.write(file, value);
            match &result {
                Err(PanelError::Light { source, .. })
                    if matches!(
                        source.kind(),
                        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
                    ) && Instant::now() < end => {}
                _ => return result,
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn knows_trigger(&self, name: &str) -> Result<bool, PanelError> {
        let list = self.triggers()?;
        Ok(list.split_whitespace().any(|word| word.trim_matches(['[', ']']) == name))
    }

    /// Gives the lamp to a trigger. Not when it has it already: its files would be made anew, and
    /// be root's again.
    fn take_trigger(&self, name: &str) -> Result<(), PanelError> {
        if self.triggers()?.split_whitespace().any(|word| word == format!("[{name}]")) {
            return Ok(());
        }
        self.write("trigger", name)
    }

    /// All triggers; the one in use stands in brackets.
    fn triggers(&self) -> Result<String, PanelError> {
        let path = self.directory.join("trigger");
        fs::read_to_string(&path).map_err(|source| PanelError::Light { path, source })
    }

    /// The number that means fully on: 1 for lamps on a pin, 255 for most others.
    fn brightest(&self) -> u32 {
        fs::read_to_string(self.directory.join("max_brightness"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(255)
    }
}

#[cfg(test)]
mod tests;
