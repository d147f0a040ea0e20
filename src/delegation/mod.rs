//! What an upstream is told about the user: headers, under the names that oauth2-proxy made common.
//!
//! Defends against header injection (values are percent-encoded) and against deny rules that a truncated list of groups would
//! bypass (`groups`).

mod encode;
mod groups;

use std::collections::HashMap;

use http::{HeaderName, HeaderValue};

use crate::config::{ForwardedGroups, Upstream};
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
}

impl Delegation {
    /// Reads the settings of these upstreams.
    #[must_use]
    pub(crate) fn new(upstreams: &[Upstream]) -> Self {
        let settings_of = |upstream: &Upstream| UpstreamSettings {
            upstream: upstream.settings.id.clone(),
            groups: upstream.settings.request_headers.groups.clone(),
            hierarchy: upstream.settings.scopes.hierarchy.clone(),
        };
        let by_audience =
            upstreams.iter().map(|upstream| (upstream.audience().to_owned(), settings_of(upstream))).collect();
        Self { by_audience, warned: Warned::default() }
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
        IdentityHeaders::new(caller, groups, &settings.hierarchy.effective(&caller.scope))
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

/// The headers that name the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdentityHeaders(Vec<(HeaderName, HeaderValue)>);

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
        Self(
            headers.filter_map(|(name, value)| Some((HeaderName::from_static(name), value.try_into().ok()?))).collect(),
        )
    }

    /// Adds them to a request. The client's headers of these names must have been removed (header spoofing).
    pub(crate) fn write(&self, headers: &mut http::HeaderMap) {
        headers.extend(self.0.iter().cloned());
    }

    /// The length of all values together, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(|(_, value)| value.len()).sum()
    }
}
