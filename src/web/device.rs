//! `/device`: where a user types the code that a device shows (RFC 8628 3.3), and answers it.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};

use super::browser::{answered_form, query};
use super::endpoints::Endpoints;
use super::fault::page;
use super::pages;
use super::posted_form::PostedForm;
use crate::issuer::{AnsweredForm, CodeEntry, EntryStep, Fault, FormPage};
use crate::model::authorization::DeviceRequest;
use crate::wire::Arrival;

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
        Ok(FormPage { view, cookie }) => {
            endpoints.with_cookie(&headers, pages::device_entry(&endpoints.branding, &view), &cookie)
        }
        Err(fault) => page(&endpoints.branding, fault, &arrival.id),
    }
}

/// Takes the code.
pub(super) async fn post(State(endpoints): State<Endpoints>, form: PostedForm) -> Response<Body> {
    match enter(&endpoints, &form).await {
        Ok(EntryStep::Ask(question)) => {
            let FormPage { view, cookie } = *question;
            endpoints.with_cookie(&form.headers, pages::device(&endpoints.branding, &view), &cookie)
        }
        Ok(EntryStep::Again(view)) => {
            (StatusCode::UNPROCESSABLE_ENTITY, pages::device_entry(&endpoints.branding, &view)).into_response()
        }
        Err(fault) => page(&endpoints.branding, fault, &form.arrival.id),
    }
}

async fn enter(endpoints: &Endpoints, form: &PostedForm) -> Result<EntryStep, Fault> {
    let opened = form.open::<CodeEntry>(endpoints)?;
    let typed = form.one("user_code")?.unwrap_or_default();
    endpoints.issuer.enter_user_code(&opened, typed, form.arrival.address).await
}

/// Takes the user's answer.
pub(super) async fn answer(State(endpoints): State<Endpoints>, form: PostedForm) -> Response<Body> {
    let answered = decide(&endpoints, &form).await;
    answered_form(&endpoints, &form.headers, answered, &form.arrival.id)
}

async fn decide(endpoints: &Endpoints, form: &PostedForm) -> Result<AnsweredForm, Fault> {
    let opened = form.open::<DeviceRequest>(endpoints)?;
    let identity = form.approved_with::<DeviceRequest>()?;
    let (issuer, arrival) = (endpoints.issuer.clone(), form.arrival.clone());
    endpoints.complete(async move { issuer.answer_device(&opened, identity.as_deref(), &arrival).await }).await
}
