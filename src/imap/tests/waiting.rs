//! A session that waits keeps no view of the index: the pages that others free are used again.

use std::time::Duration;

use super::*;
use crate::mail::{Flag, SystemFlag};
use crate::store::FlagChange;

/// Changes of flags, each of which writes the index anew at some places.
const CHANGES: usize = 300;

#[test]
fn a_session_that_waits_does_not_make_the_index_grow() {
    let alone = index_after(|_| Vec::new());
    let watched = index_after(|house| {
        ["a SELECT INBOX\r\n", "a SELECT INBOX\r\nb IDLE\r\n", "a EXAMINE INBOX\r\nb NOOP\r\n"]
            .map(|commands| {
                let mut client = house.client(993);
                client.log_in();
                client.send(commands.as_bytes(), usize::MAX);
                client
            })
            .into()
    });
    println!("the index has {alone} bytes alone, {watched} with three sessions");
    assert!(watched < alone + (1 << 20), "{alone} bytes alone, {watched} with three sessions");
}

/// Bytes of the index after many changes while these clients wait.
fn index_after(clients: fn(&'static House) -> Vec<Client<'static>>) -> u64 {
    // Lives as long as the clients that look into it.
    let options = Options { index_interval: Duration::ZERO, ..Options::default() };
    let house: &'static House = Box::leak(Box::new(House::with(options)));
    for number in 0..400 {
        house.deliver(format!("Subject: {number}\r\n\r\n").as_bytes());
    }
    let mut clients = clients(house);
    let inbox = house.store.find_mailbox(ALICE, &MailboxName::inbox()).unwrap().unwrap().id;
    let uids: Vec<_> = house.store.messages(inbox).unwrap().iter().map(|m| m.uid).collect();
    let seen: Flags = [Flag::System(SystemFlag::Seen)].into_iter().collect();
    for number in 0..CHANGES {
        let change = if number % 2 == 0 { FlagChange::Add } else { FlagChange::Remove };
        let mut batch = Batch::new();
        batch.set_flags(inbox, uids.clone(), change(seen.clone()), None);
        house.runtime.block_on(house.store.commit(batch)).unwrap();
        if number % 50 == 0 {
            // They hear of it, and go on waiting.
            clients.iter_mut().for_each(Client::pump);
        }
    }
    let after = house.store.stats().unwrap().index_bytes;
    house.runtime.block_on(house.store.clone().close()).unwrap();
    std::fs::remove_dir_all(house.folder.path()).unwrap();
    after
}
