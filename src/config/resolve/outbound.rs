//! `[outbound]`: the way out, its exceptions, and the relays.

use super::{Wrong, host, missing, needed, port, wrong};
use crate::config::{
    Outbound, OutboundMode, OutboundTable, PRESETS, Preset, Relay, RelayTable, RelayTls, Route,
    RouteTable, Via,
};

pub(super) fn outbound(table: Option<&OutboundTable>) -> Result<Outbound, Wrong> {
    let table = table.cloned().unwrap_or_default();
    let relayed = || relay("[outbound] relay", table.relay.as_ref()).map(OutboundMode::Relay);
    let mode = match table.mode.as_deref() {
        // A relay that is described is meant to be used.
        Some("relay") => relayed()?,
        None if table.relay.is_some() => relayed()?,
        None | Some("direct") => OutboundMode::Direct,
        Some("hold") => OutboundMode::Hold,
        Some(other) => {
            return wrong(
                "[outbound] mode",
                format!("{other:?} is no way out; write \"direct\", \"relay\" or \"hold\""),
            );
        }
    };
    let routes = table.routes.iter().map(route).collect::<Result<_, _>>()?;
    let ports = table.ports.clone().unwrap_or_default();
    let (mx_port, https_port) = (ports.mx.unwrap_or(25), ports.https.unwrap_or(443));
    port("[outbound.ports] mx", mx_port)?;
    port("[outbound.ports] https", https_port)?;
    Ok(Outbound { mode, routes, mx_port, https_port, ca: table.ca.map(Into::into) })
}

fn route(table: &RouteTable) -> Result<Route, Wrong> {
    const KEY: &str = "[[outbound.routes]]";
    let domain = |key, name: &Option<String>| name.as_ref().map(|name| host(key, name)).transpose();
    let from = domain("[[outbound.routes]] from", &table.from)?;
    let to = domain("[[outbound.routes]] to", &table.to)?;
    let if_refused = match table.when.as_deref() {
        None => false,
        Some("refused") => true,
        Some(other) => {
            return wrong(
                "[[outbound.routes]] when",
                format!("{other:?} is not known; write \"refused\", or leave it out for always"),
            );
        }
    };
    let via = match (table.mode.as_deref(), &table.relay) {
        (Some("direct"), None) => Via::Direct,
        (None | Some("relay"), given @ Some(_)) => {
            Via::Relay(relay("[[outbound.routes]] relay", given.as_ref())?)
        }
        (Some("direct"), Some(_)) => {
            return wrong(KEY, "names a relay and mode \"direct\"; take one of them out");
        }
        _ => return wrong(KEY, "write mode = \"direct\", or relay = { … }"),
    };
    if if_refused && matches!(via, Via::Direct) {
        return wrong(KEY, "when = \"refused\" needs a relay: the direct way is the one refused");
    }
    if !if_refused && from.is_none() && to.is_none() {
        return wrong(
            KEY,
            "fits all mail; say which with from, to or when = \"refused\", or set [outbound] mode",
        );
    }
    Ok(Route { from, to, if_refused, via })
}

fn relay(key: &'static str, table: Option<&RelayTable>) -> Result<Relay, Wrong> {
    let Some(table) = table else {
        return Err(missing(key, "{ host = \"smtp.example.net\", port = 465 }"));
    };
    let preset = table.preset.as_deref().map(preset).transpose()?;
    let host = match (preset, &table.host) {
        (Some(_), Some(_)) => {
            return wrong("[outbound] relay", "has both preset and host; keep one of them");
        }
        (Some(preset), None) => preset.host,
        (None, host) => needed("[outbound] relay host", host.as_ref(), "smtp.example.net")?,
    };
    let host = host
        .parse()
        .map_err(|_| Wrong::new("[outbound] relay host", format!("{host:?} is not a host name")))?;
    let tls = match (table.tls.as_deref(), table.port.or(preset.map(|preset| preset.port))) {
        (Some("implicit"), _) | (None, None | Some(465)) => RelayTls::Implicit,
        (Some("starttls"), _) | (None, Some(_)) => RelayTls::StartTls,
        (Some("none"), _) => RelayTls::None,
        (Some(other), _) => {
            return wrong(
                "[outbound] relay tls",
                format!("{other:?} is not known; write \"implicit\", \"starttls\" or \"none\""),
            );
        }
    };
    let usual = if tls == RelayTls::Implicit { 465 } else { 587 };
    let number = table.port.unwrap_or(usual);
    port("[outbound] relay port", number)?;
    let login = match (table.user.as_deref().filter(|user| !user.is_empty()), &table.password) {
        (Some(user), Some(password)) => Some((user.to_owned(), password.clone())),
        (None, None) => None,
        (Some(_), None) => return Err(missing("[outbound] relay password", "…")),
        (None, Some(_)) => {
            let example = preset.map_or("alice", |preset| preset.user);
            return Err(missing("[outbound] relay user", example));
        }
    };
    if login.is_some() && tls == RelayTls::None {
        return wrong(
            "[outbound] relay tls",
            "\"none\" would send the relay's password in the clear; use \"implicit\" or \
             \"starttls\", or take user and password out",
        );
    }
    Ok(Relay { host, port: number, login, tls, spf: preset.and_then(|preset| preset.spf) })
}

fn preset(name: &str) -> Result<&'static Preset, Wrong> {
    Preset::find(name).ok_or_else(|| {
        let known: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        let reason = format!(
            "{name:?} is not known; write host and port instead, or one of {}",
            known.join(", ")
        );
        Wrong::new("[outbound] relay preset", reason)
    })
}
