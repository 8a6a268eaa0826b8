//! The large providers, and how much a young box sends them a day. They distrust an address they
//! have never seen, and more so when much comes at once: so the first days are small, and each day
//! on which mail was taken and none refused doubles the next. What exceeds it waits.

use serde::{Deserialize, Serialize};

use crate::mail::Domain;

/// A provider that many domains are with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Provider {
    /// What people call it.
    pub(super) name: &'static str,
    /// What the names of its mail hosts end in.
    hosts: &'static [&'static str],
    /// Recipients on the first day.
    first: u64,
}

const PROVIDERS: &[Provider] = &[
    Provider { name: "Apple", hosts: &["icloud.com", "apple.com"], first: 50 },
    Provider { name: "AT&T", hosts: &["prodigy.net", "att.net"], first: 20 },
    Provider { name: "Comcast", hosts: &["comcast.net"], first: 20 },
    Provider { name: "Free", hosts: &["free.fr", "proxad.net"], first: 20 },
    Provider { name: "GMX and WEB.DE", hosts: &["gmx.net", "web.de", "gmx.com"], first: 50 },
    Provider { name: "Google", hosts: &["google.com", "googlemail.com"], first: 50 },
    Provider { name: "Mail.ru", hosts: &["mail.ru"], first: 20 },
    Provider { name: "Microsoft", hosts: &["outlook.com", "hotmail.com"], first: 50 },
    Provider { name: "Mimecast", hosts: &["mimecast.com"], first: 50 },
    Provider { name: "Orange", hosts: &["orange.fr", "wanadoo.fr"], first: 20 },
    Provider { name: "Proofpoint", hosts: &["pphosted.com", "ppe-hosted.com"], first: 50 },
    Provider { name: "Proton", hosts: &["protonmail.ch"], first: 50 },
    Provider { name: "Telekom", hosts: &["t-online.de"], first: 20 },
    Provider { name: "Yahoo", hosts: &["yahoodns.net", "yahoo.com"], first: 50 },
    Provider { name: "Yandex", hosts: &["yandex.net", "yandex.ru"], first: 20 },
];

impl Provider {
    /// Whose mail host this is.
    pub(super) fn of(host: &Domain) -> Option<&'static Self> {
        let ends_in = |suffix: &str| {
            let rest = host.as_str().strip_suffix(suffix);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        PROVIDERS.iter().find(|provider| provider.hosts.iter().any(|suffix| ends_in(suffix)))
    }

    /// The setting that holds its [`Warmth`].
    pub(super) fn key(&self) -> String {
        format!("queue/warmth/{}", self.name)
    }
}

/// How a provider has taken our mail so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Warmth {
    /// Days since 1970.
    day: i64,
    /// Recipients it takes from us on that day.
    limit: u64,
    /// Recipients taken on that day, and refused for what this box is.
    taken: u64,
    refused: u64,
}

impl Warmth {
    /// What is known, or a fresh start.
    pub(super) fn read(provider: &Provider, stored: Option<&[u8]>) -> Self {
        let fresh = Self { day: 0, limit: provider.first, taken: 0, refused: 0 };
        stored.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or(fresh)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        // Numbers alone: there is nothing in it that could not be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What the day before means for this one.
    pub(super) fn on(mut self, provider: &Provider, day: i64) -> Self {
        // A clock that ran ahead counts as the same day.
        if day > self.day {
            if self.refused > 0 && self.refused * 4 >= self.taken {
                self.limit = (self.limit / 2).max(provider.first);
            } else if self.taken > 0 {
                self.limit = self.limit.saturating_mul(2).min(GROWN);
            }
            (self.day, self.taken, self.refused) = (day, 0, 0);
        }
        self
    }

    /// Recipients it may get today beside those under way; nothing for no limit. What this box
    /// writes itself, reports above all, leaves at night, and must not use up what our people need
    /// by day: a quarter is for both.
    pub(super) fn room(&self, under_way: u64, ours: bool) -> Option<u64> {
        let limit = if ours { self.limit / 4 } else { self.limit };
        (self.limit < GROWN).then(|| limit.saturating_sub(self.taken + under_way))
    }

    /// What a day may hold.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn count(&mut self, taken: u64, refused: u64) {
        self.taken = self.taken.saturating_add(taken);
        self.refused = self.refused.saturating_add(refused);
    }
}

/// From here on a box is known, and there is no limit.
const GROWN: u64 = 5_000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;

    fn of(host: &str) -> Option<&'static str> {
        Provider::of(&host.parse().unwrap()).map(|provider| provider.name)
    }

    #[test]
    fn a_provider_is_known_by_its_hosts() {
        assert_eq!(of("gmail-smtp-in.l.google.com"), Some("Google"));
        assert_eq!(of("example-org.mail.protection.outlook.com"), Some("Microsoft"));
        assert_eq!(of("mta5.am0.yahoodns.net"), Some("Yahoo"));
        assert_eq!(of("evilgoogle.com"), None);
        assert_eq!(of("mx.example.org"), None);
    }

    #[test]
    fn success_doubles_the_next_day_and_refusals_halve_it() {
        let google = Provider::of(&"google.com".parse().unwrap()).unwrap();
        let mut warmth = Warmth::read(google, None).on(google, 100);
        assert_eq!((warmth.room(0, false), warmth.room(2, true)), (Some(50), Some(10)));
        warmth.count(40, 0);
        assert_eq!(warmth.room(7, false), Some(3));
        assert_eq!(warmth.room(70, false), Some(0));
        assert_eq!(warmth.room(0, true), Some(0));
        // The same day, also when the clock was set back.
        assert_eq!(warmth.clone().on(google, 99), warmth);
        let mut next = Warmth::read(google, Some(&warmth.write())).on(google, 101);
        assert_eq!(next.room(0, false), Some(100));
        // A day without mail changes nothing.
        assert_eq!(next.clone().on(google, 102).room(0, false), Some(100));
        next.count(10, 5);
        assert_eq!(next.clone().on(google, 102).room(0, false), Some(50));
        assert_eq!(
            next.on(google, 102).on(google, 103).room(0, false),
            Some(50),
            "below the start"
        );
        let mut day = 200;
        while warmth.room(0, false).is_some() {
            day += 1;
            warmth = warmth.on(google, day);
            warmth.count(1, 0);
            assert!(day < 210, "it never ends");
        }
    }
}
