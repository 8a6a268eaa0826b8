//! METADATA (RFC 5464): notes on mailboxes and on the server, private and shared. They are kept
//! among the account's settings, a bounded number of bounded size; the server's shared ones belong
//! to everybody with an account here.

use std::collections::BTreeMap;

use super::command::{Depth, GetMetadata, MAX_VALUE, Place, SetMetadata, Tag};
use super::facts::{annotations, annotations_of, digest};
use super::respond::Output;
use super::session::Session;
use super::view::Expunges;
use crate::store::{AccountId, Batch, MailboxId, StoreError};

/// Most entries of one mailbox, or of the server.
const MAX_ENTRIES: usize = 100;
/// Most entries of one account, or of everybody together.
const MAX_ALL: usize = 1000;
/// How to reach who runs the box; made here, and nobody's to change (RFC 5464 §3.2.1.1).
const ADMIN: &str = "/shared/admin";

/// Values by entry.
type Annotations = BTreeMap<String, Vec<u8>>;

impl Session {
    pub(super) fn get_metadata(&mut self, tag: Tag, account: AccountId, get: GetMetadata) {
        self.ask_place(tag, account, get.place.clone(), move |session, tag, mailbox| {
            session.ask_annotations(account, mailbox, move |session, answer| match answer {
                Ok(known) => session.tell_metadata(&tag, &get, &known),
                Err(error) => session.failed(&tag, &error),
            });
        });
    }

    fn tell_metadata(&mut self, tag: &Tag, get: &GetMetadata, known: &Annotations) {
        let mut found: BTreeMap<&str, Option<&[u8]>> = BTreeMap::new();
        let mut longest = None;
        for entry in &get.entries {
            if get.depth == Depth::Itself {
                // What was asked for by name is told even when it has no value.
                found.insert(entry.as_str(), None);
            }
            for (name, value) in known.iter().filter(|(name, _)| entry.covers(name, get.depth)) {
                if get.max_size.is_some_and(|most| value.len() as u64 > most) {
                    longest = longest.max(Some(value.len()));
                    found.remove(name.as_str());
                } else {
                    found.insert(name, Some(value));
                }
            }
        }
        if !found.is_empty() {
            self.out.raw("* METADATA ").place(&get.place).raw(" (");
            for (i, (name, value)) in found.into_iter().enumerate() {
                self.out.raw(if i == 0 { "" } else { " " }).entry(name).raw(" ").value(value);
            }
            self.out.raw(")\r\n");
        }
        let code = longest.map(|size| format!("[METADATA LONGENTRIES {size}] "));
        let text = format!("{}GETMETADATA completed", code.unwrap_or_default());
        self.finish(tag, &text, Some(Expunges::Told));
    }

    /// All or nothing (RFC 5464 §4.3).
    pub(super) fn set_metadata(&mut self, tag: Tag, account: AccountId, set: SetMetadata) {
        if set.values.iter().any(|(_, value)| value.as_ref().is_some_and(|v| v.len() > MAX_VALUE)) {
            let text = format!("[METADATA MAXSIZE {MAX_VALUE}] This note is too long");
            return self.no(&tag, &text);
        }
        let server = set.place == Place::Server;
        if server && set.values.iter().any(|(entry, _)| entry.as_str() == ADMIN) {
            return self.no(&tag, "[NOPERM] This entry is made by the box");
        }
        self.ask_place(tag, account, set.place.clone(), move |session, tag, mailbox| {
            session.ask_annotations(account, mailbox, move |session, answer| {
                let mut known = match answer {
                    Ok(known) => known,
                    Err(error) => return session.failed(&tag, &error),
                };
                let mut batch = Batch::new();
                if let Some(mailbox) = mailbox {
                    // RFC 7162 §3.2.
                    batch.touch_mailbox(mailbox);
                }
                for (entry, value) in &set.values {
                    let owner = owner(account, mailbox, entry.is_shared());
                    let key = format!("{}{}", annotations_of(owner, mailbox), entry.as_str());
                    if let Some(value) = value {
                        known.insert(entry.as_str().to_owned(), value.clone());
                        batch.put_setting(&key, value.clone());
                    } else {
                        known.remove(entry.as_str());
                        batch.delete_setting(&key);
                    }
                }
                known.remove(ADMIN);
                if known.len() > MAX_ENTRIES {
                    return session.no(&tag, TOO_MANY);
                }
                session.keep_metadata(tag, account, mailbox, set, batch);
            });
        });
    }

    fn keep_metadata(
        &mut self,
        tag: Tag,
        account: AccountId,
        mailbox: Option<MailboxId>,
        set: SetMetadata,
        batch: Batch,
    ) {
        let shared = mailbox.is_none() && set.values.iter().any(|(entry, _)| entry.is_shared());
        let owner = owner(account, mailbox, shared);
        self.ask_settings(annotations(owner), move |session, answer| {
            let grows = set.values.iter().any(|(_, value)| value.is_some());
            match answer {
                Ok(all) if grows && all.len() + set.values.len() > MAX_ALL => {
                    return session.no(&tag, TOO_MANY);
                }
                Ok(_) => {}
                Err(error) => return session.failed(&tag, &error),
            }
            // Before others are told: what it did itself is no news for this client.
            for (entry, value) in &set.values {
                let digest = value.as_deref().map(digest);
                session.watch.annotated(mailbox, entry.as_str(), digest);
            }
            session.ask_commit(batch, move |session, answer| match answer {
                Ok(_) => session.finish(&tag, "SETMETADATA completed", Some(Expunges::Told)),
                Err(error) => session.failed(&tag, &error),
            });
        });
    }

    /// Finds the mailbox, or nothing for the server.
    fn ask_place(
        &mut self,
        tag: Tag,
        account: AccountId,
        place: Place,
        then: impl FnOnce(&mut Self, Tag, Option<MailboxId>) + Send + 'static,
    ) {
        let Place::Mailbox(name) = place else { return then(self, tag, None) };
        self.ask_mailbox(account, name, move |session, answer| match answer {
            Ok(Some(mailbox)) => then(session, tag, Some(mailbox.id)),
            Ok(None) => session.no(&tag, "[NONEXISTENT] There is no such mailbox"),
            Err(error) => session.failed(&tag, &error),
        });
    }

    fn ask_annotations(
        &mut self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        then: impl FnOnce(&mut Self, Result<Annotations, StoreError>) + Send + 'static,
    ) {
        let own = annotations_of(account, mailbox);
        self.ask_settings(format!("{own}/"), move |session, answer| {
            let mut known = match answer {
                Ok(settings) => by_entry(&own, settings),
                Err(error) => return then(session, Err(error)),
            };
            if mailbox.is_some() {
                return then(session, Ok(known));
            }
            let shared = annotations_of(AccountId::EVERYBODY, None);
            session.ask_settings(format!("{shared}/"), move |session, answer| {
                let answer = answer.map(|settings| {
                    known.append(&mut by_entry(&shared, settings));
                    if let Some(domain) = &session.identity.domain {
                        let admin = format!("mailto:postmaster@{}", domain.as_str());
                        known.insert(ADMIN.to_owned(), admin.into_bytes());
                    }
                    known
                });
                then(session, answer);
            });
        });
    }
}

const TOO_MANY: &str = "[METADATA TOOMANY] There are too many notes already: remove some";

/// Whose setting an annotation is.
fn owner(account: AccountId, mailbox: Option<MailboxId>, shared: bool) -> AccountId {
    if mailbox.is_none() && shared { AccountId::EVERYBODY } else { account }
}

fn by_entry(prefix: &str, settings: Vec<(String, Vec<u8>)>) -> Annotations {
    let entry = |key: String| key.strip_prefix(prefix).unwrap_or_default().to_owned();
    settings.into_iter().map(|(key, value)| (entry(key), value)).collect()
}

impl Output {
    fn place(&mut self, place: &Place) -> &mut Self {
        match place {
            Place::Server => self.raw("\"\""),
            Place::Mailbox(name) => self.mailbox(name.as_str()),
        }
    }

    /// The name of an entry.
    pub(super) fn entry(&mut self, name: &str) -> &mut Self {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.:".contains(&b);
        if name.bytes().all(plain) { self.raw(name) } else { self.string(name.as_bytes()) }
    }

    /// A value, binary where it has to be (RFC 3516 §4.4 `literal8`).
    fn value(&mut self, value: Option<&[u8]>) -> &mut Self {
        match value {
            Some(value) if value.contains(&0) => {
                self.raw("~").literal(value.len() as u64).bytes(value)
            }
            value => self.nstring(value),
        }
    }
}
