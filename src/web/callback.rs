//! `GET /callback/{identity}`: the identity provider's answer.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use http::{HeaderMap, Response, Uri};

use super::cookies::{Cookies, Kind};
use super::fault::page;
use super::{Endpoints, browser};
use crate::issuer::{Answered, Fault, ProviderAnswer};
use crate::oauth::parameters::Parameters;
use crate::telemetry::RequestId;

pub(super) async fn get(
    State(endpoints): State<Endpoints>,
    Extension(request_id): Extension<RequestId>,
    Path(identity): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes());
    let render = ProviderAnswer { identity: &identity, parameters: &parameters }.render();
    let cookies = Cookies::new(&endpoints.config.public_url);
    let cookie = render.and_then(|render| cookies.get(&headers, Kind::Binding, &render));
    let issuer = endpoints.issuer.clone();
    let work = async move {
        let answer = ProviderAnswer { identity: &identity, parameters: &parameters };
        issuer.callback(&answer, cookie.as_deref()).await
    };
    match endpoints.issuer.complete(work).await.unwrap_or_else(|panicked| Err(Fault::internal(&panicked))) {
        Ok(answered) => respond(&answered, &request_id),
        Err(fault) => page(fault, &request_id),
    }
}

/// Sends the browser where the answer leads.
pub(super) fn respond(answered: &Answered, request_id: &RequestId) -> Response<Body> {
    match answered {
        Answered::ToClient(redirect) => browser::to_client(redirect),
        Answered::ToProvider(location) => browser::see_other(location),
        Answered::Before { finish } => browser::answered_before(finish.as_ref(), request_id),
    }
}
