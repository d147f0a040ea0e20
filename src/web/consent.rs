//! `POST /consent`: the user's answer. Origin, cookie and sealed form must agree (CSRF).

use axum::body::Body;
use axum::extract::{Extension, State};
use http::{Request, Response};

use super::browser::PostedForm;
use super::consent_page::{Asking, consent_page};
use super::cookies::Kind;
use super::fault::page;
use super::pages::ConsentNotice;
use super::{Endpoints, browser};
use crate::issuer::{ConsentOutcome, Decision, Fault};
use crate::model::authorization::ClientRequest;
use crate::wire::Arrival;

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    request: Request<Body>,
) -> Response<Body> {
    let form = match PostedForm::read(request, &endpoints.config.public_url) {
        Ok(form) => form,
        Err(unread) => return unread.respond(&endpoints.branding, &arrival.id),
    };
    let request_id = arrival.id.clone();
    match answer(&endpoints, &form, arrival).await {
        Ok(ConsentOutcome::SignIn(begun)) => browser::to_sign_in(&endpoints, &form.headers, &begun),
        Ok(ConsentOutcome::Denied(redirect)) => browser::to_client(&endpoints.branding, &redirect),
        Ok(ConsentOutcome::Expired(validated)) => {
            let asking = Asking { notice: Some(ConsentNotice::Expired), direct: true };
            consent_page(&endpoints, &form.headers, *validated, asking, &request_id).await
        }
        Ok(ConsentOutcome::Answered(outcome)) => browser::already_answered(&endpoints, &outcome, &request_id),
        Err(fault) => page(&endpoints.branding, fault, &request_id),
    }
}

async fn answer(endpoints: &Endpoints, form: &PostedForm, arrival: Arrival) -> Result<ConsentOutcome, Fault> {
    let opened = endpoints.issuer.open_form::<ClientRequest>(form.one("form")?.unwrap_or_default())?;
    let identity = match (form.one("decision")?, form.one("identity")?) {
        (Some("approve"), Some(identity)) => Some(identity.to_owned()),
        (Some("deny"), _) => None,
        _ => return Err(Fault::not_ours("consent form: neither an approval with a provider nor a denial")),
    };
    let cookies = endpoints.cookies();
    let decision = Decision {
        cookie: cookies.get(&form.headers, Kind::Consent, opened.authorization()),
        identity,
        remember: form.one("remember")? == Some("yes"),
        mark: cookies.mark(&form.headers),
        arrival,
    };
    let issuer = endpoints.issuer.clone();
    endpoints.complete(async move { issuer.answer_form(&opened, &decision).await }).await
}
