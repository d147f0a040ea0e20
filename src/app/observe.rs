//! What an operator sees of the whole process: its health, and what is measured when metrics are scraped.

use std::sync::Arc;

use super::{App, Authority};
use crate::inbound::{HealthReport, Scrape};

impl App {
    /// All metrics as OpenMetrics text, as `/metrics` of the operations listener shows them.
    pub async fn metrics(&self) -> String {
        self.measure().await;
        self.metrics.encode()
    }

    pub(super) fn scrape(&self) -> Scrape {
        let app = self.clone();
        Arc::new(move || {
            let app = app.clone();
            Box::pin(async move { app.metrics().await })
        })
    }

    pub(super) fn health(&self) -> HealthReport {
        let app = self.clone();
        Arc::new(move || app.trouble())
    }

    /// What no event counts: states.
    async fn measure(&self) {
        let requests = &self.metrics.requests;
        for (listener, pool) in [("public", &self.budget.connections), ("operations", &self.budget.operations)] {
            // an open listener holds one place for the next connection
            requests.set_connections(listener, pool.taken().saturating_sub(1));
        }
        self.metrics.calls.set_cached_tokens(self.gateway.remembered_tokens().await);
        if let Some(authority) = &self.authority {
            self.measure_authority(authority);
        }
        for (id, up) in self.gateway.issuers() {
            self.metrics.providers.set_up(id, up);
        }
        self.metrics.background.set_ready(self.drain.is_ready(), self.trouble().len());
    }

    fn measure_authority(&self, authority: &Authority) {
        for provider in authority.identities().iter() {
            self.metrics.providers.set_up(provider.id().as_str(), provider.trouble().is_none());
        }
        self.metrics.background.set_feed_age(authority.revocation().staleness().as_secs());
        if let Some(keys) = authority.ring().standing() {
            let age = self.clock.now().since(keys.signing_since).as_secs();
            self.metrics.background.set_signing_keys(age, keys.published);
        }
    }

    /// What is wrong with what this process depends on; each entry is a sentence.
    fn trouble(&self) -> Vec<String> {
        let mut trouble = self.authority.as_ref().map(Authority::trouble).unwrap_or_default();
        trouble.extend(self.gateway.troubled_issuers());
        trouble.extend(self.gateway.failing().into_iter().map(|id| format!("upstream {id}: the last call failed")));
        trouble
    }
}
