//! What the card itself does to the store: rot, full cards, foreign and forged bytes. Driven on the
//! simulated disk, one scene at a time.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::batch::Batch;
use super::body::{Body, Lump, Packed, Parts};
use super::disk::{Disk, How, OsDisk, read_exact_at};
use super::error::StoreError;
use super::index;
use super::model::Model;
use super::open::Refused;
use super::packing;
use super::power::{Trial, open};
use super::record::{self, Kind, Place, SEGMENT_HEADER, SegmentHeader};
use super::segment::{self, Found, Walk};
use super::sim::{Rng, SimDisk};
use super::sound::is_sound;
use super::types::{AccountId, BodyId, MailboxId, Outcome};
use super::verify::{scrub, verify};
use super::writer::Writer;
use crate::mail::threading::Threading;
use crate::mail::{Flags, MailboxName};

const INBOX: MailboxId = MailboxId(1);

fn small_body(writer: &Writer, bytes: &[u8]) -> Body {
    let id = BodyId(writer.shared.next_body.fetch_add(1, Ordering::Relaxed));
    let chunks = vec![Lump::Raw(bytes.to_vec())];
    let parts = Parts { chunks, ..Parts::default() };
    let body = Body::new(id, bytes.len() as u64, Threading::default(), parts);
    body.pack(&writer.shared.segments.dictionaries).unwrap();
    body
}

fn add(writer: &mut Writer, bytes: &[u8]) -> Result<Vec<Outcome>, StoreError> {
    let (body, mut batch) = (small_body(writer, bytes), Batch::new());
    batch.add_message(INBOX, b"", &body, Flags::none(), super::model::NOW);
    writer.commit(&[batch]).remove(0)
}

/// A store whose inbox has messages of these bytes, each from a commit of its own.
fn filled(disk: &SimDisk, messages: &[&[u8]]) -> Writer {
    let mut writer = open(disk, false).unwrap();
    let mut batch = Batch::new();
    batch.create_mailbox(AccountId(1), MailboxName::inbox(), None);
    writer.commit(&[batch]).remove(0).unwrap();
    for bytes in messages {
        add(&mut writer, bytes).unwrap();
    }
    writer
}

/// Where the commits and chunks of the first segment begin.
fn offsets(disk: &SimDisk, kind: Kind) -> Vec<u64> {
    let file = disk.open(&segment::name(1), How::Known).unwrap();
    let start = Place { segment: 1, offset: 0 };
    let mut walk = Walk::new(&*file, &[7; 32], start, true).unwrap();
    let mut offsets = Vec::new();
    while let Some(found) = walk.next().unwrap() {
        match found {
            Found::Record { offset, commit, .. } if commit.is_some() == (kind == Kind::Commit) => {
                offsets.push(offset);
            }
            _ => {}
        }
    }
    offsets
}

fn uids(writer: &Writer) -> Vec<u32> {
    let messages = writer.shared.index.messages(INBOX).unwrap();
    messages.iter().map(|message| message.uid.get()).collect()
}

#[test]
fn a_damaged_commit_does_not_hide_its_neighbours() {
    // In the header, where the next record has to be found anew, and in the payload.
    for within in [1, 9, 20, 40] {
        let disk = SimDisk::new(0);
        drop(filled(&disk, &[b"one", b"two", b"three", b"four"]));
        let second = offsets(&disk, Kind::Commit)[2];
        disk.rot(&segment::name(1), usize::try_from(second).unwrap() + within, 0x10);
        let writer = open(&disk, true).unwrap();
        assert_eq!(uids(&writer), [1, 3, 4], "byte {within}");
        assert_eq!(writer.shared.segments.damaged.load(Ordering::Relaxed), 1);
        let found = verify(&writer.shared).unwrap();
        assert_eq!((found.damage.len(), found.messages.len()), (1, 0));
        assert_eq!(found.damage[0].offset, second);
    }
}

#[test]
fn zeros_where_commits_of_an_older_segment_stood_are_damage() {
    let disk = SimDisk::new(0);
    let mut writer = filled(&disk, &[b"one", b"two"]);
    writer.seal().unwrap();
    add(&mut writer, b"three").unwrap();
    let last = offsets(&disk, Kind::Commit)[2];
    let file = disk.open(&segment::name(1), How::Known).unwrap();
    let zeros = vec![0; usize::try_from(file.len().unwrap() - last).unwrap()];
    file.write_at(&zeros, last).unwrap();
    let found = verify(&writer.shared).unwrap().damage;
    assert_eq!(found.iter().map(|damage| damage.offset).collect::<Vec<_>>(), [last]);
    assert_eq!(scrub(&writer.shared, 1, &|| Ok(())).unwrap(), 1);
    drop(writer);
    let writer = open(&disk, true).unwrap();
    assert_eq!(uids(&writer), [1, 3]);
    assert_eq!(writer.shared.segments.damaged.load(Ordering::Relaxed), 1);
}

#[test]
fn a_damaged_body_is_told_and_named_and_the_rest_is_read() {
    let disk = SimDisk::new(0);
    let writer = filled(&disk, &[b"one", b"two", b"three"]);
    let second = offsets(&disk, Kind::Chunk)[1];
    disk.rot(&segment::name(1), usize::try_from(second).unwrap() + 30, 1);
    let messages = writer.shared.index.messages(INBOX).unwrap();
    let read = |at: usize| {
        let content = &messages[at].content;
        let mut reader = super::MessageReader::message(&writer.shared, content).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut bytes).map(|_| bytes)
    };
    assert_eq!(read(0).unwrap(), b"one");
    assert_eq!(read(1).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(read(2).unwrap(), b"three");
    let found = verify(&writer.shared).unwrap();
    assert_eq!(found.damage.len(), 1);
    assert_eq!(found.messages, [(INBOX, messages[1].uid)]);
}

#[test]
fn bytes_that_look_like_a_record_are_not_believed() {
    // Somebody who knows the format and even the place, but not the key; then one who knows it.
    for (key, believed) in [([8; 32], false), ([7; 32], true)] {
        let disk = SimDisk::new(0);
        let mut writer = filled(&disk, &[]);
        let commit = super::event::Commit {
            group: 99,
            events: vec![super::event::Event::Setting("admin".to_owned(), b"mallory".to_vec())],
        };
        let codec = 5;
        let offset = disk.len(&segment::name(1)) + record::RECORD_HEADER + codec;
        let place = Place { segment: 1, offset: offset as u64 };
        let (mut forged, mut rng) = (Vec::new(), Rng(1));
        let payload = packing::pack_commit(&commit.encode()).unwrap();
        record::append(&mut forged, &key, place, Kind::Commit, &payload).unwrap();
        // Incompressible, so that it lies in the log as it is.
        forged.extend((0..2000).map(|_| rng.next().to_le_bytes()[0]));
        add(&mut writer, &forged).unwrap();
        add(&mut writer, b"after").unwrap();
        drop(writer);
        let chunk = offsets(&disk, Kind::Chunk)[0];
        disk.rot(&segment::name(1), usize::try_from(chunk).unwrap(), 0xff);
        let writer = open(&disk, true).unwrap();
        assert_eq!(writer.shared.index.setting("admin").unwrap().is_some(), believed);
        assert_eq!(uids(&writer), [1, 2]);
    }
}

#[test]
fn a_full_card_refuses_mail_and_still_lets_go_of_it() {
    let disk = SimDisk::new(0);
    let mut writer = filled(&disk, &[b"one", b"two"]);
    drop(writer);
    writer = open(&disk, false).unwrap();
    disk.set_free(1 << 20);
    assert!(matches!(add(&mut writer, b"three"), Err(StoreError::Full)));
    let chunk = Packed::part(&writer.shared.segments.dictionaries, b"chunk").unwrap();
    assert!(matches!(writer.append(&chunk), Err(StoreError::Full)));
    let (mut adding, mut expunging) = (Batch::new(), Batch::new());
    let body = small_body(&writer, b"four");
    adding.enqueue(b"", &body, Vec::new());
    expunging.expunge(INBOX, vec![crate::mail::Uid::FIRST]);
    let results = writer.commit(&[adding, expunging]);
    assert!(matches!(results[0], Err(StoreError::Full)));
    assert!(matches!(results[1], Ok(ref done) if done.len() == 1));
    assert_eq!(uids(&writer), [2]);
}

#[test]
fn a_failing_batch_does_not_hurt_its_neighbours_and_they_share_one_sync() {
    let disk = SimDisk::new(0);
    let mut writer = filled(&disk, &[]);
    let batches: Vec<_> = (0..10)
        .map(|number| {
            let mut batch = Batch::new();
            let body = small_body(&writer, format!("message {number}").as_bytes());
            batch.add_message(INBOX, b"", &body, Flags::none(), super::model::NOW);
            if number % 3 == 1 {
                // Comes too late: the message before it must not stay.
                batch.create_mailbox(AccountId(1), MailboxName::inbox(), None);
            }
            batch
        })
        .collect();
    let before = disk.syncs();
    let results = writer.commit(&batches);
    assert_eq!(disk.syncs() - before, 1);
    for (number, result) in results.iter().enumerate() {
        assert_eq!(matches!(result, Err(StoreError::MailboxExists)), number % 3 == 1);
    }
    assert_eq!(uids(&writer), (1..=7).collect::<Vec<_>>());
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let disk = SimDisk::new(0);
    drop(filled(&disk, &[b"one"]));
    let file = disk.open(&segment::name(1), How::Known).unwrap();
    let mut header = [0; SEGMENT_HEADER];
    read_exact_at(&*file, &mut header, 0).unwrap();
    header[8] += 1;
    let check = blake3::hash(&header[..48]);
    header[48..].copy_from_slice(&check.as_bytes()[..16]);
    assert_eq!(SegmentHeader::parse(&header, 1), SegmentHeader::Newer(record::FORMAT + 1));
    file.write_at(&header, 0).unwrap();
    let before = disk.len(&segment::name(1));
    assert!(
        matches!(open(&disk, false), Err(Refused::Newer(found)) if found == record::FORMAT + 1)
    );
    assert_eq!(disk.len(&segment::name(1)), before);
}

#[test]
fn a_ruined_index_is_made_anew() {
    let disk = SimDisk::new(0);
    let writer = filled(&disk, &[b"one", b"two"]);
    let dump = writer.shared.index.dump();
    drop(writer);
    for at in 0..disk.len(index::FILE).min(8192) {
        disk.rot(index::FILE, at, 0xa5);
    }
    let writer = open(&disk, false).unwrap();
    assert_eq!(writer.shared.index.dump(), dump);
}

#[test]
fn what_a_newer_release_wrote_is_refused_and_left_alone() {
    let disk = SimDisk::new(0);
    drop(filled(&disk, &[b"one"]));
    let file = disk.open(&segment::name(1), How::Known).unwrap();
    let end = file.len().unwrap();
    // As a commit with an event that does not exist yet.
    let bytes = packing::pack_commit(&[99, 1, 250]).unwrap();
    let (mut record, place) = (Vec::new(), Place { segment: 1, offset: end });
    record::append(&mut record, &[7; 32], place, Kind::Commit, &bytes).unwrap();
    file.write_at(&record, end).unwrap();
    for rebuild in [false, true] {
        let refused = open(&disk, rebuild).unwrap_err();
        assert!(
            matches!(&refused, Refused::Store(StoreError::Damaged(why)) if why.contains("newer"))
        );
        assert_eq!(file.len().unwrap(), end + record.len() as u64, "cut off");
    }
}

#[test]
fn a_rotten_index_is_found_before_anything_relies_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let disk: std::sync::Arc<dyn Disk> = std::sync::Arc::new(OsDisk::new(folder.path()));
    for seed in 0..5 {
        let clean = SimDisk::new(seed);
        drop(filled(&clean, &[b"one", b"two", b"three"]));
        let file = clean.open(index::FILE, How::Known).unwrap();
        let mut index = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        read_exact_at(&*file, &mut index, 0).unwrap();
        std::fs::write(folder.path().join(index::FILE), &index).unwrap();
        assert!(is_sound(&disk));
        let mut rng = Rng(seed + 1);
        // One bit in each page; most of them are not in use.
        for page in index.chunks_mut(4096).skip(1) {
            page[rng.below(40)] ^= 1 << rng.below(8);
        }
        std::fs::write(folder.path().join(index::FILE), &index).unwrap();
        assert!(!is_sound(&disk), "seed {seed}");
        let now = std::fs::read(folder.path().join(index::FILE)).unwrap();
        assert!(now == index, "looking changed the file");
    }
}

#[test]
fn a_walk_goes_no_further_than_what_is_sure() {
    let disk = SimDisk::new(0);
    let writer = filled(&disk, &[b"one", b"two"]);
    let end = writer.shared.index.state().unwrap().unwrap().position;
    let file = disk.open(&segment::name(1), How::Known).unwrap();
    assert!(file.len().unwrap() > end.offset, "no zeros were written ahead");
    let start = Place { segment: 1, offset: 0 };
    let mut walk = Walk::new(&*file, &[7; 32], start, true).unwrap().until(end.offset);
    // As when the segment is ended meanwhile.
    file.set_len(end.offset).unwrap();
    let mut records = 0;
    while let Some(found) = walk.next().unwrap() {
        assert!(matches!(found, Found::Record { .. }), "{found:?}");
        records += 1;
    }
    assert_eq!(records, 5);
}

#[test]
fn a_lost_segment_header_costs_nothing_but_a_notice() {
    let disk = SimDisk::new(0);
    let writer = filled(&disk, &[b"one", b"two"]);
    let dump = writer.shared.index.dump();
    drop(writer);
    // The index still knows the key.
    disk.rot(&segment::name(1), 20, 1);
    let writer = open(&disk, false).unwrap();
    assert_eq!(writer.shared.index.dump(), dump);
    assert_eq!(writer.shared.segments.damaged.load(Ordering::Relaxed), 1);
}

#[test]
fn numbers_never_return() {
    let disk = SimDisk::new(0);
    let mut writer = filled(&disk, &[b"one"]);
    let old = writer.shared.index.mailbox(INBOX).unwrap().unwrap();
    let mut batch = Batch::new();
    batch.delete_mailbox(INBOX);
    batch.create_mailbox(AccountId(1), MailboxName::inbox(), None);
    writer.commit(&[batch]).remove(0).unwrap();
    drop(writer);
    let writer = open(&disk, true).unwrap();
    let new = writer.shared.index.mailboxes(AccountId(1)).unwrap().remove(0);
    assert!(new.uid_validity > old.uid_validity && new.id > old.id);
    assert_eq!(new.messages, 0);
}

#[test]
fn the_same_seed_is_the_same_trial() {
    let run = || {
        let mut trial = Trial::new(5);
        trial.disk.cut_power_after(60);
        let mut writer = trial.open().unwrap();
        while trial.step(&mut writer) {}
        trial.disk.restart();
        drop(writer);
        let writer = trial.open().unwrap();
        Model::observe(&writer.shared, &trial.bodies)
    };
    assert_eq!(run(), run());
    assert_ne!(run(), Model { settings: BTreeMap::new(), ..Model::new().0 });
}
