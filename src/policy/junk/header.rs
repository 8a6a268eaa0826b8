//! The header as tokens and facts. Fields that our own box or its owner's other boxes add say
//! nothing about the sender and are left out, so that a message looks the same when it arrives and
//! when it is learned from later.

use std::collections::{BTreeMap, BTreeSet};

use crate::mail::structure::{self, Head, Mailbox, Parameter, Part};

use super::facts::{Facts, Harm, REFERENCES};
use super::inspect::Seen;
use super::tokens::{Place, Tokens};
use super::words::{TextFacts, Words, fold, home_of, host_tokens};

/// Fields looked at, and `Received` fields among them.
const FIELDS: usize = 200;
const HOPS: usize = 12;
/// Longest text of a field looked at, in bytes.
const VALUE: usize = 1000;
/// Bytes of the header that grams are made of, and of one field.
const GIST: usize = 2500;
const GIST_VALUE: usize = 120;

/// Addresses looked at for tags, and the shortest name that is no chance there.
const TAGGED: usize = 5;
const TAG: usize = 4;

/// The header of the message itself.
pub(super) fn of_message(bytes: &[u8], part: &Part, seen: &mut Seen) {
    let mut reader = Reader::default();
    for (number, field) in structure::fields(bytes).take(FIELDS).enumerate() {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        if number == 0 {
            // Final delivery puts it on top (RFC 5321 §4.4), and the first trace is then its own.
            reader.own = Some(name == "return-path");
        }
        if name.is_empty() || name.contains(|c: char| !c.is_ascii_graphic()) {
            seen.facts.malformed = true;
            continue;
        }
        reader.field(&name, field.value, seen);
    }
    reader.trace(seen);
    if let Some(head) = &part.head {
        people(head, seen);
        subject(head, seen);
        references(head, &mut seen.facts);
        let date = head.date.as_deref();
        seen.facts.has_date = date.is_some();
        seen.facts.date = date.and_then(structure::moment);
        let zone = date.map(<[u8]>::trim_ascii).and_then(|date| date.rsplit(|b| *b == b' ').next());
        let zone = zone.map_or(String::new(), |zone| limited(zone, 12));
        seen.tokens.note(Place::Field, "zone", &zone);
        message_id(head, seen);
        reader.fit(head, seen);
    }
}

/// The header of any part, the message itself among them.
pub(super) fn of_part(part: &Part, seen: &mut Seen) {
    let Seen { tokens, facts } = seen;
    let kind = limited(&part.media.kind, 40).to_lowercase();
    let subtype = limited(&part.media.subtype, 40).to_lowercase();
    tokens.note(Place::Make, "type", &format!("{kind}/{subtype}"));
    if kind == "text" && !is_attached(part) {
        let html = subtype == "html";
        let count = if html { &mut facts.html_parts } else { &mut facts.plain_parts };
        *count = count.saturating_add(1);
        tokens.note(Place::Make, "charset", &limited(part.charset().as_bytes(), 40));
        let encoding = part.encoding.as_deref().unwrap_or(b"none");
        tokens.note(Place::Make, "encoding", &limited(encoding, 20).to_lowercase());
    }
    for parameter in &part.media.parameters {
        if parameter.name.eq_ignore_ascii_case(b"boundary") {
            tokens.note(Place::Make, "boundary", &shape(&parameter.value));
        }
    }
    let names = file_names(part);
    let ending = names.first().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    if let Some(ending) = ending.filter(|ending| ending.len() < 8) {
        tokens.note(Place::Make, "file", &ending.to_lowercase());
    }
    // A page within the text is what multipart/related is made of.
    let harms = names.iter().filter_map(|name| Harm::of(name));
    facts.attachments.extend(harms.filter(|harm| *harm != Harm::Page || is_attached(part)));
}

/// Whether a part is a file, not a text to be shown.
pub(super) fn is_attached(part: &Part) -> bool {
    part.disposition.as_ref().is_some_and(|d| d.kind.eq_ignore_ascii_case(b"attachment"))
}

/// What a part's file is called, in every way in which it is written: programs differ in the one
/// they take.
fn file_names(part: &Part) -> Vec<String> {
    let disposition = part.disposition.as_ref().map(|d| d.parameters.as_slice());
    let mut names = written_names(disposition.unwrap_or_default(), "filename");
    names.extend(written_names(&part.media.parameters, "name"));
    names
}

/// As it is, encoded, and in pieces (RFC 2231 §3, §4).
fn written_names(parameters: &[Parameter], key: &str) -> Vec<String> {
    let (mut names, mut pieces) = (Vec::new(), BTreeMap::new());
    for parameter in parameters {
        let name = String::from_utf8_lossy(&parameter.name).to_ascii_lowercase();
        let value = parameter.value.get(..VALUE).unwrap_or(&parameter.value);
        match name.strip_prefix(key) {
            Some("") => names.push(structure::header_text(value)),
            Some("*") => names.push(String::from_utf8_lossy(&unescaped(value)).into_owned()),
            Some(rest) => {
                let number = rest.strip_prefix('*').map(|number| number.trim_end_matches('*'));
                if let Some(number) = number.and_then(|number| number.parse::<u8>().ok()) {
                    let encoded = rest.ends_with('*');
                    pieces.insert(number, if encoded { unescaped(value) } else { value.to_vec() });
                }
            }
            None => {}
        }
    }
    if !pieces.is_empty() {
        let whole = pieces.into_values().collect::<Vec<_>>().concat();
        names.push(String::from_utf8_lossy(&whole).into_owned());
    }
    names
}

/// With the characters that stand as `%` and two digits.
fn unescaped(value: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    bytes
}

/// Reads field by field.
#[derive(Default)]
struct Reader {
    /// The header in short, for its grams.
    gist: Vec<u8>,
    /// Whose machines it passed.
    on_the_way: BTreeSet<String>,
    hops: usize,
    /// The first hop of all, which the sender's own machine was on.
    oldest: Option<String>,
    /// Whether the first trace field is of our own making.
    own: Option<bool>,
    /// Fields seen that may be there once.
    once: u32,
}

impl Reader {
    fn field(&mut self, name: &str, value: &[u8], seen: &mut Seen) {
        let Seen { tokens, facts } = seen;
        if name == "received" {
            if self.own.take_if(|own| *own).is_none() && self.hops < HOPS {
                self.hops += 1;
                let from = value.trim_ascii_start();
                let by = memchr::memmem::find(from, b" by ").unwrap_or(from.len());
                self.note_gist("received", from.get(..by.min(100)).unwrap_or(from));
                if let Some(nearer) = self.oldest.replace(limited(value, VALUE)) {
                    hop(&nearer, tokens, &mut self.on_the_way);
                }
            }
            return;
        }
        if is_added_on_arrival(name) {
            return;
        }
        tokens.note(Place::Field, "field", name.get(..40).unwrap_or(name));
        self.note_gist(name, if is_chance(name) { b"" } else { value });
        facts.raw_bytes |= std::str::from_utf8(value).is_err();
        let single = ["from", "to", "cc", "subject", "date", "message-id", "reply-to", "sender"];
        if let Some(bit) = single.iter().position(|known| *known == name) {
            facts.malformed |= self.once & 1 << bit != 0;
            self.once |= 1 << bit;
        }
        match name {
            "x-mailer" | "user-agent" | "x-newsreader" => {
                for word in limited(value, 80).split_whitespace().take(6) {
                    tokens.note(Place::Field, "mailer", &fold(word));
                }
            }
            "list-id" => {
                facts.list = true;
                tokens.note(Place::Field, name, limited(value, 120).trim());
            }
            "sender" | "errors-to" => {
                let value = limited(value, 200);
                if let Some((_, host)) = value.rsplit_once('@') {
                    tokens.note(
                        Place::Field,
                        name,
                        &host.trim_end_matches(['>', ' ', '\r', '\n']).to_lowercase(),
                    );
                }
            }
            "list-unsubscribe" => facts.unsubscribe = true,
            "auto-submitted" => {
                facts.automatic = !limited(value, 40).trim().eq_ignore_ascii_case("no");
            }
            "precedence" | "importance" | "priority" | "x-priority" | "x-msmail-priority"
            | "mime-version" | "content-language" | "organization" => {
                tokens.note(Place::Field, name, &limited(value, 40).trim().to_lowercase());
            }
            _ => {}
        }
    }

    /// Whether the sender's domain fits the rest: forgers rarely get that right.
    fn fit(&self, head: &Head, seen: &mut Seen) {
        let Some(author) = head.from.iter().find(|m| m.host.is_some()).map(host_of) else { return };
        let home = home_of(&author);
        let id = limited(head.message_id.as_deref().unwrap_or_default(), 250);
        let id =
            id.trim().trim_end_matches('>').rsplit_once('@').map(|(_, host)| host.to_lowercase());
        let word = |fits| if fits { "fits" } else { "does not fit" };
        let trace = word(self.on_the_way.contains(home));
        let id = id.map_or("none", |id| word(home_of(&id) == home));
        seen.tokens.note(Place::Make, "trace", trace);
        seen.tokens.note(Place::Make, "id", id);
        seen.tokens.note(Place::Make, trace, id);
    }

    fn note_gist(&mut self, name: &str, value: &[u8]) {
        if self.gist.len() >= GIST {
            return;
        }
        self.gist.extend_from_slice(name.as_bytes());
        self.gist.push(b':');
        let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let start = self.gist.len();
        for word in words {
            if self.gist.len() - start >= GIST_VALUE {
                break;
            }
            self.gist.extend_from_slice(word);
            self.gist.push(b' ');
        }
        self.gist.truncate(start + GIST_VALUE);
        self.gist.push(b'\n');
    }

    /// The trace: how many hops, and the one nearest to the sender.
    fn trace(&mut self, seen: &mut Seen) {
        let tokens = &mut seen.tokens;
        tokens.grams::<4>("header", &self.gist);
        tokens.grams::<6>("header", &self.gist);
        tokens.note(Place::Field, "hops", &self.hops.min(6).to_string());
        let Some(oldest) = &self.oldest else { return };
        if let Some(helo) = hop(oldest, tokens, &mut self.on_the_way) {
            let kind = match helo {
                name if name.parse::<std::net::IpAddr>().is_ok() => "number",
                name if name.contains('.') => "name",
                _ => "one word",
            };
            tokens.note(Place::Field, "helo", kind);
        }
        if oldest.contains("unknown") {
            tokens.note(Place::Field, "trace", "unknown");
        }
        if let Some((_, with)) = oldest.split_once(" with ") {
            let with = with.split([' ', ';', '\r', '\n']).next().unwrap_or_default();
            tokens.note(Place::Field, "with", &fold(with));
        }
    }
}

/// The machine that one `Received` field says the message came from: its name, and the networks
/// of its address. Gives the name it said it has.
fn hop<'a>(
    field: &'a str,
    tokens: &mut Tokens,
    on_the_way: &mut BTreeSet<String>,
) -> Option<&'a str> {
    let from = field.trim_start().strip_prefix("from ")?;
    let end = from.find(" by ").unwrap_or(from.len());
    let from = from.get(..end).unwrap_or(from);
    let helo = from.split_whitespace().next()?.trim_matches(['[', ']', '(', ')']);
    for word in from.split([' ', '(', ')', '[', ']', '\t', '\r', '\n', '@', '=']).take(16) {
        if let Ok(address) = word.parse::<std::net::Ipv4Addr>() {
            let [a, b, c, _] = address.octets();
            tokens.note(Place::Field, "net", &format!("{a}.{b}"));
            tokens.note(Place::Field, "net", &format!("{a}.{b}.{c}"));
        } else if word.contains('.') && word.len() <= 253 {
            let word = word.to_lowercase();
            let home = home_of(word.trim_end_matches('.'));
            tokens.note(Place::Field, "host", home);
            on_the_way.insert(home.to_owned());
        }
    }
    Some(helo)
}

/// What is added to a message behind its sender's back: by us, by a box that passed it on, by the
/// program that fetched it.
fn is_added_on_arrival(name: &str) -> bool {
    let exact = [
        "return-path",
        "delivered-to",
        "x-original-to",
        "envelope-to",
        "authentication-results",
        "received-spf",
        "x-spam",
        "status",
        "x-status",
        "x-keywords",
        "x-uid",
        "x-mozilla-status",
        "x-mozilla-status2",
        "x-envelope-from",
        "x-envelope-to",
        "x-pyzor",
        "delivery-date",
    ];
    let starts = ["x-spam-", "x-pillarbox-", "arc-", "x-forefront", "x-microsoft-antispam"];
    exact.contains(&name) || starts.iter().any(|start| name.starts_with(start))
}

/// Fields whose values are chance, or the time.
fn is_chance(name: &str) -> bool {
    let exact = ["date", "in-reply-to", "references", "thread-index"];
    let starts = ["x-gm-", "x-google-", "x-ms-", "x-sg-", "x-ses-", "x-original-date"];
    exact.contains(&name)
        || name.ends_with("signature")
        || starts.iter().any(|start| name.starts_with(start))
}

fn people(head: &Head, seen: &mut Seen) {
    let Seen { tokens, facts } = seen;
    let from: Vec<&Mailbox> = head.from.iter().filter(|m| m.host.is_some()).collect();
    facts.authors = count(&from);
    if let Some(author) = from.first() {
        let name = structure::header_text(author.name.as_deref().unwrap_or_default());
        words_of(&name, Place::Name, tokens);
        facts.from_name = name.chars().take(100).collect();
        let host = host_of(author);
        if let Some(address) = address_of(author) {
            tokens.note(Place::Field, "from", &address);
            host_tokens("from", &host, tokens);
            tokens.note(
                Place::Field,
                "from shape",
                &shape(author.mailbox.as_deref().unwrap_or_default()),
            );
            facts.from = Some(address);
        } else {
            tokens.note(Place::Field, "from", "nobody");
        }
        let other = |text: &str| {
            let text = text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            text.rsplit_once('@').is_some_and(|(_, other)| other.contains('.') && other != host)
        };
        facts.name_is_address = name.split([' ', '<', '>', '"', '(', ')', ',']).any(other);
        let reply = head.reply_to.iter().find(|m| m.host.is_some()).map(host_of);
        if let Some(reply) = reply.filter(|reply| !reply.is_empty() && *reply != host) {
            host_tokens("reply", &reply, tokens);
            tokens.note(Place::Field, "replies", "elsewhere");
            facts.replies_elsewhere = Some(reply);
        }
    } else {
        tokens.note(Place::Field, "from", "nobody");
    }
    let to =
        head.to.iter().chain(&head.cc).filter(|m| m.host.as_ref().is_some_and(|h| !h.is_empty()));
    let to: Vec<&Mailbox> = to.collect();
    facts.recipients = count(&to);
    facts.has_recipients = !to.is_empty();
    if let Some(author) = from.first() {
        let author = host_of(author);
        facts.tagged_for_sender = to.iter().take(TAGGED).any(|to| is_tagged_for(to, &author));
    }
    let range = match to.len() {
        few @ 0..=2 => few,
        3..=5 => 3,
        6..=15 => 6,
        _ => 16,
    };
    tokens.note(Place::Field, "recipients", &range.to_string());
    for person in to.iter().take(3) {
        if let Some(address) = address_of(person) {
            tokens.note(Place::Field, "to", &address);
        }
    }
    if let Some(first) = to.first() {
        let named = first.name.as_ref().is_some_and(|name| !name.is_empty());
        tokens.note(Place::Field, "named", if named { "yes" } else { "no" });
    }
}

/// Whether an address was made for mail from `author` alone, by the tag in it. People of the same
/// house know each other's addresses anyway.
fn is_tagged_for(to: &Mailbox, author: &str) -> bool {
    let home = home_of(author);
    let name = home.split('.').next().unwrap_or(home).replace('-', "");
    let local = limited(to.mailbox.as_deref().unwrap_or_default(), 64).to_lowercase();
    name.len() >= TAG
        && home_of(&host_of(to)) != home
        && local.split(['+', '-', '_', '=']).skip(1).any(|tag| tag == name)
}

fn subject(head: &Head, seen: &mut Seen) {
    let raw = head.subject.as_deref().unwrap_or_default();
    let text = structure::header_text(raw.get(..VALUE).unwrap_or(raw));
    let lower = text.trim_start().to_lowercase();
    seen.facts.says_reply =
        ["re:", "fwd:", "fw:", "aw:", "wg:", "re["].iter().any(|start| lower.starts_with(start));
    if raw.starts_with(b"=?") {
        let charset = raw.split(|b| *b == b'?').nth(1).unwrap_or_default();
        seen.tokens.note(Place::Subject, "charset", &limited(charset, 20).to_lowercase());
    }
    if text.trim().is_empty() {
        seen.tokens.note(Place::Subject, "empty", "");
    }
    let mut words = Words::new(Place::Subject);
    words.feed(&text, &mut seen.tokens, &mut seen.facts.subject_text);
    words.gap(&mut seen.tokens, &mut seen.facts.subject_text);
    // The words of the subject are words of the text too.
    let mut again = Words::new(Place::Text);
    again.feed(&text, &mut seen.tokens, &mut TextFacts::default());
    again.gap(&mut seen.tokens, &mut TextFacts::default());
    if text.contains("     ") {
        seen.tokens.note(Place::Subject, "wide", "");
    }
    seen.facts.subject = text.chars().take(200).collect();
}

fn references(head: &Head, facts: &mut Facts) {
    let text = head.in_reply_to.as_deref().map(|ids| limited(ids, 2000)).unwrap_or_default();
    let ids = text.split(['<', '>']).map(str::trim).filter(|id| id.contains('@'));
    facts.references.extend(ids.take(REFERENCES).map(str::to_owned));
}

fn message_id(head: &Head, seen: &mut Seen) {
    let Seen { tokens, facts } = seen;
    let id = head.message_id.as_deref().unwrap_or_default();
    let id = limited(id, 250);
    let id = id.trim().trim_matches(['<', '>']);
    match id.rsplit_once('@') {
        Some((left, host)) => {
            facts.has_message_id = true;
            host_tokens("id", host, tokens);
            tokens.note(Place::Field, "id", &shape(left.as_bytes()));
        }
        None => tokens.note(Place::Field, "id", "none"),
    }
}

fn words_of(text: &str, place: Place, tokens: &mut Tokens) {
    let mut words = Words::new(place);
    let mut facts = TextFacts::default();
    words.feed(text, tokens, &mut facts);
    words.gap(tokens, &mut facts);
}

/// An address as it is compared, in lower case; nothing for what is none.
pub(super) fn address_of(mailbox: &Mailbox) -> Option<String> {
    let local = limited(mailbox.mailbox.as_deref()?, 64).to_lowercase();
    let host = host_of(mailbox);
    (!local.is_empty() && !host.is_empty()).then(|| format!("{local}@{host}"))
}

fn host_of(mailbox: &Mailbox) -> String {
    limited(mailbox.host.as_deref().unwrap_or_default(), 253).trim_end_matches('.').to_lowercase()
}

/// How something is written, not what: `20021008.AB12x` becomes `9.A9a`.
fn shape(text: &[u8]) -> String {
    let mut shape = String::new();
    for byte in text.iter().take(64) {
        let class = match byte {
            b'0'..=b'9' => '9',
            b'a'..=b'z' => 'a',
            b'A'..=b'Z' => 'A',
            other => char::from(*other),
        };
        if !shape.ends_with(class) {
            shape.push(class);
        }
        if shape.len() >= 24 {
            break;
        }
    }
    shape
}

fn limited(bytes: &[u8], most: usize) -> String {
    String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)).into_owned()
}

fn count<T>(all: &[T]) -> u32 {
    u32::try_from(all.len()).unwrap_or(u32::MAX)
}
