//! `POST /back-channel-logout/{identity}` (OpenID Connect Back-Channel Logout 1.0 2.5): an identity provider reports that a user
//! signed out there. 200 without a body, or 400 with an error document.
//!
//! It is for servers: a request from a page in a browser is refused, because any page could use up the limit of its visitors'
//! addresses.

use axum::body::Body;
use axum::extract::{Extension, State};
use http::header::ORIGIN;
use http::{Request, Response, StatusCode};

use super::browser::ProviderId;
use super::fault::{limited, oauth_error, retry_after, unavailable, with_cause};
use super::{Endpoints, json, token};
use crate::issuer::LogoutRefusal;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::wire::{Arrival, RETRY_SOON};

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    identity: ProviderId,
    request: Request<Body>,
) -> Response<Body> {
    let (mut head, _read) = request.into_parts();
    if head.headers.contains_key(ORIGIN) {
        return invalid("logout tokens do not come from pages in a browser: there is an Origin header");
    }
    let parameters = match token::form(&mut head) {
        Ok(parameters) => parameters,
        Err(response) => return *response,
    };
    let issuer = endpoints.issuer.clone();
    // a task of its own: Keycloak waits five seconds at most, and does not ask again
    let received = async move { issuer.back_channel_logout(&identity.0, &parameters, &arrival).await };
    match endpoints.issuer.complete(received).await {
        Ok(Ok(())) => json::nothing(),
        Ok(Err(LogoutRefusal::Invalid { told, why })) => with_cause(invalid(told), why),
        Ok(Err(LogoutRefusal::Limited(used_up))) => limited(&used_up),
        Ok(Err(LogoutRefusal::Failed(why))) => with_cause(failed(), why),
        Err(panicked) => unavailable(panicked.to_string()),
    }
}

fn invalid(told: &'static str) -> Response<Body> {
    oauth_error(StatusCode::BAD_REQUEST, &OAuthError::new(ErrorCode::InvalidRequest, told))
}

/// The specification (2.8) has this status for a logout that failed, too.
fn failed() -> Response<Body> {
    let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, "the logout failed: send it again");
    retry_after(oauth_error(StatusCode::BAD_REQUEST, &error), RETRY_SOON)
}
