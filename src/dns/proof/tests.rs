#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use std::net::SocketAddr;

use super::*;
use crate::dns::world::World;

const ZONE: &str = "
$TTL 60
far.test.           MX    10 mx.far.test.
mx.far.test.        A     127.0.0.2
_25._tcp.mx.far.test. TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
alias.far.test.     CNAME mx.far.test.
plain.test.         MX    10 mx.plain.test.
mx.plain.test.      A     127.0.0.3
mixed.test.         CNAME mx.plain.test.
twice.far.test.     CNAME alias.far.test.
out.plain.test.     CNAME mx.far.test.
";

async fn world() -> (World, Resolver, tempfile::TempDir) {
    let world = World::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    world.load(".", ZONE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("anchor");
    std::fs::write(&file, world.sign([7; 32]).unwrap()).unwrap();
    world.cut_off(&domain("plain.test"));
    let resolver = Resolver::with_trust_anchor(&[world.local()], &file).unwrap();
    (world, resolver, folder)
}

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_is_signed_is_proved_and_what_is_not_is_found_all_the_same() {
    let (_world, resolver, _folder) = world().await;
    let mx = resolver.proved_mx(&domain("far.test"), true).await;
    assert!(mx.secure && matches!(mx.answer, Answer::Yes(_)), "{mx:?}");
    for host in ["mx.far.test", "alias.far.test"] {
        let at = resolver.proved_addresses(&domain(host), true).await;
        assert!(at.secure && matches!(at.answer, Answer::Yes(_)), "{at:?}");
    }
    let tlsa = resolver.tlsa(&domain("mx.far.test"), 25, true).await;
    assert!(tlsa.secure, "{tlsa:?}");
    let Answer::Yes(tlsa) = tlsa.answer else { panic!("{tlsa:?}") };
    assert!(tlsa[0].is_usable() && tlsa[0].usage == Usage::Host && tlsa[0].data.len() == 32);
    // That there is none is proved as well.
    let none = resolver.tlsa(&domain("mx.far.test"), 2525, true).await;
    assert_eq!((none.secure, none.answer), (true, Answer::No(Absence::NoRecord)));

    let mx = resolver.proved_mx(&domain("plain.test"), true).await;
    assert!(!mx.secure && matches!(mx.answer, Answer::Yes(_)), "{mx:?}");
    for host in ["mx.plain.test", "mixed.test"] {
        let at = resolver.proved_addresses(&domain(host), true).await;
        assert!(!at.secure && matches!(at.answer, Answer::Yes(_)), "{at:?}");
    }
}

#[tokio::test]
async fn what_is_forged_could_not_be_told() {
    let (world, resolver, _folder) = world().await;
    world.spoil(&domain("far.test"));
    world.spoil(&domain("_25._tcp.mx.far.test"));
    let mx = resolver.proved_mx(&domain("far.test"), true).await;
    assert!(matches!(&mx.answer, Answer::CouldNotTell(why) if why.contains("forged")), "{mx:?}");
    let tlsa = resolver.tlsa(&domain("mx.far.test"), 25, true).await;
    assert!(!tlsa.secure && matches!(tlsa.answer, Answer::CouldNotTell(_)), "{tlsa:?}");
    // Signatures have dates: a clock nobody believes proves nothing and disproves nothing.
    let mx = resolver.proved_mx(&domain("far.test"), false).await;
    assert!(!mx.secure && matches!(mx.answer, Answer::Yes(_)), "{mx:?}");
}

#[tokio::test]
async fn a_server_that_drops_signatures_does_not_stop_the_mail() {
    let (world, _, folder) = world().await;
    let plain = World::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    plain.load(".", ZONE).unwrap();
    let anchor = folder.path().join("anchor");
    let resolver = Resolver::with_trust_anchor(&[plain.local()], &anchor).unwrap();
    let mx = resolver.proved_mx(&domain("far.test"), true).await;
    assert!(!mx.secure && matches!(mx.answer, Answer::Yes(_)), "{mx:?}");
    let tlsa = resolver.tlsa(&domain("mx.far.test"), 25, true).await;
    assert!(!tlsa.secure, "{tlsa:?}");
    drop(world);
}

#[tokio::test]
async fn an_alias_is_followed_as_far_as_it_is_proved() {
    let (world, resolver, _folder) = world().await;
    for (host, names) in [
        ("mx.far.test", &["mx.far.test"][..]),
        ("alias.far.test", &["mx.far.test", "alias.far.test"]),
        ("twice.far.test", &["mx.far.test", "twice.far.test"]),
        // It leads out of what is proved: only its own name is.
        ("mixed.test", &["mixed.test"]),
        ("mx.plain.test", &[]),
        ("out.plain.test", &[]),
    ] {
        let at = resolver.proved_addresses(&domain(host), true).await;
        let found = resolver.tlsa_names(&domain(host), at.secure, true).await;
        let expected = names.iter().map(|name| domain(name)).collect();
        assert_eq!(found, Answer::Yes(expected), "{host}");
    }
    world.spoil(&domain("alias.far.test"));
    resolver.forget();
    let found = resolver.tlsa_names(&domain("alias.far.test"), true, true).await;
    assert!(matches!(found, Answer::CouldNotTell(_)), "{found:?}");
}
