//! Looking at every byte: the walk behind `store verify`. It reads beside the running store, one
//! record at a time, and changes nothing.

use std::io;

use super::disk::{How, read_exact_at};
use super::error::StoreError;
use super::event::ChunkRef;
use super::record::{Place, SEGMENT_HEADER, SegmentHeader};
use super::segment::{self, Found, Walk};
use super::shared::Shared;
use super::types::{Damage, MailboxId, Verify};
use crate::mail::Uid;

/// Bytes that are read between two rests.
const STEP: u64 = 1 << 20;

/// Checks everything up to the last commit.
pub(super) fn verify(shared: &Shared) -> Result<Verify, StoreError> {
    let segments = &shared.segments;
    let failed = |error| segments.failed("read a segment", error);
    let mut verify = Verify::default();
    // What is behind the last commit may be half-written at this moment.
    let Some(end) = shared.index.state()?.map(|state| state.position) else { return Ok(verify) };
    let numbers = segment::numbers(&*segments.disk).map_err(failed)?;
    for number in numbers.into_iter().filter(|number| *number <= end.segment) {
        let file = match segments.disk.open(&segment::name(number), How::Known) {
            // Compacted meanwhile: what was in it is behind the end.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.map_err(failed)?,
        };
        let mut header = [0; SEGMENT_HEADER];
        let read = read_exact_at(&*file, &mut header, 0);
        if read.is_err() || SegmentHeader::parse(&header, number) != segments.header() {
            let len = SEGMENT_HEADER as u64;
            verify.damage.push(Damage { segment: number, offset: 0, len });
        }
        let place = Place { segment: number, offset: 0 };
        let mut walk = Walk::new(&*file, &segments.key, place, true).map_err(failed)?;
        if number == end.segment {
            walk = walk.until(end.offset);
        }
        while let Some(found) = walk.next().map_err(failed)? {
            match found {
                Found::Record { offset, end, .. } => {
                    verify.records += 1;
                    verify.bytes += end - offset;
                }
                Found::Damage { offset, end } => {
                    verify.damage.push(Damage { segment: number, offset, len: end - offset });
                }
            }
        }
        verify.segments += 1;
    }
    verify.messages = messages_in(shared, &verify.damage)?;
    Ok(verify)
}

/// Reads a segment as it is now, record by record; the number of places that are damaged. Calls
/// `rest` now and then.
pub(super) fn scrub(
    shared: &Shared,
    segment: u32,
    rest: &dyn Fn() -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let segments = &shared.segments;
    let failed = |error| segments.failed("read a segment", error);
    let end = shared.index.state()?.map(|state| state.position);
    let file = segments.file(segment)?;
    let start = Place { segment, offset: 0 };
    let mut walk = Walk::new(&*file, &segments.key, start, true).map_err(failed)?;
    if let Some(end) = end.filter(|end| end.segment == segment) {
        walk = walk.until(end.offset);
    }
    let (mut damage, mut since) = (0, 0);
    while let Some(found) = walk.next().map_err(failed)? {
        let (offset, behind, whole) = match found {
            Found::Record { offset, end, .. } => (offset, end, true),
            Found::Damage { offset, end } => (offset, end, false),
        };
        if !whole {
            segments.damaged(Place { segment, offset });
            damage += 1;
        }
        since += behind - offset;
        if since >= STEP {
            since = 0;
            rest()?;
        }
    }
    Ok(damage)
}

/// The messages that have bytes in damaged places, or that have lost them.
fn messages_in(shared: &Shared, damage: &[Damage]) -> Result<Vec<(MailboxId, Uid)>, StoreError> {
    shared.index.messages_with(|chunk: &ChunkRef| {
        let end = chunk.offset + u64::from(chunk.stored);
        damage.iter().any(|damage| {
            let overlaps = chunk.offset < damage.offset + damage.len && damage.offset < end;
            damage.segment == chunk.segment && overlaps
        })
    })
}
