//! What an account is kept from, and what goes with an account.

use super::*;

#[tokio::test]
async fn extensions_switched_off_are_told_at_each_login_and_outlast_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (accounts, store) = open(dir.path());
    let bob = address("bob@x.org");
    accounts.add(bob.clone(), password("correct horse")).await.unwrap();
    let before = login(&accounts, "bob@x.org", "correct horse").await.unwrap();
    assert!(before.without.is_empty());
    accounts.set_without(&bob, vec!["MOVE".to_owned(), "NOTIFY".to_owned()]).await.unwrap();
    assert!(accounts.is_current(&before), "a phone that is logged in stays so");
    drop(accounts);
    store.close().await.unwrap();
    let (accounts, _store) = open(dir.path());
    let after = login(&accounts, "bob@x.org", "correct horse").await.unwrap();
    assert_eq!(*after.without, ["MOVE".to_owned(), "NOTIFY".to_owned()]);
    accounts.set_without(&bob, Vec::new()).await.unwrap();
    assert_eq!(accounts.without(&bob), Some(Vec::new()));
    assert!(accounts.set_without(&address("eve@x.org"), Vec::new()).await.is_err());
}

#[tokio::test]
async fn what_belongs_to_an_account_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (accounts, store) = open(dir.path());
    let alice = accounts.add(address("alice@x.org"), password("correct horse")).await.unwrap();
    let bob = accounts.add(address("bob@x.org"), password("battery staple")).await.unwrap();
    let mut batch = Batch::new();
    for account in [alice, bob, AccountId::EVERYBODY] {
        batch.put_setting(&format!("{}note", account.settings()), b"x".to_vec());
    }
    store.commit(batch).await.unwrap();
    accounts.remove(&address("bob@x.org")).await.unwrap();
    let left = |account: AccountId| store.settings(&account.settings()).unwrap().len();
    assert_eq!([left(alice), left(bob), left(AccountId::EVERYBODY)], [1, 0, 1]);
}
