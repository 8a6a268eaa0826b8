//! COPY and MOVE (RFC 3501 §6.4.7, RFC 6851), with the UIDs of the copies (RFC 4315).

use crate::mail::{MailboxName, Uid};
use crate::store::{AccountId, Batch, MailboxId, Outcome};

use super::command::{SequenceSet, Tag};
use super::respond::uid_set;
use super::session::{Session, State};
use super::view::Expunges;

impl Session {
    pub(super) fn copy(
        &mut self,
        tag: Tag,
        account: AccountId,
        uid: bool,
        set: &SequenceSet,
        to: MailboxName,
        moving: bool,
    ) {
        let State::Selected(_, view) = &self.state else { return };
        if moving && view.read_only {
            return self.no(&tag, "[READ-ONLY] The mailbox is open for reading only");
        }
        let from = view.mailbox;
        let uids: Vec<Uid> = view.targets(set, uid).iter().map(|target| target.uid).collect();
        self.ask_mailbox(account, to, move |session, answer| match answer {
            Ok(Some(target)) => session.copy_to(tag, (from, target.id), uids, moving),
            Ok(None) => session.no(&tag, "[TRYCREATE] There is no such mailbox: create it first"),
            Err(error) => session.failed(&tag, &error),
        });
    }

    fn copy_to(
        &mut self,
        tag: Tag,
        (from, to): (MailboxId, MailboxId),
        uids: Vec<Uid>,
        moving: bool,
    ) {
        if uids.is_empty() {
            return self.finish(&tag, "There was nothing to copy", Some(Expunges::Told));
        }
        let mut batch = Batch::new();
        if moving {
            batch.move_to(from, uids, to);
        } else {
            batch.copy(from, uids, to);
        }
        self.ask_commit(batch, move |session, answer| {
            let copied = match answer {
                Ok(outcomes) => outcomes.into_iter().find_map(|outcome| match outcome {
                    Outcome::Copied { uid_validity, uids } => Some((uid_validity, uids)),
                    _ => None,
                }),
                Err(error) => return session.failed(&tag, &error),
            };
            let (validity, uids) = match copied {
                Some((validity, uids)) if !uids.is_empty() => (validity.0, uids),
                // Tried again after it was done: an error here makes clients loop.
                _ => return session.finish(&tag, "All were gone", Some(Expunges::Told)),
            };
            let old = uid_set(uids.iter().map(|(old, _)| *old));
            let new = uid_set(uids.iter().map(|(_, new)| *new));
            let code = format!("[COPYUID {validity} {old} {new}]");
            if !moving {
                return session.finish(&tag, &format!("{code} Copied"), Some(Expunges::Told));
            }
            // Before the messages vanish (RFC 6851 §4.3).
            session.out.line(&format!("OK {code} Moved"));
            let gone: Vec<Uid> = uids.into_iter().map(|(old, _)| old).collect();
            session.tell_gone(&gone);
            session.finish_expunge(tag, "MOVE completed");
        });
    }
}
