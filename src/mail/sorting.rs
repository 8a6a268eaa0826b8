//! What messages are sorted and grouped by (RFC 5256 §2, RFC 5957 §3): the subject without the
//! marks that replies and lists put around it, the moment of sending, and texts in the form in
//! which they are compared (i;unicode-casemap, RFC 5051).

use icu_normalizer::DecomposingNormalizerBorrowed;
use mail_parser::DateTime;

use super::structure::{Mailbox, header_text};

/// Longest subject looked at, in bytes of text: what is longer counts as if it ended there.
const LONGEST_SUBJECT: usize = 1024;

/// A subject without marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseSubject {
    /// What is left.
    pub text: String,
    /// Whether a mark of a reply or a forwarded message was taken away.
    pub is_reply: bool,
}

impl BaseSubject {
    /// Of a Subject field's raw value (RFC 5256 §2.1).
    pub fn of(value: &[u8]) -> Self {
        let text = header_text(value);
        let mut words = String::with_capacity(text.len().min(LONGEST_SUBJECT));
        for word in text.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
            if words.len() > LONGEST_SUBJECT {
                words.truncate(words.floor_char_boundary(LONGEST_SUBJECT));
                break;
            }
        }
        let (text, is_reply) = base(&words);
        Self { text: text.to_owned(), is_reply }
    }
}

/// Steps (2) to (6).
fn base(subject: &str) -> (&str, bool) {
    let mut text = subject;
    let mut is_reply = false;
    loop {
        loop {
            text = text.trim_end_matches(' ');
            let Some(rest) = without_end(text, "(fwd)") else { break };
            (text, is_reply) = (rest, true);
        }
        loop {
            text = text.trim_start_matches(' ');
            if let Some(rest) = leader(text) {
                (text, is_reply) = (rest, true);
            } else if let Some(rest) = blob(text).filter(|rest| !rest.is_empty()) {
                text = rest;
            } else {
                break;
            }
        }
        let inner = without_start(text, "[fwd:").and_then(|rest| rest.strip_suffix(']'));
        let Some(inner) = inner else { return (text, is_reply) };
        (text, is_reply) = (inner, true);
    }
}

/// Behind `[list] Re[2]:`.
fn leader(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(after) = blob(rest) {
        rest = after;
    }
    let marks = ["re", "fwd", "fw"];
    let rest = marks.into_iter().find_map(|mark| without_start(rest, mark))?;
    let rest = rest.trim_start_matches(' ');
    blob(rest).unwrap_or(rest).strip_prefix(':')
}

/// Behind `[anything] `.
fn blob(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('[')?;
    let (_, rest) = rest.split_at_checked(rest.find(['[', ']'])?)?;
    Some(rest.strip_prefix(']')?.trim_start_matches(' '))
}

fn without_start<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let (found, rest) = text.split_at_checked(start.len())?;
    found.eq_ignore_ascii_case(start).then_some(rest)
}

fn without_end<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let (rest, found) = text.split_at_checked(text.len().checked_sub(end.len())?)?;
    found.eq_ignore_ascii_case(end).then_some(rest)
}

/// The seconds since 1970 that a Date field names (RFC 5256 §2.2): a time of day that is none counts
/// as midnight, a time zone that is none as universal time. Nothing when it names no day.
pub fn sent_second(value: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(value);
    let mut date = DateTime::parse_rfc822(&format!("{}\n", text.trim()))?;
    if date.hour > 23 || date.minute > 59 || date.second > 60 {
        (date.hour, date.minute, date.second) = (0, 0, 0);
    }
    date.second = date.second.min(59);
    if !has_zone(&text) {
        (date.tz_hour, date.tz_minute) = (0, 0);
    }
    date.is_valid().then(|| date.to_timestamp())
}

/// Whether the numeric zone of a date, if there is one, is one.
fn has_zone(date: &str) -> bool {
    let Some(at) = date.rfind(['+', '-']) else { return true };
    let zone = date.get(at + 1..).unwrap_or_default();
    let digits: Vec<u32> = zone.chars().map_while(|c| c.to_digit(10)).collect();
    match digits.as_slice() {
        [h, hh, m, mm] => h * 10 + hh < 24 && m * 10 + mm < 60,
        _ => true,
    }
}

/// What an address is shown as (RFC 5957 §3): the name, or else the address itself.
pub fn display(address: &Mailbox) -> String {
    let name = address.name.as_deref().map(header_text).unwrap_or_default();
    if !name.is_empty() {
        return name;
    }
    let mailbox = String::from_utf8_lossy(address.mailbox.as_deref().unwrap_or_default());
    match &address.host {
        Some(host) if address.mailbox.is_some() && !host.is_empty() => {
            format!("{mailbox}@{}", String::from_utf8_lossy(host))
        }
        _ => mailbox.into_owned(),
    }
}

/// A text in the form whose bytes are compared (RFC 5051 §2): each character in title case, then
/// taken apart.
pub fn casemap(text: &str) -> Vec<u8> {
    if text.is_ascii() {
        return text.to_ascii_uppercase().into_bytes();
    }
    let parts = DecomposingNormalizerBorrowed::new_nfkd();
    // Some of what a character is taken apart into has a title case of its own and keeps it: the
    // step is done once (RFC 5051 §2, step 2).
    parts.normalize_iter(text.chars().map(title)).collect::<String>().into_bytes()
}

/// The title case of a character where it is one character (`UnicodeData.txt`).
fn title(c: char) -> char {
    let shifted = |by: u32| char::from_u32(u32::from(c) + by).unwrap_or(c);
    match c {
        'Ǆ'..='ǆ' => 'ǅ',
        'Ǉ'..='ǉ' => 'ǈ',
        'Ǌ'..='ǌ' => 'ǋ',
        'Ǳ'..='ǳ' => 'ǲ',
        // Georgian has capitals, and no title case.
        'ა'..='ჿ' => c,
        // Greek with an iota below: title case keeps it, the capital writes it beside.
        'ᾀ'..='ᾇ' | 'ᾐ'..='ᾗ' | 'ᾠ'..='ᾧ' => shifted(8),
        'ᾳ' | 'ῃ' | 'ῳ' => shifted(9),
        _ => {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(only), None) => only,
                _ => c,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(subject: &str) -> (String, bool) {
        let BaseSubject { text, is_reply } = BaseSubject::of(subject.as_bytes());
        (text, is_reply)
    }

    #[test]
    fn marks_around_a_subject_are_taken_away() {
        for (subject, base, is_reply) in [
            ("Tea at four", "Tea at four", false),
            ("  Tea \t at\r\n four ", "Tea at four", false),
            ("Re: Tea", "Tea", true),
            ("RE: re: Fw: FWD: Tea", "Tea", true),
            ("re : Tea", "Tea", true),
            ("Re[2]: Tea", "Tea", true),
            ("Re [again] : Tea", "Tea", true),
            ("[list] Tea", "Tea", false),
            ("[list] Re: [list] Tea", "Tea", true),
            ("[a][b] Tea", "Tea", false),
            ("[only]", "[only]", false),
            ("[one] [two]", "[two]", false),
            ("Re: [only]", "[only]", true),
            ("Tea (fwd)", "Tea", true),
            ("Tea (FWD) (fwd) ", "Tea", true),
            ("[Fwd: Tea]", "Tea", true),
            ("[fwd: Re: [list] Tea (fwd)]", "Tea", true),
            ("[fwd: [fwd: Tea]]", "Tea", true),
            ("Regarding: Tea", "Regarding: Tea", false),
            ("Fwdx: Tea", "Fwdx: Tea", false),
            ("Re Tea", "Re Tea", false),
            ("Re:", "", true),
            ("", "", false),
            ("[un[closed] Tea", "[un[closed] Tea", false),
            ("=?utf-8?q?Re=3A_Gr=C3=BC=C3=9Fe?=", "Grüße", true),
            ("(fwd)", "", true),
        ] {
            assert_eq!(of(subject), (base.to_owned(), is_reply), "{subject:?}");
        }
    }

    #[test]
    fn a_subject_of_thousands_of_marks_takes_no_time() {
        let begun = std::time::Instant::now();
        let _ = of(&"[a]".repeat(20_000));
        let _ = of(&"re:".repeat(20_000));
        let _ = of(&"[fwd:".repeat(20_000));
        assert!(begun.elapsed().as_secs() < 5);
    }

    #[test]
    fn texts_compare_without_case_and_composition() {
        // The example of RFC 5051 §2.
        assert_eq!(casemap("\u{1c4}"), "Dz\u{30c}".as_bytes());
        for (one, other) in [
            ("tea", "TEA"),
            ("grüße", "GRÜßE"),
            ("gru\u{308}ße", "grüße"),
            ("ﬁn", "ﬁN"),
            ("ａｂ", "ab"),
            ("ǆ", "Ǆ"),
            ("ᾀ", "ᾈ"),
            ("дом", "ДОМ"),
        ] {
            assert_eq!(casemap(one), casemap(other), "{one} {other}");
        }
        assert!(casemap("a") < casemap("B") && casemap("B") < casemap("c"));
        assert!(casemap("ü") > casemap("u") && casemap("ü") < casemap("v"));
        assert_ne!(casemap("ბ"), casemap("Ბ"), "no title case joins them");
    }

    #[test]
    fn the_moment_of_sending_is_read_as_far_as_it_can_be() {
        let second = |text: &str| sent_second(text.as_bytes());
        assert_eq!(second(" 31 Dec 2000 16:01:33 -0800"), Some(978_307_293));
        assert_eq!(second("Mon, 1 Jan 2001 00:01:33 +0000\r\n"), Some(978_307_293));
        assert_eq!(second("1 Jan 2001 25:01:33 +0000"), Some(978_307_200));
        assert_eq!(second("1 Jan 2001 00:01:33 +9999"), Some(978_307_293));
        assert_eq!(second("yesterday"), None);
        assert_eq!(second(""), None);
        assert!(second("1 Feb 1969 00:00:00 +0000").is_some_and(|second| second < 0));
    }

    #[test]
    fn an_address_shows_its_name_or_itself() {
        let address = |name: Option<&str>, mailbox: &str, host: Option<&str>| {
            display(&Mailbox {
                name: name.map(|name| name.as_bytes().to_vec()),
                route: None,
                mailbox: Some(mailbox.as_bytes().to_vec()),
                host: host.map(|host| host.as_bytes().to_vec()),
            })
        };
        assert_eq!(address(Some("=?utf-8?q?J=C3=B6rg?="), "j", Some("x")), "Jörg");
        assert_eq!(address(Some(""), "j", Some("x")), "j@x");
        assert_eq!(address(None, "j", Some("x")), "j@x");
        assert_eq!(address(None, "friends", None), "friends");
        assert_eq!(display(&Mailbox::default()), "");
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let base = BaseSubject::of(&bytes);
            let again = BaseSubject::of(base.text.as_bytes());
            // Encoded words may come to light that were broken before.
            if base.text.is_ascii() && !base.text.contains("=?") {
                prop_assert_eq!(again.text, base.text);
            }
            let _ = sent_second(&bytes);
            let _ = casemap(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn replies_have_the_subject_of_what_they_answer(
            marks in "(Re: |RE:|fw:|Fwd: |\\[[a-z]{0,3}\\] ?)*",
        ) {
            prop_assert_eq!(BaseSubject::of(format!("{marks}Tea").as_bytes()).text, "Tea");
        }
    }
}
