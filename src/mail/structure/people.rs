//! Address lists of header fields as ENVELOPE shows them (RFC 5322 §3.4, RFC 3501 §7.4.2):
//! raw, with groups, and with something sensible for what is not an address at all.

use super::fields::{comment, quoted};

/// Most addresses kept of one field.
const MAX_ADDRESSES: usize = 2000;

/// One element of an address list. A group begins with one that has only a `mailbox` (the group's
/// name) and ends with one that has nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// Display name, raw.
    pub name: Option<Vec<u8>>,
    /// Source route.
    pub route: Option<Vec<u8>>,
    /// Local part, unquoted.
    pub mailbox: Option<Vec<u8>>,
    /// Domain; empty when the address has none, nothing for group marks.
    pub host: Option<Vec<u8>>,
}

/// Reads an address list.
pub fn parse(value: &[u8]) -> Vec<Mailbox> {
    let mut list = Vec::new();
    let mut in_group = false;
    let mut draft = Draft::default();
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        if list.len() >= MAX_ADDRESSES {
            return list;
        }
        match byte {
            b'(' => {
                draft.comment = Some(comment(&mut rest));
                continue;
            }
            b'"' => {
                rest = after;
                draft.word(&quoted(&mut rest), true);
                continue;
            }
            b'<' => draft.angle = Some(Vec::new()),
            b'>' if draft.angle.is_some() => draft.closed = true,
            b',' | b';' if draft.in_angle() && !rest.contains(&b'>') => list.extend(draft.take()),
            b',' if !draft.in_angle() => list.extend(draft.take()),
            b';' if !draft.in_angle() => {
                list.extend(draft.take());
                if std::mem::take(&mut in_group) {
                    list.push(Mailbox::default());
                }
            }
            b':' if draft.starts_group() && !in_group => {
                in_group = true;
                let name = std::mem::take(&mut draft).text;
                list.push(Mailbox { mailbox: Some(name), ..Mailbox::default() });
            }
            byte if byte.is_ascii_whitespace() => draft.space = true,
            byte => draft.byte(*byte),
        }
        rest = after;
    }
    list.extend(draft.take());
    if in_group {
        list.push(Mailbox::default());
    }
    list
}

/// An address while it is read.
#[derive(Default)]
struct Draft {
    /// Words outside angle brackets.
    text: Vec<u8>,
    /// What stands in angle brackets.
    angle: Option<Vec<u8>>,
    closed: bool,
    comment: Option<Vec<u8>>,
    space: bool,
}

impl Draft {
    fn in_angle(&self) -> bool {
        self.angle.is_some() && !self.closed
    }

    fn starts_group(&self) -> bool {
        self.angle.is_none() && !self.text.is_empty() && !self.text.contains(&b'@')
    }

    fn byte(&mut self, byte: u8) {
        self.word(&[byte], false);
    }

    fn word(&mut self, bytes: &[u8], quoted: bool) {
        let space = std::mem::take(&mut self.space);
        if let Some(angle) = self.angle.as_mut().filter(|_| !self.closed) {
            angle.extend_from_slice(bytes);
            return;
        }
        if !self.text.is_empty() && (space || (quoted && !self.text.ends_with(b" "))) {
            self.text.push(b' ');
        }
        self.text.extend_from_slice(bytes);
    }

    fn take(&mut self) -> Option<Mailbox> {
        let draft = std::mem::take(self);
        let (name, address) = match draft.angle {
            Some(angle) => (Some(draft.text).filter(|name| !name.is_empty()), angle),
            None => (None, draft.text),
        };
        let (route, address) = match address.iter().position(|b| *b == b':') {
            Some(at) if address.starts_with(b"@") => {
                let (route, rest) = address.split_at(at);
                (Some(route.to_vec()), rest.get(1..).unwrap_or_default().to_vec())
            }
            _ => (None, address),
        };
        if address.is_empty() && name.is_none() {
            return None;
        }
        let (mailbox, host) = match address.iter().rposition(|b| *b == b'@') {
            Some(at) => (address.get(..at), address.get(at + 1..)),
            None => (Some(&*address), None),
        };
        Some(Mailbox {
            name: name.or(draft.comment),
            route,
            mailbox: Some(mailbox.unwrap_or_default().to_vec()),
            host: Some(host.unwrap_or_default().to_vec()),
        })
    }
}
