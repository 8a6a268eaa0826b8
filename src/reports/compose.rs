//! Our reports as messages: the XML of RFC 9990 §3.1 and the JSON of RFC 8460 §4, packed with gzip,
//! in mail whose subject and file name say what it is (RFC 9990 §4, RFC 8460 §5).

use std::fmt::Write as _;
use std::io::{self, Write as _};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::aggregate::Disposition;
use super::tally::{Checked, Count, TlsSeen};
use crate::mail::headers::date;
use crate::mail::{Address, Domain};

/// Who reports.
pub(super) struct Reporter<'a> {
    /// Our main domain.
    pub(super) name: &'a Domain,
    /// Where questions go, and who writes.
    pub(super) from: &'a Address,
    /// The box's name.
    pub(super) hostname: &'a Domain,
}

/// A report to be sent.
pub(super) struct Letter<'a> {
    pub(super) reporter: Reporter<'a>,
    /// Whom it is about.
    pub(super) about: &'a Domain,
    /// What day.
    pub(super) day: Date,
    pub(super) to: &'a [Address],
    pub(super) at: Timestamp,
}

/// Which kind of report a letter holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dmarc,
    Tls,
}

impl Letter<'_> {
    /// A DMARC report as a whole message.
    pub(super) fn dmarc(&self, count: &Count) -> io::Result<Vec<u8>> {
        self.wrap(Kind::Dmarc, self.xml(count).as_bytes())
    }

    /// A TLS report as a whole message.
    pub(super) fn tls(&self, seen: &TlsSeen) -> io::Result<Vec<u8>> {
        self.wrap(Kind::Tls, self.json(seen).as_bytes())
    }

    fn xml(&self, Count { published, rows }: &Count) -> String {
        let (begin, end) = self.range();
        let word = |policy: Disposition| policy.as_str();
        let mode = |strict: bool| if strict { "s" } else { "r" };
        let mut xml = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n<version>1.0</version>\n",
        );
        let mut put = |words: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = xml.write_fmt(words);
        };
        put(format_args!(
            "<report_metadata><org_name>{}</org_name><email>{}</email><report_id>{}</report_id>\
             <date_range><begin>{}</begin><end>{}</end></date_range>\
             <generator>Pillarbox</generator></report_metadata>\n",
            self.reporter.name,
            escaped(&self.reporter.from.to_string()),
            self.id(Kind::Dmarc),
            begin.as_second(),
            end.as_second() - 1,
        ));
        put(format_args!(
            "<policy_published><domain>{}</domain><discovery_method>treewalk</discovery_method>\
             <p>{}</p>",
            self.about,
            word(published.policy)
        ));
        for (name, policy) in [("sp", published.subdomains), ("np", published.missing)] {
            if let Some(policy) = policy {
                put(format_args!("<{name}>{}</{name}>", word(policy)));
            }
        }
        put(format_args!(
            "<adkim>{}</adkim><aspf>{}</aspf><testing>{}</testing></policy_published>\n",
            mode(published.strict_dkim),
            mode(published.strict_spf),
            if published.testing { "y" } else { "n" }
        ));
        for (checked, times) in rows {
            put(format_args!("{}", row(checked, *times)));
        }
        xml.push_str("</feedback>\n");
        xml
    }

    fn json(&self, seen: &TlsSeen) -> String {
        let (begin, end) = self.range();
        let last = end - SignedDuration::from_secs(1);
        let bad = seen.failures.iter().fold(0_u64, |sum, (_, _, count)| sum.saturating_add(*count));
        let failures = seen.failures.iter().map(|(kind, host, count)| {
            let mut failure = json!({ "result-type": kind, "failed-session-count": count });
            if let Some(host) = host {
                failure["receiving-mx-hostname"] = json!(host);
            }
            failure
        });
        let mut policy = json!({ "policy-type": seen.policy_type, "policy-domain": seen.domain });
        if !seen.policy.is_empty() {
            policy["policy-string"] = json!(seen.policy);
        }
        if !seen.hosts.is_empty() {
            policy["mx-host"] = json!(seen.hosts);
        }
        json!({
            "organization-name": self.reporter.name,
            "date-range": { "start-datetime": begin, "end-datetime": last },
            "contact-info": self.reporter.from,
            "report-id": self.id(Kind::Tls),
            "policies": [{
                "policy": policy,
                "summary": {
                    "total-successful-session-count": seen.good,
                    "total-failure-session-count": bad,
                },
                "failure-details": failures.collect::<Vec<_>>(),
            }],
        })
        .to_string()
    }

    /// The message around a report.
    fn wrap(&self, kind: Kind, report: &[u8]) -> io::Result<Vec<u8>> {
        let Reporter { name, from, .. } = self.reporter;
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(report)?;
        let packed = packed.finish()?;
        let (about, id) = (self.about, self.id(kind));
        let to: Vec<String> = self.to.iter().map(|to| format!("<{to}>")).collect();
        let to = to.join(",\r\n ");
        let (begin, end) = self.range();
        let (begin, end) = (begin.as_second(), end.as_second() - 1);
        let (content, ending, words, extra) = match kind {
            Kind::Dmarc => (
                "application/gzip",
                "xml.gz",
                "mail that claimed to come from",
                "Content-Type: multipart/mixed;".to_owned(),
            ),
            Kind::Tls => (
                "application/tlsrpt+gzip",
                "json.gz",
                "connections to the mail hosts of",
                // RFC 8689 §5: the report must come through where TLS is what is broken.
                format!(
                    "TLS-Report-Domain: {about}\r\nTLS-Report-Submitter: {name}\r\n\
                     TLS-Required: No\r\nContent-Type: multipart/report; report-type=\"tlsrpt\";"
                ),
            ),
        };
        let boundary = format!("=_report_{}", self.hash(kind));
        let mut message = format!(
            "Date: {}\r\nFrom: <{from}>\r\nTo: {to}\r\n\
             Subject: Report Domain: {about}\r\n Submitter: {name}\r\n Report-ID: <{id}>\r\n\
             Message-ID: <report.{id}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             {extra}\r\n\tboundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is an automatic report about {words}\r\n{about} on {}, as seen by {name}.\r\n\
             It is sent because a DNS record of that domain asks for it.\r\n\r\n\
             --{boundary}\r\nContent-Type: {content};\r\n\
             \tname=\"{name}!{about}!{begin}!{end}.{ending}\"\r\n\
             Content-Disposition: attachment;\r\n\
             \tfilename=\"{name}!{about}!{begin}!{end}.{ending}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n",
            date(self.at),
            self.day,
        )
        .into_bytes();
        for line in BASE64.encode(packed).as_bytes().chunks(76) {
            message.extend_from_slice(line);
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Ok(message)
    }

    /// The same for the same day and domain, so that a report sent twice counts once.
    fn id(&self, kind: Kind) -> String {
        format!("{}.{}@{}", self.day, self.hash(kind), self.reporter.hostname)
    }

    fn hash(&self, kind: Kind) -> String {
        let kind = if kind == Kind::Dmarc { "dmarc" } else { "tls" };
        let whole = format!("{kind}\n{}\n{}\n{}", self.day, self.about, self.reporter.hostname);
        blake3::hash(whole.as_bytes()).to_hex().chars().take(16).collect()
    }

    /// The first moment of the day, and that of the next.
    fn range(&self) -> (Timestamp, Timestamp) {
        let start = |day: Date| {
            day.to_zoned(TimeZone::UTC).map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp())
        };
        let next = self.day.saturating_add(SignedDuration::from_hours(24));
        (start(self.day), start(next))
    }
}

fn row(checked: &Checked, times: u64) -> String {
    let passed = |yes: bool| if yes { "pass" } else { "fail" };
    let mut xml = format!(
        "<record><row><source_ip>{}</source_ip><count>{times}</count><policy_evaluated>\
         <disposition>{}</disposition><dkim>{}</dkim><spf>{}</spf>{}</policy_evaluated></row>\
         <identifiers><header_from>{}</header_from>",
        checked.source.to_canonical(),
        checked.disposition.as_str(),
        passed(checked.dkim_aligned),
        passed(checked.spf_aligned),
        // RFC 8617 §7.2.2
        if checked.vouched {
            "<reason><type>local_policy</type><comment>arc=pass</comment></reason>"
        } else {
            ""
        },
        checked.from
    );
    let mut put = |words: std::fmt::Arguments<'_>| {
        let _ = xml.write_fmt(words);
    };
    if let Some(sender) = &checked.envelope_from {
        put(format_args!("<envelope_from>{sender}</envelope_from>"));
    }
    put(format_args!("</identifiers><auth_results>"));
    for (domain, selector, result) in &checked.dkim {
        let (selector, result) = (escaped(selector), escaped(result));
        put(format_args!(
            "<dkim><domain>{domain}</domain><selector>{selector}</selector>\
             <result>{result}</result></dkim>"
        ));
    }
    if let Some((domain, in_mail, result)) = &checked.spf {
        let scope = if *in_mail { "mfrom" } else { "helo" };
        let result = escaped(result);
        put(format_args!(
            "<spf><domain>{domain}</domain><scope>{scope}</scope><result>{result}</result></spf>"
        ));
    }
    put(format_args!("</auth_results></record>\n"));
    xml
}

/// Words of strangers as XML text.
fn escaped(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => text.push('?'),
            c => text.push(c),
        }
    }
    text
}
