//! The end at the store of an import: says which of the messages offered are missing, takes their
//! bytes in, and commits each offer as one batch, durable before it is confirmed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::net::UnixStream;

use tokio::runtime::Handle;

use super::known::Known;
use super::wire::{
    Digest, DigestKey, FromStore, Head, Piece, Taken, ToStore, Wish, hear, next_piece, say,
};
use crate::mail::{MailboxName, SpecialUse};
use crate::store::{AccountId, Batch, Body, Mailbox, MailboxId, Outcome, Store, StoreError};

/// Entries of [`Known`] held over all mailboxes, some 20 bytes each.
const MAX_KNOWN: usize = 600_000;

/// Takes in what comes over the line, until the other side is done. Blocks; `runtime` is where
/// the store is waited for.
pub fn receive(
    store: &Store,
    account: AccountId,
    line: &UnixStream,
    runtime: &Handle,
) -> io::Result<()> {
    let key = DigestKey::draw()?;
    let mut from = BufReader::new(line);
    let mut to = BufWriter::new(line);
    say(&mut to, &FromStore::Key(key))?;
    let mut receiver = Receiver {
        store,
        account,
        runtime,
        key,
        folders: vec![],
        made: vec![],
        known: BTreeMap::new(),
    };
    while let Some(heard) = hear(&mut from)? {
        let answer = match heard {
            ToStore::Folder(wish) => receiver.folder(&wish).map(|()| FromStore::Ready),
            ToStore::Offer(heads) => match receiver.missing(&heads) {
                Ok(wanted) => {
                    say(&mut to, &FromStore::Wanted(wanted.clone()))?;
                    receiver.take(&heads, &wanted, &mut from)?.map(FromStore::Taken)
                }
                Err(error) => Err(error),
            },
        };
        match answer {
            Ok(answer) => say(&mut to, &answer)?,
            Err(error) => {
                receiver.take_back();
                return say(&mut to, &FromStore::Stopped(advice(&error)));
            }
        }
    }
    Ok(())
}

/// What happened, and how to go on.
fn advice(error: &StoreError) -> String {
    match error {
        StoreError::NoMailbox => {
            "a mailbox was removed meanwhile; run the same command again to go on".to_owned()
        }
        error => format!("{error}; then run the same command again: it goes on where it stopped"),
    }
}

struct Receiver<'a> {
    store: &'a Store,
    account: AccountId,
    runtime: &'a Handle,
    key: DigestKey,
    /// Mailboxes by the numbers the other side gives them.
    folders: Vec<MailboxId>,
    /// Those that were not there before, parents first.
    made: Vec<MailboxId>,
    known: BTreeMap<MailboxId, Known>,
}

impl Receiver<'_> {
    fn folder(&mut self, wish: &Wish) -> Result<(), StoreError> {
        let mailboxes = self.store.mailboxes(self.account)?;
        let (name, special_use) = target(wish, &mailboxes);
        if let Some(mailbox) = mailboxes.iter().find(|mailbox| mailbox.name == name) {
            self.folders.push(mailbox.id);
            if wish.subscribed == Some(true) && !mailbox.subscribed {
                let mut batch = Batch::new();
                batch.subscribe(mailbox.id, true);
                self.commit(batch)?;
            }
            return Ok(());
        }
        let mut batch = Batch::new();
        for (at, _) in name.as_str().match_indices(MailboxName::SEPARATOR) {
            let parent = name.as_str().get(..at).and_then(|parent| parent.parse().ok());
            let Some(parent) = parent.filter(|parent| !parent_exists(&mailboxes, parent)) else {
                continue;
            };
            batch.create_mailbox(self.account, parent, None);
        }
        batch.create_mailbox(self.account, name.clone(), special_use);
        match self.commit(batch) {
            Ok(outcomes) => self.made.extend(outcomes.iter().filter_map(|outcome| match outcome {
                Outcome::Created(id) => Some(*id),
                _ => None,
            })),
            // Somebody may have made it meanwhile.
            Err(StoreError::MailboxExists) => {}
            Err(error) => return Err(error),
        }
        let made = self.store.find_mailbox(self.account, &name)?.ok_or(StoreError::NoMailbox)?;
        if wish.subscribed == Some(false) {
            let mut batch = Batch::new();
            batch.subscribe(made.id, false);
            self.commit(batch)?;
        }
        self.folders.push(made.id);
        Ok(())
    }

    /// Removes the mailboxes that were made for mail which then could not be taken.
    fn take_back(&self) {
        for id in self.made.iter().rev() {
            let removed = self.store.mailboxes(self.account).and_then(|mailboxes| {
                let Some(made) = mailboxes.iter().find(|mailbox| mailbox.id == *id) else {
                    return Ok(());
                };
                let below = format!("{}{}", made.name, MailboxName::SEPARATOR);
                let parent = mailboxes.iter().any(|other| other.name.as_str().starts_with(&below));
                if made.messages > 0 || parent {
                    return Ok(());
                }
                let mut batch = Batch::new();
                batch.delete_mailbox(*id);
                self.commit(batch).map(drop)
            });
            if let Err(error) = removed {
                // The next run of the import finds it there and uses it.
                tracing::info!(%error, "an empty mailbox stays");
            }
        }
    }

    /// Positions of the messages that some mailbox lacks.
    fn missing(&mut self, heads: &[Head]) -> Result<Vec<usize>, StoreError> {
        let mut offered = HashSet::new();
        let mut missing = Vec::new();
        for (number, head) in heads.iter().enumerate() {
            let mut lacks = false;
            for mailbox in self.mailboxes_of(head)? {
                let store = self.store;
                let known = self.known(mailbox)?.holds(store, head.size, head.digest)?;
                lacks |= !known && offered.insert((mailbox, head.digest));
            }
            if lacks {
                missing.push(number);
            }
        }
        Ok(missing)
    }

    /// Takes the bytes of an offer and commits it. The inner error stops the import.
    fn take(
        &mut self,
        heads: &[Head],
        wanted: &[usize],
        from: &mut BufReader<&UnixStream>,
    ) -> io::Result<Result<Taken, StoreError>> {
        let mut bodies = BTreeMap::new();
        let mut taken = Taken::default();
        let mut failure = None;
        for &number in wanted {
            let Some(head) = heads.get(number) else { continue };
            match self.body(head, from, failure.is_some())? {
                Ok(Some(body)) => drop(bodies.insert(number, body)),
                Ok(None) => taken.broken.push(number),
                // The rest of the offer is on its way and has to be passed over.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Ok(match failure {
            Some(error) => Err(error),
            None => self.add(heads, &bodies, taken),
        })
    }

    /// The bytes of one message; nothing when they are not those that were offered.
    fn body(
        &mut self,
        head: &Head,
        from: &mut BufReader<&UnixStream>,
        skip: bool,
    ) -> io::Result<Result<Option<Body>, StoreError>> {
        let mut writer = (!skip).then(|| self.store.new_body());
        let mut hasher = self.key.hasher();
        let mut failure = None;
        let mut piece = Vec::new();
        loop {
            match next_piece(from, &mut piece)? {
                Piece::Bytes => {}
                Piece::End => break,
                Piece::Broken(_) => {
                    writer = None;
                    break;
                }
            }
            hasher.update(&piece);
            if let Some(open) = &mut writer
                && let Err(error) = self.runtime.block_on(open.write(&piece))
            {
                failure = Some(error);
                writer = None;
            }
        }
        if let Some(error) = failure {
            return Ok(Err(error));
        }
        let whole = |len: u64| len == head.size && hasher.finish() == head.digest;
        Ok(match writer.filter(|writer| whole(writer.len())) {
            Some(writer) => self.runtime.block_on(writer.finish()).map(Some),
            None => Ok(None),
        })
    }

    fn add(
        &mut self,
        heads: &[Head],
        bodies: &BTreeMap<usize, Body>,
        mut taken: Taken,
    ) -> Result<Taken, StoreError> {
        let mut batch = Batch::new();
        let mut added: HashSet<(MailboxId, Digest)> = HashSet::new();
        for (number, head) in heads.iter().enumerate() {
            if taken.broken.contains(&number) {
                continue;
            }
            for mailbox in self.mailboxes_of(head)? {
                let store = self.store;
                let lacks = !self.known(mailbox)?.holds(store, head.size, head.digest)?;
                match bodies.get(&number) {
                    _ if !lacks || added.contains(&(mailbox, head.digest)) => taken.present += 1,
                    Some(body) => {
                        batch.add_message(mailbox, &[], body, head.flags.clone(), head.date);
                        added.insert((mailbox, head.digest));
                        taken.added += 1;
                    }
                    // The one of the same bytes that was wanted broke off.
                    None => taken.broken.push(number),
                }
            }
        }
        self.commit(batch)?;
        for (mailbox, digest) in added {
            self.known(mailbox)?.add(digest);
        }
        Ok(taken)
    }

    fn mailboxes_of(&self, head: &Head) -> Result<BTreeSet<MailboxId>, StoreError> {
        let mailbox = |number: &usize| self.folders.get(*number).copied();
        let mailboxes: Option<BTreeSet<MailboxId>> = head.folders.iter().map(mailbox).collect();
        mailboxes.ok_or(StoreError::NoMailbox)
    }

    fn known(&mut self, mailbox: MailboxId) -> Result<&mut Known, StoreError> {
        if !self.known.contains_key(&mailbox) {
            let held: usize = self.known.values().map(Known::len).sum();
            if held > MAX_KNOWN {
                self.known.clear();
            }
            self.known.insert(mailbox, Known::load(self.store, mailbox, self.key)?);
        }
        self.known.get_mut(&mailbox).ok_or(StoreError::NoMailbox)
    }

    fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        self.runtime.block_on(self.store.commit(batch))
    }
}

/// Which mailbox a folder becomes: the one that has its use, whatever its name here, or one of its
/// own name, which gets the use when none has it.
fn target(wish: &Wish, mailboxes: &[Mailbox]) -> (MailboxName, Option<SpecialUse>) {
    let Some(special) = wish.special_use else { return (wish.name.clone(), None) };
    match mailboxes.iter().find(|mailbox| mailbox.special_use == Some(special)) {
        Some(mailbox) => {
            let name = format!("{}{}", mailbox.name, wish.below).parse();
            (name.unwrap_or_else(|_| wish.name.clone()), None)
        }
        None => (wish.name.clone(), wish.below.is_empty().then_some(special)),
    }
}

fn parent_exists(mailboxes: &[Mailbox], parent: &MailboxName) -> bool {
    mailboxes.iter().any(|mailbox| mailbox.name == *parent)
}
