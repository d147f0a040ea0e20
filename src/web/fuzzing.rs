//! For `crate::fuzzing`: the cookies that a browser sends.

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};

use super::cookies::{Cookies, Kind, NewCookie};
use crate::clock::Timestamp;
use crate::config::PublicUrl;
use crate::issuer::AuthorizationCookie;
use crate::model::ids::AuthorizationId;

/// How many cookies of one kind a browser keeps.
const LIVE: usize = 20;

/// A line with the value of a Cookie header for each of them.
pub(crate) fn cookies(data: &[u8]) {
    let Some(id) = AuthorizationId::parse("r_aaaaaaaaaaaaaaaaaaaaaaaaaa") else { return };
    let mut request = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            request.append(COOKIE, value);
        }
    }
    for url in ["https://mcp.example.com", "http://127.0.0.1:8080"] {
        let Ok(url) = PublicUrl::parse(url) else { return };
        let cookies = Cookies::new(&url);
        for kind in [Kind::Consent, Kind::Binding] {
            assert_set(&cookies, &request, kind, &id);
        }
        if let Some(session) = cookies.session(&request) {
            assert!(is_sent(&request, &session));
        }
    }
}

/// A new cookie is set once, beside as many removals as a browser may need, and can be read back.
fn assert_set(cookies: &Cookies<'_>, request: &HeaderMap, kind: Kind, id: &AuthorizationId) {
    if let Some(secret) = cookies.get(request, kind, id) {
        assert!(is_sent(request, &secret));
    }
    let cookie = AuthorizationCookie { authorization: id.clone(), value: "new".to_owned().into() };
    let mut response = HeaderMap::new();
    let new = NewCookie { kind, cookie: &cookie, now: Timestamp(1_800_000_000), max_age: 600 };
    cookies.set(request, &mut response, &new);
    let set: Vec<&str> = response.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
    assert!((1..=LIVE + 1).contains(&set.len()), "{set:?}");
    let (kept, removed): (Vec<&str>, Vec<&str>) = set.iter().partition(|value| !value.contains("; Max-Age=0;"));
    assert_eq!(kept.len(), 1, "{set:?}");
    assert!(removed.iter().all(|value| value.contains("=; ")), "{set:?}");
    for value in &set {
        assert!(value.contains("; Path=/;") && value.contains("; HttpOnly; SameSite=Lax"), "{value}");
    }
    let pair = kept.first().and_then(|value| value.split_once(';')).map(|(pair, _)| pair).unwrap_or_default();
    let next: HeaderMap = HeaderValue::from_str(pair).into_iter().map(|value| (COOKIE, value)).collect();
    assert_eq!(cookies.get(&next, kind, id).as_deref(), Some("new"), "{pair}");
}

fn is_sent(request: &HeaderMap, text: &str) -> bool {
    let text = text.as_bytes();
    let holds = |value: &HeaderValue| text.is_empty() || value.as_bytes().windows(text.len()).any(|part| part == text);
    request.get_all(COOKIE).iter().any(holds)
}
