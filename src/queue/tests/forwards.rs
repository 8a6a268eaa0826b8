//! What aliases lead elsewhere.

use super::*;

/// A box with an alias each for two people at one host.
async fn office(host: &Host) -> Office {
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    for (from, to) in [
        ("away@example.org", "alice@example.net"),
        ("gone@example.org", "bob@example.net"),
        ("also@example.org", "carol@example.net"),
        ("also@example.org", "dora@example.net"),
    ] {
        office.accounts.add_alias(address(from), address(to)).await.unwrap();
    }
    office.run();
    office
}

/// A stranger's letter as the door hands it over, with what was found about it.
async fn pass_on(office: &Office, to: &[&str]) {
    let mut incoming = office.incoming("eve@example.com", to).await;
    let found = "Authentication-Results: box.example.org; spf=pass smtp.mailfrom=example.com;\r\n \
                 arc=none\r\nReceived: by box.example.org\r\n";
    incoming.trace = found.as_bytes().to_vec();
    incoming.source = Source::Stranger;
    office.queue.accept(incoming).await.unwrap();
    office.until_empty().await;
}

#[tokio::test]
async fn what_is_passed_on_is_sealed_and_says_by_which_address_it_came() {
    let host = Host::start("127.0.0.2:0").await;
    let office = office(&host).await;
    pass_on(&office, &["away@example.org"]).await;
    let text = host.got()[0].data.clone();
    let names: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with([' ', '\t']))
        .filter_map(|line| line.split_once(": ").map(|(name, _)| name))
        .collect();
    let expected = [
        "Delivered-To",
        "ARC-Seal",
        "ARC-Message-Signature",
        "ARC-Authentication-Results",
        "Authentication-Results",
        "Received",
        "From",
    ];
    assert_eq!(names.get(..7), Some(&expected[..]), "{text}");
    assert!(text.starts_with("Delivered-To: away@example.org\r\n"), "{text}");
    assert!(text.contains("ARC-Authentication-Results: i=1; box.example.org; spf=pass"), "{text}");
    assert!(text.contains("cv=none;\r\n\td=example.org;"), "{text}");
    assert!(!text.contains("DKIM-Signature"), "signed in the name of a stranger: {text}");
}

#[tokio::test]
async fn nobody_learns_by_which_other_address_it_came_too() {
    let host = Host::start("127.0.0.2:0").await;
    let office = office(&host).await;
    pass_on(&office, &["away@example.org", "gone@example.org", "also@example.org"]).await;
    let mut got: Vec<_> = host.got().into_iter().map(|mail| (mail.to, mail.data)).collect();
    got.sort();
    assert_eq!(got.len(), 3);
    for ((to, text), (expected, alias)) in got.iter().zip([
        (&["alice@example.net"][..], "away@example.org"),
        (&["bob@example.net"], "gone@example.org"),
        (&["carol@example.net", "dora@example.net"], "also@example.org"),
    ]) {
        assert_eq!(to, expected);
        assert!(text.starts_with(&format!("Delivered-To: {alias}\r\nARC-Seal: ")), "{text}");
        assert_eq!(text.matches("Delivered-To").count(), 1, "{text}");
    }
}

#[tokio::test]
async fn mail_of_our_own_people_is_signed_on_the_way_through_an_alias() {
    let host = Host::start("127.0.0.2:0").await;
    let office = office(&host).await;
    office.submit(&["away@example.org", "bob@example.net"]).await;
    office.until_empty().await;
    let got = host.got();
    assert_eq!(got.len(), 2);
    for mail in got {
        let signed = "DKIM-Signature: v=1; a=rsa-sha256;";
        let start = match mail.to[0].as_str() {
            "alice@example.net" => format!("Delivered-To: away@example.org\r\n{signed}"),
            _ => signed.to_owned(),
        };
        assert!(mail.data.starts_with(&start), "{}", mail.data);
        assert!(!mail.data.contains("ARC-"), "{}", mail.data);
    }
}
