//! The response to a call that is refused.

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Refusal;
use crate::config::{ResourceNames, Spelling, Upstream};
use crate::mcp::{ErrorCode, error_response};
use crate::oauth::challenge::{BearerError, Challenge};
use crate::wire::{Body, Cause, RETRY_SOON, RequestId, full};

/// What an answer needs to know of its request.
pub(in crate::gateway) struct Asked<'a> {
    pub(in crate::gateway) upstream: &'a Upstream,
    pub(in crate::gateway) names: &'a ResourceNames,
    /// How the client spelt the rest of the URL.
    pub(in crate::gateway) spelling: &'a Spelling<'a>,
    pub(in crate::gateway) request_id: &'a RequestId,
    /// The id of the message, when it was read.
    pub(in crate::gateway) message_id: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct ErrorData<'a> {
    request_id: &'a str,
}

impl Refusal {
    /// The response. Its cause, for the log, is among its extensions.
    pub(in crate::gateway) fn response(&self, asked: &Asked<'_>) -> Response<Body> {
        let status = self.status();
        let code = if status.is_server_error() { ErrorCode::Internal } else { ErrorCode::InvalidRequest };
        let message = self.message(asked.upstream, asked.names);
        let data = ErrorData { request_id: asked.request_id.as_str() };
        let mut response = Response::new(full(error_response(asked.message_id, code, &message, data)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge(asked) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some((name, value)) = self.advice() {
            headers.insert(name, value);
        }
        if let Some(cause) = self.cause(asked.upstream) {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }

    fn challenge(&self, asked: &Asked<'_>) -> Option<HeaderValue> {
        let error = match self {
            Self::NoToken => None,
            Self::InvalidToken(_) => Some((BearerError::InvalidToken, "the access token is not valid")),
            Self::InsufficientScope(_) => {
                Some((BearerError::InsufficientScope, "the access token lacks a required scope"))
            }
            _ => return None,
        };
        let scope = match self {
            Self::InsufficientScope(scopes) => &scopes.sufficient,
            _ => &asked.upstream.settings.scopes.required,
        };
        Some(Challenge { resource_metadata: &asked.spelling.metadata_url(asked.names), scope, error }.header())
    }

    /// The field that tells the client what to do next.
    fn advice(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Unavailable(_)
            | Self::Busy(_)
            | Self::ShuttingDownUnknown
            | Self::ShuttingDownUnsent
            | Self::TooManyCalls => Some((RETRY_AFTER, HeaderValue::from(RETRY_SOON))),
            Self::TooManyKeys(seconds) => Some((RETRY_AFTER, HeaderValue::from(*seconds))),
            Self::Method => Some((ALLOW, HeaderValue::from_static("GET, POST, DELETE"))),
            // the next request on this connection cannot be told from the body (request smuggling)
            Self::Malformed(_) | Self::SlowBody | Self::BrokenBody => {
                Some((CONNECTION, HeaderValue::from_static("close")))
            }
            _ => None,
        }
    }
}
