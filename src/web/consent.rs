//! `POST /consent`: the user's answer.

use axum::body::Body;
use axum::extract::{Extension, State};
use http::{HeaderMap, Request, Response};

use super::authorize::consent_page;
use super::cookies::{Cookies, Kind};
use super::fault::page;
use super::pages::ConsentNotice;
use super::{Endpoints, body, browser, plain};
use crate::issuer::{Approval, Fault, Trouble};
use crate::limits::ClientAddress;
use crate::oauth::parameters::Parameters;
use crate::telemetry::RequestId;

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(request_id): Extension<RequestId>,
    Extension(address): Extension<ClientAddress>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, incoming) = request.into_parts();
    if !browser::is_same_origin(&head.headers, &endpoints.config.public_url) {
        let detail = "a consent form that was posted from another site";
        return page(Fault { trouble: Trouble::Forged, detail: detail.to_owned() }, &request_id);
    }
    let form = match body::read(incoming).await {
        Ok(form) => Parameters::parse(&form),
        Err(error) => return plain(error.status(), error.words()),
    };
    let issuer = endpoints.issuer.clone();
    match answer(&endpoints, &head.headers, &form, address).await {
        Ok(Approval::SignIn { location, binding }) => {
            let mut response = browser::see_other(&location);
            let lifetime = (issuer.now(), endpoints.config.lifetimes.authorization.as_secs());
            let cookies = Cookies::new(&endpoints.config.public_url);
            cookies.set((&head.headers, response.headers_mut()), Kind::Binding, &binding, lifetime);
            response
        }
        Ok(Approval::Denied { redirect, render }) => {
            let mut response = browser::to_client(&redirect);
            Cookies::new(&endpoints.config.public_url).remove(response.headers_mut(), Kind::Consent, &render);
            response
        }
        Ok(Approval::Expired(validated)) => {
            consent_page(&endpoints, &head.headers, *validated, Some(ConsentNotice::Expired), &request_id).await
        }
        Ok(Approval::Answered { finish }) => browser::answered_before(finish.as_ref(), &request_id),
        Err(fault) => page(fault, &request_id),
    }
}

async fn answer(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    form: &Parameters,
    address: ClientAddress,
) -> Result<Approval, Fault> {
    let forged = |detail: String| Fault { trouble: Trouble::Forged, detail };
    let one = |name| form.one(name).map_err(|repeated| forged(repeated.to_string()));
    let opened = endpoints.issuer.open_form(one("form")?.unwrap_or_default())?;
    let cookies = Cookies::new(&endpoints.config.public_url);
    let cookie = cookies.get(headers, Kind::Consent, opened.render());
    let identity = match (one("decision")?, one("identity")?) {
        (Some("deny"), _) => None,
        (_, Some(identity)) => Some(identity.to_owned()),
        (_, None) => return Err(forged("consent form: no button".to_owned())),
    };
    let issuer = endpoints.issuer.clone();
    let work = async move { issuer.answer_form(opened, cookie.as_deref(), identity.as_deref(), address).await };
    endpoints.issuer.complete(work).await.unwrap_or_else(|panicked| Err(Fault::internal(&panicked)))
}
