//! The consent page with its cookie, for every handler that shows it.

use axum::body::Body;
use http::{HeaderMap, Response};

use super::endpoints::Endpoints;
use super::fault::page;
use super::pages::{self, ConsentNotice};
use crate::issuer::{FormPage, Validated};
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
    match endpoints.issuer.consent(validated, asking.direct).await {
        Ok(FormPage { view, cookie }) => {
            endpoints.with_cookie(headers, pages::consent(&endpoints.branding, &view, asking.notice), &cookie)
        }
        Err(fault) => page(&endpoints.branding, fault, request_id),
    }
}
