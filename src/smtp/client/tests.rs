#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::accounts::Password;
use crate::mail::Address;
use crate::net::certified;

const MESSAGE: &[u8] = b"From: a@example.org\r\n\r\n.hidden\r\nlast";

/// A host that plays a script: `S:` it says, `C:` it must hear, `!tls` it does the handshake,
/// `!break` it answers the handshake with rubbish, `*` it reads up to the dot. `---` begins the next connection.
struct Host {
    target: Target,
    played: tokio::task::JoinHandle<Vec<u8>>,
    certificate: rustls_pki_types::CertificateDer<'static>,
}

async fn host(security: Security, script: &'static str) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (certificate, tls) = certified("mx.example.net");
    let target = Target {
        address: listener.local_addr().unwrap(),
        name: "mx.example.net".parse().unwrap(),
        security,
        login: None,
    };
    let played = tokio::spawn(async move {
        let mut heard = Vec::new();
        for part in script.split("---\n") {
            let (stream, _) = listener.accept().await.unwrap();
            play(stream, part, tls.clone(), &mut heard).await;
        }
        heard
    });
    Host { target, played, certificate }
}

trait Io: tokio::io::AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn play(stream: TcpStream, script: &str, tls: TlsAcceptor, heard: &mut Vec<u8>) {
    let mut io: BufReader<Box<dyn Io>> = BufReader::new(Box::new(stream));
    for line in script.lines() {
        let (kind, text) = line.split_at_checked(2).unwrap_or((line, ""));
        match kind {
            "S:" => {
                let text = format!("{}\r\n", text.replace("\\n", "\r\n"));
                io.write_all(text.as_bytes()).await.unwrap();
                io.flush().await.unwrap();
            }
            "C:" => {
                let mut said = String::new();
                io.read_line(&mut said).await.unwrap();
                assert_eq!(said, format!("{text}\r\n"));
            }
            "* " | "*" => {
                let mut line = Vec::new();
                while line != b".\r\n" {
                    heard.append(&mut line);
                    assert!(io.read_until(b'\n', &mut line).await.unwrap() > 0, "no dot");
                }
            }
            "!t" => io = BufReader::new(Box::new(tls.accept(io.into_inner()).await.unwrap())),
            "!b" => io.write_all(b"this is no TLS\r\n").await.unwrap(),
            "!w" => tokio::time::sleep(Duration::from_secs(5)).await,
            other => panic!("{other}"),
        }
    }
    // The client hangs up first: what it says then is of no interest.
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), io.read_to_end(&mut rest)).await;
}

async fn send_with(host: &Host, to: &[&str], client: Client) -> Result<Report, Fault> {
    let mail = Mail {
        from: "a@example.org".parse().unwrap(),
        to: to.iter().map(|to| to.parse::<Address>().unwrap().into()).collect(),
        size: MESSAGE.len() as u64,
        asked: MailRequests::default(),
    };
    client.send(&host.target, &mail, || Ok(MESSAGE)).await
}

fn client(host: &Host) -> Client {
    let short = Duration::from_millis(500);
    let timeouts =
        Timeouts { command: short, data_end: short, idle: short / 2, ..Timeouts::default() };
    let roots = std::slice::from_ref(&host.certificate);
    Client::new("box.example.org".parse().unwrap(), roots, timeouts).unwrap()
}

async fn send(host: &Host, to: &[&str]) -> Result<Report, Fault> {
    send_with(host, to, client(host)).await
}

fn words(report: &Report) -> Vec<String> {
    let word = |verdict: &Verdict| match verdict {
        Verdict::Deliver(_) => "delivered".to_owned(),
        Verdict::Defer(trouble) => format!("later {}", trouble.status),
        Verdict::Reject(trouble) => format!("never {}", trouble.status),
    };
    report.verdicts.iter().map(word).collect()
}

#[tokio::test]
async fn each_recipient_has_a_verdict_of_its_own() {
    let host = host(
        Security::Opportunistic,
        "S:220-mx\\n220 ready\nC:EHLO box.example.org\nS:250-mx\\n250-SIZE 1000\\n250 8BITMIME\n\
         C:MAIL FROM:<a@example.org> SIZE=36 BODY=8BITMIME\nS:250 ok\nC:RCPT TO:<b@example.net>\n\
         S:250 ok\nC:RCPT TO:<c@example.net>\nS:550 5.1.1 nobody\nC:RCPT TO:<d@example.net>\n\
         S:450 4.2.1 full\nC:DATA\nS:354 go\n*\nS:250 2.0.0 taken as 1\n",
    )
    .await;
    let report = send(&host, &["b@example.net", "c@example.net", "d@example.net"]).await.unwrap();
    assert_eq!(words(&report), ["delivered", "never 5.1.1", "later 4.2.1"]);
    let heard = host.played.await.unwrap();
    assert_eq!(heard, b"From: a@example.org\r\n\r\n..hidden\r\nlast\r\n");
}

#[tokio::test]
async fn commands_go_together_where_that_is_offered_and_an_old_host_gets_helo() {
    let modern = host(
        Security::Opportunistic,
        "S:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250 PIPELINING\nC:MAIL FROM:<a@example.org>\n\
         C:RCPT TO:<b@example.net>\nC:RCPT TO:<c@example.net>\nS:250 ok\\n250 ok\\n550 no\nC:DATA\n\
         S:354 go\n*\nS:250 ok\n",
    )
    .await;
    let report = send(&modern, &["b@example.net", "c@example.net"]).await.unwrap();
    assert_eq!(words(&report), ["delivered", "never 5.0.0"]);
    modern.played.await.unwrap();
    let old = host(
        Security::Opportunistic,
        "S:220 mx\nC:EHLO box.example.org\nS:500 what?\nC:HELO box.example.org\nS:250 hi\n\
         C:MAIL FROM:<a@example.org>\nS:250 ok\nC:RCPT TO:<b@example.net>\nS:250 ok\nC:DATA\n\
         S:354 go\n*\nS:552 5.3.4 too large\n",
    )
    .await;
    assert_eq!(words(&send(&old, &["b@example.net"]).await.unwrap()), ["never 5.3.4"]);
    old.played.await.unwrap();
}

#[tokio::test]
async fn tls_is_used_when_it_works_and_mail_flows_when_it_does_not() {
    let works = host(
        Security::Opportunistic,
        "S:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250 STARTTLS\nC:STARTTLS\nS:220 go\n!t\n\
         C:EHLO box.example.org\nS:250 mx\nC:MAIL FROM:<a@example.org>\nS:250 ok\n\
         C:RCPT TO:<b@example.net>\nS:250 ok\nC:DATA\nS:354 go\n*\nS:250 ok\n",
    )
    .await;
    assert_eq!(words(&send(&works, &["b@example.net"]).await.unwrap()), ["delivered"]);
    works.played.await.unwrap();
    let broken = host(
        Security::Opportunistic,
        "S:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250 STARTTLS\nC:STARTTLS\nS:220 go\n!b\n\
         ---\nS:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250 STARTTLS\nC:MAIL FROM:<a@example.org>\n\
         S:250 ok\nC:RCPT TO:<b@example.net>\nS:250 ok\nC:DATA\nS:354 go\n*\nS:250 ok\n",
    )
    .await;
    assert_eq!(words(&send(&broken, &["b@example.net"]).await.unwrap()), ["delivered"]);
    broken.played.await.unwrap();
}

#[tokio::test]
async fn words_slipped_in_before_tls_are_noticed() {
    let host = host(
        Security::Opportunistic,
        "S:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250 STARTTLS\nC:STARTTLS\n\
         S:220 go\\n250-mx\\n250 AUTH PLAIN\n",
    )
    .await;
    assert!(matches!(send(&host, &["b@example.net"]).await, Err(Fault::Injection)));
}

#[tokio::test]
async fn a_relay_gets_the_password_under_verified_tls_alone() {
    let login = Some(("me".to_owned(), Password::new("secret word".into())));
    let script = "S:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250 STARTTLS\nC:STARTTLS\nS:220 go\n!t\n\
         C:EHLO box.example.org\nS:250-mx\\n250 AUTH LOGIN\nC:AUTH LOGIN\nS:334 VXNlcm5hbWU6\nC:bWU=\n\
         S:334 UGFzc3dvcmQ6\nC:c2VjcmV0IHdvcmQ=\nS:235 ok\nC:MAIL FROM:<a@example.org>\nS:250 ok\n\
         C:RCPT TO:<b@example.net>\nS:250 ok\nC:DATA\nS:354 go\n*\nS:250 ok\n";
    let mut relay = host(Security::StartTls, script).await;
    relay.target.login.clone_from(&login);
    assert_eq!(words(&send(&relay, &["b@example.net"]).await.unwrap()), ["delivered"]);
    relay.played.await.unwrap();

    let implicit = "!t\nS:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250 AUTH PLAIN LOGIN\n\
         C:AUTH PLAIN AG1lAHNlY3JldCB3b3Jk\nS:535 5.7.8 no\n";
    let mut relay = host(Security::Implicit, implicit).await;
    relay.target.login.clone_from(&login);
    assert!(matches!(send(&relay, &["b@example.net"]).await, Err(Fault::Login(_))));

    let mut stranger = host(Security::StartTls, script).await;
    stranger.target.login.clone_from(&login);
    let trusting = Client::new("box.example.org".parse().unwrap(), &[], Timeouts::default());
    let sent = send_with(&stranger, &["b@example.net"], trusting.unwrap()).await;
    assert!(matches!(sent, Err(Fault::Tls(_))), "{sent:?}");

    let script = "S:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250 AUTH PLAIN\n";
    let mut stripped = host(Security::StartTls, script).await;
    stripped.target.login = login;
    assert!(matches!(send(&stripped, &["b@example.net"]).await, Err(Fault::NoTls)));
}

#[tokio::test]
async fn what_a_host_cannot_take_is_not_offered_to_it() {
    let small =
        host(Security::Opportunistic, "S:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250 SIZE 20\n")
            .await;
    assert_eq!(words(&send(&small, &["b@example.net"]).await.unwrap()), ["never 5.3.4"]);
    small.played.await.unwrap();
    let ascii = host(
        Security::Opportunistic,
        "S:220 mx\nC:EHLO box.example.org\nS:250 mx\nC:MAIL FROM:<a@example.org>\nS:250 ok\n\
         C:RCPT TO:<b@example.net>\nS:250 ok\nC:DATA\nS:354 go\n*\nS:250 ok\n",
    )
    .await;
    let report = send(&ascii, &["käthe@example.net", "b@example.net"]).await.unwrap();
    assert_eq!(words(&report), ["never 5.6.7", "delivered"]);
    ascii.played.await.unwrap();
    let utf8 = host(
        Security::Opportunistic,
        "S:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250 SMTPUTF8\n\
         C:MAIL FROM:<a@example.org> SMTPUTF8\nS:250 ok\nC:RCPT TO:<käthe@example.net>\nS:250 ok\n\
         C:DATA\nS:354 go\n*\nS:250 ok\n",
    )
    .await;
    assert_eq!(words(&send(&utf8, &["käthe@example.net"]).await.unwrap()), ["delivered"]);
    utf8.played.await.unwrap();
}

#[tokio::test]
async fn a_connection_carries_the_next_message_and_says_goodbye_when_there_is_none() {
    let talk = "C:MAIL FROM:<a@example.org>\nS:250 ok\nC:RCPT TO:<b@example.net>\nS:250 ok\n\
         C:DATA\nS:354 go\n*\n";
    let script = format!(
        "S:220 mx\nC:EHLO box.example.org\nS:250 mx\n{talk}S:250 one\nC:RSET\nS:250 ok\n{talk}\
         S:450 not two\nC:RSET\nS:421 enough\n---\nS:220 mx\nC:EHLO box.example.org\nS:250 mx\n\
         {talk}S:250 three\nC:QUIT\nS:221 bye\n"
    );
    let host = host(Security::Opportunistic, Box::leak(script.into_boxed_str())).await;
    let client = client(&host);
    let mut all = Vec::new();
    for _ in 0..3 {
        let report = send_with(&host, &["b@example.net"], client.clone()).await.unwrap();
        all.extend(words(&report));
    }
    assert_eq!(all, ["delivered", "later 4.0.0", "delivered"]);
    host.played.await.unwrap();
}

#[tokio::test]
async fn what_the_sender_asked_for_is_passed_on_where_it_is_understood() {
    let script = "S:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250-DSN\\n250 8BITMIME\n\
         C:MAIL FROM:<a@example.org> RET=HDRS ENVID=QQ+2B1\nS:250 ok\n\
         C:RCPT TO:<b@example.net> NOTIFY=SUCCESS ORCPT=rfc822;x+2By@example.org\nS:250 ok\nC:DATA\n\
         S:354 go\n*\nS:250 ok\n";
    let host = host(Security::Opportunistic, script).await;
    let mut mail = asked();
    mail.asked.body = Some(crate::mail::BodyKind::SevenBit);
    mail.asked.ret = Some(crate::mail::Return::Headers);
    mail.asked.envid = crate::mail::EnvelopeId::from_xtext("QQ+2B1").ok();
    mail.to[0].asked.notify = "SUCCESS".parse().ok();
    mail.to[0].asked.orcpt = "rfc822;x+2By@example.org".parse().ok();
    let report = client(&host).send(&host.target, &mail, || Ok(MESSAGE)).await.unwrap();
    assert_eq!((words(&report).as_slice(), report.tells), (&["delivered".to_owned()][..], true));
    host.played.await.unwrap();
}

#[tokio::test]
async fn wide_characters_stop_only_where_they_are_and_the_host_takes_none() {
    let takes = "C:MAIL FROM:<a@example.org>\nS:250 ok\nC:RCPT TO:<b@example.net>\nS:250 ok\n\
         C:DATA\nS:354 go\n*\nS:250 ok\n";
    for (message, wish, expected) in [
        ("A: b\r\n\r\nplain\r\n", true, "delivered"),
        ("A: b\r\n\r\nwide ä\r\n", false, "never 5.6.3"),
        ("A: ä\r\n\r\nplain\r\n", true, "never 5.6.7"),
    ] {
        let end = if expected == "delivered" { takes } else { "" };
        let script = format!("S:220 mx\nC:EHLO box.example.org\nS:250 mx\n{end}");
        let host = host(Security::Opportunistic, Box::leak(script.into_boxed_str())).await;
        let mut mail = asked();
        mail.asked.utf8 = wish;
        let open = move || Ok(message.as_bytes());
        let report = client(&host).send(&host.target, &mail, open).await.unwrap();
        assert_eq!(words(&report), [expected], "{message:?}");
        host.played.await.unwrap();
    }
}

#[tokio::test]
async fn a_message_that_must_travel_under_tls_goes_to_hosts_that_promise_it() {
    let begin = "S:220 mx\nC:EHLO box.example.org\nS:250-mx\\n250 STARTTLS\nC:STARTTLS\nS:220 go\n!t\n\
         C:EHLO box.example.org\n";
    let script = format!(
        "{begin}S:250-mx\\n250 REQUIRETLS\nC:MAIL FROM:<a@example.org> REQUIRETLS\nS:250 ok\n\
         C:RCPT TO:<b@example.net>\nS:250 ok\nC:DATA\nS:354 go\n*\nS:250 ok\n"
    );
    let promises = host(Security::StartTls, Box::leak(script.into_boxed_str())).await;
    let mut mail = asked();
    mail.asked.require_tls = true;
    let report = client(&promises).send(&promises.target, &mail, || Ok(MESSAGE)).await.unwrap();
    assert_eq!(
        (words(&report).as_slice(), report.tls),
        (&["delivered".to_owned()][..], Encryption::Proved)
    );
    let script = format!("{begin}S:250 mx\n");
    let silent = host(Security::StartTls, Box::leak(script.into_boxed_str())).await;
    let sent = client(&silent).send(&silent.target, &mail, || Ok(MESSAGE)).await;
    assert!(matches!(sent, Err(Fault::NoRequireTls)), "{sent:?}");
}

fn asked() -> Mail {
    let to = "b@example.net".parse::<Address>().unwrap().into();
    let (from, asked) = ("a@example.org".parse().unwrap(), MailRequests::default());
    Mail { from, to: vec![to], size: MESSAGE.len() as u64, asked }
}

#[tokio::test]
async fn before_the_message_a_broken_talk_is_a_fault_and_after_it_a_delay() {
    for script in ["S:421 busy\n", "S:554 go away\n", "S:hello\n", "S:220-a\\n250 b\n", "!w\n"] {
        let host = host(Security::Opportunistic, script).await;
        let sent = send(&host, &["b@example.net"]).await;
        assert!(sent.is_err(), "{script}: {sent:?}");
    }
    for end in ["", "S:421 4.3.2 going down\n"] {
        let script = "S:220 mx\nC:EHLO box.example.org\nS:250 mx\nC:MAIL FROM:<a@example.org>\nS:250 ok\n\
             C:RCPT TO:<b@example.net>\nS:250 ok\nC:DATA\nS:354 go\n*\n";
        let host = host(Security::Opportunistic, Box::leak(format!("{script}{end}").into())).await;
        let report = send(&host, &["b@example.net"]).await.unwrap();
        assert!(matches!(report.verdicts[0], Verdict::Defer(_)), "{report:?}");
    }
}

#[tokio::test]
async fn a_host_too_slow_in_all_may_have_the_message_and_no_other_gets_it_at_once() {
    let begin = "S:220 mx\nC:EHLO box.example.org\nS:250 mx\nC:MAIL FROM:<a@example.org>\nS:250 ok\n\
         C:RCPT TO:<b@example.net>\nS:250 ok\nC:DATA\n";
    for (end, may_have_it) in [("S:354 go\n*\n!w\n", true), ("!w\n", false)] {
        let host = host(Security::Opportunistic, Box::leak(format!("{begin}{end}").into())).await;
        let total = Duration::from_millis(300);
        let timeouts = Timeouts { total, ..Timeouts::default() };
        let client = Client::new("box.example.org".parse().unwrap(), &[], timeouts).unwrap();
        match send_with(&host, &["b@example.net"], client).await {
            Ok(report) => assert!(may_have_it && words(&report) == ["later 4.4.2"], "{report:?}"),
            Err(fault) => assert!(!may_have_it && matches!(fault, Fault::Timeout), "{fault:?}"),
        }
    }
}

#[test]
fn replies_have_limits_and_clean_words() {
    let read = |bytes: &[u8]| {
        let mut buffer = reply::ReplyBuffer::default();
        buffer.feed(bytes);
        buffer.next_reply()
    };
    let reply = read(b"550-5.1.1 no\x1b[31m\x07 such\r\n550 5.1.1 user\r\n").unwrap().unwrap();
    assert_eq!((reply.code(), reply.status().as_str()), (550, "5.1.1"));
    assert_eq!(reply.to_string(), "550 5.1.1 no [31m  such 5.1.1 user");
    assert_eq!(read(b"550 2.1.1 odd\r\n").unwrap().unwrap().status(), "5.0.0");
    assert_eq!(read(b"550 5.1.1.1 odd\r\n").unwrap().unwrap().status(), "5.0.0");
    assert_eq!(read(b"250").unwrap(), None);
    assert_eq!(read(b"250\r\n").unwrap().unwrap().code(), 250);
    for bad in ["25\r\n", "hello\r\n", "199 x\r\n", "650 x\r\n", "250x\r\n", "250-a\r\n251 b\r\n"] {
        assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert_eq!(read("250-x\r\n".repeat(101).as_bytes()), Err(ReplyError::TooLong));
    assert!(matches!(read(&[b'2'; 5000]), Err(ReplyError::Line(_))));
    assert!(matches!(read(b"250 a\nb\r\n"), Err(ReplyError::Line(_))));
}
