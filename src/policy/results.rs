//! Everything that was found out about where a message comes from, and the field that tells it to
//! the mail programs (RFC 8601). Much of it are words of strangers: none of them can end the field,
//! a line or a quotation, or look like a result.

use std::fmt::Display;

use super::arc::Arc;
use super::dkim::verify::{Dkim, Signed};
use super::dmarc::{Dmarc, Policy, Verdict};
use super::origin::Origin;
use super::rdns::{Reverse, host_name};
use super::spf::Spf;
use crate::mail::{Address, Domain};

/// What is known of a message's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The peer: reverse DNS, HELO, SPF.
    pub origin: Origin,
    /// One for each signature, from the top.
    pub dkim: Vec<Signed>,
    /// The chain of forwarders.
    pub arc: Arc,
    /// The author's domain.
    pub dmarc: Dmarc,
}

impl Authentication {
    /// The `Authentication-Results` field with its CRLF; `authserv_id` is our name.
    pub fn field(&self, authserv_id: &Domain) -> String {
        let mut field = Field::new(authserv_id);
        self.write_iprev(&mut field);
        self.write_spf(&mut field);
        if self.dkim.is_empty() {
            field.result("dkim", "none");
        }
        for signed in &self.dkim {
            write_dkim(&mut field, signed);
        }
        self.write_dmarc(&mut field);
        let (word, why) = match &self.arc {
            Arc::None => ("none", None),
            Arc::Pass(_) => ("pass", None),
            Arc::Fail(why) | Arc::TempError(why) => ("fail", Some(why)),
        };
        field.result("arc", word);
        field.reason(why);
        field.finish()
    }

    fn write_iprev(&self, field: &mut Field) {
        let (word, name) = match &self.origin.reverse {
            Reverse::Confirmed(name) => ("pass", Some(name)),
            Reverse::Unconfirmed(name) => ("fail", Some(name)),
            Reverse::NoName => ("permerror", None),
            Reverse::CouldNotTell(_) => ("temperror", None),
        };
        field.result("iprev", word);
        if let Some(name) = name {
            field.word(&format!("({name})"));
        }
        field.property("policy.iprev", self.origin.peer.ip.to_canonical());
    }

    fn write_spf(&self, field: &mut Field) {
        let Origin { peer, helo_spf, mail_from_spf, .. } = &self.origin;
        if let (Some(spf), Some(sender)) = (mail_from_spf, peer.mail_from.address()) {
            write_spf(field, spf);
            field.property("smtp.mailfrom", mailbox(sender));
        }
        if let (Some(spf), Some(name)) = (helo_spf, host_name(&peer.helo)) {
            write_spf(field, spf);
            field.property("smtp.helo", name);
        }
        if mail_from_spf.is_none() && helo_spf.is_none() {
            field.result("spf", "none");
        }
    }

    fn write_dmarc(&self, field: &mut Field) {
        let Dmarc { verdict, from, record, disposition, .. } = &self.dmarc;
        let (word, why) = match verdict {
            Verdict::None => ("none", None),
            Verdict::Pass => ("pass", None),
            Verdict::Fail => ("fail", None),
            Verdict::PermError(why) => ("permerror", Some(why)),
            Verdict::TempError(why) => ("temperror", Some(why)),
        };
        field.result("dmarc", word);
        field.reason(why);
        if let Some((_, record)) = record {
            let asked = record.own.unwrap_or(Policy::None).as_str();
            field.word(&format!("(p={asked} dis={})", disposition.as_str()));
        }
        if let Some(from) = from {
            field.property("header.from", from);
        }
    }
}

/// What one of our own fields says, read again from a message that was kept.
pub(super) struct Recorded<'a> {
    /// Everything after our name, from the first semicolon on.
    pub(super) results: &'a str,
    /// The word of the chain of forwarders.
    pub(super) arc: &'a str,
}

impl<'a> Recorded<'a> {
    /// Only for values that [`Authentication::field`] has written: no semicolon in them is part of
    /// anything else.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let results = text.get(text.find(';')?..)?;
        let arc = results.split(';').find_map(|result| result.trim().strip_prefix("arc="));
        let arc = arc.and_then(|arc| arc.split_whitespace().next()).unwrap_or("none");
        Some(Self { results, arc })
    }
}

fn write_spf(field: &mut Field, spf: &Spf) {
    let (word, why) = match spf {
        Spf::Pass => ("pass", None),
        Spf::Fail => ("fail", None),
        Spf::SoftFail => ("softfail", None),
        Spf::Neutral => ("neutral", None),
        Spf::None => ("none", None),
        Spf::PermError(why) => ("permerror", Some(why)),
        Spf::TempError(why) => ("temperror", Some(why)),
    };
    field.result("spf", word);
    field.reason(why);
}

fn write_dkim(field: &mut Field, signed: &Signed) {
    let (word, why) = match &signed.verdict {
        Dkim::Pass => ("pass", None),
        Dkim::Fail(why) => ("fail", Some(why)),
        Dkim::Policy(why) => ("policy", Some(why)),
        Dkim::PermError(why) => ("permerror", Some(why)),
        Dkim::TempError(why) => ("temperror", Some(why)),
    };
    field.result("dkim", word);
    field.reason(why);
    if signed.testing {
        field.word("(testing)");
    }
    if let Some(domain) = &signed.domain {
        field.property("header.d", domain);
    }
    if let Some(selector) = &signed.selector {
        field.property("header.s", selector);
    }
    if let Some(algorithm) = signed.algorithm {
        field.property("header.a", algorithm.as_str());
    }
    if !signed.mark.is_empty() {
        field.property("header.b", &signed.mark);
    }
}

/// The sender as a property: whole when that needs no quoting, otherwise his domain, which alone
/// was checked.
fn mailbox(sender: &Address) -> String {
    let local = sender.local().as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
    if local.chars().all(plain) { sender.to_string() } else { sender.domain().to_string() }
}

/// The field while it is written, folded between words.
struct Field {
    text: String,
    /// Characters in the last line.
    column: usize,
}

impl Field {
    fn new(authserv_id: &Domain) -> Self {
        let text = format!("Authentication-Results: {authserv_id}");
        Self { column: text.len(), text }
    }

    /// Starts a result; each has its line.
    fn result(&mut self, method: &str, word: &str) {
        self.text.push_str(";\r\n\t");
        self.column = 8;
        self.put(&format!("{method}={word}"));
    }

    /// Why it is so. White space in a quoted string may be folded (RFC 5322 §3.2.4).
    fn reason(&mut self, why: Option<&String>) {
        let Some(why) = why else { return };
        let mut words = why.split_whitespace().map(harmless).collect::<Vec<_>>().join(" ");
        words.truncate(LONGEST_REASON);
        self.word(&format!("reason=\"{}\"", words.trim_end()));
    }

    fn property(&mut self, name: &str, value: impl Display) {
        let value = harmless(&value.to_string());
        // RFC 8601 §2.2: a token, an address, or a quoted string.
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-_.@".contains(c);
        if !value.is_empty() && value.chars().all(plain) {
            self.word(&format!("{name}={value}"));
        } else {
            self.word(&format!("{name}=\"{value}\""));
        }
    }

    /// Adds words, each on the line where it fits.
    fn word(&mut self, words: &str) {
        for word in words.split(' ') {
            if self.column + 1 + word.len() > LINE {
                self.text.push_str("\r\n\t ");
                self.column = 9;
            } else {
                self.text.push(' ');
                self.column += 1;
            }
            self.put(word);
        }
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.len();
    }

    fn finish(mut self) -> String {
        self.text.push_str("\r\n");
        self.text
    }
}

/// A stranger's words without anything that means something in the field, in ASCII.
fn harmless(text: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\\' | ';' | '(' | ')' => '\'',
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(plain).collect()
}

/// RFC 5322 §2.1.1, with room for the semicolon that may follow.
const LINE: usize = 77;
const LONGEST_REASON: usize = 160;

#[cfg(all(test, feature = "demo"))]
mod tests;
