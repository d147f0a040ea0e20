//! How the parts of the gateway are put together: each is given what it uses, once, at start.

use std::sync::Arc;

use super::authenticate::{Authenticator, OwnCredentials};
use super::calls::Calls;
use super::cors::Cors;
use super::forward::Forwarder;
use super::incidents::Incidents;
use super::lease::Ends;
use super::proofs::Proofs;
use super::resource_metadata::Documents;
use super::routes::Routes;
use super::seen_proofs::SeenProofs;
use super::verify::{ApiKeyVerifier, ForeignTokens, OwnTokens};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::delegation::Delegation;
use crate::keys::dpop::Nonces;
use crate::keys::{KeyRing, Sealer};
use crate::limits::{Budget, Limits};
use crate::revocation::Revocation;
use crate::signal::Signal;
use crate::storage::Store;
use crate::telemetry::metrics;

/// What the gateway is made of.
#[derive(Clone)]
pub(crate) struct GatewayParts {
    /// The whole configuration.
    pub config: Arc<Config>,
    /// What our own tokens and API keys are verified with; `None` where no upstream accepts them.
    pub own: Option<OwnParts>,
    /// What binds sessions.
    pub sealer: Sealer,
    /// Time.
    pub clock: Clock,
    /// How many calls, and how much memory for their bodies.
    pub budget: Budget,
    /// Set when open streams must end.
    pub drained: Signal,
    /// What calls and their tokens count in.
    pub metrics: metrics::Metrics,
    /// How often API keys are looked up for one address.
    pub limits: Limits,
    /// Where misused tokens are recorded.
    pub audit: Audit,
    /// What the upstreams are told of the callers.
    pub delegation: Arc<Delegation>,
}

/// What our own tokens and API keys are verified with.
#[derive(Clone)]
pub(crate) struct OwnParts {
    /// Read once for each token.
    pub store: Store,
    /// Which grants have ended.
    pub revocation: Revocation,
    /// Our signing keys.
    pub ring: KeyRing,
}

/// The parts behind the facade.
pub(super) struct Inner {
    pub(super) config: Arc<Config>,
    pub(super) routes: Routes,
    pub(super) authenticator: Authenticator,
    pub(super) proofs: Proofs,
    pub(super) forwarder: Forwarder,
    pub(super) cors: Cors,
    pub(super) metadata: Documents,
    pub(super) calls: Calls,
    pub(super) incidents: Arc<Incidents>,
    pub(super) budget: Budget,
}

impl Inner {
    /// Builds the parts; opens no connection.
    pub(super) fn new(parts: GatewayParts) -> Self {
        let incidents = Arc::new(Incidents::new(parts.audit.clone()));
        let authenticator = authenticator(&parts, &incidents);
        let GatewayParts { config, own, sealer, clock, budget, drained, metrics, delegation, .. } = parts;
        let nonces = Nonces::new(&sealer, config.public_url.as_str());
        let proofs = Proofs { nonces, seen: SeenProofs::default(), store: own.map(|own| own.store), clock };
        let ends = Ends { max_age: config.server.max_stream_age, drained };
        Self {
            routes: Routes::new(&config, &delegation, budget.idle_per_upstream, &metrics.calls),
            authenticator,
            proofs,
            forwarder: Forwarder::new(&config.public_url, &sealer),
            cors: Cors::new(&config),
            metadata: Documents::new(&config),
            incidents,
            calls: Calls { ends, connections: budget.calls.clone() },
            budget,
            config,
        }
    }
}

fn authenticator(parts: &GatewayParts, incidents: &Arc<Incidents>) -> Authenticator {
    let GatewayParts { config, own, clock, metrics, limits, delegation, .. } = parts;
    let lifetime = config.lifetimes.access_token;
    let own = own.as_ref().map(|OwnParts { store, revocation, ring }| OwnCredentials {
        api_keys: ApiKeyVerifier::new(
            store.clone(),
            revocation.clone(),
            clock.clone(),
            Arc::clone(delegation),
            limits.clone(),
        ),
        tokens: OwnTokens {
            config: Arc::clone(config),
            lifetime,
            ring: ring.clone(),
            store: store.clone(),
            revocation: revocation.clone(),
            clock: clock.clone(),
            delegation: Arc::clone(delegation),
        },
        max_staleness: config.server.revocation_staleness,
    });
    let foreign = ForeignTokens::new(config, clock, delegation, limits.clone(), metrics);
    Authenticator::new(own, foreign, lifetime, (&metrics.calls, clock.clone()), Arc::clone(incidents))
}
