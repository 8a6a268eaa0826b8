//! The control socket: how a command line speaks to the running post office, and what it can ask.
//! One JSON object a line each way over a Unix socket in the data folder that only its owner can
//! open. Without a running post office the same request is answered by opening the folder. Where mail
//! is carried, the line goes on after the answer.

mod answer;
mod carry;
mod socket;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::accounts::{JunkMarks, Password, Removal};
use crate::mail::{Address, Domain};
use crate::store::Quota;

pub use answer::answer;
pub use carry::{Line, open_line};
pub use socket::{ControlError, Server, ask};

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Set the box up from the text of an answers file.
    Setup {
        /// Its name, for messages.
        file: String,
        /// Its text.
        answers: String,
    },
    /// Run the self-check.
    Check {
        /// Only these ids; all when empty.
        only: Vec<String>,
    },
    /// The DNS records to publish.
    Records,
    /// How the signing keys stand.
    Keys,
    /// Make the next signing keys.
    RotateKeys {
        /// Of this domain; of all when left out.
        domain: Option<Domain>,
    },
    /// What other mail hosts reported.
    MailReports {
        /// In the last days.
        days: u16,
    },
    /// Something about accounts.
    Account(AccountCommand),
    /// Something about the queue.
    Queue(QueueCommand),
    /// Something about junk.
    Junk(JunkCommand),
    /// Sizes and counts.
    StoreStats,
    /// Read every record.
    StoreVerify,
    /// Give back the room of what was deleted.
    StoreCompact,
    /// Take mail in: once this is answered, the line is that of [`crate::archive`].
    Import {
        /// The account.
        address: Address,
    },
    /// Give mail out, likewise.
    Export {
        /// The account.
        address: Address,
    },
}

/// What can be asked about accounts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is the subcommand of the same name; the fields say the rest")]
pub enum AccountCommand {
    Add {
        address: Address,
        #[serde(with = "password")]
        password: Password,
    },
    List,
    Passwd {
        address: Address,
        #[serde(with = "password")]
        password: Password,
    },
    Remove {
        address: Address,
    },
    AddDevice {
        address: Address,
        name: String,
    },
    ListDevices {
        address: Option<Address>,
    },
    RevokeDevice {
        address: Address,
        name: String,
    },
    AddAlias {
        alias: Address,
        target: Address,
    },
    ListAliases,
    RemoveAlias {
        alias: Address,
    },
    Quota {
        address: Address,
        change: QuotaChange,
    },
    Extensions {
        address: Address,
        /// Nothing to leave it as it is.
        without: Option<Vec<String>>,
    },
    Pop3 {
        address: Address,
        dele: Option<Removal>,
    },
}

/// What shall become of an account's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaChange {
    /// These limits are set; those that are not said stay, so that none at all only shows it.
    Set(Quota),
    /// There is none any more.
    Remove,
}

impl QuotaChange {
    fn applied_to(self, old: Quota) -> Quota {
        match self {
            Self::Set(Quota { bytes, messages }) => {
                Quota { bytes: bytes.or(old.bytes), messages: messages.or(old.messages) }
            }
            Self::Remove => Quota::NONE,
        }
    }
}

/// What can be asked about junk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum JunkCommand {
    /// An account's marks, and how much was learned from it.
    Show {
        /// The account.
        address: Address,
    },
    /// Set an account's own marks, or have it follow the box's.
    Marks {
        /// The account.
        address: Address,
        /// Its own; the box's when there are none.
        own: Option<JunkMarks>,
    },
    /// Who was asked to come back, and has not.
    Delayed,
}

/// What can be asked about the queue.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "each is the subcommand of the same name; the field is what it is about"
)]
pub enum QueueCommand {
    List,
    Show { id: u64 },
    Retry { id: Option<u64> },
    Hold { id: u64 },
    Release { id: u64 },
    Drop { id: u64 },
    Ledger,
    Lift { address: Address },
}

/// One line back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Ok(Value),
    Error(String),
}

/// A password crosses the socket in the clear: it never leaves this machine, and only the owner
/// of the data folder can open the socket.
mod password {
    use super::{Deserialize, Deserializer, Password, Serializer};

    pub(super) fn serialize<S: Serializer>(password: &Password, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(password.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Password, D::Error> {
        String::deserialize(from).map(Password::new)
    }
}
