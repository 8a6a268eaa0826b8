//! Three clients do anything they like with the same mailboxes, and a plain model says what each of
//! them may be told (RFC 3501, RFC 7162). `world` is that model, `seat` a client that believes only
//! what it reads. Every step comes from the seed and its own number, so that steps can be left out:
//! a failure is made as short as it gets before it is shown.

use std::collections::BTreeSet;

use self::seat::Seat;
use self::world::{FLAGS, World};
use super::{House, responses};

mod seat;
mod world;

/// `MODEL_SEEDS` and `MODEL_STEPS` say other numbers; `MODEL_FIRST` where to begin.
const SEEDS: u64 = 40;
const STEPS: u64 = 60;
const SEATS: usize = 3;
const BOXES: [&str; 3] = ["INBOX", "A", "B"];

#[test]
fn clients_are_told_what_is_true() {
    let number = |name, usual| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
    };
    let first = number("MODEL_FIRST", 0);
    let steps = number("MODEL_STEPS", STEPS);
    for seed in first..first + number("MODEL_SEEDS", SEEDS) {
        let mut without = BTreeSet::new();
        let Err(failure) = run(seed, steps, &without) else { continue };
        // The last steps first: what comes after the failure never happened.
        let mut shortest = failure;
        for step in (0..steps).rev() {
            without.insert(step);
            match run(seed, steps, &without) {
                Err(shorter) => shortest = shorter,
                Ok(()) => drop(without.remove(&step)),
            }
        }
        panic!("MODEL_FIRST={seed} MODEL_SEEDS=1 fails, at its shortest:\n{shortest}");
    }
}

/// Random numbers of one step.
pub(super) struct Dice(u64);

impl Dice {
    fn new(seed: u64, step: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ step.wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % end
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn flags(&mut self) -> BTreeSet<String> {
        let count = 1 + self.below(2);
        (0..count).map(|_| self.one_of(FLAGS).to_owned()).collect()
    }
}

fn run(seed: u64, steps: u64, without: &BTreeSet<u64>) -> Result<(), String> {
    let house = House::new();
    let mut world = World::default();
    let mut seats: Vec<Seat<'_>> = (0..SEATS).map(|_| Seat::new(&house)).collect();
    for name in BOXES {
        world.boxes.entry(name.to_owned()).or_default();
        if name != "INBOX" {
            seats[0].say(&format!("CREATE {name}"));
        }
    }
    // One knows nothing of modification sequences, one of them, one of VANISHED.
    for (seat, what) in seats.iter_mut().skip(1).zip(["ENABLE CONDSTORE", "ENABLE QRESYNC"]) {
        seat.command(what, &mut Dice::new(seed, 0), &mut world).1?;
    }
    let mut log = Vec::new();
    for step in (0..steps).filter(|step| !without.contains(step)) {
        let mut dice = Dice::new(seed, step);
        world.step += 1;
        let who = dice.below(SEATS);
        let played = play(&mut dice, &mut seats, who, &mut world, &mut log);
        let pushed = played.and_then(|()| {
            seats.iter_mut().enumerate().try_for_each(|(number, seat)| {
                seat.overhear(&world).map_err(|error| format!("client {number} in IDLE: {error}"))
            })
        });
        if let Err(error) = pushed {
            return Err(format!("{}\n=> {error}", log.join("\n")));
        }
    }
    for (number, seat) in seats.iter_mut().enumerate() {
        let all_told = seat.settle(&world).and_then(|()| {
            responses::read_all(&seat.transcript)
                .map(drop)
                .map_err(|one| format!("unreadable: {one}"))
        });
        all_told.map_err(|error| format!("{}\n=> client {number}: {error}", log.join("\n")))?;
    }
    Ok(())
}

/// One command of one client.
fn play(
    dice: &mut Dice,
    seats: &mut [Seat<'_>],
    who: usize,
    world: &mut World,
    log: &mut Vec<String>,
) -> Result<(), String> {
    let seat = &mut seats[who];
    if seat.idle {
        log.push(format!("{who}: DONE"));
        return seat.done(world);
    }
    let elsewhere = dice.below(BOXES.len());
    let line = match dice.below(if seat.selected.is_some() { 26 } else { 6 }) {
        0 | 1 => format!("{} {}", dice.one_of(&["SELECT", "SELECT", "EXAMINE"]), BOXES[elsewhere]),
        2..=4 => format!("APPEND {}", BOXES[elsewhere]),
        5 => format!("STATUS {}", BOXES[elsewhere]),
        6 | 7 => "NOOP".to_owned(),
        8 => "IDLE".to_owned(),
        9 => dice.one_of(&["CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "EXPUNGE"]).to_owned(),
        10 => "EXPUNGE".to_owned(),
        11 => "UID EXPUNGE".to_owned(),
        12..=15 => dice.one_of(&["STORE", "UID STORE"]).to_owned(),
        16..=18 => dice.one_of(&["FETCH", "UID FETCH"]).to_owned(),
        19 | 20 => dice.one_of(&["SEARCH", "UID SEARCH"]).to_owned(),
        21 | 22 => format!("{} {}", dice.one_of(&["COPY", "UID COPY"]), BOXES[elsewhere]),
        23 => format!("{} {}", dice.one_of(&["MOVE", "UID MOVE"]), BOXES[elsewhere]),
        24 => "CHANGEDSINCE".to_owned(),
        _ => dice.one_of(&["ENABLE CONDSTORE", "ENABLE QRESYNC"]).to_owned(),
    };
    let (said, told) = seat.command(&line, dice, world);
    log.push(format!("{who}: {said}"));
    log.extend(seat.last.iter().map(|line| format!("       {line}")));
    told
}
