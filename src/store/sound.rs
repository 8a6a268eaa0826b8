//! Whether the index on the disk is what was written. A page that rotted shows another mailbox than
//! the log tells of, and what is missing there would be left out when segments are compacted: so
//! every page is checked at each opening, once in a while, and before anything relies on the index
//! to say what is needed no more.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::{Disk, DiskFile, How, read_exact_at};
use super::index::{CACHE, FILE};

/// Whether every page of the index matches its checksum; one that is not there is sound. Reads all
/// of it and writes nothing. While the store is open, nothing may be committed durably meanwhile.
pub(super) fn is_sound(disk: &Arc<dyn Disk>) -> bool {
    let file = match disk.open(FILE, How::Known) {
        Ok(file) => file,
        Err(error) => return error.kind() == io::ErrorKind::NotFound,
    };
    let checked = Glance::new(file).and_then(|glance| {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        builder.create_with_backend(glance).map_err(io::Error::other)
    });
    match checked {
        Ok(_) => true,
        Err(error) => {
            tracing::error!(%error, "the index is damaged; it is made anew from the mail itself");
            false
        }
    }
}

/// The file as it is; what redb writes, which it does to check, is kept in memory and forgotten.
#[derive(Debug)]
struct Glance {
    file: Arc<dyn DiskFile>,
    now: Mutex<Overlay>,
}

#[derive(Debug)]
struct Overlay {
    len: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Glance {
    fn new(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let overlay = Overlay { len: file.len()?, blocks: BTreeMap::new() };
        Ok(Self { file, now: Mutex::new(overlay) })
    }

    /// A block of the file itself, zeros behind its end.
    fn block(&self, number: u64) -> io::Result<Box<[u8]>> {
        let mut block = vec![0; BLOCK].into_boxed_slice();
        let from = number * BLOCK as u64;
        let there = self.file.len()?.saturating_sub(from).min(BLOCK as u64);
        let there = usize::try_from(there).unwrap_or(BLOCK);
        read_exact_at(&*self.file, block.get_mut(..there).unwrap_or_default(), from)?;
        Ok(block)
    }
}

impl redb::StorageBackend for Glance {
    fn len(&self) -> io::Result<u64> {
        Ok(self.now.lock().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if offset.saturating_add(out.len() as u64) > now.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, part) in blocks(offset, out.len()) {
            let (part, block) = match now.blocks.get(&number) {
                Some(block) => (out.get_mut(part), block.clone()),
                None => (out.get_mut(part), self.block(number)?),
            };
            if let (Some(part), Some(block)) = (part, block.get(within)) {
                part.copy_from_slice(block);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if len < now.len {
            return Err(io::ErrorKind::Unsupported.into());
        }
        now.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, within, part) in blocks(offset, data.len()) {
            if !now.blocks.contains_key(&number) {
                if now.blocks.len() >= MOST_BLOCKS {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                now.blocks.insert(number, self.block(number)?);
            }
            let block = now.blocks.get_mut(&number).and_then(|block| block.get_mut(within));
            if let (Some(block), Some(part)) = (block, data.get(part)) {
                block.copy_from_slice(part);
            }
        }
        Ok(())
    }
}

/// The blocks that a stretch touches: their numbers, where in the block, and which part of the
/// stretch.
fn blocks(
    offset: u64,
    len: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK as u64).ok()?;
        let count = (BLOCK - within).min(len - done);
        let part = done..done + count;
        done += count;
        (count > 0).then(|| (at / BLOCK as u64, within..within + count, part))
    })
}

/// Bytes of a page.
const BLOCK: usize = 4096;
/// Pages that a check may want to write: 64 MiB.
const MOST_BLOCKS: usize = 16 << 10;
