//! From what was seen of others' mail to what they are told.

use std::collections::BTreeMap;

use std::io::Read as _;

use super::*;
use crate::config::OutboundMode;
use crate::dns::Resolver;
use crate::dns::world::World;
use crate::mail::Address;
use crate::policy::dkim::SigningKeys;
use crate::queue::{Queue, QueueParts, Schedule};

const ZONE: &str = "$TTL 60
@                             TXT \"v=spf1 -all\"
_dmarc.asks                   TXT \"v=DMARC1; p=reject; rua=mailto:a@asks.far.test!10m, mailto:b%2Bx@in.asks.far.test,mailto:c@asks.far.test\"
_dmarc.agreed                 TXT \"v=DMARC1; p=none; rua=mailto:r@collector.test\"
_dmarc.forced                 TXT \"v=DMARC1; p=none; rua=mailto:victim@near.test,https://x.test/\"
_dmarc.silent                 TXT \"v=DMARC1; p=none\"
_dmarc.us                     TXT \"v=DMARC1; p=none; rua=mailto:postmaster@example.org\"
_smtp._tls.asks               TXT \"v=TLSRPTv1; rua=https://x.test/,mailto:tls@asks.far.test\"
";

struct Sender {
    setup: Setup,
    world: World,
    post: Post,
    _keys: TempDir,
}

impl Sender {
    async fn new() -> Self {
        let setup = Setup::new();
        let world = World::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        world.load("far.test.", ZONE).unwrap();
        world
            .load(
                "collector.test.",
                "$TTL 60\nagreed.far.test._report._dmarc TXT \"v=DMARC1; rua=mailto:other@collector.test\"\n",
            )
            .unwrap();
        world.load("near.test.", "$TTL 60\n@ TXT \"v=spf1 -all\"\n").unwrap();
        world
            .load("example.org.", "$TTL 60\nus.far.test._report._dmarc TXT \"v=DMARC1\"\n")
            .unwrap();
        let resolver = Resolver::new(&[world.local()]).unwrap();
        let keys = tempfile::tempdir().unwrap();
        let queue = Queue::new(QueueParts {
            store: setup.store.clone(),
            accounts: setup.accounts.clone(),
            resolver: resolver.clone(),
            keys: SigningKeys::open_or_create(keys.path(), &[]).unwrap(),
            hostname: domain("mail.example.org"),
            outbound: OutboundMode::Direct.into(),
            listens: Vec::new(),
            clock: setup.clock.clone(),
            schedule: Schedule::default(),
        })
        .unwrap();
        let post = Post {
            queue,
            resolver,
            hostname: domain("mail.example.org"),
            domain: domain("example.org"),
            hold: false,
            tls_results: Arc::new(|_| Ok(Vec::new())),
        };
        Self { setup, world, post, _keys: keys }
    }

    fn note(&self, about: &str) {
        self.setup.reports.note(seen(about), b"Subject: hi\r\n", std::iter::empty());
    }

    async fn send(&self) {
        self.setup.reports.send_due(&self.post).await.unwrap();
    }

    /// Recipients and text of what waits in the queue, by the domain it is about.
    fn queued(&self) -> BTreeMap<String, (Vec<String>, String)> {
        let mut all = BTreeMap::new();
        for record in self.setup.store.queue().unwrap() {
            let mut text = String::new();
            self.setup.store.read(&record.content).unwrap().read_to_string(&mut text).unwrap();
            let about = text.split("Report Domain: ").nth(1).unwrap();
            let about = about.split("\r\n").next().unwrap().to_owned();
            let items = self.post.queue.list().unwrap();
            let item = items.into_iter().find(|item| item.id == record.id).unwrap();
            assert_eq!(item.from, "", "a report that comes back must bother nobody");
            let to = item.recipients.iter().map(|(to, _)| to.to_string()).collect();
            let kind = if text.contains("tlsrpt") { " (TLS)" } else { "" };
            assert!(all.insert(about + kind, (to, text)).is_none(), "sent twice");
        }
        all
    }
}

fn seen(about: &str) -> DmarcSeen {
    DmarcSeen {
        domain: domain(about),
        published: Published {
            policy: Disposition::Reject,
            subdomains: None,
            missing: None,
            strict_dkim: false,
            strict_spf: true,
            testing: false,
        },
        checked: Checked {
            source: "192.0.2.1".parse().unwrap(),
            from: domain(about),
            envelope_from: Some(domain("bounce.test")),
            spf_aligned: false,
            dkim_aligned: true,
            disposition: Disposition::None,
            vouched: false,
            spf: Some((domain("bounce.test"), true, "softfail".to_owned())),
            dkim: vec![(domain(about), "s<1>".to_owned(), "pass".to_owned())],
        },
    }
}

/// Unpacks the attachment of a message of ours.
fn attached(message: &str) -> Vec<u8> {
    let mut reader = std::io::Cursor::new(message.as_bytes());
    let structure = crate::mail::structure::Structure::scan(&mut reader).unwrap();
    let part = structure.parts().last().unwrap();
    let body = &message.as_bytes()
        [usize::try_from(part.body.start).unwrap()..usize::try_from(part.body.end).unwrap()];
    let mut packed = Vec::new();
    crate::mail::structure::BodyDecoder::new(part).feed(body, &mut packed);
    packed
}

#[tokio::test]
async fn those_who_ask_are_told_once_the_day_after() {
    let sender = Sender::new().await;
    for about in ["asks.far.test", "asks.far.test", "silent.far.test", "gone.far.test"] {
        sender.note(about);
    }
    let mut forwarded = seen("asks.far.test");
    forwarded.checked.disposition = Disposition::Quarantine;
    forwarded.checked.vouched = true;
    sender.setup.reports.note(forwarded, b"", std::iter::empty());
    sender.send().await;
    sender.setup.clock.set("2026-11-02T00:30:00Z", ClockTrust::Synced);
    sender.send().await;
    assert!(sender.queued().is_empty(), "before the day was over for long");
    sender.setup.clock.set("2026-11-02T12:00:00Z", ClockTrust::Synced);
    sender.send().await;
    let queued = sender.queued();
    assert_eq!(queued.keys().collect::<Vec<_>>(), ["asks.far.test"]);
    let (to, text) = &queued["asks.far.test"];
    // Two of the three.
    assert_eq!(to, &["a@asks.far.test", "b+x@in.asks.far.test"]);
    assert!(text.contains("\r\nSubject: Report Domain: asks.far.test\r\n Submitter: example.org\r\n Report-ID: <2026-11-01."));
    assert!(text.contains("\r\nAuto-Submitted: auto-generated\r\n"));
    assert!(text.contains("filename=\"example.org!asks.far.test!1793491200!1793577599.xml.gz\""));
    assert!(is_report_mail(text.as_bytes(), std::iter::empty()));
    let report = dmarc(&attached(text));
    assert_eq!(
        (report.reporter.as_str(), report.domain.as_str()),
        ("example.org", "asks.far.test")
    );
    let facts = &report.rows[0].facts;
    assert_eq!((facts.dkim, facts.spf, report.rows[0].count), (true, false, 2));
    let mut xml = String::new();
    wrap::open(&attached(text)[..]).unwrap().read_to_string(&mut xml).unwrap();
    assert!(xml.contains("<selector>s&lt;1&gt;</selector><result>pass</result>"), "{xml}");
    let reason = "<reason><type>local_policy</type><comment>arc=pass</comment></reason>";
    let evaluated = format!(
        "<disposition>quarantine</disposition><dkim>pass</dkim>\
                             <spf>fail</spf>{reason}</policy_evaluated>"
    );
    assert!(xml.contains(&evaluated) && xml.matches("<reason>").count() == 1, "{xml}");
    assert!(xml.contains("<scope>mfrom</scope><result>softfail</result>"), "{xml}");
    sender.send().await;
    assert_eq!(sender.queued().len(), 1);
    assert_eq!(
        sender.setup.store.settings("reports/out/dmarc/").unwrap(),
        [],
        "counts stay for ever"
    );
}

#[tokio::test]
async fn nobody_is_told_who_does_not_agree() {
    let sender = Sender::new().await;
    for about in ["agreed.far.test", "forced.far.test", "us.far.test", "example.org"] {
        sender.note(about);
    }
    sender.setup.clock.set("2026-11-02T12:00:00Z", ClockTrust::Synced);
    sender.send().await;
    let queued = sender.queued();
    assert_eq!(queued.keys().collect::<Vec<_>>(), ["agreed.far.test"]);
    assert_eq!(queued["agreed.far.test"].0, ["other@collector.test"]);
}

#[test]
fn what_the_checks_found_is_told_as_they_found_it() {
    use crate::policy::dkim::verify::{Dkim, Signed};
    use crate::policy::dmarc::{Dmarc, Policy, Record, Verdict};
    use crate::policy::origin::{Origin, Peer};
    use crate::policy::rdns::{Helo, Reverse};
    use crate::policy::{Authentication, arc, spf::Spf};
    let record = "v=DMARC1; p=reject; sp=none; aspf=s; rua=mailto:a@asks.far.test";
    let known = Authentication {
        origin: Origin {
            peer: Peer {
                ip: "::ffff:192.0.2.1".parse().unwrap(),
                helo: "bounce.test".to_owned(),
                mail_from: "x@bounce.test".parse().unwrap(),
            },
            reverse: Reverse::NoName,
            helo: Helo::Malformed,
            helo_spf: None,
            mail_from_spf: Some(Spf::SoftFail),
        },
        dkim: vec![Signed {
            verdict: Dkim::Pass,
            domain: Some(domain("asks.far.test")),
            selector: Some(domain("s1")),
            algorithm: None,
            mark: String::new(),
            testing: false,
        }],
        arc: arc::Arc::None,
        dmarc: Dmarc {
            verdict: Verdict::Pass,
            from: Some(domain("asks.far.test")),
            record: Record::parse(record).map(|record| (domain("asks.far.test"), record)),
            disposition: Policy::None,
            spf_aligned: false,
            dkim_aligned: true,
            hidden: false,
        },
    };
    let mut expected = seen("asks.far.test");
    expected.published.subdomains = Some(Disposition::None);
    expected.checked.dkim[0].1 = "s1".to_owned();
    assert_eq!(DmarcSeen::of(&known, Disposition::None), Some(expected));
    let mut unsure = known.clone();
    unsure.dmarc.verdict = Verdict::TempError(String::new());
    assert_eq!(DmarcSeen::of(&unsure, Disposition::None), None);
    // It fails, is to be refused, and was put aside, since forwarders vouch for it.
    let mut forwarded = known.clone();
    forwarded.dmarc.verdict = Verdict::Fail;
    forwarded.dmarc.disposition = Policy::Reject;
    let vouched =
        |known: &Authentication, done| DmarcSeen::of(known, done).map(|seen| seen.checked.vouched);
    assert_eq!(vouched(&forwarded, Disposition::Quarantine), Some(false), "nobody vouches");
    forwarded.arc = arc::Arc::Pass(Vec::new());
    assert_eq!(vouched(&forwarded, Disposition::Quarantine), Some(true));
    assert_eq!(vouched(&forwarded, Disposition::Reject), Some(false), "nothing was overridden");
    let mut silent = known;
    silent.dmarc.record = Record::parse("v=DMARC1; p=none").map(|r| (domain("far.test"), r));
    assert_eq!(DmarcSeen::of(&silent, Disposition::None), None);
}

#[tokio::test]
async fn reports_are_never_reported_on() {
    let sender = Sender::new().await;
    let to: Address = "alice@example.org".parse().unwrap();
    let postmaster: Address = "Postmaster@example.org".parse().unwrap();
    for header in [
        "TLS-Report-Domain: x\r\n",
        "Subject: x\r\nTLS-Report-Submitter: x\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "subject:  report domain: example.org Submitter: x\r\n",
        "Content-Type: multipart/report; report-type=delivery-status\r\n",
    ] {
        assert!(is_report_mail(header.as_bytes(), [&to].into_iter()), "{header}");
    }
    assert!(is_report_mail(b"Subject: x\r\n", [&to, &postmaster].into_iter()));
    assert!(!is_report_mail(b"Auto-Submitted: no\r\nSubject: x\r\n", [&to].into_iter()));
    let reports = &sender.setup.reports;
    reports.note(seen("asks.far.test"), b"Auto-Submitted: auto-replied\r\n", [&to].into_iter());
    sender.setup.clock.set("2026-11-02T12:00:00Z", ClockTrust::Synced);
    sender.send().await;
    assert!(sender.queued().is_empty());
}

#[tokio::test]
async fn nothing_is_sent_on_hold_without_time_or_while_the_dns_is_silent() {
    let mut sender = Sender::new().await;
    sender.note("asks.far.test");
    sender.setup.clock.set("2026-11-02T12:00:00Z", ClockTrust::Unknown);
    sender.send().await;
    sender.setup.clock.set("2026-11-02T12:00:00Z", ClockTrust::Rough);
    sender.post.hold = true;
    sender.send().await;
    sender.post.hold = false;
    let right = std::mem::replace(
        &mut sender.post.resolver,
        Resolver::new(&["127.0.0.1:9".parse().unwrap()]).unwrap(),
    );
    sender.send().await;
    assert!(sender.queued().is_empty());
    sender.post.resolver = right;
    sender.send().await;
    assert_eq!(sender.queued().len(), 1, "what could not be told is lost");
    // What waited too long is no news.
    sender.setup.clock.set("2026-11-02T12:00:00Z", ClockTrust::Rough);
    sender.note("asks.far.test");
    sender.setup.clock.set("2026-11-09T12:00:00Z", ClockTrust::Rough);
    sender.send().await;
    assert_eq!(sender.queued().len(), 1);
}

#[tokio::test]
async fn counts_survive_a_restart_and_cost_no_write_of_their_own() {
    let sender = Sender::new().await;
    let before = sender.setup.store.stats().unwrap().segment_bytes;
    for _ in 0..1000 {
        sender.note("asks.far.test");
    }
    assert_eq!(sender.setup.store.stats().unwrap().segment_bytes, before);
    sender.setup.reports.save().await.unwrap();
    sender.setup.reports.save().await.unwrap();
    assert_eq!(sender.setup.store.settings("reports/out/dmarc/").unwrap().len(), 1);
    let again = sender.setup.reopened();
    sender.setup.clock.set("2026-11-02T12:00:00Z", ClockTrust::Synced);
    again.send_due(&sender.post).await.unwrap();
    let queued = sender.queued();
    assert_eq!(dmarc(&attached(&queued["asks.far.test"].1)).rows[0].count, 1000);
}

#[tokio::test]
async fn what_strangers_make_us_count_is_bounded_and_so_is_what_leaves_in_a_day() {
    let sender = Sender::new().await;
    for n in 0..20_000_u32 {
        let mut one = seen(&format!("d{}.m{}.test", n % 150, n % 10));
        one.checked.source = std::net::Ipv4Addr::from(n).into();
        one.checked.dkim = vec![(domain("x.test"), "s".repeat(5000), "pass".repeat(500)); 50];
        sender.setup.reports.note(one, b"Subject: x\r\n", std::iter::empty());
    }
    sender.setup.reports.save().await.unwrap();
    let kept = sender.setup.store.settings("reports/out/dmarc/").unwrap();
    let bytes: usize = kept.iter().map(|(_, value)| value.len()).sum();
    assert!(bytes < 16 << 20, "{bytes} bytes");
    for n in 0..150 {
        let zone = format!("m{}.test.", n % 10);
        let line = format!("_dmarc.d{n} TXT \"v=DMARC1; p=none; rua=mailto:x@d{n}.{zone}\"\n");
        sender.world.load(&zone, &format!("$TTL 60\n{line}")).unwrap();
    }
    sender.setup.clock.set("2026-11-02T12:00:00Z", ClockTrust::Synced);
    sender.send().await;
    assert_eq!(sender.queued().len(), 100);
    sender.setup.clock.set("2026-11-03T12:00:00Z", ClockTrust::Synced);
    sender.send().await;
    assert_eq!(sender.queued().len(), 150);
}

#[tokio::test]
async fn tls_results_are_reported_once_by_mail_alone() {
    let mut sender = Sender::new().await;
    // 2026-11-01 is that many days after 1970.
    sender.post.tls_results = Arc::new(|day| {
        let seen = |about: &str| TlsSeen {
            domain: domain(about),
            policy_type: "sts".to_owned(),
            policy: vec!["version: STSv1".to_owned()],
            hosts: vec!["mx.far.test".to_owned()],
            good: 7,
            failures: vec![("certificate-expired".to_owned(), Some("mx.far.test".to_owned()), 2)],
        };
        let those = vec![seen("asks.far.test"), seen("silent.far.test")];
        Ok(if day == 20_758 { those } else { Vec::new() })
    });
    sender.setup.clock.set("2026-11-02T12:00:00Z", ClockTrust::Synced);
    sender.send().await;
    sender.setup.reopened().send_due(&sender.post).await.unwrap();
    let queued = sender.queued();
    assert_eq!(queued.keys().collect::<Vec<_>>(), ["asks.far.test (TLS)"]);
    let (to, text) = &queued["asks.far.test (TLS)"];
    assert_eq!(to, &["tls@asks.far.test"]);
    for line in [
        "TLS-Report-Domain: asks.far.test\r\n",
        "TLS-Report-Submitter: example.org\r\n",
        "TLS-Required: No\r\n",
        "Content-Type: multipart/report; report-type=\"tlsrpt\";",
        "Content-Type: application/tlsrpt+gzip;",
        "filename=\"example.org!asks.far.test!1793491200!1793577599.json.gz\"",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    let Ok(Report::Tls(report)) = unpack(&attached(text)[..]) else { panic!("no report") };
    assert_eq!((report.policies[0].successes, report.policies[0].failures), (7, 2));
    assert_eq!(report.policies[0].details[0].host, "mx.far.test");
    assert_eq!(report.begin.to_string(), "2026-11-01T00:00:00Z");
}

#[test]
fn a_domain_of_many_names_leaves_room_for_others() {
    let mut tally = Tally::default();
    let day = jiff::civil::date(2026, 11, 22);
    for n in 0..10_100 {
        tally.note(day, seen(&format!("d{n}.evil.test")));
    }
    tally.note(day, seen("asks.far.test"));
    assert!(tally.get(&(day, domain("asks.far.test"))).is_some());
    assert_eq!(tally.waiting(day.tomorrow().unwrap()).len(), 21);
    // Each for itself.
    tally.note(day.tomorrow().unwrap(), seen("d0.evil.test"));
    tally.note(day, seen("d0.evil.test"));
    assert_eq!(tally.get(&(day, domain("d0.evil.test"))).unwrap().rows[0].1, 2);
}
