//! What the upstream learns of the user: headers, under the names that oauth2-proxy made common.

use std::fmt::Write;

use http::{HeaderName, HeaderValue};

use crate::model::grant::Grant;
use crate::oauth::scope::ScopeSet;

/// The headers that say who calls, made once for each token.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdentityHeaders(Vec<(HeaderName, HeaderValue)>);

impl IdentityHeaders {
    /// The headers for a grant, of which a token may hold fewer scopes.
    #[must_use]
    pub(crate) fn new(grant: &Grant, scope: &ScopeSet) -> Self {
        let groups: Vec<String> = grant.user.groups.iter().map(|group| encode(group, ",")).collect();
        let optional = |value: Option<&String>| value.map(|value| encode(value, "")).unwrap_or_default();
        let values = [
            ("x-forwarded-user", encode(grant.subject.as_str(), "")),
            ("x-forwarded-email", optional(grant.user.email.as_ref())),
            ("x-forwarded-preferred-username", optional(grant.user.preferred_username.as_ref())),
            ("x-forwarded-groups", groups.join(",")),
            ("x-portcullis-identity", encode(grant.identity.as_str(), "")),
            ("x-portcullis-client", encode(grant.client_id.as_str(), "")),
            ("x-portcullis-scopes", scope.to_string()),
        ];
        let headers = values.into_iter().filter(|(_, value)| !value.is_empty());
        Self(
            headers.filter_map(|(name, value)| Some((HeaderName::from_static(name), value.try_into().ok()?))).collect(),
        )
    }

    /// Adds them to a request from which everything of that kind was removed.
    pub(crate) fn write(&self, headers: &mut http::HeaderMap) {
        headers.extend(self.0.iter().cloned());
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
