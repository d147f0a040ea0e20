//! What the issuer is built from, and what several of its parts share.

use std::sync::Arc;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::identity::Identities;
use crate::issuer::clients::{ClientAuthentication, Clients};
use crate::issuer::grants::{GrantEnds, ProviderTokens};
use crate::issuer::machine_bounds::MachineBounds;
use crate::issuer::resources::Resources;
use crate::issuer::tokens::Proofs;
use crate::keys::{KeyRing, Sealer};
use crate::limits::Limits;
use crate::outbound::UntrustedFetcher;
use crate::revocation::Revocation;
use crate::storage::Store;
use crate::telemetry::metrics::Metrics;

/// What the issuer is built from.
pub(crate) struct IssuerParts {
    /// The whole configuration.
    pub config: Arc<Config>,
    /// The store.
    pub store: Store,
    /// Which grants have ended.
    pub revocation: Revocation,
    /// Our signing keys.
    pub ring: KeyRing,
    /// What seals at rest.
    pub sealer: Sealer,
    /// The identity providers.
    pub identities: Identities,
    /// Fetches what untrusted clients name: the documents and the key sets of clients.
    pub untrusted: UntrustedFetcher,
    /// The rate limits.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
    /// Its metrics.
    pub metrics: Metrics,
    /// Where it records who was granted what.
    pub audit: Audit,
}

/// What both sign-ins and token requests use.
pub(super) struct Shared {
    pub(super) issuer: Arc<str>,
    pub(super) clients: Clients,
    /// For every endpoint at which clients authenticate.
    pub(super) authentication: ClientAuthentication,
    pub(super) resources: Resources,
    pub(super) bounds: MachineBounds,
    /// The keys that tokens are bound to.
    pub(super) proofs: Proofs,
    pub(super) provider_tokens: ProviderTokens,
    pub(super) ends: GrantEnds,
}
