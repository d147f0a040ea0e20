//! JSON responses: those that may be cached by anyone, and those that must not be stored.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::{HeaderValue, Response, StatusCode};

/// A public document that may be cached for `max_age` seconds.
pub(super) fn public(document: Bytes, max_age: u64) -> Response<Body> {
    let mut response = json(StatusCode::OK, document);
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={max_age}")) {
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}

/// A document that no cache may store (RFC 6749 5.1).
pub(super) fn no_store(status: StatusCode, document: Vec<u8>) -> Response<Body> {
    let mut response = json(status, document.into());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Success without a document (RFC 7009 2.2), which no cache may store.
pub(super) fn nothing() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn json(status: StatusCode, document: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(document));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
