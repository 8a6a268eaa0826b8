//! What the web pages stand on, and their ports.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::mail::ready;
use crate::accounts::Accounts;
use crate::config::{self, ConfigFile};
use crate::mail::Address;
use crate::net::{Listener, Tls};
use crate::office::Office;
use crate::policy::greylist::Waiting;
use crate::policy::junk::{Lessons, Marks, Pile};
use crate::queue::Item;
use crate::reports::Summary;
use crate::selfcheck::records::Record;
use crate::store::{AccountId, QueueId};
use crate::web::{self, Books, Patience, Setup};

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

/// The post office as the pages see it.
pub(super) struct OfficePages(pub(super) Arc<Office>);

impl Setup for OfficePages {
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

impl Books for OfficePages {
    fn accounts(&self) -> &Accounts {
        self.0.accounts()
    }

    fn usual_marks(&self) -> Marks {
        self.0.usual_marks()
    }

    fn lessons(&self, account: AccountId) -> Lessons {
        self.0.junk().lessons(account).unwrap_or_default()
    }

    fn pile(&self, account: AccountId, close: i32) -> Result<Pile, String> {
        Pile::gather(self.0.store(), account, close).map_err(|error| error.to_string())
    }

    fn asked_back(&self) -> Vec<Waiting> {
        self.0.asked_back()
    }

    fn queue(&self) -> Result<Vec<Item>, String> {
        self.0.queue()?.list().map_err(|error| error.to_string())
    }

    fn send_now(
        &self,
        id: QueueId,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            // Ends a hold, and makes it due in any case.
            self.0.queue()?.release(id).await.map_err(|error| error.to_string())
        })
    }

    fn reported(&self, days: u16) -> Result<Summary, String> {
        self.0.mail_reports().summary(days).map_err(|error| error.to_string())
    }
}

/// Days of reports that the page speaks of.
const DAYS: u16 = 30;
