//! `POST /register` (RFC 7591 3). A request with an `Origin` comes from a page, and is counted apart from programs.

use axum::body::Body;
use axum::extract::{Extension, State};
use http::header::ORIGIN;
use http::{Request, Response, StatusCode};

use super::fault::{limited, oauth_error, unavailable, unread, with_cause};
use super::{Endpoints, body, json};
use crate::issuer::{RegistrationRefusal, Via};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::wire::{Arrival, is_media_type};

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    mut request: Request<Body>,
) -> Response<Body> {
    if !is_media_type(request.headers(), "application/json") {
        let words = OAuthError::new(ErrorCode::InvalidClientMetadata, "the body must be application/json");
        return oauth_error(StatusCode::BAD_REQUEST, &words);
    }
    let via = if request.headers().contains_key(ORIGIN) { Via::Browser } else { Via::Program };
    let bytes = match body::take(request.extensions_mut()) {
        Ok(bytes) => bytes,
        Err(error) => return unread(error, ErrorCode::InvalidClientMetadata),
    };
    match endpoints.issuer.register(&bytes, &arrival, via).await {
        Ok(registered) => match serde_json::to_vec(&registered) {
            Ok(document) => json::no_store(StatusCode::CREATED, document),
            Err(error) => unavailable(error.to_string()),
        },
        Err(RegistrationRefusal::Invalid(error)) => {
            with_cause(oauth_error(StatusCode::BAD_REQUEST, &error), error.to_string())
        }
        Err(RegistrationRefusal::Limited(used_up)) => limited(&used_up),
        Err(RegistrationRefusal::Store(error)) => unavailable(error.to_string()),
    }
}
