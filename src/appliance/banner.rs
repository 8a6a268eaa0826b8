//! The meeting place with the system's root helpers: a folder where this service leaves what
//! belongs on the console and the boot partition, since it may write to neither.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::files::write_private;
use crate::selfcheck::own_addresses;
use crate::web::{ClaimCode, Stage};

/// Keeps `banner` and `claim-code` true until `stop`: addresses come and go.
pub(super) async fn keep(
    folder: PathBuf,
    http: Vec<SocketAddr>,
    code: ClaimCode,
    mut stage: watch::Receiver<Stage>,
    stop: CancellationToken,
) {
    let mut shown = None;
    loop {
        let now = (*stage.borrow_and_update(), urls(&http, &own_addresses()));
        if shown.as_ref() != Some(&now) {
            show(&folder, now.0, &now.1, &code);
            shown = Some(now);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = stage.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Tells the helper that the seed was taken up, and what is to stand in its place.
pub(super) fn seed_done(seed: &Path, without_secrets: &str) {
    write(&seed.with_file_name("seed-done"), without_secrets);
}

/// Every address under which a browser in the house finds the pages.
pub(super) fn urls(http: &[SocketAddr], own: &[IpAddr]) -> Vec<String> {
    let mut urls: Vec<String> = match http.iter().find(|address| address.ip().is_unspecified()) {
        Some(all) => own.iter().map(|address| SocketAddr::new(*address, all.port())).collect(),
        None => http.to_vec(),
    }
    .into_iter()
    .filter(|address| !link_local(&address.ip()))
    .map(url)
    .collect();
    // Loopback has two addresses and one name.
    urls.dedup();
    urls
}

fn url(address: SocketAddr) -> String {
    let host = match address.ip() {
        here if here.is_loopback() => "localhost".to_owned(),
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    match address.port() {
        80 => format!("http://{host}"),
        port => format!("http://{host}:{port}"),
    }
}

/// Browsers cannot name the interface such an address needs.
fn link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn show(folder: &Path, stage: Stage, urls: &[String], code: &ClaimCode) {
    let code = (stage == Stage::Unclaimed).then(|| code.to_string());
    let title = match stage {
        Stage::Unclaimed => "This box waits to be set up. Open one of these in a browser at home:",
        Stage::Claimed => "This box is being set up.",
        Stage::Done => "This box is in use. Its state is shown here:",
    };
    let mut lines = vec!["Pillarbox", "", title, "http://pillarbox.local"];
    lines.extend(urls.iter().map(String::as_str));
    if urls.is_empty() {
        lines.push("(no address yet: is the network cable plugged in?)");
    }
    let asked = code.as_ref().map(|code| format!("The page asks for this code:  {code}"));
    if let Some(asked) = &asked {
        lines.extend(["", asked]);
    }
    let text = lines.join("\n") + "\n";
    write(&folder.join("banner"), &text);
    let file = folder.join("claim-code");
    match code {
        Some(code) => write(&file, &code),
        None => match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the claim code cannot be removed");
            }
            _ => {}
        },
    }
}

/// Whole or not at all: a helper may read at any moment. Private: the claim code is in it.
fn write(path: &Path, text: &str) {
    if let Err(error) = write_private(path, text.as_bytes()) {
        tracing::warn!(%error, path = %path.display(), "cannot write");
    }
}

/// A cable plugged in is seen soon; nothing is written while nothing changes.
const INTERVAL: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn a_url_leads_to_where_the_box_listens() {
        let own = ["192.0.2.7", "fe80::1", "2001:db8::7"].map(|text| text.parse().unwrap());
        let of = |http: &[&str]| {
            let http: Vec<SocketAddr> = http.iter().map(|text| text.parse().unwrap()).collect();
            urls(&http, &own)
        };
        assert_eq!(of(&["[::]:80"]), ["http://192.0.2.7", "http://[2001:db8::7]"]);
        assert_eq!(of(&["127.0.0.1:20080", "[::1]:20080"]), ["http://localhost:20080"]);
        assert_eq!(of(&["192.0.2.7:8080"]), ["http://192.0.2.7:8080"]);
        assert!(of(&[]).is_empty());
    }
}
