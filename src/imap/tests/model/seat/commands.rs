//! The commands a client gives, and what has to come back.

use std::collections::BTreeSet;

use super::super::Dice;
use super::super::world::{Change, FLAGS, Mailbox, World};
use super::{Resync, Seat, Told, expand};

impl Seat<'_> {
    pub(super) fn select(
        &mut self,
        verb: &str,
        name: &str,
        dice: &mut Dice,
        world: &mut World,
    ) -> (String, Told) {
        self.leave();
        let mailbox = world.boxes.get_mut(name).unwrap();
        let mark = self.marks.get(name).copied().filter(|_| self.resync == Resync::Qresync);
        let mark = mark.filter(|_| dice.below(2) == 0);
        let line = match (mark, mailbox.validity) {
            (Some((modseq, _)), Some(validity)) => {
                format!("{verb} {name} (QRESYNC ({validity} {modseq}))")
            }
            _ => format!("{verb} {name}"),
        };
        (self.view, self.news) = (mailbox.uids(), mailbox.next);
        self.selected = Some((name.to_owned(), verb == "EXAMINE"));
        self.say(&line);
        let told = self.selected_well(mailbox, world.step);
        let told = told.and_then(|()| self.believe(world, true));
        let told = told.and_then(|()| match mark {
            Some((_, since)) if line.contains("QRESYNC") => self.caught_up(since, world),
            _ => Ok(()),
        });
        (line, told)
    }

    fn selected_well(&mut self, mailbox: &mut Mailbox, step: u64) -> Told {
        self.ends_with("OK")?;
        let number = |code: &str| {
            self.code(code).and_then(|words| words.first()?.parse::<u64>().ok()).unwrap_or_default()
        };
        let validity = number("UIDVALIDITY");
        if *mailbox.validity.get_or_insert(validity) != validity || validity == 0 {
            return Err(format!("UIDVALIDITY {validity}"));
        }
        if number("UIDNEXT") != u64::from(mailbox.next) {
            return Err(format!("UIDNEXT is not {}", mailbox.next));
        }
        let exists = format!("* {} EXISTS", mailbox.messages.len());
        if !self.last.contains(&exists) {
            return Err(format!("no {exists}"));
        }
        let highest = number("HIGHESTMODSEQ");
        if highest > 0 {
            if highest < mailbox.highest {
                return Err(format!("HIGHESTMODSEQ {highest} after {}", mailbox.highest));
            }
            let (name, _) = self.selected.clone().unwrap_or_default();
            self.marks.insert(name, (highest, step));
            // What changes from now on lies above it.
            mailbox.highest = highest;
        }
        Ok(())
    }

    /// After a resynchronisation: everything that changed was told, and nothing else.
    fn caught_up(&self, since: u64, world: &World) -> Told {
        let (name, _) = self.selected.as_ref().unwrap();
        let mailbox = &world.boxes[name];
        let changed: BTreeSet<u32> = mailbox
            .messages
            .iter()
            .filter(|(_, message)| message.changed > since)
            .map(|(uid, _)| *uid)
            .collect();
        if self.fetched != changed {
            return Err(format!("changed: {changed:?}, told: {:?}", self.fetched));
        }
        let gone: BTreeSet<u32> =
            mailbox.gone.iter().filter(|(_, step)| **step > since).map(|(uid, _)| *uid).collect();
        if self.resync == Resync::Qresync && !gone.is_subset(&self.earlier) {
            return Err(format!("gone: {gone:?}, told: {:?}", self.earlier));
        }
        Ok(())
    }

    pub(super) fn changed_since(&mut self, world: &World) -> (String, Told) {
        let (name, _) = self.selected.clone().unwrap();
        let Some((modseq, since)) = self.marks.get(&name).copied() else {
            return ("nothing".into(), Ok(()));
        };
        if let Err(error) = self.settle(world) {
            return ("NOOP".into(), Err(error));
        }
        self.resync = self.resync.max(Resync::Condstore);
        let vanished = if self.resync == Resync::Qresync { " VANISHED" } else { "" };
        let line = format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq}{vanished})");
        let (line, told) = self.plainly(&line, world);
        (line, told.and_then(|()| self.caught_up(since, world)))
    }

    pub(super) fn append(
        &mut self,
        name: &str,
        dice: &mut Dice,
        world: &mut World,
    ) -> (String, Told) {
        let (flags, text) = (dice.flags(), format!("word{}", world.step));
        let message = format!("Subject: s\r\n\r\n{text}");
        let written: Vec<&str> = flags.iter().map(String::as_str).collect();
        let line =
            format!("APPEND {name} ({}) {{{}+}}\r\n{message}", written.join(" "), message.len());
        let step = world.step;
        let uid = world.boxes.get_mut(name).unwrap().add(step, flags, text);
        let (_, told) = self.plainly(&line, world);
        let told = told.and_then(|()| match self.code("APPENDUID").as_deref() {
            Some([_, told]) if *told == uid.to_string() => Ok(()),
            other => Err(format!("APPENDUID is not {uid}: {other:?}")),
        });
        (line.replace("\r\n", "|"), told)
    }

    pub(super) fn status(&mut self, name: &str, world: &World) -> (String, Told) {
        let (line, told) = self.plainly(&format!("STATUS {name} (MESSAGES UIDNEXT UNSEEN)"), world);
        let mailbox = &world.boxes[name];
        let counts = (mailbox.messages.len(), mailbox.next, mailbox.unseen());
        let wanted = format!("(MESSAGES {} UIDNEXT {} UNSEEN {})", counts.0, counts.1, counts.2);
        let right =
            self.last.iter().any(|line| line.starts_with("* STATUS") && line.ends_with(&wanted));
        (line, told.and_then(|()| if right { Ok(()) } else { Err(format!("not {wanted}")) }))
    }

    pub(super) fn store(
        &mut self,
        kind: &str,
        dice: &mut Dice,
        world: &mut World,
    ) -> (String, Told) {
        let (name, read_only) = self.selected.clone().unwrap();
        let (set, uids) = self.set(dice, kind.starts_with("UID"));
        let (change, sign) =
            [(Change::Add, "+"), (Change::Remove, "-"), (Change::Replace, "")][dice.below(3)];
        let silent = dice.below(2) == 0;
        let flags = dice.flags();
        let written: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mark = self.marks.get(&name).copied().filter(|_| dice.below(4) == 0);
        let condition = mark.map(|(modseq, _)| format!(" (UNCHANGEDSINCE {modseq})"));
        let (condition, verb) =
            (condition.unwrap_or_default(), if silent { "FLAGS.SILENT" } else { "FLAGS" });
        let line = format!("{kind} {set}{condition} {sign}{verb} ({})", written.join(" "));
        if read_only {
            self.say(&line);
            return (line, self.ends_with("NO"));
        }
        if mark.is_some() {
            self.resync = self.resync.max(Resync::Condstore);
        }
        let step = world.step;
        let mailbox = world.boxes.get_mut(&name).unwrap();
        let (mut failed, mut changed) = (BTreeSet::new(), BTreeSet::new());
        for uid in uids {
            let Some(message) = mailbox.messages.get(&uid) else { continue };
            if mark.is_some_and(|(_, since)| message.changed > since) {
                failed.insert(uid);
                continue;
            }
            mailbox.store(step, uid, change, &flags);
            changed.insert(uid);
            if let Some(told) = self.told.get_mut(&uid).filter(|_| silent) {
                change.apply(told, &flags);
            }
        }
        let numbers = self.view.clone();
        self.say(&line);
        let told = self.believe(world, kind.starts_with("UID")).and_then(|()| {
            if self.last.last().is_some_and(|line| line.starts_with("t BAD")) {
                return Err("BAD".to_owned());
            }
            if !silent && !changed.is_subset(&self.fetched) {
                return Err(format!("changed {changed:?}, told only {:?}", self.fetched));
            }
            let listed = self.code("MODIFIED").map(|words| expand(&words[0])).unwrap_or_default();
            let listed: BTreeSet<u32> = match kind {
                "STORE" => listed
                    .into_iter()
                    .filter_map(|n| numbers.get(n as usize - 1).copied())
                    .collect(),
                _ => listed.into_iter().collect(),
            };
            if listed == failed { Ok(()) } else { Err(format!("MODIFIED is not {failed:?}")) }
        });
        (line, told)
    }

    pub(super) fn fetch(
        &mut self,
        kind: &str,
        dice: &mut Dice,
        world: &mut World,
    ) -> (String, Told) {
        let (name, read_only) = self.selected.clone().unwrap();
        let (set, uids) = self.set(dice, kind.starts_with("UID"));
        let items =
            dice.one_of(&["FLAGS", "(FLAGS UID)", "(BODY.PEEK[TEXT] UID)", "(UID BODY[TEXT])"]);
        let line = format!("{kind} {set} {items}");
        let step = world.step;
        let mailbox = world.boxes.get_mut(&name).unwrap();
        let there: BTreeSet<u32> =
            uids.into_iter().filter(|uid| mailbox.messages.contains_key(uid)).collect();
        if items.contains(" BODY[TEXT]") && !read_only {
            let seen = [FLAGS[0].to_owned()].into();
            for uid in &there {
                mailbox.store(step, *uid, Change::Add, &seen);
            }
        }
        self.say(&line);
        let told = self.ends_with("OK").and_then(|()| self.believe(world, kind.starts_with("UID")));
        let texts = items.contains("TEXT").then(|| there.iter()).into_iter().flatten();
        let mailbox = &world.boxes[&name];
        let lost =
            texts.map(|uid| format!("UID {uid}|{}", mailbox.messages[uid].text)).find(|pair| {
                let (uid, text) = pair.split_once('|').unwrap_or_default();
                let whole = |line: &&String| {
                    (line.contains(&format!("{uid} ")) || line.contains(&format!("{uid})")))
                        && line.contains(text)
                };
                !self.last.iter().any(|line| whole(&line))
            });
        let told = told.and_then(|()| match lost {
            Some(lost) => Err(format!("another text: {lost}")),
            None if !there.is_subset(&self.fetched) => {
                Err(format!("asked for {there:?}, told {:?}", self.fetched))
            }
            None => Ok(()),
        });
        (line, told)
    }

    pub(super) fn search(&mut self, kind: &str, dice: &mut Dice, world: &World) -> (String, Told) {
        let (name, _) = self.selected.clone().unwrap();
        let (set, uids) = self.set(dice, true);
        let mailbox = &world.boxes[&name];
        let seen = |uid: &u32, flag: &str| mailbox.messages[uid].flags.contains(flag);
        let there: Vec<u32> =
            self.view.iter().copied().filter(|uid| mailbox.messages.contains_key(uid)).collect();
        let (key, found): (String, Vec<u32>) = match dice.below(5) {
            0 => ("ALL".into(), there),
            1 => ("UNSEEN".into(), there.into_iter().filter(|u| !seen(u, "\\Seen")).collect()),
            2 => {
                let key = format!("OR UID {set} KEYWORD $Work");
                let good = |u: &u32| uids.contains(u) || seen(u, "$Work");
                (key, there.into_iter().filter(good).collect())
            }
            3 => {
                let key = format!("FLAGGED NOT (UID {set} UNDELETED)");
                let good =
                    |u: &u32| seen(u, "\\Flagged") && (!uids.contains(u) || seen(u, "\\Deleted"));
                (key, there.into_iter().filter(good).collect())
            }
            _ => {
                let text = format!("word{}", 1 + dice.below(usize::try_from(world.step).unwrap()));
                let good = |u: &u32| mailbox.messages[u].text.contains(&text);
                (format!("BODY {text}"), there.into_iter().filter(good).collect())
            }
        };
        let number = |uid: &u32| self.view.iter().position(|known| known == uid).unwrap_or(0) + 1;
        let found: Vec<String> = found
            .iter()
            .map(|uid| if kind == "SEARCH" { number(uid).to_string() } else { uid.to_string() })
            .collect();
        let line = format!("{kind} {key}");
        self.say(&line);
        let told = self.ends_with("OK").and_then(|()| {
            let answer = self.last.iter().find_map(|line| line.strip_prefix("* SEARCH"));
            let answer: Vec<&str> = answer.unwrap_or(" none").split_whitespace().collect();
            if answer == found { Ok(()) } else { Err(format!("found {answer:?}, not {found:?}")) }
        });
        let told = told.and_then(|()| self.believe(world, kind != "SEARCH"));
        (line, told)
    }

    pub(super) fn copy(
        &mut self,
        kind: &str,
        to: &str,
        dice: &mut Dice,
        world: &mut World,
    ) -> (String, Told) {
        let (name, read_only) = self.selected.clone().unwrap();
        let (set, uids) = self.set(dice, kind.starts_with("UID"));
        let moving = kind.ends_with("MOVE");
        let line = format!("{kind} {set} {to}");
        if moving && read_only {
            self.say(&line);
            return (line, self.ends_with("NO"));
        }
        let (step, mut pairs) = (world.step, (Vec::new(), Vec::new()));
        for uid in uids {
            let mailbox = world.boxes.get_mut(&name).unwrap();
            let message = mailbox.messages.get(&uid).cloned();
            let Some(message) = message else { continue };
            if moving {
                mailbox.remove(step, uid);
            }
            let new = world.boxes.get_mut(to).unwrap().add(step, message.flags, message.text);
            pairs.0.push(uid);
            pairs.1.push(new);
        }
        let (_, told) = self.plainly(&line, world);
        let told = told.and_then(|()| match self.code("COPYUID") {
            None if pairs.0.is_empty() => Ok(()),
            Some(words) if (expand(&words[1]), expand(&words[2])) == pairs => Ok(()),
            other => Err(format!("COPYUID is not {pairs:?}: {other:?}")),
        });
        (line, told)
    }
}
