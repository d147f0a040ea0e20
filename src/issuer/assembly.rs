//! How the parts of the issuer are put together: each is given what it uses, once, at start.

use std::sync::Arc;

use super::clients::{
    Assertions, ClientAuthentication, ClientManagement, Clients, DocumentParts, Documents, MetadataRules, Registrations,
};
use super::grants::{Adoption, Expiry, GrantEnds, ProviderTokens};
use super::machine_bounds::MachineBounds;
use super::metadata::PublicDocuments;
use super::resources::Resources;
use super::sign_in::{
    Approvals, Authorize, BoundSignIns, Callbacks, Codes, ConsentForms, FirstAnswers, PasswordSignIn, ProviderLeg,
    Recipients, SignIn,
};
use super::tasks::Tasks;
use super::token_state::{Introspection, Introspectors, PresentedAccessTokens, TokenRevocation};
use super::tokens::{
    AccessTokens, ClientCredentials, JwtBearer, MachineGrants, PresentedTokens, Redemptions, RefreshLeases, Refreshes,
    Renewals, TokenEndpoint,
};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::identity::{AssertionIssuers, Identities};
use crate::keys::{ClientKeySets, KeyRing, Sealer};
use crate::limits::Limits;
use crate::oauth::paths;
use crate::outbound::Strangers;
use crate::revocation::Revocation;
use crate::storage::Store;
use crate::telemetry::metrics::{Metrics, Task};

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
    /// Fetches what strangers name: the documents and the key sets of clients.
    pub strangers: Strangers,
    /// The rate limits.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
    /// What it counts in.
    pub metrics: Metrics,
    /// Where it records who was granted what.
    pub audit: Audit,
}

/// The parts behind the facade.
pub(super) struct Inner {
    pub(super) sign_in: SignIn,
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

/// What both sign-ins and token requests use.
struct Shared {
    issuer: Arc<str>,
    clients: Clients,
    /// For every endpoint at which clients authenticate.
    authentication: ClientAuthentication,
    resources: Resources,
    bounds: MachineBounds,
    provider_tokens: ProviderTokens,
    ends: GrantEnds,
}

/// Builds all parts.
pub(super) fn assemble(parts: IssuerParts) -> Inner {
    let tasks = Tasks::default();
    let shared = shared(&parts, &tasks);
    let adoption = Arc::new(adoption(&parts, &shared));
    let rules = Arc::new(MetadataRules::new(&parts.config));
    Inner {
        sign_in: sign_in(&parts, &shared),
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
    let IssuerParts { config, store, strangers, limits, clock, .. } = parts;
    let sets = ClientKeySets::new(strangers.clone(), clock.clone());
    let audiences = (Arc::clone(issuer), config.public_url.join(paths::TOKEN));
    let assertions = Assertions::new(audiences, sets, store.clone(), limits.clone(), clock.clone());
    ClientAuthentication { clients, assertions, limits: limits.clone() }
}

fn registrations(parts: &IssuerParts, rules: &Arc<MetadataRules>) -> Registrations {
    Registrations {
        settings: parts.config.registration.clone(),
        rules: Arc::clone(rules),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        limits: parts.limits.clone(),
        counted: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
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
        resources,
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

fn documents(parts: &IssuerParts, tasks: &Tasks) -> Documents {
    let IssuerParts { config, strangers, store, limits, clock, metrics, audit, .. } = parts;
    Documents::new(DocumentParts {
        settings: config.client_documents.clone(),
        redirect_policy: config.registration.redirect_policy.clone(),
        strangers: strangers.clone(),
        store: store.clone(),
        clock: clock.clone(),
        limits: limits.clone(),
        tasks: tasks.clone(),
        counted: metrics.grants.clone(),
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
        runs: parts.metrics.background.task(Task::Expiry, &parts.clock),
    }
}

fn sign_in(parts: &IssuerParts, shared: &Shared) -> SignIn {
    let IssuerParts { config, store, identities, limits, clock, metrics, .. } = parts;
    let Shared { issuer, clients, resources, .. } = shared;
    let recipients = Recipients::new(clients.clone(), Arc::clone(issuer));
    let leg = ProviderLeg::new(config.public_url.clone());
    let authorize = Authorize {
        clients: clients.clone(),
        resources: resources.clone(),
        recipients: recipients.clone(),
        refresh_tokens: config.tokens.refresh,
    };
    let codes = codes(parts, shared);
    let bound = BoundSignIns {
        identities: identities.clone(),
        recipients: recipients.clone(),
        store: store.clone(),
        clock: clock.clone(),
    };
    let first_answers =
        FirstAnswers { codes: codes.clone(), leg: leg.clone(), store: store.clone(), clock: clock.clone() };
    SignIn {
        consent_forms: consent_forms(parts, shared),
        approvals: Approvals {
            authorize: authorize.clone(),
            recipients,
            identities: identities.clone(),
            leg: leg.clone(),
            first_answers: first_answers.clone(),
            store: store.clone(),
            clock: clock.clone(),
            lifetimes: config.lifetimes.clone(),
            limits: limits.clone(),
            counted: metrics.grants.clone(),
        },
        callbacks: Callbacks {
            bound: bound.clone(),
            first_answers: first_answers.clone(),
            codes: codes.clone(),
            counted: metrics.grants.clone(),
            leg,
            store: store.clone(),
            clock: clock.clone(),
        },
        passwords: PasswordSignIn {
            bound,
            first_answers,
            codes,
            counted: metrics.grants.clone(),
            audit: parts.audit.clone(),
            resources: resources.clone(),
            limits: limits.clone(),
            store: store.clone(),
            clock: clock.clone(),
        },
        authorize,
    }
}

fn codes(parts: &IssuerParts, shared: &Shared) -> Codes {
    Codes {
        clients: shared.clients.clone(),
        provider_tokens: shared.provider_tokens.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        lifetime: parts.config.lifetimes.code,
        counted: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
    }
}

fn consent_forms(parts: &IssuerParts, shared: &Shared) -> ConsentForms {
    ConsentForms {
        identities: parts.identities.clone(),
        clients: shared.clients.clone(),
        resources: shared.resources.clone(),
        sealer: parts.sealer.clone(),
        clock: parts.clock.clone(),
        issuer: Arc::clone(&shared.issuer),
        pages: parts.config.pages.clone(),
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
    TokenEndpoint {
        authentication: shared.authentication.clone(),
        counted: metrics.grants.clone(),
        client_credentials: client_credentials(parts, shared, &access_tokens),
        jwt_bearer: jwt_bearer(parts, shared, &access_tokens),
        refreshes: refreshes(parts, shared, access_tokens.clone()),
        redemptions: Redemptions {
            clients: shared.clients.clone(),
            resources: shared.resources.clone(),
            identities: identities.clone(),
            access_tokens,
            ends: shared.ends.clone(),
            store: store.clone(),
            clock: clock.clone(),
            lifetimes: config.lifetimes.clone(),
            counted: metrics.grants.clone(),
            audit: parts.audit.clone(),
        },
    }
}

fn machine_grants(parts: &IssuerParts, access_tokens: &AccessTokens) -> MachineGrants {
    MachineGrants {
        access_tokens: access_tokens.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        counted: parts.metrics.grants.clone(),
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
        counted: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
    }
}

fn client_credentials(parts: &IssuerParts, shared: &Shared, access_tokens: &AccessTokens) -> Option<ClientCredentials> {
    shared.bounds.has_machines().then(|| ClientCredentials {
        bounds: shared.bounds.clone(),
        resources: shared.resources.clone(),
        grants: machine_grants(parts, access_tokens),
    })
}

fn jwt_bearer(parts: &IssuerParts, shared: &Shared, access_tokens: &AccessTokens) -> Option<JwtBearer> {
    let issuers = AssertionIssuers::new(&parts.config, &parts.clock, &parts.metrics.providers);
    (!issuers.is_empty()).then(|| JwtBearer {
        issuers,
        issuer: Arc::clone(&shared.issuer),
        resources: shared.resources.clone(),
        grants: machine_grants(parts, access_tokens),
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
        counted: parts.metrics.grants.clone(),
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
