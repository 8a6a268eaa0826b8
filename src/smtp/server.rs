//! SMTP on sockets: carries out what a session wants. Every connection is one task with one
//! session and at most one message under way; replies that belong together leave together.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::held::Notice;
use super::reply::{self, Reply};
use super::session::{self, Answer, Effect, Handover, Question, Role, Session, Timeouts};
use crate::accounts::sasl::Credentials;
use crate::accounts::{Accounts, AuthError, Login, Lookup};
use crate::clock::SharedClock;
use crate::deliver::Judge;
use crate::mail::{Address, Domain, Envelope, ReversePath};
use crate::net::{Conduct, Peer, Stream, Tls};
use crate::policy;
use crate::policy::allowance::{Allowance, Over, Spent};
use crate::policy::guard::{Guard, Visit};
use crate::queue::{AcceptError, Incoming, Queue, Source, Terms};
use crate::store::{BodyWriter, Store, StoreError};

/// Serves SMTP connections of every role.
#[derive(Debug)]
pub struct Server {
    settings: ServerSettings,
    house: House,
    /// How those on port 25 have behaved. The other ports are for our people: there a wrong login
    /// waits (see `accounts`), and a cloud of phones that share addresses is not hindered.
    conduct: Conduct,
}

/// What the owner decided.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Our name, in the greeting and in trace fields.
    pub hostname: Domain,
    /// Who gets mail for `<postmaster>` without domain.
    pub postmaster: Address,
    /// Largest message in bytes.
    pub message_size: u64,
    /// How long a peer may take.
    pub timeouts: Timeouts,
}

/// The parts of the house a session may ask.
pub struct House {
    /// The certificate, for STARTTLS and port 465.
    pub tls: Tls,
    /// Who lives here.
    pub accounts: Accounts,
    /// Takes what was accepted.
    pub queue: Queue,
    /// Takes the bytes while they come in.
    pub store: Store,
    /// Looks at strangers and their mail.
    pub guard: Guard,
    /// How much accounts may send away.
    pub allowance: Allowance,
    /// Dates the trace fields.
    pub clock: SharedClock,
}

impl Server {
    /// A server that asks this house.
    pub fn new(settings: ServerSettings, house: House) -> Self {
        Self { settings, house, conduct: Conduct::default() }
    }

    /// Serves one connection to its end. On `stop` the peer is told to come back; a message whose
    /// end was already received is still made safe and acknowledged.
    pub async fn serve(&self, stream: TcpStream, peer: Peer, role: Role, stop: CancellationToken) {
        let served = async {
            let now = tokio::time::Instant::now().into_std();
            if role == Role::Mx && self.conduct.is_unwelcome(peer.address, now) {
                tracing::debug!(peer = %peer.address, "not served after so many errors");
                let mut refusal = Vec::new();
                reply::UNWELCOME.write(&mut refusal);
                let mut stream = Stream::Plain(stream);
                timeout(WRITE_TIMEOUT, stream.write_all(&refusal)).await??;
                return hang_up(stream).await;
            }
            let stream = match role {
                Role::Submissions => handshake(self.house.tls.accept(stream)).await?,
                Role::Mx | Role::Submission => Stream::Plain(stream),
            };
            Connection::new(self, stream, peer, role)?.run(stop).await
        };
        // Boxed: a listener holds one of these for every connection it accepts.
        if let Err(error) = Box::pin(served).await {
            tracing::debug!(peer = %peer.address, %error, "SMTP connection lost");
        }
    }
}

/// One connection.
struct Connection<'a> {
    house: &'a House,
    settings: &'a ServerSettings,
    conduct: &'a Conduct,
    stream: Stream,
    peer: Peer,
    role: Role,
    session: Session,
    /// Replies not sent yet.
    out: Vec<u8>,
    login: Option<Login>,
    /// What a stranger is at.
    visit: Option<Visit>,
    body: Taking,
}

/// What becomes of the bytes of the message under way.
enum Taking {
    /// There is none, or it is refused.
    Nothing,
    Body(Box<BodyWriter>),
    /// The store failed in the middle of it; told at its end.
    Failed(StoreError),
}

impl<'a> Connection<'a> {
    fn new(server: &'a Server, stream: Stream, peer: Peer, role: Role) -> io::Result<Self> {
        let ServerSettings { hostname, postmaster, message_size, timeouts } =
            server.settings.clone();
        let mut number = [0; 8];
        SystemRandom::new().fill(&mut number).map_err(|_| io::Error::other("no random numbers"))?;
        let settings = session::SessionSettings {
            role,
            hostname,
            postmaster,
            peer: peer.address,
            channel: stream.channel(),
            number: u64::from_be_bytes(number),
            message_size,
            timeouts,
        };
        Ok(Self {
            house: &server.house,
            settings: &server.settings,
            conduct: &server.conduct,
            stream,
            peer,
            role,
            session: Session::new(settings, Instant::now()),
            out: Vec::new(),
            login: None,
            visit: None,
            body: Taking::Nothing,
        })
    }

    async fn run(mut self, stop: CancellationToken) -> io::Result<()> {
        loop {
            match self.session.poll(Instant::now()) {
                Effect::Reply(reply) => reply.write(&mut self.out),
                Effect::Misstep if self.role == Role::Mx => {
                    let now = tokio::time::Instant::now().into_std();
                    let late = self.conduct.misstep(self.peer.address, now);
                    if !late.is_zero() {
                        self.flush().await?;
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = tokio::time::sleep(late) => {}
                        }
                    }
                }
                Effect::Misstep => {}
                Effect::Read { until } => {
                    self.flush().await?;
                    let Self { stream, session, .. } = &mut self;
                    let read = poll_fn(|context| read_some(stream, session, context));
                    let read = timeout_at(until.into(), read);
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => self.session.shut_down(),
                        read = read => match read {
                            Ok(Ok(0)) => return Ok(()),
                            Ok(Ok(_)) => {}
                            Ok(Err(error)) => return Err(error),
                            Err(_) => self.session.time_out(),
                        },
                    }
                }
                Effect::StartTls => {
                    self.flush().await?;
                    self.stream = handshake(self.stream.start_tls(&self.house.tls)).await?;
                    let channel = self.stream.channel().ok_or(io::ErrorKind::NotConnected)?;
                    self.session.tls_started(channel, Instant::now());
                }
                Effect::Ask(question) => {
                    let verdict = self.find_out(question).await;
                    self.session.answer(verdict, Instant::now());
                }
                Effect::BeginBody => {
                    self.body = Taking::Body(Box::new(self.house.store.new_body()));
                }
                Effect::Body(bytes) => self.take(&bytes).await,
                Effect::DropBody => self.body = Taking::Nothing,
                Effect::Accept(handover) => {
                    let verdict = self.accept(*handover).await;
                    self.session.answer(verdict, Instant::now());
                }
                Effect::Close => {
                    self.flush().await?;
                    return hang_up(self.stream).await;
                }
            }
        }
    }

    async fn find_out(&mut self, question: Question) -> Result<Answer, Reply> {
        let accounts = &self.house.accounts;
        let peer = self.peer.address;
        let refused = |error: AuthError| {
            tracing::info!(%peer, %error, "login refused");
            Reply::from(&error)
        };
        let verdict = match question {
            Question::Login(Credentials { login, password }) => {
                let login = accounts.authenticate(&login, password, peer).await;
                self.login = Some(login.map_err(refused)?);
                Ok(())
            }
            Question::Salt(login) => {
                return accounts.salt(&login).await.map(Answer::Salt).map_err(refused);
            }
            Question::Proof(proof) => {
                let (login, signature) = accounts.prove(&proof, peer).map_err(refused)?;
                self.login = Some(login);
                return Ok(Answer::Proven(signature));
            }
            Question::Sender { from, hello } => match (&self.login, self.role, from.address()) {
                (_, Role::Mx, _) => {
                    let stranger = policy::Peer { ip: peer, helo: hello, mail_from: from };
                    self.visit = Some(self.house.guard.meet(stranger));
                    Ok(())
                }
                (Some(_), _, None) => Ok(()),
                (Some(login), _, Some(from)) if accounts.may_send_as(login.account, from) => Ok(()),
                _ => Err(reply::NOT_YOUR_ADDRESS),
            },
            Question::Authors(authors) => {
                let may = |login: &Login| {
                    authors.iter().all(|author| accounts.may_send_as(login.account, author))
                };
                if self.login.as_ref().is_some_and(may) {
                    Ok(())
                } else {
                    Err(reply::NOT_YOUR_ADDRESS)
                }
            }
            Question::Recipient { to, size } => match accounts.lookup(&to) {
                found @ (Lookup::Account(_) | Lookup::Forward(_)) => {
                    // What cannot be told now is told at the end of the message.
                    let full = self.house.queue.has_room(&to, size).is_ok_and(|room| !room);
                    let account = match found {
                        Lookup::Account(account) => Some(account),
                        _ => None,
                    };
                    match &mut self.visit {
                        _ if full => Err(reply::MAILBOX_FULL),
                        Some(visit) => visit.greet(&to, account).await.map_err(reply::come_back),
                        None => Ok(()),
                    }
                }
                // Notices for those whose mail an alias of ours sent on.
                Lookup::NoSuchUser if self.house.queue.sends_back(&to) => Ok(()),
                Lookup::NoSuchUser => Err(reply::NO_SUCH_USER),
                Lookup::NotOurs if self.login.is_some() => match self.house.queue.kept_back(&to) {
                    Ok(Some(entry)) => Err(reply::kept_back(&to, &entry)),
                    // What cannot be looked up now is no reason to refuse.
                    Ok(None) | Err(_) => Ok(()),
                },
                Lookup::NotOurs => Err(reply::NO_RELAY),
            },
        };
        verdict.map(Answer::from)
    }

    async fn take(&mut self, bytes: &[u8]) {
        if let Some(visit) = &mut self.visit {
            visit.pass(bytes);
        }
        if let Taking::Body(body) = &mut self.body
            && let Err(error) = body.write(bytes).await
        {
            self.body = Taking::Failed(error);
        }
    }

    /// Makes a complete message safe; only then may the session acknowledge it.
    async fn accept(&mut self, handover: Handover) -> Result<(), Reply> {
        let (peer, id) = (self.peer.address, handover.received.id.clone());
        let (from, recipients) = (handover.envelope.from.clone(), handover.envelope.to.len());
        match self.store(handover).await {
            Ok(size) => {
                tracing::info!(%peer, id, %from, recipients, size, "message taken");
                self.conduct.delivered(peer, tokio::time::Instant::now().into_std());
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%peer, id, %from, recipients, %error, "message not taken");
                Err(Reply::from(&error))
            }
        }
    }

    async fn store(&mut self, handover: Handover) -> Result<u64, AcceptError> {
        let body = match std::mem::replace(&mut self.body, Taking::Nothing) {
            Taking::Body(body) => body.finish().await?,
            Taking::Failed(error) => return Err(error.into()),
            // The session begins a body before it accepts one.
            Taking::Nothing => return Err(StoreError::Closed.into()),
        };
        let size = body.size();
        let received = self.house.clock.now();
        let (mut trace, mut judged) = (Vec::new(), None);
        if let Some(visit) = self.visit.take() {
            let found = Arc::new(visit.judge().await);
            trace.extend_from_slice(found.field.as_bytes());
            judged = Some(found);
        }
        trace.extend(handover.trace(received));
        let message_id = handover.received.id.clone();
        let incoming = Incoming {
            trace,
            envelope: handover.envelope,
            body,
            source: match &self.login {
                Some(login) => Source::Account(login.account),
                None => Source::Stranger,
            },
            received,
            judge: judged.clone().map(|judged| judged as Arc<dyn Judge>),
        };
        let to: Vec<Address> = incoming.envelope.addresses().cloned().collect();
        let Spent { settings, over } = self.spend(&incoming)?;
        let news = over.filter(|over| over.is_new);
        let first: Vec<Address> =
            news.iter().flat_map(|_| self.elsewhere(&incoming)).cloned().collect();
        let terms = Terms { held: over.is_some(), settings };
        let taken = self.house.queue.accept_on(incoming, &terms).await;
        if let (Some(judged), Ok(_) | Err(AcceptError::Unwanted { .. })) = (judged, &taken) {
            judged.conclude(taken.is_ok(), &to);
        }
        taken?;
        if let (Some(login), None) = (&self.login, over) {
            self.house.guard.sent(login.account, &to);
        }
        if let Some(over) = news {
            self.tell(over, &first, &message_id).await;
        }
        Ok(size)
    }

    /// Counts what an account sends away.
    fn spend(&self, incoming: &Incoming) -> Result<Spent, StoreError> {
        let Some(login) = &self.login else { return Ok(Spent::default()) };
        self.house.allowance.spend(login.account, self.elsewhere(incoming), incoming.received)
    }

    /// Those of the recipients who do not live here.
    fn elsewhere<'i>(&self, incoming: &'i Incoming) -> impl Iterator<Item = &'i Address> {
        let accounts = &self.house.accounts;
        incoming.envelope.addresses().filter(move |to| accounts.lookup(to) == Lookup::NotOurs)
    }

    /// Tells account and owner that mail is being held.
    async fn tell(&self, over: Over, first: &[Address], id: &str) {
        let (House { store, queue, clock, .. }, Some(login)) = (self.house, &self.login) else {
            return;
        };
        let mut to = vec![login.address.clone()];
        if self.settings.postmaster != login.address {
            to.push(self.settings.postmaster.clone());
        }
        let hostname = &self.settings.hostname;
        let (account, at) = (&login.address, clock.now());
        tracing::warn!(%account, "an account has sent more than it may in a day; its mail is held");
        let owner = &self.settings.postmaster;
        let text = Notice { account, owner, first, over, hostname, to: &to, id }.compose(at);
        let told = async {
            let mut body = store.new_body();
            body.write(text.as_bytes()).await?;
            let incoming = Incoming {
                envelope: Envelope::new(ReversePath::Null, to),
                trace: Vec::new(),
                body: body.finish().await?,
                source: Source::Own,
                received: at,
                judge: None,
            };
            queue.accept(incoming).await
        };
        if let Err(error) = told.await {
            tracing::warn!(%account, %error, "nobody could be told of the mail that is held");
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let sent = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        timeout(WRITE_TIMEOUT, sent).await.map_err(|_| io::ErrorKind::TimedOut)??;
        // Most connections wait for most of their time; what they do not need is given back.
        self.out = Vec::new();
        Ok(())
    }
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("House")
    }
}

async fn handshake(accept: impl Future<Output = io::Result<Stream>>) -> io::Result<Stream> {
    timeout(HANDSHAKE_TIMEOUT, accept).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Reads what is there. The buffer is on the stack and the bytes go to the session at once: while
/// nothing comes, a connection holds no buffer at all.
fn read_some(
    stream: &mut Stream,
    session: &mut Session,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut bytes = [0; READ_SIZE];
    let mut buffer = ReadBuf::new(&mut bytes);
    ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
    session.receive(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}

/// Closes so that the last reply arrives: a socket closed with bytes unread sends a reset, which
/// may overtake it.
async fn hang_up(mut stream: Stream) -> io::Result<()> {
    let drain = async {
        stream.shutdown().await?;
        let mut rest = BytesMut::with_capacity(READ_SIZE);
        while stream.read_buf(&mut rest).await? > 0 {
            rest.clear();
        }
        Ok(())
    };
    timeout(HANG_UP_TIMEOUT, drain).await.unwrap_or(Ok(()))
}

/// Bytes read at once; a session holds no more than this and one line.
const READ_SIZE: usize = 16 << 10;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that takes no replies for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_mins(2);
const HANG_UP_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(all(test, feature = "demo"))]
#[allow(clippy::unwrap_used, reason = "what cannot be set up is the failed test")]
mod tests;
