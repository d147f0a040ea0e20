//! The sink that writes each event as one line of the log.

use super::event::Event;
use super::sink::{Actor, Sink};
use crate::clock::Timestamp;
use crate::model::grant::{EndReason, Grant};

pub(super) struct ToLog;

/// A line with the fields of the event and those of its origin. It is in no span: it carries the request's id itself.
macro_rules! line {
    ($level:ident, $origin:expr, $words:literal, $($fields:tt)+) => {{
        let request_id = $origin.request_id().map(tracing::field::display);
        let address = $origin.address().map(tracing::field::display);
        let operator = $origin.operator();
        tracing::$level!(target: "audit", parent: None, $($fields)+, request_id, address, operator, $words)
    }};
}

impl Sink for ToLog {
    fn record(&self, event: &Event<'_>, origin: &Actor<'_>) {
        match event {
            Event::Registered { client, name } => line!(info, origin, "client registered", %client, name),
            Event::DocumentKept { client, name } => line!(info, origin, "client document kept", %client, name),
            Event::DocumentRevoked { client } => line!(warn, origin, "client document revoked", %client),
            Event::SignedIn { subject, client, resource, remembered } => {
                line!(info, origin, "signed in", %subject, %client, resource, remembered);
            }
            Event::ConsentRemembered { .. } | Event::ConsentForgotten { .. } => consent_changed(event, origin),
            Event::Denied { client, resource } => line!(info, origin, "access denied", %client, resource),
            Event::SignInRefused { identity, client, error } => {
                let client = client.map(tracing::field::display);
                line!(warn, origin, "sign-in refused by the identity provider", identity, client, error);
            }
            Event::NotAdmitted { subject, client, resource, rule } => {
                let client = client.map(tracing::field::display);
                line!(warn, origin, "user not admitted", %subject, client, resource, rule);
            }
            Event::ScopesWithheld { subject, client, resource, withheld } => {
                line!(info, origin, "scopes withheld", %subject, %client, resource, withheld);
            }
            Event::AccountOpened { subject } => line!(info, origin, "signed in at the own page", %subject),
            Event::AccountSessionsEnded { subject, count } => {
                line!(info, origin, "sessions at the own page ended", subject, count);
            }
            Event::SignInFailed { identity, limited } => line!(warn, origin, "sign-in failed", identity, limited),
            Event::Granted { grant, refresh } => {
                let Grant { id, subject, client_id: client, resource, scope, .. } = grant;
                line!(info, origin, "granted", grant = %id, %subject, %client, resource, %scope, refresh);
            }
            Event::Ended { grant, reason } => ended(grant, *reason, origin),
            Event::SignedOutAtProvider { identity, subject, one_session } => {
                line!(info, origin, "signed out at the identity provider", identity, subject, one_session);
            }
            Event::ClientUpdated { .. }
            | Event::ClientDeleted { .. }
            | Event::ClientDisabled { .. }
            | Event::ClientEnabled { .. } => client_changed(event, origin),
            Event::SignInsCancelled { subject, client, resource, count } => {
                line!(info, origin, "sign-ins cancelled", subject, client, resource, count);
            }
            Event::MadeRoom { grant } => {
                line!(info, origin, "grant ended", %grant, reason = EndReason::TooMany.as_str());
            }
            Event::CodeAttacked { client, failures } => {
                line!(warn, origin, "a code was ended by failed redemptions", %client, failures);
            }
            Event::ForeignTokenPresented { client, grant } => {
                line!(warn, origin, "a client asked to revoke another client's token", %client, %grant);
            }
            Event::CallDenied { .. }
            | Event::UnknownSession { .. }
            | Event::EndedGrantUsed { .. }
            | Event::KeyNotProven { .. } => misused(event, origin),
            Event::KeyPublished { .. } | Event::KeyRetired { .. } | Event::KeyWithdrawn { .. } => {
                key_changed(event, origin);
            }
        }
    }
}

/// Misuse of a token that is good, or was.
fn misused(event: &Event<'_>, origin: &Actor<'_>) {
    match event {
        Event::CallDenied { acting, upstream, rule, missing } => {
            let (grant, issuer, subject, client) = acting.fields();
            line!(warn, origin, "call denied", grant, issuer, subject, %client, upstream, rule, missing);
        }
        Event::UnknownSession { acting, upstream } => {
            let (grant, issuer, subject, client) = acting.fields();
            line!(
                warn,
                origin,
                "a session id did not verify for this caller",
                grant,
                issuer,
                subject,
                %client,
                upstream
            );
        }
        Event::EndedGrantUsed { acting } => {
            let (grant, issuer, subject, client) = acting.fields();
            line!(warn, origin, "a token of an ended grant was used", grant, issuer, subject, %client);
        }
        Event::KeyNotProven { acting, how } => {
            let (grant, issuer, _, client) = acting.fields();
            line!(warn, origin, "a bound token was presented without its key", grant, issuer, %client, how);
        }
        _ => {}
    }
}

/// A user's consent is remembered, or no longer.
fn consent_changed(event: &Event<'_>, origin: &Actor<'_>) {
    match event {
        Event::ConsentRemembered { subject, client, resource } => {
            line!(info, origin, "consent remembered", %subject, %client, resource);
        }
        Event::ConsentForgotten { subject, client, resource } => {
            line!(info, origin, "consent forgotten", %subject, %client, resource);
        }
        _ => {}
    }
}

/// A client's registration changes.
fn client_changed(event: &Event<'_>, origin: &Actor<'_>) {
    match event {
        Event::ClientUpdated { client } => line!(info, origin, "client updated", %client),
        Event::ClientDeleted { client } => line!(info, origin, "client deleted", %client),
        Event::ClientDisabled { client } => line!(info, origin, "client disabled", %client),
        Event::ClientEnabled { client } => line!(info, origin, "client enabled", %client),
        _ => {}
    }
}

/// A signing key begins or ends.
fn key_changed(event: &Event<'_>, origin: &Actor<'_>) {
    match event {
        Event::KeyPublished { key, algorithm, active_from: Timestamp(active_from) } => {
            line!(info, origin, "signing key published", kid = %key, algorithm, active_from);
        }
        Event::KeyRetired { key } => line!(info, origin, "signing key retired", kid = %key),
        Event::KeyWithdrawn { key } => line!(warn, origin, "signing key withdrawn", kid = %key),
        _ => {}
    }
}

fn ended(grant: &Grant, reason: EndReason, origin: &Actor<'_>) {
    let Grant { id, subject, client_id: client, .. } = grant;
    let word = reason.as_str();
    match reason {
        EndReason::Expired
        | EndReason::Unused
        | EndReason::TooMany
        | EndReason::ClientRemoved
        | EndReason::ClientDeleted
        | EndReason::IdentityChanged
        | EndReason::Client
        | EndReason::Operator
        | EndReason::User
        | EndReason::BackChannelLogout => {
            line!(info, origin, "grant ended", grant = %id, %subject, %client, reason = word);
        }
        EndReason::CodeReplayed
        | EndReason::RefreshTokenReplayed
        | EndReason::IdentityProvider
        | EndReason::NotAdmitted => {
            line!(warn, origin, "grant ended", grant = %id, %subject, %client, reason = word);
        }
    }
}
