#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::thread::sleep;

use tempfile::TempDir;

use super::*;
use crate::status::{Area, Concerns, State};

/// A directory that looks like one of the kernel's.
fn class(names: &[&str], triggers: &str) -> TempDir {
    let class = tempfile::tempdir().unwrap();
    for name in names {
        let lamp = class.path().join(name);
        fs::create_dir(&lamp).unwrap();
        for (file, content) in [
            ("trigger", triggers),
            ("brightness", "0"),
            ("max_brightness", "255\n"),
            ("pattern", ""),
            ("repeat", "-1"),
        ] {
            fs::write(lamp.join(file), content).unwrap();
        }
    }
    class
}

fn open(class: &TempDir) -> Led {
    Led::open(&class.path().join("ACT")).unwrap()
}

fn read(class: &TempDir, file: &str) -> String {
    fs::read_to_string(class.path().join("ACT").join(file)).unwrap()
}

const TRIGGERS: &str = "[none] timer pattern mmc0\n";

/// What the kernel makes of a pattern: each step with its length, over all repeats.
fn played(pattern: Pattern) -> Vec<(u32, u64)> {
    let text = kernel_pattern(pattern, 255);
    let numbers: Vec<u64> = text.split(' ').map(|n| n.parse().unwrap()).collect();
    let steps: Vec<(u32, u64)> = numbers
        .chunks(4)
        .map(|step| match step {
            [brightness, millis, again, 0] if again == brightness => {
                (u32::try_from(*brightness).unwrap(), *millis)
            }
            other => panic!("not a sharp step: {other:?}"),
        })
        .collect();
    let repeats = usize::try_from(repeats(pattern)).unwrap();
    steps.iter().cycle().take(steps.len() * repeats).copied().collect()
}

#[test]
fn a_hung_daemon_leaves_a_dark_lamp_within_half_a_minute() {
    for pattern in crate::pattern::vocabulary() {
        let played = played(pattern);
        assert_eq!(played.last().unwrap().0, 0, "{pattern:?} ends dark");
        let length: u64 = played.iter().map(|step| step.1).sum();
        assert!(length < 30_000, "{pattern:?} goes on for {length} ms");
        if pattern != Pattern::Dark {
            assert!(length >= 20_000, "{pattern:?} ends after {length} ms");
            assert!(played.iter().any(|step| step.0 == 255), "{pattern:?} is lit at times");
        }
    }
}

#[test]
fn a_pattern_is_written_with_an_end() {
    let class = class(&["ACT"], TRIGGERS);
    let mut led = open(&class);
    led.show_at(&Status::new(State::Starting), Instant::now()).unwrap();
    assert_eq!(read(&class, "trigger"), "pattern");
    assert_eq!(read(&class, "repeat"), "20");
    assert_eq!(read(&class, "pattern"), "0 250 0 0 255 500 255 0 0 250 0 0");
}

#[test]
fn a_steady_light_is_renewed_while_shown() {
    let class = class(&["ACT"], TRIGGERS);
    let mut led = open(&class);
    let ready = Status::new(State::Ready);
    let start = Instant::now();
    led.show_at(&ready, start).unwrap();
    assert_eq!(read(&class, "pattern"), "255 20000 255 0 0 100 0 0");
    for seconds in [5, 10, 15] {
        fs::write(class.path().join("ACT/repeat"), "used up").unwrap();
        led.show_at(&ready, start + Duration::from_secs(seconds)).unwrap();
        assert_eq!(read(&class, "repeat"), "1", "after {seconds} s");
    }
}

#[test]
fn a_count_is_renewed_in_its_pause_or_before_its_end() {
    let class = class(&["ACT"], TRIGGERS);
    let mut led = open(&class);
    let broken = Status::new(State::Broken(Concerns::one(Area::Network, "")));
    let start = Instant::now();
    let mut renewed_after = |millis| {
        led.armed = None;
        led.show_at(&broken, start).unwrap();
        fs::write(class.path().join("ACT/repeat"), "old").unwrap();
        led.show_at(&broken, start + Duration::from_millis(millis)).unwrap();
        read(&class, "repeat") != "old"
    };
    // One period: dark for 1 s, lit for 0.3 s, dark for 1 s.
    assert!(!renewed_after(2300 + 1100), "not while it is lit");
    assert!(renewed_after(2300 + 1400), "in the pause");
    assert!(renewed_after(5 * 2300 + 1100), "whatever it does, when the end is near");
}

#[test]
fn a_new_state_shows_at_once() {
    let class = class(&["ACT"], TRIGGERS);
    let mut led = open(&class);
    let now = Instant::now();
    led.show_at(&Status::new(State::Ready), now).unwrap();
    led.show_at(&Status::new(State::DoNotUnplug), now).unwrap();
    assert_eq!(read(&class, "pattern"), "0 100 0 0 255 200 255 0 0 100 0 0");
    assert_eq!(read(&class, "repeat"), "50");
}

#[test]
fn the_activity_lamp_is_preferred_and_keyboards_are_left_alone() {
    let keyboard = class(&["input0::capslock"], TRIGGERS);
    assert!(Led::detect(keyboard.path()).is_none());
    let old = class(&["led1", "led0", "default-on"], TRIGGERS);
    assert!(Led::detect(old.path()).unwrap().name().ends_with("/led0"));
    let new = class(&["PWR", "ACT"], TRIGGERS);
    assert!(Led::detect(new.path()).unwrap().name().ends_with("/ACT"));
    assert!(Led::detect(&new.path().join("missing")).is_none());
}

#[test]
fn a_lamp_that_goes_away_is_an_error_and_then_written_anew() {
    let class = class(&["ACT"], TRIGGERS);
    let mut led = open(&class);
    let ready = Status::new(State::Ready);
    led.show(&ready).unwrap();
    let (here, away) = (class.path().join("ACT"), class.path().join("away"));
    fs::rename(&here, &away).unwrap();
    let error = led.show(&ready).unwrap_err().to_string();
    assert!(error.contains("ACT"), "{error}");
    fs::write(away.join("pattern"), "").unwrap();
    fs::rename(&away, &here).unwrap();
    led.show(&ready).unwrap();
    assert_eq!(read(&class, "pattern"), "255 20000 255 0 0 100 0 0");
}

#[test]
fn without_the_trigger_a_thread_blinks_and_its_lease_ends_dark() {
    let class = class(&["ACT"], "[none] timer\n");
    let lamp = Lamp { directory: class.path().join("ACT") };
    assert!(!lamp.knows_trigger("pattern").unwrap());
    let lease = Duration::from_millis(400);
    let blinker = software::Blinker::with_lease(lamp, lease);

    let wait_for = |brightness: &str| {
        let end = Instant::now() + Duration::from_secs(10);
        while read(&class, "brightness") != brightness {
            assert!(Instant::now() < end, "never became {brightness}");
            sleep(Duration::from_millis(5));
        }
    };
    blinker.show(Pattern::Steady).unwrap();
    wait_for("255");
    wait_for("0");
    // Still able to serve after its lease ran out.
    blinker.show(Pattern::Fast).unwrap();
    wait_for("255");
    drop(blinker);
    wait_for("0");
}

#[test]
fn files_of_the_trigger_that_udev_hands_over_late_are_waited_for() {
    let class = class(&["ACT"], TRIGGERS);
    let mut led = open(&class);
    let lamp = class.path().join("ACT");
    // Root may write everything, so the test takes the files away instead of the permission.
    fs::remove_file(lamp.join("pattern")).unwrap();
    fs::remove_file(lamp.join("repeat")).unwrap();
    let udev = std::thread::spawn(move || {
        sleep(Duration::from_millis(200));
        fs::write(lamp.join("repeat"), "").unwrap();
        sleep(Duration::from_millis(200));
        fs::write(lamp.join("pattern"), "").unwrap();
    });
    led.show_at(&Status::new(State::Starting), Instant::now()).unwrap();
    udev.join().unwrap();
    assert_eq!(read(&class, "repeat"), "20");
    assert_eq!(read(&class, "pattern"), "0 250 0 0 255 500 255 0 0 250 0 0");
}

#[test]
fn files_that_never_come_are_an_error_within_two_seconds() {
    let class = class(&["ACT"], TRIGGERS);
    let mut led = open(&class);
    fs::remove_file(class.path().join("ACT/repeat")).unwrap();
    let begin = Instant::now();
    led.show_at(&Status::new(State::Starting), begin).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_trigger_that_is_ours_is_not_taken_again() {
    let class = class(&["ACT"], TRIGGERS);
    let mut led = open(&class);
    // As the kernel shows it once it was taken.
    let ours = "none timer [pattern] mmc0\n";
    fs::write(class.path().join("ACT/trigger"), ours).unwrap();
    led.show_at(&Status::new(State::Starting), Instant::now()).unwrap();
    assert_eq!(read(&class, "trigger"), ours);
    assert_eq!(read(&class, "repeat"), "20");
}
