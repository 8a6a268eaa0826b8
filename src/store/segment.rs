//! The segment files: naming, opening, reading records and walking over them. A walk survives any
//! damage: it steps over what does not check out and finds the next record behind it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, How, read_exact_at};
use super::error::{StoreError, disk};
use super::event::ChunkRef;
use super::packing::{self, Dictionaries};
use super::record::{
    Header, Key, Kind, MAX_PAYLOAD, Place, RECORD_HEADER, RECORD_MAGIC, SEGMENT_HEADER,
    SegmentHeader,
};

/// Files kept open for reading.
const MAX_OPEN: usize = 64;
/// Bytes read at once while walking.
const WINDOW: usize = 128 << 10;

/// All segments of a store.
#[derive(Debug)]
pub(super) struct Segments {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) key: Key,
    pub(super) dictionaries: Dictionaries,
    pub(super) pins: Arc<Pins>,
    open: Mutex<BTreeMap<u32, Arc<dyn DiskFile>>>,
    /// Records found damaged.
    pub(super) damaged: AtomicU64,
    /// Failures of the disk.
    pub(super) io_errors: AtomicU64,
}

impl Segments {
    pub(super) fn new(disk: Arc<dyn Disk>, key: Key) -> Self {
        Self {
            disk,
            key,
            dictionaries: Dictionaries::new(),
            pins: Arc::default(),
            open: Mutex::default(),
            damaged: AtomicU64::new(0),
            io_errors: AtomicU64::new(0),
        }
    }

    /// The open file of a segment.
    pub(super) fn file(&self, segment: u32) -> Result<Arc<dyn DiskFile>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&segment) {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open(&name(segment), How::Known).map_err(|error| {
            let doing = "open a segment";
            // Compaction may just have removed it: whoever asked knows whether that is a failure.
            let gone = error.kind() == io::ErrorKind::NotFound;
            if gone { disk(doing, error) } else { self.failed(doing, error) }
        })?;
        if open.len() >= MAX_OPEN {
            open.pop_first();
        }
        open.insert(segment, Arc::clone(&file));
        Ok(file)
    }

    /// Makes an empty segment that will be found after a power cut.
    pub(super) fn create(&self, segment: u32) -> Result<Arc<dyn DiskFile>, StoreError> {
        let create = || {
            let file = self.disk.open(&name(segment), How::Fresh)?;
            file.write_at(&SegmentHeader::encode(&self.key, segment), 0)?;
            file.sync()?;
            self.disk.sync_names()?;
            Ok(file)
        };
        let file = create().map_err(|error| self.failed("begin a segment", error))?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(segment, Arc::clone(&file));
        Ok(file)
    }

    /// Removes a segment that holds nothing.
    pub(super) fn remove(&self, segment: u32) -> Result<(), StoreError> {
        // Nobody may open it meanwhile: kept among the open files it would go on taking room.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&segment);
        let removed = match self.disk.remove(&name(segment)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        drop(open);
        let removed = removed.and_then(|()| self.disk.sync_names());
        removed.map_err(|error| self.failed("remove a segment", error))
    }

    /// One chunk's bytes, checked and unpacked.
    pub(super) fn chunk(&self, file: &dyn DiskFile, at: &ChunkRef) -> Result<Vec<u8>, StoreError> {
        let place = Place { segment: at.segment, offset: at.offset };
        let len = usize::try_from(at.stored).ok().filter(|len| *len <= MAX_PAYLOAD);
        let mut bytes = vec![0; len.unwrap_or_default()];
        read_exact_at(file, &mut bytes, at.offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(place),
            _ => self.failed("read a segment", error),
        })?;
        let chunk = bytes.split_first_chunk().and_then(|(head, payload)| {
            let header = Header::parse(&self.key, place, head)?;
            let fits = header.fits(&self.key, place, payload);
            let limit = usize::try_from(at.raw).unwrap_or(usize::MAX);
            fits.then(|| self.dictionaries.unpack(payload, limit).ok())?
        });
        let whole = |bytes: &Vec<u8>| u32::try_from(bytes.len()) == Ok(at.raw);
        chunk.filter(whole).ok_or_else(|| self.damaged(place))
    }

    /// Counts a dictionary that cannot be read any more.
    pub(super) fn dictionary_lost(&self, number: u32) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::error!(number, "a dictionary is damaged, and so is the mail compressed with it");
    }

    /// What every segment's header should say.
    pub(super) fn header(&self) -> SegmentHeader {
        SegmentHeader::Known(self.key)
    }

    /// Counts a failure of the disk; a full one has not failed.
    pub(super) fn failed(&self, doing: &'static str, error: io::Error) -> StoreError {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        if !full {
            self.io_errors.fetch_add(1, Ordering::Relaxed);
        }
        disk(doing, error)
    }

    /// Counts damage.
    pub(super) fn damaged(&self, place: Place) -> StoreError {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        StoreError::Damaged(format!("segment {}, byte {}", place.segment, place.offset))
    }
}

/// Segments that somebody still needs though no body or part in the index says so: what was written
/// for a body that is not yet committed, or found for it.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<BTreeMap<u32, usize>>);

impl Pins {
    /// Keeps a chunk's segment from being removed as long as the result lives.
    pub(super) fn pin(self: &Arc<Self>, chunk: ChunkRef) -> Pinned {
        *self.lock().entry(chunk.segment).or_default() += 1;
        Pinned { chunk, pins: Arc::clone(self) }
    }

    /// Whether nobody needs this segment.
    pub(super) fn are_off(&self, segment: u32) -> bool {
        !self.lock().contains_key(&segment)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A chunk whose segment stays.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) chunk: ChunkRef,
    pins: Arc<Pins>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.pins.lock();
        if let Entry::Occupied(mut count) = pins.entry(self.chunk.segment) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The file name of a segment.
pub(super) fn name(segment: u32) -> String {
    format!("{segment:08}.seg")
}

/// The numbers of all segments in a folder, ascending.
pub(super) fn numbers(disk: &dyn Disk) -> io::Result<Vec<u32>> {
    let names = disk.list()?;
    let number = |name: &String| name.strip_suffix(".seg").and_then(|stem| stem.parse().ok());
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// What a walk over a segment finds.
#[derive(Debug)]
pub(super) enum Found {
    /// A whole record; the payload of a commit, unpacked.
    Record {
        /// Where it begins.
        offset: u64,
        /// Where the next one begins.
        end: u64,
        /// The unpacked payload when it is a commit.
        commit: Option<Vec<u8>>,
    },
    /// Bytes that are no whole record.
    Damage {
        /// Where it begins.
        offset: u64,
        /// Where something whole begins, or the end of the file.
        end: u64,
    },
}

/// A walk over one segment.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    file: &'a dyn DiskFile,
    key: &'a Key,
    segment: u32,
    offset: u64,
    end: u64,
    /// Whether chunks are read and checked too, or only their headers.
    thorough: bool,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Walk<'a> {
    /// From a record's beginning to the end of the file.
    pub(super) fn new(
        file: &'a dyn DiskFile,
        key: &'a Key,
        from: Place,
        thorough: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            file,
            key,
            segment: from.segment,
            offset: from.offset.max(SEGMENT_HEADER as u64),
            end: file.len()?,
            thorough,
            window: Vec::new(),
            window_at: 0,
        })
    }

    /// Ends earlier: what is behind may be half-written, or cut off, at this moment.
    pub(super) fn until(self, end: u64) -> Self {
        Self { end: self.end.min(end), ..self }
    }

    /// The next thing, or nothing at the end of the segment.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        let offset = self.offset;
        if offset >= self.end {
            return Ok(None);
        }
        if let Some(header) = self.header(offset)? {
            let end = offset + header.record_len();
            self.offset = end;
            if header.kind == Kind::Chunk && !self.thorough {
                return Ok(Some(Found::Record { offset, end, commit: None }));
            }
            let payload = self.payload(offset, header)?;
            let commit = match (payload, header.kind) {
                (Some(_), Kind::Chunk) => Some(None),
                (Some(payload), Kind::Commit) => packing::unpack_commit(&payload).ok().map(Some),
                (None, _) => None,
            };
            return Ok(Some(match commit {
                Some(commit) => Found::Record { offset, end, commit },
                None => Found::Damage { offset, end },
            }));
        }
        self.offset = self.resync(offset + 1)?;
        Ok(Some(Found::Damage { offset, end: self.offset }))
    }

    /// The first bytes of the payload of a record that was found at this place.
    pub(super) fn payload_head(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        Ok(self.bytes(offset + RECORD_HEADER as u64, 8)?.to_vec())
    }

    /// A header at this place whose record ends within the file.
    fn header(&mut self, offset: u64) -> io::Result<Option<Header>> {
        let (key, place) = (self.key, Place { segment: self.segment, offset });
        let end = self.end;
        let bytes = self.bytes(offset, RECORD_HEADER)?.first_chunk();
        let header = bytes.and_then(|bytes| Header::parse(key, place, bytes));
        Ok(header.filter(|header| offset + header.record_len() <= end))
    }

    /// The payload, when it is the one that was written.
    fn payload(&mut self, offset: u64, header: Header) -> io::Result<Option<Vec<u8>>> {
        let place = Place { segment: self.segment, offset };
        let key = self.key;
        let len = usize::try_from(header.len).unwrap_or(MAX_PAYLOAD);
        let payload = if len <= WINDOW / 2 {
            self.bytes(offset + RECORD_HEADER as u64, len)?.to_vec()
        } else {
            let mut payload = vec![0; len];
            read_exact_at(self.file, &mut payload, offset + RECORD_HEADER as u64)?;
            payload
        };
        Ok(header.fits(key, place, &payload).then_some(payload))
    }

    /// Where the next record begins.
    fn resync(&mut self, mut offset: u64) -> io::Result<u64> {
        while offset < self.end {
            let bytes = self.bytes(offset, WINDOW / 2)?;
            let len = bytes.len();
            let magic = bytes.windows(RECORD_MAGIC.len()).position(|four| four == RECORD_MAGIC);
            match magic {
                Some(at) => {
                    offset += at as u64;
                    if self.header(offset)?.is_some() {
                        return Ok(offset);
                    }
                    offset += 1;
                }
                None => offset += (len.saturating_sub(RECORD_MAGIC.len() - 1)).max(1) as u64,
            }
        }
        Ok(self.end)
    }

    /// Up to `len` bytes at a place, fewer at the end of the file; `len` is at most half a window.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let wanted = usize::try_from(self.end - offset.min(self.end)).unwrap_or(len).min(len);
        let within = |at: u64, window: &[u8]| {
            let skip = usize::try_from(offset.checked_sub(at)?).ok()?;
            (skip + wanted <= window.len()).then_some(skip)
        };
        if within(self.window_at, &self.window).is_none() {
            let left = usize::try_from(self.end - offset.min(self.end)).unwrap_or(WINDOW);
            self.window.resize(left.min(WINDOW), 0);
            self.window_at = offset;
            read_exact_at(self.file, &mut self.window, offset)?;
        }
        let skip = within(self.window_at, &self.window).unwrap_or_default();
        Ok(self.window.get(skip..skip + wanted).unwrap_or_default())
    }
}
