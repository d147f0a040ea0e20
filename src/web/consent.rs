//! `POST /consent`: the user's answer. Origin, cookie and sealed form must agree (CSRF).

use axum::body::Body;
use axum::extract::{Extension, State};
use http::{Request, Response};

use super::authorize::consent_page;
use super::browser::PostedForm;
use super::cookies::Kind;
use super::fault::page;
use super::pages::ConsentNotice;
use super::{Endpoints, browser};
use crate::issuer::{Approval, Fault};
use crate::model::authorization::ClientRequest;
use crate::wire::{Arrival, ClientAddress};

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    request: Request<Body>,
) -> Response<Body> {
    let form = match PostedForm::read(request, &endpoints.config.public_url) {
        Ok(form) => form,
        Err(unread) => return unread.respond(&endpoints.branding, &arrival.id),
    };
    match answer(&endpoints, &form, arrival.address).await {
        Ok(Approval::SignIn(begun)) => browser::to_sign_in(&endpoints, &form.headers, &begun),
        Ok(Approval::Denied(redirect)) => browser::to_client(&endpoints.branding, &redirect),
        Ok(Approval::Expired(validated)) => {
            consent_page(&endpoints, &form.headers, *validated, Some(ConsentNotice::Expired), &arrival.id).await
        }
        Ok(Approval::Answered(outcome)) => browser::already_answered(&endpoints, &outcome, &arrival.id),
        Err(fault) => page(&endpoints.branding, fault, &arrival.id),
    }
}

async fn answer(endpoints: &Endpoints, form: &PostedForm, address: ClientAddress) -> Result<Approval, Fault> {
    let opened = endpoints.issuer.open_form::<ClientRequest>(form.one("form")?.unwrap_or_default())?;
    let cookie = endpoints.cookies().get(&form.headers, Kind::Consent, opened.authorization());
    let identity = match (form.one("decision")?, form.one("identity")?) {
        (Some("approve"), Some(identity)) => Some(identity.to_owned()),
        (Some("deny"), _) => None,
        _ => return Err(Fault::not_ours("consent form: neither an approval with a provider nor a denial")),
    };
    let issuer = endpoints.issuer.clone();
    endpoints
        .complete(async move { issuer.answer_form(&opened, cookie.as_deref(), identity.as_deref(), address).await })
        .await
}
