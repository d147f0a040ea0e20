//! The endpoints that give, end and describe tokens, put together.

use std::sync::Arc;

use super::parts::{IssuerParts, Shared};
use crate::identity::AssertionIssuers;
use crate::issuer::tasks::Tasks;
use crate::issuer::token_state::{Introspection, Introspectors, PresentedAccessTokens, TokenRevocation};
use crate::issuer::tokens::{
    AccessTokens, ClientCredentials, DemandedSignIns, DevicePolls, JwtBearer, MachineGrants, NewGrants, Polls,
    PresentedTokens, ProviderAccess, Redemptions, RefreshLeases, Refreshes, Renewals, TokenEndpoint,
};

pub(super) fn tokens(parts: &IssuerParts, shared: &Shared, access: &ProviderAccess) -> TokenEndpoint {
    let IssuerParts { config, store, identities, clock, metrics, .. } = parts;
    let access_tokens = AccessTokens {
        issuer: Arc::clone(&shared.issuer),
        ring: parts.ring.clone(),
        lifetime: config.lifetimes.access_token,
        refresh_idle: config.lifetimes.refresh_idle,
    };
    let new_grants = NewGrants {
        proofs: shared.proofs.clone(),
        identities: identities.clone(),
        resources: shared.resources.clone(),
        access_tokens: access_tokens.clone(),
        ends: shared.ends.clone(),
        store: store.clone(),
        clock: clock.clone(),
        lifetimes: config.lifetimes.clone(),
        metrics: metrics.grants.clone(),
        audit: parts.audit.clone(),
    };
    TokenEndpoint {
        authentication: shared.authentication.clone(),
        proofs: shared.proofs.clone(),
        metrics: metrics.grants.clone(),
        client_credentials: client_credentials(parts, shared, &access_tokens),
        jwt_bearer: jwt_bearer(parts, shared, &access_tokens),
        refreshes: refreshes(parts, shared, (access, access_tokens)),
        device_polls: config.device.enabled.then(|| DevicePolls {
            polls: Polls::new(clock.clone()),
            new_grants: new_grants.clone(),
            resources: shared.resources.clone(),
            identities: identities.clone(),
            store: store.clone(),
            clock: clock.clone(),
        }),
        redemptions: Redemptions {
            clients: shared.clients.clone(),
            resources: shared.resources.clone(),
            identities: identities.clone(),
            new_grants,
            proofs: shared.proofs.clone(),
            ends: shared.ends.clone(),
            store: store.clone(),
            clock: clock.clone(),
            audit: parts.audit.clone(),
        },
    }
}

/// The renewal of grants at their providers: refreshes, standing checks and the tokens for servers behind us share it.
pub(super) fn provider_access(parts: &IssuerParts, shared: &Shared, tasks: &Tasks) -> ProviderAccess {
    let IssuerParts { store, identities, clock, .. } = parts;
    let demanded = DemandedSignIns::new(clock.clone());
    let renewals = Renewals {
        identities: identities.clone(),
        provider_tokens: shared.provider_tokens.clone(),
        ends: shared.ends.clone(),
        resources: shared.resources.clone(),
        audit: parts.audit.clone(),
        store: store.clone(),
        demanded: demanded.clone(),
    };
    ProviderAccess {
        leases: Arc::new(RefreshLeases::new(store.clone(), clock.clone())),
        renewals: Arc::new(renewals),
        demanded,
        provider_tokens: shared.provider_tokens.clone(),
        identities: identities.clone(),
        store: store.clone(),
        clock: clock.clone(),
        tasks: tasks.clone(),
    }
}

fn machine_grants(parts: &IssuerParts, shared: &Shared, access_tokens: &AccessTokens) -> MachineGrants {
    MachineGrants {
        proofs: shared.proofs.clone(),
        access_tokens: access_tokens.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        metrics: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
    }
}

fn presented_access_tokens(parts: &IssuerParts, shared: &Shared) -> PresentedAccessTokens {
    PresentedAccessTokens {
        issuer: Arc::clone(&shared.issuer),
        lifetime: parts.config.lifetimes.access_token,
        ring: parts.ring.clone(),
        clock: parts.clock.clone(),
    }
}

pub(super) fn revocation(parts: &IssuerParts, shared: &Shared) -> TokenRevocation {
    TokenRevocation {
        authentication: shared.authentication.clone(),
        access_tokens: presented_access_tokens(parts, shared),
        ends: shared.ends.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        limits: parts.limits.clone(),
        metrics: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
    }
}

fn client_credentials(parts: &IssuerParts, shared: &Shared, access_tokens: &AccessTokens) -> Option<ClientCredentials> {
    shared.bounds.has_machines().then(|| ClientCredentials {
        bounds: shared.bounds.clone(),
        resources: shared.resources.clone(),
        grants: machine_grants(parts, shared, access_tokens),
    })
}

fn jwt_bearer(parts: &IssuerParts, shared: &Shared, access_tokens: &AccessTokens) -> Option<JwtBearer> {
    let issuers = AssertionIssuers::new(&parts.config, &parts.clock, &parts.metrics.providers);
    (!issuers.is_empty()).then(|| JwtBearer {
        issuers,
        identities: parts.identities.clone(),
        issuer: Arc::clone(&shared.issuer),
        resources: shared.resources.clone(),
        grants: machine_grants(parts, shared, access_tokens),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
    })
}

pub(super) fn introspection(parts: &IssuerParts, shared: &Shared) -> Introspection {
    Introspection {
        introspectors: Introspectors::new(&parts.config),
        authentication: shared.authentication.clone(),
        access_tokens: presented_access_tokens(parts, shared),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        limits: parts.limits.clone(),
        metrics: parts.metrics.grants.clone(),
    }
}

fn refreshes(
    parts: &IssuerParts,
    shared: &Shared,
    (access, access_tokens): (&ProviderAccess, AccessTokens),
) -> Refreshes {
    let IssuerParts { config, store, clock, .. } = parts;
    Refreshes {
        presented: PresentedTokens {
            store: store.clone(),
            clock: clock.clone(),
            resources: shared.resources.clone(),
            ends: shared.ends.clone(),
            proofs: shared.proofs.clone(),
            replay_window: config.lifetimes.replay_window,
        },
        leases: Arc::clone(&access.leases),
        renewals: Arc::clone(&access.renewals),
        access_tokens,
        provider_tokens: shared.provider_tokens.clone(),
        limits: parts.limits.clone(),
        store: store.clone(),
        clock: clock.clone(),
    }
}
