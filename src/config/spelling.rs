//! The URL of an upstream as a client spelled it: strict clients compare metadata with the URL that the user typed.

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};

use super::{PublicUrl, ResourceNames};

/// The longest query that is repeated, in bytes: clients carry it on in a header, in metadata and in `resource` parameters.
const MAX_QUERY: usize = 1024;

/// Origin and query of a request's URL.
#[derive(Debug, Clone)]
pub struct Spelling<'a> {
    origin: &'a str,
    target: Option<PathAndQuery>,
}

impl<'a> Spelling<'a> {
    /// The spelling of a request, whose host must have been checked. An unknown host yields the configured origin.
    #[must_use]
    pub fn of(public_url: &'a PublicUrl, uri: &Uri, headers: &HeaderMap) -> Self {
        let header = || headers.get(HOST).and_then(|host: &HeaderValue| host.to_str().ok());
        let host = uri.authority().map(http::uri::Authority::as_str).or_else(header);
        Self {
            origin: host.map_or(public_url.as_str(), |host| public_url.origin_at(host)),
            target: uri.path_and_query().cloned(),
        }
    }

    /// The origin in the client's spelling.
    #[must_use]
    pub const fn origin(&self) -> &'a str {
        self.origin
    }

    /// The resource URI in the client's spelling.
    #[must_use]
    pub fn resource(&self, names: &ResourceNames) -> String {
        self.url(&names.path)
    }

    /// The URL of the resource metadata (RFC 9728 3.1): the well-known part between host and path, the query at the end.
    #[must_use]
    pub fn metadata_url(&self, names: &ResourceNames) -> String {
        self.url(&names.metadata_path)
    }

    fn url(&self, path: &str) -> String {
        match self.query() {
            Some(query) => format!("{}{path}?{query}", self.origin),
            None => format!("{}{path}", self.origin),
        }
    }

    /// The query, if it is safe in a quoted header value and clients do not re-encode it.
    fn query(&self) -> Option<&str> {
        let safe = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\<>#".contains(&byte);
        let query = self.target.as_ref().and_then(PathAndQuery::query)?;
        (query.len() <= MAX_QUERY && query.bytes().all(safe)).then_some(query)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Uri};
    use proptest::prelude::*;

    use super::{MAX_QUERY, Spelling};
    use crate::config::{PublicUrl, ResourceNames};
    use crate::oauth::resource::ResourceUri;

    fn typed(uri: &str, host: &str) -> (String, String) {
        let url = PublicUrl::parse("http://127.0.0.1:6749").unwrap();
        let names = ResourceNames {
            path: "/mcp".to_owned(),
            resource: url.join("/mcp"),
            metadata_path: "/.well-known/oauth-protected-resource/mcp".to_owned(),
        };
        let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_str(host).unwrap())]);
        let uri: Uri = uri.parse().unwrap();
        let spelling = Spelling::of(&url, &uri, &headers);
        (spelling.resource(&names), spelling.metadata_url(&names))
    }

    #[test]
    fn host_and_query_keep_the_spelling_of_the_client() {
        let (resource, metadata) = typed("/mcp?toolsets=a,b&x=%20", "localhost:6749");
        assert_eq!(resource, "http://localhost:6749/mcp?toolsets=a,b&x=%20");
        assert_eq!(metadata, "http://localhost:6749/.well-known/oauth-protected-resource/mcp?toolsets=a,b&x=%20");
        assert_eq!(typed("/mcp?", "127.0.0.1:6749").0, "http://127.0.0.1:6749/mcp?");
        assert_eq!(typed("http://[::1]:6749/mcp", "[::1]:6749").0, "http://[::1]:6749/mcp");
    }

    #[test]
    fn a_query_that_is_too_long_or_could_end_a_quoted_string_is_dropped() {
        let long = format!("/mcp?{}", "x".repeat(MAX_QUERY + 1));
        for uri in ["/mcp?a=\\", "/mcp?a='", &long] {
            assert_eq!(typed(uri, "127.0.0.1:6749").0, "http://127.0.0.1:6749/mcp", "{uri}");
        }
        let longest = format!("/mcp?{}", "x".repeat(MAX_QUERY));
        assert!(typed(&longest, "127.0.0.1:6749").0.ends_with(&longest));
    }

    proptest! {
        #[test]
        fn a_resource_is_safe_in_a_header_and_names_our_server_for_any_query(query in "[ -~]{0,40}|\\PC{0,10}") {
            let Ok(uri) = format!("/mcp?{query}").parse::<Uri>() else { return Ok(()) };
            let (resource, metadata) = typed(&uri.to_string(), "localhost:6749");
            prop_assert!(metadata.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte)));
            let ours = ResourceUri::parse("http://localhost:6749/mcp").unwrap();
            prop_assert!(ResourceUri::parse(&resource).unwrap().is_same(&ours));
        }
    }
}
