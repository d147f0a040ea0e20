//! How the parts of the issuer are put together: each is given what it uses, once, at start.

use std::sync::Arc;

use super::account::Accounts;
use super::clients::{ClientAuthentication, Clients, Registrations};
use super::device::DeviceAuthorizations;
use super::grants::{Adoption, Expiry, GrantEnds, ProviderTokens};
use super::metadata::PublicDocuments;
use super::resources::{Resources, entry_scopes};
use super::sign_in::{
    AccountSignIns, Approvals, Authorize, Beginnings, BoundSignIns, Callbacks, Codes, Conclusions, ConsentForms,
    DeviceAnswers, DeviceEntries, FirstAnswers, PasswordSignIn, ProviderChoices, ProviderLeg, Recipients, SealedForms,
    Sessions, SignIn, UserCodes,
};
use super::tasks::Tasks;
use super::tokens::{
    AccessTokens, DevicePolls, NewGrants, Polls, PresentedTokens, Redemptions, RefreshLeases, Refreshes, Renewals,
    TokenEndpoint,
};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::identity::Identities;
use crate::keys::{KeyRing, Sealer};
use crate::limits::Limits;
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

/// What both sign-ins and token requests use.
struct Shared {
    issuer: Arc<str>,
    clients: Clients,
    resources: Resources,
    provider_tokens: ProviderTokens,
    ends: GrantEnds,
}

/// Builds all parts.
pub(super) fn assemble(parts: IssuerParts) -> Inner {
    let tasks = Tasks::default();
    let shared = shared(&parts, &tasks);
    let adoption = Arc::new(adoption(&parts, &shared));
    let sign_in = sign_in(&parts, &shared);
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

fn sign_in(parts: &IssuerParts, shared: &Shared) -> SignIn {
    let IssuerParts { config, store, identities, limits, clock, metrics, .. } = parts;
    let Shared { issuer, clients, resources, .. } = shared;
    let recipients = Recipients::new(clients.clone(), Arc::clone(issuer));
    let leg = ProviderLeg::new(config.public_url.clone());
    let forms = SealedForms { sealer: parts.sealer.clone(), clock: clock.clone(), issuer: Arc::clone(issuer) };
    let choices = ProviderChoices(identities.clone());
    let authorize = Authorize {
        clients: clients.clone(),
        resources: resources.clone(),
        recipients: recipients.clone(),
        refresh_tokens: config.tokens.refresh,
    };
    let (codes, sessions) = (codes(parts, shared), sessions(parts, shared));
    let conclusions = Conclusions { codes: codes.clone(), sessions: sessions.clone() };
    let bound = BoundSignIns {
        identities: identities.clone(),
        recipients: recipients.clone(),
        store: store.clone(),
        clock: clock.clone(),
    };
    let first_answers = FirstAnswers {
        codes,
        sessions: sessions.clone(),
        leg: leg.clone(),
        store: store.clone(),
        clock: clock.clone(),
    };
    let beginnings = beginnings(parts, &leg, &first_answers);
    SignIn {
        consent_forms: consent_forms(parts, shared, &forms),
        approvals: Approvals {
            authorize: authorize.clone(),
            recipients: recipients.clone(),
            beginnings: beginnings.clone(),
            store: store.clone(),
            clock: clock.clone(),
            lifetimes: config.lifetimes.clone(),
            counted: metrics.grants.clone(),
        },
        account: AccountSignIns { forms: forms.clone(), choices, beginnings: beginnings.clone(), store: store.clone() },
        device_entries: device_entries(parts, shared, &forms),
        device_answers: DeviceAnswers {
            recipients,
            beginnings,
            store: store.clone(),
            clock: clock.clone(),
            counted: metrics.grants.clone(),
        },
        callbacks: Callbacks {
            bound: bound.clone(),
            first_answers: first_answers.clone(),
            conclusions: conclusions.clone(),
            counted: metrics.grants.clone(),
            leg,
            store: store.clone(),
            clock: clock.clone(),
        },
        passwords: PasswordSignIn {
            bound,
            first_answers,
            conclusions,
            counted: metrics.grants.clone(),
            audit: parts.audit.clone(),
            resources: resources.clone(),
            limits: limits.clone(),
            store: store.clone(),
            clock: clock.clone(),
        },
        authorize,
        forms,
        sessions,
    }
}

fn beginnings(parts: &IssuerParts, leg: &ProviderLeg, first_answers: &FirstAnswers) -> Beginnings {
    Beginnings {
        identities: parts.identities.clone(),
        leg: leg.clone(),
        first_answers: first_answers.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        lifetimes: parts.config.lifetimes.clone(),
        limits: parts.limits.clone(),
    }
}

fn device_entries(parts: &IssuerParts, shared: &Shared, forms: &SealedForms) -> DeviceEntries {
    DeviceEntries {
        forms: forms.clone(),
        choices: ProviderChoices(parts.identities.clone()),
        user_codes: UserCodes::new(&parts.sealer),
        clients: shared.clients.clone(),
        resources: shared.resources.clone(),
        limits: parts.limits.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
    }
}

fn sessions(parts: &IssuerParts, shared: &Shared) -> Sessions {
    Sessions {
        identities: parts.identities.clone(),
        provider_tokens: shared.provider_tokens.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        counted: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
    }
}

fn codes(parts: &IssuerParts, shared: &Shared) -> Codes {
    Codes {
        provider_tokens: shared.provider_tokens.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        lifetime: parts.config.lifetimes.code,
        counted: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
    }
}

fn consent_forms(parts: &IssuerParts, shared: &Shared, forms: &SealedForms) -> ConsentForms {
    ConsentForms {
        choices: ProviderChoices(parts.identities.clone()),
        clients: shared.clients.clone(),
        resources: shared.resources.clone(),
        forms: forms.clone(),
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
