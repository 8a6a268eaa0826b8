//! Lists of `name=value` pairs: signatures and the records behind them (RFC 6376 §3.2).

/// A tag list; names tell case apart and occur once.
#[derive(Debug)]
pub(super) struct Tags<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Tags<'a> {
    /// Reads a whole list; an error says what is wrong with it.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let text = trim(text);
        let text = text.strip_suffix(';').unwrap_or(text);
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for pair in text.split(';') {
            let (name, value) = pair.split_once('=').ok_or("a tag without =")?;
            let (name, value) = (trim(name), trim(value));
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(plain) {
                return Err("a tag whose name is no word");
            }
            if pairs.iter().any(|(there, _)| *there == name) {
                return Err("a tag that is there twice");
            }
            if pairs.len() == MAX_TAGS {
                return Err("too many tags");
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// Reads what can be read, and passes over the rest: a DMARC record with a slip in it is still
    /// its domain's wish (RFC 9989 §4.7).
    pub(super) fn lenient(text: &'a str) -> Self {
        let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
        Self {
            pairs: pairs.map(|(name, value)| (trim(name), trim(value))).take(MAX_TAGS).collect(),
        }
    }

    /// The value of a tag, without the white space around it.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(there, _)| *there == name).map(|(_, value)| *value)
    }

    /// The value with all white space removed: it means nothing in Base64 (§3.2).
    pub(super) fn compact(&self, name: &str) -> Option<String> {
        Some(self.get(name)?.chars().filter(|c| !is_space(*c)).collect())
    }

    /// The elements of a list separated by colons.
    pub(super) fn list(&self, name: &str) -> Option<impl Iterator<Item = &'a str>> {
        Some(self.get(name)?.split(':').map(trim))
    }

    /// The name of the first tag.
    pub(super) fn first(&self) -> Option<&'a str> {
        self.pairs.first().map(|(name, _)| *name)
    }
}

/// Without folding white space at both ends.
fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Real lists have a dozen.
const MAX_TAGS: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_with_its_white_space() {
        let tags = Tags::parse(" v = 1 ;\r\n\tb= ab\r\n cd ; h=a : b:c; x=; ").unwrap();
        assert_eq!(tags.first(), Some("v"));
        assert_eq!(tags.get("v"), Some("1"));
        assert_eq!(tags.compact("b").unwrap(), "abcd");
        assert_eq!(tags.list("h").unwrap().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(tags.get("x"), Some(""));
        assert_eq!(tags.get("V"), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", ";", "a", "a=1;;b=2", "a=1; a=2", "1a=2", "ä=1", "=1", "a b=1"] {
            assert!(Tags::parse(text).is_err(), "{text:?}");
        }
        let many: Vec<String> = (0..99).map(|n| format!("a{n}=1")).collect();
        assert!(Tags::parse(&many.join(";")).is_err());
    }
}
