//! How the parts of the issuer are put together: each is given what it uses, once, at start.

mod parts;
mod sign_in;

use std::sync::Arc;

use super::account::Accounts;
use super::clients::{
    AssertionRules, Assertions, ClientAuthentication, ClientManagement, Clients, DocumentParts, Documents,
    MetadataRules, Registrations,
};
use super::device::DeviceAuthorizations;
use super::grants::{Adoption, Expiry, GrantEnds, ProviderTokens};
use super::machine_bounds::MachineBounds;
use super::metadata::PublicDocuments;
use super::resources::Resources;
use super::sign_in::{SignIn, UserCodes};
use super::tasks::Tasks;
use super::token_state::{Introspection, Introspectors, PresentedAccessTokens, TokenRevocation};
use super::tokens::{
    AccessTokens, ClientCredentials, DevicePolls, JwtBearer, MachineGrants, NewGrants, Polls, PresentedTokens, Proofs,
    Redemptions, RefreshLeases, Refreshes, Renewals, TokenEndpoint,
};
use crate::clock::Clock;
use crate::identity::AssertionIssuers;
use crate::keys::ClientKeySets;
use crate::keys::dpop::Nonces;
use crate::oauth::paths;
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
    pub(super) revocation: TokenRevocation,
    pub(super) introspection: Introspection,
    pub(super) registrations: Registrations,
    pub(super) management: ClientManagement,
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
    let rules = Arc::new(MetadataRules::new(&parts.config));
    Inner {
        accounts: accounts(&parts, &shared, &sign_in),
        device: parts.config.device.enabled.then(|| device(&parts, &shared, &sign_in)),
        sign_in,
        tokens: tokens(&parts, &shared),
        revocation: revocation(&parts, &shared),
        introspection: introspection(&parts, &shared),
        registrations: registrations(&parts, &rules),
        management: management(&parts, &shared, rules),
        expiry: expiry(&parts, &shared, Arc::clone(&adoption)),
        adoption,
        documents: PublicDocuments::new(&parts.config, parts.ring),
        tasks,
        clock: parts.clock,
    }
}

fn management(parts: &IssuerParts, shared: &Shared, rules: Arc<MetadataRules>) -> ClientManagement {
    ClientManagement {
        rules,
        ends: shared.ends.clone(),
        store: parts.store.clone(),
        limits: parts.limits.clone(),
        audit: parts.audit.clone(),
    }
}

fn authentication(parts: &IssuerParts, clients: Clients, issuer: &Arc<str>) -> ClientAuthentication {
    let IssuerParts { config, store, untrusted, limits, clock, .. } = parts;
    let sets = ClientKeySets::new(untrusted.clone(), clock.clone());
    let assertions = Assertions {
        rules: AssertionRules::new(Arc::clone(issuer), &config.public_url.join(paths::TOKEN)),
        sets,
        store: store.clone(),
        clock: clock.clone(),
        limits: limits.clone(),
    };
    ClientAuthentication { clients, assertions, limits: limits.clone() }
}

fn registrations(parts: &IssuerParts, rules: &Arc<MetadataRules>) -> Registrations {
    Registrations {
        settings: parts.config.registration.clone(),
        rules: Arc::clone(rules),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        limits: parts.limits.clone(),
        metrics: parts.metrics.grants.clone(),
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
        remembering: sign_in.remembered.remembering.clone(),
        audit: parts.audit.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        public_url: Arc::clone(&shared.issuer),
    }
}

fn device(parts: &IssuerParts, shared: &Shared, sign_in: &SignIn) -> DeviceAuthorizations {
    DeviceAuthorizations {
        authentication: shared.authentication.clone(),
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
    let resources = Resources::new(&config.upstreams);
    let issuer: Arc<str> = config.public_url.as_str().into();
    let clients = Clients::new(config, store.clone(), documents(parts, tasks));
    Shared {
        authentication: authentication(parts, clients.clone(), &issuer),
        issuer,
        clients,
        bounds: MachineBounds::new(config, resources.clone()),
        proofs: Proofs::new(
            config,
            Nonces::new(sealer, config.public_url.as_str()),
            resources.clone(),
            store.clone(),
            clock.clone(),
        ),
        resources,
        ends: GrantEnds {
            store: store.clone(),
            clock: clock.clone(),
            revocation: revocation.clone(),
            provider_tokens: provider_tokens.clone(),
            metrics: metrics.grants.clone(),
            audit: parts.audit.clone(),
        },
        provider_tokens,
    }
}

fn documents(parts: &IssuerParts, tasks: &Tasks) -> Documents {
    let IssuerParts { config, untrusted, store, limits, clock, metrics, audit, .. } = parts;
    Documents::new(DocumentParts {
        settings: config.client_documents.clone(),
        redirect_policy: config.registration.redirect_policy.clone(),
        untrusted: untrusted.clone(),
        store: store.clone(),
        clock: clock.clone(),
        limits: limits.clone(),
        tasks: tasks.clone(),
        metrics: metrics.grants.clone(),
        audit: audit.clone(),
    })
}

fn adoption(parts: &IssuerParts, shared: &Shared) -> Adoption {
    let IssuerParts { config, sealer, identities, .. } = parts;
    let (ends, bounds) = (shared.ends.clone(), shared.bounds.clone());
    Adoption::new(config, identities.clone(), bounds, ends, sealer.clone())
}

fn expiry(parts: &IssuerParts, shared: &Shared, adoption: Arc<Adoption>) -> Expiry {
    Expiry {
        adoption,
        ends: shared.ends.clone(),
        provider_tokens: shared.provider_tokens.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        lifetimes: parts.config.lifetimes.clone(),
        remember_for: parts.config.consent.remember_for,
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
        proofs: shared.proofs.clone(),
        identities: identities.clone(),
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
            proofs: shared.proofs.clone(),
            ends: shared.ends.clone(),
            store: store.clone(),
            clock: clock.clone(),
            audit: parts.audit.clone(),
        },
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

fn revocation(parts: &IssuerParts, shared: &Shared) -> TokenRevocation {
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
        issuer: Arc::clone(&shared.issuer),
        resources: shared.resources.clone(),
        grants: machine_grants(parts, shared, access_tokens),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
    })
}

fn introspection(parts: &IssuerParts, shared: &Shared) -> Introspection {
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

fn refreshes(parts: &IssuerParts, shared: &Shared, access_tokens: AccessTokens) -> Refreshes {
    let IssuerParts { config, store, identities, clock, .. } = parts;
    Refreshes {
        presented: PresentedTokens {
            store: store.clone(),
            clock: clock.clone(),
            resources: shared.resources.clone(),
            ends: shared.ends.clone(),
            proofs: shared.proofs.clone(),
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
