//! `pillarbox dns`: the records to publish, and the signing keys behind some of them.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::{At, Failure, ask, show};
use crate::control::{self, Request};
use crate::mail::Domain;
use crate::selfcheck::records::Record;

#[derive(Debug, Args)]
pub(super) struct DnsArgs {
    #[command(flatten)]
    at: At,
    /// How to write the records
    #[arg(long, value_enum, default_value = "table")]
    format: DnsFormat,
    #[command(subcommand)]
    command: Option<KeysArgs>,
}

#[derive(Debug, Subcommand)]
enum KeysArgs {
    /// Show how the signing keys (DKIM) stand, and what to do next
    #[command(after_help = "Example:\n  pillarbox dns keys")]
    Keys,
    /// Make the next signing keys; they sign once their records are published
    #[command(after_help = "Example:\n  pillarbox dns rotate example.org")]
    Rotate {
        /// The domain; all when left out
        domain: Option<Domain>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DnsFormat {
    /// For people
    Table,
    /// A zone file's lines
    Zone,
    /// For scripts
    Json,
}

pub(super) fn dns(args: &DnsArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        None => {}
        Some(KeysArgs::Keys) => return ask(&args.at, &Request::Keys),
        Some(KeysArgs::Rotate { domain }) => {
            return ask(&args.at, &Request::RotateKeys { domain: domain.clone() });
        }
    }
    let value = control::ask(&args.at.data, &Request::Records)?;
    let records: Vec<Record> =
        serde_json::from_value(value.clone()).map_err(control::ControlError::from)?;
    match args.format {
        DnsFormat::Json => show::json(&value),
        DnsFormat::Table if args.at.json => show::json(&value),
        DnsFormat::Table => show::records_table(&records),
        DnsFormat::Zone => show::records_zone(&records),
    }
    Ok(ExitCode::SUCCESS)
}
