//! The directory against a real store, with cheap hashes.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::Ordering;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use jiff::Timestamp;

use super::sasl::scram::client::Client;
use super::sasl::scram::{self, Salted, Step};
use super::*;
use crate::clock::Clock;
use crate::net::Bindings;
use crate::store::Options;

mod devices;
mod extensions;

const CHEAP: Cost = Cost { memory: 8, passes: 1, rounds: NonZeroU32::MIN };

fn open(folder: &Path) -> (Accounts, Store) {
    let store = Store::open(folder, Options::default()).unwrap();
    let domains = vec!["x.org".parse().unwrap(), "y.org".parse().unwrap()];
    (Accounts::open_with(store.clone(), domains, CHEAP, clock()).unwrap(), store)
}

/// A clock that says what it is told.
struct Told(Mutex<(Timestamp, ClockTrust)>);

impl Clock for Told {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    fn trust(&self) -> ClockTrust {
        self.0.lock().unwrap().1
    }
}

fn clock() -> Arc<Told> {
    let noon = "2026-12-01T12:00:00Z".parse().unwrap();
    Arc::new(Told(Mutex::new((noon, ClockTrust::Synced))))
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

fn peer(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

async fn login(accounts: &Accounts, name: &str, secret: &str) -> Result<Login, AuthError> {
    accounts.authenticate(name, password(secret), peer(1)).await
}

#[tokio::test]
async fn a_new_account_has_its_mailboxes_and_can_log_in_in_any_case() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, store) = open(folder.path());
    let id = accounts.add(address("Alice@x.org"), password("correct horse")).await.unwrap();
    let mailboxes = store.mailboxes(id).unwrap();
    let mut names: Vec<_> = mailboxes.iter().map(|mailbox| mailbox.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    let uses = mailboxes.iter().filter_map(|mailbox| mailbox.special_use).count();
    assert_eq!(uses, SpecialUse::ALL.len());
    for name in ["Alice@x.org", "ALICE@X.ORG", "alice@x.org"] {
        let login = login(&accounts, name, "correct horse").await.unwrap();
        assert_eq!((login.account, login.device), (id, None));
        assert_eq!(login.address, address("Alice@x.org"));
    }
    for (name, secret) in [
        ("alice@x.org", "correct Horse"),
        ("alice@y.org", "correct horse"),
        ("alice+tag@x.org", "correct horse"),
        ("alice", "correct horse"),
    ] {
        let answer = login(&accounts, name, secret).await;
        assert!(matches!(answer, Err(AuthError::Wrong)), "{name} {secret}: {answer:?}");
    }
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_numbers_are_never_reused() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, store) = open(folder.path());
    let alice = accounts.add(address("alice@x.org"), password("correct horse")).await.unwrap();
    let bob = accounts.add(address("bob@x.org"), password("battery staple")).await.unwrap();
    accounts.add_alias(address("family@x.org"), address("alice@x.org")).await.unwrap();
    accounts.add_alias(address("family@x.org"), address("bob@x.org")).await.unwrap();
    accounts.add_alias(address("rob@x.org"), address("BOB@x.org")).await.unwrap();
    let phone = accounts.add_device(&address("alice@x.org"), "phone").await.unwrap();
    accounts.remove(&address("bob@x.org")).await.unwrap();
    assert!(store.mailboxes(bob).unwrap().is_empty());
    let lists = (accounts.list(), accounts.aliases());
    drop(accounts);
    store.close().await.unwrap();

    let (accounts, _store) = open(folder.path());
    assert_eq!((accounts.list(), accounts.aliases()), lists);
    assert_eq!(lists.0.len(), 1);
    assert_eq!(lists.1, [(address("family@x.org"), vec![address("alice@x.org")])]);
    assert_eq!(accounts.lookup(&address("bob@x.org")), Lookup::NoSuchUser);
    let login = login(&accounts, "alice@x.org", phone.expose()).await.unwrap();
    assert_eq!((login.account, login.device.as_deref()), (alice, Some("phone")));
    let carol = accounts.add(address("bob@x.org"), password("battery staple")).await.unwrap();
    assert!(carol > bob, "{carol:?} was given before");
}

#[tokio::test]
async fn of_two_who_add_the_same_address_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, store) = open(folder.path());
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let accounts = accounts.clone();
            let name = if number % 2 == 0 { "alice@x.org" } else { "Alice@x.org" };
            tokio::spawn(async move { accounts.add(address(name), password("12345678")).await })
        })
        .collect();
    let mut made = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(id) => made.push(id),
            Err(error) => assert!(matches!(error, AccountError::Exists(_)), "{error}"),
        }
    }
    assert_eq!(made.len(), 1);
    assert_eq!(accounts.list().len(), 1);
    assert_eq!(store.stats().unwrap().accounts, 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_memory_and_store_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, store) = open(folder.path());
    for number in 0..20 {
        let add = accounts.add(address(&format!("a{number}@x.org")), password("12345678"));
        let wait = std::time::Duration::from_micros(number * 200);
        let _ = tokio::time::timeout(wait, add).await;
    }
    // Waits for whatever is still being made.
    accounts.add(address("last@x.org"), password("12345678")).await.unwrap();
    let stored = store.settings("account/").unwrap();
    assert_eq!(accounts.list().len(), stored.len());
}

#[tokio::test]
async fn an_unknown_login_costs_as_much_work_as_a_wrong_password() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    accounts.add(address("alice@x.org"), password("correct horse")).await.unwrap();
    accounts.add_device(&address("alice@x.org"), "phone").await.unwrap();
    let hashed = |accounts: &Accounts| accounts.inner.hasher.hashed.load(Ordering::SeqCst);
    let mut costs = Vec::new();
    for name in ["alice@x.org", "nobody@x.org", "no address", "a@elsewhere.org"] {
        let before = hashed(&accounts);
        login(&accounts, name, "wrong").await.unwrap_err();
        costs.push(hashed(&accounts) - before);
        // The same once more is known to be wrong, whether the account exists or not.
        login(&accounts, name, "wrong").await.unwrap_err();
        costs.push(hashed(&accounts) - before);
    }
    assert_eq!(costs, [1; 8]);
}

#[tokio::test]
async fn a_mail_program_that_comes_again_and_again_costs_one_slow_check() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    let alice = address("alice@x.org");
    accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    let hashed = || accounts.inner.hasher.hashed.load(Ordering::SeqCst);
    let before = hashed();
    for _ in 0..5 {
        login(&accounts, "alice@x.org", "correct horse").await.unwrap();
    }
    assert_eq!(hashed() - before, 1);
    accounts.set_password(&alice, password("battery staple")).await.unwrap();
    login(&accounts, "alice@x.org", "correct horse").await.unwrap_err();
    // A network that waits finds out nothing by what another one proved.
    let elsewhere = accounts.authenticate("alice@x.org", password("battery staple"), peer(2));
    elsewhere.await.unwrap();
    for number in 0..5 {
        login(&accounts, "alice@x.org", &format!("guess {number}")).await.unwrap_err();
    }
    login(&accounts, "alice@x.org", "battery staple").await.unwrap_err();
}

#[tokio::test]
async fn guessing_is_slowed_down_where_it_comes_from_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    let alice = address("alice@x.org");
    accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    let phone = accounts.add_device(&alice, "phone").await.unwrap();
    for number in 0..5 {
        let answer = login(&accounts, "alice@x.org", &format!("guess {number}")).await;
        assert!(matches!(answer, Err(AuthError::Wrong)), "{number}: {answer:?}");
    }
    let answer = login(&accounts, "alice@x.org", "correct horse").await;
    assert!(matches!(answer, Err(AuthError::Throttled(1..=6))), "{answer:?}");
    // A guess at another account is one more; a device's password cannot be guessed.
    assert!(login(&accounts, "bob@x.org", "x").await.is_err());
    login(&accounts, "alice@x.org", phone.expose()).await.unwrap();
    let elsewhere = accounts.authenticate("alice@x.org", password("correct horse"), peer(2));
    elsewhere.await.unwrap();
}

#[tokio::test]
async fn a_phone_with_an_old_password_locks_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    let alice = address("alice@x.org");
    accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    for _ in 0..100 {
        let answer = login(&accounts, "alice@x.org", "an old one").await;
        assert!(matches!(answer, Err(AuthError::Wrong)), "{answer:?}");
    }
    login(&accounts, "alice@x.org", "correct horse").await.unwrap();
    // Known to be wrong until it is made right.
    login(&accounts, "alice@x.org", "an old one").await.unwrap_err();
    accounts.set_password(&alice, password("an old one")).await.unwrap();
    login(&accounts, "alice@x.org", "an old one").await.unwrap();
    login(&accounts, "alice@x.org", "correct horse").await.unwrap_err();
}

#[tokio::test]
async fn a_revoked_device_is_out_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    let alice = address("alice@x.org");
    accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    let phone = accounts.add_device(&alice, " Phone ").await.unwrap();
    let tablet = accounts.add_device(&alice, "Tablet").await.unwrap();
    assert_eq!(accounts.list()[0].devices, ["Phone", "Tablet"]);
    let again = accounts.add_device(&alice, "phone").await;
    assert!(matches!(again, Err(AccountError::DeviceExists(_))), "{again:?}");
    for name in ["", "  ", "a\nb", &"x".repeat(65)] {
        let answer = accounts.add_device(&alice, name).await;
        assert!(matches!(answer, Err(AccountError::DeviceName)), "{name:?}: {answer:?}");
    }
    accounts.revoke_device(&alice, "PHONE").await.unwrap();
    assert!(accounts.revoke_device(&alice, "phone").await.is_err());
    login(&accounts, "alice@x.org", phone.expose()).await.unwrap_err();
    let login = login(&accounts, "alice@x.org", tablet.expose()).await.unwrap();
    assert_eq!(login.device.as_deref(), Some("Tablet"));
}

#[tokio::test]
async fn mistakes_are_refused_with_their_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    let alice = address("alice@x.org");
    accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    accounts.add_alias(address("al@x.org"), alice.clone()).await.unwrap();
    let add = |name: &str, secret: &str| accounts.add(address(name), password(secret));
    let alias = |from: &str, to: &str| accounts.add_alias(address(from), address(to));
    let said = [
        add("alice@x.org", "correct horse").await.unwrap_err().to_string(),
        add("AL@x.org", "correct horse").await.unwrap_err().to_string(),
        add("bob@x.org", "1234567").await.unwrap_err().to_string(),
        add("bob@elsewhere.org", "12345678").await.unwrap_err().to_string(),
        alias("alice@x.org", "bob@elsewhere.org").await.unwrap_err().to_string(),
        alias("al@x.org", "ALICE@x.org").await.unwrap_err().to_string(),
        alias("carol@x.org", "nobody@x.org").await.unwrap_err().to_string(),
        alias("a@elsewhere.org", "alice@x.org").await.unwrap_err().to_string(),
        accounts.remove(&address("bob@x.org")).await.unwrap_err().to_string(),
        accounts.remove_alias(&alice).await.unwrap_err().to_string(),
    ];
    assert_eq!(
        said,
        [
            "alice@x.org exists already",
            "AL@x.org exists already",
            "a password needs at least 8 characters",
            "elsewhere.org is not a domain of this box: add it to the configuration first",
            "alice@x.org exists already",
            "al@x.org exists already",
            "there is no account or alias nobody@x.org",
            "elsewhere.org is not a domain of this box: add it to the configuration first",
            "there is no account bob@x.org",
            "there is no alias alice@x.org",
        ]
    );
}

#[tokio::test]
async fn aliases_never_lead_in_a_circle() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    accounts.add(address("alice@x.org"), password("correct horse")).await.unwrap();
    let alias = |from: &str, to: &str| accounts.add_alias(address(from), address(to));
    alias("a@x.org", "alice@x.org").await.unwrap();
    alias("b@x.org", "a+tag@x.org").await.unwrap();
    for (from, to) in [("a@x.org", "b@x.org"), ("a@x.org", "A@x.org"), ("c@x.org", "c+t@x.org")] {
        let answer = alias(from, to).await;
        assert!(matches!(answer, Err(AccountError::Circle(_))), "{from} → {to}: {answer:?}");
    }
}

#[tokio::test]
async fn a_sender_may_be_whatever_leads_to_the_account() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    let alice = accounts.add(address("alice@x.org"), password("correct horse")).await.unwrap();
    let bob = accounts.add(address("bob@x.org"), password("correct horse")).await.unwrap();
    accounts.add_alias(address("sales@y.org"), address("bob@x.org")).await.unwrap();
    for (from, allowed) in [
        ("bob@x.org", true),
        ("Bob+news@x.org", true),
        ("sales@y.org", true),
        ("sales+a@y.org", true),
        ("alice@x.org", false),
        ("postmaster@x.org", false),
        ("nobody@x.org", false),
        ("bob@elsewhere.org", false),
    ] {
        assert_eq!(accounts.may_send_as(bob, &address(from)), allowed, "{from}");
    }
    assert!(accounts.may_send_as(alice, &address("postmaster@y.org")));
    accounts.set_domains(vec!["y.org".parse().unwrap()]);
    assert!(!accounts.may_send_as(bob, &address("bob@x.org")));
    assert_eq!(accounts.lookup(&address("bob@x.org")), Lookup::NotOurs);
}

#[tokio::test]
async fn a_damaged_entry_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, store) = open(folder.path());
    drop(accounts);
    let mut batch = Batch::new();
    batch.put_setting("account/7", b"{\"address\":\"a@x.org\"}".to_vec());
    store.commit(batch).await.unwrap();
    let answer = Accounts::open_with(store, Vec::new(), CHEAP, clock());
    assert!(matches!(answer, Err(AccountError::Damaged(key)) if key == "account/7"));
}

/// Logs in by proof, as a protocol's session would; what the server answers is checked, too.
async fn prove(accounts: &Accounts, name: &str, secret: &str) -> Result<Login, AuthError> {
    let client = Client { login: name, password: secret, flag: "n,,", binding: b"" };
    let scram = scram::named("scram-sha-256").unwrap();
    let first = client.first();
    let Ok(Step::Find(finding)) = scram.begin(Some(first.as_bytes()), &Bindings::default()) else {
        panic!("no login was named")
    };
    let salted = accounts.salt(finding.login()).await?;
    let Step::Ask { challenge, then } = finding.found(&salted) else { panic!("no challenge") };
    let (last, answer) = client.last(&challenge);
    let Ok(Step::Prove(proof)) = then.answer(last.as_bytes()) else { panic!("no proof") };
    let (login, signature) = accounts.prove(&proof, peer(1))?;
    let Step::Ask { challenge, then } = Step::proved(&signature) else { panic!("no answer") };
    assert_eq!(challenge, answer, "the server does not know the key");
    assert!(matches!(then.answer(b""), Ok(Step::Done)));
    Ok(login)
}

#[tokio::test]
async fn a_proof_opens_the_account_as_its_passwords_do() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    let alice = address("Alice@x.org");
    let id = accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    let phone = accounts.add_device(&alice, "Phone").await.unwrap();
    let bare = phone.expose().replace('-', "");
    for (name, secret, device) in [
        ("alice@x.org", "correct horse", None),
        ("ALICE@X.ORG", "correct horse", None),
        ("alice@x.org ", "correct horse", None),
        ("alice@x.org", phone.expose(), Some("Phone")),
        ("alice@x.org", bare.as_str(), Some("Phone")),
    ] {
        let login = prove(&accounts, name, secret).await.unwrap();
        assert_eq!((login.account, login.device.as_deref()), (id, device));
        assert!(accounts.is_current(&login));
    }
    assert!(matches!(prove(&accounts, "alice@x.org", "wrong horse").await, Err(AuthError::Wrong)));
    assert!(matches!(prove(&accounts, "bob@x.org", "wrong horse").await, Err(AuthError::Wrong)));
    accounts.set_password(&alice, password("other horse")).await.unwrap();
    let old = prove(&accounts, "alice@x.org", "correct horse").await;
    assert!(matches!(old, Err(AuthError::Wrong)), "{old:?}");
    prove(&accounts, "alice@x.org", "other horse").await.unwrap();
    prove(&accounts, "alice@x.org", &bare).await.unwrap();
    accounts.revoke_device(&alice, "Phone").await.unwrap();
    assert!(matches!(prove(&accounts, "alice@x.org", &bare).await, Err(AuthError::Wrong)));
}

#[tokio::test]
async fn salts_tell_nobody_who_lives_here() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, store) = open(folder.path());
    accounts.add(address("alice@x.org"), password("correct horse")).await.unwrap();
    let salt = async |accounts: &Accounts, name: &str| {
        let Salted { salt, iterations, nonce } = accounts.salt(name).await.unwrap();
        assert!(nonce.len() >= 24);
        (salt, iterations)
    };
    let alice = salt(&accounts, "alice@x.org").await;
    let nobody = salt(&accounts, "nobody@x.org").await;
    assert_ne!(alice.0, nobody.0);
    assert_eq!(alice.1, nobody.1);
    assert_eq!(salt(&accounts, "Alice@X.org").await, alice);
    let nonce = |salted: Salted| salted.nonce;
    let first = accounts.salt("alice@x.org").await.map(nonce).unwrap();
    assert_ne!(accounts.salt("alice@x.org").await.map(nonce).unwrap(), first);
    drop(accounts);
    store.close().await.unwrap();
    let (accounts, _store) = open(folder.path());
    assert_eq!(salt(&accounts, "alice@x.org").await, alice);
    assert_eq!(salt(&accounts, "nobody@x.org").await, nobody);
}

#[tokio::test]
async fn an_account_from_before_scram_learns_it_at_its_next_login() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    let alice = address("alice@x.org");
    accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    let phone = accounts.add_device(&alice, "Phone").await.unwrap();
    let forget = |entry: &mut Entry| {
        entry.scram = None;
        entry.devices[0].scram.clear();
        Ok(())
    };
    accounts.change_entry(&alice, forget).await.unwrap();
    for secret in ["correct horse", phone.expose()] {
        assert!(matches!(prove(&accounts, "alice@x.org", secret).await, Err(AuthError::Wrong)));
        let mut changes = accounts.changes();
        login(&accounts, "alice@x.org", secret).await.unwrap();
        changes.changed().await.unwrap();
        prove(&accounts, "alice@x.org", secret).await.unwrap();
    }
}

#[tokio::test]
async fn a_password_is_the_same_however_a_keyboard_spells_it() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    let alice = address("k\u{e4}the@x.org");
    // Set on a Mac's command line, typed on phones.
    accounts.add(alice.clone(), password("gru\u{308}ne\u{a0}Wiese \u{2168}")).await.unwrap();
    let composed = "gr\u{fc}ne Wiese \u{2168}";
    for secret in [composed, "gru\u{308}ne Wiese\u{2003}\u{2168}"] {
        for name in ["k\u{e4}the@x.org", "ka\u{308}the@X.org"] {
            login(&accounts, name, secret).await.unwrap();
        }
    }
    for wrong in ["grune Wiese \u{2168}", "gr\u{fc}ne Wiese IX", "Gr\u{fc}ne Wiese \u{2168}"] {
        assert!(login(&accounts, "k\u{e4}the@x.org", wrong).await.is_err(), "{wrong}");
    }
    // By proof: as the newer form, RFC 4013, and a program that leaves it alone have it.
    for secret in [composed, "gr\u{fc}ne Wiese IX", "gru\u{308}ne\u{a0}Wiese \u{2168}"] {
        prove(&accounts, "k\u{e4}the@x.org", secret).await.unwrap();
    }
    accounts.set_password(&alice, password("other horse")).await.unwrap();
    for old in [composed, "gr\u{fc}ne Wiese IX"] {
        let old = prove(&accounts, "k\u{e4}the@x.org", old).await;
        assert!(matches!(old, Err(AuthError::Wrong)), "{old:?}");
    }
}

#[tokio::test]
async fn a_hash_from_before_spellings_were_known_opens_as_it_did() {
    const RAW: &str = "gru\u{308}ne Wiese";
    let folder = tempfile::tempdir().unwrap();
    let (accounts, store) = open(folder.path());
    let alice = address("alice@x.org");
    let id = accounts.add(alice.clone(), password("correct horse")).await.unwrap();
    let phc = Argon2::default().hash_password(RAW.as_bytes()).unwrap().to_string();
    let keys = accounts.keys(vec![password(RAW)], &alice.key()).await.unwrap();
    let keys = String::from(keys[0].clone());
    // The entry as it was written then.
    let old =
        format!(r#"{{"address":"alice@x.org","password":"{phc}","scram":"{keys}","devices":[]}}"#);
    let mut batch = Batch::new();
    batch.put_setting(&format!("account/{}", id.0), old.into_bytes());
    store.commit(batch).await.unwrap();
    drop(accounts);
    store.close().await.unwrap();
    let (accounts, _store) = open(folder.path());
    prove(&accounts, "alice@x.org", RAW).await.unwrap();
    assert!(prove(&accounts, "alice@x.org", "gr\u{fc}ne Wiese").await.is_err());
    let mut changes = accounts.changes();
    login(&accounts, "alice@x.org", RAW).await.unwrap();
    // The other spelling is learnt from that login.
    changes.changed().await.unwrap();
    for secret in [RAW, "gr\u{fc}ne Wiese"] {
        prove(&accounts, "alice@x.org", secret).await.unwrap();
    }
    let mut changes = accounts.changes();
    login(&accounts, "alice@x.org", RAW).await.unwrap();
    tokio::task::yield_now().await;
    assert!(!changes.has_changed().unwrap(), "learnt twice");
    let _ = changes.borrow_and_update();
}

#[tokio::test]
async fn wrong_proofs_wait_as_wrong_passwords_do() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, _store) = open(folder.path());
    accounts.add(address("alice@x.org"), password("correct horse")).await.unwrap();
    for number in 0..5 {
        let guess = prove(&accounts, "alice@x.org", &format!("guess {number}")).await;
        assert!(matches!(guess, Err(AuthError::Wrong)), "{guess:?}");
    }
    let right = prove(&accounts, "alice@x.org", "correct horse").await;
    assert!(matches!(right, Err(AuthError::Throttled(_))), "{right:?}");
}

#[tokio::test]
async fn own_marks_for_junk_outlast_a_restart_and_go_with_their_account() {
    let folder = tempfile::tempdir().unwrap();
    let (accounts, store) = open(folder.path());
    let (alice, marks) = (address("alice@x.org"), JunkMarks::new(40, 120).unwrap());
    let id = accounts.add(alice.clone(), password("alice's own")).await.unwrap();
    assert_eq!(accounts.junk_marks(id), None);
    accounts.set_junk_marks(&alice, Some(marks)).await.unwrap();
    let again = Accounts::open_with(store, vec!["x.org".parse().unwrap()], CHEAP, clock()).unwrap();
    assert_eq!(again.junk_marks(id), Some(marks));
    accounts.set_junk_marks(&alice, None).await.unwrap();
    assert_eq!(accounts.junk_marks(id), None);
    accounts.set_junk_marks(&alice, Some(marks)).await.unwrap();
    accounts.remove(&alice).await.unwrap();
    assert_eq!(accounts.junk_marks(id), None);
    assert!(accounts.set_junk_marks(&alice, None).await.is_err());
}
