//! What the handlers share.

use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse;
use http::{HeaderMap, Response};

use super::cookies::{Cookies, Kind, NewCookie};
use super::pages::{Branding, Page};
use crate::config::Config;
use crate::issuer::{AuthorizationCookie, Fault, Issuer};

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Endpoints {
    pub(super) issuer: Issuer,
    pub(super) config: Arc<Config>,
    pub(super) branding: Arc<Branding>,
}

impl Endpoints {
    pub(super) fn cookies(&self) -> Cookies<'_> {
        Cookies::new(&self.config.public_url)
    }

    /// A page with the cookie that must come back with its form.
    pub(super) fn with_cookie(&self, request: &HeaderMap, page: Page, cookie: &AuthorizationCookie) -> Response<Body> {
        let mut response = page.into_response();
        self.set_cookie(request, &mut response, Kind::Consent, cookie);
        response
    }

    /// Sets the cookie of a sign-in, in the answer to a request with these headers.
    pub(super) fn set_cookie(
        &self,
        request: &HeaderMap,
        response: &mut Response<Body>,
        kind: Kind,
        cookie: &AuthorizationCookie,
    ) {
        let lifetimes = &self.config.lifetimes;
        let lifetime = match kind {
            Kind::Consent => lifetimes.consent,
            Kind::Binding => lifetimes.authorization,
        };
        let new = NewCookie { kind, cookie, now: self.issuer.now(), max_age: lifetime.as_secs() };
        self.cookies().set(request, response.headers_mut(), &new);
    }

    /// Runs `work` as a task of its own, which continues when the browser disconnects.
    pub(super) fn complete<T, F>(&self, work: F) -> impl Future<Output = Result<T, Fault>> + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let task = self.issuer.complete(work);
        async { task.await.unwrap_or_else(|panicked| Err(Fault::internal(&panicked))) }
    }
}
