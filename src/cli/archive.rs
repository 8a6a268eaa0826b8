//! Bringing old mail in and taking all mail out, with a bar that shows how far it is.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::{At, EXIT_FAILURE, Failure, show};
use crate::archive::{self, Format, ImportOptions, Output, Progress, Summary, Watch};
use crate::control::{ControlError, Line, Request, open_line};
use crate::mail::{Address, MailboxName};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    pub(super) at: At,
    /// The account
    address: Address,
    /// A Maildir, an mbox, a file or folder of .eml, or a folder of these
    path: PathBuf,
    /// What it is, when that is not recognised
    #[arg(long, value_enum)]
    format: Option<InFormat>,
    /// Put everything into this mailbox, and folders below it
    #[arg(long, value_name = "MAILBOX")]
    into: Option<MailboxName>,
    /// Mark everything as read
    #[arg(long)]
    seen: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    pub(super) at: At,
    /// The account
    address: Address,
    /// The folder to write into; part of an export may be there
    folder: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value = "maildir")]
    format: OutFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum InFormat {
    /// A file a message, in cur and new
    Maildir,
    /// A file a mailbox
    Mbox,
    /// A file a message, ending in .eml
    Eml,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OutFormat {
    /// A file a message, as Dovecot has it
    Maildir,
    /// A file a mailbox
    Mbox,
}

pub(super) fn import(args: ImportArgs) -> Result<ExitCode, Failure> {
    let format = args.format.map(|format| match format {
        InFormat::Maildir => Format::Maildir,
        InFormat::Mbox => Format::Mbox,
        InFormat::Eml => Format::Eml,
    });
    let options = ImportOptions { path: args.path, format, into: args.into, seen: args.seen };
    let line = open_line(&args.at.data, &Request::Import { address: args.address })?;
    carried(&args.at, line, "added", |line, bar| archive::import(&options, line.stream(), bar))
}

pub(super) fn export(args: &ExportArgs) -> Result<ExitCode, Failure> {
    let output = match args.format {
        OutFormat::Maildir => Output::Maildir,
        OutFormat::Mbox => Output::Mbox,
    };
    let request = Request::Export { address: args.address.clone() };
    let line = open_line(&args.at.data, &request)?;
    carried(&args.at, line, "written", |line, bar| {
        archive::export(&args.folder, output, line.stream(), bar)
    })
}

fn carried(
    at: &At,
    line: Line,
    done: &str,
    work: impl FnOnce(&Line, &mut Bar) -> Result<Summary, archive::ArchiveError>,
) -> Result<ExitCode, Failure> {
    let mut bar = Bar::new()?;
    let summary = work(&line, &mut bar);
    bar.end();
    let closed = line.close();
    let summary = summary?;
    closed?;
    if at.json {
        show::json(&serde_json::to_value(&summary).map_err(ControlError::from)?);
    } else {
        tell(&summary, done);
    }
    let well = summary.failed == 0 && summary.stopped.is_none() && !summary.interrupted;
    if let Some(why) = &summary.stopped {
        eprintln!("pillarbox: {why}");
    } else if summary.interrupted {
        eprintln!("pillarbox: stopped; run the same command again to go on");
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

fn tell(summary: &Summary, done: &str) {
    /// More would hide the sum.
    const SHOWN: usize = 20;
    println!("{} messages {done}, {} were there already.", summary.added, summary.present);
    if summary.deleted > 0 {
        println!("{} deleted ones that were not yet tidied up were left out.", summary.deleted);
    }
    summary.notes.iter().for_each(|note| println!("Note: {note}."));
    if summary.failed > 0 {
        println!("{} could not be read:", summary.failed);
        for (what, why) in summary.failures.iter().take(SHOWN) {
            println!("  {what}: {why}");
        }
        if summary.failed > SHOWN as u64 {
            println!("  and others; --json names up to a thousand");
        }
    }
}

/// On a terminal a bar, elsewhere a line now and then.
struct Bar {
    stopped: Arc<AtomicBool>,
    terminal: bool,
    began: Instant,
    shown: Option<Instant>,
    /// Waits for Ctrl-C; ends with the command.
    _signals: tokio::runtime::Runtime,
}

/// Between two looks at the bar, and between two lines.
const EVERY: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];
/// Characters of the bar.
const WIDTH: u64 = 24;

impl Bar {
    fn new() -> Result<Self, Failure> {
        let stopped = Arc::new(AtomicBool::new(false));
        let signals = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(ControlError::Runtime)?;
        signals.spawn({
            let stopped = Arc::clone(&stopped);
            async move {
                if tokio::signal::ctrl_c().await.is_ok() {
                    stopped.store(true, Ordering::Relaxed);
                    eprintln!("\nStopping after this batch; once more to stop at once.");
                }
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(EXIT_INTERRUPTED);
                }
            }
        });
        Ok(Self {
            stopped,
            terminal: io::stderr().is_terminal(),
            began: Instant::now(),
            shown: None,
            _signals: signals,
        })
    }

    /// Leaves the line of the bar.
    fn end(&self) {
        if self.terminal && self.shown.is_some() {
            eprintln!();
        }
    }

    fn text(&self, progress: &Progress) -> String {
        let of = progress.bytes_of.max(1);
        let share = progress.bytes.min(of);
        let percent = share.saturating_mul(100) / of;
        let seconds = self.began.elapsed().as_secs();
        let left = match (progress.bytes, seconds) {
            (0, _) | (_, 0..3) => String::new(),
            (bytes, seconds) => {
                let left = (of - share).saturating_mul(seconds) / bytes;
                format!(", {}:{:02} left", left / 60, left % 60)
            }
        };
        let numbers = format!(
            "{percent:>3} %  {} messages, {} MB{left}",
            progress.messages,
            progress.bytes / 1_000_000
        );
        if !self.terminal {
            return format!("{numbers}  {}", progress.mailbox);
        }
        let full = usize::try_from(percent * WIDTH / 100).unwrap_or_default();
        let empty = usize::try_from(WIDTH).unwrap_or_default().saturating_sub(full);
        let mailbox: String = progress.mailbox.chars().take(20).collect();
        format!("[{}{}] {numbers}  {mailbox}", "#".repeat(full), ".".repeat(empty))
    }
}

/// As shells count a death by Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

impl Watch for Bar {
    fn progress(&mut self, progress: &Progress) {
        let [often, seldom] = EVERY;
        let every = if self.terminal { often } else { seldom };
        let last = self.shown.unwrap_or(self.began);
        if last.elapsed() < every {
            return;
        }
        self.shown = Some(Instant::now());
        if self.terminal {
            eprint!("\r{}\x1b[K", self.text(progress));
            // A bar that is not seen harms nothing.
            let _ = io::stderr().flush();
        } else {
            eprintln!("{}", self.text(progress));
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}
