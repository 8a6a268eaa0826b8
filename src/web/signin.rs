//! The door to the pages that only the people of the box may see: who signs in with address and
//! password, over an encrypted connection alone, holds a session until it ends. A page asks for a
//! [`Visitor`], or for the [`Owner`]; whoever is neither is sent to sign in, or told why not. Forms
//! carry the session's mark, and those of other sites were refused before they came here.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::{Extension, Form as Body, FromRequestParts, State};
use axum::http::header::{HOST, RETRY_AFTER, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;

use super::pages::{self, Around, duration, framed};
use super::routes::{Shared, cookie, page, said, site_of};
use super::session::{LONGEST, Sessions, Visit};
use super::token::Token;
use super::{Connection, junk, queue, reported};
use crate::accounts::{AuthError, Login, Lookup, Password};
use crate::config::{Config, FILE_NAME, TlsMode};

/// The way in and out.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route(PATH, get(ask).post(enter)).route("/sign-out", post(leave))
}

/// Where to sign in.
pub(super) const PATH: &str = "/sign-in";

/// Somebody who is signed in.
pub(super) struct Visitor {
    pub(super) login: Login,
    pub(super) is_owner: bool,
    mark: Token,
}

impl Visitor {
    /// To be put into every form.
    pub(super) fn mark(&self) -> &str {
        self.mark.expose()
    }

    /// Whether a form carries this visitor's mark. To be asked before anything is changed; the
    /// answer to others is [`foreign`].
    pub(super) fn sent(&self, mark: &str) -> bool {
        self.mark.is(mark)
    }
}

impl FromRequestParts<Arc<Shared>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        let tls = parts.extensions.get::<Connection>().is_some_and(|from| from.tls);
        if let Some(visitor) = shared.visitor(&parts.headers, tls, Visit::OfPerson) {
            return Ok(visitor);
        }
        let room = room(parts.uri.path()).unwrap_or(ROOMS[0]);
        Err(Redirect::to(&format!("{PATH}?to={room}")).into_response())
    }
}

/// A form without the right mark is not taken.
pub(super) fn foreign() -> Response {
    said(StatusCode::FORBIDDEN, &pages::FOREIGN)
}

/// The owner, signed in.
pub(super) struct Owner(pub(super) Visitor);

impl FromRequestParts<Arc<Shared>> for Owner {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        let visitor = Visitor::from_request_parts(parts, shared).await?;
        if visitor.is_owner {
            Ok(Self(visitor))
        } else {
            Err(said(StatusCode::FORBIDDEN, &pages::OWNERS_ONLY))
        }
    }
}

impl Shared {
    /// Whose browser this is.
    pub(super) fn visitor(&self, headers: &HeaderMap, tls: bool, visit: Visit) -> Option<Visitor> {
        let ticket = cookie(headers, COOKIE).filter(|_| tls)?;
        let accounts = self.web.books.accounts();
        let (login, mark) = self.with_sessions(|sessions, now| {
            sessions.enter(ticket, now, visit, |login| accounts.is_current(login))
        })?;
        let site = site_of(&self.web.setup.file());
        let is_owner =
            site.is_some_and(|site| accounts.lookup(&site.owner) == Lookup::Account(login.account));
        Some(Visitor { login, is_owner, mark })
    }

    fn with_sessions<T>(&self, act: impl FnOnce(&mut Sessions, Instant) -> T) -> T {
        act(&mut self.sessions.lock().unwrap_or_else(PoisonError::into_inner), Instant::now())
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    to: String,
}

/// The form, or the way to where it may be filled in.
async fn ask(
    State(shared): State<Arc<Shared>>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    Body(Asked { to }): Body<Asked>,
) -> Response {
    if !shared.is_done().await {
        return Redirect::to("/").into_response();
    }
    let to = room(&to).unwrap_or(ROOMS[0]);
    if !connection.tls {
        let config = shared.web.setup.file().resolve(FILE_NAME).ok();
        return elsewhere(config.as_ref(), &headers, to);
    }
    if shared.visitor(&headers, true, Visit::OfPerson).is_some() {
        return Redirect::to(to).into_response();
    }
    page(&form("", to, None))
}

#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    address: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    to: String,
}

/// The form was sent. It has no mark, for there is no session yet: that it came from this page is
/// shown by where the browser says it came from.
async fn enter(
    State(shared): State<Arc<Shared>>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    Body(Sent { address, password, to }): Body<Sent>,
) -> Response {
    let password = Password::new(password);
    if !connection.tls {
        return said(StatusCode::FORBIDDEN, &pages::NOT_ENCRYPTED);
    }
    if !shared.is_done().await {
        return Redirect::to("/").into_response();
    }
    let to = room(&to).unwrap_or(ROOMS[0]);
    let address = address.trim();
    let refused = |status: StatusCode, text: &str| {
        (status, Html(form(address, to, Some(text)).into_string())).into_response()
    };
    let accounts = shared.web.books.accounts();
    let login = match accounts.authenticate(address, password, connection.peer).await {
        Ok(login) if login.device.is_none() => login,
        Ok(_) => return refused(StatusCode::FORBIDDEN, DEVICE),
        Err(AuthError::Wrong) => return refused(StatusCode::FORBIDDEN, WRONG),
        Err(AuthError::Throttled(seconds)) => {
            let text = format!(
                "Too many tries from your network were wrong, so none is taken for {}. Wait, then \
                 try again. Mail programs that are connected stay so; others wait, too.",
                duration(seconds)
            );
            let answer = refused(StatusCode::TOO_MANY_REQUESTS, &text);
            return ([(RETRY_AFTER, seconds.to_string())], answer).into_response();
        }
        Err(AuthError::Unavailable) => return refused(StatusCode::SERVICE_UNAVAILABLE, LATER),
    };
    let (Ok(ticket), Ok(mark)) = (Token::random(), Token::random()) else {
        return said(StatusCode::INTERNAL_SERVER_ERROR, &pages::NO_RANDOM);
    };
    tracing::info!(account = %login.address, peer = %connection.peer, "signed in to the pages");
    let cookie = baked(ticket.expose(), LONGEST.as_secs());
    shared.with_sessions(|sessions, now| {
        // The browser keeps one ticket only.
        sessions.end(self::cookie(&headers, COOKIE).unwrap_or_default());
        sessions.begin(login, ticket, mark, now);
    });
    ([(SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}

#[derive(Deserialize)]
struct Leaving {
    #[serde(default)]
    mark: String,
}

async fn leave(
    State(shared): State<Arc<Shared>>,
    visitor: Visitor,
    headers: HeaderMap,
    Body(Leaving { mark }): Body<Leaving>,
) -> Response {
    if !visitor.sent(&mark) {
        return foreign();
    }
    let ticket = cookie(&headers, COOKIE).unwrap_or_default();
    shared.with_sessions(|sessions, _| sessions.end(ticket));
    ([(SET_COOKIE, baked("", 0))], Redirect::to("/")).into_response()
}

/// The cookie: kept from scripts, from other sites, and from connections that can be overheard.
/// Its name makes browsers refuse it when one of these was left out.
fn baked(ticket: &str, seconds: u64) -> String {
    format!("{COOKIE}={ticket}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}")
}

/// A page of these that a browser may be sent to; nothing for any other place.
fn room(path: &str) -> Option<&'static str> {
    ROOMS.into_iter().find(|room| path == *room || path.strip_prefix(room).is_some_and(below))
}

fn below(rest: &str) -> bool {
    rest.starts_with('/')
}

fn form(address: &str, to: &str, problem: Option<&str>) -> Markup {
    let body = html! {
        h1 { "Sign in" }
        @if let Some(text) = problem { p.problem #problem role="alert" { (text) } }
        form method="post" action=(PATH) {
            input type="hidden" name="to" value=(to);
            div.field {
                label for="address" { "Your address" }
                p.help #address-help { "The whole of it, like alice@example.org." }
                div.input {
                    input #address name="address" type="text" inputmode="email" value=(address)
                        maxlength="320" autocomplete="username" autocapitalize="none"
                        spellcheck="false" aria-describedby="address-help" required
                        autofocus[address.is_empty()];
                }
            }
            div.field {
                label for="password" { "Password" }
                p.help #password-help { "The one of your account, not that of a device." }
                div.input {
                    input #password name="password" type="password" autocomplete="current-password"
                        aria-describedby="password-help" required autofocus[!address.is_empty()];
                }
            }
            button type="submit" { "Sign in" }
        }
        p.help { "Forgotten? The owner of the box can set a new one." }
    };
    framed("Sign in", &html! {}, &Around::Nobody, &body)
}

/// The way from the open connection to the encrypted one.
fn elsewhere(config: Option<&Config>, headers: &HeaderMap, to: &str) -> Response {
    let place = config.and_then(|config| encrypted(config, headers));
    let Some(base) = place else {
        return said(StatusCode::FORBIDDEN, &pages::NOT_ENCRYPTED);
    };
    let place = format!("{base}{PATH}?to={to}");
    let own = config.is_none_or(|config| matches!(config.tls, TlsMode::SelfSigned));
    if !own {
        return Redirect::to(&place).into_response();
    }
    let body = html! {
        h1 { "Sign in" }
        p {
            "Your password must not be read on its way, so signing in needs an encrypted "
            "connection."
        }
        p.remark {
            "Your browser will warn that it does not know this box’s certificate: the box made it "
            "itself. While you are in your own network, choose to go on."
        }
        p { a.button href=(place) { "Go on encrypted" } }
    };
    page(&framed("Sign in", &html! {}, &Around::Nobody, &body))
}

/// This box's address for encrypted pages, by the name under which the browser knows it.
fn encrypted(config: &Config, headers: &HeaderMap) -> Option<String> {
    let port = config.listen.https.first()?.port();
    let host = headers.get(HOST)?.to_str().ok()?;
    // The colons of an IPv6 address stand in brackets.
    let end = host.find(']').map_or_else(|| host.find(':'), |end| Some(end + 1));
    let name = host.get(..end.unwrap_or(host.len()))?;
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if name.is_empty() || !name.chars().all(sound) {
        return None;
    }
    Some(if port == 443 { format!("https://{name}") } else { format!("https://{name}:{port}") })
}

/// The cookie with the ticket.
const COOKIE: &str = "__Host-pillarbox";
/// Pages that a browser is sent back to after signing in.
const ROOMS: [&str; 3] = [junk::PATH, queue::PATH, reported::PATH];

const WRONG: &str = "Address or password is not right. Look whether the address is whole, and \
                     whether capital letters are on.";
const DEVICE: &str = "This is the password of a device, which opens mail programs only. Type the \
                      password of your account.";
const LATER: &str = "The box cannot check passwords now. Wait a minute and try again.";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;
    use crate::config::ConfigFile;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for place in ["", "/", "//evil.example", "https://evil.example/junk", "/junkyard", "junk"] {
            assert_eq!(room(place), None, "{place}");
        }
        assert_eq!(room("/junk"), Some("/junk"));
        assert_eq!(room("/junk/marks"), Some("/junk"));
        assert_eq!(room("/junk//evil.example"), Some("/junk"));
    }

    #[test]
    fn the_encrypted_page_is_at_the_name_that_was_asked_for() {
        let config = |text: &str| ConfigFile::parse(text, "x").unwrap().resolve("x").unwrap();
        let (usual, high) = (config(""), config("[listen]\nhttps = [\"127.0.0.1:20443\"]\n"));
        for (config, host, place) in [
            (&usual, "box.local", Some("https://box.local")),
            (&usual, "box.local:8080", Some("https://box.local")),
            (&high, "localhost:20080", Some("https://localhost:20443")),
            (&high, "[::1]:20080", Some("https://[::1]:20443")),
            (&high, "[::1]", Some("https://[::1]:20443")),
            (&high, "a/b", None),
            (&high, "evil@box", None),
            (&high, "", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            assert_eq!(encrypted(config, &headers).as_deref(), place, "{host}");
        }
        assert_eq!(encrypted(&usual, &HeaderMap::new()), None);
    }
}
