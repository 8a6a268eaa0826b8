//! `storage.card`: is the card sound?

use super::{Area, Check, Found, Inputs, Running};

pub(super) struct Card;

impl Check for Card {
    fn id(&self) -> &'static str {
        "storage.card"
    }

    fn area(&self) -> Area {
        Area::Storage
    }

    fn question(&self) -> &'static str {
        "Does the card keep what is written to it?"
    }

    fn why(&self) -> &'static str {
        "Cards wear out. One that has begun to lose data soon loses more, and mail with it."
    }

    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a> {
        Box::pin(async move {
            let stats = match &inputs.stats {
                Ok(stats) => stats,
                Err(why) => return Found::unknown(format!("the store could not be asked: {why}")),
            };
            let advice = "Copy your mail to a computer now, with a mail program, and put in a new \
                          card. Then see which messages are damaged: pillarbox store verify";
            if stats.io_errors > 0 {
                Found::broken("the card fails to read or write", advice)
            } else if stats.damaged_records > 0 {
                let since = stats.damaged_since.map(|at| format!(", first found {}", day(at)));
                let since = since.unwrap_or_default();
                Found::broken(format!("the card has lost parts of what was written{since}"), advice)
            } else {
                Found::ok()
            }
            .saw(format!(
                "{} errors of the card since the start, {} damaged records known",
                stats.io_errors, stats.damaged_records
            ))
        })
    }
}

/// In the universal time zone.
fn day(at: jiff::Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%d")
}
