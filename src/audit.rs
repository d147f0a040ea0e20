//! The audit log: who signed in, what was granted, what ended and why, which calls were refused. Never a token, a code or a
//! password.
//!
//! An event that a request caused carries the request's id and the address of its client; one that an operator caused names
//! the operator.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::model::grant::{EndReason, Grant};
use crate::model::ids::{ClientId, GrantId, KeyId, Subject};
use crate::wire::{Arrival, RequestId};

/// An event.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client registered itself.
    Registered {
        /// The client.
        client: &'a ClientId,
        /// What it calls itself.
        name: Option<&'a str>,
    },
    /// The metadata document of a client is kept for the first time, or differs from the one before: a user signed in for it.
    DocumentKept {
        /// The client.
        client: &'a ClientId,
        /// What it calls itself.
        name: Option<&'a str>,
    },
    /// The metadata document of a client was taken back, or makes no client any more: it gets no tokens.
    DocumentRevoked {
        /// The client.
        client: &'a ClientId,
    },
    /// A user signed in for a client.
    SignedIn {
        /// The user.
        subject: &'a Subject,
        /// The client.
        client: &'a ClientId,
        /// The audience.
        resource: &'a str,
        /// Whether the consent page was skipped, because the user's consent was remembered in this browser.
        remembered: bool,
    },
    /// A user's consent is remembered in a browser from now on.
    ConsentRemembered {
        /// The user.
        subject: &'a Subject,
        /// The client.
        client: &'a ClientId,
        /// The audience.
        resource: &'a str,
    },
    /// A user had a remembered consent forgotten.
    ConsentForgotten {
        /// The user.
        subject: &'a Subject,
        /// The client.
        client: &'a ClientId,
        /// The audience.
        resource: &'a str,
    },
    /// Someone denied a client's request on our page. Who is not known: no one had signed in.
    Denied {
        /// The client.
        client: &'a ClientId,
        /// The audience.
        resource: &'a str,
    },
    /// An identity provider did not sign a user in, or its response could not be used.
    SignInRefused {
        /// The identity provider.
        identity: &'a str,
        /// The client, if the sign-in was for one.
        client: Option<&'a ClientId>,
        /// What the client is told (RFC 6749 4.1.2.1).
        error: &'a str,
    },
    /// A user signed in at their own page.
    AccountOpened {
        /// The user.
        subject: &'a Subject,
    },
    /// Sessions at the own page were ended: all of a user or of everyone, except the one in which the user asked for it.
    AccountSessionsEnded {
        /// Whose, if a user was named.
        subject: Option<&'a str>,
        /// How many.
        count: u64,
    },
    /// A password was wrong, or too many were.
    SignInFailed {
        /// The identity provider.
        identity: &'a str,
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
    /// A registered client changed what is known of it.
    ClientUpdated {
        /// The client.
        client: &'a ClientId,
    },
    /// A registered client was deleted, by itself or by the operator; or the operator had the metadata document of one forgotten.
    ClientDeleted {
        /// The client.
        client: &'a ClientId,
    },
    /// The operator disabled a client.
    ClientDisabled {
        /// The client.
        client: &'a ClientId,
    },
    /// The operator enabled a client again.
    ClientEnabled {
        /// The client.
        client: &'a ClientId,
    },
    /// Sign-ins in progress were cancelled together with the grants that they would have become.
    SignInsCancelled {
        /// Of this user, if one was named.
        subject: Option<&'a str>,
        /// Of this client, if one was named.
        client: Option<&'a str>,
        /// At this audience, if one was named.
        resource: Option<&'a str>,
        /// How many.
        count: u64,
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
    /// A rule forbids a call: its token lacks a required scope.
    CallDenied {
        /// Who called.
        acting: Acting<'a>,
        /// The upstream's id.
        upstream: &'a str,
        /// The setting of the upstream that forbids it.
        rule: &'a str,
        /// The scopes that the token lacks.
        missing: &'a str,
    },
    /// A session id did not verify for this caller: another user's, forged, or bound under a removed root key.
    UnknownSession {
        /// Who called.
        acting: Acting<'a>,
        /// The upstream's id.
        upstream: &'a str,
    },
    /// A token was used although its grant has ended.
    EndedGrantUsed {
        /// Whose token.
        acting: Acting<'a>,
    },
    /// A client asked to revoke a token that is another client's. Nothing ended.
    ForeignTokenPresented {
        /// Who asked.
        client: &'a ClientId,
        /// The grant of the token.
        grant: &'a GrantId,
    },
    /// A token was presented without the key that it is bound to (RFC 9449): it may have been stolen.
    KeyNotProven {
        /// The grant of the token.
        grant: &'a GrantId,
        /// Its client.
        client: &'a ClientId,
        /// How it came.
        how: &'static str,
    },
    /// A signing key was published.
    KeyPublished {
        /// The key.
        key: &'a KeyId,
        /// Its JWS algorithm.
        algorithm: &'a str,
        /// When it begins to sign.
        active_from: Timestamp,
    },
    /// A signing key was deleted: its last token has expired.
    KeyRetired {
        /// The key.
        key: &'a KeyId,
    },
    /// A signing key was withdrawn: its tokens are refused.
    KeyWithdrawn {
        /// The key.
        key: &'a KeyId,
    },
}

/// A client that acts for a user under a grant.
#[derive(Debug, Clone, Copy)]
pub struct Acting<'a> {
    /// The grant.
    pub grant: &'a GrantId,
    /// The user.
    pub subject: &'a str,
    /// The client.
    pub client: &'a ClientId,
}

/// What caused an event.
#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    /// A request.
    Request {
        /// Its id.
        id: &'a RequestId,
        /// The address that sent it.
        address: IpAddr,
    },
    /// A command that this operator ran.
    Operator(&'a str),
    /// This process, by itself: something expired, or left the configuration.
    Upkeep,
}

impl<'a> From<&'a Arrival> for Actor<'a> {
    fn from(arrival: &'a Arrival) -> Self {
        Self::Request { id: &arrival.id, address: arrival.address.0 }
    }
}

impl<'a> Actor<'a> {
    const fn request_id(&self) -> Option<&'a RequestId> {
        match self {
            Self::Request { id, .. } => Some(id),
            Self::Operator(_) | Self::Upkeep => None,
        }
    }

    const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Request { address, .. } => Some(*address),
            Self::Operator(_) | Self::Upkeep => None,
        }
    }

    const fn operator(&self) -> Option<&'a str> {
        match self {
            Self::Operator(name) => Some(name),
            Self::Request { .. } | Self::Upkeep => None,
        }
    }
}

/// Where events go.
pub trait Sink: Send + Sync {
    /// Records an event. Called while a request is answered: it may wait one second at most.
    fn record(&self, event: &Event<'_>, origin: &Actor<'_>);
}

/// The handle through which events are recorded. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<dyn Sink>);

impl Audit {
    /// Records into this sink.
    #[must_use]
    pub fn new(sink: impl Sink + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Each event is one line of the log, with the target `audit`.
    #[must_use]
    pub fn to_log() -> Self {
        Self::new(ToLog)
    }

    /// Records an event.
    pub(crate) fn record<'a>(&self, event: &Event<'_>, origin: impl Into<Actor<'a>>) {
        self.0.record(event, &origin.into());
    }
}

struct ToLog;

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
            Event::ConsentRemembered { subject, client, resource } => {
                line!(info, origin, "consent remembered", %subject, %client, resource);
            }
            Event::ConsentForgotten { subject, client, resource } => {
                line!(info, origin, "consent forgotten", %subject, %client, resource);
            }
            Event::Denied { client, resource } => line!(info, origin, "access denied", %client, resource),
            Event::SignInRefused { identity, client, error } => {
                let client = client.map(tracing::field::display);
                line!(warn, origin, "sign-in refused by the identity provider", identity, client, error);
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
            Event::ClientUpdated { client } => line!(info, origin, "client updated", %client),
            Event::ClientDeleted { client } => line!(info, origin, "client deleted", %client),
            Event::ClientDisabled { client } => line!(info, origin, "client disabled", %client),
            Event::ClientEnabled { client } => line!(info, origin, "client enabled", %client),
            Event::SignInsCancelled { subject, client, resource, count } => {
                line!(info, origin, "sign-ins cancelled", subject, client, resource, count);
            }
            Event::MadeRoom { grant } => {
                line!(info, origin, "grant ended", %grant, reason = EndReason::TooMany.as_str());
            }
            Event::CodeAttacked { client, failures } => {
                line!(warn, origin, "a code was ended by failed redemptions", %client, failures);
            }
            Event::CallDenied { acting: Acting { grant, subject, client }, upstream, rule, missing } => {
                line!(warn, origin, "call denied", %grant, subject, %client, upstream, rule, missing);
            }
            Event::UnknownSession { acting: Acting { grant, subject, client }, upstream } => {
                line!(warn, origin, "a session id did not verify for this caller", %grant, subject, %client, upstream);
            }
            Event::EndedGrantUsed { acting: Acting { grant, subject, client } } => {
                line!(warn, origin, "a token of an ended grant was used", %grant, subject, %client);
            }
            Event::ForeignTokenPresented { client, grant } => {
                line!(warn, origin, "a client asked to revoke another client's token", %client, %grant);
            }
            Event::KeyNotProven { grant, client, how } => {
                line!(warn, origin, "a bound token was presented without its key", %grant, %client, how);
            }
            Event::KeyPublished { key, algorithm, active_from } => {
                let active_from = active_from.0;
                line!(info, origin, "signing key published", kid = %key, algorithm, active_from);
            }
            Event::KeyRetired { key } => line!(info, origin, "signing key retired", kid = %key),
            Event::KeyWithdrawn { key } => line!(warn, origin, "signing key withdrawn", kid = %key),
        }
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
        | EndReason::User => line!(info, origin, "grant ended", grant = %id, %subject, %client, reason = word),
        EndReason::CodeReplayed | EndReason::RefreshTokenReplayed | EndReason::IdentityProvider => {
            line!(warn, origin, "grant ended", grant = %id, %subject, %client, reason = word);
        }
    }
}
