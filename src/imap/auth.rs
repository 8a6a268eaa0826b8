//! Logging in: STARTTLS, LOGIN and AUTHENTICATE with PLAIN and SCRAM (RFC 3501 §6.2, RFC 4616,
//! RFC 4959, RFC 5802, RFC 7677).

use crate::accounts::sasl::{Exchange, Mechanism, Next, SaslError, scram};
use crate::accounts::{AuthError, Password};
use crate::net::Bindings;
use crate::store::AccountId;

use super::command::Tag;
use super::session::{Effect, Mode, Session, State};

/// Failed logins after which the connection is closed.
const MAX_FAILURES: u8 = 3;

/// Failed logins of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failures(u8);

/// A login that waits for the client's next line.
pub(super) enum Pending {
    Password(Exchange),
    Proof(scram::Exchange),
    /// The proof was right; the client has yet to take ours.
    Proven(AccountId, scram::Exchange),
}

/// The ways to log in, as capabilities; the strongest first, since some programs take the first
/// they know.
pub(super) fn offered(bindings: &Bindings) -> &'static str {
    if bindings.are_offered() {
        " AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN"
    } else {
        " AUTH=SCRAM-SHA-256 AUTH=PLAIN"
    }
}

impl Session {
    pub(super) fn start_tls(&mut self, tag: &Tag) {
        if self.tls.is_some() {
            return self.bad(tag, "The connection is under TLS already");
        }
        self.ok(tag, "Begin TLS now");
        self.effect(Effect::StartTls);
    }

    pub(super) fn login(&mut self, tag: Tag, user: String, password: Password) {
        if self.tls.is_none() {
            return self.needs_tls(&tag);
        }
        self.ask_login(user, password, move |session, answer| match answer {
            Ok(login) => session.enter(&tag, login.account),
            Err(error) => session.login_failed(&tag, &error),
        });
    }

    pub(super) fn authenticate(&mut self, tag: Tag, mechanism: &str, initial: Option<&[u8]>) {
        let Some(bindings) = &self.tls else { return self.needs_tls(&tag) };
        if let Some(scram) = scram::named(mechanism) {
            let step = scram.begin(initial, bindings);
            return self.by_proof(tag, step, None);
        }
        match Mechanism::named(mechanism) {
            Some(mechanism) => self.by_password(tag, mechanism.begin(initial)),
            None => self.no(&tag, "[CANNOT] Only PLAIN and SCRAM-SHA-256 are offered, under TLS"),
        }
    }

    /// The answer to a challenge; whether it was there.
    pub(super) fn sasl_line(&mut self, tag: Tag, pending: Pending) -> bool {
        let line = match self.input.line(self.limits()) {
            None => {
                self.mode = Mode::Sasl(tag, pending);
                return false;
            }
            Some(Err(text)) => {
                self.bad(&tag, text);
                return true;
            }
            Some(Ok(line)) => line,
        };
        match pending {
            Pending::Password(exchange) => self.by_password(tag, exchange.answer(&line)),
            Pending::Proof(exchange) => self.by_proof(tag, exchange.answer(&line), None),
            Pending::Proven(account, exchange) => {
                self.by_proof(tag, exchange.answer(&line), Some(account));
            }
        }
        true
    }

    fn by_password(&mut self, tag: Tag, next: Result<Next, SaslError>) {
        match next {
            Ok(Next::Ask { challenge, then }) => {
                self.challenge(challenge);
                self.mode = Mode::Sasl(tag, Pending::Password(then));
            }
            Ok(Next::Done(credentials)) => {
                self.login(tag, credentials.login, credentials.password);
            }
            Err(error) => self.sasl_failed(&tag, error),
        }
    }

    /// `proven` is whose proof was right already.
    fn by_proof(
        &mut self,
        tag: Tag,
        step: Result<scram::Step, SaslError>,
        proven: Option<AccountId>,
    ) {
        match (step, proven) {
            (Ok(scram::Step::Ask { challenge, then }), _) => {
                self.challenge(&challenge);
                let pending = match proven {
                    Some(account) => Pending::Proven(account, then),
                    None => Pending::Proof(then),
                };
                self.mode = Mode::Sasl(tag, pending);
            }
            (Ok(scram::Step::Find(finding)), _) => {
                let login = finding.login().to_owned();
                self.ask_salt(login, move |session, answer| match answer {
                    Ok(salted) => session.by_proof(tag, Ok(finding.found(&salted)), None),
                    Err(error) => session.login_failed(&tag, &error),
                });
            }
            (Ok(scram::Step::Prove(proof)), _) => {
                self.ask_proof(proof, move |session, answer| match answer {
                    Ok((login, signature)) => {
                        let step = scram::Step::proved(&signature);
                        session.by_proof(tag, Ok(step), Some(login.account));
                    }
                    Err(error) => session.login_failed(&tag, &error),
                });
            }
            (Ok(scram::Step::Done), Some(account)) => self.enter(&tag, account),
            // Nothing ends an exchange before its proof.
            (Ok(scram::Step::Done), None) => self.sasl_failed(&tag, SaslError::Malformed),
            (Err(error), _) => self.sasl_failed(&tag, error),
        }
    }

    fn challenge(&mut self, challenge: &str) {
        self.out.raw("+ ").raw(challenge).raw("\r\n");
    }

    fn enter(&mut self, tag: &Tag, account: AccountId) {
        self.state = State::Authenticated(account);
        let capability = self.capability();
        self.ok(tag, &format!("[CAPABILITY {capability}] You are logged in"));
    }

    fn sasl_failed(&mut self, tag: &Tag, error: SaslError) {
        match error {
            SaslError::OtherIdentity => self.no(tag, &format!("[AUTHORIZATIONFAILED] {error}")),
            error => self.bad(tag, &error.to_string()),
        }
    }

    fn login_failed(&mut self, tag: &Tag, error: &AuthError) {
        let code = match error {
            AuthError::Wrong => "AUTHENTICATIONFAILED",
            // Not a wrong password: clients must not ask their owner for another.
            _ => "UNAVAILABLE",
        };
        self.no(tag, &format!("[{code}] Login failed: {error}"));
        let State::Guest(Failures(count)) = &mut self.state else { return };
        *count += 1;
        if *count >= MAX_FAILURES {
            self.bye("Too many failed logins");
        }
    }

    fn needs_tls(&mut self, tag: &Tag) {
        self.no(
            tag,
            "[PRIVACYREQUIRED] Use STARTTLS first: a password must not travel unprotected",
        );
    }
}
