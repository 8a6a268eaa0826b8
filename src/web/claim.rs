//! Who may set the box up: the first who reads the code off its display. The code can be tried a
//! few times only, and the browser that had it right holds the set-up until it is idle for long.
//! Without I/O: the time and the random tokens come from outside.

use std::fmt;
use std::time::{Duration, Instant};

use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

use super::token::Token;

/// Eight digits, made anew at each start, shown on the display and nowhere else.
#[derive(Clone)]
pub struct ClaimCode([u8; 8]);

impl ClaimCode {
    /// A new code.
    pub fn random() -> Result<Self, Unspecified> {
        let random = SystemRandom::new();
        let mut digits = [0; 8];
        for digit in &mut digits {
            *digit = loop {
                let mut byte = [0];
                random.fill(&mut byte)?;
                // 250 is the largest multiple of ten in a byte: no digit is likelier than another.
                if let [byte @ 0..250] = byte {
                    break b'0' + byte % 10;
                }
            };
        }
        Ok(Self(digits))
    }

    /// Whether this is the code, with or without blanks and dashes between the digits.
    fn is(&self, said: &str) -> bool {
        let said: Vec<u8> =
            said.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'-').collect();
        self.0.as_slice().ct_eq(&said).into()
    }
}

impl fmt::Display for ClaimCode {
    /// Two groups of four: easy to carry from the display to the keyboard.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, digit) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 4 { "-" } else { "" }, char::from(*digit))?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClaimCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimCode(…)")
    }
}

/// The door to the set-up.
pub(super) struct Door {
    code: ClaimCode,
    failures: u32,
    shut_until: Option<Instant>,
    session: Option<Session>,
}

/// The browser that holds the set-up.
struct Session {
    ticket: Token,
    mark: Token,
    seen: Instant,
}

impl Door {
    pub(super) fn new(code: ClaimCode) -> Self {
        Self { code, failures: 0, shut_until: None, session: None }
    }

    /// Tries a code. The tokens are used when it is right.
    pub(super) fn claim(
        &mut self,
        said: &str,
        now: Instant,
        ticket: Token,
        mark: Token,
    ) -> Result<(), Refusal> {
        if self.is_held(now) {
            return Err(Refusal::Held);
        }
        if let Some(wait) = self.shut_until.and_then(|until| until.checked_duration_since(now))
            && !wait.is_zero()
        {
            return Err(Refusal::Shut(wait));
        }
        if !self.code.is(said) {
            self.failures = self.failures.saturating_add(1);
            let Some(more) = self.failures.checked_sub(FREE_TRIES) else {
                return Err(Refusal::Wrong);
            };
            let wait = (FIRST_WAIT * 2_u32.saturating_pow(more.min(10))).min(LONGEST_WAIT);
            self.shut_until = Some(now + wait);
            return Err(Refusal::Shut(wait));
        }
        self.failures = 0;
        self.shut_until = None;
        self.session = Some(Session { ticket, mark, seen: now });
        Ok(())
    }

    /// The mark for this browser's forms, when it holds the set-up.
    pub(super) fn enter(&mut self, ticket: &str, now: Instant) -> Option<Token> {
        if !self.is_held(now) {
            return None;
        }
        let session = self.session.as_mut().filter(|session| session.ticket.is(ticket))?;
        session.seen = now;
        Some(session.mark.clone())
    }

    /// Whether a form carries this browser's mark, so that no other site sent it.
    pub(super) fn knows_mark(&self, said: &str) -> bool {
        self.session.as_ref().is_some_and(|session| session.mark.is(said))
    }

    /// Whether some browser holds the set-up now.
    pub(super) fn is_held(&mut self, now: Instant) -> bool {
        self.session.take_if(|held| now.saturating_duration_since(held.seen) > IDLE);
        self.session.is_some()
    }

    /// Ends the set-up.
    pub(super) fn close(&mut self) {
        self.session = None;
    }
}

/// A browser that says nothing for so long loses the set-up.
pub(super) const IDLE: Duration = Duration::from_mins(30);
/// Slips are human; a fifth is guessing.
const FREE_TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// Short enough that a prankster in the house does not lock the owner out for a day; long enough
/// that a hundred million codes take centuries.
const LONGEST_WAIT: Duration = Duration::from_mins(15);

/// Why a browser may not set the box up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not the code.
    Wrong,
    /// Too many tries: no code counts for so long, not even the right one.
    Shut(Duration),
    /// Another browser was first.
    Held,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;

    fn door() -> Door {
        Door::new(ClaimCode(*b"12345678"))
    }

    fn try_code(door: &mut Door, said: &str, now: Instant) -> Result<(), Refusal> {
        door.claim(said, now, Token::of("ticket"), Token::of("mark"))
    }

    #[test]
    fn the_code_is_taken_as_people_type_it() {
        for said in ["12345678", "1234-5678", " 1234 5678 "] {
            assert_eq!(try_code(&mut door(), said, Instant::now()), Ok(()), "{said}");
        }
        for said in ["", "1234567", "123456789", "12345679", "é2345678"] {
            let refused = try_code(&mut door(), said, Instant::now());
            assert_eq!(refused, Err(Refusal::Wrong), "{said}");
        }
    }

    #[test]
    fn guessing_takes_longer_each_time() {
        let (mut door, mut now) = (door(), Instant::now());
        for _ in 0..4 {
            assert_eq!(try_code(&mut door, "00000000", now), Err(Refusal::Wrong));
        }
        for seconds in [30, 60, 120, 240, 480, 900, 900, 900] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(try_code(&mut door, "00000000", now), Err(Refusal::Shut(wait)));
            // While it is shut the right code counts for nothing, and asking costs nothing.
            let left = wait.checked_sub(Duration::from_secs(1)).unwrap();
            let before = now + Duration::from_secs(1);
            assert_eq!(try_code(&mut door, "12345678", before), Err(Refusal::Shut(left)));
            now += wait;
        }
        assert_eq!(try_code(&mut door, "12345678", now), Ok(()));
    }

    #[test]
    fn the_first_browser_holds_the_set_up_until_it_is_idle() {
        let (mut door, start) = (door(), Instant::now());
        assert!(door.enter("ticket", start).is_none());
        try_code(&mut door, "12345678", start).unwrap();
        assert_eq!(try_code(&mut door, "12345678", start), Err(Refusal::Held));
        assert!(door.enter("guess", start).is_none());
        let later = start + IDLE;
        assert_eq!(door.enter("ticket", later).unwrap().expose(), "mark");
        assert!(door.knows_mark("mark") && !door.knows_mark("guess"));
        assert!(door.is_held(start + IDLE + IDLE));
        let idle = later + IDLE + Duration::from_secs(1);
        assert!(door.enter("ticket", idle).is_none());
        assert_eq!(try_code(&mut door, "12345678", idle), Ok(()));
    }

    #[test]
    fn codes_are_eight_digits_in_two_groups_and_differ() {
        let codes: Vec<String> =
            (0..20).map(|_| ClaimCode::random().unwrap().to_string()).collect();
        for code in &codes {
            let (left, right) = code.split_once('-').unwrap();
            assert!(
                [left, right].iter().all(|part| part.len() == 4 && part.parse::<u16>().is_ok())
            );
        }
        assert!(codes.iter().any(|code| Some(code) != codes.first()));
        assert!(!format!("{:?}", ClaimCode(*b"12345678")).contains('1'));
    }
}
