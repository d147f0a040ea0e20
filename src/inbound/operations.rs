//! The operations listener: liveness, readiness and metrics.
//!
//! Defends against DNS rebinding: a page whose own name was pointed here would be of the same origin, and could read
//! the answers. Its requests carry that name in `Host`. An IP address as `Host` was not resolved by DNS, and is always
//! accepted.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::net::TcpListener;

use super::connection::{ConnectionTimeouts, PeerPolicy, Received};
use super::drain::Drain;
use super::framing;
use super::listen::accept;
use super::visit::without_body;
use crate::limits::Pool;
use crate::telemetry::metrics::Metrics;
use crate::wire::{Body, full, plain};

/// Reports what is wrong with the things that this process depends on; each entry is a sentence for an operator.
pub(crate) type HealthReport = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Measures what is measured at a scrape, and writes all metrics down.
pub(crate) type Scrape = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = String> + Send>> + Send + Sync>;

#[derive(Serialize)]
struct Ready {
    ready: bool,
    degraded: Vec<String>,
}

/// The operations listener.
#[derive(Clone)]
pub(crate) struct Operations {
    /// Accepted host names besides `localhost`.
    pub(crate) hosts: Vec<String>,
    pub(crate) drain: Drain,
    pub(crate) health: HealthReport,
    pub(crate) metrics: Scrape,
}

impl Operations {
    /// Serves `/live`, `/ready` and `/metrics` until the process ends: a shutdown must be visible there as well.
    pub(crate) async fn serve(self, listener: TcpListener, connections: Pool) {
        let answer = move |request: Request<Received>, _peer| {
            let operations = self.clone();
            let (head, _unread) = request.into_parts();
            async move {
                let response = operations.answer(&head).await;
                if head.method == Method::HEAD { without_body(response) } else { response }
            }
        };
        // not limited per address: answers are immediate, so there is always an idle connection to close
        let peer_policy = |_peer| PeerPolicy { holder: None, timeouts: ConnectionTimeouts::CHECKER };
        accept(listener, connections, &Drain::default(), peer_policy, answer).await;
    }

    async fn answer(&self, head: &Parts) -> Response<Body> {
        if let Err(why) = framing::check(&head.headers) {
            let mut response = plain(StatusCode::BAD_REQUEST, full(why));
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        if !self.is_meant(head) {
            let text = "This name is not known here: call it by its IP address, or add the name to \
                        server.operations_hosts.\n";
            return plain(StatusCode::MISDIRECTED_REQUEST, full(text));
        }
        if head.method != Method::GET && head.method != Method::HEAD {
            return plain(StatusCode::METHOD_NOT_ALLOWED, full("GET only\n"));
        }
        match head.uri.path() {
            "/live" => plain(StatusCode::OK, full("live\n")),
            "/ready" => ready(self.drain.is_ready(), (self.health)()),
            "/metrics" => typed(Metrics::MEDIA_TYPE, (self.metrics)().await),
            _ => plain(StatusCode::NOT_FOUND, full("/live, /ready or /metrics\n")),
        }
    }

    /// Whether a request names an IP address or one of our names. Health checkers may send no `Host`; browsers always
    /// do.
    fn is_meant(&self, head: &Parts) -> bool {
        let header = head.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
        let mut named = head.uri.authority().map(|authority| authority.as_str().as_bytes()).into_iter().chain(header);
        named.all(|named| {
            let Ok(authority) = Authority::try_from(named) else { return false };
            let name = authority.host().trim_start_matches('[').trim_end_matches(']');
            let known = || self.hosts.iter().map(String::as_str).chain(["localhost"]);
            name.parse::<IpAddr>().is_ok() || known().any(|known| known.eq_ignore_ascii_case(name))
        })
    }
}

/// `ready` is about this process, `degraded` about what it depends on: an outage of the identity provider must not take
/// every replica out of the load balancer while tokens still work.
fn ready(ready: bool, degraded: Vec<String>) -> Response<Body> {
    let document = serde_json::to_vec(&Ready { ready, degraded }).unwrap_or_default();
    let mut response = typed("application/json", document);
    *response.status_mut() = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response
}

fn typed(media_type: &'static str, document: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(document));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Method, Request, Response};

    use super::Operations;
    use crate::inbound::Drain;
    use crate::wire::Body;

    fn operations() -> Operations {
        Operations {
            hosts: vec!["portcullis".to_owned()],
            drain: Drain::default(),
            health: Arc::new(|| vec!["identity keycloak: unreachable".to_owned()]),
            metrics: Arc::new(|| Box::pin(async { "# EOF\n".to_owned() })),
        }
    }

    async fn ask(operations: &Operations, method: Method, uri: &str, host: Option<&str>) -> Response<Body> {
        let request = Request::builder().method(method).uri(uri);
        let request = host.into_iter().fold(request, |request, host| request.header("host", host));
        operations.answer(&request.body(()).unwrap().into_parts().0).await
    }

    #[tokio::test]
    async fn a_rebound_host_name_gets_421() {
        let operations = operations();
        let status = async |uri: &str, host| ask(&operations, Method::GET, uri, host).await.status().as_u16();
        for known in ["127.0.0.1:9090", "10.0.0.7", "[::1]:9090", "localhost:9090", "LocalHost", "Portcullis:9090"] {
            assert_eq!(status("/live", Some(known)).await, 200, "{known}");
            assert_eq!(status("/metrics", Some(known)).await, 200, "{known}");
            assert_eq!(status(&format!("http://{known}/live"), None).await, 200, "{known}");
        }
        for strange in
            ["evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example", "a@b", "", "1"]
        {
            assert_eq!(status("/live", Some(strange)).await, 421, "{strange}");
            assert_eq!(status("/metrics", Some(strange)).await, 421, "{strange}");
        }
        assert_eq!(status("http://localhost/live", Some("evil.example")).await, 421);
        assert_eq!(status("/live", None).await, 200, "a checker that speaks HTTP/1.0");
    }

    #[tokio::test]
    async fn failing_dependencies_are_degraded_and_only_shutdown_is_not_ready() {
        let operations = operations();
        let status = async |method, path| ask(&operations, method, path, None).await.status().as_u16();
        assert_eq!(status(Method::GET, "/live").await, 200);
        assert_eq!(status(Method::GET, "/ready").await, 200);
        assert_eq!(status(Method::GET, "/else").await, 404);
        assert_eq!(status(Method::POST, "/ready").await, 405);
        assert_eq!(status(Method::POST, "/metrics").await, 405);
        operations.drain.at_once();
        assert_eq!(status(Method::GET, "/live").await, 200);
        assert_eq!(status(Method::GET, "/metrics").await, 200);
        assert_eq!(status(Method::GET, "/ready").await, 503);
    }

    #[tokio::test]
    async fn metrics_say_that_they_are_openmetrics() {
        let answer = ask(&operations(), Method::GET, "/metrics", None).await;
        let kind = answer.headers()["content-type"].to_str().unwrap();
        assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    }
}
