//! Too much of everything: connections, recipients, fields, depth. The box answers as it should, and
//! what it holds in memory has a bound that does not depend on who sends what. The memory is that of
//! the whole process at its highest, as the kernel counts it.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::trouble::{Dialogue, PostOffice, pillarbox};

/// Opens a connection to one of the ports.
type Call = fn(&PostOffice) -> Dialogue;
/// The most a box may ever take, in KiB.
const MOST: u64 = 64 << 10;
/// Places on one port.
const PLACES: usize = 1000;

#[test]
fn a_thousand_slow_connections_have_room_and_who_comes_next_is_told() {
    allow_many_files();
    let post = PostOffice::start();
    // In the middle of a message, from which nothing more comes.
    let mut slow: Vec<Dialogue> = (0..PLACES).map(|_| post.smtp()).collect();
    for one in &mut slow {
        one.hello();
        one.say("EHLO slow.test");
        one.say("MAIL FROM:<a@slow.test>");
        assert!(one.say("RCPT TO:<alice@home.test>").starts_with("250"));
        assert!(one.say("DATA").starts_with("354"));
        one.send("From: <a@slow.test>\r\nSubject: slow\r\n\r\nto be contin");
    }
    let said = post.smtp().hello();
    assert!(said.starts_with("421 4.7.0 Too many connections"), "{said}");
    // Other doors are open, and a place that is left is given to the next.
    assert!(post.submission().hello().starts_with("220 "));
    assert!(post.imap().hello().starts_with("* OK"));
    drop(slow.pop());
    assert!(patiently(|| post.smtp().hello().starts_with("220 ")), "the place was not given back");
    let memory = post.memory_kib();
    println!("{memory} KiB with {PLACES} connections in the middle of a message");
    assert!(memory < MOST, "{memory} KiB");
    // Slow is not lost.
    for one in slow.iter_mut().take(20) {
        let said = one.say("ued\r\n.");
        assert!(said.starts_with("250 2.0.0"), "{said}");
    }
    drop(slow);

    let ports: [(Call, &str); 3] = [
        (PostOffice::submission, "421 4.7.0 Too many connections; close other mail programs"),
        (PostOffice::imap, "* BYE [UNAVAILABLE] Too many connections; close other mail programs"),
        (PostOffice::pop3, "-ERR [SYS/TEMP] Too many connections; close other mail programs"),
    ];
    for (call, refusal) in ports {
        let mut idle: Vec<Dialogue> = (0..PLACES).map(|_| call(&post)).collect();
        assert!(!idle.last_mut().unwrap().hello().contains("Too many"));
        let said = call(&post).hello();
        assert!(said.starts_with(refusal), "{said}");
    }
    assert!(post.peak_kib() < MOST, "{} KiB", post.peak_kib());
}

#[test]
fn a_hundred_thousand_recipients_are_told_to_come_in_parts() {
    let post = PostOffice::start();
    let mut smtp = post.smtp();
    smtp.hello();
    smtp.say("EHLO stranger.test");
    smtp.say("MAIL FROM:<a@stranger.test>");
    let mut taken = 0;
    let mut later = 0;
    for thousand in 0..100 {
        let lines = (0..1000).map(|n| format!("RCPT TO:<alice+{thousand}-{n}@home.test>\r\n"));
        smtp.send(&lines.collect::<String>());
        for _ in 0..1000 {
            match &smtp.reply()[..9] {
                "250 2.1.5" => taken += 1,
                "452 4.5.3" => later += 1,
                other => panic!("unexpected reply {other}"),
            }
        }
    }
    assert_eq!(taken + later, 100_000);
    assert!(taken >= 100, "RFC 5321 §4.5.3.1.8 asks for at least 100, taken: {taken}");
    assert!(later > 0);
    assert!(smtp.say("DATA").starts_with("354"));
    assert!(smtp.say("Subject: many\r\n\r\nonce\r\n.").starts_with("250"));
    // The same person, asked for many times, gets it once.
    assert_eq!(messages(&post), 1);
    println!("{} KiB at most", post.peak_kib());
    assert!(post.peak_kib() < MOST, "{} KiB", post.peak_kib());
}

#[test]
fn a_header_of_ten_megabytes_passes_through_or_is_refused_but_is_never_held() {
    const SIZE: usize = 10 << 20;
    let post = PostOffice::start();
    let mut taken = 0;
    let line = "x".repeat(900);
    let cases: &[(&str, String, &str)] = &[
        ("one field in a line", format!("X-Long: {}\r\n", "x".repeat(SIZE)), "250"),
        (
            "one folded field",
            format!("X-Long:{}\r\n", format!("\r\n {line}").repeat(SIZE / 900)),
            "250",
        ),
        ("a field name", format!("{}: x\r\n", "x".repeat(SIZE)), "250"),
        ("no field at all", "x".repeat(SIZE), "250"),
        ("small fields", "X-Small: y\r\n".repeat(SIZE / 12), "250"),
        ("one subject", format!("Subject: =?utf-8?q?{}?=\r\n", "=C3=BC".repeat(SIZE / 6)), "250"),
        ("one author", format!("From: \"{}\" <a@stranger.test>\r\n", "x".repeat(SIZE)), "250"),
        ("authors", format!("From: {}a@x.test\r\n", "a@x.test,\r\n ".repeat(SIZE / 12)), "250"),
        ("recipients", format!("To: {}a@x.test\r\n", "a@x.test,\r\n ".repeat(SIZE / 12)), "250"),
        ("comments", format!("To: {}a@x.test\r\n", "(".repeat(SIZE)), "250"),
        ("a signature", format!("DKIM-Signature: v=1; b={}\r\n", "A".repeat(SIZE)), "250"),
        (
            "signatures",
            "DKIM-Signature: v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=AA==; b=AA==\r\n"
                .repeat(SIZE / 78),
            "250",
        ),
        (
            "seals",
            "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=x.test; s=s; b=AA==\r\n".repeat(SIZE / 64),
            "250",
        ),
        ("findings", format!("Authentication-Results: {}\r\n", "x".repeat(SIZE)), "250"),
        (
            "a boundary",
            format!("Content-Type: multipart/mixed; boundary={}\r\n", "b".repeat(SIZE)),
            "250",
        ),
        (
            "parameters",
            format!("Content-Type: text/plain{}\r\n", "; a*0=b".repeat(SIZE / 7)),
            "250",
        ),
        ("hops", "Received: by x; y\r\n".repeat(SIZE / 19), "554 5.4.6"),
        ("where it was", "Delivered-To: x@x.test\r\n".repeat(SIZE / 24), "554 5.4.6"),
    ];
    for (what, header, answer) in cases {
        let mut smtp = post.smtp();
        smtp.hello();
        smtp.say("EHLO stranger.test");
        smtp.say("MAIL FROM:<a@stranger.test>");
        smtp.say("RCPT TO:<alice@home.test>");
        smtp.say("DATA");
        smtp.send(header);
        let said = smtp.say("\r\nthe text\r\n.");
        println!("{what}: {said}; {} KiB at most so far", post.peak_kib());
        assert!(said.starts_with(answer), "{what}: {said}");
        taken += u32::from(said.starts_with("250"));
    }
    assert_eq!(messages(&post), taken);
    assert!(post.peak_kib() < MOST, "{} KiB", post.peak_kib());
}

#[test]
fn mime_a_thousand_deep_is_taken_and_looked_into_only_so_far() {
    let post = PostOffice::start();
    let depth = 1000;
    let (mut open, mut close) = (String::new(), String::new());
    for level in 0..depth {
        open.extend([format!(
            "Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"
        )]);
        close = format!("\r\n--b{level}--\r\n{close}");
    }
    let letters = "Content-Type: message/rfc822\r\n\r\n".repeat(depth);
    let both =
        "Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n";
    // One boundary for all: each line could be everybody's.
    let same = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n".repeat(depth);
    let parts = "--b\r\n\r\nx\r\n".repeat(200_000);
    let cases = [
        ("parts in parts", format!("{open}Content-Type: text/plain\r\n\r\nat the bottom{close}")),
        ("cut off", open.clone()),
        ("letters in letters", letters),
        ("both", both.repeat(depth)),
        ("one boundary for all", same),
        (
            "many parts",
            format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n"),
        ),
        (
            "reports in reports",
            open.replace("multipart/mixed", "multipart/report; report-type=delivery-status"),
        ),
    ];
    for (what, message) in &cases {
        for from in ["a@stranger.test", ""] {
            let mut smtp = post.smtp();
            smtp.hello();
            smtp.say("EHLO stranger.test");
            smtp.say(&format!("MAIL FROM:<{from}>"));
            smtp.say("RCPT TO:<alice@home.test>");
            smtp.say("DATA");
            smtp.send("From: <a@stranger.test>\r\nMIME-Version: 1.0\r\n");
            smtp.send(message);
            let said = smtp.say("\r\n.");
            println!("{what}: {said}; {} KiB at most so far", post.peak_kib());
            assert!(said.starts_with("250"), "{what}: {said}");
        }
    }
    // The index is made behind the acknowledgement; it has to come through, too.
    let all = 2 * u32::try_from(cases.len()).unwrap();
    let indexed = patiently(|| {
        let stats = stats(&post);
        stats["search_behind"] == 0 && stats["search_bodies"] != 0
    });
    assert!(indexed, "{}", stats(&post));
    assert_eq!(messages(&post), all);
    assert!(post.peak_kib() < MOST, "{} KiB", post.peak_kib());
}

fn messages(post: &PostOffice) -> u32 {
    stats(post)["messages"].as_u64().unwrap().try_into().unwrap()
}

fn stats(post: &PostOffice) -> serde_json::Value {
    let stats = pillarbox(&["store", "stats", "--json", "--data", post.data()]);
    serde_json::from_slice(&stats.stdout).unwrap()
}

/// Whether it becomes true before long.
fn patiently(done: impl Fn() -> bool) -> bool {
    (0..300).any(|_| {
        let is_done = done();
        if !is_done {
            std::thread::sleep(Duration::from_millis(100));
        }
        is_done
    })
}

/// A thousand connections need as many files here and, by inheritance, in the box.
fn allow_many_files() {
    let needed = 2 * PLACES as u64 + 200;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < needed {
        let allowed = "this test needs `ulimit -Hn` of 2200 or more";
        setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard).expect(allowed);
    }
}
