//! The server's side of an SMTP session, without I/O: bytes, answers and the time go in, effects
//! come out. [`Session::poll`] says what to do next; when it asks something, the session stands
//! still until [`Session::answer`], so that replies keep the order of the commands however many
//! a client sends at once (RFC 2920). No reply that takes responsibility for a message is given
//! before the answer to [`Effect::Accept`].

mod handover;
mod login;
mod receiving;
mod stages;
mod transaction;
mod waiting;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub use self::handover::Handover;
use self::login::Challenged;
use self::receiving::{Discarding, Receiving};
use self::stages::Stage;
use self::transaction::Mail;
use self::waiting::Waiting;
use super::command::{Command, CommandError};
use super::reply::{self, Reply};
use crate::accounts::sasl::scram::{Proof, Salted, Signature};
use crate::accounts::sasl::{Credentials, Exchange};
use crate::mail::{Address, Domain, ReversePath};
use crate::net::{Channel, LineBuffer, LineError};

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Port 25: other servers bring mail for us. No login, nothing is passed on.
    Mx,
    /// Port 587: our people send mail, after STARTTLS and a login (RFC 6409).
    Submission,
    /// Port 465: the same, under TLS from the first byte (RFC 8314 §3.3).
    Submissions,
}

/// What a session is told at its start.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// What the port is for.
    pub role: Role,
    /// Our name, in the greeting and in trace fields.
    pub hostname: Domain,
    /// Who gets mail for `<postmaster>` without domain.
    pub postmaster: Address,
    /// Who connected.
    pub peer: IpAddr,
    /// The TLS that is up, on port 465 from the start.
    pub channel: Option<Channel>,
    /// A number no other session of this box ever had: message ids are made from it.
    pub number: u64,
    /// Largest message in bytes.
    pub message_size: u64,
    /// How long a peer may take.
    pub timeouts: Timeouts,
}

/// How long a peer may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For one command, from the reply to its line end (RFC 5321 §4.5.3.2.7: 5 minutes).
    pub command: Duration,
    /// For anything at all to come while a message is sent, and for the start of it. The whole
    /// message may take this long and one second more for every KiB.
    pub data: Duration,
    /// From connecting to a login or a first accepted recipient.
    pub proof: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            command: Duration::from_mins(5),
            data: Duration::from_mins(10),
            proof: Duration::from_mins(10),
        }
    }
}

/// What to do next.
#[derive(Debug)]
pub enum Effect {
    /// Send a reply; it may wait for others until the next [`Effect::Read`].
    Reply(Reply),
    /// The peer did what no sound client does, or guesses; the reply to it comes next, and may be
    /// late.
    Misstep,
    /// Send what there is, read, and call [`Session::receive`]; when nothing comes until then,
    /// [`Session::time_out`].
    Read {
        /// The moment to give up.
        until: Instant,
    },
    /// Send what there is, do the handshake, and call [`Session::tls_started`].
    StartTls,
    /// Find out, and call [`Session::answer`].
    Ask(Question),
    /// A message begins: be ready for its bytes.
    BeginBody,
    /// Bytes of the message.
    Body(Vec<u8>),
    /// The message is refused: what was taken of it can go.
    DropBody,
    /// The message is complete: make it safe, and call [`Session::answer`].
    Accept(Box<Handover>),
    /// Send what there is and hang up.
    Close,
}

/// What a session has to ask the rest of the house. The answer is yes, or what was asked for, or
/// the reply that says no.
#[derive(Debug)]
#[non_exhaustive]
pub enum Question {
    /// Are name and password right?
    Login(Credentials),
    /// Which salt belongs to this login? Answered by [`Answer::Salt`].
    Salt(String),
    /// Is this proof right? Answered by [`Answer::Proven`].
    Proof(Proof),
    /// May the peer, or the account logged in, send as this? Read receipts and the like have no
    /// sender (RFC 8098 §3).
    Sender {
        /// The argument of MAIL.
        from: ReversePath,
        /// The argument of HELO or EHLO.
        hello: String,
    },
    /// Does mail for this address go through here, and is there room for it?
    Recipient {
        /// The address.
        to: Address,
        /// What the peer said of the message's size (RFC 1870).
        size: Option<u64>,
    },
    /// May the account logged in say in `From` that these wrote a message?
    Authors(Vec<Address>),
}

/// What the house answers when it does not refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes, or done.
    Yes,
    /// The salt for a login.
    Salt(Salted),
    /// The proof is right; this is ours.
    Proven(Signature),
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self::Yes
    }
}

/// One connection's conversation.
#[derive(Debug)]
pub struct Session {
    line: LineBuffer,
    state: State,
    desk: Desk,
}

impl Session {
    /// Starts with the greeting.
    pub fn new(settings: SessionSettings, now: Instant) -> Self {
        let greeting = format!("{} ESMTP Pillarbox", settings.hostname);
        let mut desk = Desk {
            settings,
            effects: VecDeque::new(),
            logged_in: false,
            proven: false,
            failed_logins: 0,
            wasted: 0,
            messages: 0,
            connected: now,
            since: now,
        };
        desk.say(Reply::worded(220, "", &greeting));
        Self { line: LineBuffer::default(), state: State::Command(Stage::Fresh), desk }
    }

    /// What to do next. After [`Effect::Ask`], [`Effect::Accept`] and [`Effect::StartTls`] the
    /// answer has to come first; polling without it ends the session.
    pub fn poll(&mut self, now: Instant) -> Effect {
        loop {
            if let Some(effect) = self.desk.effects.pop_front() {
                return effect;
            }
            if self.desk.wasted >= PATIENCE {
                self.close_with(reply::TOO_MANY_ERRORS);
                continue;
            }
            match std::mem::replace(&mut self.state, State::Closed) {
                State::Closed | State::Waiting(_) => return Effect::Close,
                State::Command(stage) => match self.line.next_line(self.desk.line_limit()) {
                    Ok(None) => return self.read(State::Command(stage)),
                    Ok(Some(line)) => {
                        self.desk.since = now;
                        self.state = self.desk.command(stage, &line.0);
                    }
                    Err(error) => {
                        self.desk.since = now;
                        self.desk.line_fault(error);
                        self.state = State::Command(stage);
                    }
                },
                State::Discarding(mut discarding) => {
                    if self.line.pending() == 0 {
                        let until = discarding.deadline(&self.desk);
                        self.state = State::Discarding(discarding);
                        return Effect::Read { until };
                    }
                    self.desk.since = now;
                    let used = discarding.take(self.line.pending(), now);
                    self.line.take(used);
                    self.state = discarding.next(&mut self.desk);
                }
                State::Challenged(challenged) => match self.line.next_line(Exchange::LINE_MAX) {
                    Ok(None) => return self.read(State::Challenged(challenged)),
                    line => {
                        self.desk.since = now;
                        self.state = challenged.respond(line, &mut self.desk);
                    }
                },
                State::Receiving(mut receiving) => {
                    if self.line.pending() == 0 {
                        let until = receiving.deadline(&self.desk);
                        self.state = State::Receiving(receiving);
                        return Effect::Read { until };
                    }
                    let used = receiving.take(self.line.buffer(), &mut self.desk, now);
                    self.line.take(used.bytes);
                    self.state = receiving.next(used.ended, &mut self.desk);
                }
            }
        }
    }

    /// Takes what the peer sent. Feed no more than a few KiB between two [`Effect::Read`]s: the
    /// session keeps what it has not come to yet.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.line.feed(bytes);
    }

    /// Answers [`Effect::Ask`] or [`Effect::Accept`]: yes, or the reply that says no.
    pub fn answer(&mut self, verdict: Result<impl Into<Answer>, Reply>, now: Instant) {
        self.desk.since = now;
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Waiting(waiting) => waiting.answered(verdict.map(Into::into), &mut self.desk),
            // Nothing was asked: this session cannot be trusted to go on.
            _ => State::Closed,
        };
    }

    /// The handshake after [`Effect::StartTls`] succeeded. What was sent in the clear before it is
    /// forgotten, commands and names alike (RFC 3207 §4.2).
    pub fn tls_started(&mut self, channel: Channel, now: Instant) {
        self.line.clear();
        self.desk.since = now;
        self.desk.settings.channel = Some(channel);
        self.state = State::Command(Stage::Fresh);
    }

    /// Nothing came in time.
    pub fn time_out(&mut self) {
        self.close_with(reply::TIMED_OUT);
    }

    /// The service stops; the peer is told to come back.
    pub fn shut_down(&mut self) {
        self.close_with(reply::SHUTTING_DOWN);
    }

    /// Bytes received and not come to yet.
    pub fn pending(&self) -> usize {
        self.line.pending()
    }

    fn close_with(&mut self, reply: Reply) {
        if !matches!(self.state, State::Closed) {
            self.desk.wasted = 0;
            self.desk.say(reply);
            self.state = State::Closed;
        }
    }

    fn read(&mut self, state: State) -> Effect {
        self.line.release();
        self.state = state;
        Effect::Read { until: self.desk.deadline() }
    }
}

/// Where a session stands.
#[derive(Debug)]
enum State {
    /// A command is expected.
    Command(Stage),
    /// A line of a login is expected.
    Challenged(Challenged),
    /// A message is coming in.
    Receiving(Box<Receiving>),
    /// Bytes are coming in that nobody wants.
    Discarding(Discarding),
    /// Somebody has to answer first.
    Waiting(Waiting),
    Closed,
}

/// What belongs to the session as a whole, whatever its state.
#[derive(Debug)]
struct Desk {
    settings: SessionSettings,
    effects: VecDeque<Effect>,
    logged_in: bool,
    /// The peer has shown that it has business here.
    proven: bool,
    failed_logins: u32,
    /// How much of our [`PATIENCE`] is used up since the last message.
    wasted: u32,
    messages: u32,
    connected: Instant,
    /// When the present command began to be waited for.
    since: Instant,
}

impl Desk {
    /// The command table: which command is right in which stage.
    fn command(&mut self, stage: Stage, line: &[u8]) -> State {
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(CommandError::Http) => {
                self.misstep(reply::NOT_HTTP);
                return State::Closed;
            }
            // Nobody knows how much of what follows is the message: nothing after it is read.
            Err(CommandError::Chunk) => {
                self.misstep(CommandError::Chunk.into());
                return State::Closed;
            }
            Err(error) => {
                self.fault(error);
                return State::Command(stage);
            }
        };
        let (stage, answer) = match (stage, command) {
            (_, Command::Quit) => {
                self.say(reply::BYE);
                return State::Closed;
            }
            (stage, Command::Ehlo(name)) => {
                stage.reset(self);
                return self.ehlo(name);
            }
            (stage, Command::Helo(name)) => {
                stage.reset(self);
                return self.helo(name);
            }
            (stage, Command::Noop) => (stage, self.idle(reply::OK)),
            (stage, Command::Verify) => (stage, self.idle(reply::NOT_VERIFIED)),
            (stage, Command::Help) => (stage, self.idle(reply::HELP)),
            (stage, Command::Rset) => (stage.reset(self), self.idle(reply::OK)),
            (Stage::Chunks(receiving), Command::Bdat(chunk)) => {
                return receiving.chunk(chunk, self);
            }
            (Stage::Rcpt(rcpt), Command::Bdat(chunk)) => return rcpt.bdat(chunk, self),
            (stage, Command::Bdat(chunk)) => {
                let refusal = match stage {
                    Stage::Fresh => reply::HELLO_FIRST,
                    Stage::Mail(_) => reply::NO_RECIPIENTS,
                    _ => reply::MAIL_FIRST,
                };
                return Discarding::begin(stage, chunk, refusal, self);
            }
            (Stage::Fresh, _) => (Stage::Fresh, self.early(reply::HELLO_FIRST)),
            // Above all DATA: a message comes in one of the two ways (RFC 3030 §2).
            (stage @ Stage::Chunks(_), _) => (stage, self.early(reply::CHUNKS_UNDER_WAY)),
            (stage, Command::StartTls) if self.settings.channel.is_some() => {
                (stage, self.idle(reply::TLS_ALREADY))
            }
            (_, Command::StartTls) => {
                self.say(reply::READY_FOR_TLS);
                self.effects.push_back(Effect::StartTls);
                return State::Waiting(Waiting::Tls);
            }
            (Stage::Ready(ready), Command::Auth { mechanism, initial }) => {
                let initial = initial.as_deref().map(str::as_bytes);
                return ready.auth(mechanism, initial, self);
            }
            (stage, Command::Auth { .. }) => (stage, self.early(reply::LOGIN_IN_TRANSACTION)),
            (Stage::Ready(ready), Command::Mail(mail)) => {
                return Mail::begin(ready, mail, self);
            }
            (stage, Command::Mail(_)) => (stage, self.early(reply::NESTED_MAIL)),
            (Stage::Ready(ready), Command::Rcpt(_) | Command::Data) => {
                (Stage::Ready(ready), self.early(reply::MAIL_FIRST))
            }
            (Stage::Mail(mail), Command::Rcpt(to)) => return mail.rcpt(to, self),
            (Stage::Mail(mail), Command::Data) => {
                (Stage::Mail(mail), self.early(reply::NO_RECIPIENTS))
            }
            (Stage::Rcpt(rcpt), Command::Rcpt(to)) => return rcpt.rcpt(to, self),
            (Stage::Rcpt(rcpt), Command::Data) => return rcpt.data(self),
        };
        self.say(answer);
        State::Command(stage)
    }

    fn say(&mut self, reply: Reply) {
        self.effects.push_back(Effect::Reply(reply));
    }

    fn ask(&mut self, question: Question) {
        self.effects.push_back(Effect::Ask(question));
    }

    /// Refuses what no sound client says.
    fn fault(&mut self, reply: impl Into<Reply>) {
        self.wasted += FAULT;
        self.misstep(reply.into());
    }

    /// Refuses a line that is none. The longest are taken where a login may come.
    fn line_fault(&mut self, error: LineError) {
        match error {
            LineError::TooLong if self.line_limit() == Exchange::LINE_MAX => {
                self.fault(reply::LOGIN_TOO_LONG);
            }
            error => self.fault(error),
        }
    }

    /// Refuses, and lets the house know that this peer is up to something.
    fn misstep(&mut self, reply: Reply) {
        self.effects.push_back(Effect::Misstep);
        self.say(reply);
    }

    /// Passes on the answer to a command that is right but moves nothing.
    fn idle(&mut self, reply: Reply) -> Reply {
        self.wasted += IDLE;
        reply
    }

    /// Passes on the answer to a command out of order; a client that sends many at once, and had
    /// its MAIL refused, says RCPT out of order without fault.
    fn early(&mut self, reply: Reply) -> Reply {
        self.wasted += EARLY;
        reply
    }

    /// The longest line taken now. Only a login needs more than a path and its parameters
    /// (RFC 5321 §4.5.3.1.4 and the extensions; RFC 4954 §4).
    fn line_limit(&self) -> usize {
        let may_log_in =
            self.settings.role != Role::Mx && self.settings.channel.is_some() && !self.logged_in;
        if may_log_in { Exchange::LINE_MAX } else { COMMAND_LINE }
    }

    /// When to give up waiting for a command.
    fn deadline(&self) -> Instant {
        let command = self.since + self.settings.timeouts.command;
        let proof = self.connected + self.settings.timeouts.proof;
        if self.proven { command } else { command.min(proof) }
    }
}

/// Longest command in bytes without CRLF.
const COMMAND_LINE: usize = 2048;
/// A session may waste this much between two messages: 10 faults, or 100 idle commands, or 1000
/// out of order.
const PATIENCE: u32 = 1000;
const FAULT: u32 = 100;
const IDLE: u32 = 10;
const EARLY: u32 = 1;
/// Logins that may fail on one connection.
const MAX_LOGINS: u32 = 5;
/// Recipients of one message; RFC 5321 §4.5.3.1.8 asks for at least 100.
const MAX_RECIPIENTS: usize = 1000;
