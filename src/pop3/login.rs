//! Logging in over POP3: USER and PASS, and AUTH (RFC 5034) with PLAIN, LOGIN and SCRAM.

use super::session::{Session, State, Step, err};
use crate::accounts::AuthError;
use crate::accounts::sasl::scram::{self, Finding, Salted, Signature};
use crate::accounts::sasl::{Credentials, Exchange, Mechanism, Next, SaslError};
use crate::net::Bindings;

/// An exchange that waits for the client's next line.
#[derive(Debug)]
pub(super) enum Pending {
    Password(Exchange),
    Proof(scram::Exchange),
    /// The proof was right; the client has yet to take ours.
    Proven(scram::Exchange),
}

/// Failed logins before the connection is closed.
const MAX_FAILED_LOGINS: u32 = 3;

/// The mechanisms offered over such a connection; the strongest first, since some programs take
/// the first they know.
pub(super) fn offered(bindings: &Bindings) -> &'static [&'static str] {
    const ALL: &[&str] = &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"];
    if bindings.are_offered() { ALL } else { ALL.get(1..).unwrap_or_default() }
}

impl Session {
    /// AUTH with a mechanism, under TLS.
    pub(super) fn auth(&mut self, name: &str, initial: Option<&[u8]>) -> Step {
        let bindings = self.tls.clone().unwrap_or_default();
        if let Some(scram) = scram::named(name) {
            // `=` is an empty response (RFC 5034 §4), with which none of these begins.
            return self.by_proof(scram.begin(initial, &bindings), false);
        }
        match Mechanism::named(name) {
            Some(mechanism) => self.by_password(mechanism.begin(initial)),
            None => self.fault("this login mechanism is not known here"),
        }
    }

    /// The client's answer to a challenge.
    pub(super) fn answered(&mut self, pending: Pending, line: &[u8]) -> Step {
        match pending {
            Pending::Password(exchange) => self.by_password(exchange.answer(line)),
            Pending::Proof(exchange) => self.by_proof(exchange.answer(line), false),
            Pending::Proven(exchange) => self.by_proof(exchange.answer(line), true),
        }
    }

    /// Answers [`Step::Salt`].
    pub fn salted(&mut self, answer: Result<Salted, AuthError>) -> Step {
        match (std::mem::replace(&mut self.state, State::Closed), answer) {
            (State::Finding(finding), Ok(salted)) => {
                self.by_proof(Ok(finding.found(&salted)), false)
            }
            (State::Finding(_), Err(error)) => {
                self.state = State::Authorization { user: None };
                self.refused(&error)
            }
            _ => self.close("-ERR"),
        }
    }

    /// Answers [`Step::Prove`].
    pub fn proved(&mut self, answer: Result<Signature, AuthError>) -> Step {
        if !matches!(self.state, State::Opening) {
            return self.close("-ERR");
        }
        match answer {
            Ok(signature) => self.by_proof(Ok(scram::Step::proved(&signature)), true),
            Err(error) => {
                self.state = State::Authorization { user: None };
                self.refused(&error)
            }
        }
    }

    pub(super) fn check(&mut self, credentials: Credentials) -> Step {
        self.state = State::Opening;
        Step::Check(credentials)
    }

    /// Which login failure gets which code: RFC 3206 has `[AUTH]` for "ask for the password
    /// again" and `[SYS/TEMP]` for "try again later".
    pub(super) fn refused(&mut self, error: &AuthError) -> Step {
        match error {
            AuthError::Wrong => self.failed_login(&format!("[AUTH] {error}")),
            _ => self.failed_login(&format!("[SYS/TEMP] {error}")),
        }
    }

    fn by_password(&mut self, next: Result<Next, SaslError>) -> Step {
        match next {
            Ok(Next::Ask { challenge, then }) => self.ask(challenge, Pending::Password(then)),
            Ok(Next::Done(credentials)) => self.check(credentials),
            Err(error) => self.misled(error),
        }
    }

    /// `proven` when the proof was right already.
    fn by_proof(&mut self, step: Result<scram::Step, SaslError>, proven: bool) -> Step {
        match step {
            Ok(scram::Step::Ask { challenge, then }) => {
                let pending = if proven { Pending::Proven(then) } else { Pending::Proof(then) };
                self.ask(&challenge, pending)
            }
            Ok(scram::Step::Find(finding)) => self.find(finding),
            Ok(scram::Step::Prove(proof)) => {
                self.state = State::Opening;
                Step::Prove(proof)
            }
            Ok(scram::Step::Done) if proven => {
                self.state = State::Opening;
                Step::Open
            }
            // Nothing ends an exchange before its proof.
            Ok(scram::Step::Done) => self.misled(SaslError::Malformed),
            Err(error) => self.misled(error),
        }
    }

    fn find(&mut self, finding: Finding) -> Step {
        let login = finding.login().to_owned();
        self.state = State::Finding(finding);
        Step::Salt(login)
    }

    fn ask(&mut self, challenge: &str, pending: Pending) -> Step {
        self.state = State::Exchange(pending);
        Step::Reply(format!("+ {challenge}\r\n").into_bytes())
    }

    fn misled(&mut self, error: SaslError) -> Step {
        self.state = State::Authorization { user: None };
        match error {
            SaslError::OtherIdentity => self.failed_login(&format!("[AUTH] {error}")),
            error => self.fault(&error.to_string()),
        }
    }

    fn failed_login(&mut self, text: &str) -> Step {
        self.failed_logins += 1;
        if self.failed_logins >= MAX_FAILED_LOGINS {
            return self.close(&format!("-ERR {text}"));
        }
        err(text)
    }
}
