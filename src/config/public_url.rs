//! `public_url`: the issuer, and the origin of every URL that we publish.

use std::fmt;

use url::{Position, Url};

use crate::oauth::redirect_uri::is_loopback;
use crate::oauth::resource::ResourceUri;

/// The loopback names that people use interchangeably. An attacker cannot make a browser resolve them to another machine, so
/// accepting all of them does not allow DNS rebinding. Other addresses in 127.0.0.0/8 may belong to other listeners, and so
/// may `[::1]` if we listen on 127.0.0.1 only: tokens and the issuer contain the configured origin only, and no page is shown
/// under another one.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// An origin without path or trailing slash. It is permanent: clients store their credentials under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    own: Origin,
    https: bool,
    is_loopback: bool,
    /// The same origin under the other loopback names; empty unless this is one of them.
    loopback: Vec<Origin>,
}

/// One spelling of an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    text: String,
    authority: String,
}

impl Origin {
    fn new(scheme: &str, authority: String) -> Self {
        Self { text: format!("{scheme}://{authority}"), authority }
    }
}

/// Why a text is not a public URL; the message includes the hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::enum_variant_names, reason = "each says what the text is not")]
pub enum PublicUrlError {
    /// Not a URL, or a URL with more than scheme, host and port.
    #[error("must be an origin like https://mcp.example.com, without path, trailing slash, query or user information")]
    NotAnOrigin,
    /// Plain http that is not loopback.
    #[error("must be https unless its host is this machine (127.0.0.1, [::1] or localhost)")]
    NotHttps,
    /// An origin that is not in normal form.
    #[error("must be spelt in normal form: lower case, no default port")]
    NotNormal,
}

impl PublicUrl {
    /// Parses the value.
    ///
    /// # Errors
    /// The first one that [`Self::check`] returns.
    pub fn parse(text: &str) -> Result<Self, PublicUrlError> {
        Self::check(text).map_err(|wrong| wrong.first().copied().unwrap_or(PublicUrlError::NotAnOrigin))
    }

    /// Parses the value.
    ///
    /// # Errors
    /// Every reason for refusal; at least one.
    pub fn check(text: &str) -> Result<Self, Vec<PublicUrlError>> {
        let url = Url::parse(text).ok().filter(Url::has_host).ok_or_else(|| vec![PublicUrlError::NotAnOrigin])?;
        let authority = &url[Position::BeforeHost..Position::BeforePath];
        let https = url.scheme() == "https";
        let wrong: Vec<_> = [
            (!is_bare(text, &url) || !is_valid_resource(authority), PublicUrlError::NotAnOrigin),
            (!(https || url.scheme() == "http" && is_loopback(&url)), PublicUrlError::NotHttps),
            (!is_normal(text, &url), PublicUrlError::NotNormal),
        ]
        .into_iter()
        .filter_map(|(is_wrong, why)| is_wrong.then_some(why))
        .collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let own = Origin::new(url.scheme(), authority.to_owned());
        let host = url.host_str().unwrap_or_default();
        let port = &url[Position::AfterHost..Position::BeforePath];
        let others = LOOPBACK_NAMES.into_iter().filter(|name| *name != host && LOOPBACK_NAMES.contains(&host));
        let loopback = others.map(|name| Origin::new(url.scheme(), format!("{name}{port}"))).collect();
        Ok(Self { own, https, is_loopback: is_loopback(&url), loopback })
    }

    fn spellings(&self) -> impl Iterator<Item = &Origin> {
        std::iter::once(&self.own).chain(&self.loopback)
    }

    /// Every authority of this origin: the configured one, and for loopback the other loopback names.
    pub fn authorities(&self) -> impl Iterator<Item = &str> {
        self.spellings().map(|origin| origin.authority.as_str())
    }

    /// Like [`Self::authorities`], with the scheme.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.spellings().map(|origin| origin.text.as_str())
    }

    /// The origin in the spelling of a request's `Host`; the configured one for an unknown host.
    #[must_use]
    pub fn origin_at(&self, host: &str) -> &str {
        let host = self.without_default_port(host);
        let named = self.loopback.iter().find(|origin| origin.authority.eq_ignore_ascii_case(host));
        &named.unwrap_or(&self.own).text
    }

    /// A host without the default port of the scheme.
    #[must_use]
    pub fn without_default_port<'a>(&self, host: &'a str) -> &'a str {
        let host = host.trim();
        host.strip_suffix(if self.https { ":443" } else { ":80" }).unwrap_or(host)
    }

    /// The configured origin, which is also the issuer.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.own.text
    }

    /// The host, with the port unless it is the default of the scheme: the value of a correct `Host` header.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.own.authority
    }

    /// Whether it is https, and cookies are `Secure`. Otherwise it is loopback.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.https
    }

    /// Whether it is this machine's own address.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// The URL of a path, which must begin with `/`.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.own.text)
    }
}

/// Whether a URL has only scheme, host and port.
fn is_bare(text: &str, url: &Url) -> bool {
    let ends = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    ends && !text.ends_with(['/', '\\']) && !text.contains('*') && url.username().is_empty() && url.password().is_none()
}

/// Whether the host is valid in a resource URI: a trailing dot is not.
fn is_valid_resource(authority: &str) -> bool {
    ResourceUri::parse(&format!("https://{authority}")).is_ok()
}

/// Whether scheme, host and port are written as the URL standard writes them, regardless of the rest.
fn is_normal(text: &str, url: &Url) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    scheme == url.scheme() && host == &url[Position::BeforeHost..Position::BeforePath]
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.own.text)
    }
}

#[cfg(test)]
mod tests {
    use super::{PublicUrl, PublicUrlError};

    #[test]
    fn only_an_https_or_loopback_origin_in_normal_form_is_an_issuer() {
        use PublicUrlError::{NotAnOrigin, NotHttps, NotNormal};
        for good in [
            "https://mcp.example.com",
            "https://mcp.example.com:8443",
            "http://127.0.0.1:6749",
            "http://localhost:1",
            "http://[::1]:2",
        ] {
            assert!(PublicUrl::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("https://mcp.example.com/", NotAnOrigin),
            ("https://mcp.example.com/auth", NotAnOrigin),
            ("https://mcp.example.com?x", NotAnOrigin),
            ("https://u@mcp.example.com", NotAnOrigin),
            ("mcp.example.com", NotAnOrigin),
            ("https://*.example.com", NotAnOrigin),
            ("https://mcp.example.com.", NotAnOrigin),
            ("https://mcp!.example.com", NotAnOrigin),
            ("HTTPS://mcp.example.com", NotNormal),
            ("https://mcp.example.com:443", NotNormal),
            ("http://mcp.example.com", NotHttps),
            ("ftp://127.0.0.1", NotHttps),
        ] {
            assert_eq!(PublicUrl::parse(bad), Err(why), "{bad}");
        }
        for (bad, why) in [
            ("http://mcp.example.com/", &[NotAnOrigin, NotHttps][..]),
            ("HTTP://u:p@MCP.example.com:80/auth?x#y", &[NotAnOrigin, NotHttps, NotNormal]),
            ("http://mcp.example.com:80", &[NotHttps, NotNormal]),
            ("https://MCP.example.com/", &[NotAnOrigin, NotNormal]),
            ("https://mcp.example.com\\", &[NotAnOrigin]),
            ("https:mcp.example.com", &[NotNormal]),
            (" https://mcp.example.com", &[NotNormal]),
            ("mcp.example.com:8443", &[NotAnOrigin]),
        ] {
            assert_eq!(PublicUrl::check(bad), Err(why.to_vec()), "{bad}");
        }
    }

    #[test]
    fn the_three_loopback_names_are_equivalent_and_no_others() {
        let origins = |text: &str| PublicUrl::parse(text).unwrap().origins().map(str::to_owned).collect::<Vec<_>>();
        let all = ["http://127.0.0.1:6749", "http://localhost:6749", "http://[::1]:6749"];
        assert_eq!(origins(all[0]), all);
        assert_eq!(origins(all[1]), [all[1], all[0], all[2]]);
        assert_eq!(origins(all[2]), [all[2], all[1], all[0]]);
        assert_eq!(origins("https://localhost"), ["https://localhost", "https://127.0.0.1", "https://[::1]"]);
        for alone in ["https://mcp.example.com", "http://127.0.0.2:1", "https://localhost.example", "https://0.0.0.0"] {
            assert_eq!(origins(alone), [alone]);
        }
    }

    #[test]
    fn a_request_gets_the_origin_in_its_own_spelling() {
        let url = PublicUrl::parse("http://127.0.0.1:6749").unwrap();
        assert_eq!(url.origin_at("LOCALHOST:6749"), "http://localhost:6749");
        assert_eq!(url.origin_at("[::1]:6749"), "http://[::1]:6749");
        for own in ["127.0.0.1:6749", "localhost", "localhost:1", "evil.example:6749", "localhost.:6749", ""] {
            assert_eq!(url.origin_at(own), url.as_str(), "{own}");
        }
        let url = PublicUrl::parse("http://localhost").unwrap();
        assert_eq!(url.origin_at("127.0.0.1:80"), "http://127.0.0.1");
        let url = PublicUrl::parse("https://mcp.example.com").unwrap();
        assert_eq!(url.origin_at("localhost"), url.as_str());
    }
}
