//! A store of each format there has been, as its release wrote it: every later release opens it and
//! finds what was put in. `GOLDEN=new cargo test --lib store::golden` writes the one of a new format.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Options;
use super::batch::Batch;
use super::body::CHUNK;
use super::disk::OsDisk;
use super::model::{NOW, some_flags};
use super::open;
use super::power::{attachment, body_of, options};
use super::reader::MessageReader;
use super::record::FORMAT;
use super::segment;
use super::sim::SimDisk;
use super::types::{AccountId, Content, FlagChange, MailboxId, Message, QueueId};
use super::writer::Writer;
use crate::mail::{SpecialUse, Uid};

/// What the golden store of a format holds.
fn fill(writer: &mut Writer, format: u32) {
    let (alice, bob) = (AccountId(1), AccountId(2));
    let (inbox, sent, other) = (MailboxId(1), MailboxId(2), MailboxId(3));
    let mut batch = Batch::new();
    batch.create_mailbox(alice, "INBOX".parse().unwrap(), None);
    batch.create_mailbox(alice, "Sent".parse().unwrap(), Some(SpecialUse::Sent));
    batch.create_mailbox(bob, "INBOX".parse().unwrap(), None);
    batch.put_setting("key", b"value".to_vec());
    batch.put_setting("gone", b"value".to_vec());
    commit(writer, batch);
    let text = b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\nhello, hello, hello, hello, hello, hello\r\n";
    let texts = [&b""[..], text, &vec![b'x'; 2 * CHUNK + 5], b"\x00\xae\x70\x62\x01\xff\n\r"];
    for (number, bytes) in texts.into_iter().enumerate() {
        let both = body_of(writer, bytes).unwrap();
        let mut batch = Batch::new();
        batch.add_message(inbox, b"Delivered-To: alice\r\n", &both, some_flags(number), NOW);
        batch.add_message(other, b"Delivered-To: bob\r\n", &both, some_flags(number + 4), NOW);
        batch.enqueue(b"X: y\r\n", &both, vec![number.try_into().unwrap()]);
        commit(writer, batch);
    }
    let mut batch = Batch::new();
    batch.copy(inbox, vec![Uid::FIRST, Uid::new(2).unwrap()], sent);
    batch.set_flags(inbox, vec![Uid::new(3).unwrap()], FlagChange::Add(some_flags(12)), None);
    batch.expunge(inbox, vec![Uid::FIRST]);
    batch.rename_mailbox(sent, "Versendet/2026".parse().unwrap());
    batch.subscribe(sent, false);
    batch.update_queued(QueueId(1), b"again".to_vec());
    batch.dequeue(QueueId(2));
    batch.delete_setting("gone");
    commit(writer, batch);
    if format >= 2 {
        let letter = [b"Subject: a file\r\n\r\n", &attachment(1, 57)[..], b"--end--\r\n"].concat();
        let (first, second) = (body_of(writer, &letter), body_of(writer, &attachment(1, 54)));
        let mut batch = Batch::new();
        for body in [first.unwrap(), second.unwrap()] {
            batch.add_message(other, b"Delivered-To: bob\r\n", &body, some_flags(0), NOW);
        }
        commit(writer, batch);
    }
    if format >= 3 {
        let mut batch = Batch::new();
        for (prefix, header) in [
            ("", "Message-ID: <1@x>\r\nIn-Reply-To: <0@x>\r\n\r\n"),
            ("Message-ID: <2@x>\r\n", "References: <3@x> <1@x>\r\n\r\n"),
            ("", "Message-ID: <3@x>\r\n\r\n"),
            ("", "Message-ID: <4@x>\r\n\r\n"),
        ] {
            let body = body_of(writer, header.as_bytes()).unwrap();
            batch.add_message(other, prefix.as_bytes(), &body, some_flags(0), NOW);
        }
        batch.forget_account(AccountId(3));
        commit(writer, batch);
    }
}

fn commit(writer: &mut Writer, batch: Batch) {
    batch.pack(&writer.shared.segments.dictionaries).unwrap();
    writer.commit(&[batch]).remove(0).unwrap();
}

/// Everything clients can see, as text.
fn seen(writer: &Writer, format: u32) -> Vec<String> {
    let (shared, mut seen) = (&writer.shared, Vec::new());
    let bytes = |content: &Content| {
        let mut bytes = Vec::new();
        MessageReader::message(shared, content).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, content.size());
        blake3::hash(&bytes)
    };
    for mailbox in (1..4).filter_map(|id| shared.index.mailbox(MailboxId(id)).unwrap()) {
        seen.push(format!("{mailbox:?}"));
        for message in shared.index.messages(mailbox.id).unwrap() {
            let Message { uid, modseq, flags, internal_date, save_date, content, thread } = message;
            let bytes = bytes(&content);
            let thread = thread.filter(|_| format >= 3);
            seen.push(format!(
                "{uid:?} {modseq:?} {flags:?} {internal_date} {save_date} {bytes} {thread:?}"
            ));
        }
    }
    for record in shared.index.queue().unwrap() {
        seen.push(format!("{:?} {} {:?}", record.id, bytes(&record.content), record.state));
    }
    seen.extend(shared.index.settings("").unwrap().iter().map(|setting| format!("{setting:?}")));
    seen
}

fn folder(format: u32) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "src/store/golden", &format.to_string()].iter().collect()
}

#[test]
fn stores_of_every_format_open_and_hold_what_was_put_in() {
    if std::env::var("GOLDEN").is_ok_and(|what| what == "new") {
        fs::create_dir_all(folder(FORMAT)).unwrap();
        let disk = Arc::new(OsDisk::new(&folder(FORMAT)));
        let mut writer = open::open(disk, &options(), [7; 32], false).unwrap();
        fill(&mut writer, FORMAT);
        // The index is not part of it: it is made anew.
        drop(writer);
        fs::remove_file(folder(FORMAT).join("index.redb")).unwrap();
    }
    for format in 1..=FORMAT {
        let mut today = open::open(Arc::new(SimDisk::new(0)), &options(), [7; 32], false).unwrap();
        fill(&mut today, format);
        let expected = seen(&today, format);
        assert!(expected.len() > 15);
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(folder(format)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let disk = Arc::new(OsDisk::new(copy.path()));
        let writer = open::open(disk, &options(), [8; 32], false).unwrap();
        assert_eq!(seen(&writer, format), expected, "format {format}");
        assert_eq!(writer.shared.segments.damaged.load(Ordering::Relaxed), 0, "format {format}");
    }
}

#[test]
fn nothing_is_added_to_a_segment_of_an_older_format() {
    for format in 1..FORMAT {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(folder(format)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let file = |number| fs::read(copy.path().join(segment::name(number)));
        let before = segment::numbers(&OsDisk::new(copy.path())).unwrap();
        let last = *before.last().unwrap();
        let old = file(last).unwrap();
        let disk = Arc::new(OsDisk::new(copy.path()));
        let large = Options { segment_size: 1 << 20, ..options() };
        let mut writer = open::open(disk, &large, [8; 32], false).unwrap();
        assert!(file(last + 1).is_err(), "only looking begins nothing");
        let mut batch = Batch::new();
        batch.put_setting("key", b"of today".to_vec());
        commit(&mut writer, batch);
        // Zeros written ahead are cut off.
        assert!(old.starts_with(&file(last).unwrap()), "format {format}: the old one was changed");
        assert_eq!(file(last + 1).unwrap()[8..12], FORMAT.to_le_bytes());
    }
}
