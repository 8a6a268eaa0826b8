//! What the owner decided, validated once. `file` is the text as written (serde types of
//! `pillarbox.toml`, which are also the wizard's answers), `resolve` turns it into [`Config`],
//! which cannot hold a wrong value. A box without a [`Site`] is new and shows the wizard.
//!
//! The file lives at `<data>/pillarbox.toml`, readable by the service alone (mode 0600) and
//! replaced whole, so that a power cut leaves the old or the new one. It never holds an account's
//! password. It does hold the relay's, which has to be sent, and the Wi-Fi's.

mod disk;
mod file;
mod presets;
mod questions;
mod resolve;
mod seed;
mod sts;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use disk::{FILE_NAME, load, load_file, save};
pub use file::{
    BoardTable, ConfigFile, DnsTable, DomainTable, JunkTable, LimitsTable, ListenTable,
    MachineTable, OutboundTable, OwnerTable, PortsTable, RelayTable, RouteTable, StoreTable,
    TlsTable, WifiTable,
};
pub use presets::{PRESETS, Preset};
pub use questions::{QUESTIONS, Question};
pub use resolve::ConfigError;
pub use seed::{Seed, without_secrets};
pub use sts::{MtaSts, StsPolicy, policy_host};

use crate::accounts::Password;
use crate::mail::{Address, Domain};

/// Connections at once to one port, whoever they come from.
pub const MOST_CONNECTIONS: usize = 1000;

/// How much an account may send away within 24 hours before its mail is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyLimits {
    /// Messages with a recipient elsewhere.
    pub messages: u32,
    /// Recipients elsewhere that the account never wrote to before.
    pub new_recipients: u32,
}

impl Default for DailyLimits {
    /// More than any household has letters; a stolen password is used for far more.
    fn default() -> Self {
        Self { messages: 1000, new_recipients: 200 }
    }
}

/// Everything the services need to know, with defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names and owner; nothing before the set-up.
    pub site: Option<Site>,
    /// How mail leaves.
    pub outbound: Outbound,
    /// The ports.
    pub listen: Listen,
    /// Where the certificate comes from.
    pub tls: TlsMode,
    /// What others are told about TLS on port 25.
    pub mta_sts: MtaSts,
    /// DNS servers to ask; the system's when empty.
    pub dns: Vec<SocketAddr>,
    /// A file of DNSKEY records that DNSSEC proofs start from; the root's own keys when missing.
    pub trust_anchor: Option<PathBuf>,
    /// Largest message taken, in bytes.
    pub message_size: u64,
    /// Connections at once from one address (IPv6: one /64) to one port of submission, IMAP or POP3.
    pub per_address: usize,
    /// How much an account may send away in a day.
    pub daily: DailyLimits,
    /// What is taken for junk.
    pub junk: Junk,
    /// The wireless network to join; a cable needs nothing.
    pub wifi: Option<Wifi>,
    /// The parts of the panel.
    pub board: Board,
    /// Bytes after which the store seals a segment; nothing for its own choice.
    pub segment_size: Option<u64>,
}

/// What makes a box this household's post office.
#[derive(Debug, Clone)]
pub struct Site {
    /// The name in the greeting, the certificate and the MX record.
    pub hostname: Domain,
    /// Domains we receive mail for; the first is the main one. Never empty.
    pub domains: Vec<Domain>,
    /// The first account; gets postmaster's mail.
    pub owner: Address,
    /// IANA time zone, for dates in notices.
    pub timezone: String,
}

/// Points from which on a message is filed in Junk, when nobody says otherwise.
pub const USUAL_JUNK_MARK: i32 = 50;

/// What the owner decided about junk; what is missing is left to the filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Junk {
    /// Points from which on a message is filed in Junk.
    pub mark: Option<i32>,
    /// Points from which on it is refused.
    pub refuse: Option<i32>,
    /// Zones of the block lists to ask.
    pub lists: Option<Vec<Domain>>,
}

/// How mail for elsewhere leaves.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// The way.
    pub mode: OutboundMode,
    /// Exceptions; the first that fits decides.
    pub routes: Vec<Route>,
    /// Port of the receiving hosts: 25 but for tests on one machine.
    pub mx_port: u16,
    /// Port of the hosts that publish MTA-STS policies: 443 but for tests.
    pub https_port: u16,
    /// A PEM file of authorities trusted beside the web's, for a relay in the house.
    pub ca: Option<PathBuf>,
}

/// All mail this way, no exceptions, the usual ports.
impl From<OutboundMode> for Outbound {
    fn from(mode: OutboundMode) -> Self {
        Self { mode, routes: Vec::new(), mx_port: 25, https_port: 443, ca: None }
    }
}

/// An exception: mail from, or to, a domain goes another way.
#[derive(Debug, Clone)]
pub struct Route {
    /// The sender's domain; any when missing.
    pub from: Option<Domain>,
    /// The recipient's domain; any when missing.
    pub to: Option<Domain>,
    /// Only for recipients that were refused on the direct way because of where this box stands.
    pub if_refused: bool,
    /// The way.
    pub via: Via,
}

/// The way of a [`Route`].
#[derive(Debug, Clone)]
pub enum Via {
    /// To the receiving domain's MX hosts.
    Direct,
    /// To a host that sends for us.
    Relay(Relay),
}

/// The way out.
#[derive(Debug, Clone)]
pub enum OutboundMode {
    /// To the receiving domain's MX hosts.
    Direct,
    /// All to one host that sends for us.
    Relay(Relay),
    /// Kept here until the owner decides.
    Hold,
}

/// A host that sends for us.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Its name.
    pub host: Domain,
    /// Its port, 465 or 587.
    pub port: u16,
    /// Login, when it wants one.
    pub login: Option<(String, Password)>,
    /// How the connection is protected.
    pub tls: RelayTls,
    /// What its provider wants included in our SPF record, when it is a well-known one.
    pub spf: Option<&'static str>,
}

/// How the connection to a relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayTls {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// STARTTLS, required.
    StartTls,
    /// In the clear: only for a relay in the house.
    None,
}

/// Addresses to listen on, each a list so that both families can be named.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Port 25: strangers' servers.
    pub smtp: Vec<SocketAddr>,
    /// Port 587: submission with STARTTLS.
    pub submission: Vec<SocketAddr>,
    /// Port 465: submission under TLS.
    pub submissions: Vec<SocketAddr>,
    /// Port 143.
    pub imap: Vec<SocketAddr>,
    /// Port 993.
    pub imaps: Vec<SocketAddr>,
    /// Port 110.
    pub pop3: Vec<SocketAddr>,
    /// Port 995.
    pub pop3s: Vec<SocketAddr>,
    /// Port 80: the wizard, and nothing secret after it.
    pub http: Vec<SocketAddr>,
    /// Port 443.
    pub https: Vec<SocketAddr>,
}

/// Where the certificate comes from.
#[derive(Debug, Clone)]
pub enum TlsMode {
    /// Made here at the first start.
    SelfSigned,
    /// The owner's files.
    Files {
        /// PEM chain.
        certificate: PathBuf,
        /// PEM key.
        key: PathBuf,
    },
}

/// A wireless network.
#[derive(Debug, Clone)]
pub struct Wifi {
    /// Its name, 1 to 32 octets.
    pub ssid: String,
    /// Its password, 8 to 63 characters or a key of 64 hex digits; nothing for an open network.
    pub psk: Option<Password>,
    /// Country code of two capital letters: it decides which channels are allowed.
    pub country: String,
}

/// The parts of the panel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// The light.
    pub led: Part,
    /// The small display.
    pub display: Part,
    /// The button.
    pub button: Part,
}

/// Which part to use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Part {
    /// What is found.
    #[default]
    Auto,
    /// None, even when there is one.
    None,
    /// This one, by the name the board knows it by.
    Named(String),
}
