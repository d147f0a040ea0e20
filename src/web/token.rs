//! `POST /token` (RFC 6749 3.2). The form is read by `Parameters`, which refuses repeated parameters.

use axum::body::Body;
use axum::extract::{Extension, State};
use http::header::{AUTHORIZATION, ORIGIN, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};

use super::fault::{limited, oauth_error, unavailable, unread, with_cause};
use super::{Endpoints, body, json};
use crate::issuer::{Reason, SentProof, TokenRefusal, TokenRequest};
use crate::oauth::dpop;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::Parameters;
use crate::secret::SecretText;
use crate::wire::{Arrival, agent, is_media_type};

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    request: Request<Body>,
) -> Response<Body> {
    let request = match read(request, arrival) {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let asked_with_header = request.authorization.is_some();
    let proves = !matches!(request.proof, SentProof::None);
    let issuer = endpoints.issuer.clone();
    let mut response = match endpoints.issuer.complete(async move { issuer.token(request).await }).await {
        Ok(answer) => respond(answer, asked_with_header),
        Err(panicked) => unavailable(panicked.to_string()),
    };
    if proves
        && let Some(nonce) = endpoints.issuer.dpop_nonce()
        && let Ok(nonce) = HeaderValue::try_from(nonce)
    {
        response.headers_mut().insert(dpop::NONCE, nonce);
    }
    response
}

/// `POST /device_authorization` (RFC 8628 3.1), whose client authenticates as at `/token`. It is for programs without a
/// browser: requests from web pages are refused, because any page could exhaust the limit of its visitors' addresses.
pub(super) async fn device(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    request: Request<Body>,
) -> Response<Body> {
    if request.headers().contains_key(ORIGIN) {
        let words = "device authorization is not for pages in a browser: there is an Origin header";
        return oauth_error(StatusCode::BAD_REQUEST, &OAuthError::new(ErrorCode::InvalidRequest, words));
    }
    let request = match read(request, arrival) {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let asked_with_header = request.authorization.is_some();
    respond(endpoints.issuer.device_authorization(request).await, asked_with_header)
}

fn respond(answer: Result<Vec<u8>, TokenRefusal>, asked_with_header: bool) -> Response<Body> {
    match answer {
        Ok(document) => json::no_store(StatusCode::OK, document),
        Err(refusal) => refused(&refusal, asked_with_header),
    }
}

/// Reads the form and the credentials of a client, here and at the other endpoints that clients authenticate at.
pub(super) fn read(request: Request<Body>, arrival: Arrival) -> Result<TokenRequest, Box<Response<Body>>> {
    let malformed = |words: &'static str| {
        Box::new(oauth_error(StatusCode::BAD_REQUEST, &OAuthError::new(ErrorCode::InvalidRequest, words)))
    };
    let (mut head, _read) = request.into_parts();
    let authorization = authorization(&head.headers)
        .map_err(|()| malformed("more than one Authorization header, or one that is not text"))?
        .map(|value| SecretText::from(value.to_owned()));
    let (parameters, agent) = (form(&mut head)?, agent(&head.headers));
    Ok(TokenRequest { authorization, proof: proof(&head.headers), parameters, arrival, agent })
}

/// Reads the form of a program.
pub(super) fn form(head: &mut Parts) -> Result<Parameters, Box<Response<Body>>> {
    if !is_media_type(&head.headers, "application/x-www-form-urlencoded") {
        let words = "the body must be application/x-www-form-urlencoded";
        let error = OAuthError::new(ErrorCode::InvalidRequest, words);
        return Err(Box::new(oauth_error(StatusCode::BAD_REQUEST, &error)));
    }
    let form = body::take(&mut head.extensions).map_err(|error| Box::new(unread(error, ErrorCode::InvalidRequest)))?;
    Ok(Parameters::parse(&form))
}

/// Only a fault of the client gets an error code after which it discards its tokens.
pub(super) fn refused(refusal: &TokenRefusal, asked_with_header: bool) -> Response<Body> {
    let response = match &refusal.reason {
        Reason::OAuth(error) if error.error == ErrorCode::InvalidClient => invalid_client(error, asked_with_header),
        Reason::OAuth(error) => oauth_error(StatusCode::BAD_REQUEST, error),
        Reason::Unavailable(why) => unavailable(why.clone()),
        Reason::Limited(used_up) => limited(used_up),
    };
    with_cause(response, refusal.to_string())
}

/// RFC 6749 5.2: 401, with the scheme that the client used.
fn invalid_client(error: &OAuthError, asked_with_header: bool) -> Response<Body> {
    let mut response = oauth_error(StatusCode::UNAUTHORIZED, error);
    if asked_with_header {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"token\""));
    }
    response
}

/// The `DPoP` header (RFC 9449 4.3: exactly one).
fn proof(headers: &HeaderMap) -> SentProof {
    let mut values = headers.get_all(dpop::PROOF).iter();
    match (values.next(), values.next()) {
        (None, _) => SentProof::None,
        (Some(value), None) => value.to_str().map_or(SentProof::Unreadable, |text| SentProof::One(text.to_owned())),
        (Some(_), Some(_)) => SentProof::Unreadable,
    }
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
