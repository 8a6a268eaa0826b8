//! What FETCH tells is the same whether a message was read for it or its summary was enough.

use proptest::prelude::*;

use super::*;

const ITEMS: [&str; 12] = [
    "ENVELOPE",
    "BODYSTRUCTURE",
    "BODY",
    "(ENVELOPE BODYSTRUCTURE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (REFERENCES LIST-ID)])",
    "BODY.PEEK[HEADER.FIELDS (Date From Subject Content-Type)]<2.30>",
    "BODY.PEEK[HEADER.FIELDS (Subject Received)]",
    "BODY.PEEK[HEADER.FIELDS.NOT (Subject)]",
    "(BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[1] BODY.PEEK[1.MIME])",
    "(BODY.PEEK[2.HEADER] BODY.PEEK[2.1] BODY.PEEK[1.1]<1.5>)",
    "(BODY.PEEK[] PREVIEW)",
    "PREVIEW",
    "(BINARY.SIZE[1] BINARY.PEEK[1]<1.4> BINARY.PEEK[2] BINARY.PEEK[])",
];

/// All that a client hears of every message.
fn fetch(house: &House) -> String {
    let mut client = house.client(993);
    client.log_in();
    client.send(b"s EXAMINE INBOX\r\n", usize::MAX);
    client.out.clear();
    for items in ITEMS {
        client.send(format!("f FETCH 1:* {items}\r\n").as_bytes(), usize::MAX);
    }
    String::from_utf8_lossy(&client.out).into_owned()
}

fn check(messages: &[Vec<u8>]) {
    let mut house = House::new();
    for message in messages {
        house.deliver_with(&["", "Return-Path: <>\r\n", "Subject: own\r\n"], message);
    }
    let read = fetch(&house);
    house.indexed = true;
    let summarised = fetch(&house);
    assert_eq!(house.summaries.stats().bodies, messages.len() as u64);
    assert_eq!(read, summarised);
}

#[test]
fn messages_of_all_kinds_tell_the_same_summarised_or_read() {
    let folder = dialogs().join("messages");
    let files = fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
    let mut messages: Vec<Vec<u8>> = files.collect();
    messages.extend(messages.clone().into_iter().map(|message| {
        let text = String::from_utf8_lossy(&message).replace("\r\n", "\n");
        text.replace('\n', "\r\n").into_bytes()
    }));
    messages.push(format!("Subject: {}\r\n\r\nlong", "x".repeat(100_000)).into_bytes());
    messages.push("To: a@b,".repeat(5000).into_bytes());
    check(&messages);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_message_tells_the_same_summarised_or_read(
        lines in proptest::collection::vec(prop_oneof![
            Just("--a"), Just("--a--"), Just(""), Just(""), Just("text é"), Just("Zm9v"), Just("=3D=C3"),
            Just("Content-Type: multipart/mixed; boundary=a"), Just("Subject: grüße \u{1F600}"),
            Just("Content-Type: message/rfc822"), Just("Content-Transfer-Encoding: base64"),
            Just("From: \"A ü\" <a@b>, g: c@d;"), Just("Content-Disposition: inline; filename=\"ä\""),
            Just("Content-Type: text/html"), Just("<p>page"), Just("References: <a@b>\r\n <c@d>"),
            Just("Content-Transfer-Encoding: quoted-printable"), Just("Content-Transfer-Encoding: x"),
        ], 1..30),
    ) {
        check(&[lines.join("\r\n").into_bytes()]);
    }
}

/// The answer to a command.
fn ask(client: &mut Client<'_>, command: &str) -> String {
    client.out.clear();
    client.send(command.as_bytes(), usize::MAX);
    client.text().to_owned()
}

#[test]
fn of_too_many_messages_at_once_none_is_kept() {
    let house = House::new();
    let mut client = house.client(993);
    client.log_in();
    let message = " {14+}\r\nSubject: x\r\n\r\n";
    let answer = ask(&mut client, &format!("a APPEND INBOX{}\r\n", message.repeat(51)));
    assert!(answer.starts_with("a NO [LIMIT] "), "{answer}");
    let answer = ask(&mut client, &format!("b APPEND INBOX{}\r\n", message.repeat(50)));
    assert!(answer.contains(" 1:50] APPEND completed"), "{answer}");
    // Too large together, though none of them is.
    let large = House::MESSAGE_SIZE / 2 + 1;
    let large = format!(" {{{large}+}}\r\n{}", "x".repeat(usize::try_from(large).unwrap()));
    let answer = ask(&mut client, &format!("c APPEND INBOX{large}{large}\r\nd NOOP\r\n"));
    assert!(answer.starts_with("c NO [LIMIT] ") && answer.contains("d OK"), "{answer}");
    assert!(ask(&mut client, "e STATUS INBOX (MESSAGES)\r\n").contains("(MESSAGES 50)"));
}

#[test]
fn a_full_mailbox_takes_what_replaces_as_much() {
    let house = House::new();
    house.deliver(b"Subject: x\r\n\r\nhello\r\n");
    let mut batch = Batch::new();
    batch.set_quota(ALICE, Quota { bytes: Some(25), messages: None });
    house.runtime.block_on(house.store.commit(batch)).unwrap();
    let mut client = house.client(993);
    client.log_in();
    ask(&mut client, "s SELECT INBOX\r\n");
    let message = "Subject: x\r\n\r\nhallo you";
    let append = format!("INBOX {{{}+}}\r\n{message}\r\n", message.len());
    let answer = ask(&mut client, &format!("a APPEND {append}"));
    assert!(answer.starts_with("a NO [OVERQUOTA]"), "{answer}");
    let answer = ask(&mut client, &format!("b REPLACE 1 {append}"));
    assert!(answer.contains("* 1 EXPUNGE") && answer.contains("b OK"), "{answer}");
    let message = format!("{message}, dear friend");
    let append = format!("INBOX {{{}+}}\r\n{message}\r\n", message.len());
    let answer = ask(&mut client, &format!("c REPLACE 1 {append}"));
    assert!(answer.starts_with("c NO [OVERQUOTA]"), "{answer}");
    assert!(ask(&mut client, "d STATUS INBOX (MESSAGES)\r\n").contains("(MESSAGES 1)"));
}
