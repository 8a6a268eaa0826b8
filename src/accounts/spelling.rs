//! One password, spelt in several ways: an `ü` is one character or a `u` with dots after it, a space
//! may be one that does not break, and whoever typed it sees no difference. Which of them goes on
//! the wire is up to the keyboard and the mail program. So a password is put into one form before
//! it is hashed or compared (RFC 8265 §4.2, `OpaqueString`). A SCRAM client turns the password
//! into keys by itself, and programs do not agree on the form: some take RFC 4013's, which RFC 5802
//! asks for, some the newer one, some leave it as typed. Keys are kept of each that differs.

use icu_normalizer::ComposingNormalizerBorrowed;
use zeroize::Zeroizing;

use super::Password;

/// In the form that is hashed: spaces are all alike, and characters composed (NFC). Case and
/// everything else stay.
pub(super) fn prepared(password: &Password) -> Password {
    let spaced: Zeroizing<String> =
        Zeroizing::new(password.expose().chars().map(one_space).collect());
    let composed = const { ComposingNormalizerBorrowed::new_nfc() }.normalize(&spaced);
    Password::new(composed.into_owned())
}

/// What a password given at a login is compared as: in the form above first, and as it came, for
/// hashes that were made before there was a form.
pub(super) fn given(password: Password) -> Vec<Password> {
    each_once([prepared(&password), password])
}

/// The spellings from which a SCRAM client may make its keys.
pub(super) fn keyed(password: Password) -> Vec<Password> {
    each_once([prepared(&password), sasl_prepared(&password), password])
}

/// What RFC 4013 §2.1 and §2.2 make of it. What it prohibits is not looked for: a client that does
/// so sends nothing.
fn sasl_prepared(password: &Password) -> Password {
    let text = password.expose().chars().filter(|c| !is_mapped_to_nothing(*c)).map(one_space);
    let text: Zeroizing<String> = Zeroizing::new(text.collect());
    let composed = const { ComposingNormalizerBorrowed::new_nfkc() }.normalize(&text);
    Password::new(composed.into_owned())
}

/// Spaces beyond ASCII (Unicode's category Zs; RFC 3454's table C.1.2 has U+200B as well, which
/// shows nothing).
fn one_space(c: char) -> char {
    match c {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            ' '
        }
        c => c,
    }
}

/// RFC 3454's table B.1.
fn is_mapped_to_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{1806}'
            | '\u{180b}'..='\u{180d}'
            | '\u{200b}'..='\u{200d}'
            | '\u{2060}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
    )
}

fn each_once<const N: usize>(all: [Password; N]) -> Vec<Password> {
    let mut once: Vec<Password> = Vec::with_capacity(1);
    for one in all {
        if !once.iter().any(|known| known.expose() == one.expose()) {
            once.push(one);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[Password]) -> Vec<&str> {
        all.iter().map(Password::expose).collect()
    }

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[test]
    fn keyboards_that_differ_give_the_same_password() {
        for (typed, form) in [
            ("plain Ascii 7", "plain Ascii 7"),
            ("gru\u{308}n", "grün"),
            ("gr\u{fc}n", "grün"),
            ("correct\u{a0}horse\u{3000}battery\u{202f}x", "correct horse battery x"),
            // Ohm and Ångström signs are the letters; the order of marks does not matter.
            ("\u{2126}\u{212b}", "\u{3a9}\u{c5}"),
            ("q\u{307}\u{323}", "q\u{323}\u{307}"),
            // Hangul and kana as a Mac writes them in names of files.
            ("\u{1112}\u{1161}\u{11ab}\u{30ab}\u{3099}", "\u{d55c}\u{30ac}"),
            // What looks different is different (RFC 8265 §4.2.2: no mapping of width or case).
            ("\u{ff21}\u{fb01}", "\u{ff21}\u{fb01}"),
            // The examples of RFC 8265 §4.3.
            ("Jack of \u{2666}s", "Jack of \u{2666}s"),
            ("foo\u{1680}bar", "foo bar"),
        ] {
            assert_eq!(prepared(&password(typed)).expose(), form, "{typed:?}");
        }
    }

    #[test]
    fn the_examples_of_rfc_4013_come_out_as_they_are_printed() {
        for (given, form) in [
            ("I\u{ad}X", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
        ] {
            assert_eq!(sasl_prepared(&password(given)).expose(), form, "{given:?}");
        }
    }

    #[test]
    fn a_spelling_is_tried_once() {
        assert_eq!(texts(&given(password("correct horse"))), ["correct horse"]);
        assert_eq!(texts(&keyed(password("correct horse"))), ["correct horse"]);
        assert_eq!(texts(&keyed(password("gr\u{fc}n"))), ["grün"]);
        assert_eq!(texts(&given(password("gru\u{308}n"))), ["grün", "gru\u{308}n"]);
        assert_eq!(
            texts(&keyed(password("u\u{308}\u{2168}"))),
            ["\u{fc}\u{2168}", "\u{fc}IX", "u\u{308}\u{2168}"]
        );
    }
}
