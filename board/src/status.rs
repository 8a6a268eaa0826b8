//! What a panel can be told, as plain data.
//!
//! This is the only language between the rest of the box and its light and screens: one overall
//! state, what needs the owner, and a few words to show. Texts come from the caller, ready to be
//! read by a person; panels clean, wrap and shorten them but never invent any.

use std::fmt;

/// Everything a panel may show at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The one thing the light says.
    pub state: State,
    /// What the box is called, for example its host name. Empty before it has one.
    pub name: String,
    /// Where a browser finds the box on the local network, for example `http://192.168.1.23`.
    pub address: Option<String>,
    /// What to put in a QR code. Up to 25 characters are easy to scan on a small display; a bare
    /// address is written in capitals there, so it counts as such.
    pub qr: Option<String>,
    /// The code that proves to the set-up page that its visitor can see this box.
    pub claim_code: Option<String>,
    /// How far a long piece of work has come.
    pub progress: Option<Progress>,
    /// More lines for those who look closer, the most important first.
    pub lines: Vec<String>,
}

impl Status {
    /// A status with nothing but its state.
    pub fn new(state: State) -> Self {
        Self {
            state,
            name: String::new(),
            address: None,
            qr: None,
            claim_code: None,
            progress: None,
            lines: Vec::new(),
        }
    }
}

/// The overall state: decides the light and the heading of every screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Services are on their way up.
    Starting,
    /// Nobody has answered the set-up questions yet.
    SetupWaiting,
    /// A long piece of work is under way; pulling the plug is allowed.
    Working,
    /// Everything was checked and works.
    Ready,
    /// The clock is not set yet, so much cannot be judged.
    WaitingForTime,
    /// The checks could not tell; neither good nor bad news.
    Unknown,
    /// Mail flows, and something wants the owner's attention.
    Attention(Concerns),
    /// Mail does not flow until the owner acts.
    Broken(Concerns),
    /// Something is being written that a power cut would spoil or delay.
    DoNotUnplug,
    /// Shut down in order; the plug may be pulled.
    Stopped,
}

impl State {
    /// One or two words for a heading, at most 13 characters.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::SetupWaiting => "SET ME UP",
            Self::Working => "WORKING",
            Self::Ready => "READY",
            Self::WaitingForTime => "NO TIME YET",
            Self::Unknown => "CANNOT TELL",
            Self::Attention(_) => "NEEDS YOU",
            Self::Broken(_) => "BROKEN",
            Self::DoNotUnplug => "DO NOT UNPLUG",
            Self::Stopped => "STOPPED",
        }
    }

    /// One sentence for screens with room for it.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Starting => "The box is starting. This takes less than a minute.",
            Self::SetupWaiting => "The box waits for its owner to answer a few questions.",
            Self::Working => "The box is busy.",
            Self::Ready => "Everything was checked and works.",
            Self::WaitingForTime => "The box does not know the time yet and is asking for it.",
            Self::Unknown => "Some checks got no answer. They are tried again.",
            Self::Attention(_) => "Mail works, but something needs you.",
            Self::Broken(_) => "Mail does not work until this is fixed.",
            Self::DoNotUnplug => "Important data is being written. Leave the power on.",
            Self::Stopped => "The box has stopped. You may unplug it.",
        }
    }

    /// The shape that goes with the heading, so that nothing is told by colour alone.
    pub fn sign(&self) -> Sign {
        match self {
            Self::Starting | Self::Working | Self::WaitingForTime => Sign::Dots,
            Self::SetupWaiting => Sign::Arrow,
            Self::Ready => Sign::Check,
            Self::Unknown => Sign::Question,
            Self::Attention(_) | Self::DoNotUnplug => Sign::Bang,
            Self::Broken(_) => Sign::Cross,
            Self::Stopped => Sign::Square,
        }
    }

    /// What needs the owner, worst first; empty in all states but two.
    pub fn concerns(&self) -> &[Concern] {
        match self {
            Self::Attention(concerns) | Self::Broken(concerns) => concerns.as_slice(),
            _ => &[],
        }
    }
}

/// A shape beside the heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A tick: good.
    Check,
    /// An exclamation mark: act soon, or keep your hands off.
    Bang,
    /// A cross: does not work.
    Cross,
    /// A question mark: not known.
    Question,
    /// Three dots: under way.
    Dots,
    /// An arrow: your turn.
    Arrow,
    /// A square, as on a stop key.
    Square,
}

impl Sign {
    /// The shape as text of at most four characters, for consoles.
    pub fn text(self) -> &'static str {
        match self {
            Self::Check => "ok",
            Self::Bang => "!",
            Self::Cross => "X",
            Self::Question => "?",
            Self::Dots => "...",
            Self::Arrow => "->",
            Self::Square => "off",
        }
    }
}

/// The parts of the box that can need its owner. The number is how often the light blinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Cable, Wi-Fi, addresses, ports.
    Network = 1,
    /// The clock.
    Time = 2,
    /// The records that bring mail here.
    Dns = 3,
    /// The name that belongs to the box's internet address.
    ReverseDns = 4,
    /// The records that prove mail from here is genuine.
    Authentication = 5,
    /// Certificates.
    Tls = 6,
    /// The card and the mail on it.
    Storage = 7,
    /// New versions.
    Updates = 8,
}

impl Area {
    /// All areas, by number.
    pub const ALL: [Self; 8] = [
        Self::Network,
        Self::Time,
        Self::Dns,
        Self::ReverseDns,
        Self::Authentication,
        Self::Tls,
        Self::Storage,
        Self::Updates,
    ];

    /// How often the light blinks for this area, 1 to 8.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// A name of at most 14 characters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Time => "time",
            Self::Dns => "DNS",
            Self::ReverseDns => "reverse DNS",
            Self::Authentication => "SPF/DKIM/DMARC",
            Self::Tls => "TLS",
            Self::Storage => "storage",
            Self::Updates => "updates",
        }
    }
}

/// One area that needs the owner, with the advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// Which part.
    pub area: Area,
    /// What to do, in one short sentence; a small display shows about 60 characters.
    pub advice: String,
}

/// One concern or more, at most one per area, ordered by area number: what lies below (no network)
/// usually causes what lies above (no DNS), so the first is the one to blink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concerns(Vec<Concern>);

impl Concerns {
    /// `None` if there are no concerns. Of several for one area the first is kept.
    pub fn new(concerns: impl IntoIterator<Item = Concern>) -> Option<Self> {
        let mut concerns: Vec<_> = concerns.into_iter().collect();
        concerns.sort_by_key(|concern| concern.area);
        concerns.dedup_by_key(|concern| concern.area);
        (!concerns.is_empty()).then_some(Self(concerns))
    }

    /// A single concern.
    pub fn one(area: Area, advice: impl Into<String>) -> Self {
        Self(vec![Concern { area, advice: advice.into() }])
    }

    /// All of them, by area number; never empty.
    pub fn as_slice(&self) -> &[Concern] {
        &self.0
    }

    /// The area that the light counts out.
    pub fn first_area(&self) -> Area {
        // Never empty by construction; the fallback only spares a panic path.
        self.0.first().map_or(Area::Network, |concern| concern.area)
    }
}

/// Percent done, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Progress(u8);

impl Progress {
    /// More than 100 counts as 100.
    pub fn percent(percent: u8) -> Self {
        Self(percent.min(100))
    }

    /// `done` of `total`; nothing to do counts as done.
    pub fn of(done: u64, total: u64) -> Self {
        if total == 0 {
            return Self(100);
        }
        let percent = u128::from(done.min(total)) * 100 / u128::from(total);
        Self(u8::try_from(percent).unwrap_or(100))
    }

    /// 0 to 100.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn the_lowest_area_is_the_one_to_blink() {
        let concern = |area, advice: &str| Concern { area, advice: advice.into() };
        let concerns = Concerns::new([
            concern(Area::Storage, "a"),
            concern(Area::Dns, "b"),
            concern(Area::Storage, "c"),
        ])
        .unwrap();
        assert_eq!(concerns.first_area(), Area::Dns);
        assert_eq!(concerns.as_slice(), [concern(Area::Dns, "b"), concern(Area::Storage, "a")]);
        assert_eq!(Concerns::new([]), None);
    }

    #[test]
    fn areas_are_numbered_as_the_vocabulary_says() {
        let numbers: Vec<u8> = Area::ALL.iter().map(|area| area.number()).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn progress_stays_within_its_bar() {
        assert_eq!(Progress::percent(250).get(), 100);
        assert_eq!(Progress::of(u64::MAX, 3).get(), 100);
        assert_eq!(Progress::of(1, 3).get(), 33);
        assert_eq!(Progress::of(0, 0).get(), 100);
    }
}
