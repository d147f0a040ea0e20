//! Metadata and keys (RFC 8414, RFC 9728, RFC 7517): public, without a token and without a rate limit.

use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, Response, StatusCode, Uri};

use super::{Endpoints, json};
use crate::gateway::Gateway;
use crate::wire::plain;

/// How long clients may keep metadata, in seconds.
const METADATA_MAX_AGE: u64 = 300;

/// Protected resource metadata, at every path that the gateway knows it by.
pub(super) async fn resource(State(gateway): State<Gateway>, headers: HeaderMap, uri: Uri) -> Response<Body> {
    match gateway.resource_metadata(&uri, &headers) {
        Some(document) => json::public(document, METADATA_MAX_AGE),
        None => nothing().await,
    }
}

/// Authorization server metadata, under both names at the root.
pub(super) async fn server(State(endpoints): State<Endpoints>) -> Response<Body> {
    json::public(endpoints.issuer.documents().metadata(), METADATA_MAX_AGE)
}

/// Our public keys.
pub(super) async fn jwks(State(endpoints): State<Endpoints>) -> Response<Body> {
    let documents = endpoints.issuer.documents();
    json::public(documents.jwks(), documents.jwks_max_age())
}

/// Every other well-known path: a plain 404, after which clients try the root.
pub(super) async fn nothing() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, Body::from("No such metadata here.\n"))
}
