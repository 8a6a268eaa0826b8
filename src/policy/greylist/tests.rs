use super::*;

const REASON: &str = "the sender's address has no name";

fn list() -> (tempfile::TempDir, Greylist) {
    let folder = tempfile::tempdir().unwrap();
    let list = Greylist::open(Arc::new(Notes::open(folder.path())));
    (folder, list)
}

fn triplet(peer: &str, from: &str, to: &str) -> Triplet {
    Triplet { peer: peer.parse().unwrap(), from: from.parse().ok(), to: to.parse().unwrap() }
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
}

#[test]
fn who_comes_back_is_let_through_and_remembered() {
    let (_folder, list) = list();
    let one = triplet("192.0.2.7", "shop.example", "alice@x.org");
    assert_eq!(list.ask(&one, REASON, at(0)), Grey::Wait { left: DELAY });
    assert!(matches!(list.ask(&one, REASON, at(3)), Grey::Wait { .. }), "did not wait");
    // From another machine of the network, with the recipient in other letters.
    let retry = triplet("192.0.2.99", "shop.example", "ALICE@x.org");
    assert_eq!(list.ask(&retry, REASON, at(5)), Grey::Pass);
    let day = 24 * 60;
    assert_eq!(list.ask(&one, REASON, at(30 * day)), Grey::Pass);
    assert_eq!(list.ask(&one, REASON, at(60 * day)), Grey::Pass);
    assert!(matches!(list.ask(&one, REASON, at(96 * day)), Grey::Wait { .. }));
    let shown = list.delayed();
    assert_eq!(shown.len(), 2);
    let latest = shown.first().unwrap();
    assert_eq!((latest.reason.as_str(), latest.passed), (REASON, None));
    assert_eq!((latest.first, latest.retry), (at(96 * day), at(96 * day + 4)));
    assert_eq!(shown.last().unwrap().passed, Some(at(5)), "why it came late is forgotten");
    assert_eq!(list.waiting(at(96 * day)), vec![latest.clone()], "who is over is waited for");
    assert!(list.waiting(at(97 * day)).is_empty(), "nobody comes back after a day");
}

#[test]
fn others_do_not_profit_from_it() {
    let (_folder, list) = list();
    let one = triplet("2001:db8:1:2::5", "shop.example", "alice@x.org");
    list.ask(&one, REASON, at(0));
    assert_eq!(
        list.ask(&triplet("2001:db8:1:2:f::1", "shop.example", "alice@x.org"), "", at(5)),
        Grey::Pass
    );
    for other in [
        triplet("2001:db8:1:3::5", "shop.example", "alice@x.org"),
        triplet("2001:db8:1:2::5", "other.example", "alice@x.org"),
        triplet("2001:db8:1:2::5", "shop.example", "bob@x.org"),
        triplet("2001:db8:1:2::5", "", "alice@x.org"),
    ] {
        assert_eq!(list.ask(&other, REASON, at(5)), Grey::Wait { left: DELAY }, "{other:?}");
    }
}

#[test]
fn a_network_that_came_back_again_and_again_waits_no_more() {
    let (folder, list) = list();
    let one = |n: u8| triplet("192.0.2.7", &format!("d{n}.example"), "alice@x.org");
    for n in 0..RETURNS {
        assert_eq!(list.ask(&one(n), REASON, at(0)), Grey::Wait { left: DELAY }, "{n}");
        assert_eq!(list.ask(&one(n), REASON, at(5)), Grey::Pass);
        // Another message of the same is no return.
        assert_eq!(list.ask(&one(n), REASON, at(6)), Grey::Pass);
    }
    list.keep(at(6)).unwrap();
    drop(list);
    let list = Greylist::open(Arc::new(Notes::open(folder.path())));
    let day = 24 * 60;
    assert_eq!(list.ask(&one(100), REASON, at(30 * day)), Grey::Pass);
    assert_eq!(list.ask(&one(101), REASON, at(60 * day)), Grey::Pass);
    let other = triplet("192.0.3.7", "d1.example", "alice@x.org");
    assert_eq!(list.ask(&other, REASON, at(60 * day)), Grey::Wait { left: DELAY });
    assert!(matches!(list.ask(&one(102), REASON, at(96 * day)), Grey::Wait { .. }));
}

#[test]
fn a_day_later_it_begins_anew() {
    let (_folder, list) = list();
    let one = triplet("192.0.2.7", "shop.example", "alice@x.org");
    list.ask(&one, REASON, at(0));
    assert_eq!(list.ask(&one, REASON, at(25 * 60)), Grey::Wait { left: DELAY });
    assert_eq!(list.ask(&one, REASON, at(25 * 60 + 5)), Grey::Pass);
}

#[test]
fn a_clock_that_jumps_costs_one_delay_at_most() {
    let (_folder, list) = list();
    let one = triplet("192.0.2.7", "shop.example", "alice@x.org");
    list.ask(&one, REASON, at(0));
    assert_eq!(list.ask(&one, REASON, at(10)), Grey::Pass);
    // Back by two days: who was let through still is.
    assert_eq!(list.ask(&one, REASON, at(-2 * 24 * 60)), Grey::Pass);
    let two = triplet("192.0.2.7", "late.example", "alice@x.org");
    list.ask(&two, REASON, at(0));
    assert!(matches!(list.ask(&two, REASON, at(-60)), Grey::Wait { left } if left == DELAY));
    assert_eq!(list.ask(&two, REASON, at(-55)), Grey::Pass);
    // Far ahead, and back.
    let years = 5 * 365 * 24 * 60;
    let three = triplet("192.0.2.7", "years.example", "alice@x.org");
    list.ask(&three, REASON, at(years));
    assert_eq!(list.ask(&three, REASON, at(0)), Grey::Wait { left: DELAY });
    assert_eq!(list.ask(&three, REASON, at(5)), Grey::Pass);
}

#[test]
fn a_restart_forgets_nobody() {
    let (folder, list) = list();
    let [one, two, three] = ["shop.example", "two.example", "three.example"]
        .map(|from| triplet("192.0.2.7", from, "alice@x.org"));
    list.ask(&one, REASON, at(0));
    list.ask(&one, REASON, at(5));
    list.ask(&two, REASON, at(5));
    list.keep(at(5)).unwrap();
    drop(list);
    let list = Greylist::open(Arc::new(Notes::open(folder.path())));
    assert_eq!(list.ask(&one, REASON, at(6)), Grey::Pass);
    assert_eq!(list.ask(&two, REASON, at(10)), Grey::Pass);
    list.keep(at(10)).unwrap();
    assert_eq!(list.ask(&three, REASON, at(10)), Grey::Wait { left: DELAY });
    list.keep(at(11)).unwrap();
    assert_eq!(list.ask(&three, REASON, at(15)), Grey::Pass);
    list.keep(at(15)).unwrap();
    drop(list);
    let list = Greylist::open(Arc::new(Notes::open(folder.path())));
    let shown = list.delayed();
    assert_eq!(shown.first().and_then(|one| one.passed), Some(at(15)), "that it came is forgotten");
    let shown: Vec<_> = shown.iter().skip(1).map(|w| (w.from.as_str(), w.passed)).collect();
    assert_eq!(shown, [("two.example", Some(at(10))), ("shop.example", Some(at(5)))]);
    list.keep(at(60 * 24 * 60)).unwrap();
    assert!(list.lock().rows.is_empty(), "what is over is kept");
}

#[test]
fn a_flood_does_not_fill_the_memory_nor_drive_out_who_was_let_through() {
    let (_folder, list) = list();
    let good = triplet("192.0.2.7", "shop.example", "alice@x.org");
    list.ask(&good, REASON, at(0));
    list.ask(&good, REASON, at(5));
    for number in 0..MOST + 5000 {
        let from = format!("d{number}.example");
        list.ask(&triplet("198.51.100.1", &from, "alice@x.org"), REASON, at(6));
    }
    assert!(list.lock().rows.len() <= MOST);
    assert!(list.delayed().len() <= SHOWN);
    assert_eq!(list.ask(&good, REASON, at(7)), Grey::Pass);
}

#[test]
fn a_flood_from_one_network_makes_nobody_else_wait_again() {
    let (_folder, list) = list();
    let waiting = triplet("192.0.2.7", "shop.example", "alice@x.org");
    assert_eq!(list.ask(&waiting, REASON, at(0)), Grey::Wait { left: DELAY });
    for number in 0..MOST + 5000 {
        let from = format!("d{number}.example");
        list.ask(&triplet("198.51.100.1", &from, "alice@x.org"), REASON, at(1));
    }
    assert_eq!(list.ask(&waiting, REASON, at(5)), Grey::Pass);
}
