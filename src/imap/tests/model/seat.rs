//! A client that believes what it is told, and holds it against what is true.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Client, House};
use super::Dice;
use super::world::{Mailbox, World};

mod commands;

pub(super) struct Seat<'a> {
    client: Client<'a>,
    /// Its mailbox, and whether only for reading.
    pub(super) selected: Option<(String, bool)>,
    pub(super) idle: bool,
    /// Everything that came, for other readers.
    pub(super) transcript: Vec<u8>,
    /// The answer to the last command.
    pub(super) last: Vec<String>,
    view: Vec<u32>,
    /// UIDs from here on it has not heard of.
    news: u32,
    told: BTreeMap<u32, BTreeSet<String>>,
    fetched: BTreeSet<u32>,
    earlier: BTreeSet<u32>,
    resync: Resync,
    /// For each mailbox a modification sequence and the step up to which it holds.
    marks: BTreeMap<String, (u64, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Resync {
    Unknown,
    None,
    Condstore,
    Qresync,
}

type Told = Result<(), String>;

impl<'a> Seat<'a> {
    pub(super) fn new(house: &'a House) -> Self {
        let mut client = house.client(993);
        client.log_in();
        let knows = client.text().contains(" QRESYNC");
        let mut seat = Self {
            client,
            selected: None,
            idle: false,
            transcript: Vec::new(),
            last: Vec::new(),
            view: Vec::new(),
            news: 1,
            told: BTreeMap::new(),
            fetched: BTreeSet::new(),
            earlier: BTreeSet::new(),
            resync: if knows { Resync::None } else { Resync::Unknown },
            marks: BTreeMap::new(),
        };
        seat.hear();
        seat
    }

    /// Sends a command; its lines, those of a literal put together.
    pub(super) fn say(&mut self, line: &str) {
        self.client.send(format!("t {line}\r\n").as_bytes(), usize::MAX);
        self.last = self.hear();
    }

    fn hear(&mut self) -> Vec<String> {
        let bytes = std::mem::take(&mut self.client.out);
        self.transcript.extend_from_slice(&bytes);
        let text = String::from_utf8(bytes).unwrap();
        let mut lines: Vec<String> = Vec::new();
        for line in text.split_terminator("\r\n") {
            match lines.last_mut().filter(|last| last.ends_with('}')) {
                Some(last) => last.push_str(line),
                None => lines.push(line.to_owned()),
            }
        }
        lines
    }

    /// What comes by itself.
    pub(super) fn overhear(&mut self, world: &World) -> Told {
        if !self.idle {
            return Ok(());
        }
        self.client.pump();
        self.last = self.hear();
        self.believe(world, true)?;
        self.agrees(world)
    }

    pub(super) fn done(&mut self, world: &World) -> Told {
        self.idle = false;
        self.client.send(b"DONE\r\n", usize::MAX);
        self.last = self.hear();
        self.ends_with("OK")?;
        self.believe(world, true)?;
        self.agrees(world)
    }

    /// Hears all news; then it has to know everything.
    pub(super) fn settle(&mut self, world: &World) -> Told {
        if self.idle {
            self.done(world)?;
        }
        self.say("NOOP");
        self.ends_with("OK")?;
        self.believe(world, true)?;
        self.agrees(world)
    }

    fn agrees(&self, world: &World) -> Told {
        let Some((name, _)) = &self.selected else { return Ok(()) };
        let mailbox = &world.boxes[name];
        if self.view != mailbox.uids() {
            return Err(format!("believes in {:?}, there are {:?}", self.view, mailbox.uids()));
        }
        for (uid, flags) in &self.told {
            match mailbox.messages.get(uid) {
                Some(message) if message.flags != *flags => {
                    return Err(format!("{uid} has {:?}, it was told {flags:?}", message.flags));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn ends_with(&self, how: &str) -> Told {
        match self.last.last() {
            Some(line) if line.starts_with(&format!("t {how} ")) => Ok(()),
            other => Err(format!("expected {how}, got {other:?}")),
        }
    }

    fn code(&self, name: &str) -> Option<Vec<String>> {
        let mark = format!("[{name} ");
        let line = self.last.iter().find(|line| line.contains(&mark))?;
        let (_, rest) = line.split_once(&mark)?;
        Some(rest.split_once(']')?.0.split(' ').map(ToOwned::to_owned).collect())
    }

    /// Runs one command and judges its answer.
    pub(super) fn command(
        &mut self,
        kind: &str,
        dice: &mut Dice,
        world: &mut World,
    ) -> (String, Told) {
        let (said, told) = self.run(kind, dice, world);
        let told = told.and_then(|()| self.told_modseqs(world));
        (said, told)
    }

    fn run(&mut self, kind: &str, dice: &mut Dice, world: &mut World) -> (String, Told) {
        let (verb, argument) = kind.rsplit_once(' ').unwrap_or((kind, ""));
        let read_only = self.selected.as_ref().is_some_and(|(_, read_only)| *read_only);
        match verb {
            "SELECT" | "EXAMINE" => return self.select(verb, argument, dice, world),
            "APPEND" => return self.append(argument, dice, world),
            "STATUS" => return self.status(argument, world),
            "COPY" | "UID COPY" | "MOVE" | "UID MOVE" => {
                return self.copy(verb, argument, dice, world);
            }
            "ENABLE" if self.resync == Resync::Unknown => return ("nothing".into(), Ok(())),
            "ENABLE" => {
                let now = if argument == "QRESYNC" { Resync::Qresync } else { Resync::Condstore };
                self.resync = self.resync.max(now);
                return self.plainly(kind, world);
            }
            _ => {}
        }
        match kind {
            "STORE" | "UID STORE" => self.store(kind, dice, world),
            "FETCH" | "UID FETCH" => self.fetch(kind, dice, world),
            "SEARCH" | "UID SEARCH" => self.search(kind, dice, world),
            "CHANGEDSINCE" => self.changed_since(world),
            "IDLE" => {
                self.say(kind);
                self.idle = true;
                let waits = self.last.iter().any(|line| line.starts_with("+ "));
                let told = if waits { self.believe(world, true) } else { Err("no +".into()) };
                (kind.into(), told)
            }
            "CLOSE" | "UNSELECT" | "EXPUNGE" | "UID EXPUNGE" => {
                if let Err(error) = self.settle(world) {
                    return (kind.into(), Err(error));
                }
                let (set, uids) = self.set(dice, true);
                let name = self.selected.clone().map(|(name, _)| name).unwrap_or_default();
                if !read_only && kind != "UNSELECT" {
                    let only = (kind == "UID EXPUNGE").then_some(&uids);
                    world.boxes.get_mut(&name).unwrap().expunge(world.step, only);
                }
                let line =
                    if kind == "UID EXPUNGE" { format!("{kind} {set}") } else { kind.into() };
                if kind == "CLOSE" || kind == "UNSELECT" {
                    self.say(&line);
                    self.leave();
                    return (line, self.ends_with("OK"));
                }
                if read_only {
                    self.say(&line);
                    return (line, self.ends_with("NO"));
                }
                let (line, told) = self.plainly(&line, world);
                (line, told.and_then(|()| self.agrees(world)))
            }
            _ => {
                let (line, told) = self.plainly(kind, world);
                (line, told.and_then(|()| self.agrees(world)))
            }
        }
    }

    /// A command that ends well and may bring any news.
    fn plainly(&mut self, line: &str, world: &World) -> (String, Told) {
        self.say(line);
        let told = self.ends_with("OK").and_then(|()| self.believe(world, true));
        (line.to_owned(), told)
    }

    fn leave(&mut self) {
        self.selected = None;
        self.view.clear();
        self.told.clear();
    }

    /// A set, and the UIDs it means to this client.
    fn set(&self, dice: &mut Dice, uid: bool) -> (String, BTreeSet<u32>) {
        let names: Vec<u32> = if uid {
            self.view.clone()
        } else {
            (1..=u32::try_from(self.view.len()).unwrap()).collect()
        };
        let Some(last) = names.last().copied() else { return ("1".into(), BTreeSet::new()) };
        let mut one = || 1 + u32::try_from(dice.below(last as usize)).unwrap();
        let (first, second) = (one(), one());
        let (low, high) = (first.min(second), first.max(second));
        let (text, ranges) = match dice.below(4) {
            0 => (format!("{first}"), [(first, first), (first, first)]),
            1 => (format!("{first}:{second}"), [(low, high), (low, high)]),
            2 => (format!("{first},{second}"), [(first, first), (second, second)]),
            _ => (format!("{first}:*"), [(first, last), (last, last)]),
        };
        let chosen = names
            .iter()
            .zip(&self.view)
            .filter(|(name, _)| ranges.iter().any(|(from, to)| (from..=to).contains(name)));
        (text, chosen.map(|(_, uid)| *uid).collect())
    }

    /// Takes in what the last answer says of the mailbox.
    fn believe(&mut self, world: &World, may_expunge: bool) -> Told {
        self.fetched.clear();
        self.earlier.clear();
        for line in self.last.clone() {
            let Some(line) = line.strip_prefix("* ") else { continue };
            if line.starts_with("BYE") {
                return Err(line.to_owned());
            }
            let Some((name, _)) = self.selected.clone() else { continue };
            self.learn(line, &world.boxes[&name], may_expunge)
                .map_err(|why| format!("{line}: {why}"))?;
        }
        Ok(())
    }

    fn learn(&mut self, line: &str, mailbox: &Mailbox, may_expunge: bool) -> Told {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if first == "VANISHED" {
            let earlier = rest.strip_prefix("(EARLIER) ");
            let gone: BTreeSet<u32> = expand(earlier.unwrap_or(rest)).into_iter().collect();
            if self.resync != Resync::Qresync || (earlier.is_none() && !may_expunge) {
                return Err("not now".into());
            }
            if gone.iter().any(|uid| mailbox.messages.contains_key(uid)) {
                return Err("it is there".into());
            }
            self.view.retain(|uid| !gone.contains(uid));
            if earlier.is_some() {
                self.earlier.extend(gone);
            }
            return Ok(());
        }
        let Ok(number) = first.parse::<usize>() else { return Ok(()) };
        match rest.split_once(' ').map_or(rest, |(word, _)| word) {
            "EXISTS" => {
                let new: Vec<u32> =
                    mailbox.messages.range(self.news..).map(|(uid, _)| *uid).collect();
                if number != self.view.len() + new.len() {
                    return Err(format!("there are {} and {new:?} are new", self.view.len()));
                }
                self.view.extend(new);
                self.news = mailbox.next;
                Ok(())
            }
            "EXPUNGE" if !may_expunge => Err("numbers were in use".into()),
            "EXPUNGE" if self.resync == Resync::Qresync => Err("it should be VANISHED".into()),
            "EXPUNGE" if (1..=self.view.len()).contains(&number) => {
                let uid = self.view.remove(number - 1);
                match mailbox.messages.get(&uid) {
                    Some(_) => Err(format!("{uid} is there")),
                    None => Ok(()),
                }
            }
            "FETCH" if (1..=self.view.len()).contains(&number) => {
                let uid = self.view[number - 1];
                if after(rest, "UID ").is_some_and(|told| told != uid.to_string()) {
                    return Err(format!("{number} is {uid}"));
                }
                self.fetched.insert(uid);
                let Some(flags) = inside(rest, "FLAGS (") else { return Ok(()) };
                let flags: BTreeSet<String> = flags
                    .split_whitespace()
                    .filter(|flag| *flag != "\\Recent")
                    .map(ToOwned::to_owned)
                    .collect();
                if mailbox.messages.get(&uid).is_some_and(|message| message.flags != flags) {
                    return Err(format!("{uid} has {:?}", mailbox.messages[&uid].flags));
                }
                self.told.insert(uid, flags);
                Ok(())
            }
            "EXPUNGE" | "FETCH" => Err(format!("there are {} messages", self.view.len())),
            _ => Ok(()),
        }
    }

    /// Holds all modification sequences of the last answer against each other.
    fn told_modseqs(&self, world: &mut World) -> Told {
        let Some((name, _)) = &self.selected else { return Ok(()) };
        let mailbox = world.boxes.get_mut(name).unwrap();
        for line in self.last.iter().filter(|line| line.contains(" FETCH (")) {
            let uid = after(line, "UID ").and_then(|uid| uid.parse().ok());
            let modseq = inside(line, "MODSEQ (").and_then(|modseq| modseq.parse().ok());
            if let (Some(uid), Some(modseq)) = (uid, modseq) {
                mailbox.told_modseq(uid, modseq)?;
            }
        }
        Ok(())
    }
}

fn after<'t>(line: &'t str, word: &str) -> Option<&'t str> {
    let (_, rest) = line.split_once(word)?;
    rest.split([' ', ')']).next()
}

fn inside<'t>(line: &'t str, word: &str) -> Option<&'t str> {
    line.split_once(word)?.1.split_once(')').map(|(inside, _)| inside)
}

/// The numbers of a set.
fn expand(set: &str) -> Vec<u32> {
    let number = |text: &str| text.parse::<u32>().unwrap();
    set.split(',')
        .flat_map(|range| {
            let (from, to) = range.split_once(':').unwrap_or((range, range));
            number(from)..=number(to)
        })
        .collect()
}
