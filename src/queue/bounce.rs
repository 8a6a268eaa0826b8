//! Notices to the sender: returned to you, still waiting, or, where that was asked for, arrived
//! (RFC 3464 in RFC 6522). The first part is for people: what happened, why, what to do next; the
//! second for programs; the third is the header of the message it is about, or all of it.

use std::fmt::Write;
use std::io::{self, Read};

use jiff::Timestamp;

use super::advice::advice;
use super::states::{Problem, Recipient};
use crate::mail::headers::date;
use crate::mail::{Address, Domain, EnvelopeId};

/// What a notice is about.
pub(super) struct Notice<'a> {
    /// Who is told.
    pub(super) to: &'a Address,
    /// Who tells: the box, in a domain of ours.
    pub(super) from: Address,
    /// The box's name.
    pub(super) hostname: &'a Domain,
    /// The sender's own name for the message.
    pub(super) envid: Option<&'a EnvelopeId>,
    /// The recipients in question, and why.
    pub(super) recipients: &'a [Recipient],
    /// What became of them.
    pub(super) kind: Kind,
    /// When the message was taken.
    pub(super) received: Timestamp,
    /// Now.
    pub(super) at: Timestamp,
    /// Makes boundary and Message-ID unique.
    pub(super) unique: String,
}

/// What became of the recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Returned.
    Failure,
    /// Tried further, until about this time.
    Delay(Timestamp),
    /// As the sender asked to be told (RFC 3461 §5.2).
    Success(Success),
}

/// In what way it went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Success {
    /// In a mailbox here.
    Delivered,
    /// Given to a host that tells nothing further.
    Relayed,
    /// Sent on to the several addresses behind this one.
    Expanded,
}

/// What a notice brings back of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enclosed {
    Header,
    /// All of it (`RET=FULL`).
    Message,
}

impl Notice<'_> {
    /// What comes before and after that which is brought back.
    pub(super) fn frame(&self, enclosed: Enclosed) -> (Vec<u8>, Vec<u8>) {
        let Self { to, from, hostname, unique, .. } = self;
        let boundary = format!("=_pb_{unique}");
        let global = self.recipients.iter().any(|r| !r.address.to_string().is_ascii());
        // RFC 6533: the forms for addresses beyond ASCII.
        let report = if global {
            "message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit"
        } else {
            "message/delivery-status"
        };
        let back = match (enclosed, global) {
            (Enclosed::Header, false) => "text/rfc822-headers",
            (Enclosed::Header, true) => "message/global-headers",
            (Enclosed::Message, false) => "message/rfc822",
            (Enclosed::Message, true) => "message/global",
        };
        let head = format!(
            "Date: {}\r\nFrom: Pillarbox <{from}>\r\nTo: <{to}>\r\nSubject: {}\r\n\
             Message-ID: <{unique}@{hostname}>\r\nAuto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\
             \tboundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\
             \r\n--{boundary}\r\nContent-Type: {report}\r\n\r\n\
             {}\r\n--{boundary}\r\nContent-Type: {back}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
            date(self.at),
            self.subject(),
            self.words(),
            self.report(),
        );
        (head.into_bytes(), format!("\r\n--{boundary}--\r\n").into_bytes())
    }

    fn subject(&self) -> &'static str {
        match self.kind {
            Kind::Failure => "Your message could not be delivered",
            Kind::Delay(_) => "Your message is still waiting",
            Kind::Success(_) => "Your message was delivered",
        }
    }

    /// The part for people.
    fn words(&self) -> String {
        let mut text = String::new();
        match self.kind {
            Kind::Failure => text.push_str(
                "Your message could not be delivered to:\r\n\
                 (other recipients, if there were any, are not affected)\r\n",
            ),
            Kind::Delay(until) => put(
                &mut text,
                format_args!(
                    "Your message has not reached these recipients yet. You need not do\r\n\
                     anything: it is tried again until about {}.\r\n",
                    date(until)
                ),
            ),
            Kind::Success(how) => text.push_str(match how {
                Success::Delivered => "Your message is in the mailbox of:\r\n",
                Success::Relayed => {
                    "Your message was taken over by the mail host of these recipients. Whether it\r\n\
                     gets into the mailbox, that host does not tell:\r\n"
                }
                Success::Expanded => "Your message was sent on to everybody behind:\r\n",
            }),
        }
        for recipient in self.recipients {
            put(&mut text, format_args!("\r\n  {}\r\n", recipient.address));
            if let Some(via) = recipient.via.as_ref().filter(|via| **via != recipient.address) {
                put(&mut text, format_args!("    (you wrote to {via}, which leads there)\r\n"));
            }
            if let Some(words) = &recipient.relayed {
                put(&mut text, format_args!("    The host said: {words}\r\n"));
            }
            let problem = recipient.last.as_ref().filter(|_| !self.went_well());
            let Some(problem) = problem else { continue };
            put(&mut text, format_args!("    What happened: {}", problem.what));
            if let Some(host) = &problem.host {
                put(&mut text, format_args!(" ({host})"));
            }
            text.push_str("\r\n");
            if let Some(reply) = &problem.reply {
                put(&mut text, format_args!("    The host said: {reply}\r\n"));
            }
            if self.kind == Kind::Failure {
                put(&mut text, format_args!("    What to do: {}\r\n", advice(problem)));
            }
        }
        put(
            &mut text,
            format_args!(
                "\r\nThis was written by your post office at {}. Below is the header of the\r\n\
                 message it is about.\r\n",
                self.hostname
            ),
        );
        text
    }

    /// The part for programs (RFC 3464 §2).
    fn report(&self) -> String {
        let mut text = format!(
            "Reporting-MTA: dns; {}\r\nArrival-Date: {}\r\n",
            self.hostname,
            date(self.received)
        );
        if let Some(id) = self.envid {
            // RFC 3464 §2.2.1.
            put(&mut text, format_args!("Original-Envelope-Id: {}\r\n", id.as_str()));
        }
        for recipient in self.recipients {
            text.push_str("\r\n");
            // As the sender named it (RFC 3461 §5.2), or as it was written to us.
            if let Some(original) = &recipient.asked.orcpt {
                put(&mut text, format_args!("Original-Recipient: {original}\r\n"));
            } else if let Some(via) = &recipient.via {
                put(&mut text, format_args!("Original-Recipient: {}\r\n", typed(via)));
            }
            put(&mut text, format_args!("Final-Recipient: {}\r\n", typed(&recipient.address)));
            let unknown = Problem::new(if self.went_well() { "2.0.0" } else { "4.0.0" }, "");
            let last = recipient.last.as_ref().filter(|_| !self.went_well());
            let problem = last.unwrap_or(&unknown);
            let action = match self.kind {
                Kind::Failure => "failed",
                Kind::Delay(_) => "delayed",
                Kind::Success(Success::Delivered) => "delivered",
                Kind::Success(Success::Relayed) => "relayed",
                Kind::Success(Success::Expanded) => "expanded",
            };
            put(&mut text, format_args!("Action: {action}\r\nStatus: {}\r\n", problem.status));
            if let Some(host) = &problem.host {
                put(&mut text, format_args!("Remote-MTA: dns; {host}\r\n"));
            }
            if let Some(reply) = &problem.reply {
                let plain: String =
                    reply.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
                put(&mut text, format_args!("Diagnostic-Code: smtp; {plain}\r\n"));
            }
            put(&mut text, format_args!("Last-Attempt-Date: {}\r\n", date(self.at)));
            if let Kind::Delay(until) = self.kind {
                put(&mut text, format_args!("Will-Retry-Until: {}\r\n", date(until)));
            }
        }
        text
    }

    fn went_well(&self) -> bool {
        matches!(self.kind, Kind::Success(_))
    }
}

/// The header of a message, at most [`MAX_HEADER`] bytes of it in whole lines.
pub(super) fn header_of(message: impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    message.take(MAX_HEADER).read_to_end(&mut head)?;
    let end = head.windows(4).position(|four| four == b"\r\n\r\n").or_else(|| {
        let last_line = head.windows(2).rposition(|pair| pair == b"\r\n");
        last_line.filter(|_| head.len() as u64 == MAX_HEADER)
    });
    head.truncate(end.unwrap_or(head.len()));
    // A boundary of ours cannot stand in it: it is random.
    head.extend_from_slice(b"\r\n");
    Ok(head)
}

fn typed(address: &Address) -> String {
    let text = address.to_string();
    if text.is_ascii() { format!("rfc822; {text}") } else { format!("utf-8; {text}") }
}

fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(words);
}

const MAX_HEADER: u64 = 64 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;
    use crate::mail::RecipientRequests;

    fn recipient(address: &str, reply: &str) -> Recipient {
        let problem = Problem {
            status: "5.1.1".into(),
            host: Some("mx.example.net".into()),
            reply: Some(reply.into()),
            what: "the host refused the recipient".into(),
            ours: false,
            at_rcpt: true,
        };
        let via = Some("list@example.org".parse().unwrap());
        let recipient = Recipient::new(address.parse().unwrap(), via, RecipientRequests::default());
        Recipient { last: Some(problem), failed: true, ..recipient }
    }

    fn notice(recipients: &[Recipient], kind: Kind) -> String {
        let envid = EnvelopeId::from_xtext("QQ+2B3").unwrap();
        let notice = Notice {
            envid: Some(&envid),
            to: &"alice@example.org".parse().unwrap(),
            from: "postmaster@example.org".parse().unwrap(),
            hostname: &"box.example.org".parse().unwrap(),
            recipients,
            kind,
            received: "2026-11-22T10:00:00Z".parse().unwrap(),
            at: "2026-11-22T10:05:00Z".parse().unwrap(),
            unique: "0123456789abcdef".into(),
        };
        let (head, end) = notice.frame(Enclosed::Header);
        String::from_utf8([&head[..], b"Subject: hi\r\n", &end[..]].concat()).unwrap()
    }

    #[test]
    fn a_return_tells_people_and_programs_why() {
        let text = notice(&[recipient("bob@example.net", "550 no such üser")], Kind::Failure);
        assert!(text.contains("boundary=\"=_pb_0123456789abcdef\"\r\n\r\n--=_pb_"), "{text}");
        let parts: Vec<&str> = text.split("\r\n--=_pb_0123456789abcdef").skip(1).collect();
        assert_eq!(parts.len(), 4, "{text}");
        assert!(parts[..3].iter().all(|part| part.starts_with("\r\nContent-Type: ")));
        assert_eq!(parts[3], "--\r\n");
        for part in [
            "Auto-Submitted: auto-replied\r\n",
            "report-type=delivery-status",
            "Original-Envelope-Id: QQ+3\r\n",
            "What happened: the host refused the recipient (mx.example.net)\r\n",
            "The host said: 550 no such üser\r\n",
            "typing mistake",
            "Original-Recipient: rfc822; list@example.org\r\n",
            "Final-Recipient: rfc822; bob@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n",
            "Diagnostic-Code: smtp; 550 no such ?ser\r\n",
            "Content-Type: text/rfc822-headers\r\n",
            "\r\nSubject: hi\r\n",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(text.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
    }

    #[test]
    fn a_delay_says_how_long_it_goes_on() {
        let until = Kind::Delay("2026-11-25T10:00:00Z".parse().unwrap());
        let text = notice(&[recipient("käthe@example.net", "450 later")], until);
        assert!(text.contains("Action: delayed\r\n"));
        assert!(text.contains("Will-Retry-Until: Wed, 25 Nov 2026 10:00:00 +0000\r\n"), "{text}");
        assert!(text.contains("Final-Recipient: utf-8; käthe@example.net\r\n"));
        assert!(text.contains("message/global-delivery-status"));
        assert!(!text.contains("What to do"));
    }

    #[test]
    fn success_is_told_in_the_senders_own_names() {
        let mut bob = recipient("bob@example.net", "550 forgotten");
        bob.relayed = Some("250 ok".to_owned());
        bob.asked.orcpt = Some("rfc822;Robert@example.com".parse().unwrap());
        for (how, action) in [
            (Success::Relayed, "relayed"),
            (Success::Delivered, "delivered"),
            (Success::Expanded, "expanded"),
        ] {
            let text = notice(std::slice::from_ref(&bob), Kind::Success(how));
            for part in [
                "Original-Envelope-Id: QQ+3\r\n",
                "Original-Recipient: rfc822;Robert@example.com\r\n",
                &format!("Action: {action}\r\nStatus: 2.0.0\r\n"),
                "The host said: 250 ok\r\n",
            ] {
                assert!(text.contains(part), "{part} is not in {text}");
            }
            assert!(!text.contains("forgotten") && !text.contains("What to do"), "{text}");
        }
    }

    #[test]
    fn only_the_header_goes_back() {
        let header = header_of(&b"A: 1\r\nB: 2\r\n\r\nsecret"[..]).unwrap();
        assert_eq!(header, b"A: 1\r\nB: 2\r\n");
        let endless = "X: 123456\r\n".repeat(20_000);
        let header = header_of(endless.as_bytes()).unwrap();
        assert!(header.len() < 66_000 && header.ends_with(b"X: 123456\r\n"));
    }
}
