#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::{Arc, Mutex};

use super::*;

/// A machine with a lamp, a terminal and a name.
fn machine(model: &str) -> (tempfile::TempDir, Settings) {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write("proc/device-tree/model", model);
    write("sys/class/leds/ACT/trigger", "[none] pattern");
    write("sys/class/leds/ACT/brightness", "1");
    write("dev/tty1", "");
    let settings = Settings { root: root.path().into(), ..Settings::default() };
    (root, settings)
}

#[test]
fn a_pi_shows_on_what_it_has() {
    let (root, settings) = machine("Raspberry Pi 4 Model B Rev 1.4\0");
    let mut board = Board::detect(Kind::Auto, &settings);
    assert_eq!(board.names().len(), 2, "{:?}", board.names());
    board.show(&Status::new(State::Ready));
    let screen = fs::read_to_string(root.path().join("dev/tty1")).unwrap();
    assert!(screen.contains("READY"));
}

#[test]
fn on_another_computer_nothing_is_touched_unless_named() {
    let (root, settings) = machine("Somebody's laptop");
    assert!(Board::detect(Kind::Auto, &settings).names().is_empty());
    let lamp = root.path().join("sys/class/leds/ACT");
    assert_eq!(fs::read_to_string(lamp.join("brightness")).unwrap(), "1");
    let settings = Settings { led: Choice::At(lamp), ..settings };
    assert_eq!(Board::detect(Kind::Auto, &settings).names().len(), 1);
}

#[test]
fn a_missing_panel_is_not_an_error() {
    let (root, settings) = machine("Raspberry Pi Zero 2 W\0");
    let missing = Choice::At(root.path().join("missing"));
    let settings =
        Settings { led: missing.clone(), display: missing.clone(), console: missing, ..settings };
    let mut board = Board::detect(Kind::Auto, &settings);
    assert!(board.names().is_empty());
    board.show(&Status::new(State::Ready));
    assert!(Board::detect(Kind::None, &settings).names().is_empty());
}

/// Fails while told to, and counts what it showed.
#[derive(Clone, Default)]
struct Fragile(Arc<Mutex<(bool, usize)>>);

impl Panel for Fragile {
    fn name(&self) -> String {
        "fragile".into()
    }

    fn show(&mut self, _: &Status) -> Result<(), PanelError> {
        let (broken, shown) = &mut *self.0.lock().unwrap();
        if *broken {
            return Err(PanelError::Console(io::Error::other("loose")));
        }
        *shown += 1;
        Ok(())
    }
}

#[test]
fn a_failing_panel_is_noticed_once_and_does_not_hinder_the_others() {
    let (loose, firm) = (Fragile::default(), Fragile::default());
    let mut board = Board::default().with(loose.clone()).with(firm.clone());
    let status = Status::new(State::Ready);
    let mut failing = Vec::new();
    for broken in [false, true, true, false] {
        loose.0.lock().unwrap().0 = broken;
        board.show(&status);
        failing.push(board.slots.first().unwrap().failing);
    }
    assert_eq!(failing, [false, true, true, false]);
    assert_eq!(loose.0.lock().unwrap().1, 2);
    assert_eq!(firm.0.lock().unwrap().1, 4);
}

#[test]
fn kinds_and_choices_read_as_the_owner_writes_them() {
    assert_eq!("auto".parse(), Ok(Kind::Auto));
    assert_eq!("sim".parse(), Ok(Kind::Simulated));
    assert_eq!("none".parse(), Ok(Kind::None));
    let error = "bright".parse::<Kind>().unwrap_err().to_string();
    assert!(error.contains("auto, sim or none"), "{error}");
    assert_eq!("off".parse(), Ok(Choice::Off));
    assert_eq!("/dev/i2c-1".parse(), Ok(Choice::At("/dev/i2c-1".into())));
}
