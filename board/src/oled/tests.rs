#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

use super::*;
use crate::canvas::{Canvas, HEIGHT, WIDTH};
use crate::layout::{Page, picture};
use crate::status::{Area, Concerns, State};

/// The controller at the other end of the wire, as its data sheet describes it: a window of
/// columns and pages that data bytes fill from left to right, then downwards.
#[derive(Default)]
struct Chip {
    memory: Vec<[u8; WIDTH]>,
    columns: (u8, u8),
    pages: (u8, u8),
    at: (u8, u8),
    on: bool,
    unplugged: bool,
    transfers: usize,
}

#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Chip>>);

impl Chip {
    fn receive(&mut self, address: u8, bytes: &[u8]) -> Result<(), ErrorKind> {
        if self.unplugged || address != 0x3c {
            return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
        }
        self.transfers += 1;
        self.memory.resize(HEIGHT / 8, [0xa5; WIDTH]);
        match bytes {
            [0x00, 0x21, first, last, ..] => {
                self.columns = (*first, *last);
                self.at.0 = *first;
            }
            [0x00, 0x22, first, last, ..] => {
                self.pages = (*first, *last);
                self.at.1 = *first;
            }
            [0x00, command @ (0xae | 0xaf), ..] => self.on = *command == 0xaf,
            [0x40, data @ ..] => data.iter().for_each(|byte| self.store(*byte)),
            _ => {}
        }
        Ok(())
    }

    fn store(&mut self, byte: u8) {
        self.memory[usize::from(self.at.1)][usize::from(self.at.0)] = byte;
        self.at.0 += 1;
        if self.at.0 > self.columns.1 {
            self.at = (self.columns.0, self.at.1 + 1);
        }
        if self.at.1 > self.pages.1 {
            self.at.1 = self.pages.0;
        }
    }
}

impl Wire {
    fn picture(&self) -> Canvas {
        use embedded_graphics::pixelcolor::BinaryColor;
        use embedded_graphics::prelude::*;

        let chip = self.0.lock().unwrap();
        let mut canvas = Canvas::new();
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let lit = chip.memory[y / 8][x] >> (y % 8) & 1 == 1;
                let point = Point::new(i32::try_from(x).unwrap(), i32::try_from(y).unwrap());
                match canvas.draw_iter([Pixel(point, BinaryColor::from(lit))]) {
                    Ok(()) => {}
                    Err(never) => match never as Infallible {},
                }
            }
        }
        canvas
    }
}

impl ErrorType for Wire {
    type Error = ErrorKind;
}

impl I2c for Wire {
    fn transaction(&mut self, address: u8, parts: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        for part in parts {
            match part {
                Operation::Write(bytes) => self.0.lock().unwrap().receive(address, bytes)?,
                Operation::Read(_) => return Err(ErrorKind::Other),
            }
        }
        Ok(())
    }
}

fn attention() -> Status {
    Status {
        name: "mail.example.org".into(),
        address: Some("http://192.168.1.23".into()),
        ..Status::new(State::Attention(Concerns::one(Area::Dns, "Add the MX record.")))
    }
}

#[test]
fn the_bytes_on_the_wire_are_the_picture() {
    let wire = Wire::default();
    let mut oled = Oled::new(wire.clone(), "test");
    let status = attention();
    oled.show(&status).unwrap();
    assert!(wire.0.lock().unwrap().on);
    assert_eq!(wire.picture(), picture(Page::Concern(0), &status));
}

#[test]
fn pages_take_turns_and_a_change_starts_over() {
    let wire = Wire::default();
    let mut oled = Oled::new(wire.clone(), "test");
    let status = attention();
    for page in [Page::Concern(0), Page::Overview, Page::Concern(0), Page::Overview] {
        oled.show(&status).unwrap();
        assert_eq!(wire.picture(), picture(page, &status), "{page:?}");
    }
    let ready = Status::new(State::Ready);
    oled.show(&ready).unwrap();
    assert_eq!(wire.picture(), picture(Page::Overview, &ready));
    oled.show(&status).unwrap();
    assert_eq!(wire.picture(), picture(Page::Concern(0), &status));
}

#[test]
fn a_display_that_comes_back_shows_the_whole_picture() {
    let wire = Wire::default();
    let mut oled = Oled::new(wire.clone(), "/dev/i2c-1");
    let status = Status::new(State::Ready);
    oled.show(&status).unwrap();

    *wire.0.lock().unwrap() = Chip { unplugged: true, ..Chip::default() };
    let error = oled.show(&status).unwrap_err().to_string();
    assert!(error.contains("/dev/i2c-1"), "{error}");

    // A fresh chip: it lost its memory and is switched off.
    wire.0.lock().unwrap().unplugged = false;
    oled.show(&status).unwrap();
    assert!(wire.0.lock().unwrap().on);
    assert_eq!(wire.picture(), picture(Page::Overview, &status));
}

#[test]
fn a_refresh_is_short_on_a_slow_bus() {
    let wire = Wire::default();
    let mut oled = Oled::new(wire.clone(), "test");
    oled.show(&attention()).unwrap();
    // 1024 bytes in pieces of 16, and the start-up commands.
    assert!(wire.0.lock().unwrap().transfers < 100);
}

#[test]
fn buses_are_asked_by_number_and_other_devices_left_alone() {
    let dev = tempfile::tempdir().unwrap();
    for name in ["i2c-20", "i2c-1", "i2c-x", "null", "i2c-3"] {
        std::fs::write(dev.path().join(name), "").unwrap();
    }
    let names: Vec<_> = buses(dev.path())
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["i2c-1", "i2c-3", "i2c-20"]);
    // Plain files are no buses: nothing is found, and nothing fails.
    assert!(Oled::detect(dev.path()).is_none());
    assert!(Oled::detect(&dev.path().join("missing")).is_none());
}
