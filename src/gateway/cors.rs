//! Which web pages may call an upstream (MCP: validate `Origin`), and what they may read.
//!
//! Defends against: DNS rebinding, and calls from a page that the operator does not know.

use http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use url::Url;

use super::refusal::Refusal;
use crate::config::Config;
use crate::mcp::headers;
use crate::oauth::dpop::PROOF;
use crate::oauth::redirect_uri::is_loopback;
use crate::wire::{Body, full};

/// What a page may send.
const ALLOWED_HEADERS: [HeaderName; 9] = [
    AUTHORIZATION,
    PROOF,
    CONTENT_TYPE,
    ACCEPT,
    headers::PROTOCOL_VERSION,
    headers::SESSION_ID,
    headers::LAST_EVENT_ID,
    headers::METHOD,
    headers::NAME,
];

/// The rule for upstream paths.
pub(super) struct Cors {
    /// The origin of our own pages. Another loopback name is another origin: another program may listen there.
    own: String,
    allowed: Vec<String>,
    any: bool,
    loopback: bool,
}

impl Cors {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            own: config.public_url.as_str().to_owned(),
            any: config.server.allowed_origins.iter().any(|origin| origin == "*"),
            allowed: config.server.allowed_origins.clone(),
            loopback: config.server.loopback_origins,
        }
    }

    /// Checks the request's origin: `None` when it has none, so it does not come from a web page.
    ///
    /// # Errors
    /// When a page of that origin may not call.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(None) };
        let allowed = origins.next().is_none() && origin.to_str().is_ok_and(|text| self.allows(text));
        if allowed { Ok(Some(origin.clone())) } else { Err(Refusal::Origin) }
    }

    fn allows(&self, origin: &str) -> bool {
        origin == self.own
            || self.any
            || self.allowed.iter().any(|allowed| allowed == origin)
            || (self.loopback
                && Url::parse(origin).is_ok_and(|url| {
                    matches!(url.scheme(), "http" | "https") && is_loopback(&url) && url.path() == "/"
                }))
    }

    /// Whether this is a preflight, which never carries a token.
    pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Answers a preflight.
    pub(super) fn preflight(request: &HeaderMap) -> Response<Body> {
        let mut response = Response::new(full(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let asked = request.get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|value| value.to_str().ok()).unwrap_or("");
        let parameters = asked.split(',').map(str::trim).filter(|name| headers::is_parameter(name));
        let names = ALLOWED_HEADERS.iter().map(HeaderName::as_str).chain(parameters).collect::<Vec<_>>().join(", ");
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE, OPTIONS"));
        if let Ok(value) = HeaderValue::try_from(names) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, value);
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        response
    }

    /// Lets a page of this origin read the answer.
    pub(super) fn expose(headers: &mut HeaderMap, origin: HeaderValue) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("www-authenticate, dpop-nonce, mcp-session-id, x-request-id");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}
