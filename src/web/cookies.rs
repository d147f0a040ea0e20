//! The cookies of a sign-in: two kinds, each named by the authorization that it belongs to, so that tabs do not disturb
//! each other.
//!
//! Over https they are `__Host-` cookies (RFC 6265bis 4.1.3.2); over http on loopback, where cookies do not know ports, the
//! port is part of the name.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::clock::Timestamp;
use crate::config::PublicUrl;
use crate::issuer::AuthorizationCookie;
use crate::model::ids::AuthorizationId;

/// How many cookies of a kind a browser keeps; the oldest go.
const LIVE: usize = 8;

/// What a cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The secret of a rendered consent page.
    Consent,
    /// What ties a running sign-in to the browser.
    Binding,
}

/// Reads and writes cookies under one public URL.
pub(super) struct Cookies<'a> {
    url: &'a PublicUrl,
}

impl<'a> Cookies<'a> {
    pub(super) const fn new(url: &'a PublicUrl) -> Self {
        Self { url }
    }

    fn prefix(&self, kind: Kind) -> String {
        let kind = match kind {
            Kind::Consent => "consent",
            Kind::Binding => "binding",
        };
        if self.url.is_https() {
            return format!("__Host-portcullis-{kind}-");
        }
        let port = self.url.authority().rsplit(':').next().unwrap_or_default();
        format!("portcullis-{port}-{kind}-")
    }

    /// The secret that the browser holds for an authorization.
    pub(super) fn get(&self, headers: &HeaderMap, kind: Kind, id: &AuthorizationId) -> Option<String> {
        let name = format!("{}{id}", self.prefix(kind));
        let (_, value) = pairs(headers).find(|(key, _)| *key == name)?;
        value.split_once('-').map(|(_, secret)| secret.to_owned())
    }

    /// Sets a cookie for `max_age` seconds, and removes the oldest of its kind beyond what a browser keeps.
    pub(super) fn set(
        &self,
        (request, response): (&HeaderMap, &mut HeaderMap),
        kind: Kind,
        cookie: &AuthorizationCookie,
        (now, max_age): (Timestamp, u64),
    ) {
        let prefix = self.prefix(kind);
        let name = format!("{prefix}{}", cookie.authorization);
        for old in oldest(request, &prefix, &name) {
            self.append(response, &old, "", 0);
        }
        self.append(response, &name, &format!("{}-{}", now.0, cookie.value.expose()), max_age);
    }

    fn append(&self, headers: &mut HeaderMap, name: &str, value: &str, max_age: u64) {
        let secure = if self.url.is_https() { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
        if let Ok(mut value) = HeaderValue::try_from(text) {
            value.set_sensitive(true);
            headers.append(SET_COOKIE, value);
        }
    }
}

/// The names of a kind's cookies that must go so that one more fits.
fn oldest(request: &HeaderMap, prefix: &str, new: &str) -> Vec<String> {
    let mut live: Vec<(i64, &str)> = pairs(request)
        .filter(|(name, _)| name.starts_with(prefix) && *name != new)
        .map(|(name, value)| (value.split('-').next().and_then(|at| at.parse().ok()).unwrap_or(0), name))
        .collect();
    live.sort_unstable_by(|a, b| b.cmp(a));
    live.into_iter().skip(LIVE - 1).map(|(_, name)| name.to_owned()).collect()
}

/// Each pair is read by itself: any site of our domain, and on loopback any port, may have set others of any bytes.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok())
        .filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='))
}

#[cfg(test)]
mod tests {
    use http::header::{COOKIE, SET_COOKIE};
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::{Cookies, Kind};
    use crate::clock::Timestamp;
    use crate::config::PublicUrl;
    use crate::issuer::AuthorizationCookie;

    fn cookie(id: &str) -> AuthorizationCookie {
        AuthorizationCookie { authorization: id.into(), value: "secret".to_owned().into() }
    }

    fn set(url: &str, request: &HeaderMap) -> Vec<String> {
        let url = PublicUrl::parse(url).unwrap();
        let mut response = HeaderMap::new();
        Cookies::new(&url).set((request, &mut response), Kind::Consent, &cookie("r_new"), (Timestamp(100), 900));
        response.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn https_cookies_are_host_bound_and_loopback_ones_carry_the_port() {
        insta::assert_snapshot!(set("https://mcp.example.com", &HeaderMap::new()).join("\n"), @"__Host-portcullis-consent-r_new=100-secret; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure");
        insta::assert_snapshot!(set("http://127.0.0.1:6749", &HeaderMap::new()).join("\n"), @"portcullis-6749-consent-r_new=100-secret; Path=/; Max-Age=900; HttpOnly; SameSite=Lax");
    }

    proptest! {
        #[test]
        fn no_cookie_header_is_too_odd_and_none_is_another_authorizations(header in "[ -~]{0,120}") {
            let url = PublicUrl::parse("http://127.0.0.1:1").unwrap();
            let mut request = HeaderMap::new();
            request.insert(COOKIE, HeaderValue::try_from(header.as_str()).unwrap());
            let found = Cookies::new(&url).get(&request, Kind::Binding, &"r_1".into());
            prop_assert!(found.is_none() || header.contains("portcullis-1-binding-r_1="));
            prop_assert!(set("http://127.0.0.1:1", &request).len() <= 1 + 120 / 20);
        }
    }

    #[test]
    fn a_ninth_tab_costs_the_oldest_its_cookie() {
        let mut request = HeaderMap::new();
        let old: Vec<_> = (1..=8).map(|n| format!("portcullis-1-consent-r_{n}={}-x", 50 + n)).collect();
        request.insert(COOKIE, HeaderValue::try_from(format!("other=1; {}", old.join("; "))).unwrap());
        let cookies = set("http://127.0.0.1:1", &request);
        assert_eq!(cookies.len(), 2);
        assert!(cookies[0].starts_with("portcullis-1-consent-r_1=; Path=/; Max-Age=0"), "{cookies:?}");
    }

    #[test]
    fn a_strangers_cookie_hides_none_of_ours_and_does_not_pass_for_one() {
        let url = PublicUrl::parse("https://mcp.example.com").unwrap();
        let found = |header: &[u8]| {
            let mut request = HeaderMap::new();
            request.insert(COOKIE, HeaderValue::from_bytes(header).unwrap());
            Cookies::new(&url).get(&request, Kind::Binding, &"r_1".into())
        };
        let ours = "__Host-portcullis-binding-r_1=5-s3cret";
        for other in ["name=\u{e9}".as_bytes(), b"name=\xff", b"\xe2\x80\x83", b"a\tb=c"] {
            let before = [other, b"; ", ours.as_bytes()].concat();
            let after = [ours.as_bytes(), b"; ", other].concat();
            for header in [before, after] {
                assert_eq!(found(&header).as_deref(), Some("s3cret"), "{}", String::from_utf8_lossy(&header));
            }
        }
        // browsers guard the prefix of the name as it is, not of what is left when odd spaces are cut off
        for space in ["\u{a0}", "\u{2003}", "\u{3000}", "\u{feff}"] {
            assert_eq!(found(format!("{space}{ours}").as_bytes()), None, "{space:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_authorization_and_nothing_else() {
        let url = PublicUrl::parse("http://127.0.0.1:1").unwrap();
        let mut request = HeaderMap::new();
        request.append(COOKIE, HeaderValue::from_static("a=b; portcullis-1-binding-r_1=5-s3cret"));
        request.append(COOKIE, HeaderValue::from_static("portcullis-1-consent-r_2=5-two"));
        let cookies = Cookies::new(&url);
        assert_eq!(cookies.get(&request, Kind::Binding, &"r_1".into()).as_deref(), Some("s3cret"));
        assert_eq!(cookies.get(&request, Kind::Consent, &"r_1".into()), None);
        assert_eq!(cookies.get(&request, Kind::Consent, &"r_2".into()).as_deref(), Some("two"));
    }
}
