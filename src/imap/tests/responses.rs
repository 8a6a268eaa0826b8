//! Whether other people's clients can read what we say: imap-codec takes every response apart. What
//! it has not heard of is in [`BEYOND`] and is read by the plain grammar of responses (RFC 9051 §9
//! `tagged-ext-val`): words, strings and lists with one blank between them.

use imap_codec::decode::Decoder;
use imap_codec::{GreetingCodec, ResponseCodec};

/// Responses that imap-codec does not know at all, and where they come from.
const BEYOND: &[(&str, &str)] = &[
    ("ESEARCH", "RFC 4731 §3.1"),
    ("LIST", "RFC 5258 §6: extended data items, and raw UTF-8 by RFC 9051"),
    ("VANISHED", "RFC 7162 §3.2.10"),
];

/// Items it does not know; the others of the same response it reads.
const BEYOND_ITEMS: &[(&str, &str)] = &[
    ("APPENDLIMIT", "RFC 7889 §4"),
    ("DELETED", "RFC 9051 §7.3.4"),
    ("DELETED-STORAGE", "RFC 9208 §4.1.4"),
    ("EMAILID", "RFC 8474 §5.1"),
    ("MAILBOXID", "RFC 8474 §4.3"),
    ("PREVIEW", "RFC 8970 §3.1"),
    ("SAVEDATE", "RFC 8514 §4.3"),
    ("THREADID", "RFC 8474 §5.2"),
];

/// Reads all responses of a session from its greeting on; how many there were, or the first that
/// no client can read.
pub(super) fn read_all(said: &[u8]) -> Result<usize, String> {
    let mut rest = said;
    let mut count = 0;
    while !rest.is_empty() {
        let end = end_of_response(rest).ok_or_else(|| format!("cut short: {}", shown(rest)))?;
        let (one, after) = rest.split_at(end);
        if !(decodes(one) || is_beyond(one)) {
            return Err(shown(one));
        }
        rest = after;
        count += 1;
    }
    Ok(count)
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Behind the CRLF that ends a response, literals passed over.
fn end_of_response(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        at += line + 2;
        match literal_size(&rest[..line]) {
            Some(size) => at += size,
            None => return Some(at),
        }
    }
}

/// The size at the end of a line that announces a literal.
fn literal_size(line: &[u8]) -> Option<usize> {
    let digits = line.strip_suffix(b"}")?;
    let start = digits.iter().rposition(|b| *b == b'{')? + 1;
    std::str::from_utf8(&digits[start..]).ok()?.parse().ok()
}

fn decodes(one: &[u8]) -> bool {
    let response = ResponseCodec::default().decode(one);
    let greeting = GreetingCodec::default().decode(one);
    response.is_ok_and(|(rest, _)| rest.is_empty())
        || greeting.is_ok_and(|(rest, _)| rest.is_empty())
}

fn is_beyond(one: &[u8]) -> bool {
    let Some(values) = one.strip_prefix(b"* ").and_then(Values::all) else { return false };
    let words: Vec<String> = values.iter().map(|raw| String::from_utf8_lossy(raw).into()).collect();
    let word = |at: usize| words.get(at).map(String::as_str).unwrap_or_default();
    if BEYOND.iter().any(|(name, _)| *name == word(0)) {
        return true;
    }
    let list = match (word(0), word(1)) {
        ("STATUS", _) | (_, "FETCH") => values.get(2),
        _ => None,
    };
    let inside = list.and_then(|raw| raw.strip_prefix(b"(")?.strip_suffix(b")"));
    let Some(pairs) = inside.and_then(Values::split) else { return false };
    let beyond = |name: &[u8]| {
        // RFC 3516 §4.3 gives a part of a section its origin; the grammar of §7 forgets it.
        let part = name.starts_with(b"BINARY[") && name.ends_with(b">");
        part || BEYOND_ITEMS.iter().any(|(known, _)| known.as_bytes() == name)
    };
    if pairs.len() % 2 != 0 || !pairs.chunks(2).any(|pair| beyond(pair[0])) {
        return false;
    }
    let known: Vec<&[u8]> =
        pairs.chunks(2).filter(|pair| !beyond(pair[0])).flatten().copied().collect();
    if known.is_empty() {
        return true;
    }
    let rest = known.join(&b' ');
    let without = [b"* ", values[0], b" ", values[1], b" (", &rest, b")\r\n"].concat();
    decodes(&without)
}

/// The values of a response, as they stand there.
struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Values<'a> {
    /// All of a response behind its star; nothing when it breaks the grammar.
    fn all(bytes: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        Self::split(bytes.strip_suffix(b"\r\n")?)
    }

    fn split(bytes: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let mut values = Values { bytes, at: 0 };
        let mut found = Vec::new();
        while values.at < bytes.len() {
            if !found.is_empty() {
                values.byte(b' ')?;
            }
            let start = values.at;
            values.value(0)?;
            found.push(&bytes[start..values.at]);
        }
        Some(found)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            _ if depth > 20 => None,
            b'(' => {
                self.at += 1;
                while self.peek()? != b')' {
                    self.value(depth + 1)?;
                    // Addresses and bodies stand side by side.
                    if !matches!(self.peek()?, b')' | b'(') {
                        self.byte(b' ')?;
                        (self.peek()? != b')').then_some(())?;
                    }
                }
                self.byte(b')')
            }
            b'"' => self.quoted(),
            b'{' | b'~' => self.literal(),
            _ => self.word(),
        }
    }

    fn quoted(&mut self) -> Option<()> {
        self.byte(b'"')?;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return Some(()),
                b'\\' => {
                    matches!(self.peek()?, b'"' | b'\\').then_some(())?;
                    self.at += 1;
                }
                b'\r' | b'\n' | 0 => return None,
                _ => {}
            }
        }
    }

    fn literal(&mut self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = literal_size(&rest[..line])?;
        self.at += line + 2 + size;
        (self.at <= self.bytes.len()).then_some(())
    }

    /// An atom; `BODY[…]<0>` with what stands between the brackets.
    fn word(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b'[' => {
                    let rest = self.bytes.get(self.at..)?;
                    self.at += rest.iter().position(|b| *b == b']')?;
                }
                b' ' | b'(' | b')' | b'"' | b'{' | 0..=31 | 127.. => break,
                _ => {}
            }
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

#[test]
fn what_no_client_can_read_is_found() {
    for good in [
        "* OK [CAPABILITY IMAP4rev1 X] hello\r\n",
        "* ESEARCH (TAG \"a\") UID ALL 1:3\r\n* 1 FETCH (UID 1 EMAILID (x) FLAGS (\\Seen))\r\n",
        "* 2 FETCH (UID 2 PREVIEW {2}\r\nab)\r\na OK done\r\n",
        "* LIST (\\HasChildren) \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n",
        "* STATUS a (MESSAGES 1 MAILBOXID (x))\r\n",
    ] {
        assert!(read_all(good.as_bytes()).is_ok(), "{good}");
    }
    for bad in [
        "* 0 FETCH (UID 1)\r\n",
        "* 1 FETCH (UID 1 EMAILID (x) FLAGS (\\Seen)\r\n",
        "* 1 FETCH (UID 0 EMAILID (x))\r\n",
        "* 1 FETCH (UID 1  EMAILID (x))\r\n",
        "* ESEARCH (TAG \"a) UID\r\n",
        "* 1 FETCH (UID 1 NEWS 2)\r\n",
        "* LIST (\\HasChildren) \"/\"  a\r\n",
        "a MAYBE done\r\n",
        "* 1 EXISTS",
    ] {
        assert!(read_all(bad.as_bytes()).is_err(), "{bad}");
    }
}
