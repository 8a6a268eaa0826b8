//! Text for people out of raw bytes: encoded words of header fields (RFC 2047), transfer
//! encodings (RFC 2045 §6) and charsets. Bodies are decoded piece by piece.

use jiff::Timestamp;
use jiff::civil::Date;
use mail_parser::decoders::charsets::DecoderFnc;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;
use mail_parser::{DateTime, HeaderValue};

use super::Part;

/// Decoded bytes are turned into text once there are so many.
const PIECE: usize = 64 << 10;
/// More blanks than a line may have (RFC 5322 §2.1.1) are no blanks at its end.
const LONGEST_BLANK: usize = 998;

/// The text of a header field's value: unfolded, encoded words decoded.
pub fn header_text(value: &[u8]) -> String {
    let mut line = value.to_vec();
    line.retain(|b| !matches!(b, b'\r' | b'\n'));
    line.push(b'\n');
    match MessageStream::new(&line).parse_unstructured() {
        HeaderValue::Text(text) => text.into_owned(),
        _ => String::new(),
    }
}

/// The day a Date field names, in the time zone it names.
pub fn sent_date(value: &[u8]) -> Option<Date> {
    let text = String::from_utf8_lossy(value);
    let date = DateTime::parse_rfc822(&format!("{}\n", text.trim()))?;
    let year = i16::try_from(date.year).ok()?;
    Date::new(year, i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?).ok()
}

/// The moment a date field names (RFC 5322 §3.3), obsolete forms included.
pub fn moment(value: &[u8]) -> Option<Timestamp> {
    let text = String::from_utf8_lossy(value);
    let date = DateTime::parse_rfc822(&format!("{}\n", text.trim()))?;
    // A year of two digits that was not understood, and a field of zeros.
    if date.year < 1970 || !date.is_valid() {
        return None;
    }
    Timestamp::from_second(date.to_timestamp()).ok()
}

/// Decodes the body of one text part.
pub struct TextDecoder {
    transfer: Transfer,
    charset: Option<DecoderFnc>,
    bytes: Vec<u8>,
    piece: usize,
}

enum Transfer {
    Identity,
    Base64 {
        bits: u32,
        count: u32,
    },
    /// With an escape that is not complete yet.
    QuotedPrintable(Vec<u8>),
}

impl TextDecoder {
    /// For a part's own transfer encoding and charset; unknown ones are passed through.
    pub fn new(part: &Part) -> Self {
        Self::in_pieces(part, PIECE)
    }

    /// The same, with text given once there are so many bytes of it: what is held meanwhile.
    pub fn in_pieces(part: &Part, piece: usize) -> Self {
        let transfer = Transfer::of(part);
        let charset = part.charset();
        // Undeclared UTF-8 is more common than anything else beyond ASCII.
        let utf8 = matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii" | "ascii");
        let charset = if utf8 { None } else { charset_decoder(charset.as_bytes()) };
        Self { transfer, charset, bytes: Vec::new(), piece }
    }

    /// Takes raw bytes; gives text once there is enough of it.
    pub fn feed(&mut self, raw: &[u8]) -> Option<String> {
        self.transfer.feed(raw, &mut self.bytes);
        if self.bytes.len() < self.piece {
            return None;
        }
        // Cut at a line end, where no charset is in the middle of a character.
        let cut =
            self.bytes.iter().rposition(|b| *b == b'\n').map_or(self.bytes.len(), |at| at + 1);
        let rest = self.bytes.split_off(cut);
        let piece = std::mem::replace(&mut self.bytes, rest);
        Some(self.text(&piece))
    }

    /// The rest of the text.
    pub fn finish(mut self) -> String {
        self.transfer.finish(&mut self.bytes);
        self.text(&self.bytes)
    }

    fn text(&self, bytes: &[u8]) -> String {
        match self.charset {
            Some(decode) => decode(bytes),
            None => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// Undoes the transfer encoding of one part, whatever its bytes are.
pub struct BodyDecoder(Transfer);

impl BodyDecoder {
    /// For a part's own transfer encoding; an unknown one is passed through.
    pub fn new(part: &Part) -> Self {
        Self(Transfer::of(part))
    }

    /// Takes raw bytes, and appends what they stand for to `out`.
    pub fn feed(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        self.0.feed(raw, out);
    }

    /// Appends what was begun and never ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.0.finish(out);
    }
}

impl Transfer {
    fn of(part: &Part) -> Self {
        let encoding = part.encoding.as_deref().unwrap_or_default();
        if encoding.eq_ignore_ascii_case(b"base64") {
            Self::Base64 { bits: 0, count: 0 }
        } else if encoding.eq_ignore_ascii_case(b"quoted-printable") {
            Self::QuotedPrintable(Vec::new())
        } else {
            Self::Identity
        }
    }

    fn feed(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Identity => out.extend_from_slice(raw),
            Self::Base64 { bits, count } => base64(raw, bits, count, out),
            Self::QuotedPrintable(held) => quoted_printable(raw, held, out),
        }
    }

    /// An escape that was never ended stands for itself; blanks at the end mean nothing.
    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Self::QuotedPrintable(held) = self
            && held.first() == Some(&b'=')
        {
            out.append(held);
        }
    }
}

fn base64(raw: &[u8], bits: &mut u32, count: &mut u32, out: &mut Vec<u8>) {
    for byte in raw {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                (*bits, *count) = (0, 0);
                continue;
            }
            _ => continue,
        };
        *bits = *bits << 6 | u32::from(value);
        *count += 6;
        if *count >= 8 {
            *count -= 8;
            out.push((*bits >> *count & 0xff) as u8);
            *bits &= (1 << *count) - 1;
        }
    }
}

/// `held` is what cannot be decided yet: an escape that is not complete, or blanks that may stand at
/// the end of a line, where they mean nothing (RFC 2045 §6.7 (3)).
fn quoted_printable(raw: &[u8], held: &mut Vec<u8>, out: &mut Vec<u8>) {
    for byte in raw {
        if held.is_empty() && !matches!(byte, b'=' | b' ' | b'\t') {
            out.push(*byte);
            continue;
        }
        held.push(*byte);
        if settle(held, out) {
            held.clear();
        }
    }
}

/// Decides on what is held, when that is possible; whether it was.
fn settle(held: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    let (escape, rest) = match held.as_slice() {
        [b'=', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match rest.get(blanks..).unwrap_or_default() {
        [] | [b'\r'] if held.len() < LONGEST_BLANK => return false,
        // A soft break, or the end of a line.
        [b'\n'] | [b'\r', b'\n'] if escape => {}
        end @ ([b'\n'] | [b'\r', b'\n']) => out.extend_from_slice(end),
        [_] if escape && blanks == 0 => return false,
        [high, low] if escape && blanks == 0 => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => out.push(high << 4 | low),
            _ => out.extend_from_slice(held),
        },
        // The last byte may begin something anew.
        [.., last @ (b'=' | b' ' | b'\t')] => {
            let last = *last;
            out.extend_from_slice(held.get(..held.len() - 1).unwrap_or_default());
            held.clear();
            held.push(last);
            return false;
        }
        _ => out.extend_from_slice(held),
    }
    true
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
