//! Names and numbers of mailboxes and messages as IMAP defines them (RFC 3501 §2.3, RFC 9051 §2.3).

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};

/// A message's number in its mailbox: assigned once, strictly ascending, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub NonZeroU32);

impl Uid {
    /// The first UID of a new mailbox.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The number, or nothing for zero.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The plain number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// Tells a client whether UIDs it remembers still mean the same messages; never reused for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UidValidity(pub NonZeroU32);

/// Counts changes of an account's messages (RFC 7162 §3.1); each change has a higher one.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ModSeq(pub u64);

/// Flags of one message: the system flags and keywords (RFC 9051 §2.3.2).
///
/// `\Recent` is not here: it belongs to a session, not to a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    system: u8,
    keywords: BTreeSet<Keyword>,
}

impl Flags {
    /// No flag set.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether the flag is set.
    pub fn contains(&self, flag: &Flag) -> bool {
        match flag {
            Flag::System(flag) => self.system & flag.bit() != 0,
            Flag::Keyword(keyword) => self.keywords.contains(keyword),
        }
    }

    /// Whether a system flag is set.
    pub fn has(&self, flag: SystemFlag) -> bool {
        self.system & flag.bit() != 0
    }

    /// Sets a flag.
    pub fn insert(&mut self, flag: Flag) {
        match flag {
            Flag::System(flag) => self.system |= flag.bit(),
            Flag::Keyword(keyword) => {
                self.keywords.insert(keyword);
            }
        }
    }

    /// Clears a flag.
    pub fn remove(&mut self, flag: &Flag) {
        match flag {
            Flag::System(flag) => self.system &= !flag.bit(),
            Flag::Keyword(keyword) => {
                self.keywords.remove(keyword);
            }
        }
    }

    /// All flags set, system flags first.
    pub fn iter(&self) -> impl Iterator<Item = Flag> + '_ {
        let system = SystemFlag::ALL.into_iter().filter(|flag| self.has(*flag)).map(Flag::System);
        system.chain(self.keywords.iter().cloned().map(Flag::Keyword))
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        let mut all = Self::none();
        flags.into_iter().for_each(|flag| all.insert(flag));
        all
    }
}

/// One flag as a client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flag {
    /// A flag with a meaning fixed by the protocol.
    System(SystemFlag),
    /// Any other word.
    Keyword(Keyword),
}

/// The flags whose meaning IMAP fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SystemFlag {
    /// Read.
    Seen,
    /// Replied to.
    Answered,
    /// Marked for attention.
    Flagged,
    /// To be removed by EXPUNGE.
    Deleted,
    /// Not finished writing.
    Draft,
}

impl SystemFlag {
    /// In the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::Flagged, Self::Deleted, Self::Seen, Self::Draft];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "\\Seen",
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
        }
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// A keyword: an atom such as `$Forwarded`, compared without regard to case.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Keyword(String);

impl Keyword {
    /// As first written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// Case does not tell keywords apart (RFC 9051 §2.3.2).
impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.folded().cmp(&other.folded())
    }
}

impl FromStr for Keyword {
    type Err = MailboxError;

    fn from_str(text: &str) -> Result<Self, MailboxError> {
        let atom = |b: u8| b.is_ascii_graphic() && !b"(){%*\"\\]".contains(&b);
        if !text.is_empty() && text.len() <= 64 && text.bytes().all(atom) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MailboxError::Keyword)
        }
    }
}

impl FromStr for Flag {
    type Err = MailboxError;

    fn from_str(text: &str) -> Result<Self, MailboxError> {
        if !text.starts_with('\\') {
            return text.parse().map(Self::Keyword);
        }
        SystemFlag::ALL
            .into_iter()
            .find(|flag| flag.name().eq_ignore_ascii_case(text))
            .map(Self::System)
            .ok_or(MailboxError::Flag)
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System(flag) => flag.name(),
            Self::Keyword(keyword) => keyword.as_str(),
        })
    }
}

/// A mailbox name in Unicode, levels separated by `/`; `INBOX` in any case is the one inbox
/// (RFC 9051 §5.1). Modified UTF-7 is the business of the IMAP border.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MailboxName(String);

impl MailboxName {
    /// What separates levels.
    pub const SEPARATOR: char = '/';
    /// Longest name in octets.
    pub const MAX: usize = 1000;

    /// The inbox, which every account has.
    pub fn inbox() -> Self {
        Self("INBOX".to_owned())
    }

    /// Whether this is the inbox.
    pub fn is_inbox(&self) -> bool {
        self.0 == "INBOX"
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name with its characters composed (NFC), as new ones have to be (RFC 9051 §5.1).
    #[must_use]
    pub fn composed(&self) -> Self {
        let composed = composed(&self.0);
        if composed.len() > Self::MAX { self.clone() } else { Self(composed) }
    }
}

/// A text with its characters composed (NFC), however a keyboard writes an `ä`.
pub fn composed(text: &str) -> String {
    const { ComposingNormalizerBorrowed::new_nfc() }.normalize(text).into_owned()
}

impl FromStr for MailboxName {
    type Err = MailboxError;

    fn from_str(text: &str) -> Result<Self, MailboxError> {
        if text.len() > Self::MAX {
            return Err(MailboxError::NameLength);
        }
        let bad = |c: char| c.is_control() || matches!(c, '*' | '%');
        if text.chars().any(bad) || text.split(Self::SEPARATOR).any(str::is_empty) {
            return Err(MailboxError::NameSyntax);
        }
        let (top, rest) = text.split_at(text.find(Self::SEPARATOR).unwrap_or(text.len()));
        if top.eq_ignore_ascii_case("INBOX") {
            Ok(Self(format!("INBOX{rest}")))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// What a mailbox is for (RFC 6154 §2), so that each phone files mail in the same places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpecialUse {
    /// Mail kept out of the inbox.
    Archive,
    /// Messages not sent yet.
    Drafts,
    /// Mail that looks like junk.
    Junk,
    /// Copies of sent mail.
    Sent,
    /// Deleted messages.
    Trash,
}

impl SpecialUse {
    /// Every use, in the order in which a new account's mailboxes are made.
    pub const ALL: [Self; 5] = [Self::Drafts, Self::Sent, Self::Junk, Self::Trash, Self::Archive];

    /// The attribute on the wire.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }

    /// The name of the mailbox a new account gets for this use.
    pub fn default_name(self) -> &'static str {
        &self.attribute()[1..]
    }
}

/// Why a name, flag or keyword was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailboxError {
    /// Longer than [`MailboxName::MAX`].
    #[error("a mailbox name may have at most 1000 bytes")]
    NameLength,
    /// Empty level, wildcard or control character.
    #[error("a mailbox name may not have empty levels, *, % or control characters")]
    NameSyntax,
    /// A backslash word that is no system flag.
    #[error("not a flag that can be stored")]
    Flag,
    /// Not an atom of at most 64 characters.
    #[error("a keyword is a word of at most 64 plain characters")]
    Keyword,
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl TryFrom<String> for MailboxName {
    type Error = MailboxError;

    fn try_from(text: String) -> Result<Self, MailboxError> {
        text.parse()
    }
}

impl From<MailboxName> for String {
    fn from(name: MailboxName) -> Self {
        name.0
    }
}

impl TryFrom<String> for Keyword {
    type Error = MailboxError;

    fn try_from(text: String) -> Result<Self, MailboxError> {
        text.parse()
    }
}

impl From<Keyword> for String {
    fn from(keyword: Keyword) -> Self {
        keyword.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_inbox() {
        let name: MailboxName = "iNbOx".parse().unwrap();
        assert_eq!(name, MailboxName::inbox());
        assert_eq!("inbox/Bills".parse::<MailboxName>().unwrap().as_str(), "INBOX/Bills");
        assert_eq!("Inboxes".parse::<MailboxName>().unwrap().as_str(), "Inboxes");
    }

    #[test]
    fn names_that_could_break_a_listing_are_refused() {
        for name in ["", "a//b", "/a", "a/", "a*", "50%", "a\r\nb", &"x".repeat(1001)] {
            assert!(name.parse::<MailboxName>().is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn flags_are_a_set_and_keywords_ignore_case() {
        let mut flags: Flags =
            ["\\seen", "$Forwarded", "$FORWARDED"].iter().map(|f| f.parse().unwrap()).collect();
        assert_eq!(
            flags.iter().map(|f| f.to_string()).collect::<Vec<_>>(),
            ["\\Seen", "$Forwarded"]
        );
        flags.remove(&"$forwarded".parse().unwrap());
        assert!(!flags.contains(&"$Forwarded".parse().unwrap()));
        assert!("\\Recent".parse::<Flag>().is_err());
    }
}
