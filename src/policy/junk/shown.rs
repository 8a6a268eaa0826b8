//! An account's junk as its person looks at it: the newest messages of the Junk folder, and those
//! of the inbox that came close, with the score each was given on arrival. What strangers wrote is
//! made fit to be shown here: one line, not long, and nothing in it that turns the rest around.

use jiff::Timestamp;

use super::lesson::{Purpose, read};
use super::score::{Told, Verdict};
use crate::mail::structure::{self, Structure};
use crate::store::{AccountId, Mailbox, Store, StoreError};

/// Messages of the Junk folder shown, the newest.
const FROM_JUNK: usize = 50;
/// Messages of the inbox looked at, the newest, and those of them shown.
const INBOX_LOOK: usize = 150;
const CLOSE: usize = 10;
/// Longest name of a sender and longest subject shown, in characters.
const NAME: usize = 60;
const ADDRESS: usize = 100;
const SUBJECT: usize = 120;
/// Longest reason shown, in characters.
const REASON: usize = 160;

/// A message as shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The sender's name as the message gives it; anybody can write anything there.
    pub name: String,
    /// The sender's address, likewise.
    pub address: String,
    /// The subject.
    pub subject: String,
    /// When it came.
    pub at: Timestamp,
    /// The score it was given; nothing when it came another way than by port 25.
    pub told: Option<Told>,
}

/// What there is to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pile {
    /// The newest of the Junk folder, the newest first.
    pub junk: Vec<Shown>,
    /// How many there are in it.
    pub junk_in_all: u32,
    /// Of the newest in the inbox those that had many points, the newest first.
    pub close: Vec<Shown>,
}

impl Pile {
    /// Looks through an account's newest mail. `close` is the score from which on a message of the
    /// inbox is worth a look. Reads the card: call it where waiting is allowed.
    pub fn gather(store: &Store, account: AccountId, close: i32) -> Result<Self, StoreError> {
        let mailboxes = store.mailboxes(account)?;
        let mut pile = Self::default();
        for mailbox in &mailboxes {
            match Purpose::of(mailbox) {
                Purpose::Junk => {
                    pile.junk_in_all = pile.junk_in_all.saturating_add(mailbox.messages);
                    pile.junk.extend(newest(store, mailbox, FROM_JUNK, FROM_JUNK, |_| true)?);
                }
                Purpose::Inbox => {
                    let doubtful = |shown: &Shown| {
                        let told = shown.told.as_ref();
                        told.is_some_and(|told| told.score.points >= close)
                    };
                    pile.close.extend(newest(store, mailbox, INBOX_LOOK, CLOSE, doubtful)?);
                }
                Purpose::Sent | Purpose::Kept | Purpose::Other => {}
            }
        }
        pile.junk.sort_by_key(|shown| std::cmp::Reverse(shown.at));
        pile.junk.truncate(FROM_JUNK);
        Ok(pile)
    }
}

impl Shown {
    /// Whether the box filed it; otherwise somebody moved it.
    pub fn was_filed(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.verdict != Verdict::Inbox)
    }
}

/// Of the newest `looked` messages of a mailbox, the first `most` that are `wanted`.
fn newest(
    store: &Store,
    mailbox: &Mailbox,
    looked: usize,
    most: usize,
    wanted: impl Fn(&Shown) -> bool,
) -> Result<Vec<Shown>, StoreError> {
    let Some((_, entries)) = store.entries(mailbox.id)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries.iter().rev().take(looked) {
        if found.len() >= most {
            break;
        }
        let Some(message) = store.message(mailbox.id, entry.uid)? else { continue };
        // Damaged on the card: the self-check tells of it.
        let Ok(Some(bytes)) = read(store, mailbox.id, entry.uid) else { continue };
        let shown = Shown::of(&bytes.head, bytes.told(), message.internal_date);
        if wanted(&shown) {
            found.push(shown);
        }
    }
    Ok(found)
}

impl Shown {
    fn of(header: &[u8], told: Option<Told>, at: Timestamp) -> Self {
        let scanned = Structure::scan_head(header, 0).ok();
        let head = scanned.as_ref().and_then(|scanned| scanned.root().head.as_ref());
        let author = head.and_then(|head| head.from.iter().find(|one| one.host.is_some()));
        let address = author.map_or(String::new(), |author| {
            let raw = |bytes: &Option<Vec<u8>>| {
                String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
            };
            format!("{}@{}", raw(&author.mailbox), raw(&author.host))
        });
        let text = |bytes: Option<&Vec<u8>>, most| {
            let text =
                bytes.map(|bytes| structure::header_text(bytes.get(..VALUE).unwrap_or(bytes)));
            plain(&text.unwrap_or_default(), most)
        };
        let mut told = told;
        for reason in told.iter_mut().flat_map(|told| &mut told.score.reasons) {
            reason.text = plain(&reason.text, REASON);
        }
        Self {
            name: text(author.and_then(|author| author.name.as_ref()), NAME),
            address: plain(&address, ADDRESS),
            subject: text(head.and_then(|head| head.subject.as_ref()), SUBJECT),
            at,
            told,
        }
    }
}

/// Bytes of a field that are decoded.
const VALUE: usize = 2000;

/// A stranger's text on one line of at most so many characters: without what controls, what turns
/// the direction of writing, and what cannot be seen.
fn plain(text: &str, most: usize) -> String {
    let mut line = String::new();
    let mut blank = true;
    let mut room = most;
    for c in text.chars() {
        let c = if c.is_whitespace() || c.is_control() { ' ' } else { c };
        if is_unseen(c) || (c == ' ' && blank) {
            continue;
        }
        if room == 0 {
            return line.trim_end().to_owned() + "…";
        }
        room -= 1;
        blank = c == ' ';
        line.push(c);
    }
    line.truncate(line.trim_end().len());
    line
}

/// Characters of no width, and those that turn the direction of writing.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;
    use crate::mail::{Flags, MailboxName, SpecialUse};
    use crate::policy::junk::FIELD;
    use crate::store::{Batch, Options};

    const ACCOUNT: AccountId = AccountId(1);

    fn letter(field: &str, from: &str, subject: &str) -> Vec<u8> {
        format!("{field}Received: by x\r\nFrom: {from}\r\nSubject: {subject}\r\n\r\ntext\r\n")
            .into_bytes()
    }

    async fn put(store: &Store, name: &MailboxName, at: i64, letter: &[u8]) {
        let mailbox = store.find_mailbox(ACCOUNT, name).unwrap().unwrap();
        let mut body = store.new_body();
        body.write(letter).await.unwrap();
        let body = body.finish().await.unwrap();
        let mut batch = Batch::new();
        let date = Timestamp::from_second(at).unwrap();
        batch.add_message(mailbox.id, &[], &body, Flags::none(), date);
        store.commit(batch).await.unwrap();
    }

    #[tokio::test]
    async fn the_newest_junk_and_what_came_close_are_shown_with_their_scores() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let (inbox, junk) = (MailboxName::inbox(), "Spam".parse::<MailboxName>().unwrap());
        let mut batch = Batch::new();
        batch.create_mailbox(ACCOUNT, inbox.clone(), None);
        batch.create_mailbox(ACCOUNT, junk.clone(), Some(SpecialUse::Junk));
        store.commit(batch).await.unwrap();
        let field = |points: i32| {
            format!("{FIELD}: inbox; points={points}; junk=50; refuse=150;\r\n\t+{points} x\r\n")
        };
        for (at, points) in [(1, 10), (2, 40), (3, 25), (4, 24)] {
            let letter = letter(&field(points), "Bob <bob@far.test>", &format!("n {points}"));
            put(&store, &inbox, at, &letter).await;
        }
        for at in 0..60 {
            put(&store, &junk, at, &letter("", "x@y.test", &format!("junk {at}"))).await;
        }
        let pile = Pile::gather(&store, ACCOUNT, 25).unwrap();
        let close: Vec<&str> = pile.close.iter().map(|shown| shown.subject.as_str()).collect();
        assert_eq!(close, ["n 25", "n 40"]);
        let first = pile.close.first().unwrap();
        assert_eq!((first.name.as_str(), first.address.as_str()), ("Bob", "bob@far.test"));
        assert_eq!(first.told.as_ref().unwrap().score.reasons.first().unwrap().text, "x");
        assert_eq!((pile.junk.len(), pile.junk_in_all), (50, 60));
        assert_eq!(pile.junk.first().unwrap().subject, "junk 59");
        assert!(pile.junk.first().unwrap().told.is_none());
        assert_eq!(Pile::gather(&store, AccountId(9), 0).unwrap(), Pile::default());
    }

    #[test]
    fn what_strangers_wrote_is_one_short_line_without_tricks() {
        let long = "ab ".repeat(100);
        for (field, shown) in [
            ("=?utf-8?q?p=C3=A4kete=0d=0a=09x?=", "päkete x"),
            ("a\u{202e}fdp.exe", "afdp.exe"),
            ("a\u{200b}b\u{7}c\u{9d} \u{2066} d", "ab c d"),
            ("  ", ""),
            (long.as_str(), &(long.get(..119).unwrap().to_owned() + "…")),
        ] {
            let letter = letter("", "x@y.test", field);
            let shown_now = Shown::of(&letter, None, Timestamp::UNIX_EPOCH);
            assert_eq!(shown_now.subject, shown, "{field:?}");
        }
    }

    #[test]
    fn a_letter_without_a_sender_or_a_header_is_shown_all_the_same() {
        for letter in [b"".as_slice(), b"\r\n\r\n", b"From: undisclosed:;\r\n\r\n", &[0xff; 300]] {
            let shown = Shown::of(letter, None, Timestamp::UNIX_EPOCH);
            assert_eq!((shown.address.as_str(), shown.subject.as_str()), ("", ""));
        }
    }
}
