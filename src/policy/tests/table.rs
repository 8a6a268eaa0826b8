//! The table: who hands in what, and what is made of it.

use std::fmt::Write;

use proptest::prelude::*;
use ring::signature::KeyPair;

use super::cases::{Case, alice, cases};
use super::letter::{SIGN, Sign, key, public, record};
use super::*;

/// The world of all cases. `KEY` is the record of their key, `PUBLIC` the key in it.
const ZONE: &str = r#"
example.org.                  TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.example.org.           TXT "v=DMARC1; p=reject"
ed._domainkey.example.org.    TXT "KEY"
other._domainkey.example.org. TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
gone._domainkey.example.org.  TXT "v=DKIM1; k=ed25519; p="
junk._domainkey.example.org.  TXT "hello"
two._domainkey.example.org.   TXT "hello"
two._domainkey.example.org.   TXT "KEY"
test._domainkey.example.org.  TXT "KEY; t=y"
strict._domainkey.example.org. TXT "KEY; t=s"
sha1._domainkey.example.org.  TXT "KEY; h=sha1"
tls._domainkey.example.org.   TXT "KEY; s=tlsrpt"
both._domainkey.example.org.  TXT "KEY; s=tlsrpt:email; h=sha1:sha256"
norsa._domainkey.example.org. TXT "v=DKIM1; p=PUBLIC"
weak._domainkey.example.org.  TXT "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAIWmlgix/84GJ+dfgjm7LTc9EPdfkftlgiPpCq4/kbDAZmU0VvYKDljjleJ1dfvS+CGy9U/kk1tG3EeEvb82xAcCAwEAAQ=="
silent._domainkey.example.org. TXT "KEY"
alias._domainkey.example.org. CNAME ed._domainkey.example.org.
news.example.org.             TXT "v=spf1 ip4:192.0.2.2 ~all"
ed._domainkey.news.example.org. TXT "KEY"
mail.example.org.             A    192.0.2.1
mail.example.org.             TXT "v=spf1 a -all"
strict.example.               TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.strict.example.        TXT "v=DMARC1; p=quarantine; aspf=s; adkim=s"
ed._domainkey.strict.example. TXT "KEY"
sub.strict.example.           TXT "v=spf1 ip4:192.0.2.1 -all"
ed._domainkey.sub.strict.example. TXT "KEY"
subs.example.                 A    192.0.2.9
_dmarc.subs.example.          TXT "v=DMARC1; p=none; sp=quarantine; np=reject"
a.subs.example.               A    192.0.2.9
own.subs.example.             A    192.0.2.9
_dmarc.own.subs.example.      TXT "v=DMARC1; p=reject"
trial.example.                A    192.0.2.9
_dmarc.trial.example.         TXT "v=DMARC1; p=reject; t=y"
_dmarc.pct0.example.          TXT "v=DMARC1; p=quarantine; pct=0"
_dmarc.pct50.example.         TXT "v=DMARC1; p=reject; pct=50"
_dmarc.twice.example.         TXT "v=DMARC1; p=reject"
_dmarc.twice.example.         TXT "v=DMARC1; p=none"
_dmarc.among.example.         TXT "v=spf1 -all"
_dmarc.among.example.         TXT "v=DMARC1; p=reject"
_dmarc.slip.example.          TXT "v=DMARC1; p=reject; aspf=x; ; hello; adkim=s"
_dmarc.reports.example.       TXT "v=DMARC1; rua=mailto:d@reports.example"
_dmarc.empty.example.         TXT "v=DMARC1"
_dmarc.silent.example.        TXT "v=DMARC1; p=reject"
none.example.                 A    192.0.2.9
soft.example.                 TXT "v=spf1 ~all"
neutral.example.              TXT "v=spf1 ?all"
broken.example.               TXT "v=spf1 ip4:nonsense -all"
quiet.example.                TXT "v=spf1 a:silent.quiet.example -all"
_dmarc.quiet.example.         TXT "v=DMARC1; p=reject"
_dmarc.suffix.               TXT "v=DMARC1; p=reject; psd=y"
shop.suffix.                  TXT "v=spf1 ip4:192.0.2.1 -all"
www.shop.suffix.              TXT "v=spf1 ip4:192.0.2.1 -all"
bank.suffix.                  TXT "v=spf1 ip4:192.0.2.1 -all"
ed._domainkey.bank.suffix.    TXT "KEY"
ed._domainkey.shop.suffix.    TXT "KEY"
_dmarc.long.example.          TXT "v=DMARC1; p=reject"
_dmarc.e.f.g.h.long.example.  TXT "v=DMARC1; p=none; psd=n"
e.f.g.h.long.example.         TXT "v=spf1 ip4:192.0.2.1 -all"
xn--bcher-kva.example.        TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.xn--bcher-kva.example. TXT "v=DMARC1; p=reject"
ed._domainkey.list.example.   TXT "KEY"
ed._domainkey.fwd.example.    TXT "KEY"
"#;

#[tokio::test]
async fn the_table_is_judged_as_the_rfcs_say() {
    let zone = ZONE.replace("KEY", &record()).replace("PUBLIC", &public());
    let (world, resolver) = world(&zone).await;
    for silent in [
        "silent._domainkey.example.org",
        "_dmarc.silent.example",
        "silent.quiet.example",
        "ed._domainkey.silent.example",
    ] {
        world.fail(&silent.parse().unwrap(), true);
    }
    let now = Some("2026-11-22T10:00:00Z".parse().unwrap());
    let cases = cases();
    let mut wrong = String::new();
    for Case { name, from: (ip, sender), letter, want } in &cases {
        let origin = Origin::look_up(&resolver, peer(ip, "mail.example.org", sender), late()).await;
        let mut fields = Vec::new();
        for piece in [1, 7, 1 << 20] {
            let inspected = inspect(letter.0.as_bytes(), piece);
            let found = authenticate(&resolver, now, origin.clone(), inspected, late()).await;
            fields.push(found.field(&ours()));
        }
        assert!(fields.windows(2).all(|two| two[0] == two[1]), "{name}: pieces matter");
        let field = fields.remove(0);
        assert!(field.lines().all(|line| line.len() <= 78), "{name}: {field}");
        let methods = grammar::methods(&field);
        let methods = methods.unwrap_or_else(|wrong| panic!("{name}: {wrong} in {field}"));
        assert!(
            methods.first().is_some_and(|first| first == "iprev")
                && methods.last().is_some_and(|last| last == "arc"),
            "{field}"
        );
        // Each word with a space before it: "dmarc=fail" is no "arc=fail".
        let flat = field.replace(['(', ')'], " ");
        let flat = flat.split_whitespace().fold(String::new(), |flat, word| flat + " " + word);
        for want in want {
            if !flat.contains(&format!(" {want}")) {
                writeln!(wrong, "{name}: not {want} but {flat}").unwrap();
            }
        }
    }
    assert!(cases.len() >= 100, "{} cases", cases.len());
    assert!(wrong.is_empty(), "of {} cases:\n{wrong}", cases.len());
}

#[tokio::test]
async fn nothing_has_expired_while_the_clock_is_not_believed() {
    let (_world, resolver) = world(&txt("ed._domainkey.example.org", &record())).await;
    let letter = alice().signed(&Sign { tags: " v=1; t=1000; x=2000;", ..SIGN });
    let origin = Origin::look_up(&resolver, peer("192.0.2.1", "h", ""), late()).await;
    let found =
        authenticate(&resolver, None, origin, inspect(letter.0.as_bytes(), 99), late()).await;
    assert_eq!(found.dkim[0].verdict, dkim::verify::Dkim::Pass);
    assert_eq!(key().public_key().as_ref().len(), 32);
}

#[tokio::test]
async fn a_hundred_signatures_are_not_a_hundred_questions() {
    let (_world, resolver) = world(&txt("ed._domainkey.example.org", &record())).await;
    let mut letter = alice();
    for number in 0..100 {
        let selector = format!("s{number}");
        letter = letter.signed(&Sign { selector: &selector, ..SIGN });
    }
    let origin = Origin::look_up(&resolver, peer("192.0.2.1", "h", ""), late()).await;
    let found =
        authenticate(&resolver, None, origin, inspect(letter.0.as_bytes(), 999), late()).await;
    assert_eq!(found.dkim.len(), dkim::MAX_SIGNATURES);
}

#[test]
fn what_is_held_of_a_message_is_bounded() {
    let mut inspector = Inspector::new();
    inspector.pass(b"From: a@example.org\r\n");
    for _ in 0..2000 {
        inspector.pass(&[b'x'; 1000]);
    }
    let inspected = inspector.finish();
    assert!(inspected.header.is_empty());
    assert!(matches!(inspected.author, inspect::Author::Hidden(_)));
    let many = "A:\r\n".repeat(20_000);
    assert!(inspect(many.as_bytes(), 512).header.is_empty());
}

proptest! {
    #[test]
    fn no_header_makes_the_inspector_panic(
        fields in "(DKIM-Signature|ARC-Seal|ARC-Message-Signature|ARC-Authentication-Results|From|X)\
                   :[ a-e0-9=;:/@.,<>\"\r\n\t]{0,60}\r\n",
        more in "[a-z:=;\r\n ]{0,40}",
    ) {
        let message = format!("{fields}{more}\r\n\r\nbody");
        let one = format!("{:?}", inspect(message.as_bytes(), 1));
        prop_assert_eq!(one, format!("{:?}", inspect(message.as_bytes(), 1000)));
    }
}
