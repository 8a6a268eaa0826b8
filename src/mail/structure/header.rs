//! The fields of a header, as they stand (RFC 5322 §2.2).

/// One header field in its raw bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawField<'a> {
    /// Before the colon; empty for a line that is no field.
    pub name: &'a [u8],
    /// After the colon, folds and the last line end included.
    pub value: &'a [u8],
    /// All of it.
    pub whole: &'a [u8],
}

/// The fields of a header, without the empty line that ends it.
pub fn fields(header: &[u8]) -> impl Iterator<Item = RawField<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        if rest.is_empty() || rest.starts_with(b"\r\n") || rest.starts_with(b"\n") {
            return None;
        }
        let (whole, after) = rest.split_at(field_end(rest));
        rest = after;
        let colon = whole.iter().position(|b| *b == b':');
        let (name, value) = match colon {
            Some(at) => (whole.get(..at), whole.get(at + 1..)),
            None => (None, Some(whole)),
        };
        Some(RawField {
            name: name.unwrap_or_default().trim_ascii_end(),
            value: value.unwrap_or_default(),
            whole,
        })
    })
}

/// Where the first field ends: at a line end that no blank follows.
fn field_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(newline) = memchr::memchr(b'\n', bytes.get(at..).unwrap_or_default()) {
        at += newline + 1;
        if !matches!(bytes.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
    bytes.len()
}
