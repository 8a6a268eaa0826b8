//! From the file as written to [`Config`]: defaults filled in, every value checked, every
//! complaint with its place in the file and what to write instead.

mod outbound;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::{
    Board, BoardTable, Config, ConfigFile, DailyLimits, Junk, JunkTable, LimitsTable, Listen,
    ListenTable, MOST_CONNECTIONS, MtaSts, Part, Site, StoreTable, TlsMode, TlsTable,
    USUAL_JUNK_MARK, Wifi, WifiTable,
};
use crate::mail::{Address, Domain};

impl ConfigFile {
    /// Validates; `file` is what messages call it.
    pub fn resolve(&self, file: &str) -> Result<Config, ConfigError> {
        self.config().map_err(|Wrong { key, reason }| ConfigError::Value {
            file: file.to_owned(),
            key,
            reason,
        })
    }

    fn config(&self) -> Result<Config, Wrong> {
        Ok(Config {
            site: self.site()?,
            outbound: outbound::outbound(self.outbound.as_ref())?,
            listen: listen(self.listen.clone().unwrap_or_default())?,
            tls: tls(self.tls.as_ref())?,
            mta_sts: mta_sts(self.tls.as_ref())?,
            dns: self
                .dns
                .iter()
                .flat_map(|table| &table.servers)
                .map(|server| dns_server(server))
                .collect::<Result<_, _>>()?,
            trust_anchor: self
                .dns
                .as_ref()
                .and_then(|table| Some(table.trust_anchor.as_ref()?.into())),
            message_size: MESSAGE_SIZE,
            per_address: per_address(self.limits.as_ref().and_then(|table| table.per_address))?,
            daily: daily(self.limits.as_ref()),
            junk: junk(self.junk.as_ref())?,
            wifi: self.wifi.as_ref().map(wifi).transpose()?,
            board: board(self.board.as_ref())?,
            segment_size: segment_size(self.store.as_ref())?,
        })
    }

    /// Nothing as long as neither a domain nor an owner is named: a new box, perhaps with its
    /// Wi-Fi given already. One without the other is a mistake.
    fn site(&self) -> Result<Option<Site>, Wrong> {
        let machine = self.machine.clone().unwrap_or_default();
        let hostname = machine.hostname.map(|name| host("[box] hostname", &name)).transpose()?;
        let timezone = match machine.timezone {
            Some(name) => zone(name)?,
            None => "UTC".to_owned(),
        };
        if self.domain.is_empty() && self.owner.is_none() {
            return Ok(None);
        }
        let mut domains: Vec<Domain> = Vec::new();
        for table in &self.domain {
            let name = needed("[domain] name", table.name.as_ref(), "example.org")?;
            let domain = host("[domain] name", name)?;
            if domains.contains(&domain) {
                return wrong("[domain] name", format!("{domain} is named twice; keep one"));
            }
            domains.push(domain);
        }
        let first = domains.first().ok_or_else(|| missing("[domain] name", "example.org"))?.clone();
        let owner = self.owner.as_ref().and_then(|table| table.address.as_ref());
        let owner = needed("[owner] address", owner, &format!("alice@{first}"))?;
        let owner: Address =
            owner.parse().map_err(|error| Wrong::new("[owner] address", format!("{error}")))?;
        if !domains.contains(owner.domain()) {
            return wrong(
                "[owner] address",
                format!(
                    "{owner} does not belong to this box: choose an address at {first}, or add \
                     [[domain]] name = \"{}\"",
                    owner.domain()
                ),
            );
        }
        let hostname = match hostname {
            Some(name) => name,
            None => first
                .child("mail")
                .map_err(|error| Wrong::new("[domain] name", error.to_string()))?,
        };
        Ok(Some(Site { hostname, domains, owner, timezone }))
    }
}

/// Why a configuration cannot be used. Every message names the file, the place and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not TOML, or a key we do not know.
    #[error("{file}, line {line}: {reason}")]
    Grammar {
        /// The file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A value that cannot be.
    #[error("{file}, {key}: {reason}")]
    Value {
        /// The file.
        file: String,
        /// The table and key, such as `[owner] address`.
        key: &'static str,
        /// What is wrong and what to do.
        reason: String,
    },
    /// It cannot be read.
    #[error("cannot read {}: {source}; check that the file is there and may be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}; check the free space and the rights of the folder", path.display())]
    Unsaved {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Our own fault: settings that have no text.
    #[error("the settings cannot be written as a file: {reason}")]
    Unwritable {
        /// What the writer says.
        reason: String,
    },
}

/// The usual limit of the large providers, in bytes.
const MESSAGE_SIZE: u64 = 50 * 1024 * 1024;

/// What a segment may be told to hold: fewer bytes would be all headers, and with more a clean-up
/// would need too much free space at once.
const SEGMENT_SIZES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;
/// Phones keep several connections each, and a whole house may share one address.
const PER_ADDRESS: usize = 200;

/// A key and what is wrong with it; the file's name comes later.
struct Wrong {
    key: &'static str,
    reason: String,
}

impl Wrong {
    fn new(key: &'static str, reason: impl Into<String>) -> Self {
        Self { key, reason: reason.into() }
    }
}

fn wrong<T>(key: &'static str, reason: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::new(key, reason))
}

fn missing(key: &'static str, example: &str) -> Wrong {
    Wrong::new(key, format!("is missing; write for example {example:?}"))
}

fn needed<'a>(
    key: &'static str,
    value: Option<&'a String>,
    example: &str,
) -> Result<&'a str, Wrong> {
    match value.map(|text| text.trim()) {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(missing(key, example)),
    }
}

/// A public name: mail for a name without a dot finds nobody.
fn host(key: &'static str, text: &str) -> Result<Domain, Wrong> {
    match super::questions::domain(text) {
        Ok(domain) => Ok(domain),
        Err(reason) => wrong(key, reason),
    }
}

fn zone(name: String) -> Result<String, Wrong> {
    match super::questions::timezone(&name) {
        Ok(()) => Ok(name),
        Err(reason) => wrong("[box] timezone", reason),
    }
}

fn port(key: &'static str, number: u16) -> Result<(), Wrong> {
    if number == 0 { wrong(key, "0 is not a port; write 1 to 65535") } else { Ok(()) }
}

fn listen(table: ListenTable) -> Result<Listen, Wrong> {
    Ok(Listen {
        smtp: sockets("[listen] smtp", table.smtp, 25)?,
        submission: sockets("[listen] submission", table.submission, 587)?,
        submissions: sockets("[listen] submissions", table.submissions, 465)?,
        imap: sockets("[listen] imap", table.imap, 143)?,
        imaps: sockets("[listen] imaps", table.imaps, 993)?,
        pop3: sockets("[listen] pop3", table.pop3, 110)?,
        pop3s: sockets("[listen] pop3s", table.pop3s, 995)?,
        http: sockets("[listen] http", table.http, 80)?,
        https: sockets("[listen] https", table.https, 443)?,
    })
}

fn sockets(
    key: &'static str,
    given: Option<Vec<String>>,
    port: u16,
) -> Result<Vec<SocketAddr>, Wrong> {
    let Some(given) = given else {
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        return Ok(vec![v4, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))]);
    };
    given
        .iter()
        .map(|text| {
            text.parse().map_err(|_| {
                let reason = format!(
                    "{text:?} is not address:port; write for example \"0.0.0.0:{port}\" or \
                     \"[::]:{port}\""
                );
                Wrong::new(key, reason)
            })
        })
        .collect()
}

fn per_address(given: Option<u64>) -> Result<usize, Wrong> {
    let Some(given) = given else { return Ok(PER_ADDRESS) };
    let fits = usize::try_from(given).ok().filter(|number| (1..=MOST_CONNECTIONS).contains(number));
    fits.ok_or_else(|| {
        let reason = format!("{given} is out of range; write 1 to {MOST_CONNECTIONS}");
        Wrong::new("[limits] per_address", reason)
    })
}

fn daily(table: Option<&LimitsTable>) -> DailyLimits {
    let usual = DailyLimits::default();
    DailyLimits {
        messages: table.and_then(|table| table.messages_per_day).unwrap_or(usual.messages),
        new_recipients: table
            .and_then(|table| table.new_recipients_per_day)
            .unwrap_or(usual.new_recipients),
    }
}

/// Marks that would file everything, or refuse what is not even junk, are mistakes.
fn junk(table: Option<&JunkTable>) -> Result<Junk, Wrong> {
    let Some(table) = table else { return Ok(Junk::default()) };
    if table.mark.is_some_and(|mark| mark < 10) {
        return wrong(
            "[junk] mark",
            "files nearly all mail in Junk; write 10 or more, 50 as a rule",
        );
    }
    let mark = table.mark.unwrap_or(USUAL_JUNK_MARK);
    if table.refuse.is_some_and(|refuse| refuse < mark) {
        let reason = format!("is less than the mark of {mark} for junk; write more, 150 as a rule");
        return wrong("[junk] refuse", reason);
    }
    let zone = |zone: &String| host("[junk] lists", zone);
    let lists = table.lists.as_ref().map(|lists| lists.iter().map(zone).collect());
    Ok(Junk { mark: table.mark, refuse: table.refuse, lists: lists.transpose()? })
}

fn dns_server(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53)))
        .map_err(|_| {
            let reason = format!("{text:?} is not an address; write for example \"192.0.2.53:53\"");
            Wrong::new("[dns] servers", reason)
        })
}

fn tls(table: Option<&TlsTable>) -> Result<TlsMode, Wrong> {
    let table = table.cloned().unwrap_or_default();
    match table.mode.as_deref() {
        None if table.certificate.is_some() || table.key.is_some() => tls_files(&table),
        None | Some("self-signed") => Ok(TlsMode::SelfSigned),
        Some("files") => tls_files(&table),
        Some("acme") => wrong(
            "[tls] mode",
            "\"acme\" (certificates fetched by the box) is not built yet; write \"self-signed\", \
             or \"files\" with your own certificate and key",
        ),
        Some(other) => wrong(
            "[tls] mode",
            format!("{other:?} is not known; write \"self-signed\" or \"files\""),
        ),
    }
}

fn mta_sts(table: Option<&TlsTable>) -> Result<MtaSts, Wrong> {
    let table = table.cloned().unwrap_or_default();
    match table.mta_sts.as_deref() {
        None => Ok(MtaSts::default()),
        Some("off") => Ok(MtaSts::Off),
        Some("testing") => Ok(MtaSts::Testing),
        // With a certificate nobody trusts, the policy itself could not be fetched.
        Some("enforce") if matches!(tls(Some(&table))?, TlsMode::SelfSigned) => Err(Wrong::new(
            "[tls] mta_sts",
            "\"enforce\" needs a certificate that others trust, and this box has made its own; \
             write \"testing\"",
        )),
        Some("enforce") => Ok(MtaSts::Enforce),
        Some(other) => Err(Wrong::new(
            "[tls] mta_sts",
            format!("{other:?} is not known; write \"off\", \"testing\" or \"enforce\""),
        )),
    }
}

fn tls_files(table: &TlsTable) -> Result<TlsMode, Wrong> {
    let file =
        |key, value: Option<&String>, example| needed(key, value, example).map(PathBuf::from);
    Ok(TlsMode::Files {
        certificate: file("[tls] certificate", table.certificate.as_ref(), "/data/chain.pem")?,
        key: file("[tls] key", table.key.as_ref(), "/data/key.pem")?,
    })
}

fn wifi(table: &WifiTable) -> Result<Wifi, Wrong> {
    let ssid = table.ssid.clone().unwrap_or_default();
    if ssid.is_empty() || ssid.len() > 32 || ssid.chars().any(char::is_control) {
        return wrong(
            "[wifi] ssid",
            "the name of the wireless network has 1 to 32 characters; write it as the router \
             shows it",
        );
    }
    if let Some(psk) = &table.psk {
        let text = psk.expose();
        let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        // IEEE 802.11: a passphrase is 8 to 63 printable ASCII characters.
        let phrase = (8..=63).contains(&text.len()) && text.bytes().all(|b| (32..127).contains(&b));
        if !hex && !phrase {
            return wrong(
                "[wifi] psk",
                "a Wi-Fi password has 8 to 63 letters, digits or signs; copy it from the router",
            );
        }
    }
    let country = needed("[wifi] country", table.country.as_ref(), "DE")?.to_ascii_uppercase();
    if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
        return wrong("[wifi] country", "write the two letters of the country, such as \"DE\"");
    }
    Ok(Wifi { ssid, psk: table.psk.clone(), country })
}

fn board(table: Option<&BoardTable>) -> Result<Board, Wrong> {
    let table = table.cloned().unwrap_or_default();
    Ok(Board {
        led: part("[board] led", table.led)?,
        display: part("[board] display", table.display)?,
        button: part("[board] button", table.button)?,
    })
}

fn segment_size(table: Option<&StoreTable>) -> Result<Option<u64>, Wrong> {
    let size = table.and_then(|table| table.segment_size);
    if size.is_some_and(|size| !SEGMENT_SIZES.contains(&size)) {
        let reason = format!(
            "write a number of bytes from {} to {}, or leave it out",
            SEGMENT_SIZES.start(),
            SEGMENT_SIZES.end()
        );
        return wrong("[store] segment_size", reason);
    }
    Ok(size)
}

fn part(key: &'static str, text: Option<String>) -> Result<Part, Wrong> {
    match text {
        None => Ok(Part::Auto),
        Some(text) => match text.as_str() {
            "auto" => Ok(Part::Auto),
            "none" => Ok(Part::None),
            "" => wrong(key, "is empty; write \"auto\", \"none\" or the name of the part"),
            _ => Ok(Part::Named(text)),
        },
    }
}

#[cfg(test)]
mod tests;
