//! The score of a message: points, each with a reason in plain words, and what follows from their
//! sum. One header field tells all of it, so that a person can see why a message lies where it
//! lies, and a page can show it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::accounts::JunkMarks;
use crate::config;

/// Name of the field that holds the score. What strangers send under this name is to be taken out
/// or renamed on arrival.
pub const FIELD: &str = "X-Pillarbox-Junk";
/// The field that mail programs' own rules look for, beside [`FIELD`], in what is filed as junk.
pub const FLAG: &str = "X-Spam: Yes\r\n";

/// Most reasons told in the field, the weightiest first.
const TOLD: usize = 20;
/// Longest reason, in bytes, and longest word of it.
const REASON: usize = 160;
const WORD: usize = 60;
/// Longest line of the field (RFC 5322 §2.1.1), a tab counted as the eight columns it takes.
const LINE: usize = 78;
/// Most points for junk and against it, of a reason and of all together.
const MOST: i32 = 999;

/// How much speaks for junk, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// The sum of all reasons' points.
    pub points: i32,
    /// The weightiest first.
    pub reasons: Vec<Reason>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Above 0 for junk, below against.
    pub points: i32,
    /// In plain words that stand alone.
    pub text: String,
}

/// From which score on what is done; of a box or of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Filed in Junk.
    pub junk: i32,
    /// Refused, so that the sender learns of it; far above what a mistake could reach.
    pub refuse: i32,
}

impl Default for Marks {
    fn default() -> Self {
        Self { junk: 50, refuse: 150 }
    }
}

impl From<&config::Junk> for Marks {
    /// With the usual marks where the owner set none.
    fn from(set: &config::Junk) -> Self {
        let usual = Self::default();
        let junk = set.mark.unwrap_or(usual.junk);
        Self { junk, refuse: set.refuse.unwrap_or(usual.refuse).max(junk) }
    }
}

impl From<JunkMarks> for Marks {
    fn from(own: JunkMarks) -> Self {
        Self { junk: own.junk(), refuse: own.refuse() }
    }
}

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Delivered as any other.
    Inbox,
    /// Filed in Junk, with [`FLAG`].
    Junk,
    /// Refused with 550 5.7.1.
    Refuse,
}

impl Verdict {
    /// What is said with 550 5.7.1.
    pub const REPLY: &'static str = "This looks like junk and was not taken. If it is not, write \
        to us without links and attachments, or reach the person in another way";

    fn word(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Junk => "junk",
            Self::Refuse => "refuse",
        }
    }
}

impl Score {
    /// Adds a reason; one without points is left out.
    pub fn add(&mut self, points: i32, text: impl Into<String>) {
        let points = points.clamp(-MOST, MOST);
        if points != 0 {
            self.points = (self.points + points).clamp(-MOST, MOST);
            self.reasons.push(Reason { points, text: text.into() });
            self.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.points.abs()));
        }
    }

    /// What follows by these marks.
    pub fn verdict(&self, marks: Marks) -> Verdict {
        if self.points >= marks.refuse.max(marks.junk) {
            Verdict::Refuse
        } else if self.points >= marks.junk {
            Verdict::Junk
        } else {
            Verdict::Inbox
        }
    }

    /// The whole field, folded, with its last CRLF. Nothing in a reason can end it or begin
    /// another: only printable ASCII is written.
    pub fn field(&self, marks: Marks) -> String {
        let mut field = format!(
            "{FIELD}: {}; points={}; junk={}; refuse={}",
            self.verdict(marks).word(),
            self.points,
            marks.junk,
            marks.refuse
        );
        for reason in self.reasons.iter().take(TOLD) {
            // Writing to a String cannot fail.
            let _ = write!(field, ";\r\n\t{:+}", reason.points);
            let mut column = 8 + 4;
            for word in plain(&reason.text).split(' ') {
                // Two more for the blank and a semicolon.
                let folds = column + word.len() + 2 > LINE;
                field.push_str(if folds { "\r\n\t" } else { " " });
                field.push_str(word);
                column = word.len() + if folds { 8 } else { column + 1 };
            }
        }
        field.push_str("\r\n");
        field
    }
}

/// A field read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What was done.
    pub verdict: Verdict,
    /// By which marks.
    pub marks: Marks,
    /// Why.
    pub score: Score,
}

impl Told {
    /// Reads the value of a field that [`Score::field`] wrote, folded or not; nothing for any other.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let word = parts.next()?;
        let verdicts = [Verdict::Inbox, Verdict::Junk, Verdict::Refuse];
        let verdict = verdicts.into_iter().find(|verdict| verdict.word() == word)?;
        let mut number = |name: &str| {
            let (found, value) = parts.next()?.split_once('=')?;
            value.parse().ok().filter(|_| found == name)
        };
        let (points, junk, refuse) = (number("points")?, number("junk")?, number("refuse")?);
        let reason = |part: &str| {
            let (points, text) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            Some(Reason { points: points.parse().ok()?, text })
        };
        let reasons = parts.take(TOLD).map(reason).collect::<Option<_>>()?;
        let score = Score { points, reasons };
        Some(Self { verdict, marks: Marks { junk, refuse }, score })
    }
}

/// A text as a header field may hold it: printable ASCII, with single blanks between its words.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for word in text.split_whitespace() {
        let blank = if plain.is_empty() { "" } else { " " };
        let word = word.chars().take(WORD).map(|c| match c {
            ';' => ',',
            c if c.is_ascii_graphic() => c,
            _ => '?',
        });
        let word: String = word.collect();
        if plain.len() + 1 + word.len() > REASON {
            break;
        }
        plain.push_str(blank);
        plain.push_str(&word);
    }
    plain
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn score(reasons: &[(i32, &str)]) -> Score {
        let mut score = Score::default();
        for (points, text) in reasons {
            score.add(*points, *text);
        }
        score
    }

    #[test]
    fn the_marks_decide() {
        let marks = Marks::default();
        for (points, verdict) in [
            (-30, Verdict::Inbox),
            (49, Verdict::Inbox),
            (50, Verdict::Junk),
            (149, Verdict::Junk),
            (150, Verdict::Refuse),
            (i32::MAX, Verdict::Refuse),
        ] {
            assert_eq!(score(&[(points, "x")]).verdict(marks), verdict, "{points}");
        }
        // Marks the wrong way round never refuse what would not even be junk.
        let wrong = Marks { junk: 80, refuse: 10 };
        assert_eq!(score(&[(60, "x")]).verdict(wrong), Verdict::Inbox);
    }

    #[test]
    fn the_field_tells_everything_and_can_be_read_again() {
        let score = score(&[(10, "no date"), (60, "a program is attached"), (-15, "a list")]);
        let field = score.field(Marks::default());
        assert_eq!(
            field,
            "X-Pillarbox-Junk: junk; points=55; junk=50; refuse=150;\r\n\
             \t+60 a program is attached;\r\n\t-15 a list;\r\n\t+10 no date\r\n"
        );
        let value = field.strip_prefix("X-Pillarbox-Junk:").unwrap();
        let told = Told::parse(value).unwrap();
        assert_eq!(
            (told.score, told.verdict, told.marks),
            (score, Verdict::Junk, Marks::default())
        );
        let long = "the sender's domain wants mail refused that nothing proves it to have sent";
        let score = self::score(&[(60, long), (i32::MAX, "x")]);
        assert_eq!(score.points, MOST);
        let field = score.field(Marks::default());
        let folded = "\r\n\t+60 the sender's domain wants mail refused that nothing proves it to\
                      \r\n\thave sent\r\n";
        assert!(field.ends_with(folded), "{field}");
        let told = Told::parse(field.split_once(':').unwrap().1).unwrap();
        assert_eq!(told.score, score);
        assert_eq!(Told::parse("junk; points=x; junk=1; refuse=2"), None);
        assert_eq!(Told::parse("Yes, score=12"), None);
    }

    proptest! {
        #[test]
        fn no_reason_breaks_out_of_the_field(texts in prop::collection::vec(".{0,300}", 0..30)) {
            let mut score = Score::default();
            for text in texts {
                score.add(3, text);
            }
            score.add(3, "x\r\nBcc: all@example.org\r\n\r\nbody");
            let field = score.field(Marks::default());
            prop_assert!(field.is_ascii());
            let lines: Vec<&str> = field.strip_suffix("\r\n").unwrap().split("\r\n").collect();
            prop_assert!(lines.iter().skip(1).all(|line| line.starts_with('\t')));
            prop_assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])));
            prop_assert!(lines.iter().all(|line| line.replace('\t', "        ").len() <= LINE));
            let told = Told::parse(field.split_once(':').unwrap().1).unwrap();
            prop_assert_eq!(told.score.points, score.points);
        }

        #[test]
        fn nothing_breaks_the_reader(value in ".{0,200}") {
            let _ = Told::parse(&value);
        }
    }
}
