//! `/device`: where a user types the code that a device shows (RFC 8628 3.3), and answers it.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Request, StatusCode, Uri};

use super::browser::{PostedForm, answered_form, query};
use super::cookies::Kind;
use super::endpoints::Endpoints;
use super::fault::page;
use super::pages;
use crate::issuer::{AnsweredForm, AuthorizationCookie, CodeEntry, EntryStep, Fault};
use crate::model::authorization::DeviceRequest;
use crate::wire::{Arrival, ClientAddress};

/// The page where the code is typed. A code in the link is filled in, and nothing else happens.
pub(super) async fn get(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    let parameters = query(&uri);
    let typed = parameters.one("user_code").ok().flatten().unwrap_or_default();
    match endpoints.issuer.device_page(typed) {
        Ok((view, cookie)) => {
            let response = pages::device_entry(&endpoints.branding, &view).into_response();
            with_cookie(&endpoints, &headers, response, &cookie)
        }
        Err(fault) => page(&endpoints.branding, fault, &arrival.id),
    }
}

/// Takes the code.
pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    request: Request<Body>,
) -> Response<Body> {
    let form = match PostedForm::read(request, &endpoints.config.public_url) {
        Ok(form) => form,
        Err(unread) => return unread.respond(&endpoints.branding, &arrival.id),
    };
    match enter(&endpoints, &form, arrival.address).await {
        Ok(EntryStep::Ask(view, cookie)) => {
            let response = pages::device(&endpoints.branding, &view).into_response();
            with_cookie(&endpoints, &form.headers, response, &cookie)
        }
        Ok(EntryStep::Again(view)) => {
            (StatusCode::UNPROCESSABLE_ENTITY, pages::device_entry(&endpoints.branding, &view)).into_response()
        }
        Err(fault) => page(&endpoints.branding, fault, &arrival.id),
    }
}

async fn enter(endpoints: &Endpoints, form: &PostedForm, address: ClientAddress) -> Result<EntryStep, Fault> {
    let field = form.one("form")?.unwrap_or_default();
    let opened = endpoints.issuer.open_form::<CodeEntry>(field)?;
    let cookie = endpoints.cookies().get(&form.headers, Kind::Consent, opened.authorization());
    let typed = form.one("user_code")?.unwrap_or_default();
    endpoints.issuer.enter_user_code((&opened, field), cookie.as_deref(), typed, address).await
}

/// Takes the user's answer.
pub(super) async fn answer(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    request: Request<Body>,
) -> Response<Body> {
    match PostedForm::read(request, &endpoints.config.public_url) {
        Ok(form) => {
            let request_id = arrival.id.clone();
            let answered = decide(&endpoints, &form, arrival).await;
            answered_form(&endpoints, &form.headers, answered, &request_id)
        }
        Err(unread) => unread.respond(&endpoints.branding, &arrival.id),
    }
}

async fn decide(endpoints: &Endpoints, form: &PostedForm, arrival: Arrival) -> Result<AnsweredForm, Fault> {
    let opened = endpoints.issuer.open_form::<DeviceRequest>(form.one("form")?.unwrap_or_default())?;
    let cookie = endpoints.cookies().get(&form.headers, Kind::Consent, opened.authorization());
    let identity = match (form.one("decision")?, form.one("identity")?) {
        (Some("approve"), Some(identity)) => Some(identity.to_owned()),
        (Some("deny"), _) => None,
        _ => return Err(Fault::not_ours("device form: neither an approval with a provider nor a denial")),
    };
    let issuer = endpoints.issuer.clone();
    endpoints
        .complete(async move { issuer.answer_device(&opened, cookie.as_deref(), identity.as_deref(), &arrival).await })
        .await
}

/// With the cookie that must come back with the form of the page.
fn with_cookie(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    mut response: Response<Body>,
    cookie: &AuthorizationCookie,
) -> Response<Body> {
    let lifetime = (endpoints.issuer.now(), endpoints.config.lifetimes.consent.as_secs());
    endpoints.cookies().set((headers, response.headers_mut()), Kind::Consent, cookie, lifetime);
    response
}
