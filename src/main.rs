//! The `pillarbox` program: parse the arguments, do what they say, and tell by the exit code.

use std::process::ExitCode;

use clap::Parser;
use pillarbox::cli::Cli;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => {
            let asked_for = !error.use_stderr();
            // Nobody is left to tell when even standard error is closed.
            let _ = error.print();
            if asked_for { ExitCode::SUCCESS } else { ExitCode::from(USAGE) }
        }
    }
}

/// `EX_USAGE` of sysexits.h: 0 to 3 are results of `check`.
const USAGE: u8 = 64;
