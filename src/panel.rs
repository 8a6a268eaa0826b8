//! What the box knows of itself, put into the board's words: the only module that sees both the
//! self-check and the board. [`status`] is the translation; [`run`] keeps the board showing it and
//! hands out pictures of it for the web page.

use std::time::Duration;

use board::layout::{pages, picture};
pub use board::png::{FRONT_HEIGHT, FRONT_WIDTH};
use board::{Board, Concern, Concerns, Frame, Pattern, State, Status};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::ClockTrust;
use crate::selfcheck::{Area, Finding, Outcome, Report};

/// Where the box is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Nobody has answered the questions yet.
    New {
        /// Proves to the set-up page that its visitor can see this box.
        claim_code: String,
        /// Where the questions are asked.
        url: String,
    },
    /// Somebody is answering the questions.
    Claimed,
    /// Services run.
    Running,
    /// Services end what they have begun.
    Stopping,
    /// All is written and closed.
    Stopped,
}

/// What the panel tells, besides the findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Where the box is in its life.
    pub mode: Mode,
    /// How far the clock is to be trusted.
    pub trust: ClockTrust,
    /// The box's name; empty before it has one.
    pub name: String,
    /// Where a browser finds the box, such as `http://192.168.1.23`.
    pub address: Option<String>,
}

/// What the board shall show. What could not be told lights neither good nor bad.
pub fn status(facts: &Facts, report: Option<&Report>) -> Status {
    let mut status = Status::new(state(facts, report));
    status.name.clone_from(&facts.name);
    status.address.clone_from(&facts.address);
    match &facts.mode {
        Mode::New { claim_code, url } => {
            status.claim_code = Some(claim_code.clone());
            status.address = Some(url.clone());
            // No phone that scans a code gets to the inside of this computer.
            status.qr = Some(url.clone()).filter(|url| !url.starts_with("http://localhost"));
        }
        Mode::Running => status.lines = lines(report),
        Mode::Stopping => status.lines = vec!["The box is stopping.".to_owned()],
        Mode::Claimed => status.lines = vec!["It is being set up in a browser.".to_owned()],
        Mode::Stopped => {}
    }
    status
}

/// A moment of the board, for the web page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The front of the box as a PNG picture.
    pub png: Bytes,
    /// What the light does, over and over: milliseconds lit, then milliseconds dark.
    pub led: Vec<(u32, u32)>,
    /// The same as text, below the word.
    pub lines: Vec<String>,
    /// The state in one or two words.
    pub word: String,
    /// Whether it shows the claim code. Such a view is only for a browser on the same computer:
    /// the code proves that somebody stands before the box.
    pub private: bool,
}

impl View {
    /// The picture shows one page; `turn` counts the turns they take.
    pub fn of(status: &Status, turn: usize) -> Self {
        let pattern = Pattern::of(&status.state);
        let pages = pages(status);
        let page = pages.get(turn % pages.len().max(1));
        // A light that blinks is drawn dark: the web page lets it blink.
        let png =
            page.map(|page| board::png::front(&picture(*page, status), pattern == Pattern::Steady));
        Self {
            png: png.unwrap_or_default().into(),
            led: pulses(&pattern.frames()),
            lines: board::console::lines(status).into_iter().skip(1).collect(),
            word: status.state.word().to_owned(),
            private: status.claim_code.is_some(),
        }
    }
}

fn pulses(frames: &[Frame]) -> Vec<(u32, u32)> {
    let mut pulses = Vec::new();
    for frame in frames {
        match pulses.last_mut() {
            _ if frame.lit => pulses.push((frame.millis, 0)),
            None => pulses.push((0, frame.millis)),
            Some((_, dark)) => *dark += frame.millis,
        }
    }
    pulses
}

/// Shows the status on the board when it changes and every [`RENEWAL`], and publishes views of
/// it. Ends when `stop` is cancelled or nobody is left to change the status, after showing the
/// last one: without renewal the light goes out by itself. Gives the board back.
pub async fn run(
    board: Board,
    status: watch::Receiver<Status>,
    views: watch::Sender<View>,
    stop: CancellationToken,
) -> Board {
    run_every(RENEWAL, board, status, views, stop).await
}

async fn run_every(
    period: Duration,
    mut board: Board,
    mut status: watch::Receiver<Status>,
    views: watch::Sender<View>,
    stop: CancellationToken,
) -> Board {
    let mut renewal = tokio::time::interval(period);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0;
    loop {
        let last = tokio::select! {
            _ = renewal.tick() => {
                turn += 1;
                false
            }
            changed = status.changed() => {
                turn = 0;
                changed.is_err()
            }
            () = stop.cancelled() => true,
        };
        let now = status.borrow_and_update().clone();
        views.send_replace(View::of(&now, turn));
        // Writing to a display takes a while.
        let shown = tokio::task::spawn_blocking(move || {
            board.show(&now);
            board
        });
        board = match shown.await {
            Ok(board) => board,
            Err(error) => {
                tracing::error!("the board is given up: {error}");
                return Board::default();
            }
        };
        if last {
            return board;
        }
    }
}

fn state(facts: &Facts, report: Option<&Report>) -> State {
    match facts.mode {
        Mode::New { .. } => return State::SetupWaiting,
        Mode::Claimed | Mode::Stopping => return State::Working,
        Mode::Stopped => return State::Stopped,
        Mode::Running => {}
    }
    let Some(report) = report else { return State::Working };
    if let Some(concerns) = concerns(report, |outcome| matches!(outcome, Outcome::Broken(_))) {
        return State::Broken(concerns);
    }
    if let Some(concerns) = concerns(report, |outcome| matches!(outcome, Outcome::Attention(_))) {
        return State::Attention(concerns);
    }
    if facts.trust != ClockTrust::Synced {
        return State::WaitingForTime;
    }
    match report.worst() {
        Outcome::Unknown(_) => State::Unknown,
        _ => State::Ready,
    }
}

fn concerns(report: &Report, wanted: impl Fn(&Outcome) -> bool) -> Option<Concerns> {
    let findings = report.findings.iter().filter(|finding| wanted(&finding.outcome));
    Concerns::new(
        findings.map(|finding| Concern {
            area: area(finding.area),
            advice: advice(finding).to_owned(),
        }),
    )
}

/// What to do, short enough for a small display; the web page has the whole of it.
fn advice(finding: &Finding) -> &'static str {
    match (finding.id.as_str(), finding.area) {
        ("storage.card", _) => "Back up your mail and put in a new card.",
        ("storage.quota", _) => "Delete mail of the account, or allow it more.",
        (_, Area::Network) => "Check the cable or the Wi-Fi.",
        (_, Area::Time) => "Check the way to the internet.",
        (_, Area::Dns) => "Publish the DNS records on the box's page.",
        (_, Area::ReverseDns) => "Ask your provider to name the address.",
        (_, Area::Authentication) => "Publish the TXT records on the box's page.",
        (_, Area::Tls) => "Renew the certificate.",
        (_, Area::Storage) => "Delete mail or use a larger card.",
        (_, Area::Updates) => "Look at the updates on the box's page.",
    }
}

/// What is not well, the worst first, then what could not be told.
fn lines(report: Option<&Report>) -> Vec<String> {
    let Some(report) = report else { return vec!["The box is being checked.".to_owned()] };
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Broken(_) => Some(0),
        Outcome::Attention(_) => Some(1),
        Outcome::Unknown(_) => Some(2),
        Outcome::Ok | Outcome::NotApplicable(_) => None,
    };
    let mut ranked: Vec<_> = report
        .findings
        .iter()
        .filter_map(|finding| Some((rank(&finding.outcome)?, finding.outcome.detail())))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, detail)| detail.to_owned()).collect()
}

fn area(area: Area) -> board::Area {
    match area {
        Area::Network => board::Area::Network,
        Area::Time => board::Area::Time,
        Area::Dns => board::Area::Dns,
        Area::ReverseDns => board::Area::ReverseDns,
        Area::Authentication => board::Area::Authentication,
        Area::Tls => board::Area::Tls,
        Area::Storage => board::Area::Storage,
        Area::Updates => board::Area::Updates,
    }
}

/// Panels let their message lapse when it is not renewed for some multiple of this.
pub const RENEWAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
