//! http and https URIs, read strictly (RFC 3986 3).
//!
//! Browsers repair the URLs that they parse: `http:a`, `http:///a`, `127.1`, a backslash, a tab and `/x/../a` all become
//! something else. With a string that two parsers read differently an attacker can name one host to us and another to the
//! browser (a parser differential), so nothing is repaired here.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The parts of an http or https URI that has neither user information nor a fragment. Nothing is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WebUri<'a> {
    /// `http` or `https`.
    scheme: &'static str,
    /// In lower case. An IPv6 address keeps its brackets.
    host: String,
    /// `None` for the scheme's default.
    port: Option<u16>,
    /// As written: empty, or beginning with a slash.
    pub(super) path: &'a str,
    /// As written, without the question mark.
    pub(super) query: Option<&'a str>,
}

/// Why a text is not such a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MalformedUri {
    /// The scheme, the two slashes, the port or a character is wrong, or there is user information or a fragment.
    Syntax,
    /// The host is neither a plain DNS name nor an IP address in its usual form.
    Host,
}

impl<'a> WebUri<'a> {
    /// Parses the text and repairs nothing.
    pub(super) fn parse(text: &'a str) -> Result<Self, MalformedUri> {
        let (scheme, rest) = text.split_once("://").ok_or(MalformedUri::Syntax)?;
        let (scheme, default_port) = match scheme {
            http if http.eq_ignore_ascii_case("http") => ("http", 80),
            https if https.eq_ignore_ascii_case("https") => ("https", 443),
            _ => return Err(MalformedUri::Syntax),
        };
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let odd = |b: u8| !b.is_ascii_graphic() || b"\\\"<>^`{|}@#".contains(&b);
        let authority = place.split('/').next().unwrap_or_default();
        let path = place.strip_prefix(authority).unwrap_or_default();
        if authority.bytes().any(odd)
            || path.bytes().any(|b| odd(b) && b != b'@')
            || query.is_some_and(|query| query.bytes().any(|b| !b.is_ascii_graphic() || b == b'#'))
        {
            return Err(MalformedUri::Syntax);
        }
        let (host, port) = split_port(authority)?;
        let host = host.to_ascii_lowercase();
        if !is_plain_host(&host) {
            return Err(MalformedUri::Host);
        }
        Ok(Self { scheme, host, port: port.filter(|port| *port != default_port), path, query })
    }

    /// Scheme, host and port in canonical form.
    pub(super) fn origin(&self) -> String {
        let Self { scheme, host, port, .. } = self;
        match port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }

    /// The URI in canonical form: only the origin and a missing path may differ from what was written.
    pub(super) fn canonical(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { self.path };
        match self.query {
            Some(query) => format!("{}{path}?{query}", self.origin()),
            None => format!("{}{path}", self.origin()),
        }
    }
}

/// Host and port of an authority. A port is a decimal number without sign and leading zeros.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), MalformedUri> {
    let host_ends = authority.find(']').map_or(0, |bracket| bracket + 1);
    let colon = authority.get(host_ends..).and_then(|rest| rest.find(':'));
    let Some((host, port)) = colon.and_then(|colon| authority.split_at_checked(host_ends + colon)) else {
        return Ok((authority, None));
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    let number: u16 = port.parse().or(Err(MalformedUri::Syntax))?;
    if number.to_string() == port { Ok((host, Some(number))) } else { Err(MalformedUri::Syntax) }
}

/// Whether a host in lower case is a DNS name without a trailing dot, or an IP address in its usual notation.
fn is_plain_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    // browsers read 127.1 and 0x7f.1 as addresses
    host.split('.').all(label) && (!is_number || host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::{MalformedUri, WebUri};

    fn canonical(text: &str) -> Result<String, MalformedUri> {
        WebUri::parse(text).map(|uri| uri.canonical())
    }

    #[test]
    fn canonical_form_changes_only_case_default_port_and_a_missing_path() {
        for (text, expected) in [
            ("HTTPS://A.Example:443", "https://a.example/"),
            ("http://a:80?X=%41", "http://a/?X=%41"),
            ("http://a:443/B/../c", "http://a:443/B/../c"),
            ("https://[::1]:8443/%2e", "https://[::1]:8443/%2e"),
            ("https://a//b/", "https://a//b/"),
            ("https://a/@b", "https://a/@b"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn uris_that_browsers_would_repair_are_malformed() {
        use MalformedUri::{Host, Syntax};
        for (text, why) in [
            ("http:127.0.0.1/", Syntax),
            ("http:/127.0.0.1/", Syntax),
            ("http:///127.0.0.1/", Host),
            ("http:\\\\127.0.0.1/", Syntax),
            (" http://a/", Syntax),
            ("http://a\t/", Syntax),
            ("http://a/\n", Syntax),
            ("http://a\\b/", Syntax),
            ("http://u@a/", Syntax),
            ("http://@a/", Syntax),
            ("http://a/#f", Syntax),
            ("http://a/?q#f", Syntax),
            ("http://a:/", Syntax),
            ("http://a:080/", Syntax),
            ("http://a:+80/", Syntax),
            ("http://a:65536/", Syntax),
            ("http://a:80:80/", Syntax),
            ("http://a::80/", Syntax),
            ("http://%31/", Host),
            ("http://127.1/", Host),
            ("http://0x7f.1/", Host),
            ("http://0x7f.0x/", Host),
            ("http://2130706433/", Host),
            ("http://127.0.0.01/", Host),
            ("http://a./", Host),
            ("http://.a/", Host),
            ("http://a..b/", Host),
            ("http://*.a/", Host),
            ("http://a!b/", Host),
            ("http://[::1/", Syntax),
            ("http://[]/", Host),
            ("http://[::1]a/", Host),
            ("http://[::g]/", Host),
            ("http://b\u{fc}cher/", Syntax),
            ("http://\u{ff41}/", Syntax),
            ("ftp://a/", Syntax),
            ("", Syntax),
        ] {
            assert_eq!(canonical(text), Err(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_browser_reaches_the_host_that_was_parsed(
            text in "(?i)https?:[/\\\\]{1,3}[a-z0-9.:@%\\[\\]\\\\*x-]{0,20}[/?#a-z0-9%.@-]{0,20}"
        ) {
            if let (Ok(strict), Ok(browser)) = (WebUri::parse(&text), Url::parse(&text)) {
                prop_assert_eq!(browser.scheme(), strict.scheme);
                // an IPv6 address may be written in several ways, all of one host
                if !strict.host.starts_with('[') {
                    prop_assert_eq!(browser.host_str(), Some(strict.host.as_str()));
                }
                prop_assert_eq!(browser.port(), strict.port);
                prop_assert!(browser.username().is_empty() && browser.password().is_none());
                prop_assert_eq!(browser.query(), strict.query);
                prop_assert_eq!(Url::parse(&strict.canonical()), Ok(browser));
            }
        }

        #[test]
        fn canonicalizing_a_web_uri_is_idempotent(text in "(?i)https?://[a-z0-9.:-]{1,20}[/?a-z0-9%.]{0,20}") {
            if let Ok(once) = canonical(&text) {
                prop_assert_eq!(canonical(&once), Ok(once.clone()));
            }
        }
    }
}
