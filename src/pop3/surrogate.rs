//! What a client gets of a message that needs UTF-8 when it has not asked for UTF-8 (RFC 6856 §2.1,
//! §4): the same message with the header in ASCII, its other words as encoded words (RFC 2047) that
//! every mail program shows rightly. Addresses that need UTF-8 become names, since such a client
//! could not answer to them anyway. A message whose header is ASCII passes unchanged, and so does
//! every body. Bytes go through in pieces of any size; a word longer than any person writes is
//! treated in parts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One message on its way.
#[derive(Debug, Default)]
pub(super) struct Surrogate {
    /// The present word; at most [`LONGEST`] bytes.
    word: Vec<u8>,
    /// Between `="` and the closing quote, where a parameter's value stands.
    in_value: bool,
    /// Bytes of the present line, without its end.
    line: u64,
    body: bool,
}

/// Of a word looked at as a whole.
const LONGEST: usize = 1024;
/// Bytes in one encoded word, which has at most 75 characters (RFC 2047 §2).
const ENCODED: usize = 42;

impl Surrogate {
    /// Puts the next bytes of the message, as such a client may have them, at the end of `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut bytes = bytes.iter();
        while !self.body
            && let Some(&byte) = bytes.next()
        {
            let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            if blank || self.word.len() >= LONGEST {
                self.end_word(out);
            }
            if blank {
                out.push(byte);
            } else {
                self.word.push(byte);
            }
            match byte {
                b'\n' if self.line == 0 => self.body = true,
                b'\n' => self.line = 0,
                b'\r' => {}
                _ => self.line += 1,
            }
        }
        out.extend_from_slice(bytes.as_slice());
    }

    /// The message is complete.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        self.end_word(out);
    }

    fn end_word(&mut self, out: &mut Vec<u8>) {
        let word = std::mem::take(&mut self.word);
        let value = word.windows(2).position(|pair| pair == b"=\"").map(|at| at + 2);
        // A parameter's name is ASCII (RFC 2045 §5.1).
        let value = value.filter(|at| word.iter().take(*at).all(u8::is_ascii));
        let start = value.unwrap_or(0);
        let quotes = word.iter().skip(start).filter(|b| **b == b'"').count();
        let inside = self.in_value || value.is_some();
        self.in_value = inside && quotes % 2 == 0;
        if word.is_ascii() {
            out.extend_from_slice(&word);
            self.word = word;
            self.word.clear();
            return;
        }
        // What separates has to stay as it is: a list's comma, a value's quotes.
        let separates = |b: &u8| matches!(b, b',' | b';') || inside && !self.in_value && *b == b'"';
        let end = word.iter().rposition(|b| !separates(b)).map_or(start, |at| at + 1).max(start);
        let (before, rest) = word.split_at_checked(start).unwrap_or_default();
        let (text, after) = rest.split_at_checked(end - start).unwrap_or((rest, b""));
        // A field's name before it, such as `Subject:ü`, is no part of the word either.
        out.extend_from_slice(before);
        encode(text, out);
        out.extend_from_slice(after);
    }
}

/// Encoded words of some text, in whole characters.
fn encode(text: &[u8], out: &mut Vec<u8>) {
    // RFC 1428: not UTF-8, and nobody can tell what.
    let charset = if std::str::from_utf8(text).is_ok() { "utf-8" } else { "unknown-8bit" };
    let mut rest = text;
    let mut first = true;
    while !rest.is_empty() {
        let mut length = rest.len().min(ENCODED);
        // The bytes that continue a character of UTF-8 stay with it; four at most.
        let continues = |at: usize| rest.get(at).is_some_and(|b| b & 0xc0 == 0x80);
        for _ in 0..3 {
            if continues(length) && length > 1 {
                length -= 1;
            }
        }
        let (part, more) = rest.split_at_checked(length).unwrap_or((rest, b""));
        if !first {
            out.extend_from_slice(b"\r\n ");
        }
        out.extend_from_slice(format!("=?{charset}?b?{}?=", STANDARD.encode(part)).as_bytes());
        (rest, first) = (more, false);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(message: &[u8], piece: usize) -> Vec<u8> {
        let (mut surrogate, mut out) = (Surrogate::default(), Vec::new());
        message.chunks(piece).for_each(|bytes| surrogate.push(bytes, &mut out));
        surrogate.finish(&mut out);
        out
    }

    #[test]
    fn words_beyond_ascii_are_encoded_and_all_else_stays() {
        for (message, expected) in [
            (
                "Subject: gr\u{fc}n ja\r\n\r\n\u{fc}\r\n",
                "Subject: =?utf-8?b?Z3LDvG4=?= ja\r\n\r\n\u{fc}\r\n",
            ),
            ("A: x\r\n folded \u{e4},\r\n", "A: x\r\n folded =?utf-8?b?w6Q=?=,\r\n"),
            ("T: a; name=\"\u{dc}b.pdf\"; x\r\n", "T: a; name=\"=?utf-8?b?w5xiLnBkZg==?=\"; x\r\n"),
            (
                "T: a; name=\"\u{dc} b \u{dc}\"\r\n",
                "T: a; name=\"=?utf-8?b?w5w=?= b =?utf-8?b?w5w=?=\"\r\n",
            ),
            ("To: <k\u{e4}@x>, b@y\r\n", "To: =?utf-8?b?PGvDpEB4Pg==?=, b@y\r\n"),
            ("\u{fc}", "=?utf-8?b?w7w=?="),
            ("A: b\n\n\u{fc}", "A: b\n\n\u{fc}"),
        ] {
            for piece in [1, 2, 7, 1000] {
                let out = seen(message.as_bytes(), piece);
                assert_eq!(String::from_utf8_lossy(&out), expected, "{message:?} by {piece}");
            }
        }
        assert_eq!(seen(b"S: \xfc\r\n", 9), b"S: =?unknown-8bit?b?/A==?=\r\n");
    }

    #[test]
    fn a_long_text_is_encoded_in_words_that_are_short_enough_and_whole() {
        let message = format!("Subject: {}\r\n\r\n", "\u{fc}\u{20ac}\u{1f600}".repeat(100));
        let out = String::from_utf8(seen(message.as_bytes(), 5)).unwrap_or_default();
        let mut text = String::new();
        for word in out.split_ascii_whitespace().skip(1) {
            assert!(word.len() <= 75, "{word}");
            let coded = word.strip_prefix("=?utf-8?b?").and_then(|word| word.strip_suffix("?="));
            let bytes = STANDARD.decode(coded.unwrap_or_default()).unwrap_or_default();
            text.push_str(std::str::from_utf8(&bytes).unwrap_or("(half a character)"));
        }
        assert_eq!(text, "\u{fc}\u{20ac}\u{1f600}".repeat(100));
    }

    proptest! {
        #[test]
        fn every_header_is_ascii_and_every_body_unchanged(
            header in prop::collection::vec("[a\u{e9}\" =;,]{0,20}", 1..6),
            body in any::<Vec<u8>>(),
            piece in 1_usize..9,
        ) {
            let header: String =
                header.iter().flat_map(|line| ["X: ", line.as_str(), "\r\n"]).collect();
            let message = [header.as_bytes(), b"\r\n", &body].concat();
            let out = seen(&message, piece);
            let end = out.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
            let (head, rest) = out.split_at(end.unwrap_or(0));
            prop_assert!(head.is_ascii() && !head.is_empty());
            prop_assert_eq!(rest, body);
            if header.is_ascii() {
                prop_assert_eq!(head, [header.as_bytes(), b"\r\n"].concat());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(message in any::<Vec<u8>>(), piece in 1_usize..9) {
            seen(&message, piece);
        }
    }
}
