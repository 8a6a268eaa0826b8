//! AUTH (RFC 4954): the exchange of base64 lines until a name and a password are known. Whether
//! they are right is not decided here.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::command::Mechanism;

/// What a client wants to log in with.
pub struct Credentials {
    /// The user name.
    pub login: String,
    /// The password; wiped when dropped.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("login", &self.login).finish_non_exhaustive()
    }
}

/// An exchange that waits for the client's next line.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// For the one message of PLAIN.
    Plain,
    /// For the name.
    LoginName,
    /// For the password.
    LoginPassword { login: String },
}

/// Where an exchange has come to.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send the challenge (in base64 already) and go on.
    Challenge(&'static str, Exchange),
    /// Everything is said.
    Done(Credentials),
}

impl Exchange {
    /// Begins with the initial response, if one came along with the command.
    pub(crate) fn begin(mechanism: Mechanism, initial: Option<&str>) -> Result<Step, SaslError> {
        let exchange = match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Login => Self::LoginName,
        };
        match initial {
            // RFC 4954 §4: "=" stands for an empty response.
            Some("=") => exchange.take(b""),
            Some(line) => exchange.respond(line.as_bytes()),
            None => Ok(exchange.challenge()),
        }
    }

    /// Takes the client's line.
    pub(crate) fn respond(self, line: &[u8]) -> Result<Step, SaslError> {
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        let bytes = BASE64.decode(line.trim_ascii()).map_err(|_| SaslError::Malformed)?;
        self.take(&Zeroizing::new(bytes))
    }

    fn take(self, bytes: &[u8]) -> Result<Step, SaslError> {
        let text = std::str::from_utf8(bytes).map_err(|_| SaslError::Malformed)?;
        match self {
            Self::Plain => {
                // RFC 4616 §2: [authzid] NUL authcid NUL passwd.
                let mut parts = text.split('\0');
                let (Some(identity), Some(login), Some(password), None) =
                    (parts.next(), parts.next(), parts.next(), parts.next())
                else {
                    return Err(SaslError::Malformed);
                };
                if !identity.is_empty() && identity != login {
                    return Err(SaslError::OtherIdentity);
                }
                Self::done(login, password)
            }
            Self::LoginName if text.contains('\0') => Err(SaslError::Malformed),
            Self::LoginName => Ok(Self::LoginPassword { login: text.to_owned() }.challenge()),
            Self::LoginPassword { login } => Self::done(&login, text),
        }
    }

    fn challenge(self) -> Step {
        let text = match self {
            Self::Plain => "",
            // "Username:" and "Password:": Outlook looks at these very words.
            Self::LoginName => "VXNlcm5hbWU6",
            Self::LoginPassword { .. } => "UGFzc3dvcmQ6",
        };
        Step::Challenge(text, self)
    }

    fn done(login: &str, password: &str) -> Result<Step, SaslError> {
        if login.is_empty() || password.is_empty() {
            return Err(SaslError::Malformed);
        }
        let password = Zeroizing::new(password.to_owned());
        Ok(Step::Done(Credentials { login: login.to_owned(), password }))
    }
}

/// Why an exchange ended without credentials; always the peer's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SaslError {
    #[error("cancelled by the client")]
    Cancelled,
    #[error("not base64, or not what the mechanism demands")]
    Malformed,
    #[error("a login for someone else")]
    OtherIdentity,
}
