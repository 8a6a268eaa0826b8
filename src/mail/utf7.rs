//! Modified UTF-7, in which mailbox names travel (RFC 3501 §5.1.3) and lie in a Maildir.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The name in Unicode. What is not modified UTF-7 is taken as it stands, as UTF-8: some clients
/// forget to encode, and the name they sent then finds the mailbox they mean.
pub fn decode(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    decode_strictly(&text).unwrap_or_else(|| text.into_owned())
}

fn decode_strictly(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('&') {
        let (encoded, after) = shifted.split_once('-')?;
        decoded.push_str(plain);
        if encoded.is_empty() {
            decoded.push('&');
        } else {
            let bytes = ENGINE.decode(encoded).ok()?;
            let units = bytes.chunks(2).map(|pair| match pair {
                [high, low] => Some(u16::from_be_bytes([*high, *low])),
                _ => None,
            });
            let units: Vec<u16> = units.collect::<Option<_>>()?;
            decoded.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = after;
    }
    decoded.push_str(rest);
    Some(decoded)
}

/// The name as it travels: printable ASCII only.
pub fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    let mut units: Vec<u8> = Vec::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut units, &mut encoded);
            encoded.push(c);
            if c == '&' {
                encoded.push('-');
            }
        } else {
            let mut buffer = [0; 2];
            units.extend(c.encode_utf16(&mut buffer).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut units, &mut encoded);
    encoded
}

fn flush(units: &mut Vec<u8>, encoded: &mut String) {
    if !units.is_empty() {
        encoded.push('&');
        ENGINE.encode_string(&*units, encoded);
        encoded.push('-');
        units.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_travel_as_the_rfc_shows() {
        for (name, wire) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("Q&A", "Q&-A"),
            ("😀", "&2D3eAA-"),
        ] {
            assert_eq!(encode(name), wire);
            assert_eq!(decode(wire.as_bytes()), name);
        }
    }

    #[test]
    fn what_is_not_encoded_is_taken_as_it_stands() {
        assert_eq!(decode("Entwürfe".as_bytes()), "Entwürfe");
        assert_eq!(decode(b"Q&A"), "Q&A");
        assert_eq!(decode(b"x&AAAAA-"), "x&AAAAA-");
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in ".{0,40}") {
            let wire = encode(&name);
            prop_assert!(wire.bytes().all(|b| matches!(b, b' '..=b'~')));
            prop_assert_eq!(decode(wire.as_bytes()), name);
        }
    }
}
