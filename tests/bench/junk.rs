//! How well junk is told from mail, and what that costs.
//!
//!     cargo bench --bench junk -- CORPUS [wrong]
//!
//! CORPUS is a folder of folders with one message a file; those named `spam…` hold junk and the
//! others mail (the public corpus of the `SpamAssassin` project has this form). The messages are cut
//! in two by a hash of their names; each half is learned once and the other judged by it, with no
//! authentication results, as if nothing could be told of their senders. Printed: what is filed in
//! Junk of both kinds, untrained and trained, after how many lessons how much, the time for a look
//! and for a verdict, and the bytes of an account; then, for mail that it would be worst to lose,
//! how much of it is filed wrongly by an account that has learned nothing, a little and much.
//! `wrong` names the mail that was filed wrongly, with the reasons.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here stops the benchmark")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod codes;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use pillarbox::policy::junk::{
    Class, Dkim, Dmarc, Inspector, Junk, MODEL_BYTES, Marks, Score, Seen, Signals, Spf, Topic,
    Verdict,
};
use pillarbox::policy::notes::Notes;
use pillarbox::store::AccountId;

const ACCOUNT: AccountId = AccountId(1);
/// Lessons after which mail that must not be lost is judged, and how many accounts that have learned
/// so little, each something else.
const YOUNG: [usize; 4] = [0, 5, 20, 100];
const ACCOUNTS: usize = 10;

struct Message {
    name: String,
    class: Class,
    seen: Seen,
    half: usize,
    order: u64,
}

fn main() {
    // The test runner's own options are none of ours.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let Some(corpus) = arguments.first() else {
        println!("name a corpus folder to measure how junk is told from mail");
        return;
    };
    let names_wrong = arguments.get(1).is_some_and(|argument| argument == "wrong");
    let messages = read(Path::new(corpus));
    let folder = tempfile::tempdir().unwrap();
    let untrained = Junk::open(Arc::new(Notes::open(folder.path())));
    for half in [0, 1] {
        let tested: Vec<&Message> = messages.iter().filter(|m| m.half == half).collect();
        report(&format!("half {half}, untrained"), &untrained, &tested, false);
    }
    report("all, untrained", &untrained, &messages.iter().collect::<Vec<_>>(), names_wrong);
    for half in [0, 1] {
        let (tested, learned): (Vec<&Message>, Vec<&Message>) =
            messages.iter().partition(|m| m.half == half);
        let folder = tempfile::tempdir().unwrap();
        let junk = Junk::open(Arc::new(Notes::open(folder.path())));
        let mut next = 100;
        for (number, message) in learned.iter().enumerate() {
            if number == next {
                report(&format!("half {half} after {number} lessons"), &junk, &tested, false);
                next *= 2;
            }
            junk.teach(ACCOUNT, &message.seen.tokens, message.class, None).unwrap();
        }
        let title = format!("half {half} after all {} lessons", learned.len());
        report(&title, &junk, &tested, names_wrong);
    }
    println!("an account: {MODEL_BYTES} bytes, whatever it has learned");
    people(&messages, names_wrong);
}

/// All messages, in an order that mixes them and never changes.
fn read(corpus: &Path) -> Vec<Message> {
    let mut messages = Vec::new();
    let (mut bytes, mut tokens) = (0, 0);
    let mut spent = std::time::Duration::ZERO;
    let folders = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path());
    for folder in folders.filter(|folder| folder.is_dir()) {
        let kind = folder.file_name().unwrap().to_string_lossy().into_owned();
        let class = if kind.starts_with("spam") { Class::Spam } else { Class::Ham };
        let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|file| file.extension().is_none_or(|ending| ending != "json")) {
            let name = format!("{kind}/{}", file.file_name().unwrap().to_string_lossy());
            let raw = as_sent(&fs::read(&file).unwrap());
            bytes += raw.len();
            let begun = Instant::now();
            let mut inspector = Inspector::new();
            raw.chunks(16 << 10).for_each(|piece| inspector.feed(piece));
            let seen = inspector.finish();
            spent += begun.elapsed();
            tokens += seen.tokens.len();
            let order = hash(&name);
            messages.push(Message {
                half: usize::from(order >> 40 & 1 == 1),
                name,
                class,
                seen,
                order,
            });
        }
    }
    messages.sort_by_key(|message| message.order);
    let count = messages.len().max(1);
    println!(
        "{} messages, {} bytes and {} tokens each; a look takes {} us",
        messages.len(),
        bytes / count,
        tokens / count,
        spent.as_micros() / count as u128
    );
    messages
}

/// As it came over the wire: without the line of an mbox, with CRLF.
fn as_sent(raw: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = raw.split(|byte| *byte == b'\n').collect();
    if lines.first().is_some_and(|line| line.starts_with(b"From ")) {
        lines.remove(0);
    }
    let lines = lines.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.collect::<Vec<_>>().join(&b"\r\n"[..])
}

fn report(title: &str, junk: &Junk, tested: &[&Message], names_wrong: bool) {
    let marks = Marks::default();
    let begun = Instant::now();
    let scores: Vec<Score> =
        tested.iter().map(|m| junk.judge(ACCOUNT, &Signals::default(), &m.seen)).collect();
    let spent = begun.elapsed();
    let count = |class: Class, least: Verdict| {
        let all = tested.iter().filter(|m| m.class == class).count();
        let judged = tested
            .iter()
            .zip(&scores)
            .filter(|(message, score)| message.class == class && score.verdict(marks) >= least);
        (judged.count(), all)
    };
    let share = |(part, all): (usize, usize)| part as f64 * 100.0 / all.max(1) as f64;
    let caught = count(Class::Spam, Verdict::Junk);
    let wrong = count(Class::Ham, Verdict::Junk);
    println!(
        "{title:<28} caught {:6.2} % ({}/{}), refused {:5.2} %; mail filed as junk {:5.3} % \
         ({}/{}), refused {}; {} us a verdict",
        share(caught),
        caught.0,
        caught.1,
        share(count(Class::Spam, Verdict::Refuse)),
        share(wrong),
        wrong.0,
        wrong.1,
        count(Class::Ham, Verdict::Refuse).0,
        spent.as_micros() / tested.len().max(1) as u128
    );
    if names_wrong {
        for (message, score) in tested.iter().zip(&scores) {
            if message.class == Class::Ham && score.verdict(marks) >= Verdict::Junk {
                println!("  {}: {}", message.name, one_line(score));
            }
        }
    }
}

/// Mail that it would be worst to lose, by what is told of it in the table.
const GROUPS: [&str; 8] = [
    "all mail",
    "of people not heard of before",
    "answers",
    "answers to mail of one's own",
    "of lists and newsletters",
    "codes and confirmations",
    "such codes, made up",
    "the same, sender proved",
];

/// What is filed wrongly of each group.
fn people(messages: &[Message], names_wrong: bool) {
    let codes: Vec<Seen> = codes::CODES
        .iter()
        .enumerate()
        .map(|(number, code)| {
            let mut inspector = Inspector::new();
            inspector.feed(&code.message(number));
            inspector.finish()
        })
        .collect();
    println!(
        "mail filed as junk, of mail judged, after so many lessons; {} accounts that learned \
         different mail:",
        2 * ACCOUNTS
    );
    let title = YOUNG.map(|lessons| format!("{lessons:>20}"));
    println!("{:<30}{}{:>20}", "", title.concat(), "half of the corpus");
    let mut table = vec![vec![(0, 0); YOUNG.len() + 1]; GROUPS.len()];
    for half in [0, 1] {
        let (tested, learned): (Vec<&Message>, Vec<&Message>) =
            messages.iter().partition(|m| m.half == half);
        let wanted: Vec<&Message> =
            tested.into_iter().filter(|message| message.class == Class::Ham).collect();
        for account in 0..ACCOUNTS {
            let start = learned.len() / ACCOUNTS * account;
            for (column, lessons) in YOUNG.into_iter().enumerate() {
                let lessons: Vec<&Message> =
                    learned.iter().copied().cycle().skip(start).take(lessons).collect();
                judge(&lessons, &wanted, &codes, column, &mut table, names_wrong);
            }
        }
        judge(&learned, &wanted, &codes, YOUNG.len(), &mut table, names_wrong);
    }
    for (group, row) in GROUPS.iter().zip(table) {
        let cell = |(wrong, all): (usize, usize)| {
            let share = wrong as f64 * 100.0 / all.max(1) as f64;
            format!("{:>20}", format!("{wrong}/{all} {share:.2} %"))
        };
        println!("{group:<30}{}", row.into_iter().map(cell).collect::<String>());
    }
}

/// Adds to a column of the table what an account files that has learned these lessons.
fn judge(
    lessons: &[&Message],
    wanted: &[&Message],
    codes: &[Seen],
    column: usize,
    table: &mut [Vec<(usize, usize)>],
    names_wrong: bool,
) {
    let folder = tempfile::tempdir().unwrap();
    let junk = Junk::open(Arc::new(Notes::open(folder.path())));
    for lesson in lessons {
        junk.teach(ACCOUNT, &lesson.seen.tokens, lesson.class, None).unwrap();
    }
    let heard_of: BTreeSet<&str> =
        lessons.iter().filter_map(|message| message.seen.facts.from.as_deref()).collect();
    let marks = Marks::default();
    let mut count = |group: usize, signals: &Signals, seen: &Seen| {
        let wrong = junk.judge(ACCOUNT, signals, seen).verdict(marks) > Verdict::Inbox;
        let cell = &mut table[group][column];
        *cell = (cell.0 + usize::from(wrong), cell.1 + 1);
    };
    let unknown = Signals::default();
    for Message { seen, .. } in wanted {
        let facts = &seen.facts;
        let codes = |text: &pillarbox::policy::junk::TextFacts| text.phrases.of(Topic::SignUp);
        let holds = [
            true,
            !facts.from.as_deref().is_some_and(|from| heard_of.contains(from)),
            facts.says_reply && !facts.references.is_empty(),
            false,
            facts.list || facts.unsubscribe,
            codes(&facts.text) + codes(&facts.subject_text) > 0,
        ];
        for (group, _) in holds.iter().enumerate().filter(|(_, holds)| **holds) {
            count(group, &unknown, seen);
        }
    }
    let proved =
        Signals { spf: Spf::Pass, dkim: Dkim::Pass, dmarc: Dmarc::Pass, ..Signals::default() };
    for code in codes {
        count(6, &unknown, code);
        count(7, &proved, code);
        if names_wrong && column == YOUNG.len() {
            for (signals, how) in [(&unknown, "unproved"), (&proved, "proved")] {
                let score = junk.judge(ACCOUNT, signals, code);
                if score.verdict(marks) > Verdict::Inbox {
                    println!("  {how} {}: {}", code.facts.subject, one_line(&score));
                }
            }
        }
    }
    // From now on each of them is an answer to something that the account sent.
    let answers = wanted.iter().map(|message| &message.seen);
    for answer in answers.filter(|s| s.facts.says_reply && !s.facts.references.is_empty()) {
        junk.sent(ACCOUNT, &[], answer.facts.references.first().map(String::as_str));
        count(3, &unknown, answer);
    }
}

fn one_line(score: &Score) -> String {
    score.field(Marks::default()).replace("\r\n\t", " ").trim().to_owned()
}

/// FNV-1a with its bits spread.
fn hash(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}
