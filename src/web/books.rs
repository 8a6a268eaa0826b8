//! What the post office knows, as its people's pages ask for it; and the questions that take a look
//! at the card, asked where waiting is allowed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::accounts::Accounts;
use crate::policy::greylist::Waiting;
use crate::policy::junk::{Lessons, Marks, Pile};
use crate::queue::Item;
use crate::reports::Summary;
use crate::store::{AccountId, QueueId};

/// What the post office knows. Errors are one line for a person.
pub trait Books: Send + Sync {
    /// Who lives here.
    fn accounts(&self) -> &Accounts;

    /// The marks for junk of accounts that have none of their own.
    fn usual_marks(&self) -> Marks;

    /// How much was learned from an account's mail.
    fn lessons(&self, account: AccountId) -> Lessons;

    /// An account's junk, and what of its mail had `close` points or more. Reads the card.
    fn pile(&self, account: AccountId, close: i32) -> Result<Pile, String>;

    /// Who was asked to come back, the latest first.
    fn asked_back(&self) -> Vec<Waiting>;

    /// What waits to be sent, the oldest first. Reads the card.
    fn queue(&self) -> Result<Vec<Item>, String>;

    /// Has a message tried now; ends a hold.
    fn send_now(
        &self,
        id: QueueId,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;

    /// What other mail providers reported in the last days. Reads the card.
    fn reported(&self, days: u16) -> Result<Summary, String>;
}

/// Asks something that reads the card.
pub(super) async fn ask<T: Send + 'static>(
    books: &Arc<dyn Books>,
    question: impl FnOnce(&dyn Books) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let books = Arc::clone(books);
    let answer = tokio::task::spawn_blocking(move || question(&*books)).await;
    answer.unwrap_or_else(|error| Err(error.to_string()))
}
