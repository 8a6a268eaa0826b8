//! What people do with their mail, in a store.

use jiff::Timestamp;

use super::*;
use crate::mail::{Flag, Flags, MailboxName, SpecialUse, SystemFlag, Uid};
use crate::store::{Batch, FlagChange, MailboxId, Options, Outcome, Store};

struct Home {
    _folder: tempfile::TempDir,
    store: Store,
    junk: Junk,
    inbox: MailboxId,
    trap: MailboxId,
    sent: MailboxId,
    archive: MailboxId,
    trash: MailboxId,
}

impl Home {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let junk = Junk::open(Arc::new(Notes::open(folder.path())));
        let mut made = Vec::new();
        for (name, special) in [
            ("INBOX", None),
            ("Junk", Some(SpecialUse::Junk)),
            ("Sent", Some(SpecialUse::Sent)),
            ("Archive", Some(SpecialUse::Archive)),
            ("Trash", Some(SpecialUse::Trash)),
        ] {
            let mut batch = Batch::new();
            batch.create_mailbox(ALICE, name.parse::<MailboxName>().unwrap(), special);
            let outcomes = store.commit(batch).await.unwrap();
            let [Outcome::Created(id)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
            made.push(*id);
        }
        let [inbox, trap, sent, archive, trash] = made.as_slice() else { panic!("mailboxes") };
        let (inbox, trap, sent) = (*inbox, *trap, *sent);
        Self { _folder: folder, store, junk, inbox, trap, sent, archive: *archive, trash: *trash }
    }

    async fn add(&self, mailbox: MailboxId, prefix: &str, text: &str) -> Uid {
        let mut body = self.store.new_body();
        body.write(text.as_bytes()).await.unwrap();
        let body = body.finish().await.unwrap();
        let mut batch = Batch::new();
        let now = Timestamp::UNIX_EPOCH;
        batch.add_message(mailbox, prefix.as_bytes(), &body, Flags::none(), now);
        let outcomes = self.store.commit(batch).await.unwrap();
        let [Outcome::Added { uid, .. }] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        *uid
    }

    async fn move_to(&self, from: MailboxId, uid: Uid, to: MailboxId) -> Uid {
        let mut batch = Batch::new();
        batch.move_to(from, vec![uid], to);
        let outcomes = self.store.commit(batch).await.unwrap();
        let [Outcome::Copied { uids, .. }] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        uids.first().unwrap().1
    }

    async fn flag(&self, mailbox: MailboxId, uid: Uid, flag: SystemFlag) {
        let mut batch = Batch::new();
        let change = FlagChange::Add([Flag::System(flag)].into_iter().collect());
        batch.set_flags(mailbox, vec![uid], change, None);
        self.store.commit(batch).await.unwrap();
    }

    /// What is learned after a look.
    fn lessons(&self) -> (u32, u32) {
        self.junk.catch_up(&self.store, ALICE, Timestamp::UNIX_EPOCH, || true).unwrap();
        self.counts()
    }

    fn counts(&self) -> (u32, u32) {
        let (_, lessons) = self.junk.opinion(ALICE, &Tokens::default()).unwrap();
        (lessons.spam, lessons.ham)
    }

    /// The same after a restart, what was in memory gone.
    fn restart(&mut self) {
        let notes = Arc::clone(&self.junk.notes);
        self.junk = Junk::open(notes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_into_junk_and_out_of_it_teaches_once() {
    let mut home = Home::new().await;
    let uid = home.add(home.inbox, "", &spam(1)).await;
    assert_eq!(home.lessons(), (0, 0), "arriving is no lesson");
    let uid = home.move_to(home.inbox, uid, home.trap).await;
    assert_eq!(home.lessons(), (1, 0));
    home.restart();
    assert_eq!(home.lessons(), (1, 0), "learned again after a restart");
    home.flag(home.trap, uid, SystemFlag::Seen).await;
    assert_eq!(home.lessons(), (1, 0), "reading junk is no lesson");
    let uid = home.move_to(home.trap, uid, home.inbox).await;
    assert_eq!(home.lessons(), (0, 1), "taking it out undoes it");
    let uid = home.move_to(home.inbox, uid, home.trap).await;
    assert_eq!(home.lessons(), (1, 0), "and so does moving it back");
    home.move_to(home.trap, uid, home.trash).await;
    assert_eq!(home.lessons(), (1, 0), "throwing junk away is no lesson");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_filed_ourselves_teaches_only_when_taken_out() {
    let home = Home::new().await;
    let mut score = Score::default();
    score.add(60, "it offers medicine");
    let prefix = format!("Return-Path: <a@b.c>\r\n{}", score.field(Marks::default()));
    let uid = home.add(home.trap, &prefix, &spam(1)).await;
    assert_eq!(home.lessons(), (0, 0));
    let uid = home.move_to(home.trap, uid, home.inbox).await;
    assert_eq!(home.lessons(), (0, 1));
    home.move_to(home.inbox, uid, home.archive).await;
    assert_eq!(home.lessons(), (0, 1), "learned twice");
    // What a stranger writes under our name is not ours.
    let forged = format!("Received: from a by b\r\n{}{}", score.field(Marks::default()), spam(2));
    home.add(home.trap, "", &forged).await;
    assert_eq!(home.lessons(), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_is_kept_or_answered_is_wanted() {
    let home = Home::new().await;
    let kept = home.add(home.inbox, "", &ham(1)).await;
    let answered = home.add(home.inbox, "", &ham(2)).await;
    let thrown = home.add(home.inbox, "", &ham(3)).await;
    let read = home.add(home.inbox, "", &ham(4)).await;
    let mut doubtful = Score::default();
    doubtful.add(40, "it urges to buy");
    let doubted = home.add(home.inbox, &doubtful.field(Marks::default()), &spam(5)).await;
    assert_eq!(home.lessons(), (0, 0));
    home.move_to(home.inbox, kept, home.archive).await;
    home.flag(home.inbox, answered, SystemFlag::Answered).await;
    home.flag(home.inbox, thrown, SystemFlag::Deleted).await;
    home.flag(home.inbox, thrown, SystemFlag::Answered).await;
    home.flag(home.inbox, read, SystemFlag::Seen).await;
    home.flag(home.inbox, doubted, SystemFlag::Seen).await;
    assert_eq!(home.lessons(), (0, 2));
    #[allow(clippy::disallowed_methods, reason = "the store dated the messages by it")]
    let now = Timestamp::now();
    let settle = |days: i64| {
        let later = now + jiff::SignedDuration::from_hours(24 * days);
        home.junk.settle(&home.store, ALICE, later, || true).unwrap();
        home.counts()
    };
    assert_eq!(settle(1), (0, 2), "trusted too soon");
    assert_eq!(settle(3), (0, 3));
    assert_eq!(settle(4), (0, 3), "learned twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn sent_mail_makes_people_known_for_good() {
    let mut home = Home::new().await;
    let letter = "From: alice@x.org\r\nTo: Aunt <aunt@family.example>\r\nCc: zoe@y.org\r\n\
        Message-ID: <77@x.org>\r\nSubject: hello\r\n\r\nhello\r\n";
    home.add(home.sent, "", letter).await;
    assert_eq!(home.lessons(), (0, 0));
    home.restart();
    for address in ["aunt@family.example", "zoe@y.org"] {
        assert!(home.junk.has_written_to(ALICE, &address.parse().unwrap()).unwrap(), "{address}");
    }
    let answer = "From: new@z.org\r\nIn-Reply-To: <77@x.org>\r\nSubject: x\r\n\r\nx\r\n";
    assert!(home.junk.acquaintance(ALICE, &look(answer).facts).unwrap().answer);
    assert!(!home.junk.acquaintance(BOB, &look(answer).facts).unwrap().answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_was_interrupted_is_taken_again() {
    let home = Home::new().await;
    for number in 0..10 {
        home.add(home.trap, "", &spam(number)).await;
    }
    let mut left = 5;
    let goes_on = || {
        left -= 1;
        left > 0
    };
    let now = Timestamp::UNIX_EPOCH;
    assert!(home.junk.catch_up(&home.store, ALICE, now, goes_on).is_err());
    assert_eq!(home.counts(), (0, 0), "half a look counts");
    assert_eq!(home.lessons(), (10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_file_is_learned_anew_from_the_mail() {
    let mut home = Home::new().await;
    for number in 0..3 {
        home.add(home.trap, "", &spam(number)).await;
        home.add(home.archive, "", &ham(number)).await;
    }
    assert_eq!(home.lessons(), (3, 3));
    let folder = tempfile::tempdir().unwrap();
    home.junk = Junk::open(Arc::new(Notes::open(folder.path())));
    assert_eq!(home.lessons(), (3, 3));
}
