//! Mail for accounts that have no room for it.

use super::*;
use crate::store::Quota;

impl Office {
    /// Lets an account hold so many bytes.
    async fn limit(&self, address: &str, bytes: u64) {
        let lookup = self.accounts.lookup(&super::address(address));
        let crate::accounts::Lookup::Account(account) = lookup else { panic!("nobody") };
        let mut batch = Batch::new();
        batch.set_quota(account, Quota { bytes: Some(bytes), messages: None });
        self.store.commit(batch).await.unwrap();
    }

    async fn with_bob() -> Self {
        let office = Self::new(2, OutboundMode::Hold).await;
        let password = Password::new("long enough".into());
        office.accounts.add(address("bob@example.org"), password).await.unwrap();
        office
    }

    fn has_room(&self, to: &str, size: impl Into<Option<u64>>) -> bool {
        self.queue.has_room(&address(to), size.into()).unwrap()
    }
}

fn refused(result: &Result<Accepted, AcceptError>) -> bool {
    matches!(result, Err(AcceptError::Store(StoreError::OverQuota)))
}

#[tokio::test]
async fn a_message_nobody_has_room_for_is_refused_whole() {
    let office = Office::with_bob().await;
    office.limit("alice@example.org", 10).await;
    let (alice, bob) = ("alice@example.org", "bob@example.org");
    assert!(refused(&office.send("eve@example.com", &[alice], Source::Stranger).await));
    office.limit("bob@example.org", 10).await;
    assert!(refused(&office.send("eve@example.com", &[alice, bob], Source::Stranger).await));
    assert!(office.inbox().is_empty());
}

#[tokio::test]
async fn one_full_mailbox_keeps_no_message_from_others_and_is_refused_at_the_door_from_then_on() {
    let office = Office::with_bob().await;
    // Room at the door, where no size was announced; none for the message.
    office.limit("alice@example.org", 10).await;
    assert!(office.has_room("alice@example.org", None));
    let to = ["alice@example.org", "bob@example.org"];
    let accepted = office.send("eve@example.com", &to, Source::Stranger).await.unwrap();
    assert_eq!(accepted, Accepted { queued: None, delivered: 2 });
    assert_eq!(office.inbox().len(), 1);
    assert!(!office.has_room("alice@example.org", None));
    assert!(office.has_room("bob@example.org", 1 << 40));
    // The same with somebody elsewhere.
    let to = ["alice@example.org", "carol@example.net"];
    let alice = Source::Account(crate::store::AccountId(1));
    let accepted = office.send("alice@example.org", &to, alice).await.unwrap();
    assert!(accepted.queued.is_some());
    // Nothing was returned to anybody.
    assert_eq!(office.queue.list().unwrap().len(), 1);
}

#[tokio::test]
async fn an_alias_has_room_while_one_behind_it_has() {
    let office = Office::with_bob().await;
    for target in ["alice@example.org", "bob@example.org"] {
        office.accounts.add_alias(address("family@example.org"), address(target)).await.unwrap();
    }
    office.limit("alice@example.org", 10).await;
    assert!(office.has_room("family@example.org", 1000));
    office.limit("bob@example.org", 999).await;
    assert!(!office.has_room("family@example.org", 1000));
    assert!(office.has_room("family@example.org", 999));
    assert!(office.has_room("nobody@example.org", 1000), "that is for others to say");
    let elsewhere = address("aunt@example.net");
    office.accounts.add_alias(address("family@example.org"), elsewhere).await.unwrap();
    assert!(office.has_room("family@example.org", 1000));
}

#[tokio::test]
async fn notices_of_the_box_reach_a_full_mailbox() {
    let office = Office::with_bob().await;
    office.limit("alice@example.org", 0).await;
    office.send("", &["alice@example.org"], Source::Own).await.unwrap();
    assert_eq!(office.inbox().len(), 1);
    assert!(refused(&office.send("", &["alice@example.org"], Source::Stranger).await));
}

#[tokio::test]
async fn what_is_held_of_one_account_does_not_fill_the_card() {
    let office = Office::new(2, OutboundMode::Direct).await;
    let incoming = office.incoming("alice@example.org", &["bob@example.net"]).await;
    let bob = address("bob@example.net");
    let recipient = states::Recipient::new(bob, None, crate::mail::RecipientRequests::default());
    let state = State::new(&incoming, vec![recipient], Hold::Limit).encode();
    let mut batch = Batch::new();
    for _ in 1..MOST_HELD {
        batch.enqueue(&incoming.trace, &incoming.body, state.clone());
    }
    office.store.commit(batch).await.unwrap();
    let held = Terms { held: true, ..Terms::default() };
    let accept = async |terms| {
        let incoming = office.incoming("alice@example.org", &["bob@example.net"]).await;
        office.queue.accept_on(incoming, terms).await
    };
    assert!(accept(&held).await.is_ok(), "the last one");
    assert!(matches!(accept(&held).await, Err(AcceptError::Held(MOST_HELD))));
    assert_eq!(office.queue.list().unwrap().len(), MOST_HELD);
    // When the day has passed the account may send again.
    assert!(accept(&Terms::default()).await.is_ok());
}
