//! What comes before a message: the beginning of APPEND (RFC 3501 §6.3.11) and REPLACE (RFC 8508),
//! and what stands between several messages (RFC 3502). The messages themselves never come here.

use super::cursor::{Cursor, Parsed};
use super::grammar::tag;
use super::{AppendHead, Form, MessageHead, Names, Reason, Refused, Replaced, SequenceSet};
use crate::mail::{Flags, MailboxName};

/// What stands before the first message of an APPEND or a REPLACE. Nothing when this is another
/// command, or when the literal that comes next is its mailbox name.
pub(in crate::imap) fn append_head(
    bytes: &[u8],
    names: Names,
) -> Option<Result<AppendHead, Refused>> {
    let mut cursor = Cursor::new(bytes, names);
    let tag = tag(&mut cursor).ok()?;
    let uid = cursor.word("UID ");
    let replaces = cursor.word("REPLACE ");
    if !replaces && (uid || !cursor.word("APPEND ")) {
        return None;
    }
    let mut number = || {
        if !replaces {
            return Ok(None);
        }
        let set = SequenceSet::parse(&mut cursor)?;
        cursor.space()?;
        Ok(Some(Replaced { uid, set }))
    };
    let number = number();
    if number.is_ok() && matches!(cursor.peek(), None | Some(b' ')) {
        return None;
    }
    Some(match number.and_then(|replaces| Ok((replaces, arguments(&mut cursor)?))) {
        Ok((replaces, (name, message))) => Ok(AppendHead { tag, name, replaces, message }),
        Err(reason) => Err(Refused { tag: Some(tag), reason }),
    })
}

fn arguments(cursor: &mut Cursor<'_>) -> Parsed<(MailboxName, MessageHead)> {
    let name = cursor.mailbox()?;
    Ok((name, message_head(cursor)?))
}

/// What stands between two messages.
pub(in crate::imap) fn next_message(bytes: &[u8]) -> Result<MessageHead, Reason> {
    message_head(&mut Cursor::new(bytes, Names::default()))
}

/// What stands before a message: flags, a date, and the mark of a literal that is no plain one. The
/// literal's size is taken off already.
fn message_head(cursor: &mut Cursor<'_>) -> Parsed<MessageHead> {
    cursor.space()?;
    let mut flags = Flags::none();
    if cursor.peek() == Some(b'(') {
        flags = cursor.flags()?;
        cursor.space()?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        date = Some(cursor.date_time()?);
        cursor.space()?;
    }
    let form = if cursor.word("UTF8 (~") {
        Form::Utf8
    } else if cursor.skip(b'~') {
        Form::Literal8
    } else {
        Form::Literal
    };
    if cursor.is_empty() {
        Ok(MessageHead { flags, date, form })
    } else {
        Err(Reason::Syntax("not what stands before a message"))
    }
}
