//! `/sign-in/{identity}`: the page of users whom we know ourselves.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, Request, Response, StatusCode, Uri};

use super::callback::respond;
use super::cookies::{Cookies, Kind};
use super::fault::page;
use super::{Endpoints, body, browser, pages, plain};
use crate::issuer::{Answered, Fault, SignInAttempt, SignInProblem, SignInView, Trouble};
use crate::limits::ClientAddress;
use crate::model::ids::RenderId;
use crate::oauth::parameters::Parameters;
use crate::secret::SecretText;
use crate::telemetry::RequestId;

pub(super) async fn get(
    State(endpoints): State<Endpoints>,
    Extension(request_id): Extension<RequestId>,
    Path(identity): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    let query = Parameters::parse(uri.query().unwrap_or_default().as_bytes());
    match view(&endpoints, &headers, &identity, &query).await {
        Ok(Ok(view)) => render(&view, "", None),
        Ok(Err(answered)) => respond(&answered, &request_id),
        Err(fault) => page(fault, &request_id),
    }
}

async fn view(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    identity: &str,
    parameters: &Parameters,
) -> Result<Result<SignInView, Answered>, Fault> {
    let (id, cookie) = binding(endpoints, headers, parameters)?;
    endpoints.issuer.sign_in_page(identity, &id, cookie.as_deref()).await
}

/// The authorization that a request names, and the cookie of that name.
fn binding(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<(RenderId, Option<String>), Fault> {
    let named = parameters.one("authorization").ok().flatten().filter(|id| id.len() <= 64);
    let id = RenderId::from(named.ok_or_else(|| forged("sign-in without an authorization"))?);
    let cookie = Cookies::new(&endpoints.config.public_url).get(headers, Kind::Binding, &id);
    Ok((id, cookie))
}

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(request_id): Extension<RequestId>,
    Extension(address): Extension<ClientAddress>,
    Path(identity): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, incoming) = request.into_parts();
    if !browser::is_same_origin(&head.headers, &endpoints.config.public_url) {
        return page(forged("a sign-in form that was posted from another site"), &request_id);
    }
    let form = match body::read(incoming).await {
        Ok(form) => Parameters::parse(&form),
        Err(error) => return plain(error.status(), error.words()),
    };
    match attempt(&endpoints, &head.headers, (&identity, &form), address).await {
        Ok(Attempted::Done(answered)) => respond(&answered, &request_id),
        Ok(Attempted::Again(view, username, problem)) => render(&view, &username, Some(problem)),
        Err(fault) => page(fault, &request_id),
    }
}

async fn attempt(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    (identity, form): (&str, &Parameters),
    address: ClientAddress,
) -> Result<Attempted, Fault> {
    let (authorization, cookie) = binding(endpoints, headers, form)?;
    let one = |name| form.one(name).map_err(|_repeated| forged("a sign-in form with repeated fields"));
    let username = one("username")?.unwrap_or_default().to_owned();
    let attempt = SignInAttempt {
        identity: identity.to_owned(),
        authorization,
        form_token: one("form_token")?.unwrap_or_default().to_owned(),
        username: username.clone(),
        password: SecretText::from(one("password")?.unwrap_or_default().to_owned()),
        address,
    };
    let (issuer, proof) = (endpoints.issuer.clone(), cookie.clone());
    let work = async move { issuer.sign_in(attempt, proof.as_deref()).await };
    let signed_in = endpoints.issuer.complete(work).await.unwrap_or_else(|panicked| Err(Fault::internal(&panicked)))?;
    match signed_in {
        Ok(answered) => Ok(Attempted::Done(Box::new(answered))),
        Err(problem) => match view(endpoints, headers, identity, form).await? {
            Ok(view) => Ok(Attempted::Again(Box::new(view), username, problem)),
            Err(answered) => Ok(Attempted::Done(Box::new(answered))),
        },
    }
}

/// What a filled-in page led to.
enum Attempted {
    /// On.
    Done(Box<Answered>),
    /// The page once more.
    Again(Box<SignInView>, String, SignInProblem),
}

fn render(view: &SignInView, username: &str, problem: Option<SignInProblem>) -> Response<Body> {
    let page = pages::sign_in(&pages::SignInPage {
        identity: &view.identity,
        identity_name: &view.identity_name,
        client: (&view.client).into(),
        resource_name: &view.resource_name,
        authorization: &view.authorization,
        form_token: &view.form_token,
        username,
        problem: problem.map(|problem| match problem {
            SignInProblem::Wrong => pages::SignInProblem::Wrong,
            SignInProblem::Busy => pages::SignInProblem::Busy,
        }),
        hint: None,
    });
    let status = match problem {
        None => StatusCode::OK,
        Some(SignInProblem::Wrong) => StatusCode::UNPROCESSABLE_ENTITY,
        Some(SignInProblem::Busy) => StatusCode::TOO_MANY_REQUESTS,
    };
    (status, page).into_response()
}

fn forged(detail: &str) -> Fault {
    Fault { trouble: Trouble::Forged, detail: detail.to_owned() }
}
