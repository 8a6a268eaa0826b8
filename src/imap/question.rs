//! What a session asks of the world, and what goes on with each answer: steps of a command follow
//! each other as closures, so that every command reads from top to bottom in its own file.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::accounts::sasl::scram::{Proof, Salted, Signature};
use crate::accounts::{AuthError, Login, Password};
use crate::mail::{Flags, MailboxName, ModSeq, Uid};
use crate::store::{AccountId, Batch, Changes, Mailbox, MailboxId, Outcome, Overview, StoreError};

use super::command::{FetchItem, Program, Ranges, SearchKey};
use super::facts::{About, Fact};
use super::respond::Speech;
use super::search::Match;
use super::session::{Effect, Session};
use super::view::Target;

/// What the session has to know or have done. One at a time; the answer has the same name.
#[derive(Debug)]
pub(super) enum Question {
    Login {
        user: String,
        password: Password,
    },
    /// The salt for a login by proof.
    Salt(String),
    /// Whether the proof is right.
    Proof(Proof),
    Mailbox(AccountId, MailboxName),
    /// The mailbox as a whole.
    Snapshot(MailboxId),
    /// What changed in a mailbox since then.
    Changes(MailboxId, ModSeq),
    Commit(Batch),
    /// Begin to take in a message of so many bytes, when the account has room for it.
    BodyStart {
        account: AccountId,
        size: u64,
    },
    BodyBytes(Bytes),
    /// The message is complete; another may follow.
    BodyEnd {
        flags: Flags,
        date: Option<Timestamp>,
    },
    /// Keep all messages that are complete. Answered as a commit.
    Append {
        mailbox: MailboxId,
        /// A message that goes away for them (RFC 8508).
        instead_of: Option<(MailboxId, Uid)>,
    },
    Fetch(FetchJob),
    Search(SearchJob),
    About(About),
}

/// The answer to a question.
#[derive(Debug)]
pub(super) enum Answer {
    Login(Result<Login, AuthError>),
    Salt(Result<Salted, AuthError>),
    Proof(Result<(Login, Signature), AuthError>),
    Mailbox(Result<Option<Mailbox>, StoreError>),
    /// Nothing when the mailbox is gone.
    Snapshot(Result<Option<Overview>, StoreError>),
    /// Nothing when the mailbox is gone.
    Changes(Result<Option<Changes>, StoreError>),
    Commit(Result<Vec<Outcome>, StoreError>),
    Body(Result<(), StoreError>),
    /// The responses were sent already.
    Fetch(Fetched),
    Search(Result<Found, StoreError>),
    About(Result<Fact, StoreError>),
}

/// FETCH responses to make and send.
#[derive(Debug)]
pub(super) struct FetchJob {
    pub(super) mailbox: MailboxId,
    pub(super) items: Arc<[FetchItem]>,
    pub(super) targets: Vec<Target>,
    pub(super) speech: Speech,
}

/// How a FETCH went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fetched {
    /// Some messages were expunged by others meanwhile.
    pub(super) missing: bool,
    /// Some messages cannot be read.
    pub(super) damaged: bool,
    /// Some parts are encoded in a way nobody here knows (RFC 3516 §4.3).
    pub(super) unknown: bool,
}

/// Messages to look through.
#[derive(Debug)]
pub(super) struct SearchJob {
    pub(super) mailbox: MailboxId,
    /// Of the command, for news on how far it is.
    pub(super) tag: String,
    /// Whether UIDs are answered.
    pub(super) uid: bool,
    pub(super) key: SearchKey,
    pub(super) program: Program,
    /// What `$` stands for, as UIDs.
    pub(super) saved: Arc<Ranges>,
    /// The messages the client knows of, by number.
    pub(super) targets: Vec<Target>,
}

/// What a search found.
#[derive(Debug)]
pub(super) enum Found {
    /// In the order asked for.
    Messages(Vec<Match>),
    /// As the answer has them.
    Threads(String),
}

/// What goes on with the answer to a question.
pub(super) type Then<T> = Box<dyn FnOnce(&mut Session, T) + Send>;

/// Which answer is waited for.
pub(super) enum Waiting {
    Login(Then<Result<Login, AuthError>>),
    Salt(Then<Result<Salted, AuthError>>),
    Proof(Then<Result<(Login, Signature), AuthError>>),
    Mailbox(Then<Result<Option<Mailbox>, StoreError>>),
    Snapshot(Then<Result<Option<Overview>, StoreError>>),
    Changes(Then<Result<Option<Changes>, StoreError>>),
    Commit(Then<Result<Vec<Outcome>, StoreError>>),
    Body(Then<Result<(), StoreError>>),
    Fetch(Then<Fetched>),
    Search(Then<Result<Found, StoreError>>),
    About(Then<Result<Fact, StoreError>>),
}

impl Session {
    /// The answer to the question asked last.
    pub(super) fn answer(&mut self, answer: Answer) {
        match &answer {
            Answer::Login(Ok(login)) | Answer::Proof(Ok((login, _))) => self.known_as(login),
            Answer::Commit(Ok(outcomes)) => self.watch.did(outcomes),
            _ => {}
        }
        match (self.waiting.take(), answer) {
            (Some(Waiting::Login(then)), Answer::Login(answer)) => then(self, answer),
            (Some(Waiting::Salt(then)), Answer::Salt(answer)) => then(self, answer),
            (Some(Waiting::Proof(then)), Answer::Proof(answer)) => then(self, answer),
            (Some(Waiting::Mailbox(then)), Answer::Mailbox(answer)) => then(self, answer),
            (Some(Waiting::Snapshot(then)), Answer::Snapshot(answer)) => then(self, answer),
            (Some(Waiting::Changes(then)), Answer::Changes(answer)) => then(self, answer),
            (Some(Waiting::Commit(then)), Answer::Commit(answer)) => then(self, answer),
            (Some(Waiting::Body(then)), Answer::Body(answer)) => then(self, answer),
            (Some(Waiting::Fetch(then)), Answer::Fetch(answer)) => then(self, answer),
            (Some(Waiting::Search(then)), Answer::Search(answer)) => then(self, answer),
            (Some(Waiting::About(then)), Answer::About(answer)) => then(self, answer),
            _ => self.lost(),
        }
    }

    /// An answer is not of the question.
    pub(super) fn lost(&mut self) {
        self.bye("[SERVERBUG] The box lost its thread: connect again");
    }

    pub(super) fn ask_login(
        &mut self,
        user: String,
        password: Password,
        then: impl FnOnce(&mut Self, Result<Login, AuthError>) + Send + 'static,
    ) {
        self.ask(Question::Login { user, password }, Waiting::Login(Box::new(then)));
    }

    pub(super) fn ask_salt(
        &mut self,
        login: String,
        then: impl FnOnce(&mut Self, Result<Salted, AuthError>) + Send + 'static,
    ) {
        self.ask(Question::Salt(login), Waiting::Salt(Box::new(then)));
    }

    pub(super) fn ask_proof(
        &mut self,
        proof: Proof,
        then: impl FnOnce(&mut Self, Result<(Login, Signature), AuthError>) + Send + 'static,
    ) {
        self.ask(Question::Proof(proof), Waiting::Proof(Box::new(then)));
    }

    pub(super) fn ask_mailbox(
        &mut self,
        account: AccountId,
        name: MailboxName,
        then: impl FnOnce(&mut Self, Result<Option<Mailbox>, StoreError>) + Send + 'static,
    ) {
        self.ask(Question::Mailbox(account, name), Waiting::Mailbox(Box::new(then)));
    }

    pub(super) fn ask_snapshot(
        &mut self,
        mailbox: MailboxId,
        then: impl FnOnce(&mut Self, Result<Option<Overview>, StoreError>) + Send + 'static,
    ) {
        self.ask(Question::Snapshot(mailbox), Waiting::Snapshot(Box::new(then)));
    }

    pub(super) fn ask_changes(
        &mut self,
        mailbox: MailboxId,
        since: ModSeq,
        then: impl FnOnce(&mut Self, Result<Option<Changes>, StoreError>) + Send + 'static,
    ) {
        self.ask(Question::Changes(mailbox, since), Waiting::Changes(Box::new(then)));
    }

    pub(super) fn ask_commit(
        &mut self,
        batch: Batch,
        then: impl FnOnce(&mut Self, Result<Vec<Outcome>, StoreError>) + Send + 'static,
    ) {
        self.ask(Question::Commit(batch), Waiting::Commit(Box::new(then)));
    }

    /// [`Question::BodyStart`], [`Question::BodyBytes`] and [`Question::BodyEnd`].
    pub(super) fn ask_body(
        &mut self,
        question: Question,
        then: impl FnOnce(&mut Self, Result<(), StoreError>) + Send + 'static,
    ) {
        self.ask(question, Waiting::Body(Box::new(then)));
    }

    pub(super) fn ask_append(
        &mut self,
        question: Question,
        then: impl FnOnce(&mut Self, Result<Vec<Outcome>, StoreError>) + Send + 'static,
    ) {
        self.ask(question, Waiting::Commit(Box::new(then)));
    }

    pub(super) fn ask_fetch(
        &mut self,
        job: FetchJob,
        then: impl FnOnce(&mut Self, Fetched) + Send + 'static,
    ) {
        self.ask(Question::Fetch(job), Waiting::Fetch(Box::new(then)));
    }

    pub(super) fn ask_search(
        &mut self,
        job: SearchJob,
        then: impl FnOnce(&mut Self, Result<Found, StoreError>) + Send + 'static,
    ) {
        self.ask(Question::Search(job), Waiting::Search(Box::new(then)));
    }

    pub(super) fn ask_fact(
        &mut self,
        question: Question,
        then: impl FnOnce(&mut Self, Result<Fact, StoreError>) + Send + 'static,
    ) {
        self.ask(question, Waiting::About(Box::new(then)));
    }

    fn ask(&mut self, question: Question, waiting: Waiting) {
        self.waiting = Some(waiting);
        self.effect(Effect::Ask(question));
    }
}
