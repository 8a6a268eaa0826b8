//! AUTH (RFC 4954): by password or by proof, on 465 and 587 only, under TLS only.

use super::stages::Ready;
use super::waiting::Waiting;
use super::{Desk, Question, Role, State};
use crate::accounts::sasl::{Exchange, Next, SaslError, scram};
use crate::net::{Line, LineError};
use crate::smtp::command::Mechanism;
use crate::smtp::reply::{self, Reply};

/// A line of a login is expected.
#[derive(Debug)]
pub(super) struct Challenged {
    ready: Ready,
    exchange: Pending,
}

#[derive(Debug)]
enum Pending {
    Password(Exchange),
    Scram(scram::Exchange),
}

impl Ready {
    pub(super) fn auth(
        self,
        mechanism: Mechanism,
        initial: Option<&[u8]>,
        desk: &mut Desk,
    ) -> State {
        let refusal = match (desk.settings.role, &desk.settings.channel, mechanism) {
            (Role::Mx, ..) => reply::NO_LOGIN_HERE,
            (_, None, _) => reply::LOGIN_NEEDS_TLS,
            _ if desk.logged_in => reply::LOGIN_ALREADY,
            (_, Some(_), Mechanism::Password(mechanism)) => {
                return self.by_password(mechanism.begin(initial), desk);
            }
            (_, Some(channel), Mechanism::Scram(scram)) => {
                let step = scram.begin(initial, &channel.bindings);
                return self.by_proof(step, desk);
            }
        };
        desk.fault(refusal);
        self.into()
    }

    fn by_password(self, step: Result<Next, SaslError>, desk: &mut Desk) -> State {
        match step {
            Ok(Next::Ask { challenge, then }) => {
                desk.say(Reply::new(334, "", challenge));
                let exchange = Pending::Password(then);
                State::Challenged(Challenged { ready: self, exchange })
            }
            Ok(Next::Done(credentials)) => {
                desk.ask(Question::Login(credentials));
                State::Waiting(Waiting::Login(self))
            }
            Err(error) => {
                desk.fault(error);
                self.into()
            }
        }
    }

    pub(super) fn by_proof(self, step: Result<scram::Step, SaslError>, desk: &mut Desk) -> State {
        match step {
            Ok(scram::Step::Ask { challenge, then }) => {
                desk.say(Reply::worded(334, "", &challenge));
                State::Challenged(Challenged { ready: self, exchange: Pending::Scram(then) })
            }
            Ok(scram::Step::Find(finding)) => {
                desk.ask(Question::Salt(finding.login().to_owned()));
                State::Waiting(Waiting::Salt(self, finding))
            }
            Ok(scram::Step::Prove(proof)) => {
                desk.ask(Question::Proof(proof));
                State::Waiting(Waiting::Proof(self))
            }
            Ok(scram::Step::Done) => {
                desk.enter();
                self.into()
            }
            Err(error) => {
                desk.fault(error);
                self.into()
            }
        }
    }
}

impl Challenged {
    pub(super) fn respond(self, line: Result<Option<Line>, LineError>, desk: &mut Desk) -> State {
        let Self { ready, exchange } = self;
        match (line, exchange) {
            (Ok(Some(line)), Pending::Password(exchange)) => {
                ready.by_password(exchange.answer(&line.0), desk)
            }
            (Ok(Some(line)), Pending::Scram(exchange)) => {
                ready.by_proof(exchange.answer(&line.0), desk)
            }
            (Ok(None), exchange) => State::Challenged(Self { ready, exchange }),
            (Err(error), _) => {
                desk.line_fault(error);
                ready.into()
            }
        }
    }
}

impl Desk {
    /// The login is right.
    pub(super) fn enter(&mut self) {
        (self.logged_in, self.proven) = (true, true);
        self.say(reply::LOGGED_IN);
    }
}
