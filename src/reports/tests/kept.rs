//! From a message in somebody's inbox to what the page says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;
use crate::mail::{Flags, MailboxName};
use crate::reports::shelf::{Kept, MOST_A_DAY};
use crate::store::{AccountId, Batch};

fn mail(to: &str, subject: &str, kind: &str, attachment: &[u8]) -> Vec<u8> {
    let lines: Vec<String> = BASE64
        .encode(attachment)
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "From: noreply@reporter.test\r\nTo: {to}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nA report.\r\n--b\r\n\
         Content-Type: {kind}; name=\"a!example.org!1!2.xml.gz\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}

impl Setup {
    async fn deliver(&self, message: &[u8]) {
        let (alice, inbox) = (AccountId(1), MailboxName::inbox());
        let found = self.store.find_mailbox(alice, &inbox).unwrap();
        let id = if let Some(mailbox) = found {
            mailbox.id
        } else {
            let mut batch = Batch::new();
            batch.create_mailbox(alice, inbox.clone(), None);
            self.store.commit(batch).await.unwrap();
            self.store.find_mailbox(alice, &inbox).unwrap().unwrap().id
        };
        let mut body = self.store.new_body();
        body.write(message).await.unwrap();
        let body = body.finish().await.unwrap();
        let mut batch = Batch::new();
        batch.add_message(id, b"", &body, Flags::none(), Timestamp::UNIX_EPOCH);
        self.store.commit(batch).await.unwrap();
    }

    async fn summary(&self) -> Summary {
        assert!(self.reports.catch_up().await.unwrap());
        self.reports.summary(30).unwrap()
    }
}

#[tokio::test]
async fn reports_in_the_mail_are_found_kept_once_and_summed_up() {
    let setup = Setup::new();
    let gz = gzip(DMARC.as_bytes());
    setup.deliver(b"Subject: hello\r\n\r\nhello\r\n").await;
    assert_eq!(setup.summary().await.dmarc, []);
    assert!(setup.summary().await.sentences()[0].starts_with("No report about mail"));

    let to = "postmaster@example.org";
    setup.deliver(&mail(to, "x", "application/gzip", &gz)).await;
    let summary = setup.summary().await;
    assert_eq!(summary.dmarc.len(), 1);
    let day = &summary.dmarc[0];
    assert_eq!((day.messages, day.unproved, day.stopped), (125, 2, 2));
    assert_eq!(day.day.to_string(), "2026-10-31");
    assert_eq!(day.sources, [("2001:db8::9".parse().unwrap(), 2)]);
    let origins: Vec<String> = summary.origins.iter().map(ToString::to_string).collect();
    assert_eq!(
        origins,
        [
            "123 messages in the name of example.org from 192.0.2.123, all passed",
            "2 messages in the name of example.org from 2001:db8::9, none passed; 2 were put aside \
             or refused",
        ]
    );
    assert_eq!(
        summary.sentences()[0],
        "In the last 30 days one mail provider said that they got 125 messages as yours; 2 of \
         them did not prove it."
    );

    // The same once more, by another way; and one about a domain that is not ours.
    setup.deliver(&mail(to, "x", "application/zip", &zip("a.xml", DMARC.as_bytes()))).await;
    let other = DMARC.replace("<domain>example.org</domain><p>", "<domain>other.test</domain><p>");
    setup.deliver(&mail(to, "x", "text/xml", other.as_bytes())).await;
    setup.deliver(&mail(to, "x", "application/octet-stream", b"PK\x03\x04 not really")).await;
    assert_eq!(setup.summary().await, summary);

    setup.deliver(&mail(to, "x", "application/tlsrpt+gzip", &gzip(TLS.as_bytes()))).await;
    let summary = setup.summary().await;
    assert_eq!(summary.tls.len(), 1, "what is about others is left out");
    assert_eq!((summary.tls[0].successes, summary.tls[0].failures), (5326, 303));
    assert_eq!(summary.tls[0].details["certificate-expired at mx1.mail.example.org"], 103);

    let again = setup.reopened();
    assert_eq!(again.summary(30).unwrap(), summary, "a restart forgets it");
    assert!(again.catch_up().await.unwrap());
    assert_eq!(again.summary(30).unwrap(), summary, "a restart counts it twice");
}

#[tokio::test]
async fn only_mail_to_the_address_for_reports_is_opened() {
    let setup = Setup::new();
    let gz = gzip(DMARC.as_bytes());
    for (to, subject) in [
        ("alice@example.org", "holiday photos"),
        ("postmaster@elsewhere.test", "Report Domain: example.org"),
    ] {
        setup.deliver(&mail(to, subject, "application/gzip", &gz)).await;
    }
    assert_eq!(setup.summary().await.dmarc, []);
    let subject = "Report Domain: example.org Submitter: reporter.test Report-ID: <1>";
    setup.deliver(&mail("dmarc@example.org", subject, "application/gzip", &gz)).await;
    assert_eq!(setup.summary().await.dmarc.len(), 1, "the owner may name another address");

    let setup = Setup::new();
    let blind = mail("undisclosed:;", "x", "application/gzip", &gz);
    let delivered = [b"Delivered-To: Postmaster@example.org\r\n", blind.as_slice()].concat();
    setup.deliver(&delivered).await;
    assert_eq!(setup.summary().await.dmarc.len(), 1);
}

#[tokio::test]
async fn nothing_is_looked_at_before_the_time_is_known() {
    let setup = Setup::new();
    let gz = gzip(DMARC.as_bytes());
    setup.deliver(&mail("postmaster@example.org", "x", "application/gzip", &gz)).await;
    setup.clock.set("1970-01-01T00:10:00Z", ClockTrust::Unknown);
    assert!(!setup.reports.catch_up().await.unwrap());
    setup.clock.set(NOON, ClockTrust::Synced);
    assert_eq!(setup.summary().await.dmarc.len(), 1);
}

#[tokio::test]
async fn the_shelf_is_bounded_in_time_and_by_day() {
    let setup = Setup::new();
    let report = |begin: &str, id: usize| {
        let mut report = dmarc(DMARC.as_bytes());
        report.begin = begin.parse().unwrap();
        report.end = report.begin + jiff::SignedDuration::from_hours(24);
        report.id = id.to_string();
        Report::Dmarc(report)
    };
    let put = |report: &Report, now: &str| {
        let mut batch = Batch::new();
        let kept = setup.reports.inner.shelf().put(report, now.parse().unwrap(), &mut batch);
        (kept, batch)
    };
    assert_eq!(put(&report("2025-01-01T00:00:00Z", 1), NOON).0, Kept::OutOfTime);
    assert_eq!(put(&report("2026-11-30T00:00:00Z", 1), NOON).0, Kept::OutOfTime);
    for id in 0..MOST_A_DAY {
        let (kept, batch) = put(&report("2026-10-30T00:00:00Z", id), NOON);
        assert_eq!(kept, Kept::New);
        setup.store.commit(batch).await.unwrap();
    }
    assert_eq!(put(&report("2026-10-30T00:00:00Z", 0), NOON).0, Kept::Known);
    assert_eq!(put(&report("2026-10-30T00:00:00Z", 5000), NOON).0, Kept::TooMany);
    assert_eq!(setup.store.settings("reports/in/").unwrap().len(), MOST_A_DAY);
    // A year and a day later all of them are too old.
    let (kept, batch) = put(&report("2027-11-01T00:00:00Z", 1), "2027-11-02T00:00:00Z");
    assert_eq!(kept, Kept::New);
    setup.store.commit(batch).await.unwrap();
    assert_eq!(setup.store.settings("reports/in/").unwrap().len(), 1);
}
