//! The configured bounds of grants without a user's consent: for clients that act for themselves, and for assertion issuers.

use std::collections::HashMap;
use std::sync::Arc;

use super::resources::Resources;
use crate::config::{AssertionIssuer, Bounds, Config};
use crate::model::grant::{Basis, Grant};
use crate::model::ids::ClientId;

/// The bounds of the configuration. Cheap to clone.
#[derive(Clone)]
pub(super) struct MachineBounds(Arc<Inner>);

struct Inner {
    clients: HashMap<ClientId, Bounds>,
    issuers: Vec<AssertionIssuer>,
    resources: Resources,
}

impl MachineBounds {
    pub(super) fn new(config: &Config, resources: Resources) -> Self {
        let clients = config.clients.iter().filter_map(|client| {
            let bounds = client.machine.clone()?;
            Some((ClientId::from(client.client_id.as_str()), bounds))
        });
        Self(Arc::new(Inner { clients: clients.collect(), issuers: config.assertion_issuers.clone(), resources }))
    }

    /// Whether any client may act for itself.
    pub(super) fn has_machines(&self) -> bool {
        !self.0.clients.is_empty()
    }

    /// What a client may do for itself.
    pub(super) fn of_client(&self, client: &ClientId) -> Option<&Bounds> {
        self.0.clients.get(client)
    }

    /// The issuers of assertions.
    pub(super) fn issuers(&self) -> &[AssertionIssuer] {
        &self.0.issuers
    }

    /// Whether a grant that was made earlier is within today's bounds.
    pub(super) fn allow(&self, grant: &Grant, basis: Basis) -> bool {
        let bounds = match basis {
            Basis::ClientCredentials => self.of_client(&grant.client_id),
            Basis::Assertion => {
                let issuer = self.0.issuers.iter().find(|issuer| issuer.id == grant.identity.as_str());
                let allowed = issuer.filter(|issuer| issuer.clients.iter().any(|id| id == grant.client_id.as_str()));
                allowed.map(|issuer| &issuer.bounds)
            }
            // an operator made it, and ends it
            Basis::ApiKey => return true,
        };
        let upstream = self.0.resources.of_audience(&grant.resource);
        bounds.zip(upstream).is_some_and(|(bounds, upstream)| {
            bounds.allow(&upstream.settings.id)
                && upstream
                    .settings
                    .scopes
                    .hierarchy
                    .missing(&grant.scope, &bounds.scopes_of(&upstream.settings.scopes))
                    .is_empty()
        })
    }
}
