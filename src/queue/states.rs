//! What the queue knows of a record beside its bytes, as it is written into the store. Every field
//! added later has a default, so that an older record stays readable; the version tells a newer one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Incoming, Schedule, Source};
use crate::clock::ClockTrust;
use crate::mail::{self, Address, MailRequests, Notify, RecipientRequests, ReversePath};
use crate::smtp::client::Trouble;
use crate::store::AccountId;

/// One record's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub(super) from: ReversePath,
    pub(super) origin: Origin,
    pub(super) received: Timestamp,
    pub(super) recipients: Vec<Recipient>,
    /// Attempts that left something to do.
    pub(super) attempts: u32,
    pub(super) next_attempt: Timestamp,
    pub(super) hold: Hold,
    pub(super) age: Age,
    /// The sender knows that it waits.
    pub(super) notified: bool,
    /// What the sender asked for the message.
    #[serde(default)]
    pub(super) asked: MailRequests,
}

/// [`Source`] as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Origin {
    Stranger,
    Account(AccountId),
    Own,
}

/// A recipient not settled yet, or settled and its sender not told yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recipient {
    pub(super) address: Address,
    /// The address the sender wrote, when an alias of ours led here.
    pub(super) via: Option<Address>,
    /// What was heard last.
    pub(super) last: Option<Problem>,
    /// [`Recipient::last`] is final.
    pub(super) failed: bool,
    /// What the sender asked for this recipient.
    #[serde(default)]
    pub(super) asked: RecipientRequests,
    /// The direct way was refused because of where this box stands: it goes by the relay for
    /// such cases.
    #[serde(default)]
    pub(super) detour: bool,
    /// Handed to this host, which does not tell the sender, who wants to know.
    #[serde(default)]
    pub(super) relayed: Option<String>,
}

impl Recipient {
    /// Nothing was tried yet.
    pub(super) fn new(address: Address, via: Option<Address>, asked: RecipientRequests) -> Self {
        let (last, relayed) = (None, None);
        Self { address, via, last, failed: false, asked, detour: false, relayed }
    }

    /// Still to be tried.
    pub(super) fn is_open(&self) -> bool {
        !self.failed && self.relayed.is_none()
    }

    /// As the next host shall see it.
    pub(super) fn outward(&self) -> mail::Recipient {
        mail::Recipient { address: self.address.clone(), asked: self.asked.clone() }
    }

    /// Whether the sender wants to hear of a failure, of a delay, of success (RFC 3461 §4.1).
    pub(super) fn wants(&self, what: Wish) -> bool {
        match (&self.asked.notify, what) {
            (None, Wish::Failure | Wish::Delay) => true,
            (None, Wish::Success) | (Some(Notify::Never), _) => false,
            (Some(Notify::On { failure, .. }), Wish::Failure) => *failure,
            (Some(Notify::On { delay, .. }), Wish::Delay) => *delay,
            (Some(Notify::On { success, .. }), Wish::Success) => *success,
        }
    }
}

/// What a sender may want to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Failure,
    Delay,
    Success,
}

/// What went wrong for a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Problem {
    /// RFC 3463.
    pub(super) status: String,
    /// The host that was talked to.
    pub(super) host: Option<String>,
    /// Its own words.
    pub(super) reply: Option<String>,
    /// What happened, in plain words.
    pub(super) what: String,
    /// It is we who keep it back: that is no reason to return it, however long it takes.
    #[serde(default)]
    pub(super) ours: bool,
    /// The host said so when it heard the recipient's name.
    #[serde(default)]
    pub(super) at_rcpt: bool,
}

/// Whether a record is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hold {
    /// No.
    No,
    /// Since it came while the box was set to hold; ends with that setting.
    Setting,
    /// The owner said so.
    Owner,
    /// Its account had sent more than it may in a day.
    Limit,
}

/// How long a record has been waiting, counted only while the clock could be believed and the box
/// was running: neither a wrong clock nor a week without power may send mail back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Age {
    seconds: u64,
    counted: Option<Timestamp>,
}

impl State {
    pub(super) fn new(incoming: &Incoming, recipients: Vec<Recipient>, hold: Hold) -> Self {
        Self {
            version: VERSION,
            from: incoming.envelope.from.clone(),
            origin: match incoming.source {
                Source::Stranger => Origin::Stranger,
                Source::Account(id) => Origin::Account(id),
                Source::Own => Origin::Own,
            },
            received: incoming.received,
            recipients,
            attempts: 0,
            next_attempt: incoming.received,
            hold,
            age: Age::default(),
            notified: false,
            asked: incoming.envelope.asked.clone(),
        }
    }

    /// Nothing when the bytes are damaged or written by a newer release.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|state: &Self| state.version <= VERSION)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Strings and numbers alone: there is nothing in it that could not be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Those to try.
    pub(super) fn open(&self) -> impl Iterator<Item = &Recipient> {
        self.recipients.iter().filter(|recipient| recipient.is_open())
    }

    /// Whether to try it now.
    pub(super) fn is_due(&self, now: Timestamp, schedule: &Schedule, holding: bool) -> bool {
        !self.is_held(holding) && self.due(now, schedule) <= now
    }

    /// When to try it; at once when that is further away than any schedule says.
    pub(super) fn due(&self, now: Timestamp, schedule: &Schedule) -> Timestamp {
        let horizon = now.saturating_add(signed(schedule.longest())).unwrap_or(now);
        if self.next_attempt > horizon { now } else { self.next_attempt }
    }

    /// `holding` is whether the box is set to hold.
    pub(super) fn is_held(&self, holding: bool) -> bool {
        matches!(self.hold, Hold::Owner | Hold::Limit) || (self.hold == Hold::Setting && holding)
    }
}

impl Age {
    /// Counts the time since the last call. `longest` bounds one step: more than that passed
    /// without power, or the clock was set.
    pub(super) fn count(&mut self, now: Timestamp, trust: ClockTrust, longest: Duration) {
        if trust == ClockTrust::Unknown {
            self.counted = None;
            return;
        }
        if let Some(before) = self.counted.replace(now) {
            let passed = Duration::try_from(now.duration_since(before)).unwrap_or_default();
            self.seconds = self.seconds.saturating_add(passed.min(longest).as_secs());
        }
    }

    pub(super) fn reached(&self, limit: Duration) -> bool {
        self.left(limit).is_zero()
    }

    /// The time until a limit is reached.
    pub(super) fn left(&self, limit: Duration) -> Duration {
        limit.saturating_sub(Duration::from_secs(self.seconds))
    }
}

impl Problem {
    pub(super) fn new(status: &str, what: impl Into<String>) -> Self {
        let status = status.to_owned();
        let (host, reply, what) = (None, None, what.into());
        Self { status, host, reply, what, ours: false, at_rcpt: false }
    }

    /// Kept back by ourselves.
    pub(super) fn kept_back(what: String) -> Self {
        Self { ours: true, ..Self::new("4.4.5", what) }
    }

    pub(super) fn heard(host: &str, trouble: Trouble) -> Self {
        let Trouble { status, reply, what, at_rcpt } = trouble;
        Self { status, host: Some(host.to_owned()), reply, what, ours: false, at_rcpt }
    }
}

/// One line for people.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        if let Some(host) = &self.host {
            write!(f, " ({host})")?;
        }
        if let Some(reply) = &self.reply {
            write!(f, "; it said: {reply}")?;
        }
        Ok(())
    }
}

pub(super) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

const VERSION: u32 = 1;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn records_of_this_release_stay_readable() {
        let written = br#"{"version":1,"from":"a@example.org","origin":{"account":3},
            "received":"2026-11-22T10:00:00Z","recipients":[{"address":"b@example.net","via":null,
            "last":{"status":"4.4.1","host":"mx.example.net","reply":null,"what":"no connection"},
            "failed":false}],"attempts":2,"next_attempt":"2026-11-22T10:20:00Z","hold":"no",
            "age":{"seconds":300,"counted":"2026-11-22T10:05:00Z"},"notified":false}"#;
        let state = State::decode(written).unwrap();
        assert_eq!(state.origin, Origin::Account(AccountId(3)));
        assert_eq!(state.open().count(), 1);
        assert_eq!(State::decode(&state.encode()).unwrap(), state);
        let newer = String::from_utf8(written.to_vec()).unwrap().replace(":1,", ":2,");
        assert_eq!(State::decode(newer.as_bytes()), None);
        assert_eq!(State::decode(b"{}"), None);
    }

    #[test]
    fn neither_a_wrong_clock_nor_a_week_without_power_ages_mail() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let hour = Duration::from_hours(1);
        let mut age = Age::default();
        age.count(at("2026-01-01T00:00:00Z"), ClockTrust::Unknown, hour);
        age.count(at("2026-11-22T10:00:00Z"), ClockTrust::Synced, hour);
        assert!(!age.reached(Duration::from_secs(1)), "the jump was counted");
        age.count(at("2026-11-22T10:30:00Z"), ClockTrust::Rough, hour);
        assert!(age.reached(hour / 2) && !age.reached(hour));
        age.count(at("2026-11-29T10:30:00Z"), ClockTrust::Synced, hour);
        assert!(!age.reached(hour * 2), "the week was counted");
        age.count(at("2026-11-22T10:00:00Z"), ClockTrust::Synced, hour);
        assert!(!age.reached(hour * 2), "time ran backwards");
    }
}
