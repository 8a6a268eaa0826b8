//! Keeps the panel true: puts together what it is to tell, whenever something changes.

use std::net::SocketAddr;
use std::sync::Arc;

use board::Board;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::banner::urls;
use crate::office::Office;
use crate::panel::{self, Facts, Mode, RENEWAL, View};
use crate::selfcheck::own_addresses;
use crate::web::{ClaimCode, Stage};

/// What the panel tells is put together from these.
pub(super) struct Sources {
    pub(super) office: Arc<Office>,
    pub(super) stage: watch::Receiver<Stage>,
    pub(super) code: ClaimCode,
    pub(super) http: Vec<SocketAddr>,
}

/// The running panel.
pub(super) struct Light {
    views: watch::Receiver<View>,
    stop: CancellationToken,
    shown: JoinHandle<Board>,
}

impl Light {
    /// Starts showing on `board`.
    pub(super) fn start(board: Board, sources: Sources, stopping: CancellationToken) -> Self {
        let (views, seen) = watch::channel(View::default());
        let stop = CancellationToken::new();
        let (status, told) = watch::channel(board::Status::new(board::State::Starting));
        let shown = tokio::spawn(panel::run(board, told, views, stop.clone()));
        tokio::spawn(tell(sources, status, stopping));
        Self { views: seen, stop, shown }
    }

    /// What it shows, for the web page.
    pub(super) fn views(&self) -> watch::Receiver<View> {
        self.views.clone()
    }

    /// Shows that all is written and closed, and ends.
    pub(super) async fn stopped(self) {
        self.stop.cancel();
        match self.shown.await {
            Ok(mut board) => board.show(&board::Status::new(board::State::Stopped)),
            Err(error) => tracing::error!(%error, "the panel ended before the box"),
        }
    }
}

async fn tell(
    mut sources: Sources,
    status: watch::Sender<board::Status>,
    stopping: CancellationToken,
) {
    let mut reports = sources.office.reports();
    loop {
        let facts = sources.facts(stopping.is_cancelled());
        let now = panel::status(&facts, reports.borrow_and_update().as_ref());
        status.send_if_modified(|shown| {
            let changed = *shown != now;
            *shown = now;
            changed
        });
        if stopping.is_cancelled() {
            return;
        }
        tokio::select! {
            () = stopping.cancelled() => {}
            _ = reports.changed() => {}
            _ = sources.stage.changed() => {}
            // Addresses and the clock's trust change without a word.
            () = tokio::time::sleep(RENEWAL) => {}
        }
    }
}

impl Sources {
    fn facts(&mut self, stopping: bool) -> Facts {
        let address = urls(&self.http, &own_addresses()).into_iter().next();
        let name = self.office.service().map(|service| service.site.hostname.to_string());
        let mode = match *self.stage.borrow_and_update() {
            _ if stopping => Mode::Stopping,
            Stage::Done => Mode::Running,
            Stage::Unclaimed => Mode::New {
                claim_code: self.code.to_string(),
                url: address.clone().unwrap_or_default(),
            },
            // Somebody is at it: the code must not be shown any more.
            Stage::Claimed => Mode::Claimed,
        };
        Facts { mode, trust: self.office.clock().trust(), name: name.unwrap_or_default(), address }
    }
}
