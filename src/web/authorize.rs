//! `GET /authorize` (RFC 6749 3.1): the consent page, or why not. Stores nothing.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::IntoResponse;
use http::{HeaderMap, Response, Uri};

use super::cookies::Kind;
use super::fault::page;
use super::pages::{self, ConsentNotice};
use super::{Endpoints, browser};
use crate::issuer::{AuthorizeRejection, Fault, Validated};
use crate::oauth::parameters::Parameters;
use crate::telemetry::RequestId;
use crate::wire::Arrival;

/// The longest query of a request, in bytes.
const MAX_REQUEST: usize = 8 * 1024;

pub(super) async fn get(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    let (query, request_id) = (uri.query().unwrap_or_default(), arrival.id);
    if query.len() > MAX_REQUEST {
        return page(&endpoints.branding, Fault::too_long(), &request_id);
    }
    match endpoints.issuer.authorize(&Parameters::parse(query.as_bytes()), arrival.address).await {
        Ok(validated) => consent_page(&endpoints, &headers, validated, None, &request_id).await,
        Err(AuthorizeRejection::Page(fault)) => page(&endpoints.branding, fault, &request_id),
        Err(AuthorizeRejection::Redirect(redirect)) => browser::to_client(&endpoints.branding, &redirect),
    }
}

/// Renders the consent page with its cookie.
pub(super) async fn consent_page(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    validated: Validated,
    notice: Option<ConsentNotice>,
    request_id: &RequestId,
) -> Response<Body> {
    let prompt = match endpoints.issuer.consent(validated).await {
        Ok(prompt) => prompt,
        Err(fault) => return page(&endpoints.branding, fault, request_id),
    };
    let mut response = pages::consent(&endpoints.branding, &prompt.view, notice).into_response();
    let lifetime = (endpoints.issuer.now(), endpoints.config.lifetimes.consent.as_secs());
    endpoints.cookies().set((headers, response.headers_mut()), Kind::Consent, &prompt.cookie, lifetime);
    response
}
