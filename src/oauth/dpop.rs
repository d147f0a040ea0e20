//! The vocabulary of DPoP (RFC 9449): what binds a token to the key of its client.

use std::fmt;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::web_uri::WebUri;
use crate::secret::{Sha256, base64url};

/// The header that carries a proof (RFC 9449 4.1).
pub const PROOF: HeaderName = HeaderName::from_static("dpop");
/// The header that carries our next nonce (RFC 9449 8).
pub const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// The `token_type` of a bound token, and its authentication scheme (RFC 9449 5, 7.1).
pub const TOKEN_TYPE: &str = "DPoP";
/// The algorithms that may sign proofs, as our metadata list them. `Ed25519` is the name of RFC 9864 for `EdDSA` on that curve.
pub const ALGORITHMS: &[&str] = &["ES256", "Ed25519", "EdDSA", "PS256", "RS256"];

/// The JWK thumbprint of a public key (RFC 7638): `jkt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Thumbprint(Sha256);

impl Thumbprint {
    /// The thumbprint with this hash.
    #[must_use]
    pub const fn new(hash: Sha256) -> Self {
        Self(hash)
    }

    /// Reads a `dpop_jkt` parameter (RFC 9449 10); `None` when it is no thumbprint.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        Sha256::from_slice(&bytes).map(Self)
    }

    /// The hash itself.
    #[must_use]
    pub const fn sha256(&self) -> &Sha256 {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url(self.0.as_bytes()))
    }
}

/// How a token says which key it is bound to (RFC 7800 3.1, RFC 9449 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The key.
    pub jkt: Thumbprint,
}

/// The URIs under which clients know one of our endpoints, in normal form.
#[derive(Debug, Clone, Default)]
pub struct ProofTargets(Vec<String>);

impl ProofTargets {
    /// The targets with these URIs. What is no http or https URI is none.
    pub fn new<'a>(uris: impl IntoIterator<Item = &'a str>) -> Self {
        Self(uris.into_iter().filter_map(normal_form).collect())
    }

    /// Whether `htu` is one of them. Query and fragment do not count (RFC 9449 4.3).
    #[must_use]
    pub fn include(&self, htu: &str) -> bool {
        // nearly every client writes the normal form
        self.0.iter().any(|target| target == htu) || normal_form(htu).is_some_and(|htu| self.0.contains(&htu))
    }
}

/// An http or https URI in the normal form of RFC 3986 6.2.2 and 6.2.3, without query and fragment.
fn normal_form(uri: &str) -> Option<String> {
    let place = uri.split(['?', '#']).next().unwrap_or_default();
    let uri = WebUri::parse(place).ok()?;
    Some(uri.origin() + &without_dot_segments(&unescaped(uri.path)?))
}

/// A path in which only what needs it is percent-encoded, in upper case (RFC 3986 6.2.2.1, 6.2.2.2). `None` when a percent
/// sign encodes nothing.
fn unescaped(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut pieces = path.split('%');
    normal.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let byte = data_encoding::HEXUPPER_PERMISSIVE.decode(digits.as_bytes()).ok()?.first().copied()?;
        match char::from(byte) {
            c if c.is_ascii_alphanumeric() || "-._~".contains(c) => normal.push(c),
            _ => {
                normal.push('%');
                normal.push_str(&digits.to_ascii_uppercase());
            }
        }
        normal.push_str(rest);
    }
    Some(normal)
}

/// A path without `.` and `..` (RFC 3986 5.2.4). The empty path is `/`.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // it names a folder
                kept.extend(is_last.then_some(""));
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ProofTargets, Thumbprint, normal_form};
    use crate::secret::Sha256;

    #[test]
    fn a_target_is_compared_in_normal_form_without_query_and_fragment() {
        let targets = ProofTargets::new(["https://mcp.example.com/mcp"]);
        for same in [
            "https://mcp.example.com/mcp",
            "HTTPS://MCP.Example.com:443/mcp",
            "https://mcp.example.com/%6dc%70",
            "https://mcp.example.com/./x/../mcp",
            "https://mcp.example.com/mcp?a=b",
            "https://mcp.example.com/mcp#f",
            "https://mcp.example.com/mcp?a=b#f?",
        ] {
            assert!(targets.include(same), "{same}");
        }
        for other in [
            "",
            "/mcp",
            "http://mcp.example.com/mcp",
            "https://mcp.example.com/",
            "https://mcp.example.com/mcp/",
            "https://mcp.example.com/MCP",
            "https://mcp.example.com/mcp%2F",
            "https://mcp.example.com/mcp/..",
            "https://mcp.example.com:8443/mcp",
            "https://mcp.example.com./mcp",
            "https://mcp.example.com@evil.example/mcp",
            "https://evil.example/https://mcp.example.com/mcp",
            "https://mcp.example.com\\/mcp",
            "https://mcp.example.com/mcp ",
            "https://mcp.example.com/mcp%",
            "https://mcp.example.com/mcp%zz",
            "https:/mcp.example.com/mcp",
        ] {
            assert!(!targets.include(other), "{other}");
        }
    }

    #[test]
    fn the_normal_form_is_that_of_rfc_3986() {
        for (uri, normal) in [
            ("https://a", "https://a/"),
            ("https://a/b/c/./../../g", "https://a/g"),
            ("https://a/b/..", "https://a/"),
            ("https://a/b/.", "https://a/b/"),
            ("https://a/../../b//c/", "https://a/b//c/"),
            ("https://a/%7euser/%e2%82%ac", "https://a/~user/%E2%82%AC"),
            ("https://a/%2e%2E/b", "https://a/b"),
        ] {
            assert_eq!(normal_form(uri).as_deref(), Some(normal), "{uri}");
        }
    }

    #[test]
    fn a_thumbprint_reads_back_and_anything_else_is_none() {
        let thumbprint = Thumbprint::new(Sha256::of(b"key"));
        assert_eq!(Thumbprint::parse(&thumbprint.to_string()), Some(thumbprint));
        for wrong in ["", "x", &format!("{thumbprint}="), &format!("{thumbprint}A"), &thumbprint.to_string()[1..]] {
            assert_eq!(Thumbprint::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn normalizing_is_idempotent(uri in "https?://[a-zA-Z.:0-9]{1,12}(/[a-c.%2eE/]{0,16})?[?#]?[a-z]{0,3}") {
            if let Some(normal) = normal_form(&uri) {
                let again = normal_form(&normal);
                prop_assert_eq!(again.as_ref(), Some(&normal));
                prop_assert!(!normal.contains("/../") && !normal.contains("/./") && !normal.contains(['?', '#']));
            }
        }
    }
}
