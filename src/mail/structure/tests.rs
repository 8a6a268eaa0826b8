#![allow(clippy::unwrap_used, reason = "a missing part is the failed test")]
#![allow(clippy::cast_possible_truncation, reason = "test messages are small")]

use jiff::civil::Date;
use proptest::prelude::*;

use super::*;

const NESTED: &[u8] = b"From: a@example.org\r\nSubject: outer\r\n\
    Content-Type: multipart/mixed; boundary=\"out\"\r\n\r\n\
    preamble\r\n--out\r\n\r\nfirst\r\nline\r\n--out\r\n\
    Content-Type: message/rfc822\r\n\r\n\
    Subject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n\
    --in\r\nContent-Type: text/plain\r\n\r\nplain\r\n--in\r\nContent-Type: text/html\r\n\r\n\
    <p>html</p>\r\n\r\n--in--\r\n\r\n--out--\r\nepilogue\r\n";

fn scan(message: &[u8]) -> Structure {
    Structure::scan(message).unwrap()
}

fn bytes<'a>(message: &'a [u8], path: &[u32], piece: Piece) -> Option<&'a str> {
    let range = scan(message).find(path, piece)?;
    let bytes = &message[range.start as usize..range.end as usize];
    Some(std::str::from_utf8(bytes).unwrap())
}

#[test]
fn sections_are_exact_byte_ranges() {
    let all = std::str::from_utf8(NESTED).unwrap();
    assert_eq!(bytes(NESTED, &[], Piece::Content), Some(all));
    assert_eq!(bytes(NESTED, &[1], Piece::Content), Some("first\r\nline"));
    assert_eq!(bytes(NESTED, &[1], Piece::Mime), Some("\r\n"));
    assert_eq!(bytes(NESTED, &[2], Piece::Mime), Some("Content-Type: message/rfc822\r\n\r\n"));
    assert_eq!(
        bytes(NESTED, &[2], Piece::Header),
        Some("Subject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n")
    );
    assert!(bytes(NESTED, &[2], Piece::Content).unwrap().starts_with("Subject: inner\r\n"));
    assert!(bytes(NESTED, &[2], Piece::Content).unwrap().ends_with("--in--\r\n"));
    assert!(bytes(NESTED, &[2], Piece::Text).unwrap().starts_with("--in\r\n"));
    assert_eq!(bytes(NESTED, &[2, 1], Piece::Content), Some("plain"));
    assert_eq!(bytes(NESTED, &[2, 2], Piece::Content), Some("<p>html</p>\r\n"));
    assert_eq!(bytes(NESTED, &[2, 2], Piece::Mime), Some("Content-Type: text/html\r\n\r\n"));
    for missing in [&[3][..], &[0], &[1, 1], &[2, 3], &[2, 1, 1]] {
        assert_eq!(bytes(NESTED, missing, Piece::Content), None, "{missing:?}");
    }
    assert_eq!(bytes(NESTED, &[1], Piece::Header), None);
}

#[test]
fn lines_are_counted_per_part() {
    let structure = scan(NESTED);
    let lines = |path: &[u32]| {
        let range = structure.find(path, Piece::Content).unwrap();
        structure.parts().find(|part| part.body == range).unwrap().lines
    };
    assert_eq!(lines(&[1]), 2);
    assert_eq!(lines(&[2, 1]), 1);
    assert_eq!(lines(&[2, 2]), 1);
    assert_eq!(scan(b"A: b\r\n\r\none\r\ntwo").root().lines, 2);
    assert_eq!(scan(b"A: b\r\n\r\none\r\n").root().lines, 1);
    assert_eq!(scan(b"A: b\r\n\r\n").root().lines, 0);
}

#[test]
fn a_message_without_parts_has_a_part_one() {
    let message = b"Subject: x\r\n\r\nhello\r\n";
    assert_eq!(bytes(message, &[1], Piece::Content), Some("hello\r\n"));
    assert_eq!(bytes(message, &[1], Piece::Mime), Some("Subject: x\r\n\r\n"));
    assert_eq!(bytes(message, &[], Piece::Text), Some("hello\r\n"));
    assert_eq!(bytes(message, &[2], Piece::Content), None);
}

#[test]
fn broken_mime_still_shows_its_content() {
    // No boundary parameter at all.
    let message = b"Content-Type: multipart/mixed\r\n\r\nsome text\r\n";
    assert_eq!(bytes(message, &[1], Piece::Content), Some("some text\r\n"));
    // The end is missing, inside a header.
    let message =
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html";
    assert_eq!(bytes(message, &[1], Piece::Content), Some(""));
    // An outer delimiter ends what the inner one left open.
    let message = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--a\r\n\r\ntwo\r\n--a--";
    assert_eq!(bytes(message, &[1, 1], Piece::Content), Some("one"));
    assert_eq!(bytes(message, &[2], Piece::Content), Some("two"));
    // Bare line feeds.
    let message = b"Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n--a--\n";
    assert_eq!(bytes(message, &[1], Piece::Content), Some("one"));
}

#[test]
fn bombs_stay_within_the_limits() {
    let level = |i| format!("Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n");
    let deep = (0..500).map(level).collect::<Vec<_>>().concat();
    let structure = scan(deep.as_bytes());
    assert!(structure.parts().count() <= MAX_DEPTH + 1);
    let wide = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}",
        "--b\r\n\r\nx\r\n".repeat(5000)
    );
    let structure = scan(wide.as_bytes());
    assert_eq!(structure.parts().count(), MAX_PARTS);
    let last = structure.find(&[999], Piece::Content).unwrap();
    assert_eq!(last.end, wide.len() as u64);
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(500);
    assert!(scan(messages.as_bytes()).parts().count() <= MAX_DEPTH + 1);
    let people = format!("To: {}\r\n\r\n", "a,".repeat(1 << 20));
    assert!(scan(people.as_bytes()).root().head.as_ref().unwrap().to.len() <= 2000);
}

#[test]
fn types_and_parameters_are_read_leniently() {
    let media = |text: &str| MediaType::parse(text.as_bytes()).unwrap();
    let value = |media: &MediaType, name: &str| {
        let found = media.parameters.iter().find(|p| p.name == name.as_bytes());
        found.map(|p| String::from_utf8(p.value.clone()).unwrap())
    };
    let plain = media("TEXT/Plain (really); charset = \"utf-8\" ; format=flowed");
    assert!(plain.is("text", "plain"));
    assert_eq!(value(&plain, "charset").unwrap(), "utf-8");
    assert_eq!(value(&plain, "format").unwrap(), "flowed");
    let file = media("application/pdf; name=my holiday.pdf; x=\"a\\\"b;c\"");
    assert_eq!(value(&file, "name").unwrap(), "my holiday.pdf");
    assert_eq!(value(&file, "x").unwrap(), "a\"b;c");
    assert!(MediaType::parse(b"text").is_none());
}

#[test]
fn people_are_taken_apart() {
    let show = |text: &str| {
        let part = |p: &Option<Vec<u8>>| {
            p.as_ref().map_or("-".to_owned(), |p| String::from_utf8(p.clone()).unwrap())
        };
        let list = people::parse(text.as_bytes());
        let one = |m: &Mailbox| {
            format!("{}|{}|{}|{}", part(&m.name), part(&m.route), part(&m.mailbox), part(&m.host))
        };
        list.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(show("a@example.org"), "-|-|a|example.org");
    assert_eq!(show("Al Lee <al@example.org>,b@c"), "Al Lee|-|al|example.org -|-|b|c");
    assert_eq!(show("\"Lee, Al\" <al@example.org>"), "Lee, Al|-|al|example.org");
    assert_eq!(show("al@example.org (Al (x) Lee)"), "Al x Lee|-|al|example.org");
    assert_eq!(show("<@r1,@r2:al@b.org>"), "-|@r1,@r2|al|b.org");
    assert_eq!(show("=?utf-8?q?J=C3=BC?= <j@b>"), "=?utf-8?q?J=C3=BC?=|-|j|b");
    assert_eq!(show("Us: a@b, c@d;, e@f"), "-|-|Us|- -|-|a|b -|-|c|d -|-|-|- -|-|e|f");
    assert_eq!(show("Undisclosed recipients:;"), "-|-|Undisclosed recipients|- -|-|-|-");
    assert_eq!(show("nobody"), "-|-|nobody|");
    assert_eq!(show("broken <a@b, c@d"), "broken|-|a|b -|-|c|d");
    assert_eq!(show(" , ,"), "");
}

#[test]
fn text_is_decoded_however_it_is_cut() {
    let decode = |header: &str, body: &str, step: usize| {
        let message = format!("{header}\r\n\r\n");
        let part = scan(message.as_bytes()).root().clone();
        let mut decoder = TextDecoder::new(&part);
        let mut text = String::new();
        for piece in body.as_bytes().chunks(step) {
            text.extend(decoder.feed(piece));
        }
        text + &decoder.finish()
    };
    let quoted = "Content-Type: text/plain; charset=iso-8859-1\r\n\
        Content-Transfer-Encoding: quoted-printable";
    let base64 = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64";
    for step in 1..12 {
        assert_eq!(decode(quoted, "caf=E9 =\r\nau lait =zz", step), "café au lait =zz");
        assert_eq!(decode(base64, "Z3LD\r\nvMOfZQ==\r\n", step), "grüße");
    }
}

#[test]
fn header_fields_become_text() {
    assert_eq!(
        header_text(b" =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?_an?= alle"),
        "grüße an alle"
    );
    assert_eq!(header_text(b" plain\r\n folded"), "plain folded");
    assert_eq!(
        sent_date(b" Tue, 3 Feb 2026 23:50:00 -0500 (EST)"),
        Some(Date::constant(2026, 2, 3))
    );
    assert_eq!(sent_date(b"yesterday"), None);
}

proptest! {
    #[test]
    fn any_bytes_have_a_structure(message in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let structure = scan(&message);
        prop_assert_eq!(structure.root().body.end, message.len() as u64);
    }

    #[test]
    fn parts_lie_within_the_message_however_it_is_read(
        lines in proptest::collection::vec(prop_oneof![
            Just("--a"), Just("--a--"), Just("--b"), Just("--b--"), Just(""), Just("text"), Just("--a \t"),
            Just("Content-Type: multipart/mixed; boundary=a"),
            Just("Content-Type: multipart/digest; boundary=b"),
            Just("Content-Type: message/rfc822"), Just(" folded"), Just("\r"),
        ], 0..40),
        step in 1_usize..20,
    ) {
        let message = lines.join("\r\n");
        let structure = scan(message.as_bytes());
        for part in structure.parts() {
            prop_assert!(part.header.start <= part.header.end);
            prop_assert!(part.header.end <= part.body.start);
            prop_assert!(part.body.start <= part.body.end);
            prop_assert!(part.body.end <= message.len() as u64);
        }
        let slow = Structure::scan(Slow(message.as_bytes(), step)).unwrap();
        prop_assert_eq!(structure, slow);
    }
}

/// Gives a few bytes at a time.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(buffer.len()).min(self.0.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

#[test]
fn quoted_printable_forgets_blanks_at_the_end_of_lines() {
    let raw = b"a  \r\nb\t=\r\nc \t= \r\n=62\r\nd = \t\r\ne=3D=\r\n\r\n f =zz= g=41 \nend  ";
    let expected: &[u8] = b"a\r\nb\tc \tb\r\nd e=\r\n f =zz= gA\nend";
    let message = [b"Content-Transfer-Encoding: quoted-printable\r\n\r\n".as_slice(), raw].concat();
    let structure = scan(&message);
    for step in 1..raw.len() {
        let mut decoder = BodyDecoder::new(structure.root());
        let mut out = Vec::new();
        for piece in raw.chunks(step) {
            decoder.feed(piece, &mut out);
        }
        decoder.finish(&mut out);
        assert_eq!(out, expected, "in pieces of {step}: {}", out.escape_ascii());
    }
}
