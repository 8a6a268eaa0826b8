//! The `pillarbox` program: parse the arguments, do what they say, and tell by the exit code.

use std::process::ExitCode;

use clap::Parser;
use pillarbox::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
