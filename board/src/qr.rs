//! QR codes, small enough for the display and with the right polarity.
//!
//! Phone cameras expect dark modules on a lit ground with four light modules around; a code drawn
//! in lit modules on the dark display is refused by many. On 64 rows only the smallest code
//! (version 1, up to 25 capitals and digits) can be drawn two pixels to a module.

use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules that belong around a code (ISO/IEC 18004 §5.3.8).
const QUIET: usize = 4;

/// A code with its quiet zone.
pub(crate) struct Code(QrCode);

impl Code {
    /// `None` if the text is too long for any code.
    pub(crate) fn new(text: &str) -> Option<Self> {
        QrCode::encode_text(&capitals(text), QrCodeEcc::Low).ok().map(Self)
    }

    /// Modules on each side, the quiet zone included.
    pub(crate) fn side(&self) -> usize {
        usize::try_from(self.0.size()).unwrap_or(0) + 2 * QUIET
    }

    /// Whether a module is light, counted from the corner of the quiet zone.
    pub(crate) fn is_light(&self, x: usize, y: usize) -> bool {
        let module = |n: usize| n.checked_sub(QUIET).and_then(|n| i32::try_from(n).ok());
        match (module(x), module(y)) {
            // Outside the code itself this answers "not dark".
            (Some(x), Some(y)) => !self.0.get_module(x, y),
            _ => true,
        }
    }
}

/// A web address without a path in capitals, which need a smaller code: scheme and host are the
/// same in any case (RFC 3986 §6.2.2.1). Any other text stays as it is.
fn capitals(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    if scheme.chars().all(|c| c.is_ascii_alphabetic()) && host.chars().all(plain) {
        format!("{scheme}://{host}").to_ascii_uppercase()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn an_address_becomes_capitals_and_a_path_stays() {
        assert_eq!(capitals("http://192.168.1.23/"), "HTTP://192.168.1.23");
        assert_eq!(capitals("http://pillarbox.local"), "HTTP://PILLARBOX.LOCAL");
        assert_eq!(capitals("http://192.168.1.23/a?b=C"), "http://192.168.1.23/a?b=C");
        assert_eq!(capitals("just words"), "just words");
    }

    #[test]
    fn any_ipv4_address_fits_the_smallest_code() {
        let code = Code::new("http://255.255.255.255").unwrap();
        assert_eq!(code.side(), 21 + 8);
    }

    #[test]
    fn four_light_modules_surround_the_code() {
        let code = Code::new("http://192.168.1.23").unwrap();
        let last = code.side() - 1;
        for along in 0..code.side() {
            for edge in [0, 1, 2, 3, last, last - 1, last - 2, last - 3] {
                assert!(code.is_light(along, edge) && code.is_light(edge, along));
            }
        }
        // The corner of a finder pattern is dark.
        assert!(!code.is_light(4, 4));
    }

    #[test]
    fn a_text_beyond_all_codes_is_refused() {
        assert!(Code::new(&"x".repeat(5000)).is_none());
    }
}
