//! How the parts of the issuer are put together: each is given what it uses, once, at start.

mod parts;
mod sign_in;

use std::sync::Arc;

use super::account::Accounts;
use super::clients::{ClientAuthentication, Clients, Registrations};
use super::device::DeviceAuthorizations;
use super::grants::{Adoption, Expiry, GrantEnds, ProviderTokens};
use super::metadata::PublicDocuments;
use super::resources::{Resources, entry_scopes};
use super::sign_in::{SignIn, UserCodes};
use super::tasks::Tasks;
use super::tokens::{
    AccessTokens, DevicePolls, NewGrants, Polls, PresentedTokens, Redemptions, RefreshLeases, Refreshes, Renewals,
    TokenEndpoint,
};
use crate::clock::Clock;
use crate::telemetry::metrics::Task;

pub(crate) use parts::IssuerParts;
use parts::Shared;

/// The parts behind the facade.
pub(super) struct Inner {
    pub(super) sign_in: SignIn,
    pub(super) accounts: Accounts,
    /// `None` when device authorization is off.
    pub(super) device: Option<DeviceAuthorizations>,
    pub(super) tokens: TokenEndpoint,
    pub(super) registrations: Registrations,
    pub(super) adoption: Arc<Adoption>,
    pub(super) expiry: Expiry,
    pub(super) documents: PublicDocuments,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
}

/// Builds all parts.
pub(super) fn assemble(parts: IssuerParts) -> Inner {
    let tasks = Tasks::default();
    let shared = shared(&parts, &tasks);
    let adoption = Arc::new(adoption(&parts, &shared));
    let sign_in = sign_in::sign_in(&parts, &shared);
    Inner {
        accounts: accounts(&parts, &shared, &sign_in),
        device: parts.config.device.enabled.then(|| device(&parts, &shared, &sign_in)),
        sign_in,
        tokens: tokens(&parts, &shared),
        registrations: registrations(&parts),
        expiry: expiry(&parts, &shared, Arc::clone(&adoption)),
        adoption,
        documents: PublicDocuments::new(&parts.config, parts.ring),
        tasks,
        clock: parts.clock,
    }
}

fn registrations(parts: &IssuerParts) -> Registrations {
    Registrations {
        settings: parts.config.registration.clone(),
        entry_scopes: entry_scopes(&parts.config),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        device_allowed: parts.config.device.enabled && parts.config.device.registered_clients,
        limits: parts.limits.clone(),
        counted: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
    }
}

fn accounts(parts: &IssuerParts, shared: &Shared, sign_in: &SignIn) -> Accounts {
    Accounts {
        sessions: sign_in.sessions.clone(),
        clients: shared.clients.clone(),
        resources: shared.resources.clone(),
        identities: parts.identities.clone(),
        ends: shared.ends.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        public_url: Arc::clone(&shared.issuer),
    }
}

fn device(parts: &IssuerParts, shared: &Shared, sign_in: &SignIn) -> DeviceAuthorizations {
    DeviceAuthorizations {
        authentication: ClientAuthentication { clients: shared.clients.clone(), limits: parts.limits.clone() },
        authorize: sign_in.authorize.clone(),
        user_codes: UserCodes::new(&parts.sealer),
        public_url: parts.config.public_url.clone(),
        limits: parts.limits.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
    }
}

fn shared(parts: &IssuerParts, tasks: &Tasks) -> Shared {
    let IssuerParts { config, store, revocation, sealer, identities, clock, metrics, .. } = parts;
    let provider_tokens =
        ProviderTokens::new(identities.clone(), sealer.clone(), store.clone(), clock.clone(), tasks.clone());
    Shared {
        issuer: config.public_url.as_str().into(),
        clients: Clients::new(config, store.clone()),
        resources: Resources::new(&config.upstreams),
        ends: GrantEnds {
            store: store.clone(),
            clock: clock.clone(),
            revocation: revocation.clone(),
            provider_tokens: provider_tokens.clone(),
            counted: metrics.grants.clone(),
            audit: parts.audit.clone(),
        },
        provider_tokens,
    }
}

fn adoption(parts: &IssuerParts, shared: &Shared) -> Adoption {
    let IssuerParts { config, store, sealer, identities, .. } = parts;
    Adoption::new(config, identities.clone(), shared.ends.clone(), store.clone(), sealer.clone())
}

fn expiry(parts: &IssuerParts, shared: &Shared, adoption: Arc<Adoption>) -> Expiry {
    Expiry {
        adoption,
        ends: shared.ends.clone(),
        provider_tokens: shared.provider_tokens.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        lifetimes: parts.config.lifetimes.clone(),
        runs: parts.metrics.background.task(Task::Expiry, &parts.clock),
    }
}

fn tokens(parts: &IssuerParts, shared: &Shared) -> TokenEndpoint {
    let IssuerParts { config, store, identities, clock, metrics, .. } = parts;
    let access_tokens = AccessTokens {
        issuer: Arc::clone(&shared.issuer),
        ring: parts.ring.clone(),
        lifetime: config.lifetimes.access_token,
        refresh_idle: config.lifetimes.refresh_idle,
    };
    let new_grants = NewGrants {
        identities: identities.clone(),
        access_tokens: access_tokens.clone(),
        ends: shared.ends.clone(),
        store: store.clone(),
        clock: clock.clone(),
        lifetimes: config.lifetimes.clone(),
        counted: metrics.grants.clone(),
        audit: parts.audit.clone(),
    };
    TokenEndpoint {
        authentication: ClientAuthentication { clients: shared.clients.clone(), limits: parts.limits.clone() },
        counted: metrics.grants.clone(),
        refreshes: refreshes(parts, shared, access_tokens),
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
            ends: shared.ends.clone(),
            store: store.clone(),
            clock: clock.clone(),
            audit: parts.audit.clone(),
        },
    }
}

fn refreshes(parts: &IssuerParts, shared: &Shared, access_tokens: AccessTokens) -> Refreshes {
    let IssuerParts { config, store, identities, clock, .. } = parts;
    Refreshes {
        presented: PresentedTokens {
            store: store.clone(),
            clock: clock.clone(),
            resources: shared.resources.clone(),
            ends: shared.ends.clone(),
            replay_window: config.lifetimes.replay_window,
        },
        leases: RefreshLeases::new(store.clone(), clock.clone()),
        renewals: Renewals {
            identities: identities.clone(),
            provider_tokens: shared.provider_tokens.clone(),
            ends: shared.ends.clone(),
            store: store.clone(),
        },
        access_tokens,
        provider_tokens: shared.provider_tokens.clone(),
        limits: parts.limits.clone(),
        store: store.clone(),
        clock: clock.clone(),
    }
}
