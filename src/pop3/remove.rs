//! What QUIT does to the messages that DELE marked: into the account's trash, or gone for good, as
//! its owner has it; durably, and all of them or none.

use crate::accounts::Removal;
use crate::mail::{MailboxName, SpecialUse, Uid};
use crate::store::{AccountId, Batch, Mailbox, MailboxId, Outcome, Store, StoreError};

/// What was done, and to how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// They are in the trash.
    Trashed(usize),
    /// They are gone.
    Deleted(usize),
}

/// Removes messages of an inbox.
pub(super) async fn remove(
    store: &Store,
    account: AccountId,
    inbox: MailboxId,
    uids: Vec<Uid>,
    how: Removal,
) -> Result<Removed, StoreError> {
    let done = match how {
        Removal::Delete => delete(store, inbox, uids).await,
        Removal::Trash => discard(store, account, inbox, uids).await,
    };
    match done {
        // The owner removed the account; its messages are gone with it.
        Err(StoreError::NoMailbox) => Ok(Removed::Deleted(0)),
        done => done,
    }
}

async fn delete(store: &Store, inbox: MailboxId, uids: Vec<Uid>) -> Result<Removed, StoreError> {
    let mut batch = Batch::new();
    batch.expunge(inbox, uids);
    let count = |outcome: &Outcome| match outcome {
        Outcome::Expunged(uids) => uids.len(),
        _ => 0,
    };
    Ok(Removed::Deleted(store.commit(batch).await?.iter().map(count).sum()))
}

async fn discard(
    store: &Store,
    account: AccountId,
    inbox: MailboxId,
    uids: Vec<Uid>,
) -> Result<Removed, StoreError> {
    let trash = trash(store, account).await?;
    let mut batch = Batch::new();
    batch.move_to(inbox, uids, trash);
    let count = |outcome: &Outcome| match outcome {
        Outcome::Copied { uids, .. } => uids.len(),
        _ => 0,
    };
    Ok(Removed::Trashed(store.commit(batch).await?.iter().map(count).sum()))
}

/// The account's trash: whatever its owner made that, or a new one.
async fn trash(store: &Store, account: AccountId) -> Result<MailboxId, StoreError> {
    let name: MailboxName =
        SpecialUse::Trash.default_name().parse().map_err(|_| StoreError::NoMailbox)?;
    let find = |store: Store, name: MailboxName| {
        super::server::blocking(move || {
            let is_trash = |mailbox: &Mailbox| mailbox.special_use == Some(SpecialUse::Trash);
            let marked = store.mailboxes(account)?.into_iter().find(is_trash);
            Ok(marked.or(store.find_mailbox(account, &name)?).map(|mailbox| mailbox.id))
        })
    };
    if let Some(trash) = find(store.clone(), name.clone()).await? {
        return Ok(trash);
    }
    let mut batch = Batch::new();
    batch.create_mailbox(account, name.clone(), Some(SpecialUse::Trash));
    match store.commit(batch).await {
        Ok(outcomes) => {
            let created = |outcome: &Outcome| match outcome {
                Outcome::Created(id) => Some(*id),
                _ => None,
            };
            outcomes.iter().find_map(created).ok_or(StoreError::NoMailbox)
        }
        // Somebody else made it meanwhile.
        Err(StoreError::MailboxExists) => {
            find(store.clone(), name).await?.ok_or(StoreError::NoMailbox)
        }
        Err(error) => Err(error),
    }
}
