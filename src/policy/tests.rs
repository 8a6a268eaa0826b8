//! Whole messages through all checks, in a DNS world of our own.

#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

mod cases;
pub(super) mod grammar;
mod guard;
mod letter;
mod suites;
mod table;
mod vectors;

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::dns::Resolver;
use crate::dns::world::World;
use crate::mail::{Domain, ReversePath};

/// Who hands a message in.
fn peer(ip: &str, helo: &str, mail_from: &str) -> Peer {
    let ip: IpAddr = ip.parse().unwrap();
    let mail_from: ReversePath = mail_from.parse().unwrap();
    Peer { ip, helo: helo.to_owned(), mail_from }
}

/// A world with these records, and who asks it.
async fn world(zone: &str) -> (World, Resolver) {
    let world = World::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    world.load(".", &format!("$TTL 60\n{zone}")).unwrap();
    let resolver = Resolver::new(&[world.local()]).unwrap();
    (world, resolver)
}

/// When questions end that are all answered long before.
pub(super) fn late() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// The message in pieces of this size.
fn inspect(message: &[u8], piece: usize) -> Inspected {
    let mut inspector = Inspector::new();
    message.chunks(piece).for_each(|piece| inspector.pass(piece));
    inspector.finish()
}

fn ours() -> Domain {
    "mail.home.test".parse().unwrap()
}

/// A TXT record, cut into strings as long as they may be.
fn txt(name: &str, value: &str) -> String {
    let strings: Vec<String> = value
        .as_bytes()
        .chunks(255)
        .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
        .collect();
    format!("{name}. TXT {}\n", strings.join(" "))
}
