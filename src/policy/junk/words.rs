//! Text to words and words to tokens, in any script. Text comes in pieces; between white space
//! there are chunks, which are links, addresses or words. Scripts that part no words give pairs of
//! characters. What is written so that a person reads one word and a program another (other
//! scripts' look-alikes, digits for letters, invisible characters, l e t t e r s apart) is read as
//! a person would, and noted.

use super::phrases;
use super::tokens::{Hash, Place, Tokens};

/// Longest chunk looked at, in bytes; the rest of it is as if it were another.
const CHUNK: usize = 192;
/// Words before the present one that it is paired with.
const WINDOW: usize = 3;
/// Longest word that is a token of its own, in characters.
const LONGEST_WORD: usize = 24;
/// Single letters in a row that are a word written apart.
const APART: usize = 4;

/// The line that every filter is to take for junk, so that people can see theirs at work: the
/// "generic test for unsolicited bulk e-mail", <https://spamassassin.apache.org/gtube/>. In two
/// halves, or this file would be junk in every mailbox it is sent to.
const GTUBE: [&str; 2] =
    ["XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"];

/// What the text of a message is like, beyond its words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TextFacts {
    /// Words of all scripts.
    pub words: u32,
    /// Words of two or more letters that are all capitals.
    pub shouted: u32,
    /// Words with letters of several scripts, where one alone would do.
    pub mixed: u32,
    /// Words with digits or signs for letters that spell something else.
    pub disguised: u32,
    /// Characters that cannot be seen, inside of words.
    pub invisible: u32,
    /// Words written with a blank after each letter.
    pub apart: u32,
    /// It holds the line that mail is tested with ([`GTUBE`]).
    pub test_line: bool,
    /// Kinds of tell-tale phrases, see [`phrases`].
    pub phrases: phrases::Found,
}

/// Text under way.
#[derive(Debug)]
pub(super) struct Words {
    place: Place,
    chunk: String,
    before: [Option<Hash>; WINDOW],
    /// Single letters since the last word of several.
    letters: Vec<char>,
    phrase: phrases::Reader,
}

impl Words {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            chunk: String::new(),
            before: [None; WINDOW],
            letters: Vec::new(),
            phrase: phrases::Reader::default(),
        }
    }

    /// Takes a piece of text; a chunk may go on in the next piece.
    pub(super) fn feed(&mut self, text: &str, out: &mut Tokens, facts: &mut TextFacts) {
        let mut rest = text;
        while let Some(end) = rest.find(char::is_whitespace) {
            let (chunk, after) = rest.split_at(end);
            self.add(chunk, out, facts);
            self.end_chunk(out, facts);
            rest = after.trim_start();
        }
        self.add(rest, out, facts);
    }

    /// A gap that is no white space: the end of a paragraph, of a table's cell, of all.
    pub(super) fn gap(&mut self, out: &mut Tokens, facts: &mut TextFacts) {
        self.end_chunk(out, facts);
        self.end_letters(out, facts);
    }

    fn add(&mut self, text: &str, out: &mut Tokens, facts: &mut TextFacts) {
        for c in text.chars() {
            if is_invisible(c) {
                facts.invisible = facts.invisible.saturating_add(1);
                continue;
            }
            if self.chunk.len() >= CHUNK {
                out.note(Place::Make, "long chunk", "");
                self.end_chunk(out, facts);
            }
            self.chunk.push(c);
        }
    }

    fn end_chunk(&mut self, out: &mut Tokens, facts: &mut TextFacts) {
        if self.chunk.is_empty() {
            return;
        }
        let chunk = std::mem::take(&mut self.chunk);
        let [first, second] = GTUBE;
        facts.test_line |= chunk
            .find(first)
            .and_then(|at| chunk.get(at + first.len()..)?.strip_prefix(second))
            .is_some();
        let bare = chunk.trim_matches(|c: char| !c.is_alphanumeric() && c != '/');
        if let Some(link) = link_in(&chunk) {
            link_tokens(link, out);
            self.word(Hash::of("a link"), out);
        } else if let Some((_, host)) = bare.split_once('@').filter(|(_, host)| host.contains('.'))
        {
            host_tokens("address", host, out);
            self.word(Hash::of("an address"), out);
        } else {
            self.words_of(&chunk, out, facts);
        }
        self.chunk = chunk;
        self.chunk.clear();
    }

    fn words_of(&mut self, chunk: &str, out: &mut Tokens, facts: &mut TextFacts) {
        let mut rest = chunk;
        while let Some(start) = rest.find(in_word) {
            let (_, from) = rest.split_at(start);
            let runs_on = from.chars().next().is_some_and(parts_no_words);
            let inside = |c: char| in_word(c) && parts_no_words(c) == runs_on;
            let (word, after) = from.split_at(from.find(|c| !inside(c)).unwrap_or(from.len()));
            rest = after;
            if runs_on {
                self.characters(word, out, facts);
            } else {
                self.one_word(word.trim_matches(['\'', '-']), out, facts);
            }
        }
        // How a text shouts and asks is as telling as its words.
        let ends = chunk.chars().rev().take_while(|c| matches!(c, '!' | '?')).count();
        if ends > 0 {
            let marks = if ends == 1 { "one" } else { "many" };
            let mark = if chunk.ends_with('!') { "!" } else { "?" };
            out.add(self.place, Hash::of(mark).and_text(marks));
        }
    }

    fn one_word(&mut self, word: &str, out: &mut Tokens, facts: &mut TextFacts) {
        let Some(shape) = Shape::of(word) else { return };
        facts.words = facts.words.saturating_add(1);
        if let Shape { letters: 1, other: 0, digits: 0, .. } = shape {
            self.letters.extend(word.chars().next().filter(|_| self.letters.len() < 32));
        } else {
            self.end_letters(out, facts);
        }
        if shape.letters == 0 {
            return self.number(word, shape.digits, out, facts);
        }
        let folded = fold(word);
        let hash = Hash::of(&folded);
        if word.chars().nth(LONGEST_WORD).is_some() {
            out.note(Place::Make, "long word", "");
        }
        if shape.upper == shape.letters && shape.letters > 1 {
            facts.shouted = facts.shouted.saturating_add(1);
            out.add(self.place, hash.and_text("CAPITALS"));
        }
        let mut read = hash;
        if shape.is_mixed() || shape.is_disguised() {
            let plain: String = folded.chars().map(as_read).collect();
            read = Hash::of(&plain);
            out.add(self.place, read);
            facts.mixed = facts.mixed.saturating_add(u32::from(shape.is_mixed()));
            // Digits are in many words; only what then tells something was to be hidden.
            if phrases::is_known(read) {
                facts.disguised = facts.disguised.saturating_add(1);
                out.note(Place::Make, "disguised", "");
            }
        }
        self.phrase.word(read, &mut facts.phrases);
        self.word(hash, out);
    }

    fn number(&mut self, word: &str, digits: usize, out: &mut Tokens, facts: &mut TextFacts) {
        // Of large numbers only the size says anything.
        let sign = word.chars().find(|c| !c.is_numeric());
        let hash = if digits <= 3 {
            Hash::of(word)
        } else {
            Hash::of("number").and(digits as u64).and(sign.map_or(0, |c| u64::from(u32::from(c))))
        };
        let money = word.contains(['$', '€', '£']);
        self.phrase.word(Hash::of(if money { "$" } else { "0" }), &mut facts.phrases);
        self.word(hash, out);
    }

    /// Scripts that part no words: each character with the one after it.
    fn characters(&mut self, run: &str, out: &mut Tokens, facts: &mut TextFacts) {
        phrases::in_run(run, &mut facts.phrases);
        let mut last: Option<char> = None;
        for c in run.chars() {
            facts.words = facts.words.saturating_add(1);
            let single = Hash::EMPTY.and(u64::from(u32::from(c)));
            out.add(self.place, single);
            if let Some(last) = last {
                out.add(self.place, single.and(u64::from(u32::from(last))));
            }
            last = Some(c);
        }
    }

    /// A word, alone and with those before it.
    fn word(&mut self, hash: Hash, out: &mut Tokens) {
        out.add(self.place, hash);
        let pair = if self.place == Place::Text { Place::Pair } else { self.place };
        for (distance, before) in self.before.iter().enumerate() {
            if let Some(before) = before {
                out.add(pair, before.and(1 + distance as u64).and_hash(hash));
            }
        }
        self.before.rotate_right(1);
        if let Some(first) = self.before.first_mut() {
            *first = Some(hash);
        }
    }

    fn end_letters(&mut self, out: &mut Tokens, facts: &mut TextFacts) {
        if self.letters.len() >= APART {
            let word: String = self.letters.iter().collect();
            let hash = Hash::of(&fold(&word));
            facts.apart = facts.apart.saturating_add(1);
            out.add(self.place, hash);
            out.note(Place::Make, "apart", "");
            self.phrase.word(hash, &mut facts.phrases);
        }
        self.letters.clear();
    }
}

/// What kinds of characters a word has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    letters: usize,
    upper: usize,
    digits: usize,
    other: usize,
    latin: usize,
    /// Cyrillic and Greek.
    alike: usize,
    /// Digits and signs with a letter before and one behind.
    inside: usize,
}

impl Shape {
    /// Nothing for what has neither letters nor digits.
    fn of(word: &str) -> Option<Self> {
        let mut shape = Self::default();
        let mut pending = 0;
        for c in word.chars() {
            if c.is_alphabetic() {
                shape.letters += 1;
                shape.upper += usize::from(c.is_uppercase());
                shape.latin += usize::from(c.is_ascii_alphabetic());
                shape.alike += usize::from(matches!(c, '\u{370}'..='\u{52f}'));
                shape.inside += std::mem::take(&mut pending);
                continue;
            }
            if c.is_numeric() {
                shape.digits += 1;
            } else {
                shape.other += 1;
            }
            if shape.letters > 0 && stands_for_a_letter(c) {
                pending += 1;
            }
        }
        (shape.letters + shape.digits > 0).then_some(shape)
    }

    fn is_mixed(&self) -> bool {
        self.latin > 0 && self.alike > 0
    }

    /// `v1agra`, not `b2b`, a number of parts or a code.
    fn is_disguised(&self) -> bool {
        self.inside > 0 && self.letters >= 4 && self.letters >= 3 * (self.digits + self.other)
    }
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '$' | '€' | '£' | '%' | '\'' | '-' | '@') || is_mark(c)
}

/// Marks that stand on letters, where the standard library does not call them letters.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{dff}' | '\u{e31}'..='\u{e4e}')
}

/// Ideographs, kana, Thai, Lao, Khmer and Burmese.
fn parts_no_words(c: char) -> bool {
    matches!(u32::from(c), 0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x2e80..=0x2fdf
        | 0x3005..=0x3007 | 0x3031..=0x312f | 0x31a0..=0x31ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff
        | 0xf900..=0xfaff | 0xff66..=0xff9d | 0x1aff0..=0x1b16f | 0x20000..=0x3ffff)
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

fn stands_for_a_letter(c: char) -> bool {
    matches!(c, '0' | '1' | '3' | '4' | '5' | '@' | '$')
}

/// A word as words are compared.
pub(super) fn fold(word: &str) -> String {
    word.chars().take(LONGEST_WORD).flat_map(char::to_lowercase).collect()
}

/// The letter a reader sees.
fn as_read(c: char) -> char {
    match c {
        '0' | 'о' | 'ο' => 'o',
        '1' | 'і' | 'ι' => 'i',
        '3' | 'е' | 'ε' => 'e',
        '4' | '@' | 'а' | 'α' => 'a',
        '5' | '$' | 'ѕ' => 's',
        'р' | 'ρ' => 'p',
        'с' => 'c',
        'у' | 'υ' => 'y',
        'х' | 'χ' => 'x',
        'к' | 'κ' => 'k',
        'м' => 'm',
        'т' | 'τ' => 't',
        'н' => 'h',
        'в' | 'β' => 'b',
        other => other,
    }
}

/// The link in a chunk, without what is around it.
fn link_in(chunk: &str) -> Option<&str> {
    let at = chunk.find("://");
    if let Some(at) = at {
        let scheme = chunk.get(..at)?;
        let start = scheme.rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |at| at + 1);
        return chunk.get(start..).filter(|_| start < at);
    }
    let at = chunk.as_bytes().windows(4).position(|four| four.eq_ignore_ascii_case(b"www."))?;
    chunk.get(at..)
}

/// The host a link leads to, in lower case, with what stands before and behind it.
pub(super) struct Link<'a> {
    pub(super) host: String,
    /// Something stands before an `@`: a reader may take it for the host.
    pub(super) user: bool,
    pub(super) port: bool,
    pub(super) path: &'a str,
}

impl<'a> Link<'a> {
    pub(super) fn parse(link: &'a str) -> Option<Self> {
        let rest = link.split_once("://").map_or(link, |(_, rest)| rest);
        let end = rest.find(['/', '?', '#', '"', '<', '>', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, host) = match authority.rsplit_once('@') {
            Some((_, host)) => (true, host),
            None => (false, authority),
        };
        let (host, port) = match host.split_once(':') {
            Some((host, _)) => (host, true),
            None => (host, false),
        };
        let host = host.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let known = !host.is_empty() && host.len() <= 253;
        known.then_some(Self { host, user, port, path })
    }

    /// Whether the host is an address or a number instead of a name.
    pub(super) fn is_number(&self) -> bool {
        self.host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            || self.host.strip_prefix("0x").is_some_and(|hex| hex.len() >= 8)
    }
}

/// The tokens of a link: its host, wholly and by its end, and the words of its path.
pub(super) fn link_tokens(link: &str, out: &mut Tokens) {
    let Some(link) = Link::parse(link) else { return };
    if link.is_number() {
        out.note(Place::Link, "number", "");
    } else {
        host_tokens("host", &link.host, out);
    }
    if link.user {
        out.note(Place::Link, "user", "");
    }
    if link.port {
        out.note(Place::Link, "port", "");
    }
    let words = link.path.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 1);
    for word in words.take(8) {
        if word.len() <= 16 && !word.bytes().any(|b| b.is_ascii_digit()) {
            out.note(Place::Link, "path", &fold(word));
        }
    }
}

/// A name of the DNS: wholly, and its last two and its last labels.
pub(super) fn host_tokens(kind: &str, host: &str, out: &mut Tokens) {
    let host = host.trim_end_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    if host.is_empty() || host.len() > 253 {
        return;
    }
    out.note(Place::Link, kind, &host);
    let home = home_of(&host);
    if home != host {
        out.note(Place::Link, kind, home);
    }
    if let Some((_, top)) = host.rsplit_once('.') {
        out.note(Place::Link, kind, top);
    }
}

/// The last two labels of a name, three where the last two are as a rule a registry's
/// (`co.uk`): near enough to what one owner has, for a comparison that decides nothing alone.
pub(super) fn home_of(host: &str) -> &str {
    let mut dots = host.rmatch_indices('.').map(|(at, _)| at);
    let (last, second, third) = (dots.next(), dots.next(), dots.next());
    let (Some(last), Some(second)) = (last, second) else { return host };
    let registry = host.len() - last == 3 && last - second <= 4;
    let from = if registry { third.map_or(0, |at| at + 1) } else { second + 1 };
    host.get(from..).unwrap_or(host)
}
