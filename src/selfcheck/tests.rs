#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use std::net::SocketAddr;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::clock::{Clock, ClockTrust};
use crate::config::{MtaSts, Relay, RelayTls};
use crate::dns::world::World;
use crate::mail::Domain;
use crate::net::Tls;
use crate::policy::dkim::rotation::Role;
use crate::store::{Options, Quota, Usage};

const HEALTHY: &str = "
$TTL 60
@                MX   10 mail
@                TXT  \"v=spf1 mx -all\"
mail             A    203.0.113.10
mail             AAAA 2a00:db8::10
pb1r._domainkey  TXT  \"v=DKIM1; k=rsa; \" \"p=AAAA BBBB\"
pb1e._domainkey  TXT  \"v=DKIM1; k=ed25519; p=CCCC\"
_dmarc           TXT  \"v=DMARC1; p=quarantine; rua=mailto:postmaster@example.org\"
";
const V4: &str = "203.0.113.10";
const V6: &str = "2a00:db8::10";
const MAIL: &str = "mail.example.org";

/// A box in a world of its own, in good health until a test changes something.
struct Setup {
    world: World,
    inputs: Inputs,
    _folder: TempDir,
}

impl Setup {
    async fn healthy() -> Self {
        let world = World::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        world.load("example.org.", HEALTHY).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let hostname = domain("mail.example.org");
        Tls::self_signed(folder.path(), &hostname).unwrap();
        let key = |name: &str, value: &str| KeyRecord {
            name: domain(name),
            value: value.to_owned(),
            role: Role::Present(None),
        };
        let inputs = Inputs {
            resolver: Resolver::new(&[world.local()]).unwrap(),
            site: Site {
                hostname,
                domains: vec![domain("example.org")],
                owner: "alice@example.org".parse().unwrap(),
                timezone: "Europe/Berlin".to_owned(),
            },
            outbound: OutboundMode::Direct,
            dkim: vec![
                key("pb1r._domainkey.example.org", "v=DKIM1; k=rsa; p=AAAABBBB"),
                key("pb1e._domainkey.example.org", "v=DKIM1; k=ed25519; p=CCCC"),
            ],
            addresses: vec![ip(V4), ip(V6)],
            clock: Arc::new(At("2026-12-24T18:00:00Z", ClockTrust::Synced)),
            stats: Ok(Stats { free_bytes: 20_000_000_000, ..Stats::default() }),
            holdings: Ok(Vec::new()),
            certificate: folder.path().join("certificate.pem"),
        };
        let setup = Self { world, inputs, _folder: folder };
        setup.name_address(V4, "mail.example.org");
        setup.name_address(V6, "mail.example.org");
        setup
    }

    fn name_address(&self, address: &str, name: &str) {
        let reverse = reverse(address);
        self.world.load(".", &format!("$TTL 60\n{reverse}. PTR {name}.\n")).unwrap();
    }

    fn forget(&self, name: &str) {
        self.world.remove(&domain(name));
    }

    /// Adds or replaces records, written below example.org.
    fn publish(&self, zone: &str) {
        self.world.load("example.org.", &format!("$TTL 60\n{zone}\n")).unwrap();
    }

    async fn one(&self, id: &str) -> Finding {
        self.inputs.resolver.forget();
        let report = Checks::run(&self.inputs, &[id.to_owned()]).await.unwrap();
        report.findings.into_iter().next().unwrap()
    }

    async fn all(&self) -> Report {
        self.inputs.resolver.forget();
        Checks::run(&self.inputs, &[]).await.unwrap()
    }
}

#[tokio::test]
async fn a_healthy_box_is_ready() {
    let report = Setup::healthy().await.all().await;
    for finding in &report.findings {
        assert_eq!(finding.outcome, Outcome::Ok, "{finding:?}");
        assert!(!finding.evidence.is_empty(), "{finding:?}");
        assert!(finding.why.is_empty() && finding.fix.is_empty(), "{finding:?}");
    }
    assert_eq!(report.findings.len(), ALL.len());
    assert_eq!(report.exit_code(), 0);
    let areas: Vec<_> = report.findings.iter().map(|finding| finding.area).collect();
    assert!(areas.is_sorted(), "{areas:?}");
}

#[tokio::test]
async fn healthy_boxes_that_differ_are_ready_too() {
    let mut four = Setup::healthy().await;
    four.forget("mail.example.org");
    four.publish(&format!("mail A {V4}"));
    four.inputs.addresses = vec![ip("192.168.1.7")];

    let mut six = Setup::healthy().await;
    six.forget("mail.example.org");
    six.publish(&format!("mail AAAA {V6}"));
    six.inputs.addresses = vec![ip("192.168.1.7"), ip(V6)];

    let mut relay = Setup::healthy().await;
    relay.publish("@ TXT \"v=spf1 mx include:_spf.relay.example.org ~all\"");
    relay.publish("_spf.relay TXT \"v=spf1 ip4:198.51.100.0/24 ~all\"\nsmtp.relay A 192.0.2.9");
    relay.inputs.outbound = through("smtp.relay.example.org");
    relay.forget(&reverse(V4));
    relay.forget(&reverse(V6));

    let mut several = Setup::healthy().await;
    let zone = HEALTHY.replace("MX   10 mail", "MX   10 mail.example.org.");
    several.world.load("second.test.", &zone).unwrap();
    several.inputs.site.domains.push(domain("second.test"));
    for mut key in several.inputs.dkim.clone() {
        key.name = domain(&key.name.as_str().replace("example.org", "second.test"));
        several.inputs.dkim.push(key);
    }

    let alias = Setup::healthy().await;
    alias.publish(&format!("@ MX 5 mx\nmx A {V4}\nmx AAAA {V6}"));

    let backup = Setup::healthy().await;
    backup.publish("@ MX 10 mail\n@ MX 20 backup\nbackup A 198.51.100.3");

    let mut hold = Setup::healthy().await;
    hold.inputs.outbound = OutboundMode::Hold;

    let mut inner = Setup::healthy().await;
    inner.forget("mail.example.org");
    inner.publish("mail A 10.91.0.10\nmail AAAA fd91::10");
    inner.name_address("10.91.0.10", "mail.example.org");
    inner.name_address("fd91::10", "mail.example.org");
    inner.inputs.addresses = vec![ip("10.91.0.10"), ip("fd91::10")];

    let mut demo = Setup::healthy().await;
    demo.forget("mail.example.org");
    demo.publish("mail A 127.0.0.1");
    demo.inputs.addresses = vec![ip("127.0.0.1")];

    for (name, setup) in [
        ("IPv4 only", four),
        ("IPv6 only", six),
        ("relay", relay),
        ("several domains", several),
        ("another name in the MX record", alias),
        ("backup MX", backup),
        ("hold", hold),
        ("a network with a DNS of its own", inner),
        ("the demo on one computer", demo),
    ] {
        let report = setup.all().await;
        assert_eq!(report.exit_code(), 0, "{name}: {report:#?}");
    }
}

#[tokio::test]
async fn what_is_wrong_in_the_dns_is_found() {
    // What is published over a healthy zone; names removed first; check; outcome; in the advice.
    let cases: &[(&str, &[&str], &str, &str, &str)] = &[
        ("@ MX 10 elsewhere\nelsewhere A 198.51.100.1", &[], "dns.mx", "broken", "MX 10 mail"),
        ("@ MX 0 .", &[], "dns.mx", "broken", "example.org. 3600 IN MX 10 mail.example.org."),
        ("@ TXT \"x\"", &["example.org"], "dns.mx", "broken", "IN MX 10 mail.example.org."),
        ("@ A 203.0.113.10", &["example.org"], "dns.mx", "attention", "MX 10 mail"),
        ("@ MX 5 old\n@ MX 10 mail\nold A 198.51.100.1", &[], "dns.mx", "attention", "Remove"),
        ("@ MX 10 mail\n@ MX 20 gone", &[], "dns.mx", "attention", "gone.example.org"),
        ("", &["mail.example.org"], "dns.mx", "broken", "mail.example.org. 3600 IN A"),
        ("", &["mail.example.org"], "dns.address", "broken", "IN A 203.0.113.10"),
        ("mail A 127.0.0.1", &[], "dns.address", "broken", "IN A 203.0.113.10"),
        ("mail A 192.168.1.9", &[], "dns.address", "attention", "IN A 203.0.113.10"),
        ("mail A 203.0.113.77", &[], "dns.address", "attention", "IN A 203.0.113.10"),
        ("@ MX 10 mail", &["example.org"], "auth.spf", "broken", "\"v=spf1 mx -all\""),
        ("@ TXT \"v=spf1 mx\"\n@ TXT \"v=spf1 -all\"", &[], "auth.spf", "broken", "Keep one"),
        ("@ TXT \"v=spf1 ip4:198.51.100.1 -all\"", &[], "auth.spf", "broken", "v=spf1 mx ip4:198"),
        ("@ TXT \"v=spf1 ip4:203.0.113.10 -all\"", &[], "auth.spf", "broken", "v=spf1 mx ip4:203"),
        ("@ TXT \"v=spf1 ip4:x -all\"", &[], "auth.spf", "broken", "\"v=spf1 mx -all\""),
        ("@ TXT \"v=spf1 ~all\"", &[], "auth.spf", "attention", "v=spf1 mx ~all"),
        ("@ TXT \"v=spf1 ?all\"", &[], "auth.spf", "attention", "v=spf1 mx ?all"),
        (
            "@ MX 5 b\nb A 203.0.113.10",
            &[],
            "auth.spf",
            "broken",
            "v=spf1 a:mail.example.org mx -all",
        ),
        ("@ TXT \"v=spf1 mx +all\"", &[], "auth.spf", "attention", "-all instead of +all"),
        ("", &["pb1r._domainkey.example.org"], "auth.dkim", "attention", "p=AAAABBBB"),
        (
            "",
            &["pb1r._domainkey.example.org", "pb1e._domainkey.example.org"],
            "auth.dkim",
            "broken",
            "pb1e._domainkey.example.org. 3600 IN TXT \"v=DKIM1; k=ed25519; p=CCCC\"",
        ),
        (
            "pb1r._domainkey TXT \"v=DKIM1; p=DDDD\"\npb1e._domainkey TXT \"v=DKIM1; p=\"",
            &[],
            "auth.dkim",
            "broken",
            "Replace the record",
        ),
        ("pb1r._domainkey TXT \"p=AAAABBBB; t=s:y\"", &[], "auth.dkim", "attention", "Replace"),
        ("", &["_dmarc.example.org"], "auth.dmarc", "attention", "v=DMARC1; p=quarantine"),
        ("_dmarc TXT \"v=DMARC1; rua=mailto:a@b.test\"", &[], "auth.dmarc", "broken", "Replace"),
        ("_dmarc TXT \"v=DMARC1; p=refuse\"", &[], "auth.dmarc", "broken", "Replace"),
        (
            "_dmarc TXT \"v=DMARC1; p=none\"\n_dmarc TXT \"v=DMARC1; p=reject\"",
            &[],
            "auth.dmarc",
            "broken",
            "Keep one",
        ),
        ("_dmarc TXT \"v=DMARC1; p=none\"", &[], "auth.dmarc", "ok", ""),
    ];
    for (zone, removed, id, expected, advice) in cases {
        let setup = Setup::healthy().await;
        removed.iter().for_each(|name| setup.forget(name));
        setup.publish(zone);
        let finding = setup.one(id).await;
        assert_eq!(word(&finding), *expected, "{zone:?} without {removed:?}: {finding:#?}");
        assert!(finding.fix.contains(advice), "{zone:?}: {finding:#?}");
        assert_eq!(finding.why.is_empty(), *expected == "ok", "{finding:?}");
    }
}

#[tokio::test]
async fn the_name_of_the_address_is_judged_as_large_providers_do() {
    let cases = [
        (V4, Some("mail.example.org"), "ok"),
        (V4, None, "broken"),
        (V4, Some("nowhere.example.org"), "broken"),
        (V4, Some("other.example.org"), "attention"),
        (V4, Some("203-0-113-10.isp.example.org"), "attention"),
        (V4, Some("p5.dyn.example.org"), "attention"),
        ("192.168.1.9", None, "unknown"),
        ("192.168.1.9", Some("router.example.org"), "unknown"),
        ("100.64.3.4", None, "unknown"),
    ];
    for (address, name, expected) in cases {
        let setup = Setup::healthy().await;
        setup.forget("mail.example.org");
        setup.forget(&reverse(V4));
        setup.publish(&format!("mail A {address}\nother A {V4}"));
        setup.publish(&format!("203-0-113-10.isp A {V4}\np5.dyn A {V4}"));
        if let Some(name) = name {
            setup.name_address(address, name);
        }
        let finding = setup.one("rdns").await;
        assert_eq!(word(&finding), expected, "{address} {name:?}: {finding:#?}");
        let asks_the_provider = finding.fix.contains(&format!("name {address} \"{MAIL}\""));
        assert_eq!(asks_the_provider, matches!(expected, "broken" | "attention"), "{finding:?}");
    }
}

#[tokio::test]
async fn one_family_without_a_name_is_no_disaster() {
    let setup = Setup::healthy().await;
    setup.forget(&reverse(V6));
    assert_eq!(word(&setup.one("rdns").await), "attention");
}

#[tokio::test]
async fn an_address_that_mail_may_leave_by_is_judged_too() {
    let mut setup = Setup::healthy().await;
    setup.inputs.addresses.push(ip("2a00:db8:7::1234"));
    let finding = setup.one("auth.spf").await;
    assert_eq!(word(&finding), "attention", "{finding:?}");
    assert!(finding.fix.contains("ip6:2a00:db8:7::/64"), "{finding:?}");
}

#[tokio::test]
async fn a_relay_the_domain_does_not_name_is_told() {
    let mut setup = Setup::healthy().await;
    setup.publish("smtp.relay A 192.0.2.9");
    setup.inputs.outbound = through("smtp.relay.example.org");
    let finding = setup.one("auth.spf").await;
    assert_eq!(word(&finding), "attention", "{finding:?}");
    assert!(finding.fix.contains("include"), "{finding:?}");
    assert_eq!(word(&setup.one("rdns").await), "not_applicable");

    setup.publish("@ TXT \"v=spf1 mx a:smtp.relay.example.org ~all\"");
    assert_eq!(word(&setup.one("auth.spf").await), "ok");
}

#[tokio::test]
async fn one_bad_domain_among_good_ones_counts() {
    let mut setup = Setup::healthy().await;
    setup.inputs.site.domains.push(domain("second.test"));
    let finding = setup.one("dns.mx").await;
    assert_eq!(word(&finding), "broken");
    assert!(finding.fix.contains("second.test. 3600 IN MX 10 mail.example.org."), "{finding:?}");
    let evidence = finding.evidence.join("\n");
    assert!(evidence.contains("MX of example.org: 10 mail.example.org"), "{evidence}");
    assert!(evidence.contains("second.test has no MX"), "{evidence}");
}

#[tokio::test]
async fn a_dns_that_does_not_answer_is_neither_good_nor_bad_news() {
    let mut setup = Setup::healthy().await;
    setup.inputs.resolver = Resolver::new(&[SocketAddr::from(([127, 0, 0, 1], 9))]).unwrap();
    let report = setup.all().await;
    let asking = ["dns.works", "dns.mx", "dns.address", "rdns", "auth.spf", "auth.dkim"];
    for finding in &report.findings {
        let asks = asking.contains(&finding.id.as_str()) || finding.id == "auth.dmarc";
        assert_eq!(word(finding), if asks { "unknown" } else { "ok" }, "{finding:?}");
    }
    assert_eq!(report.exit_code(), 3);

    let setup = Setup::healthy().await;
    for name in [
        "example.org",
        "mail.example.org",
        "pb1r._domainkey.example.org",
        "pb1e._domainkey.example.org",
        "_dmarc.example.org",
    ] {
        setup.world.fail(&domain(name), true);
    }
    assert_eq!(setup.all().await.exit_code(), 3);
}

#[tokio::test]
async fn another_exchanger_that_cannot_be_looked_up_is_no_bad_news() {
    let setup = Setup::healthy().await;
    setup.publish("@ MX 10 mail\n@ MX 5 mx");
    setup.world.fail(&domain("mx.example.org"), true);
    let finding = setup.one("dns.mx").await;
    assert_eq!(word(&finding), "unknown", "{finding:?}");
}

#[tokio::test]
async fn a_certificate_is_judged_by_name_and_date() {
    let made = |name: &str, until: i32| {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    };
    let cases = [
        (made("mail.example.org", 2030), "ok"),
        (made("mail.example.org", 2099), "ok"),
        (made("*.example.org", 2030), "ok"),
        (made("mail.example.org", 2024), "attention"),
        (made("mail.example.org", 2027), "attention"),
        (made("box.local", 2030), "attention"),
        ("-----BEGIN NONSENSE".to_owned(), "broken"),
    ];
    let mut setup = Setup::healthy().await;
    for (pem, expected) in cases {
        std::fs::write(&setup.inputs.certificate, &pem).unwrap();
        let finding = setup.one("tls.certificate").await;
        assert_eq!(word(&finding), expected, "{finding:?}");
    }
    std::fs::write(&setup.inputs.certificate, made("mail.example.org", 2024)).unwrap();
    setup.inputs.clock = Arc::new(At("2026-12-24T18:00:00Z", ClockTrust::Rough));
    assert_eq!(word(&setup.one("tls.certificate").await), "unknown");
    std::fs::remove_file(&setup.inputs.certificate).unwrap();
    assert_eq!(word(&setup.one("tls.certificate").await), "unknown");
    std::fs::create_dir(&setup.inputs.certificate).unwrap();
    assert_eq!(word(&setup.one("tls.certificate").await), "broken");
}

#[tokio::test]
async fn time_and_storage_are_judged() {
    let mut setup = Setup::healthy().await;
    for (trust, expected) in [
        (ClockTrust::Synced, "ok"),
        (ClockTrust::Rough, "unknown"),
        (ClockTrust::Unknown, "unknown"),
    ] {
        setup.inputs.clock = Arc::new(At("2026-12-24T18:00:00Z", trust));
        assert_eq!(word(&setup.one("time.clock").await), expected);
    }
    let reserve = Options::default().reserve;
    for (free, stored, expected) in [
        (reserve, 0, "broken"),
        (reserve + 1, 0, "attention"),
        (2 * reserve, 0, "ok"),
        (2 * reserve, 20 * reserve, "attention"),
        (4 * reserve, 20 * reserve, "ok"),
    ] {
        let stats = Stats { free_bytes: free, segment_bytes: stored, ..Stats::default() };
        setup.inputs.stats = Ok(stats);
        assert_eq!(word(&setup.one("storage.space").await), expected, "{free} {stored}");
        assert_eq!(word(&setup.one("storage.card").await), "ok");
    }
    setup.inputs.stats = Ok(Stats { io_errors: 1, ..Stats::default() });
    assert_eq!(word(&setup.one("storage.card").await), "broken");
    setup.inputs.stats = Ok(Stats { damaged_records: 1, ..Stats::default() });
    assert_eq!(word(&setup.one("storage.card").await), "broken");
    setup.inputs.stats = Err("closed".into());
    assert_eq!(word(&setup.one("storage.card").await), "unknown");
    assert_eq!(word(&setup.one("storage.space").await), "unknown");
}

#[tokio::test]
async fn an_account_above_nine_tenths_of_its_quota_needs_somebody() {
    let mut setup = Setup::healthy().await;
    assert_eq!(word(&setup.one("storage.quota").await), "ok");
    let holding = |name: &str, bytes| Holding {
        address: name.parse().unwrap(),
        usage: Usage { bytes, messages: 7 },
        quota: Quota { bytes: Some(1000), messages: None },
    };
    for (bytes, expected, detail) in [
        (0, "ok", ""),
        (909, "ok", ""),
        (910, "attention", "bob@example.org are 91 % full"),
        (999, "attention", "99 % full"),
        (1000, "attention", "mail for it is turned away"),
        (5000, "attention", "mail for it is turned away"),
    ] {
        let alice = holding("alice@example.org", 10);
        setup.inputs.holdings = Ok(vec![alice, holding("bob@example.org", bytes)]);
        let finding = setup.one("storage.quota").await;
        assert_eq!(word(&finding), expected, "{bytes}");
        assert!(finding.outcome.detail().contains(detail), "{bytes}: {:?}", finding.outcome);
        assert_eq!(finding.evidence.len(), 2);
        assert_eq!(finding.fix.contains("account quota bob@example.org"), expected != "ok");
    }
    setup.inputs.holdings = Err("closed".into());
    assert_eq!(word(&setup.one("storage.quota").await), "unknown");
}

#[tokio::test]
async fn a_check_there_is_not_is_refused_with_those_there_are() {
    let setup = Setup::healthy().await;
    let refused = Checks::run(&setup.inputs, &["dns.mx".into(), "spf".into()]).await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("\"spf\"") && said.contains("auth.spf, auth.dkim"), "{said}");
}

#[test]
fn the_exit_code_is_that_of_the_worst() {
    let report = |outcomes: &[Outcome]| Report {
        at: Timestamp::UNIX_EPOCH,
        findings: outcomes
            .iter()
            .map(|outcome| Finding {
                id: "x".into(),
                area: Area::Dns,
                question: String::new(),
                outcome: outcome.clone(),
                evidence: Vec::new(),
                why: String::new(),
                fix: String::new(),
            })
            .collect(),
    };
    let (ok, no) = (Outcome::Ok, Outcome::NotApplicable("n".into()));
    let (unknown, attention) = (Outcome::Unknown("u".into()), Outcome::Attention("a".into()));
    let broken = Outcome::Broken("b".into());
    for (outcomes, code) in [
        (vec![], 0),
        (vec![no.clone()], 0),
        (vec![ok.clone(), no], 0),
        (vec![ok.clone(), unknown.clone()], 3),
        (vec![unknown.clone(), attention.clone(), ok], 1),
        (vec![broken, unknown, attention], 2),
    ] {
        assert_eq!(report(&outcomes).exit_code(), code, "{outcomes:?}");
    }
}

#[tokio::test]
async fn what_the_records_say_is_what_the_checks_want() {
    let setup = Setup::healthy().await;
    for name in [
        "example.org",
        "mail.example.org",
        "pb1r._domainkey.example.org",
        "pb1e._domainkey.example.org",
        "_dmarc.example.org",
    ] {
        setup.forget(name);
    }
    assert_eq!(setup.all().await.exit_code(), 2);
    let inputs = &setup.inputs;
    for record in records::records(
        &inputs.site,
        &inputs.outbound,
        MtaSts::Testing,
        &inputs.dkim,
        &inputs.addresses,
    ) {
        let (name, kind) = (&record.name, &record.kind);
        let quote = if kind == "TXT" { "\"" } else { "" };
        let value = &record.value;
        setup.world.load(".", &format!("$TTL 60\n{name}. {kind} {quote}{value}{quote}\n")).unwrap();
    }
    let report = setup.all().await;
    assert_eq!(report.exit_code(), 0, "{report:#?}");
}

#[tokio::test]
async fn a_key_that_waits_for_its_record_is_asked_for_and_breaks_nothing() {
    let mut setup = Setup::healthy().await;
    let key = |name: &str, role| KeyRecord {
        name: domain(name),
        value: "v=DKIM1; k=rsa; p=DDDD".to_owned(),
        role,
    };
    let (long_ago, later) = ("2026-11-01T00:00:00Z", "2026-12-31T00:00:00Z");
    setup.inputs.dkim.extend([
        key("pb2r._domainkey.example.org", Role::Next),
        key("pb0r._domainkey.example.org", Role::Former(long_ago.parse().unwrap())),
        key("pb0e._domainkey.example.org", Role::Former(later.parse().unwrap())),
    ]);
    let found = setup.all().await.findings.into_iter().find(|f| f.id == "auth.dkim").unwrap();
    assert!(matches!(found.outcome, Outcome::Attention(_)), "{found:?}");
    assert!(found.fix.contains("Publish this record: pb2r._domainkey.example.org"), "{found:?}");
    let evidence = found.evidence.join("\n");
    assert!(evidence.contains("pb0r._domainkey.example.org is no longer needed"), "{evidence}");
    assert!(!evidence.contains("pb0e"), "{evidence}");

    setup.publish("pb2r._domainkey TXT \"v=DKIM1; k=rsa; p=DDDD\"");
    let found = setup.all().await.findings.into_iter().find(|f| f.id == "auth.dkim").unwrap();
    assert_eq!(found.outcome, Outcome::Ok, "{found:?}");
}

#[tokio::test]
async fn an_address_the_box_cannot_see_is_left_to_the_owner() {
    let inputs = Setup::healthy().await.inputs;
    let home = [ip("192.168.1.7"), ip(V6)];
    let records =
        records::records(&inputs.site, &inputs.outbound, MtaSts::Testing, &inputs.dkim, &home);
    let addresses: Vec<_> =
        records.iter().filter(|record| matches!(record.kind.as_str(), "A" | "AAAA")).collect();
    assert_eq!(addresses.iter().filter(|record| record.is_open()).count(), 1, "{addresses:?}");
    assert!(addresses.iter().any(|record| record.value == V6), "{addresses:?}");
    let relay = through("smtp.relay.test");
    let records = records::records(&inputs.site, &relay, MtaSts::Testing, &inputs.dkim, &home);
    assert!(records.iter().any(|record| record.value == "v=spf1 mx a:smtp.relay.test ~all"));
}

#[test]
fn a_finding_keeps_its_form_for_scripts() {
    let finding = Finding {
        id: "dns.mx".into(),
        area: Area::ReverseDns,
        question: "q".into(),
        outcome: Outcome::Broken("b".into()),
        evidence: vec!["e".into()],
        why: "w".into(),
        fix: "f".into(),
    };
    let json = serde_json::json!({
        "id": "dns.mx", "area": "reverse_dns", "question": "q",
        "outcome": {"outcome": "broken", "detail": "b"},
        "evidence": ["e"], "why": "w", "fix": "f",
    });
    assert_eq!(serde_json::to_value(&finding).unwrap(), json);
    assert_eq!(serde_json::from_value::<Finding>(json).unwrap(), finding);
}

struct At(&'static str, ClockTrust);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0.parse().unwrap()
    }

    fn trust(&self) -> ClockTrust {
        self.1
    }
}

fn through(host: &str) -> OutboundMode {
    let host = domain(host);
    OutboundMode::Relay(Relay { host, port: 465, login: None, tls: RelayTls::Implicit, spf: None })
}

fn word(finding: &Finding) -> String {
    let json = serde_json::to_value(&finding.outcome).unwrap();
    json["outcome"].as_str().unwrap().to_owned()
}

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The name whose PTR record names an address.
fn reverse(address: &str) -> String {
    match ip(address) {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let digits: Vec<String> =
                format!("{:032x}", u128::from(v6)).chars().rev().map(String::from).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
    }
}
