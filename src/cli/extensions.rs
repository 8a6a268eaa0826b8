//! `pillarbox account extensions`: what of IMAP an account's mail programs are not told of, because
//! one of them stumbles over it.

use clap::Args;
use serde_json::Value;

use crate::control::AccountCommand;
use crate::mail::Address;

#[derive(Debug, Args)]
pub(super) struct ExtensionsArgs {
    /// The account
    address: Address,
    /// Switch these off, and all others on
    #[arg(long, value_name = "NAME", num_args = 1.., conflicts_with = "all")]
    without: Vec<String>,
    /// Switch all on again
    #[arg(long)]
    all: bool,
}

pub(super) const EXAMPLE: &str = "Without options it shows what can be switched off, and what is. \
    A change holds from the next login on: restart the mail program.\n\nExamples:\n  \
    pillarbox account extensions bob@example.org --without COMPRESS=DEFLATE NOTIFY\n  \
    pillarbox account extensions bob@example.org --all";

impl From<ExtensionsArgs> for AccountCommand {
    fn from(args: ExtensionsArgs) -> Self {
        let ExtensionsArgs { address, without, all } = args;
        let change = all || !without.is_empty();
        Self::Extensions { address, without: change.then_some(without) }
    }
}

/// What an account has and has not.
pub(super) fn shown(value: &Value) {
    let names = |key: &str| -> Vec<&str> {
        let all = value[key].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).collect()
    };
    let address = value["address"].as_str().unwrap_or_default();
    match names("without").as_slice() {
        [] => println!("{address}: all IMAP extensions are on"),
        off => println!("{address}: without {}", off.join(" ")),
    }
    println!("can be switched off: {}", names("extensions").join(" "));
}
