//! The arguments of GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208 §7).

use super::cursor::{Cursor, Parsed};
use crate::mail::MailboxName;

/// What is asked about quotas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) enum Asked {
    /// GETQUOTA: of this root.
    Root(String),
    /// GETQUOTAROOT: of the roots this mailbox has, or would have.
    Mailbox(MailboxName),
    /// SETQUOTA, which is refused whatever it says.
    Set,
}

pub(super) fn asked(name: &str, cursor: &mut Cursor<'_>) -> Parsed<Asked> {
    match name {
        "GETQUOTA" => Ok(Asked::Root(cursor.text()?)),
        "GETQUOTAROOT" => Ok(Asked::Mailbox(cursor.mailbox()?)),
        _ => {
            cursor.text()?;
            cursor.space()?;
            cursor.list(0, |cursor| {
                cursor.atom()?;
                cursor.space()?;
                cursor.size()
            })?;
            Ok(Asked::Set)
        }
    }
}
