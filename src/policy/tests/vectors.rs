//! The signed messages printed in the RFCs.

use super::*;

/// RFC 6376 §A.2, with the key of appendix C. The RFC's page lost one space in front of each
/// folded line.
const RFC_6376_KEY: &str = "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ\
    KBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt\
    IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v\
    /RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi\
    tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";
const RFC_6376: &str = "\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r
      c=simple/simple; q=dns/txt; i=joe@football.example.com;\r
      h=Received : From : To : Subject : Date : Message-ID;\r
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r
      4bmp/YzhwvcubU4=;\r
Received: from client1.football.example.com  [192.0.2.1]\r
      by submitserver.example.com with SUBMISSION;\r
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r
From: Joe SixPack <joe@football.example.com>\r
To: Suzie Q <suzie@shopping.example.net>\r
Subject: Is dinner ready?\r
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r
Message-ID: <20030712040037.46341.5F8J@football.example.com>\r
\r
Hi.\r
\r
We lost the game. Are you hungry yet?\r
\r
Joe.\r
";

/// RFC 8463 §A.3, with the keys of §A.2.
const RFC_8463_ED25519: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const RFC_8463_RSA: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR\
    iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC\
    DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3\
    Ip3G+2kryOTIKT+l/K4w3QIDAQAB";
const RFC_8463: &str = "\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r
 d=football.example.com; i=@football.example.com;\r
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r
 subject : date : message-id : from : subject : date;\r
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r
 d=football.example.com; i=@football.example.com;\r
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r
 date : message-id : from : subject : date;\r
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r
From: Joe SixPack <joe@football.example.com>\r
To: Suzie Q <suzie@shopping.example.net>\r
Subject: Is dinner ready?\r
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r
Message-ID: <20030712040037.46341.5F8J@football.example.com>\r
\r
Hi.\r
\r
We lost the game.  Are you hungry yet?\r
\r
Joe.\r
";

async fn verdicts(message: &str) -> Vec<&'static str> {
    let zone = [
        txt("brisbane._domainkey.example.com", RFC_6376_KEY),
        txt("brisbane._domainkey.football.example.com", RFC_8463_ED25519),
        txt("test._domainkey.football.example.com", RFC_8463_RSA),
    ]
    .concat();
    let (_world, resolver) = world(&zone).await;
    let peer = peer("192.0.2.1", "client", "");
    let origin = Origin::look_up(&resolver, peer, late()).await;
    let found =
        authenticate(&resolver, None, origin, inspect(message.as_bytes(), 100), late()).await;
    let word = |signed: &dkim::verify::Signed| match &signed.verdict {
        dkim::verify::Dkim::Pass => "pass",
        dkim::verify::Dkim::Fail(_) => "fail",
        _ => "other",
    };
    found.dkim.iter().map(word).collect()
}

#[tokio::test]
async fn the_examples_of_the_rfcs_hold() {
    assert_eq!(verdicts(RFC_6376).await, ["pass"]);
    assert_eq!(verdicts(RFC_8463).await, ["pass", "pass"]);
}

#[tokio::test]
async fn they_hold_no_more_when_changed() {
    for (this, that) in [("Joe.", "Jim."), ("dinner", "lunch"), ("t=1528637909", "t=1528637908")] {
        let changed = RFC_8463.replace(this, that);
        assert_eq!(verdicts(&changed).await, ["fail", "fail"], "{this}");
    }
    // The relaxed forms do not care about white space.
    let spaced = RFC_8463.replace("Is dinner", "Is\r\n\t dinner").replace("Joe.", "Joe. ");
    assert_eq!(verdicts(&spaced).await, ["pass", "pass"]);
    let spaced = RFC_6376.replace("Is dinner", "Is  dinner");
    assert_eq!(verdicts(&spaced).await, ["fail"]);
    // One more field than was signed.
    let again = RFC_8463.replace("Date:", "Subject: Free money\r\nDate:");
    assert_eq!(verdicts(&again).await, ["fail", "fail"]);
}
