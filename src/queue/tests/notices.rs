//! What senders ask to be told (RFC 3461), what is held against addresses, and the way back of
//! notices through aliases.

use super::*;
use crate::mail::{EnvelopeId, Notify, Return};

fn notify(text: &str) -> Option<Notify> {
    text.parse().ok()
}

impl Office {
    async fn submit_asking(&self, to: &[(&str, &str)], ret: Option<Return>) {
        let addresses: Vec<&str> = to.iter().map(|(to, _)| *to).collect();
        let mut incoming = self.incoming("alice@example.org", &addresses).await;
        incoming.envelope.asked.ret = ret;
        incoming.envelope.asked.envid = EnvelopeId::from_xtext("my-id").ok();
        for (recipient, (_, wish)) in incoming.envelope.to.iter_mut().zip(to) {
            recipient.asked.notify = notify(wish);
            recipient.asked.orcpt = "rfc822;first@example.com".parse().ok();
        }
        self.queue.accept(incoming).await.unwrap();
    }

    fn notices(&self) -> Vec<String> {
        let mut all = self.inbox();
        all.retain(|text| text.starts_with("Return-Path: <>"));
        all
    }
}

#[tokio::test]
async fn a_sender_hears_what_was_asked_for_and_nothing_else() {
    let host = Host::start("127.0.0.2:0").await;
    host.answer("nobody@example.net", "550 5.1.1 no such user");
    host.answer("never@example.net", "550 5.1.1 no such user");
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    let more = async |to: &str| {
        office.accounts.add_alias(address("all@example.org"), address(to)).await.unwrap();
    };
    more("alice@example.org").await;
    more("bob@example.net").await;
    office.run();
    let wishes = [
        ("nobody@example.net", "FAILURE"),
        ("never@example.net", "NEVER"),
        ("quiet@example.net", "FAILURE,DELAY"),
        ("told@example.net", "SUCCESS"),
        ("alice@example.org", "SUCCESS"),
    ];
    office.submit_asking(&wishes, Some(Return::Full)).await;
    office.until_empty().await;
    let notices = office.notices();
    assert_eq!(notices.len(), 3, "{notices:#?}");
    assert!(notices.iter().all(|text| text.contains("Original-Envelope-Id: my-id\r\n")));
    assert!(
        notices.iter().all(|text| text.contains("Original-Recipient: rfc822;first@example.com"))
    );
    let of = |action: &str| {
        let mut found =
            notices.iter().filter(|text| text.contains(&format!("Action: {action}\r\n")));
        let (Some(text), None) = (found.next(), found.next()) else {
            panic!("{action}: {notices:#?}")
        };
        text.clone()
    };
    assert!(of("delivered").contains("Final-Recipient: rfc822; alice@example.org\r\n"));
    assert!(of("relayed").contains("Final-Recipient: rfc822; told@example.net\r\n"));
    let failed = of("failed");
    assert!(failed.contains("nobody@example.net") && !failed.contains("never@example.net"));
    // RET=FULL brings the message back, for failures alone.
    assert!(
        failed.contains("Content-Type: message/rfc822\r\n") && failed.contains("\r\nHello\r\n")
    );
    assert!(!of("relayed").contains("Hello"));

    // An alias with several behind it.
    office.submit_asking(&[("all@example.org", "SUCCESS")], None).await;
    office.until_empty().await;
    let notices = office.notices();
    assert_eq!(notices.len(), 4);
    assert!(notices[3].contains("Action: expanded\r\n"), "{}", notices[3]);
}

#[tokio::test]
async fn a_host_that_tells_itself_is_asked_to() {
    let host = Host::with("127.0.0.2:0", &["DSN", "8BITMIME"], None).await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    office.run();
    office.submit_asking(&[("told@example.net", "SUCCESS,DELAY")], Some(Return::Headers)).await;
    office.until_empty().await;
    assert_eq!(
        host.got()[0].said,
        [
            "MAIL FROM:<alice@example.org> BODY=8BITMIME RET=HDRS ENVID=my-id",
            "RCPT TO:<told@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first@example.com",
        ]
    );
    assert!(office.notices().is_empty());
}

#[tokio::test]
async fn an_address_that_does_not_exist_is_kept_back_until_it_is_lifted() {
    let host = Host::start("127.0.0.2:0").await;
    host.answer("nobody@example.net", "550 5.1.1 no such user here");
    host.answer("full@example.net", "552 5.2.2 over quota");
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    office.run();
    let nobody = address("nobody@example.net");
    assert_eq!(office.queue.kept_back(&nobody).unwrap(), None);
    office.submit(&["nobody@example.net", "full@example.net"]).await;
    office.until_empty().await;
    let entry = office.queue.kept_back(&nobody).unwrap().unwrap();
    assert_eq!((entry.returned, entry.words.as_str()), (1, "550 5.1.1 no such user here"));
    assert_eq!(office.queue.kept_back(&address("full@example.net")).unwrap(), None);
    assert_eq!(office.queue.ledger().unwrap().len(), 1);
    office.pass(Duration::from_hours(31 * 24));
    assert_eq!(office.queue.kept_back(&nobody).unwrap(), None, "for ever");

    office.submit(&["nobody@example.net"]).await;
    office.until_empty().await;
    assert_eq!(office.queue.kept_back(&nobody).unwrap().unwrap().returned, 2);
    office.queue.lift(&nobody).await.unwrap();
    assert_eq!(office.queue.kept_back(&nobody).unwrap(), None);
    assert!(matches!(office.queue.lift(&nobody).await, Err(QueueError::Blameless(_))));

    // Whoever is reached is not held anything against.
    office.submit(&["nobody@example.net"]).await;
    office.until_empty().await;
    host.answer("nobody@example.net", "250 welcome");
    office.submit(&["nobody@example.net"]).await;
    office.until_empty().await;
    assert!(office.queue.ledger().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_host_has_against_us_is_not_held_against_its_people() {
    let host = Host::start("127.0.0.2:0").await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    office.run();
    let refused = async |whom: &str, reply: &str| {
        host.answer(whom, reply);
        office.submit(&["bob@example.net"]).await;
        office.until_empty().await;
        host.answer(whom, "250 ok");
        assert_eq!(office.queue.kept_back(&address("bob@example.net")).unwrap(), None, "{reply}");
    };
    for reply in [
        "550 5.1.0 address rejected",
        "550 5.1.1 no such user here",
        "550 5.7.1 the domain of the sender does not exist",
        "550 the domain home.example does not exist",
    ] {
        refused("MAIL", reply).await;
    }
    // Many hosts say only then what they have against the sender.
    for reply in [
        "550 5.1.0 <alice@example.org>: Sender address rejected: User unknown",
        "550 5.7.1 Client host rejected: that name does not exist",
    ] {
        refused("bob@example.net", reply).await;
    }
    assert_eq!(office.inbox().len(), 6);
}

#[tokio::test]
async fn reports_of_strangers_are_noted_and_keep_no_mail_back() {
    let office = Office::new(2, OutboundMode::Hold).await;
    let report = b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\
        Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n\
        Final-Recipient: rfc822; bob@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n";
    let take = async |from: &str, bytes: &[u8]| {
        let mut incoming = office.incoming(from, &["alice@example.org"]).await;
        let mut body = office.store.new_body();
        body.write(bytes).await.unwrap();
        (incoming.body, incoming.source) = (body.finish().await.unwrap(), Source::Stranger);
        office.queue.accept(incoming).await.unwrap();
    };
    take("eve@example.com", report).await;
    take("", report).await;
    office.until("a note", |b| !b.queue.ledger().unwrap().is_empty()).await;
    let (who, entry) = office.queue.ledger().unwrap().swap_remove(0);
    assert_eq!((who.as_str(), entry.reported, entry.returned), ("bob@example.net", 1, 0));
    assert_eq!(office.queue.kept_back(&address("bob@example.net")).unwrap(), None);
}

#[tokio::test]
async fn forwarded_mail_has_a_sender_of_ours_and_notices_find_their_way_back() {
    let host = Host::start("127.0.0.2:0").await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    let away = address("away@example.org");
    office.accounts.add_alias(away, address("alice@example.net")).await.unwrap();
    // An alias that takes all else does not take what has to go back.
    let rest = address("*@example.org");
    office.accounts.add_alias(rest, address("alice@example.org")).await.unwrap();
    office.run();
    let long = format!("bounces+{}@news.example.com", "x".repeat(50));
    for from in ["eve@example.com", &long] {
        office.send(from, &["away@example.org"], Source::Stranger).await.unwrap();
        office.until_empty().await;
        let sender = host.got().last().unwrap().from.clone();
        assert!(sender.starts_with("SRS0=") && sender.ends_with("@example.org"), "{sender}");
        assert!(office.queue.sends_back(&address(&sender)));

        // The notice that comes back goes on to where the mail came from.
        let mut back = sender.clone();
        back.replace_range(5..6, if sender.as_bytes()[5] == b'a' { "b" } else { "a" });
        assert!(!office.queue.sends_back(&address(&back)), "a forged one was taken");
        let zone = "$TTL 0\nexample.com. MX 10 first.example.net.\n\
            news.example.com. MX 10 first.example.net.\n";
        office.world.load(".", zone).unwrap();
        let before = host.got().len();
        office.send("", &[&sender], Source::Stranger).await.unwrap();
        office.until_empty().await;
        let got = host.got();
        assert_eq!(got.len(), before + 1);
        assert_eq!((got[before].from.as_str(), &got[before].to[..]), ("", &[from.to_owned()][..]));
    }
    // Our own people's mail keeps its sender.
    let alice = office.accounts.list()[0].id;
    let own = Source::Account(alice);
    office.send("alice@example.org", &["away@example.org"], own).await.unwrap();
    office.until_empty().await;
    assert_eq!(host.got().last().unwrap().from, "alice@example.org");
}
