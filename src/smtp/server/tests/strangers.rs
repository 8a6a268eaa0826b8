//! What strangers try on port 25: to have mail passed on, to smuggle a second message in, to wear the
//! box out. With the real server, store and queue.

use super::*;

/// Every way known to write an address that some server once took for a way through it.
const ROUTES: &[&str] = &[
    "victim@example.net",
    "victim@EXAMPLE.NET.",
    "victim@xn--bcher-kva.example",
    "victim@b\u{fc}cher.example",
    "victim@example.org.example.net",
    "victim@sub.example.org",
    "victim@localhost",
    "victim@mail.example.org",
    "victim@[127.0.0.1]",
    "victim@[192.0.2.1]",
    "victim@[IPv6:::1]",
    "victim@[example.org]",
    "victim@2130706433",
    "victim@127.0.0.1",
    "victim",
    "\"victim\"",
    "\"victim@example.net\"",
    "victim%example.net",
    "victim%example.net@example.org",
    "victim%example.net@[127.0.0.1]",
    "victim%example.net@localhost",
    "victim%sub%example.net@example.org",
    "example.net!victim",
    "example.net!victim@example.org",
    "example.net!victim%other.example@example.org",
    "victim@example.net@example.org",
    "victim@example.org@example.net",
    "\"victim@example.net\"@example.org",
    "\"victim%example.net\"@example.org",
    "\"example.net!victim\"@example.org",
    "\"victim\"@example.net",
    "victim\\@example.net@example.org",
    "@example.org:victim@example.net",
    "@example.org,@localhost:victim@example.net",
    "@example.net:alice@example.org",
    "@example.org:victim%example.net@example.org",
    "@:victim@example.net",
    "victim@example.net,alice@example.org",
    "alice@example.org,victim@example.net",
    "alice@example.org> <victim@example.net",
    "alice@example.org>,<victim@example.net",
    "victim\u{ff20}example.net@example.org",
    "victim\u{ff05}example.net@example.org",
    "victim@example\u{3002}net",
    "victim@@example.org",
    "victim@example.net\t",
    "victim@example.net\0@example.org",
    "victim@example.org\u{85}victim@example.net",
    "smtp:victim@example.net",
    "IMCEASMTP-victim+40example+2Enet@example.org",
    "postmaster@example.net",
    "abuse@example.net",
    "",
];

#[tokio::test]
async fn no_form_of_address_makes_an_open_relay() {
    for catch_all in [false, true] {
        let post = PostOffice::open(Options::default(), Timeouts::default()).await;
        if catch_all {
            let (any, alice) = ("*@example.org".parse().unwrap(), "alice@example.org".parse());
            post.server.house.accounts.add_alias(any, alice.unwrap()).await.unwrap();
        }
        let mut taken = Vec::new();
        for (from, end) in
            [("alice@example.org", ""), ("victim@example.net", ""), ("", " SMTPUTF8")]
        {
            // A connection that tries more is hung up on.
            for some in ROUTES.chunks(8) {
                let mut stranger = post.call(Role::Mx).await;
                stranger.say("EHLO [127.0.0.1]\r\n", 12).await;
                for route in some {
                    let lines = format!("RSET\r\nMAIL FROM:<{from}>{end}\r\nRCPT TO:<{route}>\r\n");
                    let reply = stranger.say(&lines, 3).await;
                    if reply.last().unwrap().starts_with("250") {
                        taken.push(*route);
                        stranger.say("DATA\r\nSubject: x\r\n\r\n.\r\n", 2).await;
                    }
                }
                stranger.say("QUIT\r\n", 1).await;
            }
        }
        assert!(post.queue.list().unwrap().is_empty(), "mail of strangers waits to go out");
        taken.sort_unstable();
        taken.dedup();
        let local: &[&str] = if catch_all {
            // Odd names, but nobody else's; they lie in Alice's inbox.
            &[
                "IMCEASMTP-victim+40example+2Enet@example.org",
                "victim\u{ff05}example.net@example.org",
                "victim\u{ff20}example.net@example.org",
            ]
        } else {
            &[]
        };
        assert_eq!(taken, local, "taken with catch-all {catch_all}");
    }
}

#[tokio::test]
async fn postmaster_and_abuse_reach_the_owner_whatever_is_written_before_the_domain() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    let mut stranger = post.call(Role::Mx).await;
    stranger.say("HELO x\r\n", 2).await;
    let all = [
        "postmaster",
        "POSTMASTER",
        "postmaster@example.org",
        "Abuse@Example.ORG",
        "\"postmaster\"@example.org",
        "postmaster+x@example.org",
    ];
    for name in all {
        let lines = format!("MAIL FROM:<b@example.net>\r\nRCPT TO:<{name}>\r\nDATA\r\n");
        let replies = stranger.say(&lines, 3).await;
        assert!(replies.last().unwrap().starts_with("354"), "{name}: {replies:?}");
        stranger.say(&format!("{LETTER}.\r\n"), 1).await;
    }
    assert_eq!(post.inbox().len(), all.len());
}

#[tokio::test]
async fn a_printer_in_the_house_needs_no_name_in_the_dns() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    let mut printer = post.call_from(Role::Mx, "192.168.1.20".parse().unwrap()).await;
    let lines =
        "EHLO printer\r\nMAIL FROM:<scan@printer.test>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n";
    let said = printer.say(lines, 15).await;
    assert!(said.last().unwrap().starts_with("354"), "{said:?}");
    printer.say(&format!("{LETTER}.\r\n"), 1).await;
    let inbox = post.inbox().concat();
    let told = inbox.split("X-Pillarbox-Junk:").nth(1).unwrap();
    assert!(!told.contains("the sending machine"), "{told}");
}

#[tokio::test]
async fn a_network_that_goes_on_guessing_waits_and_is_then_not_served() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    let guesser = "192.0.2.7".parse().unwrap();
    let mut stranger = post.call_from(Role::Mx, guesser).await;
    stranger.say("HELO x\r\nMAIL FROM:<>\r\n", 3).await;
    let guess = |n: u32| format!("RCPT TO:<guess{n}@example.org>\r\n");
    let began = Instant::now();
    for n in 0..Conduct::FREE {
        assert!(stranger.say(&guess(n), 1).await.concat().starts_with("550 5.1.1"));
    }
    assert!(began.elapsed() < Duration::from_secs(1), "the first ones are free");
    let began = Instant::now();
    assert!(stranger.say(&guess(99), 1).await.concat().starts_with("550 5.1.1"));
    assert!(began.elapsed() >= Duration::from_secs(1), "the sixth came without delay");
    // A right one is not late.
    let began = Instant::now();
    assert!(stranger.say("RCPT TO:<alice@example.org>\r\n", 1).await.concat().starts_with("250"));
    assert!(began.elapsed() < Duration::from_secs(1));
    for _ in 0..Conduct::UNWELCOME {
        post.server.conduct.misstep(guesser, Instant::now());
    }
    let neighbour = "192.0.2.200".parse().unwrap();
    let mut again = post.call_from(Role::Mx, neighbour).await;
    assert!(again.rest().await.starts_with("421 4.7.0 Your network"));
    for (role, from) in [(Role::Mx, "192.0.3.1"), (Role::Submission, "192.0.2.7")] {
        let mut other = post.call_from(role, from.parse().unwrap()).await;
        assert!(other.say("", 1).await.concat().starts_with("220"), "{from}");
    }
}

#[tokio::test]
async fn a_header_of_ten_megabytes_and_a_thousand_parts_within_parts_are_taken_whole() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    let mut stranger = post.call(Role::Mx).await;
    stranger.say("HELO x\r\n", 2).await;
    let header = format!("Subject: x\r\n{}\r\n", "X-Long: 0123456789012345\r\n".repeat(400_000));
    let parts = (0..1000).map(|depth| {
        format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n")
    });
    let mut nested = "Subject: deep\r\nMIME-Version: 1.0\r\n".to_owned();
    nested.extend(parts);
    nested += "Content-Type: text/plain\r\n\r\nfound\r\n";
    for message in [&header, &nested] {
        let lines = "MAIL FROM:<b@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n";
        stranger.say(lines, 3).await;
        let reply = stranger.say(&format!("{message}.\r\n"), 1).await.concat();
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }
    for (message, stored) in [header, nested].iter().zip(post.inbox()) {
        assert!(stored.ends_with(message.as_str()), "it came back as something else");
    }
}

/// SMTP has one answer for all recipients of a message. Whoever has no room gets it all the same, when
/// that could not be said before; nothing is returned to whomever a forger named.
#[tokio::test]
async fn a_mixed_result_at_the_end_of_a_message_sends_nothing_back() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    let password = Password::new("wrong bricks".to_owned());
    let bob: Address = "bob@example.org".parse().unwrap();
    let bob = post.server.house.accounts.add(bob, password).await.unwrap();
    let quota = |bytes| crate::store::Quota { bytes: Some(bytes), messages: None };
    let mut batch = crate::store::Batch::new();
    batch.set_quota(bob, quota(1000));
    post.store.commit(batch).await.unwrap();

    let mut stranger = post.call(Role::Mx).await;
    stranger.say("EHLO x\r\n", 12).await;
    // No size is announced: nobody knows yet that Bob has no room.
    let envelope = "MAIL FROM:<forged@example.net>\r\nRCPT TO:<bob@example.org>\r\n\
                    RCPT TO:<nobody@example.org>\r\nRCPT TO:<alice@example.org>\r\n";
    let told = |replies: &[String]| -> Vec<String> {
        replies.iter().map(|line| line.get(..9).unwrap_or_default().to_owned()).collect()
    };
    let replies = stranger.say(envelope, 4).await;
    assert_eq!(told(&replies), ["250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5"]);
    let letter = LETTER.replace("See you then!", &"See you then! ".repeat(100));
    let replies = stranger.say(&format!("DATA\r\n{letter}.\r\n"), 2).await;
    assert!(replies.last().unwrap().starts_with("250 2.0.0"), "{replies:?}");
    assert_eq!(post.inbox().len(), 1);
    let inbox = post.store.find_mailbox(bob, &MailboxName::inbox()).unwrap().unwrap();
    assert_eq!(post.store.messages(inbox.id).unwrap().len(), 1);
    assert!(post.queue.list().unwrap().is_empty(), "a notice to a forged sender");

    // From now on it is said at RCPT, to that one.
    let replies = stranger.say(envelope, 4).await;
    assert_eq!(told(&replies), ["250 2.1.0", "452 4.2.2", "550 5.1.1", "250 2.1.5"]);
    // Nobody at all has room: that can be said, and nothing is taken.
    let mut batch = crate::store::Batch::new();
    batch.set_quota(post.alice, quota(3000));
    post.store.commit(batch).await.unwrap();
    let replies = stranger.say(&format!("DATA\r\n{letter}.\r\n"), 2).await;
    assert!(replies.last().unwrap().starts_with("452 4.2.2"), "{replies:?}");
    assert_eq!(post.inbox().len(), 1);
    assert!(post.queue.list().unwrap().is_empty());
}
