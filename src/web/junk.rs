//! The junk page: from how many points on mail is junk for whoever is signed in, with a form to
//! decide otherwise; the newest of the Junk folder and what came close, each with its reasons; and
//! for the owner, who was asked to come back and why.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Form as Body, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;

use super::books::ask;
use super::pages::{Around, framed, sentence};
use super::routes::{Shared, page, site_of};
use super::signin::{Visitor, foreign};
use super::views::moment;
use crate::accounts::JunkMarks;
use crate::policy::greylist::Waiting;
use crate::policy::junk::{Lessons, Marks, Pile, Shown};

/// Where it is.
pub(super) const PATH: &str = "/junk";

pub(super) fn routes() -> Router<Arc<Shared>> {
    // Whoever asks again for the page on which a form was not taken.
    let back = async || Redirect::to(PATH);
    Router::new().route(PATH, get(show)).route(MARKS, post(set).get(back))
}

const MARKS: &str = "/junk/marks";
/// Bytes of the page that letters may take; the rest of them is in the folder itself.
const ROOM: usize = 34_000;
/// Reasons told of each letter, the weightiest.
const REASONS: usize = 8;
/// Delays shown.
const DELAYED: usize = 20;

/// A way to judge mail that the page offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Usual,
    Strict,
    Loose,
    Own,
}

impl Way {
    /// Which one is in force.
    fn of(own: Option<JunkMarks>, usual: Marks) -> Self {
        match own {
            None => Self::Usual,
            Some(own) if own == strict(usual) => Self::Strict,
            Some(own) if own == loose(usual) => Self::Loose,
            Some(_) => Self::Own,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Strict => "strict",
            Self::Loose => "loose",
            Self::Own => "own",
        }
    }
}

fn strict(usual: Marks) -> JunkMarks {
    JunkMarks::near(usual.junk.saturating_mul(7) / 10, usual.refuse.saturating_mul(7) / 10)
}

fn loose(usual: Marks) -> JunkMarks {
    JunkMarks::near(usual.junk.saturating_mul(16) / 10, usual.refuse.saturating_mul(16) / 10)
}

/// The form as it was sent.
#[derive(Deserialize)]
struct Chosen {
    #[serde(default)]
    mark: String,
    way: Option<Way>,
    #[serde(default)]
    junk: String,
    #[serde(default)]
    refuse: String,
}

impl Chosen {
    /// The marks that are meant; nothing for the box's.
    fn marks(&self, usual: Marks) -> Result<Option<JunkMarks>, String> {
        let points = |text: &str| {
            let number = text.trim().parse::<i32>();
            number.map_err(|_| "write both marks as whole numbers, such as 50 and 150".to_owned())
        };
        Ok(match self.way {
            None => return Err("choose one of the four".to_owned()),
            Some(Way::Usual) => None,
            Some(Way::Strict) => Some(strict(usual)),
            Some(Way::Loose) => Some(loose(usual)),
            Some(Way::Own) => {
                let marks = JunkMarks::new(points(&self.junk)?, points(&self.refuse)?);
                Some(marks.map_err(|error| error.to_string())?)
            }
        })
    }
}

async fn show(State(shared): State<Arc<Shared>>, visitor: Visitor) -> Response {
    page(&look(&shared, &visitor, None).await)
}

/// Marks were chosen.
async fn set(
    State(shared): State<Arc<Shared>>,
    visitor: Visitor,
    Body(chosen): Body<Chosen>,
) -> Response {
    if !visitor.sent(&chosen.mark) {
        return foreign();
    }
    let books = &shared.web.books;
    let problem = match chosen.marks(books.usual_marks()) {
        Ok(marks) => {
            let set = books.accounts().set_junk_marks(&visitor.login.address, marks).await;
            match set {
                Ok(()) => return Redirect::to(PATH).into_response(),
                Err(error) => error.to_string(),
            }
        }
        Err(problem) => problem,
    };
    let page = look(&shared, &visitor, Some((&chosen, &problem))).await;
    (StatusCode::UNPROCESSABLE_ENTITY, Html(page.into_string())).into_response()
}

/// The page. `slip` is a form that was not taken, and why.
async fn look(shared: &Shared, visitor: &Visitor, slip: Option<(&Chosen, &str)>) -> Markup {
    let (books, account) = (&shared.web.books, visitor.login.account);
    let usual = books.usual_marks();
    let own = books.accounts().junk_marks(account);
    let marks = own.map_or(usual, Marks::from);
    let close = (marks.junk / 2).max(1);
    let answer = ask(books, move |books| Ok((books.pile(account, close)?, books.lessons(account))));
    let answer = answer.await;
    let zone = site_of(&shared.web.setup.file()).map(|site| site.timezone);
    let zone = zone.as_deref().unwrap_or("UTC");
    let body = html! {
        h1 { "Junk" }
        p.lead {
            "Each message gets points for what speaks for junk. From "
            strong { (marks.junk) } " points on it goes to your Junk folder, from "
            strong { (marks.refuse) } " on it is refused, and its sender is told."
        }
        (choices(visitor, usual, own, slip))
        @match answer {
            Ok((pile, lessons)) => {
                (learned(lessons))
                (letters(&pile, zone, close))
            }
            Err(error) => {
                p.problem role="alert" {
                    "Your mail could not be looked at: " (error) ". Try again in a minute."
                }
            }
        }
        @if visitor.is_owner { (asked_back(&books.asked_back(), zone)) }
    };
    framed("Junk", &html! {}, &Around::Visitor(visitor, PATH), &body)
}

fn choices(
    visitor: &Visitor,
    usual: Marks,
    own: Option<JunkMarks>,
    slip: Option<(&Chosen, &str)>,
) -> Markup {
    let chosen = slip.and_then(|(form, _)| form.way).unwrap_or_else(|| Way::of(own, usual));
    let now = own.map_or(usual, Marks::from);
    let typed = |pick: fn(&Chosen) -> &str, before: i32| {
        slip.map(|(form, _)| pick(form).to_owned())
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| before.to_string())
    };
    let way = |way: Way, title: &str, text: &str| {
        html! {
            label.choice {
                input type="radio" name="way" value=(way.name()) checked[chosen == way];
                span { strong { (title) } br; (text) }
            }
        }
    };
    let at = |marks: Marks| {
        format!("Junk from {}, refused from {} points on.", marks.junk, marks.refuse)
    };
    let wrong = slip.map(|_| "true");
    let number = |id: &str, label: &str, value: &str| {
        html! {
            div.field {
                label for=(id) { (label) }
                div.input {
                    input.short id=(id) name=(id) value=(value) type="text" inputmode="numeric"
                        maxlength="6" autocomplete="off" aria-describedby="own-help"
                        aria-invalid=[wrong];
                }
            }
        }
    };
    html! {
        details open[slip.is_some()] {
            summary { "Change when mail is junk" }
            form method="post" action=(MARKS) novalidate {
                input type="hidden" name="mark" value=(visitor.mark());
                @if let Some((_, problem)) = slip {
                    p.problem role="alert" { (sentence(problem)) }
                }
                fieldset {
                    legend { "How careful shall the box be?" }
                    (way(Way::Usual, "As usual", &at(usual)))
                    (way(Way::Strict, "Stricter", &format!(
                        "{} Less junk in your inbox; look into Junk more often.",
                        at(strict(usual).into())
                    )))
                    (way(Way::Loose, "Looser", &format!(
                        "{} More junk in your inbox, fewer mistakes.",
                        at(loose(usual).into())
                    )))
                    (way(Way::Own, "My own marks", "Choose the numbers yourself."))
                }
                fieldset.own {
                    legend { "Your own marks" }
                    p.help #own-help {
                        "Junk from " (JunkMarks::JUNK.start()) " to " (JunkMarks::JUNK.end())
                        " points, refused from " (JunkMarks::REFUSE.start()) " to "
                        (JunkMarks::REFUSE.end()) ". Fewer points are stricter."
                    }
                    (number("junk", "To Junk from", &typed(|form| &form.junk, now.junk)))
                    (number("refuse", "Refused from", &typed(|form| &form.refuse, now.refuse)))
                }
                button type="submit" { "Keep" }
            }
        }
    }
}

fn learned(lessons: Lessons) -> Markup {
    let Lessons { spam, ham } = lessons;
    html! {
        p.help {
            "The box has learned from " (spam) " junk and " (ham) " wanted messages of yours"
            @if lessons.are_heard() { ", and counts that in. " }
            @else { "; that is too little to be counted in yet. " }
            "Move mail into your Junk folder or out of it to teach it."
        }
    }
}

fn letters(pile: &Pile, zone: &str, close: i32) -> Markup {
    let mut room = ROOM;
    let near: Vec<Markup> = fitting(&pile.close, zone, false, &mut room);
    let junk = fitting(&pile.junk, zone, true, &mut room);
    let left = u64::from(pile.junk_in_all).saturating_sub(junk.len() as u64);
    html! {
        h2 { "In your Junk folder" }
        @if junk.is_empty() { p { "Nothing." } }
        @else { ul.findings { @for letter in &junk { (letter) } } }
        @if left > 0 { p.help { "And " (left) " older, in the folder itself." } }
        h2 { "In your inbox, but close" }
        @if near.is_empty() {
            p { "No message of your newest has " (close) " points or more." }
        }
        @else { ul.findings { @for letter in &near { (letter) } } }
    }
}

/// As many letters as there is room for.
fn fitting(all: &[Shown], zone: &str, filed: bool, room: &mut usize) -> Vec<Markup> {
    let mut found = Vec::new();
    for shown in all {
        let markup = letter(shown, zone, filed);
        let Some(left) = room.checked_sub(markup.0.len()) else { break };
        *room = left;
        found.push(markup);
    }
    found
}

fn letter(shown: &Shown, zone: &str, filed: bool) -> Markup {
    let Shown { name, address, subject, at, told } = shown;
    html! {
        li {
            p { strong { bdi { @if subject.is_empty() { "(no subject)" } @else { (subject) } } } }
            p.help {
                "From "
                @if !name.is_empty() { bdi { (name) } " " }
                @if address.is_empty() { "nobody" } @else { bdi { "<" (address) ">" } }
                ", " (moment(*at, zone))
            }
            @match told {
                Some(told) => {
                    @if filed && !shown.was_filed() { p.help { "Moved here by you." } }
                    @let reasons = &told.score.reasons;
                    details {
                        summary { "Why " (points(told.score.points)) " points" }
                        ul {
                            @for reason in reasons.iter().take(REASONS) {
                                li { (signed(reason.points)) ": " (reason.text) }
                            }
                            @if reasons.len() > REASONS { li { "and smaller reasons" } }
                            @if reasons.is_empty() { li { "Nothing speaks for or against it." } }
                        }
                    }
                }
                None => p.help { "No points: it did not come from outside." },
            }
        }
    }
}

fn asked_back(all: &[Waiting], zone: &str) -> Markup {
    html! {
        h2 { "Asked to come back" }
        p.help {
            "A stranger whose server looks suspicious is asked to try again in some minutes. Mail "
            "servers do so by themselves; senders of junk mostly do not. Only you, the owner, see "
            "this."
        }
        @if all.is_empty() { p { "Nobody at the moment." } }
        @else { ul.findings { @for one in all.iter().take(DELAYED) { (delayed(one, zone)) } } }
        @if let Some(more) = all.len().checked_sub(DELAYED).filter(|more| *more > 0) {
            p.help { "And " (more) " more: pillarbox junk delayed." }
        }
    }
}

fn delayed(one: &Waiting, zone: &str) -> Markup {
    html! {
        li {
            p { strong { (sender(&one.from)) } " for " (one.to) ": " (one.reason) "." }
            p.help {
                "From " (one.peer) ", came " (moment(one.first, zone)) "; taken from "
                (moment(one.retry, zone)) " on"
            }
        }
    }
}

/// A notice has no sender.
fn sender(from: &str) -> &str {
    if from == "<>" { "A notice" } else { from }
}

/// With the sign for below zero that is as wide as others.
fn points(points: i32) -> String {
    points.to_string().replace('-', "−")
}

fn signed(value: i32) -> String {
    if value > 0 { format!("+{value}") } else { points(value) }
}
