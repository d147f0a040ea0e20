//! Which redirect URIs are allowed, and when one matches a registered one.

use proptest::prelude::*;

use super::{RedirectClass, RedirectPolicy, RedirectRefusal};

fn policy() -> RedirectPolicy {
    RedirectPolicy::new(vec!["cursor://anysphere.cursor-mcp/oauth/callback".to_owned()])
}

#[test]
fn redirect_uris_of_real_clients_are_allowed() {
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
        ("http://127.0.0.1:8000", Loopback),
        ("HTTP://LocalHost:8000/cb", Loopback),
        ("https://Chat.Example:443/cb", Https),
        ("https://localhost:8443/cb", Loopback),
        ("https://127.0.0.1/cb", Loopback),
        ("https://[::1]:8443/cb", Loopback),
        ("https://[::ffff:7f00:1]/cb", Loopback),
        ("https://0.0.0.0/cb", Loopback),
        ("https://app.localhost/cb", Loopback),
        ("https://localhost.example/cb", Https),
    ] {
        assert_eq!(policy().parse(uri).map(|uri| uri.class()), Ok(class), "{uri}");
    }
}

#[test]
fn redirect_uris_that_could_reach_an_attacker_are_refused() {
    use RedirectRefusal::{Fragment, Host, NotAllowed, NotNormal, ResponseParameter, TooLong, UserInfo};
    let long = format!("https://a/{}", "x".repeat(512));
    for (uri, why) in [
        ("http://example.com/cb", NotAllowed),
        ("http://localhost.example.com/cb", NotAllowed),
        ("http://127.0.0.1.nip.io/cb", NotAllowed),
        ("http://0.0.0.0/cb", NotAllowed),
        ("http://localhost./cb", Host),
        ("https://claude.ai./cb", Host),
        ("https://*.example.com/cb", Host),
        ("https://*/cb", Host),
        ("https://claude.ai!.example.com/cb", Host),
        ("https://a..b/cb", Host),
        ("http://foo.localhost/cb", NotAllowed),
        ("http://[::ffff:127.0.0.1]/cb", NotNormal),
        ("Cursor://anysphere.cursor-mcp/oauth/callback", NotNormal),
        ("com.Example.app:/cb", NotNormal),
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
        ("https://a:0443/b", NotNormal),
        ("https://a:/b", NotNormal),
        ("https://a/%2e%2e/c", NotNormal),
        ("https://a/b/../c", NotNormal),
        ("https://a\\@b/", NotNormal),
        ("https:/a/b", NotNormal),
        ("https://a/\u{e9}", NotNormal),
        ("https://a/b\r\nX: y", NotNormal),
        (" https://a/", NotNormal),
        ("http://127.1/cb", Host),
        ("http://2130706433/cb", Host),
        ("http://0x7f.1/cb", Host),
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
    assert!(is("https://localhost:1/cb", "https://localhost/cb"));
    assert!(!is("https://localhost:1/cb", "http://localhost/cb"));
}

#[test]
fn web_uris_match_in_canonical_form_and_private_use_uris_byte_for_byte() {
    let is = |requested: &str, registered: &str| policy().parse(requested).unwrap().is_registered_as(registered);
    assert!(is("http://127.0.0.1:8000", "http://127.0.0.1/"));
    assert!(is("HTTP://LOCALHOST:1/cb", "http://localhost/cb"));
    assert!(is("https://chat.example:443/cb", "HTTPS://Chat.Example/cb"));
    assert!(is("https://chat.example", "https://chat.example/"));
    assert!(is("https://chat.example?x=1", "https://chat.example/?x=1"));
    assert!(!is("https://chat.example/Cb", "https://chat.example/cb"));
    assert!(!is("https://chat.example/cb/", "https://chat.example/cb"));
    assert!(!is("https://chat.example:80/cb", "https://chat.example/cb"));
    assert!(!is("com.example.app:/cb", "com.example.app:/CB"));
    let written = policy().parse("HTTPS://Chat.Example").unwrap();
    assert_eq!(written.as_str(), "HTTPS://Chat.Example");
    assert_eq!(written.with_parameters(&[("code", "x")]), "HTTPS://Chat.Example?code=x");
    assert_eq!(written.receiver(), "chat.example");
}

#[test]
fn two_spellings_of_one_loopback_uri_must_have_the_same_port() {
    let parse = |text| policy().parse(text).unwrap();
    assert!(parse("http://127.0.0.1:8000").is_same(&parse("http://127.0.0.1:8000/")));
    assert!(!parse("http://127.0.0.1:8000/").is_same(&parse("http://127.0.0.1:8001/")));
}

#[test]
fn an_allowed_spelling_is_suggested_for_a_refused_one() {
    for (text, suggested) in [
        ("https://a/b/../c", Some("https://a/c")),
        (" https://a.example/cb ", Some("https://a.example/cb")),
        ("http://127.1:80/cb", Some("http://127.0.0.1/cb")),
        ("https:/a/b", Some("https://a/b")),
        ("http://evil.example/cb", None),
        ("https://*.example/cb", None),
        ("not a uri", None),
    ] {
        assert_eq!(policy().suggest(text).as_deref(), suggested, "{text}");
    }
}

#[test]
fn response_parameters_are_added_to_an_existing_query() {
    let with = |uri: &str| policy().parse(uri).unwrap().with_parameters(&[("code", "a b"), ("state", "&")]);
    assert_eq!(with("https://a/b"), "https://a/b?code=a+b&state=%26");
    assert_eq!(with("https://a/b?x=%41"), "https://a/b?x=%41&code=a+b&state=%26");
    assert_eq!(with("https://a/b?"), "https://a/b?code=a+b&state=%26");
}

proptest! {
    #[test]
    fn an_allowed_uri_always_reaches_the_host_that_it_shows(text in "(https?|cursor|a\\.b)[:/\\@]{1,4}[a-z0-9.@:\\[\\]\\/?%#-]{0,40}") {
        if let Ok(uri) = policy().parse(&text) {
            let url = url::Url::parse(uri.as_str()).unwrap();
            prop_assert_eq!(url.as_str(), &uri.canonical);
            prop_assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
            prop_assert!(url.scheme() != "http" || super::is_loopback(&url));
            prop_assert!(uri.is_registered_as(&uri.registered_form()));
            prop_assert!(policy().parse(&uri.registered_form()).is_ok());
        }
    }

    #[test]
    fn two_redirect_uris_are_the_same_exactly_when_browsers_agree(
        a in "(?i)https?://(a|b|a\\.b|localhost|\\[::1\\]|127\\.0\\.0\\.1)(:(80|443|8000))?(/(c|%63|\\.\\.)?)?(\\?(x|%78)?)?",
        b in "(?i)https?://(a|b|a\\.b|localhost|\\[::1\\]|127\\.0\\.0\\.1)(:(80|443|8000))?(/(c|%63|\\.\\.)?)?(\\?(x|%78)?)?",
    ) {
        if let (Ok(one), Ok(other)) = (policy().parse(&a), policy().parse(&b)) {
            let (a, b) = (url::Url::parse(&a).unwrap(), url::Url::parse(&b).unwrap());
            prop_assert_eq!(one.is_same(&other), a == b, "{} {}", a, b);
            if one.is_registered_as(other.as_str()) {
                prop_assert_eq!((a.scheme(), a.host(), a.path(), a.query()), (b.scheme(), b.host(), b.path(), b.query()));
                prop_assert!(a.port() == b.port() || one.class() == RedirectClass::Loopback);
            }
        }
    }

    #[test]
    fn another_path_never_matches_the_registered_redirect_uri(a in "[a-z]{1,8}", b in "[a-z]{1,8}", port in 1u16..) {
        prop_assume!(a != b);
        let requested = policy().parse(&format!("http://127.0.0.1:{port}/{a}")).unwrap();
        let registered = format!("http://127.0.0.1/{b}");
        prop_assert!(!requested.is_registered_as(&registered));
    }
}
