//! What a sender may ask to be told about a message (RFC 3461): when, how much of it to bring
//! back, and the names it knows message and recipients by. Kept decoded; written again as the
//! wire wants it, so that nothing a stranger sent reaches a line unescaped.

use std::fmt::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// RET: how much of the message a failure notice brings back (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Return {
    /// `FULL`: all of it.
    Full,
    /// `HDRS`: the header alone.
    Headers,
}

impl FromStr for Return {
    type Err = NoticeError;

    fn from_str(text: &str) -> Result<Self, NoticeError> {
        match text.to_ascii_uppercase().as_str() {
            "FULL" => Ok(Self::Full),
            "HDRS" => Ok(Self::Headers),
            _ => Err(NoticeError),
        }
    }
}

/// As in `RET=`.
impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        })
    }
}

/// NOTIFY: when to tell the sender what became of a recipient (RFC 3461 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Notify {
    /// `NEVER`, whatever happens.
    Never,
    /// On at least one of these, and on no other.
    On {
        /// `SUCCESS`: delivered, or passed on to a host that cannot tell.
        success: bool,
        /// `FAILURE`: given up.
        failure: bool,
        /// `DELAY`: it takes long.
        delay: bool,
    },
}

impl FromStr for Notify {
    type Err = NoticeError;

    fn from_str(text: &str) -> Result<Self, NoticeError> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(Self::Never);
        }
        let (mut success, mut failure, mut delay) = (false, false, false);
        for word in text.split(',') {
            match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => success = true,
                "FAILURE" => failure = true,
                "DELAY" => delay = true,
                // NEVER stands alone (§4.1).
                _ => return Err(NoticeError),
            }
        }
        Ok(Self::On { success, failure, delay })
    }
}

/// As in `NOTIFY=`.
impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::On { success, failure, delay } = *self else { return f.write_str("NEVER") };
        let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
        for (at, word) in words.iter().filter(|word| word.0).map(|word| word.1).enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            f.write_str(word)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Notify {
    type Error = NoticeError;

    fn try_from(text: String) -> Result<Self, NoticeError> {
        text.parse()
    }
}

impl From<Notify> for String {
    fn from(notify: Notify) -> Self {
        notify.to_string()
    }
}

/// ENVID: the sender's own name for a message (RFC 3461 §4.4): printable ASCII, not empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvelopeId(String);

impl EnvelopeId {
    /// Longest value of `ENVID=`, encoded (RFC 3461 §5.4).
    pub const MAX: usize = 100;

    /// Takes the value of `ENVID=`.
    pub fn from_xtext(text: &str) -> Result<Self, NoticeError> {
        if text.len() > Self::MAX { Err(NoticeError) } else { decode(text)?.try_into() }
    }

    /// The value of `ENVID=`.
    pub fn xtext(&self) -> String {
        encode(&self.0)
    }

    /// As in `Original-Envelope-Id` of a notice (RFC 3464 §2.2.1).
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EnvelopeId {
    type Error = NoticeError;

    fn try_from(text: String) -> Result<Self, NoticeError> {
        if is_printable(&text) && encode(&text).len() <= Self::MAX {
            Ok(Self(text))
        } else {
            Err(NoticeError)
        }
    }
}

impl From<EnvelopeId> for String {
    fn from(id: EnvelopeId) -> Self {
        id.0
    }
}

/// ORCPT: whom the sender first wrote to (RFC 3461 §4.2), such as `rfc822;bob@example.net`. Need
/// not be a mail address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginalRecipient {
    /// `rfc822`, `utf-8` or another atom, as it was written.
    kind: String,
    /// Decoded: printable ASCII, for `utf-8` any characters but controls.
    address: String,
}

impl OriginalRecipient {
    /// Longest value of `ORCPT=`, encoded (RFC 3461 §5.4).
    pub const MAX: usize = 500;

    /// The value of `ORCPT=`, for any host: characters beyond ASCII are escaped (RFC 6533 §3).
    pub fn xtext(&self) -> String {
        let Self { kind, address } = self;
        let address = if self.is_utf8() { escape(address) } else { encode(address) };
        format!("{kind};{address}")
    }

    /// The address type.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The address, decoded.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn is_utf8(&self) -> bool {
        self.kind.eq_ignore_ascii_case("utf-8")
    }

    fn new(kind: &str, address: String) -> Result<Self, NoticeError> {
        // RFC 5322 §3.2.3 atom; the `;` that ends it is none.
        let atext = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
        let it = Self { kind: kind.to_owned(), address };
        let fits = if it.is_utf8() {
            !it.address.is_empty() && !it.address.chars().any(char::is_control)
        } else {
            is_printable(&it.address)
        };
        if fits && !kind.is_empty() && kind.bytes().all(atext) { Ok(it) } else { Err(NoticeError) }
    }
}

/// Takes the value of `ORCPT=`.
impl FromStr for OriginalRecipient {
    type Err = NoticeError;

    fn from_str(text: &str) -> Result<Self, NoticeError> {
        let (kind, address) = text.split_once(';').ok_or(NoticeError)?;
        if text.len() > Self::MAX {
            return Err(NoticeError);
        }
        let utf8 = kind.eq_ignore_ascii_case("utf-8");
        Self::new(kind, if utf8 { unescape(address)? } else { decode(address)? })
    }
}

/// As in `Original-Recipient` of a notice (RFC 3464 §2.3.1).
impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.kind, self.address)
    }
}

impl TryFrom<String> for OriginalRecipient {
    type Error = NoticeError;

    fn try_from(text: String) -> Result<Self, NoticeError> {
        text.parse()
    }
}

impl From<OriginalRecipient> for String {
    fn from(recipient: OriginalRecipient) -> Self {
        recipient.xtext()
    }
}

/// The value of RET, ENVID, NOTIFY or ORCPT is not what RFC 3461 allows: the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a value that RFC 3461 allows")]
pub struct NoticeError;

/// Writes `xtext` (RFC 3461 §4).
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_xchar(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "+{byte:02X}");
        }
    }
    out
}

/// Reads `xtext`.
fn decode(text: &str) -> Result<String, NoticeError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => 16 * hex(bytes.next())? + hex(bytes.next())?,
            byte if is_xchar(byte) => byte,
            _ => return Err(NoticeError),
        });
    }
    String::from_utf8(out).map_err(|_| NoticeError)
}

/// One upper-case hexadecimal digit, as §4 demands.
fn hex(byte: Option<u8>) -> Result<u8, NoticeError> {
    match byte {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(NoticeError),
    }
}

fn is_xchar(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'+' | b'=')
}

fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Writes `utf-8-addr-xtext` (RFC 6533 §3): ASCII whatever it holds.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '!'..='~') && !matches!(c, '+' | '=' | '\\') {
            out.push(c);
        } else {
            let _ = write!(out, "\\x{{{:02X}}}", u32::from(c));
        }
    }
    out
}

/// Reads `utf-8-addr-xtext` and `utf-8-addr-unitext` (RFC 6533 §3).
fn unescape(text: &str) -> Result<String, NoticeError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(escaped) = rest.strip_prefix("\\x{") {
            let (digits, after) = escaped.split_once('}').ok_or(NoticeError)?;
            let sound = (2..=6).contains(&digits.len())
                && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
            let code = u32::from_str_radix(digits, 16).ok().filter(|_| sound);
            out.push(code.and_then(char::from_u32).ok_or(NoticeError)?);
            rest = after;
        } else if matches!(c, '+' | '=' | '\\' | ' ') {
            return Err(NoticeError);
        } else {
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_as_rfc_3461_writes_them() {
        assert_eq!("hdrs".parse(), Ok(Return::Headers));
        assert_eq!("never".parse(), Ok(Notify::Never));
        let some = Notify::On { success: true, failure: false, delay: true };
        assert_eq!("Success,DELAY".parse(), Ok(some));
        assert_eq!(some.to_string(), "SUCCESS,DELAY");
        let id = EnvelopeId::from_xtext("QQ+2B314+3D159").unwrap();
        assert_eq!((id.as_str(), id.xtext().as_str()), ("QQ+314=159", "QQ+2B314+3D159"));
        let bob: OriginalRecipient = "rfc822;Bob+2Btag@Big-Bucks.COM".parse().unwrap();
        assert_eq!(bob.to_string(), "rfc822;Bob+tag@Big-Bucks.COM");
        assert_eq!(bob.xtext(), "rfc822;Bob+2Btag@Big-Bucks.COM");
    }

    #[test]
    fn an_address_beyond_ascii_travels_escaped() {
        for written in ["utf-8;k\\x{E4}the@x", "utf-8;käthe@x", "UTF-8;k\\x{00E4}the@x"] {
            let recipient: OriginalRecipient = written.parse().unwrap();
            assert_eq!(recipient.address(), "käthe@x");
            assert_eq!(recipient.xtext().split_once(';').unwrap().1, "k\\x{E4}the@x");
        }
    }

    #[test]
    fn nothing_that_could_end_a_line_is_taken() {
        for text in ["", "a+0D+0A", "a+0d", "a+4", "a b", "a=b", "+C3+A4", "+00"] {
            assert_eq!(EnvelopeId::from_xtext(text), Err(NoticeError), "{text}");
        }
        assert!(EnvelopeId::from_xtext(&"x".repeat(101)).is_err());
        for text in
            ["a", "rfc822;", ";a@b", "rf c;a", "rfc822;a+0Ab", "utf-8;\\x{A}", "utf-8;\\x{D800}"]
        {
            assert_eq!(text.parse::<OriginalRecipient>(), Err(NoticeError), "{text}");
        }
        for text in ["", "NEVER,DELAY", "SUCCESS,", "ALWAYS", "SUCCESS DELAY"] {
            assert_eq!(text.parse::<Notify>(), Err(NoticeError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in "[ -~]{1,30}", wide in "[!-~äöλ]{1,20}") {
            let id = EnvelopeId::try_from(text.clone()).unwrap();
            prop_assert_eq!(EnvelopeId::from_xtext(&id.xtext()).unwrap(), id);
            for (kind, address) in [("rfc822", text), ("utf-8", wide)] {
                let recipient = OriginalRecipient::new(kind, address).unwrap();
                let wire = recipient.xtext();
                prop_assert!(wire.bytes().all(|b| matches!(b, b'!'..=b'~')));
                prop_assert_eq!(wire.parse::<OriginalRecipient>().unwrap(), recipient);
            }
        }
    }
}
