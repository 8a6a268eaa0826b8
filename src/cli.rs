//! The command line: every subcommand of the contract, with help and an example, and one line that
//! says what to do when something fails. A command that needs the data folder asks the running
//! post office over its control socket, or opens the folder itself when none is running: the same
//! [`Request`] either way.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::accounts::{MarksError, Password};
use crate::appliance::{self, RunOptions};
use crate::archive::ArchiveError;
use crate::control::{self, AccountCommand, QueueCommand, Request};
use crate::mail::Address;
use crate::selfcheck;
use crate::store::{OpenError, StoreError};

mod archive;
mod device;
mod dns;
mod extensions;
mod junk;
mod quota;
mod show;
mod store;

/// A post office for the household: SMTP, IMAP and POP3 with a self-check and a status light.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all services in the foreground until stopped
    #[command(after_help = "Example:\n  pillarbox run --data /var/lib/pillarbox --board auto")]
    Run(RunArgs),
    /// Run a post office on this computer, with accounts, a DNS world and a board of its own
    #[cfg(feature = "demo")]
    #[command(after_help = "Example:\n  pillarbox demo\n\nCtrl-C stops it; the data folder stays.")]
    Demo(DemoArgs),
    /// Set the box up from a file: the wizard without a browser
    #[command(
        after_help = "Example:\n  pillarbox setup --data /var/lib/pillarbox --answers pillarbox.toml"
    )]
    Setup(SetupArgs),
    /// Check whether this box is ready to send, receive and keep mail
    #[command(
        after_help = "Exit code: 0 ready, 1 needs attention, 2 broken, 3 could not be told.\n\n\
                      Example:\n  pillarbox check --only dns.mx --only auth.spf"
    )]
    Check(CheckArgs),
    /// Show the DNS records to publish; change the signing keys
    #[command(after_help = "Examples:\n  pillarbox dns --format zone\n  pillarbox dns rotate")]
    Dns(dns::DnsArgs),
    /// Show what other mail providers reported about mail in your name, and connections to you
    #[command(after_help = "Example:\n  pillarbox reports --days 7")]
    Reports(ReportsArgs),
    /// Accounts, their devices and aliases
    #[command(after_help = "Example:\n  pillarbox account add bob@example.org --password-stdin")]
    Account {
        #[command(flatten)]
        at: At,
        #[command(subcommand)]
        command: AccountArgs,
    },
    /// Messages on their way out
    #[command(after_help = "Examples:\n  pillarbox queue list\n  pillarbox queue retry 17\n  \
                            pillarbox queue lift bob@example.net")]
    Queue {
        #[command(flatten)]
        at: At,
        #[command(subcommand)]
        command: QueueArgs,
    },
    /// What counts as junk, and who was asked to come back
    #[command(after_help = "Examples:\n  pillarbox junk show bob@example.org\n  \
                            pillarbox junk delayed")]
    Junk {
        #[command(flatten)]
        at: At,
        #[command(subcommand)]
        command: junk::JunkArgs,
    },
    /// The mail store
    #[command(after_help = "Example:\n  pillarbox store stats --json")]
    Store {
        #[command(flatten)]
        at: At,
        #[command(subcommand)]
        command: store::StoreArgs,
    },
    /// Write an account's mail into a folder, as a Maildir or mboxes
    #[command(
        after_help = "May be stopped and run again: what is there already is left alone.\n\n\
                      Example:\n  pillarbox export bob@example.org /media/stick/bob --format mbox"
    )]
    Export(archive::ExportArgs),
    /// Bring old mail into an account: Maildir, mbox (Thunderbird, Google Takeout), .eml files
    #[command(
        after_help = "May be stopped and run again: what is in the mailbox already is not added \
                      twice.\n\nExample:\n  pillarbox import bob@example.org ~/Maildir\n  \
                      pillarbox import bob@example.org Takeout/Mail --seen"
    )]
    Import(archive::ImportArgs),
}

/// Which box is meant, and how to answer.
#[derive(Debug, Clone, Args)]
struct At {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA, global = true)]
    data: PathBuf,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
    /// Another configuration than pillarbox.toml in the data folder
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answers to take up once, when the box is not set up yet
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Where LED and display are
    #[arg(long, value_name = "auto|sim|none", default_value = "auto",
          value_parser = str::parse::<board::Kind>)]
    board: board::Kind,
}

#[cfg(feature = "demo")]
#[derive(Debug, Args)]
struct DemoArgs {
    /// The data folder; kept for the next start
    #[arg(long, value_name = "DIR", default_value = "pillarbox-demo")]
    data: PathBuf,
    /// First of the ports used: SMTP on BASE+25, IMAP on BASE+143 and so on
    #[arg(long, value_name = "BASE", default_value = "20000",
          value_parser = clap::value_parser!(u16).range(1024..=64_000))]
    ports: u16,
    /// Start as a new box, to walk through the wizard
    #[arg(long)]
    new: bool,
}

#[derive(Debug, Args)]
struct SetupArgs {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
    /// The answers, a file like pillarbox.toml
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    at: At,
    /// Run only these checks, such as dns.mx
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
}

#[derive(Debug, Args)]
struct ReportsArgs {
    #[command(flatten)]
    at: At,
    /// How many days to look back
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
}

#[derive(Debug, Subcommand)]
enum AccountArgs {
    /// Make an account
    #[command(after_help = "Example:\n  pillarbox account add bob@example.org")]
    Add(WithPassword),
    /// Show all accounts
    #[command(after_help = "Example:\n  pillarbox account list")]
    List,
    /// Set a new password
    #[command(after_help = "Example:\n  pillarbox account passwd bob@example.org")]
    Passwd(WithPassword),
    /// Remove an account and all its mail
    #[command(after_help = "Example:\n  pillarbox account remove bob@example.org")]
    Remove {
        /// The account
        address: Address,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show or set how much an account may hold
    #[command(after_help = quota::EXAMPLE)]
    Quota(quota::QuotaArgs),
    /// Show or set which IMAP extensions an account's programs are not told of
    #[command(after_help = extensions::EXAMPLE)]
    Extensions(extensions::ExtensionsArgs),
    /// Passwords for single devices: a lost phone is locked out, the others stay
    #[command(subcommand)]
    Device(device::DeviceArgs),
    /// Show or set where mail goes that a program deletes over POP3
    #[command(after_help = device::POP3_EXAMPLE)]
    Pop3(device::Pop3Args),
    /// Addresses that lead to others
    #[command(subcommand)]
    Alias(AliasArgs),
}

#[derive(Debug, Args)]
struct WithPassword {
    /// The account
    address: Address,
    /// Read the password from standard input (one line)
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    /// Read the password from a file (first line)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum AliasArgs {
    /// Send mail for ALIAS on to TARGET
    #[command(
        after_help = "Example:\n  pillarbox account alias add info@example.org bob@example.org\n  \
                      pillarbox account alias add '*@example.org' bob@example.org   whatever nobody else gets"
    )]
    Add {
        /// An address of this box
        alias: Address,
        /// An account of this box, or an address elsewhere
        target: Address,
    },
    /// Show all aliases
    #[command(after_help = "Example:\n  pillarbox account alias list")]
    List,
    /// Remove an alias
    #[command(after_help = "Example:\n  pillarbox account alias remove info@example.org")]
    Remove {
        /// The alias
        alias: Address,
    },
}

#[derive(Debug, Subcommand)]
enum QueueArgs {
    /// Show what waits
    #[command(after_help = "Example:\n  pillarbox queue list")]
    List,
    /// Show one message in full
    #[command(after_help = "Example:\n  pillarbox queue show 17")]
    Show {
        /// Its number
        id: u64,
    },
    /// Try one message, or all, now
    #[command(after_help = "Example:\n  pillarbox queue retry 17")]
    Retry {
        /// Its number; all when left out
        id: Option<u64>,
    },
    /// Keep a message from being tried
    #[command(after_help = "Example:\n  pillarbox queue hold 17")]
    Hold {
        /// Its number
        id: u64,
    },
    /// End a hold
    #[command(after_help = "Example:\n  pillarbox queue release 17")]
    Release {
        /// Its number
        id: u64,
    },
    /// Remove a message; nobody is told
    #[command(after_help = "Example:\n  pillarbox queue drop 17")]
    Drop {
        /// Its number
        id: u64,
    },
    /// Show addresses elsewhere to which mail went badly: returned for good, or complained about
    #[command(after_help = "Example:\n  pillarbox queue ledger")]
    Ledger,
    /// Take mail for an address again that does not exist, its host said
    #[command(after_help = "Example:\n  pillarbox queue lift bob@example.net")]
    Lift {
        /// The address
        address: Address,
    },
}

/// Where the service keeps its data.
const DEFAULT_DATA: &str = "/var/lib/pillarbox";

/// A command that could not do what it was asked.
const EXIT_FAILURE: u8 = 1;

/// A check that could not be made is neither good nor bad news.
const EXIT_UNKNOWN: u8 = 3;

impl Cli {
    /// Does what the arguments say.
    pub fn run(self) -> ExitCode {
        let on_failure = match &self.command {
            Command::Check(_) => EXIT_UNKNOWN,
            _ => EXIT_FAILURE,
        };
        let result = match self.command {
            Command::Run(args) => appliance::run(RunOptions {
                data: args.data,
                config: args.config,
                seed: args.seed,
                board: args.board,
            })
            .map(|()| ExitCode::SUCCESS)
            .map_err(Failure::from),
            #[cfg(feature = "demo")]
            Command::Demo(args) => crate::demo::run(&args.data, args.ports, args.new)
                .map(|()| ExitCode::SUCCESS)
                .map_err(Failure::from),
            Command::Setup(args) => setup(&args),
            Command::Check(args) => check(args),
            Command::Dns(args) => dns::dns(&args),
            Command::Reports(args) => ask(&args.at, &Request::MailReports { days: args.days }),
            Command::Account { at, command } => account(&at, command),
            Command::Queue { at, command } => queue(&at, &command),
            Command::Junk { at, command } => junk::junk(&at, command),
            Command::Store { at, command } => store::store(&at, &command),
            Command::Export(args) => archive::export(&args),
            Command::Import(args) => archive::import(args),
        };
        result.unwrap_or_else(|failure| {
            // One line: what happened and what to do.
            eprintln!("pillarbox: {failure}");
            ExitCode::from(on_failure)
        })
    }
}

/// What goes wrong on the command line itself; the rest is passed on.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Appliance(#[from] appliance::RunError),
    #[error(transparent)]
    Control(#[from] control::ControlError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Marks(#[from] MarksError),
    #[cfg(feature = "demo")]
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "no password given: type one on a terminal, or use --password-stdin or --password-file"
    )]
    NoPassword,
    #[error("the two passwords are not the same")]
    PasswordMismatch,
    #[error("nothing was removed; add --yes to remove {0} and all its mail")]
    NotConfirmed(Address),
    #[error("cannot use the terminal: {0}")]
    Terminal(io::Error),
}

fn setup(args: &SetupArgs) -> Result<ExitCode, Failure> {
    let text = fs::read_to_string(&args.answers)
        .map_err(|source| Failure::Read { path: args.answers.clone(), source })?;
    let request = Request::Setup { file: args.answers.display().to_string(), answers: text };
    let at = At { data: args.data.clone(), json: false };
    ask(&at, &request)
}

fn check(args: CheckArgs) -> Result<ExitCode, Failure> {
    let value = control::ask(&args.at.data, &Request::Check { only: args.only })?;
    let report: selfcheck::Report =
        serde_json::from_value(value.clone()).map_err(control::ControlError::from)?;
    if args.at.json {
        show::json(&value);
    } else {
        show::report(&report);
    }
    Ok(ExitCode::from(report.exit_code()))
}

fn account(at: &At, command: AccountArgs) -> Result<ExitCode, Failure> {
    let command = match command {
        AccountArgs::Add(args) => {
            AccountCommand::Add { password: args.password()?, address: args.address }
        }
        AccountArgs::List => AccountCommand::List,
        AccountArgs::Passwd(args) => {
            AccountCommand::Passwd { password: args.password()?, address: args.address }
        }
        AccountArgs::Remove { address, yes } => {
            confirm_removal(&address, yes)?;
            AccountCommand::Remove { address }
        }
        AccountArgs::Quota(args) => args.into(),
        AccountArgs::Extensions(args) => args.into(),
        AccountArgs::Device(args) => args.into(),
        AccountArgs::Pop3(args) => args.into(),
        AccountArgs::Alias(AliasArgs::Add { alias, target }) => {
            AccountCommand::AddAlias { alias, target }
        }
        AccountArgs::Alias(AliasArgs::List) => AccountCommand::ListAliases,
        AccountArgs::Alias(AliasArgs::Remove { alias }) => AccountCommand::RemoveAlias { alias },
    };
    ask(at, &Request::Account(command))
}

fn queue(at: &At, command: &QueueArgs) -> Result<ExitCode, Failure> {
    let command = match command {
        QueueArgs::List => QueueCommand::List,
        QueueArgs::Show { id } => QueueCommand::Show { id: *id },
        QueueArgs::Retry { id } => QueueCommand::Retry { id: *id },
        QueueArgs::Hold { id } => QueueCommand::Hold { id: *id },
        QueueArgs::Release { id } => QueueCommand::Release { id: *id },
        QueueArgs::Drop { id } => QueueCommand::Drop { id: *id },
        QueueArgs::Ledger => QueueCommand::Ledger,
        QueueArgs::Lift { address } => QueueCommand::Lift { address: address.clone() },
    };
    ask(at, &Request::Queue(command))
}

fn ask(at: &At, request: &Request) -> Result<ExitCode, Failure> {
    tell(at, request).map(|_| ExitCode::SUCCESS)
}

/// Asks, and shows the answer.
fn tell(at: &At, request: &Request) -> Result<Value, Failure> {
    let value = control::ask(&at.data, request)?;
    if at.json {
        show::json(&value);
    } else {
        show::answer(request, &value);
    }
    Ok(value)
}

impl WithPassword {
    fn password(&self) -> Result<Password, Failure> {
        let first_line = |mut text: Zeroizing<String>| {
            let end = text.find(['\r', '\n']).unwrap_or(text.len());
            text.truncate(end);
            Password::new(text.to_string())
        };
        if let Some(path) = &self.password_file {
            let text = fs::read_to_string(path)
                .map_err(|source| Failure::Read { path: path.clone(), source })?;
            return Ok(first_line(Zeroizing::new(text)));
        }
        if self.password_stdin || !io::stdin().is_terminal() {
            let mut text = Zeroizing::new(String::new());
            let read = io::stdin().lock().read_line(&mut text).map_err(Failure::Terminal)?;
            return if read == 0 { Err(Failure::NoPassword) } else { Ok(first_line(text)) };
        }
        let first = prompt_hidden("New password: ")?;
        if first.expose() != prompt_hidden("Once more: ")?.expose() {
            return Err(Failure::PasswordMismatch);
        }
        Ok(first)
    }
}

/// Asks on the terminal without showing what is typed.
fn prompt_hidden(question: &str) -> Result<Password, Failure> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let stdin = io::stdin();
    let shown = tcgetattr(&stdin).map_err(|errno| Failure::Terminal(errno.into()))?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    eprint!("{question}");
    io::stderr().flush().map_err(Failure::Terminal)?;
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &hidden).map_err(|e| Failure::Terminal(e.into()))?;
    let mut text = Zeroizing::new(String::new());
    let read = stdin.lock().read_line(&mut text);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &shown).map_err(|e| Failure::Terminal(e.into()))?;
    eprintln!();
    read.map_err(Failure::Terminal)?;
    Ok(Password::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn confirm_removal(address: &Address, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if io::stdin().is_terminal() {
        eprint!("Remove {address} and all its mail for ever? Type yes: ");
        io::stderr().flush().map_err(Failure::Terminal)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(Failure::Terminal)?;
        if answer.trim() == "yes" {
            return Ok(());
        }
    }
    Err(Failure::NotConfirmed(address.clone()))
}

#[cfg(test)]
mod tests;
