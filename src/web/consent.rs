//! `POST /consent`: the user's answer. Origin, cookie and sealed form must agree (CSRF).

use axum::body::Body;
use axum::extract::State;
use http::Response;

use super::consent_page::{Asking, consent_page};
use super::fault::page;
use super::pages::ConsentNotice;
use super::posted_form::PostedForm;
use super::{Endpoints, browser};
use crate::issuer::{ConsentOutcome, Decision, Fault};
use crate::model::authorization::ClientRequest;

pub(super) async fn post(State(endpoints): State<Endpoints>, form: PostedForm) -> Response<Body> {
    let request_id = &form.arrival.id;
    match answer(&endpoints, &form).await {
        Ok(ConsentOutcome::SignIn(begun)) => browser::to_sign_in(&endpoints, &form.headers, &begun),
        Ok(ConsentOutcome::Denied(redirect)) => browser::to_client(&endpoints.branding, &redirect),
        Ok(ConsentOutcome::Expired(validated)) => {
            let asking = Asking { notice: Some(ConsentNotice::Expired), direct: true };
            consent_page(&endpoints, &form.headers, *validated, asking, request_id).await
        }
        Ok(ConsentOutcome::Answered(outcome)) => browser::already_answered(&endpoints, &outcome, request_id),
        Err(fault) => page(&endpoints.branding, fault, request_id),
    }
}

async fn answer(endpoints: &Endpoints, form: &PostedForm) -> Result<ConsentOutcome, Fault> {
    let opened = form.open::<ClientRequest>(endpoints)?;
    let decision = Decision {
        identity: form.approved_with::<ClientRequest>()?,
        remember: form.one("remember")? == Some("yes"),
        mark: endpoints.cookies().mark(&form.headers),
        arrival: form.arrival.clone(),
    };
    let issuer = endpoints.issuer.clone();
    endpoints.complete(async move { issuer.answer_form(&opened, &decision).await }).await
}
