//! Resource indicators (RFC 8707): which MCP server a token is for, so that one server cannot use it at another.

use std::fmt;

use super::web_uri::WebUri;

/// The longest resource, in bytes.
const MAX_RESOURCE: usize = 2048;

/// A resource in canonical form: scheme and host in lower case, no default port, no lone `/` as path. Everything else stays
/// as it was written: a path such as `/x/../mcp` is not `/mcp`, whatever a browser makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResourceUri {
    text: String,
    /// Where the query begins, or the text ends.
    query_at: usize,
}

/// A malformed `resource` (RFC 8707 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a resource is an absolute http or https URI without fragment and user information")]
pub struct MalformedResource;

impl ResourceUri {
    /// Reads a `resource` parameter or a configured URL.
    ///
    /// # Errors
    /// When it is not an absolute http or https URI, or has a fragment or user information.
    pub fn parse(text: &str) -> Result<Self, MalformedResource> {
        if text.len() > MAX_RESOURCE {
            return Err(MalformedResource);
        }
        let uri = WebUri::parse(text).or(Err(MalformedResource))?;
        let path = if uri.path == "/" && uri.query.is_none() { "" } else { uri.path };
        let mut text = format!("{}{path}", uri.origin());
        let query_at = text.len();
        if let Some(query) = uri.query {
            text.push('?');
            text.push_str(query);
        }
        Ok(Self { text, query_at })
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether both name the same server. One trailing slash and the query do not count: clients add or drop the slash, and
    /// repeat the URL that was typed, with its query.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.server() == other.server()
    }

    /// Without the query and one trailing slash.
    fn server(&self) -> &str {
        let place = self.text.get(..self.query_at).unwrap_or(&self.text);
        place.strip_suffix('/').unwrap_or(place)
    }
}

impl fmt::Display for ResourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ResourceUri;

    const OURS: &str = "http://127.0.0.1/mcp";

    fn same(a: &str, b: &str) -> bool {
        ResourceUri::parse(a).unwrap().is_same(&ResourceUri::parse(b).unwrap())
    }

    fn is_ours(text: &str) -> bool {
        let ours = ResourceUri::parse(OURS).unwrap();
        ResourceUri::parse(text).is_ok_and(|named| ours.is_same(&named))
    }

    /// All spellings of `OURS` without a query, once the case of scheme and host is folded.
    fn is_spelling(text: &str) -> bool {
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let scheme_ends = place.find(':').unwrap_or_default();
        let folded = format!("{}{}", place[..scheme_ends].to_ascii_lowercase(), &place[scheme_ends..]);
        let printable = query.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        printable
            && [OURS, "http://127.0.0.1/mcp/", "http://127.0.0.1:80/mcp", "http://127.0.0.1:80/mcp/"]
                .contains(&&*folded)
    }

    proptest! {
        #[test]
        fn canonicalizing_a_resource_is_idempotent(text in "(?i)https?://[a-z0-9.:@\\[\\]\\\\-]{0,20}[/?#a-z0-9%.]{0,20}") {
            if let Ok(resource) = ResourceUri::parse(&text) {
                let again = ResourceUri::parse(resource.as_str());
                prop_assert_eq!(again.as_ref(), Ok(&resource));
                prop_assert!(!resource.as_str().contains(['#', '\\', ' ']));
            }
        }

        #[test]
        fn another_host_is_never_the_same_resource(a in "[a-z]{1,8}", b in "[a-z]{1,8}", path in "[/a-z@:.?]{0,12}") {
            prop_assume!(a != b);
            let (one, other) = (format!("https://{a}.example/{path}"), format!("https://{b}.example/{path}"));
            if let (Ok(one), Ok(other)) = (ResourceUri::parse(&one), ResourceUri::parse(&other)) {
                prop_assert!(!one.is_same(&other));
            }
        }

        #[test]
        fn a_tampered_resource_is_ours_only_in_an_accepted_spelling(
            at in 0..=OURS.len(),
            cut in 0..4usize,
            put in prop_oneof!["[\\x00-\\x7f]{0,3}", "\\PC", Just("/x/..".to_owned()), Just("HTTP".to_owned()), Just(":80".to_owned()), Just("/?".to_owned())],
        ) {
            let text = format!("{}{put}{}", &OURS[..at], &OURS[(at + cut).min(OURS.len())..]);
            prop_assert_eq!(is_ours(&text), is_spelling(&text), "{:?}", text);
        }
    }

    #[test]
    fn spellings_that_clients_use_name_one_resource() {
        assert!(same("https://mcp.example.com/mcp", "HTTPS://MCP.example.com:443/mcp"));
        assert!(same("https://mcp.example.com/mcp", "https://mcp.example.com/mcp/"));
        assert!(same("https://mcp.example.com", "https://mcp.example.com/"));
        for query in ["?toolsets=a,b", "/?toolsets=a", "?", "?x=/", "?a[]={b}|`^\\"] {
            assert!(same("https://mcp.example.com/mcp", &format!("https://mcp.example.com/mcp{query}")), "{query}");
        }
    }

    #[test]
    fn another_path_case_or_port_is_another_resource() {
        for other in ["/MCP", "/mcp//", "/mcp/x", "", "/mcp%2f", "/m%63p", "/x/../mcp", "/./mcp", "/other?/mcp"] {
            assert!(!same("https://mcp.example.com/mcp", &format!("https://mcp.example.com{other}")), "{other}");
        }
        assert!(!same("https://mcp.example.com/mcp", "https://mcp.example.com:8443/mcp"));
        assert!(!same("https://mcp.example.com/mcp", "http://mcp.example.com/mcp"));
    }

    #[test]
    fn a_resource_that_only_a_lenient_parser_accepts_is_not_ours() {
        for other in [
            "http:127.0.0.1/mcp",
            "http:/127.0.0.1/mcp",
            "http:///127.0.0.1/mcp",
            "http:\\\\127.0.0.1\\mcp",
            "http://127.1/mcp",
            "http://2130706433/mcp",
            "http://0x7f000001/mcp",
            "http://%31%32%37.0.0.1/mcp",
            "http://127.0.0.1./mcp",
            "http://127.0.0.1:080/mcp",
            "http://127.0.0.1:/mcp",
            "http://user@127.0.0.1/mcp",
            "http://@127.0.0.1/mcp",
            "http://127.0.0.1/m\tcp",
            "http://127.0.0.1/mcp\n",
            " http://127.0.0.1/mcp",
            "http://127.0.0.1\\mcp",
            "http://\u{ff11}27.0.0.1/mcp",
            "http://127\u{3002}0\u{3002}0\u{3002}1/mcp",
            "http://127.0.0.1/x/../mcp",
            "http://127.0.0.1/%2e/mcp",
            "http://127.0.0.1/mcp#",
        ] {
            assert!(!is_ours(other), "{other:?}");
        }
    }

    #[test]
    fn a_resource_must_be_an_absolute_web_uri() {
        for bad in [
            "",
            "mcp",
            "/mcp",
            "urn:x",
            "https://a/b#c",
            "https://u@a/b",
            "https://a\\b/",
            "https://a/ b",
            "https://a/\n",
        ] {
            assert!(ResourceUri::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ResourceUri::parse(&format!("https://a/?{}", "x".repeat(2048))).is_err());
    }
}
