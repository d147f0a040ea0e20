//! The events of the audit log.

use tracing::field::DisplayValue;

use crate::clock::Timestamp;
use crate::model::grant::{EndReason, Grant};
use crate::model::ids::{ClientId, GrantId, KeyId, Subject};

/// An event of the audit log.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client registered itself.
    Registered {
        /// The client.
        client: &'a ClientId,
        /// Its own name.
        name: Option<&'a str>,
    },
    /// The metadata document of a client is kept for the first time, or differs from the one before: a user signed in for it.
    DocumentKept {
        /// The client.
        client: &'a ClientId,
        /// Its own name.
        name: Option<&'a str>,
    },
    /// The metadata document of a client was withdrawn, or no longer describes a valid client: it gets no tokens.
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
    /// A client's request was denied on our page. The user is not known: the denial comes before the sign-in.
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
    /// A user signed in, or renewed a grant, whom a rule of the configuration keeps out.
    NotAdmitted {
        /// The user.
        subject: &'a Subject,
        /// The client, if it was for one.
        client: Option<&'a ClientId>,
        /// The audience, if it was for one.
        resource: Option<&'a str>,
        /// The rule.
        rule: &'a str,
    },
    /// A client asked for scopes that its user may not have: it gets fewer.
    ScopesWithheld {
        /// The user.
        subject: &'a Subject,
        /// The client.
        client: &'a ClientId,
        /// The audience.
        resource: &'a str,
        /// The scopes.
        withheld: &'a str,
    },
    /// A user signed in at their own page.
    AccountOpened {
        /// The user.
        subject: &'a Subject,
    },
    /// Sessions at the own page were ended: all of a user or of everyone, except the one in which the user asked for it.
    AccountSessionsEnded {
        /// The user, if one was named.
        subject: Option<&'a str>,
        /// How many.
        count: u64,
    },
    /// A password was wrong, or too many were.
    SignInFailed {
        /// The identity provider.
        identity: &'a str,
        /// Whether the rate limit refused the attempt before the password was checked.
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
        /// The grant as it was before.
        grant: &'a Grant,
        /// Why.
        reason: EndReason,
    },
    /// A logout token came from an identity provider: the user signed out there.
    SignedOutAtProvider {
        /// The identity provider.
        identity: &'a str,
        /// The user, if the token names one.
        subject: Option<&'a str>,
        /// Whether it is about one session of the user, or all.
        one_session: bool,
    },
    /// A registered client changed its metadata.
    ClientUpdated {
        /// The client.
        client: &'a ClientId,
    },
    /// A registered client was deleted, by itself or by the operator; or the operator deleted the metadata document of a client.
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
        /// The user, if one was named.
        subject: Option<&'a str>,
        /// The client, if one was named.
        client: Option<&'a str>,
        /// The audience, if one was named.
        resource: Option<&'a str>,
        /// How many.
        count: u64,
    },
    /// A grant made room for a newer one.
    MadeRoom {
        /// The grant.
        grant: &'a GrantId,
    },
    /// A code was revoked after too many failed attempts to redeem it.
    CodeAttacked {
        /// The client of the last attempt.
        client: &'a ClientId,
        /// How often it failed.
        failures: i64,
    },
    /// A rule forbids a call: its token lacks a required scope, or its user is not admitted.
    CallDenied {
        /// The caller.
        acting: Acting<'a>,
        /// The upstream's id.
        upstream: &'a str,
        /// The setting that forbids it.
        rule: &'a str,
        /// The scopes that the token lacks, if it is about scopes.
        missing: Option<&'a str>,
    },
    /// A session id did not verify for this caller: another user's, forged, or bound under a removed root key.
    UnknownSession {
        /// The caller.
        acting: Acting<'a>,
        /// The upstream's id.
        upstream: &'a str,
    },
    /// A token was used although its grant has ended.
    EndedGrantUsed {
        /// The holder of the token.
        acting: Acting<'a>,
    },
    /// A client asked to revoke a token that is another client's. Nothing ended.
    ForeignTokenPresented {
        /// The client that asked.
        client: &'a ClientId,
        /// The grant of the token.
        grant: &'a GrantId,
    },
    /// A token was presented without the key that it is bound to (RFC 9449): it may have been stolen.
    KeyNotProven {
        /// The holder of the token.
        acting: Acting<'a>,
        /// What was wrong with the proof.
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

/// A client that acts for a user.
#[derive(Debug, Clone, Copy)]
pub struct Acting<'a> {
    /// Under what.
    pub right: Right<'a>,
    /// The user.
    pub subject: &'a str,
    /// The client.
    pub client: &'a ClientId,
}

/// The right to act for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right<'a> {
    /// A grant of ours.
    Grant(&'a GrantId),
    /// A token of another issuer, by its id in the configuration.
    Token {
        /// The issuer.
        issuer: &'a str,
    },
}

impl<'a> Acting<'a> {
    /// Its parts as fields of a line.
    pub(super) fn fields(&self) -> (Option<DisplayValue<&'a GrantId>>, Option<&'a str>, &'a str, &'a ClientId) {
        (self.right.grant().map(tracing::field::display), self.right.issuer(), self.subject, self.client)
    }
}

impl<'a> Right<'a> {
    const fn grant(self) -> Option<&'a GrantId> {
        match self {
            Self::Grant(grant) => Some(grant),
            Self::Token { .. } => None,
        }
    }

    const fn issuer(self) -> Option<&'a str> {
        match self {
            Self::Grant(_) => None,
            Self::Token { issuer } => Some(issuer),
        }
    }
}
