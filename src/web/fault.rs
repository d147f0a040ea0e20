//! Refusals: JSON for programs, pages for people. The one map from a fault to its status and its text; the cause goes to the
//! log, under the request id that the page shows.

use axum::body::Body;
use axum::response::IntoResponse;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};

use super::body::BodyError;
use super::json;
use super::pages::{self, Branding, ErrorPage, Page, UnavailablePage, UnknownClientPage};
use crate::issuer::{Fault, Trouble};
use crate::limits::{Limit, Limited};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::wire::{Cause, RETRY_SOON, RequestId};

/// An error document (RFC 6749 5.2, RFC 7591 3.2.2).
pub(super) fn oauth_error(status: StatusCode, error: &OAuthError) -> Response<Body> {
    json::no_store(status, serde_json::to_vec(error).unwrap_or_default())
}

/// A temporary failure: 503, never `server_error`, after which clients would discard their tokens.
pub(super) fn unavailable(cause: String) -> Response<Body> {
    let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, "a required service is temporarily unavailable");
    let response = retry_after(oauth_error(StatusCode::SERVICE_UNAVAILABLE, &error), RETRY_SOON);
    with_cause(response, cause)
}

/// A method that an endpoint for programs does not support. `Allow`, which the router adds, lists those that it does.
pub(super) async fn method_not_allowed() -> Response<Body> {
    let error =
        OAuthError::new(ErrorCode::InvalidRequest, "this endpoint does not have the request's method: see Allow");
    oauth_error(StatusCode::METHOD_NOT_ALLOWED, &error)
}

/// An exceeded rate limit, for a program.
pub(super) fn limited(limited: &Limited) -> Response<Body> {
    let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, limited.limit.advice());
    too_many(oauth_error(StatusCode::TOO_MANY_REQUESTS, &error), limited)
}

/// Turns a document or a page into the response to an exceeded rate limit: 429, and when to retry (RFC 6585 4).
pub(super) fn too_many(mut response: Response<Body>, limited: &Limited) -> Response<Body> {
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    with_cause(retry_after(response, limited.retry_after), limited.to_string())
}

/// A body that could not be read; `otherwise` is the endpoint's own code for a client's fault.
pub(super) fn unread(error: BodyError, otherwise: ErrorCode) -> Response<Body> {
    let status = error.status();
    let response = oauth_error(status, &OAuthError::new(error.code(otherwise), error.message()));
    let response = if status == StatusCode::SERVICE_UNAVAILABLE { retry_after(response, RETRY_SOON) } else { response };
    match error.cause() {
        Some(cause) => with_cause(response, cause.to_owned()),
        None => response,
    }
}

/// The page of an overloaded server.
pub(super) fn busy_page(branding: &Branding) -> Response<Body> {
    retry_after((StatusCode::SERVICE_UNAVAILABLE, pages::busy(branding)).into_response(), RETRY_SOON)
}

/// With the number of seconds to wait.
pub(super) fn retry_after(mut response: Response<Body>, seconds: u64) -> Response<Body> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

/// With the reason for the log.
pub(super) fn with_cause(mut response: Response<Body>, cause: String) -> Response<Body> {
    response.extensions_mut().insert(Cause(cause));
    response
}

/// A page that ends a sign-in.
pub(super) fn page(branding: &Branding, fault: Fault, request_id: &RequestId) -> Response<Body> {
    let status = match fault.trouble {
        Trouble::UnknownClient { .. }
        | Trouble::ClientDocument
        | Trouble::RedirectUri
        | Trouble::Request(_)
        | Trouble::NotOurs
        | Trouble::DeviceCode
        | Trouble::Expired => StatusCode::BAD_REQUEST,
        Trouble::ClientDisabled | Trouble::OtherBrowser => StatusCode::FORBIDDEN,
        Trouble::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
        Trouble::ProviderUnavailable { .. } | Trouble::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = (status, document(branding, &fault.trouble, request_id)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response = retry_after(response, RETRY_SOON);
    }
    if let Trouble::Limited(limited) = &fault.trouble {
        return too_many(response, limited);
    }
    with_cause(response, fault.detail)
}

/// The page's text. The operator's text is in the log, under the request id that the page shows.
fn document(branding: &Branding, trouble: &Trouble, request_id: &RequestId) -> Page {
    let (title, happened, hint) = match trouble {
        Trouble::UnknownClient { client_id, redirect_uri } => {
            let redirect_uri = redirect_uri.as_deref();
            return pages::unknown_client(&UnknownClientPage { branding, client_id, redirect_uri, request_id });
        }
        Trouble::ProviderUnavailable { provider } => {
            return pages::unavailable(&UnavailablePage { branding, identity_name: provider, request_id });
        }
        Trouble::ClientDocument => (
            "This application cannot be identified",
            "It names a web address that describes it. That address does not answer, holds no valid description, or is not \
             allowed here.",
            "Connect from the application again in a minute. If that does not help, tell the people who run this server: \
             their log says what is wrong.",
        ),
        Trouble::ClientDisabled => (
            "This application is not allowed here",
            "The operator of this server has disabled it.",
            "Use another application, or ask the operator why.",
        ),
        Trouble::RedirectUri => (
            "Access cannot be sent to this application",
            "Its address is missing, not registered, or no longer allowed.",
            "Remove the server from the application and add it again, so that it registers again.",
        ),
        Trouble::Request(_) => (
            "The application sent an invalid request",
            "Its request to sign you in does not follow the protocol.",
            "Try again from the application. If that does not help, send its developer the details below.",
        ),
        Trouble::OtherBrowser => (
            "This sign-in belongs to another browser",
            "It was started in another browser, or this browser did not keep our cookies.",
            "Connect from the application again, stay in one browser, and allow cookies for this site.",
        ),
        Trouble::NotOurs => (
            "This request does not belong to a sign-in",
            "It was not made by this site for this sign-in.",
            "If you followed a link that you were sent, close this window. Otherwise connect from the application again.",
        ),
        Trouble::Expired => (
            "This sign-in is over",
            "It took too long, was already finished, or was revoked.",
            "Connect from the application again.",
        ),
        Trouble::DeviceCode => (
            "This code is no longer good",
            "It was answered before, or it has expired.",
            "If the device still waits, start again there: it then shows a new code.",
        ),
        Trouble::Limited(limited) => too_often(limited.limit),
        Trouble::Unavailable => (
            "Signing in is not possible at the moment",
            "A part of this service does not answer. Nothing is lost.",
            "Connect from the application again in a minute. If that does not help, tell your operator.",
        ),
    };
    let for_developer = for_developer(trouble);
    pages::error(&ErrorPage { branding, title, happened, hint, for_developer: for_developer.as_deref(), request_id })
}

/// The text for an exceeded rate limit: title, what happened, hint.
const fn too_often(limit: Limit) -> (&'static str, &'static str, &'static str) {
    match limit {
        Limit::UserCodesPerForm | Limit::UserCodesPerAddress | Limit::UserCodes => (
            "Too many codes were typed",
            "More codes were typed than is usual.",
            "Wait a few minutes, then start again on the device: it then shows a new code.",
        ),
        _ => (
            "Too many sign-ins from your network",
            "More sign-ins were started from your address than is usual.",
            "Wait a few minutes, then connect from the application again.",
        ),
    }
}

/// The RFC's code and description, for programs that read our pages: `Open WebUI` asks `/authorize` before it sends a user
/// there, and registers again when the answer speaks of `invalid_client` or `redirect_uri`, and only then.
fn for_developer(trouble: &Trouble) -> Option<String> {
    let error = match trouble {
        Trouble::Request(error) => return Some(error.to_string()),
        Trouble::ClientDisabled => OAuthError::new(ErrorCode::UnauthorizedClient, "the operator disabled this client"),
        Trouble::RedirectUri => {
            OAuthError::new(ErrorCode::InvalidRequest, "redirect_uri is not registered for this client")
        }
        Trouble::ClientDocument => {
            OAuthError::new(ErrorCode::InvalidClient, "the metadata document of this client_id cannot be used here")
        }
        Trouble::Limited(_) | Trouble::Unavailable => {
            OAuthError::new(ErrorCode::TemporarilyUnavailable, "temporary failure: try again in a minute")
        }
        // the first two have pages of their own, and no request of a client leads to the others
        Trouble::UnknownClient { .. }
        | Trouble::ProviderUnavailable { .. }
        | Trouble::OtherBrowser
        | Trouble::NotOurs
        | Trouble::DeviceCode
        | Trouble::Expired => return None,
    };
    Some(error.to_string())
}
