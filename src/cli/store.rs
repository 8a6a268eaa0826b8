//! What is done to the store as a whole. Making its index anew needs the folder for itself: it is
//! done here, never by a running post office.

use std::process::ExitCode;

use clap::Subcommand;

use super::{At, EXIT_FAILURE, Failure, ask, show, tell};
use crate::control::{ControlError, Request};
use crate::store::{Options, Stats, Store};

#[derive(Debug, Subcommand)]
pub(super) enum StoreArgs {
    /// Sizes and counts
    #[command(after_help = "Example:\n  pillarbox store stats --json")]
    Stats,
    /// Read every record and name what is damaged
    #[command(after_help = "Exit code: 0 all is sound, 1 something is damaged.\n\n\
                      Example:\n  pillarbox store verify")]
    Verify,
    /// Give back the room of what was deleted, beside the running box; it does so by itself, too
    #[command(after_help = "Example:\n  pillarbox store compact")]
    Compact,
    /// Make the index anew from the mail itself; the box must be stopped
    #[command(after_help = "No mail is lost by it. While the box runs it is refused.\n\n\
                      Example:\n  systemctl stop pillarbox\n  pillarbox store rebuild\n  \
                      systemctl start pillarbox")]
    Rebuild,
}

pub(super) fn store(at: &At, command: &StoreArgs) -> Result<ExitCode, Failure> {
    match command {
        StoreArgs::Stats => ask(at, &Request::StoreStats),
        StoreArgs::Verify => {
            let value = tell(at, &Request::StoreVerify)?;
            let some = |list: &str| value[list].as_array().is_some_and(|list| !list.is_empty());
            let harmed = some("damage") || some("messages");
            Ok(if harmed { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS })
        }
        StoreArgs::Compact => ask(at, &Request::StoreCompact),
        StoreArgs::Rebuild => {
            if !at.data.is_dir() {
                return Err(ControlError::NoFolder(at.data.clone()).into());
            }
            let value = serde_json::to_value(rebuild(at)?).map_err(ControlError::from)?;
            if at.json {
                show::json(&value);
            } else {
                show::rebuilt(&value);
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
