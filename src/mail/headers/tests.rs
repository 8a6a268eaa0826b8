use proptest::prelude::*;

use super::*;

fn new_scan(origin: Origin) -> HeaderScan {
    HeaderScan::new(origin, "mail.example.org".parse().unwrap())
}

fn scan(origin: Origin, pieces: &[&[u8]]) -> (HeaderFacts, String) {
    let mut scan = new_scan(origin);
    let mut out = Vec::new();
    for piece in pieces {
        scan.pass(piece, &mut out);
    }
    let facts = scan.finish(&mut out);
    (facts, String::from_utf8(out).unwrap())
}

fn received() -> Received {
    Received {
        from: "client.example".to_owned(),
        peer: "2001:db8::1".parse().unwrap(),
        by: "mail.example.org".parse().unwrap(),
        with: Protocol { extended: true, tls: true, authenticated: true, utf8: false },
        tls: None,
        id: "abc-1".to_owned(),
        recipient: Some("bob@example.net".parse().unwrap()),
    }
}

#[test]
fn the_trace_field_says_who_how_for_whom_and_when() {
    let at = "2026-11-22T04:37:19Z".parse().unwrap();
    assert_eq!(
        received().field(at),
        "Received: from client.example ([IPv6:2001:db8::1])\r\n\
         \tby mail.example.org with ESMTPSA id abc-1\r\n\
         \tfor <bob@example.net>;\r\n\
         \tSun, 22 Nov 2026 04:37:19 +0000\r\n"
    );
}

#[test]
fn the_trace_field_names_version_and_cipher_of_tls() {
    let tls = Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384".to_owned()));
    let field = Received { tls, ..received() }.field(Timestamp::UNIX_EPOCH);
    let line =
        "\tby mail.example.org with ESMTPSA (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n\tid abc-1\r\n";
    assert!(field.contains(line), "{field}");
    assert!(field.lines().all(|line| line.len() <= 78), "{field}");
}

#[test]
fn words_that_pass_for_ours_are_taken_out_of_strangers_mail() {
    let forged = "Authentication-Results: mail.example.org; dkim=pass\r\n\
                  authentication-results:\r\n\t(x)\r\n MAIL.example.ORG 1;\r\n spf=pass\r\n\
                  X-Spam: No\r\nx-spam-score: -9\r\n more\r\nX-Pillarbox-Verdict : fine\r\n";
    let honest = "Authentication-Results: mx.example.net;\r\n spf=pass\r\nX-Spammer: x\r\n";
    let message = format!("To: a@b\r\n{forged}{honest}Subject: s\r\n\r\n{forged}");
    let kept = format!("To: a@b\r\n{honest}Subject: s\r\n\r\n{forged}");
    assert_eq!(scan(Origin::Stranger, &[message.as_bytes()]).1, kept);
    let own = "X-Spam: mine\r\nAuthentication-Results: mail.example.org; x\r\n\r\n";
    assert_eq!(scan(Origin::Account, &[own.as_bytes()]).1, "X-Spam: mine\r\n\r\n");
    // At the very end, and with more spaces than a name has room for.
    let last = "A: b\r\nAuthentication-Results: mail.example.org";
    assert_eq!(scan(Origin::Stranger, &[last.as_bytes()]).1, "A: b\r\n");
    let spaces = format!("Authentication-Results{}: x\r\nA: b\r\n", " ".repeat(90));
    assert_eq!(scan(Origin::Stranger, &[spaces.as_bytes()]).1, "A: b\r\n");
}

#[test]
fn results_whose_author_never_comes_need_no_memory() {
    let mut scan = new_scan(Origin::Stranger);
    let mut out = Vec::new();
    scan.pass(b"Authentication-Results: (", &mut out);
    for _ in 0..10_000 {
        scan.pass(&[b'x'; 1000], &mut out);
        assert!(scan.pending() < 16 << 10 && out.is_empty());
    }
}

#[test]
fn a_message_that_was_here_before_is_known() {
    let mut scan = new_scan(Origin::Stranger);
    let message = "Delivered-To: <Alice@Example.org>\r\nDelivered-To:\r\n bob@example.org\r\n\r\n\
                   Delivered-To: carol@example.org\r\n";
    scan.pass(message.as_bytes(), &mut Vec::new());
    let known = |address: &str| scan.was_delivered_to(&address.parse().unwrap());
    assert!(known("alice@example.org") && known("bob@example.org"));
    assert!(!known("carol@example.org") && !known("alice+tag@example.org"));
    let mut scan = new_scan(Origin::Stranger);
    let many = format!("Delivered-To: {}@example.net\r\n", "x".repeat(50)).repeat(300);
    scan.pass(many.as_bytes(), &mut Vec::new());
    assert!(scan.was_delivered_to(&"alice@example.org".parse().unwrap()));
}

#[test]
fn the_protocol_is_named_by_rfc_3848_and_6531() {
    let name = |extended, tls, authenticated, utf8| {
        Protocol { extended, tls, authenticated, utf8 }.to_string()
    };
    assert_eq!(name(false, false, false, false), "SMTP");
    assert_eq!(name(true, false, false, false), "ESMTP");
    assert_eq!(name(false, true, false, false), "ESMTPS");
    assert_eq!(name(true, true, true, false), "ESMTPSA");
    assert_eq!(name(true, false, true, false), "ESMTPA");
    assert_eq!(name(true, true, true, true), "UTF8SMTPSA");
}

#[test]
fn blind_copies_are_taken_out_with_their_folded_lines() {
    let message = "To: a@b\r\nBCC : x@y,\r\n\tz@y\r\nSubject: s\r\nresent-bcc: q@y\r\n\
                   Bcc-Like: stays\r\n\r\nBcc: body stays\r\n";
    let kept = "To: a@b\r\nSubject: s\r\nBcc-Like: stays\r\n\r\nBcc: body stays\r\n";
    assert_eq!(scan(Origin::Account, &[message.as_bytes()]).1, kept);
    assert_eq!(scan(Origin::Stranger, &[message.as_bytes()]).1, message);
}

#[test]
fn a_blind_copy_behind_a_broken_line_does_not_leak() {
    let message = "From someone Mon Jan 1\r\nno colon here\r\nBcc: x@y\r\nTo: a@b\r\n\r\n";
    let kept = "From someone Mon Jan 1\r\nno colon here\r\nTo: a@b\r\n\r\n";
    assert_eq!(scan(Origin::Account, &[message.as_bytes()]).1, kept);
}

#[test]
fn hops_and_missing_fields_are_seen_in_the_header_only() {
    let message = "Received: a\r\n b\r\nrECEIVED: c\r\nDATE: x\r\nfrom: y\r\n\r\n\
                   Received: body\r\nMessage-ID: body\r\n";
    let facts = scan(Origin::Stranger, &[message.as_bytes()]).0;
    let expected =
        HeaderFacts { received: 2, date: true, from: 1, any: true, ..HeaderFacts::default() };
    assert_eq!(facts, expected);
}

#[test]
fn a_message_without_a_header_is_known_as_such() {
    assert!(!scan(Origin::Stranger, &[b"hello there\r\nand: more words\r\n"]).0.empty);
    assert!(!scan(Origin::Stranger, &[b"hello\r\n"]).0.any);
    let (facts, _) = scan(Origin::Stranger, &[b"\r\nFrom: body\r\n"]);
    assert!(facts.empty && !facts.any && facts.from == 0);
}

#[test]
fn a_very_long_name_is_a_field_and_costs_nothing() {
    let message = format!("X-{}: v\r\n\r\n", "y".repeat(5000));
    let (facts, out) = scan(Origin::Account, &[message.as_bytes()]);
    assert!(facts.any);
    assert_eq!(out, message);
}

#[test]
fn the_authors_are_read_as_a_mail_program_shows_them() {
    let authors = |from: &str| {
        let mut scan = new_scan(Origin::Stranger);
        let message = format!("To: x@y\r\n{from}\r\nSubject: From: z@y\r\n\r\nFrom: body@y\r\n");
        for byte in message.as_bytes() {
            scan.pass(&[*byte], &mut Vec::new());
        }
        let shown = |authors: Vec<Address>| {
            authors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        scan.authors().map(shown)
    };
    for (from, expected) in [
        ("From: alice@example.org", Some("alice@example.org")),
        ("FROM : \"bob@x.net\" <alice@example.org>", Some("alice@example.org")),
        ("From: Alice\r\n <alice@example.org>", Some("alice@example.org")),
        ("From: (bob@x.net) alice@example.org", Some("alice@example.org")),
        ("From: a@b.org, c <d@e.org>", Some("a@b.org d@e.org")),
        ("From: Us: a@b.org, c@d.org;", Some("a@b.org c@d.org")),
        ("From: Alice", None),
        ("From: <>", None),
        ("From:", None),
        ("X: y", None),
    ] {
        assert_eq!(authors(from).as_deref(), expected, "{from}");
    }
    assert_eq!(authors(&format!("From: {} <a@b.org>", "x".repeat(5000))), None);
}

proptest! {
    #[test]
    fn no_from_field_makes_the_reader_panic(from in "[a@.<>(),:;\"\\\\ \r\n=?ü]{0,40}") {
        let mut scan = new_scan(Origin::Stranger);
        scan.pass(format!("From: {from}\r\n\r\n").as_bytes(), &mut Vec::new());
        let _ = scan.authors();
    }
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_same_result(
        message in "((Bcc|Date|To| |x|Received|X-Spam|Authentication-Results: (mail\\.)?example\\.org|\
                    Delivered-To: a@b)?[:a; ]{0,3}(\r\n)){0,8}",
        cut in 1usize..9,
    ) {
        let pieces: Vec<&[u8]> = message.as_bytes().chunks(cut).collect();
        for origin in [Origin::Stranger, Origin::Account] {
            prop_assert_eq!(scan(origin, &pieces), scan(origin, &[message.as_bytes()]));
        }
    }
}
