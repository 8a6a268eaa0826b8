//! Which messages a message answers: the ids in `Message-ID`, `In-Reply-To` and `References`
//! (RFC 5322 §3.6.4), as far as threads are made of them. Whatever programs write there is taken as
//! well as it can be; nothing is held beyond the fields themselves, and these up to a limit.

use memchr::memmem;

use super::structure::{RawField, fields};

/// Bytes of a message that are looked at for its header.
pub const HEADER_LIMIT: usize = 64 << 10;
/// Ids of other messages kept: the first one, where a thread began, and the last ones. Each may
/// cost room for ever, and strangers choose how many they write.
pub const MOST_CITES: usize = 5;
/// A longer id is no id: RFC 5322 §2.1.1 has no longer line.
const LONGEST_ID: usize = 998;

/// What one message says of itself and of those before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Threading {
    /// Its own id, without angle brackets; the first one when there are several.
    pub id: Option<MessageId>,
    /// Ids of messages it follows, oldest first, each once, never its own; at most [`MOST_CITES`].
    pub cites: Vec<MessageId>,
}

/// A message id without its angle brackets and without blanks; never empty, at most 998 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Box<[u8]>);

impl MessageId {
    /// The bytes between the angle brackets. Case counts (RFC 5322 §3.6.4).
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Threading {
    /// Of a message's header; what follows the header is not looked at.
    pub fn of(header: &[u8]) -> Self {
        let header = header.get(..HEADER_LIMIT).unwrap_or(header);
        let (mut id, mut references, mut replies) = (None, Vec::new(), Vec::new());
        for RawField { name, value, .. } in fields(header) {
            if name.eq_ignore_ascii_case(b"Message-ID") {
                id = id.or_else(|| ids(value).next());
            } else if name.eq_ignore_ascii_case(b"References") {
                references.extend(ids(value));
            } else if name.eq_ignore_ascii_case(b"In-Reply-To") {
                // In old programs a sentence with an address in it; an address is no one's id.
                replies.extend(ids(value));
            }
        }
        let mut cites: Vec<MessageId> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for cited in references.into_iter().chain(replies) {
            if Some(&cited) != id.as_ref() && seen.insert(cited.clone()) {
                cites.push(cited);
            }
        }
        if cites.len() > MOST_CITES {
            cites.drain(1..=cites.len() - MOST_CITES);
        }
        Self { id, cites }
    }
}

/// Keeps the header of a message that streams past, for [`Threading::of`].
#[derive(Debug, Default)]
pub struct HeaderHead {
    bytes: Vec<u8>,
    complete: bool,
}

impl HeaderHead {
    /// Takes the next bytes of the message, in pieces of any size.
    pub fn pass(&mut self, bytes: &[u8]) {
        if self.complete {
            return;
        }
        let room = HEADER_LIMIT.saturating_sub(self.bytes.len());
        let from = self.bytes.len().saturating_sub(3);
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let end = |ending: &[u8]| {
            let new = self.bytes.get(from..).unwrap_or_default();
            Some(from + memmem::find(new, ending)? + ending.len())
        };
        let end = [end(b"\n\r\n"), end(b"\n\n")].into_iter().flatten().min();
        if let Some(end) = end {
            self.bytes.truncate(end);
        }
        self.complete = end.is_some() || self.bytes.len() >= HEADER_LIMIT;
    }

    /// What the header says.
    pub fn threading(&self) -> Threading {
        Threading::of(&self.bytes)
    }
}

/// The ids in a field, as THREAD compares them (RFC 5256 §3): how the part before the `@` is quoted
/// makes no difference.
pub fn unquoted_ids(value: &[u8]) -> impl Iterator<Item = MessageId> {
    ids(value).map(|MessageId(id)| {
        let mut escaped = false;
        let plain = id.iter().copied().filter(|byte| {
            let mark = !escaped && matches!(byte, b'"' | b'\\');
            escaped = mark && *byte == b'\\';
            !mark
        });
        MessageId(plain.collect())
    })
}

/// The ids in a field: what stands between angle brackets, blanks and folds left out.
fn ids(value: &[u8]) -> impl Iterator<Item = MessageId> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_at_checked(rest.iter().position(|b| *b == b'<')? + 1)?;
            // One that is never closed ends where the next begins.
            let end = after.iter().position(|b| matches!(b, b'<' | b'>'))?;
            let (inside, after) = after.split_at_checked(end)?;
            rest = after;
            let id: Vec<u8> = inside.iter().copied().filter(|b| *b > b' ').collect();
            if rest.starts_with(b">") && !id.is_empty() && id.len() <= LONGEST_ID {
                return Some(MessageId(id.into()));
            }
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(header: &str) -> (Option<String>, Vec<String>) {
        let text = |id: &MessageId| String::from_utf8_lossy(id.as_bytes()).into_owned();
        let threading = Threading::of(header.as_bytes());
        (threading.id.as_ref().map(text), threading.cites.iter().map(text).collect())
    }

    fn check(header: &str, id: Option<&str>, cites: &[&str]) {
        let cites: Vec<String> = cites.iter().map(|cite| (*cite).to_owned()).collect();
        assert_eq!(of(header), (id.map(str::to_owned), cites), "{header:?}");
    }

    #[test]
    fn a_message_tells_its_id_and_those_it_follows() {
        check("Subject: x\r\n\r\nMessage-ID: <no@body>\r\n", None, &[]);
        check("message-id:<a@b>\r\n", Some("a@b"), &[]);
        check(
            "Message-ID: <3@x>\r\nIn-Reply-To: <2@x>\r\nReferences: <1@x>\r\n\t<2@x>\r\n",
            Some("3@x"),
            &["1@x", "2@x"],
        );
        check("In-Reply-To: <b@x>\r\nReferences: <a@x>\r\n", None, &["a@x", "b@x"]);
        check("Message-ID: <a@x>\r\nReferences: <a@x> <b@x> <b@x>\r\n", Some("a@x"), &["b@x"]);
        check("Message-ID: <a@x>\r\nMessage-ID: <b@x>\r\n", Some("a@x"), &[]);
        check("Message-ID : <A@X>\r\n", Some("A@X"), &[]);
    }

    #[test]
    fn what_programs_write_wrongly_is_taken_as_well_as_it_can_be() {
        check("Message-ID: <a\r\n b@x>\r\n", Some("ab@x"), &[]);
        check("Message-ID: a@x\r\n", None, &[]);
        check("Message-ID: <>\r\nReferences: < > <a@x\r\n", None, &[]);
        check("References: <a@x <b@x> c>d<e@x>\r\n", None, &["b@x", "e@x"]);
        check("In-Reply-To: Your message of Monday <b@x>\r\n", None, &["b@x"]);
        let long = format!("Message-ID: <{}@x>\r\nReferences: <a@x>\r\n", "a".repeat(1000));
        check(&long, None, &["a@x"]);
    }

    #[test]
    fn of_many_the_first_and_the_last_are_kept() {
        let all: Vec<String> = (0..100).map(|n| format!("<{n}@x>")).collect();
        let (_, cites) = of(&format!("References: {}\r\n", all.join("\r\n ")));
        assert_eq!(cites.len(), MOST_CITES);
        assert_eq!(
            (cites[0].as_str(), cites[1].as_str(), cites[MOST_CITES - 1].as_str()),
            ("0@x", "96@x", "99@x")
        );
    }

    #[test]
    fn a_header_without_end_is_looked_at_so_far_and_no_further() {
        let mut head = HeaderHead::default();
        head.pass(b"Message-ID: <a@x>\r\n");
        for _ in 0..100 {
            head.pass(&[b'x'; 10_000]);
            assert!(head.bytes.len() <= HEADER_LIMIT && head.bytes.capacity() <= 2 * HEADER_LIMIT);
        }
        head.pass(b"\r\nReferences: <b@x>\r\n\r\n");
        let threading = head.threading();
        assert_eq!(threading.id.unwrap().as_bytes(), b"a@x");
        assert!(threading.cites.is_empty());
    }

    #[test]
    fn quotes_tell_no_ids_apart() {
        let ids = |value: &str| -> Vec<Vec<u8>> {
            unquoted_ids(value.as_bytes()).map(|id| id.as_bytes().to_vec()).collect()
        };
        assert_eq!(ids(r#"<"01KF"@x> <"a\"\\b"@x>"#), [&b"01KF@x"[..], br#"a"\b@x"#]);
        assert_eq!(ids(r#"<"01KF"@x>"#), ids("<01KF@x>"));
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_tell_the_same(
            fields in "(Message-ID: ?<[ab]>\r?\n|References: <[a-d]> <[e-h]>\r\n|\r?\n|x\r\n){0,6}",
            piece in 1usize..9,
        ) {
            let mut head = HeaderHead::default();
            fields.as_bytes().chunks(piece).for_each(|piece| head.pass(piece));
            prop_assert_eq!(head.threading(), Threading::of(fields.as_bytes()));
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let marked: Vec<u8> = b"References:".iter().copied().chain(bytes).collect();
            let threading = Threading::of(&marked);
            prop_assert!(threading.cites.iter().all(|id| !id.as_bytes().is_empty()));
        }
    }
}
