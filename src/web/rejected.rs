//! The answer to a request that is rejected on arrival, at any path but an upstream's: a page at browsers' paths, JSON at
//! programs' paths, a line of text where either may call (request smuggling, DNS rebinding, overload).

use axum::body::Body;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::fault;
use super::visitors::Visitors;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::paths;
use crate::wire::{Rejection, accept, plain};

/// The answer. `public_url` is our own URL, which an answer to a wrong host names.
pub(super) fn answer(head: &Parts, rejection: &Rejection, visitors: &Visitors, public_url: &str) -> Response<Body> {
    let path = head.uri.path();
    match rejection {
        Rejection::AmbiguousFraming(why) => fault::with_cause(ambiguous(path, why), (*why).to_owned()),
        Rejection::TooManyFields(most) => {
            plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Body::from(format!("More than {most} header fields.\n")))
        }
        Rejection::NoSingleHost => plain(StatusCode::BAD_REQUEST, Body::from("The request must name one host.\n")),
        Rejection::WrongHost(cause) => fault::with_cause(misdirected(&head.headers, public_url), cause.clone()),
        Rejection::Busy(why) => fault::with_cause(busy(path, why, visitors), (*why).to_owned()),
    }
}

/// A body with ambiguous framing (request smuggling): the connection is closed too. No browser sends one, so the answer at a
/// page's path is a line of text.
fn ambiguous(path: &str, why: &'static str) -> Response<Body> {
    let mut response = if paths::is_page(path) {
        plain(StatusCode::BAD_REQUEST, Body::from("The end of the request body is ambiguous.\n"))
    } else {
        any_origin(fault::oauth_error(StatusCode::BAD_REQUEST, &OAuthError::new(ErrorCode::InvalidRequest, why)))
    };
    // the next request on this connection cannot be told from the body
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn busy(path: &str, why: &'static str, visitors: &Visitors) -> Response<Body> {
    if paths::is_page(path) { visitors.busy(Body::from) } else { any_origin(fault::unavailable(why.to_owned())) }
}

/// Lets pages of any origin read the answer, as at every endpoint for programs.
fn any_origin(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn misdirected(headers: &HeaderMap, public_url: &str) -> Response<Body> {
    if wants_json(headers) {
        let words = format!("this host name is not one of ours: use {public_url}");
        let error = OAuthError::new(ErrorCode::InvalidRequest, words);
        let json = Body::from(serde_json::to_vec(&error).unwrap_or_default());
        let mut response = plain(StatusCode::MISDIRECTED_REQUEST, json);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return response;
    }
    let text = format!(
        "This host name is not one of ours: use {public_url}. A proxy in front must pass the Host header on; add other names \
         to allowed_hosts.\n"
    );
    plain(StatusCode::MISDIRECTED_REQUEST, Body::from(text))
}

/// Whether the request is a program's rather than a browser's: it names JSON and prefers it to HTML.
fn wants_json(headers: &HeaderMap) -> bool {
    accept::weight_of("application/json", headers) > accept::weight_of("text/html", headers)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::ACCEPT;

    use super::wants_json;

    #[test]
    fn a_program_is_told_apart_from_a_browser_by_accept() {
        let wants = |accept: &str| wants_json(&HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]));
        assert!(wants("application/json") && wants("text/plain, Application/JSON;q=0.9, */*"));
        assert!(wants("text/html;q=0.5, application/json"), "HTML is its second choice");
        assert!(!wants("text/html,application/xhtml+xml,application/json;q=0.9") && !wants("*/*") && !wants(""));
        assert!(!wants("application/json;q=0") && !wants("application/json, text/html"));
    }
}
