//! The one page that is for other mail hosts: our MTA-STS policy (RFC 8461 §3.2), at
//! `mta-sts.` below each of our domains.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::pages;
use super::routes::{Shared, said};
use crate::config::{Config, FILE_NAME, policy_host};
use crate::mail::Domain;

/// Where the policy is, below the host.
pub(super) const PATH: &str = "/.well-known/mta-sts.txt";

/// The policy, for a name of ours; nothing for any other, the box's own included.
pub(super) async fn policy(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let config = shared.web.setup.file().resolve(FILE_NAME).ok();
    let text = host(&headers).and_then(|host| text(&config?, &host));
    match text {
        Some(text) => ([(CONTENT_TYPE, "text/plain")], text).into_response(),
        None => said(StatusCode::NOT_FOUND, &pages::NOT_FOUND),
    }
}

fn text(config: &Config, host: &Domain) -> Option<String> {
    let site = config.site.as_ref()?;
    let ours = site.domains.iter().any(|domain| policy_host(domain).as_ref() == Some(host));
    config.mta_sts.policy(site).filter(|_| ours).map(|policy| policy.text)
}

/// The host that was asked for, without its port.
fn host(headers: &HeaderMap) -> Option<Domain> {
    let host = headers.get(HOST)?.to_str().ok()?;
    host.split(':').next()?.parse().ok()
}
