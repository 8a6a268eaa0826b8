//! The page of what other mail providers reported: mail in our names by domain and source, and
//! connections to this box. For the owner. Everybody can send a report: what is shown is what
//! others say.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use super::books::ask;
use super::pages::{Around, framed};
use super::routes::{Shared, page};
use super::signin::Owner;
use crate::mail::Domain;
use crate::reports::{Origin, Summary};

/// Where it is.
pub(super) const PATH: &str = "/reports";

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route(PATH, get(show))
}

/// Days looked back.
const DAYS: u16 = 30;
/// Bytes of the page that each half of it may take.
const ROOM: usize = 18_000;
/// Reporters named.
const REPORTERS: usize = 12;

async fn show(State(shared): State<Arc<Shared>>, Owner(visitor): Owner) -> Response {
    let summary = ask(&shared.web.books, |books| books.reported(DAYS)).await;
    let body = html! {
        h1 { "What others report" }
        p.help {
            "Mail providers report daily on mail that came in the name of your domains, and on "
            "connections to this box. This is what they say of the last " (DAYS) " days."
        }
        @match &summary {
            Ok(summary) => (told(summary)),
            Err(error) => {
                p.problem role="alert" {
                    "The reports cannot be read: " (error) ". Try again in a minute."
                }
            }
        }
    };
    page(&framed("Reports", &html! {}, &Around::Visitor(&visitor, PATH), &body))
}

fn told(summary: &Summary) -> Markup {
    let mut domains: Vec<&Domain> = summary.origins.iter().map(|origin| &origin.domain).collect();
    domains.dedup();
    let mut room = ROOM;
    html! {
        @for sentence in summary.sentences() { p { (sentence) } }
        @for domain in domains {
            @let of_domain = summary.origins.iter().filter(|origin| origin.domain == *domain);
            (within(&mut room, &origins(domain, of_domain, &reporters(summary, domain))))
        }
        (connections(summary))
        p.help { "Day by day: pillarbox reports." }
    }
}

/// Nothing when there is no room any more.
fn within(room: &mut usize, part: &Markup) -> Markup {
    let Some(left) = room.checked_sub(part.0.len()) else { return html! {} };
    *room = left;
    part.clone()
}

fn origins<'a>(
    domain: &Domain,
    origins: impl Iterator<Item = &'a Origin>,
    reporters: &[&str],
) -> Markup {
    html! {
        h2 { "Mail in the name of " (domain) }
        table {
            thead {
                tr { th scope="col" { "From" } th scope="col" { "What came" } }
            }
            tbody {
                @for origin in origins {
                    tr { td { (origin.source) } td { (origin.told()) } }
                }
            }
        }
        p.help { "Told by " (reporters.join(", ")) "." }
    }
}

fn reporters<'a>(summary: &'a Summary, domain: &Domain) -> Vec<&'a str> {
    let days = summary.dmarc.iter().filter(|day| day.domain == *domain);
    let mut names: Vec<&str> =
        days.flat_map(|day| day.reporters.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let more = names.len() > REPORTERS;
    names.truncate(REPORTERS);
    if more {
        names.push("and others");
    }
    names
}

fn connections(summary: &Summary) -> Markup {
    let mut room = ROOM;
    html! {
        @if !summary.tls.is_empty() {
            h2 { "Encrypted connections to this box" }
            ul.findings {
                @for day in &summary.tls {
                    (within(&mut room, &html! {
                        li {
                            p {
                                (day.day) ", mail for " strong { (day.domain) } ": "
                                (day.successes) " were encrypted as they should be"
                                @if day.failures > 0 { ", " (day.failures) " failed" } "."
                            }
                            @if !day.details.is_empty() {
                                details {
                                    summary { "What failed" }
                                    ul {
                                        @for (kind, count) in &day.details {
                                            li { (count) " times " (kind) }
                                        }
                                    }
                                }
                            }
                        }
                    }))
                }
            }
        }
    }
}
