//! `storage.quota`: does every account have room for more mail?

use super::{Area, Check, Found, Inputs, Running, space};
use crate::mail::Address;
use crate::store::{Quota, Usage};

/// An account that has a quota, and what it holds.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The account.
    pub address: Address,
    /// What it holds.
    pub usage: Usage,
    /// What it may hold.
    pub quota: Quota,
}

pub(super) struct Quotas;

impl Check for Quotas {
    fn id(&self) -> &'static str {
        "storage.quota"
    }

    fn area(&self) -> Area {
        Area::Storage
    }

    fn question(&self) -> &'static str {
        "Has every account room for more mail?"
    }

    fn why(&self) -> &'static str {
        "Mail for an account that has used up its quota is turned away for now. After some days its \
         senders give up and the mail goes back."
    }

    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a> {
        Box::pin(async move {
            match &inputs.holdings {
                Ok(holdings) if holdings.is_empty() => Found::ok().saw("no account has a quota"),
                Ok(holdings) => Found::worst(holdings.iter().map(judge)),
                Err(why) => Found::unknown(format!("the store could not be asked: {why}")),
            }
        })
    }
}

fn judge(Holding { address, usage, quota }: &Holding) -> Found {
    let percent = quota.percent(*usage).unwrap_or(0);
    let found = if percent > ATTENTION {
        let text = if percent >= 100 {
            format!("the mailboxes of {address} are full: mail for it is turned away for now")
        } else {
            format!("the mailboxes of {address} are {percent} % full")
        };
        let full = |most: Option<u64>, used: u64| {
            let limit = Quota { bytes: most, messages: None };
            limit.percent(Usage { bytes: used, messages: 0 }) > Some(ATTENTION)
        };
        let twice = |most: Option<u64>| most.unwrap_or_default().saturating_mul(2);
        let storage = full(quota.bytes, usage.bytes)
            .then(|| format!(" --storage {}G", (twice(quota.bytes) / 1_000_000_000).max(10)));
        let messages = full(quota.messages, usage.messages)
            .then(|| format!(" --messages {}", twice(quota.messages).max(1000)));
        let more = storage.unwrap_or_default() + &messages.unwrap_or_default();
        Found::attention(
            text,
            format!(
                "Delete mail of {address} and empty its trash, or allow it more: \
                 pillarbox account quota {address}{more}"
            ),
        )
    } else {
        Found::ok()
    };
    let of = |most: Option<String>| most.map_or(String::new(), |most| format!(" of {most}"));
    found.saw(format!(
        "{address}: {}{}, {}{} messages",
        space::size(usage.bytes),
        of(quota.bytes.map(space::size)),
        usage.messages,
        of(quota.messages.map(|most| most.to_string())),
    ))
}

/// Above so many percent somebody should look.
const ATTENTION: u64 = 90;
