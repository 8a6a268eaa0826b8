//! Exceptions from the way everything goes, reuse of connections, and young boxes.

use super::*;
use crate::config::{Route, Via};

fn relay(host: &Host, address: &str) -> Relay {
    Relay {
        host: address.parse().unwrap(),
        port: host.port(),
        login: None,
        tls: RelayTls::None,
        spf: None,
    }
}

impl Office {
    /// The same box with other settings for the way out.
    fn resettle(&mut self, change: impl FnOnce(&mut Outbound)) {
        let Self { folder, store, accounts, world, clock, port, .. } = self;
        let mode = self.mode.clone();
        let mut parts = parts(folder.path(), store, accounts, world, clock, *port, mode);
        change(&mut parts.outbound);
        self.queue = Queue::new(parts).unwrap();
    }
}

#[tokio::test]
async fn what_is_refused_for_where_the_box_stands_goes_by_the_relay_at_once() {
    let direct = Host::start("127.0.0.2:0").await;
    let other = Host::start("127.0.0.4:0").await;
    direct.answer(
        "bob@example.net",
        "554 5.7.1 Service unavailable; blocked, see https://www.spamhaus.org/query/pbl",
    );
    direct.answer("carol@example.net", "550 5.1.1 no such user");
    let mut office = Office::new(direct.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    let via = Via::Relay(relay(&other, "127.0.0.4"));
    office.resettle(|outbound| {
        outbound.routes = vec![Route { from: None, to: None, if_refused: true, via }];
    });
    office.run();
    office.submit(&["bob@example.net", "carol@example.net", "dora@example.net"]).await;
    office.until_empty().await;
    let to = |host: &Host| host.got().into_iter().flat_map(|mail| mail.to).collect::<Vec<_>>();
    assert_eq!(
        (to(&direct), to(&other)),
        (vec!["dora@example.net".into()], vec!["bob@example.net".into()])
    );
    // Who does not exist there exists nowhere.
    let inbox = office.inbox();
    assert_eq!(inbox.len(), 1);
    let about = |who: &str| inbox[0].contains(&format!("Final-Recipient: rfc822; {who}@"));
    assert!(about("carol") && !about("bob"), "{}", inbox[0]);
    // A relay that refuses too has the last word.
    other.answer("bob@example.net", "550 5.7.1 not through me: dynamic ip");
    office.submit(&["bob@example.net"]).await;
    office.until_empty().await;
    assert!(office.inbox()[1].contains("not through me"));

    // A host that refuses the whole conversation.
    direct.answer("", "554 5.7.1 your address is on our block list");
    other.answer("bob@example.net", "250 ok");
    tokio::time::sleep(Timeouts::default().idle + Duration::from_millis(500)).await;
    office.submit(&["bob@example.net"]).await;
    office.until_empty().await;
    assert_eq!(to(&other).len(), 2);
}

#[tokio::test]
async fn domains_may_have_ways_of_their_own() {
    let host = Host::start("127.0.0.2:0").await;
    let other = Host::start("127.0.0.4:0").await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    let via = Via::Relay(relay(&other, "127.0.0.4"));
    let to = Some("other.test".parse().unwrap());
    office.resettle(|outbound| {
        outbound.routes = vec![Route { from: None, to, if_refused: false, via }];
    });
    office.run();
    office.submit(&["bob@example.net", "x@other.test"]).await;
    office.until_empty().await;
    assert_eq!(host.got()[0].to, ["bob@example.net"]);
    assert_eq!(other.got()[0].to, ["x@other.test"]);
}

#[tokio::test]
async fn messages_close_behind_each_other_share_a_connection() {
    let host = Host::start("127.0.0.2:0").await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office.world.load(".", ZONE).unwrap();
    office.run();
    for _ in 0..5 {
        office.submit(&["bob@example.net"]).await;
        office.until_empty().await;
    }
    assert_eq!((host.got().len(), host.connections()), (5, 1));
}

#[tokio::test]
async fn strangers_whose_hosts_never_answer_do_not_hold_up_our_people() {
    let host = Host::start("127.0.0.2:0").await;
    let silent = tokio::net::TcpListener::bind(("127.0.0.4", host.port())).await.unwrap();
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    let slow = |n| format!("s{n}.test. MX 10 mx.slow.test.\n");
    let slow: Vec<String> = (0..PLACES + 2).map(slow).collect();
    office.world.load(".", &format!("{ZONE}mx.slow.test. A 127.0.0.4\n{}", slow.concat())).unwrap();
    // Reports, as whoever wrote to us may have asked for.
    for n in 0..PLACES + 2 {
        office.send("", &[&format!("rua@s{n}.test")], Source::Own).await.unwrap();
    }
    office.run();
    let mut open = vec![silent.accept().await.unwrap()];
    while let Ok(one) = tokio::time::timeout(Duration::from_secs(1), silent.accept()).await {
        open.push(one.unwrap());
    }
    assert!(open.len() > 1, "reports go one by one");
    // Nor those for a host that answers, while they wait for the others.
    for n in 0..3 {
        office.send("", &[&format!("rua{n}@example.net")], Source::Own).await.unwrap();
    }
    office.until("a look at the queue", |b| b.queue.inner.busy().len() == PLACES + 5).await;
    office.submit(&["bob@example.net"]).await;
    office.until("delivery", |_| !host.got().is_empty()).await;
}

#[tokio::test]
async fn reports_leave_our_people_what_a_large_provider_takes_from_a_young_box() {
    let host = Host::start("127.0.0.2:0").await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office
        .world
        .load(".", "$TTL 0\nbig.test. MX 10 mx.yandex.net.\nmx.yandex.net. A 127.0.0.2\n")
        .unwrap();
    let to: Vec<String> = (0..25).map(|n| format!("n{n}@big.test")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    office.send("", &to, Source::Own).await.unwrap();
    office.run();
    office.until_tried(1).await;
    assert_eq!(host.got()[0].to.len(), 5, "a quarter of the first day's");
    office.submit(to.get(..15).unwrap()).await;
    office.until("delivery", |_| host.got().len() == 2).await;
    assert_eq!(host.got()[1].to.len(), 15);
}

#[tokio::test]
async fn a_young_box_sends_a_large_provider_little_and_the_rest_waits() {
    let host = Host::start("127.0.0.2:0").await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office
        .world
        .load(".", "$TTL 0\nbig.test. MX 10 mx.yandex.net.\nmx.yandex.net. A 127.0.0.2\n")
        .unwrap();
    office.run();
    let to: Vec<String> = (0..25).map(|n| format!("n{n}@big.test")).collect();
    office.submit(&to.iter().map(String::as_str).collect::<Vec<_>>()).await;
    office.until_tried(1).await;
    assert_eq!(host.got()[0].to.len(), 20);
    let item = &office.queue.list().unwrap()[0];
    assert_eq!(item.recipients.len(), 5);
    assert!(item.recipients[0].1.contains("Yandex does not know this box yet"), "{item:?}");
    // The next day it is more. Nothing was returned, and no delay is the host's fault.
    office.pass(Duration::from_hours(25));
    office.until_empty().await;
    assert_eq!(host.got().iter().map(|mail| mail.to.len()).sum::<usize>(), 25);
}

#[tokio::test]
async fn every_address_of_a_host_is_tried() {
    let host = Host::start("127.0.0.5:0").await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    let zone = "$TTL 0\nexample.net. MX 10 many.example.net.\n\
        many.example.net. A 127.0.0.2\nmany.example.net. A 127.0.0.3\n\
        many.example.net. A 127.0.0.5\nmany.example.net. AAAA ::1\n";
    office.world.load(".", zone).unwrap();
    office.run();
    office.submit(&["bob@example.net"]).await;
    office.until_empty().await;
    assert_eq!(host.got().len(), 1);
}

#[tokio::test]
async fn ipv6_comes_first_only_under_the_name_of_the_box() {
    for named in [false, true] {
        let four = Host::start("127.0.0.2:0").await;
        let six = Host::start(&format!("[::1]:{}", four.port())).await;
        let mut office = Office::new(four.port(), OutboundMode::Direct).await;
        let zone = "$TTL 0\nexample.net. MX 10 both.example.net.\n\
            both.example.net. A 127.0.0.2\nboth.example.net. AAAA ::1\n";
        office.world.load(".", zone).unwrap();
        if named {
            *office.queue.inner.six.lock().unwrap() = Some((std::time::Instant::now(), true));
        }
        office.run();
        office.submit(&["bob@example.net"]).await;
        office.until_empty().await;
        let expected = if named { (0, 1) } else { (1, 0) };
        assert_eq!((four.got().len(), six.got().len()), expected);
    }
}

#[tokio::test]
async fn an_address_has_the_name_of_the_box_only_there_and_back() {
    let office = Office::new(2, OutboundMode::Hold).await;
    let own = "2001:db8::25".parse().unwrap();
    let there = "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. \
        PTR box.example.org.\n";
    let back = "box.example.org. AAAA 2001:db8::25\n";
    for (record, named) in [("", false), (there, false), (back, true)] {
        if !record.is_empty() {
            office.world.load(".", &format!("$TTL 0\n{record}")).unwrap();
            office.queue.inner.resolver.forget();
        }
        assert_eq!(office.queue.inner.is_named(own).await, named, "{record}");
    }
}
