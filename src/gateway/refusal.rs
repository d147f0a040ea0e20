//! Our own answers on an upstream's path: JSON-RPC errors that say who refused and under which id the log has it.

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::authenticate::ENDED;
use super::body::{Body, full};
use super::lease::Over;
use crate::config::{ResourceNames, Spelling, Upstream};
use crate::oauth::challenge::{BearerError, Challenge};
use crate::telemetry::{Cause, RequestId};
use crate::upstream::{UpstreamError, status_words};
use crate::wire::RETRY_SOON;

/// JSON-RPC 2.0 5.1: the request was wrong.
const INVALID_REQUEST: i32 = -32600;
/// JSON-RPC 2.0 5.1: something failed; also for what lies behind us.
const INTERNAL_ERROR: i32 = -32603;

/// Why a request is not forwarded, or its answer not passed on.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Two framings, two tokens, a token in the query: it is ambiguous.
    Malformed(&'static str),
    /// No token came.
    NoToken,
    /// The token is malformed, expired, ended, or for another resource. The words are for the log.
    InvalidToken(&'static str),
    /// The token allows too little.
    InsufficientScope(String),
    /// The session does not exist, or is another user's: the client begins anew (MCP 2025-11-25, session management).
    UnknownSession,
    /// A browser of an origin that may not call.
    Origin,
    /// A host name that is none of ours. The words are for the log.
    Misdirected(String),
    /// A method that no MCP server has.
    Method,
    /// The user has more calls open than one may.
    TooManyCalls,
    /// What a call needs is in use by others. The words are for the log.
    Busy(&'static str),
    /// The body came too slowly.
    SlowBody,
    /// The body ended early.
    BrokenBody,
    /// We cannot know whether the token is good.
    Unavailable(String),
    /// The upstream cannot be reached, or broke off.
    BadGateway(String),
    /// The upstream refused *our* call with 401, 403 or 421. None of them reaches a client as it is: it would be taken for
    /// ours, and answered with another sign-in. VS Code answers a 403 without a challenge like a 401: it drops the scopes
    /// that it asked for, and when that does not help registers a new client and opens the browser, at every call
    /// (`extHostMcp.ts`, `_fetchWithAuthRetry`); other clients report an error, as they do for 502.
    ByUpstream(StatusCode),
    /// The upstream took too long.
    GatewayTimeout(String),
    /// The call reached `max_stream_age` while its body still arrived: nothing of it was sent on.
    AgedUnsent,
    /// We shut down before the upstream answered: whether it carried the call out is not known.
    ShuttingDownUnknown,
    /// We shut down before anything of the call was sent on.
    ShuttingDownUnsent,
}

impl From<UpstreamError> for Refusal {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::TimedOut(_) | UpstreamError::NotConnected(_) => Self::GatewayTimeout(error.to_string()),
            UpstreamError::RequestBody(_) => Self::BrokenBody,
            UpstreamError::SlowRequestBody => Self::SlowBody,
            UpstreamError::Unreachable(_)
            | UpstreamError::BrokeOff(_)
            | UpstreamError::Unreadable(_)
            | UpstreamError::Redirects { .. } => Self::BadGateway(error.to_string()),
        }
    }
}

impl From<Over> for Refusal {
    fn from(over: Over) -> Self {
        match over {
            Over::Ended => Self::InvalidToken(ENDED),
            Over::Aged => Self::GatewayTimeout("did not begin to answer within max_stream_age".to_owned()),
            Over::Draining => Self::ShuttingDownUnknown,
        }
    }
}

impl Refusal {
    /// A call that is over before anything of it was sent on: its body was still on its way.
    pub(super) const fn unsent(over: Over) -> Self {
        match over {
            Over::Ended => Self::InvalidToken(ENDED),
            Over::Aged => Self::AgedUnsent,
            Over::Draining => Self::ShuttingDownUnsent,
        }
    }
}

/// What an answer needs to know of its request.
pub(crate) struct Asked<'a> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) names: &'a ResourceNames,
    /// How the client spelt the rest of the URL.
    pub(crate) spelling: &'a Spelling<'a>,
    pub(crate) request_id: &'a RequestId,
    /// The id of the call, when its body was collected.
    pub(crate) id: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct ErrorResponse<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    code: i32,
    message: &'a str,
    data: ErrorData<'a>,
}

#[derive(Serialize)]
struct ErrorData<'a> {
    request_id: &'a str,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::BrokenBody => StatusCode::BAD_REQUEST,
            Self::NoToken | Self::InvalidToken(_) => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope(_) | Self::Origin => StatusCode::FORBIDDEN,
            Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyCalls => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_)
            | Self::Busy(_)
            | Self::AgedUnsent
            | Self::ShuttingDownUnknown
            | Self::ShuttingDownUnsent => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadGateway(_) | Self::ByUpstream(_) => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What was decided about the call, for the access line; `None` when it was permitted and something failed later.
    pub(super) const fn decision(&self) -> Option<&'static str> {
        match self {
            Self::Malformed(_) | Self::Method => Some("malformed"),
            Self::NoToken => Some("no_token"),
            Self::InvalidToken(_) => Some("invalid_token"),
            Self::InsufficientScope(_) => Some("insufficient_scope"),
            Self::UnknownSession => Some("unknown_session"),
            Self::Origin => Some("origin"),
            Self::Misdirected(_) => Some("misdirected"),
            Self::TooManyCalls => Some("too_many_calls"),
            Self::Busy(_) => Some("busy"),
            Self::Unavailable(_) => Some("unavailable"),
            Self::SlowBody
            | Self::BrokenBody
            | Self::BadGateway(_)
            | Self::ByUpstream(_)
            | Self::GatewayTimeout(_)
            | Self::AgedUnsent
            | Self::ShuttingDownUnknown
            | Self::ShuttingDownUnsent => None,
        }
    }

    /// Words for the reader of the client's log.
    fn message(&self, asked: &Asked<'_>) -> String {
        let name = &asked.upstream.settings.name;
        match self {
            Self::Misdirected(_) => {
                format!("this server is not known under the host name of the request: use {}", asked.names.resource)
            }
            Self::Malformed(what) => (*what).to_owned(),
            Self::NoToken => "authorization is required".to_owned(),
            Self::InvalidToken(_) => "the access token is not valid (any more)".to_owned(),
            Self::InsufficientScope(missing) => format!("the access token lacks: {missing}"),
            Self::UnknownSession => "session not found".to_owned(),
            Self::Origin => {
                "this origin may not call this server: its operator can add it to allowed_origins".to_owned()
            }
            Self::Method => "this method is not used by MCP".to_owned(),
            Self::TooManyCalls => "this user has too many calls open at once".to_owned(),
            Self::Busy(_) => "the gateway is busy: nothing of this call was sent on, it can be repeated".to_owned(),
            Self::SlowBody => "the request's body came too slowly".to_owned(),
            Self::BrokenBody => "the request's body ended early".to_owned(),
            Self::Unavailable(_) => "the gateway cannot check tokens at the moment".to_owned(),
            Self::BadGateway(_) => {
                format!("the MCP server behind the gateway ({name}) cannot be reached, or gave no proper answer")
            }
            Self::ByUpstream(StatusCode::UNAUTHORIZED) if !asked.upstream.settings.request_headers.added.is_empty() => {
                format!(
                    "the MCP server behind the gateway ({name}) refused the credential that is configured for it (401)"
                )
            }
            Self::ByUpstream(StatusCode::UNAUTHORIZED) => format!(
                "the MCP server behind the gateway ({name}) refused its call (401): its own authentication must be switched \
                 off"
            ),
            Self::ByUpstream(status) => {
                format!("the MCP server behind the gateway ({name}) refused this call ({})", status.as_u16())
            }
            Self::GatewayTimeout(_) => format!("the MCP server behind the gateway ({name}) took too long"),
            Self::AgedUnsent => {
                "the call reached the age limit of this gateway (max_stream_age) before its whole body had \
                                 come: nothing of it was sent on"
                    .to_owned()
            }
            Self::ShuttingDownUnsent => {
                "the gateway is shutting down: nothing of this call was sent on, it can be repeated".to_owned()
            }
            Self::ShuttingDownUnknown => format!(
                "the gateway is shutting down, and the MCP server ({name}) has not answered: whether the call was carried \
                 out is not known"
            ),
        }
    }

    /// Words for the operator's log.
    fn cause(&self, upstream: &Upstream) -> Option<String> {
        let id = &upstream.settings.id;
        match self {
            Self::InvalidToken(why) | Self::Malformed(why) | Self::Busy(why) => Some((*why).to_owned()),
            Self::InsufficientScope(missing) => Some(format!("the token lacks {missing}")),
            Self::Unavailable(why) | Self::Misdirected(why) => Some(why.clone()),
            Self::BadGateway(why) | Self::GatewayTimeout(why) => Some(format!("upstream {id} {why}")),
            Self::ByUpstream(StatusCode::UNAUTHORIZED) if !upstream.settings.request_headers.added.is_empty() => {
                Some(format!(
                    "upstream {id} answered 401: it refused what is configured for it in headers ({}): check these values",
                    configured_names(upstream)
                ))
            }
            Self::ByUpstream(status) => Some(format!("upstream {id} {}", status_words(*status))),
            Self::UnknownSession => Some("a session id that is not this caller's".to_owned()),
            Self::Origin => Some("an origin that is not allowed".to_owned()),
            Self::TooManyCalls => Some("this user has too many calls open at once".to_owned()),
            Self::AgedUnsent => Some("older than max_stream_age before the whole body had come".to_owned()),
            Self::ShuttingDownUnknown => Some(format!("shutting down before upstream {id} answered")),
            Self::ShuttingDownUnsent => Some("shutting down before the whole body had come".to_owned()),
            Self::NoToken | Self::Method | Self::SlowBody | Self::BrokenBody => None,
        }
    }

    fn challenge(&self, asked: &Asked<'_>) -> Option<HeaderValue> {
        let error = match self {
            Self::NoToken => None,
            Self::InvalidToken(_) => Some((BearerError::InvalidToken, "the access token is not valid")),
            Self::InsufficientScope(_) => Some((BearerError::InsufficientScope, "the access token allows too little")),
            _ => return None,
        };
        let scope = &asked.upstream.settings.scopes;
        Some(Challenge { resource_metadata: &asked.spelling.metadata_url(asked.names), scope, error }.header())
    }

    /// The answer.
    pub(crate) fn response(&self, asked: &Asked<'_>) -> Response<Body> {
        let status = self.status();
        let code = if status.is_server_error() { INTERNAL_ERROR } else { INVALID_REQUEST };
        let document = ErrorResponse {
            jsonrpc: "2.0",
            id: asked.id,
            error: ErrorObject {
                code,
                message: &self.message(asked),
                data: ErrorData { request_id: asked.request_id.as_str() },
            },
        };
        let mut response = Response::new(full(serde_json::to_vec(&document).unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge(asked) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        match self {
            Self::Unavailable(_)
            | Self::Busy(_)
            | Self::ShuttingDownUnknown
            | Self::ShuttingDownUnsent
            | Self::TooManyCalls => {
                drop(headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_SOON)));
            }
            Self::Method => {
                drop(headers.insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE")));
            }
            Self::Malformed(_) | Self::SlowBody | Self::BrokenBody => {
                // what follows on this connection cannot be told from the body
                drop(headers.insert(CONNECTION, HeaderValue::from_static("close")));
            }
            _ => {}
        }
        if let Some(cause) = self.cause(asked.upstream) {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }
}

/// The names, never the values.
fn configured_names(upstream: &Upstream) -> String {
    let names = upstream.settings.request_headers.added.iter().map(|added| added.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}
