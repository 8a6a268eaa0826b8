//! `pillarbox junk`: what counts as junk for an account, what was learned from it, and who was
//! asked to come back.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{At, Failure, ask};
use crate::accounts::JunkMarks;
use crate::control::{JunkCommand, Request};
use crate::mail::Address;
use crate::policy::greylist::Waiting;

#[derive(Debug, Subcommand)]
pub(super) enum JunkArgs {
    /// Show an account's marks, and how much the box has learned from its mail
    #[command(after_help = "Example:\n  pillarbox junk show bob@example.org")]
    Show {
        /// The account
        address: Address,
    },
    /// Set from how many points on mail for an account is junk, and refused
    #[command(after_help = EXAMPLE)]
    Marks(MarksArgs),
    /// Show who was asked to come back in some minutes, and why
    #[command(after_help = "Mail servers come back by themselves; senders of junk mostly do \
                            not.\n\nExample:\n  pillarbox junk delayed")]
    Delayed,
}

#[derive(Debug, Args)]
pub(super) struct MarksArgs {
    /// The account
    address: Address,
    /// Points from which on mail is filed in Junk
    #[arg(long, value_name = "N", requires = "refuse", required_unless_present = "default")]
    junk: Option<i32>,
    /// Points from which on mail is refused
    #[arg(long, value_name = "N", requires = "junk")]
    refuse: Option<i32>,
    /// Follow the box's marks again
    #[arg(long, conflicts_with_all = ["junk", "refuse"])]
    default: bool,
}

const EXAMPLE: &str = "A message tells its points and why in its field X-Pillarbox-Junk. Lower \
    marks are stricter.\n\nExamples:\n  \
    pillarbox junk marks bob@example.org --junk 40 --refuse 120\n  \
    pillarbox junk marks bob@example.org --default";

pub(super) fn junk(at: &At, command: JunkArgs) -> Result<ExitCode, Failure> {
    let command = match command {
        JunkArgs::Show { address } => JunkCommand::Show { address },
        JunkArgs::Marks(MarksArgs { address, junk, refuse, .. }) => {
            let own = junk.zip(refuse).map(|(junk, refuse)| JunkMarks::new(junk, refuse));
            JunkCommand::Marks { address, own: own.transpose()? }
        }
        JunkArgs::Delayed => JunkCommand::Delayed,
    };
    ask(at, &Request::Junk(command))
}

/// An account's marks and lessons.
pub(super) fn shown(value: &Value) {
    let marks = &value["marks"];
    println!(
        "{}: filed in Junk from {} points on, refused from {} on ({})",
        value["address"].as_str().unwrap_or_default(),
        marks["junk"],
        marks["refuse"],
        if value["own"] == true { "its own marks" } else { "the box's marks" }
    );
    let learned = &value["learned"];
    let heard = if value["learned_counts"] == true {
        "counted in the score"
    } else {
        "not counted yet: move some mail into Junk and out of it"
    };
    println!("learned from it: {} junk, {} wanted; {heard}", learned["junk"], learned["wanted"]);
}

/// Who was asked to come back.
pub(super) fn delayed(value: &Value) {
    let all: Vec<Waiting> = serde_json::from_value(value.clone()).unwrap_or_default();
    if all.is_empty() {
        println!("Nobody is asked to come back.");
    }
    for Waiting { first, peer, from, to, reason, .. } in &all {
        let since = first.strftime("%Y-%m-%d %H:%M");
        println!("{since} UTC  {from} ({peer}) for {to}: {reason}");
    }
}
