//! What goes over the wire: every text a client sees passes through one of these functions, so
//! that nothing in a message, a name or an address can end a line or begin a response.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::mail::structure::{
    Disposition, Head, Inside, Mailbox as Person, Parameter, Part, Structure,
};
use crate::mail::{Flags, MailboxName, ModSeq, Uid, utf7};
use crate::store::StoreError;

/// Longest text sent quoted; longer ones are literals.
const MAX_QUOTED: usize = 1000;

/// What a client has said it understands, as far as it changes how things are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Speech {
    /// Texts and mailbox names go out as UTF-8, quoted (RFC 9755 §3).
    pub(super) utf8: bool,
    /// RFC 9051: no message is ever recent.
    pub(super) rev2: bool,
}

/// Bytes to send, in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    speech: Speech,
}

impl Output {
    /// For a client that understands this.
    pub(super) fn speaking(speech: Speech) -> Self {
        Self { bytes: Vec::new(), speech }
    }

    /// From now on the client understands this.
    pub(super) fn speak(&mut self, speech: Speech) {
        self.speech = speech;
    }

    pub(super) fn speech(&self) -> Speech {
        self.speech
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Syntax of our own. What came from elsewhere goes through the other functions.
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// The bytes of a literal that was announced.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(super) fn number(&mut self, number: impl Into<u64>) -> &mut Self {
        self.raw(&number.into().to_string())
    }

    /// An untagged response.
    pub(super) fn line(&mut self, text: &str) -> &mut Self {
        self.raw("* ").raw(text).raw("\r\n")
    }

    /// A string: quoted when it can be, else a literal. Zero bytes cannot be sent at all
    /// (RFC 3501 §4.3) and are left out.
    pub(super) fn string(&mut self, text: &[u8]) -> &mut Self {
        let ascii = |b: &u8| matches!(b, b' '..=b'~' | b'\t');
        let wide = |b: &u8| ascii(b) || !b.is_ascii();
        let utf8 =
            || self.speech.utf8 && text.iter().all(wide) && std::str::from_utf8(text).is_ok();
        if text.len() <= MAX_QUOTED && (text.iter().all(ascii) || utf8()) {
            self.bytes.push(b'"');
            for byte in text {
                if matches!(byte, b'"' | b'\\') {
                    self.bytes.push(b'\\');
                }
                self.bytes.push(*byte);
            }
            self.bytes.push(b'"');
            return self;
        }
        let text: Vec<u8> = text.iter().copied().filter(|b| *b != 0).collect();
        self.literal(text.len() as u64).bytes(&text)
    }

    /// Announces so many bytes.
    pub(super) fn literal(&mut self, size: u64) -> &mut Self {
        self.raw("{").number(size).raw("}\r\n")
    }

    pub(super) fn nstring(&mut self, text: Option<&[u8]>) -> &mut Self {
        match text {
            Some(text) => self.string(text),
            None => self.raw("NIL"),
        }
    }

    /// A text out of a message's fields. Bytes beyond ASCII become encoded words (RFC 2047) for a
    /// client that does not take UTF-8 (RFC 9755 §3), and so does what is no UTF-8.
    pub(super) fn told(&mut self, text: &[u8]) -> &mut Self {
        let plain = text.is_ascii() || self.speech.utf8 && std::str::from_utf8(text).is_ok();
        if plain { self.string(text) } else { self.string(&encoded_words(text)) }
    }

    /// The same, or NIL.
    pub(super) fn ntold(&mut self, text: Option<&[u8]>) -> &mut Self {
        match text {
            Some(text) => self.told(text),
            None => self.raw("NIL"),
        }
    }

    /// A mailbox name; modified UTF-7 makes it printable ASCII for who has not switched UTF-8 on.
    pub(super) fn mailbox(&mut self, name: &str) -> &mut Self {
        if self.speech.utf8 {
            return self.string(name.as_bytes());
        }
        self.string(utf7::encode(name).as_bytes())
    }

    /// RFC 3501 §7.3.2, which RFC 9051 has no more.
    pub(super) fn recent(&mut self) -> &mut Self {
        if self.speech.rev2 { self } else { self.line("0 RECENT") }
    }

    /// Flags in parentheses.
    pub(super) fn flags(&mut self, flags: &Flags) -> &mut Self {
        let names: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
        self.raw("(").raw(&names.join(" ")).raw(")")
    }

    /// INTERNALDATE, in universal time.
    pub(super) fn date_time(&mut self, date: Timestamp) -> &mut Self {
        let text = date.strftime("%d-%b-%Y %H:%M:%S +0000").to_string();
        self.raw("\"").raw(&text).raw("\"")
    }

    /// `FETCH` with the flags a message has now, and its UID when the command was one with UIDs. Who
    /// is told modification sequences is told the UID as well (RFC 7162 §3.2.4).
    pub(super) fn fetch_flags(
        &mut self,
        number: u32,
        uid: Option<Uid>,
        flags: &Flags,
        modseq: Option<ModSeq>,
    ) {
        self.raw("* ").number(number).raw(" FETCH (");
        if let Some(uid) = uid {
            self.raw("UID ").number(uid.get()).raw(" ");
        }
        self.raw("FLAGS ").flags(flags);
        if let Some(modseq) = modseq {
            self.raw(" MODSEQ (").number(modseq.0).raw(")");
        }
        self.raw(")\r\n");
    }

    /// `FETCH` that tells only when a message changed (RFC 7162 §3.1.3).
    pub(super) fn fetch_modseq(&mut self, number: u32, uid: Uid, modseq: ModSeq) {
        self.raw("* ").number(number).raw(" FETCH (UID ").number(uid.get());
        self.raw(" MODSEQ (").number(modseq.0).raw("))\r\n");
    }

    /// ENVELOPE (RFC 3501 §7.4.2).
    pub(super) fn envelope(&mut self, head: &Head) -> &mut Self {
        let or_from =
            |list: &'_ Vec<Person>| if list.is_empty() { head.from.clone() } else { list.clone() };
        self.raw("(").ntold(head.date.as_deref());
        self.raw(" ").ntold(head.subject.as_deref());
        self.raw(" ").people(&head.from);
        // Sender and Reply-To default to From.
        self.raw(" ").people(&or_from(&head.sender));
        self.raw(" ").people(&or_from(&head.reply_to));
        self.raw(" ").people(&head.to);
        self.raw(" ").people(&head.cc);
        self.raw(" ").people(&head.bcc);
        self.raw(" ").ntold(head.in_reply_to.as_deref());
        self.raw(" ").ntold(head.message_id.as_deref()).raw(")")
    }

    fn people(&mut self, people: &[Person]) -> &mut Self {
        if people.is_empty() {
            return self.raw("NIL");
        }
        self.raw("(");
        for person in people {
            self.raw("(").ntold(person.name.as_deref());
            self.raw(" ").ntold(person.route.as_deref());
            self.raw(" ").ntold(person.mailbox.as_deref());
            self.raw(" ").ntold(person.host.as_deref()).raw(")");
        }
        self.raw(")")
    }

    /// BODYSTRUCTURE, or BODY without extension data (RFC 3501 §7.4.2).
    pub(super) fn structure(&mut self, structure: &Structure, extended: bool) -> &mut Self {
        self.part(structure, structure.root(), extended)
    }

    /// Goes no deeper than [`crate::mail::structure::MAX_DEPTH`].
    fn part(&mut self, structure: &Structure, part: &Part, extended: bool) -> &mut Self {
        self.raw("(");
        if let Inside::Parts(children) = &part.inside {
            for child in children {
                self.part(structure, structure.part(*child), extended);
            }
            self.raw(" ").told(&part.media.subtype);
            if extended {
                self.raw(" ").parameters(&part.media.parameters);
                self.extension(part);
            }
            return self.raw(")");
        }
        // An encoded message cannot be looked into, and as message/rfc822 it would have to be.
        let message = part.media.is("message", "rfc822");
        if message && part.inside == Inside::Leaf {
            self.raw("\"application\" \"octet-stream\" NIL");
        } else {
            self.told(&part.media.kind).raw(" ").told(&part.media.subtype);
            self.raw(" ").parameters(&part.media.parameters);
        }
        self.raw(" ").ntold(part.id.as_deref());
        self.raw(" ").ntold(part.description.as_deref());
        self.raw(" ").told(part.encoding.as_deref().unwrap_or(b"7bit"));
        self.raw(" ").number(part.body.end - part.body.start);
        if let Inside::Message(inner) = part.inside {
            let inner = structure.part(inner);
            self.raw(" ").envelope(inner.head.as_deref().unwrap_or(&Head::default()));
            self.raw(" ").part(structure, inner, extended);
            self.raw(" ").number(part.lines);
        } else if part.media.is_kind("text") {
            self.raw(" ").number(part.lines);
        }
        if extended {
            self.raw(" ").ntold(part.md5.as_deref());
            self.extension(part);
        }
        self.raw(")")
    }

    /// Disposition, language and location: some clients need all of them to show images.
    fn extension(&mut self, part: &Part) {
        match &part.disposition {
            Some(Disposition { kind, parameters }) => {
                self.raw(" (").told(kind).raw(" ").parameters(parameters).raw(")");
            }
            None => {
                self.raw(" NIL");
            }
        }
        match &*part.language {
            [] => {
                self.raw(" NIL");
            }
            [only] => {
                self.raw(" ").told(only);
            }
            several => {
                self.raw(" (");
                for (i, tag) in several.iter().enumerate() {
                    self.raw(if i == 0 { "" } else { " " }).told(tag);
                }
                self.raw(")");
            }
        }
        self.raw(" ").ntold(part.location.as_deref());
    }

    fn parameters(&mut self, parameters: &[Parameter]) -> &mut Self {
        if parameters.is_empty() {
            return self.raw("NIL");
        }
        for (i, parameter) in parameters.iter().enumerate() {
            self.raw(if i == 0 { "(" } else { " " }).told(&parameter.name);
            self.raw(" ").told(&parameter.value);
        }
        self.raw(")")
    }
}

/// A text in encoded words of at most 75 characters (RFC 2047 §2, §4.2): of UTF-8, or of what most
/// programs wrote before there was any.
fn encoded_words(text: &[u8]) -> Vec<u8> {
    let text: Vec<u8> = text.iter().copied().filter(|b| *b != 0).collect();
    let (charset, ends): (_, fn(u8) -> bool) = match std::str::from_utf8(&text) {
        Ok(_) => ("utf-8", |next| next & 0xc0 != 0x80),
        Err(_) => ("windows-1252", |_| true),
    };
    let mut words = String::new();
    let mut room = 0_usize;
    for (i, byte) in text.iter().enumerate() {
        // A character of UTF-8 takes up to twelve letters and stays whole.
        if room < 12 && ends(*byte) {
            let end = if i == 0 { "" } else { "?= " };
            let _ = write!(words, "{end}=?{charset}?q?");
            room = 75 - 2 - 5 - charset.len();
        }
        let plain = byte.is_ascii_alphanumeric() || b"!*+-/".contains(byte);
        let _ = match byte {
            b' ' => write!(words, "_"),
            byte if plain => write!(words, "{}", char::from(*byte)),
            byte => write!(words, "={byte:02X}"),
        };
        room = room.saturating_sub(if plain || *byte == b' ' { 1 } else { 3 });
    }
    words.push_str("?=");
    words.into_bytes()
}

/// UIDs as a set, such as `3:5,9`, in the order given: COPYUID pairs them by place.
pub(super) fn uid_set(uids: impl IntoIterator<Item = Uid>) -> String {
    number_set(uids.into_iter().map(Uid::get))
}

/// Numbers as a set, in the order given; ranges go up only (RFC 5267 §3.2).
pub(super) fn number_set(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if number == end.wrapping_add(1) => *end = number,
            _ => ranges.push((number, number)),
        }
    }
    uid_ranges(ranges)
}

/// Ranges as a set.
pub(super) fn uid_ranges(ranges: impl IntoIterator<Item = (u32, u32)>) -> String {
    let mut text = String::new();
    for (from, to) in ranges {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = if from == to {
            write!(text, "{comma}{from}")
        } else {
            write!(text, "{comma}{from}:{to}")
        };
    }
    text
}

/// What a client is told when the store refuses, with its code (RFC 5530). The one table.
pub(super) fn refusal(error: &StoreError) -> &'static str {
    match error {
        StoreError::Full => {
            "[OVERQUOTA] The card of this box is full: delete some mail, or use a larger card"
        }
        // RFC 5530 §3; RFC 9208 §4.3.
        StoreError::OverQuota => {
            "[OVERQUOTA] Your mailboxes are full: delete some mail and empty the trash, then try again"
        }
        StoreError::NoMailbox => "[NONEXISTENT] There is no such mailbox",
        StoreError::MailboxExists => "[ALREADYEXISTS] A mailbox of that name exists already",
        StoreError::NoMessage => "[EXPUNGEISSUED] The message was deleted just now",
        StoreError::TooLarge => "[LIMIT] This is too much at once: do it in smaller steps",
        StoreError::Closed => "[UNAVAILABLE] The box is shutting down: try again soon",
        StoreError::Damaged(_) => {
            "[CORRUPTION] A stored message is damaged: the others can be read as before"
        }
        _ => "[UNAVAILABLE] The storage of this box failed: see its status page",
    }
}

/// The parents of a name, nearest first.
pub(super) fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices(MailboxName::SEPARATOR).filter_map(move |(at, _)| name.get(..at))
}
