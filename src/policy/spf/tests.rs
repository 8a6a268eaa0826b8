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
