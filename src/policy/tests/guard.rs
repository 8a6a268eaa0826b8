//! What the guard decides, and what it does when the DNS does not help.

use std::path::Path;
use std::sync::{Arc as Shared, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::net::{TcpListener, UdpSocket};

use super::super::dmarc::Policy;
use super::super::dnsbl::{Dnsbl, List};
use super::super::greylist::Greylist;
use super::super::guard::{Guard, Judged, Parts, Visit, Witness};
use super::super::junk::{Junk, Marks};
use super::super::notes::Notes;
use super::*;
use crate::clock::SystemClock;
use crate::deliver::{Folder, Judge, Ruling};
use crate::mail::Address;
use crate::store::AccountId;

const ZONE: &str = r#"
good.test. TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.good.test. TXT "v=DMARC1; p=reject"
proved.test. TXT "v=spf1 ip4:198.41.0.4/31 -all"
careful.test. TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.careful.test. TXT "v=DMARC1; p=quarantine"
"#;

/// Keeps what was told of each message.
#[derive(Debug, Default)]
struct Diary(Mutex<Vec<String>>);

impl Witness for Diary {
    fn saw(&self, found: &Authentication, done: Policy, header: &[u8], to: &[Address]) {
        let from = found.dmarc.from.as_ref().map_or("nobody", Domain::as_str);
        let whole = header.starts_with(b"From: ") && header.ends_with(b"\r\n");
        let line = format!("{from} {} {} {whole}", done.as_str(), to.len());
        self.0.lock().unwrap().push(line);
    }
}

/// Three accounts have marks of their own.
fn marks(account: Option<AccountId>) -> Marks {
    match account {
        Some(AccountId(2)) => Marks { junk: -100, refuse: 500 },
        Some(AccountId(3)) => Marks { junk: -100, refuse: -100 },
        Some(AccountId(4)) => Marks { junk: 400, refuse: 500 },
        _ => Marks::default(),
    }
}

fn guard(resolver: &Resolver, folder: &Path) -> Guard {
    guard_with(resolver, folder, Shared::default(), Vec::new())
}

fn guard_with(
    resolver: &Resolver,
    folder: &Path,
    witness: Shared<Diary>,
    lists: Vec<List>,
) -> Guard {
    let notes = Shared::new(Notes::open(folder));
    Guard::new(Parts {
        resolver: resolver.clone(),
        clock: Shared::new(SystemClock),
        hostname: ours(),
        junk: Shared::new(Junk::open(Shared::clone(&notes))),
        marks: Box::new(marks),
        lists: Dnsbl::new(resolver.clone(), lists),
        greylist: Shared::new(Greylist::open(notes)),
        witness,
    })
}

async fn judge(resolver: &Resolver, ip: &str, sender: &str) -> Judged {
    let folder = tempfile::tempdir().unwrap();
    let visit = guard(resolver, folder.path()).meet(peer(ip, "mx.good.test", sender));
    hand_in(visit, sender).await
}

async fn hand_in(mut visit: Visit, sender: &str) -> Judged {
    let date = "Date: Sun, 22 Nov 2026 10:00:00 +0000";
    let header = format!("From: {sender}\r\nTo: b@home.test\r\nSubject: x\r\n{date}");
    let text = format!("{header}\r\nMessage-ID: <1@{sender}>\r\n\r\nhello, see you on Monday\r\n");
    visit.pass(text.as_bytes());
    visit.judge().await
}

#[tokio::test]
async fn only_who_is_unknown_and_suspicious_has_to_come_back() {
    let (_world, resolver) = world(ZONE).await;
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&resolver, folder.path());
    let to = "bob@home.test".parse().unwrap();
    let greet = async |ip, sender| {
        guard.meet(peer(ip, "mx.good.test", sender)).greet(&to, Some(AccountId(1))).await
    };
    assert_eq!(greet("198.41.0.4", "a@proved.test").await, Ok(()), "SPF proves it");
    assert!(greet("198.41.0.9", "a@proved.test").await.is_err(), "SPF speaks against it");
    assert!(greet("198.41.0.9", "a@silent.test").await.is_err(), "no name");
    assert!(greet("198.41.0.9", "a@silent.test").await.is_err(), "it has not waited");
    assert_eq!(greet("192.168.1.9", "a@silent.test").await, Ok(()), "a scanner in the house");
    let friend: Address = "a@silent.test".parse().unwrap();
    guard.sent(AccountId(1), &[friend]);
    assert_eq!(greet("198.41.0.9", "a@silent.test").await, Ok(()), "bob has written to her");
}

#[tokio::test]
async fn an_accounts_own_marks_decide_for_it_alone() {
    let (_world, resolver) = world(ZONE).await;
    let judged = judge(&resolver, "192.0.2.1", "a@good.test").await;
    for (account, folder) in
        [(None, Folder::Inbox), (Some(1), Folder::Inbox), (Some(2), Folder::Junk)]
    {
        let Ruling::File(filing) = judged.judge(account.map(AccountId)) else { panic!("refused") };
        assert_eq!(filing.folder, folder, "{account:?}");
        let fields = String::from_utf8(filing.fields).unwrap();
        let marks = if folder == Folder::Junk { "junk=-100; refuse=500" } else { "junk=50;" };
        assert!(fields.contains(marks), "{fields}");
    }
    assert!(matches!(judged.judge(Some(AccountId(3))), Ruling::Refuse { .. }));
}

#[tokio::test]
async fn who_sends_codes_for_many_does_not_wait_for_being_on_a_list_of_complaints() {
    let (world, resolver) = world(ZONE).await;
    world
        .load("bl.spamcop.net.", "$TTL 60\n4.0.41.198 A 127.0.0.2\n9.0.41.198 A 127.0.0.2\n")
        .unwrap();
    world.load("zen.spamhaus.org.", "$TTL 60\n5.0.41.198 A 127.0.0.4\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let guard = guard_with(&resolver, folder.path(), Shared::default(), List::defaults());
    guard.trust_lists();
    let to = "bob@home.test".parse().unwrap();
    let greet = async |ip, sender| {
        guard.meet(peer(ip, "mx.good.test", sender)).greet(&to, Some(AccountId(1))).await
    };
    assert_eq!(greet("198.41.0.4", "code@proved.test").await, Ok(()), "SPF proves it");
    assert!(greet("198.41.0.9", "code@silent.test").await.is_err(), "nothing proves it");
    assert!(greet("198.41.0.5", "code@proved.test").await.is_err(), "a hijacked machine");
    let delayed = guard.greylist().delayed();
    let reasons: Vec<&str> = delayed.iter().map(|one| one.reason.as_str()).collect();
    let wanted = [
        "its address is a hijacked machine (Spamhaus XBL)",
        "its address is reported by people for junk (SpamCop)",
    ];
    assert_eq!(reasons, wanted);
}

#[tokio::test]
async fn the_authors_domain_decides_about_mail_that_is_not_its_own() {
    let (_world, resolver) = world(ZONE).await;
    let good = judge(&resolver, "192.0.2.1", "a@good.test").await;
    assert!(good.field.starts_with("Authentication-Results: mail.home.test;"), "{}", good.field);
    assert!(good.field.contains("dmarc=pass") && good.field.ends_with("\r\n"), "{}", good.field);
    let Ruling::File(filing) = good.judge(None) else { panic!("{good:?}") };
    assert_eq!(filing.folder, Folder::Inbox);

    let forged = judge(&resolver, "192.0.2.9", "a@good.test").await;
    assert!(forged.field.contains("dmarc=fail"), "{}", forged.field);
    let Ruling::Refuse { otherwise, status, reason } = forged.judge(None) else {
        panic!("{forged:?}")
    };
    assert_eq!((otherwise.folder, status), (Folder::Junk, "5.7.26"));
    assert!(reason.starts_with("good.test asks"), "{reason}");

    let doubtful = judge(&resolver, "192.0.2.9", "a@careful.test").await;
    let Ruling::File(filing) = doubtful.judge(None) else { panic!("{doubtful:?}") };
    assert_eq!(filing.folder, Folder::Junk);
    let fields = String::from_utf8(filing.fields).unwrap();
    assert!(fields.starts_with("X-Pillarbox-Junk: ") && fields.ends_with("\r\nX-Spam: Yes\r\n"));

    // Whatever the account's marks: the field tells what was done, or a later look at Junk would
    // take it for moved there by its person, and learn from it.
    let lenient = Some(AccountId(4));
    let Ruling::File(filing) = doubtful.judge(lenient) else { panic!("{doubtful:?}") };
    assert_eq!(filing.folder, Folder::Junk);
    let fields = String::from_utf8(filing.fields).unwrap();
    assert!(fields.starts_with("X-Pillarbox-Junk: junk; points="), "{fields}");
    let Ruling::Refuse { otherwise, .. } = forged.judge(lenient) else { panic!("{forged:?}") };
    let fields = String::from_utf8(otherwise.fields).unwrap();
    assert!(fields.starts_with("X-Pillarbox-Junk: refuse; points="), "{fields}");
}

#[tokio::test]
async fn who_hides_the_author_gains_no_way_around_the_authors_policy() {
    let (_world, resolver) = world(ZONE).await;
    let folder = tempfile::tempdir().unwrap();
    let filed = async |ip: &str, from: &str| {
        let visit =
            guard(&resolver, folder.path()).meet(peer(ip, "mx.proved.test", "a@proved.test"));
        let Ruling::File(filing) = hand_in(visit, from).await.judge(None) else { panic!("{from}") };
        filing.folder
    };
    for from in ["a@good.test, a@proved.test", "a@good.test\r\nFrom: a@proved.test", "a@good..test"]
    {
        assert_eq!(filed("198.41.0.4", from).await, Folder::Junk, "{from}");
        assert_eq!(filed("192.168.1.9", from).await, Folder::Inbox, "a scanner: {from}");
    }
    let long = format!("a@good.test\r\nX-Long: {}", "x".repeat(300 << 10));
    assert_eq!(filed("198.41.0.4", &long).await, Folder::Junk, "nobody reads so long a header");
    for from in ["a@proved.test", "a@proved.test, b@proved.test"] {
        assert_eq!(filed("198.41.0.4", from).await, Folder::Inbox, "{from}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_dns_cannot_tell_speaks_against_nobody() {
    let nobody = Resolver::new(&["127.0.0.1:9".parse().unwrap()]).unwrap();
    let judged = judge(&nobody, "192.0.2.9", "a@good.test").await;
    assert!(judged.field.contains("dmarc=temperror"), "{}", judged.field);
    assert!(matches!(judged.judge(None), Ruling::File(f) if f.folder == Folder::Inbox));
}

#[tokio::test]
async fn what_became_of_a_message_is_told_once_it_is_clear() {
    let (_world, resolver) = world(ZONE).await;
    let folder = tempfile::tempdir().unwrap();
    let diary = Shared::new(Diary::default());
    let guard = guard_with(&resolver, folder.path(), Shared::clone(&diary), Vec::new());
    let to = ["b@home.test".parse().unwrap(), "c@home.test".parse().unwrap()];
    for (ip, sender, taken) in [
        ("192.0.2.1", "a@good.test", true),
        ("192.0.2.9", "a@good.test", false),
        // Somebody's alias led it on after all.
        ("192.0.2.9", "a@good.test", true),
        ("192.0.2.9", "a@careful.test", true),
    ] {
        let visit = guard.meet(peer(ip, "mx.good.test", sender));
        hand_in(visit, sender).await.conclude(taken, &to);
    }
    assert_eq!(
        *diary.0.lock().unwrap(),
        [
            "good.test none 2 true",
            "good.test reject 2 true",
            "good.test quarantine 2 true",
            "careful.test quarantine 2 true"
        ]
    );
}

#[tokio::test]
async fn nobody_is_asked_about_who_names_nobody_that_lives_here() {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let resolver = Resolver::new(&[socket.local_addr().unwrap()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut visit = guard(&resolver, folder.path()).meet(peer("192.0.2.9", "h.test", "a@b.test"));
    let mut question = [0; 512];
    let asked = Duration::from_millis(50);
    assert!(tokio::time::timeout(asked, socket.recv(&mut question)).await.is_err());
    visit.greet(&"bob@home.test".parse().unwrap(), None).await.unwrap();
    assert!(socket.recv(&mut question).await.unwrap() > 12);
}

/// A signature that waits for its key.
fn claim(domain: &str, body: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    let hash = BASE64.encode(hash);
    format!("DKIM-Signature: v=1; a=rsa-sha256; d={domain}; s=s; h=from; bh={hash};\r\n b=YQ==\r\n")
}

/// Asks this world, but for names that hold these letters: nobody answers for those.
async fn half_silent(world: &World, about: &'static [u8]) -> Resolver {
    let ours = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let address = ours.local_addr().unwrap();
    let local = world.local();
    tokio::spawn(async move {
        let ours = Shared::new(ours);
        loop {
            let mut question = [0; 4096];
            let (length, from) = ours.recv_from(&mut question).await.unwrap();
            if memchr::memmem::find(&question[..length], about).is_some() {
                continue;
            }
            let ours = Shared::clone(&ours);
            tokio::spawn(async move {
                let theirs = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
                theirs.send_to(&question[..length], local).await.unwrap();
                let mut answer = [0; 4096];
                let length = theirs.recv(&mut answer).await.unwrap();
                ours.send_to(&answer[..length], from).await.unwrap();
            });
        }
    });
    Resolver::new(&[address]).unwrap()
}

#[tokio::test]
async fn who_makes_us_wait_for_his_keys_gains_no_way_around_the_authors_policy() {
    let (world, _) = world(ZONE).await;
    let resolver = half_silent(&world, b"forger").await;
    let origin = Origin::look_up(&resolver, peer("192.0.2.9", "h.test", "a@b.test"), late()).await;
    let body = "send money\r\n";
    let letter = format!("{}From: a@good.test\r\n\r\n{body}", claim("forger.test", body));
    let until = Instant::now() + Duration::from_millis(1500);
    let found = authenticate(&resolver, None, origin, inspect(letter.as_bytes(), 999), until).await;
    let field = found.field(&ours());
    assert!(field.contains("dkim=temperror") && field.contains("dmarc=fail"), "{field}");
    assert_eq!(found.dmarc.disposition, Policy::Reject);
}

/// With a name server that takes questions and never answers one: what a router does whose line is
/// down.
#[tokio::test(start_paused = true)]
async fn a_dns_that_is_silent_costs_eight_seconds_in_all_and_speaks_against_nobody() {
    let udp = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let address = udp.local_addr().unwrap();
    let _tcp = TcpListener::bind(address).await.unwrap();
    let resolver = Resolver::new(&[address]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lists = List::defaults();
    let guard = guard_with(&resolver, folder.path(), Shared::default(), lists);
    guard.trust_lists();
    let bob: Address = "bob@home.test".parse().unwrap();

    let began = Instant::now();
    let mut visit = guard.meet(peer("198.41.0.9", "mx.good.test", "a@good.test"));
    for _ in 0..3 {
        assert_eq!(visit.greet(&bob, Some(AccountId(1))).await, Ok(()));
    }
    assert!(began.elapsed() <= Duration::from_secs(5), "{:?} at RCPT", began.elapsed());
    let links: Vec<String> = (0..9).map(|n| format!("http://link{n}.test/x\r\n")).collect();
    let body = format!("hello\r\n{}", links.concat());
    let signatures: String = (0..9).map(|n| claim(&format!("d{n}.test"), &body)).collect();
    let header = "From: a@mail.good.test\r\nTo: bob@home.test\r\nSubject: x\r\n        Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@good.test>\r\n";
    visit.pass(format!("{signatures}{header}\r\n{body}").as_bytes());
    let judged = visit.judge().await;
    assert!(began.elapsed() <= Duration::from_secs(8), "{:?} in all", began.elapsed());
    assert!(began.elapsed() >= Duration::from_secs(5), "nobody was asked");

    for undecided in ["iprev=temperror", "spf=temperror", "dkim=temperror", "dmarc=temperror"] {
        assert!(judged.field.contains(undecided), "{}", judged.field);
    }
    assert_eq!(judged.field.matches("dkim=temperror").count(), 9);
    let Ruling::File(filing) = judged.judge(None) else { panic!("{judged:?}") };
    assert_eq!(filing.folder, Folder::Inbox, "{}", String::from_utf8_lossy(&filing.fields));
}

#[tokio::test]
async fn who_calls_himself_by_our_name_lies() {
    let (_world, resolver) = world(ZONE).await;
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&resolver, folder.path());
    for (helo, lies) in [("MAIL.home.test", true), ("mx.good.test", false)] {
        let visit = guard.meet(peer("198.41.0.4", helo, "a@proved.test"));
        let judged = hand_in(visit, "a@proved.test").await;
        let Ruling::File(filing) = judged.judge(None) else { panic!("{judged:?}") };
        let fields = String::from_utf8(filing.fields).unwrap();
        assert_eq!(fields.contains("says that it is this box"), lies, "{helo}: {fields}");
    }
}
