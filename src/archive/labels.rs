//! Names of folders as mail programs and providers write them, and what they mean here: the inbox
//! and the mailboxes with a special use are recognised in the usual languages, and Google Mail's
//! labels are told apart into mailboxes and flags.

use std::collections::BTreeSet;

use super::wire::Wish;
use crate::mail::{Flag, Flags, MailboxName, SpecialUse, SystemFlag};

/// What an archive's folder becomes; `levels` from the top, empty for the archive itself.
pub(super) fn wish(levels: &[String]) -> Wish {
    let name = mailbox_name(levels);
    let known = known(levels);
    let (special_use, below) = match known {
        Some((special, depth)) => (Some(special), join(levels.get(depth..).unwrap_or_default())),
        None => (None, String::new()),
    };
    Wish { name, special_use, below, subscribed: None }
}

/// The special use a folder or one above it has, and how many levels name it.
fn known(levels: &[String]) -> Option<(SpecialUse, usize)> {
    let lower: Vec<String> = levels.iter().take(2).map(|level| level.to_lowercase()).collect();
    // Below the inbox as Courier has it, and below Google's own name as IMAP shows it.
    let skip = match lower.first()?.as_str() {
        "inbox" | "[gmail]" | "[google mail]" => 1,
        _ => 0,
    };
    let word = lower.get(skip)?.trim();
    let (special, _) = SPECIAL.iter().find(|(_, names)| names.contains(&word))?;
    Some((*special, skip + 1))
}

/// A name that is allowed here and as like as can be.
fn mailbox_name(levels: &[String]) -> MailboxName {
    let first = levels.first().map(|level| level.trim().to_lowercase());
    let mut name = match first.as_deref() {
        None => return MailboxName::inbox(),
        Some(first) if INBOX.contains(&first) => {
            format!("INBOX{}", join(levels.get(1..).unwrap_or_default()))
        }
        Some(_) => join(levels).split_off(1),
    };
    while name.len() > MailboxName::MAX {
        name.pop();
    }
    let name = name.trim_end_matches(MailboxName::SEPARATOR);
    name.parse().unwrap_or_else(|_| MailboxName::inbox())
}

/// The levels with a separator before each.
fn join(levels: &[String]) -> String {
    let mut joined = String::new();
    for level in levels {
        joined.push(MailboxName::SEPARATOR);
        let bad = |c: char| c.is_control() || matches!(c, '*' | '%' | MailboxName::SEPARATOR);
        let start = joined.len();
        joined.extend(level.chars().map(|c| if bad(c) { '_' } else { c }));
        if joined.len() == start {
            joined.push('_');
        }
    }
    joined
}

const INBOX: &[&str] = &["inbox", "posteingang", "boîte de réception", "bandeja de entrada"];

/// In small letters.
const SPECIAL: &[(SpecialUse, &[&str])] = &[
    (
        SpecialUse::Sent,
        &[
            "sent",
            "sent items",
            "sent mail",
            "sent messages",
            "sent-mail",
            "gesendet",
            "gesendete objekte",
            "gesendete elemente",
            "gesendete nachrichten",
            "gesendete mails",
            "gesendete e-mails",
            "envoyés",
            "messages envoyés",
            "éléments envoyés",
            "enviados",
            "posta inviata",
            "inviata",
            "verzonden",
            "verzonden items",
        ],
    ),
    (
        SpecialUse::Drafts,
        &[
            "drafts",
            "draft",
            "entwürfe",
            "entwurf",
            "brouillons",
            "borradores",
            "bozze",
            "concepten",
        ],
    ),
    (
        SpecialUse::Junk,
        &[
            "junk",
            "spam",
            "junk e-mail",
            "junk email",
            "junk-e-mail",
            "junk mail",
            "bulk mail",
            "spamverdacht",
            "unerwünscht",
            "unerwünschte werbung",
            "courrier indésirable",
            "indésirables",
            "correo no deseado",
            "posta indesiderata",
            "ongewenste e-mail",
        ],
    ),
    (
        SpecialUse::Trash,
        &[
            "trash",
            "deleted",
            "deleted items",
            "deleted messages",
            "bin",
            "papierkorb",
            "gelöscht",
            "gelöschte objekte",
            "gelöschte elemente",
            "corbeille",
            "papelera",
            "cestino",
            "prullenbak",
            "éléments supprimés",
        ],
    ),
    (
        SpecialUse::Archive,
        &[
            "archive",
            "archives",
            "archiv",
            "archived",
            "archiviert",
            "all mail",
            "alle nachrichten",
            "archivés",
            "archivados",
            "archivio",
            "archief",
        ],
    ),
];

/// Google Mail's labels of one message.
#[derive(Debug, Default)]
pub(super) struct Labels {
    names: Vec<String>,
}

impl Labels {
    /// A list with commas; a label with a comma in it is in quotes.
    pub(super) fn parse(text: &str) -> Self {
        let mut names = vec![String::new()];
        let mut quoted = false;
        for c in text.chars() {
            match c {
                '"' => quoted = !quoted,
                ',' if !quoted => names.push(String::new()),
                c => {
                    if let Some(name) = names.last_mut() {
                        name.push(c);
                    }
                }
            }
        }
        let names = names.iter().map(|name| name.trim().to_owned());
        Self { names: names.filter(|name| !name.is_empty()).collect() }
    }

    /// The mailboxes a message belongs into: one for each label that is no mere mark.
    pub(super) fn wishes(&self) -> Vec<Wish> {
        let mut wishes: Vec<Wish> = Vec::new();
        for name in &self.names {
            if mark(name).is_none() {
                let levels: Vec<String> = name.split('/').map(str::to_owned).collect();
                wishes.push(wish(&levels));
            }
        }
        // What is in no label of its own is in "All mail" only, and so is what is archived besides
        // other labels there.
        if wishes.len() > 1 {
            wishes.retain(|wish| wish.special_use != Some(SpecialUse::Archive));
        }
        if wishes.is_empty() {
            wishes.push(wish(&["Archive".to_owned()]));
        }
        let mut seen = BTreeSet::new();
        wishes.retain(|wish| seen.insert(wish.name.clone()));
        wishes
    }

    /// The flags the marks stand for: what is not marked unread was read.
    pub(super) fn flags(&self) -> Flags {
        let marks: Vec<Mark> = self.names.iter().filter_map(|name| mark(name)).collect();
        let mut flags = Flags::none();
        if !marks.contains(&Mark::Unread) {
            flags.insert(Flag::System(SystemFlag::Seen));
        }
        if marks.contains(&Mark::Starred) {
            flags.insert(Flag::System(SystemFlag::Flagged));
        }
        if self.wishes().iter().any(|wish| wish.special_use == Some(SpecialUse::Drafts)) {
            flags.insert(Flag::System(SystemFlag::Draft));
        }
        flags
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Unread,
    Starred,
    /// Nothing that a mailbox or a flag here would stand for.
    Other,
}

fn mark(label: &str) -> Option<Mark> {
    let label = label.to_lowercase();
    Some(match label.as_str() {
        "unread" | "ungelesen" => Mark::Unread,
        "starred" | "markiert" => Mark::Starred,
        "opened" | "geöffnet" | "important" | "wichtig" => Mark::Other,
        label if label.starts_with("category ") || label.starts_with("kategorie:") => Mark::Other,
        label if label.starts_with("imap_") => Mark::Other,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Vec<String> {
        text.split('/').filter(|level| !level.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn usual_names_find_the_mailbox_of_that_use() {
        for (name, special, below) in [
            ("Sent", SpecialUse::Sent, ""),
            ("Gesendete Objekte", SpecialUse::Sent, ""),
            ("ENTWÜRFE", SpecialUse::Drafts, ""),
            ("INBOX/Trash", SpecialUse::Trash, ""),
            ("[Gmail]/Spam", SpecialUse::Junk, ""),
            ("Archiv/2019/Q1", SpecialUse::Archive, "/2019/Q1"),
        ] {
            let wish = wish(&levels(name));
            assert_eq!((wish.special_use, wish.below.as_str()), (Some(special), below), "{name}");
        }
        for (name, plain) in [
            ("", "INBOX"),
            ("Posteingang", "INBOX"),
            ("inbox/Bills", "INBOX/Bills"),
            ("Sent to Bob", "Sent to Bob"),
            ("Work/Sent", "Work/Sent"),
            ("50%*", "50__"),
        ] {
            let wish = wish(&levels(name));
            assert_eq!((wish.special_use, wish.name.as_str()), (None, plain), "{name}");
        }
        assert_eq!(wish(&["x".repeat(2000)]).name.as_str().len(), 1000);
        assert_eq!(wish(&["a/b".to_owned(), String::new()]).name.as_str(), "a_b/_");
    }

    #[test]
    fn labels_become_mailboxes_and_flags() {
        let of = |text: &str| {
            let labels = Labels::parse(text);
            let names: Vec<String> =
                labels.wishes().iter().map(|wish| wish.name.to_string()).collect();
            let flags: Vec<String> = labels.flags().iter().map(|flag| flag.to_string()).collect();
            (names.join(" "), flags.join(" "))
        };
        let pair = |names: &str, flags: &str| (names.to_owned(), flags.to_owned());
        assert_eq!(of("Inbox,Unread,Category Promotions"), pair("INBOX", ""));
        assert_eq!(of("Archived,Opened,Starred"), pair("Archived", "\\Flagged \\Seen"));
        assert_eq!(of("Important,Opened"), pair("Archive", "\\Seen"));
        assert_eq!(of("Archived,Family/Trips,Opened"), pair("Family/Trips", "\\Seen"));
        assert_eq!(of("Posteingang,Ungelesen,\"Haus, Hof\""), pair("INBOX Haus, Hof", ""));
        assert_eq!(of("Drafts,Opened"), pair("Drafts", "\\Seen \\Draft"));
    }
}
