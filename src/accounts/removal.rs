//! What becomes of a message that a program deletes over POP3.

use serde::{Deserialize, Serialize};

use super::{AccountError, Accounts};
use crate::mail::Address;
use crate::store::AccountId;

/// What DELE does, once QUIT makes it so (RFC 1939 §6).
///
/// Moving is the default. Many POP3 programs delete what they have fetched unless told otherwise,
/// and whoever sets one up beside a phone does not expect the phone's mail to go: in the trash it
/// is at hand for every device, at the price of room until somebody empties it. What is deleted
/// for good cannot be brought back, and which of the two a person wanted nobody can tell from DELE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Removal {
    /// Into the account's trash.
    #[default]
    Trash,
    /// For good.
    Delete,
}

impl Removal {
    /// As an entry has it: what is usual need not be mentioned.
    pub(super) fn mentioned(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

impl std::str::FromStr for Removal {
    type Err = RemovalError;

    fn from_str(text: &str) -> Result<Self, RemovalError> {
        match text {
            "trash" => Ok(Self::Trash),
            "delete" => Ok(Self::Delete),
            _ => Err(RemovalError),
        }
    }
}

/// The word is neither; always the mistake of who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("say trash (deleted mail goes to the trash) or delete (it is gone for good)")]
pub struct RemovalError;

impl Accounts {
    /// What DELE does for this account.
    pub fn pop3_removal(&self, account: AccountId) -> Removal {
        let directory = self.inner.read();
        directory.entry(account).and_then(|entry| entry.pop3_removal).unwrap_or_default()
    }

    /// Says what DELE does for this account, from the next QUIT on.
    pub async fn set_pop3_removal(
        &self,
        address: &Address,
        removal: Removal,
    ) -> Result<(), AccountError> {
        self.change_entry(address, move |entry| {
            entry.pop3_removal = removal.mentioned();
            Ok(())
        })
        .await
    }
}
