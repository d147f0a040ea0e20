//! What the endpoints call.

use std::sync::Arc;

use super::cookies::Cookies;
use super::pages::Branding;
use crate::config::Config;
use crate::issuer::{Fault, Issuer};

/// What the endpoints call.
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
