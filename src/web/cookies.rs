//! The cookies of a sign-in: two kinds, each named by the authorization that it belongs to, so that tabs do not disturb
//! each other.
//!
//! Defends against: CSRF and login CSRF (they prove that a form and a callback come from the browser that saw the consent
//! page), cookie tossing from a sibling domain (`__Host-`), and theft by scripts (`HttpOnly`).
//!
//! Over https they are `__Host-` cookies (RFC 6265bis 4.1.3.2); over http on loopback, where cookies do not know ports, the
//! port is part of the name. A browser keeps [`LIVE`] of each kind. Names are short, so that all of them together stay
//! below 4 KB, half of the smallest limit for a header line that servers and proxies have (8 KB).

use std::cmp::Reverse;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::clock::Timestamp;
use crate::config::PublicUrl;
use crate::issuer::AuthorizationCookie;
use crate::model::ids::AuthorizationId;
use crate::secret::{BrowserMark, Token};

/// How many cookies of a kind a browser keeps: a client that uses many servers opens a tab for each at once.
const LIVE: usize = 20;
/// How far an order may be ahead of the clock, in seconds: it is ahead by one for each sign-in within the same second. A cookie
/// with a higher one is not ours, or the clock was set back: it is treated as the oldest.
const AHEAD: i64 = 3600;

/// What a cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The secret of a rendered consent page.
    Consent,
    /// The secret that binds a running sign-in to the browser.
    Binding,
}

/// A cookie of a sign-in that is to be set.
pub(super) struct NewCookie<'a> {
    pub(super) kind: Kind,
    pub(super) cookie: &'a AuthorizationCookie,
    pub(super) now: Timestamp,
    /// In seconds.
    pub(super) max_age: u64,
}

/// What a `Set-Cookie` header says.
struct SetCookie<'a> {
    name: &'a str,
    value: &'a str,
    same_site: &'static str,
    /// In seconds; 0 removes the cookie.
    max_age: u64,
}

/// A cookie that the browser holds.
struct HeldCookie<'a> {
    name: &'a str,
    order: i64,
}

/// Reads and writes cookies under one public URL. A value is `{order}-{secret}`, the order being a hexadecimal number that
/// grows with every cookie that the browser gets: the time in seconds, or one more than the latest.
pub(super) struct Cookies<'a> {
    url: &'a PublicUrl,
}

impl<'a> Cookies<'a> {
    pub(super) const fn new(url: &'a PublicUrl) -> Self {
        Self { url }
    }

    fn prefix(&self, kind: Kind) -> String {
        self.name(match kind {
            Kind::Consent => "c-",
            Kind::Binding => "b-",
        })
    }

    /// The secret that the browser holds for an authorization.
    pub(super) fn get(&self, headers: &HeaderMap, kind: Kind, id: &AuthorizationId) -> Option<String> {
        let name = format!("{}{}", self.prefix(kind), id.bits());
        let (_, value) = pairs(headers).find(|(key, _)| *key == name)?;
        value.split_once('-').map(|(_, secret)| secret.to_owned())
    }

    /// Sets a cookie, and removes the oldest of its kind beyond [`LIVE`], at most as many at once.
    pub(super) fn set(&self, request: &HeaderMap, response: &mut HeaderMap, new: &NewCookie<'_>) {
        let NewCookie { kind, cookie, now, max_age } = *new;
        let prefix = self.prefix(kind);
        let name = format!("{prefix}{}", cookie.authorization.bits());
        let others = others(request, &prefix, &name, now);
        for HeldCookie { name, .. } in others.iter().skip(LIVE - 1).rev().take(LIVE) {
            self.append(response, &SetCookie { name, value: "", same_site: "Lax", max_age: 0 });
        }
        let order = kept_order(request, &name).unwrap_or_else(|| {
            let latest = others.first().map_or(0, |cookie| cookie.order);
            now.0.max(latest.saturating_add(1))
        });
        let value = format!("{order:x}-{}", cookie.value.expose());
        self.append(response, &SetCookie { name: &name, value: &value, same_site: "Lax", max_age });
    }

    /// The cookie of the session at the user's own page.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<String> {
        let name = self.session_name();
        pairs(headers).find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    /// Sets that cookie for `max_age` seconds; 0 removes it. `SameSite=Lax`: with `Strict` browsers would not send it after the
    /// way back from the provider.
    pub(super) fn set_session(&self, response: &mut HeaderMap, value: &str, max_age: u64) {
        self.append(response, &SetCookie { name: &self.session_name(), value, same_site: "Lax", max_age });
    }

    /// The mark of a browser in which consents are remembered.
    pub(super) fn mark(&self, headers: &HeaderMap) -> Option<Token<BrowserMark>> {
        let name = self.mark_name();
        pairs(headers).find(|(key, _)| *key == name).and_then(|(_, value)| Token::parse(value))
    }

    /// Sets that mark for `max_age` seconds. `SameSite=Strict`: a start from another site is asked anyway.
    pub(super) fn set_mark(&self, response: &mut HeaderMap, mark: &Token<BrowserMark>, max_age: u64) {
        let (name, value) = (&*self.mark_name(), mark.expose());
        self.append(response, &SetCookie { name, value, same_site: "Strict", max_age });
    }

    fn mark_name(&self) -> String {
        self.name("m")
    }

    fn session_name(&self) -> String {
        self.name("s")
    }

    fn name(&self, rest: &str) -> String {
        if self.url.is_https() {
            return format!("__Host-portcullis-{rest}");
        }
        let port = self.url.authority().rsplit(':').next().unwrap_or_default();
        format!("portcullis-{port}-{rest}")
    }

    fn append(&self, headers: &mut HeaderMap, cookie: &SetCookie<'_>) {
        let SetCookie { name, value, same_site, max_age } = cookie;
        let secure = if self.url.is_https() { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite={same_site}{secure}");
        if let Ok(mut value) = HeaderValue::try_from(text) {
            value.set_sensitive(true);
            headers.append(SET_COOKIE, value);
        }
    }
}

/// The cookies of a kind except a new one, the latest first. Browsers send cookies of one path in the order of their creation
/// (RFC 6265 5.4): that decides between cookies that parallel requests gave the same order.
fn others<'a>(request: &'a HeaderMap, prefix: &str, new: &str, now: Timestamp) -> Vec<HeldCookie<'a>> {
    let latest = now.0.saturating_add(AHEAD);
    let ours = pairs(request).filter(|(name, _)| name.starts_with(prefix) && *name != new);
    let held =
        ours.map(|(name, value)| HeldCookie { name, order: order(value).filter(|it| *it <= latest).unwrap_or(0) });
    let mut others: Vec<_> = held.collect();
    others.reverse();
    others.sort_by_key(|cookie| Reverse(cookie.order));
    others
}

/// The order of a cookie that is set again, as after a double click: it keeps its age.
fn kept_order(request: &HeaderMap, name: &str) -> Option<i64> {
    let (_, value) = pairs(request).find(|(key, _)| *key == name)?;
    order(value)
}

fn order(value: &str) -> Option<i64> {
    let (order, _) = value.split_once('-')?;
    i64::from_str_radix(order, 16).ok()
}

/// Parses each pair on its own: any site of our domain, and on loopback any port, may have set others with any bytes.
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

    use super::{AHEAD, Cookies, Kind, LIVE, NewCookie};
    use crate::clock::Timestamp;
    use crate::config::PublicUrl;
    use crate::issuer::AuthorizationCookie;
    use crate::model::authorization::{Binding, render_secret};
    use crate::model::ids::AuthorizationId;

    const NOW: Timestamp = Timestamp(0x100);
    const LOOPBACK: &str = "http://127.0.0.1:1";

    fn cookie(id: &str) -> AuthorizationCookie {
        AuthorizationCookie { authorization: id.into(), value: "secret".to_owned().into() }
    }

    fn header(cookies: &[String]) -> HeaderMap {
        let mut request = HeaderMap::new();
        request.insert(COOKIE, HeaderValue::try_from(cookies.join("; ")).unwrap());
        request
    }

    fn set(url: &str, request: &HeaderMap) -> Vec<String> {
        let url = PublicUrl::parse(url).unwrap();
        let mut response = HeaderMap::new();
        let new = NewCookie { kind: Kind::Consent, cookie: &cookie("r_new"), now: NOW, max_age: 900 };
        Cookies::new(&url).set(request, &mut response, &new);
        response.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    /// The cookies that are removed when one more is set, and the order of the new one.
    fn removed(request: &[String]) -> (Vec<String>, String) {
        let mut set = set(LOOPBACK, &header(request));
        let new = set.pop().unwrap();
        let (_, value) = new.split_once('=').unwrap();
        let name = |cookie: &String| {
            let (name, rest) = cookie.split_once('=').unwrap();
            assert!(rest.starts_with("; Path=/; Max-Age=0"), "{cookie}");
            name.replace("portcullis-1-c-", "")
        };
        (set.iter().map(name).collect(), value.split('-').next().unwrap().to_owned())
    }

    fn live(orders: impl IntoIterator<Item = i64>) -> Vec<String> {
        let named = orders.into_iter().enumerate();
        named.map(|(at, order)| format!("portcullis-1-c-{at}={order:x}-x")).collect()
    }

    #[test]
    fn https_cookies_are_host_bound_and_loopback_ones_carry_the_port() {
        insta::assert_snapshot!(set("https://mcp.example.com", &HeaderMap::new()).join("\n"), @"__Host-portcullis-c-new=100-secret; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure");
        insta::assert_snapshot!(set("http://127.0.0.1:6749", &HeaderMap::new()).join("\n"), @"portcullis-6749-c-new=100-secret; Path=/; Max-Age=900; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn all_cookies_of_a_full_browser_stay_below_4_kb() {
        let url = PublicUrl::parse("https://mcp.example.com").unwrap();
        let mut response = HeaderMap::new();
        for _ in 0..LIVE {
            let secret = render_secret();
            for (kind, value) in [
                (Kind::Consent, crate::secret::base64url(&secret)),
                (Kind::Binding, Binding::of_render(&secret).expose()),
            ] {
                let cookie = AuthorizationCookie { authorization: AuthorizationId::random(), value: value.into() };
                let new = NewCookie { kind, cookie: &cookie, now: Timestamp(4_000_000_000), max_age: 900 };
                Cookies::new(&url).set(&HeaderMap::new(), &mut response, &new);
            }
        }
        let pairs: Vec<_> =
            response.get_all(SET_COOKIE).iter().map(|set| set.to_str().unwrap().split(';').next().unwrap()).collect();
        assert_eq!(pairs.len(), 2 * LIVE);
        let length = pairs.join("; ").len();
        assert!(length < 4096, "{length} bytes");
    }

    proptest! {
        #[test]
        fn any_cookie_header_parses_and_matches_no_other_authorization(header in "[ -~]{0,120}") {
            let url = PublicUrl::parse(LOOPBACK).unwrap();
            let mut request = HeaderMap::new();
            request.insert(COOKIE, HeaderValue::try_from(header.as_str()).unwrap());
            let found = Cookies::new(&url).get(&request, Kind::Binding, &"r_1".into());
            prop_assert!(found.is_none() || header.contains("portcullis-1-b-1="));
            prop_assert!(set(LOOPBACK, &request).len() <= 1 + 120 / 15);
        }
    }

    #[test]
    fn the_oldest_makes_room_by_its_order_and_not_by_its_name_or_place() {
        assert_eq!(removed(&live(0..19)).0, [""; 0]);
        assert_eq!(removed(&live(0..20)).0, ["0"]);
        assert_eq!(removed(&live((0..20).rev())).0, ["19"]);
        assert_eq!(removed(&live([7, 5, 6].into_iter().chain(8..26))).0, ["1", "2"]);
        assert_eq!(
            removed(&live([9; 21])).0,
            ["0", "1"],
            "among equal orders, the first that the browser sends is the oldest"
        );
        assert_eq!(removed(&live(0..500)).0.len(), LIVE, "one answer removes a bounded number");
    }

    #[test]
    fn sign_ins_of_one_second_are_told_apart() {
        assert_eq!(removed(&[]).1, "100");
        assert_eq!(removed(&live([NOW.0, NOW.0 + 1])).1, "102");
        assert_eq!(removed(&live([NOW.0 - 50])).1, "100");
    }

    #[test]
    fn an_order_that_is_not_ours_is_the_oldest() {
        let mut planted: Vec<_> = ["7fffffffffffffff", "ffffffffffffffff", "x", ""]
            .iter()
            .map(|order| format!("portcullis-1-c-evil{order}={order}-x"))
            .collect();
        planted.push(format!("portcullis-1-c-later={:x}-x", NOW.0 + AHEAD + 1));
        planted.extend(live((0..19).map(|at| NOW.0 - at)));
        let (removed, order) = removed(&planted);
        assert_eq!(removed.len(), 5);
        assert!(removed.iter().all(|name| name.starts_with("evil") || name == "later"), "{removed:?}");
        assert_eq!(order, "101");
    }

    #[test]
    fn a_cookie_that_is_set_again_keeps_its_place() {
        let request = header(&["portcullis-1-c-new=5-old".to_owned(), "portcullis-1-c-1=9-x".to_owned()]);
        assert_eq!(
            set(LOOPBACK, &request),
            ["portcullis-1-c-new=5-secret; Path=/; Max-Age=900; HttpOnly; SameSite=Lax"]
        );
    }

    #[test]
    fn a_strangers_cookie_hides_none_of_ours_and_does_not_pass_for_one() {
        let url = PublicUrl::parse("https://mcp.example.com").unwrap();
        let found = |header: &[u8]| {
            let mut request = HeaderMap::new();
            request.insert(COOKIE, HeaderValue::from_bytes(header).unwrap());
            Cookies::new(&url).get(&request, Kind::Binding, &"r_1".into())
        };
        let ours = "__Host-portcullis-b-1=5-s3cret";
        for other in ["name=\u{e9}".as_bytes(), b"name=\xff", b"\xe2\x80\x83", b"a\tb=c"] {
            let before = [other, b"; ", ours.as_bytes()].concat();
            let after = [ours.as_bytes(), b"; ", other].concat();
            for header in [before, after] {
                assert_eq!(found(&header).as_deref(), Some("s3cret"), "{}", String::from_utf8_lossy(&header));
            }
        }
        // browsers guard the prefix of the whole name, not of what is left without unusual spaces
        for space in ["\u{a0}", "\u{2003}", "\u{3000}", "\u{feff}"] {
            assert_eq!(found(format!("{space}{ours}").as_bytes()), None, "{space:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_authorization_and_nothing_else() {
        let url = PublicUrl::parse(LOOPBACK).unwrap();
        let mut request = HeaderMap::new();
        request.append(COOKIE, HeaderValue::from_static("a=b; portcullis-1-b-1=5-s3cret"));
        request.append(COOKIE, HeaderValue::from_static("portcullis-1-c-2=5-two"));
        let cookies = Cookies::new(&url);
        assert_eq!(cookies.get(&request, Kind::Binding, &"r_1".into()).as_deref(), Some("s3cret"));
        assert_eq!(cookies.get(&request, Kind::Consent, &"r_1".into()), None);
        assert_eq!(cookies.get(&request, Kind::Consent, &"r_2".into()).as_deref(), Some("two"));
    }
}
