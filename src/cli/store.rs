//! What is done to the store as a whole. Making its index anew needs the folder for itself: it is
//! done here, never by a running post office.

use std::process::ExitCode;

use clap::Subcommand;

use super::{At, Failure, ask, show};
use crate::control::{ControlError, Request};
use crate::store::{Options, Stats, Store};

#[derive(Debug, Subcommand)]
pub(super) enum StoreArgs {
    /// Sizes and counts
    Stats,
    /// Read every record and name what is damaged
    Verify,
    /// Give back the room of what was deleted, beside the running box; it does so by itself, too
    Compact,
    /// Make the index anew from the segments; stop the service first
    Rebuild,
}

pub(super) fn store(at: &At, command: &StoreArgs) -> Result<ExitCode, Failure> {
    match command {
        StoreArgs::Stats => ask(at, &Request::StoreStats),
        StoreArgs::Verify => ask(at, &Request::StoreVerify),
        StoreArgs::Compact => ask(at, &Request::StoreCompact),
        StoreArgs::Rebuild => {
            if !at.data.is_dir() {
                return Err(ControlError::NoFolder(at.data.clone()).into());
            }
            let value = serde_json::to_value(rebuild(at)?).map_err(ControlError::from)?;
            if at.json {
                show::json(&value);
            } else {
                show::table(&value);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn rebuild(at: &At) -> Result<Stats, Failure> {
    let store = Store::rebuild(&at.data, Options::default())?;
    let stats = store.stats()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_err(ControlError::Runtime)?.block_on(store.close())?;
    Ok(stats)
}
