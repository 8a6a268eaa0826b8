//! What is decided about a message for one account: which mailbox it goes to and what is written on
//! it. Who decides stands above this module; queue and delivery only carry it out.

use crate::store::AccountId;

/// Where a message goes in an account, and what is written on top of it there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filing {
    /// Which mailbox.
    pub folder: Folder,
    /// Whole header fields, each with its CRLF.
    pub fields: Vec<u8>,
}

/// A mailbox by its purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Folder {
    /// What is read.
    #[default]
    Inbox,
    /// What nobody wants (RFC 6154 §2, `\\Junk`).
    Junk,
}

/// What becomes of a message for one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It is taken.
    File(Filing),
    /// The account does not want it at all; if others do, it goes to the junk.
    Refuse {
        /// What to do when it cannot be refused, since another recipient takes it.
        otherwise: Filing,
        /// The reply's enhanced status (RFC 3463, RFC 7372).
        status: &'static str,
        /// The reply to its sender, in words.
        reason: String,
    },
}

/// Decides about one message.
pub trait Judge: std::fmt::Debug + Send + Sync {
    /// For an account here, or, without one, for whoever an alias passes it on to.
    fn judge(&self, account: Option<AccountId>) -> Ruling;
}
