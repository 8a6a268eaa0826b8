//! Reports about mail of ours that others send back: delivery notices (RFC 3464) and complaints
//! (RFC 5965). Read within bounds, and only for the ledger: anybody can write such a report, so
//! none of it is believed further than a note.

use std::io::{self, Read};

use crate::mail::{Address, Domain};

/// What a report says happened, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reported {
    /// Mail to this address did not get there, in these words.
    Returned(Address, String),
    /// This recipient of ours called it unwanted.
    Complaint(Address, String),
}

/// Reads a message that may be a report; what is none says nothing.
pub(super) fn reported(message: impl Read) -> io::Result<Vec<Reported>> {
    let mut text = Vec::new();
    message.take(LONGEST).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let (header, body) = split_header(&text);
    let Some(kind) = field(header, "content-type") else { return Ok(Vec::new()) };
    let lower = kind.to_ascii_lowercase();
    if !lower.trim_start().starts_with("multipart/report") {
        return Ok(Vec::new());
    }
    let Some(boundary) = parameter(&kind, "boundary") else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let separator = format!("--{boundary}");
    for part in parts(body, &separator).take(MOST_PARTS) {
        let (head, text) = split_header(part);
        let kind = field(head, "content-type").unwrap_or_default().to_ascii_lowercase();
        match kind.split(';').next().unwrap_or_default().trim() {
            "message/delivery-status" | "message/global-delivery-status" => {
                found.extend(returned(text));
            }
            "message/feedback-report" => found.extend(complaint(text)),
            _ => {}
        }
    }
    found.truncate(MOST_FOUND);
    Ok(found)
}

/// The recipients that failed for good (RFC 3464 §2.3).
fn returned(text: &str) -> Vec<Reported> {
    let blocks = blocks(text).into_iter().skip(1);
    let failed = blocks.filter_map(|block| {
        let action = field(&block, "action")?;
        let status = field(&block, "status").unwrap_or_default();
        if !action.trim().eq_ignore_ascii_case("failed") || !status.trim().starts_with('5') {
            return None;
        }
        let address = recipient(&field(&block, "final-recipient")?)?;
        let words = field(&block, "diagnostic-code").unwrap_or(status);
        let words = words.split_once(';').map_or(words.as_str(), |(_, words)| words).trim();
        Some(Reported::Returned(address, clean(words)))
    });
    failed.collect()
}

/// Who complained (RFC 5965 §3.2). Many reports hide it: then there is nothing to note.
fn complaint(text: &str) -> Option<Reported> {
    let kind = field(text, "feedback-type")?;
    if kind.trim().eq_ignore_ascii_case("not-spam") {
        return None;
    }
    let original = field(text, "original-rcpt-to")?;
    let address = original.trim().trim_matches(['<', '>']).parse().ok()?;
    Some(Reported::Complaint(address, clean(kind.trim())))
}

/// `rfc822; bob@example.net`
fn recipient(value: &str) -> Option<Address> {
    let (_, address) = value.split_once(';')?;
    address.trim().trim_matches(['<', '>']).parse().ok()
}

/// Whether an address is one that reports are sent to.
pub(super) fn takes_reports(address: &Address, ours: impl Fn(&Domain) -> bool) -> bool {
    let local = address.local().as_str().to_ascii_lowercase();
    let base = local.split('+').next().unwrap_or_default();
    ["abuse", "postmaster", "fbl"].contains(&base) && ours(address.domain())
}

fn split_header(text: &str) -> (&str, &str) {
    for end in ["\r\n\r\n", "\n\n"] {
        if let Some((header, body)) = text.split_once(end) {
            return (header, body);
        }
    }
    // A part without header begins with an empty line.
    match text.strip_prefix("\r\n").or_else(|| text.strip_prefix('\n')) {
        Some(body) => ("", body),
        None => (text, ""),
    }
}

/// The parts between separators, without the preamble.
fn parts<'a>(body: &'a str, separator: &'a str) -> impl Iterator<Item = &'a str> {
    body.split(separator).skip(1).take_while(|part| !part.starts_with("--")).filter_map(|part| {
        // The rest of the separator's own line.
        part.split_once('\n').map(|(_, rest)| rest)
    })
}

/// Groups of fields with empty lines between.
fn blocks(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines().take(MOST_LINES) {
        if line.trim().is_empty() {
            if all.last().is_some_and(|last| !last.is_empty()) && all.len() < MOST_FOUND + 2 {
                all.push(String::new());
            }
        } else if let Some(last) = all.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    all
}

/// A field's value, unfolded.
fn field(header: &str, name: &str) -> Option<String> {
    let mut lines = header.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_once(':') else { continue };
        if !key.trim().eq_ignore_ascii_case(name) {
            continue;
        }
        let mut value = value.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
            value.push_str(more);
            if value.len() > MOST_VALUE {
                break;
            }
        }
        return Some(value.chars().take(MOST_VALUE).collect());
    }
    None
}

/// A parameter of a Content-Type value.
fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|part| {
        let (key, given) = part.split_once('=')?;
        let given = given.trim().trim_matches('"');
        (key.trim().eq_ignore_ascii_case(name) && !given.is_empty()).then(|| given.to_owned())
    })
}

fn clean(words: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    words.chars().take(300).map(plain).collect()
}

/// Read of a message: the machine's part stands near the top.
const LONGEST: u64 = 128 << 10;
const MOST_PARTS: usize = 8;
const MOST_LINES: usize = 2_000;
const MOST_VALUE: usize = 2_000;
/// Recipients taken from one report.
const MOST_FOUND: usize = 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "reading from memory cannot fail")]
mod tests {
    use super::*;

    fn seen(text: &str) -> Vec<Reported> {
        reported(text.as_bytes()).unwrap()
    }

    const NOTICE: &str = "From: MAILER-DAEMON@far.test\r\n\
        Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"=_b\"\r\n\r\n\
        --=_b\r\n\r\nSorry.\r\n--=_b\r\nContent-Type: message/delivery-status\r\n\r\n\
        Reporting-MTA: dns; mx.far.test\r\n\r\n\
        Final-Recipient: rfc822; bob@far.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\
        Diagnostic-Code: smtp; 550 5.1.1\r\n no such user\r\n\r\n\
        Final-Recipient: rfc822; carol@far.test\r\nAction: delayed\r\nStatus: 4.2.2\r\n\r\n\
        --=_b--\r\n";

    #[test]
    fn a_notice_says_who_was_not_reached() {
        let bob = "bob@far.test".parse().unwrap();
        let expected = vec![Reported::Returned(bob, "550 5.1.1 no such user".into())];
        assert_eq!(seen(NOTICE), expected);
        assert_eq!(seen(&NOTICE.replace("\r\n", "\n")), expected);
        assert_eq!(seen(&NOTICE.replace("multipart/report", "multipart/mixed")), []);
        assert_eq!(seen(&NOTICE.replace("Action: failed", "Action: relayed")), []);
    }

    #[test]
    fn a_complaint_says_who_does_not_want_our_mail() {
        let text = "Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain\r\n\r\nAn abuse report.\r\n\
            --b\r\nContent-Type: message/feedback-report\r\n\r\n\
            Feedback-Type: abuse\r\nUser-Agent: x/1\r\nOriginal-Rcpt-To: <bob@far.test>\r\n\
            --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: hi\r\n\r\nhi\r\n--b--\r\n";
        let bob: Address = "bob@far.test".parse().unwrap();
        assert_eq!(seen(text), [Reported::Complaint(bob, "abuse".into())]);
        assert_eq!(seen(&text.replace("abuse\r\nUser", "not-spam\r\nUser")), []);
    }

    #[test]
    fn no_report_is_too_odd_to_be_read_within_bounds() {
        let recipient =
            "Final-Recipient: rfc822; a@far.test\r\nAction: failed\r\nStatus: 5.0.0\r\n\r\n";
        let many = NOTICE
            .replace("\r\n\r\n--=_b--", &format!("\r\n\r\n{}--=_b--", recipient.repeat(1000)));
        assert_eq!(seen(&many).len(), MOST_FOUND);
        for odd in [
            "",
            "\r\n",
            "Content-Type: multipart/report\r\n\r\n",
            "Content-Type:multipart/report;boundary=\"\"\r\n\r\n--",
        ] {
            assert_eq!(seen(odd), []);
        }
        for cut in 0..NOTICE.len() {
            seen(&NOTICE[..cut]);
        }
        let ours = |domain: &Domain| domain.as_str() == "home.test";
        assert!(takes_reports(&"Abuse+x@home.test".parse().unwrap(), ours));
        assert!(!takes_reports(&"abuse@far.test".parse().unwrap(), ours));
        assert!(!takes_reports(&"alice@home.test".parse().unwrap(), ours));
    }
}
