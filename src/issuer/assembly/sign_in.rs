//! The steps of a sign-in, put together.

use std::sync::Arc;

use super::parts::{IssuerParts, Shared};
use crate::issuer::sign_in::{
    AccountSignIns, Admissions, Approvals, Authorize, Beginnings, BoundSignIns, Callbacks, Codes, Conclusions,
    ConsentForms, DeviceAnswers, DeviceEntries, FirstAnswers, PasswordSignIn, ProviderChoices, ProviderLeg, Receivers,
    Recipients, RememberedSignIns, Remembering, SealedForms, Sessions, SignIn, UserCodes,
};

/// What several steps use.
struct Common {
    recipients: Recipients,
    remembering: Remembering,
    leg: ProviderLeg,
    forms: SealedForms,
    authorize: Authorize,
    bound: BoundSignIns,
    sessions: Sessions,
    conclusions: Conclusions,
    first_answers: FirstAnswers,
    beginnings: Beginnings,
}

/// Builds the steps.
pub(super) fn sign_in(parts: &IssuerParts, shared: &Shared) -> SignIn {
    let common = common(parts, shared);
    SignIn {
        consent_forms: consent_forms(parts, shared, &common),
        approvals: approvals(parts, &common),
        remembered: RememberedSignIns {
            remembering: common.remembering.clone(),
            beginnings: common.beginnings.clone(),
            identities: parts.identities.clone(),
            store: parts.store.clone(),
        },
        account: AccountSignIns {
            forms: common.forms.clone(),
            choices: ProviderChoices(parts.identities.clone()),
            beginnings: common.beginnings.clone(),
            store: parts.store.clone(),
        },
        device_entries: device_entries(parts, shared, &common),
        device_answers: DeviceAnswers {
            recipients: common.recipients.clone(),
            beginnings: common.beginnings.clone(),
            store: parts.store.clone(),
            clock: parts.clock.clone(),
            metrics: parts.metrics.grants.clone(),
            audit: parts.audit.clone(),
        },
        callbacks: callbacks(parts, &common),
        passwords: passwords(parts, shared, &common),
        authorize: common.authorize,
        forms: common.forms,
        sessions: common.sessions,
    }
}

fn common(parts: &IssuerParts, shared: &Shared) -> Common {
    let IssuerParts { config, store, identities, clock, .. } = parts;
    let Shared { issuer, clients, resources, .. } = shared;
    let recipients = Recipients::new(clients.clone(), Arc::clone(issuer));
    let leg = ProviderLeg::new(config.public_url.clone());
    let remembering = remembering(parts, shared);
    let (codes, sessions) = (codes(parts, shared, &remembering), sessions(parts, shared));
    let authorize = Authorize {
        clients: clients.clone(),
        resources: resources.clone(),
        recipients: recipients.clone(),
        refresh_tokens: config.tokens.refresh,
    };
    let first_answers = FirstAnswers {
        codes: codes.clone(),
        sessions: sessions.clone(),
        leg: leg.clone(),
        store: store.clone(),
        clock: clock.clone(),
    };
    Common {
        forms: SealedForms { sealer: parts.sealer.clone(), clock: clock.clone(), issuer: Arc::clone(issuer) },
        bound: BoundSignIns {
            identities: identities.clone(),
            recipients: recipients.clone(),
            store: store.clone(),
            clock: clock.clone(),
        },
        conclusions: Conclusions {
            admissions: admissions(parts, shared),
            authorize: authorize.clone(),
            codes,
            sessions: sessions.clone(),
        },
        beginnings: beginnings(parts, &leg, &first_answers),
        recipients,
        remembering,
        leg,
        authorize,
        sessions,
        first_answers,
    }
}

fn admissions(parts: &IssuerParts, shared: &Shared) -> Admissions {
    Admissions {
        resources: shared.resources.clone(),
        provider_tokens: shared.provider_tokens.clone(),
        store: parts.store.clone(),
        metrics: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
    }
}

fn approvals(parts: &IssuerParts, common: &Common) -> Approvals {
    Approvals {
        authorize: common.authorize.clone(),
        recipients: common.recipients.clone(),
        beginnings: common.beginnings.clone(),
        remembering: common.remembering.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        lifetimes: parts.config.lifetimes.clone(),
        metrics: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
    }
}

fn callbacks(parts: &IssuerParts, common: &Common) -> Callbacks {
    Callbacks {
        bound: common.bound.clone(),
        first_answers: common.first_answers.clone(),
        conclusions: common.conclusions.clone(),
        metrics: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
        leg: common.leg.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
    }
}

fn passwords(parts: &IssuerParts, shared: &Shared, common: &Common) -> PasswordSignIn {
    PasswordSignIn {
        bound: common.bound.clone(),
        first_answers: common.first_answers.clone(),
        conclusions: common.conclusions.clone(),
        metrics: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
        resources: shared.resources.clone(),
        limits: parts.limits.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
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

fn device_entries(parts: &IssuerParts, shared: &Shared, common: &Common) -> DeviceEntries {
    DeviceEntries {
        forms: common.forms.clone(),
        choices: ProviderChoices(parts.identities.clone()),
        user_codes: UserCodes::new(&parts.sealer),
        recipients: common.recipients.clone(),
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
        metrics: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
    }
}

fn remembering(parts: &IssuerParts, shared: &Shared) -> Remembering {
    Remembering {
        settings: parts.config.consent.clone(),
        receivers: Receivers { clients: shared.clients.clone(), pages: parts.config.pages.clone() },
        resources: shared.resources.clone(),
        clock: parts.clock.clone(),
    }
}

fn codes(parts: &IssuerParts, shared: &Shared, remembering: &Remembering) -> Codes {
    Codes {
        clients: shared.clients.clone(),
        remembering: remembering.clone(),
        provider_tokens: shared.provider_tokens.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        lifetime: parts.config.lifetimes.code,
        metrics: parts.metrics.grants.clone(),
        audit: parts.audit.clone(),
    }
}

fn consent_forms(parts: &IssuerParts, shared: &Shared, common: &Common) -> ConsentForms {
    ConsentForms {
        choices: ProviderChoices(parts.identities.clone()),
        receivers: common.remembering.receivers.clone(),
        remembering: common.remembering.clone(),
        resources: shared.resources.clone(),
        forms: common.forms.clone(),
    }
}
