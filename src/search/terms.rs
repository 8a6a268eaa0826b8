//! How text becomes terms, and what a text looked for demands of them.
//!
//! Every character belongs to a class; a maximal run of one class is a term, or is cut into
//! several that overlap when it is long. So each text without another class inside that is short
//! enough lies within one term whenever it lies in the text: to look for it is to look through the
//! terms, and the answer is exact. A longer or mixed text is found in no other messages than those
//! that have all its pieces; these have to be read.
//!
//! Terms and texts are in lower case already, and never hold a line end: it parts the terms of a
//! list, and in a [`Pattern`] it stands for the beginning or the end of a term.

/// What kind of character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Blanks and ASCII punctuation; in no term.
    Gap,
    /// Letters and digits of scripts that part words, with their marks.
    Word,
    /// Ideographs and kana, in pairs.
    Ideograph,
    /// Thai, Lao, Khmer and Burmese, which part no words, by three.
    RunOn,
    /// Everything else, one by one: typographic quotes, currency, emoji.
    Sign,
}

impl Class {
    fn of(c: char) -> Self {
        if c.is_ascii() {
            return if c.is_ascii_alphanumeric() { Self::Word } else { Self::Gap };
        }
        match u32::from(c) {
            0x80..=0xa0 | 0x2000..=0x200a | 0x2028..=0x2029 | 0x202f | 0x205f | 0x3000 | 0xfffd => {
                Self::Gap
            }
            0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff => Self::RunOn,
            0x2e80..=0x2fdf
            | 0x3005..=0x3007
            | 0x3031..=0x312f
            | 0x31a0..=0x31ff
            | 0x3400..=0x4dbf
            | 0x4e00..=0x9fff
            | 0xf900..=0xfaff
            | 0xff66..=0xff9d
            | 0x1aff0..=0x1b16f
            | 0x20000..=0x3ffff => Self::Ideograph,
            // Marks that stand on letters, where the standard library does not call them letters.
            0x0300..=0x036f
            | 0x0483..=0x0489
            | 0x0591..=0x05c7
            | 0x0610..=0x061a
            | 0x064b..=0x065f
            | 0x0670
            | 0x06d6..=0x06ed
            | 0x0900..=0x0963
            | 0x0966..=0x0dff
            | 0x1ab0..=0x1aff
            | 0x1dc0..=0x1dff
            | 0x20d0..=0x20ff => Self::Word,
            _ if c.is_alphanumeric() => Self::Word,
            _ => Self::Sign,
        }
    }

    /// Characters of a term, and after how many the next one begins.
    const fn cut(self) -> (usize, usize) {
        match self {
            Self::Gap | Self::Sign => (1, 1),
            Self::Word => (32, 16),
            Self::Ideograph => (2, 1),
            Self::RunOn => (3, 1),
        }
    }

    /// So many characters of a run lie within one term, wherever they begin.
    const fn sure(self) -> usize {
        let (width, step) = self.cut();
        width - step + 1
    }
}

/// Most bytes of a term.
pub(super) const MAX_TERM: usize = 32 * 4;

/// Cuts text that comes in pieces.
#[derive(Debug)]
pub(super) struct Cutter {
    class: Class,
    /// The characters of the present run that are not in a term yet, or will be in the next too.
    run: String,
    count: usize,
}

impl Cutter {
    pub(super) fn new() -> Self {
        Self { class: Class::Gap, run: String::new(), count: 0 }
    }

    /// Takes a piece of text; tells the terms that are complete.
    pub(super) fn feed(&mut self, text: &str, each: &mut impl FnMut(&str)) {
        for c in text.chars() {
            let class = Class::of(c);
            if class != self.class {
                self.finish(each);
                self.class = class;
            }
            if class == Class::Gap {
                continue;
            }
            let (width, step) = class.cut();
            if self.count == width {
                each(&self.run);
                let from = self.run.char_indices().nth(step).map_or(self.run.len(), |(at, _)| at);
                self.run.drain(..from);
                self.count -= step;
            }
            self.run.push(c);
            self.count += 1;
        }
    }

    /// The text ended.
    pub(super) fn finish(&mut self, each: &mut impl FnMut(&str)) {
        if self.count > 0 {
            each(&self.run);
        }
        self.run.clear();
        self.count = 0;
        self.class = Class::Gap;
    }
}

/// What the terms of a message must have for a text to be found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needle {
    /// Each must be in some term; a line end is the beginning or the end of the term.
    pub(super) patterns: Vec<String>,
    /// Whether a message that has them has the text.
    pub(super) exact: bool,
}

impl Needle {
    /// Of a text in lower case. Without patterns nothing can be said of any message.
    pub(super) fn new(text: &str) -> Self {
        let runs = runs(text);
        let exact = match runs.as_slice() {
            [(class, run)] => *class != Class::Gap && run.chars().count() <= class.sure(),
            _ => false,
        };
        let mut patterns = Vec::new();
        for (i, (class, run)) in runs.iter().enumerate() {
            match class {
                Class::Gap => {}
                // Words begin and end where another class does.
                Class::Word => {
                    let (begins, ends) = (i > 0, i + 1 < runs.len());
                    words(run, begins, ends, &mut patterns);
                }
                class => grams(run, class.sure(), &mut patterns),
            }
        }
        // The longest are in the fewest messages.
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
        patterns.dedup();
        Self { patterns, exact }
    }
}

fn runs(text: &str) -> Vec<(Class, &str)> {
    let mut runs = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let class = Class::of(first);
        let end = rest.find(|c| Class::of(c) != class).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        runs.push((class, run));
        rest = after;
    }
    runs
}

fn words(run: &str, begins: bool, ends: bool, patterns: &mut Vec<String>) {
    let sure = Class::Word.sure();
    let start = if begins { "\n" } else { "" };
    let end = if ends { "\n" } else { "" };
    let chars: Vec<char> = run.chars().collect();
    if chars.len() <= sure {
        patterns.push(format!("{start}{run}{end}"));
        return;
    }
    let text = |chars: &[char]| chars.iter().collect::<String>();
    let (first, _) = chars.split_at(sure);
    let (_, last) = chars.split_at(chars.len() - sure);
    patterns.push(format!("{start}{}", text(first)));
    patterns.extend(chars.chunks_exact(sure).skip(1).map(text));
    patterns.push(format!("{}{end}", text(last)));
}

fn grams(run: &str, width: usize, patterns: &mut Vec<String>) {
    let chars: Vec<char> = run.chars().collect();
    if chars.len() <= width {
        patterns.push(run.to_owned());
    } else {
        patterns.extend(chars.windows(width).map(|gram| gram.iter().collect::<String>()));
    }
}
