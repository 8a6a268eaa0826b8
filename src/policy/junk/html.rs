//! HTML as a reader of mail sees it, in pieces of any size: text, links, pictures, and what is
//! written so as not to be seen. No tree is built and nothing is kept but one tag at a time.

/// Longest tag looked at, in bytes; of a longer one only the beginning counts.
const TAG: usize = 1024;
/// Longest character reference (`&amp;`), in bytes.
const REFERENCE: usize = 12;

/// What is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text that can be seen; the next one follows without a gap.
    Text(&'a str),
    /// Text that is there but cannot be seen.
    Hidden(&'a str),
    /// A gap in the text: paragraphs, cells.
    Gap,
    /// A tag's name, in lower case.
    Tag(&'a str),
    /// One of its attributes: name in lower case, value.
    Attribute(&'a str, &'a str),
    /// The end of a tag's attributes.
    TagEnd(&'a str),
    /// A closing tag's name.
    Close(&'a str),
    /// A comment in the middle of a word.
    Splice,
}

/// Where the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    Reference,
    Tag,
    /// Within a quoted value of a tag.
    Quote(char),
    Comment,
}

/// HTML under way.
#[derive(Debug)]
pub(super) struct Html {
    state: State,
    /// The tag, the character reference or the end of the comment being read.
    held: String,
    /// Text not given out yet.
    text: String,
    /// The element whose content is no text (`script`), until it closes.
    skip: Option<&'static str>,
    /// The element that hides what is in it, and how many of its name are open.
    hidden: Option<(String, u32)>,
    /// The last character of the text was part of a word.
    in_word: bool,
}

impl Html {
    pub(super) fn new() -> Self {
        Self {
            state: State::Text,
            held: String::new(),
            text: String::new(),
            skip: None,
            hidden: None,
            in_word: false,
        }
    }

    /// Takes a piece of the source.
    pub(super) fn feed(&mut self, source: &str, each: &mut impl FnMut(Piece<'_>)) {
        for c in source.chars() {
            self.character(c, each);
        }
        self.give_text(each);
    }

    /// The source ended.
    pub(super) fn finish(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        if self.state == State::Reference {
            let held = std::mem::take(&mut self.held);
            self.text.push_str(&held);
        }
        self.give_text(each);
        each(Piece::Gap);
    }

    fn character(&mut self, c: char, each: &mut impl FnMut(Piece<'_>)) {
        match self.state {
            State::Text => match c {
                '<' => {
                    self.held.clear();
                    self.state = State::Tag;
                }
                '&' => {
                    self.held.clear();
                    self.held.push('&');
                    self.state = State::Reference;
                }
                c => self.put(c),
            },
            State::Reference => self.reference(c, each),
            State::Tag => match c {
                '>' => self.end_tag(each),
                // Not a tag at all: "1 < 2".
                c if self.held.is_empty() && !(c.is_ascii_alphabetic() || "/!?".contains(c)) => {
                    self.state = State::Text;
                    self.put('<');
                    self.character(c, each);
                }
                c => {
                    if matches!(c, '"' | '\'') && self.held.trim_end().ends_with('=') {
                        self.state = State::Quote(c);
                    }
                    self.hold(c);
                    if self.held == "!--" {
                        self.state = State::Comment;
                    }
                }
            },
            State::Quote(quote) => {
                self.hold(c);
                if c == quote {
                    self.state = State::Tag;
                }
            }
            State::Comment => {
                if c == '>' && self.held.ends_with("--") {
                    self.state = State::Text;
                    if self.in_word {
                        self.give_text(each);
                        each(Piece::Splice);
                    }
                } else {
                    // Only its last two characters matter.
                    if self.held.len() > 64 {
                        self.held.clear();
                    }
                    self.held.push(c);
                }
            }
        }
    }

    fn hold(&mut self, c: char) {
        if self.held.len() < TAG {
            self.held.push(c);
        }
    }

    fn put(&mut self, c: char) {
        if self.skip.is_none() {
            self.in_word = c.is_alphanumeric();
            self.text.push(c);
        }
    }

    fn reference(&mut self, c: char, each: &mut impl FnMut(Piece<'_>)) {
        if c == ';' || self.held.len() >= REFERENCE || !(c.is_ascii_alphanumeric() || c == '#') {
            self.state = State::Text;
            let held = std::mem::take(&mut self.held);
            let character = referred(&held);
            match character {
                Some(character) => self.put(character),
                None => held.chars().for_each(|c| self.put(c)),
            }
            if c != ';' || character.is_none() {
                self.state = State::Text;
                self.character(c, each);
            }
        } else {
            self.held.push(c);
        }
    }

    fn end_tag(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        self.state = State::Text;
        let held = std::mem::take(&mut self.held);
        let (closes, body) = match held.strip_prefix('/') {
            Some(body) => (true, body),
            None => (false, held.as_str()),
        };
        let end = body.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(body.len());
        let (name, attributes) = body.split_at(end);
        let name = name.to_ascii_lowercase();
        if let Some(skip) = self.skip {
            if closes && name == skip {
                self.skip = None;
            }
        } else if !name.is_empty() {
            self.give_text(each);
            if !INLINE.contains(&name.as_str()) {
                self.in_word = false;
                each(Piece::Gap);
            }
            if closes {
                if let Some((hiding, open)) = &mut self.hidden
                    && *hiding == name
                {
                    *open -= 1;
                    if *open == 0 {
                        self.hidden = None;
                    }
                }
                each(Piece::Close(&name));
            } else {
                self.open(&name, attributes, each);
            }
        }
        self.held = held;
    }

    fn open(&mut self, name: &str, attributes: &str, each: &mut impl FnMut(Piece<'_>)) {
        each(Piece::Tag(name));
        let mut hides = false;
        let mut rest = attributes;
        while let Some((attribute, value, after)) = attribute(rest) {
            rest = after;
            let attribute = attribute.to_ascii_lowercase();
            hides |= attribute == "hidden" || attribute == "style" && style_hides(value);
            each(Piece::Attribute(&attribute, value));
        }
        each(Piece::TagEnd(name));
        self.skip = SILENT.iter().find(|silent| **silent == name).copied();
        let holds = !VOID.contains(&name) && !attributes.ends_with('/');
        match &mut self.hidden {
            Some((hiding, open)) if holds && hiding == name => *open = open.saturating_add(1),
            None if holds && hides => self.hidden = Some((name.to_owned(), 1)),
            _ => {}
        }
    }

    fn give_text(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        if !self.text.is_empty() {
            let text = self.text.as_str();
            each(if self.hidden.is_some() { Piece::Hidden(text) } else { Piece::Text(text) });
            self.text.clear();
        }
    }
}

/// The first attribute of a tag's rest: name, value, what follows.
fn attribute(text: &str) -> Option<(&str, &str, &str)> {
    let text =
        text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\''));
    if text.is_empty() {
        return None;
    }
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '=' | '/'));
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let Some(value) = rest.trim_start().strip_prefix('=') else {
        let skip = rest.chars().next().map_or(0, char::len_utf8);
        return Some((name, "", rest.get(skip..).unwrap_or_default()));
    };
    let value = value.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (value, after) = match quote {
        Some(quote) => {
            let inner = value.get(1..).unwrap_or_default();
            inner.split_once(quote).unwrap_or((inner, ""))
        }
        None => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
    };
    Some((name, value.trim(), after))
}

/// Whether a style makes text that nobody sees.
fn style_hides(style: &str) -> bool {
    let style: String =
        style.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    let zero = |property: &str| {
        let mut places = style.match_indices(property);
        places.any(|(at, _)| {
            let value = style.get(at + property.len()..).unwrap_or_default();
            let end = value.find([';', '!']).unwrap_or(value.len());
            let value = value.get(..end).unwrap_or_default();
            matches!(value, "0" | "0px" | "0pt" | "0em" | "0%" | "1px" | "1pt")
        })
    };
    style.contains("display:none")
        || style.contains("visibility:hidden")
        || zero("font-size:")
        || style.starts_with("opacity:0;")
        || style.contains(";opacity:0;")
        || style.ends_with("opacity:0")
}

/// The character a reference stands for; of the named ones those that spam hides behind.
fn referred(reference: &str) -> Option<char> {
    let name = reference.strip_prefix('&')?;
    if let Some(number) = name.strip_prefix('#') {
        let number = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return number.ok().and_then(char::from_u32);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" | "rsquo" | "lsquo" => '\'',
        "nbsp" | "ensp" | "emsp" | "thinsp" => ' ',
        "shy" => '\u{ad}',
        "zwnj" => '\u{200c}',
        "zwj" => '\u{200d}',
        "ndash" | "mdash" => '–',
        "hellip" => '…',
        "bull" => '•',
        "copy" => '©',
        "reg" => '®',
        "euro" => '€',
        "pound" => '£',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        "eacute" => 'é',
        "egrave" => 'è',
        "agrave" => 'à',
        "ccedil" => 'ç',
        "ntilde" => 'ñ',
        _ => return None,
    })
}

/// Elements within a word or a line.
const INLINE: &[&str] = &[
    "a", "abbr", "b", "big", "em", "font", "i", "ins", "mark", "s", "small", "span", "strong",
    "sub", "sup", "tt", "u", "wbr",
];
/// Elements that have no end.
const VOID: &[&str] =
    &["area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"];
/// Elements whose content is not shown.
const SILENT: &[&str] = &["script", "style", "title", "template"];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&str]) -> (String, String, Vec<String>) {
        let (mut seen, mut hidden, mut other) = (String::new(), String::new(), Vec::new());
        let mut html = Html::new();
        let mut each = |piece: Piece<'_>| match piece {
            Piece::Text(text) => seen.push_str(text),
            Piece::Hidden(text) => hidden.push_str(text),
            Piece::Gap => seen.push('|'),
            Piece::Attribute(name, value) => other.push(format!("{name}={value}")),
            Piece::Splice => other.push("splice".to_owned()),
            Piece::Tag(_) | Piece::TagEnd(_) | Piece::Close(_) => {}
        };
        for piece in pieces {
            html.feed(piece, &mut each);
        }
        html.finish(&mut each);
        (seen, hidden, other)
    }

    #[test]
    fn a_reader_sees_the_text_only() {
        let source = "<style>p { color: red }</style><p>V<!-- x -->ia<b>gra</b> &amp; more&#33;\
            <script>if (a < b) {}</script><p>1 < 2 &unknown; &euro";
        let (seen, hidden, other) = read(&[source]);
        assert_eq!(seen, "||Viagra & more!||1 < 2 &unknown; &euro|");
        assert_eq!(hidden, "");
        assert_eq!(other, ["splice"]);
    }

    #[test]
    fn what_cannot_be_seen_is_told_apart() {
        let source = "<div style='FONT-SIZE: 0px'>none <b>of</b> this</div><p>but this\
            <span hidden>nor that</span><br>";
        let (seen, hidden, _) = read(&[source]);
        assert_eq!(hidden, "none of thisnor that");
        assert!(seen.contains("but this") && !seen.contains("nor"), "{seen}");
    }

    #[test]
    fn attributes_are_read_quoted_or_not() {
        let (_, _, other) = read(&["<a href=\"http://x.org/?a>b\" title=t target='_new'>x</a>"]);
        assert_eq!(other, ["href=http://x.org/?a>b", "title=t", "target=_new"]);
    }

    proptest! {
        #[test]
        fn cutting_the_source_changes_nothing(
            source in "[<>/&;!a-z\"'= -]{0,80}", at in 0_usize..80
        ) {
            let whole = read(&[&source]);
            let (a, b) = source.split_at(at.min(source.len()));
            prop_assert_eq!(read(&[a, b]), whole);
        }
    }
}
