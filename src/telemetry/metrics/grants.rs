//! The authorization server: registrations, sign-ins, grants that begin and end, refreshes, refused token requests.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

words! {
    /// What came of a registration (RFC 7591).
    pub enum RegistrationOutcome {
        /// A client was stored.
        Created = "created",
        /// The same metadata was registered before.
        Known = "known",
        /// The metadata was refused.
        Refused = "refused",
        /// Its address registers too often.
        Limited = "limited",
        /// The store could not take it.
        Unavailable = "unavailable",
    }
}

words! {
    /// What came of fetching a client's metadata document.
    pub enum DocumentOutcome {
        /// It makes a client.
        Fetched = "fetched",
        /// It makes none.
        Refused = "refused",
        /// Its host says that there is none: a client that was known is revoked.
        Gone = "gone",
        /// There was no answer that says anything about it.
        Unreachable = "unreachable",
        /// It was not fetched: an address, or a host, has used up its limit.
        Limited = "limited",
    }
}

words! {
    /// What came of a sign-in.
    pub enum SignInOutcome {
        /// The client got a code.
        SignedIn = "signed_in",
        /// The user or the identity provider said no.
        Denied = "denied",
        /// A rule of the configuration keeps the user out.
        NotAdmitted = "not_admitted",
        /// It failed: a setting or an outage at the identity provider.
        Failed = "failed",
        /// A user name or a password was wrong; the page asks again.
        WrongPassword = "wrong_password",
    }
}

words! {
    /// What came of a refresh (RFC 6749 6).
    pub enum RefreshOutcome {
        /// The token was rotated.
        Rotated = "rotated",
        /// The response of a moment ago was given again.
        Repeated = "repeated",
        /// The token or its grant is not valid any more, or it is a replay: see why the grant ended.
        Refused = "refused",
        /// It is tried too often.
        Limited = "limited",
        /// The identity provider or the store could not be asked.
        Unavailable = "unavailable",
    }
}

words! {
    /// What came of a request to revoke a token (RFC 7009).
    pub enum RevocationOutcome {
        /// Its grant ended.
        Ended = "ended",
        /// It names nothing of its client's that is live.
        Nothing = "nothing",
        /// The client did not authenticate, or the request could not be checked.
        Refused = "refused",
    }
}

words! {
    /// What a resource server was told of a token (RFC 7662).
    pub enum IntrospectionOutcome {
        /// It is good.
        Active = "active",
        /// It is not, or not for that server.
        Inactive = "inactive",
        /// The caller may not ask, or the request could not be checked.
        Refused = "refused",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Revocation {
    outcome: RevocationOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Introspection {
    outcome: IntrospectionOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Registration {
    outcome: RegistrationOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Document {
    outcome: DocumentOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignIn {
    identity: Arc<str>,
    outcome: SignInOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refresh {
    outcome: RefreshOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Begun {
    identity: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenError {
    error: &'static str,
}

/// Registrations, sign-ins, grants.
#[derive(Clone, Default)]
pub struct Grants {
    registrations: Family<Registration, Counter>,
    documents: Family<Document, Counter>,
    sign_ins: Family<SignIn, Counter>,
    begun: Family<Begun, Counter>,
    ended: Family<Ended, Counter>,
    refreshes: Family<Refresh, Counter>,
    token_errors: Family<TokenError, Counter>,
    revocations: Family<Revocation, Counter>,
    introspections: Family<Introspection, Counter>,
}

impl Grants {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let grants = Self::default();
        registry.register("registrations", "Registrations of clients, by outcome", grants.registrations.clone());
        let help = "Fetches of clients' metadata documents, by outcome";
        registry.register("client_documents", help, grants.documents.clone());
        let help = "Sign-ins, by identity provider and outcome";
        registry.register("sign_ins", help, grants.sign_ins.clone());
        let help = "Grants that began, by identity provider";
        registry.register("grants_begun", help, grants.begun.clone());
        registry.register("grants_ended", "Grants that ended, by reason", grants.ended.clone());
        registry.register("refreshes", "Refreshes, by outcome", grants.refreshes.clone());
        let help = "Refused token requests, by the error of RFC 6749 5.2";
        registry.register("token_errors", help, grants.token_errors.clone());
        let help = "Requests to revoke a token, by outcome";
        registry.register("revocations", help, grants.revocations.clone());
        let help = "Questions of resource servers about tokens, by outcome";
        registry.register("introspections", help, grants.introspections.clone());
        grants
    }

    /// A registration was answered.
    pub fn registered(&self, outcome: RegistrationOutcome) {
        self.registrations.get_or_create(&Registration { outcome }).inc();
    }

    /// The metadata document of a client was asked for.
    pub fn document(&self, outcome: DocumentOutcome) {
        self.documents.get_or_create(&Document { outcome }).inc();
    }

    /// A sign-in came to its end. `identity` is empty when the user denied it before choosing a provider.
    pub fn signed_in(&self, identity: &str, outcome: SignInOutcome) {
        self.sign_ins.get_or_create(&SignIn { identity: identity.into(), outcome }).inc();
    }

    /// A code was redeemed.
    pub fn begun(&self, identity: &str) {
        self.begun.get_or_create(&Begun { identity: identity.into() }).inc();
    }

    /// Grants ended.
    pub fn ended(&self, reason: &'static str, count: u64) {
        self.ended.get_or_create(&Ended { reason }).inc_by(count);
    }

    /// A refresh was answered.
    pub fn refreshed(&self, outcome: RefreshOutcome) {
        self.refreshes.get_or_create(&Refresh { outcome }).inc();
    }

    /// A request to revoke a token was answered.
    pub fn revoked(&self, outcome: RevocationOutcome) {
        self.revocations.get_or_create(&Revocation { outcome }).inc();
    }

    /// A question about a token was answered.
    pub fn introspected(&self, outcome: IntrospectionOutcome) {
        self.introspections.get_or_create(&Introspection { outcome }).inc();
    }

    /// A token request was refused.
    pub fn token_refused(&self, error: &'static str) {
        self.token_errors.get_or_create(&TokenError { error }).inc();
    }
}
