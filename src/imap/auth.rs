//! Logging in: STARTTLS, LOGIN and AUTHENTICATE PLAIN (RFC 3501 §6.2, RFC 4616, RFC 4959).

use crate::accounts::sasl::{Exchange, Mechanism, Next, SaslError};
use crate::accounts::{AuthError, Password};

use super::command::Tag;
use super::session::{Effect, Mode, Session, State};

/// Failed logins after which the connection is closed.
const MAX_FAILURES: u8 = 3;

/// Failed logins of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failures(u8);

impl Session {
    pub(super) fn start_tls(&mut self, tag: &Tag) {
        if self.tls {
            return self.bad(tag, "The connection is under TLS already");
        }
        self.ok(tag, "Begin TLS now");
        self.effect(Effect::StartTls);
    }

    pub(super) fn login(&mut self, tag: Tag, user: String, password: Password) {
        if !self.tls {
            return self.needs_tls(&tag);
        }
        self.ask_login(user, password, move |session, answer| match answer {
            Ok(login) => {
                session.state = State::Authenticated(login.account);
                let capability = session.capability();
                session.ok(&tag, &format!("[CAPABILITY {capability}] You are logged in"));
            }
            Err(error) => session.login_failed(&tag, &error),
        });
    }

    pub(super) fn authenticate(&mut self, tag: Tag, mechanism: &str, initial: Option<&[u8]>) {
        if !self.tls {
            return self.needs_tls(&tag);
        }
        match Mechanism::named(mechanism) {
            Some(mechanism) => self.sasl(tag, mechanism.begin(initial)),
            None => self.no(&tag, "[CANNOT] Only PLAIN is offered, under TLS"),
        }
    }

    /// The answer to a challenge; whether it was there.
    pub(super) fn sasl_line(&mut self, tag: Tag, exchange: Exchange) -> bool {
        match self.input.line(self.limits()) {
            None => {
                self.mode = Mode::Sasl(tag, exchange);
                return false;
            }
            Some(Err(text)) => self.bad(&tag, text),
            Some(Ok(line)) => self.sasl(tag, exchange.answer(&line)),
        }
        true
    }

    fn sasl(&mut self, tag: Tag, next: Result<Next, SaslError>) {
        match next {
            Ok(Next::Ask { challenge, then }) => {
                self.out.raw("+ ").raw(challenge).raw("\r\n");
                self.mode = Mode::Sasl(tag, then);
            }
            Ok(Next::Done(credentials)) => {
                self.login(tag, credentials.login, credentials.password);
            }
            Err(error @ SaslError::OtherIdentity) => {
                self.no(&tag, &format!("[AUTHORIZATIONFAILED] {error}"));
            }
            Err(error) => self.bad(&tag, &error.to_string()),
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
