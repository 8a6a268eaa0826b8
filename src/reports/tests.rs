use std::io::Write as _;
use std::sync::Mutex;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use jiff::Timestamp;
use tempfile::TempDir;

use super::found::unpack;
use super::*;
use crate::clock::{Clock, ClockTrust};
use crate::mail::Domain;
use crate::store::Options;

mod bombs;
mod kept;
#[cfg(feature = "demo")]
mod sent;

/// The facts of the example in RFC 9990, appendix B.
const DMARC: &str = include_str!("../../tests/fuzz/seeds/dmarc/report.xml");

/// The facts of the example in RFC 8460, appendix B.
const TLS: &str = include_str!("../../tests/fuzz/seeds/tlsrpt/report.json");

const NOON: &str = "2026-11-01T12:00:00Z";

/// A post office's store, and its clock.
struct Setup {
    reports: Reports,
    store: Store,
    accounts: Accounts,
    clock: Arc<SetClock>,
    _folder: TempDir,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let accounts = Accounts::open(store.clone(), vec![domain("example.org")]).unwrap();
        let clock = Arc::new(SetClock::at(NOON));
        let reports = Reports::open(store.clone(), accounts.clone(), clock.clone()).unwrap();
        Self { reports, store, accounts, clock, _folder: folder }
    }

    /// What a restart would know.
    fn reopened(&self) -> Reports {
        Reports::open(self.store.clone(), self.accounts.clone(), self.clock.clone()).unwrap()
    }
}

struct SetClock(Mutex<(Timestamp, ClockTrust)>);

impl SetClock {
    fn at(text: &str) -> Self {
        Self(Mutex::new((text.parse().unwrap(), ClockTrust::Synced)))
    }

    fn set(&self, text: &str, trust: ClockTrust) {
        *self.0.lock().unwrap() = (text.parse().unwrap(), trust);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    fn trust(&self) -> ClockTrust {
        self.0.lock().unwrap().1
    }
}

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// An archive of one file, as the widespread programs write it when they stream: its sizes follow
/// the content.
fn zip(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    zip_entry(name, 8, 8, &packed.finish().unwrap())
}

fn zip_entry(name: &str, flags: u8, method: u8, content: &[u8]) -> Vec<u8> {
    let mut archive = b"PK\x03\x04\x14\0".to_vec();
    archive.extend([flags, 0, method, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let size = if flags & 8 == 0 { u32::try_from(content.len()).unwrap() } else { 0 };
    archive.extend(size.to_le_bytes());
    archive.extend(size.to_le_bytes());
    archive.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    archive.extend([0, 0]);
    archive.extend(name.bytes());
    archive.extend(content);
    archive
}

fn dmarc(bytes: &[u8]) -> Aggregate {
    match unpack(bytes) {
        Ok(Report::Dmarc(report)) => report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dmarc_report_is_understood_however_it_is_wrapped() {
    let report = dmarc(DMARC.as_bytes());
    assert_eq!(report.reporter, "Sample Reporter & Sons");
    assert_eq!(report.id, "3v98abbp8ya9n3va8yr8oa3ya");
    assert_eq!(report.domain, domain("example.org"));
    assert_eq!(report.begin.to_string(), "2026-10-31T00:00:00Z");
    assert_eq!(report.end.to_string(), "2026-10-31T23:59:59Z");
    let row = |source: &str, from: Option<&str>, spf, dkim, disposition, count| Row {
        facts: Facts {
            source: source.parse().unwrap(),
            from: from.map(domain),
            spf,
            dkim,
            disposition,
        },
        count,
    };
    assert_eq!(
        report.rows,
        [
            row("192.0.2.123", None, false, true, Disposition::None, 123),
            row("2001:db8::9", Some("news.example.org"), false, false, Disposition::Quarantine, 2),
        ]
    );
    assert_eq!((report.beyond, report.unread), (0, 0));
    for wrapped in [
        gzip(DMARC.as_bytes()),
        zip("a!example.org!1!2.xml", DMARC.as_bytes()),
        zip_entry("a.xml", 0, 0, DMARC.as_bytes()),
        [zip_entry("folder/", 0, 0, b""), zip("folder/a.xml", DMARC.as_bytes())].concat(),
        [b"\xef\xbb\xbf\r\n", DMARC.as_bytes()].concat(),
        // The report of RFC 7489 has neither name space nor version.
        DMARC.replace(" xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"", "").into_bytes(),
    ] {
        assert_eq!(dmarc(&wrapped), report);
    }
}

#[test]
fn a_tls_report_is_understood_however_it_is_wrapped() {
    for wrapped in [TLS.as_bytes().to_vec(), gzip(TLS.as_bytes()), zip("r.json", TLS.as_bytes())] {
        let Ok(Report::Tls(report)) = unpack(wrapped.as_slice()) else { panic!("no report") };
        assert_eq!(report.reporter, "Company-X");
        assert_eq!(report.policies.len(), 2);
        let policy = &report.policies[0];
        assert_eq!(policy.kind, PolicyKind::Sts);
        assert_eq!((policy.successes, policy.failures), (5326, 303));
        let details: Vec<_> =
            policy.details.iter().map(|d| (d.kind.as_str(), d.host.as_str(), d.count)).collect();
        assert_eq!(
            details,
            [
                ("certificate-expired", "mx1.mail.example.org", 103),
                ("starttls-not-supported", "mx2.mail.example.org", 200)
            ]
        );
    }
}

#[test]
fn what_is_broken_is_no_report_and_harms_nobody() {
    for cut in 0..DMARC.trim_end().len() {
        assert!(unpack(&DMARC.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
    for cut in 0..TLS.trim_end().len() {
        assert!(unpack(&TLS.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
    let packed = gzip(DMARC.as_bytes());
    for cut in 0..packed.len() - 8 {
        assert!(unpack(&packed[..cut]).is_err(), "gzip cut at {cut}");
    }
    for (from, to) in [
        ("1793404800", "soon"),
        ("1793404800", "99999999999999999999"),
        ("1793404800", "1993404800"),
        ("<domain>example.org</domain><p>", "<domain>-</domain><p>"),
        ("</record>", "</recorder>"),
        ("feedback", "html"),
        ("&amp;", "&nbsp;"),
    ] {
        assert!(unpack(DMARC.replace(from, to).as_bytes()).is_err(), "{from} -> {to}");
    }
    assert!(unpack(&b""[..]).is_err());
    assert!(unpack(&zip_entry("a.xml", 1, 8, DMARC.as_bytes())[..]).is_err(), "encrypted");
    assert!(unpack(&zip_entry("a.xml", 0, 99, DMARC.as_bytes())[..]).is_err(), "unknown method");
}

#[test]
fn a_record_without_sense_is_left_out_and_counted() {
    let odd = DMARC.replace("192.0.2.123", "everywhere").replace("<count>2<", "<count>-2<");
    let report = dmarc(odd.as_bytes());
    assert_eq!((report.rows.len(), report.unread), (0, 2));
    let huge = DMARC.replace("<count>123<", "<count>18446744073709551615<");
    assert_eq!(dmarc(huge.as_bytes()).rows[0].count, 1_000_000_000);
}
