//! `/account`: what a user has granted, and how they end it. Forms carry a token of the session (CSRF), and every change is a POST.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::IntoResponse;
use http::{HeaderMap, Request, Response, Uri};

use super::browser::{PostedForm, answered_form, query, see_other};
use super::cookies::Kind;
use super::endpoints::Endpoints;
use super::fault::page;
use super::pages;
use crate::issuer::{AccountEntry, AccountPage, AnsweredForm, Ending, Fault, SessionCookie};
use crate::model::ids::{ConsentId, GrantId};
use crate::oauth::parameters::Parameters;
use crate::oauth::paths;
use crate::wire::{Arrival, ClientAddress};

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
        Ok(AccountPage::SignedOut(view, cookie)) => {
            let mut response = pages::account_entry(&endpoints.branding, &view).into_response();
            let lifetime = (endpoints.issuer.now(), endpoints.config.lifetimes.consent.as_secs());
            endpoints.cookies().set((&headers, response.headers_mut()), Kind::Consent, &cookie, lifetime);
            response
        }
        Err(fault) => page(&endpoints.branding, fault, &arrival.id),
    }
}

/// The choice of a provider.
pub(super) async fn sign_in(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    request: Request<Body>,
) -> Response<Body> {
    match PostedForm::read(request, &endpoints.config.public_url) {
        Ok(form) => {
            let answered = begin(&endpoints, &form, arrival.address).await;
            answered_form(&endpoints, &form.headers, answered, &arrival.id)
        }
        Err(unread) => unread.respond(&endpoints.branding, &arrival.id),
    }
}

async fn begin(endpoints: &Endpoints, form: &PostedForm, address: ClientAddress) -> Result<AnsweredForm, Fault> {
    let opened = endpoints.issuer.open_form::<AccountEntry>(form.one("form")?.unwrap_or_default())?;
    let cookie = endpoints.cookies().get(&form.headers, Kind::Consent, opened.authorization());
    let identity = form.one("identity")?.unwrap_or_default().to_owned();
    let issuer = endpoints.issuer.clone();
    endpoints.complete(async move { issuer.open_account(&opened, cookie.as_deref(), &identity, address).await }).await
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
pub(super) async fn end(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    request: Request<Body>,
) -> Response<Body> {
    let form = match PostedForm::read(request, &endpoints.config.public_url) {
        Ok(form) => form,
        Err(unread) => return unread.respond(&endpoints.branding, &arrival.id),
    };
    let (Some(session), Some(which)) = (session(&endpoints, &form.headers), which(&form.fields)) else {
        return to_account(&endpoints);
    };
    let token = form.fields.one("form_token").ok().flatten().unwrap_or_default().to_owned();
    let issuer = endpoints.issuer.clone();
    let origin = arrival.clone();
    let ended = async move { issuer.end_own_grants(&session, &token, &which, &origin).await };
    match endpoints.complete(ended).await {
        Ok(()) => to_account(&endpoints),
        Err(fault) => page(&endpoints.branding, fault, &arrival.id),
    }
}

/// Forgets a remembered consent. There is no question before it: the user is only asked once more.
pub(super) async fn forget(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    request: Request<Body>,
) -> Response<Body> {
    let form = match PostedForm::read(request, &endpoints.config.public_url) {
        Ok(form) => form,
        Err(unread) => return unread.respond(&endpoints.branding, &arrival.id),
    };
    let one = |name| form.fields.one(name).ok().flatten().unwrap_or_default().to_owned();
    let (session, consent, token) = (session(&endpoints, &form.headers), one("consent"), one("form_token"));
    let Some(session) = session.filter(|_| consent.len() <= LONGEST_ID) else { return to_account(&endpoints) };
    let (issuer, consent, request_id) = (endpoints.issuer.clone(), ConsentId::from(consent), arrival.id.clone());
    match endpoints.complete(async move { issuer.forget_consent(&session, &token, &consent, &arrival).await }).await {
        Ok(()) => to_account(&endpoints),
        Err(fault) => page(&endpoints.branding, fault, &request_id),
    }
}

/// Ends the session.
pub(super) async fn sign_out(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    request: Request<Body>,
) -> Response<Body> {
    let form = match PostedForm::read(request, &endpoints.config.public_url) {
        Ok(form) => form,
        Err(unread) => return unread.respond(&endpoints.branding, &arrival.id),
    };
    let Some(session) = session(&endpoints, &form.headers) else { return to_account(&endpoints) };
    let token = form.fields.one("form_token").ok().flatten().unwrap_or_default();
    match endpoints.issuer.sign_out(&session, token).await {
        Ok(()) => {
            let mut response = to_account(&endpoints);
            endpoints.cookies().set_session(response.headers_mut(), "", 0);
            response
        }
        Err(fault) => page(&endpoints.branding, fault, &arrival.id),
    }
}

fn to_account(endpoints: &Endpoints) -> Response<Body> {
    see_other(&endpoints.branding, paths::ACCOUNT)
}

/// The session of the browser, as far as its cookie has the form of ours.
fn session(endpoints: &Endpoints, headers: &HeaderMap) -> Option<SessionCookie> {
    endpoints.cookies().session(headers).and_then(|text| SessionCookie::parse(&text))
}

/// Which grants a link or a form means.
fn which(parameters: &Parameters) -> Option<Ending> {
    match (parameters.one("grant").ok()?, parameters.one("all").ok()?) {
        (Some(grant), None) if grant.len() <= LONGEST_ID => Some(Ending::One(GrantId::from(grant))),
        (None, Some("yes")) => Some(Ending::All),
        _ => None,
    }
}
