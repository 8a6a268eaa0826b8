//! One text part: plain text, or HTML with its links, pictures and hidden text.

use super::facts::LinkFacts;
use super::html::{Html, Piece};
use super::inspect::Seen;
use super::tokens::{Hash, Place};
use super::words::{Link, Words, home_of, link_tokens};

/// Links looked at in one run of text without a blank: each is read to the end of the run, so that
/// many of them would cost as much as their square.
const NESTED: usize = 8;
/// Longest text of a link that is compared with where it leads, in bytes.
const LABEL: usize = 128;

/// A text part under way.
#[derive(Debug)]
pub(super) struct Body {
    words: Words,
    html: Option<Box<(Html, Tags)>>,
}

impl Body {
    pub(super) fn new(html: bool) -> Self {
        let html = html.then(|| Box::new((Html::new(), Tags::default())));
        Self { words: Words::new(Place::Text), html }
    }

    pub(super) fn feed(&mut self, text: &str, seen: &mut Seen) {
        let Self { words, html } = self;
        match html {
            None => {
                seen.facts.plain_text = seen.facts.plain_text.saturating_add(letters(text));
                note_links(text, &mut seen.facts.links);
                words.feed(text, &mut seen.tokens, &mut seen.facts.text);
            }
            Some(html) => {
                let (html, tags) = &mut **html;
                html.feed(text, &mut |piece| tags.take(piece, words, seen));
            }
        }
    }

    pub(super) fn finish(mut self, seen: &mut Seen) {
        if let Some(html) = self.html {
            let (mut html, mut tags) = *html;
            html.finish(&mut |piece| tags.take(piece, &mut self.words, seen));
        }
        self.words.gap(&mut seen.tokens, &mut seen.facts.text);
    }
}

/// What is known of the tag and the link being read.
#[derive(Debug, Default)]
struct Tags {
    tag: Tag,
    /// Where the open link leads, and the beginning of its text.
    link: Option<(String, String)>,
    /// An image's size, as far as said.
    tiny: u8,
    source: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Tag {
    Anchor,
    Image,
    #[default]
    Other,
}

impl Tags {
    fn take(&mut self, piece: Piece<'_>, words: &mut Words, seen: &mut Seen) {
        let Seen { tokens, facts } = seen;
        match piece {
            Piece::Text(text) => {
                facts.html_text = facts.html_text.saturating_add(letters(text));
                if let Some((_, label)) = &mut self.link
                    && label.len() < LABEL
                {
                    label.extend(text.chars().take(LABEL));
                }
                words.feed(text, tokens, &mut facts.text);
            }
            Piece::Hidden(text) => {
                facts.hidden_text = facts.hidden_text.saturating_add(letters(text));
            }
            Piece::Gap => words.gap(tokens, &mut facts.text),
            Piece::Splice => facts.splices = facts.splices.saturating_add(1),
            Piece::Tag(name) => {
                tokens.note(Place::Make, "tag", name);
                self.tag = match name {
                    "a" | "area" => Tag::Anchor,
                    "img" => Tag::Image,
                    _ => Tag::Other,
                };
                (self.tiny, self.source) = (0, false);
                facts.form |= matches!(name, "form" | "input");
                facts.script |= matches!(name, "script" | "iframe" | "object" | "embed");
            }
            Piece::Attribute(name, value) => self.attribute(name, value, seen),
            Piece::TagEnd(_) => {
                if self.tag == Tag::Image && self.source {
                    let tiny = self.tiny >= 2;
                    let count = if tiny { &mut facts.pixels } else { &mut facts.images };
                    *count = count.saturating_add(1);
                }
            }
            Piece::Close(name) => {
                if name == "a"
                    && let Some((target, label)) = self.link.take()
                {
                    facts.links.note(&target, Some(&label), facts.from.as_deref());
                }
            }
        }
    }

    fn attribute(&mut self, name: &str, value: &str, seen: &mut Seen) {
        let Seen { tokens, facts } = seen;
        match (self.tag, name) {
            (Tag::Anchor, "href") => {
                if let Some((target, label)) = self.link.take() {
                    facts.links.note(&target, Some(&label), facts.from.as_deref());
                }
                if value.contains("://") {
                    link_tokens(value, tokens);
                    self.link = Some((value.to_owned(), String::new()));
                } else if let Some((scheme, _)) = value.split_once(':') {
                    tokens.note(Place::Link, "scheme", &scheme.to_lowercase());
                }
            }
            (Tag::Image, "src") => {
                self.source = value.contains("://");
                if self.source {
                    link_tokens(value, tokens);
                    tokens.note(Place::Make, "picture", "elsewhere");
                } else if value.starts_with("cid:") {
                    tokens.note(Place::Make, "picture", "inside");
                }
            }
            (Tag::Image, "width" | "height") => {
                self.tiny += u8::from(matches!(value.trim_end_matches("px"), "0" | "1"));
            }
            (_, "color" | "bgcolor" | "size" | "face") if value.len() <= 24 => {
                let hash = Hash::of(name).and_text(&value.to_lowercase());
                tokens.add(Place::Make, hash);
            }
            (_, name) if name.starts_with("on") && name.len() < 16 => {
                tokens.note(Place::Make, "event", name);
            }
            _ => {}
        }
    }
}

/// Characters that are no blanks.
fn letters(text: &str) -> u32 {
    u32::try_from(text.chars().filter(|c| !c.is_whitespace()).count()).unwrap_or(u32::MAX)
}

/// The links of plain text; one cut in two by the end of a piece is not worth the trouble.
fn note_links(text: &str, links: &mut LinkFacts) {
    for run in text.split(char::is_whitespace) {
        for (at, _) in run.match_indices("://").take(NESTED) {
            let before = run.get(..at).unwrap_or_default();
            let start = before.rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |at| at + 1);
            links.note(run.get(start..).unwrap_or_default(), None, None);
        }
    }
}

impl LinkFacts {
    /// A link, with the text that shows it and the address of who sent it.
    fn note(&mut self, target: &str, label: Option<&str>, sender: Option<&str>) {
        let Some(link) = Link::parse(target) else { return };
        self.all = self.all.saturating_add(1);
        self.numbers = self.numbers.saturating_add(u32::from(link.is_number()));
        self.users = self.users.saturating_add(u32::from(link.user));
        self.ports = self.ports.saturating_add(u32::from(link.port));
        let home = home_of(&link.host);
        self.shortened =
            self.shortened.saturating_add(u32::from(super::facts::SHORTENERS.contains(&home)));
        let punycode = link.host.split('.').any(|label| label.starts_with("xn--"));
        self.punycode = self.punycode.saturating_add(u32::from(punycode));
        if !link.is_number() && self.hosts.len() < super::facts::HOSTS {
            self.hosts.insert(link.host.clone());
        }
        let shown = label.map(str::trim).filter(|label| !label.contains(char::is_whitespace));
        let shown = shown.and_then(Link::parse).filter(|shown| looks_like_a_host(&shown.host));
        if let Some(shown) = shown
            && home_of(&shown.host) != home
        {
            let own = sender.and_then(|sender| sender.rsplit_once('@')).map(|(_, host)| host);
            let own = own.is_some_and(|own| home_of(own) == home_of(&shown.host));
            let count = if own { &mut self.detours } else { &mut self.misleading };
            *count = count.saturating_add(1);
        }
    }
}

/// `bank.example`, not `photo.jpg`, `3.5` or `U.S.A`.
fn looks_like_a_host(text: &str) -> bool {
    let Some((name, top)) = text.rsplit_once('.') else { return false };
    let file =
        matches!(top, "jpg" | "jpeg" | "png" | "gif" | "pdf" | "doc" | "docx" | "txt" | "zip");
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.');
    name.chars().any(char::is_alphabetic)
        && !file
        && top.chars().count() >= 2
        && top.chars().all(char::is_alphabetic)
        && text.chars().all(plain)
        && text.split('.').all(|label| label.chars().count() > 1)
}
