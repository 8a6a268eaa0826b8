//! The elements that commands are made of: words, texts, numbers, sets, dates and lists.

use super::generator::Generator;

pub(super) const MONTHS: &[&str] =
    &["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Generator {
    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % end
    }

    pub(super) fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(super) fn date(&mut self) {
        let (day, month) = (1 + self.below(28), 1 + self.below(12));
        let year = 1970 + self.below(130);
        let text = format!("{day}-{}-{year}", MONTHS[month - 1]);
        let quoted = self.once_in(2);
        self.raw(&if quoted { format!("\"{text}\"") } else { text });
        self.leaves.push(format!("{year}-{month:02}-{day:02}"));
    }

    pub(super) fn numbered(&mut self, names: &[&str]) {
        self.option(&["UID "]);
        self.one_of(names);
    }

    pub(super) fn mailbox(&mut self) {
        const NAMES: &[&str] =
            &["a", "Work", "Work/Bills", "x y", "in]box", "a+b", "Entw\u{fc}rfe"];
        if self.once_in(4) {
            return self.one_of(&["INBOX", "\"INBOX\"", "{5}\r\nINBOX"]);
        }
        let name = NAMES[self.below(NAMES.len())];
        self.leaves.push(name.to_owned());
        self.string(&name.replace('\u{fc}', "&APw-"), true);
    }

    /// A text that is searched for or names somebody.
    pub(super) fn text(&mut self) {
        const TEXTS: &[&str] = &[
            "bob",
            "tea at four",
            "4711",
            "<1@example.net>",
            "a\"b\\c",
            "nil",
            "x{3}",
            "[abc]",
            "",
        ];
        let text = TEXTS[self.below(TEXTS.len())];
        self.leaves.push(format!("{text:?}"));
        self.string(text, true);
    }

    /// As an atom where it can be one, quoted, or a literal.
    pub(super) fn string(&mut self, text: &str, atoms: bool) {
        let atom = text.bytes().all(|b| b.is_ascii_graphic() && !b"(){%*\"\\".contains(&b));
        match self.below(4) {
            0 => self.raw(&format!("{{{}}}\r\n{text}", text.len())),
            1 => self.raw(&format!("{{{}+}}\r\n{text}", text.len())),
            2 if atom && atoms && !text.is_empty() => self.raw(text),
            _ => {
                let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
                self.raw(&format!("\"{quoted}\""));
            }
        }
    }

    pub(super) fn set(&mut self) {
        self.several(",", |s| {
            s.bound();
            if s.once_in(3) {
                s.raw(":");
                s.bound();
            }
        });
    }

    /// Without `*`.
    pub(super) fn plain_set(&mut self) {
        self.several(",", |s| s.number(1));
    }

    pub(super) fn bound(&mut self) {
        if self.once_in(6) { self.raw("*") } else { self.number(1) }
    }

    pub(super) fn number(&mut self, least: usize) {
        let number = match self.below(8) {
            0 => 4_294_967_295,
            1 => least,
            _ => least + self.below(500),
        };
        self.leaves.push(number.to_string());
        self.raw(&number.to_string());
    }

    pub(super) fn listed(&mut self, words: &[&str]) {
        self.raw("(");
        self.several(" ", |s| s.one_of(words));
        self.raw(")");
    }

    pub(super) fn several(&mut self, between: &str, mut one: impl FnMut(&mut Self)) {
        one(self);
        while self.once_in(3) {
            self.raw(between);
            one(self);
        }
    }

    pub(super) fn option(&mut self, words: &[&str]) {
        if self.once_in(2) {
            self.one_of(words);
        }
    }

    pub(super) fn one_of(&mut self, words: &[&str]) {
        let word = words[self.below(words.len())];
        self.word(word);
    }

    /// A word of the grammar, in any case.
    pub(super) fn word(&mut self, word: &str) {
        match self.below(3) {
            0 if !word.contains('\n') => self.raw(&word.to_ascii_lowercase()),
            _ => self.raw(word),
        }
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}
