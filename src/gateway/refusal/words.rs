//! The texts of a refusal: for the client, and for the operator.

use http::StatusCode;

use super::Refusal;
use crate::config::{ResourceNames, Upstream};
use crate::delegation::Undelegated;
use crate::upstream::status_words;

impl Refusal {
    /// The text for the reader of the client's log.
    pub(super) fn message(&self, upstream: &Upstream, names: &ResourceNames) -> String {
        let name = &upstream.settings.name;
        match self {
            Self::Misdirected(_) => {
                format!("this server is not known under the host name of the request: use {}", names.resource)
            }
            Self::Malformed(what) => (*what).to_owned(),
            Self::NoToken => "authorization is required".to_owned(),
            Self::InvalidToken(_) => "the access token is invalid or has expired".to_owned(),
            Self::Unfit(fault, _) => fault.description().to_owned(),
            Self::InvalidProof(words) => (*words).to_owned(),
            Self::UseNonce => "the DPoP proof must contain the nonce of the header DPoP-Nonce".to_owned(),
            Self::InsufficientScope(scopes) => format!("the access token lacks: {}", scopes.missing),
            Self::NotAdmitted(not_admitted) => match &not_admitted.ask {
                Some(ask) => format!("this user may not use this server. For access ask {ask}"),
                None => "this user may not use this server: its operator decides who may".to_owned(),
            },
            Self::UnknownSession => "session not found".to_owned(),
            Self::Origin => {
                "this origin may not call this server: its operator can add it to allowed_origins".to_owned()
            }
            Self::Method => "this method is not used by MCP".to_owned(),
            Self::TooManyCalls => "this user has too many calls open at once".to_owned(),
            Self::TooManyKeys(_) => {
                "too many API keys or tokens were tried from this address: wait, then try again".to_owned()
            }
            Self::Busy(_) => "the gateway is busy; the call was not forwarded and can be retried".to_owned(),
            Self::SlowBody => "the request body arrived too slowly".to_owned(),
            Self::BrokenBody => "the request body ended early".to_owned(),
            Self::Unavailable(_) => "the gateway cannot check tokens at the moment".to_owned(),
            Self::Undelegated(why) => undelegated(why, name),
            Self::BadGateway(_) => {
                format!("the MCP server behind the gateway ({name}) cannot be reached, or sent an invalid response")
            }
            Self::ByUpstream(StatusCode::UNAUTHORIZED) if sends_credentials(upstream) => {
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
                "the call reached max_stream_age before its body was complete; it was not forwarded".to_owned()
            }
            Self::ShuttingDownUnsent => {
                "the gateway is shutting down; the call was not forwarded and can be retried".to_owned()
            }
            Self::ShuttingDownUnknown => format!(
                "the gateway is shutting down before the MCP server ({name}) has answered; the call may or may not have been \
                 carried out"
            ),
        }
    }

    /// The text for the operator's log.
    pub(super) fn cause(&self, upstream: &Upstream) -> Option<String> {
        let id = &upstream.settings.id;
        match self {
            Self::InvalidToken(why)
            | Self::Unfit(_, why)
            | Self::InvalidProof(why)
            | Self::Malformed(why)
            | Self::Busy(why) => Some((*why).to_owned()),
            Self::InsufficientScope(scopes) => Some(format!("the token lacks {}", scopes.missing)),
            Self::NotAdmitted(not_admitted) => Some(format!("the user is not admitted by {}", not_admitted.rule)),
            Self::Unavailable(why) | Self::Misdirected(why) => Some(why.clone()),
            Self::Undelegated(why) => Some(format!("no credential for upstream {id}: {why}")),
            Self::BadGateway(why) | Self::GatewayTimeout(why) => Some(format!("upstream {id} {why}")),
            Self::ByUpstream(StatusCode::UNAUTHORIZED) if upstream.settings.credential.is_some() => Some(format!(
                "upstream {id} answered 401: it refused what `delegation` gives it: check there which issuer, audience and keys it \
                 expects"
            )),
            Self::ByUpstream(StatusCode::UNAUTHORIZED) if sends_credentials(upstream) => Some(format!(
                "upstream {id} answered 401: it refused what is configured for it in headers ({}): check these values",
                configured_names(upstream)
            )),
            Self::ByUpstream(status) => Some(format!("upstream {id} {}", status_words(*status))),
            Self::UnknownSession => Some("a session id that did not verify for this caller".to_owned()),
            Self::Origin => Some("an origin that is not allowed".to_owned()),
            Self::TooManyCalls => Some("this user has too many calls open at once".to_owned()),
            Self::TooManyKeys(_) => {
                Some("too many API keys or opaque tokens were looked up for this address".to_owned())
            }
            Self::AgedUnsent => Some("it reached max_stream_age before its body was complete".to_owned()),
            Self::ShuttingDownUnknown => Some(format!("shutting down before upstream {id} answered")),
            Self::ShuttingDownUnsent => Some("shutting down before the body was complete".to_owned()),
            Self::NoToken | Self::UseNonce | Self::Method | Self::SlowBody | Self::BrokenBody => None,
        }
    }
}

/// The text for the client when there is no credential for the server behind.
fn undelegated(why: &Undelegated, name: &str) -> String {
    match why {
        Undelegated::NotSignedIn(_) => format!(
            "the MCP server behind the gateway ({name}) can be called only by users who signed in with its identity provider"
        ),
        Undelegated::SignInAgain(_) => "the identity provider wants the user to sign in again".to_owned(),
        Undelegated::Refused(_) => format!(
            "the identity provider refuses to issue this user's token for the MCP server behind the gateway ({name}): its \
             operator finds the reason in the log"
        ),
        Undelegated::Unavailable(_) => format!(
            "the user's token for the MCP server behind the gateway ({name}) cannot be had at the moment; the call was not \
             forwarded and can be retried"
        ),
    }
}

/// Whether the operator configured a credential for it.
fn sends_credentials(upstream: &Upstream) -> bool {
    upstream.settings.credential.is_some() || !upstream.settings.request_headers.added.is_empty()
}

/// The names of the configured fields, never their values: those are secrets.
fn configured_names(upstream: &Upstream) -> String {
    let names = upstream.settings.request_headers.added.iter().map(|added| added.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}
