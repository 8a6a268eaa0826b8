#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use super::*;
use crate::mail::headers::{authserv_id, claims_to_be_ours};
use crate::policy::key::Algorithm;
use crate::policy::origin::Peer;
use crate::policy::rdns::Helo;
use crate::policy::tests::grammar;

fn name(text: &str) -> Domain {
    text.parse().unwrap()
}

fn authentication() -> Authentication {
    let peer = Peer {
        ip: "192.0.2.1".parse().unwrap(),
        helo: "mx.example.net".to_owned(),
        mail_from: "alice@example.net".parse().unwrap(),
    };
    Authentication {
        origin: Origin {
            peer,
            reverse: Reverse::Confirmed(name("mx.example.net")),
            helo: Helo::Confirmed(name("mx.example.net")),
            helo_spf: Some(Spf::None),
            mail_from_spf: Some(Spf::Pass),
        },
        dkim: vec![Signed {
            verdict: Dkim::Pass,
            domain: Some(name("example.net")),
            selector: Some(name("s1")),
            algorithm: Some(Algorithm::RsaSha256),
            mark: "Ab+/cdef".to_owned(),
            testing: false,
        }],
        arc: Arc::None,
        dmarc: Dmarc {
            verdict: Verdict::Pass,
            from: Some(name("example.net")),
            record: None,
            disposition: Policy::None,
            spf_aligned: true,
            dkim_aligned: true,
            hidden: false,
        },
    }
}

#[test]
fn the_field_says_what_was_found() {
    assert_eq!(
        authentication().field(&name("mail.home.test")),
        "Authentication-Results: mail.home.test;\r\n\
         \tiprev=pass (mx.example.net) policy.iprev=192.0.2.1;\r\n\
         \tspf=pass smtp.mailfrom=alice@example.net;\r\n\
         \tspf=none smtp.helo=mx.example.net;\r\n\
         \tdkim=pass header.d=example.net header.s=s1 header.a=rsa-sha256\r\n\
         \t header.b=\"Ab+/cdef\";\r\n\
         \tdmarc=pass header.from=example.net;\r\n\
         \tarc=none\r\n"
    );
}

#[test]
fn nobody_can_write_a_result_of_his_own() {
    let evil = "x\"; dkim=pass header.d=bank.example (\\\r\nAuthentication-Results: \u{1f4a3} y";
    let mut found = authentication();
    found.origin.reverse = Reverse::NoName;
    found.origin.peer.helo = evil.to_owned();
    found.origin.peer.mail_from = "\"a\\\"; dkim=pass x\"@example.net".parse().unwrap();
    found.origin.mail_from_spf = Some(Spf::PermError(evil.to_owned()));
    found.dkim = vec![Signed {
        verdict: Dkim::TempError(evil.repeat(10)),
        domain: None,
        selector: None,
        algorithm: None,
        mark: String::new(),
        testing: true,
    }];
    found.arc = Arc::Fail(evil.to_owned());
    found.dmarc.verdict = Verdict::PermError(evil.to_owned());
    let field = found.field(&name("mail.home.test"));
    assert!(field.is_ascii());
    assert!(field.lines().skip(1).all(|line| line.starts_with('\t') && line.len() <= 998));
    assert_eq!(field.matches("\r\n").count(), field.lines().count());
    assert!(!field.contains("dkim=pass"), "{field}");
    // Outside quotation marks, nothing of it is left.
    let mut quoted = false;
    let plain: String = field
        .chars()
        .filter(|c| {
            quoted ^= *c == '"';
            !quoted
        })
        .collect();
    assert!(!quoted && !plain.contains("bank"), "{plain}");
    assert_eq!(field.matches(';').count(), 5, "{field}");
    assert_eq!(grammar::methods(&field).unwrap(), ["iprev", "spf", "dkim", "dmarc", "arc"]);
    found.dkim[0].verdict = Dkim::Fail("; arc=pass".to_owned());
    let field = found.field(&name("mail.home.test"));
    assert_eq!(Recorded::parse(field.as_bytes()).unwrap().arc, "fail");
}

#[test]
fn an_ipv6_address_is_quoted() {
    let mut found = authentication();
    found.origin.peer.ip = "2001:db8::1".parse().unwrap();
    let field = found.field(&name("mail.home.test"));
    assert!(field.contains("policy.iprev=\"2001:db8::1\""), "{field}");
}

#[test]
fn our_own_field_is_known_again_and_read() {
    let mut found = authentication();
    found.arc = Arc::Pass(vec![name("list.example")]);
    let field = found.field(&name("mail.home.test"));
    let value = field.split_once(':').unwrap().1.trim_end().as_bytes();
    assert!(claims_to_be_ours(value, &name("mail.home.test")));
    assert_eq!(authserv_id(value).as_deref(), Some("mail.home.test"));
    let recorded = Recorded::parse(value).unwrap();
    assert_eq!(recorded.arc, "pass");
    assert!(recorded.results.starts_with(";\r\n\tiprev=pass"));
}
