//! From how many points on mail counts as junk for one account, where its person decided so.
//! Whoever has no marks of their own follows the box's.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// An account's own marks: always within the limits, and never the wrong way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct JunkMarks {
    junk: i32,
    refuse: i32,
}

/// As it is kept.
#[derive(Deserialize)]
struct Written {
    junk: i32,
    refuse: i32,
}

impl From<Written> for JunkMarks {
    /// What another release took as it is brought into the limits: an account has to be readable.
    fn from(Written { junk, refuse }: Written) -> Self {
        Self::near(junk, refuse)
    }
}

/// Why marks cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MarksError {
    /// The mark for junk.
    #[error(
        "mail can be filed in Junk from {least} to {most} points on, not from {0} on: below, mail \
         that you want would go there, above, nearly no junk would",
        least = JunkMarks::JUNK.start(),
        most = JunkMarks::JUNK.end()
    )]
    Junk(i32),
    /// The mark for refusing.
    #[error(
        "mail can be refused from {least} to {most} points on, not from {0} on: below, mail that \
         you want could be lost to you",
        least = JunkMarks::REFUSE.start(),
        most = JunkMarks::REFUSE.end()
    )]
    Refuse(i32),
    /// What is refused would not even be junk.
    #[error(
        "mail cannot be refused from {refuse} points on when it is junk only from {junk} on: \
         refuse from {junk} or more on"
    )]
    Order {
        /// The mark for junk.
        junk: i32,
        /// The mark for refusing.
        refuse: i32,
    },
}

impl JunkMarks {
    /// Points from which on mail may be filed in Junk. Wanted mail of a badly kept server
    /// has about thirty; much junk has fewer than the upper end.
    pub const JUNK: RangeInclusive<i32> = 20..=150;
    /// Points from which on mail may be refused: nobody sees it again, so it takes more.
    pub const REFUSE: RangeInclusive<i32> = 80..=500;

    /// Marks as a person wants them.
    pub fn new(junk: i32, refuse: i32) -> Result<Self, MarksError> {
        if !Self::JUNK.contains(&junk) {
            return Err(MarksError::Junk(junk));
        }
        if !Self::REFUSE.contains(&refuse) {
            return Err(MarksError::Refuse(refuse));
        }
        if refuse < junk {
            return Err(MarksError::Order { junk, refuse });
        }
        Ok(Self { junk, refuse })
    }

    /// The nearest marks within the limits.
    pub fn near(junk: i32, refuse: i32) -> Self {
        let junk = junk.clamp(*Self::JUNK.start(), *Self::JUNK.end());
        let refuse = refuse.clamp(*Self::REFUSE.start(), *Self::REFUSE.end()).max(junk);
        Self { junk, refuse }
    }

    /// Points from which on mail is filed in Junk.
    pub fn junk(self) -> i32 {
        self.junk
    }

    /// Points from which on it is refused; never fewer.
    pub fn refuse(self) -> i32 {
        self.refuse
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn marks_that_lose_mail_are_refused_with_the_reason() {
        assert_eq!(JunkMarks::new(50, 150).map(|marks| (marks.junk, marks.refuse)), Ok((50, 150)));
        assert_eq!(JunkMarks::new(100, 100).map(JunkMarks::refuse), Ok(100));
        for (junk, refuse, error) in [
            (19, 150, MarksError::Junk(19)),
            (151, 200, MarksError::Junk(151)),
            (i32::MIN, i32::MAX, MarksError::Junk(i32::MIN)),
            (50, 79, MarksError::Refuse(79)),
            (50, 501, MarksError::Refuse(501)),
            (120, 90, MarksError::Order { junk: 120, refuse: 90 }),
        ] {
            assert_eq!(JunkMarks::new(junk, refuse), Err(error), "{error}");
        }
    }

    #[test]
    fn what_another_release_kept_stays_readable() {
        for (text, junk, refuse) in [
            (r#"{"junk":60,"refuse":200}"#, 60, 200),
            (r#"{"junk":5,"refuse":3}"#, 20, 80),
            (r#"{"junk":900,"refuse":90}"#, 150, 150),
        ] {
            let marks: JunkMarks = serde_json::from_str(text).unwrap();
            assert_eq!((marks.junk, marks.refuse), (junk, refuse), "{text}");
        }
        let marks = JunkMarks::new(60, 200).unwrap();
        assert_eq!(serde_json::to_string(&marks).unwrap(), r#"{"junk":60,"refuse":200}"#);
    }
}
