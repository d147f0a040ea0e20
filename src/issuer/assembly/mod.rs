//! How the parts of the issuer are put together: each is given what it uses, once, at start.

mod parts;
mod sign_in;
mod tokens;

use std::sync::Arc;

use super::account::Accounts;
use super::clients::{
    AssertionRules, Assertions, ClientAuthentication, ClientManagement, Clients, DocumentParts, Documents,
    MetadataRules, Registrations,
};
use super::device::DeviceAuthorizations;
use super::grants::{Adoption, Expiry, GrantEnds, ProviderTokens};
use super::logout::{AppliedLogouts, ReceivedLogouts, StandingChecks};
use super::machine_bounds::MachineBounds;
use super::metadata::PublicDocuments;
use super::resources::Resources;
use super::sign_in::{SignIn, UserCodes};
use super::tasks::Tasks;
use super::token_state::{Introspection, TokenRevocation};
use super::tokens::{Proofs, ProviderAccess, Renewals, TokenEndpoint};
use crate::clock::Clock;
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
    pub(super) provider_access: ProviderAccess,
    pub(super) revocation: TokenRevocation,
    pub(super) introspection: Introspection,
    pub(super) logouts: ReceivedLogouts,
    pub(super) standing: StandingChecks,
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
    let provider_access = tokens::provider_access(&parts, &shared, &tasks);
    Inner {
        accounts: accounts(&parts, &shared, &sign_in),
        device: parts.config.device.enabled.then(|| device(&parts, &shared, &sign_in)),
        sign_in,
        tokens: tokens::tokens(&parts, &shared, &provider_access),
        revocation: tokens::revocation(&parts, &shared),
        introspection: tokens::introspection(&parts, &shared),
        logouts: received_logouts(&parts, &shared),
        standing: standing_checks(&parts, &shared, &provider_access.renewals),
        registrations: registrations(&parts, &rules),
        management: management(&parts, &shared, rules),
        expiry: expiry(&parts, &shared, Arc::clone(&adoption)),
        adoption,
        documents: PublicDocuments::new(&parts.config, parts.ring),
        provider_access,
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

fn applied_logouts(parts: &IssuerParts, shared: &Shared) -> AppliedLogouts {
    AppliedLogouts {
        ends: shared.ends.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        audit: parts.audit.clone(),
    }
}

fn received_logouts(parts: &IssuerParts, shared: &Shared) -> ReceivedLogouts {
    ReceivedLogouts {
        identities: parts.identities.clone(),
        applied: applied_logouts(parts, shared),
        limits: parts.limits.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        sign_in: parts.config.lifetimes.authorization,
        metrics: parts.metrics.logouts.clone(),
        audit: parts.audit.clone(),
    }
}

fn standing_checks(parts: &IssuerParts, shared: &Shared, renewals: &Arc<Renewals>) -> StandingChecks {
    StandingChecks {
        applied: applied_logouts(parts, shared),
        renewals: Arc::clone(renewals),
        provider_tokens: shared.provider_tokens.clone(),
        ends: shared.ends.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        metrics: parts.metrics.logouts.clone(),
        runs: parts.metrics.background.task(Task::Standing, &parts.clock),
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
