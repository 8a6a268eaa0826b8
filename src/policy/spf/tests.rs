#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use std::net::SocketAddr;

use super::*;
use crate::dns::world::World;

const ZONE: &str = "
$TTL 60
mail        A    192.0.2.1
mail        AAAA 2001:db8::1
other       A    198.51.100.7
good        MX   10 mail
good        TXT  \"v=spf1 mx -all\"
upper       TXT  \"V=SPF1 A:mail.example.org -ALL\"
net         TXT  \"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all\"
none        TXT  \"google-site-verification=x\"
two         TXT  \"v=spf1 -all\"
two         TXT  \"v=spf1 mx -all\"
bad         TXT  \"v=spf1 ip4:not-an-address -all\"
silent      TXT  \"v=spf1 a:other.example.org\"
inc         TXT  \"v=spf1 include:net.example.org -all\"
incnone     TXT  \"v=spf1 include:none.example.org -all\"
redir       TXT  \"v=spf1 redirect=good.example.org\"
loop        TXT  \"v=spf1 include:loop.example.org -all\"
voids       TXT  \"v=spf1 a:no1.example.org a:no2.example.org a:no3.example.org +all\"
twovoids    TXT  \"v=spf1 a:no1.example.org a:no2.example.org +all\"
macro       TXT  \"v=spf1 exists:%{ir}.list.%{d} -all\"
1.2.0.192.list.macro A 127.0.0.2
byptr       TXT  \"v=spf1 ptr:example.org -all\"
askfail     TXT  \"v=spf1 a:fails.example.org -all\"
";

async fn ask(ip: &str, domain: &str) -> Spf {
    let world = World::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    world.load("example.org.", ZONE).unwrap();
    world.load("2.0.192.in-addr.arpa.", "$TTL 60\n1 PTR mail.example.org.\n").unwrap();
    world.fail(&"fails.example.org".parse().unwrap(), true);
    let resolver = Resolver::new(&[world.local()]).unwrap();
    let domain = format!("{domain}.example.org").parse().unwrap();
    let helo = "mail.example.org";
    evaluate(&resolver, ip.parse().unwrap(), &domain, &format!("a@{domain}"), helo).await
}

#[tokio::test]
async fn a_record_is_judged_as_the_rfc_says() {
    for (ip, domain, expected) in [
        ("192.0.2.1", "good", Spf::Pass),
        ("2001:db8::1", "good", Spf::Pass),
        ("::ffff:192.0.2.1", "good", Spf::Pass),
        ("198.51.100.7", "good", Spf::Fail),
        ("192.0.2.1", "upper", Spf::Pass),
        ("192.0.2.99", "net", Spf::Pass),
        ("2001:db8:ffff::1", "net", Spf::Pass),
        ("198.51.100.7", "net", Spf::SoftFail),
        ("192.0.2.1", "silent", Spf::Neutral),
        ("192.0.2.1", "none", Spf::None),
        ("192.0.2.1", "nowhere", Spf::None),
        ("192.0.2.9", "inc", Spf::Pass),
        ("198.51.100.7", "inc", Spf::Fail),
        ("192.0.2.1", "redir", Spf::Pass),
        ("198.51.100.7", "redir", Spf::Fail),
        ("192.0.2.1", "macro", Spf::Pass),
        ("192.0.2.2", "macro", Spf::Fail),
        ("192.0.2.1", "byptr", Spf::Pass),
        ("198.51.100.7", "byptr", Spf::Fail),
        ("192.0.2.1", "twovoids", Spf::Pass),
    ] {
        assert_eq!(ask(ip, domain).await, expected, "{ip} for {domain}");
    }
}

#[tokio::test]
async fn a_wrong_record_is_an_error_for_good() {
    for domain in ["two", "bad", "incnone", "loop", "voids"] {
        let judged = ask("192.0.2.1", domain).await;
        assert!(matches!(judged, Spf::PermError(_)), "{domain}: {judged:?}");
    }
}

#[tokio::test]
async fn a_silent_dns_server_is_no_verdict() {
    let judged = ask("192.0.2.1", "askfail").await;
    assert!(matches!(judged, Spf::TempError(_)), "{judged:?}");
}

#[test]
fn one_slip_makes_a_record_worthless() {
    for text in [
        "v=spf1",
        "v=spf1  a  -all ",
        "v=spf1 A:a.example/24//64 MX/0 ip4:192.0.2.0/32 ip6:::/0 ?ALL",
        "v=spf1 a:a.example//128 ptr exists:%{ir}.%{l1r+-}.%{d} -all",
        "v=spf1 a:odd:name/x.example/24 include:%{o}%%.a.example redirect=%{d2}",
        "v=spf1 exp=%{s}.a.example a=x x-y.z_=%{c}%{r}%{t}hello",
        "v=spf1 a:x.example. a:%{L=}.a-b -all",
    ] {
        assert!(Record::parse(text).is_some(), "{text}");
    }
    for term in [
        "all:x",
        "all/8",
        "-",
        "moo",
        "+-all",
        "a:",
        "a/33",
        "a/032",
        "a/",
        "a//129",
        "a//",
        "a:x.example/24/64",
        "a:x",
        "a:x.123",
        "a:x.-y",
        "a:x.y-",
        "a: x",
        "mx:a.example/99",
        "ptr/0",
        "ptr:",
        "include",
        "include:",
        "include/24",
        "exists",
        "exists:a.example/24",
        "ip4",
        "ip4:",
        "ip4:192.0.2",
        "ip4:192.0.2.0/33",
        "ip4:::1",
        "ip4:192.0.2.0//24",
        "ip6:192.0.2.1",
        "ip6:::1/129",
        "ip6:::1//64",
        "redirect=",
        "redirect=x",
        "redirect:a.example",
        "redirect=a.b redirect=a.b",
        "exp=a.b exp=a.b",
        "exp=%{x}.a.b",
        "=x",
        "1x=y",
        "x=%",
        "x=%(d)",
        "x=%{d",
        "a:%{d0}.a.b",
        "a:%{}.a.b",
        "a:%{c}.a.b",
        "a:%{dr2}.a.b",
        "a:%{d!}.a.b",
        "a:%a.b",
        "a:\u{fc}.a.b",
        "a:a\r.b",
    ] {
        let text = format!("v=spf1 ip4:192.0.2.1 {term} -all");
        assert!(Record::parse(&text).is_none(), "{text}");
    }
}

#[test]
fn macros_stand_for_what_the_rfc_says() {
    // RFC 7208 §7.4.
    let values = |ip: &str| Values {
        sender: "strong-bad@email.example.com",
        domain: "email.example.com",
        ip: ip.parse().unwrap(),
        helo: "mx.example.com",
        name: "unknown",
    };
    for (text, expected) in [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("%%%_%-.%{h}", "% %20.mx.example.com"),
    ] {
        let found = MacroString::domain(text).unwrap().expand(&values("192.0.2.3"));
        assert_eq!(found, expected, "{text}");
    }
    let found = MacroString::domain("%{ir}.%{v}._spf.%{d2}").unwrap();
    assert_eq!(
        found.expand(&values("2001:db8::cb01")),
        "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
    );
    let long = MacroString::domain(&"long.".repeat(60)).map(|long| long.expand(&values("::1")));
    assert_eq!(long.unwrap().len(), 249);
}
