#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use std::net::SocketAddr;

use super::world::World;
use super::*;

const ZONE: &str = "
$TTL 60
@            SOA ns admin 1 3600 600 86400 0
@            MX  20 backup
@            MX  10 mail
@            TXT \"v=spf1 \" \"mx -all\"
mail         A    192.0.2.1
mail         AAAA 2001:db8::1
backup       A    192.0.2.2
none         MX   0 .
alias        CNAME mail
xn--bcher-kva MX  5 mail
";

async fn world() -> (World, Resolver) {
    let world = World::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    world.load("example.org.", ZONE).unwrap();
    world.load("2.0.192.in-addr.arpa.", "$TTL 60\n1 PTR mail.example.org.\n").unwrap();
    let resolver = Resolver::new(&[world.local()]).unwrap();
    (world, resolver)
}

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_is_published_is_found() {
    let (_world, resolver) = world().await;
    let mx = |preference, host: &str| Mx { preference, host: Some(domain(host)) };
    assert_eq!(
        resolver.mx(&domain("example.org")).await,
        Answer::Yes(vec![mx(10, "mail.example.org"), mx(20, "backup.example.org")])
    );
    assert_eq!(
        resolver.mx(&domain("Bücher.example.org")).await,
        Answer::Yes(vec![mx(5, "mail.example.org")])
    );
    let both = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    for host in ["mail.example.org", "alias.example.org"] {
        assert_eq!(resolver.addresses(&domain(host)).await, Answer::Yes(both.clone()));
    }
    assert_eq!(
        resolver.txt(&domain("example.org")).await,
        Answer::Yes(vec!["v=spf1 mx -all".into()])
    );
    assert_eq!(
        resolver.ptr("192.0.2.1".parse().unwrap()).await,
        Answer::Yes(vec![domain("mail.example.org")])
    );
}

#[tokio::test]
async fn no_and_could_not_tell_are_told_apart() {
    let (world, resolver) = world().await;
    let null = Mx { preference: 0, host: None };
    let asked = resolver.mx(&domain("none.example.org")).await;
    assert_eq!(asked, Answer::Yes(vec![null]));
    assert_eq!(resolver.mx(&domain("mail.example.org")).await, Answer::No(Absence::NoRecord));
    assert_eq!(resolver.mx(&domain("nobody.example.org")).await, Answer::No(Absence::NoName));

    world.fail(&domain("broken.example.org"), true);
    let asked = resolver.addresses(&domain("broken.example.org")).await;
    assert!(matches!(asked, Answer::CouldNotTell(_)), "{asked:?}");

    let gone = Resolver::new(&[SocketAddr::from(([127, 0, 0, 1], 9))]).unwrap();
    let asked = gone.mx(&domain("example.org")).await;
    assert!(matches!(asked, Answer::CouldNotTell(_)), "{asked:?}");
}

#[tokio::test]
async fn a_record_that_appears_is_seen() {
    let (world, resolver) = world().await;
    let name = domain("pb1._domainkey.example.org");
    assert_eq!(resolver.txt(&name).await, Answer::No(Absence::NoName));
    let long = "x".repeat(200);
    world.load(".", &format!("$TTL 0\n{name}. TXT \"{long}\" \"{long}\" \"{long}\"\n")).unwrap();
    resolver.forget();
    // Longer than a UDP answer without EDNS: comes over TCP.
    assert_eq!(resolver.txt(&name).await, Answer::Yes(vec![long.repeat(3)]));
}

#[tokio::test]
async fn the_systems_servers_may_come_late_and_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolv.conf");
    let system = Arc::new(System::new(&file, proof::Anchors::default()));
    let resolver = Resolver { servers: Servers::System(Arc::clone(&system)) };
    for text in [None, Some("# no link yet\n")] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let asked = resolver.txt(&domain("example.org")).await;
        assert!(matches!(&asked, Answer::CouldNotTell(why) if why.contains("cable")), "{asked:?}");
    }
    // Such a file names no port, so that nothing of this machine could be asked here.
    for server in ["192.0.2.1", "192.0.2.2"] {
        let text = format!("nameserver {server}\n");
        std::fs::write(&file, &text).unwrap();
        resolver.present().unwrap();
        assert_eq!(system.read.lock().unwrap().as_ref().unwrap().0, text.into_bytes());
    }
}
