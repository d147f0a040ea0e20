//! `POST /register` (RFC 7591 3). A request with an `Origin` comes from a web page and has a rate limit of its own.

use axum::body::Body;
use axum::extract::{Extension, State};
use http::header::{AUTHORIZATION, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};

use super::fault::{limited, oauth_error, unavailable, unread, with_cause};
use super::{Endpoints, body, json};
use crate::issuer::{RegistrationAttempt, RegistrationRefusal, Via};
use crate::oauth::client_metadata::RegistrationResponse;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::secret::SecretText;
use crate::wire::{Arrival, is_media_type};

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    mut request: Request<Body>,
) -> Response<Body> {
    let bytes = match metadata(&mut request) {
        Ok(bytes) => bytes,
        Err(response) => return *response,
    };
    let via = if request.headers().contains_key(ORIGIN) { Via::Browser } else { Via::Program };
    let attempt = RegistrationAttempt { body: &bytes, token: bearer(request.headers()), via };
    match endpoints.issuer.register(&attempt, &arrival).await {
        Ok(registered) => registration(StatusCode::CREATED, &registered),
        Err(refusal) => refused(refusal),
    }
}

/// The body of a request that carries metadata.
pub(super) fn metadata(request: &mut Request<Body>) -> Result<bytes::Bytes, Box<Response<Body>>> {
    if !is_media_type(request.headers(), "application/json") {
        let words = OAuthError::new(ErrorCode::InvalidClientMetadata, "the body must be application/json");
        return Err(Box::new(oauth_error(StatusCode::BAD_REQUEST, &words)));
    }
    body::take(request.extensions_mut()).map_err(|error| Box::new(unread(error, ErrorCode::InvalidClientMetadata)))
}

/// The token of `Authorization: Bearer …` (RFC 6750 2.1). A malformed header is treated as a wrong token.
pub(super) fn bearer(headers: &HeaderMap) -> Option<SecretText> {
    let text = headers.get(AUTHORIZATION)?.to_str().unwrap_or_default();
    let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Some(token.map_or("", |(_, token)| token.trim()).to_owned().into())
}

pub(super) fn registration(status: StatusCode, registration: &RegistrationResponse) -> Response<Body> {
    match serde_json::to_vec(registration) {
        Ok(document) => json::no_store(status, document),
        Err(error) => unavailable(error.to_string()),
    }
}

/// The one map from a refusal to its status.
pub(super) fn refused(refusal: RegistrationRefusal) -> Response<Body> {
    match refusal {
        RegistrationRefusal::Invalid(error) => {
            with_cause(oauth_error(StatusCode::BAD_REQUEST, &error), error.to_string())
        }
        RegistrationRefusal::Unauthorized { presented } => with_cause(unauthorized(presented), refusal.to_string()),
        RegistrationRefusal::Limited(used_up) => limited(&used_up),
        RegistrationRefusal::Store(error) => unavailable(error.to_string()),
    }
}

/// RFC 6750 3: without a token the challenge names no error.
fn unauthorized(presented: bool) -> Response<Body> {
    let (challenge, words) = if presented {
        ("Bearer realm=\"register\", error=\"invalid_token\"", "the access token is wrong, or was replaced")
    } else {
        ("Bearer realm=\"register\"", "an access token is needed: send it as Authorization: Bearer TOKEN")
    };
    let mut response = oauth_error(StatusCode::UNAUTHORIZED, &OAuthError::new(ErrorCode::InvalidToken, words));
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}
