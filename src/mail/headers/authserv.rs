//! Who an `Authentication-Results` field says it is from (RFC 8601 §2.2). Fields that claim to be
//! ours are removed from what arrives (§5): only then may a mail program believe the one we add.

use super::super::Domain;

/// Whether the value of an `Authentication-Results` field names `ours` as its author, in any form a
/// lenient reader might understand: other case, quoted, behind comments, with a trailing dot. One
/// that cannot be read counts as ours: nobody can say what a mail program makes of it.
pub fn claims_to_be_ours(value: &[u8], ours: &Domain) -> bool {
    match authserv_id(value) {
        None => true,
        Some(id) => id.eq_ignore_ascii_case(ours.as_str()) || id.parse().is_ok_and(is(ours)),
    }
}

/// The first word of the value, comments and quoting removed; nothing when there is none, or when
/// it is followed by something that cannot follow it.
pub fn authserv_id(value: &[u8]) -> Option<String> {
    let rest = skip_comments(value)?;
    let (id, rest) = match rest.split_first()? {
        (b'"', rest) => quoted(rest)?,
        _ => token(rest)?,
    };
    let after = skip_comments(rest)?;
    // A version may follow (§2.2); what it is does not matter here.
    let after = match token(after) {
        Some((_, rest)) => skip_comments(rest)?,
        None => after,
    };
    matches!(after.first(), None | Some(b';')).then_some(id)
}

fn is(ours: &Domain) -> impl Fn(Domain) -> bool {
    move |id| id == *ours
}

/// What follows white space and comments, which nest (RFC 5322 §3.2.2); nothing when one never ends.
fn skip_comments(mut text: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_u32;
    while let Some((byte, rest)) = text.split_first() {
        match byte {
            b'(' => depth = depth.checked_add(1)?,
            b')' if depth > 0 => depth -= 1,
            b'\\' if depth > 0 => {
                text = rest.get(1..)?;
                continue;
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if depth > 0 => {}
            _ => return Some(text),
        }
        text = rest;
    }
    (depth == 0).then_some(text)
}

/// A MIME token (RFC 2045 §5.1), with what RFC 6531 adds.
fn token(text: &[u8]) -> Option<(String, &[u8])> {
    let special = |byte: &u8| byte.is_ascii_control() || b" ()<>@,;:\\\"/[]?=".contains(byte);
    let length = text.iter().position(special).unwrap_or(text.len());
    let (token, rest) = text.split_at(length);
    (length > 0).then(|| (String::from_utf8_lossy(token).into_owned(), rest))
}

/// The rest of a quoted string after its first quote.
fn quoted(mut text: &[u8]) -> Option<(String, &[u8])> {
    let mut content = Vec::new();
    loop {
        let (byte, rest) = text.split_first()?;
        text = rest;
        match byte {
            b'"' => return Some((String::from_utf8_lossy(&content).trim().to_owned(), text)),
            b'\\' => {
                let (escaped, rest) = text.split_first()?;
                content.push(*escaped);
                text = rest;
            }
            b'\r' | b'\n' => {}
            other => content.push(*other),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ours(value: &str) -> bool {
        claims_to_be_ours(value.as_bytes(), &"mail.example.org".parse().unwrap())
    }

    #[test]
    fn a_field_in_our_name_is_known_in_every_disguise() {
        for value in [
            " mail.example.org; spf=pass smtp.mailfrom=a@b",
            "mail.example.org",
            " MAIL.Example.ORG;none",
            "\r\n\tmail.example.org\r\n\t; none",
            " (comment (nested \\) ; )) mail.example.org; none",
            " mail.example.org(x); none",
            " mail.example.org 1; none",
            " mail.example.org (c) 99 (d); none",
            " \"mail.example.org\"; none",
            " \"mail\\.example.org\" 1; none",
            " mail.example.org.; none",
            " m\u{ff41}il.example.org; none",
            // What cannot be read.
            "",
            " ; none",
            " =?us-ascii?q?mail.example.org?=; none",
            " (never ends mail.example.org; none",
            " \"mail.example.org; none",
            " mail.example.org/x; none",
            " mail.example.org, other; none",
        ] {
            assert!(ours(value), "{value:?}");
        }
    }

    #[test]
    fn fields_of_others_stay() {
        for value in [
            " mx.example.net; spf=pass",
            " example.org; none",
            " xmail.example.org; none",
            " mail.example.org.evil.net; none",
            " (mail.example.org) mx.example.net; none",
            " mx.example.net; spf=pass (mail.example.org) smtp.helo=mail.example.org",
            " \"some thing\" 1; none",
        ] {
            assert!(!ours(value), "{value:?}");
        }
        assert_eq!(authserv_id(b" \"a \\\"b\" 1; x").as_deref(), Some("a \"b"));
    }

    proptest! {
        #[test]
        fn no_value_makes_the_reader_panic(value in "[a1.;()\\\\\" \r\n=?ü]{0,40}") {
            let _ = ours(&value);
        }
    }
}
