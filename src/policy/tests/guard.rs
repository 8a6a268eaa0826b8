//! What the guard decides, and what it does when the DNS does not help.

use std::sync::Arc as Shared;

use super::super::guard::{Guard, Judged};
use super::*;
use crate::clock::{SharedClock, SystemClock};
use crate::deliver::{Folder, Judge, Ruling};

const ZONE: &str = r#"
good.test. TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.good.test. TXT "v=DMARC1; p=reject"
careful.test. TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.careful.test. TXT "v=DMARC1; p=quarantine"
"#;

async fn judge(resolver: &Resolver, ip: &str, sender: &str) -> Judged {
    let clock: SharedClock = Shared::new(SystemClock);
    let guard = Guard::new(resolver.clone(), clock, ours());
    let mut visit = guard.meet(peer(ip, "mx.good.test", sender));
    visit.pass(format!("From: {sender}\r\nSubject: x\r\n\r\nhello\r\n").as_bytes());
    visit.judge().await
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
    assert_eq!((filing.folder, &*filing.fields), (Folder::Junk, &b"X-Spam: Yes\r\n"[..]));
}

#[tokio::test]
async fn what_the_dns_cannot_tell_speaks_against_nobody() {
    let nobody = Resolver::new(&["127.0.0.1:9".parse().unwrap()]).unwrap();
    let judged = judge(&nobody, "192.0.2.9", "a@good.test").await;
    assert!(judged.field.contains("dmarc=temperror"), "{}", judged.field);
    assert!(matches!(judged.judge(None), Ruling::File(f) if f.folder == Folder::Inbox));
}
