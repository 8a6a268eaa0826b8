#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use super::*;
use crate::dns::world::World;

const ZONE: &str = "
$TTL 60
1.2.0.192.in-addr.arpa.  PTR  mail.example.org.
2.2.0.192.in-addr.arpa.  PTR  mail.example.org.
3.2.0.192.in-addr.arpa.  PTR  nowhere.example.org.
4.2.0.192.in-addr.arpa.  PTR  nowhere.example.org.
4.2.0.192.in-addr.arpa.  PTR  four.example.org.
6.2.0.192.in-addr.arpa.  PTR  silent.example.org.
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mail.example.org.
mail.example.org.        A    192.0.2.1
mail.example.org.        AAAA 2001:db8::1
four.example.org.        A    192.0.2.4
text.example.org.        TXT  \"hello\"
";

async fn world() -> (World, Resolver) {
    let world = World::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    world.load(".", ZONE).unwrap();
    for silent in ["silent.example.org", "5.2.0.192.in-addr.arpa"] {
        world.fail(&silent.parse().unwrap(), true);
    }
    let resolver = Resolver::new(&[world.local()]).unwrap();
    (world, resolver)
}

#[tokio::test]
async fn a_name_counts_when_it_leads_back() {
    let (_world, resolver) = world().await;
    let name = |name: &str| name.parse::<Domain>().unwrap();
    for (ip, expected) in [
        ("192.0.2.1", Reverse::Confirmed(name("mail.example.org"))),
        ("::ffff:192.0.2.1", Reverse::Confirmed(name("mail.example.org"))),
        ("2001:db8::1", Reverse::Confirmed(name("mail.example.org"))),
        ("192.0.2.2", Reverse::Unconfirmed(name("mail.example.org"))),
        ("192.0.2.3", Reverse::Unconfirmed(name("nowhere.example.org"))),
        ("192.0.2.4", Reverse::Confirmed(name("four.example.org"))),
        ("192.0.2.9", Reverse::NoName),
    ] {
        assert_eq!(Reverse::look_up(&resolver, ip.parse().unwrap()).await, expected, "{ip}");
    }
    for ip in ["192.0.2.5", "192.0.2.6"] {
        let found = Reverse::look_up(&resolver, ip.parse().unwrap()).await;
        assert!(matches!(found, Reverse::CouldNotTell(_)), "{ip}: {found:?}");
    }
}

#[tokio::test]
async fn the_name_in_helo_is_compared_with_the_peer() {
    let (_world, resolver) = world().await;
    let found = async |helo: &str, ip: &str| {
        let found = Helo::look_up(&resolver, helo, ip.parse().unwrap()).await;
        format!("{found:?}").split('(').next().unwrap_or_default().to_owned()
    };
    for (helo, ip, expected) in [
        ("mail.example.org", "192.0.2.1", "Confirmed"),
        ("MAIL.example.org.", "::ffff:192.0.2.1", "Confirmed"),
        ("mail.example.org", "192.0.2.2", "Elsewhere"),
        ("missing.example.org", "192.0.2.1", "Unknown"),
        ("text.example.org", "192.0.2.1", "Unknown"),
        ("silent.example.org", "192.0.2.1", "CouldNotTell"),
        ("[192.0.2.1]", "192.0.2.1", "Literal"),
        ("[IPv6:2001:db8::1]", "2001:db8::1", "Literal"),
        ("[192.0.2.2]", "192.0.2.1", "Malformed"),
        ("[192.0.2.1", "192.0.2.1", "Malformed"),
        ("[2001:db8::1]", "2001:db8::1", "Malformed"),
        ("192.0.2.1", "192.0.2.1", "Malformed"),
        ("localhost", "192.0.2.1", "Malformed"),
        ("a b", "192.0.2.1", "Malformed"),
        ("", "192.0.2.1", "Malformed"),
    ] {
        assert_eq!(found(helo, ip).await, expected, "{helo} from {ip}");
    }
}

#[test]
fn names_of_lines_are_told_from_names_of_servers() {
    let is = |name: &str, ip: &str| generic(&name.parse().unwrap(), ip.parse().unwrap()).is_some();
    for (name, ip) in [
        ("p5b1e2d3c.dip0.t-ipconnect.de", "91.30.45.60"),
        ("192-0-2-17.example.net", "192.0.2.17"),
        ("17.2.0.192.example.net", "192.0.2.17"),
        ("host192000002017.example.net", "192.0.2.17"),
        ("hc0000211.example.net", "192.0.2.17"),
        ("dyn-17.example.net", "198.51.100.3"),
        ("x.dsl.example.net", "198.51.100.3"),
        ("pool-9-8-7.example.net", "198.51.100.3"),
        ("cpe-1.cable.example.net", "198.51.100.3"),
        ("static-2-17.customer.example.net", "192.0.2.17"),
        ("ip-0-2-17.example.net", "192.0.2.17"),
        ("20010db800000001021122fffe334455.example.net", "2001:db8:0:1:211:22ff:fe33:4455"),
        ("2001-db8-0-1-0211-22ff-fe33-4455.example.net", "2001:db8:0:1:211:22ff:fe33:4455"),
    ] {
        assert!(is(name, ip), "{name}");
    }
    for (name, ip) in [
        ("mail.example.org", "192.0.2.17"),
        ("mx17.example.org", "192.0.2.17"),
        ("mail.dynadot.com", "192.0.2.17"),
        ("mail.pool.org", "192.0.2.17"),
        ("cable.example", "192.0.2.17"),
        ("mail-yw1-f169.google.com", "209.85.128.169"),
        ("a27-42.smtp-out.us-west-2.amazonses.com", "54.240.27.42"),
        ("o1.ptr1234.sendgrid.net", "167.89.12.34"),
        ("mail1.example.org", "2001:db8::1"),
        ("resolver.example.org", "192.0.2.17"),
    ] {
        assert!(!is(name, ip), "{name}");
    }
}
