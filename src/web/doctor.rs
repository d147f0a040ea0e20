//! What `portcullis doctor` asks a running process through the public URL: which of a request's header fields arrived, which
//! address it is counted under, and, by an answer in pieces, whether a proxy holds answers back.
//!
//! Defends against: reconnaissance. Without a pass, which only a holder of the root key can make, the path does not exist; with
//! one, the answer says what its sender sent.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde_json::json;

use super::discovery;
use crate::keys::DoctorPasses;
use crate::mcp::headers::SESSION_ID;
use crate::wire::{Arrival, DOCTOR_PASS, X_FORWARDED_FOR};

/// How many pieces follow the first, and the pause before each.
const PIECES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// As the answers of MCP servers have it: a proxy that obeys it does not buffer.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) async fn get(
    State(passes): State<DoctorPasses>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
) -> Response<Body> {
    let pass = headers.get(DOCTOR_PASS).and_then(|value| value.to_str().ok());
    if !pass.is_some_and(|pass| passes.accepts(pass)) {
        return discovery::nothing().await;
    }
    let first = Bytes::from(format!("data: {}\n\n", seen(&arrival, &headers)));
    let pieces = stream::unfold(0, move |sent| {
        let first = first.clone();
        async move {
            match sent {
                0 => Some((Ok::<_, std::convert::Infallible>(first), 1)),
                1..=PIECES => {
                    tokio::time::sleep(PAUSE).await;
                    Some((Ok(Bytes::from_static(b": one more\n\n")), sent + 1))
                }
                _ => None,
            }
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(SESSION_ID, HeaderValue::from_static("doctor"));
    response
}

fn seen(arrival: &Arrival, headers: &HeaderMap) -> serde_json::Value {
    let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    let forwarded: Vec<_> =
        headers.get_all(X_FORWARDED_FOR).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    json!({ "address": arrival.address.0, "forwarded_for": forwarded.join(", "), "headers": names })
}
