//! Doing what a request asks. Answers are JSON for scripts; `cli` turns them into text for people.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{AccountCommand, JunkCommand, QueueCommand, Request};
use crate::accounts::Account;
use crate::mail::{Address, Uid};
use crate::office::Office;
use crate::policy::junk::Marks;
use crate::store::{AccountId, Batch, MailboxId, QueueId, StoreError};

/// Answers one request; an error is one line for a person.
pub async fn answer(office: &Arc<Office>, request: &Request) -> Result<Value, String> {
    match request {
        Request::Setup { file, answers } => office.set_up(file, answers).await.map_err(text),
        Request::Check { only } => {
            let report = office.check(only).await?;
            serde_json::to_value(report).map_err(text)
        }
        Request::Records => serde_json::to_value(office.records()?).map_err(text),
        Request::Keys => serde_json::to_value(office.key_standing()?).map_err(text),
        Request::RotateKeys { domain } => {
            serde_json::to_value(office.rotate_keys(domain.as_ref()).await?).map_err(text)
        }
        Request::MailReports { days } => {
            let (reports, days) = (office.mail_reports().clone(), *days);
            let summed = tokio::task::spawn_blocking(move || reports.summary(days));
            serde_json::to_value(summed.await.map_err(text)?.map_err(text)?).map_err(text)
        }
        Request::Account(command) => account(office, command).await,
        Request::Queue(command) => queue(office, command).await,
        Request::Junk(command) => junk(office, command).await,
        Request::StoreStats => stats(office).await,
        Request::StoreCompact => {
            let mut keeper = office.store().keeper();
            let compacted = tokio::task::spawn_blocking(move || keeper.compact());
            serde_json::to_value(compacted.await.map_err(text)?.map_err(text)?).map_err(text)
        }
        Request::StoreVerify => verify(office).await,
        // What follows is up to `carry`.
        Request::Import { address } | Request::Export { address } => {
            account_id(office, address).map(|_| json!({ "account": address }))
        }
    }
}

async fn stats(office: &Office) -> Result<Value, String> {
    let (store, search) = (office.store().clone(), Arc::clone(office.search()));
    let counted = tokio::task::spawn_blocking(move || {
        let stats = store.stats()?;
        Ok::<_, StoreError>((stats, search.stats(), search.unknown(&store)?))
    });
    let (stats, search, unknown) = counted.await.map_err(text)?.map_err(text)?;
    let mut value = serde_json::to_value(stats).map_err(text)?;
    value["search_bytes"] = search.file_bytes.into();
    value["search_bodies"] = search.bodies.into();
    value["search_behind"] = unknown.into();
    Ok(value)
}

/// Reads everything, and names the messages as their owners know them.
async fn verify(office: &Office) -> Result<Value, String> {
    let store = office.store().clone();
    let verified = tokio::task::spawn_blocking(move || store.verify());
    let verified = verified.await.map_err(text)?.map_err(text)?;
    office.store().keep_damage().await.map_err(text)?;
    let accounts = office.accounts().list();
    let named = |(mailbox, uid): &(MailboxId, Uid)| {
        let mailbox = office.store().mailbox(*mailbox).ok().flatten();
        let owner = mailbox.as_ref().map(|mailbox| mailbox.account);
        let owner = accounts.iter().find(|account| Some(account.id) == owner);
        json!({
            "account": owner.map(|account| &account.address),
            "mailbox": mailbox.map(|mailbox| mailbox.name.to_string()),
            "uid": uid.get(),
        })
    };
    let messages: Vec<Value> = verified.messages.iter().map(named).collect();
    let mut value = serde_json::to_value(&verified).map_err(text)?;
    value["messages"] = messages.into();
    Ok(value)
}

/// The account of this very address.
pub(super) fn account_id(office: &Office, address: &Address) -> Result<AccountId, String> {
    let accounts = office.accounts().list();
    let account = accounts.iter().find(|account| account.address.key() == address.key());
    account.map(|account| account.id).ok_or_else(|| {
        format!("there is no account {address}: `pillarbox account list` shows those there are")
    })
}

async fn account(office: &Office, command: &AccountCommand) -> Result<Value, String> {
    let accounts = office.accounts();
    match command {
        AccountCommand::Add { address, password } => {
            accounts.add(address.clone(), password.clone()).await.map_err(text)?;
            Ok(json!({ "added": address }))
        }
        AccountCommand::List => accounts.list().into_iter().map(|a| shown(office, &a)).collect(),
        AccountCommand::Quota { address, change } => {
            let store = office.store();
            let account = existing(office, address)?;
            let old = store.quota(account.id).map_err(text)?;
            let new = change.applied_to(old);
            if new != old {
                let mut batch = Batch::new();
                batch.set_quota(account.id, new);
                store.commit(batch).await.map_err(text)?;
            }
            shown(office, &account)
        }
        AccountCommand::Extensions { address, without } => {
            if let Some(without) = without {
                let known = known_extensions(without)?;
                accounts.set_without(address, known).await.map_err(text)?;
            }
            let account = existing(office, address)?;
            let without = accounts.without(&account.address).unwrap_or_default();
            let all: Vec<&str> = crate::imap::switchable().collect();
            Ok(json!({ "address": account.address, "extensions": all, "without": without }))
        }
        AccountCommand::Passwd { address, password } => {
            accounts.set_password(address, password.clone()).await.map_err(text)?;
            Ok(json!({ "changed": address }))
        }
        AccountCommand::Remove { address } => {
            accounts.remove(address).await.map_err(text)?;
            Ok(json!({ "removed": address }))
        }
        AccountCommand::AddDevice { address, name } => {
            let password = accounts.add_device(address, name).await.map_err(text)?;
            Ok(json!({ "address": address, "device": name, "password": password.expose() }))
        }
        AccountCommand::ListDevices { address } => {
            if let Some(address) = address {
                existing(office, address)?;
            }
            serde_json::to_value(accounts.devices(address.as_ref())).map_err(text)
        }
        AccountCommand::RevokeDevice { address, name } => {
            accounts.revoke_device(address, name).await.map_err(text)?;
            Ok(json!({ "revoked": name }))
        }
        AccountCommand::Pop3 { address, dele } => {
            if let Some(dele) = dele {
                accounts.set_pop3_removal(address, *dele).await.map_err(text)?;
            }
            let account = existing(office, address)?;
            Ok(json!({ "address": account.address, "dele": accounts.pop3_removal(account.id) }))
        }
        AccountCommand::AddAlias { alias, target } => {
            accounts.add_alias(alias.clone(), target.clone()).await.map_err(text)?;
            Ok(json!({ "added": alias }))
        }
        AccountCommand::ListAliases => Ok(accounts
            .aliases()
            .into_iter()
            .map(|(alias, targets): (Address, Vec<Address>)| {
                json!({ "alias": alias, "targets": targets })
            })
            .collect()),
        AccountCommand::RemoveAlias { alias } => {
            accounts.remove_alias(alias).await.map_err(text)?;
            Ok(json!({ "removed": alias }))
        }
    }
}

/// Extensions as they are announced, each once, however they were written.
fn known_extensions(names: &[String]) -> Result<Vec<String>, String> {
    let mut known = BTreeSet::new();
    for name in names {
        let found = crate::imap::switchable().find(|one| one.eq_ignore_ascii_case(name));
        let all = || crate::imap::switchable().collect::<Vec<_>>().join(" ");
        known.insert(found.ok_or_else(|| {
            format!("{name} is no extension that can be switched off; these are: {}", all())
        })?);
    }
    Ok(known.into_iter().map(str::to_owned).collect())
}

fn existing(office: &Office, address: &Address) -> Result<Account, String> {
    let mut accounts = office.accounts().list().into_iter();
    let found = accounts.find(|account| account.address.key() == address.key());
    found.ok_or_else(|| format!("there is no account {address}"))
}

/// An account with what it holds and may hold.
fn shown(office: &Office, account: &Account) -> Result<Value, String> {
    let store = office.store();
    Ok(json!({
        "address": account.address,
        "devices": account.devices,
        "usage": store.usage(account.id).map_err(text)?,
        "quota": store.quota(account.id).map_err(text)?,
    }))
}

async fn queue(office: &Office, command: &QueueCommand) -> Result<Value, String> {
    let queue = office.queue()?;
    match command {
        QueueCommand::List => serde_json::to_value(queue.list().map_err(text)?).map_err(text),
        QueueCommand::Show { id } => {
            let items = queue.list().map_err(text)?;
            let item = items
                .into_iter()
                .find(|item| item.id == QueueId(*id))
                .ok_or_else(|| crate::queue::QueueError::Missing(*id).to_string())?;
            serde_json::to_value(item).map_err(text)
        }
        QueueCommand::Retry { id } => {
            queue.retry(id.map(QueueId)).await.map_err(text)?;
            Ok(json!({ "due": id }))
        }
        QueueCommand::Hold { id } => {
            queue.hold(QueueId(*id)).await.map_err(text)?;
            Ok(json!({ "held": id }))
        }
        QueueCommand::Release { id } => {
            queue.release(QueueId(*id)).await.map_err(text)?;
            Ok(json!({ "released": id }))
        }
        QueueCommand::Drop { id } => {
            queue.discard(QueueId(*id)).await.map_err(text)?;
            Ok(json!({ "dropped": id }))
        }
        QueueCommand::Ledger => Ok(queue
            .ledger()
            .map_err(text)?
            .into_iter()
            .map(|(address, entry)| json!({ "address": address, "entry": entry }))
            .collect()),
        QueueCommand::Lift { address } => {
            queue.lift(address).await.map_err(text)?;
            Ok(json!({ "lifted": address }))
        }
    }
}

async fn junk(office: &Office, command: &JunkCommand) -> Result<Value, String> {
    let (accounts, usual) = (office.accounts(), office.usual_marks());
    let address = match command {
        JunkCommand::Show { address } => address,
        JunkCommand::Marks { address, own } => {
            accounts.set_junk_marks(address, *own).await.map_err(text)?;
            address
        }
        JunkCommand::Delayed => return serde_json::to_value(office.asked_back()).map_err(text),
    };
    let account = existing(office, address)?;
    let own = accounts.junk_marks(account.id);
    let lessons = office.junk().lessons(account.id).map_err(text)?;
    Ok(json!({
        "address": account.address,
        "marks": own.map_or(usual, Marks::from),
        "own": own.is_some(),
        "usual": usual,
        "learned": { "junk": lessons.spam, "wanted": lessons.ham },
        "learned_counts": lessons.are_heard(),
    }))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
