//! Whatever lies in the store, what goes out is one message with sound line ends: no host on the way
//! can take a part of it for another. (At the door unsound line ends are refused; a message may
//! have come by other ways.)

use super::*;

#[tokio::test]
async fn no_line_end_in_a_stored_message_becomes_a_second_one() {
    const ENDS: &[&str] = &["\r\n", "\n", "\r", "\r\r\n", "\n\r", "\n\n", "\r\n\r"];
    let host = Host::start("127.0.0.2:0").await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    let mut sent = 0;
    for before in ENDS {
        for after in ENDS {
            for dot in [".", ".."] {
                let text = format!(
                    "From: alice@example.org\r\nSubject: x\r\n\r\ntext{before}{dot}{after}\
                     MAIL FROM:<admin@example.org>\r\nRCPT TO:<eve@example.net>\r\nDATA\r\n"
                );
                let mut body = office.store.new_body();
                body.write(text.as_bytes()).await.unwrap();
                let incoming = Incoming {
                    envelope: Envelope::new(
                        "alice@example.org".parse().unwrap(),
                        [address("bob@example.net")],
                    ),
                    trace: Vec::new(),
                    body: body.finish().await.unwrap(),
                    source: Source::Account(office.accounts.list()[0].id),
                    received: office.clock.now(),
                };
                office.queue.accept(incoming).await.unwrap();
                sent += 1;
            }
        }
    }
    office.run();
    for _ in 0..600 {
        if host.got().len() >= sent {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    office.stop().await;
    let got = host.got();
    assert_eq!(got.len(), sent);
    for mail in got {
        assert_eq!((mail.from.as_str(), mail.to.len()), ("alice@example.org", 1));
        assert_eq!(mail.to[0], "bob@example.net");
        let sound = mail.data.replace("\r\n", "");
        assert!(!sound.contains(['\r', '\n']), "{:?}", mail.data);
        assert!(!mail.data.contains("\r\n.\r\n"), "{:?}", mail.data);
        assert!(mail.data.contains("MAIL FROM:<admin@example.org>\r\n"), "{:?}", mail.data);
    }
}
