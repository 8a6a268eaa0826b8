//! The pages of the box: the set-up for a new one, the state of one that is in use, and its panel.
//!
//! `wizard`, `claim` and `session` decide without I/O, `pages` and `views` write HTML, `routes`
//! joins them, `serve` carries a connection. Pages work without JavaScript, ask no other host for
//! anything, and hold no secret: the set-up is open only to the browser that knew the code on the
//! box's display, and once it is done, what is anybody's mail is shown only to whoever signed in
//! (`signin`): their junk (`junk`), and to the owner what waits (`queue`) and what others report
//! (`reported`).

mod books;
mod claim;
mod junk;
mod pages;
mod queue;
mod reported;
mod routes;
mod serve;
mod session;
mod signin;
mod sts;
mod token;
mod views;
mod wizard;

use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

/// The pages, ready to be served; named here so that nobody else has to know the web framework.
pub use axum::Router;
pub use books::Books;
pub use claim::ClaimCode;
pub use routes::router;
pub use serve::{Patience, serve};
pub use wizard::{WIZARD_FILE, Wizard};

use crate::config::ConfigFile;
use crate::mail::Address;
use crate::panel::View;
use crate::selfcheck::Report;
use crate::selfcheck::records::Record;

/// What the pages stand on.
pub struct Web {
    /// Carries answers out.
    pub setup: Arc<dyn Setup>,
    /// Answers what the people's pages ask.
    pub books: Arc<dyn Books>,
    /// The last self-check.
    pub report: watch::Receiver<Option<Report>>,
    /// Asks for a new self-check.
    pub recheck: Arc<Notify>,
    /// The panel, when it is to be shown in the browser.
    pub board: Option<watch::Receiver<View>>,
    /// The code on the display.
    pub code: ClaimCode,
    /// Told how far the set-up is, so that the display shows the code only while it is wanted.
    pub stage: watch::Sender<Stage>,
    /// The data folder, which keeps the set-up's place through a power cut.
    pub data: PathBuf,
}

/// The set-up as the pages see it.
pub trait Setup: Send + Sync {
    /// The configuration as written; empty on a new box.
    fn file(&self) -> ConfigFile;

    /// Carries answers out (see [`crate::setup::apply`]); says in plain words why it cannot.
    /// `replaces` is an account made earlier in this set-up under a mistaken address.
    fn apply(
        &self,
        answers: ConfigFile,
        replaces: Option<Address>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;

    /// The DNS records to publish.
    fn records(&self) -> Vec<Record>;

    /// What other mail providers reported lately, a sentence each. May read the card for a while.
    fn told(&self) -> Vec<String>;
}

/// How far the set-up is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nobody came yet: show the code.
    Unclaimed,
    /// Somebody is at it: the code is of no more use, and must not be shown.
    Claimed,
    /// The box is in use.
    Done,
}

/// How a request came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// From where.
    pub peer: IpAddr,
    /// Whether it could be overheard.
    pub tls: bool,
}

#[cfg(test)]
mod tests;
