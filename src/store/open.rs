//! Opening: what the last run left behind becomes a store again. The index is taken up where it
//! stands, or made anew when it is not usable; the log behind it is replayed; the end of the log
//! that a power cut left half-written is cut away.
//!
//! Only the last sync can have been cut short, so only behind the last commit of the sync before it
//! does anything missing mean "never acknowledged": there the log ends at the first byte that does
//! not check out. Anywhere else it means damage, which is counted and stepped over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Options;
use super::apply::{Anew, State, Tables};
use super::disk::{Disk, DiskFile, How, read_exact_at};
use super::error::{StoreError, disk as disk_error};
use super::event::{Commit, Counters};
use super::index::{Index, index};
use super::record::{Key, Place, SEGMENT_HEADER, SegmentHeader};
use super::segment::{self, Found, Segments, Walk};
use super::shared::Shared;
use super::shelf;
use super::writer::{End, Writer};
use redb::Durability;

/// Why a folder is not opened.
#[derive(Debug)]
pub(super) enum Refused {
    /// Its format is a newer one.
    Newer(u32),
    /// Something failed.
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Opens what is on the disk. `fresh_key` is used when there is nothing yet; `rebuild` makes the
/// index anew even if it looks usable.
pub(super) fn open(
    disk: Arc<dyn Disk>,
    options: &Options,
    fresh_key: Key,
    rebuild: bool,
) -> Result<Writer, Refused> {
    let numbers =
        segment::numbers(&*disk).map_err(|error| disk_error("list the segments", error))?;
    let (known, bad) = read_headers(&*disk, &numbers)?;
    let mut index = open_index(&disk, rebuild)?;
    let found = index.state()?;
    let key = known.or(found.map(|state| state.key));
    let segments = Segments::new(disk, key.unwrap_or(fresh_key));
    if key.is_none() && !(numbers.len() <= 1 && all_begun(&segments, &numbers)?) {
        return Err(StoreError::Damaged("no segment has a readable header".to_owned()).into());
    }
    shelf::load(&segments).map_err(|error| segments.failed("read the dictionaries", error))?;
    let mut position = found.map_or(START, |state| state.position);
    // Without a state it may hold what was left of making it anew.
    let foreign = found.is_none_or(|state| state.key != segments.key);
    if foreign || !is_there(&segments, &numbers, position)? {
        drop(index);
        index = Index::open(&segments.disk, true)?;
        position = START;
    }
    let shared = Shared::new(segments, index, Arc::clone(&options.clock));
    let (segment, file, len) = replay(&shared, &numbers, &bad, position)?;
    let counters = shared.index.state()?.map_or(Counters::START, |state| state.counters);
    shared.next_body.store(counters.body, Ordering::Relaxed);
    let head = head(&*file).map_err(|error| shared.segments.failed("read a segment", error))?;
    // A release before this one would take what this one writes there for torn.
    let outdated = head != SegmentHeader::encode(&shared.segments.key, segment);
    Ok(Writer::new(Arc::new(shared), options.clone(), End { segment, file, len, outdated }))
}

const START: Place = Place { segment: 0, offset: 0 };

/// The store's key, and the segments that do not tell it.
fn read_headers(disk: &dyn Disk, numbers: &[u32]) -> Result<(Option<Key>, Vec<u32>), Refused> {
    let (mut key, mut bad) = (None, Vec::new());
    for number in numbers {
        let file = disk.open(&segment::name(*number), How::Known);
        let header = file.and_then(|file| head(&*file));
        let header = header.map_err(|error| disk_error("read a segment", error))?;
        match SegmentHeader::parse(&header, *number) {
            SegmentHeader::Known(found) => key = key.or(Some(found)),
            SegmentHeader::Newer(found) => return Err(Refused::Newer(found)),
            SegmentHeader::Damaged => bad.push(*number),
        }
    }
    Ok((key, bad))
}

/// The bytes of a segment's header; zeros when there are none.
fn head(file: &dyn DiskFile) -> std::io::Result<[u8; SEGMENT_HEADER]> {
    let mut head = [0; SEGMENT_HEADER];
    if file.len()? >= SEGMENT_HEADER as u64 {
        read_exact_at(file, &mut head, 0)?;
    }
    Ok(head)
}

/// Whether no segment has more than a header: a power cut can leave the first one so.
fn all_begun(segments: &Segments, numbers: &[u32]) -> Result<bool, StoreError> {
    for number in numbers {
        if length(segments, *number)? > SEGMENT_HEADER as u64 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn open_index(disk: &Arc<dyn Disk>, rebuild: bool) -> Result<Index, StoreError> {
    if rebuild {
        return Index::open(disk, true);
    }
    Index::open(disk, false).or_else(|error| {
        tracing::warn!(%error, "the index is not usable; making it anew from the log");
        Index::open(disk, true)
    })
}

fn is_there(segments: &Segments, numbers: &[u32], place: Place) -> Result<bool, StoreError> {
    let within = numbers.contains(&place.segment);
    Ok(place == START || within && length(segments, place.segment)? >= place.offset)
}

/// Brings everything behind `position` into the index, and returns the end of the log.
fn replay(
    shared: &Shared,
    numbers: &[u32],
    bad: &[u32],
    position: Place,
) -> Result<(u32, Arc<dyn DiskFile>, u64), StoreError> {
    let segments = &shared.segments;
    let Some((last, sealed)) = numbers.split_last() else {
        return Ok((1, segments.create(1)?, SEGMENT_HEADER as u64));
    };
    let begin = |segment| {
        let offset = if segment == position.segment { position.offset } else { 0 };
        Place { segment, offset: offset.max(SEGMENT_HEADER as u64) }
    };
    let mut anew = (position == START).then(Anew::default);
    for number in sealed.iter().filter(|number| **number >= position.segment) {
        apply(shared, begin(*number), u64::MAX, &mut anew)?;
    }
    if length(segments, *last)? <= SEGMENT_HEADER as u64 {
        // Begun and nothing more; its header may not have got through.
        settle_index(shared, anew)?;
        return Ok((*last, segments.create(*last)?, SEGMENT_HEADER as u64));
    }
    for number in bad {
        segments.damaged(Place { segment: *number, offset: 0 });
    }
    let end = settle(segments, begin(*last))?;
    apply(shared, begin(*last), end, &mut anew)?;
    settle_index(shared, anew)?;
    Ok((*last, segments.file(*last)?, end))
}

/// Finds the end of the log, cuts off what is behind it, and makes sure that the rest is durable.
fn settle(segments: &Segments, from: Place) -> Result<u64, StoreError> {
    let file = segments.file(from.segment)?;
    let failed = |error| segments.failed("read a segment", error);
    let len = file.len().map_err(failed)?;
    let (mut commits, mut damage) = (Vec::<(u64, u64)>::new(), Vec::new());
    let mut walk = Walk::new(&*file, &segments.key, from, true).map_err(failed)?;
    while let Some(found) = walk.next().map_err(failed)? {
        match found {
            Found::Record { end, commit: Some(commit), .. } => {
                commits.push((decode(&commit)?.group, end));
            }
            Found::Record { .. } => {}
            Found::Damage { offset, .. } => damage.push(offset),
        }
    }
    let last_group = commits.last().map_or(0, |(group, _)| *group);
    let sure = commits.iter().rev().find(|(group, _)| *group < last_group);
    let sure = sure.map_or(from.offset, |(_, end)| *end);
    let end = match damage.into_iter().find(|offset| *offset >= sure) {
        Some(cut) => commits.iter().rev().find(|(_, end)| *end <= cut).map_or(sure, |c| c.1),
        None => len,
    };
    let end = end.max(sure);
    if end == from.offset && end == len {
        return Ok(end);
    }
    let secure = || {
        write_again(&*file, sure, end)?;
        file.set_len(end)?;
        file.sync()
    };
    secure().map_err(|error| segments.failed("secure the end of the log", error))?;
    Ok(end)
}

/// Writes bytes over themselves: after a failed sync the system may hold them in memory only and
/// believe them written.
fn write_again(file: &dyn DiskFile, mut from: u64, end: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    while from < end {
        let count = usize::try_from(end - from).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..count).unwrap_or_default();
        read_exact_at(file, part, from)?;
        file.write_at(part, from)?;
        from += count as u64;
    }
    Ok(())
}

/// Ends making the index anew, when it was.
fn settle_index(shared: &Shared, anew: Option<Anew>) -> Result<(), StoreError> {
    let Some((anew, state)) = anew.and_then(|anew| anew.state.map(|state| (anew, state))) else {
        return Ok(());
    };
    let txn = shared.index.write(Durability::Immediate)?;
    let mut tables = Tables::open(&txn)?;
    tables.resume(anew);
    tables.settle()?;
    tables.finish(&state)?;
    txn.commit().map_err(index)
}

/// Brings a segment's commits into the index, up to `end`.
fn apply(
    shared: &Shared,
    from: Place,
    end: u64,
    anew: &mut Option<Anew>,
) -> Result<(), StoreError> {
    let segments = &shared.segments;
    let file = segments.file(from.segment)?;
    let failed = |error| segments.failed("read a segment", error);
    // An index that is not yet whole must not outlast a power cut.
    let durability = if anew.is_some() { Durability::None } else { Durability::Immediate };
    let txn = shared.index.write(durability)?;
    let mut tables = Tables::open(&txn)?;
    let state = match &anew {
        Some(anew) => anew.state,
        None => tables.state()?,
    };
    let mut state = state.unwrap_or_else(|| State::start(segments.key));
    if let Some(anew) = anew.take() {
        tables.resume(anew);
    }
    let before = state.position;
    let mut walk = Walk::new(&*file, &segments.key, from, false).map_err(failed)?;
    while let Some(found) = walk.next().map_err(failed)? {
        let (place, commit) = match found {
            Found::Record { offset, .. } | Found::Damage { offset, .. } if offset >= end => break,
            Found::Record { commit: None, .. } => continue,
            Found::Record { commit: Some(bytes), end, .. } => (end, Some(decode(&bytes)?)),
            Found::Damage { offset, .. } => (offset, None),
        };
        let place = Place { segment: from.segment, offset: place };
        let Some(commit) = commit else {
            let error = segments.damaged(place);
            tracing::warn!(%error, "a record of the log is damaged and left out");
            continue;
        };
        for event in &commit.events {
            tables.apply(event, &mut state)?;
        }
        state.position = place;
        state.group = commit.group;
    }
    *anew = tables.pause();
    match anew {
        _ if state.position == before => return Ok(()),
        Some(anew) => {
            anew.state = Some(state);
            tables.keep_rows()?;
        }
        None => tables.finish(&state)?,
    }
    txn.commit().map_err(index)
}

/// A commit that is as it was written, and says what this release does not understand, was written
/// by another one. To leave it out would lose mail.
fn decode(commit: &[u8]) -> Result<Commit, StoreError> {
    Commit::decode(commit).map_err(|_| {
        let text = "a record is of a newer release: update this box";
        StoreError::Damaged(text.to_owned())
    })
}

fn length(segments: &Segments, segment: u32) -> Result<u64, StoreError> {
    let len = segments.file(segment)?.len();
    len.map_err(|error| segments.failed("read a segment", error))
}
