//! The server's side of SASL PLAIN (RFC 4616) and LOGIN (an old habit of mail programs), without
//! I/O: lines of Base64 in, the next challenge or a login and password out. SMTP, IMAP and POP3
//! differ only in how they wrap these lines. SCRAM, which needs no password here, is in [`scram`].

pub mod scram;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Password;

/// The mechanisms offered, only under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// All in one message.
    Plain,
    /// Name and password asked one after the other.
    Login,
}

impl Mechanism {
    /// What a server announces, in order of preference.
    pub const ANNOUNCED: &'static str = "PLAIN LOGIN";

    /// The mechanism of that name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("PLAIN") {
            Some(Self::Plain)
        } else if name.eq_ignore_ascii_case("LOGIN") {
            Some(Self::Login)
        } else {
            None
        }
    }

    /// Begins, with the client's initial response if it sent one (Base64; `=` means empty).
    pub fn begin(self, initial: Option<&[u8]>) -> Result<Next, SaslError> {
        let exchange = match self {
            Self::Plain => Exchange(Expect::Plain),
            Self::Login => Exchange(Expect::Name),
        };
        match (initial, self) {
            // An empty name is none: it is asked for.
            (None, _) | (Some(b"="), Self::Login) => Ok(exchange.ask()),
            (Some(response), _) => exchange.answer(if response == b"=" { b"" } else { response }),
        }
    }
}

/// An exchange that waits for the client's next line.
#[derive(Debug)]
pub struct Exchange(Expect);

#[derive(Debug)]
enum Expect {
    Plain,
    Name,
    Password { login: String },
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Send this challenge, Base64 already, and give the answer to the exchange.
    Ask {
        /// May be empty.
        challenge: &'static str,
        /// Takes the answer.
        then: Exchange,
    },
    /// The client has said all.
    Done(Credentials),
}

/// Who the client says it is; not checked yet.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The login name as given.
    pub login: String,
    /// The password.
    pub password: Password,
}

impl Exchange {
    /// Longest line of an exchange in octets (RFC 4954 §4).
    pub const LINE_MAX: usize = 12_288;

    /// Takes the client's line, without CRLF.
    pub fn answer(self, line: &[u8]) -> Result<Next, SaslError> {
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        let bytes = Zeroizing::new(STANDARD.decode(line).map_err(|_| SaslError::Base64)?);
        let text = std::str::from_utf8(&bytes).map_err(|_| SaslError::Malformed)?;
        match self.0 {
            Expect::Plain => plain(text).map(Next::Done),
            Expect::Name if text.is_empty() || text.contains('\0') => Err(SaslError::Malformed),
            Expect::Name => Ok(Self(Expect::Password { login: text.to_owned() }).ask()),
            Expect::Password { login } => {
                Ok(Next::Done(Credentials { login, password: Password::new(text.to_owned()) }))
            }
        }
    }

    fn ask(self) -> Next {
        let challenge = match self.0 {
            Expect::Plain => "",
            // "Username:" and "Password:": some programs look for exactly these.
            Expect::Name => "VXNlcm5hbWU6",
            Expect::Password { .. } => "UGFzc3dvcmQ6",
        };
        Next::Ask { challenge, then: self }
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2).
fn plain(text: &str) -> Result<Credentials, SaslError> {
    let mut parts = text.split('\0');
    let (Some(acting_as), Some(login), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Malformed);
    };
    if login.is_empty() || password.is_empty() {
        return Err(SaslError::Malformed);
    }
    // Nobody here may act for another; many clients repeat their own name.
    if !acting_as.is_empty() && !acting_as.eq_ignore_ascii_case(login) {
        return Err(SaslError::OtherIdentity);
    }
    Ok(Credentials { login: login.to_owned(), password: Password::new(password.to_owned()) })
}

/// Why an exchange ended without credentials; always the client's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaslError {
    /// The client sent `*`.
    #[error("login cancelled")]
    Cancelled,
    /// Not Base64.
    #[error("the login data is not valid Base64")]
    Base64,
    /// Base64 of something else.
    #[error("the login data is not in the form of this mechanism")]
    Malformed,
    /// An authorization identity other than the login's own.
    #[error("logging in on behalf of another account is not possible")]
    OtherIdentity,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a missing step is the failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(message: &[u8]) -> Result<Next, SaslError> {
        Mechanism::Plain.begin(Some(STANDARD.encode(message).as_bytes()))
    }

    fn done(next: Next) -> (String, String) {
        let Next::Done(credentials) = next else { panic!("asks for more: {next:?}") };
        (credentials.login, credentials.password.expose().to_owned())
    }

    #[test]
    fn plain_takes_name_and_password_at_once_or_after_an_empty_challenge() {
        let pair = ("tim@x.org".to_owned(), "tanstaaf ü".to_owned());
        assert_eq!(done(plain("\0tim@x.org\0tanstaaf ü".as_bytes()).unwrap()), pair);
        assert_eq!(done(plain("TIM@x.org\0tim@x.org\0tanstaaf ü".as_bytes()).unwrap()), pair);
        let Next::Ask { challenge: "", then } = Mechanism::Plain.begin(None).unwrap() else {
            panic!("no empty challenge");
        };
        let line = STANDARD.encode("\0tim@x.org\0tanstaaf ü");
        assert_eq!(done(then.answer(line.as_bytes()).unwrap()), pair);
    }

    #[test]
    fn plain_refuses_what_is_not_its_form_and_foreign_identities() {
        for message in ["", "a", "\0a", "a\0b", "\0a\0b\0c", "\0\0pw", "\0a\0"] {
            assert_eq!(plain(message.as_bytes()).unwrap_err(), SaslError::Malformed, "{message:?}");
        }
        assert_eq!(plain(b"\0a\0\xff").unwrap_err(), SaslError::Malformed);
        assert_eq!(plain(b"bob\0alice\0pw").unwrap_err(), SaslError::OtherIdentity);
        let begin = |text: &[u8]| Mechanism::Plain.begin(Some(text)).unwrap_err();
        assert_eq!(begin(b"!!"), SaslError::Base64);
        assert_eq!(begin(b"="), SaslError::Malformed);
        assert_eq!(begin(b"*"), SaslError::Cancelled);
    }

    #[test]
    fn login_asks_for_name_then_password() {
        let Next::Ask { challenge, then } = Mechanism::Login.begin(None).unwrap() else {
            panic!("does not ask")
        };
        assert_eq!(STANDARD.decode(challenge).unwrap(), b"Username:");
        let Next::Ask { challenge, then } = then.answer(b"YWxpY2VAeC5vcmc=").unwrap() else {
            panic!("does not ask")
        };
        assert_eq!(STANDARD.decode(challenge).unwrap(), b"Password:");
        let answer = done(then.answer(b"c2VjcmV0").unwrap());
        assert_eq!(answer, ("alice@x.org".to_owned(), "secret".to_owned()));
        let early = Mechanism::Login.begin(Some(b"YWxpY2VAeC5vcmc=")).unwrap();
        assert!(matches!(early, Next::Ask { challenge: "UGFzc3dvcmQ6", .. }));
    }

    proptest! {
        #[test]
        fn no_line_makes_an_exchange_panic(lines in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            for mechanism in [Mechanism::Plain, Mechanism::Login] {
                let mut next = mechanism.begin(None);
                for line in &lines {
                    let Ok(Next::Ask { then, .. }) = next else { break };
                    next = then.answer(line);
                }
            }
        }
    }
}
