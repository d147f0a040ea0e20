//! `/sign-in/{identity}`: the sign-in page for local users.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::IntoResponse;
use http::{HeaderMap, Response, StatusCode, Uri};

use super::browser::ProviderId;
use super::cookies::Kind;
use super::fault::{page, too_many};
use super::pages::Branding;
use super::posted_form::PostedForm;
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
    let NamedSignIn { authorization, cookie } = NamedSignIn::find(endpoints, headers, query)?;
    endpoints.issuer.sign_in_page(identity, &authorization, cookie.as_deref(), from).await
}

pub(super) async fn post(State(endpoints): State<Endpoints>, identity: ProviderId, form: PostedForm) -> Response<Body> {
    let attempted = attempt(&endpoints, identity.0, &form).await;
    step(&endpoints, &form.headers, attempted, &form.arrival.id).await
}

async fn attempt(endpoints: &Endpoints, identity: String, form: &PostedForm) -> Result<SignInStep, Fault> {
    let NamedSignIn { authorization, cookie } = NamedSignIn::find(endpoints, &form.headers, &form.fields)?;
    let one = |name| form.one(name).map(|value| value.unwrap_or_default().to_owned());
    let attempt = SignInAttempt {
        identity,
        authorization,
        form_token: one("form_token")?,
        username: one("username")?,
        password: SecretText::from(one("password")?),
        arrival: form.arrival.clone(),
    };
    let issuer = endpoints.issuer.clone();
    endpoints.complete(async move { issuer.sign_in(attempt, cookie.as_deref()).await }).await
}

/// The sign-in that a request names.
struct NamedSignIn {
    authorization: AuthorizationId,
    /// The value of its binding cookie.
    cookie: Option<String>,
}

impl NamedSignIn {
    fn find(endpoints: &Endpoints, headers: &HeaderMap, parameters: &Parameters) -> Result<Self, Fault> {
        let named = parameters.one("authorization").ok().flatten().and_then(AuthorizationId::parse);
        let authorization = named.ok_or_else(|| Fault::not_ours("sign-in without an authorization"))?;
        let cookie = endpoints.cookies().get(headers, Kind::Binding, &authorization);
        Ok(Self { authorization, cookie })
    }
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
