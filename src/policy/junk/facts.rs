//! What the rules want to know of a message: plain facts, gathered while it streams past.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::words::{TextFacts, home_of};
use crate::mail::Domain;

/// Most hosts of links kept, to ask domain lists about.
pub(super) const HOSTS: usize = 16;
/// Most Message-IDs kept of those that a message refers to.
pub(super) const REFERENCES: usize = 32;

/// Facts of one message.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub struct Facts {
    /// Number of `From` addresses.
    pub authors: u32,
    /// The first of them: address in lower case, and display name.
    pub from: Option<String>,
    /// Its display name, decoded.
    pub from_name: String,
    /// The display name is or holds an address of another domain.
    pub name_is_address: bool,
    /// The domain of the first `Reply-To`, when it is not that of `From`.
    pub replies_elsewhere: Option<String>,
    /// `Date`, when it can be read.
    pub date: Option<Timestamp>,
    /// There is a `Date` at all.
    pub has_date: bool,
    /// There is a Message-ID with an `@`.
    pub has_message_id: bool,
    /// The subject, decoded; its beginning.
    pub subject: String,
    /// `Re:` or `Fwd:` in the subject.
    pub says_reply: bool,
    /// Addresses in `To` and `Cc`.
    pub recipients: u32,
    /// There is a `To` or a `Cc` with an address.
    pub has_recipients: bool,
    /// One of these addresses has a tag that is the sender's name (`me+shop@` from `shop.example`):
    /// somebody made it for this sender alone.
    pub tagged_for_sender: bool,
    /// Message-IDs of `In-Reply-To` and `References`, the closest first.
    pub references: Vec<String>,
    /// `List-Id`.
    pub list: bool,
    /// `List-Unsubscribe`.
    pub unsubscribe: bool,
    /// `Auto-Submitted` other than `no`.
    pub automatic: bool,
    /// Fields that may be there once are there twice, or a line is no field.
    pub malformed: bool,
    /// Characters beyond ASCII stand raw in the header, and are no UTF-8.
    pub raw_bytes: bool,
    /// Text parts that are HTML, and plain ones.
    pub html_parts: u32,
    /// Plain text parts.
    pub plain_parts: u32,
    /// Characters of plain text, of HTML that can be seen, and of HTML that cannot.
    pub plain_text: u32,
    /// Characters of HTML text that can be seen.
    pub html_text: u32,
    /// Characters of HTML text that cannot be seen.
    pub hidden_text: u32,
    /// Comments in the middle of words.
    pub splices: u32,
    /// Pictures to be fetched from elsewhere.
    pub images: u32,
    /// The same of one dot: they tell the sender who reads.
    pub pixels: u32,
    /// A form to fill in.
    pub form: bool,
    /// A program or a foreign page inside of the text.
    pub script: bool,
    /// Attachments that can do harm, by what they are.
    pub attachments: BTreeSet<Harm>,
    /// The text.
    pub text: TextFacts,
    /// The subject as a text.
    pub subject_text: TextFacts,
    /// The links.
    pub links: LinkFacts,
}

/// The links of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// Links in all.
    pub all: u32,
    /// To a bare address instead of a name.
    pub numbers: u32,
    /// With something before an `@` that looks like the host.
    pub users: u32,
    /// To a port.
    pub ports: u32,
    /// By a service that hides where it leads.
    pub shortened: u32,
    /// To names that are not shown as they are.
    pub punycode: u32,
    /// The text of the link is the name of another host, but not of the sender's.
    pub misleading: u32,
    /// It is the name of the sender's host: so do services that count who follows a link.
    pub detours: u32,
    /// Where they lead; the first of them.
    pub hosts: BTreeSet<String>,
}

impl LinkFacts {
    /// The domains that links lead to, as lists of names know them; at most so many.
    pub fn domains(&self, most: usize) -> Vec<Domain> {
        let homes: BTreeSet<&str> = self.hosts.iter().map(|host| home_of(host)).collect();
        homes.into_iter().filter_map(|home| home.parse().ok()).take(most).collect()
    }
}

/// What harm an attachment can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// A program, by its name's ending.
    Program,
    /// A program that is named as if it were a document.
    Disguised,
    /// A document with programs inside.
    Macros,
    /// A page of HTML, which opens outside of the mail program.
    Page,
    /// A disk image or a rare archive: what checks look into least.
    Image,
}

impl Harm {
    /// Of a file's name.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = name.trim().to_lowercase();
        let (stem, ending) = name.rsplit_once('.')?;
        Some(match ending.trim() {
            "exe" | "scr" | "pif" | "com" | "bat" | "cmd" | "vbs" | "vbe" | "js" | "jse"
            | "wsf" | "wsh" | "hta" | "lnk" | "cpl" | "msi" | "jar" | "ps1" | "reg" | "chm"
            | "apk" | "appx" => {
                let inner = stem.rsplit_once('.').map(|(_, inner)| inner.trim());
                let document =
                    |e: &str| matches!(e, "pdf" | "doc" | "docx" | "xls" | "xlsx" | "jpg" | "txt");
                if inner.is_some_and(document) { Self::Disguised } else { Self::Program }
            }
            "docm" | "xlsm" | "pptm" | "dotm" | "xlam" | "xll" => Self::Macros,
            "htm" | "html" | "shtml" | "xhtml" | "svg" => Self::Page,
            "iso" | "img" | "vhd" | "vhdx" | "ace" | "cab" | "one" => Self::Image,
            _ => return None,
        })
    }
}

/// Services that make short links.
pub(super) const SHORTENERS: &[&str] = &[
    "bit.ly",
    "buff.ly",
    "cutt.ly",
    "goo.gl",
    "is.gd",
    "ow.ly",
    "rb.gy",
    "rebrand.ly",
    "shorturl.at",
    "t.co",
    "t.ly",
    "tiny.cc",
    "tinyurl.com",
];
