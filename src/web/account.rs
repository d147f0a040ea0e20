//! `/account`: what a user has granted, and how they end it.
//!
//! Defends against: CSRF (every change is a POST, whose form carries a token of the session).

use axum::body::Body;
use axum::extract::{Extension, FromRequest, State};
use axum::response::IntoResponse;
use http::{HeaderMap, Request, Response, Uri};

use super::browser::{answered_form, query, see_other};
use super::endpoints::Endpoints;
use super::fault::page;
use super::pages;
use super::posted_form::PostedForm;
use crate::issuer::{AccountEntry, AccountPage, AnsweredForm, Ending, Fault, FormPage, SessionCookie};
use crate::model::ids::{ConsentId, GrantId};
use crate::oauth::parameters::Parameters;
use crate::oauth::paths;
use crate::wire::Arrival;

/// The longest id of a grant or a remembered consent that is looked up; ours are shorter.
const LONGEST_ID: usize = 64;

/// The page: the user's grants, or the form to sign in.
pub(super) async fn get(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
) -> Response<Body> {
    let session = session(&endpoints, &headers);
    match endpoints.issuer.account(session.as_ref()).await {
        Ok(AccountPage::SignedIn(view)) => pages::account(&endpoints.branding, &view).into_response(),
        Ok(AccountPage::SignedOut(FormPage { view, cookie })) => {
            endpoints.with_cookie(&headers, pages::account_entry(&endpoints.branding, &view), &cookie)
        }
        Err(fault) => page(&endpoints.branding, fault, &arrival.id),
    }
}

/// The choice of a provider.
pub(super) async fn sign_in(State(endpoints): State<Endpoints>, form: PostedForm) -> Response<Body> {
    let answered = begin(&endpoints, &form).await;
    answered_form(&endpoints, &form.headers, answered, &form.arrival.id)
}

async fn begin(endpoints: &Endpoints, form: &PostedForm) -> Result<AnsweredForm, Fault> {
    let opened = form.open::<AccountEntry>(endpoints)?;
    let identity = form.one("identity")?.unwrap_or_default().to_owned();
    let (issuer, address) = (endpoints.issuer.clone(), form.arrival.address);
    endpoints.complete(async move { issuer.open_account(&opened, &identity, address).await }).await
}

/// Asks whether to end grants: a link leads here, and changes nothing.
pub(super) async fn end_question(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    let (Some(session), Some(which)) = (session(&endpoints, &headers), which(&query(&uri))) else {
        return to_account(&endpoints);
    };
    match endpoints.issuer.end_question(&session, &which).await {
        Ok(Some(view)) => pages::account_end(&endpoints.branding, &view).into_response(),
        Ok(None) => to_account(&endpoints),
        Err(fault) => page(&endpoints.branding, fault, &arrival.id),
    }
}

/// Ends grants.
pub(super) async fn end(State(endpoints): State<Endpoints>, form: SessionForm) -> Response<Body> {
    let Some(which) = which(&form.fields) else { return to_account(&endpoints) };
    let SessionForm { session, token, arrival, .. } = form;
    let (issuer, request_id) = (endpoints.issuer.clone(), arrival.id.clone());
    let ended = async move { issuer.end_own_grants(&session, &token, &which, &arrival).await };
    match endpoints.complete(ended).await {
        Ok(()) => to_account(&endpoints),
        Err(fault) => page(&endpoints.branding, fault, &request_id),
    }
}

/// Forgets a remembered consent. There is no question before it: the user is only asked once more.
pub(super) async fn forget(State(endpoints): State<Endpoints>, form: SessionForm) -> Response<Body> {
    let consent = text(&form.fields, "consent");
    if consent.len() > LONGEST_ID {
        return to_account(&endpoints);
    }
    let SessionForm { session, token, arrival, .. } = form;
    let (issuer, consent, request_id) = (endpoints.issuer.clone(), ConsentId::from(consent), arrival.id.clone());
    match endpoints.complete(async move { issuer.forget_consent(&session, &token, &consent, &arrival).await }).await {
        Ok(()) => to_account(&endpoints),
        Err(fault) => page(&endpoints.branding, fault, &request_id),
    }
}

/// Ends the session.
pub(super) async fn sign_out(State(endpoints): State<Endpoints>, form: SessionForm) -> Response<Body> {
    match endpoints.issuer.sign_out(&form.session, &form.token).await {
        Ok(()) => {
            let mut response = to_account(&endpoints);
            endpoints.cookies().set_session(response.headers_mut(), "", 0);
            response
        }
        Err(fault) => page(&endpoints.branding, fault, &form.arrival.id),
    }
}

/// A form of the page of a signed-in user. The issuer checks that `token` follows from `session` (CSRF). A browser without a
/// session is led to the page, where it can sign in.
pub(super) struct SessionForm {
    arrival: Arrival,
    session: SessionCookie,
    token: String,
    fields: Parameters,
}

impl FromRequest<Endpoints> for SessionForm {
    type Rejection = Response<Body>;

    async fn from_request(request: Request<Body>, endpoints: &Endpoints) -> Result<Self, Response<Body>> {
        let PostedForm { arrival, headers, fields } = PostedForm::from_request(request, endpoints).await?;
        let session = session(endpoints, &headers).ok_or_else(|| to_account(endpoints))?;
        Ok(Self { arrival, session, token: text(&fields, "form_token"), fields })
    }
}

/// A field of a form; empty when it is missing or repeated.
fn text(fields: &Parameters, name: &'static str) -> String {
    fields.one(name).ok().flatten().unwrap_or_default().to_owned()
}

fn to_account(endpoints: &Endpoints) -> Response<Body> {
    see_other(&endpoints.branding, paths::ACCOUNT)
}

/// The session that the browser's cookie names, if it is well-formed.
fn session(endpoints: &Endpoints, headers: &HeaderMap) -> Option<SessionCookie> {
    endpoints.cookies().session(headers).and_then(|text| SessionCookie::parse(&text))
}

/// Which grants a link or a form names.
fn which(parameters: &Parameters) -> Option<Ending> {
    match (parameters.one("grant").ok()?, parameters.one("all").ok()?) {
        (Some(grant), None) if grant.len() <= LONGEST_ID => Some(Ending::One(GrantId::from(grant))),
        (None, Some("yes")) => Some(Ending::All),
        _ => None,
    }
}
