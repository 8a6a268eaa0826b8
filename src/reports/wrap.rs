//! What a report is wrapped in: gzip, zip or nothing, told apart by its first bytes, because names
//! and types given by senders are often wrong. It streams through, with a limit on what goes in, on
//! what comes out, and on what comes out without a single mark-up character: a report is made of
//! those, a bomb is not.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::{DeflateDecoder, GzDecoder};

use super::Broken;

/// Most bytes read of one wrapped report. The largest providers send some ten kB.
pub(super) const MOST_IN: u64 = 4 << 20;
/// Most bytes that come out of it.
pub(super) const MOST_OUT: u64 = 16 << 20;
/// Most bytes in a row without one of the marks of XML and JSON.
const MOST_UNMARKED: usize = 64 << 10;

/// Unwraps a report. Reading fails once a limit is passed, with the [`Broken`] inside the error.
pub(super) fn open<'a>(packed: impl Read + 'a) -> Result<Box<dyn BufRead + 'a>, Broken> {
    let mut packed = Metered::new(BufReader::new(packed), MOST_IN);
    let mut start = Vec::new();
    packed.by_ref().take(4).read_to_end(&mut start)?;
    let kind = <[u8; 4]>::try_from(start.as_slice());
    let mut whole = Cursor::new(start).chain(packed);
    Ok(match kind {
        Ok([0x1f, 0x8b, ..]) => Box::new(Marked::new(GzDecoder::new(whole))),
        Ok([b'P', b'K', 3, 4]) => {
            let entry = ZipEntry::first(&mut whole)?;
            if entry.deflated {
                Box::new(Marked::new(DeflateDecoder::new(whole)))
            } else {
                Box::new(Marked::new(whole.take(entry.size)))
            }
        }
        _ => Box::new(Marked::new(whole)),
    })
}

/// The head of a file in a zip archive (APPNOTE.TXT §4.3.7), as far as it matters. The list at
/// the archive's end is not looked at: a report is the one file of its archive.
struct ZipEntry {
    deflated: bool,
    size: u64,
}

impl ZipEntry {
    /// Reads up to the first file's content; folders before it are passed over.
    fn first(archive: &mut impl Read) -> Result<Self, Broken> {
        for _ in 0..MOST_FOLDERS {
            let mut head = [0; 30];
            archive.read_exact(&mut head)?;
            if !head.starts_with(b"PK\x03\x04") {
                return Err(Broken::Container("the zip archive holds no file"));
            }
            let number = |at: usize| {
                let bytes = head.get(at..at + 2).and_then(|two| two.try_into().ok());
                bytes.map_or(0, u16::from_le_bytes)
            };
            let (flags, method) = (number(6), number(8));
            let size = u64::from(number(18)) | u64::from(number(20)) << 16;
            let mut name = vec![0; usize::from(number(26))];
            archive.read_exact(&mut name)?;
            io::copy(&mut archive.take(u64::from(number(28))), &mut io::sink())?;
            if flags & 1 != 0 {
                return Err(Broken::Container("the zip archive is encrypted"));
            }
            if name.ends_with(b"/") && size == 0 {
                continue;
            }
            // A size that follows the content (§4.3.9) is of no use where the content does not say
            // itself where it ends.
            return match method {
                0 if flags & 8 == 0 => Ok(Self { deflated: false, size }),
                8 => Ok(Self { deflated: true, size }),
                _ => Err(Broken::Container("the zip archive is packed in an unknown way")),
            };
        }
        Err(Broken::Container("the zip archive holds too many folders"))
    }
}

/// Folders looked into before the first file.
const MOST_FOLDERS: usize = 4;

/// Reads so many bytes and no more.
struct Metered<R> {
    inner: R,
    left: u64,
}

impl<R: BufRead> Metered<R> {
    fn new(inner: R, most: u64) -> Self {
        Self { inner, left: most }
    }
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let length = ready.len().min(to.len());
        if let (Some(to), Some(from)) = (to.get_mut(..length), ready.get(..length)) {
            to.copy_from_slice(from);
        }
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let ready = self.inner.fill_buf()?;
        if !ready.is_empty() && self.left == 0 {
            return Err(io::Error::other(Broken::TooLarge));
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(ready.len());
        Ok(ready.get(..length).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount as u64);
        self.inner.consume(amount);
    }
}

/// The unwrapped text: metered, and watched for marks.
struct Marked<R> {
    inner: Metered<BufReader<R>>,
    unmarked: usize,
}

impl<R: Read> Marked<R> {
    fn new(inner: R) -> Self {
        Self { inner: Metered::new(BufReader::new(inner), MOST_OUT), unmarked: 0 }
    }
}

impl<R: Read> Read for Marked<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let length = ready.len().min(to.len());
        if let (Some(to), Some(from)) = (to.get_mut(..length), ready.get(..length)) {
            to.copy_from_slice(from);
        }
        self.consume(length);
        Ok(length)
    }
}

impl<R: Read> BufRead for Marked<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unmarked > MOST_UNMARKED {
            return Err(io::Error::other(Broken::NotAReport));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        let ready = self.inner.fill_buf().unwrap_or_default();
        let eaten = ready.get(..amount).unwrap_or(ready);
        // Both ends of an element, and of a JSON string.
        self.unmarked = match eaten.iter().rposition(|byte| matches!(byte, b'>' | b'"')) {
            Some(last) => eaten.len() - last,
            None => self.unmarked.saturating_add(eaten.len()),
        };
        self.inner.consume(amount);
    }
}
