//! DANE and MTA-STS from the records in the DNS to the certificate in the handshake.

use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;

use super::*;
use crate::net::certified;

/// A signed world with one mail host under TLS, and the box's resolver that can tell.
struct Signed {
    office: Office,
    host: Host,
    certificate: CertificateDer<'static>,
}

async fn signed() -> Signed {
    let (certificate, tls) = certified("mx.far.test");
    let host = Host::with("127.0.0.2:0", &["REQUIRETLS"], Some(tls)).await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office
        .world
        .load(
            ".",
            "$TTL 0\nfar.test. MX 10 mx.far.test.\nmx.far.test. A 127.0.0.2\n\
             plain.test. MX 10 mx.plain.test.\nmx.plain.test. A 127.0.0.2\n\
             other.test. MX 10 mail.other.test.\nmail.other.test. CNAME mx.far.test.\n",
        )
        .unwrap();
    let anchor = office.folder.path().join("anchor");
    std::fs::write(&anchor, office.world.sign([3; 32]).unwrap()).unwrap();
    office.world.cut_off(&"plain.test".parse().unwrap());
    let Office { folder, store, accounts, world, clock, port, .. } = &office;
    let mode = OutboundMode::Direct;
    let mut parts = parts(folder.path(), store, accounts, world, clock, *port, mode);
    parts.resolver = Resolver::with_trust_anchor(&[world.local()], &anchor).unwrap();
    office.queue = Queue::new(parts).unwrap();
    office.run();
    Signed { office, host, certificate }
}

impl Signed {
    fn publish(&self, usage: u8, bytes: &[u8]) {
        use std::fmt::Write;
        let hash = digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let port = self.host.port();
        let zone = format!("$TTL 0\n_{port}._tcp.mx.far.test. TLSA {usage} 0 1 {hash}\n");
        self.office.world.load(".", &zone).unwrap();
    }

    fn tally(&self, domain: &str) -> TlsTally {
        let day = self.office.clock.now().as_second() / 86_400;
        let all = self.office.queue.tls_results(day).unwrap();
        all.into_iter().find(|(name, _)| name.as_str() == domain).unwrap().1
    }
}

#[tokio::test]
async fn the_certificate_in_the_dns_is_the_one_that_counts() {
    let signed = signed().await;
    signed.publish(3, &signed.certificate);
    signed.office.submit(&["bob@far.test"]).await;
    signed.office.until_empty().await;
    assert!(signed.host.got()[0].tls);
    let tally = signed.tally("far.test");
    assert_eq!((tally.policy_type.as_str(), tally.good, tally.failures.len()), ("tlsa", 1, 0));

    // Another certificate than the published one: it waits, and does not go in the clear.
    signed.publish(3, b"another");
    signed.office.submit(&["carol@far.test"]).await;
    signed.office.until_tried(1).await;
    assert_eq!(signed.host.got().len(), 1);
    let item = &signed.office.queue.list().unwrap()[0];
    assert!(item.recipients[0].1.contains("(DANE)"), "{item:?}");
    assert_eq!(signed.tally("far.test").failures[0].kind, "tlsa-invalid");

    // Records of a kind that means nothing for mail demand TLS, with whatever certificate.
    signed.publish(1, b"another");
    signed.office.queue.retry(None).await.unwrap();
    signed.office.until_empty().await;
    assert!(signed.host.got()[1].tls);

    // Without DNSSEC there is no DANE.
    signed.office.submit(&["dora@plain.test"]).await;
    signed.office.until_empty().await;
    assert_eq!(signed.tally("plain.test").policy_type, "no-policy-found");
}

#[tokio::test]
async fn what_the_box_itself_sends_is_not_counted_for_reports() {
    let signed = signed().await;
    signed.office.send("", &["postmaster@far.test"], Source::Own).await.unwrap();
    signed.office.until_empty().await;
    assert!(signed.host.got()[0].tls);
    let day = signed.office.clock.now().as_second() / 86_400;
    assert_eq!(signed.office.queue.tls_results(day).unwrap(), []);
}

#[tokio::test]
async fn a_host_that_is_an_alias_is_held_to_the_records_where_it_leads() {
    let signed = signed().await;
    signed.publish(3, b"another");
    signed.office.submit(&["bob@other.test"]).await;
    signed.office.until_tried(1).await;
    let item = &signed.office.queue.list().unwrap()[0];
    assert!(item.recipients[0].1.contains("(DANE)"), "{item:?}");
    signed.publish(3, &signed.certificate);
    signed.office.queue.retry(None).await.unwrap();
    signed.office.until_empty().await;
    let tally = signed.tally("other.test");
    assert_eq!((tally.policy_type.as_str(), tally.good), ("tlsa", 1));
}

#[tokio::test]
async fn a_sender_may_want_arrival_more_than_protection() {
    let signed = signed().await;
    signed.publish(3, b"another");
    let text = b"From: alice@example.org\r\nTLS-Required: No\r\n\r\nHello\r\n";
    let written = async |require_tls| {
        let mut incoming = signed.office.incoming("alice@example.org", &["bob@far.test"]).await;
        let mut body = signed.office.store.new_body();
        body.write(text).await.unwrap();
        incoming.body = body.finish().await.unwrap();
        incoming.envelope.asked.require_tls = require_tls;
        signed.office.queue.accept(incoming).await.unwrap();
    };
    written(false).await;
    signed.office.until_empty().await;
    assert!(signed.host.got()[0].tls, "TLS is used where it is offered");
    // REQUIRETLS counts more than the field.
    written(true).await;
    signed.office.until_tried(1).await;
    assert_eq!(signed.host.got().len(), 1);
}

#[tokio::test]
async fn forged_records_make_mail_wait_and_a_wrong_clock_does_not() {
    let signed = signed().await;
    signed.publish(3, b"another");
    let port = signed.host.port();
    signed.office.world.spoil(&format!("_{port}._tcp.mx.far.test").parse().unwrap());
    signed.office.submit(&["bob@far.test"]).await;
    signed.office.until_tried(1).await;
    let item = &signed.office.queue.list().unwrap()[0];
    assert!(item.recipients[0].1.contains("may be forged"), "{item:?}");
    assert!(signed.host.got().is_empty());

    signed.office.clock.0.lock().unwrap().1 = ClockTrust::Unknown;
    signed.office.queue.retry(None).await.unwrap();
    signed.office.until_empty().await;
    assert_eq!(signed.host.got().len(), 1);
}

#[tokio::test]
async fn what_must_travel_under_tls_goes_only_where_hosts_are_proved() {
    let signed = signed().await;
    signed.publish(3, &signed.certificate);
    for (to, words) in [("bob@far.test", ""), ("bob@plain.test", "nothing that proves")] {
        let mut incoming = signed.office.incoming("alice@example.org", &[to]).await;
        incoming.envelope.asked.require_tls = true;
        signed.office.queue.accept(incoming).await.unwrap();
        signed.office.until_empty().await;
        if words.is_empty() {
            assert!(signed.host.got()[0].said[0].ends_with(" REQUIRETLS"));
        } else {
            let inbox = signed.office.inbox();
            assert!(inbox[0].contains(words) && inbox[0].contains("Status: 5.7.10"), "{inbox:?}");
        }
    }
    assert_eq!(signed.host.got().len(), 1);
}

#[tokio::test]
async fn a_policy_keeps_mail_from_hosts_it_does_not_name_and_from_wrong_certificates() {
    let (_, tls) = certified("mx.far.test");
    let host = Host::with("127.0.0.2:0", &[], Some(tls)).await;
    let mut office = Office::new(host.port(), OutboundMode::Direct).await;
    office
        .world
        .load(
            ".",
            "$TTL 0\nfar.test. MX 10 mx.far.test.\nmx.far.test. A 127.0.0.2\n\
             _mta-sts.far.test. TXT \"v=STSv1; id=1;\"\n",
        )
        .unwrap();
    let remember = async |office: &Office, mode: &str, mx: &str| {
        let cached = format!(
            r#"{{"id":"1","fetched":"2026-11-22T09:00:00Z","policy":{{"mode":"{mode}","mx":["{mx}"],
               "max_age":86400,"lines":["version: STSv1"]}}}}"#
        );
        let mut batch = Batch::new();
        batch.put_setting("queue/sts/far.test", cached.into_bytes());
        office.store.commit(batch).await.unwrap();
    };
    office.run();
    remember(&office, "enforce", "mx.other.test").await;
    office.submit(&["bob@far.test"]).await;
    office.until_tried(1).await;
    let said = |office: &Office| office.queue.list().unwrap()[0].recipients[0].1.clone();
    assert!(said(&office).contains("not in the policy"), "{}", said(&office));

    // The right name, and a certificate nobody vouches for.
    remember(&office, "enforce", "mx.far.test").await;
    office.queue.retry(None).await.unwrap();
    office.until_tried(2).await;
    assert!(said(&office).contains("(MTA-STS)"), "{}", said(&office));
    assert!(host.got().is_empty());

    // A policy that is only tried out stops nothing.
    remember(&office, "testing", "mx.far.test").await;
    office.queue.retry(None).await.unwrap();
    office.until_empty().await;
    assert!(host.got()[0].tls);
    let day = office.clock.now().as_second() / 86_400;
    let (_, tally) = office.queue.tls_results(day).unwrap().swap_remove(0);
    assert_eq!(tally.policy_type, "sts");
    assert!(tally.failures.iter().all(|one| one.kind == "certificate-not-trusted"), "{tally:?}");
    assert_eq!(tally.failures.iter().map(|one| one.count).sum::<u64>(), 2);
}
