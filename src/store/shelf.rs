//! The dictionaries' files. Mail that was compressed with a dictionary cannot be read without it,
//! so each is written twice, checked at every opening, and the one copy healed from the other.

use std::collections::BTreeSet;
use std::io;

use super::codec::{Decoder, Encoder, Malformed};
use super::disk::{Disk, How, read_exact_at};
use super::packing::Dictionary;
use super::record::Key;
use super::segment::Segments;

const MAGIC: [u8; 8] = *b"\xAEpillbd\n";
const FORMAT: u8 = 1;
/// Largest file that is looked at; a dictionary has some hundred kB.
const MAX_FILE: u64 = 4 << 20;
/// Largest dictionary.
const MAX_BYTES: usize = 4 << 20;
const CHECK: usize = 16;
/// Names of the two copies.
const SUFFIXES: [&str; 2] = [".dict", ".copy"];

/// Brings all dictionaries of a store into use. One of which no copy is whole is told as damage.
pub(super) fn load(segments: &Segments) -> io::Result<()> {
    let disk = &*segments.disk;
    for number in numbers(disk)? {
        let [first, second] = SUFFIXES.map(|suffix| read(disk, number, suffix));
        let begun = matches!((&first, &second), (Ok(Some(_)), Ok(None)));
        let copies = [first, second].map(|file| file.ok().flatten());
        let whole =
            |file: &Vec<u8>| Some((decode(&segments.key, number, file).ok()?, file.clone()));
        match copies.iter().flatten().find_map(whole) {
            Some((bytes, file)) => {
                // A card that is full or worn out must not keep the mail from being read.
                if let Err(error) = heal(disk, number, &file) {
                    let error = segments.failed("heal a dictionary", error);
                    tracing::warn!(number, %error, "only one copy of a dictionary is whole");
                }
                match Dictionary::new(number, &bytes) {
                    Ok(dictionary) => segments.dictionaries.add(dictionary),
                    Err(Malformed) => segments.dictionary_lost(number),
                }
            }
            // A power cut came while the first copy was written: nothing was compressed with it.
            None if begun => disk.remove(&name(number, SUFFIXES[0]))?,
            None => segments.dictionary_lost(number),
        }
    }
    Ok(())
}

/// Makes a dictionary durable and brings it into use, with a number above all there are and `used`.
pub(super) fn add(segments: &Segments, used: u32, bytes: &[u8]) -> io::Result<u32> {
    let disk = &*segments.disk;
    let number = numbers(disk)?.last().map_or(used, |last| used.max(*last)).saturating_add(1);
    let dictionary = Dictionary::new(number, bytes);
    let dictionary = dictionary.map_err(|Malformed| io::Error::from(io::ErrorKind::InvalidData))?;
    let file = encode(&segments.key, number, bytes)?;
    for suffix in SUFFIXES {
        write(disk, number, suffix, &file)?;
    }
    segments.dictionaries.add(dictionary);
    Ok(number)
}

fn heal(disk: &dyn Disk, number: u32, file: &[u8]) -> io::Result<()> {
    for suffix in SUFFIXES {
        if read(disk, number, suffix).ok().flatten().is_none_or(|found| found != file) {
            write(disk, number, suffix, file)?;
        }
    }
    Ok(())
}

fn write(disk: &dyn Disk, number: u32, suffix: &str, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(&name(number, suffix), How::Fresh)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.sync_names()
}

fn read(disk: &dyn Disk, number: u32, suffix: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(&name(number, suffix), How::Known) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let len = file.len()?.min(MAX_FILE);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(Some(bytes))
}

fn name(number: u32, suffix: &str) -> String {
    format!("{number:08}{suffix}")
}

fn numbers(disk: &dyn Disk) -> io::Result<Vec<u32>> {
    let names = disk.list()?;
    let number = |name: &String| {
        let stem = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix))?;
        stem.parse::<u32>().ok()
    };
    let numbers: BTreeSet<u32> = names.iter().filter_map(number).collect();
    Ok(numbers.into_iter().collect())
}

fn encode(key: &Key, number: u32, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Encoder::default();
    out.fixed(&MAGIC);
    out.byte(FORMAT);
    out.number(number);
    out.number(bytes.len() as u64);
    out.fixed(&zstd::bulk::compress(bytes, 19)?);
    let mut file = out.finish();
    let check = blake3::keyed_hash(key, &file);
    file.extend_from_slice(&check.as_bytes()[..CHECK]);
    Ok(file)
}

fn decode(key: &Key, number: u32, file: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (bytes, check) = file.split_last_chunk::<CHECK>().ok_or(Malformed)?;
    if blake3::keyed_hash(key, bytes).as_bytes()[..CHECK] != *check {
        return Err(Malformed);
    }
    let mut from = Decoder(bytes);
    if from.fixed()? != MAGIC || from.byte()? != FORMAT || from.number::<u32>()? != number {
        return Err(Malformed);
    }
    let len = from.number::<usize>().ok().filter(|len| *len <= MAX_BYTES).ok_or(Malformed)?;
    zstd::bulk::decompress(from.0, len).map_err(|_| Malformed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::sim::SimDisk;

    #[test]
    fn a_full_card_does_not_keep_mail_from_being_read() {
        let disk = SimDisk::new(0);
        let key = [7; 32];
        let segments = Segments::new(Arc::new(disk.clone()), key);
        add(&segments, 0, b"what mail has in common").unwrap();
        let payload = segments.dictionaries.newest().pack(&b"what mail has in common, ".repeat(9));
        let payload = payload.unwrap();
        for suffix in SUFFIXES {
            let file = disk.open(&name(1, suffix), How::Known).unwrap();
            let whole = read(&disk, 1, suffix).unwrap().unwrap();
            file.set_len(5).unwrap();
            disk.fail_after(0, io::ErrorKind::StorageFull);
            let segments = Segments::new(Arc::new(disk.clone()), key);
            load(&segments).unwrap();
            assert!(segments.dictionaries.unpack(&payload, 1000).is_ok());
            assert!(disk.has_failed());
            disk.repair();
            write(&disk, 1, suffix, &whole).unwrap();
        }
    }
}
