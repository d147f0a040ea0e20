//! What an upstream is told about the user: headers, under the names that oauth2-proxy made common.
//!
//! Defends against header injection (values are percent-encoded) and against deny rules that a truncated list of groups would
//! bypass (`groups`).

mod groups;

use std::collections::HashMap;
use std::fmt::Write;

use http::{HeaderName, HeaderValue};

use crate::config::{ForwardedGroups, Upstream};
use crate::model::grant::Grant;
use crate::oauth::scope::ScopeSet;
use groups::{Groups, Warned};

/// What each upstream is told.
pub(crate) struct Delegation {
    by_audience: HashMap<String, Told>,
    warned: Warned,
}

/// What one upstream is told.
struct Told {
    upstream: String,
    groups: ForwardedGroups,
}

impl Delegation {
    /// Reads the settings of these upstreams.
    #[must_use]
    pub(crate) fn new(upstreams: &[Upstream]) -> Self {
        let told = |upstream: &Upstream| Told {
            upstream: upstream.settings.id.clone(),
            groups: upstream.settings.request_headers.groups.clone(),
        };
        let by_audience = upstreams.iter().map(|upstream| (upstream.audience().to_owned(), told(upstream))).collect();
        Self { by_audience, warned: Warned::default() }
    }

    /// The headers for a grant, of which a token may hold fewer scopes, at the upstream of an audience. Made once for each
    /// token.
    #[must_use]
    pub(crate) fn headers(&self, grant: &Grant, scope: &ScopeSet, audience: &str) -> IdentityHeaders {
        let groups = match self.by_audience.get(audience) {
            Some(told) => {
                let groups = Groups::of(&grant.user.groups, &told.groups);
                if let Groups::Omitted { count, bytes } = groups
                    && self.warned.is_first(grant.subject.as_str(), audience)
                {
                    warn_of_omitted(told, grant, count, bytes);
                }
                groups
            }
            // no upstream has this audience
            None => Groups::None,
        };
        IdentityHeaders::new(grant, scope, groups)
    }
}

fn warn_of_omitted(told: &Told, grant: &Grant, groups: usize, bytes: usize) {
    tracing::warn!(
        upstream = told.upstream,
        user = grant.subject.as_str(),
        groups,
        bytes,
        max_groups_bytes = told.groups.max_bytes,
        "the user's groups exceed max_groups_bytes, so the upstream is told none of them: list those that it needs in its \
         `groups`, or raise max_groups_bytes if its server accepts request heads that long"
    );
}

/// The headers that name the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdentityHeaders(Vec<(HeaderName, HeaderValue)>);

impl IdentityHeaders {
    fn new(grant: &Grant, scope: &ScopeSet, groups: Groups) -> Self {
        let optional = |value: Option<&String>| value.map(|value| encode(value, "")).unwrap_or_default();
        let (groups, omitted) = match groups {
            Groups::None => (String::new(), String::new()),
            Groups::All(groups) => (groups, String::new()),
            Groups::Omitted { count, .. } => (String::new(), count.to_string()),
        };
        let values = [
            ("x-forwarded-user", encode(grant.subject.as_str(), "")),
            ("x-forwarded-email", optional(grant.user.email.as_ref())),
            ("x-forwarded-preferred-username", optional(grant.user.preferred_username.as_ref())),
            ("x-forwarded-groups", groups),
            ("x-portcullis-groups-omitted", omitted),
            ("x-portcullis-identity", encode(grant.identity.as_str(), "")),
            ("x-portcullis-client", encode(grant.client_id.as_str(), "")),
            ("x-portcullis-scopes", scope.to_string()),
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

/// Printable ASCII stays; the rest, `%` and what else is asked for is percent-encoded, so that it can be read back.
fn encode(text: &str, also: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // at an edge a space would be trimmed away (RFC 9110 5.5), and one user become another
    let inner = text.len() - text.trim_start_matches(' ').len()..text.trim_end_matches(' ').len();
    for (at, byte) in text.bytes().enumerate() {
        let kept = byte != b' ' || inner.contains(&at);
        if kept && matches!(byte, b' '..=b'~') && byte != b'%' && !also.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::encode;

    #[test]
    fn names_read_as_they_are_and_odd_ones_can_be_read_back() {
        assert_eq!(encode("alice@example.com", ""), "alice@example.com");
        assert_eq!(encode("Zoë 100%", ""), "Zo%C3%AB 100%25");
        assert_eq!(encode("a,b", ","), "a%2Cb");
        assert_eq!(encode(" admin  ", ""), "%20admin%20%20");
        assert_eq!(encode("   ", ""), "%20%20%20");
        assert_eq!(encode("a\r\nX-Evil: 1", ""), "a%0D%0AX-Evil: 1");
    }

    proptest! {
        #[test]
        fn every_value_is_a_header_value_and_reads_back(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let encoded = encode(&text, ",");
            prop_assert!(http::HeaderValue::try_from(&encoded).is_ok());
            prop_assert_eq!(encoded.trim(), &encoded);
            let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8().unwrap();
            prop_assert_eq!(decoded.as_ref(), text);
        }
    }
}
