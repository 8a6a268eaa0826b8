//! The session on a connection: reading lines, checking logins, streaming messages from the
//! store, and removing them at the end. Time and memory are bounded: a client that says nothing,
//! or takes nothing, is let go.

use std::collections::HashSet;
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::remove::{Removed, remove};
use super::session::{Item, Maildrop, OpenFailure, Session, Step, Unreadable};
use super::surrogate::Surrogate;
use super::transfer::Transfer;
use crate::accounts::sasl::Credentials;
use crate::accounts::sasl::scram::{Proof, Signature};
use crate::accounts::{Accounts, AuthError, Login};
use crate::mail::{Domain, MailboxName, Uid};
use crate::net::{Bindings, Line, LineBuffer, LineError, Peer, Stream, Tls};
use crate::store::{AccountId, MailboxId, MessageReader, Store, StoreError};

/// Serves POP3 connections; cheap to clone. All listeners share one, since a maildrop is open
/// in one session at a time.
#[derive(Debug, Clone)]
pub struct Server {
    hostname: Domain,
    tls: Tls,
    accounts: Accounts,
    store: Store,
    locks: Locks,
    patience: Patience,
}

/// How long a silent client is borne.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// From the connection to the login.
    login: Duration,
    /// The autologout timer (RFC 1939 §3: at least ten minutes).
    idle: Duration,
}

impl Patience {
    const NORMAL: Self = Self { login: Duration::from_mins(3), idle: Duration::from_mins(10) };
}

/// For the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// For a client to take [`PIECE`] bytes.
const WRITE: Duration = Duration::from_mins(2);
/// Bytes read from the store at once.
const PIECE: usize = 32 * 1024;
/// Bytes read from the client at once.
const READ: usize = 4 * 1024;
/// Bytes that hardly any header is longer than, and no line that keeps to RFC 5322 §2.1.1.
const USUAL_HEADER: u64 = 64 * 1024;
const LONGEST_LINE: u64 = 1000;

impl Server {
    /// A server for the mail of these accounts.
    pub fn new(hostname: Domain, tls: Tls, accounts: Accounts, store: Store) -> Self {
        let patience = Patience::NORMAL;
        Self { hostname, tls, accounts, store, locks: Locks::default(), patience }
    }

    /// Serves one connection until it ends or `stop` is called. Under implicit TLS the stream
    /// comes with its handshake done.
    pub async fn serve(&self, stream: Stream, peer: Peer, stop: CancellationToken) {
        let session = Session::new(self.hostname.clone(), bindings(&stream));
        let mut connection = Connection {
            server: self,
            peer,
            stop,
            out: session.greeting(),
            session,
            lines: LineBuffer::default(),
            login_deadline: Instant::now() + self.patience.login,
            directory: self.accounts.changes(),
            login: None,
            open: None,
        };
        match connection.run(stream).await {
            Ok(()) => tracing::debug!(peer = %peer.address, "POP3 connection ended"),
            Err(error) => tracing::debug!(peer = %peer.address, %error, "POP3 connection lost"),
        }
    }
}

struct Connection<'a> {
    server: &'a Server,
    peer: Peer,
    stop: CancellationToken,
    session: Session,
    lines: LineBuffer,
    /// Replies not sent yet: those to pipelined commands go together.
    out: Vec<u8>,
    login_deadline: Instant,
    /// Tells when passwords change.
    directory: watch::Receiver<()>,
    /// Whose password, or proof, was right.
    login: Option<Login>,
    open: Option<OpenDrop>,
}

/// The maildrop of this session.
struct OpenDrop {
    account: AccountId,
    inbox: MailboxId,
    _lock: Lock,
}

enum End {
    Close,
    StartTls,
}

impl Connection<'_> {
    async fn run(&mut self, mut stream: Stream) -> io::Result<()> {
        while let End::StartTls = self.talk(&mut stream).await? {
            stream = timeout(HANDSHAKE, Box::pin(stream.start_tls(&self.server.tls))).await??;
            // RFC 2595 §4; what came before TLS may be an attacker's.
            self.lines.clear();
            self.session.secured(bindings(&stream).unwrap_or_default());
        }
        // A lock held while the peer dawdles over the last bytes would keep its next session out.
        self.open = None;
        timeout(WRITE, stream.shutdown()).await?
    }

    async fn talk(&mut self, stream: &mut Stream) -> io::Result<End> {
        loop {
            let Some(line) = self.line(stream).await? else { return Ok(End::Close) };
            let mut step = match &line {
                Ok(Line(bytes)) => self.session.line(Ok(bytes)),
                Err(error) => self.session.line(Err(*error)),
            };
            loop {
                step = match step {
                    Step::Reply(reply) => {
                        self.reply(stream, &reply).await?;
                        while let Some(more) = self.session.more() {
                            self.reply(stream, &more).await?;
                        }
                        break;
                    }
                    Step::StartTls(reply) => {
                        self.out.extend_from_slice(&reply);
                        self.flush(stream).await?;
                        return Ok(End::StartTls);
                    }
                    Step::Check(credentials) => {
                        let answer = Box::pin(self.check(credentials)).await;
                        self.session.checked(answer)
                    }
                    Step::Salt(login) => {
                        let accounts = &self.server.accounts;
                        let answer = Box::pin(accounts.salt(&login)).await;
                        self.session.salted(answer)
                    }
                    Step::Prove(proof) => {
                        let answer = self.prove(&proof);
                        self.session.proved(answer)
                    }
                    Step::Open => {
                        let answer = Box::pin(self.open()).await;
                        self.session.checked(Ok(answer))
                    }
                    Step::Send { reply, uid, lines, utf8 } => match self.reader(uid, lines).await {
                        Ok(Some(reader)) => {
                            self.out.extend_from_slice(&reply);
                            let form = if utf8 { None } else { Some(Surrogate::default()) };
                            let sent = self.send(stream, reader, Transfer::new(lines), form);
                            Box::pin(sent).await?;
                            break;
                        }
                        Ok(None) => self.session.unreadable(Unreadable::Gone),
                        Err(error) => {
                            tracing::error!(%error, "a message cannot be read");
                            let damaged = matches!(error, StoreError::Damaged(_));
                            let why = if damaged { Unreadable::Damaged } else { Unreadable::Now };
                            self.session.unreadable(why)
                        }
                    },
                    Step::Remove(uids) => {
                        let removed = Box::pin(self.remove(uids)).await;
                        self.session.removed(removed)
                    }
                    Step::Close(reply) => {
                        // First: a client told goodbye may be back before this task runs again.
                        self.open = None;
                        self.out.extend_from_slice(&reply);
                        self.flush(stream).await?;
                        return Ok(End::Close);
                    }
                };
            }
        }
    }

    /// The next line, or nothing when the connection is over.
    async fn line(&mut self, stream: &mut Stream) -> io::Result<Option<Result<Line, LineError>>> {
        let logged_in = self.session.is_logged_in();
        let idle = self.server.patience.idle;
        let deadline = if logged_in { Instant::now() + idle } else { self.login_deadline };
        loop {
            match self.lines.next_line(self.session.line_limit()) {
                Ok(Some(line)) => return Ok(Some(Ok(line))),
                Err(error) => return Ok(Some(Err(error))),
                Ok(None) => {}
            }
            self.flush(stream).await?;
            self.lines.release();
            let read = tokio::select! {
                // Nothing is removed: RFC 1939 §3 wants a QUIT for that.
                () = self.stop.cancelled() => return Ok(None),
                Ok(()) = self.directory.changed() => {
                    // A phone that was lost must not go on over the connection it has.
                    let current = |login| self.server.accounts.is_current(login);
                    if logged_in && !self.login.as_ref().is_some_and(current) {
                        return Ok(None);
                    }
                    continue;
                }
                read = timeout_at(deadline, receive(stream, &mut self.lines)) => read,
            };
            match read {
                Ok(Ok(0)) | Err(_) => return Ok(None),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    async fn check(
        &mut self,
        Credentials { login, password }: Credentials,
    ) -> Result<Result<Maildrop, OpenFailure>, AuthError> {
        let address = self.peer.address;
        self.login = Some(self.server.accounts.authenticate(&login, password, address).await?);
        Ok(self.open().await)
    }

    fn prove(&mut self, proof: &Proof) -> Result<Signature, AuthError> {
        let (login, signature) = self.server.accounts.prove(proof, self.peer.address)?;
        self.login = Some(login);
        Ok(signature)
    }

    /// Opens the maildrop of whose login was right.
    async fn open(&mut self) -> Result<Maildrop, OpenFailure> {
        let account = self.login.as_ref().ok_or(OpenFailure::Unavailable)?.account;
        let lock = self.server.locks.take(account).ok_or(OpenFailure::InUse)?;
        let store = self.server.store.clone();
        match blocking(move || list(&store, account)).await {
            Ok((inbox, drop)) => {
                self.open = Some(OpenDrop { account, inbox, _lock: lock });
                Ok(drop)
            }
            Err(error) => {
                tracing::error!(%error, "an inbox cannot be listed");
                Err(OpenFailure::Unavailable)
            }
        }
    }

    /// A message that can be read as far as it is asked for: after a +OK it is too late to say no.
    /// Nothing when it is gone: IMAP may remove it while POP3 is looking.
    async fn reader(
        &self,
        uid: Uid,
        lines: Option<u32>,
    ) -> Result<Option<MessageReader>, StoreError> {
        let Some(open) = &self.open else { return Ok(None) };
        let (store, inbox) = (self.server.store.clone(), open.inbox);
        blocking(move || {
            let Some(message) = store.message(inbox, uid)? else { return Ok(None) };
            let reader = store.read(&message.content)?;
            // Where the lines of TOP end is known only after reading them: about there.
            let top = |lines: u32| USUAL_HEADER + u64::from(lines) * LONGEST_LINE;
            reader.check(0..lines.map_or(reader.len(), top).min(reader.len()))?;
            Ok(Some(reader))
        })
        .await
    }

    /// Streams a message. When the card fails on the way the connection breaks off: a client must
    /// not take half a message for whole.
    async fn send(
        &mut self,
        stream: &mut Stream,
        mut reader: MessageReader,
        mut transfer: Transfer,
        mut form: Option<Surrogate>,
    ) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut ascii = Vec::new();
        while !transfer.is_done() {
            let (back, buffer, read) = spawn_blocking(move || {
                let read = reader.read(&mut piece);
                (reader, piece, read)
            })
            .await?;
            (reader, piece) = (back, buffer);
            let length = match read {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => {
                    tracing::error!(%error, "a message broke off while being read");
                    return Err(error);
                }
            };
            let mut bytes = piece.get(..length).unwrap_or_default();
            if let Some(form) = &mut form {
                ascii.clear();
                form.push(bytes, &mut ascii);
                bytes = &ascii;
            }
            transfer.push(bytes, &mut self.out);
            self.flush(stream).await?;
        }
        if let Some(form) = form {
            ascii.clear();
            form.finish(&mut ascii);
            transfer.push(&ascii, &mut self.out);
        }
        transfer.finish(&mut self.out);
        Ok(())
    }

    async fn remove(&mut self, uids: Vec<Uid>) -> Option<Removed> {
        let open = self.open.as_ref()?;
        let Server { store, accounts, .. } = self.server;
        let how = accounts.pop3_removal(open.account);
        match remove(store, open.account, open.inbox, uids, how).await {
            Ok(removed) => Some(removed),
            Err(error) => {
                tracing::error!(%error, "messages could not be removed");
                None
            }
        }
    }

    async fn reply(&mut self, stream: &mut Stream, reply: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(reply);
        if self.out.len() >= PIECE { self.flush(stream).await } else { Ok(()) }
    }

    async fn flush(&mut self, stream: &mut Stream) -> io::Result<()> {
        for piece in self.out.chunks(PIECE) {
            timeout(WRITE, stream.write_all(piece)).await??;
        }
        self.out.clear();
        timeout(WRITE, stream.flush()).await?
    }
}

fn list(store: &Store, account: AccountId) -> Result<(MailboxId, Maildrop), StoreError> {
    let inbox = store.find_mailbox(account, &MailboxName::inbox())?;
    let inbox = inbox.ok_or(StoreError::NoMailbox)?;
    let items = store.messages(inbox.id)?;
    let items = items.iter().map(|message| Item::new(message.uid, message.content.size()));
    Ok((inbox.id, Maildrop::new(inbox.uid_validity, items.collect())))
}

/// Hands what comes to the lines; how much. While nothing comes no memory is held for it.
async fn receive(stream: &mut Stream, lines: &mut LineBuffer) -> io::Result<usize> {
    poll_fn(|context| {
        let mut bytes = [0; READ];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
        lines.feed(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

/// What a login over this connection may be bound to; nothing in the clear.
fn bindings(stream: &Stream) -> Option<Bindings> {
    stream.channel().map(|channel| channel.bindings)
}

pub(super) async fn blocking<T, F>(work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))
}

/// Which maildrops are open (RFC 1939 §4: exclusively).
#[derive(Debug, Clone, Default)]
struct Locks {
    open: Arc<Mutex<HashSet<AccountId>>>,
}

/// The right to a maildrop; given back when dropped, however the session ends.
struct Lock {
    locks: Locks,
    account: AccountId,
}

impl Locks {
    fn take(&self, account: AccountId) -> Option<Lock> {
        let taken = self.set().insert(account);
        taken.then(|| Lock { locks: self.clone(), account })
    }

    fn set(&self) -> MutexGuard<'_, HashSet<AccountId>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.locks.set().remove(&self.account);
    }
}

#[cfg(test)]
mod tests;
