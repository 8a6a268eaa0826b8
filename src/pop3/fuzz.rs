//! Ways in for the fuzz targets of `tests/fuzz`: each takes any bytes and must come back, whatever
//! they are, and what it says of them must hold.

use std::num::NonZeroU32;

use super::remove::Removed;
use super::session::{Item, Maildrop, Session, Step};
use super::transfer::Transfer;
use crate::accounts::AuthError;
use crate::mail::{Uid, UidValidity};
use crate::net::{Bindings, LineBuffer};

/// Any lines of a client: half of them may log in.
pub fn session(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let Ok(hostname) = "mail.example.org".parse() else { return };
    let mut session = Session::new(hostname, (mode & 2 == 0).then(Bindings::default));
    let mut buffer = LineBuffer::default();
    let mut out = session.greeting();
    for piece in bytes.chunks(usize::from(*mode).max(1)) {
        buffer.feed(piece);
        loop {
            let limit = session.line_limit();
            let line = match buffer.next_line(limit) {
                Ok(None) => break,
                Ok(Some(line)) => Ok(line.0),
                Err(error) => Err(error),
            };
            let step = session.line(line.as_deref().map_err(|error| *error));
            if !answered(&mut session, step, mode & 1 == 0, &mut out) {
                assert!(out.ends_with(b"\r\n"), "half a reply");
                return;
            }
        }
        assert!(buffer.pending() <= 64 << 10, "too much is kept");
        assert!(out.ends_with(b"\r\n"), "half a reply");
        out.drain(..out.len() - 2);
    }
}

/// Answers the session's questions; whether it goes on.
fn answered(session: &mut Session, mut step: Step, good: bool, out: &mut Vec<u8>) -> bool {
    loop {
        step = match step {
            Step::Reply(reply) => {
                out.extend(reply);
                while let Some(more) = session.more() {
                    out.extend(more);
                }
                return true;
            }
            Step::Check(_) if good => session.checked(Ok(Ok(maildrop()))),
            Step::Check(_) => session.checked(Err(AuthError::Wrong)),
            Step::Salt(_) => session.salted(Err(AuthError::Unavailable)),
            Step::Prove(_) => session.proved(Err(AuthError::Unavailable)),
            Step::Open => session.checked(Ok(Ok(maildrop()))),
            Step::Send { reply, lines, .. } => {
                out.extend(reply);
                let mut transfer = Transfer::new(lines);
                transfer.push(b"Subject: x\r\n\r\n.dot\r\n..\r\nend", out);
                transfer.finish(out);
                return true;
            }
            Step::Remove(uids) => session.removed(Some(Removed::Trashed(uids.len()))),
            Step::StartTls(reply) => {
                out.extend(reply);
                session.secured(Bindings::default());
                return true;
            }
            Step::Close(reply) => {
                out.extend(reply);
                return false;
            }
        };
    }
}

fn maildrop() -> Maildrop {
    let items = (1..4).filter_map(NonZeroU32::new).map(|uid| Item::new(Uid(uid), 31));
    Maildrop::new(UidValidity(NonZeroU32::MIN), items.collect())
}

/// A message goes out in pieces of any size: no line of it can be taken for its end.
pub fn transfer(bytes: &[u8]) {
    let Some((step, message)) = bytes.split_first() else { return };
    let (mut pieces, mut whole) = (Vec::new(), Vec::new());
    let mut transfer = Transfer::new(None);
    for piece in message.chunks(usize::from(*step).max(1)) {
        transfer.push(piece, &mut pieces);
    }
    transfer.finish(&mut pieces);
    let mut transfer = Transfer::new(None);
    transfer.push(message, &mut whole);
    transfer.finish(&mut whole);
    assert_eq!(pieces, whole, "pieces of another size give another message");
    assert!(whole.ends_with(b"\r\n.\r\n") || whole == b".\r\n");
    let end = whole.windows(5).position(|five| five == b"\r\n.\r\n");
    assert!(end.is_none_or(|at| at + 5 == whole.len()), "it ends before its end");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// The fuzz targets' own beginnings: what clients say in the dialogues.
    #[test]
    fn what_clients_say_is_answered_in_every_mode() {
        let dialogs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
        for entry in fs::read_dir(dialogs).expect("dialogues") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|extension| extension != "pop3") {
                continue;
            }
            let script = fs::read_to_string(&path).expect("a script");
            let said = script.lines().filter_map(|line| line.strip_prefix("C: "));
            let said = said.map(|line| format!("{line}\r\n")).collect::<Vec<_>>().concat();
            for mode in [0, 1, 2, 3, 252, 253, 254, 255] {
                super::session(&[&[mode], said.as_bytes()].concat());
                super::transfer(&[&[mode], said.as_bytes()].concat());
            }
        }
    }
}
