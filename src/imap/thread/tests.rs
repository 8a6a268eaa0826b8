use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::mail::{ModSeq, Uid};

/// The THREAD response of messages with these headers, which arrived one second after the other.
fn threads<T: AsRef<str>>(algorithm: Algorithm, headers: &[T]) -> String {
    let mut threads = Threads::new(algorithm);
    let mut all = Vec::new();
    for (number, header) in (1..).zip(headers) {
        let uid = Uid::new(number).unwrap_or(Uid::FIRST);
        let found = Match { number, uid, modseq: ModSeq(1), received: i64::from(number), size: 1 };
        assert!(threads.add(&found, format!("{}\r\n", header.as_ref()).as_bytes()));
        all.push(found);
    }
    threads.render(&all, false)
}

fn references(headers: &[&str]) -> String {
    threads(Algorithm::References, headers)
}

#[test]
fn messages_hang_below_what_they_answer() {
    let tree = references(&[
        "Message-ID: <1@x>\r\n",
        "Message-ID: <2@x>\r\nReferences: <1@x>\r\n",
        "Message-ID: <3@x>\r\nReferences: <1@x> <2@x>\r\n",
        "Message-ID: <4@x>\r\nIn-Reply-To: Monday <2@x> <1@x>\r\n",
        "Message-ID: <5@x>\r\nReferences: none\r\nIn-Reply-To: <1@x>\r\n",
        "Message-ID: <6@x>\r\n",
    ]);
    assert_eq!(tree, "(1 (2 (3)(4))(5))(6)");
    // Later ones first.
    let tree = references(&[
        "Message-ID: <3@x>\r\nReferences: <1@x> <2@x>\r\n",
        "Message-ID: <2@x>\r\nReferences: <1@x>\r\n",
        "Message-ID: <1@x>\r\n",
    ]);
    assert_eq!(tree, "(3 2 1)");
}

#[test]
fn an_id_that_is_there_twice_counts_for_the_first_message() {
    let tree = references(&[
        "Message-ID: <1@x>\r\nSubject: a\r\n",
        "Message-ID: <1@x>\r\nSubject: b\r\n",
        "Message-ID: <2@x>\r\nReferences: <1@x>\r\nSubject: c\r\n",
        "Subject: d\r\n",
    ]);
    assert_eq!(tree, "(1 3)(2)(4)");
}

#[test]
fn loops_and_shortened_references_do_no_harm() {
    let tree = references(&[
        "Message-ID: <1@x>\r\nReferences: <2@x>\r\n",
        "Message-ID: <2@x>\r\nReferences: <1@x>\r\n",
        "Message-ID: <3@x>\r\nReferences: <3@x>\r\n",
        "Message-ID: <4@x>\r\nReferences: <2@x> <1@x>\r\n",
    ]);
    assert_eq!(tree, "(2 1 4)(3)");
    // 3 was guessed to be below 1, and says itself that it is below 2.
    let tree = references(&[
        "Message-ID: <4@x>\r\nReferences: <1@x> <3@x>\r\n",
        "Message-ID: <3@x>\r\nReferences: <1@x> <2@x>\r\n",
        "Message-ID: <1@x>\r\n",
        "Message-ID: <2@x>\r\nReferences: <1@x>\r\n",
    ]);
    assert_eq!(tree, "(3 4 2 1)");
}

#[test]
fn what_is_missing_holds_its_answers_together() {
    let one = "Message-ID: <a@x>\r\nReferences: <lost@x> <gone@x>\r\nSubject: a\r\n";
    let two = "Message-ID: <b@x>\r\nReferences: <lost@x>\r\nSubject: b\r\n";
    assert_eq!(references(&[one]), "(1)");
    assert_eq!(references(&[two, one]), "((1)(2))");
    let below = "Message-ID: <c@x>\r\nReferences: <a@x> <away@x>\r\nSubject: c\r\n";
    assert_eq!(references(&[one, below]), "(1 2)");
}

#[test]
fn threads_of_one_subject_are_one() {
    for (subjects, tree) in [
        (&["Tea", "Re: tea"][..], "(1 2)"),
        (&["Re: Tea", "tea"], "(2 1)"),
        (&["Tea", "[list] TEA"], "((1)(2))"),
        (&["Re: Tea", "Fwd: Tea"], "((1)(2))"),
        (&["Tea", "tea", "Re: Tea"], "((1)(2)(3))"),
        (&["Re: Tea", "Re: Tea", "Tea"], "(3 (1)(2))"),
        (&["", "", "Re:"], "(1)(2)(3)"),
        (&["Tea", "Cake", "Re: Cake (fwd)", "re: tea"], "(1 4)(2 3)"),
    ] {
        let headers: Vec<String> =
            subjects.iter().map(|subject| format!("Subject: {subject}\r\n")).collect();
        assert_eq!(threads(Algorithm::References, &headers), tree, "{subjects:?}");
    }
    // Two threads whose beginnings are missing.
    let tree = references(&[
        "References: <a@x>\r\nSubject: Re: Tea\r\n",
        "References: <a@x>\r\nSubject: Re: Tea\r\n",
        "References: <b@x>\r\nSubject: Re: Tea\r\n",
        "References: <b@x>\r\nSubject: Re: Tea\r\n",
        "Subject: Tea\r\n",
    ]);
    assert_eq!(tree, "((1)(2)(3)(4)(5))");
}

#[test]
fn siblings_stand_by_the_date_they_were_sent() {
    let date = |hour: u32| format!("Date: Sun, 1 Mar 2026 {hour:02}:00:00 +0000\r\n");
    let headers = [
        format!("{}Message-ID: <1@x>\r\nSubject: a\r\n", date(12)),
        format!("{}References: <1@x>\r\nSubject: b\r\n", date(15)),
        format!("{}References: <1@x>\r\nSubject: c\r\n", date(14)),
        format!("{}Subject: d\r\n", date(11)),
        format!("{}References: <lost@x>\r\nSubject: e\r\n", date(18)),
        format!("{}References: <lost@x>\r\nSubject: f\r\n", date(10)),
    ];
    assert_eq!(threads(Algorithm::References, &headers), "((6)(5))(4)(1 (3)(2))");
    assert_eq!(threads(Algorithm::OrderedSubject, &headers), "(6)(4)(1)(3)(2)(5)");
}

#[test]
fn ordered_subject_has_no_grandchildren() {
    let subjects = ["Tea", "Cake", "Re: tea", "RE: Tea (fwd)", "cake", "", ""];
    let headers = subjects.map(|subject| format!("Subject: {subject}\r\n"));
    assert_eq!(threads(Algorithm::OrderedSubject, &headers), "(1 (3)(4))(2 5)(6 7)");
}

#[test]
fn a_thread_of_any_length_and_breadth_is_walked() {
    let down = |n: u32| format!("Message-ID: <{n}@x>\r\nReferences: <{}@x>\r\n", n - 1);
    let up = |n: u32| format!("Message-ID: <{n}@x>\r\nReferences: <{}@x>\r\n", n + 1);
    let star = |n: u32| format!("Message-ID: <{n}@x>\r\nReferences: <1@x>\r\n");
    let headers = |header: &dyn Fn(u32) -> String| (1..30_000).map(header).collect::<Vec<_>>();
    let tree = threads(Algorithm::References, &headers(&down));
    assert!(tree.starts_with("(1 2 3 4 ") && tree.ends_with(" 29999)"));
    let tree = threads(Algorithm::References, &headers(&up));
    assert!(tree.starts_with("(29999 29998 ") && tree.ends_with(" 2 1)"));
    let tree = threads(Algorithm::References, &headers(&star));
    assert!(tree.starts_with("(1 (2)(3)(4)") && tree.ends_with("(29999))"));
}

#[test]
fn a_message_of_many_references_costs_little() {
    let mut header = "References:".to_owned();
    for n in 0..5_000 {
        let _ = write!(header, " <{n}@x>\r\n");
    }
    assert_eq!(super::references(header.as_bytes()).len(), MOST_REFERENCES);
}

proptest! {
    #[test]
    fn every_message_is_there_once(
        messages in prop::collection::vec(
            (prop::option::of(0_u8..12), prop::collection::vec(0_u8..12, 0..4), 0_u8..4, 0_u8..24),
            0..30,
        ),
        algorithm in prop_oneof![Just(Algorithm::References), Just(Algorithm::OrderedSubject)],
    ) {
        let headers: Vec<String> = messages.iter().map(|(id, references, subject, hour)| {
            let id = id.map(|id| format!("Message-ID: <{id}@x>\r\n")).unwrap_or_default();
            let references: Vec<String> =
                references.iter().map(|id| format!(" <{id}@x>")).collect();
            let references = references.concat();
            let subject = ["Tea", "Re: Tea", "", "Cake"][usize::from(*subject)];
            format!(
                "{id}References:{references}\r\nSubject: {subject}\r\n\
                 Date: 1 Mar 2026 {hour}:00:00 +0000\r\n"
            )
        }).collect();
        let tree = threads(algorithm, &headers);
        let mut numbers: Vec<usize> = tree
            .split(['(', ')', ' '])
            .filter(|word| !word.is_empty())
            .filter_map(|word| word.parse().ok())
            .collect();
        numbers.sort_unstable();
        prop_assert_eq!(numbers, (1..=messages.len()).collect::<Vec<_>>(), "{}", tree);
        let mut depth = 0_i32;
        for c in tree.chars() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            prop_assert!(depth >= 0);
        }
        prop_assert_eq!(depth, 0);
        prop_assert!(!tree.contains("()") && !tree.contains("( ") && !tree.contains(" )"));
    }
}
