//! SEARCH answers the same whatever the index knows.

use super::*;

const KEYS: &[&str] = &[
    "BODY zebra",
    "TEXT zebra",
    "TEXT \"zebra crossing\"",
    "SUBJECT zebra",
    "FROM zoo.example",
    "FROM lion@zoo",
    "TO alice",
    "BCC alice",
    "HEADER X-Animal zebra",
    "HEADER Delivered-To bob",
    "HEADER Subject \"\"",
    "TEXT bob@example.org",
    "TEXT alice@example.org",
    "NOT TEXT zebra",
    "NOT BODY ebr",
    "OR SUBJECT zebra BODY lion",
    "OR NOT SUBJECT zebra UNSEEN",
    "TEXT zebra SEEN",
    "BODY zebra LARGER 150",
    "2:4 NOT BODY zebra",
    "UID 3:* TEXT e",
    "TEXT \"\"",
    "BODY \"--\"",
    "TEXT Gr\u{fc}\u{df}e",
    "BODY \u{6771}\u{4eac}",
    "BODY \u{1f389}",
    "SENTON 1-Jan-2020 TEXT zebra",
    "TEXT nowhere",
];

#[test]
fn the_index_changes_nothing_but_the_time() {
    let mut house = House::new();
    deliver_all(&house);
    house.search.catch_up(&house.store).unwrap();
    deliver_all(&house);
    let before: Vec<String> = KEYS.iter().map(|key| ask_unindexed(&house, key)).collect();
    assert!(before.iter().filter(|line| line.len() > "* SEARCH".len()).count() > 20);
    // Half of it is indexed, then all.
    for indexed in [false, true] {
        house.indexed = indexed;
        for (key, before) in KEYS.iter().zip(&before) {
            assert_eq!(&ask(&house, key), before, "{key}, all indexed: {indexed}");
        }
    }
}

fn deliver_all(house: &House) {
    let to = |name: &str| format!("Delivered-To: {name}@example.org\r\n");
    let messages = [
        ("Subject: zebra\r\nFrom: lion@zoo.example\r\n", "nothing here"),
        ("Subject: other\r\nX-Animal: Zebra crossing\r\n", "a ZEBRA crossing -- the road"),
        ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nTo: alice@example.org\r\n", "lion"),
        ("Subject:\r\nDate: Wed, 1 Jan 2020 00:00:00 +0000\r\n", "zebra zebra zebra"),
        ("From: \"zoo.example\" <a@b>\r\n", "\u{6771}\u{4eac} \u{1f389} zebra-crossing"),
    ];
    for (header, body) in messages {
        let message = format!("{header}\r\n{body}\r\n");
        house.deliver_with(&[""], message.as_bytes());
        house.deliver_with(&[&to("alice"), &to("bob")], message.as_bytes());
    }
}

fn ask(house: &House, key: &str) -> String {
    let mut client = house.client(993);
    client.log_in();
    client.send(b"s SELECT INBOX\r\nf STORE 1:3 +FLAGS.SILENT (\\Seen)\r\n", usize::MAX);
    client.out.clear();
    let command = if key.is_ascii() {
        format!("a SEARCH {key}\r\n")
    } else {
        let (name, text) = key.split_once(' ').unwrap();
        format!("a SEARCH CHARSET UTF-8 {name} {{{}+}}\r\n{text}\r\n", text.len())
    };
    client.send(command.as_bytes(), usize::MAX);
    let found = client.line();
    assert_eq!(client.line(), "a OK SEARCH completed", "{key}: {found}");
    found
}

/// With an index that knows nothing.
fn ask_unindexed(house: &House, key: &str) -> String {
    let empty = tempfile::tempdir().unwrap();
    let search = Arc::new(Index::open(empty.path(), &house.store));
    let house = House {
        runtime: Builder::new_current_thread().enable_all().build().unwrap(),
        store: house.store.clone(),
        search,
        indexed: false,
        folder: empty,
        without: RefCell::default(),
    };
    ask(&house, key)
}
