//! What senders may put into a report to use up memory or time.

use std::io::Read;
use std::time::{Duration, Instant};

use super::*;

/// Reading is over long before a mail server would notice.
fn refused(bytes: &[u8]) -> Broken {
    let begun = Instant::now();
    let broken = unpack(bytes).expect_err("a bomb");
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    broken
}

fn packed(bytes: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    bytes.for_each(|piece| gzip.write_all(&piece).unwrap());
    gzip.finish().unwrap()
}

#[test]
fn a_gigabyte_of_zeros_is_not_unpacked() {
    let zeros = packed((0..1024).map(|_| vec![0; 1 << 20]));
    assert!(matches!(refused(&zeros), Broken::NotAReport));
    let start = b"<feedback><report_metadata><org_name>".to_vec();
    let blanks = packed(std::iter::once(start).chain((0..1024).map(|_| vec![b' '; 1 << 20])));
    assert!(matches!(refused(&blanks), Broken::NotAReport));
    // With marks now and then it comes to the limit of all.
    let mut text = wrap::open(&blanks[..]).unwrap();
    let mut out = Vec::new();
    assert!(text.read_to_end(&mut out).is_err());
    assert!(out.len() < 1 << 20, "{} bytes came out", out.len());
    let marked = packed((0..1 << 18).map(|_| [b"<!-->-->".repeat(64), vec![b'x'; 512]].concat()));
    assert!(matches!(refused(&marked), Broken::NotAReport | Broken::Xml(_) | Broken::TooLarge));
    let comment = b"<feedback><!--".to_vec();
    let comments = packed(std::iter::once(comment).chain((0..64).map(|_| b"> ".repeat(1 << 19))));
    assert!(matches!(refused(&comments), Broken::TooLarge));
}

#[test]
fn archives_in_archives_are_not_opened() {
    let mut nested = DMARC.as_bytes().to_vec();
    for depth in 0..3 {
        nested = zip("inner.zip", &nested);
        assert_eq!(unpack(&nested[..]).is_ok(), depth == 0, "depth {depth}");
    }
    assert!(matches!(refused(&gzip(&gzip(DMARC.as_bytes()))), Broken::NotAReport));
    assert!(refused(&zip_entry("a/", 0, 0, b"").repeat(1000)).to_string().contains("folders"));
}

#[test]
fn entities_are_never_followed() {
    let laughs = "<?xml version=\"1.0\"?><!DOCTYPE feedback [<!ENTITY a \"ha\">\
                  <!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]><feedback>&b;</feedback>";
    assert!(matches!(refused(laughs.as_bytes()), Broken::Entities));
    let outside = "<!DOCTYPE feedback SYSTEM \"file:///etc/passwd\"><feedback></feedback>";
    assert!(matches!(refused(outside.as_bytes()), Broken::Entities));
    let used = DMARC.replace("Sample Reporter", "&secret;");
    assert!(matches!(refused(used.as_bytes()), Broken::Entities));
}

#[test]
fn a_million_records_are_cut_to_what_a_page_shows() {
    let (start, rest) = DMARC.split_at(DMARC.find("<record>").unwrap());
    let end = rest.find("</record>").unwrap() + "</record>".len();
    let record = &rest[..end];
    let many = (0..1_000_000_u32).map(|n| {
        let source = std::net::Ipv4Addr::from(n).to_string();
        record.replace("192.0.2.123", &source).into_bytes()
    });
    let many = packed(std::iter::once(start.as_bytes().to_vec()).chain(many));
    // Larger than anything that is read at all.
    assert!(matches!(refused(&many), Broken::TooLarge));
    let small = "<record><row><source_ip>IP</source_ip><count>1</count></row></record>";
    let many = (0..1_000_000_u32)
        .map(|n| small.replace("IP", &std::net::Ipv4Addr::from(n).to_string()).into_bytes());
    let many = packed(std::iter::once(start.as_bytes().to_vec()).chain(many));
    assert!(many.len() as u64 > wrap::MOST_IN || dmarc(&many).rows.len() == aggregate::MOST_ROWS);
    let some = start.to_owned()
        + &(0..2000_u32)
            .map(|n| small.replace("IP", &std::net::Ipv4Addr::from(n).to_string()))
            .collect::<String>()
        + "</feedback>";
    let report = dmarc(some.as_bytes());
    assert_eq!((report.rows.len(), report.beyond), (aggregate::MOST_ROWS, 1500));
}

#[test]
fn depth_and_long_names_are_bounded() {
    let deep = "<feedback>".repeat(100_000);
    assert!(matches!(refused(deep.as_bytes()), Broken::NotAReport));
    let long = format!("<feedback><{}>", "a".repeat(1 << 20));
    assert!(matches!(refused(long.as_bytes()), Broken::NotAReport | Broken::Ended));
    let value = DMARC.replace("Sample Reporter", &"x".repeat(10_000));
    assert!(dmarc(value.as_bytes()).reporter.len() <= 200);
    let open = format!("{{\"policies\":{}", "[".repeat(1 << 20));
    assert!(matches!(refused(open.as_bytes()), Broken::Json(_) | Broken::NotAReport));
    let policies = format!(
        "{{\"date-range\":{{\"start-datetime\":\"2026-10-31T00:00:00Z\",\
         \"end-datetime\":\"2026-10-31T00:00:00Z\"}},\"policies\":[{}null]}}",
        "{\"policy\":{\"policy-domain\":\"a.org\"}},".repeat(100_000)
    );
    let Ok(Report::Tls(report)) = unpack(policies.as_bytes()) else { panic!("no report") };
    assert_eq!(report.policies.len(), 64);
}

type Target = fn(&[u8]);

/// A few thousand of what the fuzz targets try for hours.
#[test]
fn reports_with_any_bytes_changed_are_read_within_the_limits_or_refused() {
    let zip = include_bytes!("../../../tests/fuzz/seeds/wrapped/report.zip");
    let mail = include_bytes!("../../../tests/fuzz/seeds/reportmail/report.eml");
    let seeds: [(&[u8], Target); 5] = [
        (DMARC.as_bytes(), fuzz::dmarc),
        (TLS.as_bytes(), fuzz::tls),
        (&gzip(DMARC.as_bytes()), fuzz::wrapped),
        (zip, fuzz::wrapped),
        (mail, fuzz::message),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).unwrap() % below.max(1)
    };
    assert!(unpack(&zip[..]).is_ok(), "the archive of a widespread program");
    for (seed, read) in seeds {
        for _ in 0..800 {
            let mut bytes = seed.to_vec();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] = u8::try_from(random(256)).unwrap(),
                    1 => bytes[at] ^= 1 << random(8),
                    2 => bytes.truncate(at + 1),
                    _ => {
                        let end = (at + random(200)).min(bytes.len());
                        let copy = bytes[at..end].to_vec();
                        let to = random(bytes.len());
                        bytes.splice(to..to, copy);
                    }
                }
            }
            read(&bytes);
        }
    }
}
