//! Where deleted mail goes, who may go on, and names that last.

use super::*;
use crate::accounts::Removal;
use crate::accounts::sasl::scram::client::Client as Prover;
use crate::mail::SpecialUse;

impl House {
    /// Subjects in the inbox and in the trash.
    fn held(&self) -> [usize; 2] {
        let count =
            |mailbox: &crate::store::Mailbox| self.server.store.messages(mailbox.id).unwrap().len();
        let all = self.server.store.mailboxes(self.account).unwrap();
        let inbox = all.iter().filter(|it| it.name == MailboxName::inbox()).map(count).sum();
        let is_trash = |it: &&crate::store::Mailbox| it.special_use == Some(SpecialUse::Trash);
        [inbox, all.iter().filter(is_trash).map(count).sum()]
    }

    async fn delete_first(&self) -> String {
        let mut client = self.logged_in().await;
        client.ask("DELE 1").await;
        client.ask("QUIT").await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_mail_is_in_the_trash_unless_its_owner_wants_it_gone() {
    let house = house().await;
    for number in 0..4 {
        house.deliver(format!("Subject: {number}\r\n\r\n").as_bytes()).await;
    }
    assert_eq!(house.delete_first().await, "+OK 1 messages moved to the trash, goodbye");
    assert_eq!(house.held(), [3, 1]);
    // An owner may have thrown the trash itself away.
    let trash = house.server.store.mailboxes(house.account).unwrap();
    let trash = trash.iter().find(|it| it.special_use == Some(SpecialUse::Trash)).unwrap().id;
    let mut batch = Batch::new();
    batch.delete_mailbox(trash);
    house.server.store.commit(batch).await.unwrap();
    assert_eq!(house.delete_first().await, "+OK 1 messages moved to the trash, goodbye");
    assert_eq!(house.held(), [2, 1]);
    house.server.accounts.set_pop3_removal(&alice(), Removal::Delete).await.unwrap();
    assert_eq!(house.delete_first().await, "+OK 1 messages removed, goodbye");
    assert_eq!(house.held(), [1, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_when_its_password_is_taken_away_and_removes_nothing() {
    let house = house().await;
    house.deliver(b"Subject: a\r\n\r\n").await;
    let accounts = &house.server.accounts;
    let device = accounts.add_device(&alice(), "phone").await.unwrap();
    let mut phone = house.plain().await.start_tls(house.folder.path()).await;
    phone.ask("USER alice@x.org").await;
    assert!(phone.ask(&format!("PASS {}", device.expose())).await.starts_with("+OK"));
    assert!(phone.ask("DELE 1").await.starts_with("+OK"));
    // Other changes are none of its business.
    accounts.add_device(&alice(), "tablet").await.unwrap();
    assert_eq!(phone.ask("NOOP").await, "+OK still here");
    accounts.revoke_device(&alice(), "phone").await.unwrap();
    assert!(phone.is_closed().await);
    assert_eq!(house.held(), [1, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_bound_to_the_connection_opens_the_maildrop() {
    let house = house().await;
    for bound in [true, false] {
        let mut client = house.plain().await.start_tls(house.folder.path()).await;
        let offered = String::from_utf8(client.listed("CAPA").await).unwrap();
        let scram = "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN";
        assert!(offered.contains(scram), "{offered}");
        let (_, connection) = client.stream.get_ref().get_ref();
        let mut binding =
            connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).unwrap();
        binding[0] ^= u8::from(!bound);
        let prover = Prover {
            login: "alice@x.org",
            password: "correct horse",
            flag: "p=tls-exporter,,",
            binding: &binding,
        };
        let challenge = client.ask(&format!("AUTH SCRAM-SHA-256-PLUS {}", prover.first())).await;
        let (last, signature) = prover.last(challenge.strip_prefix("+ ").unwrap());
        let answer = client.ask(&last).await;
        if bound {
            assert_eq!(answer, format!("+ {signature}"));
            assert_eq!(client.ask("").await, "+OK 0 messages");
        } else {
            assert!(answer.starts_with("-ERR [AUTH]"), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_come_in_ascii_unless_the_client_takes_utf8() {
    let house = house().await;
    let letter = "Subject: gr\u{fc}n\r\n\r\n\u{fc}\r\n";
    house.deliver(letter.as_bytes()).await;
    let mut client = house.logged_in().await;
    let old = String::from_utf8(client.listed("RETR 1").await).unwrap();
    assert!(old.ends_with("Subject: =?utf-8?b?Z3LDvG4=?=\r\n\r\n\u{fc}\r\n"), "{old}");
    client.ask("QUIT").await;
    let mut client = house.plain().await.start_tls(house.folder.path()).await;
    assert!(client.ask("UTF8").await.starts_with("+OK"));
    client.ask("USER alice@x.org").await;
    assert!(client.ask("PASS correct horse").await.starts_with("+OK"));
    let new = String::from_utf8(client.listed("RETR 1").await).unwrap();
    assert!(new.ends_with(letter), "{new}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unique_names_outlast_a_restart_and_an_index_made_anew() {
    let house = house().await;
    for number in 0..3 {
        house.deliver(format!("Subject: {number}\r\n\r\n").as_bytes()).await;
    }
    house.delete_first().await;
    let named = |store: &Store| {
        let (_, maildrop) = list(store, house.account).unwrap();
        let mut session = Session::new(HOST.parse().unwrap(), Some(Bindings::default()));
        session.line(Ok(b"USER a"));
        session.line(Ok(b"PASS b"));
        session.checked(Ok(Ok(maildrop)));
        session.line(Ok(b"UIDL"));
        String::from_utf8(session.more().unwrap()).unwrap()
    };
    let before = named(&house.server.store);
    assert_eq!(before.lines().count(), 3);
    let folder = house.folder.path().join("store");
    house.stop.cancel();
    house.server.store.clone().close().await.unwrap();
    std::fs::remove_file(folder.join("index.redb")).unwrap();
    let again = loop {
        // The old one lets go of its folder in its own time.
        match Store::open(&folder, Options::default()) {
            Ok(store) => break store,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert_eq!(named(&again), before);
}
