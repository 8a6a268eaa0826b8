//! `tls.certificate`: is the certificate for this name, and still valid?

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::{Area, Check, Found, Inputs, Running};
use crate::clock::ClockTrust;
use crate::mail::Domain;

pub(super) struct Certificate;

impl Check for Certificate {
    fn id(&self) -> &'static str {
        "tls.certificate"
    }

    fn area(&self) -> Area {
        Area::Tls
    }

    fn question(&self) -> &'static str {
        "Is the box's certificate for its name, and still valid?"
    }

    fn why(&self) -> &'static str {
        "Your phone and computer refuse to connect, or warn you each time, when the certificate \
         has expired or is for another name."
    }

    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a> {
        Box::pin(check(inputs))
    }
}

async fn check(inputs: &Inputs) -> Found {
    let advice = advice(&inputs.certificate);
    let pem = match tokio::fs::read(&inputs.certificate).await {
        Ok(pem) => pem,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Found::unknown("there is no certificate yet: the box makes it when it starts")
                .saw(format!("no file {}", inputs.certificate.display()));
        }
        Err(error) => {
            let what = format!("{} cannot be read: {error}", inputs.certificate.display());
            return Found::broken(what, advice);
        }
    };
    let Ok(certificate) = CertificateDer::from_pem_slice(&pem) else {
        let what = format!("{} holds no certificate", inputs.certificate.display());
        return Found::broken(what, advice);
    };
    let hostname = &inputs.site.hostname;
    let named = if is_for(&certificate, hostname) {
        Found::ok().saw(format!("the certificate is for {hostname}"))
    } else {
        Found::attention(format!("the certificate is not for {hostname}"), &advice)
    };
    Found::worst([named, dates(inputs, &certificate, &advice)])
}

fn dates(inputs: &Inputs, certificate: &CertificateDer<'_>, advice: &str) -> Found {
    let Some((from, until)) = validity(certificate) else {
        return Found::attention("the dates of the certificate cannot be read", advice);
    };
    let seen = format!("valid from {from} until {until}");
    if inputs.clock.trust() != ClockTrust::Synced {
        return Found::unknown("the time is not certain, so the dates cannot be judged").saw(seen);
    }
    let now = inputs.clock.now();
    if now > until {
        Found::attention("the certificate has expired", advice)
    } else if now < from {
        Found::attention("the certificate is not valid yet", advice)
    } else if until.duration_since(now) < SOON {
        Found::attention("the certificate expires within two weeks", advice)
    } else {
        Found::ok()
    }
    .saw(seen)
}

fn advice(path: &Path) -> String {
    format!(
        "If the box made the certificate itself, remove {} and start the box again: it makes a new \
         one. Otherwise put the renewed certificate there.",
        path.display()
    )
}

fn is_for(certificate: &CertificateDer<'_>, hostname: &Domain) -> bool {
    let (Ok(parsed), Ok(name)) =
        (ParsedCertificate::try_from(certificate), ServerName::try_from(hostname.as_str()))
    else {
        return false;
    };
    verify_server_name(&parsed, &name).is_ok()
}

/// From when and until when: two elements of the certificate (RFC 5280 §4.1), which is a sequence
/// whose first part is version, serial number, algorithm, issuer, validity.
fn validity(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let (_, certificate, _) = element(certificate)?;
    let (_, signed, _) = element(certificate)?;
    let (tag, _, after_version) = element(signed)?;
    // The version is left out of a version 1 certificate.
    let mut rest = if tag == 0xA0 { after_version } else { signed };
    for _ in ["serial number", "algorithm", "issuer"] {
        (_, _, rest) = element(rest)?;
    }
    let (_, validity, _) = element(rest)?;
    let (tag, from, rest) = element(validity)?;
    let from = time(tag, from)?;
    let (tag, until, _) = element(rest)?;
    Some((from, time(tag, until)?))
}

/// Tag and content of the first DER element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7F))?;
        if bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `UTCTime` has two digits for the year, 1950 to 2049, `GeneralizedTime` four (RFC 5280
/// §4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        0x17 if text.get(..2)? < "50" => format!("20{text}"),
        0x17 => format!("19{text}"),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let civil = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// Time enough to act; renewals by machines happen earlier.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
