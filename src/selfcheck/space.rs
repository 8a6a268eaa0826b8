//! `storage.space`: is there room for more mail?

use super::{Area, Check, Found, Inputs, Running};
use crate::store::{Options, Stats};

pub(super) struct Space;

impl Check for Space {
    fn id(&self) -> &'static str {
        "storage.space"
    }

    fn area(&self) -> Area {
        Area::Storage
    }

    fn question(&self) -> &'static str {
        "Is there room for more mail?"
    }

    fn why(&self) -> &'static str {
        "When the card is full the box asks senders to try again later. After some days they give \
         up and the mail goes back."
    }

    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a> {
        Box::pin(async move {
            match &inputs.stats {
                Ok(stats) => judge(stats),
                Err(why) => Found::unknown(format!("the store could not be asked: {why}")),
            }
        })
    }
}

fn judge(stats: &Stats) -> Found {
    let reserve = Options::default().reserve;
    let stored = stats.segment_bytes + stats.index_bytes;
    let advice = "Delete large messages and empty the trash folders, or move to a larger card.";
    let found = if stats.free_bytes <= reserve {
        Found::broken("the card is full: new mail is turned away for now", advice)
    } else if stats.free_bytes - reserve < reserve.max(stored / 10) {
        // The next tenth of what came in so far, at least as much as the reserve.
        Found::attention(
            format!("the card is almost full: room for {} more", size(stats.free_bytes - reserve)),
            advice,
        )
    } else {
        Found::ok()
    };
    found.saw(format!(
        "{} free, of which {} are kept in reserve; mail takes {}",
        size(stats.free_bytes),
        size(reserve),
        size(stored)
    ))
}

pub(super) fn size(bytes: u64) -> String {
    const MEGA: u64 = 1_000_000;
    if bytes >= 10_000 * MEGA {
        format!("{} GB", bytes / (1000 * MEGA))
    } else {
        format!("{} MB", bytes / MEGA)
    }
}
