//! Strangers with a name: what becomes of mail in an author's name, what of it is noted for the
//! daily reports, and who has to come back. With the real server, store, queue and a DNS of our own.

use serde_json::Value;

use super::*;
use crate::clock::Clock as _;

/// Who may send for these is 192.0.2.1 alone.
const ZONE: &str = r#"
$TTL 60
strict.test.         TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.strict.test.  TXT "v=DMARC1; p=reject; rua=mailto:agg@strict.test"
careful.test.        TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.careful.test. TXT "v=DMARC1; p=quarantine; rua=mailto:agg@careful.test"
curious.test.        TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.curious.test. TXT "v=DMARC1; p=none; rua=mailto:agg@curious.test"
silent.test.         TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.silent.test.  TXT "v=DMARC1; p=quarantine"
"#;

/// Hands in a letter from this address; what is said in the end.
async fn hand_in(post: &PostOffice, from: &str, letter: &str) -> String {
    let mut stranger = post.call_from(Role::Mx, from.parse().unwrap()).await;
    let sender = letter.split(['<', '>']).nth(1).unwrap();
    let lines = format!(
        "HELO mx.elsewhere.test\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n"
    );
    let said = stranger.say(&lines, 5).await;
    assert!(said.last().unwrap().starts_with("354"), "{said:?}");
    stranger.say(&format!("{letter}.\r\n"), 1).await.concat()
}

fn letter(from: &str) -> String {
    format!(
        "From: <{from}>\r\nTo: <alice@example.org>\r\nSubject: Monday\r\n\
         Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1.{from}>\r\n\r\nSee you.\r\n"
    )
}

/// What is noted: domain, what was done, whether forwarders vouched for it, how often.
async fn noted(post: &PostOffice) -> Vec<(String, String, bool, u64)> {
    post.reports.save().await.unwrap();
    let mut noted = Vec::new();
    for (key, value) in post.store.settings("reports/out/dmarc/").unwrap() {
        let domain = key.rsplit('/').next().unwrap().to_owned();
        let count: Value = serde_json::from_slice(&value).unwrap();
        for row in count["rows"].as_array().unwrap() {
            let done = row[0]["disposition"].as_str().unwrap().to_owned();
            let vouched = row[0]["vouched"].as_bool().unwrap();
            noted.push((domain.clone(), done, vouched, row[1].as_u64().unwrap()));
        }
    }
    noted.sort();
    noted
}

fn row(domain: &str, done: &str, vouched: bool, count: u64) -> (String, String, bool, u64) {
    (domain.to_owned(), done.to_owned(), vouched, count)
}

#[tokio::test]
async fn what_is_done_in_an_authors_name_is_noted_for_him() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    post.world.load(".", ZONE).unwrap();
    let (honest, forger) = ("192.0.2.1", "192.0.2.9");
    for (from, sender, reply) in [
        (honest, "a@strict.test", "250 2.0.0"),
        (honest, "b@strict.test", "250 2.0.0"),
        (forger, "a@strict.test", "550 5.7.26"),
        (forger, "a@careful.test", "250 2.0.0"),
        (forger, "a@curious.test", "250 2.0.0"),
        (forger, "a@silent.test", "250 2.0.0"),
    ] {
        let said = hand_in(&post, from, &letter(sender)).await;
        assert!(said.starts_with(reply), "{from} {sender}: {said}");
    }
    let report = letter("c@strict.test").replace("Subject: Monday", "Subject: Report domain: x");
    hand_in(&post, honest, &report).await;
    assert_eq!(
        noted(&post).await,
        [
            row("careful.test", "quarantine", false, 1),
            row("curious.test", "none", false, 1),
            row("strict.test", "none", false, 2),
            row("strict.test", "reject", false, 1),
        ],
        "silent.test does not ask, and reports are not reported on"
    );
    let inbox = post.inbox();
    assert_eq!(inbox.len(), 4, "two honest letters, what p=none lets in, and a report");
    assert!(inbox.iter().all(|text| text.contains("Authentication-Results: localhost;")));
}

#[tokio::test]
async fn what_forwarders_vouch_for_is_filed_as_junk_and_noted_so() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    post.world.load(".", ZONE).unwrap();
    let forwarder: Domain = "list.test".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let keys =
        SigningKeys::open_or_create(folder.path(), std::slice::from_ref(&forwarder)).unwrap();
    for (name, value) in keys.records() {
        let strings: Vec<String> = value
            .as_bytes()
            .chunks(255)
            .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
            .collect();
        let strings = strings.join(" ");
        post.world.load(".", &format!("$TTL 60\n{name}. TXT {strings}\n")).unwrap();
    }
    let passed_on = format!(
        "Authentication-Results: list.test;\r\n\tspf=pass smtp.mailfrom=strict.test;\r\n\
         \tarc=none\r\n{}",
        letter("a@strict.test")
    );
    let seal = keys.seal(&forwarder, &forwarder, passed_on.as_bytes(), None).unwrap().unwrap();
    let sealed = format!("{}{passed_on}", String::from_utf8(seal).unwrap());
    let mut stranger = post.call_from(Role::Mx, "192.0.2.9".parse().unwrap()).await;
    let lines = "HELO mx.list.test\r\nMAIL FROM:<a@strict.test>\r\n\
                 RCPT TO:<alice@example.org>\r\nDATA\r\n";
    stranger.say(lines, 5).await;
    let said = stranger.say(&format!("{sealed}.\r\n"), 1).await.concat();
    assert!(said.starts_with("250 2.0.0"), "{said}");
    assert!(post.inbox().is_empty(), "nothing proves it");
    assert_eq!(noted(&post).await, [row("strict.test", "quarantine", true, 1)]);
    // The same with a broken seal is refused as its author asks.
    let broken = sealed.replace("See you", "Send money");
    stranger.say("MAIL FROM:<a@strict.test>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n", 3).await;
    let said = stranger.say(&format!("{broken}.\r\n"), 1).await.concat();
    assert!(said.starts_with("550 5.7.26"), "{said}");
    assert_eq!(
        noted(&post).await,
        [row("strict.test", "quarantine", true, 1), row("strict.test", "reject", false, 1)]
    );
}

#[tokio::test]
async fn who_is_unknown_and_suspicious_comes_back_unless_alice_has_written_to_him() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    post.world.load(".", "$TTL 60\nproved.test. TXT \"v=spf1 ip4:198.41.0.9 -all\"\n").unwrap();
    let mut stranger = post.call_from(Role::Mx, "198.41.0.9".parse().unwrap()).await;
    stranger.say("HELO mx.elsewhere.test\r\n", 2).await;
    let mut ask = async |sender: &str| {
        let lines = format!("MAIL FROM:<{sender}>\r\nRCPT TO:<alice@example.org>\r\nRSET\r\n");
        stranger.say(&lines, 3).await.remove(1)
    };
    assert!(ask("code@proved.test").await.starts_with("250 "), "SPF proves it");
    let said = ask("friend@silent.test").await;
    assert!(said.starts_with("451 4.7.1 "), "{said}");
    let now = SystemClock.now();
    let waiting = post.greylist.waiting(now);
    let [one] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!((one.from.as_str(), one.to.as_str()), ("silent.test", "alice@example.org"));
    assert_eq!(one.reason, "its address has no name");
    assert!(one.first <= now && one.retry > now && one.passed.is_none());

    let mut phone = post.call_under_tls().await;
    phone.say("EHLO phone\r\n", 12).await;
    let plain = "AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAGNvcnJlY3QgaG9yc2U=\r\n";
    assert!(phone.say(plain, 1).await.concat().starts_with("235"));
    let lines = "MAIL FROM:<alice@example.org>\r\nRCPT TO:<Friend@silent.test>\r\nDATA\r\n";
    phone.say(lines, 3).await;
    let said = phone.say("From: <alice@example.org>\r\n\r\nHello\r\n.\r\n", 1).await.concat();
    assert!(said.starts_with("250 2.0.0"), "{said}");
    assert!(ask("friend@silent.test").await.starts_with("250 "), "he is known now");
    assert!(ask("other@silent.test").await.starts_with("451 4.7.1 "), "he is not");
}
