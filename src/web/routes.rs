//! Which request leads to which page, and the guards before them: where a form came from, who
//! holds the set-up, how long and how large a request may be.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, Extension, Form as Body, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, ORIGIN, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use maud::Markup;
use serde::Deserialize;
use serde_json::json;

use super::claim::{Door, IDLE};
use super::session::{Sessions, Visit};
use super::token::Token;
use super::wizard::{Complaint, Form, Move, WIZARD_FILE};
use super::{Connection, Stage, Web, Wizard, junk, pages, queue, reported, signin, sts, views};
use crate::config::{ConfigFile, FILE_NAME};
use crate::files::write_private;
use crate::panel::View;

/// All pages. To be served by [`super::serve()`], which says where a request came from.
pub fn router(web: Web) -> Router {
    let wizard = resume(&web.data, &web.setup.file());
    // The display has to know before anyone asks for a page.
    web.stage.send_replace(match wizard {
        Wizard::Done => Stage::Done,
        _ => Stage::Unclaimed,
    });
    let door = Mutex::new(Door::new(web.code.clone()));
    let wizard = tokio::sync::Mutex::new(wizard);
    let shared = Arc::new(Shared { wizard, door, sessions: Mutex::default(), web });
    Router::new()
        .route("/", get(home))
        .route("/claim", post(claim))
        .route("/setup", get(setup).post(step))
        .route("/setup/check", post(check))
        .route(sts::PATH, get(sts::policy))
        .merge(signin::routes())
        .merge(junk::routes())
        .merge(queue::routes())
        .merge(reported::routes())
        .route("/board", get(board))
        .route("/board.png", get(board_png))
        .route("/board.json", get(board_json))
        .route("/icon.svg", get(async || file("image/svg+xml", include_str!("icon.svg"))))
        .route(
            "/style.css",
            get(async || file("text/css; charset=utf-8", include_str!("style.css"))),
        )
        .route(
            "/page.js",
            get(async || file("text/javascript; charset=utf-8", include_str!("page.js"))),
        )
        .fallback(|| async { said(StatusCode::NOT_FOUND, &pages::NOT_FOUND) })
        .layer(DefaultBodyLimit::max(64 * 1024))
        .layer(from_fn(guard))
        .with_state(shared)
}

pub(super) struct Shared {
    pub(super) web: Web,
    door: Mutex<Door>,
    pub(super) sessions: Mutex<Sessions>,
    /// Held while a change is carried out: a second tap waits, and then finds another step.
    wizard: tokio::sync::Mutex<Wizard>,
}

type Here = State<Arc<Shared>>;

impl Shared {
    /// The mark for forms, when this browser holds the set-up.
    fn mark(&self, headers: &HeaderMap) -> Option<Token> {
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        door.enter(cookie(headers, TICKET).unwrap_or_default(), Instant::now())
    }

    fn with_door<T>(&self, act: impl FnOnce(&mut Door, Instant) -> T) -> T {
        act(&mut self.door.lock().unwrap_or_else(PoisonError::into_inner), Instant::now())
    }

    /// Whether the box is in use: the set-up was finished, here or by other means meanwhile.
    pub(super) async fn is_done(&self) -> bool {
        let mut wizard = self.wizard.lock().await;
        if wizard.is_new() && has_site(&self.web.setup.file()) {
            *wizard = Wizard::Done;
        }
        let done = *wizard == Wizard::Done;
        drop(wizard);
        let held = self.with_door(|door, now| {
            if done {
                door.close();
            }
            door.is_held(now)
        });
        let stage = match (done, held) {
            (true, _) => Stage::Done,
            (false, true) => Stage::Claimed,
            (false, false) => Stage::Unclaimed,
        };
        self.web.stage.send_if_modified(|now| std::mem::replace(now, stage) != stage);
        done
    }

    /// Takes a form. Its own task runs it, so that a browser that goes away in the middle does
    /// not leave a change half carried out.
    async fn advance(&self, form: Form) -> Result<(), (Wizard, Vec<Complaint>)> {
        let mut wizard = self.wizard.lock().await;
        let next = match wizard.take(&form) {
            Ok(Move::Stay) => return Ok(()),
            Ok(Move::Go(next)) => next,
            Ok(Move::Apply(change, next)) => {
                let (answers, replaces) = change.onto(self.web.setup.file());
                if let Err(text) = self.web.setup.apply(answers, replaces).await {
                    return Err((wizard.clone(), vec![Complaint { field: "", text }]));
                }
                self.web.recheck.notify_one();
                next
            }
            Err(complaints) => return Err((wizard.clone(), complaints)),
        };
        if let Err(text) = keep(&self.web.data, &next).await {
            return Err((wizard.clone(), vec![Complaint { field: "", text }]));
        }
        *wizard = next;
        Ok(())
    }
}

/// `/`: the state of the box, or the way into its set-up.
async fn home(
    State(shared): Here,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
) -> Response {
    if shared.is_done().await {
        let report = shared.web.report.borrow().clone();
        let site = site_of(&shared.web.setup.file());
        let board = shared.web.board.is_some();
        // It loads itself anew every minute.
        let visitor = shared.visitor(&headers, connection.tls, Visit::OfBrowser);
        let visitor = visitor.as_ref();
        // How much mail a household has is its owner's business, and to know it reads the card.
        let told = if visitor.is_some_and(|visitor| visitor.is_owner) {
            let setup = Arc::clone(&shared.web.setup);
            tokio::task::spawn_blocking(move || setup.told()).await.unwrap_or_default()
        } else {
            Vec::new()
        };
        return page(&views::status(site.as_ref(), report.as_ref(), &told, board, visitor));
    }
    match shared.mark(&headers) {
        Some(_) => Redirect::to("/setup").into_response(),
        None => page(&pages::claim(shared.with_door(Door::is_held), None)),
    }
}

#[derive(Deserialize)]
struct Claim {
    #[serde(default)]
    code: String,
}

/// The code was typed in.
async fn claim(
    State(shared): Here,
    Extension(connection): Extension<Connection>,
    Body(Claim { code }): Body<Claim>,
) -> Response {
    if shared.is_done().await {
        return said(StatusCode::FORBIDDEN, &pages::CLOSED);
    }
    let (Ok(ticket), Ok(mark)) = (Token::random(), Token::random()) else {
        return said(StatusCode::INTERNAL_SERVER_ERROR, &pages::NO_RANDOM);
    };
    let text = ticket.expose().to_owned();
    match shared.with_door(|door, now| door.claim(&code, now, ticket, mark)) {
        Ok(()) => {
            // Tells the display that the code is used up.
            shared.is_done().await;
            let secure = if connection.tls { "; Secure" } else { "" };
            let idle = IDLE.as_secs();
            let cookie = format!(
                "{TICKET}={text}; Path=/; HttpOnly; SameSite=Strict; Max-Age={idle}{secure}"
            );
            ([(SET_COOKIE, cookie)], Redirect::to("/setup")).into_response()
        }
        Err(refusal) => {
            tracing::info!(peer = %connection.peer, ?refusal, "set-up code refused");
            let page = pages::claim(shared.with_door(Door::is_held), Some(refusal));
            (StatusCode::FORBIDDEN, Html(page.into_string())).into_response()
        }
    }
}

/// `/setup`: the step at hand.
async fn setup(State(shared): Here, headers: HeaderMap) -> Response {
    if shared.is_done().await {
        return Redirect::to("/").into_response();
    }
    let Some(mark) = shared.mark(&headers) else {
        return Redirect::to("/").into_response();
    };
    let wizard = shared.wizard.lock().await.clone();
    page(&show(&shared, &wizard, &mark, &Form::default(), &[]))
}

#[derive(Deserialize)]
struct Posted {
    #[serde(default)]
    mark: String,
    #[serde(flatten)]
    form: Form,
}

/// A step's form was sent.
async fn step(State(shared): Here, headers: HeaderMap, Body(posted): Body<Posted>) -> Response {
    let mark = match admitted(&shared, &headers, &posted).await {
        Ok(mark) => mark,
        Err(refused) => return refused,
    };
    let (worker, sent) = (Arc::clone(&shared), posted.form.clone());
    match tokio::spawn(async move { worker.advance(sent).await }).await {
        Ok(Ok(())) => Redirect::to("/setup").into_response(),
        Ok(Err((wizard, complaints))) => {
            let page = show(&shared, &wizard, &mark, &posted.form, &complaints);
            (StatusCode::UNPROCESSABLE_ENTITY, Html(page.into_string())).into_response()
        }
        Err(_) => said(StatusCode::INTERNAL_SERVER_ERROR, &pages::BROKEN),
    }
}

/// "Check again" was pressed.
async fn check(State(shared): Here, headers: HeaderMap, Body(posted): Body<Posted>) -> Response {
    if let Err(refused) = admitted(&shared, &headers, &posted).await {
        return refused;
    }
    let mut report = shared.web.report.clone();
    report.mark_unchanged();
    shared.web.recheck.notify_one();
    // A check of the DNS takes a second or two; past that the page shows the former answer.
    let _in_time = tokio::time::timeout(RECHECK, report.changed()).await;
    Redirect::to("/setup#check").into_response()
}

/// Lets the browser through that holds the set-up, with a form this page gave it.
async fn admitted(
    shared: &Shared,
    headers: &HeaderMap,
    posted: &Posted,
) -> Result<Token, Response> {
    if shared.is_done().await {
        return Err(said(StatusCode::FORBIDDEN, &pages::CLOSED));
    }
    match shared.mark(headers) {
        None => Err(said(StatusCode::FORBIDDEN, &pages::EXPIRED)),
        Some(mark) if shared.with_door(|door, _| door.knows_mark(&posted.mark)) => Ok(mark),
        Some(_) => Err(said(StatusCode::FORBIDDEN, &pages::FOREIGN)),
    }
}

fn show(
    shared: &Shared,
    wizard: &Wizard,
    mark: &Token,
    form: &Form,
    complaints: &[Complaint],
) -> Markup {
    let asked = pages::Asked { mark: mark.expose(), form, complaints };
    match wizard {
        Wizard::Records(home) => {
            let report = shared.web.report.borrow().clone();
            views::records(&asked, home, &shared.web.setup.records(), report.as_ref())
        }
        Wizard::Phone(home) => {
            let config = shared.web.setup.file().resolve(FILE_NAME).ok();
            views::phone(&asked, home, config.as_ref())
        }
        _ => pages::step(&asked, wizard),
    }
}

async fn board(State(shared): Here, Extension(connection): Extension<Connection>) -> Response {
    view(&shared, connection).map_or_else(hidden, |view| page(&views::board(&view)))
}

async fn board_png(State(shared): Here, Extension(connection): Extension<Connection>) -> Response {
    let picture = |view: View| ([(CONTENT_TYPE, "image/png")], view.png).into_response();
    view(&shared, connection).map_or_else(hidden, picture)
}

async fn board_json(State(shared): Here, Extension(connection): Extension<Connection>) -> Response {
    view(&shared, connection).map_or_else(hidden, |view| {
        Json(json!({ "word": view.word, "timeline": view.led, "lines": view.lines }))
            .into_response()
    })
}

fn hidden() -> Response {
    said(StatusCode::NOT_FOUND, &pages::NO_BOARD)
}

/// The panel, for whom it may be shown.
fn view(shared: &Shared, connection: Connection) -> Option<View> {
    let view = shared.web.board.as_ref()?.borrow().clone();
    (!view.private || connection.peer.is_loopback()).then_some(view)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

pub(super) fn page(markup: &Markup) -> Response {
    Html(markup.0.clone()).into_response()
}

pub(super) fn said(status: StatusCode, note: &pages::Note) -> Response {
    (status, Html(pages::note(note).into_string())).into_response()
}

/// Before and after every request: forms of other sites are refused, no request lasts for ever,
/// and the browser is told to trust nothing but these pages.
async fn guard(request: Request, next: Next) -> Response {
    let refused = *request.method() == Method::POST && !is_same_site(request.headers());
    let mut response = if refused {
        said(StatusCode::FORBIDDEN, &pages::FOREIGN)
    } else {
        match tokio::time::timeout(LONGEST, next.run(request)).await {
            Ok(response) => in_words(response),
            Err(_) => said(StatusCode::REQUEST_TIMEOUT, &pages::BROKEN),
        }
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What was refused before one of our pages was asked has no page, or words for programmers.
fn in_words(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    match (status, kind) {
        (_, Some(kind)) if kind.starts_with(b"text/html") => response,
        (StatusCode::METHOD_NOT_ALLOWED, _) => said(status, &pages::NOT_FOUND),
        _ if status.is_client_error() => said(status, &pages::FOREIGN),
        _ => response,
    }
}

/// Whether a browser says that one of our pages sent this. Programs that say nothing are let
/// through: no browser's cookie is with them.
fn is_same_site(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let fetched = text(HeaderName::from_static("sec-fetch-site"));
    let origin = text(ORIGIN).map(|origin| origin.split_once("://").map(|(_, host)| host));
    fetched.is_none_or(|site| matches!(site, "same-origin" | "none"))
        && origin.is_none_or(|host| host.is_some() && host == text(HOST))
}

/// What the browser keeps under a name.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Where a set-up begun before goes on.
fn resume(data: &Path, file: &ConfigFile) -> Wizard {
    let path = data.join(WIZARD_FILE);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the set-up's place is lost; it starts anew");
            if has_site(file) { Wizard::Done } else { Wizard::NEW }
        }),
        Err(_) if has_site(file) => Wizard::Done,
        Err(_) => Wizard::NEW,
    }
}

/// Keeps the set-up's place; at its end there is none.
async fn keep(data: &Path, wizard: &Wizard) -> Result<(), String> {
    let path = data.join(WIZARD_FILE);
    let done = *wizard == Wizard::Done;
    let text = serde_json::to_vec(wizard).map_err(|error| error.to_string())?;
    let kept = tokio::task::spawn_blocking(move || {
        if done { std::fs::remove_file(&path) } else { write_private(&path, &text) }
    })
    .await;
    match kept {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if done && error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(Err(error)) => Err(format!(
            "the card cannot be written ({error}), so this step would be lost; check the card \
             and try again"
        )),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn site_of(file: &ConfigFile) -> Option<crate::config::Site> {
    file.resolve(FILE_NAME).ok().and_then(|config| config.site)
}

fn has_site(file: &ConfigFile) -> bool {
    site_of(file).is_some()
}

const TICKET: &str = "pillarbox-setup";
/// Making signing keys takes some seconds on a small board.
const LONGEST: Duration = Duration::from_secs(90);
const RECHECK: Duration = Duration::from_secs(8);
const HEADERS: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not no-referrer: with that, browsers send our own forms with `Origin: null`.
    (REFERRER_POLICY, "same-origin"),
    (CACHE_CONTROL, "no-store"),
];
