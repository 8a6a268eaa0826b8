use std::net::SocketAddr;

use super::*;
use crate::dns::world::World;
use crate::policy::tests::late;

const GOOD: &str = "
$TTL 60
2.0.0.127    A 127.0.0.2
99.2.0.203   A 127.0.0.4
99.2.0.203   A 127.0.0.10
98.2.0.203   A 127.255.255.254
97.2.0.203   A 127.0.0.77
96.2.0.203   A 198.18.0.1
3.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.d.7.0.a.2 A 127.0.0.2
";

async fn world() -> (World, Resolver) {
    let world = World::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let resolver = Resolver::new(&[world.local()]).unwrap();
    (world, resolver)
}

fn list(zone: &str, about: About) -> List {
    let defaults = List::defaults();
    let codes = defaults.first().unwrap().codes.clone();
    List { zone: zone.parse().unwrap(), about, test: TEST_ADDRESS.to_owned(), codes }
}

fn only(findings: &[Finding]) -> Listing {
    let [one] = findings else { panic!("{findings:?}") };
    one.listing.clone()
}

#[tokio::test]
async fn an_address_is_listed_or_not_or_nobody_can_tell() {
    let (world, resolver) = world().await;
    world.load("good.example.", GOOD).unwrap();
    let dnsbl = Dnsbl::new(resolver, vec![list("good.example", About::Addresses)]);
    assert!(dnsbl.probe().await);
    let ask = |peer: &str| {
        let (dnsbl, peer) = (dnsbl.clone(), peer.parse().unwrap());
        async move { only(&dnsbl.ask(peer, late()).await) }
    };
    // The strongest of several answers counts.
    let Listing::Listed { points, meaning } = ask("203.0.2.99").await else { panic!("not listed") };
    assert_eq!((points, meaning.as_str()), (60, "a hijacked machine (Spamhaus XBL)"));
    assert!(matches!(ask("::ffff:203.0.2.99").await, Listing::Listed { .. }));
    assert_eq!(ask("203.0.2.1").await, Listing::NotListed);
    // A code that the list's table does not have means nothing.
    assert_eq!(ask("203.0.2.97").await, Listing::NotListed);
    // "Not through a public resolver", and a resolver that sells ads.
    assert!(matches!(ask("203.0.2.98").await, Listing::CouldNotTell(_)));
    assert!(matches!(ask("203.0.2.96").await, Listing::CouldNotTell(_)));
    world.fail(&"95.2.0.203.good.example".parse().unwrap(), true);
    assert!(matches!(ask("203.0.2.95").await, Listing::CouldNotTell(_)));
}

#[test]
fn addresses_are_asked_about_backwards() {
    let both = list("l.example", About::Addresses);
    let ask = |list: &List, peer: &str| {
        list.question(&Subject::Address(peer.parse().unwrap())).map(|name| name.to_string())
    };
    assert_eq!(ask(&both, "192.0.2.99").unwrap(), "99.2.0.192.l.example");
    // The example of RFC 5782 §2.4.
    assert_eq!(
        ask(&both, "2001:db8:1:2:3:4:567:89ab").unwrap(),
        "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.l.example"
    );
    assert_eq!(ask(&list("l.example", About::Ipv4), "2001:db8::1"), None);
    assert_eq!(ask(&list("l.example", About::Names), "192.0.2.99"), None);
}

#[tokio::test]
async fn a_list_that_fails_its_own_test_is_not_used() {
    let (world, resolver) = world().await;
    world.load("good.example.", GOOD).unwrap();
    world.load("all.example.", "$TTL 60\n1.0.0.127 A 127.0.0.2\n2.0.0.127 A 127.0.0.2\n").unwrap();
    world.load("none.example.", "$TTL 60\n9.9 A 127.0.0.2\n").unwrap();
    let shut = "$TTL 60\n1.0.0.127 A 127.255.255.254\n2.0.0.127 A 127.255.255.254\n";
    world.load("shut.example.", shut).unwrap();
    let zones = ["good.example", "all.example", "none.example", "shut.example"];
    let lists = zones.map(|zone| list(zone, About::Addresses)).to_vec();
    let dnsbl = Dnsbl::new(resolver.clone(), lists);
    assert_eq!(
        dnsbl.ask("203.0.2.99".parse().unwrap(), late()).await,
        [],
        "used before it was tried"
    );
    assert!(!dnsbl.probe().await, "one could not be told");
    let health: Vec<Health> = dnsbl.health().into_iter().map(|(_, health)| health).collect();
    assert_eq!(health, [Health::Sound, Health::Unsound, Health::Unsound, Health::Unknown]);
    assert_eq!(dnsbl.ask("203.0.2.99".parse().unwrap(), late()).await.len(), 1);
    // It begins to list the world one day.
    world.load("good.example.", "$TTL 60\n1.0.0.127 A 127.0.0.2\n").unwrap();
    resolver.forget();
    dnsbl.probe().await;
    assert_eq!(dnsbl.ask("203.0.2.99".parse().unwrap(), late()).await, []);
}

#[tokio::test]
async fn neighbours_are_never_asked_about() {
    let (world, resolver) = world().await;
    world.load("good.example.", GOOD).unwrap();
    let dnsbl = Dnsbl::new(resolver, vec![list("good.example", About::Addresses)]);
    *dnsbl.inner.health.lock().unwrap() = vec![Health::Sound];
    for peer in [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.9",
        "172.16.5.5",
        "169.254.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:192.168.0.1",
        "2001:db8::1",
    ] {
        assert_eq!(dnsbl.ask(peer.parse().unwrap(), late()).await, [], "{peer}");
    }
    assert_eq!(dnsbl.ask("203.0.2.5".parse().unwrap(), late()).await.len(), 1);
}

#[tokio::test]
async fn names_have_lists_of_their_own() {
    let (world, resolver) = world().await;
    let zone = "$TTL 60\ndbltest.com A 127.0.1.2\nbad.shop A 127.0.1.4\n";
    world.load("names.example.", zone).unwrap();
    world.load("good.example.", GOOD).unwrap();
    let mut names = List::defaults().pop().unwrap();
    names.zone = "names.example".parse().unwrap();
    let dnsbl = Dnsbl::new(resolver, vec![names, list("good.example", About::Addresses)]);
    assert!(dnsbl.probe().await);
    let found = dnsbl.ask_names(vec!["bad.shop".parse().unwrap()], late()).await;
    assert!(matches!(only(&found), Listing::Listed { points: 70, .. }), "{found:?}");
    let found = dnsbl.ask_names(vec!["good.shop".parse().unwrap()], late()).await;
    assert_eq!(only(&found), Listing::NotListed);
}

#[test]
fn the_owner_chooses_the_lists() {
    assert_eq!(List::chosen(None), List::defaults());
    assert_eq!(List::chosen(Some(&[])), []);
    let zones = ["zen.spamhaus.org", "bl.example.org"].map(|zone| zone.parse().unwrap());
    let chosen = List::chosen(Some(&zones));
    assert_eq!(chosen.first(), List::defaults().first());
    let own = chosen.last().unwrap().read(&[Ipv4Addr::new(127, 0, 0, 5)]);
    let meaning = "on the block list bl.example.org".to_owned();
    assert_eq!(own, Listing::Listed { points: 20, meaning });
    // With a key, Spamhaus' lists are asked elsewhere, and mean the same.
    let keyed = ["abc.zen.dq.spamhaus.net", "abc.dbl.dq.spamhaus.net"].map(|z| z.parse().unwrap());
    let chosen = List::chosen(Some(&keyed));
    let [zen, dbl] = chosen.as_slice() else { panic!("{chosen:?}") };
    assert_eq!((&zen.zone, &dbl.zone), (&keyed[0], &keyed[1]));
    let bad = zen.read(&[Ipv4Addr::new(127, 0, 0, 4)]);
    assert!(matches!(bad, Listing::Listed { points: 60, .. }), "{bad:?}");
    assert_eq!((dbl.about, dbl.test.as_str()), (About::Names, "dbltest.com"));
}

#[test]
fn what_a_list_says_of_our_questions_is_said_of_nobody() {
    let lists = List::defaults();
    let read = |zone: &str, answer: [u8; 4]| {
        let list = lists.iter().find(|list| list.zone.as_str() == zone).unwrap();
        list.read(&[answer.into()])
    };
    for (zone, answer) in [
        ("zen.spamhaus.org", [127, 255, 255, 252]),
        ("zen.spamhaus.org", [127, 255, 255, 254]),
        ("dbl.spamhaus.org", [127, 255, 255, 255]),
        ("dbl.spamhaus.org", [127, 0, 1, 255]),
        ("list.dnswl.org", [127, 0, 0, 255]),
    ] {
        let said = read(zone, answer);
        assert!(matches!(said, Listing::CouldNotTell(_)), "{zone} {answer:?}: {said:?}");
    }
    assert_eq!(read("list.dnswl.org", [127, 0, 10, 3]), Listing::NotListed, "for asking too much");
    assert_eq!(read("list.dnswl.org", [127, 0, 15, 1]), Listing::NotListed, "advertisements");
    let bank = read("list.dnswl.org", [127, 0, 2, 3]);
    assert!(matches!(bank, Listing::Listed { points: -20, .. }), "{bank:?}");
}

#[test]
fn the_default_lists_can_be_asked() {
    let lists = List::defaults();
    assert_eq!(lists.len(), DEFAULTS.len());
    assert!(lists.iter().all(|list| !list.codes.is_empty()));
}

#[test]
fn a_list_that_never_answers_is_asked_less_and_less() {
    let pauses: Vec<u64> = (0..10).map(|n| pause(false, n).as_secs() / 60).collect();
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]);
    assert_eq!(
        (pause(true, 0), pause(true, u32::MAX), pause(false, u32::MAX)),
        (AGAIN, AGAIN, AGAIN)
    );
}
