//! The box's light and screens, or their simulation.
//!
//! A caller keeps one [`Status`] up to date and hands it to a [`Board`] every five seconds or so,
//! and at once when it changes. The board shows it on every [`Panel`] that was found:
//!
//! - [`pattern`]: what the light says, as data;
//! - [`led`]: a lamp of the kernel's LED class;
//! - [`layout`]: the pages of a 128 × 64 display, drawn on a [`canvas`] or an [`oled`];
//! - [`console`]: the same as text;
//! - [`png`]: the same as a picture.
//!
//! Nothing is required: a board without panels is a board too. Nothing here knows what the box is
//! for. The showing must go on while all is well: panels let their message lapse when it is not
//! renewed, so that a hung caller does not leave a reassuring light behind.

pub mod canvas;
pub mod console;
pub mod layout;
pub mod led;
pub mod oled;
pub mod pattern;
pub mod png;
mod qr;
pub mod status;
mod text;

use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

pub use pattern::{Frame, Pattern, vocabulary_table};
pub use status::{Area, Concern, Concerns, Progress, Sign, State, Status};

use console::{Console, Style};
use led::Led;
use oled::Oled;

/// Something that shows a status to people.
pub trait Panel: Send {
    /// For messages, for example `the display on /dev/i2c-1`.
    fn name(&self) -> String;

    /// Shows the status, and renews it if it is the same as before. After an error the next call
    /// starts afresh, so calling on is all the recovery there is. May block for about 0.1 s.
    fn show(&mut self, status: &Status) -> Result<(), PanelError>;
}

/// Why a panel does not show what it should. Always the panel's or its wiring's fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PanelError {
    /// A file of the LED class refused to be read or written.
    #[error("cannot use the light at {}: {source}", path.display())]
    Light {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The display did not answer or its bus failed.
    #[error("the display on {bus} does not answer ({reason}): check its four wires")]
    Display {
        /// The bus.
        bus: String,
        /// What the driver said.
        reason: String,
    },
    /// The text console could not be written.
    #[error("cannot write to the console: {0}")]
    Console(#[source] io::Error),
}

/// Which kind of board to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// What is found on a Raspberry Pi; elsewhere only what the settings name.
    #[default]
    Auto,
    /// Text on standard output.
    Simulated,
    /// No board at all.
    None,
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        match text {
            "auto" => Ok(Self::Auto),
            "sim" => Ok(Self::Simulated),
            "none" => Ok(Self::None),
            _ => Err(UnknownKind(text.to_owned())),
        }
    }
}

/// The person asked for a kind of board that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no board \"{0}\": say auto, sim or none")]
pub struct UnknownKind(String);

/// Where one panel comes from, as an owner writes it: `auto`, `off`, or a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// Look for it, on a Raspberry Pi.
    #[default]
    Auto,
    /// Do not use it.
    Off,
    /// Use this one, on any machine.
    At(PathBuf),
}

impl FromStr for Choice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "auto" => Self::Auto,
            "off" | "none" => Self::Off,
            path => Self::At(path.into()),
        })
    }
}

/// The owner's wishes, and where things are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A directory of the LED class, for example `/sys/class/leds/ACT`.
    pub led: Choice,
    /// An I²C bus, for example `/dev/i2c-1`.
    pub display: Choice,
    /// A terminal, for example `/dev/tty1`.
    pub console: Choice,
    /// The root of the file system in which `sys`, `dev` and `proc` are found; tests have another.
    pub root: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            led: Choice::Auto,
            display: Choice::Auto,
            console: Choice::Auto,
            root: PathBuf::from("/"),
        }
    }
}

/// The panels of this box.
#[derive(Default)]
pub struct Board {
    slots: Vec<Slot>,
}

struct Slot {
    panel: Box<dyn Panel>,
    failing: bool,
}

impl Board {
    /// Finds the panels that are there. A missing one is no error.
    pub fn detect(kind: Kind, settings: &Settings) -> Self {
        match kind {
            Kind::Auto => Self::found(settings),
            Kind::Simulated => Self::simulated(),
            Kind::None => Self::default(),
        }
    }

    /// A board of text on standard output.
    pub fn simulated() -> Self {
        let style = if io::stdout().is_terminal() { Style::Ansi } else { Style::Plain };
        Self::default().with(Console::new(io::stdout(), style))
    }

    /// Adds a panel.
    #[must_use]
    pub fn with(mut self, panel: impl Panel + 'static) -> Self {
        self.slots.push(Slot { panel: Box::new(panel), failing: false });
        self
    }

    /// Shows the status on every panel. One that fails does not hinder the others; it is logged
    /// once, tried again each time, and logged when it works again. Blocks for a moment.
    pub fn show(&mut self, status: &Status) {
        for Slot { panel, failing } in &mut self.slots {
            let result = panel.show(status);
            match &result {
                Ok(()) if *failing => tracing::info!("{} works again", panel.name()),
                Err(error) if !*failing => tracing::warn!("{error}"),
                _ => {}
            }
            *failing = result.is_err();
        }
    }

    /// What was found, for people.
    pub fn names(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.panel.name()).collect()
    }

    fn found(settings: &Settings) -> Self {
        // On other computers the same names may belong to somebody else's lights and chips.
        let pi = is_raspberry_pi(&settings.root);
        let mut board = Self::default();
        let led = match &settings.led {
            Choice::Auto if pi => Led::detect(&settings.root.join("sys/class/leds")),
            Choice::At(path) => wanted(Led::open(path)),
            Choice::Auto | Choice::Off => None,
        };
        if let Some(led) = led {
            board = board.with(led);
        }
        let display = match &settings.display {
            Choice::Auto if pi => Oled::detect(&settings.root.join("dev")),
            Choice::At(bus) => wanted(Oled::open(bus).ok_or_else(|| PanelError::Display {
                bus: bus.display().to_string(),
                reason: "not found at address 0x3C".into(),
            })),
            Choice::Auto | Choice::Off => None,
        };
        if let Some(display) = display {
            board = board.with(display);
        }
        let open = |path: &Path| OpenOptions::new().write(true).open(path);
        let console = match &settings.console {
            Choice::Auto if pi => open(&settings.root.join("dev/tty1")).ok(),
            Choice::At(path) => wanted(open(path).map_err(PanelError::Console)),
            Choice::Auto | Choice::Off => None,
        };
        if let Some(console) = console {
            board = board.with(Console::new(console, Style::Screen));
        }
        board
    }
}

/// A panel that the owner named is worth a message when it is missing; one looked for is not.
fn wanted<T>(panel: Result<T, PanelError>) -> Option<T> {
    panel.inspect_err(|error| tracing::warn!("{error}")).ok()
}

fn is_raspberry_pi(root: &Path) -> bool {
    fs::read(root.join("proc/device-tree/model"))
        .is_ok_and(|model| model.starts_with(b"Raspberry Pi"))
}

#[cfg(test)]
mod tests;
