//! The consent page with its cookie, for every handler that shows it.

use axum::body::Body;
use axum::response::IntoResponse;
use http::{HeaderMap, Response};

use super::cookies::Kind;
use super::endpoints::Endpoints;
use super::fault::page;
use super::pages::{self, ConsentNotice};
use crate::issuer::Validated;
use crate::telemetry::RequestId;

/// How the page is shown.
pub(super) struct Asking {
    pub(super) notice: Option<ConsentNotice>,
    /// Whether no other site sent the browser.
    pub(super) direct: bool,
}

/// Renders the consent page with its cookie.
pub(super) async fn consent_page(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    validated: Validated,
    asking: Asking,
    request_id: &RequestId,
) -> Response<Body> {
    let prompt = match endpoints.issuer.consent(validated, asking.direct).await {
        Ok(prompt) => prompt,
        Err(fault) => return page(&endpoints.branding, fault, request_id),
    };
    let mut response = pages::consent(&endpoints.branding, &prompt.view, asking.notice).into_response();
    endpoints.set_cookie(headers, &mut response, Kind::Consent, &prompt.cookie);
    response
}
