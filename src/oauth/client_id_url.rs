//! Client ids that are URLs (draft-ietf-oauth-client-id-metadata-document 2): what a client is, is found at its id.
//!
//! Defends against: one client under two names, and two parsers that read one id differently. An id is accepted only in the
//! normal form of its URL, and compared byte for byte.

use url::Url;

use super::web_uri::WebUri;

/// How long a client id that is a URL may be, in bytes. It is stored with each grant and stands in each access token.
pub const MAX_CLIENT_ID_URL: usize = 512;

/// What a client id begins with when it is a URL. No other id may begin so.
const SCHEME: &str = "https://";

/// A client id that is an https URL in normal form, with a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientIdUrl(String);

/// Why a text is no such id. The messages continue "the client id".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdUrlError {
    /// Longer than [`MAX_CLIENT_ID_URL`].
    #[error("is longer than {MAX_CLIENT_ID_URL} bytes")]
    TooLong,
    /// Not https, or with user information, a fragment, dot segments, or a spelling that a parser would repair.
    #[error("is not an https URL in normal form, without user information, fragment and dot segments")]
    NotNormal,
    /// `https://client.example/`, which names a site and no client.
    #[error("has no path")]
    NoPath,
}

/// Whether a client id claims to be a URL: then it is that of a document, or refused.
#[must_use]
pub fn is_url(client_id: &str) -> bool {
    client_id.starts_with(SCHEME)
}

/// Host, and port unless it is 443, of a client id that is a URL; `None` of another one.
#[must_use]
pub fn publisher(client_id: &str) -> Option<&str> {
    client_id.strip_prefix(SCHEME)?.split(['/', '?']).next()
}

impl ClientIdUrl {
    /// Parses a client id.
    ///
    /// # Errors
    /// Why it is not one.
    pub fn parse(text: &str) -> Result<Self, ClientIdUrlError> {
        if text.len() > MAX_CLIENT_ID_URL {
            return Err(ClientIdUrlError::TooLong);
        }
        let uri = WebUri::parse(text).or(Err(ClientIdUrlError::NotNormal))?;
        if uri.path.is_empty() || uri.path == "/" {
            return Err(ClientIdUrlError::NoPath);
        }
        // the parser of URLs resolves dot segments, however they are encoded
        let is_normal = uri.canonical() == text && Url::parse(text).is_ok_and(|url| url.as_str() == text);
        if is_normal && is_url(text) { Ok(Self(text.to_owned())) } else { Err(ClientIdUrlError::NotNormal) }
    }

    /// The id, byte for byte.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without port, as URL parsers write it.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = publisher(&self.0).unwrap_or_default();
        let host_ends = authority.find(']').map_or(0, |bracket| bracket + 1);
        let colon = authority.get(host_ends..).and_then(|rest| rest.find(':'));
        colon.and_then(|colon| authority.get(..host_ends + colon)).unwrap_or(authority)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::{ClientIdUrl, ClientIdUrlError, publisher};

    #[test]
    fn the_ids_of_real_clients_are_urls_with_a_host() {
        for (id, host) in [
            ("https://claude.ai/oauth/claude-code-client-metadata", "claude.ai"),
            ("https://chatgpt.com/oauth/abc_1-2/client.json", "chatgpt.com"),
            ("https://vscode.dev/oauth/client-metadata.json", "vscode.dev"),
            ("https://www.mcpjam.com/.well-known/oauth/client-metadata.json", "www.mcpjam.com"),
            ("https://client.example:8443/a?version=2", "client.example"),
            ("https://xn--bcher-kva.example/a", "xn--bcher-kva.example"),
            ("https://127.0.0.1:8443/a", "127.0.0.1"),
            ("https://[2001:db8::1]:8443/a", "[2001:db8::1]"),
            ("https://[2001:db8::1]/a:b", "[2001:db8::1]"),
        ] {
            let url = ClientIdUrl::parse(id).unwrap_or_else(|why| panic!("{id} {why}"));
            assert_eq!((url.as_str(), url.host()), (id, host));
        }
        assert_eq!(publisher("https://client.example:8443/a?b"), Some("client.example:8443"));
        assert_eq!(publisher("c_4ndcxgkbnsbnhkxk5gu6hyjcwi"), None);
    }

    #[test]
    fn a_url_in_another_form_is_no_client_id() {
        use ClientIdUrlError::{NoPath, NotNormal, TooLong};
        let long = format!("https://client.example/{}", "a".repeat(500));
        for (id, why) in [
            ("", NotNormal),
            ("client.example/a", NotNormal),
            ("http://client.example/a", NotNormal),
            ("HTTPS://client.example/a", NotNormal),
            ("https://Client.example/a", NotNormal),
            ("https://client.example:443/a", NotNormal),
            ("https://client.example", NoPath),
            ("https://client.example/", NoPath),
            ("https://client.example?a=b", NoPath),
            ("https://client.example/a/../b", NotNormal),
            ("https://client.example/a/./b", NotNormal),
            ("https://client.example/..", NotNormal),
            ("https://client.example/a/%2e%2e/b", NotNormal),
            ("https://client.example/a/.%2E/b", NotNormal),
            ("https://client.example/a/%2e", NotNormal),
            ("https://client.example/a#b", NotNormal),
            ("https://client.example/a#", NotNormal),
            ("https://user@client.example/a", NotNormal),
            ("https://user:secret@client.example/a", NotNormal),
            ("https://client.example\\@evil.example/a", NotNormal),
            ("https://client.example./a", NotNormal),
            ("https://*.example/a", NotNormal),
            ("https://127.1/a", NotNormal),
            ("https://2130706433/a", NotNormal),
            ("https://[::ffff:127.0.0.1]/a", NotNormal),
            ("https://client.example/a b", NotNormal),
            ("https://client.example/\u{e9}", NotNormal),
            ("https:///client.example/a", NotNormal),
            (long.as_str(), TooLong),
        ] {
            assert_eq!(ClientIdUrl::parse(id), Err(why), "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_id_is_what_every_parser_makes_of_it(
            text in "https://[a-zA-Z0-9.:@%\\[\\]-]{0,20}[/?#\\\\a-z0-9%.@-]{0,24}"
        ) {
            if let Ok(id) = ClientIdUrl::parse(&text) {
                let url = Url::parse(&text).unwrap();
                prop_assert_eq!(url.as_str(), id.as_str());
                prop_assert_eq!(url.host_str(), Some(id.host()));
                prop_assert!(url.path() != "/" && url.fragment().is_none() && url.username().is_empty());
                let dots = url.path_segments().unwrap().any(|segment| segment == "." || segment == "..");
                prop_assert!(!dots);
            }
        }
    }
}
