//! The first words of a message, for lists of messages (PREVIEW, RFC 8970 §3.1): of its first text
//! that is not empty, plain if there is any, without quotes of others and with single blanks.

use std::io::{self, Read, Seek, SeekFrom};

use crate::mail::structure::{Inside, Part, Structure, TextDecoder};

/// Characters of a preview: RFC 8970 §3.1 wants 200 and allows no more than 256.
const LENGTH: usize = 200;
/// Bytes of a text looked at: pages begin with their style.
const LOOKED_AT: u64 = 64 << 10;
/// Texts looked at.
const TEXTS: usize = 4;

/// A preview of a message; empty when there is no text in it.
pub fn preview(structure: &Structure, reader: &mut (impl Read + Seek)) -> io::Result<String> {
    for kind in ["plain", "html"] {
        let is_text = |part: &&Part| {
            let attached = part.disposition.as_ref();
            part.inside == Inside::Leaf
                && part.media.is("text", kind)
                && attached.is_none_or(|d| !d.kind.eq_ignore_ascii_case(b"attachment"))
        };
        for part in structure.parts().filter(is_text).take(TEXTS) {
            let found = of_part(part, kind == "html", reader)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    Ok(String::new())
}

fn of_part(part: &Part, html: bool, reader: &mut (impl Read + Seek)) -> io::Result<String> {
    reader.seek(SeekFrom::Start(part.body.start))?;
    let length = (part.body.end - part.body.start).min(LOOKED_AT);
    let mut raw = reader.take(length);
    let mut decoder = TextDecoder::in_pieces(part, 2 << 10);
    let mut words = Words::default();
    let mut page = Page::default();
    let mut take = |text: &str| {
        if html {
            text.chars().for_each(|char| page.take(char, &mut words));
        } else {
            text.chars().for_each(|char| words.plain(char));
        }
        words.is_full()
    };
    let mut buffer = [0; 4 << 10];
    loop {
        let read = raw.read(&mut buffer)?;
        if read == 0 {
            take(&decoder.finish());
            return Ok(words.text);
        }
        if decoder.feed(buffer.get(..read).unwrap_or_default()).is_some_and(|text| take(&text)) {
            return Ok(words.text);
        }
    }
}

/// The preview as it grows.
#[derive(Default)]
struct Words {
    text: String,
    count: usize,
    /// A blank comes before the next character.
    blank: bool,
    line: Line,
}

/// Where in a line of plain text.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Line {
    #[default]
    Begin,
    Own,
    /// What somebody else wrote.
    Quoted,
}

impl Words {
    fn is_full(&self) -> bool {
        self.count >= LENGTH
    }

    fn plain(&mut self, char: char) {
        match (self.line, char) {
            (_, '\n') => {
                self.line = Line::Begin;
                self.put(' ');
            }
            (Line::Begin, '>') => self.line = Line::Quoted,
            (Line::Quoted, _) => {}
            (_, char) => {
                self.line = Line::Own;
                self.put(char);
            }
        }
    }

    fn put(&mut self, char: char) {
        // What is not to be seen: marks of byte order, and fillers of newsletters.
        let hidden = matches!(char, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{feff}');
        if char.is_whitespace() || char.is_control() {
            self.blank = self.count > 0;
        } else if !hidden {
            for char in self.blank.then_some(' ').into_iter().chain([char]) {
                if !self.is_full() {
                    self.text.push(char);
                    self.count += 1;
                }
            }
            self.blank = false;
        }
    }
}

/// HTML on its way to text: tags, comments, styles and scripts fall away.
#[derive(Default)]
struct Page {
    /// A tag or an entity as far as it was read.
    word: String,
    state: Html,
    /// What ends the present style, script or title.
    until: Option<&'static str>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Html {
    #[default]
    Text,
    Tag,
    Comment,
    Entity,
}

/// Longest tag or entity told apart; more of it is not kept.
const MAX_WORD: usize = 16;

impl Page {
    fn take(&mut self, char: char, words: &mut Words) {
        match (self.state, char) {
            // Within a tag it was none: in a script, or by mistake.
            (Html::Text | Html::Tag, '<') => self.begin(Html::Tag),
            (Html::Text, '&') if self.until.is_none() => self.begin(Html::Entity),
            (Html::Text, char) if self.until.is_none() => words.put(char),
            (Html::Text, _) => {}
            (Html::Tag, '>') => {
                if !self.tag() {
                    words.put(' ');
                }
                self.state = Html::Text;
            }
            (Html::Tag, char) => {
                self.keep(char);
                if self.word == "!--" {
                    self.begin(Html::Comment);
                }
            }
            (Html::Comment, '>') if self.word == "--" => self.state = Html::Text,
            (Html::Comment, '-') if self.word == "--" => {}
            (Html::Comment, '-') => self.word.push('-'),
            (Html::Comment, _) => self.word.clear(),
            (Html::Entity, ';') => {
                words.put(entity(&self.word).unwrap_or(' '));
                self.state = Html::Text;
            }
            (Html::Entity, char) if char.is_ascii_alphanumeric() || char == '#' => self.keep(char),
            (Html::Entity, char) => {
                // No entity after all.
                words.put('&');
                std::mem::take(&mut self.word).chars().for_each(|char| words.put(char));
                self.state = Html::Text;
                self.take(char, words);
            }
        }
    }

    fn begin(&mut self, state: Html) {
        self.state = state;
        self.word.clear();
    }

    fn keep(&mut self, char: char) {
        if self.word.len() < MAX_WORD {
            self.word.push(char);
        }
    }

    /// A tag ended; whether it may stand within a word.
    fn tag(&mut self) -> bool {
        let word = self.word.to_ascii_lowercase();
        let name = word.split(|char: char| char.is_whitespace()).next().unwrap_or_default();
        match self.until {
            Some(end) if name.strip_prefix('/') == Some(end) => self.until = None,
            Some(_) => {}
            None => {
                let hidden = ["style", "script", "title"];
                self.until = hidden.into_iter().find(|hidden| *hidden == name);
            }
        }
        let within = ["a", "b", "em", "font", "i", "small", "span", "strong", "u", "wbr"];
        within.contains(&name.strip_prefix('/').unwrap_or(name))
    }
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let number = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return char::from_u32(number.ok()?);
    }
    let known = [
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
        ("nbsp", ' '),
        ("zwnj", '\u{200b}'),
        ("shy", '\u{ad}'),
        ("ndash", '–'),
        ("mdash", '—'),
        ("hellip", '…'),
        ("copy", '©'),
        ("euro", '€'),
        ("rsquo", '’'),
        ("lsquo", '‘'),
        ("ldquo", '“'),
        ("rdquo", '”'),
        ("auml", 'ä'),
        ("ouml", 'ö'),
        ("uuml", 'ü'),
        ("Auml", 'Ä'),
        ("Ouml", 'Ö'),
        ("Uuml", 'Ü'),
        ("szlig", 'ß'),
        ("eacute", 'é'),
        ("egrave", 'è'),
        ("agrave", 'à'),
    ];
    known.into_iter().find(|(known, _)| *known == name).map(|(_, char)| char)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test")]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn of(message: &str) -> String {
        let structure = Structure::scan(message.as_bytes()).unwrap();
        preview(&structure, &mut Cursor::new(message)).unwrap()
    }

    fn page(html: &str) -> String {
        of(&format!("Content-Type: text/html; charset=utf-8\r\n\r\n{html}"))
    }

    #[test]
    fn the_first_words_are_shown_without_what_others_wrote() {
        let message =
            "Subject: x\r\n\r\n> You wrote\r\n>> this\r\n\r\n  Dear \tall,\r\nhello > you\r\n";
        assert_eq!(of(message), "Dear all, hello > you");
        assert_eq!(of("Subject: x\r\n\r\n"), "");
        assert_eq!(of("Content-Type: image/png\r\n\r\nabc"), "");
    }

    #[test]
    fn a_preview_ends_after_200_characters() {
        let preview = of(&format!("Subject: x\r\n\r\n{}", "grüße ".repeat(100)));
        assert_eq!(preview.chars().count(), 200);
    }

    #[test]
    fn plain_text_comes_before_html_and_attachments_never() {
        let message = |plain: &str| {
            format!(
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
                 Content-Type: text/html\r\n\r\n<p>page\r\n--b\r\n\
                 Content-Disposition: attachment\r\n\r\nattached\r\n--b\r\n\r\n{plain}\r\n--b--\r\n"
            )
        };
        assert_eq!(of(&message("plain")), "plain");
        assert_eq!(of(&message(" ")), "page");
    }

    #[test]
    fn of_a_page_only_its_text_is_shown() {
        assert_eq!(
            page(
                "<html><head><title>t</title><STYLE type=x>p {a > b}</STYLE></head>\
                 <!-- a > b --><body>One&nbsp;<b>t</b>wo &amp; 3 &#228;&#x1f600; a & b &unknown; \
                 <script>if (a < b) {}</script>end"
            ),
            "One two & 3 ä😀 a & b end"
        );
        assert_eq!(page("a &lt;b&gt; <unclosed"), "a <b>");
        assert_eq!(page(&format!("<{}>x", "y".repeat(70_000))), "");
    }
}
