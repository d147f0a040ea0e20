//! Why a call is refused. Our own responses on an upstream's path are JSON-RPC errors that say who refused, and the id under
//! which the log has the reason. `words.rs` has the texts, `answer.rs` the response.

mod answer;
mod words;

use http::StatusCode;

pub(super) use answer::Asked;

use crate::delegation::Undelegated;
use crate::model::caller::NotAdmitted;
use crate::policy::{Denial, MissingScopes};
use crate::upstream::UpstreamError;

/// The log's text for a token whose grant has ended.
pub(super) const ENDED: &str = "the token's grant has ended";
/// Why a token of another issuer is refused in the middle of a call. The words are for the log.
pub(super) const TOKEN_ENDED: &str = "the token of another issuer has ended";
/// See [`crate::keys::KeyWatch`].
pub(super) const KEY_WITHDRAWN: &str = "the token's signing key was withdrawn";

/// Why a request is not forwarded, or its response not returned.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It can be read in two ways (two framings, two tokens), or carries its token in the query.
    Malformed(&'static str),
    /// No token came.
    NoToken,
    /// The token is malformed, expired, ended, or for another resource. The text is for the log.
    InvalidToken(&'static str),
    /// The token is one of another issuer, or pretends to be, and not good: the class for the client, words for the log.
    Unfit(TokenFault, &'static str),
    /// The DPoP proof is missing or wrong, and why (RFC 9449 7.1).
    InvalidProof(&'static str),
    /// The DPoP proof needs a nonce of ours (RFC 9449 9).
    UseNonce,
    /// The token allows too little.
    InsufficientScope(MissingScopes),
    /// A rule keeps the user out. There is no challenge: no sign-in would change that, and clients begin one wherever a 403 has a
    /// challenge (the official Rust client), or as soon as it names a scope.
    NotAdmitted(Box<NotAdmitted>),
    /// The session does not exist, or is another user's (session hijacking). The client starts a new session (MCP
    /// 2025-11-25, session management).
    UnknownSession,
    /// A browser of an origin that may not call.
    Origin,
    /// A host name that is not ours (DNS rebinding). The text is for the log.
    Misdirected(String),
    /// A method that no MCP server has.
    Method,
    /// The user has too many open calls.
    TooManyCalls,
    /// Too many API keys were looked up for this address; seconds to wait.
    TooManyKeys(u64),
    /// A resource that the call needs is used up. The text is for the log.
    Busy(&'static str),
    /// The body came too slowly.
    SlowBody,
    /// The body ended early.
    BrokenBody,
    /// Whether the token is valid cannot be determined now.
    Unavailable(String),
    /// The upstream cannot be reached, or closed the connection early.
    BadGateway(String),
    /// The upstream refused *our* call with 401, 403 or 421. No client sees that status: it would take it for ours, and start
    /// another sign-in. VS Code treats a 403 without a challenge like a 401: it drops the scopes that it asked for, then
    /// registers a new client and opens the browser, at every call (`extHostMcp.ts`, `_fetchWithAuthRetry`). Other clients
    /// report an error, as they do for 502.
    ByUpstream(StatusCode),
    /// The upstream is to get a credential of the user's, and there is none.
    Undelegated(Undelegated),
    /// The upstream took too long.
    GatewayTimeout(String),
    /// The call reached `max_stream_age` while its body still arrived: nothing of it was sent on.
    AgedUnsent,
    /// We shut down before the upstream answered: whether it carried the call out is not known.
    ShuttingDownUnknown,
    /// We shut down before anything of the call was sent on.
    ShuttingDownUnsent,
}

/// What is wrong with a token of another issuer, as far as its client needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenFault {
    /// Its issuer is not accepted here.
    Issuer,
    /// It is for another server.
    Audience,
    /// It is no access token.
    Kind,
    /// It has expired or ended, or is not good yet.
    Time,
    /// Anything else.
    Other,
}

impl TokenFault {
    /// What the client is told (`error_description`).
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Issuer => "this server does not accept access tokens of that issuer",
            Self::Audience => "the access token is for another audience",
            Self::Kind => "this is not an access token for this server",
            Self::Time => "the access token has expired, or is not active",
            Self::Other => "the access token is not valid",
        }
    }
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

impl From<Undelegated> for Refusal {
    fn from(why: Undelegated) -> Self {
        Self::Undelegated(why)
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Scopes(missing) => Self::InsufficientScope(missing),
            Denial::NotAdmitted(not_admitted) => Self::NotAdmitted(not_admitted),
        }
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::BrokenBody => StatusCode::BAD_REQUEST,
            Self::NoToken
            | Self::InvalidToken(_)
            | Self::Unfit(..)
            | Self::InvalidProof(_)
            | Self::UseNonce
            | Self::Undelegated(Undelegated::SignInAgain(_)) => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope(_) | Self::NotAdmitted(_) | Self::Origin => StatusCode::FORBIDDEN,
            Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyCalls | Self::TooManyKeys(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_)
            | Self::Undelegated(Undelegated::Unavailable(_))
            | Self::Busy(_)
            | Self::AgedUnsent
            | Self::ShuttingDownUnknown
            | Self::ShuttingDownUnsent => StatusCode::SERVICE_UNAVAILABLE,
            // no 403: see `ByUpstream`
            Self::BadGateway(_)
            | Self::ByUpstream(_)
            | Self::Undelegated(Undelegated::Refused(_) | Undelegated::NotSignedIn(_)) => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The decision about the call, for the access log; `None` when it was permitted and something failed later.
    pub(super) const fn decision(&self) -> Option<&'static str> {
        match self {
            Self::Malformed(_) | Self::Method => Some("malformed"),
            Self::NoToken => Some("no_token"),
            Self::InvalidToken(_) | Self::Unfit(..) => Some("invalid_token"),
            Self::InvalidProof(_) => Some("invalid_dpop_proof"),
            Self::UseNonce => Some("use_dpop_nonce"),
            Self::InsufficientScope(_) => Some("insufficient_scope"),
            Self::NotAdmitted(_) => Some("not_admitted"),
            Self::Undelegated(Undelegated::NotSignedIn(_)) => Some("no_provider_token"),
            Self::Undelegated(Undelegated::SignInAgain(_)) => Some("sign_in_again"),
            Self::UnknownSession => Some("unknown_session"),
            Self::Origin => Some("origin"),
            Self::Misdirected(_) => Some("misdirected"),
            Self::TooManyCalls => Some("too_many_calls"),
            Self::TooManyKeys(_) => Some("too_many_keys"),
            Self::Busy(_) => Some("busy"),
            Self::Unavailable(_) => Some("unavailable"),
            Self::SlowBody
            | Self::BrokenBody
            | Self::BadGateway(_)
            | Self::ByUpstream(_)
            | Self::Undelegated(_)
            | Self::GatewayTimeout(_)
            | Self::AgedUnsent
            | Self::ShuttingDownUnknown
            | Self::ShuttingDownUnsent => None,
        }
    }
}
