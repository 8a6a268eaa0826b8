//! `pillarbox.toml` as written: the types the text is read into and written from. The same file is
//! the answers to the set-up questions, the seed on the boot partition, and the configuration in
//! the data folder. Nothing is judged here beyond the grammar; see `resolve`.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ConfigError;
use crate::accounts::Password;

/// The whole file. Every table may be missing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// `[box]`
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineTable>,
    /// `[domain]`, or `[[domain]]` for more than one.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "one_or_more",
        serialize_with = "one_if_single"
    )]
    pub domain: Vec<DomainTable>,
    /// `[owner]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerTable>,
    /// `[outbound]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound: Option<OutboundTable>,
    /// `[wifi]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wifi: Option<WifiTable>,
    /// `[tls]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsTable>,
    /// `[dns]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsTable>,
    /// `[listen]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<ListenTable>,
    /// `[limits]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsTable>,
    /// `[board]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board: Option<BoardTable>,
    /// `[store]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreTable>,
}

impl ConfigFile {
    /// Reads the grammar. `name` is what messages call the file.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Grammar {
            file: name.to_owned(),
            line: error.span().map_or(1, |span| line_at(text, span.start)),
            reason: error.message().to_owned(),
        })
    }

    /// The file's text. The owner's password is left out: the accounts hold its hash, and nothing
    /// else needs it. The relay's password stays, because it has to be sent to the relay.
    pub fn to_text(&self) -> Result<String, ConfigError> {
        let body = toml::to_string(self)
            .map_err(|error| ConfigError::Unwritable { reason: error.to_string() })?;
        Ok(format!("{HEADER}{body}"))
    }

    /// Fills in secrets that were left blank because this is about the same relay or Wi-Fi as
    /// before: a seed whose secrets were taken out must not take them out of the box too.
    pub fn keep_secrets_of(&mut self, before: &Self) {
        for new in relays_mut(self).filter(|relay| relay.password.is_none()) {
            let same = |old: &&RelayTable| {
                (&new.preset, &new.host, &new.user) == (&old.preset, &old.host, &old.user)
            };
            if let Some(old) = relays(before).find(same) {
                new.password.clone_from(&old.password);
            }
        }
        if let (Some(new), Some(old)) = (&mut self.wifi, &before.wifi)
            && new.psk.is_none()
            && new.ssid == old.ssid
        {
            new.psk.clone_from(&old.psk);
        }
    }
}

/// `[box]`: the machine itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineTable {
    /// The box's name in the DNS; `mail.` and the first domain when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// IANA time zone; UTC when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

/// One of our domains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainTable {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `[owner]`: the first account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerTable {
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its password; only in answers, never in the data folder.
    #[serde(default, deserialize_with = "secret", skip_serializing)]
    pub password: Option<Password>,
}

/// `[outbound]`: the way out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundTable {
    /// `direct`, `relay` or `hold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The relay, for mode `relay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<RelayTable>,
    /// `[[outbound.routes]]`: exceptions, the first that fits decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteTable>,
    /// A PEM file of authorities trusted beside the web's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// `[outbound.ports]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortsTable>,
}

/// `[[outbound.routes]]`: mail from, or to, a domain goes another way.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// One of our domains; mail from any when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The recipient's domain; mail to any when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `refused`: only for recipients that were refused on the direct way because of where this
    /// box stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// `direct`, or `relay` with the relay below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<RelayTable>,
}

/// `relay = { … }`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayTable {
    /// A well-known relay by its short name; host, port and TLS come with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// 465 or 587 as a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Login name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Login password.
    #[serde(
        default,
        deserialize_with = "secret",
        serialize_with = "exposed",
        skip_serializing_if = "Option::is_none"
    )]
    pub password: Option<Password>,
    /// `implicit`, `starttls` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
}

/// `[outbound.ports]`: for tests on one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortsTable {
    /// Port of the receiving hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mx: Option<u16>,
    /// Port of the hosts that publish MTA-STS policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<u16>,
}

/// `[wifi]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WifiTable {
    /// The network's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssid: Option<String>,
    /// Its password; none for an open network.
    #[serde(
        default,
        deserialize_with = "secret",
        serialize_with = "exposed",
        skip_serializing_if = "Option::is_none"
    )]
    pub psk: Option<Password>,
    /// Two letters; decides which channels are allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

/// `[tls]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsTable {
    /// `self-signed` or `files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// PEM chain, for mode `files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// PEM key, for mode `files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What others are told of it (MTA-STS): `off`, `testing` or `enforce`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mta_sts: Option<String>,
}

/// `[dns]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsTable {
    /// `address` or `address:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// A file of DNSKEY records to start proofs from, instead of the root's keys: for a DNS of
    /// one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_anchor: Option<String>,
}

/// `[listen]`: `address:port` lists; an empty list switches a service off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each is the service of that name")]
pub struct ListenTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submission: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submissions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imap: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imaps: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pop3: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pop3s: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<Vec<String>>,
}

/// `[limits]`: for a house, or a measurement, of unusual size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsTable {
    /// Connections at once from one address to a port for people's own programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_address: Option<u64>,
    /// Messages an account may send away in a day before they are held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_day: Option<u32>,
    /// People never written to before that an account may write to in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_recipients_per_day: Option<u32>,
}

/// `[board]`: parts of the panel; each is `auto`, `none`, or a part's own name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each is the part of that name")]
pub struct BoardTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub led: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub button: Option<String>,
}

/// `[store]`: how mail lies on the card.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreTable {
    /// Bytes after which a segment is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_size: Option<u64>,
}

const HEADER: &str = "\
# Pillarbox: the settings of this box, written by the set-up.
# Readable by the box alone: it may hold the password of your relay and of your Wi-Fi.
# The passwords of accounts are not here; change them with: pillarbox account passwd ADDRESS

";

fn relays(file: &ConfigFile) -> impl Iterator<Item = &RelayTable> {
    let outbound = file.outbound.iter();
    outbound.flat_map(|table| {
        table.relay.iter().chain(table.routes.iter().filter_map(|route| route.relay.as_ref()))
    })
}

fn relays_mut(file: &mut ConfigFile) -> impl Iterator<Item = &mut RelayTable> {
    let outbound = file.outbound.iter_mut();
    outbound.flat_map(|table| {
        let routes = table.routes.iter_mut().filter_map(|route| route.relay.as_mut());
        table.relay.iter_mut().chain(routes)
    })
}

/// The number people give the line that holds this byte.
fn line_at(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|b| *b == b'\n').count()
}

/// A blank secret is one that was taken out: the same as none.
fn secret<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Password>, D::Error> {
    let text = String::deserialize(input)?;
    Ok((!text.is_empty()).then(|| Password::new(text)))
}

#[allow(clippy::ref_option, reason = "serde gives a reference to the field")]
fn exposed<S: Serializer>(secret: &Option<Password>, output: S) -> Result<S::Ok, S::Error> {
    output.serialize_str(secret.as_ref().map_or("", Password::expose))
}

/// Takes `[domain]` and `[[domain]]` alike. Written by hand because serde's untagged enums lose
/// the reason when neither fits.
fn one_or_more<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<DomainTable>, D::Error> {
    struct OneOrMore;

    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<DomainTable>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a [domain] table with a name")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            DomainTable::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(seq))
        }
    }

    input.deserialize_any(OneOrMore)
}

fn one_if_single<S: Serializer>(tables: &[DomainTable], output: S) -> Result<S::Ok, S::Error> {
    match tables {
        [one] => one.serialize(output),
        more => more.serialize(output),
    }
}
