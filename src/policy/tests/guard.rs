//! What the guard decides, and what it does when the DNS does not help.

use std::path::Path;
use std::sync::Arc as Shared;

use super::super::dnsbl::Dnsbl;
use super::super::greylist::Greylist;
use super::super::guard::{Guard, Judged, Parts};
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
proved.test. TXT "v=spf1 ip4:198.41.0.4 -all"
careful.test. TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.careful.test. TXT "v=DMARC1; p=quarantine"
"#;

fn guard(resolver: &Resolver, folder: &Path) -> Guard {
    let notes = Shared::new(Notes::open(folder));
    Guard::new(Parts {
        resolver: resolver.clone(),
        clock: Shared::new(SystemClock),
        hostname: ours(),
        junk: Shared::new(Junk::open(Shared::clone(&notes))),
        marks: Box::new(|_| Marks::default()),
        lists: Dnsbl::new(resolver.clone(), Vec::new()),
        greylist: Shared::new(Greylist::open(notes)),
    })
}

async fn judge(resolver: &Resolver, ip: &str, sender: &str) -> Judged {
    let folder = tempfile::tempdir().unwrap();
    let mut visit = guard(resolver, folder.path()).meet(peer(ip, "mx.good.test", sender));
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
}

#[tokio::test]
async fn what_the_dns_cannot_tell_speaks_against_nobody() {
    let nobody = Resolver::new(&["127.0.0.1:9".parse().unwrap()]).unwrap();
    let judged = judge(&nobody, "192.0.2.9", "a@good.test").await;
    assert!(judged.field.contains("dmarc=temperror"), "{}", judged.field);
    assert!(matches!(judged.judge(None), Ruling::File(f) if f.folder == Folder::Inbox));
}
