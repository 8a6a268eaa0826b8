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
    "MODSEQ 9 BODY zebra",
    "SAVEDON 1-Mar-2026 NOT SUBJECT zebra",
    "YOUNGER 60 BODY zebra",
    "OLDER 60",
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
    let mut found = client.line();
    if found.starts_with("* OK [HIGHESTMODSEQ ") {
        found = client.line();
    }
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
        summaries: Arc::clone(&house.summaries),
        indexed: false,
        folder: empty,
        without: RefCell::default(),
    };
    ask(&house, key)
}

#[test]
fn a_search_knows_what_others_changed_a_moment_ago() {
    let house = House::new();
    deliver_all(&house);
    let (mut client, mut other) = (house.client(993), house.client(993));
    for client in [&mut client, &mut other] {
        client.log_in();
        client.send(b"s SELECT INBOX\r\n", usize::MAX);
    }
    let mut found = |key: &str, other: &mut Client<'_>, before: &str| {
        other.send(before.as_bytes(), usize::MAX);
        client.out.clear();
        client.send(format!("a UID SEARCH {key}\r\n").as_bytes(), usize::MAX);
        client.line()
    };
    assert_eq!(found("FLAGGED", &mut other, ""), "* SEARCH");
    assert_eq!(found("FLAGGED", &mut other, "b STORE 2,4 +FLAGS (\\Flagged)\r\n"), "* SEARCH 2 4");
    assert_eq!(found("FLAGGED", &mut other, "c UID MOVE 2 Trash\r\n"), "* SEARCH 4");
    assert_eq!(found("KEYWORD $Work", &mut other, "d UID STORE 4 FLAGS ($Work)\r\n"), "* SEARCH 4");
    assert_eq!(found("UNFLAGGED 14:*", &mut other, "e UID COPY 4 INBOX\r\n"), "* SEARCH 15");
    // The copy is there, but this client was not told of it before it asked.
    assert_eq!(found("KEYWORD $Work", &mut other, "f UID COPY 4 INBOX\r\n"), "* SEARCH 4 16");
    assert_eq!(found("KEYWORD $Work", &mut other, ""), "* SEARCH 4 16 17");
    assert_eq!(found("KEYWORD $Work", &mut other, "g UID MOVE 4 Trash\r\n"), "* SEARCH 16 17");
}

#[test]
fn the_sets_of_a_mailbox_say_what_its_rows_say() {
    let house = House::new();
    deliver_all(&house);
    let mut client = house.client(993);
    client.log_in();
    client.send(
        b"s SELECT INBOX\r\na STORE 1:4 +FLAGS (\\Seen)\r\nb STORE 2:6 +FLAGS (\\Flagged)\r\n\
          c STORE 4,7 +FLAGS (\\Answered $Work)\r\nd STORE 3:9 +FLAGS (\\Draft)\r\n\
          e STORE 8,15 +FLAGS (\\Deleted)\r\nf EXPUNGE\r\ng STORE 6,10 +FLAGS (\\Deleted)\r\n",
        usize::MAX,
    );
    let mut found = |key: &str| {
        client.out.clear();
        client.send(format!("a SEARCH {key}\r\n").as_bytes(), usize::MAX);
        client.line()
    };
    for key in [
        "ALL",
        "UNSEEN",
        "SEEN",
        "FLAGGED UNDRAFT",
        "OR ANSWERED DELETED",
        "NOT (SEEN FLAGGED)",
        "UNDELETED 3:*",
        "DRAFT UID 5:7 UNANSWERED",
        "UNSEEN BODY zebra",
        "NOT SUBJECT zebra FLAGGED",
    ] {
        // Every message is larger than nothing, which only its row can tell.
        let (sets, rows) = (found(key), found(&format!("LARGER 0 {key}")));
        assert_eq!(sets, rows, "{key}");
        assert!(sets.len() > "* SEARCH".len(), "{key}");
    }
}

#[test]
fn mailboxes_beyond_the_rows_kept_are_searched_alike() {
    let mut house = House::new();
    deliver_all(&house);
    let mut client = house.client(993);
    client.log_in();
    client.send(b"s SELECT INBOX\r\n", usize::MAX);
    // More different sets of keywords than are kept.
    for round in 0..1100 {
        client.send(format!("k STORE 3 FLAGS (k{round})\r\n").as_bytes(), usize::MAX);
        if round % 50 == 0 {
            client.send(b"k SEARCH KEYWORD k0\r\n", usize::MAX);
        }
    }
    client.out.clear();
    client.send(b"a SEARCH KEYWORD k1099\r\nb SEARCH UNKEYWORD k1099 5:*\r\n", usize::MAX);
    assert_eq!(client.line(), "* SEARCH 3");
    drop(client);
    house.indexed = true;
    assert_eq!(ask(&house, "KEYWORD k1099"), "* SEARCH 3");
}

#[test]
fn a_client_that_waits_is_told_how_far_its_search_is() {
    let house = House::new();
    deliver_all(&house);
    let mut client = house.client(993);
    client.log_in();
    client.send(b"s SELECT INBOX\r\n", usize::MAX);
    client.desk.progress_after = Some(std::time::Duration::ZERO);
    let count = {
        client.out.clear();
        client.send(b"n SEARCH RETURN (COUNT) ALL\r\n", usize::MAX);
        let line = client.line();
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    // Nothing is indexed: each message is read.
    client.out.clear();
    client.send(b"a] SEARCH BODY zebra\r\n", usize::MAX);
    let told = format!("* OK [INPROGRESS (\"a]\" {count} {count})] Still searching");
    assert_eq!(client.line(), told);
    assert!(client.line().starts_with("* SEARCH "));
    // Both rounds of a SORT count, and it never goes back.
    client.out.clear();
    client.send(b"b SORT (SUBJECT) UTF-8 BODY zebra\r\n", usize::MAX);
    let goal = 2 * count;
    let told = |done: usize| format!("* OK [INPROGRESS (\"b\" {done} {goal})] Still searching");
    assert_eq!((client.line(), client.line()), (told(count), told(goal)));
    assert!(client.line().starts_with("* SORT "));
    // In a hurry nothing is told.
    client.desk.progress_after = None;
    client.out.clear();
    client.send(b"c SEARCH BODY zebra\r\n", usize::MAX);
    assert!(client.line().starts_with("* SEARCH "));
}
