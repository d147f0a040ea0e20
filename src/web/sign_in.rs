//! `/sign-in/{identity}`: the sign-in page for users of our own.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::IntoResponse;
use http::{HeaderMap, Request, Response, StatusCode, Uri};

use super::browser::{PostedForm, ProviderId};
use super::cookies::Kind;
use super::fault::{page, too_many};
use super::pages::Branding;
use super::{Endpoints, browser, pages};
use crate::issuer::{Fault, SignInAttempt, SignInProblem, SignInStep, SignInView};
use crate::model::ids::AuthorizationId;
use crate::oauth::parameters::Parameters;
use crate::secret::SecretText;
use crate::telemetry::RequestId;
use crate::wire::{Arrival, ClientAddress};

pub(super) async fn get(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    identity: ProviderId,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    let viewed = view(&endpoints, &headers, &identity.0, &browser::query(&uri), arrival.address).await;
    step(&endpoints, &headers, viewed, &arrival.id).await
}

async fn view(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    identity: &str,
    query: &Parameters,
    from: ClientAddress,
) -> Result<SignInStep, Fault> {
    let (id, cookie) = binding(endpoints, headers, query)?;
    endpoints.issuer.sign_in_page(identity, &id, cookie.as_deref(), from).await
}

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    identity: ProviderId,
    request: Request<Body>,
) -> Response<Body> {
    match PostedForm::read(request, &endpoints.config.public_url) {
        Ok(form) => {
            let request_id = arrival.id.clone();
            let attempted = attempt(&endpoints, identity.0, &form, arrival).await;
            step(&endpoints, &form.headers, attempted, &request_id).await
        }
        Err(unread) => unread.respond(&endpoints.branding, &arrival.id),
    }
}

async fn attempt(
    endpoints: &Endpoints,
    identity: String,
    form: &PostedForm,
    arrival: Arrival,
) -> Result<SignInStep, Fault> {
    let (authorization, cookie) = binding(endpoints, &form.headers, &form.fields)?;
    let one = |name| form.one(name).map(|value| value.unwrap_or_default().to_owned());
    let attempt = SignInAttempt {
        identity,
        authorization,
        form_token: one("form_token")?,
        username: one("username")?,
        password: SecretText::from(one("password")?),
        arrival,
    };
    let issuer = endpoints.issuer.clone();
    endpoints.complete(async move { issuer.sign_in(attempt, cookie.as_deref()).await }).await
}

/// The authorization that a request names, and the cookie of that name.
fn binding(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<(AuthorizationId, Option<String>), Fault> {
    let named = parameters.one("authorization").ok().flatten().and_then(AuthorizationId::parse);
    let id = named.ok_or_else(|| Fault::not_ours("sign-in without an authorization"))?;
    let cookie = endpoints.cookies().get(headers, Kind::Binding, &id);
    Ok((id, cookie))
}

async fn step(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    step: Result<SignInStep, Fault>,
    request_id: &RequestId,
) -> Response<Body> {
    let branding = &endpoints.branding;
    match step {
        Ok(SignInStep::Ask(view)) => render(branding, &view),
        Ok(SignInStep::Limited(view, limited)) => too_many(render(branding, &view), &limited),
        Ok(SignInStep::Answered(answered)) => browser::onwards(endpoints, headers, answered, request_id).await,
        Err(fault) => page(branding, fault, request_id),
    }
}

fn render(branding: &Branding, view: &SignInView) -> Response<Body> {
    let status = match view.problem {
        None => StatusCode::OK,
        Some(SignInProblem::Wrong) => StatusCode::UNPROCESSABLE_ENTITY,
        Some(SignInProblem::Busy) => StatusCode::TOO_MANY_REQUESTS,
    };
    (status, pages::sign_in(branding, view)).into_response()
}
