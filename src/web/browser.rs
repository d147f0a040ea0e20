//! What all endpoints for browsers share: whose form it is, and how a browser is sent on.

use axum::body::Body;
use axum::response::IntoResponse;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::pages;
use crate::config::PublicUrl;
use crate::issuer::{ClientRedirect, Outcome};
use crate::oauth::redirect_uri::RedirectClass;
use crate::telemetry::RequestId;

/// Whether a form was posted from one of our own pages, as far as the browser says. Browsers that say nothing are believed:
/// the cookie and the sealed form must agree anyway.
pub(super) fn is_same_origin(headers: &HeaderMap, url: &PublicUrl) -> bool {
    let says =
        |name: &str, wanted: &str| headers.get_all(name).iter().all(|value| value.as_bytes() == wanted.as_bytes());
    says("sec-fetch-site", "same-origin") && says("origin", url.as_str())
}

/// Sends the browser on with GET, whatever it came with (RFC 9110 15.4.4).
pub(super) fn see_other(location: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(mut value) = HeaderValue::try_from(location) {
        value.set_sensitive(true);
        response.headers_mut().insert(LOCATION, value);
    }
    response.headers_mut().extend(pages::headers());
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// Sends the browser to the client: by itself to web servers, through a small page to applications.
pub(super) fn to_client(redirect: &ClientRedirect) -> Response<Body> {
    match redirect.redirect_uri.class() {
        RedirectClass::Https | RedirectClass::Loopback => see_other(&redirect.location),
        RedirectClass::ListedApplication | RedirectClass::Application => {
            let page = pages::ReturnPage {
                client: (&redirect.client).into(),
                redirect_uri: &redirect.redirect_uri,
                location: &redirect.location,
                outcome: match redirect.outcome {
                    Outcome::SignedIn => pages::Outcome::SignedIn,
                    Outcome::Denied => pages::Outcome::Denied,
                    Outcome::Failed => pages::Outcome::Failed,
                },
            };
            pages::return_to_application(&page).into_response()
        }
    }
}

/// Says that a form or an answer came before, with the way on for whoever may finish.
pub(super) fn answered_before(finish: Option<&ClientRedirect>, request_id: &RequestId) -> Response<Body> {
    let finish = finish.map(|redirect| redirect.location.as_str());
    pages::already_answered(&pages::AlreadyAnsweredPage { finish, request_id }).into_response()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::is_same_origin;
    use crate::config::PublicUrl;

    #[test]
    fn a_form_from_elsewhere_is_recognised_by_either_header() {
        let url = PublicUrl::parse("https://mcp.example.com").unwrap();
        let is = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
            is_same_origin(&pairs.collect::<HeaderMap>(), &url)
        };
        assert!(is(&[]));
        assert!(is(&[("sec-fetch-site", "same-origin"), ("origin", "https://mcp.example.com")]));
        assert!(is(&[("origin", "https://mcp.example.com")]));
        assert!(!is(&[("origin", "null")]));
        assert!(!is(&[("origin", "https://evil.example")]));
        assert!(!is(&[("sec-fetch-site", "cross-site")]));
        assert!(!is(&[("sec-fetch-site", "same-site"), ("origin", "https://mcp.example.com")]));
        assert!(!is(&[("sec-fetch-site", "none")]));
    }
}
