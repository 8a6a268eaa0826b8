//! `pillarbox account device`: passwords for single devices, when they were used last and from where; and
//! `pillarbox account pop3`: what becomes of mail that a program deletes over POP3.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

use crate::accounts::Removal;
use crate::control::AccountCommand;
use crate::mail::Address;

#[derive(Debug, Subcommand)]
pub(super) enum DeviceArgs {
    /// Mint a password for a device and show it once
    #[command(after_help = "Example:\n  pillarbox account device add bob@example.org phone")]
    Add {
        /// The account
        address: Address,
        /// What to call the device
        name: String,
    },
    /// Show devices: since when, when used last, from where and by what program
    #[command(after_help = LIST_EXAMPLE)]
    List {
        /// The account; all when left out
        address: Option<Address>,
    },
    /// Take a device's password away: what it has open ends at once
    #[command(after_help = "Example:\n  pillarbox account device revoke bob@example.org phone")]
    Revoke {
        /// The account
        address: Address,
        /// The device
        name: String,
    },
}

const LIST_EXAMPLE: &str = "The last use is written to the card once an hour at most, so that after \
    a restart it may be an hour older.\n\nExamples:\n  pillarbox account device list\n  \
    pillarbox account device list bob@example.org --json";

#[derive(Debug, Args)]
pub(super) struct Pop3Args {
    /// The account
    address: Address,
    /// Where messages go that a program deletes over POP3: to the trash, or away for good
    #[arg(long, value_name = "trash|delete", value_parser = str::parse::<Removal>)]
    dele: Option<Removal>,
}

pub(super) const POP3_EXAMPLE: &str = "Usually they go to the trash: many POP3 programs delete what \
    they have fetched, and the phone beside them would lose its mail. The trash takes room until it \
    is emptied. Without --dele it shows what is set.\n\n\
    Example:\n  pillarbox account pop3 bob@example.org --dele delete";

impl From<DeviceArgs> for AccountCommand {
    fn from(args: DeviceArgs) -> Self {
        match args {
            DeviceArgs::Add { address, name } => Self::AddDevice { address, name },
            DeviceArgs::List { address } => Self::ListDevices { address },
            DeviceArgs::Revoke { address, name } => Self::RevokeDevice { address, name },
        }
    }
}

impl From<Pop3Args> for AccountCommand {
    fn from(Pop3Args { address, dele }: Pop3Args) -> Self {
        Self::Pop3 { address, dele }
    }
}

/// One line for each device.
pub(super) fn listed(value: &Value) {
    for device in value.as_array().into_iter().flatten() {
        let text = |key: &str| device[key].as_str().unwrap_or_default();
        let since = day(&device["created"]).map(|at| format!("  since {at}")).unwrap_or_default();
        let last = &device["last_use"];
        let client = last["client"].as_str().map(|name| format!(" ({name})")).unwrap_or_default();
        let from = last["from"].as_str().unwrap_or_default();
        let used = match day(&last["at"]) {
            Some(at) => format!("last used {at} UTC from {from}{client}"),
            None => "not used yet".to_owned(),
        };
        println!("{}  {}{since}  {used}", text("address"), text("name"));
    }
}

/// What becomes of deleted mail.
pub(super) fn removal(value: &Value) {
    let what = if value["dele"] == "delete" { "is gone for good" } else { "goes to the trash" };
    println!("{}: mail deleted over POP3 {what}.", value["address"].as_str().unwrap_or_default());
}

fn day(time: &Value) -> Option<String> {
    let time: Timestamp = time.as_str()?.parse().ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M").to_string())
}
