//! The page of what waits to be sent: for whom, why, what can be done about it, and until when the
//! box tries. For the owner.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Form as Body, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;

use super::books::ask;
use super::pages::{Around, framed, sentence};
use super::routes::{Shared, page, site_of};
use super::signin::{Owner, Visitor, foreign};
use super::views::moment;
use crate::queue::Item;
use crate::store::QueueId;

/// Where it is.
pub(super) const PATH: &str = "/queue";

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route(PATH, get(show).post(send))
}

/// Bytes of the page that messages may take.
const ROOM: usize = 36_000;
/// Recipients told of each message, and characters of a host's words.
const RECIPIENTS: usize = 10;
const WORDS: usize = 600;

async fn show(State(shared): State<Arc<Shared>>, Owner(visitor): Owner) -> Response {
    page(&look(&shared, &visitor, None).await)
}

#[derive(Deserialize)]
struct Posted {
    #[serde(default)]
    mark: String,
    id: u64,
}

/// "Try now" was pressed.
async fn send(
    State(shared): State<Arc<Shared>>,
    Owner(visitor): Owner,
    Body(Posted { mark, id }): Body<Posted>,
) -> Response {
    if !visitor.sent(&mark) {
        return foreign();
    }
    match shared.web.books.send_now(QueueId(id)).await {
        Ok(()) => Redirect::to(PATH).into_response(),
        Err(problem) => {
            let page = look(&shared, &visitor, Some(&problem)).await;
            (StatusCode::CONFLICT, Html(page.into_string())).into_response()
        }
    }
}

async fn look(shared: &Shared, visitor: &Visitor, problem: Option<&str>) -> Markup {
    let waiting = ask(&shared.web.books, |books| books.queue()).await;
    let zone = site_of(&shared.web.setup.file()).map(|site| site.timezone);
    let zone = zone.as_deref().unwrap_or("UTC");
    let body = html! {
        h1 { "Waiting mail" }
        @if let Some(text) = problem { p.problem role="alert" { (sentence(text)) } }
        @match waiting {
            Ok(items) if items.is_empty() => {
                p.lead { "Nothing waits. What was written has been handed on." }
            }
            Ok(items) => (all(&items, zone, visitor)),
            Err(error) => {
                p.problem role="alert" {
                    "The queue cannot be read: " (error) ". Try again in a minute."
                }
            }
        }
    };
    framed("Waiting mail", &html! {}, &Around::Visitor(visitor, PATH), &body)
}

fn all(items: &[Item], zone: &str, visitor: &Visitor) -> Markup {
    let mut room = ROOM;
    let mut shown = Vec::new();
    for item in items {
        let markup = one(item, zone, visitor);
        let Some(left) = room.checked_sub(markup.0.len()) else { break };
        room = left;
        shown.push(markup);
    }
    let more = items.len() - shown.len();
    html! {
        p.lead {
            @if items.len() == 1 { "One message waits" } @else { (items.len()) " messages wait" }
            " to be handed on. The box tries again by itself, first after minutes, then after "
            "hours."
        }
        ul.findings { @for item in &shown { (item) } }
        @if more > 0 { p.help { "And " (more) " more: pillarbox queue list." } }
    }
}

fn one(item: &Item, zone: &str, visitor: &Visitor) -> Markup {
    let from = if item.from.is_empty() { "this box (a notice)" } else { &item.from };
    let more = item.recipients.len().saturating_sub(RECIPIENTS);
    html! {
        li {
            p {
                strong { "From " (from) } ", taken " (moment(item.received, zone)) ", "
                (size(item.size))
            }
            @for (to, said) in item.recipients.iter().take(RECIPIENTS) {
                p { "To " strong { (to) } ": " (sentence(&short(said))) }
            }
            @if more > 0 { p.help { "And for " (more) " more." } }
            @for advice in &item.advice { p.fix { "What to do: " (sentence(advice)) } }
            p.help {
                @match item.next_attempt {
                    Some(at) => { "Next try " (moment(at, zone)) "." }
                    None => "Kept back: it is not tried until somebody says so.",
                }
                @if let Some(until) = item.gives_up {
                    " If it cannot be handed on by " (moment(until, zone))
                    ", it goes back to its sender."
                }
            }
            @if item.next_attempt.is_some() || !item.recipients.is_empty() {
                form.act method="post" action=(PATH) {
                    input type="hidden" name="mark" value=(visitor.mark());
                    input type="hidden" name="id" value=(item.id.0);
                    button.quiet type="submit" { "Send now" }
                }
            }
        }
    }
}

/// A host's words may be many, and anything.
fn short(said: &str) -> String {
    let line = said.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = line.take(WORDS + 1).collect();
    if let Some((end, _)) = line.char_indices().nth(WORDS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        _ => format!("{} MB", bytes.div_ceil(1_000_000)),
    }
}
