//! A message on its way in, after DATA (RFC 5321 §4.1.1.4) or in the pieces of BDAT (RFC 3030). Its
//! bytes pass through; what is known at its end decides whether it is handed over.

use std::time::{Duration, Instant};

use super::stages::{Ready, Stage};
use super::transaction::{Mail, Rcpt};
use super::waiting::Waiting;
use super::{Desk, Effect, Handover, Question, Role, State};
use crate::mail::headers::{HeaderScan, MAX_HOPS, Origin, Protocol, Received};
use crate::mail::{Envelope, ReversePath};
use crate::smtp::command::Chunk;
use crate::smtp::data::{ChunkReader, DataReader};
use crate::smtp::reply::{self, Reply};

/// A message is coming in.
#[derive(Debug)]
pub(super) struct Receiving {
    rcpt: Rcpt,
    reader: Reader,
    scan: HeaderScan,
    /// It will be refused at its end; its bytes are not kept any more.
    refusal: Option<Reply>,
    started: Instant,
    last: Instant,
}

#[derive(Debug)]
enum Reader {
    /// Ended by a dot.
    Dotted(DataReader),
    /// The rest of a piece.
    Chunked { reader: ChunkReader, left: u64, last: bool },
}

/// What [`Receiving::take`] did with the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub(super) bytes: usize,
    /// The message, or this piece of it, is complete.
    pub(super) ended: bool,
}

impl Receiving {
    /// DATA.
    pub(super) fn dotted(rcpt: Rcpt, desk: &mut Desk) -> State {
        let receiving = Self::new(rcpt, Reader::Dotted(DataReader::new()), desk);
        desk.say(reply::GO_AHEAD);
        State::Receiving(Box::new(receiving))
    }

    /// The first BDAT.
    pub(super) fn first_chunk(rcpt: Rcpt, chunk: Chunk, desk: &mut Desk) -> State {
        let reader = Reader::Chunked { reader: ChunkReader::new(), left: 0, last: false };
        Box::new(Self::new(rcpt, reader, desk)).chunk(chunk, desk)
    }

    fn new(rcpt: Rcpt, reader: Reader, desk: &mut Desk) -> Self {
        desk.messages += 1;
        desk.effects.push_back(Effect::BeginBody);
        let origin =
            if desk.settings.role == Role::Mx { Origin::Stranger } else { Origin::Account };
        Self {
            rcpt,
            reader,
            scan: HeaderScan::new(origin, desk.settings.hostname.clone()),
            refusal: None,
            started: desk.since,
            last: desk.since,
        }
    }

    /// Another BDAT.
    pub(super) fn chunk(mut self: Box<Self>, chunk: Chunk, desk: &mut Desk) -> State {
        if let Reader::Chunked { left, last, .. } = &mut self.reader {
            (*left, *last) = (chunk.size, chunk.last);
        }
        self.last = desk.since;
        if chunk.size > 0 {
            return State::Receiving(self);
        }
        // No byte will come that could be taken.
        desk.wasted += u32::from(!chunk.last);
        self.next(true, desk)
    }

    /// Takes what is there of the message.
    pub(super) fn take(&mut self, input: &[u8], desk: &mut Desk, now: Instant) -> Used {
        let mut bytes = Vec::with_capacity(input.len());
        let used = match &mut self.reader {
            Reader::Dotted(reader) => {
                let progress = reader.read(input, &mut bytes);
                Used { bytes: progress.used, ended: progress.ended }
            }
            Reader::Chunked { reader, left, .. } => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                let (input, _) = input.split_at(most);
                reader.read(input, &mut bytes);
                *left -= input.len() as u64;
                Used { bytes: input.len(), ended: *left == 0 }
            }
        };
        self.last = now;
        self.pass(&bytes, desk);
        used
    }

    /// What comes after that.
    pub(super) fn next(mut self: Box<Self>, ended: bool, desk: &mut Desk) -> State {
        match &mut self.reader {
            Reader::Dotted(_) if ended => return self.end(desk),
            Reader::Chunked { reader, last: true, .. } if ended => {
                let mut rest = Vec::new();
                reader.finish(&mut rest);
                self.pass(&rest, desk);
                return self.end(desk);
            }
            Reader::Chunked { .. } if ended => {
                let text = format!("{} bytes of the message are here", self.size());
                return match self.refusal {
                    // What follows of it will be out of order (RFC 3030 §2).
                    Some(refusal) => {
                        desk.say(refusal);
                        self.rcpt.into_ready().into()
                    }
                    None => {
                        desk.say(Reply::worded(250, "2.0.0", &text));
                        State::Command(Stage::Chunks(self))
                    }
                };
            }
            Reader::Dotted(_) | Reader::Chunked { .. } => {}
        }
        // A refusal can be told only at the end of the message; somebody who sends without end
        // is not waited for.
        match self.refusal {
            Some(refusal) if self.size() > patience(desk) => {
                desk.say(refusal);
                State::Closed
            }
            refusal => {
                self.refusal = refusal;
                State::Receiving(self)
            }
        }
    }

    /// When to give up waiting for more.
    pub(super) fn deadline(&self, desk: &Desk) -> Instant {
        let patience = desk.settings.timeouts.data;
        let earned = Duration::from_secs(self.size() / 1024);
        (self.last + patience).min(self.started + patience + earned)
    }

    /// The message is given up between two pieces.
    pub(super) fn give_up(self, desk: &mut Desk) -> Ready {
        desk.effects.push_back(Effect::DropBody);
        self.rcpt.into_ready()
    }

    fn size(&self) -> u64 {
        match &self.reader {
            Reader::Dotted(reader) => reader.size(),
            Reader::Chunked { reader, .. } => reader.size(),
        }
    }

    fn has_bare_line_end(&self) -> bool {
        match &self.reader {
            Reader::Dotted(reader) => reader.has_bare_line_end(),
            Reader::Chunked { reader, .. } => reader.has_bare_line_end(),
        }
    }

    fn pass(&mut self, bytes: &[u8], desk: &mut Desk) {
        if self.has_bare_line_end() {
            self.refuse(reply::BARE_LINE_END, desk);
        } else if self.size() > desk.settings.message_size {
            self.refuse(reply::TOO_BIG, desk);
        }
        let mut kept = Vec::with_capacity(bytes.len());
        self.scan.pass(bytes, &mut kept);
        if self.refusal.is_none() && !kept.is_empty() {
            desk.effects.push_back(Effect::Body(kept));
        }
    }

    fn end(mut self: Box<Self>, desk: &mut Desk) -> State {
        let mut rest = Vec::new();
        let facts = self.scan.finish(&mut rest);
        let submitted = desk.settings.role != Role::Mx;
        let Rcpt { mail: Mail { from, .. }, to } = &self.rcpt;
        // Our people may well send on what they got; a stranger brings it back.
        let back = !submitted && to.iter().any(|to| self.scan.was_delivered_to(&to.address));
        let nobody = *from == ReversePath::Null;
        if facts.received > MAX_HOPS {
            self.refuse(reply::LOOP, desk);
        } else if back {
            self.refuse(reply::BACK_AGAIN, desk);
        }
        let mut authors = Vec::new();
        match (facts.from, self.scan.authors()) {
            _ if !submitted => {}
            (0, _) if nobody => self.refuse(reply::NO_FROM, desk),
            (0, _) => {}
            (1, Some(found)) => authors = found,
            // Two programs would show two authors (RFC 5322 §3.6 allows one field).
            _ => self.refuse(reply::BAD_FROM, desk),
        }
        let Rcpt { mail: Mail { ready, from, asked, .. }, to } = self.rcpt;
        if let Some(refusal) = self.refusal {
            desk.say(refusal);
            return ready.into();
        }
        if !rest.is_empty() {
            desk.effects.push_back(Effect::Body(rest));
        }
        let received = Received {
            from: ready.name.to_string(),
            peer: desk.settings.peer,
            by: desk.settings.hostname.clone(),
            with: Protocol {
                extended: ready.extended,
                tls: desk.settings.channel.is_some(),
                authenticated: desk.logged_in,
                utf8: asked.utf8,
            },
            tls: desk.settings.channel.as_ref().map(|tls| (tls.version, tls.suite.clone())),
            id: format!("{:016x}-{}", desk.settings.number, desk.messages),
            recipient: match to.as_slice() {
                [only] => Some(only.address.clone()),
                _ => None,
            },
        };
        let envelope = Envelope { from, to, asked };
        let handover = Box::new(Handover { envelope, received, submitted, facts });
        if authors.is_empty() {
            return hand_over(ready, handover, desk);
        }
        desk.ask(Question::Authors(authors));
        State::Waiting(Waiting::Authors(ready, handover))
    }

    fn refuse(&mut self, refusal: Reply, desk: &mut Desk) {
        if self.refusal.is_none() {
            self.refusal = Some(refusal);
            desk.effects.push_back(Effect::DropBody);
        }
    }
}

pub(super) fn hand_over(ready: Ready, handover: Box<Handover>, desk: &mut Desk) -> State {
    let id = handover.received.id.clone();
    desk.effects.push_back(Effect::Accept(handover));
    State::Waiting(Waiting::Accept(ready, id))
}

/// A piece that comes out of order: it is read all the same, or its bytes would be taken for
/// commands (RFC 3030 §2), and then refused.
#[derive(Debug)]
pub(super) struct Discarding {
    left: u64,
    then: Stage,
    refusal: Reply,
    last: Instant,
}

impl Discarding {
    pub(super) fn begin(then: Stage, chunk: Chunk, refusal: Reply, desk: &mut Desk) -> State {
        if chunk.size > patience(desk) {
            desk.say(reply::TOO_BIG);
            return State::Closed;
        }
        let discarding = Self { left: chunk.size, then, refusal, last: desk.since };
        if chunk.size == 0 { discarding.end(desk) } else { State::Discarding(discarding) }
    }

    /// How many of so many bytes are thrown away.
    pub(super) fn take(&mut self, here: usize, now: Instant) -> usize {
        let bytes = usize::try_from(self.left).unwrap_or(usize::MAX).min(here);
        self.left -= bytes as u64;
        self.last = now;
        bytes
    }

    pub(super) fn next(self, desk: &mut Desk) -> State {
        if self.left == 0 { self.end(desk) } else { State::Discarding(self) }
    }

    pub(super) fn deadline(&self, desk: &Desk) -> Instant {
        (self.last + desk.settings.timeouts.command).min(desk.deadline())
    }

    fn end(self, desk: &mut Desk) -> State {
        let refusal = desk.early(self.refusal);
        desk.say(refusal);
        State::Command(self.then)
    }
}

/// Bytes taken of what is refused already.
fn patience(desk: &Desk) -> u64 {
    desk.settings.message_size.saturating_mul(2).saturating_add(1 << 20)
}
