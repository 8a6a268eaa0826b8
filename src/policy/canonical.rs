//! The canonical forms of header and body that signatures cover (RFC 6376 §3.4), the body's in a
//! stream. RFC 8617 (ARC) uses the same.

use std::collections::HashMap;

use ring::digest::{Context, Digest, SHA256};

/// How much a relay may change without breaking a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Canon {
    /// Nothing (§3.4.1, §3.4.3).
    Simple,
    /// White space (§3.4.2, §3.4.4).
    Relaxed,
}

impl Canon {
    /// One field in this form, without its last line end.
    pub(super) fn field(self, field: &[u8]) -> Vec<u8> {
        match self {
            Self::Simple => field.to_vec(),
            Self::Relaxed => relaxed(field),
        }
    }
}

/// The fields of a header in order.
#[derive(Debug)]
pub(super) struct Header<'a> {
    fields: Vec<Field<'a>>,
    /// Where each name is to be found, in order, by its lower-case form.
    places: HashMap<Vec<u8>, Vec<usize>>,
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    /// Name, colon and value, without the last CRLF.
    pub(super) raw: &'a [u8],
}

impl<'a> Header<'a> {
    /// Splits a header block; a line that is no field is passed over.
    pub(super) fn parse(block: &'a [u8]) -> Self {
        let mut header = Self { fields: Vec::new(), places: HashMap::new() };
        let mut rest = block;
        while !rest.is_empty() {
            let (raw, after) = split_field(rest);
            rest = after;
            if let Some(name) = name(raw) {
                let place = header.fields.len();
                header.places.entry(name.to_ascii_lowercase()).or_default().push(place);
                header.fields.push(Field { raw });
            }
        }
        header
    }

    /// The fields of a name (given in lower case) from the first downwards.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = Field<'a>> {
        let places = self.places.get(name.as_bytes()).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| self.fields.get(*place).copied())
    }

    /// What a signature over these names (in lower case) covers: of each name as many fields as
    /// often as it is listed, from the last upwards; one too many stands for nothing (§5.4.2).
    pub(super) fn signed(&self, names: &[String], canon: Canon) -> Vec<u8> {
        let mut taken: HashMap<&str, usize> = HashMap::new();
        let mut bytes = Vec::new();
        for name in names {
            let count = taken.entry(name).or_default();
            *count += 1;
            let places = self.places.get(name.as_bytes()).map_or(&[][..], Vec::as_slice);
            let place = places.len().checked_sub(*count).and_then(|at| places.get(at));
            if let Some(field) = place.and_then(|place| self.fields.get(*place)) {
                bytes.extend(canon.field(field.raw));
                bytes.extend_from_slice(b"\r\n");
            }
        }
        bytes
    }

    /// What a new signature covers of these fields: the list for `h=`, and the relaxed bytes. With
    /// `true`, one more than there are is named, so that none can be added on the way.
    pub(super) fn select(&self, wanted: &[(&'static str, bool)]) -> (Vec<String>, Vec<u8>) {
        let mut names = Vec::new();
        for (name, oversign) in wanted {
            let count = self.named(name).count() + usize::from(*oversign);
            names.extend(std::iter::repeat_n((*name).to_owned(), count));
        }
        let bytes = self.signed(&names, Canon::Relaxed);
        (names, bytes)
    }
}

impl<'a> Field<'a> {
    /// What stands after the colon.
    pub(super) fn value(&self) -> &'a [u8] {
        let colon = memchr::memchr(b':', self.raw).unwrap_or(self.raw.len());
        self.raw.get(colon + 1..).unwrap_or_default()
    }
}

/// Name in lower case, unfolded, every run of white space one space, none around the colon or at
/// the end.
fn relaxed(field: &[u8]) -> Vec<u8> {
    let colon = memchr::memchr(b':', field).unwrap_or(field.len());
    let (name, value) = field.split_at(colon);
    let mut bytes = Vec::with_capacity(field.len());
    bytes.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
    bytes.push(b':');
    let mut words = value
        .get(1..)
        .unwrap_or_default()
        .split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
        .filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        bytes.extend_from_slice(first);
    }
    for word in words {
        bytes.push(b' ');
        bytes.extend_from_slice(word);
    }
    bytes
}

/// Hashes a body in one of the forms with SHA-256. In both, empty lines at the end are nothing; in
/// the relaxed one white space at line ends is nothing, and other runs of it one space.
pub(super) struct BodyHash {
    canon: Canon,
    hash: Context,
    out: Vec<u8>,
    hashed: u64,
    /// Line ends seen since the last byte that counts.
    lines: usize,
    space: bool,
    cr: bool,
    any: bool,
}

/// What a body hash found.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyDigest {
    /// SHA-256.
    pub(super) digest: Digest,
    /// Bytes in canonical form; what `l=` counts.
    pub(super) length: u64,
}

impl BodyHash {
    pub(super) fn new(canon: Canon) -> Self {
        Self {
            canon,
            hash: Context::new(&SHA256),
            out: Vec::with_capacity(CHUNK + 2),
            hashed: 0,
            lines: 0,
            space: false,
            cr: false,
            any: false,
        }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        let relaxed = self.canon == Canon::Relaxed;
        while let Some((byte, rest)) = bytes.split_first() {
            if std::mem::take(&mut self.cr) {
                if *byte == b'\n' {
                    self.lines += 1;
                    self.space = false;
                    bytes = rest;
                    continue;
                }
                self.content(b"\r");
            }
            match byte {
                b'\r' => {
                    self.cr = true;
                    bytes = rest;
                }
                b' ' | b'\t' if relaxed => {
                    self.space = true;
                    bytes = rest;
                }
                _ => {
                    let end = if relaxed {
                        // A space between words is as it should be: whole lines go at once.
                        let odd = |(at, byte): (usize, &u8)| match byte {
                            b'\t' | b'\r' => true,
                            b' ' => !bytes.get(at + 1).is_some_and(u8::is_ascii_graphic),
                            _ => false,
                        };
                        bytes.iter().enumerate().position(odd)
                    } else {
                        memchr::memchr(b'\r', bytes)
                    };
                    let (run, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    self.content(run);
                    bytes = rest;
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> BodyDigest {
        if std::mem::take(&mut self.cr) {
            self.content(b"\r");
        }
        // A body that does not end in CRLF gets one. An empty one stays empty (§3.4.4), except in
        // the simple form (§3.4.3).
        if self.any || self.canon == Canon::Simple {
            self.push(b"\r\n");
        }
        self.flush();
        BodyDigest { digest: self.hash.finish(), length: self.hashed }
    }

    fn content(&mut self, run: &[u8]) {
        for _ in 0..std::mem::take(&mut self.lines) {
            self.push(b"\r\n");
        }
        if std::mem::take(&mut self.space) {
            self.push(b" ");
        }
        self.push(run);
        self.any = true;
    }

    fn push(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        if self.out.len() >= CHUNK {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.hash.update(&self.out);
        self.hashed += self.out.len() as u64;
        self.out.clear();
    }
}

impl std::fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyHash").field("canon", &self.canon).finish_non_exhaustive()
    }
}

/// The first field with its continuation lines, and what follows it.
fn split_field(block: &[u8]) -> (&[u8], &[u8]) {
    for at in memchr::memchr_iter(b'\n', block) {
        let folded = matches!(block.get(at + 1), Some(b' ' | b'\t'));
        let ended = at > 0 && block.get(at - 1) == Some(&b'\r');
        if ended && !folded {
            let after = block.get(at + 1..).unwrap_or_default();
            return (block.get(..at - 1).unwrap_or_default(), after);
        }
    }
    (block, &[])
}

fn name(field: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memchr(b':', field)?;
    let name = field.get(..colon)?.trim_ascii_end();
    let plain = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    plain.then_some(name)
}

const CHUNK: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use ring::digest::digest;

    fn body(canon: Canon, parts: &[&[u8]]) -> BodyDigest {
        let mut body = BodyHash::new(canon);
        for part in parts {
            body.update(part);
        }
        body.finish()
    }

    fn same(canon: Canon, raw: &[u8], canonical: &[u8]) {
        let expected = digest(&SHA256, canonical);
        for cut in 0..=raw.len() {
            let (a, b) = raw.split_at(cut);
            let found = body(canon, &[a, b]);
            let shown = String::from_utf8_lossy(raw);
            assert_eq!(found.digest.as_ref(), expected.as_ref(), "{shown:?} cut at {cut}");
            assert_eq!(found.length, canonical.len() as u64, "{shown:?} cut at {cut}");
        }
    }

    #[test]
    fn relaxed_bodies_have_the_form_of_rfc_6376() {
        let same = |raw, canonical| same(Canon::Relaxed, raw, canonical);
        same(b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"); // §3.4.5
        same(b"", b"");
        same(b"\r\n\r\n", b"");
        same(b"a", b"a\r\n");
        // Lines of white space at the end are empty lines.
        same(b"text\r\n \r\n\t \r\n", b"text\r\n");
        same(b"\r\n \r\na\r\n", b"\r\n\r\na\r\n");
        same(b"a\rb\r\r\n", b"a\rb\r\r\n");
        same(b"a \r", b"a \r\r\n");
    }

    #[test]
    fn simple_bodies_have_the_form_of_rfc_6376() {
        let same = |raw, canonical| same(Canon::Simple, raw, canonical);
        same(b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n"); // §3.4.5
        same(b"", b"\r\n");
        same(b"\r\n\r\n", b"\r\n");
        same(b"a", b"a\r\n");
        same(b"text\r\n \r\n\r\n", b"text\r\n \r\n");
        same(b"a\rb\n\r\r\n", b"a\rb\n\r\r\n");
    }

    #[test]
    fn fields_have_the_form_of_rfc_6376() {
        assert_eq!(relaxed(b"A: X"), b"a:X");
        assert_eq!(relaxed(b"B : Y\t\r\n\tZ  "), b"b:Y Z");
        assert_eq!(Canon::Simple.field(b"B : Y\t\r\n\tZ  "), b"B : Y\t\r\n\tZ  ");
        let header = Header::parse(b"To: one\r\nFrom: a\r\n b\r\nto:\ttwo\r\nnonsense\r\n");
        let (names, bytes) = header.select(&[("from", true), ("to", false), ("cc", false)]);
        assert_eq!(names, ["from", "from", "to", "to"]);
        assert_eq!(bytes, b"from:a b\r\nto:two\r\nto:one\r\n");
    }

    #[test]
    fn fields_of_one_name_are_taken_from_the_last_upwards() {
        let header = Header::parse(b"A: 1\r\nB: x\r\na: 2\r\nA : 3\r\n");
        let names: Vec<String> = ["a", "b", "a", "c", "b"].map(str::to_owned).to_vec();
        assert_eq!(header.signed(&names, Canon::Relaxed), b"a:3\r\nb:x\r\na:2\r\n");
        assert_eq!(header.signed(&names, Canon::Simple), b"A : 3\r\nB: x\r\na: 2\r\n");
    }
}
