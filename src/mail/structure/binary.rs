//! A part's body without its transfer encoding, as BINARY gives it (RFC 3516): text with line ends
//! of CR LF, everything else to the byte.

use super::{BodyDecoder, Part};

/// The encodings that are known (RFC 2045 §6.1).
const KNOWN: [&str; 5] = ["7bit", "8bit", "binary", "quoted-printable", "base64"];

/// Decodes the body of one part.
pub struct Plain {
    decoder: BodyDecoder,
    /// Its lines have to end in CR LF.
    lines: bool,
    last: u8,
}

impl Plain {
    /// For a part's own transfer encoding; nothing when that is unknown.
    pub fn new(part: &Part) -> Option<Self> {
        let encoding = part.encoding.as_deref().unwrap_or(b"7bit");
        let known = KNOWN.iter().any(|known| encoding.eq_ignore_ascii_case(known.as_bytes()));
        let lines = part.media.is_kind("text");
        known.then(|| Self { decoder: BodyDecoder::new(part), lines, last: 0 })
    }

    /// Takes raw bytes, and appends what they stand for to `out`.
    pub fn feed(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        self.decoder.feed(raw, out);
        self.end_lines(from, out);
    }

    /// Appends what is left at the end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let from = out.len();
        self.decoder.finish(out);
        self.end_lines(from, out);
    }

    fn end_lines(&mut self, from: usize, out: &mut Vec<u8>) {
        if !self.lines {
            return;
        }
        let new = out.split_off(from);
        for byte in new {
            if byte == b'\n' && self.last != b'\r' {
                out.push(b'\r');
            }
            out.push(byte);
            self.last = byte;
        }
    }
}
