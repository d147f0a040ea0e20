//! Small answers of our own, and what every answer may carry.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

/// `Retry-After`, in seconds, of an answer whose cause passes by itself.
pub(crate) const RETRY_SOON: u64 = 5;

/// Why an answer is what it is, for the one log line of its request: put into the extensions of a response.
#[derive(Debug, Clone)]
pub(crate) struct Cause(pub(crate) String);

/// A line of text. Browsers must not guess another type (`nosniff`), and no cache may keep it: a 404 or 405 is kept without a
/// word about it (RFC 9110 15.1), and may be wrong after the next start.
pub(crate) fn plain<B>(status: StatusCode, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
