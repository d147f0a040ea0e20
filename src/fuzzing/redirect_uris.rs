//! Redirect URIs: a registered one, and the one that a request names.

use url::Url;

use super::input::first_line;
use crate::oauth::redirect_uri::{RedirectClass, RedirectPolicy, RedirectUri, is_loopback};

/// Two lines: the registered URI, and the requested one; a third is the `state`.
pub fn redirect_uris(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (registered, rest) = first_line(text);
    let (requested, state) = first_line(rest);
    let policy = RedirectPolicy::new(vec!["cursor://anysphere.cursor-mcp/oauth/callback".to_owned()]);
    for spelling in [registered, requested] {
        if let Some(suggested) = policy.suggest(spelling) {
            assert!(policy.parse(&suggested).is_ok(), "{suggested:?}");
        }
    }
    let Ok(requested) = policy.parse(requested) else { return };
    assert_stands_alone(&policy, &requested);
    assert_keeps_its_place(&requested, state);
    if let Ok(registered) = policy.parse(registered) {
        assert_matches_only_itself(&registered, &requested);
    }
}

/// What browsers make of an allowed URI. They can read each of them.
fn url(uri: &RedirectUri) -> Url {
    #[expect(clippy::expect_used, reason = "a fuzzer looks for a URI that browsers cannot read")]
    Url::parse(uri.as_str()).expect("browsers read it")
}

fn assert_stands_alone(policy: &RedirectPolicy, uri: &RedirectUri) {
    let url = url(uri);
    assert!(url.fragment().is_none() && url.username().is_empty() && url.password().is_none(), "{uri:?}");
    match uri.class() {
        RedirectClass::Https => assert!(url.scheme() == "https" && !is_loopback(&url), "{uri:?}"),
        RedirectClass::Loopback => assert!(matches!(url.scheme(), "http" | "https"), "{uri:?}"),
        RedirectClass::Application | RedirectClass::ListedApplication => {
            assert!(!matches!(url.scheme(), "http" | "https" | "javascript" | "data" | "file" | "blob"), "{uri:?}");
        }
    }
    assert!(uri.class() != RedirectClass::Loopback || url.scheme() == "https" || is_loopback(&url), "{uri:?}");
    assert!(!uri.receiver().is_empty(), "{uri:?}");
    // what is stored reads back as what was registered
    let stored = uri.registered_form();
    assert!(uri.is_registered_as(uri.as_str()) && uri.is_registered_as(&stored), "{uri:?}");
    let again = policy.parse(&stored).map(|again| (again.registered_form(), again.class()));
    assert_eq!(again, Ok((stored, uri.class())), "{uri:?}");
    let canonical = policy.parse(uri.canonical()).map(|again| again.canonical().to_owned());
    assert_eq!(canonical.as_deref(), Ok(uri.canonical()));
}

/// A match means the same scheme, host, path and query, and the same port unless it is this machine's.
fn assert_matches_only_itself(registered: &RedirectUri, requested: &RedirectUri) {
    let matches = requested.is_registered_as(registered.as_str());
    assert_eq!(matches, requested.is_registered_as(&registered.registered_form()), "{registered:?} {requested:?}");
    assert_eq!(matches, registered.is_registered_as(requested.as_str()), "{registered:?} {requested:?}");
    assert!(matches || !requested.is_same(registered), "{registered:?} {requested:?}");
    if !matches {
        return;
    }
    let (registered_url, requested_url) = (url(registered), url(requested));
    assert_eq!(registered.class(), requested.class());
    assert_eq!(registered_url.scheme(), requested_url.scheme());
    assert_eq!(registered_url.host(), requested_url.host());
    assert_eq!(registered_url.path(), requested_url.path());
    assert_eq!(registered_url.query(), requested_url.query());
    if registered.class() != RedirectClass::Loopback {
        assert_eq!(registered_url.port(), requested_url.port());
    }
}

/// The response goes where the URI leads, and adds its parameters once, as they were.
fn assert_keeps_its_place(uri: &RedirectUri, state: &str) {
    let sent = uri.with_parameters(&[("code", "pcc_x"), ("state", state), ("iss", "https://mcp.example.com")]);
    let (before, after) = (url(uri), Url::parse(&sent));
    assert!(after.is_ok(), "{sent:?}");
    let Ok(after) = after else { return };
    assert_eq!(before.scheme(), after.scheme());
    assert_eq!(before.host(), after.host());
    assert_eq!(before.port(), after.port());
    assert_eq!(before.path(), after.path());
    let values = |name: &str| -> Vec<String> {
        after.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    };
    assert_eq!(values("code"), ["pcc_x"]);
    assert_eq!(values("state"), [state]);
    assert_eq!(values("iss"), ["https://mcp.example.com"]);
    let own = before.query_pairs().count();
    assert_eq!(after.query_pairs().count(), own + 3, "{sent:?}");
    assert!(before.query_pairs().eq(after.query_pairs().take(own)), "{sent:?}");
}
