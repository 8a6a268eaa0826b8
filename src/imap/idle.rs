//! IDLE (RFC 2177): the client is told of changes as they happen.

use super::command::Tag;
use super::respond::refusal;
use super::session::{Mode, Session};
use super::view::Expunges;

impl Session {
    pub(super) fn idle(&mut self, tag: Tag) {
        self.out.raw("+ idling\r\n");
        // What happened before is told at once.
        self.stale = true;
        self.mode = Mode::Idle(tag);
    }

    /// Tells news, or looks for DONE; whether there was either. Commands that come right behind
    /// DONE stay in the input and are run next.
    pub(super) fn idle_step(&mut self, tag: Tag) -> bool {
        let selected = matches!(self.state, super::session::State::Selected(..));
        if self.stale && selected && self.watch.tells_selected() {
            self.try_news(Expunges::Told, move |session, told| match told {
                Ok(()) => session.mode = Mode::Idle(tag),
                // Trying again at once would go on for ever.
                Err(error) => session.bye(refusal(&error)),
            });
            return true;
        }
        let again = tag.clone();
        // Just what NOTIFY asks for is told here too (RFC 5465 §4).
        if self.tell_watched(move |session| session.mode = Mode::Idle(again)) {
            return true;
        }
        match self.input.line(self.limits()) {
            None => {
                self.mode = Mode::Idle(tag);
                return false;
            }
            Some(Ok(line)) if line.eq_ignore_ascii_case(b"DONE") => {
                self.ok(&tag, "IDLE completed");
            }
            Some(_) => self.bad(&tag, "Only DONE can follow IDLE"),
        }
        true
    }
}
