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
    guard_with(resolver, folder, Box::new(|_| Marks::default()))
}

fn guard_with(
    resolver: &Resolver,
    folder: &Path,
    marks: Box<dyn Fn(Option<AccountId>) -> Marks + Send + Sync>,
) -> Guard {
    let notes = Shared::new(Notes::open(folder));
    Guard::new(Parts {
        resolver: resolver.clone(),
        clock: Shared::new(SystemClock),
        hostname: ours(),
        junk: Shared::new(Junk::open(Shared::clone(&notes))),
        marks,
        lists: Dnsbl::new(resolver.clone(), Vec::new()),
        greylist: Shared::new(Greylist::open(notes)),
    })
}

async fn judge(resolver: &Resolver, ip: &str, sender: &str) -> Judged {
    let folder = tempfile::tempdir().unwrap();
    judge_by(&guard(resolver, folder.path()), ip, sender).await
}

async fn judge_by(guard: &Guard, ip: &str, sender: &str) -> Judged {
    let mut visit = guard.meet(peer(ip, "mx.good.test", sender));
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
    let folder = tempfile::tempdir().unwrap();
    let strict = |account| match account {
        Some(AccountId(2)) => Marks { junk: -100, refuse: 500 },
        Some(AccountId(3)) => Marks { junk: -100, refuse: -100 },
        _ => Marks::default(),
    };
    let guard = guard_with(&resolver, folder.path(), Box::new(strict));
    let judged = judge_by(&guard, "192.0.2.1", "a@good.test").await;
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
