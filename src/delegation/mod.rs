//! What an upstream is told about the user: headers, under the names that oauth2-proxy made common, and the credential that the
//! operator wants its calls to carry.
//!
//! | file | what |
//! |---|---|
//! | `encode`, `groups` | texts as the values of headers, and which groups are sent |
//! | `credential` | the credential of one upstream, whatever it is |
//! | `assertion` | an assertion about the user, signed by us |
//! | `provider` | a token of the identity provider's, kept for each grant |
//! | `parts` | what credentials are made with, and for whom |
//! | `undelegated` | why a call gets none |
//!
//! Defends against header injection (values are percent-encoded), deny rules that a truncated list of groups would bypass
//! (`groups`), and a credential that reaches the wrong server or names the wrong user (confused deputy: `assertion`, `provider`).

mod assertion;
mod credential;
mod encode;
mod groups;
mod parts;
mod provider;
mod undelegated;

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

pub(crate) use assertion::AssertionSlot;
pub(crate) use credential::{Credential, Issued};
pub(crate) use parts::{Bearer, DelegationParts, OwnParts};
pub(crate) use undelegated::Undelegated;

use crate::config::{Config, ForwardedGroups, Upstream};
use crate::model::caller::Caller;
use crate::oauth::scope::ScopeSet;
use crate::oauth::scope_hierarchy::ScopeHierarchy;
use encode::encode;
use groups::{Groups, Warned};

/// What each upstream is told.
pub(crate) struct Delegation {
    by_audience: HashMap<String, UpstreamSettings>,
    warned: Warned,
}

/// What one upstream is told.
struct UpstreamSettings {
    upstream: String,
    groups: ForwardedGroups,
    hierarchy: ScopeHierarchy,
    credential: Option<Arc<Credential>>,
}

impl Delegation {
    /// Reads the settings of all upstreams.
    #[must_use]
    pub(crate) fn new(config: &Config, parts: &DelegationParts) -> Self {
        let settings_of = |upstream: &Upstream| UpstreamSettings {
            upstream: upstream.settings.id.clone(),
            groups: upstream.settings.request_headers.groups.clone(),
            hierarchy: upstream.settings.scopes.hierarchy.clone(),
            credential: Credential::new(&config.public_url, &upstream.settings, parts).map(Arc::new),
        };
        let upstreams = config.upstreams.iter();
        let by_audience = upstreams.map(|upstream| (upstream.audience().to_owned(), settings_of(upstream))).collect();
        Self { by_audience, warned: Warned::default() }
    }

    /// The credential that calls to the upstream of an audience carry.
    #[must_use]
    pub(crate) fn credential(&self, audience: &str) -> Option<Arc<Credential>> {
        self.by_audience.get(audience)?.credential.clone()
    }

    /// The headers for a caller at the upstream of an audience. Made once for each token.
    #[must_use]
    pub(crate) fn headers(&self, caller: &Caller, audience: &str) -> IdentityHeaders {
        // no upstream has this audience
        let Some(settings) = self.by_audience.get(audience) else {
            return IdentityHeaders::new(caller, Groups::None, &caller.scope);
        };
        let groups = Groups::of(&caller.user.groups, &settings.groups);
        if let Groups::Omitted { count, bytes } = groups
            && self.warned.is_first(&caller.subject, audience)
        {
            warn_of_omitted(settings, caller, count, bytes);
        }
        // the server knows no hierarchy: it compares names
        let headers = IdentityHeaders::new(caller, groups, &settings.hierarchy.effective(&caller.scope));
        let assertion_size = settings.credential.as_ref().map_or(0, |credential| credential.assertion_size(caller));
        IdentityHeaders { assertion_size, ..headers }
    }
}

fn warn_of_omitted(settings: &UpstreamSettings, caller: &Caller, groups: usize, bytes: usize) {
    tracing::warn!(
        upstream = settings.upstream,
        user = &*caller.subject,
        groups,
        bytes,
        max_groups_bytes = settings.groups.max_bytes,
        "the user's groups exceed max_groups_bytes, so the upstream is told none of them: list those that it needs in its \
         `groups`, or raise max_groups_bytes if its server accepts request heads that long"
    );
}

/// The headers that name the caller, and the assertion about it.
#[derive(Default)]
pub(crate) struct IdentityHeaders {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Empty where the upstream gets none.
    pub(crate) assertion: AssertionSlot,
    /// The bytes of an assertion, about.
    assertion_size: usize,
}

impl IdentityHeaders {
    fn new(caller: &Caller, groups: Groups, scopes: &ScopeSet) -> Self {
        let optional = |value: Option<&String>| value.map(|value| encode(value, "")).unwrap_or_default();
        let (groups, omitted) = match groups {
            Groups::None => (String::new(), String::new()),
            Groups::All(groups) => (groups, String::new()),
            Groups::Omitted { count, .. } => (String::new(), count.to_string()),
        };
        let values = [
            ("x-forwarded-user", encode(&caller.subject, "")),
            ("x-forwarded-email", optional(caller.user.email.as_ref())),
            ("x-forwarded-preferred-username", optional(caller.user.preferred_username.as_ref())),
            ("x-forwarded-groups", groups),
            ("x-portcullis-groups-omitted", omitted),
            ("x-portcullis-identity", encode(caller.identity.as_str(), "")),
            ("x-portcullis-client", encode(caller.client.as_str(), "")),
            ("x-portcullis-scopes", scopes.to_string()),
        ];
        let headers = values.into_iter().filter(|(_, value)| !value.is_empty());
        let headers = headers.filter_map(|(name, value)| Some((HeaderName::from_static(name), value.try_into().ok()?)));
        Self { headers: headers.collect(), ..Self::default() }
    }

    /// Adds them to a request. The client's headers of these names must have been removed (header spoofing).
    pub(crate) fn write(&self, headers: &mut http::HeaderMap) {
        headers.extend(self.headers.iter().cloned());
    }

    /// The length of all values together, in bytes, with an assertion that comes later.
    pub(crate) fn size(&self) -> usize {
        self.headers.iter().map(|(_, value)| value.len()).sum::<usize>() + self.assertion_size
    }
}
