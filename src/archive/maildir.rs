//! Maildir as Dovecot, Courier, mutt and mbsync write it: one file a message in `cur` or `new`, its
//! flags at the end of its name, folders beside it as `.Sub.Folder` (Maildir++) or as folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::mail::{Flag, Flags, Keyword, SystemFlag, utf7};

/// Names of keywords by their letter, as Dovecot keeps them.
pub(super) const KEYWORDS: &str = "dovecot-keywords";
/// Names of the folders that are subscribed to, in the topmost folder.
pub(super) const SUBSCRIPTIONS: &str = "subscriptions";
/// Letters there are for keywords.
pub(super) const LETTERS: usize = 26;

/// The letters after `:2,` with a meaning everywhere.
const FLAGS: [(char, SystemFlag); 5] = [
    ('D', SystemFlag::Draft),
    ('F', SystemFlag::Flagged),
    ('R', SystemFlag::Answered),
    ('S', SystemFlag::Seen),
    ('T', SystemFlag::Deleted),
];
/// `P` for "passed".
const FORWARDED: &str = "$Forwarded";

/// Whether a folder holds messages in this form.
pub(super) fn is_maildir(folder: &Path) -> bool {
    let has = |sub: &str| folder.join(sub).is_dir();
    has("cur") || has("new") && has("tmp")
}

/// Keywords of one Maildir by their letter.
#[derive(Debug, Default)]
pub(super) struct Keywords(BTreeMap<char, Keyword>);

impl Keywords {
    /// Reads the file beside `cur`; without one, small letters mean nothing.
    pub(super) fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join(KEYWORDS)).unwrap_or_default();
        Self(text.lines().filter_map(keyword_line).collect())
    }

    /// Its letter, given now when there is one left.
    pub(super) fn letter(&mut self, keyword: &Keyword) -> Option<char> {
        if let Some((letter, _)) = self.0.iter().find(|(_, known)| *known == keyword) {
            return Some(*letter);
        }
        let free = ('a'..='z').take(LETTERS).find(|letter| !self.0.contains_key(letter))?;
        self.0.insert(free, keyword.clone());
        Some(free)
    }

    /// The file's text.
    pub(super) fn text(&self) -> String {
        let line = |(letter, keyword): (&char, &Keyword)| {
            format!("{} {}\n", u32::from(*letter) - u32::from('a'), keyword.as_str())
        };
        self.0.iter().map(line).collect()
    }
}

fn keyword_line(line: &str) -> Option<(char, Keyword)> {
    let (number, word) = line.split_once(' ')?;
    let letter = ('a'..='z').nth(number.parse().ok()?)?;
    Some((letter, word.trim().parse().ok()?))
}

/// The flags a file's name tells.
pub(super) fn flags(name: &str, keywords: &Keywords) -> Flags {
    let mut flags = Flags::none();
    for letter in info(name).unwrap_or_default().chars() {
        let system = FLAGS.iter().find(|(known, _)| *known == letter).map(|(_, flag)| *flag);
        let flag = match letter {
            'P' => FORWARDED.parse().ok(),
            letter => match system {
                Some(flag) => Some(Flag::System(flag)),
                None => keywords.0.get(&letter).cloned().map(Flag::Keyword),
            },
        };
        if let Some(flag) = flag {
            flags.insert(flag);
        }
    }
    flags
}

/// The letters after the `2,`; where a colon is not allowed in names, `;` or `!` stands for it.
fn info(name: &str) -> Option<&str> {
    let at = name.rfind([':', ';', '!'])?;
    name.get(at + 1..)?.strip_prefix("2,")
}

/// The letters of these flags, and how many keywords found none.
pub(super) fn letters(flags: &Flags, keywords: &mut Keywords) -> (String, usize) {
    let (mut letters, mut without) = (Vec::new(), 0);
    for flag in flags.iter() {
        match flag {
            Flag::System(flag) => {
                let letter = FLAGS.iter().find(|(_, known)| *known == flag);
                letters.extend(letter.map(|(letter, _)| *letter));
            }
            Flag::Keyword(word) if word.as_str().eq_ignore_ascii_case(FORWARDED) => {
                letters.push('P');
            }
            Flag::Keyword(word) => match keywords.letter(&word) {
                Some(letter) => letters.push(letter),
                None => without += 1,
            },
        }
    }
    letters.sort_unstable();
    (letters.into_iter().collect(), without)
}

/// Whether the name says that the file's bytes are in the form of the wire: `S` is the size of the
/// file and `W` that of the message on the wire, and both are what the file has.
pub(super) fn is_verbatim(name: &str, size: u64) -> bool {
    let value = |key: &str| {
        let rest = name.split(',').find_map(|part| part.strip_prefix(key))?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse::<u64>().ok()
    };
    value("S=") == Some(size) && value("W=") == Some(size)
}

/// The levels of a folder's name such as `.Work.Bills`.
pub(super) fn levels(name: &str) -> Vec<String> {
    let levels = name.split('.').filter(|level| !level.is_empty());
    levels.map(|level| utf7::decode(level.as_bytes())).collect()
}

/// The reverse of [`levels`]; a dot within a level has to be told from one between two.
pub(super) fn folder_name(mailbox: &str) -> String {
    let level = |level: &str| format!(".{}", escape(&utf7::encode(level)).replace('.', DOT));
    mailbox.split('/').map(level).collect()
}

/// A dot in modified UTF-7, where it must not stand for itself.
pub(super) const DOT: &str = "&AC4-";

/// Names without what the file systems of other computers do not take, in modified UTF-7.
pub(super) fn escape(name: &str) -> String {
    const CHARS: [(char, &str); 7] = [
        (':', "&ADo-"),
        ('?', "&AD8-"),
        ('"', "&ACI-"),
        ('<', "&ADw-"),
        ('>', "&AD4-"),
        ('|', "&AHw-"),
        ('\\', "&AFw-"),
    ];
    let mut escaped = name.to_owned();
    for (c, with) in CHARS {
        escaped = escaped.replace(c, with);
    }
    escaped
}

/// The folders named in the file of subscriptions, each by its levels; nothing without the file.
pub(super) fn subscriptions(folder: &Path) -> Option<Vec<Vec<String>>> {
    let text = fs::read_to_string(folder.join(SUBSCRIPTIONS)).ok()?;
    let mut lines = text.lines().peekable();
    // Dovecot's second version has levels between tabs.
    let separator =
        if lines.next_if(|line| line.starts_with("V\t")).is_some() { '\t' } else { '.' };
    let names = lines
        .filter(|line| !line.is_empty())
        .map(|line| line.split(separator).map(|level| utf7::decode(level.as_bytes())).collect());
    Some(names.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_from_names_of_every_kind() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(KEYWORDS), "0 Work\n1 $Label1\n").unwrap();
        let keywords = Keywords::read(folder.path());
        let of = |name: &str| {
            let flags: Vec<String> =
                flags(name, &keywords).iter().map(|flag| flag.to_string()).collect();
            flags.join(" ")
        };
        assert_eq!(of("1.M2P3.host,S=5,W=6:2,FRS"), "\\Answered \\Flagged \\Seen");
        assert_eq!(of("1.a;2,DPT"), "\\Deleted \\Draft $Forwarded");
        assert_eq!(of("1.a!2,Sabz"), "\\Seen $Label1 Work");
        assert_eq!(of("1.a"), "");
        assert_eq!(of("1.a:1,S"), "");
    }

    #[test]
    fn letters_come_back_as_the_flags_they_stand_for() {
        let mut keywords = Keywords::default();
        let words = ["\\Seen", "\\Draft", "$Forwarded", "Work", "$Label1"];
        let all: Flags = words.iter().map(|word| word.parse::<Flag>().unwrap()).collect();
        let (text, without) = letters(&all, &mut keywords);
        assert_eq!((text.as_str(), without), ("DPSab", 0));
        assert_eq!(flags(&format!("1.a:2,{text}"), &keywords), all);
        let many: Flags = (0..30).map(|n| format!("word{n}").parse::<Flag>().unwrap()).collect();
        assert_eq!(letters(&many, &mut keywords).1, 6, "two letters of 26 were taken");
    }

    #[test]
    fn names_of_folders_come_back() {
        for name in ["Work/Bills", "Entwürfe/a.b", "INBOX/x", "Q&A", "日本", "Re: \"<x>\"|?\\"] {
            let folder = folder_name(name);
            assert!(folder.is_ascii() && folder.starts_with('.'), "{folder}");
            assert_eq!(levels(&folder).join("/"), name);
        }
        assert_eq!(levels(".Entwürfe"), ["Entwürfe"]);
    }

    #[test]
    fn both_kinds_of_subscriptions_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(subscriptions(folder.path()).is_none());
        let file = folder.path().join(SUBSCRIPTIONS);
        fs::write(&file, "Work.Bills\nEntw&APw-rfe\n").unwrap();
        let expected = vec![vec!["Work".to_owned(), "Bills".into()], vec!["Entwürfe".into()]];
        assert_eq!(subscriptions(folder.path()).unwrap(), expected);
        fs::write(&file, "V\t2\n\nWork\tBills\nEntw&APw-rfe\n").unwrap();
        assert_eq!(subscriptions(folder.path()).unwrap(), expected);
    }

    #[test]
    fn sizes_in_the_name_tell_the_form_of_the_bytes() {
        assert!(is_verbatim("1.a,S=12,W=12:2,S", 12));
        assert!(!is_verbatim("1.a,S=12,W=12:2,S", 13));
        assert!(!is_verbatim("1.a,S=12,W=13:2,S", 12));
        assert!(!is_verbatim("1.a:2,S", 12));
    }
}
