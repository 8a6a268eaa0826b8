//! Whole ways in and out, over a real line to a real store.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::*;
use crate::mail::{Flag, Flags, MailboxName, SpecialUse};
use crate::store::{AccountId, Batch, MailboxId, Options, Store};

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);

struct House {
    store: Store,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

/// Name, bytes, flags and date of every message, in order of name and UID.
type Mail = Vec<(String, Vec<u8>, String, Timestamp)>;

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data"), Options::default()).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
        let house = Self { store, runtime: runtime.unwrap(), folder };
        for account in [ALICE, BOB] {
            let mut batch = Batch::new();
            batch.create_mailbox(account, MailboxName::inbox(), None);
            for usage in SpecialUse::ALL {
                let name = usage.default_name().parse().unwrap();
                batch.create_mailbox(account, name, Some(usage));
            }
            house.commit(batch);
        }
        house
    }

    fn commit(&self, batch: Batch) {
        self.runtime.block_on(self.store.commit(batch)).unwrap();
    }

    fn mailbox(&self, name: &str) -> MailboxId {
        let name: MailboxName = name.parse().unwrap();
        if self.store.find_mailbox(ALICE, &name).unwrap().is_none() {
            let mut batch = Batch::new();
            batch.create_mailbox(ALICE, name.clone(), None);
            self.commit(batch);
        }
        self.store.find_mailbox(ALICE, &name).unwrap().unwrap().id
    }

    fn put(&self, mailbox: &str, bytes: &[u8], flags: &str, date: Timestamp) {
        let mailbox = self.mailbox(mailbox);
        self.runtime.block_on(async {
            let mut body = self.store.new_body();
            body.write(bytes).await.unwrap();
            let body = body.finish().await.unwrap();
            let mut batch = Batch::new();
            batch.add_message(mailbox, &[], &body, flags_of(flags), date);
            self.store.commit(batch).await.unwrap();
        });
    }

    fn mail(&self, account: AccountId) -> Mail {
        let mut all = Vec::new();
        for mailbox in self.store.mailboxes(account).unwrap() {
            for message in self.store.messages(mailbox.id).unwrap() {
                let mut bytes = Vec::new();
                self.store.read(&message.content).unwrap().read_to_end(&mut bytes).unwrap();
                let flags: Vec<String> =
                    message.flags.iter().map(|flag| flag.to_string()).collect();
                all.push((mailbox.name.to_string(), bytes, flags.join(" "), message.internal_date));
            }
        }
        all
    }

    fn subjects(&self) -> BTreeMap<String, Vec<String>> {
        let mut subjects: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (mailbox, bytes, flags, date) in self.mail(BOB) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let subject = text.split("Subject: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let line = format!("{subject} [{flags}] {}", date.strftime("%F"));
            subjects.entry(mailbox).or_default().push(line);
        }
        subjects
    }

    fn import(&self, path: &Path) -> Summary {
        self.import_with(&options(path), &mut Patient).unwrap()
    }

    fn import_with(
        &self,
        options: &ImportOptions,
        watch: &mut dyn Watch,
    ) -> Result<Summary, ArchiveError> {
        let (near, far) = UnixStream::pair().unwrap();
        let (store, handle) = (self.store.clone(), self.runtime.handle().clone());
        let serving = std::thread::spawn(move || receive(&store, BOB, &far, &handle));
        let summary = import(options, &near, watch);
        drop(near);
        // Who has nothing to import hangs up at once.
        let served = serving.join().unwrap();
        assert!(served.is_ok() || summary.is_err());
        summary
    }

    fn export(&self, format: Output, watch: &mut dyn Watch) -> Summary {
        let (near, far) = UnixStream::pair().unwrap();
        let store = self.store.clone();
        let serving = std::thread::spawn(move || give(&store, ALICE, &far));
        let summary = export(&self.out(), format, &near, watch).unwrap();
        drop(near);
        // An interrupted one ends in a broken line.
        let served = serving.join().unwrap();
        assert!(served.is_ok() || summary.interrupted);
        summary
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }
}

struct Patient;

impl Watch for Patient {
    fn progress(&mut self, _: &Progress) {}
    fn is_stopped(&self) -> bool {
        false
    }
}

/// Stops after so many batches.
struct Impatient(u32);

impl Watch for Impatient {
    fn progress(&mut self, _: &Progress) {
        self.0 = self.0.saturating_sub(1);
    }
    fn is_stopped(&self) -> bool {
        self.0 == 0
    }
}

fn options(path: &Path) -> ImportOptions {
    ImportOptions { path: path.to_owned(), format: None, into: None, seen: false }
}

fn flags_of(text: &str) -> Flags {
    text.split_whitespace().map(|flag| flag.parse::<Flag>().unwrap()).collect()
}

fn day(day: i64) -> Timestamp {
    Timestamp::from_microsecond((day * 86_400 + 7) * 1_000_000 + 123_456).unwrap()
}

fn torture() -> Vec<Vec<u8>> {
    let long = format!("Subject: long\r\n\r\n{}\r\n", "x\u{e9}".repeat(200_000));
    let large = format!("Subject: large\r\n\r\n{}", "From here to there\r\n".repeat(100_000));
    let large_bare = format!("{large}a line\n");
    let quoted = ">From a\r\n>>From b\r\nFrom c\r\n From d\r\n";
    let texts = [
        "Subject: plain\r\n\r\nhello\r\n",
        "Subject: no end\r\n\r\nhello",
        "Subject: no body\r\n",
        "Subject: empty body\r\n\r\n",
        "Subject: blank lines at the end\r\n\r\nhello\r\n\r\n\r\n\r\n",
        "Subject: bare line feed\r\n\r\none\ntwo\r\n",
        "Subject: bare return\r\n\r\none\rtwo\r\n",
        "Subject: only line feeds\n\none\ntwo\n",
        "Subject: return at the end\r\n\r\none\r",
        "Subject: two returns\r\n\r\none\r\r\n",
        "Subject: nul\r\n\r\n\0\0\x01\x7f\r\n",
        "From the start\r\nSubject: separator\r\n\r\nhello\r\n",
        "From a@b Sun Nov 22 10:00:00 2026\r\n\r\nFrom a@b Sun Nov 22 10:00:00 2026\r\n",
        "Status: RO\r\nX-Status: F\r\nSubject: status\r\n\r\nhello\r\n",
        "X-Pillarbox-Export: 1.2 3 2026-11-22T10:00:00Z lf open\r\nSubject: mark\r\n\r\nhello\r\n",
        "Content-Length: 7\r\nSubject: length\r\n\r\n>From a\r\n",
        "Content-Length: 8\r\nSubject: length\r\n\r\n>From a\r\n\r\nFrom b 10:00\r\n",
        "X-Mozilla-Status: 0009\r\nSubject: mozilla\r\n\r\nhello\r\n",
        "X-Gmail-Labels: Spam,Unread\r\nSubject: labels\r\n\r\nhello\r\n",
        "\r\n",
        "\n",
        "\r",
        "x",
        "no header at all\r\n",
        &format!("Subject: quoted\r\n\r\n{quoted}"),
        &format!("Subject: quoted, no end\r\n\r\n{quoted}>From "),
        &long,
        &large,
        &large_bare,
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push((0..=255).cycle().take(3_000).collect());
    all
}

const MAILBOXES: [&str; 8] =
    ["INBOX", "Sent", "Work/Bills", "Work", "a.b/.c", "Entwürfe & mehr", "x.mbox/mbox", "INBOX/y"];

fn filled() -> House {
    let house = House::new();
    let flags = ["", "\\Seen", "\\Answered \\Flagged $Forwarded", "\\Draft \\Deleted Work $Label1"];
    let torture = torture();
    for (at, mailbox) in MAILBOXES.iter().enumerate() {
        for (number, bytes) in torture.iter().enumerate() {
            // All of them in one mailbox, some in each other.
            if at > 0 && number % MAILBOXES.len() != at {
                continue;
            }
            let date = day(9_000 + i64::try_from(number).unwrap());
            house.put(mailbox, bytes, flags[number % flags.len()], date);
        }
    }
    house
}

fn round_trip(format: Output) {
    let house = filled();
    house.mailbox("Nothing in it");
    let before = house.mail(ALICE);
    let summary = house.export(format, &mut Patient);
    assert_eq!((summary.added, summary.failed), (before.len() as u64, 0), "{summary:?}");
    let again = house.export(format, &mut Patient);
    assert_eq!((again.added, again.present), (0, before.len() as u64));

    let summary = house.import(&house.out());
    assert_eq!((summary.added, summary.failed), (before.len() as u64, 0), "{summary:?}");
    let mut after = house.mail(BOB);
    let mut before = before;
    let show = |mail: &(String, Vec<u8>, String, Timestamp)| {
        let (mailbox, bytes, flags, date) = mail;
        let text = String::from_utf8_lossy(bytes).chars().take(90).collect::<String>();
        format!("{mailbox} {text:?} {} {flags} {date}", bytes.len())
    };
    before.sort();
    after.sort();
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after, "{}\nbecame\n{}", show(before), show(after));
    }
    assert_eq!(before.len(), after.len());
    let names = |account| {
        let mailboxes = house.store.mailboxes(account).unwrap();
        mailboxes.into_iter().map(|mailbox| mailbox.name.to_string()).collect::<Vec<_>>()
    };
    let parents = |name: &String| name != "a.b" && name != "x.mbox";
    assert_eq!(names(ALICE), names(BOB).into_iter().filter(parents).collect::<Vec<_>>());

    let again = house.import(&house.out());
    assert_eq!((again.added, again.present), (0, before.len() as u64));
}

#[test]
fn everything_comes_back_byte_for_byte_from_a_maildir() {
    round_trip(Output::Maildir);
}

#[test]
fn everything_comes_back_byte_for_byte_from_mboxes() {
    round_trip(Output::Mbox);
}

#[test]
fn an_interrupted_export_goes_on_where_it_stopped() {
    for format in [Output::Maildir, Output::Mbox] {
        let house = filled();
        let all = house.mail(ALICE).len() as u64;
        let first = house.export(format, &mut Impatient(7));
        assert!(first.interrupted && first.added > 0 && first.added < all, "{first:?}");
        // A message that was being written when the power went.
        if format == Output::Mbox {
            let inbox = house.out().join("INBOX.mbox");
            let len = fs::metadata(&inbox).unwrap().len();
            fs::File::options().write(true).open(inbox).unwrap().set_len(len - 7).unwrap();
        }
        let second = house.export(format, &mut Patient);
        let torn = u64::from(format == Output::Mbox);
        assert_eq!((second.present + torn, second.failed), (first.added, 0));
        assert_eq!(house.import(&house.out()).added, all);
    }
}

#[test]
fn an_interrupted_import_goes_on_where_it_stopped() {
    let house = House::new();
    let folder = house.folder.path().join("many");
    fs::create_dir(&folder).unwrap();
    for number in 0..300 {
        let text = format!("Subject: {number}\n\nhello\n");
        fs::write(folder.join(format!("{number}.eml")), text).unwrap();
    }
    let first = house.import_with(&options(&folder), &mut Impatient(1)).unwrap();
    assert!(first.interrupted && first.added == 128, "{first:?}");
    let second = house.import(&folder);
    assert_eq!((second.added, second.present), (172, 128));
    let subjects: Vec<String> =
        house.mail(BOB).into_iter().map(|mail| String::from_utf8(mail.1).unwrap()).collect();
    let expected: Vec<String> =
        (0..300).map(|number| format!("Subject: {number}\r\n\r\nhello\r\n")).collect();
    assert_eq!(subjects, expected, "each once, in the order of the numbers");
}

#[test]
fn one_bad_file_never_stops_the_import() {
    let house = House::new();
    let folder = house.folder.path().join("mail");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("1.eml"), "Subject: first\n\n").unwrap();
    fs::write(folder.join("2.eml"), "").unwrap();
    fs::write(folder.join("3.eml"), b"\x1f\x8b\x08packed").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("4.eml")).unwrap();
    fs::write(folder.join("5.eml"), "Subject: last\n\n").unwrap();
    let summary = house.import(&folder);
    assert_eq!((summary.added, summary.failed), (2, 3));
    for (failure, word) in summary.failures.iter().zip(["2.eml", "3.eml", "4.eml"]) {
        assert!(failure.0.ends_with(word), "{failure:?}");
    }
    assert!(summary.failures[1].1.contains("compressed"));
    let missing = house.import_with(&options(&folder.join("nothing")), &mut Patient);
    assert!(missing.unwrap_err().to_string().contains("nothing"));
    let empty = house.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let none = house.import_with(&options(&empty), &mut Patient).unwrap_err();
    assert!(none.to_string().contains("no mail in"), "{none}");
    // A picture is no message, and a circle of folders ends.
    let picture = empty.join("picture.jpg");
    fs::write(&picture, b"\xff\xd8\xff\xe0\0\x10JFIF: no field\n").unwrap();
    for name in ["a", "b"] {
        std::os::unix::fs::symlink(".", empty.join(name)).unwrap();
    }
    for path in [&picture, &empty] {
        let none = house.import_with(&options(path), &mut Patient).unwrap_err();
        assert!(none.to_string().contains("no mail in"), "{none}");
    }
    fs::write(empty.join("one.eml"), "Subject: one\n\n").unwrap();
    let summary = house.import(&empty);
    assert_eq!(summary.added, 1);
    assert!(summary.notes[0].contains("picture.jpg"), "{summary:?}");
    let letter = empty.join("letter");
    fs::write(&letter, "Subject: letter\n\n").unwrap();
    assert_eq!(house.import(&letter).added, 1);
}

#[test]
fn a_full_card_says_how_to_go_on() {
    let house = House::new();
    let (store, fail_after) = Store::on_a_failing_disk();
    let mut batch = Batch::new();
    batch.create_mailbox(BOB, MailboxName::inbox(), None);
    house.runtime.block_on(store.commit(batch)).unwrap();
    let house = House { store, ..house };
    let file = house.folder.path().join("one.eml");
    fs::write(&file, format!("Subject: one\n\n{}", "text\n".repeat(100_000))).unwrap();
    fail_after(0);
    let summary = house.import(&file);
    assert_eq!(summary.added, 0);
    assert!(summary.stopped.unwrap().contains("run the same command again"));
}

#[test]
fn a_refused_import_leaves_no_empty_mailboxes_behind() {
    let mut house = House::new();
    let data = house.folder.path().join("data");
    let old = house.folder.path().join("old");
    fs::create_dir_all(old.join("Trips/2024")).unwrap();
    fs::write(old.join("Trips/2024/one.eml"), "Subject: one\n\ntext\n").unwrap();
    let names = |house: &House| -> Vec<String> {
        house.store.mailboxes(BOB).unwrap().iter().map(|m| m.name.to_string()).collect()
    };
    let before = names(&house);
    house.runtime.block_on(house.store.clone().close()).unwrap();
    // As on a card that is full: reading and tidying up still work.
    let full = Options { reserve: u64::MAX / 2, ..Options::default() };
    house.store = Store::open(&data, full).unwrap();
    let summary = house.import(&old);
    assert!(summary.stopped.is_some() && summary.added == 0, "{summary:?}");
    assert_eq!(names(&house), before);

    house.runtime.block_on(house.store.clone().close()).unwrap();
    house.store = Store::open(&data, Options::default()).unwrap();
    assert_eq!(house.import(&old).added, 1);
    assert_eq!(names(&house).len(), before.len() + 2, "{:?}", names(&house));
}

#[test]
fn a_dovecot_maildir_keeps_flags_dates_and_subscriptions() {
    let house = House::new();
    let root = house.folder.path().join("Maildir");
    let put = |folder: &str, name: &str, text: &str, at: i64| {
        let path = root.join(folder).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at.try_into().unwrap());
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(time).unwrap();
    };
    put("cur", "1000000000.M1P1.host,S=19,W=21:2,RS", "Subject: a\n\nhello\n", 1_000_000_000);
    put("new", "999999999.M1P1.host", "Subject: b\r\n\r\nhello\n", 86_400);
    put(".Gesendet/cur", "1.x:2,Sb", "Subject: c\n\n", 2 * 86_400);
    put(".Entw&APw-rfe.2019/cur", "1.x;2,D", "Subject: d\n\n", 3 * 86_400);
    put(".Lists.rust/cur", "1.x:2,", "Subject: e\n\n", 4 * 86_400);
    put("tmp", "1.half", "Subject: half", 1);
    fs::write(root.join(".Gesendet/dovecot-keywords"), "0 Junk\n1 $Label1\n").unwrap();
    fs::write(root.join("subscriptions"), "Gesendet\n").unwrap();
    fs::write(root.join("dovecot-uidlist"), "3 V1 N2\n").unwrap();
    let summary = house.import(&root);
    assert_eq!((summary.added, summary.failed), (5, 0), "{summary:?}");
    let expected = [
        ("Drafts/2019", vec!["d [\\Draft] 1970-01-04"]),
        ("INBOX", vec!["b [] 1970-01-02", "a [\\Answered \\Seen] 2001-09-09"]),
        ("Lists/rust", vec!["e [] 1970-01-05"]),
        ("Sent", vec!["c [\\Seen $Label1] 1970-01-03"]),
    ];
    let expected: BTreeMap<String, Vec<String>> = expected
        .into_iter()
        .map(|(name, lines)| (name.to_owned(), lines.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(house.subjects(), expected);
    let mailboxes = house.store.mailboxes(BOB).unwrap();
    let subscribed = |name: &str| {
        mailboxes.iter().find(|mailbox| mailbox.name.as_str() == name).unwrap().subscribed
    };
    assert!(subscribed("Sent") && !subscribed("Lists/rust"));
    let bytes = &house.mail(BOB)[1].1;
    assert_eq!(bytes, b"Subject: b\r\n\r\nhello\n", "a file in the form of the wire stays");
}

#[test]
fn a_folder_of_thunderbird_becomes_mailboxes() {
    let house = House::new();
    let root = house.folder.path().join("Local Folders");
    fs::create_dir_all(root.join("Inbox.sbd/Work.sbd")).unwrap();
    let message = |subject: &str, status: &str| {
        format!(
            "From - Sun Nov 22 10:00:00 2026\r\nX-Mozilla-Status: {status}\r\n\
             Date: Mon, 02 Jan 2006 10:00:00 +0000\r\nSubject: {subject}\r\n\r\n\
             >From here\r\n\r\n"
        )
    };
    let inbox = message("a", "0001") + &message("gone", "0009") + &message("b", "0000");
    fs::write(root.join("Inbox"), inbox).unwrap();
    fs::write(root.join("Inbox.msf"), "// <!-- <mdb:mork:z v=\"1.4\"/> -->").unwrap();
    fs::write(root.join("Inbox.sbd/Work"), message("c", "1007")).unwrap();
    fs::write(root.join("Inbox.sbd/Work.sbd/Bills"), message("d", "0000")).unwrap();
    fs::write(root.join("Trash"), "").unwrap();
    let summary = house.import(&root);
    assert_eq!((summary.added, summary.deleted, summary.failed), (4, 1, 0), "{summary:?}");
    let subjects = house.subjects();
    assert_eq!(subjects["INBOX"], ["a [\\Seen] 2006-01-02", "b [] 2006-01-02"]);
    assert_eq!(subjects["INBOX/Work"], ["c [\\Answered \\Flagged \\Seen $Forwarded] 2006-01-02"]);
    assert_eq!(subjects["INBOX/Work/Bills"], ["d [] 2006-01-02"]);
    let bytes = &house.mail(BOB)[0].1;
    assert!(bytes.ends_with(b"\r\n\r\nFrom here\r\n"));
}

#[test]
fn an_export_of_apple_mail_is_named_after_its_folder() {
    let house = House::new();
    let message = "From a@b Sun Nov 22 10:00:00 2026\nSubject: a\n\nhello\n";
    let root = house.folder.path().join("old.mbox");
    for folder in ["", "Work.mbox"] {
        fs::create_dir_all(root.join(folder)).unwrap();
        fs::write(root.join(folder).join("mbox"), message).unwrap();
    }
    assert_eq!(house.import(&root).added, 2);
    assert_eq!(house.subjects().into_keys().collect::<Vec<_>>(), ["old", "old/Work"]);
    // A folder of mboxes may be called so as well.
    fs::remove_dir_all(&root).unwrap();
    fs::create_dir(&root).unwrap();
    fs::write(root.join("Bills.mbox"), message).unwrap();
    assert_eq!(house.import(&root).added, 1);
    assert!(house.subjects().contains_key("Bills"));
}

#[test]
fn a_takeout_of_google_is_put_where_its_labels_say() {
    let house = House::new();
    let file = house.folder.path().join("All mail Including Spam and Trash.mbox");
    let message = |subject: &str, labels: &str| {
        format!(
            "From 17@xxx Sun Nov 22 10:00:00 +0000 2026\r\nX-Gmail-Labels: {labels}\r\n\
             Subject: {subject}\r\n\r\nhello\r\n\r\n"
        )
    };
    let text = message("a", "Inbox,Unread")
        + &message("b", "Sent,Opened")
        + &message("c", "=?UTF-8?Q?Posteingang,Familie,Markiert?=")
        + &message("d", "Archived,Opened")
        + &message("e", "Spam,Category Promotions,Unread");
    fs::write(&file, text).unwrap();
    let summary = house.import(&file);
    assert_eq!(summary.added, 6, "one is in two mailboxes: {summary:?}");
    let subjects = house.subjects();
    assert_eq!(subjects["INBOX"], ["a [] 2026-11-22", "c [\\Flagged \\Seen] 2026-11-22"]);
    assert_eq!(subjects["Familie"], ["c [\\Flagged \\Seen] 2026-11-22"]);
    assert_eq!(subjects["Sent"], ["b [\\Seen] 2026-11-22"]);
    assert_eq!(subjects["Archive"], ["d [\\Seen] 2026-11-22"]);
    assert_eq!(subjects["Junk"], ["e [] 2026-11-22"]);
    assert_eq!(house.import(&file).added, 0);
    let into = ImportOptions { into: Some("Old".parse().unwrap()), seen: true, ..options(&file) };
    assert_eq!(house.import_with(&into, &mut Patient).unwrap().added, 5);
    let name = "Old/All mail Including Spam and Trash";
    assert!(house.subjects()[name].iter().all(|line| line.contains("\\Seen")));
}

#[test]
fn a_tree_of_single_messages_takes_dates_from_headers() {
    let house = House::new();
    let root = house.folder.path().join("mail");
    fs::create_dir_all(root.join("Work/Bills")).unwrap();
    fs::write(root.join("a.eml"), "Date: Mon, 02 Jan 2006 10:00:00 +0000\nSubject: a\n\n").unwrap();
    let received = "Received: from a by b; Tue, 03 Jan 2006 10:00:00 +0000\nSubject: b\n\n";
    fs::write(root.join("Work/b.EML"), received).unwrap();
    fs::write(root.join("Work/Bills/c.eml"), "Subject: c\n\n").unwrap();
    fs::write(root.join("Work/Bills/readme.txt"), "no mail").unwrap();
    let file = fs::File::options().write(true).open(root.join("Work/Bills/c.eml")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    assert_eq!(house.import(&root).added, 3);
    let subjects = house.subjects();
    assert_eq!(subjects["INBOX"], ["a [] 2006-01-02"]);
    assert_eq!(subjects["Work"], ["b [] 2006-01-03"]);
    assert_eq!(subjects["Work/Bills"], ["c [] 2001-09-09"]);
}

#[test]
fn an_export_never_writes_into_somebody_elses_mbox() {
    let house = filled();
    fs::create_dir_all(house.out()).unwrap();
    let theirs = "From a@b Sun Nov 22 10:00:00 2026\nSubject: theirs\n\nhello\n";
    let inbox = house.out().join("INBOX.mbox");
    for theirs in [theirs.to_owned(), theirs.repeat(2), "a diary".to_owned()] {
        fs::write(&inbox, &theirs).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let store = house.store.clone();
        let serving = std::thread::spawn(move || give(&store, ALICE, &far));
        let refused = export(&house.out(), Output::Mbox, &near, &mut Patient).unwrap_err();
        assert!(matches!(refused, ArchiveError::Foreign(_)), "{refused}");
        drop(near);
        assert!(serving.join().unwrap().is_err());
        assert_eq!(fs::read_to_string(&inbox).unwrap(), theirs);
    }
}
