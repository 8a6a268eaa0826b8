use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

mod habits;

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);

fn look(message: &str) -> Seen {
    look_in_pieces(message.as_bytes(), usize::MAX)
}

fn look_in_pieces(message: &[u8], size: usize) -> Seen {
    let mut inspector = Inspector::new();
    message.chunks(size.max(1)).for_each(|piece| inspector.feed(piece));
    inspector.finish()
}

fn sorted(tokens: &Tokens) -> Vec<u64> {
    let mut all: Vec<u64> = tokens.iter().collect();
    all.sort_unstable();
    all
}

/// Tokens that a text has and another has not; how it is written aside.
fn more(text: &str, than: &str) -> usize {
    let words = |text| -> BTreeSet<u64> {
        let tokens = look(text).tokens;
        tokens.iter().filter(|token| token >> 60 & 7 != tokens::Place::Gram as u64).collect()
    };
    words(text).difference(&words(than)).count()
}

const MULTIPART: &str = "Return-Path: <news@shop.example>\r\n\
    Delivered-To: alice@x.org\r\n\
    Received: from a.shop.example ([192.0.2.1]) by us; Mon, 02 Mar 2026 10:00:00 +0000\r\n\
    Received: from [192.0.2.77] (unknown) by a.shop.example with SMTP; Mon, 2 Mar 2026\r\n\
    From: \"alice@bank.example\" <News@Shop.Example>\r\n\
    Reply-To: other@elsewhere.example\r\n\
    To: alice@x.org, bob@x.org\r\n\
    Subject: =?utf-8?B?R1LDnFNTRQ==?= AND MORE\r\n\
    Date: Mon, 02 Mar 2026 10:00:00 +0000\r\n\
    Message-ID: <20260302.AB12@shop.example>\r\n\
    In-Reply-To: <1@x.org> <2@x.org>\r\n\
    List-Unsubscribe: <https://shop.example/u>\r\n\
    Content-Type: multipart/mixed; boundary=\"out\"\r\n\r\n\
    preamble words nobody sees\r\n\
    --out\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n\
    --in\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8gcGxhaW4gd29ybGQ=\r\n\
    --in\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
    <p>Hello <b>hyper</b> world <a href=3D\"http://evil.example/x\">www.bank.example</a>\r\n\
    <img src=3D\"http://pix.example/p.gif\" width=3D1 height=3D1>\r\n\
    <div style=3D'display:none'>unseen</div>\r\n\
    --in--\r\n\
    --out\r\nContent-Type: application/octet-stream; name=\"bill.pdf.exe\"\r\n\
    Content-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n\
    SGVsbG8gYXR0YWNoZWQgd29ybGQ=\r\n--out--\r\nepilogue\r\n";

#[test]
fn a_message_is_seen_as_a_reader_sees_it() {
    let facts = look(MULTIPART).facts;
    assert_eq!(facts.from.as_deref(), Some("news@shop.example"));
    assert!(facts.name_is_address);
    assert_eq!(facts.replies_elsewhere.as_deref(), Some("elsewhere.example"));
    assert_eq!(facts.subject, "GRÜSSE AND MORE");
    assert_eq!((facts.subject_text.words, facts.subject_text.shouted), (3, 3));
    assert_eq!((facts.recipients, facts.has_message_id, facts.unsubscribe), (2, true, true));
    assert_eq!(facts.references, ["1@x.org", "2@x.org"]);
    assert_eq!((facts.plain_parts, facts.html_parts), (1, 1));
    assert_eq!(facts.plain_text, 15);
    assert_eq!(facts.hidden_text, 6);
    assert_eq!((facts.images, facts.pixels), (0, 1));
    assert_eq!((facts.links.all, facts.links.misleading), (1, 1));
    assert!(facts.links.hosts.contains("evil.example"));
    assert_eq!(facts.links.domains(5), ["evil.example".parse().unwrap()]);
    assert_eq!(facts.attachments.iter().collect::<Vec<_>>(), [&Harm::Disguised]);
    assert!(!facts.malformed && !facts.raw_bytes);
}

#[test]
fn the_same_words_give_the_same_tokens_however_they_are_encoded() {
    let plain = "Subject: x\r\n\r\nGrüße aus Köln, liebe Leute\r\n";
    let quoted = "Subject: x\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe aus K=F6ln, liebe=\r\n Leute\r\n";
    // Only the encoding itself is another token.
    assert!(more(plain, quoted) <= 3, "{}", more(plain, quoted));
    assert!(look(plain).tokens.len() > 15);
    // What a box adds on arrival changes nothing.
    let arrived = format!(
        "Return-Path: <a@x.org>\r\nDelivered-To: b@x.org\r\nX-Pillarbox-Junk: inbox; points=1\r\n\
         Received: from a by b\r\n{plain}"
    );
    assert_eq!(sorted(&look(&arrived).tokens), sorted(&look(plain).tokens));
}

#[test]
fn disguised_words_are_read_as_people_read_them() {
    let plain = "Subject: x\r\n\r\nviagra\r\n";
    for disguise in
        ["v1agra", "v\u{200b}iag\u{ad}ra", "vi\u{430}gra", "V I A G R A", "V i a g r a !"]
    {
        let text = format!("Subject: x\r\n\r\n{disguise} \r\n");
        let missing = more(plain, &text);
        assert_eq!(missing, 0, "{disguise}");
    }
    let facts = look("Subject: x\r\n\r\nv1agra p\u{430}ypal\r\n").facts.text;
    assert_eq!((facts.disguised, facts.mixed), (1, 1));
    // Codes and names of things are no disguise.
    let facts = look("Subject: x\r\n\r\nb2b mp3 x86_64 3d AB12CD34 covid-19 ipv6\r\n").facts.text;
    assert_eq!((facts.disguised, facts.mixed), (0, 0));
}

#[test]
fn codes_are_known_in_many_languages() {
    for text in [
        "Your code is 491023.",
        "Ihr Bestätigungscode lautet 1",
        "Voici votre code de vérification : 7",
        "Tu código de verificación es 7",
        "Kod weryfikacyjny: 7",
        "Код подтверждения: 7",
        "您的验证码是 7",
        "認証コードのお知らせ",
        "인증번호는 7",
        "رمز التحقق 7",
    ] {
        let facts = look(&format!(
            "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
        ));
        assert!(facts.facts.text.phrases.of(Topic::SignUp) > 0, "{text}");
    }
    let letter = look("Subject: x\r\n\r\nthe code of the door is with anna\r\n").facts;
    assert_eq!(letter.text.phrases.of(Topic::SignUp), 0);
}

#[test]
fn an_address_made_for_one_sender_is_known_by_its_tag() {
    for (from, to, made) in [
        ("news@mail.green-shop.example", "alice+greenshop@x.org", true),
        ("News@Shop.example", "Alice-Shop@x.org", true),
        ("news@other.example", "alice+shop@x.org", false),
        // A name is no tag, and who is of the house knows it anyway.
        ("anna@shop.example", "shop@x.org", false),
        ("anna@schmidt.example", "anna.schmidt@x.org", false),
        ("win@family.example", "alice+family@family.example", false),
        ("a@me.example", "alice+me@x.org", false),
    ] {
        let facts = look(&format!("From: {from}\r\nTo: {to}\r\nSubject: x\r\n\r\nx\r\n")).facts;
        assert_eq!(facts.tagged_for_sender, made, "{from} to {to}");
    }
}

#[test]
fn scripts_without_blanks_have_words_too() {
    let one = "Subject: x\r\n\r\n無料で今すぐ登録\r\n";
    let two = "Subject: x\r\n\r\n今すぐ登録してください\r\n";
    let shared = look(one).tokens.len() - more(one, two);
    let other = "Subject: x\r\n\r\nปุ่มนี้\r\n";
    assert!(shared > look(other).tokens.len() - more(other, two) + 6);
}

#[test]
fn hosts_of_links_are_told_by_their_owners() {
    for (host, home) in [
        ("www.shop.example", "shop.example"),
        ("a.b.shop.co.uk", "shop.co.uk"),
        ("shop.example", "shop.example"),
        ("localhost", "localhost"),
        ("bbc.co.uk", "bbc.co.uk"),
    ] {
        assert_eq!(words::home_of(host), home);
    }
    let links = |html: &str| {
        let text = format!("Subject: x\r\nContent-Type: text/html\r\n\r\n{html}\r\n");
        look(&text).facts.links
    };
    assert_eq!(links("<a href='http://t.shop.example/1'>www.shop.example</a>").misleading, 0);
    assert_eq!(links("<a href='http://t.shop.example/1'>photo.jpg</a>").misleading, 0);
    assert_eq!(
        links("<a href='https://evil.example'>https://bank.example/login</a>").misleading,
        1
    );
    let own = "From: a@mail.bank.example\r\nSubject: x\r\nContent-Type: text/html\r\n\r\n\
        <a href='https://click.example'>www.bank.example</a>\r\n";
    let own = look(own).facts.links;
    assert_eq!((own.misleading, own.detours), (0, 1));
    assert_eq!(links("<a href='http://192.0.2.7/x'>here</a>").numbers, 1);
    assert_eq!(links("<a href='http://bank.example@evil.example/'>here</a>").users, 1);
    assert_eq!(links("<a href='https://bit.ly/3x'>here</a>").shortened, 1);
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut inspector = Inspector::new();
    inspector.feed(b"Subject: x\r\nX-Long: ");
    for _ in 0..1000 {
        inspector.feed(&[b'y'; 10_000]);
    }
    inspector.feed(b"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n");
    let mut inspector = Inspector::new();
    inspector.feed(b"Content-Type: multipart/mixed; boundary=b0\r\n\r\n");
    for depth in 0..2000 {
        let part =
            format!("--b{depth}\r\nContent-Type: multipart/mixed; boundary=b{}\r\n\r\n", depth + 1);
        inspector.feed(part.as_bytes());
    }
    inspector.finish();
    let mut words = String::from("Subject: x\r\n\r\n");
    for number in 0..200_000 {
        words.push_str(&number.to_string());
        words.push_str("x ");
    }
    assert!(look(&words).tokens.len() <= tokens::MAX_TOKENS);
    let mut inspector = Inspector::new();
    inspector.feed(words.as_bytes());
    assert!(!inspector.wants_more(), "reads on for nothing");
}

fn notes() -> (tempfile::TempDir, Arc<Notes>) {
    let folder = tempfile::tempdir().unwrap();
    let notes = Arc::new(Notes::open(folder.path()));
    (folder, notes)
}

fn spam(number: usize) -> String {
    format!(
        "From: win{number}@offers{number}.example\r\nTo: alice@x.org\r\n\
         Subject: cheap watches offer {number}\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n\
         Message-ID: <{number}@offers.example>\r\n\r\nbuy cheap replica watches {number} today\r\n"
    )
}

fn ham(number: usize) -> String {
    format!(
        "From: aunt{number}@family.example\r\nTo: alice@x.org\r\n\
         Subject: garden on sunday {number}\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n\
         Message-ID: <{number}@family.example>\r\n\r\nthe roses bloom, come for cake {number}\r\n"
    )
}

#[test]
fn an_account_learns_for_itself_and_changes_its_mind() {
    let (_folder, notes) = notes();
    let junk = Junk::open(notes);
    let judge = |account, text: &str| junk.judge(account, &Signals::default(), &look(text)).points;
    let before = judge(ALICE, &spam(200));
    for number in 0..130 {
        junk.teach(ALICE, &look(&spam(number)).tokens, Class::Spam, None).unwrap();
        junk.teach(ALICE, &look(&ham(number)).tokens, Class::Ham, None).unwrap();
    }
    let marks = Marks::default();
    let score = junk.judge(ALICE, &Signals::default(), &look(&spam(200)));
    assert_eq!(score.verdict(marks), Verdict::Junk, "{score:?}");
    assert!(score.reasons.iter().any(|reason| reason.text.contains("junk you moved")));
    assert!(judge(ALICE, &ham(200)) < 0);
    assert_eq!(judge(BOB, &spam(200)), before, "bob learned from alice");
    for number in 0..130 {
        let tokens = look(&spam(number)).tokens;
        junk.teach(ALICE, &tokens, Class::Ham, Some(Class::Spam)).unwrap();
    }
    assert!(judge(ALICE, &spam(200)) < marks.junk, "nothing was unlearned");
    let (_, lessons) = junk.opinion(ALICE, &Tokens::default()).unwrap();
    assert_eq!(lessons, Lessons { spam: 0, ham: 260 });
}

#[test]
fn a_few_lessons_judge_nobody() {
    let (_folder, notes) = notes();
    let junk = Junk::open(notes);
    let before = junk.judge(ALICE, &Signals::default(), &look(&ham(100)));
    for number in 0..30 {
        junk.teach(ALICE, &look(&spam(number)).tokens, Class::Spam, None).unwrap();
    }
    assert_eq!(junk.judge(ALICE, &Signals::default(), &look(&ham(100))), before);
}

#[test]
fn people_the_account_writes_to_are_welcome_but_not_forgers() {
    let (_folder, notes) = notes();
    let junk = Junk::open(notes);
    let to = ["aunt@family.example".parse().unwrap()];
    junk.sent(ALICE, &to, Some("<77@x.org>"));
    let letter = |extra: &str| {
        look(&format!(
            "From: Aunt <Aunt@Family.Example>\r\nTo: alice@x.org\r\n{extra}Subject: VIAGRA\r\n\
             Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nMessage-ID: <1@family.example>\r\n\r\nx\r\n"
        ))
    };
    let proved = Signals { dmarc: Dmarc::Pass, ..Signals::default() };
    let forged = Signals { dmarc: Dmarc::Fail(Wish::None), ..Signals::default() };
    let points =
        |account, signals: &Signals, seen: &Seen| junk.judge(account, signals, seen).points;
    let stranger = points(BOB, &proved, &letter(""));
    assert!(points(ALICE, &proved, &letter("")) <= stranger - 60);
    assert!(points(ALICE, &Signals::default(), &letter("")) < stranger);
    assert!(points(ALICE, &forged, &letter("")) > stranger, "a forged name helped");
    let answer = letter("In-Reply-To: <77@x.org>\r\n");
    assert!(points(ALICE, &Signals::default(), &answer) <= stranger - 80);
    assert!(junk.has_written_to(ALICE, &to[0]).unwrap());
    assert!(!junk.has_written_to(BOB, &to[0]).unwrap());
}

#[test]
fn lists_that_copy_from_each_other_count_once_and_a_half() {
    let (_folder, notes) = notes();
    let junk = Junk::open(notes);
    let finding = |points| crate::policy::dnsbl::Finding {
        zone: "l.example".parse().unwrap(),
        listing: crate::policy::dnsbl::Listing::Listed { points, meaning: "known".to_owned() },
    };
    let points = |lists: &[i32]| {
        let lists = lists.iter().copied().map(finding).collect();
        let signals = Signals { lists, ..Signals::default() };
        junk.judge(ALICE, &signals, &look(&ham(1))).points
    };
    let none = points(&[]);
    assert_eq!(points(&[60]) - none, 60);
    assert_eq!(points(&[60, 20]) - none, 70);
    assert_eq!(points(&[-15, 60]) - none, 45);
}

#[test]
fn codes_that_somebody_waits_for_arrive() {
    let (_folder, notes) = notes();
    let junk = Junk::open(notes);
    let code = "From: Shop <no-reply@shop.example>\r\nTo: alice@x.org\r\n\
        Subject: Your verification code\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n\
        Message-ID: <1@shop.example>\r\nContent-Type: text/html\r\n\r\n\
        <p>Your code is <b>491023</b>. Click here if it was not you. This is free.</p>\r\n";
    let proved = Signals { dmarc: Dmarc::Pass, dkim: Dkim::Pass, ..Signals::default() };
    let score = junk.judge(ALICE, &proved, &look(code));
    assert!(score.points < 0, "{score:?}");
    // Even when everything that was learned speaks against it.
    let seen = look(code);
    for number in 0..300 {
        junk.teach(ALICE, &seen.tokens, Class::Spam, None).unwrap();
        junk.teach(ALICE, &look(&ham(number)).tokens, Class::Ham, None).unwrap();
    }
    let marks = Marks::default();
    for signals in [&proved, &Signals::default()] {
        let score = junk.judge(ALICE, signals, &seen);
        assert_eq!(score.verdict(marks), Verdict::Inbox, "{score:?}");
    }
    let dangerous = code.replace("<b>", "<a href='https://evil.example'>www.bank.example</a>");
    assert!(junk.judge(ALICE, &Signals::default(), &look(&dangerous)).points >= marks.junk);
    let forged = Signals { dmarc: Dmarc::Fail(Wish::Reject), ..Signals::default() };
    let score = junk.judge(ALICE, &forged, &look(code));
    assert!(score.verdict(marks) >= Verdict::Junk, "{score:?}");
}

proptest! {
    #[test]
    fn no_bytes_break_the_look_and_cutting_them_changes_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..600), size in 1_usize..40
    ) {
        let whole = look_in_pieces(&bytes, usize::MAX);
        let cut = look_in_pieces(&bytes, size);
        prop_assert_eq!(sorted(&whole.tokens), sorted(&cut.tokens));
        prop_assert_eq!(whole.facts, cut.facts);
    }

    #[test]
    fn no_message_breaks_the_look(
        lines in prop::collection::vec(
            prop::sample::select(vec![
                "--out", "--out--", "--in", "", "Content-Type: text/html", "text", "<a href='x://y'>",
                "Content-Type: multipart/mixed; boundary=in", "Content-Type: message/rfc822",
                "Subject: =?utf-8?Q?=C3?=", "Received: from", "From: <@", " folded", "&#x110000;", "-",
                "Content-Type: multipart/mixed; boundary=\"out\"", "Content-Transfer-Encoding: base64",
            ]), 0..40),
        size in 1_usize..50
    ) {
        let text = lines.join("\r\n");
        let cut = look_in_pieces(text.as_bytes(), size);
        let whole = look(&text);
        prop_assert_eq!(sorted(&whole.tokens), sorted(&cut.tokens));
        prop_assert_eq!(whole.facts, cut.facts);
    }
}

#[test]
fn whom_the_account_wrote_to_is_known_even_when_the_card_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // There is no such folder, so nothing can be written.
    let junk = Junk::open(Arc::new(Notes::open(&folder.path().join("gone"))));
    let zoe = "zoe@far.test".parse().unwrap();
    junk.sent(ALICE, &[zoe], None);
    assert!(junk.put_away(jiff::Timestamp::UNIX_EPOCH).is_err());
    let known = |account| junk.has_written_to(account, &"zoe@far.test".parse().unwrap());
    assert!(known(ALICE).unwrap(), "forgotten");
    assert!(known(BOB).is_err());
}

#[test]
fn a_program_is_one_however_its_name_is_written() {
    let attached = |kind: &str, parameters: &str| {
        look(&format!(
            "From: x@y.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
             Content-Type: {kind}\r\nContent-Disposition: attachment; {parameters}\r\n\r\n\
             MZ\r\n--b--\r\n"
        ))
        .facts
        .attachments
        .into_iter()
        .collect::<Vec<_>>()
    };
    let plain = "application/octet-stream";
    for name in [
        "filename=\"a.exe\"",
        "filename=\"=?utf-8?q?a=2Eexe?=\"",
        "filename*=utf-8''a%2Eexe",
        "filename*0=\"a.e\"; filename*1=\"xe\"",
        "filename*1*=%78e; filename*0*=utf-8''a.e",
        "filename=\"a.txt\"; filename*=utf-8''a.exe",
    ] {
        assert_eq!(attached(plain, name), [Harm::Program], "{name}");
    }
    let named = "application/octet-stream; name=\"a.pdf.exe\"";
    assert_eq!(attached(named, "filename=\"a.pdf\""), [Harm::Disguised]);
    for name in ["filename=\"a.pdf\"", "filename*=utf-8''100%25", "filename*=%", "filename*x=a.exe"]
    {
        assert_eq!(attached(plain, name), [], "{name}");
    }
}

#[test]
fn the_line_that_tests_filters_is_refused_and_its_likes_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let junk = Junk::open(Arc::new(Notes::open(folder.path())));
    let (first, second) =
        ("XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X");
    let verdict = |text: &str| {
        let letter = format!(
            "From: x@y.test\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\nMessage-ID: <1@y.test>\r\n\
             \r\nHello,\r\n{text}\r\nGreetings\r\n"
        );
        junk.judge(ALICE, &Signals::default(), &look(&letter)).verdict(Marks::default())
    };
    assert_eq!(verdict(&format!("{first}{second}")), Verdict::Refuse);
    assert_eq!(verdict(&format!("\"{first}{second}\".")), Verdict::Refuse);
    for text in [first, second, &format!("{second}{first}"), &format!("{first} {second}")] {
        assert_eq!(verdict(text), Verdict::Inbox, "{text}");
    }
}

#[test]
fn a_text_of_nothing_but_links_costs_no_more_than_others() {
    let links = |text: &str| look(&format!("From: x@y.test\r\n\r\n{text}\r\n")).facts.links.all;
    assert_eq!(links("see http://a.test/?to=http://b.test/ and (http://c.test/)"), 3);
    assert_eq!(links(&"http://a.test/ ".repeat(1000)), 1000);
    // Each of them would be read to the end of all.
    let endless = links(&"http://a.test/".repeat(5000));
    assert!((1..500).contains(&endless), "{endless}");
}
