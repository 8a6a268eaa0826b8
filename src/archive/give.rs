//! The end at the store of an export: offers what an account holds, mailbox by mailbox in pages,
//! and sends what is wanted.

use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::net::UnixStream;

use super::wire::{FromAccount, Kept, MAX_OFFER, PIECE, hear, say, send_broken, send_message};
use crate::store::{AccountId, Mailbox, Message, Store, StoreError};

/// Sends an account's mail over the line. Blocks.
pub fn give(store: &Store, account: AccountId, line: &UnixStream) -> io::Result<()> {
    let mut giver =
        Giver { store, from: BufReader::new(line), to: BufWriter::with_capacity(PIECE, line) };
    let last = match giver.account(account)? {
        Ok(()) => FromAccount::End,
        Err(error) => FromAccount::Stopped(error.to_string()),
    };
    say(&mut giver.to, &last)
}

struct Giver<'a> {
    store: &'a Store,
    from: BufReader<&'a UnixStream>,
    to: BufWriter<&'a UnixStream>,
}

/// The inner error is the store's.
type Given = io::Result<Result<(), StoreError>>;

impl Giver<'_> {
    fn account(&mut self, account: AccountId) -> Given {
        let mailboxes = match self.store.mailboxes(account) {
            Ok(mailboxes) => mailboxes,
            Err(error) => return Ok(Err(error)),
        };
        let messages = mailboxes.iter().map(|mailbox| u64::from(mailbox.messages)).sum();
        let bytes = mailboxes.iter().map(|mailbox| mailbox.size).sum();
        say(&mut self.to, &FromAccount::Overview { messages, bytes })?;
        for mailbox in &mailboxes {
            if let Err(error) = self.mailbox(mailbox)? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    fn mailbox(&mut self, mailbox: &Mailbox) -> Given {
        let folder = FromAccount::Folder {
            name: mailbox.name.clone(),
            subscribed: mailbox.subscribed,
            validity: mailbox.uid_validity,
        };
        say(&mut self.to, &folder)?;
        let mut after = None;
        loop {
            let page = match self.store.messages_after(mailbox.id, after, MAX_OFFER) {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            let Some(last) = page.last() else { return Ok(Ok(())) };
            after = Some(last.uid);
            say(&mut self.to, &FromAccount::Offer(page.iter().map(kept).collect()))?;
            let wanted: Vec<usize> = match hear(&mut self.from)? {
                Some(wanted) => wanted,
                // Whoever asked has enough.
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
            for message in wanted.iter().filter_map(|number| page.get(*number)) {
                match self.store.read(&message.content) {
                    // A reason that it breaks off is told over there.
                    Ok(mut reader) => drop(send_message(&mut self.to, &mut reader)?),
                    Err(error) => send_broken(&mut self.to, &error.to_string())?,
                }
            }
            self.to.flush()?;
        }
    }
}

fn kept(message: &Message) -> Kept {
    Kept {
        uid: message.uid,
        size: message.content.size(),
        flags: message.flags.clone(),
        date: message.internal_date,
    }
}
