//! What happened, for those who must answer for it: each event is one line of the log with the target `audit`.
//!
//! Who signed in, what was granted, what ended and why. Never a token, a code or a password.

use crate::model::grant::{EndReason, Grant};
use crate::model::ids::{ClientId, GrantId, Subject};

/// An event.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A client registered itself.
    Registered {
        /// The client.
        client: &'a ClientId,
        /// What it calls itself.
        name: Option<&'a str>,
    },
    /// A user signed in for a client.
    SignedIn {
        /// The user.
        subject: &'a Subject,
        /// The client.
        client: &'a ClientId,
        /// The audience.
        resource: &'a str,
    },
    /// A password was wrong, or too many were.
    SignInFailed {
        /// The identity provider.
        identity: &'a str,
        /// From where.
        address: std::net::IpAddr,
        /// Whether it was not even looked at.
        limited: bool,
    },
    /// A code was redeemed: from now on the client can act for the user.
    Granted {
        /// The grant.
        grant: &'a Grant,
        /// Whether the client got a refresh token.
        refresh: bool,
    },
    /// A grant ended.
    Ended {
        /// The grant, as it was.
        grant: &'a Grant,
        /// Why.
        reason: EndReason,
    },
    /// The operator ended a grant.
    EndedByOperator {
        /// The grant, as it was.
        grant: &'a Grant,
        /// Who ran the command.
        operator: &'a str,
    },
    /// The operator deleted a client.
    ClientDeleted {
        /// The client.
        client: &'a ClientId,
        /// Who ran the command.
        operator: &'a str,
    },
    /// A grant made room for a newer one.
    MadeRoom {
        /// The grant.
        grant: &'a GrantId,
    },
    /// A code was ended by redemptions that proved nothing.
    CodeAttacked {
        /// Who tried last.
        client: &'a ClientId,
        /// How often it failed.
        failures: i64,
    },
}

/// Writes an event down.
pub(crate) fn record(event: &Event<'_>) {
    match event {
        Event::Registered { client, name } => {
            tracing::info!(target: "audit", %client, name, "client registered");
        }
        Event::SignedIn { subject, client, resource } => {
            tracing::info!(target: "audit", %subject, %client, resource, "signed in");
        }
        Event::SignInFailed { identity, address, limited } => {
            tracing::warn!(target: "audit", identity, %address, limited, "sign-in failed");
        }
        Event::Granted { grant, refresh } => {
            let Grant { id, subject, client_id, resource, scope, .. } = grant;
            tracing::info!(
                target: "audit", grant = %id, %subject, client = %client_id, resource, %scope, refresh, "granted"
            );
        }
        Event::Ended { grant, reason } => {
            let Grant { id, subject, client_id, .. } = grant;
            let (word, client) = (reason.as_str(), client_id);
            match reason {
                EndReason::Expired
                | EndReason::Unused
                | EndReason::TooMany
                | EndReason::ClientRemoved
                | EndReason::IdentityChanged
                | EndReason::Operator => {
                    tracing::info!(target: "audit", grant = %id, %subject, %client, reason = word, "grant ended");
                }
                EndReason::CodeReplayed | EndReason::RefreshTokenReplayed | EndReason::IdentityProvider => {
                    tracing::warn!(target: "audit", grant = %id, %subject, %client, reason = word, "grant ended");
                }
            }
        }
        Event::EndedByOperator { grant, operator } => {
            let Grant { id, subject, client_id: client, .. } = grant;
            let reason = EndReason::Operator.as_str();
            tracing::info!(target: "audit", grant = %id, %subject, %client, reason, operator, "grant ended");
        }
        Event::ClientDeleted { client, operator } => {
            tracing::info!(target: "audit", %client, operator, "client deleted");
        }
        Event::MadeRoom { grant } => {
            let reason = EndReason::TooMany.as_str();
            tracing::info!(target: "audit", %grant, reason, "grant ended");
        }
        Event::CodeAttacked { client, failures } => {
            tracing::warn!(target: "audit", %client, failures, "a code was ended by failed redemptions");
        }
    }
}
