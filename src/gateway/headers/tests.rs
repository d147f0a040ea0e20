//! Requests, header by header.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{RequestRules, says_two_things};
use crate::config::header_names::{HeaderNames, OTHER_PROXIES, PROTECTED, folded};
use crate::config::{AddedHeader, DroppedHeaders, RequestHeaders};

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn cleaned(rules: &RequestRules, pairs: &[(&str, &str)]) -> Vec<String> {
    let mut headers = map(pairs);
    rules.clean(&mut headers);
    let mut left: Vec<_> = headers.keys().map(ToString::to_string).collect();
    left.sort_unstable();
    left
}

fn by_default() -> RequestRules {
    RequestRules::new(&RequestHeaders::default(), &[])
}

#[test]
fn our_own_headers_are_removed_from_requests_in_every_spelling() {
    let left = cleaned(
        &by_default(),
        &[
            ("X_Forwarded_User", "root"),
            ("Mcp_Session_Id", "another's"),
            ("Transfer_Encoding", "chunked"),
            ("x-forwarded_email", "root@example.com"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("Forwarded", "for=1.2.3.4"),
            ("X_Real_IP", "1.2.3.4"),
            ("Remote_User", "root"),
            ("Remote-Groups", "wheel"),
            ("X.Forwarded.User", "root"),
            ("X~Portcullis!Scopes", "all"),
            ("Mcp.Session.Id", "another's"),
            ("X-Remote-Groups", "wheel"),
            ("X-User-Id", "0"),
            ("X-User", "0"),
            ("X_Auth_Request_User", "root"),
            ("x-portcullis-scopes", "all"),
            ("X-Request-Id", "mine"),
            ("Authorization", "Bearer x"),
            ("Cookie", "a=b"),
            ("DPoP", "x"),
            ("Proxy-Authorization", "Basic x"),
            ("Origin", "https://a.example"),
            ("Host", "a.example"),
            ("Connection", "keep-alive, X-Secret-Hop"),
            ("X-Secret-Hop", "1"),
            ("TE", "trailers"),
            ("Mcp-Session-Id", "s"),
            ("Mcp-Param-Region", "eu"),
            ("Mcp-Param-user_id", "7"),
            ("Content-Type", "application/json"),
            ("X-Custom", "stays"),
        ],
    );
    assert_eq!(left, ["content-type", "mcp-param-region", "mcp-param-user_id", "mcp-session-id", "x-custom"]);
}

#[test]
fn no_header_makes_a_server_misread_a_request_or_mistake_its_proxy() {
    let names = [
        "Proxy",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Original-Method",
        "X-Original-Host",
        "X-Host",
        "Expect",
        "X-Accel-Mapping",
        "X-Sendfile-Type",
        "X-Middleware-Subrequest",
        "Cf-Access-Authenticated-User-Email",
        "Cf_Access_Jwt_Assertion",
        "X-Authentik-Username",
        "X-Goog-Authenticated-User-Email",
        "X-Goog-IAP-JWT-Assertion",
        "X-MS-Client-Principal",
        "X-MS-Client-Principal-Id",
        "X-MS-Token-AAD-Access-Token",
        "X-Amzn-Oidc-Data",
        "Tailscale-User-Login",
        "X-WebAuth-User",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "Fastly-Client-IP",
        "X-Vouch-User",
        "X-Pomerium-Jwt-Assertion",
        "X-Token-Subject",
        "X-ID-Token",
        "X-Access-Token",
        "X-SSL-Client-S-DN",
        "SSL-Client-Cert",
        "X-Client-Cert",
        "X-Forwarded-Client-Cert",
        "Client-Cert-Chain",
        "OIDC_CLAIM_sub",
        "SM_USER",
        "X-Consumer-Username",
        "X-Forwarded",
        "X_Forwarded",
        "X-HTTP-Host-Override",
        "X-HTTP-Path-Override",
        "Impersonate-User",
        "Impersonate-Extra-Scopes",
        "X-Hasura-Admin-Secret",
        "X-Hasura-Role",
        "X-Client-DN",
        "X-Client-Verify",
    ];
    let pairs: Vec<_> = names.iter().map(|name| (*name, "v")).collect();
    assert_eq!(cleaned(&by_default(), &pairs), <[&str; 0]>::default());
}

#[test]
fn ordinary_headers_pass() {
    let names = [
        "accept",
        "accept-encoding",
        "accept-language",
        "baggage",
        "cache-control",
        "cf-ray",
        "content-encoding",
        "content-type",
        "if-none-match",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "sec-fetch-mode",
        "traceparent",
        "tracestate",
        "user-agent",
        "via",
        "x-api-key",
        "x-custom",
        "x-tenant",
        "x-trace-id",
    ];
    let pairs: Vec<_> = names.iter().map(|name| (*name, "v")).collect();
    assert_eq!(cleaned(&by_default(), &pairs), names);
}

#[test]
fn settings_drop_more_and_keep_single_names_in_their_usual_spelling() {
    let mut dropped = DroppedHeaders::default();
    dropped.patterns.extend(["x-tenant-*", "User-Agent"].map(str::to_owned));
    dropped.kept = HeaderNames::new(["Cf-Access-Jwt-Assertion", "x-forwarded-user"]);
    let rules = RequestRules::new(&RequestHeaders { dropped, ..RequestHeaders::default() }, &[]);
    let left = cleaned(
        &rules,
        &[
            ("x-tenant-id", "1"),
            ("X_Tenant_Name", "a"),
            ("user-agent", "x"),
            ("cf-access-jwt-assertion", "from the proxy"),
            ("cf_access_jwt_assertion", "forged"),
            ("cf-access-authenticated-user-email", "forged"),
            ("x-forwarded-user", "forged"),
        ],
    );
    assert_eq!(left, ["cf-access-jwt-assertion"]);
}

#[test]
fn a_configured_header_replaces_every_spelling_of_the_clients() {
    let added =
        AddedHeader { name: HeaderName::from_static("x-functions-key"), value: HeaderValue::from_static("configured") };
    let rules = RequestRules::new(&RequestHeaders { added: vec![added], ..RequestHeaders::default() }, &[]);
    let mut headers = map(&[("X-Functions-Key", "mine"), ("x_functions_key", "mine"), ("x.functions.key", "mine")]);
    rules.clean(&mut headers);
    assert!(headers.is_empty());
    rules.add(&mut headers);
    assert_eq!(headers, map(&[("x-functions-key", "configured")]));
}

#[test]
fn the_framing_of_the_client_is_not_forwarded() {
    let framing = [("transfer-encoding", "chunked"), ("content-length", "5"), ("content_length", "6")];
    assert_eq!(cleaned(&by_default(), &framing), <[&str; 0]>::default());
}

#[test]
fn content_type_last_event_id_and_mcp_headers_must_not_repeat() {
    for name in ["content-type", "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id"] {
        assert!(says_two_things(&map(&[(name, "a"), ("accept", "b"), (name, "a")])), "{name}");
        assert!(!says_two_things(&map(&[(name, "a"), ("accept", "a"), ("accept", "b")])), "{name}");
    }
    assert!(says_two_things(&map(&[("mcp-param-region", "a"), ("mcp-param-region", "b")])));
    assert!(says_two_things(&map(&[("content-type", "text/plain, application/json")])));
    assert!(!says_two_things(&map(&[("content-type", "application/json; charset=utf-8")])));
}

/// A name of the lists, with other characters for its hyphens and an ending where any may stand.
fn spelt(name: &str, odd: u32, other: char) -> HeaderName {
    let name = name.replace('*', "x");
    let spell = |(at, c): (usize, char)| if c == '-' && odd >> (at % 32) & 1 == 1 { other } else { c };
    name.chars().enumerate().map(spell).collect::<String>().parse().unwrap()
}

proptest! {
    #[test]
    fn no_spelling_of_a_listed_header_survives(
        listed in prop::sample::select([PROTECTED, OTHER_PROXIES].concat()),
        odd in any::<u32>(),
        other in prop::sample::select(vec!['_', '.', '!', '~', '|']),
        value in "[a-z]{1,8}",
    ) {
        let name = spelt(listed, odd, other);
        let mut headers = HeaderMap::new();
        headers.append(name.clone(), HeaderValue::from_str(&value).unwrap());
        headers.append(name, HeaderValue::from_static("again"));
        by_default().clean(&mut headers);
        prop_assert!(headers.is_empty());
    }

    #[test]
    fn no_setting_lets_a_protected_header_through(
        listed in prop::sample::select(PROTECTED.to_vec()),
        odd in any::<u32>(),
        kept in prop::collection::vec("[a-z*-]{0,12}", 0..4),
    ) {
        let mut dropped = DroppedHeaders { patterns: Vec::new(), ..DroppedHeaders::default() };
        let plain = listed.replace('*', "x");
        dropped.kept = HeaderNames::new(kept.iter().map(String::as_str).chain([plain.as_str()]));
        let rules = RequestRules::new(&RequestHeaders { dropped, ..RequestHeaders::default() }, &[]);
        let mut headers = HeaderMap::new();
        headers.insert(spelt(listed, odd, '_'), HeaderValue::from_static("v"));
        rules.clean(&mut headers);
        prop_assert!(headers.is_empty());
    }

    #[test]
    fn nothing_that_is_dropped_is_left_of_any_headers(names in prop::collection::vec("[a-zA-Z._-]{1,20}", 0..20)) {
        let mut headers: HeaderMap = names
            .iter()
            .filter_map(|name| Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_static("v"))))
            .collect();
        by_default().clean(&mut headers);
        let dropped = HeaderNames::new(PROTECTED.iter().chain(OTHER_PROXIES).copied());
        prop_assert!(headers.keys().all(|name| !dropped.contains(&folded(name.as_str()))));
    }
}
