//! The response to a call that is refused.

use std::borrow::Cow;

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Refusal;
use crate::config::{ResourceNames, Spelling, Upstream};
use crate::delegation::Undelegated;
use crate::mcp::{ErrorCode, error_response};
use crate::oauth::challenge::{Challenge, TokenError};
use crate::wire::{Body, Cause, RETRY_SOON, RequestId, full};

/// What a response needs to know of its request.
pub(in crate::gateway) struct Asked<'a> {
    pub(in crate::gateway) upstream: &'a Upstream,
    pub(in crate::gateway) names: &'a ResourceNames,
    /// How the client spelt the rest of the URL.
    pub(in crate::gateway) spelling: &'a Spelling<'a>,
    pub(in crate::gateway) request_id: &'a RequestId,
    /// The id of the message, when it was read.
    pub(in crate::gateway) message_id: Option<&'a RawValue>,
    /// Whether the request uses the DPoP scheme, where that is on.
    pub(in crate::gateway) speaks_dpop: bool,
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
        for challenge in self.challenges(asked) {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        if let Some((name, value)) = self.advice() {
            headers.insert(name, value);
        }
        if let Some(cause) = self.cause(asked.upstream) {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }

    /// One challenge for each scheme that the client may use: DPoP alone for a client that uses it, and where no other scheme
    /// is accepted. Elsewhere Bearer comes first, for clients that read the first challenge alone.
    fn challenges(&self, asked: &Asked<'_>) -> Vec<HeaderValue> {
        let error = match self {
            Self::NoToken => None,
            Self::InvalidToken(_) | Self::Undelegated(Undelegated::SignInAgain(_)) => {
                Some((TokenError::InvalidToken, "the access token is not valid"))
            }
            Self::Unfit(fault, _) => Some((TokenError::InvalidToken, fault.description())),
            Self::InvalidProof(words) => Some((TokenError::InvalidDpopProof, *words)),
            Self::UseNonce => Some((TokenError::UseDpopNonce, "the DPoP proof must contain the nonce of DPoP-Nonce")),
            Self::InsufficientScope(_) => {
                Some((TokenError::InsufficientScope, "the access token lacks a required scope"))
            }
            _ => return Vec::new(),
        };
        let settings = &asked.upstream.settings;
        let scope = match self {
            Self::InsufficientScope(scopes) => Cow::Borrowed(&scopes.sufficient),
            _ => Cow::Owned(settings.accepts.scopes_to_ask(&settings.scopes.required)),
        };
        let resource_metadata = &asked.spelling.metadata_url(asked.names);
        let challenge = Challenge { resource_metadata, scope: &scope, error };
        let dpop = settings.dpop;
        if asked.speaks_dpop || dpop.is_required() {
            return vec![challenge.dpop()];
        }
        let other = dpop.is_on() && !matches!(self, Self::InsufficientScope(_));
        let dpop = other.then(|| Challenge { error: None, ..challenge.clone() }.dpop());
        std::iter::once(challenge.bearer()).chain(dpop).collect()
    }

    /// The field that tells the client what to do next.
    fn advice(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Unavailable(_)
            | Self::Undelegated(Undelegated::Unavailable(_))
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
