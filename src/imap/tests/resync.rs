//! A client that goes away at any moment and comes back with what it remembers ends up with what
//! is there (RFC 7162 §3.2.5, §6).

use std::collections::BTreeMap;
use std::time::Instant;

use super::*;
use crate::mail::{ModSeq, Uid, UidSet};

/// What a client that resynchronises remembers of the inbox.
#[derive(Debug, Default)]
struct Memory {
    messages: BTreeMap<u32, String>,
    highest: u64,
    /// Seen since the last tagged response: the last HIGHESTMODSEQ, and the highest MODSEQ.
    heard: (Option<u64>, u64),
}

/// The number behind a word.
fn after(line: &str, word: &str) -> Option<u64> {
    let rest = line.split_once(word)?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn numbers(set: &str) -> impl Iterator<Item = u32> + '_ {
    set.split(',').flat_map(|range| {
        let (from, to) = range.split_once(':').unwrap_or((range, range));
        from.parse::<u32>().unwrap()..=to.parse().unwrap()
    })
}

impl Memory {
    fn hear(&mut self, text: &str, quiet: bool) {
        for line in text.lines() {
            if let Some(set) = line.strip_prefix("* VANISHED (EARLIER) ") {
                numbers(set).for_each(|uid| drop(self.messages.remove(&uid)));
            } else if let Some(set) = line.strip_prefix("* VANISHED ") {
                assert!(!quiet, "numbers shift: {text}");
                for uid in numbers(set) {
                    assert!(self.messages.remove(&uid).is_some(), "{uid} is not known: {text}");
                }
            } else if line.contains(" FETCH (UID ") {
                let uid = u32::try_from(after(line, "UID ").unwrap()).unwrap();
                if let Some((_, flags)) = line.split_once("FLAGS (") {
                    self.messages.insert(uid, flags.split_once(')').unwrap().0.to_owned());
                }
                self.heard.1 = self.heard.1.max(after(line, "MODSEQ (").unwrap_or(0));
            }
            assert!(!line.ends_with(" EXPUNGE"), "{text}");
            self.heard.0 = after(line, "[HIGHESTMODSEQ ").or(self.heard.0);
            if line.starts_with("t OK") {
                let (told, seen) = std::mem::take(&mut self.heard);
                self.highest = told.unwrap_or(self.highest.max(seen));
            }
        }
    }

    /// One command, and the new messages it brought.
    fn run(&mut self, client: &mut Client<'_>, command: &str, quiet: bool) {
        client.out.clear();
        client.send(format!("t {command}\r\n").as_bytes(), usize::MAX);
        assert!(client.text().contains("t OK"), "{command}: {}", client.text());
        self.hear(client.text(), quiet);
    }

    fn new_mail(&mut self, client: &mut Client<'_>) {
        let next = self.messages.keys().last().map_or(1, |uid| uid + 1);
        self.run(client, &format!("UID FETCH {next}:* (FLAGS MODSEQ)"), false);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Deliver,
    Other(String),
    Quiet(String),
    Own(String),
    /// The connection breaks; whether the client then names what it knows.
    Leave(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let uid = 1_u32..10;
    let flag = prop_oneof![Just("\\Seen"), Just("\\Deleted"), Just("$Work")];
    let change = (uid.clone(), flag, prop_oneof![Just("+"), Just("-")]);
    let change = change.prop_map(|(n, flag, sign)| format!("{n} {sign}FLAGS ({flag})"));
    let step = prop_oneof![
        Just(Step::Deliver),
        change.clone().prop_map(|what| Step::Other(format!("UID STORE {what}"))),
        Just(Step::Other("EXPUNGE".to_owned())),
        uid.clone().prop_map(|n| Step::Other(format!("UID MOVE {n} Trash"))),
        uid.prop_map(|n| Step::Other(format!("UID COPY {n} INBOX"))),
        change.clone().prop_map(|what| Step::Own(format!("UID STORE {what}"))),
        change.prop_map(|what| Step::Quiet(format!("STORE {what}"))),
        Just(Step::Quiet("FETCH 1:* (UID FLAGS MODSEQ)".to_owned())),
        Just(Step::Own("EXPUNGE".to_owned())),
        Just(Step::Own("NOOP".to_owned())),
        any::<bool>().prop_map(Step::Leave),
        any::<bool>().prop_map(Step::Leave),
    ];
    proptest::collection::vec(step, 1..40)
}

fn there(house: &House) -> BTreeMap<u32, String> {
    let inbox = house.store.find_mailbox(ALICE, &MailboxName::inbox()).unwrap().unwrap();
    let flags = |flags: &Flags| flags.iter().map(|flag| flag.to_string()).collect::<Vec<_>>();
    let messages = house.store.messages(inbox.id).unwrap().into_iter();
    messages.map(|m| (m.uid.get(), flags(&m.flags).join(" "))).collect()
}

fn come_back<'a>(house: &'a House, memory: &mut Memory, names: bool) -> Client<'a> {
    let validity = validity(house);
    let mut client = house.client(993);
    client.log_in();
    client.send(b"t ENABLE QRESYNC\r\n", usize::MAX);
    let known = memory.messages.keys().map(|uid| Uid::new(*uid).unwrap()).collect::<UidSet>();
    let known = super::super::respond::uid_ranges(known.ranges());
    let mut parameter = String::new();
    if memory.highest > 0 {
        parameter = format!("{validity} {}", memory.highest);
        if names && !known.is_empty() {
            let (numbers, uids): (Vec<_>, Vec<_>) = (1..)
                .zip(memory.messages.keys())
                .map(|(n, u)| (n.to_string(), u.to_string()))
                .unzip();
            let (numbers, uids) = (numbers.join(","), uids.join(","));
            parameter = format!("{parameter} {known} ({numbers} {uids})");
        }
        parameter = format!(" (QRESYNC ({parameter}))");
    }
    memory.heard = (None, 0);
    memory.run(&mut client, &format!("SELECT INBOX{parameter}"), false);
    memory.new_mail(&mut client);
    client
}

fn validity(house: &House) -> u32 {
    let inbox = house.store.find_mailbox(ALICE, &MailboxName::inbox()).unwrap().unwrap();
    inbox.uid_validity.0.get()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn a_client_that_comes_back_has_what_is_there(steps in steps()) {
        let house = House::new();
        (0..4).for_each(|_| house.deliver(b"Subject: x\r\n\r\nhello\r\n"));
        let mut other = house.client(993);
        other.log_in();
        other.send(b"s SELECT INBOX\r\n", usize::MAX);
        let mut memory = Memory::default();
        let mut client = come_back(&house, &mut memory, false);
        for step in steps {
            match step {
                Step::Deliver => house.deliver(b"Subject: y\r\n\r\nhello\r\n"),
                Step::Other(command) => {
                    other.send(format!("o {command}\r\n").as_bytes(), usize::MAX);
                }
                Step::Quiet(command) => {
                    memory.run(&mut client, &command, true);
                    // Else what is held back stays so, maybe until the connection breaks.
                    if client.text().contains(" EXISTS") {
                        memory.new_mail(&mut client);
                    }
                }
                Step::Own(command) => {
                    memory.run(&mut client, &command, false);
                    memory.new_mail(&mut client);
                }
                Step::Leave(names) => {
                    drop(client);
                    client = come_back(&house, &mut memory, names);
                    prop_assert_eq!(&memory.messages, &there(&house));
                }
            }
        }
        memory.run(&mut client, "NOOP", false);
        memory.new_mail(&mut client);
        prop_assert_eq!(memory.messages, there(&house));
    }
}

#[test]
fn a_sample_of_numbers_spares_what_the_client_knows_is_gone() {
    let house = House::new();
    (0..6).for_each(|_| house.deliver(b"Subject: x\r\n\r\nhello\r\n"));
    let mut client = house.client(993);
    client.log_in();
    client.send(b"a ENABLE QRESYNC\r\nb SELECT INBOX\r\nc UID MOVE 1,3,5 Trash\r\n", usize::MAX);
    let validity = validity(&house);
    let mut vanished = |known: &str| {
        client.out.clear();
        let command = format!("u UNSELECT\r\ns SELECT INBOX (QRESYNC ({known}))\r\n");
        client.send(command.as_bytes(), usize::MAX);
        assert!(client.text().contains("s OK "), "{}", client.text());
        let line = client.text().lines().find(|line| line.starts_with("* VANISHED "));
        line.map(|line| line.trim_end().to_owned())
    };
    let earlier = |set: &str| Some(format!("* VANISHED (EARLIER) {set}"));
    // There are 2, 4 and 6.
    assert_eq!(vanished(&format!("{validity} 2")), earlier("1,3,5"));
    assert_eq!(vanished(&format!("{validity} 2 2:4")), earlier("3"));
    assert_eq!(vanished(&format!("{validity} 2 1:6 (1 2)")), earlier("3,5"));
    assert_eq!(vanished(&format!("{validity} 2 (1:2 2,4)")), earlier("5"));
    assert_eq!(vanished(&format!("{validity} 2 1:6 (1,3 2,5)")), earlier("3,5"));
    assert_eq!(
        vanished(&format!("{validity} 2 1:6 (1:4294967295 1:4294967295)")),
        earlier("1,3,5")
    );
    // Another validity: nothing of what the client knows counts.
    assert_eq!(vanished(&format!("{} 2 1:6", validity + 1)), None);
}

#[test]
fn many_sessions_hear_of_each_other_at_once() {
    let house = House::new();
    house.deliver(b"Subject: x\r\n\r\nhello\r\n");
    let mut clients: Vec<_> = (0..20).map(|_| house.client(993)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.log_in();
        let enable = if number % 2 == 0 { "e ENABLE QRESYNC\r\n" } else { "" };
        client.send(format!("{enable}s SELECT INBOX\r\ni IDLE\r\n").as_bytes(), usize::MAX);
        client.out.clear();
    }
    let mut busy = house.client(993);
    busy.log_in();
    busy.send(b"s SELECT INBOX\r\na STORE 1 +FLAGS (\\Deleted)\r\n", usize::MAX);
    clients.iter_mut().for_each(Client::pump);
    busy.send(b"b EXPUNGE\r\n", usize::MAX);
    house.deliver(b"Subject: y\r\n\r\nhello\r\n");
    for (number, client) in clients.iter_mut().enumerate() {
        client.pump();
        let expected = if number % 2 == 0 {
            "* 1 FETCH (UID 1 FLAGS (\\Deleted) MODSEQ (3))\r\n* VANISHED 1\r\n* 1 EXISTS\r\n\
             * 0 RECENT\r\n* OK [HIGHESTMODSEQ 5] All up to here was told\r\n"
        } else {
            "* 1 FETCH (UID 1 FLAGS (\\Deleted))\r\n* 1 EXPUNGE\r\n* 1 EXISTS\r\n* 0 RECENT\r\n"
        };
        // A message that is expunged and one that comes are told in one step.
        assert_eq!(
            client.text().replace("(UID 1 FLAGS (\\Deleted))", "(FLAGS (\\Deleted))"),
            expected.replace("(UID 1 FLAGS (\\Deleted))", "(FLAGS (\\Deleted))")
        );
    }
}

#[test]
fn fifty_changes_in_three_thousand_are_told_without_a_look_at_the_others() {
    let house = House::new();
    let inbox = fill(&house, 3000);
    let since = house.store.mailbox(inbox).unwrap().unwrap().highest_modseq;
    let uids: Vec<Uid> = (1..=50).map(|n| Uid::new(n * 60).unwrap()).collect();
    for uid in uids {
        let mut batch = Batch::new();
        let seen = ["\\Seen".parse().unwrap()].into_iter().collect();
        batch.set_flags(inbox, vec![uid], crate::store::FlagChange::Add(seen), None);
        house.runtime.block_on(house.store.commit(batch)).unwrap();
    }
    let mut client = house.client(993);
    client.log_in();
    client.send(b"a ENABLE QRESYNC\r\n", usize::MAX);
    client.out.clear();
    let validity = validity(&house);
    let select = format!("s SELECT INBOX (QRESYNC ({validity} {} 1:3000))\r\n", since.0);
    let begun = Instant::now();
    client.send(select.as_bytes(), usize::MAX);
    println!("resynchronised in {:.1?}", begun.elapsed());
    assert_eq!(client.text().matches(" FETCH (UID ").count(), 50);
    assert_eq!(since, ModSeq(3001));
}

/// Many small messages of one body; their mailbox.
fn fill(house: &House, count: u32) -> crate::store::MailboxId {
    house.runtime.block_on(async {
        let inbox = house.store.find_mailbox(ALICE, &MailboxName::inbox()).unwrap().unwrap();
        let mut writer = house.store.new_body();
        writer.write(b"Subject: x\r\n\r\nx\r\n").await.unwrap();
        let body = writer.finish().await.unwrap();
        let mut batch = Batch::new();
        for _ in 0..count {
            batch.add_message(inbox.id, b"", &body, Flags::none(), Noon.now());
        }
        house.store.commit(batch).await.unwrap();
        inbox.id
    })
}
