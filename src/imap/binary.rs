//! A message that may have zero bytes on its way in (RFC 3516 §4.4). No literal of IMAP can carry
//! them out again, so that a part which has any is kept in base64; everything else stays as it is.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};

use crate::mail::structure::{self, Inside, Structure};

/// Messages up to this size are held, and encoded when they have to be.
const HELD: u64 = 1 << 20;

/// Bytes in a line of base64 (RFC 2045 §6.8).
const LINE: usize = 57;

/// What the client is told when a message cannot be kept.
pub(super) const UNKEPT: &str = "[UNKNOWN-CTE] A message with zero bytes is taken up to 1 MiB, when \
    they are in parts of the encoding BINARY: encode them in BASE64";

/// A message with zero bytes that this box does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unkept;

/// A message as it comes.
pub(super) enum Binary {
    /// Small enough to wait for all of it.
    Held(BytesMut),
    /// Passed on as it comes.
    Passed,
}

impl Binary {
    /// Of so many bytes.
    pub(super) fn of(size: u64) -> Self {
        if size <= HELD { Self::Held(BytesMut::new()) } else { Self::Passed }
    }

    /// Takes bytes, the last ones or not; gives what to keep of the message, if that is known yet.
    pub(super) fn take(&mut self, bytes: Bytes, last: bool) -> Result<Option<Bytes>, Unkept> {
        match self {
            Self::Passed if bytes.contains(&0) => Err(Unkept),
            Self::Passed => Ok(Some(bytes)),
            Self::Held(held) => {
                held.extend_from_slice(&bytes);
                if !last {
                    return Ok(None);
                }
                let whole = std::mem::take(held).freeze();
                if whole.contains(&0) { encoded(&whole).map(Some) } else { Ok(Some(whole)) }
            }
        }
    }
}

/// The message with its binary parts in base64.
fn encoded(message: &[u8]) -> Result<Bytes, Unkept> {
    let structure = Structure::scan(message).map_err(|_| Unkept)?;
    let mut out = Vec::with_capacity(message.len());
    let mut done = 0;
    for part in structure.parts() {
        let header = slice(message, &part.header)?;
        let body = slice(message, &part.body)?;
        let is_leaf = part.inside == Inside::Leaf;
        let mut field = None;
        let mut at = part.header.start;
        for found in structure::fields(header) {
            let end = at + found.whole.len() as u64;
            if found.name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
                field.get_or_insert(at..end);
            }
            at = end;
        }
        let written = part.encoding.as_deref().unwrap_or(b"7bit");
        let is = |name: &str| written.eq_ignore_ascii_case(name.as_bytes());
        if !is_leaf && is("binary") {
            // Nothing in it is binary any more.
            let field = field.clone().ok_or(Unkept)?;
            out.extend_from_slice(slice(message, &(done..field.start))?);
            out.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
            done = field.end;
        }
        if !is_leaf || !body.contains(&0) {
            continue;
        }
        if !["7bit", "8bit", "binary"].into_iter().any(is) || header.is_empty() {
            return Err(Unkept);
        }
        let field = field.unwrap_or(part.header.start..part.header.start);
        out.extend_from_slice(slice(message, &(done..field.start))?);
        out.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n");
        out.extend_from_slice(slice(message, &(field.end..part.body.start))?);
        for (i, line) in body.chunks(LINE).enumerate() {
            out.extend_from_slice(if i == 0 { b"" } else { b"\r\n" });
            out.extend_from_slice(STANDARD.encode(line).as_bytes());
        }
        done = part.body.end;
    }
    out.extend_from_slice(slice(message, &(done..message.len() as u64))?);
    if out.contains(&0) { Err(Unkept) } else { Ok(out.into()) }
}

fn slice<'a>(message: &'a [u8], range: &Range<u64>) -> Result<&'a [u8], Unkept> {
    let start = usize::try_from(range.start).map_err(|_| Unkept)?;
    let end = usize::try_from(range.end).map_err(|_| Unkept)?;
    message.get(start..end).ok_or(Unkept)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test")]
mod tests {
    use super::*;

    fn keep(message: &[u8], piece: usize) -> Result<Vec<u8>, Unkept> {
        let mut binary = Binary::of(message.len() as u64);
        let (mut kept, mut left) = (Vec::new(), message.len());
        for piece in message.chunks(piece) {
            left -= piece.len();
            let taken = binary.take(Bytes::copy_from_slice(piece), left == 0)?;
            kept.extend_from_slice(&taken.unwrap_or_default());
        }
        Ok(kept)
    }

    #[test]
    fn zero_bytes_are_kept_in_base64_and_nothing_else_changes() {
        let message = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\
            Content-Transfer-Encoding: binary\r\n\r\n--b\r\n\r\ntext \xe9\r\n--b\r\n\
            Content-Type: image/x\r\ncontent-transfer-encoding: BINARY\r\nX: y\r\n\r\na\0b\n\r\n--b--\r\n";
        let expected = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\
            Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\r\ntext \xe9\r\n--b\r\n\
            Content-Type: image/x\r\nContent-Transfer-Encoding: base64\r\nX: y\r\n\r\nYQBiCg==\r\n--b--\r\n";
        for piece in [1, 7, 1000] {
            assert_eq!(keep(message, piece).unwrap(), expected);
        }
        assert_eq!(
            keep(b"Subject: x\r\n\r\na\0", 3).unwrap(),
            b"Content-Transfer-Encoding: base64\r\nSubject: x\r\n\r\nYQA="
        );
        let without = b"Content-Transfer-Encoding: binary\r\n\r\n\xff\n\r";
        assert_eq!(keep(without, 3).unwrap(), without);
    }

    #[test]
    fn what_cannot_be_encoded_is_refused() {
        assert!(keep(b"Subject: \0\r\n\r\n", 9).is_err());
        assert!(keep(b"Content-Transfer-Encoding: base64\r\n\r\nYQ\0=", 9).is_err());
        assert!(keep(b"no header\0", 9).is_err());
        let mut large = b"Subject: x\r\n\r\n".to_vec();
        large.resize(2 << 20, b'x');
        assert_eq!(keep(&large, 60_000).unwrap(), large);
        large.push(0);
        assert!(keep(&large, 60_000).is_err());
    }
}
