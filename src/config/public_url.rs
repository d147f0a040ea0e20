//! `public_url`: the issuer, and the root of every URL that we name.

use std::fmt;

use url::{Position, Url};

use crate::oauth::redirect_uri::is_loopback;

/// An origin without path or trailing slash. Clients key their credentials by it: it is for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    authority: String,
    https: bool,
}

/// Why a text is no public URL; the words name the mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::enum_variant_names, reason = "each says what the text is not")]
pub enum PublicUrlError {
    /// No URL, or something beside scheme, host and port.
    #[error("must be an origin like https://mcp.example.com, without path, trailing slash, query or user information")]
    NotAnOrigin,
    /// Plain http that others could read.
    #[error("must be https unless its host is this machine (127.0.0.1, [::1] or localhost)")]
    NotHttps,
    /// The same origin in another spelling.
    #[error("must be spelt in normal form: lower case, no default port")]
    NotNormal,
}

impl PublicUrl {
    /// Reads the value.
    ///
    /// # Errors
    /// When it is not an origin in normal form, or http beyond this machine.
    pub fn parse(text: &str) -> Result<Self, PublicUrlError> {
        let url = Url::parse(text).or(Err(PublicUrlError::NotAnOrigin))?;
        let origin = &url[..Position::BeforePath];
        if url.host().is_none() || text.contains('*') || !url.username().is_empty() || url.password().is_some() {
            return Err(PublicUrlError::NotAnOrigin);
        }
        if text != origin {
            let same = text.eq_ignore_ascii_case(origin)
                || (url.path() == "/" && url.query().is_none() && !text.ends_with('/'));
            return Err(if same { PublicUrlError::NotNormal } else { PublicUrlError::NotAnOrigin });
        }
        let https = url.scheme() == "https";
        if !(https || url.scheme() == "http" && is_loopback(&url)) {
            return Err(PublicUrlError::NotHttps);
        }
        let authority = url[Position::BeforeHost..Position::BeforePath].to_owned();
        Ok(Self { origin: origin.to_owned(), authority, https })
    }

    /// The origin: also the issuer.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.origin
    }

    /// Host, and port unless it is the scheme's own: what a correct `Host` header says.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether it is https: cookies are `Secure` then. Otherwise only this machine can reach it.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.https
    }

    /// The URL of one of our paths, which begins with `/`.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
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
            ("HTTPS://mcp.example.com", NotNormal),
            ("https://mcp.example.com:443", NotNormal),
            ("http://mcp.example.com", NotHttps),
            ("ftp://127.0.0.1", NotHttps),
        ] {
            assert_eq!(PublicUrl::parse(bad), Err(why), "{bad}");
        }
    }
}
