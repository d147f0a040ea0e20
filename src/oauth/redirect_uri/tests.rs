//! Which redirect URIs are allowed, and which is a registered one.

use proptest::prelude::*;

use super::{RedirectClass, RedirectPolicy, RedirectRefusal};

fn policy() -> RedirectPolicy {
    RedirectPolicy::new(vec!["cursor://anysphere.cursor-mcp/oauth/callback".to_owned()])
}

#[test]
fn what_real_clients_register_is_allowed() {
    use RedirectClass::{Application, Https, ListedApplication, Loopback};
    for (uri, class) in [
        ("https://claude.ai/api/mcp/auth_callback", Https),
        ("http://127.0.0.1:33418/", Loopback),
        ("http://127.0.0.1/", Loopback),
        ("http://localhost:6274/oauth/callback", Loopback),
        ("http://[::1]:1/cb?x=1", Loopback),
        ("http://127.9.9.9/cb", Loopback),
        ("cursor://anysphere.cursor-mcp/oauth/callback", ListedApplication),
        ("com.example.app:/cb", Application),
    ] {
        assert_eq!(policy().parse(uri).map(|uri| uri.class()), Ok(class), "{uri}");
    }
}

#[test]
fn what_could_reach_somebody_else_is_refused() {
    use RedirectRefusal::{Fragment, NotAllowed, NotNormal, ResponseParameter, TooLong, UserInfo};
    let long = format!("https://a/{}", "x".repeat(512));
    for (uri, why) in [
        ("http://example.com/cb", NotAllowed),
        ("http://localhost.example.com/cb", NotAllowed),
        ("http://127.0.0.1.nip.io/cb", NotAllowed),
        ("http://0.0.0.0/cb", NotAllowed),
        ("http://localhost./cb", NotAllowed),
        ("javascript:alert(1)", NotAllowed),
        ("data:text/html,x", NotAllowed),
        ("file:///etc/passwd", NotAllowed),
        ("ftp://a/b", NotAllowed),
        ("ms-settings:x", NotAllowed),
        ("cursor://anysphere.cursor-mcp/oauth/callback/../../open", NotNormal),
        ("cursor://anysphere.cursor-mcp/other", NotAllowed),
        ("cursor://evil/oauth/callback", NotAllowed),
        ("https://claude.ai@evil.example/", UserInfo),
        ("https://@evil.example/", UserInfo),
        ("com.example.app://user@host/cb", UserInfo),
        ("https://a/b#c", Fragment),
        ("https://a/b?code=x", ResponseParameter),
        ("https://a/b?x=1&%73tate=y", ResponseParameter),
        ("https://a/b#", Fragment),
        ("https://A/b", NotNormal),
        ("https://a:443/b", NotNormal),
        ("https://a/b/../c", NotNormal),
        ("https://a\\@b/", NotNormal),
        ("https:/a/b", NotNormal),
        ("https://a/\u{e9}", NotNormal),
        ("https://a/b\r\nX: y", NotNormal),
        (" https://a/", NotNormal),
        ("http://127.1/cb", NotNormal),
        ("http://2130706433/cb", NotNormal),
        ("http://0x7f.1/cb", NotNormal),
        ("/cb", NotNormal),
        ("", NotNormal),
        (&long, TooLong),
    ] {
        assert_eq!(policy().parse(uri).map(|_| ()), Err(why), "{uri}");
    }
}

#[test]
fn only_a_loopback_port_may_differ_from_what_was_registered() {
    let is = |requested: &str, registered: &str| policy().parse(requested).unwrap().is_registered_as(registered);
    assert!(is("http://127.0.0.1:50000/cb", "http://127.0.0.1/cb"));
    assert!(is("http://127.0.0.1/cb", "http://127.0.0.1:33418/cb"));
    assert!(is("http://[::1]:5/cb", "http://[::1]/cb"));
    assert!(!is("http://localhost:1/cb", "http://127.0.0.1/cb"));
    assert!(!is("http://127.0.0.1:1/cb/", "http://127.0.0.1/cb"));
    assert!(!is("http://127.0.0.1:1/cb?x", "http://127.0.0.1/cb"));
    assert!(!is("http://127.0.0.1:1/cB", "http://127.0.0.1/cb"));
    assert!(!is("http://127.0.0.2:1/cb", "http://127.0.0.1/cb"));
    assert!(!is("https://a.example:8443/cb", "https://a.example/cb"));
    assert!(!is("https://localhost:1/cb", "https://localhost/cb"));
}

#[test]
fn parameters_join_a_query_that_is_there() {
    let with = |uri: &str| policy().parse(uri).unwrap().with_parameters(&[("code", "a b"), ("state", "&")]);
    assert_eq!(with("https://a/b"), "https://a/b?code=a+b&state=%26");
    assert_eq!(with("https://a/b?x=%41"), "https://a/b?x=%41&code=a+b&state=%26");
    assert_eq!(with("https://a/b?"), "https://a/b?code=a+b&state=%26");
}

proptest! {
    #[test]
    fn an_allowed_uri_always_reaches_the_host_that_it_shows(text in "(https?|cursor|a\\.b)[:/\\\\@]{1,4}[a-z0-9.@:\\[\\]\\\\/?%#-]{0,40}") {
        if let Ok(uri) = policy().parse(&text) {
            let url = url::Url::parse(uri.as_str()).unwrap();
            prop_assert_eq!(url.as_str(), &text);
            prop_assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
            prop_assert!(url.scheme() != "http" || super::is_loopback(&url));
            prop_assert!(uri.is_registered_as(&uri.without_loopback_port()));
            prop_assert!(policy().parse(&uri.without_loopback_port()).is_ok());
        }
    }

    #[test]
    fn another_path_or_host_is_never_the_registered_one(a in "[a-z]{1,8}", b in "[a-z]{1,8}", port in 1u16..) {
        prop_assume!(a != b);
        let requested = policy().parse(&format!("http://127.0.0.1:{port}/{a}")).unwrap();
        let registered = format!("http://127.0.0.1/{b}");
        prop_assert!(!requested.is_registered_as(&registered));
    }
}
