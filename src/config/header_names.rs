//! Header names as servers behind us may read them, and the lists of headers that no client may send.
//!
//! Defends against: header spoofing, also by another spelling (`X_Forwarded_User`), request smuggling, method and URL
//! override. Names are compared in lower case, with every character that is neither letter nor digit folded to `-`: WSGI and
//! many frameworks treat `_` and `-` as the same, and some CGI servers every other character too.

use std::borrow::Cow;

/// Headers that no client may send to an upstream, whatever the settings: framing and connection, credentials that we check,
/// headers that only we write, and headers that make a server treat the request as another one. A `*` at the end matches any
/// ending.
pub(crate) const PROTECTED: &[&str] = &[
    // connection and framing (RFC 9110 7.6.1, RFC 9112 6); `Proxy` becomes HTTP_PROXY in CGI (httpoxy)
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "proxy",
    "proxy-*",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // credentials
    "authorization",
    "cookie",
    "cookie2",
    "dpop",
    // headers that only we write
    "forwarded",
    "remote-*",
    "x-auth-request-*",
    "x-forwarded",
    "x-forwarded-*",
    "x-portcullis-*",
    "x-real-ip",
    "x-remote-*",
    "x-request-id*",
    "x-user",
    "x-user-*",
    // another method, URL, host or internal route than the one that was authorized
    "x-accel-*",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-http-method*",
    "x-http-path-override",
    "x-invoke-*",
    "x-matched-path",
    "x-method-override",
    "x-middleware-*",
    "x-original-*",
    "x-rewrite-url",
    "x-sendfile-type",
];

/// Headers in which other proxies name the user or the client. A server that was once behind one of them may still trust
/// them. They are dropped by default; `keep_headers` makes exceptions.
pub(crate) const OTHER_PROXIES: &[&str] = &[
    // addresses
    "cf-connecting-*",
    "cf-pseudo-ipv4",
    "client-ip",
    "fastly-client-*",
    "forwarded-for",
    "true-client-ip",
    "wl-proxy-*",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-*",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-*",
    // client certificates (RFC 9440 and before it)
    "client-cert*",
    "ssl-client-*",
    "x-amzn-mtls-*",
    "x-arr-clientcert",
    "x-client-cert*",
    "x-client-dn",
    "x-client-verify",
    "x-spiffe-*",
    "x-ssl-*",
    // users
    "cf-access-*",
    "eppn",
    "impersonate-*",
    "iv-creds",
    "iv-groups",
    "iv-user*",
    "mellon-*",
    "oam-*",
    "oidc-*",
    "shib-*",
    "sm-user*",
    "tailscale-*",
    "teleport-*",
    "x-access-token",
    "x-amzn-lambda-context",
    "x-amzn-oidc-*",
    "x-amzn-request-context",
    "x-anonymous-consumer",
    "x-apigateway-api-userinfo",
    "x-appengine-*",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-roles",
    "x-auth-user*",
    "x-authenticated-*",
    "x-authentik-*",
    "x-consumer-*",
    "x-credential-*",
    "x-endpoint-api-userinfo",
    "x-goog-authenticated-*",
    "x-goog-iap-*",
    "x-hasura-*",
    "x-id-token",
    "x-jwt-assertion",
    "x-ms-client-principal*",
    "x-ms-token-*",
    "x-oidc-*",
    "x-pomerium-*",
    "x-saml-*",
    "x-serverless-authorization",
    "x-tailscale-*",
    "x-token-*",
    "x-userinfo",
    "x-username",
    "x-vouch-*",
    "x-webauth-*",
];

/// The folded form of a name. Ordinary names are returned without a copy.
pub(crate) fn folded(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.bytes().all(plain) {
        return Cow::Borrowed(name);
    }
    let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    Cow::Owned(name.chars().map(fold).collect())
}

/// A set of folded names and prefixes. Every header of every call is looked up, by one binary search among the few patterns
/// with the same first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderNames {
    patterns: Vec<Pattern>,
    /// For each first byte, and one past the last, the index of the first pattern that does not begin with a smaller byte.
    starts: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern {
    text: Box<str>,
    /// Whether `text` is a whole name or a prefix. A prefix sorts before a name with the same text.
    whole: bool,
}

impl HeaderNames {
    /// Builds the set; a name that ends in `*` is a prefix.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let pattern = |name: &str| match name.strip_suffix('*') {
            Some(begin) => Pattern { text: folded(begin).into(), whole: false },
            None => Pattern { text: folded(name).into(), whole: true },
        };
        let mut patterns: Vec<Pattern> = names.into_iter().map(pattern).collect();
        patterns.sort();
        patterns.dedup_by(|next, kept| kept.covers(&next.text));
        let first = |pattern: &Pattern| pattern.text.bytes().next().map_or(0, usize::from);
        let start = |byte| patterns.partition_point(|pattern| first(pattern) < byte);
        let starts = (0..=256).map(start).collect();
        Self { patterns, starts }
    }

    /// Whether a folded name is in the set.
    pub(crate) fn contains(&self, name: &str) -> bool {
        let patterns = self.candidates(name).unwrap_or_default();
        // names that a prefix covers are not in the set, so only the last pattern that is not greater can match
        let after = patterns.partition_point(|pattern| *pattern.text <= *name);
        let last = after.checked_sub(1).and_then(|last| patterns.get(last));
        last.is_some_and(|pattern| pattern.covers(name)) || self.covers_all()
    }

    /// The patterns with the same first byte as the name.
    fn candidates(&self, name: &str) -> Option<&[Pattern]> {
        let first = name.bytes().next().map_or(0, usize::from);
        self.patterns.get(*self.starts.get(first)?..*self.starts.get(first + 1)?)
    }

    /// Whether the set contains `*`, which is then its only pattern.
    fn covers_all(&self) -> bool {
        self.patterns.first().is_some_and(|pattern| !pattern.whole && pattern.text.is_empty())
    }
}

impl Default for HeaderNames {
    fn default() -> Self {
        Self::new([])
    }
}

impl Pattern {
    fn covers(&self, name: &str) -> bool {
        if self.whole { *self.text == *name } else { name.starts_with(&*self.text) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HeaderNames, OTHER_PROXIES, PROTECTED, folded};

    #[test]
    fn the_lists_are_folded_and_contain_no_duplicates() {
        for list in [PROTECTED, OTHER_PROXIES] {
            assert!(list.iter().all(|name| folded(name.trim_end_matches('*')) == name.trim_end_matches('*')));
            let names = HeaderNames::new(list.iter().copied());
            assert_eq!(names.patterns.len(), list.len());
        }
    }

    proptest! {
        #[test]
        fn the_search_agrees_with_a_linear_scan(
            patterns in prop::collection::vec("[ab-]{1,4}\\*?|\\*", 0..12),
            name in "[ab-]{0,6}",
        ) {
            let set = HeaderNames::new(patterns.iter().map(String::as_str));
            let expected = patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(begin) => name.starts_with(begin),
                None => *pattern == name,
            });
            prop_assert_eq!(set.contains(&name), expected);
        }

        #[test]
        fn folding_keeps_the_length_and_is_idempotent(name in "[!-~]{0,30}") {
            let once = folded(&name).into_owned();
            prop_assert_eq!(once.len(), name.len());
            prop_assert_eq!(folded(&once).into_owned(), once.clone());
            prop_assert_eq!(folded(&name.to_ascii_uppercase()).into_owned(), once);
        }
    }
}
