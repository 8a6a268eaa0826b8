//! What a client is told keeps its picture of the mailbox right, whatever others do meanwhile.

use std::collections::BTreeSet;

use super::*;

/// What a client makes of the responses it gets.
#[derive(Debug, Default)]
struct Picture {
    /// By number: the UID once it is known, and the flags.
    messages: Vec<(Option<u32>, BTreeSet<String>)>,
}

impl Picture {
    /// Fetches what EXISTS announced.
    fn ask_for_new(&mut self, client: &mut Client<'_>) {
        while let Some(first) = self.messages.iter().position(|(uid, _)| uid.is_none()) {
            client.out.clear();
            let command = format!("f FETCH {}:* (UID FLAGS)\r\n", first + 1);
            client.send(command.as_bytes(), usize::MAX);
            self.hear(client.text(), true);
        }
    }

    /// Takes in responses. `quiet`: none may make numbers shift (RFC 3501 §7.4.1).
    fn hear(&mut self, text: &str, quiet: bool) {
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("* ") else { continue };
            let mut words = rest.split(' ');
            let (Some(Ok(number)), Some(word)) =
                (words.next().map(str::parse::<usize>), words.next())
            else {
                continue;
            };
            match word {
                "EXPUNGE" => {
                    assert!(!quiet, "numbers shift: {text}");
                    self.messages.remove(number - 1);
                }
                "EXISTS" => {
                    assert!(number >= self.messages.len(), "shrunk: {text}");
                    self.messages.resize_with(number, Default::default);
                }
                "FETCH" => {
                    let message = self.messages.get_mut(number - 1).unwrap();
                    let uid = rest.split_once("UID ").map(|(_, uid)| {
                        let end = uid.find([' ', ')']).unwrap();
                        uid[..end].parse::<u32>().unwrap()
                    });
                    assert!(message.0.is_none() || uid.is_none() || message.0 == uid, "{text}");
                    message.0 = message.0.or(uid);
                    if let Some((_, flags)) = rest.split_once("FLAGS (") {
                        let (flags, _) = flags.split_once(')').unwrap();
                        message.1 = flags.split_whitespace().map(str::to_owned).collect();
                    }
                }
                _ => {}
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Deliver,
    /// Another client's command.
    Other(String),
    /// The client's own; the numbers must stand still while it runs.
    Quiet(String),
    Own(String),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flag = prop_oneof![Just("\\Seen"), Just("\\Deleted"), Just("$Work")];
    let change = (1_u32..9, flag, prop_oneof![Just("+"), Just("-")]);
    let change = change.prop_map(|(n, flag, sign)| (format!("{n} {sign}FLAGS"), flag));
    let step = prop_oneof![
        Just(Step::Deliver),
        change.clone().prop_map(|(what, flag)| Step::Other(format!("UID STORE {what} ({flag})"))),
        Just(Step::Other("EXPUNGE".to_owned())),
        (1_u32..9).prop_map(|n| Step::Other(format!("UID MOVE {n} Trash"))),
        (1_u32..9).prop_map(|n| Step::Other(format!("UID COPY {n} INBOX"))),
        change.clone().prop_map(|(what, flag)| Step::Own(format!("UID STORE {what} ({flag})"))),
        change.prop_map(|(what, flag)| Step::Quiet(format!("STORE {what}.SILENT ({flag})"))),
        Just(Step::Quiet("FETCH 1:* FLAGS".to_owned())),
        Just(Step::Quiet("SEARCH ALL".to_owned())),
        Just(Step::Own("EXPUNGE".to_owned())),
        Just(Step::Own("NOOP".to_owned())),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What the store has, as the client should see it.
fn there(house: &House) -> Vec<(Option<u32>, BTreeSet<String>)> {
    let inbox = house.store.find_mailbox(ALICE, &MailboxName::inbox()).unwrap().unwrap();
    let messages = house.store.messages(inbox.id).unwrap().into_iter();
    let flags = |flags: &Flags| flags.iter().map(|flag| flag.to_string()).collect();
    messages.map(|message| (Some(message.uid.get()), flags(&message.flags))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_client_that_listens_sees_what_is_there(steps in steps()) {
        let house = House::new();
        (0..4).for_each(|_| house.deliver(b"Subject: x\r\n\r\nhello\r\n"));
        let (mut client, mut other) = (house.client(993), house.client(993));
        for client in [&mut client, &mut other] {
            client.log_in();
            client.send(b"s SELECT INBOX\r\n", usize::MAX);
            client.out.clear();
        }
        let mut picture = Picture::default();
        picture.messages.resize_with(4, Default::default);
        client.send(b"f FETCH 1:* (UID FLAGS)\r\n", usize::MAX);
        picture.hear(client.text(), true);
        for step in steps {
            client.out.clear();
            let (quiet, command) = match step {
                Step::Deliver => {
                    house.deliver(b"Subject: y\r\n\r\nhello\r\n");
                    continue;
                }
                Step::Other(command) => {
                    other.send(format!("o {command}\r\n").as_bytes(), usize::MAX);
                    continue;
                }
                Step::Quiet(command) => (true, command),
                Step::Own(command) => (false, command),
            };
            client.send(format!("c {command}\r\n").as_bytes(), usize::MAX);
            picture.hear(client.text(), quiet);
            if let Some((number, change)) =
                command.strip_prefix("STORE ").and_then(|rest| rest.split_once(' '))
                && let Some((_, flags)) = picture.messages.get_mut(number.parse::<usize>().unwrap() - 1)
                && !client.text().contains("EXPUNGEISSUED")
            {
                // What is not told is what it asked for itself.
                let (sign, flag) = change.split_once("FLAGS.SILENT (").unwrap();
                let flag = flag.trim_end_matches(')').to_owned();
                if sign == "+" { flags.insert(flag) } else { flags.remove(&flag) };
            }
            picture.ask_for_new(&mut client);
        }
        client.out.clear();
        client.send(b"n NOOP\r\n", usize::MAX);
        picture.hear(client.text(), false);
        picture.ask_for_new(&mut client);
        prop_assert_eq!(picture.messages, there(&house));
    }
}
