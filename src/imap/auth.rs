//! Logging in: STARTTLS, LOGIN and AUTHENTICATE PLAIN (RFC 3501 §6.2, RFC 4616, RFC 4959).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

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
        if mechanism != "PLAIN" {
            return self.no(&tag, "[CANNOT] Only PLAIN is offered, under TLS");
        }
        match initial {
            Some(initial) => self.plain(tag, initial),
            None => {
                self.out.raw("+ \r\n");
                self.mode = Mode::Sasl(tag);
            }
        }
    }

    /// The answer to the empty challenge; whether it was there.
    pub(super) fn sasl_line(&mut self, tag: Tag) -> bool {
        match self.input.line(self.limits()) {
            None => {
                self.mode = Mode::Sasl(tag);
                return false;
            }
            Some(Err(text)) => self.bad(&tag, text),
            Some(Ok(line)) if *line == *b"*" => self.bad(&tag, "Login given up"),
            Some(Ok(line)) => self.plain(tag, &line),
        }
        true
    }

    /// `[authzid] NUL authcid NUL passwd` in base64; `=` stands for nothing (RFC 4959 §3).
    fn plain(&mut self, tag: Tag, encoded: &[u8]) {
        let Ok(decoded) = STANDARD.decode(encoded) else {
            return self.bad(&tag, "Not base64");
        };
        let Ok(text) = String::from_utf8(decoded) else {
            return self.bad(&tag, "Not UTF-8");
        };
        let mut parts = text.split('\0');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(identity), Some(user), Some(password), None) => {
                if !identity.is_empty() && identity != user {
                    let text = "[AUTHORIZATIONFAILED] One account cannot act as another";
                    return self.no(&tag, text);
                }
                self.login(tag, user.to_owned(), Password::new(password.to_owned()));
            }
            _ => self.bad(&tag, "Not a PLAIN response"),
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
