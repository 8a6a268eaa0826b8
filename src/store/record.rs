//! The frame around everything in a segment. A record's checksums are keyed with the store's own
//! secret and bound to its place: bytes that somebody sent us can never pass for a record, however
//! they look, and a record found elsewhere than where it was written is not believed.

use super::error::StoreError;

/// Format of segments and records written by this release.
pub(super) const FORMAT: u32 = 3;
/// Bytes at the head of a segment.
pub(super) const SEGMENT_HEADER: usize = 64;
/// Bytes before a record's payload.
pub(super) const RECORD_HEADER: usize = 24;
/// What every record begins with.
pub(super) const RECORD_MAGIC: [u8; 4] = *b"\xAEpb\x01";
/// The largest payload; a batch that needs more is refused.
pub(super) const MAX_PAYLOAD: usize = 64 << 20;

const SEGMENT_MAGIC: [u8; 8] = *b"\xAEpillbx\n";

/// The store's secret; the same in every segment.
pub(super) type Key = [u8; 32];

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A piece of a body.
    Chunk,
    /// One batch.
    Commit,
}

/// Where a record lies; part of its checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u64,
}

/// A record's header, known to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Bytes of the payload.
    pub(super) len: u32,
    payload_check: [u8; 8],
}

impl Header {
    /// Bytes of the whole record.
    pub(super) fn record_len(&self) -> u64 {
        RECORD_HEADER as u64 + u64::from(self.len)
    }

    /// Nothing when these bytes were not written as a header at this place.
    pub(super) fn parse(key: &Key, place: Place, bytes: &[u8; RECORD_HEADER]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<12>()?;
        let (check, payload_check) = rest.split_first_chunk::<4>()?;
        let kind = match head[4] {
            1 => Kind::Chunk,
            2 => Kind::Commit,
            _ => return None,
        };
        let len = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let known = head.starts_with(&RECORD_MAGIC) && head[5..8] == [0; 3];
        let fits = usize::try_from(len).is_ok_and(|len| len <= MAX_PAYLOAD);
        let true_check = checksum(key, place, head, &[]);
        (known && fits && true_check.starts_with(check)).then_some(Self {
            kind,
            len,
            payload_check: payload_check.try_into().ok()?,
        })
    }

    /// Whether this is the payload that was written here.
    pub(super) fn fits(&self, key: &Key, place: Place, payload: &[u8]) -> bool {
        checksum(key, place, &head(self.kind, self.len), payload)[4..] == self.payload_check
    }
}

/// Appends a whole record to `out`; `place` is where its first byte will lie.
pub(super) fn append(
    out: &mut Vec<u8>,
    key: &Key,
    place: Place,
    kind: Kind,
    payload: &[u8],
) -> Result<u32, StoreError> {
    let len = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD);
    let head = head(kind, len.ok_or(StoreError::TooLarge)?);
    out.extend_from_slice(&head);
    out.extend_from_slice(&checksum(key, place, &head, &[])[..4]);
    out.extend_from_slice(&checksum(key, place, &head, payload)[4..]);
    out.extend_from_slice(payload);
    u32::try_from(RECORD_HEADER + payload.len()).map_err(|_| StoreError::TooLarge)
}

fn head(kind: Kind, len: u32) -> [u8; 12] {
    let kind = match kind {
        Kind::Chunk => 1,
        Kind::Commit => 2,
    };
    let [m0, m1, m2, m3] = RECORD_MAGIC;
    let [l0, l1, l2, l3] = len.to_le_bytes();
    [m0, m1, m2, m3, kind, 0, 0, 0, l0, l1, l2, l3]
}

/// Four bytes serve the header, the other eight the payload.
fn checksum(key: &Key, place: Place, head: &[u8; 12], payload: &[u8]) -> [u8; 12] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&place.segment.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(head);
    hasher.update(payload);
    let mut check = [0; 12];
    hasher.finalize_xof().fill(&mut check);
    check
}

/// What stands at the head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SegmentHeader {
    /// One of ours.
    Known(Key),
    /// Written by a newer release, with this format number.
    Newer(u32),
    /// Not readable.
    Damaged,
}

impl SegmentHeader {
    /// The bytes of a header.
    pub(super) fn encode(key: &Key, segment: u32) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        out[..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        out[12..16].copy_from_slice(&segment.to_le_bytes());
        out[16..48].copy_from_slice(key);
        let check = blake3::hash(&out[..48]);
        out[48..].copy_from_slice(&check.as_bytes()[..16]);
        out
    }

    /// Reads a header.
    pub(super) fn parse(bytes: &[u8; SEGMENT_HEADER], segment: u32) -> Self {
        let field = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let whole = blake3::hash(&bytes[..48]).as_bytes()[..16] == bytes[48..];
        if !bytes.starts_with(&SEGMENT_MAGIC) || !whole || field(12) != segment {
            return Self::Damaged;
        }
        match (field(8), <Key>::try_from(&bytes[16..48])) {
            (1..=FORMAT, Ok(key)) => Self::Known(key),
            (found, _) if found > FORMAT => Self::Newer(found),
            _ => Self::Damaged,
        }
    }
}
