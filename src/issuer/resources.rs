//! The resources that a token can be for (RFC 8707): our upstreams, found by what a client names or by what we stored.

use std::sync::Arc;

use crate::config::{Bounds, Config, Dpop, ScopeText, Upstream};
use crate::model::caller::NotAdmitted;
use crate::model::grant::Grant;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::Parameters;
use crate::oauth::resource::ResourceUri;
use crate::oauth::scope::ScopeSet;
use crate::policy::{self, Person};

/// The upstreams of the configuration. Cheap to clone.
#[derive(Clone)]
pub(super) struct Resources(Arc<[Upstream]>);

/// What a client may do, as a page says it.
#[derive(Debug)]
pub struct AccessView {
    /// What people call the server; its URL when it has left the configuration.
    pub resource_name: String,
    /// The granted scope, and what it implies.
    pub scope: ScopeSet,
    /// The operator's texts for the server's scopes, in their order.
    pub scope_texts: Vec<ScopeText>,
    /// Whether the client gets a refresh token, even where `scope` does not name `offline_access`.
    pub refresh: bool,
}

impl Resources {
    pub(super) fn new(upstreams: &[Upstream]) -> Self {
        Self(upstreams.into())
    }

    /// The upstream with this audience, as a grant or an authorization stores it.
    pub(super) fn of_audience(&self, audience: &str) -> Option<&Upstream> {
        self.0.iter().find(|upstream| upstream.audience() == audience)
    }

    /// How tokens for this audience are bound to keys; not at all when its upstream has left the configuration.
    pub(super) fn dpop_of(&self, audience: &str) -> Dpop {
        self.of_audience(audience).map(|upstream| upstream.settings.dpop).unwrap_or_default()
    }

    /// What people call the upstream with this audience; empty when it has left the configuration.
    pub(super) fn name_of(&self, audience: &str) -> String {
        self.of_audience(audience).map_or_else(String::new, |upstream| upstream.settings.name.clone())
    }

    /// What a grant of this scope allows at the upstream with this audience.
    pub(super) fn access_view(&self, audience: &str, scope: &ScopeSet, refresh: bool) -> AccessView {
        match self.of_audience(audience).map(|upstream| &upstream.settings) {
            Some(settings) => AccessView {
                resource_name: settings.name.clone(),
                scope: settings.scopes.hierarchy.effective(scope),
                scope_texts: settings.scopes.texts.clone(),
                refresh,
            },
            None => AccessView {
                resource_name: audience.to_owned(),
                scope: scope.clone(),
                scope_texts: Vec::new(),
                refresh,
            },
        }
    }

    /// The one upstream that an authorization request names. A request without `resource` means the only upstream, or the
    /// operator's default.
    pub(super) fn requested(&self, parameters: &Parameters) -> Result<&Upstream, OAuthError> {
        let implied = || match &*self.0 {
            [only] => Some(only),
            several => several.iter().find(|upstream| upstream.settings.default),
        };
        self.named(parameters)?.or_else(implied).ok_or_else(unnamed)
    }

    /// The same within bounds: a request without `resource` means the only upstream that they allow, or the operator's default
    /// when they allow that.
    pub(super) fn requested_within(&self, parameters: &Parameters, bounds: &Bounds) -> Result<&Upstream, OAuthError> {
        if let Some(upstream) = self.named(parameters)? {
            let refused = || invalid_target("this client may not use the server that resource names");
            return Some(upstream).filter(|upstream| bounds.allow(&upstream.settings.id)).ok_or_else(refused);
        }
        let mut allowed = self.0.iter().filter(|upstream| bounds.allow(&upstream.settings.id));
        let implied = match (allowed.next(), allowed.next()) {
            (Some(only), None) => Some(only),
            _ => self.0.iter().find(|upstream| upstream.settings.default && bounds.allow(&upstream.settings.id)),
        };
        implied.ok_or_else(unnamed)
    }

    /// The one upstream that the `resource` parameters name, if there are any.
    fn named(&self, parameters: &Parameters) -> Result<Option<&Upstream>, OAuthError> {
        let mut named: Option<&Upstream> = None;
        for resource in parameters.all("resource") {
            let uri = ResourceUri::parse(resource)
                .map_err(|malformed| OAuthError::new(ErrorCode::InvalidTarget, malformed.to_string()))?;
            let upstream =
                self.named_by(&uri).ok_or_else(|| invalid_target("resource is not the URL of a server here"))?;
            if named.is_some_and(|other| other.audience() != upstream.audience()) {
                return Err(invalid_target("a token is for one resource: several were named"));
            }
            named = Some(upstream);
        }
        Ok(named)
    }

    /// The upstream that a text names as a resource, in any spelling.
    pub(super) fn of_uri(&self, resource: &str) -> Option<&Upstream> {
        self.named_by(&ResourceUri::parse(resource).ok()?)
    }

    /// Checks that each `resource` of a token request is the granted one (RFC 8707 2.2); it may be absent.
    pub(super) fn check(&self, parameters: &Parameters, audience: &str) -> Result<(), OAuthError> {
        let granted = self.of_audience(audience);
        let is_granted = |resource: &str| {
            let named = ResourceUri::parse(resource);
            named.is_ok_and(|named| granted.is_some_and(|granted| granted.is_named_by(&named)))
        };
        if !parameters.all("resource").all(is_granted) {
            return Err(invalid_target("resource is not the one that was authorized"));
        }
        granted.map(drop).ok_or_else(|| invalid_target("the server of this grant is no longer configured"))
    }

    /// The scope of a refresh that asks for less than its grant has (RFC 6749 6): what the grant covers, by implication too.
    /// All of the grant when nothing is left.
    pub(super) fn narrowed(&self, grant: &Grant, asked: &ScopeSet) -> ScopeSet {
        let upstream = self.of_audience(&grant.resource);
        let covered = upstream.map(|upstream| upstream.settings.scopes.hierarchy.covered(asked, &grant.scope));
        covered.filter(|scope| !scope.is_empty()).unwrap_or_else(|| grant.scope.clone())
    }

    /// Which of these scopes a user may have at the upstream with this audience.
    ///
    /// # Errors
    /// By which rule the user may not use it.
    pub(super) fn granted_to(
        &self,
        person: &Person<'_>,
        audience: &str,
        scope: &ScopeSet,
    ) -> Result<ScopeSet, NotAdmitted> {
        // one that has left the configuration is refused elsewhere
        self.of_audience(audience)
            .map_or_else(|| Ok(scope.clone()), |upstream| policy::admit_to(person, upstream, scope))
    }

    /// The upstream that a URI names, in any spelling.
    fn named_by(&self, uri: &ResourceUri) -> Option<&Upstream> {
        self.0.iter().find(|upstream| upstream.is_named_by(uri))
    }
}

/// The scopes that all upstreams together require for entry.
pub(super) fn entry_scopes(config: &Config) -> ScopeSet {
    config.upstreams.iter().fold(ScopeSet::empty(), |all, upstream| all.union(&upstream.settings.scopes.required))
}

/// The scopes that all upstreams together know.
pub(super) fn known_scopes(config: &Config) -> ScopeSet {
    config.upstreams.iter().fold(ScopeSet::empty(), |all, upstream| all.union(&upstream.settings.scopes.known()))
}

fn unnamed() -> OAuthError {
    invalid_target("resource is missing, and there are several servers here")
}

fn invalid_target(words: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidTarget, words)
}
