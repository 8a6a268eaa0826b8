//! What a message's own header says of it: when it came, and what mail programs that keep no flags
//! elsewhere wrote into it.

use jiff::Timestamp;

use super::labels::Labels;
use crate::mail::structure::{fields, header_text, moment};
use crate::mail::{Flag, Flags, SystemFlag};

/// Bytes of a message in which its header is looked for.
pub(super) const HEADER: usize = 64 << 10;

/// What was found in a header.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// When the last server took it (the first `Received`).
    received: Option<Timestamp>,
    /// When it was written.
    sent: Option<Timestamp>,
    /// `Status`, `X-Status`, `X-Keywords` and `X-Mozilla-Status`.
    pub(super) flags: Flags,
    /// Thunderbird had deleted it and not yet tidied up.
    pub(super) deleted: bool,
    /// Where Google Mail had it.
    pub(super) labels: Option<Labels>,
}

impl Facts {
    /// Reads the start of a message, in which the header may be cut off.
    pub(super) fn read(start: &[u8]) -> Self {
        let mut facts = Self::default();
        for field in fields(start) {
            let value = field.value;
            let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
            if is("Received") && facts.received.is_none() {
                let after =
                    value.iter().rposition(|b| *b == b';').and_then(|at| value.get(at + 1..));
                facts.received = after.and_then(moment);
            } else if is("Date") {
                facts.sent = facts.sent.or_else(|| moment(value));
            } else if is("Status") {
                facts.letters(value, &[(b'R', SystemFlag::Seen)]);
            } else if is("X-Status") {
                facts.letters(value, &X_STATUS);
            } else if is("X-Keywords") {
                let text = String::from_utf8_lossy(value);
                facts.keywords(text.split_ascii_whitespace());
            } else if is("X-Mozilla-Status") {
                facts.mozilla(value);
            } else if is("X-Mozilla-Keys") {
                let text = String::from_utf8_lossy(value);
                facts.keywords(text.split_ascii_whitespace());
            } else if is("X-Gmail-Labels") {
                facts.labels = Some(Labels::parse(&header_text(value)));
            }
        }
        facts
    }

    /// When it came into the mailbox it was in, as far as the header tells.
    pub(super) fn date(&self) -> Option<Timestamp> {
        self.received.or(self.sent)
    }

    fn letters(&mut self, value: &[u8], table: &[(u8, SystemFlag)]) {
        for (letter, flag) in table {
            if value.contains(letter) {
                self.flags.insert(Flag::System(*flag));
            }
        }
    }

    fn keywords<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        words.filter_map(|word| word.parse().ok()).for_each(|word| {
            self.flags.insert(Flag::Keyword(word));
        });
    }

    /// Four hexadecimal digits, each bit a fact.
    fn mozilla(&mut self, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        let Ok(bits) = u32::from_str_radix(text.trim(), 16) else { return };
        let table = [(1, SystemFlag::Seen), (2, SystemFlag::Answered), (4, SystemFlag::Flagged)];
        for (bit, flag) in table {
            if bits & bit != 0 {
                self.flags.insert(Flag::System(flag));
            }
        }
        if bits & 0x1000 != 0 {
            self.keywords(std::iter::once("$Forwarded"));
        }
        self.deleted = bits & 8 != 0;
    }
}

/// As Pine, mutt and Dovecot write it.
pub(super) const X_STATUS: [(u8, SystemFlag); 4] = [
    (b'A', SystemFlag::Answered),
    (b'F', SystemFlag::Flagged),
    (b'T', SystemFlag::Draft),
    (b'D', SystemFlag::Deleted),
];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_when_a_message_came_and_what_was_done_with_it() {
        let facts = Facts::read(
            b"Received: from a by b;\r\n\tSun, 22 Nov 2026 10:00:00 +0100\r\n\
              Received: from c by a; Sat, 21 Nov 2026 09:00:00 +0000\r\n\
              Date: Fri, 20 Nov 2026 09:00:00 +0000\r\nStatus: RO\r\nX-Status: AF\r\n\
              X-Keywords: $Forwarded  Work\r\nX-Mozilla-Status: 1009\r\n\r\nStatus: D\r\n",
        );
        assert_eq!(facts.date().unwrap().to_string(), "2026-11-22T09:00:00Z");
        let flags: Vec<String> = facts.flags.iter().map(|flag| flag.to_string()).collect();
        assert_eq!(flags, ["\\Answered", "\\Flagged", "\\Seen", "$Forwarded", "Work"]);
        assert!(facts.deleted);
        let sent =
            Facts::read(b"Date: Fri, 20 Nov 2026 09:00:00 +0000\nX-Mozilla-Status: 0001\n\n");
        assert_eq!(sent.date().unwrap().to_string(), "2026-11-20T09:00:00Z");
        assert!(!sent.deleted);
        assert!(Facts::read(b"Date: soon\r\n\r\n").date().is_none());
    }
}
