//! Shared by all browser endpoints: the origin, cookies that are set, redirects.
//!
//! Defends against: cookies of another host name (a browser is led to our own origin first). Locations may carry a code, so they
//! are marked sensitive.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::middleware::Next;
use axum::response::IntoResponse;
use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};

use super::consent_page::{Asking, consent_page};
use super::cookies::Kind;
use super::endpoints::Endpoints;
use super::fault::page;
use super::pages;
use super::pages::{Branding, ConsentNotice};
use crate::config::{Config, Spelling};
use crate::issuer::{Answered, AnsweredForm, Begun, ClientRedirect, EarlierOutcome, Fault};
use crate::model::account::SESSION_AGE;
use crate::oauth::parameters::Parameters;
use crate::oauth::paths;
use crate::oauth::redirect_uri::RedirectClass;
use crate::secret::{AccountSession, Token};
use crate::telemetry::RequestId;
use crate::wire::plain;

/// The identity provider that a path names; empty when the segment is not UTF-8, which then gets the page of an unknown
/// provider.
pub(super) struct ProviderId(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for ProviderId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let named = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(named.map_or_else(|_not_text| String::new(), |Path(id)| id)))
    }
}

/// The parameters of a request's query.
pub(super) fn query(uri: &Uri) -> Parameters {
    Parameters::parse(uri.query().unwrap_or_default().as_bytes())
}

/// Redirects a browser from another loopback name to ours before it gets any cookie: cookies belong to one host name, and the
/// identity provider redirects to ours. Forms are refused: we show no page under another name.
pub(super) async fn at_own_origin(
    State((config, branding)): State<(Arc<Config>, Arc<Branding>)>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let origin = Spelling::of(&config.public_url, request.uri(), request.headers()).origin();
    if origin == config.public_url.as_str() {
        return next.run(request).await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = "This page has another address. Connect from the application again.\n";
        return plain(StatusCode::MISDIRECTED_REQUEST, Body::from(text));
    }
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    see_other(&branding, &config.public_url.join(target))
}

/// Sends the browser where the outcome of a sign-in leads.
pub(super) async fn onwards(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    answered: Answered,
    request_id: &RequestId,
) -> Response<Body> {
    let branding = &*endpoints.branding;
    match answered {
        Answered::ToClient(redirect) => to_client(branding, &redirect),
        Answered::ToAccount(session) => to_account(endpoints, &session),
        Answered::ToProvider(location) => see_other(branding, &location),
        Answered::Ask(validated) => {
            // a consent is only skipped for a browser that no other site sent
            let asking = Asking { notice: Some(ConsentNotice::NotAllowed), direct: true };
            consent_page(endpoints, headers, *validated, asking, request_id).await
        }
        Answered::Told(told) => pages::told(branding, &told, request_id).into_response(),
        Answered::NotSignedIn(failed) => pages::not_signed_in(branding, &failed, request_id).into_response(),
        Answered::Earlier(outcome) => already_answered(endpoints, &outcome, request_id),
    }
}

/// Sends the browser to a sign-in, with the cookie that the callback requires.
pub(super) fn to_sign_in(endpoints: &Endpoints, headers: &HeaderMap, begun: &Begun) -> Response<Body> {
    let mut response = see_other(&endpoints.branding, &begun.location);
    endpoints.set_cookie(headers, &mut response, Kind::Binding, &begun.binding);
    if let Some(mark) = &begun.mark {
        endpoints.cookies().set_mark(response.headers_mut(), mark, endpoints.config.consent.remember_for.as_secs());
    }
    response
}

/// Sends the browser to the user's own page, with the cookie of its session.
fn to_account(endpoints: &Endpoints, session: &Token<AccountSession>) -> Response<Body> {
    let mut response = see_other(&endpoints.branding, paths::ACCOUNT);
    endpoints.cookies().set_session(response.headers_mut(), session.expose(), SESSION_AGE.as_secs());
    response
}

/// Sends the browser where an answered form leads that no client waits for.
pub(super) fn answered_form(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    answered: Result<AnsweredForm, Fault>,
    request_id: &RequestId,
) -> Response<Body> {
    match answered {
        Ok(AnsweredForm::SignIn(begun)) => to_sign_in(endpoints, headers, &begun),
        Ok(AnsweredForm::Told(told)) => pages::told(&endpoints.branding, &told, request_id).into_response(),
        Ok(AnsweredForm::Answered(outcome)) => already_answered(endpoints, &outcome, request_id),
        Err(fault) => page(&endpoints.branding, fault, request_id),
    }
}

/// Redirects the browser with GET, whatever its method was (RFC 9110 15.4.4).
pub(super) fn see_other(branding: &Branding, location: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(mut value) = HeaderValue::try_from(location) {
        value.set_sensitive(true);
        response.headers_mut().insert(LOCATION, value);
    }
    response.headers_mut().extend(branding.headers());
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// Sends the browser to the client: by itself to web servers, through a small page to applications.
pub(super) fn to_client(branding: &Branding, redirect: &ClientRedirect) -> Response<Body> {
    match redirect.redirect_uri.class() {
        RedirectClass::Https | RedirectClass::Loopback => see_other(branding, &redirect.location),
        RedirectClass::ListedApplication | RedirectClass::Application => {
            let page = pages::ReturnPage {
                branding,
                client: (&*redirect.client).into(),
                redirect_uri: &redirect.redirect_uri,
                location: &redirect.location,
                outcome: redirect.outcome,
                user: redirect.user.as_deref(),
            };
            pages::return_to_application(&page).into_response()
        }
    }
}

/// The page for a form or an answer that was used before, with a link to finish if there is one.
pub(super) fn already_answered(
    endpoints: &Endpoints,
    outcome: &EarlierOutcome,
    request_id: &RequestId,
) -> Response<Body> {
    let branding = &*endpoints.branding;
    let answer = match outcome {
        EarlierOutcome::Account(session) => return to_account(endpoints, session),
        EarlierOutcome::Told(told) => return pages::told(branding, told, request_id).into_response(),
        EarlierOutcome::Left(answer) => answer,
    };
    pages::already_answered(&pages::AlreadyAnsweredPage { branding, answer, request_id }).into_response()
}
