//! `GET /callback/{identity}`: the identity provider's answer, in a task of its own because it claims a single-use
//! authorization.

use axum::body::Body;
use axum::extract::{Extension, State};
use http::{HeaderMap, Response, Uri};

use super::browser::ProviderId;
use super::cookies::Kind;
use super::fault::page;
use super::{Endpoints, browser};
use crate::issuer::ProviderAnswer;
use crate::wire::Arrival;

pub(super) async fn get(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    identity: ProviderId,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    let request_id = arrival.id.clone();
    let answer = ProviderAnswer { identity: identity.0, parameters: browser::query(&uri), arrival };
    let cookie = answer.authorization().and_then(|id| endpoints.cookies().get(&headers, Kind::Binding, &id));
    let issuer = endpoints.issuer.clone();
    match endpoints.complete(async move { issuer.callback(&answer, cookie.as_deref()).await }).await {
        Ok(answered) => browser::onwards(&endpoints, &headers, answered, &request_id).await,
        Err(fault) => page(&endpoints.branding, fault, &request_id),
    }
}
