//! What the web pages stand on, and their ports.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::mail::ready;
use crate::config::{self, ConfigFile};
use crate::mail::Address;
use crate::net::{Listener, Tls};
use crate::office::Office;
use crate::selfcheck::records::Record;
use crate::web::{self, Patience, Setup};

/// Serves the pages on one port until `stop`; under TLS when a certificate is given.
pub(super) async fn serve(
    listener: Listener,
    tls: Option<Tls>,
    router: web::Router,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let ending = stop.clone();
    let connection = move |stream, peer| {
        let (router, tls, stop) = (router.clone(), tls.clone(), ending.clone());
        async move {
            if let Some(stream) = ready(stream, tls.as_ref(), &stop).await {
                web::serve(stream, peer, router, Patience::default(), stop).await;
            }
        }
    };
    listener.run(stop, tasks, connection).await;
}

/// The set-up as the pages see it.
pub(super) struct OfficeSetup(pub(super) Arc<Office>);

impl Setup for OfficeSetup {
    fn file(&self) -> ConfigFile {
        config::load_file(self.0.config_file()).unwrap_or_else(|error| {
            tracing::error!(%error, "the configuration cannot be read");
            ConfigFile::default()
        })
    }

    fn apply(
        &self,
        answers: ConfigFile,
        replaces: Option<Address>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            let taken = self.0.take_up(answers, replaces.as_ref()).await;
            taken.map(drop).map_err(|error| error.to_string())
        })
    }

    fn told(&self) -> Vec<String> {
        match self.0.mail_reports().summary(DAYS) {
            Ok(summary) => summary.sentences(),
            Err(error) => {
                tracing::warn!(%error, "the reports of other mail hosts cannot be read");
                Vec::new()
            }
        }
    }

    fn records(&self) -> Vec<Record> {
        self.0.records().unwrap_or_default()
    }
}

/// Days of reports that the page speaks of.
const DAYS: u16 = 30;
