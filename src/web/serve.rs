//! One HTTP connection: bounded in time whatever the other end does. How many there may be is the
//! listener's business.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;

use super::Connection;
use crate::net::{Peer, Stream};

/// How long the other end may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the head of a request, and so for an idle connection too.
    pub head: Duration,
    /// For a connection in all. Browsers open another without a word.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: Duration::from_secs(15), whole: Duration::from_mins(10) }
    }
}

/// Answers requests on a connection until it ends, or until `stop` and the request in hand.
pub async fn serve(
    stream: Stream,
    peer: Peer,
    router: Router,
    patience: Patience,
    stop: CancellationToken,
) {
    let from = Connection { peer: peer.address, tls: stream.is_tls() };
    serve_from(stream, from, router, patience, stop).await;
}

/// The same, for a connection that came so.
pub(super) async fn serve_from(
    stream: Stream,
    from: Connection,
    router: Router,
    patience: Patience,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(from);
        let answer = router.call(request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_headers(64)
        .max_buf_size(BUFFER);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::time::timeout(patience.whole, async {
        tokio::select! {
            ended = &mut connection => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    })
    .await;
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(peer = %from.peer, %error, "HTTP connection ended"),
        Err(_) => tracing::debug!(peer = %from.peer, "HTTP connection open for too long; closed"),
    }
}

/// Bytes for the head of a request.
const BUFFER: usize = 16 * 1024;
