//! Who is signed in to the pages. A browser holds a random ticket in a cookie, and what it stands
//! for is here: in memory only, so that a restart signs everybody out, and bounded in number and
//! in time. A session ends with its password, too. Whoever builds pages that only their people may
//! see asks for a [`Visitor`](super::signin::Visitor) and needs nothing of this. Without I/O: the
//! time, the random tokens and who is still welcome come from outside.

use std::time::{Duration, Instant};

use super::token::Token;
use crate::accounts::Login;

/// All sessions, the one longest unseen first.
#[derive(Default)]
pub(super) struct Sessions(Vec<Session>);

struct Session {
    ticket: Token,
    mark: Token,
    login: Login,
    began: Instant,
    seen: Instant,
}

impl Sessions {
    /// Somebody has signed in. The tokens are new; the ticket goes into the cookie, the mark into
    /// the forms. When there are too many, whoever was not here for longest is signed out.
    pub(super) fn begin(&mut self, login: Login, ticket: Token, mark: Token, now: Instant) {
        self.forget_old(now);
        let own = |session: &Session| session.login.account == login.account;
        if self.0.iter().filter(|session| own(session)).count() >= MOST_EACH
            && let Some(oldest) = self.0.iter().position(own)
        {
            self.0.remove(oldest);
        }
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(Session { ticket, mark, login, began: now, seen: now });
    }

    /// Who holds this ticket, and the mark for the forms. `is_welcome` says whether a login would
    /// open the account still.
    pub(super) fn enter(
        &mut self,
        ticket: &str,
        now: Instant,
        visit: Visit,
        is_welcome: impl Fn(&Login) -> bool,
    ) -> Option<(Login, Token)> {
        self.forget_old(now);
        let place = self.0.iter().position(|session| session.ticket.is(ticket))?;
        let mut session = self.0.remove(place);
        if !is_welcome(&session.login) {
            return None;
        }
        let found = (session.login.clone(), session.mark.clone());
        match visit {
            Visit::OfPerson => {
                session.seen = now;
                self.0.push(session);
            }
            Visit::OfBrowser => self.0.insert(place, session),
        }
        Some(found)
    }

    /// Signs out.
    pub(super) fn end(&mut self, ticket: &str) {
        self.0.retain(|session| !session.ticket.is(ticket));
    }

    fn forget_old(&mut self, now: Instant) {
        self.0.retain(|session| {
            now.saturating_duration_since(session.seen) < IDLE
                && now.saturating_duration_since(session.began) < LONGEST
        });
    }
}

/// Who asks for a page: a person keeps the session awake, a page that loads itself anew does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    OfPerson,
    OfBrowser,
}

/// Whoever does nothing for so long is signed out.
const IDLE: Duration = Duration::from_mins(30);
/// Whoever signed in so long ago is signed out in any case; the browser forgets its ticket then.
pub(super) const LONGEST: Duration = Duration::from_hours(12);
/// Sessions at once, in all and of one account: a household has no more browsers.
const MOST: usize = 64;
const MOST_EACH: usize = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;
    use crate::store::AccountId;

    fn login(account: u32) -> Login {
        let address = format!("a{account}@x.org").parse().unwrap();
        let without = std::sync::Arc::default();
        Login { account: AccountId(account), address, device: None, without, proof: [0; 16] }
    }

    fn begin(sessions: &mut Sessions, account: u32, ticket: &str, now: Instant) {
        sessions.begin(login(account), Token::of(ticket), Token::of("mark"), now);
    }

    fn who(sessions: &mut Sessions, ticket: &str, now: Instant) -> Option<u32> {
        let (login, mark) = sessions.enter(ticket, now, Visit::OfPerson, |_| true)?;
        assert!(mark.is("mark"));
        Some(login.account.0)
    }

    #[test]
    fn a_ticket_opens_its_own_session_and_no_other_does() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        assert_eq!(who(&mut sessions, "", now), None);
        begin(&mut sessions, 1, "one", now);
        begin(&mut sessions, 2, "two", now);
        assert_eq!(who(&mut sessions, "one", now), Some(1));
        assert_eq!(who(&mut sessions, "two", now), Some(2));
        for guess in ["", "on", "one ", "One", "three"] {
            assert_eq!(who(&mut sessions, guess, now), None, "{guess:?}");
        }
        sessions.end("one");
        assert_eq!(who(&mut sessions, "one", now), None);
        assert_eq!(who(&mut sessions, "two", now), Some(2));
    }

    #[test]
    fn a_session_ends_when_idle_and_at_the_latest_after_half_a_day() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        begin(&mut sessions, 1, "one", start);
        let minutes = |count| start + Duration::from_mins(count);
        begin(&mut sessions, 2, "idle", start);
        for quarter in 1..48 {
            assert_eq!(who(&mut sessions, "one", minutes(quarter * 15)), Some(1), "{quarter}");
        }
        assert_eq!(who(&mut sessions, "one", minutes(12 * 60)), None);
        assert_eq!(who(&mut sessions, "idle", minutes(12 * 60)), None);
        let mut sessions = Sessions::default();
        begin(&mut sessions, 1, "one", start);
        let watched = sessions.enter("one", minutes(29), Visit::OfBrowser, |_| true);
        assert!(watched.is_some());
        assert_eq!(who(&mut sessions, "one", minutes(30)), None);
    }

    #[test]
    fn a_session_ends_with_its_password() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        begin(&mut sessions, 1, "one", now);
        assert!(sessions.enter("one", now, Visit::OfPerson, |_| false).is_none());
        assert_eq!(who(&mut sessions, "one", now), None, "it came back");
    }

    #[test]
    fn there_are_never_too_many() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        begin(&mut sessions, 1, "quiet", now);
        for number in 0..100 {
            begin(&mut sessions, 2, &format!("two {number}"), now);
        }
        assert_eq!(sessions.0.len(), 1 + MOST_EACH, "one account takes every place");
        assert_eq!(who(&mut sessions, "quiet", now), Some(1));
        for account in 10..200 {
            begin(&mut sessions, account, &format!("of {account}"), now);
            assert_eq!(who(&mut sessions, "quiet", now), Some(1), "driven out while in use");
        }
        assert_eq!(sessions.0.len(), MOST);
    }
}
