//! `POST /token` (RFC 6749 3.2).

use axum::body::Body;
use axum::extract::{Extension, State};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};

use super::fault::{oauth_error, retry_after, unavailable, with_cause};
use super::{Endpoints, authorization, body};
use crate::gateway::is_media_type;
use crate::issuer::{TokenRefusal, TokenRequest};
use crate::limits::ClientAddress;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::Parameters;
use crate::secret::SecretText;

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(address): Extension<ClientAddress>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, incoming) = request.into_parts();
    let Ok(authorization) = authorization(&head.headers) else {
        return oauth_error(
            StatusCode::BAD_REQUEST,
            &OAuthError::new(ErrorCode::InvalidRequest, "more than one Authorization header, or one that is not text"),
        );
    };
    if !is_media_type(&head.headers, "application/x-www-form-urlencoded") {
        let words = "the body must be application/x-www-form-urlencoded";
        return oauth_error(StatusCode::BAD_REQUEST, &OAuthError::new(ErrorCode::InvalidRequest, words));
    }
    let form = match body::read(incoming).await {
        Ok(form) => form,
        Err(error) => return oauth_error(error.status(), &OAuthError::new(ErrorCode::InvalidRequest, error.words())),
    };
    let asked_with_header = authorization.is_some();
    let request = TokenRequest {
        authorization: authorization.map(|value| SecretText::from(value.to_owned())),
        parameters: Parameters::parse(&form),
        address,
    };
    let issuer = endpoints.issuer.clone();
    match endpoints.issuer.complete(async move { issuer.token(request).await }).await {
        Ok(Ok(json)) => json_no_store(StatusCode::OK, json),
        Ok(Err(TokenRefusal::OAuth(error))) => refused(&error, asked_with_header),
        Ok(Err(TokenRefusal::Unavailable(why))) => unavailable(why),
        Ok(Err(TokenRefusal::TooMany { retry_after: seconds, words })) => too_many(seconds, words),
        Err(panicked) => unavailable(panicked.to_string()),
    }
}

/// Not an error on which a client would throw its tokens away: the one that it sent stays good.
fn too_many(seconds: u64, words: &'static str) -> Response<Body> {
    let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, words);
    let response = retry_after(oauth_error(StatusCode::TOO_MANY_REQUESTS, &error), seconds);
    with_cause(response, error.to_string())
}

fn refused(error: &OAuthError, asked_with_header: bool) -> Response<Body> {
    let status =
        if error.error == ErrorCode::InvalidClient { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    let mut response = oauth_error(status, error);
    if status == StatusCode::UNAUTHORIZED && asked_with_header {
        // RFC 6749 5.2: with the scheme that the client used
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"token\""));
    }
    with_cause(response, error.to_string())
}

/// JSON that nobody may keep (RFC 6749 5.1).
pub(super) fn json_no_store(status: StatusCode, json: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
