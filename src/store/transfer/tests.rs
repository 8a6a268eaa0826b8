//! What goes in comes out, cut as promised.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Plain(Vec<u8>),
    Base64(Form, Vec<u8>),
}

/// Splits input that arrives in pieces of these lengths, over and over; plain neighbours are joined.
fn split(input: &[u8], feeds: &[usize]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut emit = |piece: Piece<'_>| match (piece, found.last_mut()) {
        (Piece::Plain(bytes), Some(Found::Plain(before))) => before.extend_from_slice(bytes),
        (Piece::Plain(bytes), _) => found.push(Found::Plain(bytes.to_vec())),
        (Piece::Base64 { form, decoded }, _) => {
            assert!((1..=MAX_PIECE).contains(&decoded.len()), "{}", decoded.len());
            found.push(Found::Base64(form, decoded));
        }
    };
    let mut splitter = Splitter::new();
    let mut rest = input;
    for feed in feeds.iter().cycle() {
        let (now, later) = rest.split_at((*feed).min(rest.len()));
        splitter.feed(now, &mut emit);
        assert!(splitter.line.len() <= MAX_WIDTH + 1, "holds at most a line");
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    splitter.finish(&mut emit);
    found
}

fn join(found: &[Found]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in found {
        match piece {
            Found::Plain(bytes) => out.extend_from_slice(bytes),
            Found::Base64(form, decoded) => {
                let start = out.len();
                form.encode(decoded, &mut out);
                assert_eq!((out.len() - start) as u64, form.encoded_len(decoded.len() as u64));
                assert_eq!(Form::from_bits(form.to_bits()), Some(*form));
            }
        }
    }
    out
}

fn pieces(found: &[Found]) -> Vec<&[u8]> {
    let decoded = found.iter().filter_map(|piece| match piece {
        Found::Plain(_) => None,
        Found::Base64(_, decoded) => Some(&decoded[..]),
    });
    decoded.collect()
}

fn form(width: usize, crlf: bool, ended: bool) -> Form {
    Form { groups: u8::try_from(width / 4).unwrap(), crlf, ended }
}

/// Base64 text as a mailer wraps it.
fn wrapped(file: &[u8], width: usize, crlf: bool, ended: bool) -> Vec<u8> {
    let mut text = Vec::new();
    form(width, crlf, ended).encode(file, &mut text);
    text
}

/// Bytes that look like nothing in particular, the same for the same seed.
fn file(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn attachment(file: &[u8], width: usize, crlf: bool) -> Vec<u8> {
    let mut text = b"Content-Transfer-Encoding: base64\r\n\r\n".to_vec();
    text.extend(wrapped(file, width, crlf, true));
    text.extend_from_slice(b"\r\n--boundary--\r\n");
    text
}

#[test]
fn an_attachment_is_found_and_stored_as_the_file_it_was() {
    let file = file(1, 50_000);
    let found = split(&attachment(&file, 76, true), &[4096]);
    assert_eq!(
        found,
        [
            Found::Plain(b"Content-Transfer-Encoding: base64\r\n\r\n".to_vec()),
            Found::Base64(form(76, true, true), file),
            Found::Plain(b"\r\n--boundary--\r\n".to_vec()),
        ]
    );
}

#[test]
fn the_text_is_what_other_encoders_write() {
    assert_eq!(wrapped(b"fo", 4, true, true), b"Zm8=\r\n");
    assert_eq!(wrapped(b"foobar", 4, false, false), b"Zm9v\nYmFy");
    assert_eq!(wrapped(b"", 76, true, true), b"");
    let line = "Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9v";
    let text = format!("{}\r\n{}\r\nYg==\r\n", &line[..76], &line[..76]);
    let decoded = b"foobar".repeat(10)[..57].repeat(2).into_iter().chain(*b"b").collect::<Vec<_>>();
    assert_eq!(wrapped(&decoded, 76, true, true), text.as_bytes());
}

#[test]
fn the_same_file_is_the_same_pieces_however_it_was_wrapped() {
    let file = file(2, 3 * MAX_PIECE + 7777);
    let chunks = file.chunks(MAX_PIECE).collect::<Vec<_>>();
    for width in [76, 72, 64, 60] {
        for crlf in [true, false] {
            let found = split(&attachment(&file, width, crlf), &[9999]);
            assert_eq!(pieces(&found), chunks, "{width} {crlf}");
        }
    }
}

#[test]
fn pieces_of_other_widths_hold_whole_lines() {
    for width in [32, 68, 80, 996, 1000] {
        let file = file(3, 2 * MAX_PIECE);
        let found = split(&attachment(&file, width, true), &[70_000]);
        let found = pieces(&found);
        let line = width / 4 * 3;
        assert_eq!(found[0].len(), MAX_PIECE / line * line);
        assert_eq!(found.concat(), file);
    }
}

#[test]
fn the_last_line_may_be_short_padded_or_without_its_end() {
    for len in [5700, 5701, 5702, 5703, 5757 - 1, 5757 - 2] {
        for ended in [true, false] {
            let file = file(4, len);
            let text = wrapped(&file, 76, true, ended);
            let found = split(&text, &[1000]);
            assert_eq!(found, [Found::Base64(form(76, true, ended), file)], "{len} {ended}");
        }
    }
}

#[test]
fn a_run_ends_at_its_first_short_line() {
    let (one, two) = (file(5, 5000), file(6, 5000));
    let text = [wrapped(&one, 76, true, true), wrapped(&two, 76, true, true)].concat();
    assert_eq!(pieces(&split(&text, &[512])), [&one[..], &two[..]]);
}

#[test]
fn text_that_another_encoder_would_write_differently_stays_plain() {
    let file = file(7, 4096);
    let good = String::from_utf8(wrapped(&file[..4096], 76, true, true)).unwrap();
    assert_eq!(pieces(&split(good.as_bytes(), &[512])).len(), 1);
    let short = String::from_utf8(wrapped(&file[..MIN_RUN - 1], 76, true, true)).unwrap();
    assert_eq!(pieces(&split(short.as_bytes(), &[512])).len(), 0);
    // Lines of 75 and 77 characters, a blank at each end, no line break anywhere, URL-safe.
    let flat = good.replace("\r\n", "");
    let odd = |width: usize| {
        flat.as_bytes().chunks(width).flat_map(|l| [l, b"\r\n"].concat()).collect::<Vec<_>>()
    };
    let blanks = good.replace("\r\n", " \r\n").into_bytes();
    let url_safe = good.replace(['+', '/'], "-").into_bytes();
    for text in [odd(75), odd(77), odd(1004), blanks, flat.clone().into_bytes(), url_safe] {
        let found = split(&text, &[512]);
        assert!(join(&found) == text);
        assert!(pieces(&found).iter().all(|piece| piece.len() < 4 * MIN_RUN), "{found:?}");
    }
    // Bits at the end that decoding drops; padding that is missing, or not at the end.
    let full = wrapped(&file[..57 * 40], 76, true, true);
    for tail in ["QUJ=", "QQ=", "QQ", "QR==", "Q===", "====", "QQ==QQ==", "QUJD\r"] {
        let text = [&full[..], tail.as_bytes(), b"\r\nafter\r\n"].concat();
        let found = split(&text, &[333]);
        assert_eq!(pieces(&found), [&file[..57 * 40]], "{tail}");
        assert!(join(&found) == text, "{tail}");
    }
}

#[test]
fn a_form_out_of_bounds_is_refused() {
    for bits in [0, 3, 251 << 2, 1024, u64::MAX, 256 << 2] {
        assert_eq!(Form::from_bits(bits), None, "{bits}");
    }
    let widest = Form::from_bits(250 << 2 | 3).unwrap();
    assert_eq!(widest, form(1000, true, true));
    assert_eq!(widest.encoded_len(u64::MAX), u64::MAX);
}

#[test]
fn it_does_not_matter_where_the_input_is_cut() {
    for (len, crlf) in [(1500, true), (1501, false)] {
        let input = attachment(&file(8, len), 76, crlf);
        let whole = split(&input, &[usize::MAX]);
        assert_eq!(pieces(&whole).len(), 1);
        for at in 1..input.len() {
            assert!(split(&input, &[at, usize::MAX]) == whole, "{at}");
        }
    }
}

#[test]
fn input_without_line_breaks_is_not_held() {
    let text = vec![b'A'; 1 << 20];
    for feed in [1, 1000, 1001, 1002, 1003, 65_536] {
        let found = split(&text[..feed * 16], &[feed]);
        assert_eq!(found, [Found::Plain(text[..feed * 16].to_vec())]);
    }
}

/// Set `PILLARBOX_CORPUS` to a folder of messages to try them all.
#[test]
fn real_mail_comes_back_byte_for_byte() {
    fn walk(path: &Path) {
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                walk(&entry.unwrap().path());
            }
        } else {
            let bytes = fs::read(path).unwrap();
            for message in bytes.chunks(16 << 20) {
                for feeds in [&[65_536][..], &[1, 70, 4096, 3]] {
                    assert!(join(&split(message, feeds)) == message, "{}", path.display());
                }
            }
        }
    }
    walk(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mail").as_path());
    if let Some(folder) = std::env::var_os("PILLARBOX_CORPUS") {
        walk(Path::new(&folder));
    }
}

/// Lines of a message, most of them base64 of few widths, so that runs begin, end and break.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let width =
        prop_oneof![Just(32usize), Just(60), Just(76), Just(1000), Just(1004), 0usize..1010];
    let run = (any::<u8>(), 0usize..6000, width, any::<bool>(), any::<bool>()).prop_map(
        |(seed, len, width, crlf, ended)| {
            let text = BASE64.encode(file(seed, len)).into_bytes();
            let end = if crlf { &b"\r\n"[..] } else { b"\n" };
            let lines = text.chunks(width.max(1)).collect::<Vec<_>>();
            let mut out = lines.join(end);
            out.extend_from_slice(if ended { end } else { b"" });
            out
        },
    );
    let text = prop_oneof![
        "[ -~]{0,100}\r?\n".prop_map(String::into_bytes),
        "[A-Za-z0-9+/]{0,20}={0,3}\r?\n?".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..50),
        vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'='), Just(b'A')], 0..50),
    ];
    vec(prop_oneof![3 => run, 1 => text], 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_come_back(input in vec(any::<u8>(), 0..5000), feeds in vec(1usize..900, 1..4)) {
        prop_assert!(join(&split(&input, &feeds)) == input);
    }

    #[test]
    fn runs_come_back_and_are_cut_alike_however_they_arrive(
        mut input in lines(),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        feeds in vec(1usize..3000, 1..5),
    ) {
        for (at, byte) in mutations {
            if !input.is_empty() {
                let at = at.index(input.len());
                input[at] = byte;
            }
        }
        let found = split(&input, &feeds);
        prop_assert!(join(&found) == input);
        prop_assert!(found == split(&input, &[usize::MAX]));
    }
}
