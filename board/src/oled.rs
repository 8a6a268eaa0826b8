//! An SSD1306 display of 128 × 64 pixels on I²C.
//!
//! The display may be plugged in or come loose at any time: each failure ends in an error to the
//! caller, and the next showing starts the display anew before it draws.

use std::fs;
use std::path::{Path, PathBuf};

use embedded_hal::i2c::I2c;
use linux_embedded_hal::I2cdev;
use ssd1306::mode::{BufferedGraphicsMode, DisplayConfig as _};
use ssd1306::prelude::{DisplayRotation, DisplaySize128x64, I2CInterface};
use ssd1306::{I2CDisplayInterface, Ssd1306};

use crate::layout::{draw, pages};
use crate::status::Status;
use crate::{Panel, PanelError};

/// Where nearly all of these displays answer.
const ADDRESS: u8 = 0x3c;
/// Control byte for commands, then "no operation": harmless to any chip of this family.
const PROBE: [u8; 2] = [0x00, 0xe3];

/// The display on one bus. A status with several pages turns to the next one each time the same
/// status is shown again, so the pace is that of the caller (about five seconds suit a reader).
pub struct Oled<B> {
    driver: Ssd1306<I2CInterface<B>, DisplaySize128x64, BufferedGraphicsMode<DisplaySize128x64>>,
    bus_name: String,
    ready: bool,
    shown: Option<(Status, usize)>,
}

impl Oled<I2cdev> {
    /// Opens a bus such as `/dev/i2c-1` and asks whether a display answers; `None` if not.
    pub fn open(bus: &Path) -> Option<Self> {
        let mut device = I2cdev::new(bus).ok()?;
        I2c::write(&mut device, ADDRESS, &PROBE).ok()?;
        Some(Self::new(device, bus.display().to_string()))
    }

    /// The first display found on the buses `i2c-*` in a directory (`/dev`), by bus number.
    pub fn detect(dev: &Path) -> Option<Self> {
        buses(dev).iter().find_map(|bus| Self::open(bus))
    }
}

impl<B: I2c> Oled<B> {
    /// Uses a bus without asking; `bus_name` is for messages. The display is started at the first
    /// showing.
    pub fn new(bus: B, bus_name: impl Into<String>) -> Self {
        let interface = I2CDisplayInterface::new(bus);
        let driver = Ssd1306::new(interface, DisplaySize128x64, DisplayRotation::Rotate0)
            .into_buffered_graphics_mode();
        Self { driver, bus_name: bus_name.into(), ready: false, shown: None }
    }

    fn refresh(&mut self, status: &Status) -> Result<(), PanelError> {
        let turn = match &self.shown {
            Some((shown, turn)) if shown == status => turn + 1,
            _ => 0,
        };
        let pages = pages(status);
        let Some(page) = pages.get(turn % pages.len().max(1)) else {
            return Ok(());
        };
        if !self.ready {
            self.driver.init().map_err(|reason| self.failure(&reason))?;
            self.ready = true;
        }
        draw(*page, status, &mut self.driver).map_err(|reason| self.failure(&reason))?;
        self.driver.flush().map_err(|reason| self.failure(&reason))?;
        self.shown = Some((status.clone(), turn % pages.len().max(1)));
        Ok(())
    }

    // The driver's error carries no more than its name.
    fn failure(&self, reason: &impl std::fmt::Debug) -> PanelError {
        PanelError::Display { bus: self.bus_name.clone(), reason: format!("{reason:?}") }
    }
}

impl<B: I2c + Send> Panel for Oled<B> {
    fn name(&self) -> String {
        format!("the display on {}", self.bus_name)
    }

    fn show(&mut self, status: &Status) -> Result<(), PanelError> {
        let result = self.refresh(status);
        if result.is_err() {
            // What part of the picture arrived is unknown, and it may have lost its power.
            self.ready = false;
        }
        result
    }
}

/// The bus devices in a directory, by number, so that the pins' bus (1) comes before those of
/// the HDMI sockets (20, 21).
fn buses(dev: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dev) else {
        return Vec::new();
    };
    let mut buses: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.strip_prefix("i2c-")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    buses.sort();
    buses.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests;
