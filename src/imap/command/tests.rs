#![allow(clippy::unwrap_used, reason = "a refused command is the failed test")]

use proptest::prelude::*;

use super::*;
use crate::mail::structure::Piece;

fn body(text: &str) -> Body {
    parse(format!("t {text}").as_bytes(), Names::Utf7).unwrap().body
}

fn reason(text: &str) -> Reason {
    parse(text.as_bytes(), Names::Utf7).unwrap_err().reason
}

#[test]
fn strings_come_in_three_forms() {
    for login in ["LOGIN a b", "LOGIN \"a\" \"b\"", "login {1}\r\na {1+}\r\nb", "Login a  \"b\" "] {
        let Body::Login { user, password } = body(login) else { panic!("{login}") };
        assert_eq!((user.as_str(), password.expose()), ("a", "b"), "{login}");
    }
    let Body::Login { user, password } = body("LOGIN \"a\\\"\\\\\" \"\"") else { panic!() };
    assert_eq!((user.as_str(), password.expose()), ("a\"\\", ""));
    for broken in ["LOGIN \"a b", "LOGIN \"a\\b\" c", "LOGIN {3}\r\na b", "LOGIN {1}\r\n\0 b"] {
        assert!(matches!(reason(&format!("t {broken}")), Reason::Syntax(_)), "{broken:?}");
    }
}

#[test]
fn a_refusal_names_its_command() {
    assert_eq!(parse(b"", Names::Utf7).unwrap_err().tag, None);
    assert_eq!(parse(b"tag", Names::Utf7).unwrap_err().tag, None);
    assert_eq!(parse(b"+ NOOP", Names::Utf7).unwrap_err().tag, None);
    let refused = parse(b"A1] NOPE", Names::Utf7).unwrap_err();
    assert_eq!((refused.tag.unwrap().as_str(), refused.reason), ("A1]", Reason::Unknown));
    assert_eq!(reason("t NOOP now"), Reason::Syntax("too many arguments"));
}

#[test]
fn a_fetch_has_so_many_items_at_most() {
    let fetch = |count| format!("t FETCH 1 ({})", vec!["BODY.PEEK[]<0.65536>"; count].join(" "));
    assert!(parse(fetch(100).as_bytes(), Names::Utf7).is_ok());
    assert_eq!(reason(&fetch(101)), Reason::Syntax("too many FETCH items"));
}

#[test]
fn mailbox_names_are_unicode_and_the_inbox_is_one() {
    let Body::Select { name, read_only, .. } = body("EXAMINE iNBOX") else { panic!() };
    assert!(name.is_inbox() && read_only);
    let Body::Delete(name) = body("DELETE \"Entw&APw-rfe\"") else { panic!() };
    assert_eq!(name.as_str(), "Entwürfe");
    // UTF-7 must not smuggle what the grammar keeps out.
    assert!(matches!(reason("t SELECT \"x&AA0ACg-y\""), Reason::Name(_)));
    assert!(matches!(reason("t CREATE \"a*\""), Reason::Name(_)));
}

#[test]
fn fetch_items_are_told_apart() {
    let items = |text: &str| {
        let Body::Fetch { items, .. } = body(&format!("FETCH 1 {text}")) else { panic!("{text}") };
        items
    };
    let section = |text: &str| match items(text).as_slice() {
        [FetchItem::Section(section)] => section.clone(),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(items("fast"), [FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size]);
    assert_eq!(items("(UID BODY)"), [FetchItem::Uid, FetchItem::Body]);
    let whole = section("BODY[]");
    assert!(!whole.peek && whole.path.is_empty());
    let part = section("BODY.PEEK[1.2.MIME]<5.10>");
    assert!(part.peek);
    assert_eq!(part.path, [1, 2]);
    assert_eq!(part.kind, SectionKind::Piece(Piece::Mime));
    assert_eq!(part.partial, Some(Partial { first: 5, count: 10 }));
    let SectionKind::Fields(filter) = section("BODY[3.HEADER.FIELDS.NOT (To \"Cc\")]").kind else {
        panic!("no filter");
    };
    assert!(filter.not);
    assert_eq!(filter.names, [b"To", b"Cc"]);
    for broken in [
        "BODY[1.]",
        "BODY[1TEXT]",
        "BODY[MIME]",
        "BODY[",
        "BODY[]<1>",
        "BODY[]<1.0>",
        "BODY.PEEK",
        "(BODY[0])",
        "BODY[HEADER.FIELDS ()]",
        "()",
        "(UID",
        "UIDS",
        "BODY[TEXT.1]",
    ] {
        assert!(matches!(reason(&format!("t FETCH 1 {broken}")), Reason::Syntax(_)), "{broken}");
    }
}

#[test]
fn sets_mean_what_the_mailbox_makes_of_them() {
    let ranges = |text: &str, last| {
        let Body::Copy { set: SequenceSet::Given(set), .. } = body(&format!("COPY {text} x"))
        else {
            panic!("{text}")
        };
        set.ranges(last)
    };
    assert_eq!(ranges("5,1:3,2:4,9", 20), [(1, 5), (9, 9)]);
    assert_eq!(ranges("*:4,7:*", 6), [(4, 7)]);
    assert_eq!(ranges("4294967295,1", 6), [(1, 1), (u32::MAX, u32::MAX)]);
    assert!(matches!(body("COPY $ x"), Body::Copy { set: SequenceSet::Saved, .. }));
    for broken in ["$,1", "1,$", "$:1", "0", "1:", "1,,2", ":2", "4294967296", "1:0", "a"] {
        assert!(matches!(reason(&format!("t COPY {broken} x")), Reason::Syntax(_)), "{broken}");
    }
    let set = match body("COPY 2:4,8:* x") {
        Body::Copy { set: SequenceSet::Given(set), .. } => set.resolved(9),
        other => panic!("{other:?}"),
    };
    let inside: Vec<u32> = (0..12).filter(|n| set.contains(*n)).collect();
    assert_eq!(inside, [2, 3, 4, 8, 9]);
}

#[test]
fn patterns_match_as_the_rfc_says() {
    let matches = |pattern: &str, name: &str| {
        let Body::Lsub(matching) = body(&format!("LSUB \"\" {pattern}")) else { panic!() };
        matching.matches(name)
    };
    for (pattern, name, expected) in [
        ("*", "a/b/c", true),
        ("%", "a", true),
        ("%", "a/b", false),
        ("a/%", "a/b", true),
        ("a/%", "a/b/c", false),
        ("a/*", "a/b/c", true),
        ("a*c", "a/b/c", true),
        ("%/c", "a/b/c", false),
        ("%/%/c", "a/b/c", true),
        ("inbox", "INBOX", true),
        ("iNbOx/%", "INBOX/x", true),
        ("b", "a", false),
        ("a%", "a", true),
        ("*a*", "bab", true),
        ("a", "aa", false),
        ("%%", "ab", true),
        ("*%", "a/b", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
    assert!(matches!(reason("t LIST \"\" ***********"), Reason::Syntax(_)));
}

#[test]
fn searches_stay_within_their_limits() {
    let deep = format!("t SEARCH {} ALL", "NOT ".repeat(51).trim_end());
    assert_eq!(reason(&deep), Reason::TooComplex);
    let wide = format!("t SEARCH {}", "ALL ".repeat(1001));
    assert_eq!(reason(&wide), Reason::TooComplex);
    assert!(
        parse(format!("t SEARCH {} ALL", "NOT ".repeat(49).trim_end()).as_bytes(), Names::Utf7)
            .is_ok()
    );
    let Body::Search(Search { key: SearchKey::And(keys), .. }) =
        body("SEARCH UNSEEN OR 1 (SUBJECT \"ÄB\")")
    else {
        panic!("no list of keys")
    };
    assert!(matches!(&keys[..], [SearchKey::Not(_), SearchKey::Or(..)]));
}

#[test]
fn results_are_asked_for_in_any_order() {
    let search = |text: &str| match body(text) {
        Body::Search(search) => search,
        other => panic!("{other:?}"),
    };
    assert_eq!(search("SEARCH ALL").results, None);
    assert_eq!(search("SEARCH RETURN () ALL").results, Some(Results::all()));
    let results = search("uid search return (count SAVE min) charset utf-8 1").results.unwrap();
    assert!(results.saves() && results.has(ResultItem::Min) && results.has(ResultItem::Count));
    assert!(!results.has(ResultItem::All) && !results.has(ResultItem::Max));
    let within = |text: &str, length| {
        let results = search(&format!("SEARCH RETURN (PARTIAL {text}) ALL")).results.unwrap();
        results.partial().unwrap().within(length)
    };
    assert_eq!((within("1:3", 9), within("3:2", 9), within("8:20", 9)), (0..3, 1..3, 7..9));
    assert_eq!((within("-1:-3", 9), within("-3:-2", 9), within("-8:-20", 9)), (6..9, 6..8, 0..2));
    assert!(within("10:20", 9).is_empty() && within("-10:-20", 9).is_empty());
    assert!(within("1:4294967295", 0).is_empty());
    for broken in [
        "SEARCH RETURN (ALL PARTIAL 1:2) ALL",
        "SEARCH RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL",
        "SEARCH RETURN (PARTIAL 1:-2) ALL",
        "SEARCH RETURN (PARTIAL 0:2) ALL",
        "SEARCH RETURN (PARTIAL *:2) ALL",
        "SEARCH RETURN (UPDATE) ALL",
        "SEARCH RETURN (MIN)",
        "SEARCH RETURN ALL",
        "THREAD RETURN () REFERENCES UTF-8 ALL",
        "FETCH 1 FLAGS (PARTIAL 1:2 PARTIAL 1:2)",
        "FETCH 1 FLAGS (FASTER)",
        "FETCH 1 FLAGS ()",
    ] {
        assert!(matches!(reason(&format!("t {broken}")), Reason::Syntax(_)), "{broken}");
    }
}

#[test]
fn sorts_and_threads_have_an_order_a_charset_and_keys() {
    let Body::Search(Search { uid: true, program: Program::Sort(criteria), .. }) =
        body("UID SORT (REVERSE DATE subject) utf-8 UNSEEN")
    else {
        panic!("no sort")
    };
    let by: Vec<_> = criteria.iter().map(|one| (one.by, one.descending)).collect();
    assert_eq!(by, [(SortKey::Date, true), (SortKey::Subject, false)]);
    let Body::Search(Search { program, .. }) = body("THREAD references \"US-ASCII\" ALL") else {
        panic!("no thread")
    };
    assert_eq!(program, Program::Thread(Algorithm::References));
    for broken in [
        "SORT () UTF-8 ALL",
        "SORT (SUBJECT) UTF-8",
        "SORT (REVERSE) UTF-8 ALL",
        "SORT (REVERSE REVERSE DATE) UTF-8 ALL",
        "SORT (SIZES) UTF-8 ALL",
        "SORT SUBJECT UTF-8 ALL",
        "SORT (SUBJECT)",
        "THREAD REFS UTF-8 ALL",
        "THREAD REFERENCES UTF-8",
        "SEARCH OLDER 0",
        "SEARCH YOUNGER",
        "SEARCH MODSEQ x",
        "SEARCH MODSEQ \"/flags/\\\\seen\" mine 7",
        "SEARCH EMAILID a/b",
        "SEARCH THREADID \"\"",
    ] {
        assert!(matches!(reason(&format!("t {broken}")), Reason::Syntax(_)), "{broken}");
    }
    let many = format!("t SORT ({}) UTF-8 ALL", ["DATE"; 21].join(" "));
    assert_eq!(reason(&many), Reason::TooComplex);
    let save = |text: &str| reason(&format!("t {text}"));
    assert_eq!(save("SEARCH RETURN (SAVE) CHARSET KOI8-R x"), Reason::Charset { save: true });
    assert_eq!(save("SORT RETURN (MIN) (DATE) KOI8-R x"), Reason::Charset { save: false });
}

#[test]
fn the_message_of_an_append_is_found() {
    let head = |text: &str| append_head(text.as_bytes(), Names::Utf7);
    let full = head("t APPEND x (\\Seen $a) \"17-Jul-1996 02:44:25 -0700\" ").unwrap().unwrap();
    assert_eq!(full.message.date.unwrap().to_string(), "1996-07-17T09:44:25Z");
    assert_eq!(full.message.flags.iter().count(), 2);
    assert!(head("t append {1+}\r\nx ").unwrap().is_ok());
    // The mailbox name is a literal, too: the message comes later.
    assert!(head("t APPEND ").is_none());
    assert!(head("t LOGIN x ").is_none());
    for broken in
        ["t APPEND x (\\Seen ", "t APPEND x \"yesterday\" ", "t APPEND x y ", "t APPEND x"]
    {
        assert!(head(broken).unwrap().is_err(), "{broken}");
    }
}

proptest! {
    #[test]
    fn no_bytes_break_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, Names::Utf7);
        let _ = append_head(&bytes, Names::Utf8);
    }

    #[test]
    fn nothing_like_a_command_breaks_the_parser(
        words in proptest::collection::vec(prop_oneof![
            Just("t"), Just(" "), Just("("), Just(")"), Just("UID"), Just("FETCH"), Just("1:*"),
            Just("BODY[1.HEADER.FIELDS"), Just("]<0.1>"), Just("SEARCH"), Just("OR"), Just("NOT"),
            Just("{3}\r\n"), Just("{999999999999}\r\n"), Just("\""), Just("\\"), Just("APPEND"),
            Just("LIST"), Just("RETURN"), Just("STATUS"), Just("&AAA-"), Just("*"), Just("é"),
            Just("1-Feb-2026"), Just("STORE"), Just("+FLAGS"), Just("CREATE"), Just("(USE"),
        ], 0..30)
    ) {
        let bytes = words.concat().into_bytes();
        let _ = parse(&bytes, Names::Utf7);
        let _ = append_head(&bytes, Names::Utf8);
    }
}
