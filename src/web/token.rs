//! `POST /token` (RFC 6749 3.2).

use axum::body::Body;
use axum::extract::{Extension, State};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};

use super::fault::{oauth_error, retry_after, unavailable, unread, with_cause};
use super::json::json_no_store;
use super::{Endpoints, body};
use crate::issuer::{TokenRefusal, TokenRequest};
use crate::limits::ClientAddress;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::Parameters;
use crate::secret::SecretText;
use crate::wire::is_media_type;

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(address): Extension<ClientAddress>,
    request: Request<Body>,
) -> Response<Body> {
    let (mut head, _read) = request.into_parts();
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
    let form = match body::take(&mut head.extensions) {
        Ok(form) => form,
        Err(error) => return unread(error, ErrorCode::InvalidRequest),
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

/// The `Authorization` header as text, when there is exactly one.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(drop),
        (Some(_), Some(_)) => Err(()),
    }
}
