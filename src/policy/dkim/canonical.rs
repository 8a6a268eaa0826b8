//! The relaxed canonical forms of header and body (RFC 6376 §3.4.2, §3.4.4), the body's in a
//! stream.

use ring::digest::Context;

/// The fields of a header in order.
pub(super) struct Header<'a> {
    /// Lower-case name, and the whole field without its last CRLF.
    fields: Vec<(String, &'a [u8])>,
}

impl<'a> Header<'a> {
    /// Splits a header block; a line that is no field is passed over.
    pub(super) fn parse(block: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        let mut rest = block;
        while !rest.is_empty() {
            let (field, after) = split_field(rest);
            rest = after;
            if let Some(name) = name(field) {
                fields.push((name, field));
            }
        }
        Self { fields }
    }

    /// What a signature covers of these fields: the list for `h=`, and the canonical bytes. Fields
    /// of one name are taken from the last upwards (§5.4.2).
    pub(super) fn select(&self, wanted: &[(&'static str, bool)]) -> (Vec<&'static str>, Vec<u8>) {
        let mut names = Vec::new();
        let mut bytes = Vec::new();
        for (name, oversign) in wanted {
            for (_, field) in self.fields.iter().rev().filter(|(there, _)| there == name) {
                names.push(*name);
                bytes.extend(self::field(field));
                bytes.extend_from_slice(b"\r\n");
            }
            if *oversign {
                names.push(*name);
            }
        }
        (names, bytes)
    }
}

/// One field in relaxed form without line end: name in lower case, unfolded, every run of white
/// space one space, none around the colon or at the end.
pub(super) fn field(field: &[u8]) -> Vec<u8> {
    let colon = field.iter().position(|byte| *byte == b':').unwrap_or(field.len());
    let (name, value) = field.split_at(colon);
    let mut bytes = name.trim_ascii_end().to_ascii_lowercase();
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

/// Hashes a body in relaxed form: white space at line ends and empty lines at the end are
/// nothing, other runs of white space one space.
pub(super) struct BodyHash {
    hash: Context,
    out: Vec<u8>,
    /// Line ends seen since the last byte that counts.
    lines: u64,
    space: bool,
    cr: bool,
    any: bool,
}

impl BodyHash {
    pub(super) fn new(hash: Context) -> Self {
        Self {
            hash,
            out: Vec::with_capacity(CHUNK + 2),
            lines: 0,
            space: false,
            cr: false,
            any: false,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let after_cr = std::mem::replace(&mut self.cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {
                    self.lines += 1;
                    self.space = false;
                }
                _ => {
                    if after_cr {
                        self.content(b'\r');
                    }
                    match byte {
                        b'\r' => {}
                        b' ' | b'\t' => self.space = true,
                        other => self.content(*other),
                    }
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> ring::digest::Digest {
        // A body that does not end in CRLF gets one (§3.4.3); an empty one stays empty.
        if self.any {
            self.out.extend_from_slice(b"\r\n");
        }
        self.hash.update(&self.out);
        self.hash.finish()
    }

    fn content(&mut self, byte: u8) {
        for _ in 0..std::mem::take(&mut self.lines) {
            self.push(b"\r\n");
        }
        if std::mem::take(&mut self.space) {
            self.push(b" ");
        }
        self.push(&[byte]);
        self.any = true;
    }

    fn push(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        if self.out.len() >= CHUNK {
            self.hash.update(&self.out);
            self.out.clear();
        }
    }
}

/// The first field with its continuation lines, and what follows it.
fn split_field(block: &[u8]) -> (&[u8], &[u8]) {
    let mut from = 0;
    while let Some(at) =
        block.get(from..).and_then(|rest| rest.windows(2).position(|pair| pair == b"\r\n"))
    {
        let end = from + at;
        let after = block.get(end + 2..).unwrap_or_default();
        if !matches!(after.first(), Some(b' ' | b'\t')) {
            return (block.get(..end).unwrap_or_default(), after);
        }
        from = end + 2;
    }
    (block, &[])
}

fn name(field: &[u8]) -> Option<String> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    let name = field.get(..colon)?.trim_ascii_end();
    let plain = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    plain.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

const CHUNK: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use ring::digest::{SHA256, digest};

    fn body(parts: &[&[u8]]) -> Vec<u8> {
        let mut body = BodyHash::new(Context::new(&SHA256));
        for part in parts {
            body.update(part);
        }
        body.finish().as_ref().to_vec()
    }

    fn same(raw: &[u8], canonical: &[u8]) {
        let expected = digest(&SHA256, canonical);
        assert_eq!(body(&[raw]), expected.as_ref(), "{:?}", String::from_utf8_lossy(raw));
        for cut in 0..raw.len() {
            let (a, b) = raw.split_at(cut);
            assert_eq!(body(&[a, b]), expected.as_ref(), "cut at {cut}");
        }
    }

    #[test]
    fn bodies_have_the_form_of_rfc_6376() {
        same(b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"); // §3.4.5
        same(b"", b"");
        same(b"\r\n\r\n", b"");
        same(b"a", b"a\r\n");
        // Lines of white space at the end are empty lines.
        same(b"text\r\n \r\n\t \r\n", b"text\r\n");
        same(b"\r\n \r\na\r\n", b"\r\n\r\na\r\n");
        same(b"a\rb\r\r\n", b"a\rb\r\r\n");
    }

    #[test]
    fn fields_have_the_form_of_rfc_6376() {
        assert_eq!(field(b"A: X"), b"a:X");
        assert_eq!(field(b"B : Y\t\r\n\tZ  "), b"b:Y Z");
        let header = Header::parse(b"To: one\r\nFrom: a\r\n b\r\nto:\ttwo\r\nnonsense\r\n");
        let (names, bytes) = header.select(&[("from", true), ("to", false), ("cc", false)]);
        assert_eq!(names, ["from", "from", "to", "to"]);
        assert_eq!(bytes, b"from:a b\r\nto:two\r\nto:one\r\n");
    }
}
