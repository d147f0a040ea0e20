//! Metadata and keys (RFC 8414, RFC 9728, RFC 7517): never a token asked, never a limit, whatever headers come.

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};

use super::{Endpoints, plain};

/// How long clients may keep metadata, in seconds.
const METADATA_MAX_AGE: u64 = 300;

/// Protected resource metadata, at every path that the gateway knows it by.
pub(super) async fn resource(State(endpoints): State<Endpoints>, headers: HeaderMap, uri: Uri) -> Response<Body> {
    match endpoints.gateway.resource_metadata(&uri, &headers) {
        Some(document) => json(document, METADATA_MAX_AGE),
        None => nothing().await,
    }
}

/// Authorization server metadata, under both names at the root.
pub(super) async fn server(State(endpoints): State<Endpoints>) -> Response<Body> {
    json(endpoints.issuer.metadata(), METADATA_MAX_AGE)
}

/// Our public keys.
pub(super) async fn jwks(State(endpoints): State<Endpoints>) -> Response<Body> {
    let (document, max_age) = endpoints.issuer.jwks();
    json(document, max_age)
}

/// Every other well-known path: a clean 404, after which clients go on to the root.
pub(super) async fn nothing() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "No such metadata here.\n")
}

fn json(document: Bytes, max_age: u64) -> Response<Body> {
    let mut response = Response::new(Body::from(document));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={max_age}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    response
}
