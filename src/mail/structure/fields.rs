//! Values of MIME header fields, taken leniently: type and parameters (RFC 2045 §5.1) and
//! disposition (RFC 2183). Everything is kept raw, as the sender wrote it.

/// Most parameters kept of one field.
const MAX_PARAMETERS: usize = 64;

/// A media type such as `text/plain; charset=utf-8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// The part before the slash, as written.
    pub kind: Vec<u8>,
    /// The part after the slash.
    pub subtype: Vec<u8>,
    /// In the order written; RFC 2231 pieces stay apart.
    pub parameters: Vec<Parameter>,
}

/// One parameter of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Before the equals sign.
    pub name: Vec<u8>,
    /// After it, without quotes.
    pub value: Vec<u8>,
}

/// A Content-Disposition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disposition {
    /// `inline`, `attachment` or another word.
    pub kind: Vec<u8>,
    /// `filename` and others.
    pub parameters: Vec<Parameter>,
}

impl MediaType {
    /// What a part without Content-Type is (RFC 2045 §5.2).
    pub(super) fn plain() -> Self {
        let charset = Parameter { name: b"charset".to_vec(), value: b"us-ascii".to_vec() };
        Self { kind: b"text".to_vec(), subtype: b"plain".to_vec(), parameters: vec![charset] }
    }

    /// What a part of a multipart/digest without Content-Type is (RFC 2046 §5.1.5).
    pub(super) fn message() -> Self {
        Self { kind: b"message".to_vec(), subtype: b"rfc822".to_vec(), parameters: Vec::new() }
    }

    /// What cannot be told (RFC 2046 §4.5.1).
    pub(super) fn unknown() -> Self {
        Self {
            kind: b"application".to_vec(),
            subtype: b"octet-stream".to_vec(),
            parameters: Vec::new(),
        }
    }

    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut words = Words(value);
        let kind = words.token()?;
        if !words.skip(b'/') {
            return None;
        }
        let subtype = words.token()?;
        Some(Self { kind, subtype, parameters: words.parameters() })
    }

    /// Whether it is this type, whatever the case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.is_kind(kind) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    /// Whether it is of this kind, whatever the subtype.
    pub fn is_kind(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes())
    }

    pub(super) fn boundary(&self) -> Option<&[u8]> {
        let named = self.parameters.iter().find(|p| p.name.eq_ignore_ascii_case(b"boundary"));
        // RFC 2046 §5.1.1 says 70; more is seen in the wild.
        named.map(|p| p.value.trim_ascii_end()).filter(|b| !b.is_empty() && b.len() <= 200)
    }
}

impl Disposition {
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut words = Words(value);
        Some(Self { kind: words.token()?, parameters: words.parameters() })
    }
}

/// The tags of a Content-Language.
pub(super) fn languages(value: &[u8]) -> Vec<Vec<u8>> {
    let tags = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    tags.filter(|tag| !tag.is_empty()).take(MAX_PARAMETERS).map(<[u8]>::to_vec).collect()
}

/// What is left to read of a field's value.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn token(&mut self) -> Option<Vec<u8>> {
        self.skip_space();
        let special = |b: &u8| b.is_ascii_whitespace() || b"()<>@,;:\\\"/[]?=".contains(b);
        let end = self.0.iter().position(special).unwrap_or(self.0.len());
        (end > 0).then(|| self.take(end).to_vec())
    }

    fn parameters(&mut self) -> Vec<Parameter> {
        let mut found = Vec::new();
        while found.len() < MAX_PARAMETERS && self.skip_past(b';') {
            let Some(name) = self.token() else { continue };
            if self.skip(b'=') {
                found.push(Parameter { name, value: self.value() });
            }
        }
        found
    }

    /// A quoted string without its quotes, or all up to the next semicolon: unquoted file names
    /// with blanks are common.
    fn value(&mut self) -> Vec<u8> {
        self.skip_space();
        if self.skip(b'"') {
            return quoted(&mut self.0);
        }
        let end = self.0.iter().position(|b| *b == b';').unwrap_or(self.0.len());
        let raw = self.take(end);
        // A comment may follow the value.
        let end = raw.windows(2).position(|two| two == b" (").unwrap_or(raw.len());
        raw.get(..end).unwrap_or(raw).trim_ascii().to_vec()
    }

    fn skip(&mut self, byte: u8) -> bool {
        self.skip_space();
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// Goes behind the next such byte, if there is one.
    fn skip_past(&mut self, byte: u8) -> bool {
        let found = self.0.iter().position(|b| *b == byte);
        if let Some(at) = found {
            self.take(at + 1);
        }
        found.is_some()
    }

    fn skip_space(&mut self) {
        loop {
            self.0 = self.0.trim_ascii_start();
            if self.0.first() != Some(&b'(') {
                return;
            }
            comment(&mut self.0);
        }
    }

    fn take(&mut self, length: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Reads a quoted string whose opening quote is behind us.
pub(super) fn quoted(rest: &mut &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some((byte, after)) = rest.split_first() {
        *rest = after;
        match byte {
            b'"' => break,
            b'\\' => {
                if let Some((escaped, after)) = rest.split_first() {
                    *rest = after;
                    text.push(*escaped);
                }
            }
            byte => text.push(*byte),
        }
    }
    text
}

/// Reads a comment, nested ones included, that starts here (RFC 5322 §3.2.2).
pub(super) fn comment(rest: &mut &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut depth = 0_usize;
    while let Some((byte, after)) = rest.split_first() {
        *rest = after;
        match byte {
            b'(' => depth += 1,
            b')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
            b'\\' => {
                if let Some((escaped, after)) = rest.split_first() {
                    *rest = after;
                    text.push(*escaped);
                }
            }
            byte => text.push(*byte),
        }
    }
    text
}
