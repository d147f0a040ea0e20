//! The operations listener: liveness and readiness.
//!
//! Defends against DNS rebinding: a page whose own name was pointed here would be of the same origin, and could read
//! the answers. Its requests carry that name in `Host`. An IP address as `Host` was not resolved by DNS, and is always
//! accepted.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONNECTION, HOST};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::net::TcpListener;

use super::connection::{Guest, Patience, Received};
use super::drain::Drain;
use super::framing;
use super::listen::accept;
use super::visit::without_body;
use crate::limits::Pool;
use crate::wire::{Body, full, plain};

/// Reports what is wrong with the things that this process depends on; each entry is a sentence for an operator.
pub(crate) type HealthReport = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

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
}

impl Operations {
    /// Serves `/live` and `/ready` until the process ends: a shutdown must be visible there as well.
    pub(crate) async fn serve(self, listener: TcpListener, connections: Pool) {
        let answer = move |request: Request<Received>, _peer| {
            let response = self.answer(&request);
            let response = if request.method() == Method::HEAD { without_body(response) } else { response };
            async move { response }
        };
        // not limited per address: answers are immediate, so there is always an idle connection to close
        let guest = |_peer| Guest { holder: None, patience: Patience::CHECKER };
        accept(listener, connections, &Drain::default(), guest, answer).await;
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        if let Err(why) = framing::judge(request.headers()) {
            let mut response = plain(StatusCode::BAD_REQUEST, full(why));
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        if !self.is_meant(request) {
            let text = "This name is not known here: call it by its IP address, or add the name to \
                        server.operations_hosts.\n";
            return plain(StatusCode::MISDIRECTED_REQUEST, full(text));
        }
        answer(request.method(), request.uri().path(), &self.drain, &self.health)
    }

    /// Whether a request names an IP address or one of our names. Health checkers may send no `Host`; browsers always
    /// do.
    fn is_meant<B>(&self, request: &Request<B>) -> bool {
        let header = request.headers().get_all(HOST).iter().map(HeaderValue::as_bytes);
        let mut named =
            request.uri().authority().map(|authority| authority.as_str().as_bytes()).into_iter().chain(header);
        named.all(|named| {
            let Ok(authority) = Authority::try_from(named) else { return false };
            let name = authority.host().trim_start_matches('[').trim_end_matches(']');
            let known = || self.hosts.iter().map(String::as_str).chain(["localhost"]);
            name.parse::<IpAddr>().is_ok() || known().any(|known| known.eq_ignore_ascii_case(name))
        })
    }
}

fn answer(method: &Method, path: &str, drain: &Drain, health: &HealthReport) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, full("GET only\n"));
    }
    match path {
        "/live" => plain(StatusCode::OK, full("live\n")),
        "/ready" => ready(drain.is_ready(), health()),
        _ => plain(StatusCode::NOT_FOUND, full("/live or /ready\n")),
    }
}

/// `ready` is about this process, `degraded` about what it depends on: an outage of the identity provider must not take
/// every replica out of the load balancer while tokens still work.
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

    use http::{Method, Request};

    use super::{HealthReport, Operations, answer};
    use crate::inbound::Drain;

    #[test]
    fn a_rebound_host_name_gets_421() {
        let operations =
            Operations { hosts: vec!["portcullis".to_owned()], drain: Drain::default(), health: Arc::new(Vec::new) };
        let status = |uri: &str, host: Option<&str>| {
            let request = host.into_iter().fold(Request::get(uri), |request, host| request.header("host", host));
            operations.answer(&request.body(()).unwrap()).status().as_u16()
        };
        for known in ["127.0.0.1:9090", "10.0.0.7", "[::1]:9090", "localhost:9090", "LocalHost", "Portcullis:9090"] {
            assert_eq!(status("/live", Some(known)), 200, "{known}");
            assert_eq!(status(&format!("http://{known}/live"), None), 200, "{known}");
        }
        for strange in
            ["evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example", "a@b", "", "1"]
        {
            assert_eq!(status("/live", Some(strange)), 421, "{strange}");
        }
        assert_eq!(status("http://localhost/live", Some("evil.example")), 421);
        assert_eq!(status("/live", None), 200, "a checker that speaks HTTP/1.0");
    }

    #[test]
    fn failing_dependencies_are_degraded_and_only_shutdown_is_not_ready() {
        let health: HealthReport = Arc::new(|| vec!["identity keycloak: unreachable".to_owned()]);
        let drain = Drain::default();
        let status = |path| answer(&Method::GET, path, &drain, &health).status().as_u16();
        assert_eq!((status("/live"), status("/ready"), status("/metrics")), (200, 200, 404));
        assert_eq!(answer(&Method::POST, "/ready", &drain, &health).status(), 405);
        drain.at_once();
        assert_eq!((status("/live"), status("/ready")), (200, 503));
    }
}
