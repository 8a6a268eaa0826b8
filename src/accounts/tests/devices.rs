//! What is known of devices, and what becomes of mail that POP3 deletes.

use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::accounts::uses::LastUse;

fn open_at(folder: &Path, clock: &Arc<Told>) -> (Accounts, Store) {
    let store = Store::open(folder, Options::default()).unwrap();
    let clock: SharedClock = Arc::clone(clock) as SharedClock;
    let domains = vec!["x.org".parse().unwrap()];
    (Accounts::open_with(store.clone(), domains, CHEAP, clock).unwrap(), store)
}

impl Told {
    fn advance(&self, by: SignedDuration) {
        let mut told = self.0.lock().unwrap();
        told.0 += by;
    }
}

fn stored(store: &Store, account: AccountId) -> String {
    String::from_utf8(store.setting(&format!("account/{}", account.0)).unwrap().unwrap()).unwrap()
}

/// Lets the tasks that wait do their work.
async fn settle(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    for _ in 0..40 {
        // The store has threads of its own, to which a clock that is moved means nothing.
        std::thread::sleep(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_device_tells_when_it_was_made_and_used_and_from_where() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let (accounts, store) = open_at(folder.path(), &clock);
    let alice = address("alice@x.org");
    let id = accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    let phone = accounts.add_device(&alice, "Phone").await.unwrap();
    let [made] = accounts.devices(Some(&alice)).try_into().unwrap();
    assert_eq!(
        (made.name.as_str(), made.created, made.last_use),
        ("Phone", Some(clock.now()), None)
    );

    clock.advance(SignedDuration::from_mins(5));
    tokio::time::pause();
    let from = "2001:db8:1:2:3::4".parse().unwrap();
    let login = accounts.authenticate("alice@x.org", phone.clone(), from).await.unwrap();
    accounts.called_itself(&login, "iPhone Mail 19\r\n");
    let at = clock.now();
    let client = Some("iPhone Mail 19".to_owned());
    let last = LastUse { at, from: "2001:db8:1:2::/64".to_owned(), client: client.clone() };
    let used = |accounts: &Accounts| accounts.devices(None).remove(0).last_use;
    assert_eq!(used(&accounts), Some(last.clone()));
    assert!(!stored(&store, id).contains("last_use"), "written before the program is known");
    settle(11).await;
    assert!(stored(&store, id).contains("iPhone Mail 19"));

    // By proof, through another protocol; the name stays known.
    clock.advance(SignedDuration::from_mins(1));
    prove(&accounts, "alice@x.org", phone.expose()).await.unwrap();
    let second = LastUse { at: clock.now(), from: "192.0.2.1".to_owned(), client };
    assert_eq!(used(&accounts), Some(second));
    tokio::time::resume();
    drop(accounts);
    store.close().await.unwrap();
    let (accounts, _store) = open_at(folder.path(), &clock);
    assert_eq!(used(&accounts), Some(last), "what was written outlasts a restart");
    accounts.revoke_device(&alice, "Phone").await.unwrap();
    accounts.add_device(&alice, "Phone").await.unwrap();
    assert_eq!(used(&accounts), None, "a new password was used before it was made");
}

#[tokio::test]
async fn a_device_that_logs_in_all_day_is_written_once_an_hour() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let (accounts, store) = open_at(folder.path(), &clock);
    let alice = address("alice@x.org");
    let id = accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    let phone = accounts.add_device(&alice, "Phone").await.unwrap();
    let mut changes = accounts.changes();
    changes.mark_unchanged();
    tokio::time::pause();
    let mut written = 0;
    for _ in 0..150 {
        accounts.authenticate("alice@x.org", phone.clone(), peer(7)).await.unwrap();
        settle(60).await;
        clock.advance(SignedDuration::from_mins(1));
        if changes.has_changed().unwrap() {
            changes.mark_unchanged();
            written += 1;
        }
    }
    assert!((2..=4).contains(&written), "{written} times in two and a half hours");
    assert!(stored(&store, id).contains("192.0.2.7"));
}

#[tokio::test]
async fn while_the_time_is_unknown_no_time_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    clock.0.lock().unwrap().1 = ClockTrust::Unknown;
    let (accounts, _store) = open_at(folder.path(), &clock);
    let alice = address("alice@x.org");
    accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    let phone = accounts.add_device(&alice, "Phone").await.unwrap();
    accounts.authenticate("alice@x.org", phone, peer(1)).await.unwrap();
    let [known] = accounts.devices(None).try_into().unwrap();
    assert_eq!((known.created, known.last_use), (None, None));
}

#[tokio::test]
async fn a_device_need_not_wait_for_what_others_guess_however_it_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    let alice = address("alice@x.org");
    accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    let phone = accounts.add_device(&alice, "Phone").await.unwrap();
    for number in 0..6 {
        let _ = login(&accounts, "alice@x.org", &format!("guess {number}")).await;
    }
    let own = prove(&accounts, "alice@x.org", "correct horse").await;
    assert!(matches!(own, Err(AuthError::Throttled(_))), "{own:?}");
    prove(&accounts, "alice@x.org", phone.expose()).await.unwrap();
    login(&accounts, "alice@x.org", phone.expose()).await.unwrap();
}

#[tokio::test]
async fn no_more_than_two_passwords_are_hashed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    accounts.add(address("alice@x.org"), password("correct horse")).await.unwrap();
    let hashed = || accounts.inner.hasher.hashed.load(Ordering::SeqCst);
    let before = hashed();
    let turns =
        (accounts.inner.hasher.turn().await.unwrap(), accounts.inner.hasher.turn().await.unwrap());
    let guesses: Vec<_> = (0..4)
        .map(|host| {
            let accounts = accounts.clone();
            let guess = password("wrong horse");
            tokio::spawn(
                async move { accounts.authenticate("alice@x.org", guess, peer(host)).await },
            )
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(hashed() - before, 0, "a third began while two were at work");
    drop(turns);
    for guess in guesses {
        assert!(matches!(guess.await.unwrap(), Err(AuthError::Wrong)));
    }
    assert_eq!(hashed() - before, 4);
}

#[tokio::test]
async fn what_pop3_deletes_goes_to_the_trash_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, store) = open(folder.path());
    let alice = address("alice@x.org");
    let id = accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    assert_eq!(accounts.pop3_removal(id), Removal::Trash);
    accounts.set_pop3_removal(&alice, Removal::Delete).await.unwrap();
    let domains = vec!["x.org".parse().unwrap()];
    let again = Accounts::open_with(store, domains, CHEAP, clock()).unwrap();
    assert_eq!(again.pop3_removal(id), Removal::Delete);
    assert!(accounts.set_pop3_removal(&address("bob@x.org"), Removal::Delete).await.is_err());
}
