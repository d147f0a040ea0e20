//! Metadata and keys (RFC 8414, RFC 9728, RFC 7517): never a token asked, never a limit, whatever headers come.

use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, Response, StatusCode, Uri};

use super::Endpoints;
use super::json::json_public;
use crate::wire::plain;

/// How long clients may keep metadata, in seconds.
const METADATA_MAX_AGE: u64 = 300;

/// Protected resource metadata, at every path that the gateway knows it by.
pub(super) async fn resource(State(endpoints): State<Endpoints>, headers: HeaderMap, uri: Uri) -> Response<Body> {
    match endpoints.gateway.resource_metadata(&uri, &headers) {
        Some(document) => json_public(document, METADATA_MAX_AGE),
        None => nothing().await,
    }
}

/// Authorization server metadata, under both names at the root.
pub(super) async fn server(State(endpoints): State<Endpoints>) -> Response<Body> {
    json_public(endpoints.issuer.metadata(), METADATA_MAX_AGE)
}

/// Our public keys.
pub(super) async fn jwks(State(endpoints): State<Endpoints>) -> Response<Body> {
    let (document, max_age) = endpoints.issuer.jwks();
    json_public(document, max_age)
}

/// Every other well-known path: a clean 404, after which clients go on to the root.
pub(super) async fn nothing() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, Body::from("No such metadata here.\n"))
}
