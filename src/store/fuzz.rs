//! Ways in for the fuzz targets of `tests/fuzz`: each takes any bytes and must come back, whatever
//! they are. Records get true checksums, or nothing behind the checksum would ever be reached.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;

use super::batch::Batch;
use super::codec::Decoder;
use super::disk::{Disk, DiskFile, How};
use super::event::Commit;
use super::index;
use super::packing::{self, Dictionaries};
use super::record::{self, Key, Kind, Place, SEGMENT_HEADER, SegmentHeader};
use super::segment::{self, Walk};
use super::sound;
use super::transfer::{Form, Piece, Splitter};
use super::types::{AccountId, FlagChange, MailboxId};
use super::{Options, Store, StoreError, open};
use crate::mail::{Flags, MailboxName, Uid};

const KEY: Key = [7; 32];

/// Walks over a segment: bytes as they are, and records with true checksums among them.
pub fn segment(bytes: &[u8]) {
    let file = MemoryFile::default();
    *file.bytes() = log(bytes);
    for thorough in [false, true] {
        let Ok(mut walk) = Walk::new(&file, &KEY, START, thorough) else { return };
        let (mut end, mut steps) = (0, 0);
        while let Ok(Some(found)) = walk.next() {
            let (segment::Found::Record { offset, end: next, .. }
            | segment::Found::Damage { offset, end: next }) = found;
            assert!(offset >= end && next > offset, "the walk goes back");
            (end, steps) = (next, steps + 1);
        }
        assert!(steps <= file.bytes().len(), "the walk does not end");
    }
}

/// Takes a record's payload apart.
pub fn record(bytes: &[u8]) {
    let limit = 1 << 20;
    if let Ok(raw) = Dictionaries::new().unpack(bytes, limit) {
        assert!(raw.len() <= limit, "more comes out than may");
    }
    let _ = packing::unpack_commit(bytes);
    if let Ok(commit) = Commit::decode(bytes) {
        let again = Commit::decode(&commit.encode());
        assert_eq!(again.as_ref(), Ok(&commit), "it says something else when written again");
    }
    let mut decoder = Decoder(bytes);
    while decoder.flags().is_ok() && decoder.content().is_ok() {}
}

/// Looks for base64 in bytes that come in pieces of any size, and puts them together again.
pub fn transfer(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let mut again = Vec::new();
    let mut put = |piece: Piece<'_>| match piece {
        Piece::Plain(plain) => again.extend_from_slice(plain),
        Piece::Base64 { form, decoded } => {
            assert!(Form::from_bits(form.to_bits()) == Some(form), "a form that is not kept");
            let before = again.len() as u64;
            form.encode(&decoded, &mut again);
            let len = form.encoded_len(decoded.len() as u64);
            assert_eq!(again.len() as u64 - before, len, "a length that is not true");
        }
    };
    let mut splitter = Splitter::new();
    for piece in bytes.chunks(usize::from(*step).max(1)) {
        splitter.feed(piece, &mut put);
    }
    splitter.finish(&mut put);
    assert!(again == bytes, "other bytes come back");
}

/// Opens a store with such a log, and reads all of it.
pub fn open(bytes: &[u8]) {
    let disk = MemoryDisk::default();
    *disk.file(&segment::name(1)).bytes() = log(bytes);
    read_everything(disk, false);
}

/// Opens a store whose index rotted while nobody looked.
pub fn index(bytes: &[u8]) {
    static WHOLE: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    let whole = WHOLE.get_or_init(|| a_store().unwrap_or_default());
    let disk = MemoryDisk::default();
    for (name, bytes) in whole {
        disk.file(name).bytes().clone_from(bytes);
    }
    {
        let file = disk.file(index::FILE);
        let mut file = file.bytes();
        let len = file.len().max(1);
        for flip in bytes.chunks_exact(4) {
            let at = usize::from(flip[0]) << 16 | usize::from(flip[1]) << 8 | usize::from(flip[2]);
            if let Some(byte) = file.get_mut(at % len) {
                *byte ^= flip[3];
            }
        }
    }
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let sound = sound::is_sound(&shared);
    read_everything(disk, !sound);
}

/// Nothing here may panic or go on for ever; errors are welcome.
fn read_everything(disk: MemoryDisk, rebuild: bool) {
    let Ok(writer) = open::open(Arc::new(disk), &Options::default(), KEY, rebuild) else { return };
    let Ok(store) = Store::start(writer, None) else { return };
    let read = || {
        store.verify()?;
        store.stats()?;
        store.queue()?;
        store.settings("")?;
        for account in 0..3 {
            store.mailboxes(AccountId(account))?;
        }
        for mailbox in 0..4 {
            for message in store.messages(MailboxId(mailbox))? {
                if let Ok(mut reader) = store.read(&message.content) {
                    // Records that lie about sizes could ask for anything.
                    let _ = reader.by_ref().take(1 << 20).read_to_end(&mut Vec::new());
                }
            }
        }
        Ok::<_, StoreError>(())
    };
    let _ = read();
}

const START: Place = Place { segment: 1, offset: SEGMENT_HEADER as u64 };

/// A segment: of `bytes`, each piece is a record (its kind, two bytes of length, what it holds), or
/// goes in as it is; the last byte says where one bit is changed.
fn log(bytes: &[u8]) -> Vec<u8> {
    let mut out = SegmentHeader::encode(&KEY, 1).to_vec();
    let mut rest = bytes;
    while let Some(([kind, low, high], behind)) = rest.split_first_chunk() {
        let len = u16::from_le_bytes([*low, *high]);
        let len = len.min(u16::try_from(behind.len()).unwrap_or(u16::MAX));
        let (payload, behind) = behind.split_at(usize::from(len));
        rest = behind;
        let place = Place { segment: 1, offset: out.len() as u64 };
        let packed = [&[0][..], &u32::from(len).to_le_bytes(), payload].concat();
        let _ = match kind % 5 {
            0 => record::append(&mut out, &KEY, place, Kind::Chunk, payload),
            1 => record::append(&mut out, &KEY, place, Kind::Chunk, &packed),
            2 => record::append(&mut out, &KEY, place, Kind::Commit, payload),
            3 => record::append(&mut out, &KEY, place, Kind::Commit, &packed),
            _ => {
                out.extend_from_slice(payload);
                Ok(0)
            }
        };
    }
    if let [.., high, low] = rest {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % out.len();
        out[at] ^= 0x10;
    }
    out
}

/// Inputs to begin with: what a real store has in its log, for [`record`] and for [`open`].
pub fn seeds() -> Vec<Vec<u8>> {
    let (mut seeds, mut whole, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let files = a_store().unwrap_or_default();
    let file = MemoryFile(Mutex::new(files.get(&segment::name(1)).cloned().unwrap_or_default()));
    let Ok(mut walk) = Walk::new(&file, &KEY, START, true) else { return seeds };
    while let Ok(Some(found)) = walk.next() {
        let segment::Found::Record { offset, end, commit } = found else { break };
        let (Ok(offset), Ok(end)) = (usize::try_from(offset), usize::try_from(end)) else { break };
        let bytes = file.bytes();
        let Some(payload) = bytes.get(offset + record::RECORD_HEADER..end) else { break };
        frame(if commit.is_some() { 2 } else { 0 }, payload, &mut whole);
        if let Some(commit) = commit {
            frame(3, &commit, &mut plain);
            seeds.push(commit);
        }
    }
    seeds.extend([whole, plain]);
    seeds
}

fn frame(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    let Ok(len) = u16::try_from(payload.len()) else { return };
    out.push(kind);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(payload);
}

/// The files of a store with a little of everything in it.
fn a_store() -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
    let disk = MemoryDisk::default();
    let opened = open::open(Arc::new(disk.clone()), &Options::default(), KEY, false);
    let writer = opened.map_err(|_| StoreError::Closed)?;
    let store = Store::start(writer, None).map_err(|_| StoreError::Closed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map_err(|_| StoreError::Closed)?.block_on(async {
        let (account, uids) = (AccountId(1), || vec![Uid::FIRST]);
        let mut batch = Batch::new();
        batch.create_mailbox(account, MailboxName::inbox(), None);
        batch.create_mailbox(account, "Kept".parse().map_err(|_| StoreError::Closed)?, None);
        batch.put_setting("colour", b"blue".to_vec());
        store.commit(batch).await?;
        for number in 0..12 {
            let mut body = store.new_body();
            body.write(format!("Subject: {number}\r\n\r\nHello\r\n").as_bytes()).await?;
            body.write(
                "QmFzZTY0IG9mIHRoZSB1c3VhbCB3aWR0aCwgYXMgZmlsZXMgaW4gbWFpbCBhcmUgc2VudCBhcm91\r\n"
                    .repeat(40)
                    .as_bytes(),
            )
            .await?;
            let body = body.finish().await?;
            let (inbox, kept) = (MailboxId(1), MailboxId(2));
            let mut batch = Batch::new();
            batch.add_message(
                inbox,
                b"Return-Path: <>\r\n",
                &body,
                Flags::none(),
                Timestamp::UNIX_EPOCH,
            );
            batch.enqueue(b"X: y\r\n", &body, b"waits".to_vec());
            batch.copy(inbox, uids(), kept);
            let flags = "\\Seen".parse().into_iter().collect();
            batch.set_flags(inbox, uids(), FlagChange::Replace(flags), None);
            if number % 4 == 3 {
                batch.expunge(kept, uids());
                batch.subscribe(kept, false);
            }
            store.commit(batch).await?;
        }
        store.close().await
    })?;
    let files = disk.files();
    Ok(files.iter().map(|(name, file)| (name.clone(), file.bytes().clone())).collect())
}

/// A folder in memory.
#[derive(Debug, Clone, Default)]
struct MemoryDisk(Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>);

impl MemoryDisk {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<MemoryFile>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, name: &str) -> Arc<MemoryFile> {
        Arc::clone(self.files().entry(name.to_owned()).or_default())
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn open(&self, name: &str, how: How) -> io::Result<Arc<dyn DiskFile>> {
        if how == How::Known && !self.files().contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = self.file(name);
        if how == How::Fresh {
            file.bytes().clear();
        }
        Ok(file)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

/// A file in memory.
#[derive(Debug, Default)]
struct MemoryFile(Mutex<Vec<u8>>);

impl MemoryFile {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Larger files than these mean that a record was believed that asked for one.
const LARGEST: usize = 32 << 20;

fn within(offset: u64, len: usize) -> io::Result<usize> {
    let start = usize::try_from(offset).ok().filter(|at| at.saturating_add(len) <= LARGEST);
    start.ok_or_else(|| io::ErrorKind::StorageFull.into())
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes();
        let there = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let len = there.len().min(buffer.len());
        buffer[..len].copy_from_slice(&there[..len]);
        Ok(len)
    }

    fn write_at(&self, new: &[u8], offset: u64) -> io::Result<()> {
        let (at, mut bytes) = (within(offset, new.len())?, self.bytes());
        if bytes.len() < at + new.len() {
            bytes.resize(at + new.len(), 0);
        }
        bytes[at..at + new.len()].copy_from_slice(new);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = within(len, 0)?;
        self.bytes().resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
