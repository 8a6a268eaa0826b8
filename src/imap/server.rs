//! The connection: sockets, TLS, timeouts and news around a [`Session`].

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::accounts::{Accounts, Login};
use crate::clock::SharedClock;
use crate::mail::Domain;
use crate::net::{Bindings, Compressors, Peer, Stream, Tls};
use crate::search::Index;
use crate::store::{Change, Store};
use crate::summary::Summaries;

use super::desk::{Desk, patiently, send};
use super::question::{Answer, Question};
use super::session::{Effect, Session};

/// Connections that may read messages at once: each holds a thread and some buffers.
const READERS: usize = 4;

/// How long a client may be silent.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Before it has logged in.
    guest: Duration,
    /// RFC 3501 §5.4: at least 30 minutes.
    user: Duration,
}

impl Patience {
    const NORMAL: Self = Self {
        guest: Duration::from_mins(1),
        // Some seconds more, so that a client that comes back after exactly 30 is in time.
        user: Duration::from_secs(30 * 60 + 30),
    };
}

/// Time for a stranger to log in, however busily it talks.
const GUEST_TIME: Duration = Duration::from_mins(3);
/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// Bytes read at once, and from who has not logged in.
const READ: usize = 16 << 10;
const READ_GUEST: usize = 2 << 10;
/// Silence after which a connection gives back what only a talk needs.
const REST: Duration = Duration::from_secs(2);
/// Connections that may compress what they send at once, 8 MB in all.
const COMPRESSORS: usize = 24;

/// Serves IMAP connections; cheap to clone.
#[derive(Clone)]
pub struct Server {
    hostname: Domain,
    tls: Tls,
    accounts: Accounts,
    store: Store,
    search: Arc<Index>,
    clock: SharedClock,
    message_size: u64,
    readers: Arc<Semaphore>,
    compressors: Compressors,
    summaries: Option<Arc<Summaries>>,
    patience: Patience,
}

impl Server {
    /// A server for all accounts. `message_size` is the largest message APPEND takes, in bytes.
    pub fn new(
        hostname: Domain,
        tls: Tls,
        accounts: Accounts,
        store: Store,
        search: Arc<Index>,
        clock: SharedClock,
        message_size: u64,
    ) -> Self {
        let readers = Arc::new(Semaphore::new(READERS));
        let compressors = Compressors::new(COMPRESSORS);
        let (summaries, patience) = (None, Patience::NORMAL);
        Self {
            hostname,
            tls,
            accounts,
            store,
            search,
            clock,
            message_size,
            readers,
            compressors,
            summaries,
            patience,
        }
    }

    /// The same server, which answers out of summaries what it would have to read else.
    #[must_use]
    pub fn with_summaries(self, summaries: Arc<Summaries>) -> Self {
        Self { summaries: Some(summaries), ..self }
    }

    /// Serves one connection until either side ends it. A stream under TLS was accepted on an
    /// implicit-TLS port; a plain one is offered STARTTLS and no login before it. At `stop` the
    /// client is told and the connection ends.
    pub async fn serve(&self, stream: Stream, peer: Peer, stop: CancellationToken) {
        match self.converse(stream, peer, stop).await {
            Ok(()) => tracing::debug!(peer = %peer.address, "IMAP connection ended"),
            Err(error) => tracing::debug!(peer = %peer.address, %error, "IMAP connection broke"),
        }
    }

    /// The same server, which bears logged-in clients that are silent for so long.
    #[cfg(test)]
    pub(super) fn with_patience(self, user: Duration) -> Self {
        Self { patience: Patience { user, ..self.patience }, ..self }
    }

    async fn converse(
        &self,
        mut stream: Stream,
        peer: Peer,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let mut changes = self.store.changes();
        let mut session = Session::new(&self.hostname, bindings(&stream), self.message_size);
        let readers = Arc::clone(&self.readers);
        let (search, clock) = (Arc::clone(&self.search), Arc::clone(&self.clock));
        let mut desk = Desk::new(self.store.clone(), search, clock, readers)
            .with_summaries(self.summaries.clone());
        let guest_until = Instant::now() + GUEST_TIME;
        let mut login: Option<Login> = None;
        let mut directory = self.accounts.changes();
        // The client's last word: news sent to it say nothing of whether it is still there.
        let mut heard = Instant::now();
        let mut spoken = false;
        let mut rested = false;
        loop {
            catch_up(&mut session, &mut changes);
            while let Some(effect) = session.next() {
                match effect {
                    Effect::Output(bytes) => send(&mut stream, &bytes).await?,
                    Effect::Ask(question) => {
                        // In a box: while nothing is asked it takes no room.
                        let answer =
                            Box::pin(self.answer(question, peer, &mut desk, &mut stream)).await?;
                        if let Answer::Login(Ok(found)) | Answer::Proof(Ok((found, _))) = &answer {
                            login = Some(found.clone());
                        }
                        catch_up(&mut session, &mut changes);
                        session.answer(answer);
                    }
                    Effect::DropBody => desk.drop_body(),
                    Effect::Client(name) => {
                        tracing::info!(peer = %peer.address, client = name, "an IMAP client");
                        if let Some(login) = &login {
                            self.accounts.called_itself(login, &name);
                        }
                    }
                    Effect::Compress(early) => {
                        patiently(stream.flush()).await?;
                        stream = stream.deflated(&early, self.compressors.clone());
                    }
                    Effect::StartTls => {
                        patiently(stream.flush()).await?;
                        let begun = Box::pin(stream.start_tls(&self.tls));
                        stream = timeout(HANDSHAKE, begun).await??;
                        session.tls_started(bindings(&stream).unwrap_or_default());
                    }
                    Effect::Close => return patiently(stream.shutdown()).await,
                }
            }
            patiently(stream.flush()).await?;
            if spoken {
                // A long answer was no silence of the client's.
                heard = Instant::now();
                rested = false;
            }
            spoken = false;
            session.rest();
            let Patience { guest, user } = self.patience;
            let patience = if session.is_guest() { guest } else { user };
            tokio::select! {
                read = receive(&mut stream, &mut session) => match read? {
                    0 => return Ok(()),
                    _ => spoken = true,
                },
                change = changes.recv() => match change {
                    Ok(change) => session.changed(Some(&change)),
                    Err(RecvError::Lagged(_)) => session.changed(None),
                    Err(RecvError::Closed) => session.bye("The box is shutting down"),
                },
                Ok(()) = directory.changed() => {
                    if login.as_ref().is_some_and(|login| !self.accounts.is_current(login)) {
                        session.bye("This login is not valid any more");
                    }
                }
                () = sleep_until(heard + REST), if !rested => {
                    stream.rest();
                    rested = true;
                }
                () = stop.cancelled() => session.bye("The box is shutting down"),
                () = sleep_until(heard + patience) => session.bye("Nothing was said for too long"),
                () = sleep_until(guest_until), if session.is_guest() => {
                    session.bye("Logging in took too long");
                }
            }
        }
    }

    async fn answer(
        &self,
        question: Question,
        peer: Peer,
        desk: &mut Desk,
        stream: &mut Stream,
    ) -> io::Result<Answer> {
        match question {
            Question::Login { user, password } => {
                let login = self.accounts.authenticate(&user, password, peer.address).await;
                Ok(Answer::Login(login))
            }
            Question::Salt(login) => Ok(Answer::Salt(self.accounts.salt(&login).await)),
            Question::Proof(proof) => Ok(Answer::Proof(self.accounts.prove(&proof, peer.address))),
            question => desk.answer(question, stream).await,
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("imap::Server")
    }
}

/// Hands what comes to the session; how much. While nothing comes no memory is held for it.
async fn receive(stream: &mut Stream, session: &mut Session) -> io::Result<usize> {
    poll_fn(|context| {
        let mut bytes = [0; READ];
        // A stranger's commands are small, and what is read has to be held.
        let most = if session.is_guest() { READ_GUEST } else { READ };
        let mut buffer = ReadBuf::new(bytes.get_mut(..most).unwrap_or_default());
        ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
        session.receive(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

/// What a login over this connection may be bound to; nothing in the clear.
fn bindings(stream: &Stream) -> Option<Bindings> {
    stream.channel().map(|channel| channel.bindings)
}

/// Hands on the news that came while the session was busy.
fn catch_up(session: &mut Session, changes: &mut Receiver<Change>) {
    loop {
        match changes.try_recv() {
            Ok(change) => session.changed(Some(&change)),
            Err(TryRecvError::Lagged(_)) => session.changed(None),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}
