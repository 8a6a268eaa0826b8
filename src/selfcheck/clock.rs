//! `time.clock`: is the time known?

use super::{Area, Check, Found, Inputs, Running};
use crate::clock::ClockTrust;

pub(super) struct Clock;

impl Check for Clock {
    fn id(&self) -> &'static str {
        "time.clock"
    }

    fn area(&self) -> Area {
        Area::Time
    }

    fn question(&self) -> &'static str {
        "Does the box know the time?"
    }

    fn why(&self) -> &'static str {
        "The box has no clock of its own. Until a time server has answered, dates of messages may \
         be wrong and neither certificates nor signatures can be judged."
    }

    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a> {
        Box::pin(async move {
            let now = format!("the clock says {:.0}", inputs.clock.now());
            match inputs.clock.trust() {
                ClockTrust::Synced => Found::ok().saw("a time server has confirmed the clock"),
                // It may be right all the same: neither good nor bad news.
                ClockTrust::Rough => {
                    Found::unknown("no time server has confirmed the clock since the start")
                }
                ClockTrust::Unknown => {
                    Found::unknown("no time server has answered yet, and the clock is surely wrong")
                }
            }
            .saw(now)
        })
    }
}
