//! The listener of operations: whether this process lives, and whether it wants work.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::TcpListener;

use super::{Drain, plain};
use crate::gateway::{Body, full};

const PATIENCE: Duration = Duration::from_secs(10);

/// Tells what is wrong with what this process depends on; each entry is a sentence for an operator.
pub type Health = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

#[derive(Serialize)]
struct Ready {
    ready: bool,
    degraded: Vec<String>,
}

/// Answers `/live` and `/ready` for ever.
pub async fn serve_operations(listener: TcpListener, drain: Drain, health: Health) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (drain, health) = (drain.clone(), Arc::clone(&health));
                tokio::spawn(async move {
                    let service = service_fn(|request: Request<Incoming>| {
                        let response = answer(request.method(), request.uri().path(), &drain, &health);
                        async move { Ok::<_, Infallible>(response) }
                    });
                    let served = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(PATIENCE)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    if let Err(error) = served {
                        tracing::debug!(%error, "a connection of operations ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of operations could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
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
