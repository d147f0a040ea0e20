//! Resource indicators (RFC 8707): which MCP server a token is for.

use std::fmt;

use url::Url;

/// A resource in canonical form: scheme and host in lower case, no default port, no fragment, no lone `/` as path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResourceUri(String);

/// A `resource` that cannot name anything (RFC 8707 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a resource is an absolute http or https URI without fragment and user information")]
pub struct MalformedResource;

impl ResourceUri {
    /// Reads a `resource` parameter or a configured URL.
    ///
    /// # Errors
    /// When it is not an absolute http or https URI, or has a fragment or user information.
    pub fn parse(text: &str) -> Result<Self, MalformedResource> {
        if text.len() > 2048 || text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\') {
            return Err(MalformedResource);
        }
        let url = Url::parse(text).or(Err(MalformedResource))?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(MalformedResource);
        }
        let text = String::from(url.clone());
        let bare = url.path() == "/" && url.query().is_none();
        Ok(Self(if bare { text.trim_end_matches('/').to_owned() } else { text }))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both name the same resource: one trailing slash more or less is what clients get wrong.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        fn bare(text: &str) -> &str {
            text.strip_suffix('/').unwrap_or(text)
        }
        bare(&self.0) == bare(&other.0)
    }
}

impl fmt::Display for ResourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ResourceUri;

    proptest! {
        #[test]
        fn a_canonical_resource_is_its_own_canonical_form(text in "(?i)https?://[a-z0-9.:@\\[\\]\\\\-]{0,20}[/?#a-z0-9%.]{0,20}") {
            if let Ok(resource) = ResourceUri::parse(&text) {
                let again = ResourceUri::parse(resource.as_str());
                prop_assert_eq!(again.as_ref(), Ok(&resource));
                prop_assert!(!resource.as_str().contains(['#', '@', '\\', ' ']) || resource.as_str().contains('?'));
            }
        }

        #[test]
        fn another_host_is_never_the_same_resource(a in "[a-z]{1,8}", b in "[a-z]{1,8}", path in "[/a-z@:.]{0,12}") {
            prop_assume!(a != b);
            let (one, other) = (format!("https://{a}.example/{path}"), format!("https://{b}.example/{path}"));
            if let (Ok(one), Ok(other)) = (ResourceUri::parse(&one), ResourceUri::parse(&other)) {
                prop_assert!(!one.is_same(&other));
            }
        }
    }

    fn same(a: &str, b: &str) -> bool {
        ResourceUri::parse(a).unwrap().is_same(&ResourceUri::parse(b).unwrap())
    }

    #[test]
    fn what_clients_spell_differently_is_one_resource() {
        assert!(same("https://mcp.example.com/mcp", "HTTPS://MCP.example.com:443/mcp"));
        assert!(same("https://mcp.example.com/mcp", "https://mcp.example.com/mcp/"));
        assert!(same("https://mcp.example.com", "https://mcp.example.com/"));
    }

    #[test]
    fn what_differs_in_path_case_port_query_or_by_two_slashes_is_another_resource() {
        for other in ["/MCP", "/mcp//", "/mcp?x=1", "/mcp/x", "", "/mcp%2f"] {
            assert!(!same("https://mcp.example.com/mcp", &format!("https://mcp.example.com{other}")), "{other}");
        }
        assert!(!same("https://mcp.example.com/mcp", "https://mcp.example.com:8443/mcp"));
        assert!(!same("https://mcp.example.com/mcp", "http://mcp.example.com/mcp"));
    }

    #[test]
    fn what_is_no_absolute_web_uri_is_refused() {
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
    }
}
