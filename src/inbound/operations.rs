//! The listener of operations: whether this process lives, and whether it wants work.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::net::TcpListener;

use super::connection::Received;
use super::listen::accept;
use super::places::Places;
use super::{Drain, plain};
use crate::gateway::{Body, full};

/// Tells what is wrong with what this process depends on; each entry is a sentence for an operator.
pub(crate) type Health = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

#[derive(Serialize)]
struct Ready {
    ready: bool,
    degraded: Vec<String>,
}

/// Answers `/live` and `/ready` for ever: that we go down, too, is told until the end.
pub(crate) async fn serve_operations(listener: TcpListener, drain: Drain, health: Health) {
    let answer = move |request: Request<Received>, _peer| {
        let response = answer(request.method(), request.uri().path(), &drain, &health);
        async move { response }
    };
    accept(listener, Places::new(), &Drain::default(), |peer| !peer.is_loopback(), answer).await;
}

fn answer(method: &Method, path: &str, drain: &Drain, health: &Health) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    match path {
        "/live" => plain(StatusCode::OK, "live\n"),
        "/ready" => ready(drain.is_ready(), health()),
        _ => plain(StatusCode::NOT_FOUND, "/live or /ready\n"),
    }
}

/// Ready speaks of this process, degraded of what it depends on: an outage of the identity provider must not take every
/// replica out of the balancer while tokens still work.
fn ready(ready: bool, degraded: Vec<String>) -> Response<Body> {
    let document = serde_json::to_vec(&Ready { ready, degraded }).unwrap_or_default();
    let mut response = Response::new(full(document));
    *response.status_mut() = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Method;

    use super::{Health, answer};
    use crate::inbound::Drain;

    #[test]
    fn trouble_behind_us_is_degraded_and_only_draining_is_not_ready() {
        let health: Health = Arc::new(|| vec!["identity keycloak: unreachable".to_owned()]);
        let drain = Drain::default();
        let status = |path| answer(&Method::GET, path, &drain, &health).status().as_u16();
        assert_eq!((status("/live"), status("/ready"), status("/metrics")), (200, 200, 404));
        assert_eq!(answer(&Method::POST, "/ready", &drain, &health).status(), 405);
        drain.at_once();
        assert_eq!((status("/live"), status("/ready")), (200, 503));
    }
}
