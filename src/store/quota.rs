//! How much one account may hold: bytes and number of messages in its mailboxes. The writer keeps
//! the limit, in the same step that gives a message its UID, so that no two deliveries at once get
//! past it. What waits in the queue belongs to nobody's quota.

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::types::AccountId;

/// What an account's mailboxes hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Sum of the message sizes as clients see them. A copy counts again, though it takes no
    /// place on the card: what a person counts must not depend on how it is stored.
    pub bytes: u64,
    /// Number of messages.
    pub messages: u64,
}

impl Usage {
    /// With so much more.
    #[must_use]
    pub fn and(self, bytes: u64, messages: u64) -> Self {
        let sum = u64::saturating_add;
        Self { bytes: sum(self.bytes, bytes), messages: sum(self.messages, messages) }
    }
}

/// What an account may hold; nothing means without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// Most bytes.
    pub bytes: Option<u64>,
    /// Most messages.
    pub messages: Option<u64>,
}

impl Quota {
    /// No limit at all, as new accounts have it.
    pub const NONE: Self = Self { bytes: None, messages: None };

    /// Whether an account may hold this.
    pub fn allows(&self, usage: Usage) -> bool {
        self.bytes.is_none_or(|most| usage.bytes <= most)
            && self.messages.is_none_or(|most| usage.messages <= most)
    }

    /// How much of it is used, in percent rounded down, of whichever limit is nearer; nothing
    /// without a limit. A limit of zero is always full.
    pub fn percent(&self, usage: Usage) -> Option<u64> {
        let share = |used: u64, most: Option<u64>| {
            let most = most?;
            let share = u128::from(used) * 100 / u128::from(most.max(1));
            Some(if most == 0 { 100 } else { u64::try_from(share).unwrap_or(u64::MAX) })
        };
        share(usage.bytes, self.bytes).max(share(usage.messages, self.messages))
    }

    /// Its key among the settings.
    pub(super) fn key(account: AccountId) -> String {
        format!("quota/{}", account.0)
    }

    /// The value of the setting; nothing for no limit.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        // Two optional numbers always become JSON.
        if *self == Self::NONE { None } else { serde_json::to_vec(self).ok() }
    }

    /// The reverse of [`Quota::encode`].
    pub(super) fn decode(account: AccountId, value: Option<&[u8]>) -> Result<Self, StoreError> {
        value.map_or(Ok(Self::NONE), |value| {
            serde_json::from_slice(value)
                .map_err(|_| StoreError::Damaged(format!("setting {}", Self::key(account))))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is the failed test")]
mod tests;
